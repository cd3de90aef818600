//! kill -9 before and after each effect of one daemon's life: start, adoption, delivery, one rotation. Then it is started again.

use super::case::{CASES, Case};
use super::life::{live, scenery, second_life, words};
use super::stage::Stage;
use super::table::{self, Broken, Ending};
use super::tracer::{Deed, Numbered, Side};
use crate::each_case::each_case;

/// A rotation has at least this many effects; fewer mean that the tracer has lost its sight.
const FEWEST_EFFECTS: usize = 40;
/// Of the cases after the first, a normal run kills at each so-manieth point only; it is odd, so that both sides of an effect come up.
const THINNED: usize = 9;

async fn run(number: usize) {
    let case = &CASES[number];
    let effects = count(case).await;
    assert!(effects >= FEWEST_EFFECTS, "too few effects were seen: {effects}");
    let step = if number == 0 || std::env::var_os("KEYWHEEL_LONG").is_some() { 1 } else { THINNED };
    let points = (1..=effects).flat_map(|number| [(number, Side::Before), (number, Side::After)]);
    // Each case begins elsewhere, so that all of them together come close to every point.
    let points = points.skip(number % step).step_by(step);
    let rows = points.map(|point| (format!("{:>3} {:<6}", point.0, format!("{:?}", point.1)), point)).collect();
    let lines = table::run(rows, async |point| play(case, point).await).await;
    let every = if step == 1 { "each effect".to_owned() } else { format!("one in {step} sides of effects") };
    table::print(&format!("kill -9 at {every} of start, adoption and one rotation: {}", case.name), &lines);
}

each_case! {
    on 2 threads;
    0 kill_9_tencent_old_password;
    1 kill_9_tencent_reset;
    2 kill_9_tencent_account_root;
    3 kill_9_tencent_account_custom;
    4 kill_9_tencent_alternate;
    5 kill_9_alibaba_old_password_default;
    6 kill_9_alibaba_old_password_standard;
    7 kill_9_alibaba_reset_default;
    8 kill_9_alibaba_reset_standard;
    9 kill_9_alibaba_alternate_old_password;
    10 kill_9_alibaba_alternate_reset;
}

/// The effects of a life in which nobody kills.
async fn count(case: &'static Case) -> usize {
    let stage = Stage::set(case, &scenery()).await;
    let life = live(&stage, Numbered::Most, None, false).await;
    table::unbroken("without a kill", stage.end(life.end.clone().map(|()| String::new())).await);
    life.numbered()
}

async fn play(case: &'static Case, point: (usize, Side)) -> (Option<String>, Result<Ending, Broken>) {
    let mut stage = Stage::set(case, &scenery()).await;
    let deed = (point.0, Deed::Kill(point.1));
    let life = live(&stage, Numbered::Most, Some(deed), false).await;
    stage.observer.look_at_sink();
    stage.observer.look_at_ledger("when it was killed").await;
    let label = words(&stage, &life, point.0);
    let how = match (life.killed, life.end.clone()) {
        (true, _) => second_life(&mut stage, life.asked).await,
        // Effects differ by a few from life to life: looks are timed.
        (false, Ok(())) => Ok("ended before it came to this; settled with a new password".to_owned()),
        (false, Err(wrong)) => Err(wrong),
    };
    (Some(label), stage.end(how).await)
}
