//! What keeps planned rotations from beginning at their time: freezes, pauses, and waves. `plan` says it beside its slots.

use super::output::{counted, local, print_line, wrapped};
use super::scene::Scene;
use crate::fault::Fault;
use crate::moment::Moment;
use crate::name::{FreezeName, TargetName};
use crate::rotation::waves::{Members, Share};
use crate::schedule::{Frozen, Timetable};
use chrono_tz::Tz;
use serde::Serialize;
use std::collections::BTreeMap;

/// So many are named of those that are paused.
const NAMED: usize = 5;

/// What holds planned rotations back.
#[derive(Default)]
pub struct Holds {
    freezes: BTreeMap<(Moment, FreezeName), Freeze>,
    /// Until when each of them begins nothing.
    pauses: BTreeMap<TargetName, Moment>,
    /// By selection.
    waves: BTreeMap<TargetName, Members>,
}

/// One stretch of a freeze, and what of the plan falls into it.
struct Freeze {
    frozen: Frozen,
    zone: Tz,
    /// Slots that wait for its end.
    held: usize,
    /// Slots that there would be without it.
    away: usize,
}

impl Holds {
    /// What `timetable` loses to freezes between now and `until`.
    pub fn freeze(&mut self, timetable: &Timetable, zone: Tz, now: Moment, until: Moment) {
        let ahead = timetable.freezes_ahead(now, until);
        if ahead.is_empty() {
            return;
        }
        for frozen in ahead {
            let key = (frozen.from, frozen.name.clone());
            self.freezes.entry(key).or_insert(Freeze { frozen, zone, held: 0, away: 0 });
        }
        for (frozen, held) in timetable.frozen_slots(now, until) {
            if let Some(freeze) = self.freezes.get_mut(&(frozen.from, frozen.name)) {
                *if held.is_some() { &mut freeze.held } else { &mut freeze.away } += 1;
            }
        }
    }

    /// A target that somebody paused.
    pub fn pause(&mut self, target: &TargetName, paused_until: Option<Moment>) {
        self.pauses.extend(paused_until.map(|until| (target.clone(), until)));
    }

    /// The wave of a target, and how many there are.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub async fn wave(
        &mut self,
        scene: &Scene,
        target: &TargetName,
        now: Moment,
    ) -> Result<Option<(usize, usize)>, Fault> {
        let Some((selection, _)) = &scene.settings(target)?.wave else { return Ok(None) };
        if !self.waves.contains_key(selection)
            && let Some(members) = scene.members(target).await?
        {
            self.waves.insert(selection.clone(), members);
        }
        Ok(self.waves.get(selection).and_then(|members| members.wave(target, now)))
    }

    /// Says it.
    pub fn print(&self, now: Moment) {
        let tell = |text: String| {
            wrapped(&text, 0).iter().for_each(|line| print_line(line));
            print_line("");
        };
        for Freeze { frozen, zone, held, away } in self.freezes.values() {
            let (from, until) = (local(frozen.from, *zone), local(frozen.until, *zone));
            let wait = if *held == 1 { "waits" } else { "wait" };
            let fall = if *away == 1 { "falls" } else { "fall" };
            tell(format!(
                "Frozen from {from} to {until} ({}, {}): nothing begins by itself; {} {wait} for its end, and {away} {fall} away.",
                frozen.name,
                zone.name(),
                counted(*held, "slot"),
            ));
        }
        if !self.pauses.is_empty() {
            let until = |&until: &Moment| match until {
                Moment::NEVER => "until somebody resumes it".to_owned(),
                until => format!("until {until}"),
            };
            let named = self.pauses.iter().take(NAMED).map(|(target, at)| format!("{target} {}", until(at)));
            let named: Vec<String> = named.collect();
            let more = match self.pauses.len().saturating_sub(NAMED) {
                0 => String::new(),
                more => format!(", and {more} more"),
            };
            tell(format!("Paused, so that nothing begins: {}{more}.", named.join(", ")));
        }
        for (selection, members) in &self.waves {
            let all = members.taking_part(now).count();
            let waves = members.waves();
            let sizes = waves.sizes(all);
            let Some(&first) = sizes.first() else { continue };
            let names: Vec<&str> = members.taking_part(now).take(first.min(NAMED)).map(TargetName::as_str).collect();
            let then = match (sizes.get(1), waves.then) {
                (None, _) => String::new(),
                (Some(size), Share::Percent(percent)) => format!(", then {size} at a time ({percent} %)"),
                (Some(size), Share::Count(_)) => format!(", then {size} at a time"),
            };
            tell(format!(
                "The {} of {selection} follow each other in {}: {} first{then}. A wave begins when the one before is settled; nothing more begins once {} or {} of all {} halted.",
                counted(all, "target"),
                counted(sizes.len(), "wave"),
                names.join(", "),
                if first == 1 { "the first" } else { "one of the first" },
                waves.halt_after,
                if waves.halt_after == 1 { "is" } else { "are" },
            ));
            if let Some(stop) = members.stop(now) {
                tell(format!("Now {stop}."));
            }
        }
    }

    /// The same for a script.
    pub fn report(&self, now: Moment) -> Report<'_> {
        let freezes = self.freezes.values().map(|Freeze { frozen, held, away, .. }| FreezeReport {
            name: &frozen.name,
            from: frozen.from.to_string(),
            until: frozen.until.to_string(),
            held: *held,
            fall_away: *away,
        });
        let paused = self.pauses.iter().map(|(target, until)| PauseReport {
            target,
            until: Some(until).filter(|&&until| until < Moment::NEVER).map(ToString::to_string),
        });
        let waves = self.waves.iter().map(|(selection, members)| WaveReport {
            selection,
            sizes: members.waves().sizes(members.taking_part(now).count()),
            stopped: members.stop(now).map(|stop| stop.to_string()),
        });
        Report { freezes: freezes.collect(), paused: paused.collect(), waves: waves.collect() }
    }
}

/// What `plan --json` says of it.
#[derive(Serialize)]
pub struct Report<'a> {
    freezes: Vec<FreezeReport<'a>>,
    paused: Vec<PauseReport<'a>>,
    waves: Vec<WaveReport<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct FreezeReport<'a> {
    name: &'a FreezeName,
    from: String,
    until: String,
    held: usize,
    fall_away: usize,
}

#[derive(Serialize)]
struct PauseReport<'a> {
    target: &'a TargetName,
    until: Option<String>,
}

#[derive(Serialize)]
struct WaveReport<'a> {
    selection: &'a TargetName,
    sizes: Vec<usize>,
    stopped: Option<String>,
}
