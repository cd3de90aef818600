//! How a target's password changes: the keys `strategy`, `accounts` and `grace` of a target.

use super::outlet::Sink;
use super::provider::Provider;
use super::reading::{Section, refusal};
use super::target::Target;
use crate::moment::show_span;
use crate::probe::redis::FormChoice;
use crate::rotation::plan::Strategy;
use crate::sink::command::Input as SinkInput;
use crate::sink::file::Format as FileFormat;
use std::collections::BTreeMap;
use std::time::Duration;

/// How long two passwords stay valid unless said otherwise.
const GRACE: Duration = Duration::from_secs(3_600);

/// The longest grace: two passwords are twice as many to leak.
const GRACE_LIMIT: Duration = Duration::from_secs(90 * 24 * 3_600);

#[derive(Clone, Copy)]
enum Named {
    InPlace,
    Alternate,
    Overlap,
}

/// The strategy of a target, and the account that comes first. `None` where something is wrong; it was said.
pub(super) fn parse(
    section: &Section<'_>,
    cloud: Option<&Provider>,
    late_effect: Duration,
    id: IdParser,
) -> Option<Strategy> {
    let names = [("in-place", Named::InPlace), ("alternate", Named::Alternate), ("overlap", Named::Overlap)];
    let named = match section.has("strategy") {
        true => section.choice("strategy", &names)?,
        false => Named::InPlace,
    };
    let grace = section.span_up_to("grace", GRACE_LIMIT);
    match named {
        Named::InPlace => {
            for key in ["accounts", "grace"].into_iter().filter(|key| section.has(key)) {
                let next = "remove it, or set strategy = \"alternate\"";
                section.refuse(key, refusal("This means nothing to a password that changes in place", next));
            }
            Some(Strategy::InPlace)
        }
        Named::Overlap => {
            if section.has("accounts") {
                let next = "name one with account";
                section.refuse("accounts", refusal("Two passwords at once are on one account", next));
            }
            if cloud.is_some_and(|cloud| !cloud.overlaps()) {
                let what = "An account of this cloud has one password at a time";
                let next = "use strategy = \"alternate\" with two accounts, or leave it out";
                section.refuse("strategy", refusal(what, next));
                return None;
            }
            // A grace that cannot be read was refused already.
            if grace.is_some() || !section.has("grace") {
                refuse_revival(section, grace.unwrap_or(GRACE), late_effect);
            }
            Some(Strategy::Overlap { grace: grace.unwrap_or(GRACE) })
        }
        Named::Alternate => {
            pair(section, id).map(|accounts| Strategy::Alternate { accounts, grace: grace.unwrap_or(GRACE) })
        }
    }
}

/// Two names of the vendor's default account: a login there sends the password alone, so none could tell which of the two it opens.
pub(super) fn refuse_one_login(
    section: &Section<'_>,
    cloud: Option<&Provider>,
    instance: Option<&str>,
    strategy: Option<&Strategy>,
) {
    let (Some(cloud), Some(instance), Some(Strategy::Alternate { accounts, .. })) = (cloud, instance, strategy) else {
        return;
    };
    if accounts.iter().all(|account| cloud.is_default_account(instance, account)) {
        let what =
            "Both are default accounts, which log in by the password alone, and nothing tells the one from the other";
        let next = "take at least one account that is not a default one, or rotate in place";
        section.refuse("accounts", refusal(what, next));
    }
}

/// A node that stood still may carry out an addition long after it was asked for. A password that was taken away before that would be let in again, and
/// nobody would look for it any more.
fn refuse_revival(section: &Section<'_>, grace: Duration, late_effect: Duration) {
    if grace < late_effect {
        let (soon, late) = (show_span(grace), show_span(late_effect));
        let what = format!(
            "The former password is taken away after {soon}, while an unanswered call may bring one back for {late} (late-effect)"
        );
        section.refuse(
            "grace",
            refusal(what, "write a grace no shorter than late-effect, or lower late-effect in limits"),
        );
    }
}

/// A sink that receives a password alone, where readers must know which account of a pair it opens. A file holds what clients send, which names the account
/// in some forms of a login; a program gets the bare password in all of them.
pub(super) fn refuse_bare(section: &Section<'_>, target: &Target, cloud: Option<&Provider>, name: &str, sink: &Sink) {
    if !target.strategy.is_alternate() {
        return;
    }
    let by_name = target.login.as_ref().is_some_and(|login| login.form == FormChoice::UserAndPassword)
        || cloud.is_some_and(|cloud| cloud.own_nodes().is_some());
    let wrong = match sink {
        Sink::Gcp(_)
        | Sink::Azure(_)
        | Sink::File(_)
        | Sink::Aws(_)
        | Sink::Etcd(_)
        | Sink::Age(_)
        | Sink::SystemdCredential(_)
            if sink.form() == Some(FileFormat::Raw) && by_name =>
        {
            Some((
                format!(
                    "The sink {name} holds a password alone, and readers must know which of the two accounts it opens"
                ),
                "choose env, json, yaml or url for its format",
            ))
        }
        Sink::Command(command) if command.stdin == SinkInput::Password => Some((
            format!("The sink {name} is given a password alone, and must know which of the two accounts it opens"),
            "write stdin = \"json\" for it",
        )),
        Sink::Gcp(_)
        | Sink::Azure(_)
        | Sink::File(_)
        | Sink::Aws(_)
        | Sink::Etcd(_)
        | Sink::Age(_)
        | Sink::SystemdCredential(_)
            if by_name && is_nameless(sink.fields()) =>
        {
            Some((
                format!("The fields of sink {name} leave out which of the two accounts the password opens"),
                "add user, account or url to its fields",
            ))
        }
        Sink::Command(command) if is_nameless(command.fields.as_ref()) => Some((
            format!("The fields of sink {name} leave out which of the two accounts the password opens"),
            "add user, account or url to its fields",
        )),
        Sink::File(_)
        | Sink::Command(_)
        | Sink::Store(_)
        | Sink::Aws(_)
        | Sink::Etcd(_)
        | Sink::Age(_)
        | Sink::SystemdCredential(_)
        | Sink::Http(_)
        | Sink::Vault(_)
        | Sink::Gcp(_)
        | Sink::Azure(_) => None,
    };
    if let Some((what, next)) = wrong {
        section.refuse("sinks", refusal(what, next));
    }
}

/// Whether fields were chosen and none of them names the account.
fn is_nameless(fields: Option<&BTreeMap<String, String>>) -> bool {
    fields.is_some_and(|fields| !["user", "account", "url"].iter().any(|part| fields.contains_key(*part)))
}

/// How a text becomes an account's name.
pub(super) type IdParser = fn(&str) -> Result<String, super::reading::Refusal>;

fn pair(section: &Section<'_>, id: IdParser) -> Option<[String; 2]> {
    if section.has("account") {
        section.refuse("account", refusal("The accounts of a pair stand in accounts", "remove account"));
    }
    let texts = section.texts("accounts");
    let mut names = Vec::new();
    for text in &texts {
        match id(text) {
            Ok(name) => names.push(name),
            Err(wrong) => {
                section.refuse("accounts", wrong);
                return None;
            }
        }
    }
    match <[String; 2]>::try_from(names) {
        Ok([first, second]) if first != second => Some([first, second]),
        Ok(_) | Err(_) => {
            let what = "Two accounts that take turns are needed, the active one first";
            section.refuse("accounts", refusal(what, "write accounts = [\"orders_a\", \"orders_b\"]"));
            None
        }
    }
}
