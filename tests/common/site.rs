//! One row's site: a folder as an operator would lay it out, the built program in it, and the record it keeps there.

#![allow(dead_code, reason = "each test file uses the part it needs")]

use crate::record::{Record, TARGET};
use keywheel::admin::Control;
use keywheel::ledger::Projection;
use keywheel::rotation::state::Label;
use keywheel::seal::aead::SealingKey;
use keywheel::secret::Secret;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, Command};

/// The configuration's file.
pub const CONFIG: &str = "keywheel.toml";
const PROGRAM: &str = env!("CARGO_BIN_EXE_keywheel");
/// How often the world is looked at while waiting.
const LOOK: Duration = Duration::from_millis(15);

/// What one table's sites have in common.
pub struct Ground {
    /// What the folder's name begins with.
    pub prefix: &'static str,
    /// How much the program logs.
    pub log: &'static str,
    /// A row that takes longer does not end.
    pub patience: Duration,
}

/// The site of one row.
pub struct Site {
    ground: &'static Ground,
    folder: TempDir,
    /// The sealing key as it stands in its file.
    pub key: Secret,
    pub record: Arc<Record>,
    daemon: Option<Child>,
}

impl Site {
    pub fn on(ground: &'static Ground) -> Self {
        let folder = tempfile::Builder::new().prefix(ground.prefix).tempdir().unwrap();
        let key = SealingKey::generate(&mut rand::rng());
        let record = Record { ledger: folder.path().join("ledger.db"), key: SealingKey::parse(&key).unwrap() };
        let site = Self { ground, folder, key, record: Arc::new(record), daemon: None };
        fs::create_dir(site.path("sinks")).unwrap();
        site.write("sealing-key", site.key.expose());
        site
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A file only this user can read, as keywheel insists.
    pub fn write(&self, name: &str, text: &str) {
        let mut options = OpenOptions::new();
        let file = options.write(true).create(true).truncate(true).mode(0o600).open(self.path(name));
        file.unwrap().write_all(text.as_bytes()).unwrap();
    }

    /// A text of the program's; nothing before it has begun.
    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// Starts `keywheel run`; its log goes to a file in the folder.
    pub fn start_daemon(&mut self) {
        self.start(CONFIG, "daemon.log");
    }

    /// The same with another configuration and another log.
    pub fn start(&mut self, config: &str, log: &str) {
        let mut command = self.program(&["run"], config);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(self.log(log));
        self.daemon = Some(command.kill_on_drop(true).spawn().unwrap());
    }

    /// A log that several processes append to.
    pub fn log(&self, name: &str) -> File {
        OpenOptions::new().append(true).create(true).open(self.path(name)).unwrap()
    }

    /// The process id of the daemon that was started last.
    pub fn daemon(&self) -> Option<u32> {
        self.daemon.as_ref().and_then(Child::id)
    }

    /// Waits until the daemon that was started last ends by itself.
    pub async fn daemon_ends(&mut self) -> Result<(), String> {
        let Some(mut daemon) = self.daemon.take() else { return Ok(()) };
        let ended = tokio::time::timeout(self.ground.patience, daemon.wait()).await;
        ended.map(drop).map_err(|_| "the daemon should end by itself".to_owned())
    }

    pub async fn kill_daemon(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            // It may have ended by itself.
            let _ = daemon.kill().await;
        }
    }

    fn program(&self, words: &[&str], config: &str) -> Command {
        let mut command = Command::new(PROGRAM);
        command.args(words).arg("--config").arg(self.path(config)).env("KEYWHEEL_LOG", self.ground.log);
        command
    }

    /// The words of `keywheel run`, for somebody else to start.
    pub fn daemon_words(&self) -> Vec<String> {
        let config = self.path(CONFIG).display().to_string();
        vec![PROGRAM.to_owned(), "run".to_owned(), "--config".to_owned(), config]
    }

    /// A verb that ends by itself: its exit status and what it printed.
    pub async fn ask(&self, words: &[&str], input: &str) -> (i32, String) {
        let mut command = self.program(words, CONFIG);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        // A verb that reads nothing may have ended by now.
        let _ = stdin.write_all(input.as_bytes()).await;
        drop(stdin);
        let output = tokio::time::timeout(self.ground.patience, child.wait_with_output()).await;
        let output = output.expect("the verb ends").unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        (output.status.code().unwrap_or(-1), said)
    }

    /// Asks the daemon for a rotation, as soon as it listens.
    pub async fn rotate(&self) -> Result<(), String> {
        self.until("the daemon takes `rotate`", async || {
            let control = Control::connect(&self.path("control.sock")).await.ok().flatten()?;
            control.rotate(&TARGET.parse().unwrap(), None, false).await.ok()
        })
        .await
        .map(drop)
    }

    /// Waits until the projection is as wanted.
    pub async fn until_recorded(&self, what: &str, wanted: impl Fn(&Projection) -> bool) -> Result<Projection, String> {
        self.until(what, async || self.record.projection().await.filter(|projection| wanted(projection))).await
    }

    /// Waits until it is settled with this generation; a halt is the end of that.
    pub async fn until_settled(&self, generation: u64) -> Result<(), String> {
        let settled = |it: &Projection| it.label == Label::Settled && it.generation.0 == generation;
        let what = format!("settled with generation {generation}");
        let rest = self.until_recorded(&what, |it| settled(it) || it.label == Label::Halted).await?;
        if settled(&rest) { Ok(()) } else { Err(format!("it should be {what}: {rest:?}")) }
    }

    /// After a daemon that was to make this generation is gone: the next one starts and goes on from what is recorded, until it rests. With which
    /// generation.
    pub async fn starts_again(&mut self, new: u64, asked: bool) -> Result<u64, String> {
        self.start_daemon();
        let rest = self.until_recorded("at rest again", |it| match it.label {
            Label::Settled => it.generation.0 == new || !asked,
            Label::Halted => true,
            Label::Due | Label::Rotating | Label::Doubt | Label::Behind | Label::Paused => false,
        });
        Ok(rest.await?.generation.0)
    }

    /// Whether the hook was told of this generation.
    pub fn was_told(&self, generation: u64) -> bool {
        self.read("told").lines().any(|line| line == generation.to_string())
    }

    /// Waits until there is something.
    pub async fn until<T>(&self, what: &str, look: impl AsyncFn() -> Option<T>) -> Result<T, String> {
        let began = Instant::now();
        loop {
            if let Some(found) = look().await {
                return Ok(found);
            }
            if began.elapsed() > self.ground.patience {
                let last = self.record.projection().await;
                return Err(format!("it did not come to this: {what}; the ledger's last word: {last:?}"));
            }
            // Who waits long is not in a hurry.
            tokio::time::sleep(LOOK.max(began.elapsed() / 16)).await;
        }
    }
}
