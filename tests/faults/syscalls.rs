//! The disk fails: the n-th system call that touches the ledger's files or the sink's returns EIO or ENOSPC, once or for a while. What keywheel could
//! not record it must not act on; once the disk is well it settles, with one new password; and all that it says is done survives a power cut.

use super::case::{CASES, Case};
use super::disk::Cut;
use super::life::{cut, in_words, live, one_was_drawn, scenery, second_life};
use super::machine::CAN_FAIL_CALLS;
use super::stage::Stage;
use super::table::{self, Broken, Ending};
use super::traced::{GONE, Life};
use super::tracer::{Deed, DiskFault, Numbered};
use crate::each_case::each_case;
use nix::libc::{EIO, ENOSPC};
use std::collections::BTreeSet;

/// Rows of a case in a normal run, about.
const ROWS: usize = 36;
/// Of the one case after the first that a normal run has.
const FEW_ROWS: usize = 8;
/// In a long run the cases after the first have one in so many calls of each kind.
const THINNED: usize = 9;
/// A disk is full for so many calls. Each costs the daemon a few seconds of patience.
const A_WHILE: usize = 3;

/// What goes wrong with the disk.
#[derive(Debug, Clone, Copy)]
struct Kind {
    name: &'static str,
    fault: DiskFault,
    /// Where the daemon is killed as it is told: how the power goes then, if it does.
    then: Option<Cut>,
}

const fn kind(name: &'static str, error: i32, calls: usize) -> Kind {
    Kind { name, fault: DiskFault { error, calls, ..DiskFault::ONCE }, then: None }
}

const fn flush(name: &'static str, kills: bool, then: Option<Cut>) -> Kind {
    Kind { name, fault: DiskFault { flushes: true, kills, ..DiskFault::ONCE }, then }
}

/// The places of two kinds below.
const EIO_ONCE: usize = 0;
const FORGOTTEN: usize = 3;

#[rustfmt::skip]
const KINDS: [Kind; 7] = [
    kind("EIO once", EIO, 1),
    kind("ENOSPC once", ENOSPC, 1),
    kind("ENOSPC for a while", ENOSPC, A_WHILE),
    flush("flush fails and is forgotten", false, None),
    kind("EIO for a while", EIO, A_WHILE),
    flush("flush fails, killed, all is there", true, None),
    flush("flush fails, killed, power cut", true, Some(Cut::Worst)),
];

async fn run(number: usize) {
    let case = &CASES[number];
    let long = std::env::var_os("KEYWHEEL_LONG").is_some();
    if !(long || number == 0 || number == super::ALIBABA) {
        return println!("failing disk: {}: only with KEYWHEEL_LONG", case.name);
    }
    if !CAN_FAIL_CALLS {
        return println!("failing disk: {}: system calls cannot be failed on this kind of machine", case.name);
    }
    let calls = count(case).await;
    let few = |rows: usize| (calls.len() / rows).max(1);
    // How many calls lie between two rows, and whether each row has every kind.
    let (step, every_kind) = match (long, number) {
        (true, 0) => (1, true),
        (true, _) => (THINNED, true),
        (false, 0) => (few(ROWS), false),
        (false, _) => (few(FEW_ROWS), false),
    };
    let points = (1..=calls.len()).skip(number % step).step_by(step).enumerate();
    let mut rows: Vec<(usize, Kind)> = points
        .flat_map(|(place, number)| {
            let kinds = if every_kind { KINDS.to_vec() } else { vec![KINDS[place % KINDS.len()]] };
            kinds.into_iter().map(move |kind| (number, kind))
        })
        .collect();
    if !long && number == 0 {
        let new = firsts(&calls).into_iter().enumerate();
        rows.extend(new.map(|(place, number)| (number, KINDS[[EIO_ONCE, FORGOTTEN][place % 2]])));
    }
    let named = rows.into_iter().map(|row| (format!("{:>3} {:<34}", row.0, row.1.name), row)).collect();
    let lines = table::run(named, async |row| play(case, row).await).await;
    table::print(&format!("the disk fails at one in {step} of its {} calls: {}", calls.len(), case.name), &lines);
}

each_case! {
    on 2 threads;
    0 failing_disk_tencent_old_password;
    1 failing_disk_tencent_reset;
    2 failing_disk_tencent_account_root;
    3 failing_disk_tencent_account_custom;
    4 failing_disk_tencent_alternate;
    5 failing_disk_alibaba_old_password_default;
    6 failing_disk_alibaba_old_password_standard;
    7 failing_disk_alibaba_reset_default;
    8 failing_disk_alibaba_reset_standard;
    9 failing_disk_alibaba_alternate_old_password;
    10 failing_disk_alibaba_alternate_reset;
}

/// The calls of a life in which none fails.
async fn count(case: &'static Case) -> Vec<String> {
    let stage = Stage::set(case, &scenery()).await;
    let life = live(&stage, Numbered::OnDisk, None, true).await;
    let calls = life.effects.iter().filter(|effect| effect.number.is_some());
    let calls = calls.map(|effect| in_words(&stage, &effect.text)).collect();
    table::unbroken("without a fault", stage.end(life.end.map(|()| String::new())).await);
    calls
}

/// The calls that come after another one than ever before: a thinned run would miss what happens once.
fn firsts(calls: &[String]) -> Vec<usize> {
    // Some names end by chance.
    let name = |call: &String| call.split_once("-check-").map_or(call.clone(), |(name, _)| name.to_owned());
    let mut seen = BTreeSet::new();
    let pairs = calls.windows(2).map(|pair| (name(&pair[0]), name(&pair[1])));
    pairs.enumerate().filter(|(_, pair)| seen.insert(pair.clone())).map(|(place, _)| place + 2).collect()
}

async fn play(case: &'static Case, (number, kind): (usize, Kind)) -> (Option<String>, Result<Ending, Broken>) {
    let mut stage = Stage::set(case, &scenery()).await;
    let life = live(&stage, Numbered::OnDisk, Some((number, Deed::Fail(kind.fault))), true).await;
    let failed: Vec<String> =
        life.effects.iter().filter(|effect| effect.failed).map(|effect| in_words(&stage, &effect.text)).collect();
    let label = failed.first().cloned().unwrap_or("(none came)".to_owned());
    let how = course(&mut stage, life, kind, failed.len()).await;
    (Some(label), stage.end(how).await)
}

async fn course(stage: &mut Stage, life: Life, kind: Kind, failed: usize) -> Result<String, String> {
    let log = stage.read("daemon.log");
    if log.contains("panicked") {
        return Err("it panicked".to_owned());
    }
    if let Some(act) = unrecorded_act(stage, &life) {
        return Err(format!("it could not write to the ledger and went on all the same: {act}"));
    }
    let Life { killed, asked, end, disk, .. } = life;
    let word = match (&end, killed) {
        (Ok(()), _) => format!("{failed} failed; settled"),
        (Err(_), true) => "killed there".to_owned(),
        (Err(wrong), false) if wrong == GONE => {
            let said = log.trim_end().rsplit('\n').next().unwrap_or_default();
            if !log.contains("Next: ") {
                return Err(format!("it ended without a word on what to do next: {said}"));
            }
            format!("{failed} failed; ended with a sentence")
        }
        (Err(wrong), false) => return Err(wrong.clone()),
    };
    let way = if killed { kind.then } else { Some(Cut::Worst) };
    match way {
        Some(way) => {
            cut(stage, disk.expect("it was followed"), way).await;
        }
        None => drop((stage.observer.hold_still().await, disk)),
    }
    let again = second_life(stage, asked).await?;
    one_was_drawn(stage).await?;
    let between = if way.is_some() { "power cut" } else { "no power cut" };
    Ok(format!("{word}; {between}; {again}"))
}

/// What it did outside after its ledger had failed and before its ledger had worked again.
fn unrecorded_act(stage: &Stage, life: &Life) -> Option<String> {
    let mut failing = false;
    for effect in &life.effects {
        let text = in_words(stage, &effect.text);
        let acts = ["send to the cloud", "rename to orders", "start a program"];
        match text.as_str() {
            "fsync ledger.db-wal" if !effect.failed => failing = false,
            text if text.ends_with("ledger.db-wal") && effect.failed => failing = true,
            text if failing && acts.contains(&text) => return Some(text.to_owned()),
            _ => {}
        }
    }
    None
}
