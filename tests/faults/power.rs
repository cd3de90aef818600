//! The power goes at an effect of one daemon's life: what was not flushed is lost, or partly there. Then the daemon is started again.

use super::case::{CASES, Case};
use super::disk::Cut;
use super::life::{cut, live, scenery, second_life, words};
use super::stage::Stage;
use super::table::{self, Broken, Ending};
use super::tracer::{Deed, Numbered, Side};
use crate::each_case::each_case;

/// Rows of a case in a normal run, about.
const ROWS: usize = 70;
/// Of the one case after the first that a normal run has.
const FEW_ROWS: usize = 10;
/// In a long run the cases after the first have one in so many sides of effects.
const THINNED: usize = 7;

/// One row.
#[derive(Debug, Clone, Copy)]
struct Row {
    number: usize,
    side: Side,
    cut: Cut,
}

async fn run(number: usize) {
    let case = &CASES[number];
    let long = std::env::var_os("KEYWHEEL_LONG").is_some();
    if !(long || number == 0 || number == super::ALIBABA) {
        return println!("power cut: {}: only with KEYWHEEL_LONG", case.name);
    }
    let effects = count(case).await;
    let sides = effects * 2;
    // An odd step meets both sides of effects.
    let step = match (long, number) {
        (true, 0) => 1,
        (true, _) => THINNED,
        (false, 0) => (sides / ROWS) | 1,
        (false, _) => (sides / FEW_ROWS) | 1,
    };
    let points = (1..=effects).flat_map(|number| [(number, Side::Before), (number, Side::After)]);
    let points = points.skip(number % step).step_by(step).enumerate();
    let rows = points.flat_map(|(place, (number, side))| {
        let cuts = [Cut::Worst, Cut::Torn(number as u64), Cut::InMemory];
        let cuts =
            if step == 1 { cuts.to_vec() } else { vec![[cuts[0], cuts[1], cuts[0], cuts[1], cuts[2]][place % 5]] };
        cuts.into_iter().map(move |cut| Row { number, side, cut })
    });
    let named = rows.map(|row| {
        let (side, cut) = (format!("{:?}", row.side), format!("{:?}", row.cut));
        (format!("{:>3} {side:<6} {cut:<9}", row.number), row)
    });
    let lines = table::run(named.collect(), async |row| play(case, row).await).await;
    let every = if step == 1 { "each effect".to_owned() } else { format!("one in {step} sides of effects") };
    table::print(&format!("the power goes at {every} of start, adoption and one rotation: {}", case.name), &lines);
}

each_case! {
    on 2 threads;
    0 power_cut_tencent_old_password;
    1 power_cut_tencent_reset;
    2 power_cut_tencent_account_root;
    3 power_cut_tencent_account_custom;
    4 power_cut_tencent_alternate;
    5 power_cut_alibaba_old_password_default;
    6 power_cut_alibaba_old_password_standard;
    7 power_cut_alibaba_reset_default;
    8 power_cut_alibaba_reset_standard;
    9 power_cut_alibaba_alternate_old_password;
    10 power_cut_alibaba_alternate_reset;
}

/// The effects of a life in which the power goes only after everything is done: what it says is done is on the disk.
async fn count(case: &'static Case) -> usize {
    let mut stage = Stage::set(case, &scenery()).await;
    let mut life = live(&stage, Numbered::All, None, true).await;
    let how = match life.end.clone() {
        Ok(()) => {
            cut(&stage, life.disk.take().expect("it was followed"), Cut::Worst).await;
            second_life(&mut stage, true).await
        }
        Err(wrong) => Err(wrong),
    };
    table::unbroken("without a power cut in its course", stage.end(how).await);
    life.numbered()
}

async fn play(case: &'static Case, row: Row) -> (Option<String>, Result<Ending, Broken>) {
    let mut stage = Stage::set(case, &scenery()).await;
    let deed = (row.number, Deed::Kill(row.side));
    let mut life = live(&stage, Numbered::All, Some(deed), true).await;
    let label = words(&stage, &life, row.number);
    let how = match (life.killed, life.end.clone()) {
        (false, Err(wrong)) => Err(wrong),
        // Effects differ by a few from life to life, so it may have ended before: then the power goes after that.
        (true, _) | (false, Ok(())) => {
            let lost = cut(&stage, life.disk.take().expect("it was followed"), row.cut).await;
            stage.observer.look_at_sink();
            stage.observer.look_at_ledger("after the power cut").await;
            second_life(&mut stage, life.asked).await.map(|how| format!("{lost}; {how}"))
        }
    };
    (Some(label), stage.end(how).await)
}
