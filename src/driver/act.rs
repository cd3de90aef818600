//! Performs one action and notes what came of it. The journal was written before; a call's intent is written here, before the call.

use super::Tools;
use super::journal::Journal;
use super::outbox::Outbox;
use super::target::{Account, Target};
use super::{adopt, hand_over, upkeep};
use crate::fault::{Fault, Kind, Retry, scrub};
use crate::name::Generation;
use crate::provider::{Condition, Instance};
use crate::rotation::Action;
use crate::rotation::answer::{Call, Login, TaskStatus};
use crate::rotation::event::What;
use crate::rotation::plan::OnSinkDown;
use crate::secret::Secret;
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
    outbox: &Outbox,
    target: &Target,
    journal: &mut Journal<'_>,
    memory: &mut Memory,
    action: Action,
) -> Result<(), Fault> {
    match action {
        Action::Adopt => {
            let newest = journal.state().standing.newest;
            let (what, password) = adopt::adopt(target, newest).await;
            journal.note_with(tools.clock.now(), what, password)
        }
        Action::Pair { account } => {
            let generation = journal.state().standing.newest.following();
            let (what, password) = adopt::pair(target, &account, generation).await;
            journal.note_with(tools.clock.now(), what, password.map(|password| (generation, password)))
        }
        Action::Preflight { account, previous, beside, believes } => {
            let what = {
                let current = journal.state().standing.current.as_ref().map(|current| current.generation);
                preflight(tools, target, memory, account.as_deref(), current, (previous, beside, believes)).await?
            };
            journal.note(tools.clock.now(), what)
        }
        Action::Prepare { generation, spare, account, beside } => {
            prepare(tools, target, journal, memory, (generation, spare, account, beside)).await
        }
        Action::Call { call, candidate, previous, account } => {
            let account = target.account(account.as_deref())?;
            place_call(tools, target, journal, memory, account, (call, candidate, previous)).await
        }
        Action::FindTask { from } => {
            let address = &open_account(target, journal)?.address;
            let found = match target.hands.provider.find_task(address, from, tools.clock.now()).await {
                Ok(Some((task, status))) => Ok(Some((task, without_passwords(tools, target, journal, status).await?))),
                Ok(None) => Ok(None),
                Err(fault) => Err(fault),
            };
            note_look(tools, journal, found.map(|found| What::TaskSought { found }))
        }
        Action::PollTask(task) => {
            let status = match target.hands.provider.task(&open_account(target, journal)?.address, task).await {
                Ok(status) => Ok(without_passwords(tools, target, journal, status).await?),
                Err(fault) => Err(fault),
            };
            note_look(tools, journal, status.map(|status| What::TaskRead { status }))
        }
        Action::ReadMark => {
            let mark = target.hands.provider.change_mark(&open_account(target, journal)?.address).await;
            note_look(tools, journal, mark.map(|mark| What::MarkRead { mark }))
        }
        Action::TryLogin { candidate, previous, account } => {
            let account = target.account(account.as_deref())?;
            let what = try_logins(tools, target, account, candidate, previous).await?;
            journal.note(tools.clock.now(), what)
        }
        Action::Verify { generation } => upkeep::verify(tools, target, journal, generation).await,
        Action::Retire { generation, current } => upkeep::retire(tools, target, journal, generation, current).await,
        Action::Deliver { sinks, generation } => hand_over::deliver(tools, target, journal, &sinks, generation).await,
        Action::Tell { hooks, generation } => hand_over::tell(tools, outbox, target, journal, &hooks, generation).await,
        Action::Wait { .. } | Action::Record(_) | Action::Begin { .. } => {
            Err(Fault::new(Kind::Bug, "a decision was taken for an act"))
        }
    }
}

/// The account that the open rotation changes.
fn open_account<'a>(target: &'a Target, journal: &Journal<'_>) -> Result<&'a Account, Fault> {
    target.account(journal.state().open.as_ref().and_then(|open| open.account.as_deref()))
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
pub(super) fn blocked(fault: Fault) -> What {
    match fault.retry {
        Retry::Never => What::Halted { fault },
        Retry::Later | Retry::AfterMillis(_) => What::Blocked { fault },
    }
}

/// The instance, if a change may be asked for now.
pub(super) async fn look_at_instance(target: &Target, account: &Account) -> Result<Instance, Fault> {
    let instance = target.hands.provider.inspect(&account.address).await?;
    let id = &account.address.instance;
    match &instance.condition {
        Condition::Ready => Ok(instance),
        Condition::Busy(what) => Err(Fault::new(Kind::Busy, format!("instance {id} is not ready: {what}"))),
        Condition::Gone(what) => Err(Fault::new(Kind::Gone, format!("instance {id} cannot be used: {what}"))),
        Condition::PasswordFree => Err(password_free(id)),
        Condition::Unsupported(what) => Err(Fault::new(Kind::Unsupported, format!("instance {id}: {what}"))),
    }
}

async fn preflight(
    tools: &Tools,
    target: &Target,
    memory: &mut Memory,
    account: Option<&str>,
    current: Option<Generation>,
    (previous, beside, believes): (Option<Generation>, bool, bool),
) -> Result<What, Fault> {
    let account = target.account(account)?;
    let instance = match look_at_instance(target, account).await {
        Ok(instance) => instance,
        Err(fault) => return Ok(blocked(fault)),
    };
    // Where a sink that is down holds nothing up, it is not even waited for here.
    let asked = target.hands.sinks.values().filter(|_| target.settings.on_sink_down == OnSinkDown::Hold);
    let ready = join_all(asked.map(|sink| in_time(sink.ready(&target.name), Kind::SinkUnavailable)));
    if let Some(mut fault) = ready.await.into_iter().find_map(Result::err) {
        // A sink that would refuse is waited for: nothing has changed, and a person sees it in the status.
        fault.retry = Retry::Later;
        return Ok(What::Blocked { fault });
    }
    // The resting account of a pair is what its consumer used before.
    if let Some(current) = current.filter(|_| target.settings.strategy.is_alternate())
        && let Err(fault) = upkeep::acknowledged(target, current).await
    {
        return Ok(What::Blocked { fault });
    }
    let mut drifted = false;
    if let (Some(probe), Some(previous)) = (&account.probe, previous) {
        let password = tools.ledger.password(&target.name, previous).await?;
        match probe.login(&password).await {
            Login::Accepted => {}
            Login::Refused if believes => drifted = true,
            Login::Refused => {
                let what = format!("{} refuses the current password", probe.route());
                let fault = Fault::new(Kind::LoginRefused, what);
                return Ok(What::Blocked {
                    fault: fault.advise("wait; only several refusals say that somebody else changed it"),
                });
            }
            Login::Mixed if beside => {
                tracing::warn!(route = probe.route(), "a node forgot the current password; it gets the next one");
            }
            Login::Mixed => {
                return Ok(What::Blocked { fault: mixed(probe.route()) });
            }
            Login::PasswordFree => {
                return Ok(What::Halted { fault: password_free(probe.route()) });
            }
            Login::Unreachable { fault } => return Ok(What::Blocked { fault }),
        }
    }
    if let Some(previous) = previous.filter(|_| target.settings.strategy.is_alternate()) {
        let password = tools.ledger.password(&target.name, previous).await?;
        upkeep::warn_of_users(target, account, &password, Duration::ZERO, "it is replaced now").await;
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
    (generation, spare, name, beside): (Generation, bool, Option<String>, bool),
) -> Result<(), Fault> {
    let account = target.account(name.as_deref())?;
    let prepared = What::Prepared { generation, account: name, beside };
    if spare {
        return journal.note(tools.clock.now(), prepared);
    }
    let instance = match memory.instance.take() {
        Some(instance) => instance,
        None => match target.hands.provider.inspect(&account.address).await {
            Ok(instance) => instance,
            Err(fault) if fault.retry == Retry::Never => {
                return journal.note(tools.clock.now(), What::Halted { fault });
            }
            Err(fault) => return Err(fault),
        },
    };
    let policy = match instance.password_policy {
        Some(rule) => target.hands.profile.tightened(&target.hands.policy, rule.into()),
        None => Ok(target.hands.policy.clone()),
    };
    match policy {
        Ok(policy) => {
            let password = tools.chance.password(&policy);
            let at = tools.clock.now();
            memory.drawn = Some((generation, password.clone()));
            journal.note_with(at, prepared, Some((generation, password)))
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
    account: &Account,
    (call, candidate, previous): (Call, Generation, Option<Generation>),
) -> Result<(), Fault> {
    let Some(rotation) = journal.rotation() else {
        return Err(Fault::new(Kind::Bug, "a call without a rotation"));
    };
    let new = match memory.drawn.take().filter(|(drawn, _)| *drawn == candidate) {
        Some((_, password)) => password,
        None => tools.ledger.password(&target.name, candidate).await?,
    };
    let old = match previous {
        Some(previous) => Some(tools.ledger.password(&target.name, previous).await?),
        None => None,
    };
    let at = tools.clock.now();
    journal.note(at, What::Intended { call })?;
    journal.write(at, "a call is on its way").await?;
    let provider = &target.hands.provider;
    let call = async {
        match call {
            Call::Modify => provider.change(&account.address, rotation, old.as_ref(), &new).await,
            Call::Reset => provider.reset(&account.address, rotation, &new).await,
        }
    };
    let answer = journal.while_ours(call).await?;
    journal.note(tools.clock.now(), What::Answered { answer })
}

async fn try_logins(
    tools: &Tools,
    target: &Target,
    account: &Account,
    candidate: Generation,
    previous: Option<Generation>,
) -> Result<What, Fault> {
    let Some(probe) = &account.probe else {
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

/// The work, or a fault when it takes longer than anything outside may.
pub(super) async fn in_time(work: impl Future<Output = Result<(), Fault>>, kind: Kind) -> Result<(), Fault> {
    tokio::time::timeout(OUTLET_LIMIT, work).await.unwrap_or_else(|_| {
        Err(Fault::new(kind, format!("it gave no answer in {}", crate::moment::show_span(OUTLET_LIMIT))))
    })
}

/// Nodes disagree about the password that should work.
pub(super) fn mixed(route: &str) -> Fault {
    Fault::new(Kind::Busy, format!("not every node behind {route} lets the current password in"))
        .advise("wait; keywheel looks again")
}

/// The instance checks no passwords.
pub(super) fn password_free(place: &str) -> Fault {
    Fault::new(Kind::PasswordFree, format!("{place} lets anybody in without a password"))
}
