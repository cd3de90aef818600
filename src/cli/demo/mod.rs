//! `demo`: a whole story on a stand-in cloud. The daemon in it is this very program, started, asked and killed as a real one is.

mod stage;

use super::Exit;
use super::output::{bold, print_line};
use crate::fault::Fault;
use crate::name::Generation;
use crate::rotation::state::Label;
use crate::simulator::{self, Step};
use stage::{INITIAL, INSTANCE, Stage};
use std::time::Duration;

/// How long another operation locks the instance in the third chapter.
const LOCK: Duration = Duration::from_millis(2_500);

/// Tells the story.
///
/// # Errors
/// When a chapter does not end as it should.
pub async fn demo() -> Result<Exit, Fault> {
    let mut stage = Stage::set().await?;
    print_line(&bold("keywheel demo"));
    print_line(&format!(
        "A stand-in cloud with one instance, {INSTANCE}, on loopback; all files in {}.",
        stage.folder().display()
    ));
    print_line("Passwords are shown because they open nothing; the daemon itself never prints one.");

    adopt(&mut stage).await?;
    tick(&mut stage).await?;
    lock(&mut stage).await?;
    lost_answer(&mut stage).await?;
    crash(&mut stage).await?;

    stage.stop_daemon().await?;
    print_line("");
    print_line(&bold("What this showed"));
    print_line("  - today's password was adopted: verified, and not changed");
    print_line(
        "  - a cron tick, a lock, a lost answer and a kill -9 each ended with one new password: live, proven and delivered",
    );
    print_line(
        "  - no password was replaced while it might have been live; the old one stopped working only when the new one was stored",
    );
    print_line(&bold("Where to go next"));
    print_line("  keywheel --help            the verbs, and `keywheel rotate --help` and the like");
    print_line("  keywheel simulate          this cloud alone, to rehearse a configuration of your own against");
    print_line("  config/reference.toml      every setting, with its default");
    print_line("  README.md                  a real instance in five minutes");
    Ok(Exit::Well)
}

async fn adopt(stage: &mut Stage) -> Result<(), Fault> {
    stage.chapter(
        1,
        "Adopt the password that works today",
        "The daemon starts, verifies it by login, changes nothing, and delivers it.",
    );
    stage.say(&format!("before: no sink file; {INSTANCE} lets in {INITIAL}"));
    stage.start_daemon().await?;
    stage
        .until(|snapshot| {
            snapshot.generation == Some(Generation(1))
                && snapshot.sinks.iter().all(|sink| sink.generation == snapshot.generation)
        })
        .await?;
    stage.show_record().await?;
    stage.show_sink()
}

async fn tick(stage: &mut Stage) -> Result<(), Fault> {
    stage.chapter(
        2,
        "A rotation at its cron tick",
        &format!("Its schedule is {:?}, a few seconds from now.", stage.schedule()),
    );
    stage.settled(Generation(2)).await?;
    stage.show_record().await?;
    stage.show_sink()?;
    stage.show_logins(INITIAL)
}

async fn lock(stage: &mut Stage) -> Result<(), Fault> {
    stage.chapter(
        3,
        "A lock, waited out",
        "Another operation holds the instance. Waiting burns no attempt, and the same password is sent again.",
    );
    // The lock comes between the look at the instance and the call.
    stage.cloud().script([Step::once("ModifyInstancePassword", simulator::Fault::LockFor { span: LOCK })]);
    stage.rotate().await?;
    stage.settled(Generation(3)).await?;
    stage.show_record().await
}

async fn lost_answer(stage: &mut Stage) -> Result<(), Fault> {
    stage.chapter(
        4,
        "An answer lost",
        "The cloud takes the call and the connection breaks. Others fold that into \"failed\" and draw another password.",
    );
    stage
        .cloud()
        .script([Step::once("ModifyInstancePassword", simulator::Fault::ApplyThenDropConnection { after_bytes: 0 })]);
    stage.rotate().await?;
    stage.settled(Generation(4)).await?;
    stage.show_record().await
}

async fn crash(stage: &mut Stage) -> Result<(), Fault> {
    stage.chapter(
        5,
        "A crash in mid-rotation",
        "kill -9 while the call is in the air. The intent and the new password were on disk before it left.",
    );
    let before = stage.current_password();
    stage.cloud().script([Step::once("ModifyInstancePassword", simulator::Fault::NeverAnswer { applied: true })]);
    stage.rotate().await?;
    stage.until(|snapshot| snapshot.label == Label::Doubt).await?;
    stage.until_cloud_applied(5).await?;
    stage.kill_daemon().await?;
    stage.show_record().await?;
    stage.say("kill -9. What `keywheel status` says of it:");
    stage.show_status().await?;
    stage.say("The daemon starts again:");
    stage.start_daemon().await?;
    stage.settled(Generation(5)).await?;
    stage.show_record().await?;
    stage.show_sink()?;
    stage.show_logins(&before)
}
