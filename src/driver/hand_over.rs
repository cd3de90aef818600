//! Hands current over: to the sinks, then to the hooks.

use super::Tools;
use super::act::in_time;
use super::journal::Journal;
use super::target::Target;
use crate::fault::{Fault, Kind};
use crate::name::{Generation, HookName, SinkName};
use crate::rotation::event::What;
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

/// Delivers to these sinks at the same time.
pub(super) async fn deliver(
    tools: &Tools,
    target: &Target,
    journal: &mut Journal<'_>,
    sinks: &[SinkName],
    generation: Generation,
) -> Result<(), Fault> {
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
