//! What a server's words and the outcome on several nodes mean: the one way from a node's error to a [`Fault`], and from the nodes to an
//! [`Answer`].

use crate::fault::{Fault, Kind, Retry, scrub};
use crate::resp::words::{code, is_about_the_server, is_password_free, is_refusal};
use crate::rotation::answer::{Answer, Refusal};
use crate::secret::Secret;

/// How many nodes a sentence names.
const NAMED_LIMIT: usize = 3;

/// What became of a change on one node.
#[derive(Debug)]
pub(super) enum Outcome {
    /// It is there, and a restart keeps it.
    Done,
    /// The server certainly did not do it.
    Refused(Fault),
    /// It may be there, or is there and would not outlive a restart.
    Unclear(Fault),
}

/// The kind of trouble behind an error reply. A word that no document of Redis has leaves open what happened.
pub(super) fn kind(said: &str) -> Kind {
    let has = |phrase: &str| said.contains(phrase);
    match code(said) {
        "NOPERM" => Kind::Denied,
        "WRONGPASS" | "NOAUTH" => Kind::CredentialRefused,
        "DENIED" => Kind::Misconfigured,
        _ if is_refusal(said) => Kind::CredentialRefused,
        _ if is_about_the_server(said) => Kind::Busy,
        _ if is_password_free(said) => Kind::PasswordFree,
        "ERR" if has("The password you are trying to remove") => Kind::OldPasswordWrong,
        "ERR" if has("Error in ACL SETUSER modifier") => Kind::Unsupported,
        "ERR" if has("unknown command") || has("wrong number of arguments") || has("Unknown subcommand") => {
            Kind::Unsupported
        }
        "ERR" if has("cluster support disabled") => Kind::Misconfigured,
        _ => Kind::Unanswered,
    }
}

/// An error reply as a fault. The server repeats hashes, which are scrubbed like passwords.
pub(super) fn fault(kind: Kind, node: &str, command: &str, said: &str, secrets: &[&Secret]) -> Fault {
    let fault = Fault::new(kind, format!("{node} answered {command} with: {}", scrub(said, secrets)));
    if kind == Kind::Denied {
        fault.advise(format!("allow {command} to the administrator with ACL SETUSER on every node"))
    } else if kind == Kind::CredentialRefused {
        fault.advise("correct the provider's admin: its user must exist on every node, with that password")
    } else {
        fault
    }
}

/// Whether an error says that nothing happened.
pub(super) fn refused(fault: Fault) -> Outcome {
    if fault.kind == Kind::Unanswered { Outcome::Unclear(fault) } else { Outcome::Refused(fault) }
}

/// What nodes that cannot be asked, or must not be changed, mean for a call that has changed nothing yet. There is at least one.
pub(super) fn not_begun(faults: Vec<Fault>) -> Answer {
    let fault = together(faults);
    let of_kind = [
        (Kind::Busy, Refusal::Busy),
        (Kind::Unreachable, Refusal::Unsent),
        (Kind::OldPasswordWrong, Refusal::OldPasswordWrong),
    ];
    let refusal = match of_kind.into_iter().find(|(kind, _)| *kind == fault.kind) {
        Some((_, refusal)) => refusal,
        None if fault.retry == Retry::Never => Refusal::Fatal,
        None => Refusal::NotNow,
    };
    Answer::Refused { refusal, fault }
}

/// What the nodes' outcomes mean together.
pub(super) fn answer(outcomes: Vec<Outcome>) -> Answer {
    let all = outcomes.len();
    let (mut done, mut refused, mut unclear) = (0, Vec::new(), Vec::new());
    for outcome in outcomes {
        match outcome {
            Outcome::Done => done += 1,
            Outcome::Refused(fault) => refused.push(fault),
            Outcome::Unclear(fault) => unclear.push(fault),
        }
    }
    if refused.is_empty() && unclear.is_empty() {
        return Answer::Accepted { task: None };
    }
    if done == 0 && unclear.is_empty() {
        return not_begun(refused);
    }
    unclear.extend(refused);
    let Fault { what, next_step, .. } = together(unclear);
    let what = if done > 0 { format!("{done} of {all} nodes have it, but: {what}") } else { what };
    Answer::Unanswered { fault: Fault::new(Kind::Unanswered, what).advise(next_step) }
}

/// The faults of several nodes in one, of the gravest kind: what needs a person first, and a wrong old password last, since it is only believed when
/// every other node was asked.
pub(super) fn together(mut faults: Vec<Fault>) -> Fault {
    faults.sort_by_key(|fault| match (fault.kind, fault.retry) {
        (Kind::OldPasswordWrong, _) => 3,
        (Kind::Busy, _) => 1,
        (_, Retry::Never) => 0,
        (_, Retry::Later | Retry::AfterMillis(_)) => 2,
    });
    let mut named: Vec<&str> = faults.iter().map(|fault| fault.what.as_str()).collect();
    named.dedup();
    let more = named.len().saturating_sub(NAMED_LIMIT);
    let mut what = named[..named.len().min(NAMED_LIMIT)].join("; ");
    if more > 0 {
        what.push_str(&format!("; and {more} more nodes"));
    }
    match faults.into_iter().next() {
        Some(first) => Fault { what: Fault::new(first.kind, what).what, ..first },
        None => Fault::new(Kind::Bug, "no node was asked"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_servers_word_has_one_meaning() {
        for (said, expected) in [
            ("NOPERM this user has no permissions to run the 'acl|setuser' command", Kind::Denied),
            ("NOPERM User app has no permissions to run the 'acl|setuser' command", Kind::Denied),
            ("WRONGPASS invalid username-password pair or user is disabled.", Kind::CredentialRefused),
            ("ERR invalid password", Kind::CredentialRefused),
            ("NOAUTH Authentication required.", Kind::CredentialRefused),
            ("LOADING Redis is loading the dataset in memory", Kind::Busy),
            ("MASTERDOWN Link with MASTER is down", Kind::Busy),
            ("ERR max number of clients reached", Kind::Busy),
            ("DENIED Redis is running in protected mode", Kind::Misconfigured),
            ("ERR AUTH <password> called without any password configured for the default user.", Kind::PasswordFree),
            (
                "ERR Error in ACL SETUSER modifier '!x': The password you are trying to remove from the user does not exist",
                Kind::OldPasswordWrong,
            ),
            ("ERR Error in ACL SETUSER modifier '#x': Syntax error", Kind::Unsupported),
            ("ERR unknown command 'ACL', with args beginning with: 'GETUSER'", Kind::Unsupported),
            ("ERR wrong number of arguments for 'auth' command", Kind::Unsupported),
            ("ERR This instance has cluster support disabled", Kind::Misconfigured),
            ("ERR something new", Kind::Unanswered),
            ("NOVEL", Kind::Unanswered),
            ("", Kind::Unanswered),
        ] {
            assert_eq!(kind(said), expected, "{said}");
        }
    }

    #[test]
    fn some_nodes_done_is_never_a_refusal() {
        let fault = |kind| Fault::new(kind, format!("{kind:?}"));
        let no = |kind| Outcome::Refused(fault(kind));
        let unclear = || Outcome::Unclear(fault(Kind::Unanswered));
        let said = |answer: Answer| match answer {
            Answer::Accepted { .. } => "accepted".to_owned(),
            Answer::Refused { refusal, fault } => format!("{refusal:?}: {}", fault.what),
            Answer::Unanswered { fault } => format!("unanswered: {}", fault.what),
        };
        for (outcomes, expected) in [
            (vec![Outcome::Done, Outcome::Done], "accepted"),
            (vec![Outcome::Done, no(Kind::Denied)], "unanswered: 1 of 2 nodes have it, but: Denied"),
            (vec![unclear(), no(Kind::Denied)], "unanswered: Denied; Unanswered"),
            (vec![no(Kind::Denied), no(Kind::Denied)], "Fatal: Denied"),
            (vec![no(Kind::OldPasswordWrong), no(Kind::Unreachable)], "Unsent: Unreachable; OldPasswordWrong"),
            (vec![no(Kind::OldPasswordWrong), no(Kind::OldPasswordWrong)], "OldPasswordWrong: OldPasswordWrong"),
            (vec![no(Kind::Busy), no(Kind::Unreachable)], "Busy: Busy; Unreachable"),
            (vec![refused(fault(Kind::Unanswered))], "unanswered: Unanswered"),
        ] {
            assert_eq!(said(answer(outcomes)), expected);
        }
    }
}
