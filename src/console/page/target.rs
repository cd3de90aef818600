//! One target's story on a page.

use super::timeline::OwnTimeline;
use super::{Bar, Foot, addressed, distance, minutes, render};
use crate::console::target_days::TargetDays;
use crate::driver::{PlanSettings, Snapshot, age};
use crate::ledger::Row;
use crate::moment::{Moment, show_span};
use crate::rotation::event::What;
use crate::schedule::Calendar;
use chrono_tz::Tz;
use serde::Serialize;

/// How many events are told.
const LATELY: usize = 50;

/// How much of a rotation's id is shown.
const ID_TAIL: usize = 6;

/// What is known of a target.
pub struct Story {
    /// As it is now.
    pub snapshot: Snapshot,
    /// What decides its moves.
    pub settings: PlanSettings,
    /// What happened, the oldest first.
    pub rows: Vec<Row>,
}

#[derive(Serialize)]
struct Page<'a> {
    #[serde(flatten)]
    foot: Foot,
    name: &'a str,
    state: &'static str,
    generation: Option<u64>,
    halt: Option<Halt<'a>>,
    facts: Vec<Fact>,
    bar: Option<Bar>,
    sinks: Vec<Sink>,
    events: Vec<Told>,
    own: OwnTimeline,
}

#[derive(Serialize)]
struct Halt<'a> {
    what: &'a str,
    next_step: String,
}

#[derive(Serialize)]
struct Fact {
    word: &'static str,
    text: String,
}

#[derive(Serialize)]
struct Sink {
    name: String,
    holds: String,
    lacks: String,
    why: String,
}

#[derive(Serialize)]
struct Told {
    at: String,
    rotation: String,
    what: String,
}

/// The page of one target; `describe` puts an event into words, and days are those of the zone.
pub fn story(story: &Story, describe: fn(&What) -> String, zone: Tz, now: Moment) -> String {
    let Story { snapshot, settings, rows } = story;
    let addressed = |text: &str| addressed(text, &snapshot.target);
    let proven_at = snapshot.proof.map(|(_, at)| at);
    let too_old_at = proven_at.and_then(|at| settings.timetable.too_old_at(at));
    // Its own zone is the one that its schedule means.
    let zone = settings.timetable.calendar().map_or(zone, Calendar::zone);
    let own = TargetDays::of(rows, &settings.timetable, snapshot.counting, zone, now);
    let told = |row: &Row| Told {
        at: minutes(row.event.at),
        rotation: row.rotation.map_or_else(String::new, |id| short(&id.to_string())),
        what: addressed(&describe(&row.event.what)),
    };
    render(
        "target.html",
        Page {
            foot: Foot::at(now),
            name: snapshot.target.as_str(),
            state: snapshot.label.as_str(),
            generation: snapshot.generation.map(|generation| generation.0),
            halt: snapshot
                .halt
                .as_ref()
                .map(|fault| Halt { what: &fault.what, next_step: addressed(&fault.next_step) }),
            facts: facts(snapshot, settings, now)
                .into_iter()
                .map(|(word, text)| Fact { word, text: addressed(&text) })
                .collect(),
            bar: Bar::of(proven_at, too_old_at, now),
            sinks: sinks(snapshot, now),
            events: rows.iter().rev().take(LATELY).map(told).collect(),
            own: OwnTimeline::of(&own, now),
        },
    )
}

/// The end of a rotation's id, which differs even between rotations of one minute.
fn short(id: &str) -> String {
    format!("…{}", &id[id.len().saturating_sub(ID_TAIL)..])
}

fn facts(snapshot: &Snapshot, settings: &PlanSettings, now: Moment) -> Vec<(&'static str, String)> {
    let when = |at: Moment| format!("{} ({})", minutes(at), distance(at, now));
    let mut facts = Vec::new();
    facts.push((
        "next",
        match snapshot.until {
            Some(until) => format!("{}: {}", when(until), snapshot.why),
            None => snapshot.why.clone(),
        },
    ));
    facts.push((
        "password",
        match snapshot.generation {
            Some(generation) => format!("generation {generation}, proven {} ago", age(snapshot, now)),
            None => "none taken in yet".to_owned(),
        },
    ));
    let may_be_live = snapshot.in_question();
    if !may_be_live.is_empty() {
        let all: Vec<String> = snapshot.candidates.iter().map(ToString::to_string).collect();
        facts.push(("may be live", format!("generations {}; each is kept", all.join(", "))));
    }
    facts.extend(snapshot.former.map(|former| ("also valid", format!("generation {former}, the one before"))));
    facts.extend(snapshot.doubt_since.map(|since| ("in doubt", format!("since {}", when(since)))));
    facts.extend(snapshot.halted_since.map(|since| ("halted", format!("since {}", when(since)))));
    facts.extend(snapshot.too_old_since.map(|since| ("too old", format!("since {}", when(since)))));
    facts.extend(snapshot.paused_until.map(|until| {
        (
            "paused",
            if until >= Moment::NEVER { "until somebody resumes".to_owned() } else { format!("until {}", when(until)) },
        )
    }));
    facts.extend(snapshot.last_rotated.map(|at| ("last rotated", when(at))));
    facts.push(("schedule", settings.timetable.describe()));
    facts.extend(snapshot.next_due.map(|due| ("next slot", when(due))));
    for (hook, fault) in &snapshot.untold {
        facts.push(("hook", format!("{hook} was given up on and is told of the next change: {fault}")));
    }
    if let Some(fault) = &snapshot.abandoned {
        facts.push(("last time", format!("ended without a change: {}", fault.what)));
    }
    facts
}

fn sinks(snapshot: &Snapshot, now: Moment) -> Vec<Sink> {
    let sink = |sink: &crate::driver::SinkStatus| Sink {
        name: sink.sink.to_string(),
        holds: sink.generation.map_or_else(|| "nothing yet".to_owned(), |held| format!("generation {held}")),
        lacks: sink.behind_since.map_or_else(String::new, |since| {
            let generations = if sink.behind_by == 1 { "generation" } else { "generations" };
            format!("{} {generations}, for {}", sink.behind_by, show_span(now.since(since)))
        }),
        why: sink.fault.as_ref().map_or_else(String::new, ToString::to_string),
    };
    snapshot.sinks.iter().map(sink).collect()
}
