//! `explain`: why a target did or did not rotate, what happens next and when.

use super::Exit;
use super::args;
use super::history::{describe, proven};
use super::output::{addressed, bold, local, print_line, table};
use super::scene::Scene;
use super::status::TargetReport;
use crate::driver::Snapshot;
use crate::fault::Fault;
use crate::moment::{Moment, show_span};
use crate::name::Generation;
use crate::rotation::plan::OnSinkDown;
use crate::rotation::state::Label;
use crate::rotation::why::from_now;
use serde::Serialize;
use std::time::Duration;

/// How many of the latest events are told.
const LATELY: usize = 8;

/// Freezes that begin within this time are told.
const FREEZES_WITHIN: Duration = Duration::from_secs(60 * 86_400);

/// Tells one target's story.
///
/// # Errors
/// When the configuration or the ledger cannot be read, or there is no such target.
pub async fn explain(scene: &Scene, args: &args::One) -> Result<Exit, Fault> {
    let now = scene.now();
    let zone = scene.zone(&args.target);
    let snapshot = scene.snapshot(&args.target).await?;
    print_line(&bold(&headline(&snapshot)));
    let mut facts = table(["", ""]);
    let mut fact = |name: &str, text: String| {
        facts.add_row(vec![format!("  {name}"), text]);
    };
    let when = |moment| format!("{} ({})", local(moment, zone), from_now(moment, now));
    match snapshot.until {
        Some(until) => fact("next", format!("{}: {}", when(until), addressed(&snapshot.why, &snapshot.target))),
        None => match &snapshot.halt {
            _ if snapshot.retired.is_some() => fact("next", snapshot.why.clone()),
            Some(fault) => {
                fact("halted", fault.what.clone());
                fact("what to do", addressed(&fault.next_step, &snapshot.target));
            }
            None => fact("next", addressed(&snapshot.why, &snapshot.target)),
        },
    }
    match (snapshot.generation, snapshot.proof) {
        (Some(generation), Some((proof, at))) => {
            let age = show_span(now.since(at));
            let of = snapshot.opens.get(&generation).map(|account| format!(" of {account}")).unwrap_or_default();
            fact("password", format!("generation {generation}{of}, {}, {age} ago", proven(proof)));
        }
        (_, _) => fact("password", "none taken in yet".to_owned()),
    }
    if let Some(former) = snapshot.former {
        let of = snapshot.opens.get(&former).map(|account| format!(" of {account}")).unwrap_or_default();
        fact("also valid", format!("generation {former}{of}, the one before"));
    }
    if !snapshot.in_question().is_empty() {
        fact("may be live", generations(&snapshot.candidates));
    }
    if let Some(since) = snapshot.too_old_since {
        fact("too old", format!("since {}", local(since, zone)));
    }
    fact("schedule", scene.schedule_text(&args.target));
    if let Some(due) = snapshot.next_due {
        fact("next slot", when(due));
    }
    for frozen in scene.settings(&args.target)?.timetable.freezes_ahead(now, now + FREEZES_WITHIN) {
        let (from, until) = (local(frozen.from, zone), local(frozen.until, zone));
        fact("frozen", format!("from {from} to {until} ({}): nothing begins by itself", frozen.name));
    }
    if let Some(members) = scene.members(&args.target).await? {
        let of = scene.settings(&args.target)?.wave.as_ref().map(|(selection, _)| format!(" of {selection}"));
        let of = of.unwrap_or_default();
        match members.wave(&args.target, now) {
            Some((1, waves)) => fact("wave", format!("the first of {waves}{of}: the others wait until it is settled")),
            Some((wave, waves)) => {
                fact("wave", format!("{wave} of {waves}{of}: it begins when the one before is settled"))
            }
            None => {}
        }
    }
    if !snapshot.sinks.is_empty() {
        let words = match scene.settings(&args.target)?.on_sink_down {
            OnSinkDown::Hold => "no rotation begins that could not be delivered (on-sink-down = \"hold\")",
            OnSinkDown::Proceed => "rotations go on; it gets the newest when it is back (on-sink-down = \"proceed\")",
        };
        fact("sink down", words.to_owned());
    }
    for sink in &snapshot.sinks {
        let holds = sink.generation.map_or_else(|| "nothing yet".to_owned(), |held| format!("generation {held}"));
        let lag = match sink.behind_by {
            0 | 1 => String::new(),
            generations => format!(" by {generations} generations"),
        };
        let behind = match (&sink.fault, sink.behind_since) {
            (Some(fault), Some(since)) => format!(", behind{lag} since {}: {fault}", local(since, zone)),
            (None, Some(since)) => format!(", behind{lag} since {}", local(since, zone)),
            (_, None) => String::new(),
        };
        fact("sink", format!("{} holds {holds}{behind}", sink.sink));
    }
    for (hook, fault) in &snapshot.untold {
        fact("hook", format!("{hook} was given up on and is told of the next change: {fault}"));
    }
    if let Some(fault) = &snapshot.abandoned {
        fact("last time", format!("ended without a change: {}", fault.what));
    }
    print_facts(&facts);
    tell_lately(scene, args).await?;
    Ok(match snapshot.label {
        _ if snapshot.retired.is_some() => Exit::Well,
        Label::Halted => Exit::Halted,
        Label::Settled | Label::Due | Label::Rotating | Label::Doubt | Label::Behind | Label::Paused => Exit::Well,
    })
}

async fn tell_lately(scene: &Scene, args: &args::One) -> Result<(), Fault> {
    let rows = scene.history(&args.target).await?;
    if rows.is_empty() {
        return Ok(());
    }
    print_line("");
    print_line(&bold("lately"));
    let mut lately = table(["", ""]);
    let mut told: Vec<(Moment, String, usize)> = Vec::new();
    for row in &rows {
        let text = addressed(&describe(&row.event.what), &args.target);
        match told.last_mut() {
            // What repeats itself is told once, as of the last time.
            Some((at, last, times)) if *last == text => (*at, *times) = (row.event.at, *times + 1),
            Some(_) | None => told.push((row.event.at, text, 1)),
        }
    }
    for (at, text, times) in told.iter().skip(told.len().saturating_sub(LATELY)) {
        let often = if *times > 1 { format!(" ({times} times)") } else { String::new() };
        lately.add_row(vec![format!("  {}", local(*at, scene.zone(&args.target))), format!("{text}{often}")]);
    }
    print_facts(&lately);
    Ok(())
}

/// A table of two columns without its empty header.
fn print_facts(facts: &comfy_table::Table) {
    for line in facts.lines().skip(1) {
        print_line(line.trim_end());
    }
}

fn headline(snapshot: &Snapshot) -> String {
    let target = &snapshot.target;
    let rotation = snapshot.rotation.map(|id| format!(" (rotation {id})")).unwrap_or_default();
    match snapshot.label {
        _ if snapshot.retired.is_some() => format!("{target} is retired: nothing is rotated, everything is kept"),
        Label::Settled => format!("{target} is settled: its password is proven live and every sink holds it"),
        Label::Due => format!("{target} is due"),
        Label::Rotating => format!("{target} is rotating{rotation}"),
        Label::Doubt => {
            format!(
                "{target} is in doubt{rotation}: evidence is being gathered, and every password that may be live is kept"
            )
        }
        Label::Behind => {
            format!("{target} is behind: a sink does not hold what it should, or a former password is not gone")
        }
        Label::Paused => format!("{target} is paused: its password is proven live, and nothing begins"),
        Label::Halted => format!("{target} is halted and needs a person{rotation}"),
    }
}

/// One target for machines: its state, what this command tells of it, and what happened to it lately.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Story<'a> {
    #[serde(flatten)]
    report: TargetReport<'a>,
    schedule: String,
    /// When something happens next by itself.
    next: Option<String>,
    rotation: Option<String>,
    proof: Option<&'static str>,
    proven_at: Option<String>,
    may_be_live: Vec<u64>,
    also_valid: Option<u64>,
    too_old_since: Option<String>,
    paused: bool,
    paused_until: Option<String>,
    halt: Option<Halted<'a>>,
    lately: Vec<serde_json::Value>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Halted<'a> {
    what: &'a str,
    next_step: String,
    since: Option<String>,
}

impl<'a> Story<'a> {
    pub(super) fn of(snapshot: &'a Snapshot, schedule: String, lately: Vec<serde_json::Value>) -> Self {
        let text = |moment: Option<Moment>| moment.map(|moment| moment.to_string());
        let numbers = |all: &[Generation]| all.iter().map(|generation| generation.0).collect();
        Self {
            report: TargetReport::of(snapshot),
            schedule,
            next: text(snapshot.until),
            rotation: snapshot.rotation.map(|rotation| rotation.to_string()),
            proof: snapshot.proof.map(|(proof, _)| proven(proof)),
            proven_at: text(snapshot.proof.map(|(_, at)| at)),
            may_be_live: numbers(&snapshot.candidates),
            also_valid: snapshot.former.map(|former| former.0),
            too_old_since: text(snapshot.too_old_since),
            paused: snapshot.paused_until.is_some(),
            paused_until: text(snapshot.paused_until.filter(|&until| until < Moment::NEVER)),
            halt: snapshot.halt.as_ref().map(|fault| Halted {
                what: &fault.what,
                next_step: addressed(&fault.next_step, &snapshot.target),
                since: text(snapshot.halted_since),
            }),
            lately,
        }
    }
}

fn generations(all: &[Generation]) -> String {
    let numbers: Vec<String> = all.iter().map(ToString::to_string).collect();
    format!("generations {}", numbers.join(" and "))
}
