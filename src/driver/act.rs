//! Performs one action and notes what came of it. The journal was written before; a call's intent is written here, before the call.

use super::Tools;
use super::journal::Journal;
use super::target::Target;
use crate::fault::{Fault, Kind, Retry, scrub};
use crate::name::{Generation, HookName, SinkName};
use crate::password::Extra;
use crate::provider::{Condition, Instance};
use crate::rotation::Action;
use crate::rotation::answer::{Call, Login, TaskStatus};
use crate::rotation::event::{By, Proof, What};
use crate::secret::Secret;
use crate::sink::Document;
use futures_util::future::join_all;
use std::time::Duration;

/// The longest a sink or hook may take, whatever its own limits say.
const OUTLET_LIMIT: Duration = Duration::from_secs(120);

/// What one turn remembers between its acts. All of it can be had again: a crash loses nothing.
#[derive(Default)]
pub(super) struct Memory {
    /// What the preflight saw of the instance: each look costs quota.
    instance: Option<Instance>,
    /// The candidate drawn in this turn, so that it, the intent and the call need one transaction before the call and not two.
    drawn: Option<(Generation, Secret)>,
}

/// Performs the action.
///
/// # Errors
/// Only what makes it unsafe to go on: the ledger failed, or keywheel contradicts itself. Everything else is noted as an event.
pub(super) async fn perform(
    tools: &Tools,
    target: &Target,
    journal: &mut Journal<'_>,
    memory: &mut Memory,
    action: Action,
) -> Result<(), Fault> {
    match action {
        Action::Adopt => {
            let (what, password) = adopt(target).await;
            let generation = journal.state().standing.newest.following();
            journal.note_with(tools.clock.now(), what(generation), password.map(|password| (generation, password)))
        }
        Action::Preflight => {
            let what = preflight(tools, target, journal, memory).await?;
            journal.note(tools.clock.now(), what)
        }
        Action::Prepare { generation, spare } => prepare(tools, target, journal, memory, (generation, spare)).await,
        Action::Call { call, candidate, previous } => {
            place_call(tools, target, journal, memory, (call, candidate, previous)).await
        }
        Action::FindTask { from } => {
            let found = match target.hands.provider.find_task(&target.address, from, tools.clock.now()).await {
                Ok(Some((task, status))) => Ok(Some((task, without_passwords(tools, target, journal, status).await?))),
                Ok(None) => Ok(None),
                Err(fault) => Err(fault),
            };
            note_look(tools, journal, found.map(|found| What::TaskSought { found }))
        }
        Action::PollTask(task) => {
            let status = match target.hands.provider.task(&target.address, task).await {
                Ok(status) => Ok(without_passwords(tools, target, journal, status).await?),
                Err(fault) => Err(fault),
            };
            note_look(tools, journal, status.map(|status| What::TaskRead { status }))
        }
        Action::ReadMark => {
            let mark = target.hands.provider.change_mark(&target.address).await;
            note_look(tools, journal, mark.map(|mark| What::MarkRead { mark }))
        }
        Action::TryLogin { candidate, previous } => {
            let what = try_logins(tools, target, candidate, previous).await?;
            journal.note(tools.clock.now(), what)
        }
        Action::Deliver { sinks, generation } => deliver(tools, target, journal, &sinks, generation).await,
        Action::Tell { hooks, generation } => tell(tools, target, journal, &hooks, generation).await,
        Action::Wait { .. } | Action::Record(_) | Action::Begin { .. } => {
            Err(Fault::new(Kind::Bug, "a decision was taken for an act"))
        }
    }
}

/// A task's own words go into the record and the log. The provider took its credentials out of them; here go the passwords of this rotation.
async fn without_passwords(
    tools: &Tools,
    target: &Target,
    journal: &Journal<'_>,
    status: TaskStatus,
) -> Result<TaskStatus, Fault> {
    let TaskStatus::Failed { message } = status else { return Ok(status) };
    let mut known = Vec::new();
    for generation in journal.state().candidates() {
        known.push(tools.ledger.password(&target.name, generation).await?);
    }
    Ok(TaskStatus::Failed { message: scrub(&message, &known.iter().collect::<Vec<&Secret>>()) })
}

fn note_look(tools: &Tools, journal: &mut Journal<'_>, look: Result<What, Fault>) -> Result<(), Fault> {
    let what = look.unwrap_or_else(|fault| What::LookFailed { fault });
    journal.note(tools.clock.now(), what)
}

/// Something stands in the way before anything was changed: wait for it, or ask a person where waiting cannot help.
fn blocked(fault: Fault) -> What {
    match fault.retry {
        Retry::Never => What::Halted { fault },
        Retry::Later | Retry::AfterMillis(_) => What::Blocked { fault },
    }
}

type Adoption = Box<dyn FnOnce(Generation) -> What + Send>;

async fn adopt(target: &Target) -> (Adoption, Option<Secret>) {
    let in_the_way = |fault: Fault| -> (Adoption, Option<Secret>) { (Box::new(|_| blocked(fault)), None) };
    let password = match (target.hands.adopt)() {
        Some(Ok(password)) => password,
        // The file may still be on its way: a secret that cannot be read is waited for.
        Some(Err(mut fault)) => {
            fault.retry = Retry::Later;
            return in_the_way(fault);
        }
        None => {
            let fault = Fault::new(Kind::SecretUnreadable, "the password that works today is not known");
            return in_the_way(
                fault.advise("give it with `keywheel adopt TARGET`, or set `adopt` in the configuration"),
            );
        }
    };
    if let Err(fault) = look_at_instance(target).await {
        return in_the_way(fault);
    }
    let proof = match &target.hands.probe {
        None => Proof::Stated,
        Some(probe) => match probe.login(&password).await {
            Login::Accepted => Proof::Login,
            Login::Refused => {
                let fault = Fault::new(Kind::LoginRefused, format!("{} refuses the adopted password", probe.route()));
                return in_the_way(fault.advise("correct it, then `keywheel recover TARGET --set`"));
            }
            Login::Mixed => return in_the_way(mixed(probe.route())),
            Login::PasswordFree => return in_the_way(password_free(probe.route())),
            Login::Unreachable { fault } => return in_the_way(fault),
        },
    };
    let by = By::Configuration;
    let place = target.settings.place.clone();
    (Box::new(move |generation| What::Adopted { generation, proof, by, place }), Some(password))
}

/// The instance, if a change may be asked for now.
async fn look_at_instance(target: &Target) -> Result<Instance, Fault> {
    let instance = target.hands.provider.inspect(&target.address).await?;
    let id = &target.address.instance;
    match &instance.condition {
        Condition::Ready => Ok(instance),
        Condition::Busy(what) => Err(Fault::new(Kind::Busy, format!("instance {id} is not ready: {what}"))),
        Condition::Gone(what) => Err(Fault::new(Kind::Gone, format!("instance {id} cannot be used: {what}"))),
        Condition::PasswordFree => Err(password_free(id)),
        Condition::Unsupported(what) => Err(Fault::new(Kind::Unsupported, format!("instance {id}: {what}"))),
    }
}

async fn preflight(tools: &Tools, target: &Target, journal: &Journal<'_>, memory: &mut Memory) -> Result<What, Fault> {
    let instance = match look_at_instance(target).await {
        Ok(instance) => instance,
        Err(fault) => return Ok(blocked(fault)),
    };
    let ready =
        join_all(target.hands.sinks.values().map(|sink| in_time(sink.ready(&target.name), Kind::SinkUnavailable)));
    if let Some(mut fault) = ready.await.into_iter().find_map(Result::err) {
        // A sink that would refuse is waited for: nothing has changed, and a person sees it in the status.
        fault.retry = Retry::Later;
        return Ok(What::Blocked { fault });
    }
    let mut drifted = false;
    if let (Some(probe), Some(current)) = (&target.hands.probe, journal.state().standing.current) {
        let password = tools.ledger.password(&target.name, current.generation).await?;
        match probe.login(&password).await {
            Login::Accepted => {}
            Login::Refused => drifted = true,
            Login::Mixed => {
                return Ok(What::Blocked { fault: mixed(probe.route()) });
            }
            Login::PasswordFree => {
                return Ok(What::Halted { fault: password_free(probe.route()) });
            }
            Login::Unreachable { fault } => return Ok(What::Blocked { fault }),
        }
    }
    let change_mark = instance.change_mark.clone();
    memory.instance = Some(instance);
    Ok(What::Ready { change_mark, drifted })
}

/// Draws the candidate, under the instance's own password policy too. The spare of an abandoned rotation is in the ledger already.
async fn prepare(
    tools: &Tools,
    target: &Target,
    journal: &mut Journal<'_>,
    memory: &mut Memory,
    (generation, spare): (Generation, bool),
) -> Result<(), Fault> {
    if spare {
        return journal.note(tools.clock.now(), What::Prepared { generation });
    }
    let instance = match memory.instance.take() {
        Some(instance) => instance,
        None => match target.hands.provider.inspect(&target.address).await {
            Ok(instance) => instance,
            Err(fault) if fault.retry == Retry::Never => {
                return journal.note(tools.clock.now(), What::Halted { fault });
            }
            Err(fault) => return Err(fault),
        },
    };
    let policy = match instance.password_policy {
        Some(rule) => {
            let extra =
                Extra { letters: rule.letters, digits: rule.digits, specials: rule.specials, length: rule.length };
            target.hands.profile.tightened(&target.hands.policy, extra)
        }
        None => Ok(target.hands.policy.clone()),
    };
    match policy {
        Ok(policy) => {
            let password = tools.chance.password(&policy);
            let at = tools.clock.now();
            memory.drawn = Some((generation, password.clone()));
            journal.note_with(at, What::Prepared { generation }, Some((generation, password)))
        }
        Err(problems) => {
            let said: Vec<String> = problems.iter().map(ToString::to_string).collect();
            let what =
                format!("the policy and the instance's own password policy cannot both be met: {}", said.join("; "));
            journal.note(tools.clock.now(), What::Halted { fault: Fault::new(Kind::RuleViolated, what) })
        }
    }
}

/// The intent is durable before the cloud hears of it; the passwords were read before the intent, so that nothing but the call follows it.
async fn place_call(
    tools: &Tools,
    target: &Target,
    journal: &mut Journal<'_>,
    memory: &mut Memory,
    (call, candidate, previous): (Call, Generation, Generation),
) -> Result<(), Fault> {
    let Some(rotation) = journal.rotation() else {
        return Err(Fault::new(Kind::Bug, "a call without a rotation"));
    };
    let new = match memory.drawn.take().filter(|(drawn, _)| *drawn == candidate) {
        Some((_, password)) => password,
        None => tools.ledger.password(&target.name, candidate).await?,
    };
    let old = tools.ledger.password(&target.name, previous).await?;
    let at = tools.clock.now();
    journal.note(at, What::Intended { call })?;
    journal.write(at, "a call is on its way").await?;
    let provider = &target.hands.provider;
    let answer = match call {
        Call::Modify => provider.change(&target.address, rotation, Some(&old), &new).await,
        Call::Reset => provider.reset(&target.address, rotation, &new).await,
    };
    journal.note(tools.clock.now(), What::Answered { answer })
}

async fn try_logins(
    tools: &Tools,
    target: &Target,
    candidate: Generation,
    previous: Option<Generation>,
) -> Result<What, Fault> {
    let Some(probe) = &target.hands.probe else {
        return Err(Fault::new(Kind::Bug, "a login without a route"));
    };
    let new = tools.ledger.password(&target.name, candidate).await?;
    let candidate = probe.login(&new).await;
    let previous = match previous {
        Some(generation) => {
            let old = tools.ledger.password(&target.name, generation).await?;
            Some(probe.login(&old).await)
        }
        None => None,
    };
    Ok(What::LoginTried { candidate, previous })
}

async fn deliver(
    tools: &Tools,
    target: &Target,
    journal: &mut Journal<'_>,
    sinks: &[SinkName],
    generation: Generation,
) -> Result<(), Fault> {
    let Some(current) = journal.state().standing.current else {
        return Err(Fault::new(Kind::Bug, "a delivery before anything is current"));
    };
    let password = tools.ledger.password(&target.name, generation).await?;
    let (login_user, login_password) = (target.hands.login)(&password);
    let document = Document {
        target: target.name.clone(),
        generation,
        rotation: current.rotation,
        proven_at: current.proven_at,
        account: target.address.account.clone(),
        login_user,
        login_password,
        password,
        endpoint: target.hands.endpoint.clone(),
    };
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

async fn tell(
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

async fn in_time(work: impl Future<Output = Result<(), Fault>>, kind: Kind) -> Result<(), Fault> {
    tokio::time::timeout(OUTLET_LIMIT, work).await.unwrap_or_else(|_| {
        Err(Fault::new(kind, format!("it gave no answer in {}", crate::moment::show_span(OUTLET_LIMIT))))
    })
}

fn mixed(route: &str) -> Fault {
    Fault::new(Kind::Busy, format!("not every node behind {route} lets the current password in"))
        .advise("wait; keywheel looks again")
}

/// The instance checks no passwords.
pub(super) fn password_free(place: &str) -> Fault {
    Fault::new(Kind::PasswordFree, format!("{place} lets anybody in without a password"))
}
