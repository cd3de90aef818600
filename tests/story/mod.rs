//! Short words for events, transcripts and decisions, so that a table of them can be read.

#![allow(dead_code, reason = "each table uses the words it needs")]

pub mod table;

use keywheel::fault::{Fault, Kind};
use keywheel::moment::{Moment, Slot};
use keywheel::name::{Generation, HookName, RotationId, SinkName, TaskId};
use keywheel::rotation::Action;
use keywheel::rotation::answer::{Answer, Call, Login, Refusal, TaskStatus};
use keywheel::rotation::event::{By, Event, Proof, Queue, What};
use keywheel::rotation::plan::{Abilities, Limits, OnSinkDown, Plan, Recovery, Strategy};
use keywheel::rotation::state::{Current, Outlet, Pause, Standing, Trouble, Untold, Verified};
use keywheel::rotation::why::Why;
use std::time::Duration;

/// The instance and account of every story.
pub const PLACE: &str = "crs-1/root";

/// A login route and every ability; two sinks, one hook, a slot from 1060 to 2000 s.
pub fn plan() -> Plan {
    let name = |text: &str| text.parse::<SinkName>().expect("a name");
    Plan {
        place: PLACE.to_owned(),
        slot: Some(slot()),
        may_start: false,
        hold: None,
        strategy: Strategy::InPlace,
        login: true,
        abilities: Abilities {
            task_status: true,
            task_list: true,
            change_mark: true,
            reset: true,
            each_node: false,
            asks_old: true,
        },
        recovery: Recovery::Halt,
        on_sink_down: OnSinkDown::Hold,
        take_over: false,
        adopts: false,
        adopts_resting: false,
        verify_every: None,
        sinks: vec![name("a"), name("b")],
        hooks: vec!["h".parse::<HookName>().expect("a name")],
        limits: Limits::default(),
    }
}

/// A login route and nothing else.
pub fn bare() -> Plan {
    let abilities = Abilities::default();
    Plan { abilities, ..plan() }
}

/// No login route, and nothing else either.
pub fn blind() -> Plan {
    Plan { login: false, ..bare() }
}

fn slot() -> Slot {
    Slot { nominal: Moment::from_seconds(1000), due: Moment::from_seconds(1060), closes: Moment::from_seconds(2000) }
}

pub fn at(second: i64, what: What) -> Event {
    let at = Moment::from_seconds(second);
    Event { at, what }
}

/// A transcript that goes on.
pub trait Story {
    fn then(self, second: i64, what: What) -> Self;
    fn delivered_all(self, second: i64, generation: u64) -> Self;
}

impl Story for Vec<Event> {
    fn then(mut self, second: i64, what: What) -> Self {
        self.push(at(second, what));
        self
    }

    fn delivered_all(self, second: i64, generation: u64) -> Self {
        self.then(second, delivered("a", generation)).then(second, delivered("b", generation))
    }
}

pub fn generation(number: u64) -> Generation {
    Generation(number)
}

pub fn task_id(number: i64) -> TaskId {
    TaskId(number)
}

pub fn operator() -> By {
    By::Operator { uid: 1000 }
}

pub fn busy() -> Fault {
    Fault::new(Kind::Busy, "the dice said so")
}

pub fn adopted() -> What {
    let proof = Proof::Login;
    let by = By::Configuration;
    What::Adopted { generation: generation(1), proof, by, reason: None, place: PLACE.to_owned(), account: None }
}

pub fn paired(account: &str, number: u64) -> What {
    let proof = Proof::Login;
    What::Paired { generation: generation(number), proof, by: operator(), reason: None, account: account.to_owned() }
}

pub fn asked() -> What {
    let reason = Some("drill".to_owned());
    What::Asked { by: operator(), reason }
}

pub fn began(number: u128) -> What {
    let rotation = RotationId::from_parts(Moment::from_seconds(1100), number);
    What::Began { rotation, slot: Some(slot()), by: By::Schedule, reason: None }
}

pub fn blocked(seconds: u64) -> What {
    What::Blocked { fault: busy().after(Duration::from_secs(seconds)) }
}

pub fn ready(drifted: bool) -> What {
    let change_mark = Some("before".to_owned());
    What::Ready { change_mark, drifted }
}

pub fn prepared(number: u64) -> What {
    What::Prepared { generation: generation(number), account: None, beside: false }
}

pub fn intended(call: Call) -> What {
    What::Intended { call }
}

pub fn accepted(task: Option<i64>) -> What {
    let task = task.map(TaskId);
    What::Answered { answer: Answer::Accepted { task } }
}

pub fn refused(refusal: Refusal, seconds: u64) -> What {
    let fault = busy().after(Duration::from_secs(seconds));
    What::Answered { answer: Answer::Refused { refusal, fault } }
}

pub fn unanswered() -> What {
    let fault = Fault::new(Kind::Unanswered, "connection reset");
    What::Answered { answer: Answer::Unanswered { fault } }
}

pub fn task(status: TaskStatus) -> What {
    What::TaskRead { status }
}

pub fn mark(mark: &str) -> What {
    What::MarkRead { mark: Some(mark.to_owned()) }
}

pub fn yes() -> Login {
    Login::Accepted
}

pub fn no() -> Login {
    Login::Refused
}

pub fn look(candidate: Login, previous: Login) -> What {
    What::LoginTried { candidate, previous: Some(previous) }
}

pub fn abandoned() -> What {
    What::Abandoned { fault: busy() }
}

pub fn halted() -> What {
    What::Halted { fault: busy() }
}

fn why() -> Option<String> {
    Some("a drill".to_owned())
}

pub fn resumed(allow_reset: bool) -> What {
    What::Resumed { by: operator(), reason: None, allow_reset }
}

pub fn replaced(number: u64) -> What {
    What::Replaced {
        generation: generation(number),
        proof: Proof::Login,
        by: operator(),
        reason: None,
        place: PLACE.to_owned(),
        account: None,
        moved: false,
    }
}

pub fn delivered(sink: &str, number: u64) -> What {
    What::Delivered { sink: sink.parse().expect("a name"), generation: generation(number), shape: None }
}

pub fn undelivered(sink: &str, number: u64) -> What {
    What::DeliveryFailed { sink: sink.parse().expect("a name"), generation: generation(number), fault: busy() }
}

/// Adopted and delivered.
pub fn rest() -> Vec<Event> {
    vec![at(0, adopted())].delivered_all(1, 1)
}

/// A rotation in its slot.
pub fn begun() -> Vec<Event> {
    rest().then(1100, began(2))
}

/// A rotation that somebody asked for.
pub fn begun_asked() -> Vec<Event> {
    let rotation = RotationId::from_parts(Moment::from_seconds(100), 2);
    rest().then(100, What::Began { rotation, slot: None, by: operator(), reason: None })
}

pub fn prepared_story() -> Vec<Event> {
    begun().then(1110, ready(false)).then(1120, prepared(2))
}

pub fn sent() -> Vec<Event> {
    prepared_story().then(1121, intended(Call::Modify))
}

pub fn proven_story() -> Vec<Event> {
    let proof = Proof::Login;
    sent()
        .then(1130, accepted(None))
        .then(1140, What::LoginTried { candidate: yes(), previous: None })
        .then(1140, What::Proven { generation: generation(2), proof })
}

/// A rotation that was abandoned with a candidate that was never sent.
pub fn spare() -> Vec<Event> {
    prepared_story().then(2001, abandoned())
}

/// The decision in a few words.
pub fn show(action: &Action, now: i64) -> String {
    let names = |sinks: &[SinkName]| sinks.iter().map(SinkName::as_str).collect::<Vec<_>>().join(" ");
    match action {
        Action::Wait { until, .. } if *until <= Moment::from_seconds(now) => "a wait that is over".to_owned(),
        Action::Wait { until, why } => {
            let until = if *until == Moment::NEVER { "never".to_owned() } else { until.seconds().to_string() };
            format!("wait {until} {}", word(why))
        }
        Action::Record(what) => show_record(what),
        Action::Adopt => "adopt".to_owned(),
        Action::Begin { slot: Some(_), .. } => "begin in its slot".to_owned(),
        Action::Begin { slot: None, .. } => "begin".to_owned(),
        Action::Pair { account } => format!("pair {account}"),
        Action::Preflight { believes: true, .. } => "preflight that believes a refusal".to_owned(),
        Action::Preflight { account: None, beside, .. } => {
            if *beside {
                "preflight beside".to_owned()
            } else {
                "preflight".to_owned()
            }
        }
        Action::Preflight { account: Some(account), previous, .. } => {
            format!("preflight {account}, {}", number(*previous))
        }
        Action::Prepare { generation, spare, account, beside } => {
            let what = if *spare { "prepare spare" } else { "prepare" };
            format!("{what} {generation}{}{}", of(account.as_deref()), if *beside { " beside" } else { "" })
        }
        Action::Call { call, candidate, previous, account } => {
            let call = match call {
                Call::Modify => "modify",
                Call::Reset => "reset",
            };
            format!("{call} {candidate} over {}{}", number(*previous), of(account.as_deref()))
        }
        Action::Verify { generation } => format!("verify {generation}"),
        Action::Retire { generation, current } => format!("retire {generation}, {current} stays"),
        Action::FindTask { from } => format!("find task since {}", from.seconds()),
        Action::PollTask(task) => format!("poll {task}"),
        Action::ReadMark => "read mark".to_owned(),
        Action::TryLogin { candidate, previous: None, account } => {
            format!("login {candidate}{}", of(account.as_deref()))
        }
        Action::TryLogin { candidate, previous: Some(previous), account } => {
            format!("login {candidate}, {previous}{}", of(account.as_deref()))
        }
        Action::Deliver { sinks, generation } => format!("deliver {generation} to {}", names(sinks)),
        Action::Tell { hooks, .. } => {
            format!("tell {}", hooks.iter().map(HookName::as_str).collect::<Vec<_>>().join(" "))
        }
    }
}

fn of(account: Option<&str>) -> String {
    account.map(|account| format!(" of {account}")).unwrap_or_default()
}

fn number(generation: Option<Generation>) -> String {
    generation.map_or_else(|| "nothing".to_owned(), |generation| generation.to_string())
}

/// The variant's name.
fn word(why: &Why) -> String {
    let text = format!("{why:?}");
    text.chars().take_while(|c| c.is_alphanumeric()).collect()
}

fn show_record(what: &What) -> String {
    let label = what.label();
    if let What::Halted { fault } | What::Abandoned { fault } = what {
        assert!(!fault.next_step.is_empty(), "{label} without a next step");
        return format!("record {label} {:?}", fault.kind);
    }
    if let What::Proven { generation, proof } = what {
        return format!("record {label} {generation} {proof:?}");
    }
    if let What::Discarded { generation, .. } = what {
        return format!("record {label} {generation}");
    }
    if let What::Settled { standing } = what {
        let current = standing.current.as_ref().expect("something is current");
        return format!("record {label} {}", current.generation);
    }
    if let What::Answered { answer: Answer::Unanswered { .. } } = what {
        return format!("record {label} unanswered");
    }
    format!("record {label}")
}

/// One event of each kind, and of each shape that its parts may have.
pub fn one_of_each() -> Vec<Event> {
    let rotation = RotationId::from_parts(Moment::from_seconds(1100), 2);
    let hook: HookName = "h".parse().expect("a name");
    let fault = busy().after(Duration::from_secs(5));
    let outlet = Outlet {
        generation: Some(generation(1)),
        queued: None,
        shape: None,
        failures: 2,
        tried_at: Some(Moment::from_seconds(1140)),
        behind_since: Some(Moment::from_seconds(1130)),
        fault: Some(busy()),
        differs: false,
    };
    let standing = Standing {
        place: Some(PLACE.to_owned()),
        loose: [generation(4)].into(),
        current: Some(Current {
            generation: generation(2),
            proof: Proof::Task,
            proven_at: Moment::from_seconds(1130),
            rotation: Some(rotation),
            account: None,
        }),
        newest: generation(3),
        spare: Some(generation(3)),
        slots_after: Moment::from_seconds(1000),
        rotated_at: Some(Moment::from_seconds(1130)),
        abandoned: Some(busy()),
        sinks: [("a".parse().expect("a name"), outlet.clone())].into(),
        ..Standing::default()
    };
    let of_two = Current {
        generation: generation(5),
        proof: Proof::Login,
        proven_at: Moment::from_seconds(1130),
        rotation: None,
        account: Some("b".to_owned()),
    };
    let trouble =
        Trouble { fault: busy(), times: 2, since: Moment::from_seconds(1140), at: Moment::from_seconds(1150) };
    let everything = Standing {
        former: Some(of_two),
        beside: true,
        retiring: Some(trouble),
        taken_over: true,
        paused: Some(Pause { by: operator(), since: Moment::from_seconds(1150), until: Moment::NEVER }),
        verified: Some(Verified { at: Moment::from_seconds(1150), refusals: 1, ..Verified::default() }),
        sinks: [("a".parse().expect("a name"), Outlet { differs: true, ..outlet })].into(),
        ..standing.clone()
    };
    let unclear = Standing {
        verified: Some(Verified { at: Moment::from_seconds(1150), refusals: 0, mixed: 2, unreachable: 3 }),
        ..standing.clone()
    };
    let failed = TaskStatus::Failed { message: "no".to_owned() };
    let whats = vec![
        adopted(),
        asked(),
        What::SlotPassed { slot: slot() },
        began(2),
        What::Began { rotation, slot: None, by: operator(), reason: Some("drill".to_owned()) },
        blocked(5),
        ready(false),
        prepared(2),
        intended(Call::Modify),
        intended(Call::Reset),
        accepted(Some(7)),
        accepted(None),
        refused(Refusal::RuleOrOldPassword, 5),
        unanswered(),
        task(TaskStatus::Running),
        task(failed.clone()),
        What::TaskStuck,
        What::TaskSought { found: None },
        What::TaskSought { found: Some((TaskId(7), failed)) },
        mark("after"),
        look(no(), Login::Mixed),
        What::LoginTried { candidate: Login::Unreachable { fault: busy() }, previous: None },
        What::LookFailed { fault },
        What::ProofFailed,
        What::Proven { generation: generation(2), proof: Proof::OldPasswordGone },
        What::Discarded { generation: generation(2), fault: busy() },
        abandoned(),
        delivered("a", 2),
        undelivered("a", 2),
        What::HookTold { hook: hook.clone() },
        What::HookFailed { hook: hook.clone(), fault: busy() },
        What::Settled { standing: Box::new(standing) },
        halted(),
        resumed(true),
        replaced(3),
        What::Revealed { by: operator(), reason: None, generations: vec![generation(1), generation(2)] },
        What::SinkLost { sink: "env".parse().expect("a name") },
        What::Adopted {
            generation: generation(1),
            proof: Proof::Login,
            by: By::Configuration,
            reason: None,
            place: "crs-1/a+b".to_owned(),
            account: Some("a".to_owned()),
        },
        paired("b", 2),
        What::TakenOver { place: PLACE.to_owned() },
        What::Prepared { generation: generation(2), account: Some("b".to_owned()), beside: false },
        What::Prepared { generation: generation(2), account: None, beside: true },
        What::SinkDiffers { sink: "a".parse().expect("a name") },
        What::SinkAgrees { sink: "a".parse().expect("a name") },
        What::Retired { generation: generation(1) },
        What::RetireFailed { generation: generation(1), fault: busy() },
        What::Verified { login: no() },
        What::Paused { by: operator(), reason: None, until: None },
        What::Paused { by: operator(), reason: None, until: Some(Moment::from_seconds(5000)) },
        What::Unpaused { by: By::Schedule },
        What::Settled { standing: Box::new(everything) },
        What::Settled { standing: Box::new(unclear) },
        What::Replaced {
            generation: generation(3),
            proof: Proof::Login,
            by: operator(),
            reason: None,
            place: "crs-1/c+d".to_owned(),
            account: Some("d".to_owned()),
            moved: true,
        },
        What::Delivered {
            sink: "a".parse().expect("a name"),
            generation: generation(2),
            shape: Some("a digest".to_owned()),
        },
        What::HookQueued { hook: hook.clone(), until: Moment::from_seconds(1200), by: Queue::Others },
        What::HookQueued { hook: hook.clone(), until: Moment::from_seconds(1200), by: Queue::Budget },
        What::Asked { by: By::Token { name: "deploys".parse().expect("a name") }, reason: why() },
        What::Adopted {
            generation: generation(1),
            proof: Proof::Login,
            by: operator(),
            reason: why(),
            place: PLACE.to_owned(),
            account: None,
        },
        What::Paired {
            generation: generation(2),
            proof: Proof::Login,
            by: operator(),
            reason: why(),
            account: "b".to_owned(),
        },
        What::Paused { by: operator(), reason: why(), until: None },
        What::Resumed { by: operator(), reason: why(), allow_reset: false },
        What::Revealed { by: operator(), reason: why(), generations: vec![generation(1)] },
        What::Replaced {
            generation: generation(3),
            proof: Proof::Login,
            by: operator(),
            reason: why(),
            place: PLACE.to_owned(),
            account: None,
            moved: false,
        },
        What::Settled {
            standing: Box::new(Standing {
                untold: [(hook, Untold { rotation, fault: busy() })].into(),
                ..Standing::default()
            }),
        },
    ];
    (0..).zip(whats).map(|(second, what)| at(second, what)).collect()
}
