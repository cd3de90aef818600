//! Hands current over: to the sinks, then to the hooks.

use super::Tools;
use super::act::in_time;
use super::journal::Journal;
use super::outbox::{Outbox, Turn};
use super::target::{Account, Target};
use crate::fault::{Fault, Kind};
use crate::hook::{Hook, Listener, Notice};
use crate::moment::Moment;
use crate::name::{Generation, HookName, SinkName};
use crate::rotation::answer::Login;
use crate::rotation::event::What;
use crate::rotation::state::Current;
use crate::secret::Secret;
use crate::sink::{Document, Sink};
use futures_util::future::join_all;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::sync::Arc;

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
    Ok(Document { login_user, login_password, ..bare(target, current, account, password) })
}

/// The same without what only a login tells.
fn bare(target: &Target, current: &Current, account: &Account, password: Secret) -> Document {
    Document {
        target: target.name.clone(),
        generation: current.generation,
        rotation: current.rotation,
        proven_at: current.proven_at,
        account: account.address.account.clone(),
        login_user: None,
        login_password: password.clone(),
        password,
        endpoint: target.hands.endpoint.clone(),
    }
}

/// A digest of what each sink would be given now, but for what every rotation changes and for what only a login tells.
fn shapes(target: &Target, current: &Current) -> BTreeMap<SinkName, String> {
    let Ok(account) = target.account(current.account.as_deref()) else { return BTreeMap::new() };
    let document = Document {
        generation: Generation(1),
        rotation: None,
        proven_at: Moment::default(),
        ..bare(target, current, account, Secret::new("PASSWORD".to_owned()))
    };
    let shape = |(name, sink): (&SinkName, &Arc<dyn Sink>)| {
        Some((name.clone(), hex::encode(Sha256::digest(sink.shape(&document)?))))
    };
    target.hands.sinks.iter().filter_map(shape).collect()
}

/// Sinks hold current as it was to be written before: the configuration changed since, or the instance moved. Each is to receive it again.
pub(super) fn note_other_shapes(tools: &Tools, target: &Target, journal: &mut Journal<'_>) -> Result<(), Fault> {
    let state = journal.state();
    let elsewhere = state.standing.place.as_ref().is_some_and(|place| *place != target.settings.place);
    let Some(current) = state.standing.current.as_ref().filter(|_| state.halt.is_none() && state.open.is_none()) else {
        return Ok(());
    };
    if elsewhere {
        return Ok(());
    }
    let probe = target.account(current.account.as_deref()).ok().and_then(|account| account.probe.as_ref());
    let otherwise = |(name, shape): (SinkName, String)| {
        let outlet = state.standing.sinks.get(&name)?;
        let holds = outlet.generation == Some(current.generation);
        let held = outlet.shape.as_deref().filter(|_| holds)?;
        let guessed = held.ends_with(GUESSED) && probe.is_some_and(|probe| probe.knows_form());
        (guessed || held.trim_end_matches(GUESSED) != shape).then_some(name)
    };
    let others: Vec<SinkName> = shapes(target, current).into_iter().filter_map(otherwise).collect();
    others.into_iter().try_for_each(|sink| journal.note(tools.clock.now(), What::SinkLost { sink }))
}

/// Stands behind a shape that was delivered while no login had shown what clients must send.
const GUESSED: char = '?';

/// Whether what a client sends is known. It is learned by a login, and forgotten when keywheel starts again. Where the vendor's pages disagree about
/// it, nothing is delivered before a login has told: a sink would hold what the instance refuses. The same goes for an address that is `new` to
/// the sinks. An instance that goes on refusing is another matter: nothing that a sink could hold opens it, and what was changed there is for
/// the next preflight to find, which waits for the sinks.
async fn learn_form(account: &Account, new: bool, patient: bool, password: &Secret) -> Result<bool, Fault> {
    let Some(probe) = account.probe.as_ref().filter(|probe| new || !probe.knows_form()) else { return Ok(true) };
    let login = probe.login(password).await;
    if login == Login::Accepted || (!new && probe.knows_form()) {
        return Ok(true);
    }
    let what = match login {
        Login::Unreachable { fault } => return Err(Fault { what: unknown(&fault.what), ..fault }),
        Login::Accepted | Login::Refused | Login::Mixed | Login::PasswordFree if !new && !patient => return Ok(false),
        Login::PasswordFree => format!("{} lets anybody in without a password", probe.route()),
        Login::Accepted | Login::Refused | Login::Mixed => {
            format!("{} does not let the current password in", probe.route())
        }
    };
    Err(Fault::new(Kind::LoginRefused, unknown(&what)))
}

fn unknown(why: &str) -> String {
    Fault::new(Kind::Bug, format!("nothing is delivered before a login shows what clients must send: {why}")).what
}

/// Delivers to these sinks at the same time.
pub(super) async fn deliver(
    tools: &Tools,
    target: &Target,
    journal: &mut Journal<'_>,
    sinks: &[SinkName],
    generation: Generation,
) -> Result<(), Fault> {
    let state = journal.state();
    let Some(current) = state.standing.current.as_ref() else {
        return Err(Fault::new(Kind::Bug, "a delivery before anything is current"));
    };
    let shapes = shapes(target, current);
    let is_new = sinks.iter().any(|name| {
        let held = state.standing.sinks.get(name).and_then(|outlet| outlet.shape.as_ref());
        held.is_some_and(|held| shapes.get(name).is_none_or(|shape| held.trim_end_matches(GUESSED) != shape))
    });
    let failures = sinks.iter().map(|name| state.standing.sinks.get(name).map_or(0, |outlet| outlet.failures)).min();
    let patient = failures.unwrap_or(0) + 1 < target.settings.limits.agreement;
    let account = target.account(current.account.as_deref())?;
    let password = tools.ledger.password(&target.name, generation).await?;
    let is_known = match learn_form(account, is_new, patient, &password).await {
        Ok(known) => known,
        Err(fault) => {
            for sink in sinks.iter().cloned() {
                let fault = fault.clone();
                journal.note(tools.clock.now(), What::DeliveryFailed { sink, generation, fault })?;
            }
            return Ok(());
        }
    };
    let shape_of = |sink: &SinkName| {
        shapes.get(sink).map(|shape| if is_known { shape.clone() } else { format!("{shape}{GUESSED}") })
    };
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
    for (sink, outcome) in journal.while_ours(join_all(deliveries)).await? {
        journal.note(
            tools.clock.now(),
            match outcome {
                Ok(()) => What::Delivered { shape: shape_of(&sink), sink, generation },
                Err(fault) => What::DeliveryFailed { sink, generation, fault },
            },
        )?;
    }
    Ok(())
}

/// Tells these hooks at the same time, each whose turn it is.
pub(super) async fn tell(
    tools: &Tools,
    outbox: &Outbox,
    target: &Target,
    journal: &mut Journal<'_>,
    hooks: &[HookName],
    generation: Generation,
) -> Result<(), Fault> {
    let (name, rotation) = (target.name.clone(), journal.rotation());
    let telling = journal.state().open.as_ref().map_or(0, |open| open.late) + 1;
    let notice = Notice { target: name, generation, rotation, telling, others: BTreeMap::new() };
    let holding = journal.state().standing.sinks.values().filter(|sink| sink.generation == Some(generation));
    let delivered_at = holding.filter_map(|sink| sink.tried_at).max();
    let mut notices = Vec::new();
    for name in hooks {
        let Some(Listener { hook, terms }) = target.hands.hooks.get(name) else {
            return Err(Fault::new(Kind::Bug, format!("hook {name} has no hand")));
        };
        let now = tools.clock.now();
        match outbox.ask(name, *terms, notice.clone(), delivered_at, now) {
            Turn::Later(until, by) => journal.note(now, What::HookQueued { hook: name.clone(), until, by })?,
            turn @ (Turn::Now(_) | Turn::Shared(_)) => notices.push(async move { (name, bring(turn, &**hook).await) }),
        }
    }
    for (hook, outcome) in join_all(notices).await {
        let hook = hook.clone();
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

async fn bring(turn: Turn, hook: &dyn Hook) -> Result<(), Fault> {
    match turn {
        Turn::Now(call) => {
            let outcome = in_time(hook.tell(&call.notice), Kind::HookFailed).await;
            call.answer(&outcome);
            outcome
        }
        Turn::Shared(shared) => in_time(shared.outcome(), Kind::HookFailed).await,
        Turn::Later(..) => Err(Fault::new(Kind::Bug, "a hook was told before its turn")),
    }
}
