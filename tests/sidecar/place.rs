//! A folder with a source that this test delivers to as a rotator would, a follower's configuration, and followers in processes of their own. Nothing
//! waits for a time, only for a condition.

use super::stage::until;
use keywheel::moment::Moment;
use keywheel::name::Generation;
use keywheel::secret::Secret;
use keywheel::sink::file::FileSink;
use keywheel::sink::{Document, Sink};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::{self, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use tempfile::TempDir;

/// A password of this generation.
pub fn password(generation: u64) -> String {
    format!("Gen{generation:03}-pa$$\"word")
}

pub struct Place {
    folder: TempDir,
}

/// A follower; killed on drop.
pub struct Follower {
    child: Child,
    log: PathBuf,
}

/// The built program, without the variables of whoever runs the tests.
pub fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_keywheel"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("KEYWHEEL_")) {
        command.env_remove(name);
    }
    command.env("NO_COLOR", "1");
    command
}

impl Place {
    /// A source, and a follower that renders the folder `out` from it; `more` are further keys of `[follow.orders]`, and `sections` whatever follows.
    pub fn set(more: &str, sections: &str) -> Self {
        let place = Self { folder: tempfile::Builder::new().prefix("kw-f-").tempdir().unwrap() };
        place.configure(more, sections);
        place
    }

    pub fn configure(&self, more: &str, sections: &str) {
        let text = format!(
            r#"
[sinks.source]
kind = "file"
path = "{{folder}}/source.json"
format = "json"

[sinks.out]
kind = "file"
path = "{{folder}}/out"
format = "directory"
fields = {{ password = "password", user = "user", generation = "generation" }}

[follow.orders]
source = "source"
every = "50ms"
sinks = ["out"]
{more}

{sections}"#
        );
        fs::write(self.path("follow.toml"), text.replace("{folder}", &self.path("").display().to_string())).unwrap();
    }

    pub fn path(&self, name: &str) -> PathBuf {
        if name.is_empty() { self.folder.path().to_owned() } else { self.folder.path().join(name) }
    }

    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// Waits until a file holds this.
    pub fn until_holds(&self, name: &str, text: &str) {
        until(&format!("{name} to hold {text:?}, not {:?}", self.read(name)), || self.read(name).trim() == text);
    }

    /// Delivers to the source, as a rotator does.
    pub fn deliver(&self, generation: u64) {
        let document = Document {
            target: "orders".parse().unwrap(),
            generation: Generation(generation),
            rotation: None,
            proven_at: Moment::from_seconds(1_735_689_600),
            account: "orders_a".to_owned(),
            password: Secret::new(password(generation)),
            login_user: Some("orders_a".to_owned()),
            login_password: Secret::new(password(generation)),
            endpoint: None,
        };
        let settings = serde_json::json!({ "path": self.path("source.json"), "format": "json" });
        let sink = FileSink::new(serde_json::from_value(settings).unwrap()).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(sink.deliver(&document)).unwrap();
    }

    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = program();
        command.arg("--config").arg(self.path("follow.toml")).args(words);
        command
    }

    /// Runs it to its end.
    pub fn run(&self, words: &[&str]) -> Output {
        self.command(words).stdin(Stdio::null()).output().unwrap()
    }

    pub fn follow(&self, words: &[&str]) -> Follower {
        self.spawn(self.command(&[&["follow"], words].concat()))
    }

    /// With an application that a shell makes up: `$1` is the folder.
    pub fn follow_shell(&self, script: &str) -> Follower {
        let folder = self.path("");
        self.follow(&["--", "sh", "-c", script, "sh", folder.to_str().unwrap()])
    }

    pub fn spawn(&self, command: Command) -> Follower {
        Follower::start(command, self.path("follow.log"))
    }
}

impl Follower {
    /// In a process of its own, with its log in a file.
    pub fn start(mut command: Command, log: PathBuf) -> Self {
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(&log).unwrap();
        let child = command.stdin(Stdio::null()).stdout(file.try_clone().unwrap()).stderr(file).spawn().unwrap();
        Self { child, log }
    }

    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    pub fn until_says(&self, text: &str) {
        until(&format!("the follower to say {text:?} in: {}", self.log()), || self.log().contains(text));
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap(), signal).unwrap();
    }

    /// Its exit status; `None` where a signal ended it.
    pub fn ended(mut self) -> Option<i32> {
        let mut status = None;
        until("the follower to end", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.and_then(|status| status.code())
    }

    pub fn stop(self) {
        self.signal(Signal::TERM);
        assert_eq!(self.ended(), Some(0));
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the follower said:\n{}", self.log());
        }
        // It may have ended, and a drop cannot fail.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether a process of this number is there and no zombie.
pub fn lives(number: &str) -> bool {
    let status = fs::read_to_string(Path::new("/proc").join(number.trim()).join("stat")).unwrap_or_default();
    status.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}
