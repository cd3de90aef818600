//! A target as of now, for people and scripts: `status`, `explain` and `plan` read this, and it is made of the same state, plan and
//! decision that the driver acts on.

use super::outlook::Counting;
use super::target::PlanSettings;
use crate::fault::{Fault, Kind};
use crate::ledger::Row;
use crate::moment::{Moment, show_span};
use crate::name::{Generation, HookName, RotationId, SinkName, TargetName};
use crate::rotation::event::{Proof, What};
use crate::rotation::plan::Hold;
use crate::rotation::state::{Label, Phase, State};
use crate::rotation::waves::Members;
use crate::rotation::why::Why;
use crate::rotation::{Action, fold, next};
use std::collections::BTreeMap;

/// One target as of now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Its name.
    pub target: TargetName,
    /// Its state in one word.
    pub label: Label,
    /// What happens next and why, in one sentence.
    pub why: String,
    /// When that is; `None` when nothing happens by itself.
    pub until: Option<Moment>,
    /// The current generation.
    pub generation: Option<Generation>,
    /// How current was proven, and when.
    pub proof: Option<(Proof, Moment)>,
    /// When a rotation last succeeded.
    pub last_rotated: Option<Moment>,
    /// When the next slot begins.
    pub next_due: Option<Moment>,
    /// What the slots to come count from.
    pub counting: Counting,
    /// The rotation under way.
    pub rotation: Option<RotationId>,
    /// Generations that may be live now.
    pub candidates: Vec<Generation>,
    /// Why a person is needed.
    pub halt: Option<Fault>,
    /// Since when.
    pub halted_since: Option<Moment>,
    /// Since when nobody knows which password is live.
    pub doubt_since: Option<Moment>,
    /// Whether a person should know what it waits for, and that; `None` while something is under way.
    pub waits: Option<Waits>,
    /// Hooks that are given up on, with what the last attempt met.
    pub untold: BTreeMap<HookName, Fault>,
    /// Since when the password is older than `max-age`.
    pub too_old_since: Option<Moment>,
    /// The generation before current that is still valid beside it.
    pub former: Option<Generation>,
    /// The account that each of these generations opens, where the target has two.
    pub opens: BTreeMap<Generation, String>,
    /// Until when nothing begins because a person said so.
    pub paused_until: Option<Moment>,
    /// How the last rotation ended, if it changed nothing.
    pub abandoned: Option<Fault>,
    /// What each sink holds.
    pub sinks: Vec<SinkStatus>,
    /// Why nothing is rotated any more, where its instance is gone; everything is kept.
    pub retired: Option<String>,
}

/// What a target waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waits {
    /// Something that passes, or comes, by itself.
    InPeace,
    /// Something that a person should know of, although keywheel goes on by itself.
    Alarmingly,
}

/// What one sink holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SinkStatus {
    /// The sink.
    pub sink: SinkName,
    /// The generation it holds.
    pub generation: Option<Generation>,
    /// Since when it lacks what is current.
    pub behind_since: Option<Moment>,
    /// How many generations lie between what it holds and current; all of them where it never held one.
    pub behind_by: u64,
    /// Why the last delivery failed.
    pub fault: Option<Fault>,
}

impl Snapshot {
    /// Generations that may be live although they are neither current nor its known companion.
    pub fn in_question(&self) -> Vec<Generation> {
        let known = |one: &&Generation| Some(**one) != self.generation && Some(**one) != self.former;
        self.candidates.iter().filter(known).copied().collect()
    }

    /// Whether somebody should look: anything but settled, or a password that is too old. Not at what is retired.
    pub fn wants_attention(&self) -> bool {
        self.retired.is_none() && (self.label != Label::Settled || self.too_old_since.is_some())
    }

    /// The same target without a future.
    #[must_use]
    pub fn retired(self, why: String) -> Self {
        let too_old_since = None;
        Self { why: why.clone(), retired: Some(why), until: None, next_due: None, too_old_since, ..self }
    }
}

/// The target as its recorded events and its settings make it now.
///
/// # Errors
/// `LedgerCorrupt` when the events contradict each other.
pub fn snapshot(
    target: &TargetName,
    settings: &PlanSettings,
    rows: &[Row],
    members: Option<&Members>,
    now: Moment,
) -> Result<Snapshot, Fault> {
    let state = fold(rows.iter().map(|row| &row.event))
        .map_err(|illegal| Fault::new(Kind::LedgerCorrupt, format!("target {target}: {illegal}")))?;
    let plan = settings.plan_among(target, members, &state.standing, now);
    let action = next(&state, &plan, now);
    let current = state.standing.current.as_ref();
    let too_old_since = current.and_then(|current| settings.timetable.too_old_at(current.proven_at));
    let next_due = plan.slot.map(|slot| slot.due).filter(|_| current.is_some());
    let (until, why) = explain(&action);
    Ok(Snapshot {
        target: target.clone(),
        label: label(&state, &action),
        why,
        until,
        generation: current.map(|current| current.generation),
        proof: current.map(|current| (current.proof, current.proven_at)),
        last_rotated: state.standing.rotated_at,
        next_due,
        counting: Counting::of(settings, &state.standing, now),
        rotation: state.open.as_ref().map(|open| open.id),
        candidates: state.candidates(),
        halt: state.halt.as_ref().map(|halt| halt.fault.clone()),
        halted_since: state.halt.as_ref().map(|halt| halt.since),
        doubt_since: doubt_since(&state),
        waits: match &action {
            Action::Wait { why, .. } if why.is_alarming() => Some(Waits::Alarmingly),
            Action::Wait { .. } => Some(Waits::InPeace),
            Action::Record(_)
            | Action::Adopt
            | Action::Pair { .. }
            | Action::Verify { .. }
            | Action::Retire { .. }
            | Action::Begin { .. }
            | Action::Preflight { .. }
            | Action::Prepare { .. }
            | Action::Call { .. }
            | Action::FindTask { .. }
            | Action::PollTask(_)
            | Action::ReadMark
            | Action::TryLogin { .. }
            | Action::Deliver { .. }
            | Action::Tell { .. } => None,
        },
        untold: untold(&state, settings),
        too_old_since: too_old_since.filter(|&since| since <= now),
        former: state.standing.former.as_ref().map(|former| former.generation),
        opens: state
            .candidates()
            .into_iter()
            .filter_map(|one| Some((one, state.account_of(one)?.to_owned())))
            .collect(),
        paused_until: state.standing.paused.as_ref().map(|pause| pause.until),
        abandoned: state.standing.abandoned.clone(),
        sinks: sinks(&state, settings),
        retired: None,
    })
}

fn label(state: &State, action: &Action) -> Label {
    match (state.label(), action) {
        (Label::Settled, Action::Begin { .. } | Action::Adopt | Action::Record(_)) => Label::Due,
        (Label::Settled, Action::Wait { why: Why::HeldBack(Hold::Wave(_)), .. }) => Label::Due,
        (Label::Paused, Action::Record(_)) => Label::Settled,
        (Label::Settled, Action::Wait { why: Why::Unverified { .. }, .. }) => Label::Doubt,
        (Label::Settled, Action::Deliver { .. } | Action::Wait { why: Why::Behind { .. }, .. }) => Label::Behind,
        (label, _) => label,
    }
}

/// Since a call left that was not answered yet, or since the answer that left us in doubt. A call that is sent again begins anew.
fn doubt_since(state: &State) -> Option<Moment> {
    let open = state.open.as_ref()?;
    match &open.phase {
        Phase::Doubt(doubt) => Some(doubt.since),
        Phase::Sent { at, .. } => Some(*at),
        Phase::Begun
        | Phase::Ready
        | Phase::Prepared
        | Phase::Refused { .. }
        | Phase::Running(_)
        | Phase::Proving(_)
        | Phase::Proven { .. } => None,
    }
}

/// Hooks that were not told of a rotation that tells them no more.
fn untold(state: &State, settings: &PlanSettings) -> BTreeMap<HookName, Fault> {
    let tried = |hook: &HookName, rotation: RotationId| {
        let open = state.open.iter().chain(state.earlier.as_deref()).find(|open| open.id == rotation);
        open.is_some_and(|open| match &open.phase {
            Phase::Proven { hooks } => {
                hooks.get(hook).is_none_or(|outlet| outlet.failures < settings.limits.hook_attempts)
            }
            Phase::Begun
            | Phase::Ready
            | Phase::Prepared
            | Phase::Sent { .. }
            | Phase::Refused { .. }
            | Phase::Running(_)
            | Phase::Doubt(_)
            | Phase::Proving(_) => false,
        })
    };
    let all = state.standing.untold.iter().filter(|(hook, _)| settings.hooks.contains(hook));
    let given_up = all.filter(|(hook, untold)| !tried(hook, untold.rotation));
    given_up.map(|(hook, untold)| (hook.clone(), untold.fault.clone())).collect()
}

fn sinks(state: &State, settings: &PlanSettings) -> Vec<SinkStatus> {
    let current = state.standing.current.as_ref();
    let held = |sink: &SinkName| state.standing.sinks.get(sink);
    let status = |sink: &SinkName| SinkStatus {
        sink: sink.clone(),
        generation: held(sink).and_then(|outlet| outlet.generation),
        behind_since: match (held(sink), current) {
            (Some(outlet), _) => outlet.behind_since,
            (None, Some(current)) => Some(current.proven_at),
            (None, None) => None,
        },
        behind_by: current.map_or(0, |current| {
            let held = held(sink).and_then(|outlet| outlet.generation).unwrap_or_default();
            current.generation.0.saturating_sub(held.0)
        }),
        fault: held(sink).and_then(|outlet| outlet.fault.clone()),
    };
    settings.sinks.iter().map(status).collect()
}

/// What an action means to somebody who watches.
fn explain(action: &Action) -> (Option<Moment>, String) {
    let now = |what: &str| (None, what.to_owned());
    match action {
        Action::Wait { until, why } => (Some(*until).filter(|&until| until < Moment::NEVER), why.to_string()),
        Action::Record(What::Answered { .. }) => {
            now("a call is on its way, or its answer was lost; both passwords are kept, and evidence decides")
        }
        Action::Record(what) => now(&format!("it is about to be recorded as {}", what.label())),
        Action::Adopt => now("today's password is to be taken in and verified"),
        Action::Pair { account } => now(&format!("today's password of {account} is to be taken in and verified")),
        Action::Verify { .. } => now("a login with the current password is to be tried, and the sinks compared"),
        Action::Retire { generation, .. } => {
            now(&format!("the former password, generation {generation}, is to be taken away"))
        }
        Action::Begin { .. } => now("a rotation is due and begins when the daemon takes it up"),
        Action::Preflight { .. } => {
            now("the instance, the current password and the sinks are being checked; nothing has changed yet")
        }
        Action::Prepare { .. } => now("a new password is being drawn; nothing has changed yet"),
        Action::Call { candidate, .. } => now(&format!("the cloud is to be asked to set generation {candidate}")),
        Action::FindTask { .. } => now("the cloud's task list is to be searched for our call"),
        Action::PollTask(task) => now(&format!("the cloud is to be asked about task {task}")),
        Action::ReadMark => now("the account's change time is to be read"),
        Action::TryLogin { candidate, .. } => now(&format!("a login with generation {candidate} is to be tried")),
        Action::Deliver { sinks, generation } => {
            let names: Vec<&str> = sinks.iter().map(SinkName::as_str).collect();
            now(&format!("generation {generation} is being delivered to {}", names.join(", ")))
        }
        Action::Tell { hooks, .. } => {
            let names: Vec<&str> = hooks.iter().map(crate::name::HookName::as_str).collect();
            now(&format!("hooks are being told: {}", names.join(", ")))
        }
    }
}

/// How old the current password is, for people.
pub fn age(snapshot: &Snapshot, now: Moment) -> String {
    snapshot.proof.map_or_else(|| "-".to_owned(), |(_, proven_at)| show_span(now.since(proven_at)))
}
