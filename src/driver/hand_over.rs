//! Hands current over: to the sinks, then to the hooks.

use super::Tools;
use super::act::{in_time, password_free};
use super::journal::Journal;
use super::target::Target;
use crate::fault::{Fault, Kind};
use crate::name::{Generation, HookName, SinkName};
use crate::rotation::answer::Login;
use crate::rotation::event::What;
use crate::secret::Secret;
use crate::sink::Document;
use futures_util::future::join_all;

/// The document that every sink of the target receives for current.
pub(super) async fn document(
    tools: &Tools,
    target: &Target,
    journal: &Journal<'_>,
    generation: Generation,
) -> Result<Document, Fault> {
    let Some(current) = &journal.state().standing.current else {
        return Err(Fault::new(Kind::Bug, "a delivery before anything is current"));
    };
    let account = target.account(current.account.as_deref())?;
    let password = tools.ledger.password(&target.name, generation).await?;
    let (login_user, login_password) = (account.login)(&password);
    Ok(Document {
        target: target.name.clone(),
        generation,
        rotation: current.rotation,
        proven_at: current.proven_at,
        account: account.address.account.clone(),
        login_user,
        login_password,
        password,
        endpoint: target.hands.endpoint.clone(),
    })
}

/// What a client sends is learned by a login, and forgotten when keywheel starts again. Where the vendor's pages disagree about it, nothing is
/// delivered before a login has told: a sink would hold what the instance refuses.
async fn learn_form(target: &Target, journal: &Journal<'_>, password: &Secret) -> Result<(), Fault> {
    let account = journal.state().standing.current.as_ref().and_then(|current| current.account.as_deref());
    let Some(probe) = &target.account(account)?.probe else { return Ok(()) };
    if probe.knows_form() {
        return Ok(());
    }
    let login = probe.login(password).await;
    if probe.knows_form() {
        return Ok(());
    }
    let unknown = |what: &str| format!("nothing is delivered before a login shows what clients must send: {what}");
    Err(match login {
        Login::Unreachable { fault } => Fault { what: Fault::new(fault.kind, unknown(&fault.what)).what, ..fault },
        Login::PasswordFree => password_free(probe.route()),
        Login::Accepted | Login::Refused | Login::Mixed => {
            let what = format!("{} refuses the current password in every form", probe.route());
            Fault::new(Kind::LoginRefused, unknown(&what))
        }
    })
}

/// Delivers to these sinks at the same time.
pub(super) async fn deliver(
    tools: &Tools,
    target: &Target,
    journal: &mut Journal<'_>,
    sinks: &[SinkName],
    generation: Generation,
) -> Result<(), Fault> {
    let password = tools.ledger.password(&target.name, generation).await?;
    if let Err(fault) = learn_form(target, journal, &password).await {
        for sink in sinks.iter().cloned() {
            let fault = fault.clone();
            journal.note(tools.clock.now(), What::DeliveryFailed { sink, generation, fault })?;
        }
        return Ok(());
    }
    let document = document(tools, target, journal, generation).await?;
    let deliveries = sinks.iter().map(|name| {
        let document = &document;
        async move {
            let outcome = match target.hands.sinks.get(name) {
                Some(sink) => in_time(sink.deliver(document), Kind::SinkUnavailable).await,
                None => Err(Fault::new(Kind::Bug, format!("sink {name} has no hand"))),
            };
            (name.clone(), outcome)
        }
    });
    for (sink, outcome) in join_all(deliveries).await {
        journal.note(
            tools.clock.now(),
            match outcome {
                Ok(()) => What::Delivered { sink, generation },
                Err(fault) => What::DeliveryFailed { sink, generation, fault },
            },
        )?;
    }
    Ok(())
}

/// Tells these hooks at the same time.
pub(super) async fn tell(
    tools: &Tools,
    target: &Target,
    journal: &mut Journal<'_>,
    hooks: &[HookName],
    generation: Generation,
) -> Result<(), Fault> {
    let notice = crate::hook::Notice { target: target.name.clone(), generation, rotation: journal.rotation() };
    let notices = hooks.iter().map(|name| {
        let notice = &notice;
        async move {
            let outcome = match target.hands.hooks.get(name) {
                Some(hook) => in_time(hook.tell(notice), Kind::HookFailed).await,
                None => Err(Fault::new(Kind::Bug, format!("hook {name} has no hand"))),
            };
            (name.clone(), outcome)
        }
    });
    for (hook, outcome) in join_all(notices).await {
        journal.note(
            tools.clock.now(),
            match outcome {
                Ok(()) => What::HookTold { hook },
                Err(fault) => What::HookFailed { hook, fault },
            },
        )?;
    }
    Ok(())
}
