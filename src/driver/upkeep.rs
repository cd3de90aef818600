//! Between rotations: verifies that current still works and that sinks hold what they were given; takes former passwords away.

use super::Tools;
use super::act::{in_time, mixed, password_free};
use super::hand_over;
use super::journal::Journal;
use super::target::{Account, Target};
use crate::fault::{Fault, Kind};
use crate::name::{Generation, RotationId};
use crate::probe::Probe;
use crate::rotation::answer::{Answer, Login};
use crate::rotation::event::What;
use crate::secret::Secret;
use crate::sink::Holds;
use std::time::Duration;

/// How many of those who still use a password are named.
const USERS_SHOWN: usize = 10;

/// A login with current, and a look into every sink that can be read. What is found is recorded; nothing is changed.
pub(super) async fn verify(
    tools: &Tools,
    target: &Target,
    journal: &mut Journal<'_>,
    generation: Generation,
) -> Result<(), Fault> {
    let account = active(target, journal)?;
    let Some(probe) = &account.probe else {
        return Err(Fault::new(Kind::Bug, "a verification without a route"));
    };
    let password = tools.ledger.password(&target.name, generation).await?;
    let login = probe.login(&password).await;
    if login == Login::PasswordFree {
        return journal.note(tools.clock.now(), What::Halted { fault: password_free(probe.route()) });
    }
    journal.note(tools.clock.now(), What::Verified { login })?;
    if !probe.knows_form() {
        // What a sink should hold is not known either.
        return Ok(());
    }
    let document = hand_over::document(tools, target, journal, generation).await?;
    for (name, sink) in &target.hands.sinks {
        let outlet = journal.state().standing.sinks.get(name);
        let Some(differs) = outlet.filter(|outlet| outlet.generation == Some(generation)).map(|outlet| outlet.differs)
        else {
            continue;
        };
        let mut held = Holds::CannotTell;
        let looked = in_time(
            async {
                held = sink.holds(&document).await?;
                Ok(())
            },
            Kind::SinkUnavailable,
        );
        if let Err(fault) = looked.await {
            tracing::info!(sink = %name, %fault, "the sink could not be read back");
            continue;
        }
        let sink = name.clone();
        match (held, differs) {
            (Holds::Absent, _) => journal.note(tools.clock.now(), What::SinkLost { sink })?,
            (Holds::Other, false) => journal.note(tools.clock.now(), What::SinkDiffers { sink })?,
            (Holds::Same, true) => journal.note(tools.clock.now(), What::SinkAgrees { sink })?,
            (Holds::Other, true) | (Holds::Same, false) | (Holds::CannotTell, _) => {}
        }
    }
    Ok(())
}

/// Takes a password away that current stands beside. Current is proven on every node first, and a node that forgot it gets it again: nobody is left
/// without a password.
pub(super) async fn retire(
    tools: &Tools,
    target: &Target,
    journal: &mut Journal<'_>,
    generation: Generation,
    current: Generation,
) -> Result<(), Fault> {
    let account = active(target, journal)?;
    let (old, new) =
        (tools.ledger.password(&target.name, generation).await?, tools.ledger.password(&target.name, current).await?);
    // Somebody gave a password again that the ledger held already: what would go is what stays.
    if old.expose() == new.expose() {
        return journal.note(tools.clock.now(), What::Retired { generation });
    }
    if let Err(fault) = acknowledged(target, current).await {
        return journal.note(tools.clock.now(), What::RetireFailed { generation, fault });
    }
    let since = journal.state().standing.current.as_ref().map(|current| current.proven_at);
    let longer_than = tools.clock.now().since(since.unwrap_or_default());
    warn_of_users(target, account, &new, longer_than, "it is taken away now").await;
    let login = match &account.probe {
        Some(probe) => Some(probe.login(&new).await),
        None => None,
    };
    if login == Some(Login::Refused) {
        // No node knows current any more. The rules for drift say what follows; without them, trying again would never end.
        journal.note(tools.clock.now(), What::Verified { login: Login::Refused })?;
    }
    let rotation = RotationId::from_parts(tools.clock.now(), tools.chance.bits());
    let what = match journal.while_ours(take_away(target, account, rotation, login, (&old, &new))).await? {
        Ok(()) => What::Retired { generation },
        Err(fault) => What::RetireFailed { generation, fault },
    };
    journal.note(tools.clock.now(), what)
}

/// Whether the target's consumer says that it uses current, or none is asked: before that, nothing it may still use is taken away.
pub(super) async fn acknowledged(target: &Target, current: Generation) -> Result<(), Fault> {
    let Some(consumer) = &target.hands.consumer else { return Ok(()) };
    let mut uses = Generation::default();
    let asked = async {
        uses = consumer.uses().await?;
        Ok(())
    };
    in_time(asked, Kind::NotAcknowledged).await?;
    if uses >= current {
        return Ok(());
    }
    let what = format!("{} says that generation {uses} is used there, and {current} is current", consumer.place());
    Err(Fault::new(Kind::NotAcknowledged, what))
}

/// Names who is connected for longer than this as the account: they logged in with its former password. They stay connected, and will be turned away when
/// they connect again, unless they have read the new one by then.
pub(super) async fn warn_of_users(
    target: &Target,
    account: &Account,
    password: &Secret,
    longer_than: Duration,
    fate: &str,
) {
    match target.hands.provider.clients(&account.address, password).await {
        Ok(clients) => {
            let users: Vec<String> = clients
                .iter()
                .filter(|client| client.connected_for > longer_than)
                .take(USERS_SHOWN)
                .map(ToString::to_string)
                .collect();
            if !users.is_empty() {
                let account = &account.address.account;
                tracing::warn!(%account, users = users.join("; "), "somebody is still connected with the former password, and {fate}");
            }
        }
        Err(fault) => tracing::info!(%fault, "who still uses the former password is not known"),
    }
}

async fn take_away(
    target: &Target,
    account: &Account,
    rotation: RotationId,
    login: Option<Login>,
    (old, new): (&Secret, &Secret),
) -> Result<(), Fault> {
    let provider = &target.hands.provider;
    if let (Some(probe), Some(login)) = (&account.probe, login) {
        match login {
            Login::Accepted => {}
            Login::Mixed => {
                tracing::warn!(route = probe.route(), "a node forgot the current password; it is added again");
                match provider.change(&account.address, rotation, Some(old), new).await {
                    Answer::Accepted { .. } => {}
                    Answer::Refused { fault, .. } | Answer::Unanswered { fault } => return Err(fault),
                }
            }
            Login::Refused => {
                let what = format!("{} refuses the current password, so the former one is left alone", probe.route());
                return Err(Fault::new(Kind::LoginRefused, what));
            }
            Login::PasswordFree => return Err(password_free(probe.route())),
            Login::Unreachable { fault } => return Err(fault),
        }
    }
    provider.retire(&account.address, old, new).await?;
    match &account.probe {
        Some(probe) => is_gone(probe.as_ref(), old, new).await,
        None => Ok(()),
    }
}

/// The proof that every node refuses the old password and still lets the current one in.
async fn is_gone(probe: &dyn Probe, old: &Secret, new: &Secret) -> Result<(), Fault> {
    match probe.login(old).await {
        Login::Refused => {}
        Login::Accepted | Login::Mixed => {
            let what = format!("a node behind {} still lets the former password in", probe.route());
            return Err(Fault::new(Kind::Busy, what).advise("wait; keywheel takes it away again"));
        }
        Login::PasswordFree => return Err(password_free(probe.route())),
        Login::Unreachable { fault } => return Err(fault),
    }
    match probe.login(new).await {
        Login::Accepted => Ok(()),
        Login::Refused | Login::Mixed => Err(mixed(probe.route())),
        Login::PasswordFree => Err(password_free(probe.route())),
        Login::Unreachable { fault } => Err(fault),
    }
}

/// The account that current opens.
fn active<'a>(target: &'a Target, journal: &Journal<'_>) -> Result<&'a Account, Fault> {
    let account = journal.state().standing.current.as_ref().and_then(|current| current.account.as_deref());
    target.account(account)
}
