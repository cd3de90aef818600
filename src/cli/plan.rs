//! `plan`: what runs when, in local time, and how much of each quota it takes. The slots are the ones the driver starts by.

use super::Exit;
use super::args;
use super::holds::{self, Holds};
use super::output::{bold, counted, local, print_line, print_table, table, wrapped};
use super::scene::Scene;
use crate::driver::outlook::{Counting, Load, STRETCH};
use crate::fault::{Fault, Kind};
use crate::moment::{Moment, Slot, show_span};
use crate::name::{ProviderName, TargetName};
use crate::rotation::plan::OnSinkDown;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// So many targets are named that go on while a sink is down.
const NAMED: usize = 5;

/// One slot of one target.
struct Planned {
    target: TargetName,
    provider: ProviderName,
    slot: Slot,
    /// Its wave, and how many there are.
    wave: Option<(usize, usize)>,
    on_sink_down: OnSinkDown,
}

/// Prints the plan.
///
/// # Errors
/// When the configuration or the ledger cannot be read.
pub async fn plan(scene: &Scene, args: &args::Plan) -> Result<Exit, Fault> {
    let now = scene.now();
    let (planned, holds) = planned(scene, &args.targets, args.span, now).await?;
    if args.json {
        let text = serde_json::to_string_pretty(&report(scene, &planned, &holds, now))
            .map_err(|error| Fault::new(Kind::Bug, format!("the plan cannot be written: {error}")))?;
        print_line(&text);
        return Ok(Exit::Well);
    }
    // What is the same in every row stands in the header, or in the lines below, so that a row fits a narrow screen.
    let zones: BTreeSet<&str> = planned.iter().map(|item| scene.zone(&item.target).name()).collect();
    let one_zone = zones.iter().next().filter(|_| zones.len() == 1);
    let when = one_zone.map_or_else(|| "WHEN".to_owned(), |zone| format!("WHEN ({zone})"));
    let one_provider = planned.windows(2).all(|pair| pair[0].provider == pair[1].provider);
    let in_waves = planned.iter().any(|item| item.wave.is_some());
    let columns = [(true, when.as_str()), (true, "IN"), (true, "TARGET"), (true, "START UNTIL")];
    let columns = columns.into_iter().chain([(in_waves, "WAVE"), (!one_provider, "PROVIDER")]);
    let mut rows = table(columns.filter_map(|(shown, column)| shown.then_some(column)));
    for item in &planned {
        let zone = scene.zone(&item.target);
        let due = local(item.slot.due, zone);
        let mut row = vec![
            if one_zone.is_some() { due } else { format!("{due} {zone}") },
            if item.slot.due <= now { "now".to_owned() } else { show_span(item.slot.due.since(now)) },
            item.target.to_string(),
            local(item.slot.closes, zone),
        ];
        if in_waves {
            row.push(item.wave.map_or_else(|| "-".to_owned(), |(wave, waves)| format!("{wave} of {waves}")));
        }
        if !one_provider {
            row.push(item.provider.to_string());
        }
        rows.add_row(row);
    }
    if planned.is_empty() {
        print_line(&format!("Nothing is planned for the next {}.", show_span(args.span)));
        holds.print(now);
        return Ok(Exit::Well);
    }
    print_table(&rows);
    print_line("");
    holds.print(now);
    let going_on = planned.iter().filter(|item| item.on_sink_down == OnSinkDown::Proceed);
    let going_on: BTreeSet<&str> = going_on.map(|item| item.target.as_str()).collect();
    let names: Vec<&str> = going_on.iter().copied().take(NAMED).collect();
    let while_down = match going_on.len() {
        0 => "While a sink of a target is down, its rotations are held (on-sink-down = \"hold\").".to_owned(),
        all if all <= NAMED => format!("While a sink is down, {} go on; the others are held.", names.join(", ")),
        all => {
            format!("While a sink is down, {} and {} more go on; the others are held.", names.join(", "), all - NAMED)
        }
    };
    wrapped(&while_down, 0).iter().for_each(|line| print_line(line));
    print_line("");
    print_line(&bold("Quota"));
    for (provider, load) in loads(scene, &planned) {
        let text = format!(
            "{provider}: {} in all and {} in the busiest {}, which the provider's {} requests/s allow within {}",
            counted(load.rotations, "rotation"),
            load.busiest,
            show_span(STRETCH),
            load.quota,
            show_span(load.takes()),
        );
        wrapped(&text, 2).iter().for_each(|line| print_line(line));
    }
    Ok(Exit::Well)
}

/// The plan of the whole fleet as a document.
///
/// # Errors
/// When the ledger cannot be read.
pub(super) async fn document(scene: &Scene, span: Duration) -> Result<String, Fault> {
    let now = scene.now();
    let (planned, holds) = planned(scene, &[], span, now).await?;
    super::sight::document(&report(scene, &planned, &holds, now))
}

async fn planned(
    scene: &Scene,
    targets: &[TargetName],
    span: Duration,
    now: Moment,
) -> Result<(Vec<Planned>, Holds), Fault> {
    let until = now + span;
    let (mut planned, mut holds) = (Vec::new(), Holds::default());
    for target in scene.selected(targets)? {
        let settings = scene.settings(&target)?;
        let standing = scene.standing(&target).await?.unwrap_or_default();
        let counting = Counting::of(settings, &standing, now);
        let slots = counting.slots(settings.timetable.upcoming(now, until), until);
        holds.freeze(&settings.timetable, scene.zone(&target), now, until);
        holds.pause(&target, counting.paused_until);
        let wave = holds.wave(scene, &target, now).await?;
        let provider = scene.provider(&target)?;
        planned.extend(slots.into_iter().map(|slot| Planned {
            target: target.clone(),
            provider: provider.clone(),
            slot,
            wave,
            on_sink_down: settings.on_sink_down,
        }));
    }
    planned.sort_by(|one, other| (one.slot.due, &one.target).cmp(&(other.slot.due, &other.target)));
    Ok((planned, holds))
}

fn loads(scene: &Scene, planned: &[Planned]) -> BTreeMap<ProviderName, Load> {
    let mut dues: BTreeMap<ProviderName, Vec<Moment>> = BTreeMap::new();
    for item in planned {
        dues.entry(item.provider.clone()).or_default().push(item.slot.due);
    }
    let load = |(provider, dues): (ProviderName, Vec<Moment>)| {
        let quota = scene.quota(&provider)?;
        Some((provider, Load::of(&dues, quota)))
    };
    dues.into_iter().filter_map(load).collect()
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Line<'a> {
    target: &'a TargetName,
    provider: &'a ProviderName,
    due: String,
    closes: String,
    local: String,
    on_sink_down: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    wave: Option<usize>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Quota {
    provider: ProviderName,
    rotations: usize,
    busiest_hour: usize,
    requests_per_second: f64,
}

#[derive(Serialize)]
struct Report<'a> {
    slots: Vec<Line<'a>>,
    quota: Vec<Quota>,
    #[serde(flatten)]
    holds: holds::Report<'a>,
}

fn report<'a>(scene: &Scene, planned: &'a [Planned], holds: &'a Holds, now: Moment) -> Report<'a> {
    let slots = planned.iter().map(|item| Line {
        target: &item.target,
        provider: &item.provider,
        due: item.slot.due.to_string(),
        closes: item.slot.closes.to_string(),
        local: local(item.slot.due, scene.zone(&item.target)),
        on_sink_down: item.on_sink_down.as_str(),
        wave: item.wave.map(|(wave, _)| wave),
    });
    let quota = loads(scene, planned).into_iter().map(|(provider, load)| Quota {
        provider,
        rotations: load.rotations,
        busiest_hour: load.busiest,
        requests_per_second: load.quota,
    });
    Report { slots: slots.collect(), quota: quota.collect(), holds: holds.report(now) }
}
