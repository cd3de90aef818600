//! One daemon's life under the tracer: start, adoption, delivery, one rotation. And the life after it.

use super::disk::{Cut, Disk};
use super::row::at_rest;
use super::stage::{Scenery, Stage};
use super::traced::Life;
use super::tracer::{Deed, Numbered, Orders};
use keywheel::rotation::event::What;

/// The world of every row with a tracer.
pub fn scenery() -> Scenery {
    Scenery { late_effect: "300ms", ..Scenery::default() }
}

/// Ports in words.
pub fn in_words(stage: &Stage, effect: &str) -> String {
    let cloud = format!("port {}", stage.cloud().address().port());
    let login = stage.cloud().login_address(stage.case.instance()).map(|address| format!("port {}", address.port()));
    let folder = stage.path("");
    let folder = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
    effect
        .replace(&folder, "the folder")
        .replace(&cloud, "the cloud")
        .replace(&login.unwrap_or_default(), "the instance")
}

/// The effect of this number in words, ports and the row's folder by their names.
pub fn words(stage: &Stage, life: &Life, number: usize) -> String {
    life.effect(number).map(|effect| in_words(stage, effect)).unwrap_or_default()
}

/// Starts the daemon under the tracer, asks it for a rotation, and waits until that is done or the daemon is gone.
pub async fn live(stage: &Stage, numbered: Numbered, at: Option<(usize, Deed)>, disk: bool) -> Life {
    let disk = disk.then(|| Disk::under(&stage.path("")));
    let orders = Orders { numbered, at, disk, go_on: None };
    let course = async |asked: &mut bool| {
        stage.adopted().await?;
        stage.rotate().await?;
        *asked = true;
        at_rest(stage, 1).await
    };
    Life::of(stage, orders, course).await
}

/// The power goes: the folder is what its disk held.
pub async fn cut(stage: &Stage, disk: Disk, cut: Cut) -> String {
    let still = stage.observer.hold_still().await;
    let lost = disk.rebuild(cut);
    stage.observer.power_was_cut(cut == Cut::InMemory).await;
    drop(still);
    lost
}

/// The daemon starts again, and goes on from what is recorded.
pub async fn second_life(stage: &mut Stage, asked: bool) -> Result<String, String> {
    let new = stage.case.taken_in() + 1;
    let first = stage.starts_again(new, asked).await?;
    // What the one before was asked may be recorded though nobody heard the answer.
    let is_asked = stage.record.events().await.iter().any(|event| matches!(event, What::Asked { .. }));
    if first == 1 && !is_asked {
        stage.adopted().await?;
        stage.rotate().await?;
    }
    // A folder in memory was empty.
    stage.until("the sink has its file", async || stage.observer.in_sink()).await?;
    at_rest(stage, 1).await?;
    if !stage.was_told(new) {
        return Err(format!("the hook was not told of generation {new}"));
    }
    let word = if first == 1 { "settled as before; then asked, and settled" } else { "went on, and settled" };
    Ok(format!("{word} with generation {new}"))
}

/// One password was drawn, and no other one.
pub async fn one_was_drawn(stage: &Stage) -> Result<(), String> {
    let (found, wanted) = (stage.record.generations().await.len() as u64, stage.case.taken_in() + 1);
    if found == wanted { Ok(()) } else { Err(format!("the ledger should have {wanted} passwords, not {found}")) }
}
