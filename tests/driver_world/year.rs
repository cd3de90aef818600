//! A year of weekly schedules: zones whose clocks change, processes that start again and again, a clock that is set both ways, a machine that sleeps, and
//! faults all along. Each slot is begun exactly once, or the record says that it passed.

use super::cloud::Mood;
use super::dice::Dice;
use super::fleet::{Blueprint, draw_plan};
use super::life::{Story, Traits};
use super::plan::{Kept, Way};
use super::sim::{Tally, Told, ensure};
use super::truth::Truth;
use chrono_tz::Tz;
use keywheel::driver::Wish;
use keywheel::fault::Kind;
use keywheel::moment::{Moment, Slot};
use keywheel::name::TargetName;
use keywheel::rotation::event::{By, What};
use keywheel::rotation::plan::OnSinkDown;
use keywheel::schedule::{Missed, Settings, Timetable};
use std::collections::BTreeMap;
use std::time::Duration;

const DAY: i64 = 86_400_000;
const YEAR: i64 = 371 * DAY;
/// Times that a zone's clock skips or repeats on the day it is set, and one that it never does.
const WEEKLY: [(&str, Tz); 5] = [
    ("0 30 2 * * SUN", Tz::Europe__Berlin),
    ("0 30 1 * * SUN", Tz::America__New_York),
    ("0 45 1 * * SUN", Tz::Australia__Lord_Howe),
    ("0 0 0 * * SUN", Tz::America__Santiago),
    ("0 30 3 * * MON", Tz::Asia__Shanghai),
];

/// What became of the slots of a year.
#[derive(Debug, Default)]
pub struct Slots {
    pub all: u64,
    pub settled: u64,
    /// Begun, and ended without a change because the window closed, or by a person after a halt.
    pub ended: u64,
    /// Passed: nobody could begin it in its window.
    pub passed: u64,
    /// Went by while the target was halted.
    pub halted: u64,
}

impl Story {
    /// A year's story. Inside a runtime with paused time.
    pub fn year(seed: u64, talkative: bool) -> Self {
        let mut dice = Dice::new(seed ^ 0x0059_4541_5200);
        let fault_rate = [0, 60, 150][dice.below(3) as usize];
        let traits = Traits {
            clocks: true,
            mortality: [0, 400, 100][dice.below(3) as usize],
            unstick: true,
            ..Traits::default()
        };
        let mut story = Self::empty(dice, traits, fault_rate, talkative);
        for (number, (schedule, zone)) in WEEKLY.into_iter().enumerate() {
            story.add_weekly(number, schedule, zone);
        }
        story
    }

    fn add_weekly(&mut self, number: usize, schedule: &str, zone: Tz) {
        let mut inner = self.sim.lock();
        let fault_rate = inner.fault_rate;
        let dice = &mut inner.dice;
        let way = Way::pick(dice);
        let tasks = dice.chance(600);
        let mood = Mood { storm: true, tasks, merged_code: false, fault_rate };
        let kept = Kept { take_over: false, adopts_resting: true, ..Kept::new(way, tasks, dice) };
        let mut plan = draw_plan(&kept, dice);
        plan.take_over = false;
        plan.adopts_resting = true;
        plan.verify_every = dice.chance(300).then_some(Duration::from_secs(86_400));
        let name: TargetName = format!("weekly-{number}").parse().expect("a name");
        let timetable = Timetable::parse(Settings {
            target: name.clone(),
            schedule: Some(schedule.to_owned()),
            every: None,
            zone,
            window: Some(Duration::from_secs(7_200)),
            splay: Duration::from_secs(1_200),
            missed: [Missed::IfOpen, Missed::Run, Missed::Skip][dice.below(3) as usize],
            max_age: None,
        })
        .expect("a timetable");
        let accounts = if way == Way::Alternate { 2 } else { 1 };
        let first: Vec<u64> = (0..accounts).map(|_| inner.fresh_password()).collect();
        let key = format!("i-{number}");
        let mut truth = Truth::new(way, kept.strategy.clone(), key.clone(), mood, first.clone());
        truth.named = plan.sinks.clone();
        truth.proceeds = plan.on_sink_down == OnSinkDown::Proceed;
        truth.login = Some(plan.login);
        inner.say(|| format!("{name}: {schedule} {zone}, {kept:?}, login {}, {:?}", plan.login, plan.abilities));
        inner.truths.insert(name.clone(), truth);
        drop(inner);
        self.blueprints.push(Blueprint { name, way, kept, plan, timetable, key, first, named: true, wave: None });
    }

    pub async fn live_a_year(&mut self) -> Told<(Tally, Slots)> {
        self.start();
        let ends = self.sim.lock().now + YEAR;
        while self.sim.lock().now < ends {
            self.is_broken()?;
            let pause = self.sim.lock().dice.below(DAY as u64);
            let sim = self.sim.clone();
            tokio::select! {
                biased;
                () = sim.news.notified() => {}
                () = tokio::time::sleep(Duration::from_millis(pause)) => self.something_happens().await,
            }
            self.look_after().await;
            self.help();
        }
        self.calm().await?;
        self.come_to_rest().await?;
        let slots = self.check_slots()?;
        Ok((self.finish().await?, slots))
    }

    async fn something_happens(&mut self) {
        let act = self.sim.lock().dice.below(8);
        match act {
            0 | 1 => self.set_clock(),
            // The machine's owner is at work: one start after the other, each after a few seconds or minutes.
            2 => {
                for _ in 0..20 {
                    let lives = self.sim.lock().dice.below(60_000);
                    tokio::time::sleep(Duration::from_millis(lives)).await;
                    self.running.iter().for_each(|one| one.process.kill("started again and again"));
                    self.bury();
                    self.start();
                }
            }
            3 => {
                let mut inner = self.sim.lock();
                inner.disk.full_until = inner.now + 1_000 * inner.dice.below(3_600) as i64;
                inner.count("disk trouble begins");
            }
            _ => {}
        }
    }

    /// A person looks about once a day at what is halted. A password that may be live and that the instance refuses for its rules is not drawn
    /// again: there they give the one that works.
    fn help(&self) {
        for at in 0..self.blueprints.len() {
            match self.standing(at).0.halt {
                Some(halt) if halt.fault.kind == Kind::RuleViolated => self.replace(at, None),
                Some(_) => self.ask(at, Wish::Resume { by: By::Operator { uid: 0 }, reason: None, allow_reset: true }),
                None => {}
            }
        }
    }

    /// Each slot of the year was begun exactly once, or passed exactly once and the record says so.
    fn check_slots(&self) -> Told<Slots> {
        let mut slots = Slots::default();
        let inner = self.sim.lock();
        for blueprint in &self.blueprints {
            let name = &blueprint.name;
            let record = inner.disk.records.get(name).ok_or("no record")?;
            let first = record.rows.iter().find(|row| matches!(row.event.what, What::Adopted { .. }));
            let adopted = first.ok_or_else(|| format!("{name} was never adopted"))?.event.at;
            let mut begun: BTreeMap<Moment, u32> = BTreeMap::new();
            let mut last: Option<Slot> = None;
            let mut halts: Vec<(Moment, Moment)> = Vec::new();
            for row in &record.rows {
                match &row.event.what {
                    What::Began { slot: Some(slot), .. } => {
                        *begun.entry(slot.nominal).or_default() += 1;
                        last = Some(*slot);
                    }
                    What::SlotPassed { slot } => {
                        *begun.entry(slot.nominal).or_default() += 1;
                        slots.passed += 1;
                    }
                    What::Halted { .. } => halts.push((row.event.at, Moment::NEVER)),
                    What::Resumed { .. } | What::Replaced { .. } => {
                        let open = halts.last_mut().filter(|(_, until)| *until == Moment::NEVER);
                        if let Some((_, until)) = open {
                            *until = row.event.at;
                        }
                    }
                    What::Settled { .. } => slots.settled += u64::from(last.take().is_some()),
                    What::Abandoned { .. } => slots.ended += u64::from(last.take().is_some()),
                    _ => {}
                }
            }
            let until = Moment::from_millis(inner.now) - Duration::from_secs(6 * 3_600);
            let mut expected = 0;
            for slot in blueprint.timetable.upcoming(adopted, until).filter(|slot| slot.nominal > adopted) {
                expected += 1;
                let times = begun.get(&slot.nominal).copied().unwrap_or_default();
                let halted = halts.iter().any(|&(from, until)| from <= slot.due && slot.nominal <= until);
                slots.halted += u64::from(halted && times == 0);
                ensure(times == 1 || (halted && times == 0), || {
                    format!("{name}: the slot of {} was begun or passed {times} times", slot.nominal)
                })?;
            }
            ensure(expected >= 52, || format!("{name}: a year has {expected} weeks"))?;
            let twice = begun.iter().find(|(_, times)| **times > 1);
            ensure(twice.is_none(), || format!("{name}: a slot was used twice: {twice:?}"))?;
            slots.all += expected;
        }
        Ok(slots)
    }
}
