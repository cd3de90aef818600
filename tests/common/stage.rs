//! A stage for the built binary: a temporary folder with everything an operator would write, the stand-in cloud in this process, and
//! `keywheel` in processes of its own. Nothing waits for a time, only for a condition, and no longer than [`PATIENCE`].

#![allow(dead_code, reason = "each test file uses the part it needs")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop there")]

use keywheel::secret::Secret;
use keywheel::simulator::{Change, Credential, InstanceChange, InstanceSettings, Settings, Simulator, TaskSettings};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

/// The instance of most tests.
pub const INSTANCE: &str = "crs-stage001";
/// Its password before keywheel knows it; the characters are ones that URL encoding changes.
pub const INITIAL: &str = "By-Hand+2019/x&Y";
/// The cloud's API key.
pub const SECRET_ID: &str = "AKIDstagestagestagestagestagestagestage0";
/// Its secret half.
pub const SECRET_KEY: &str = "stage+Secret/Key0123456789abcdef";

/// A condition that has not come by then never comes: a loaded machine is slow, not this slow.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often a condition is looked at.
const LOOK: Duration = Duration::from_millis(25);
/// How long a task of the stand-in takes.
const TASK: Duration = Duration::from_millis(200);

/// How many lines of its log a daemon shows when its test fails.
const LAST_LINES: usize = 30;

/// Everything one test needs. Dropping it ends the cloud and removes the folder.
pub struct Stage {
    folder: TempDir,
    cloud: Simulator,
    runtime: tokio::runtime::Runtime,
}

/// How a command ended.
#[derive(Debug)]
pub struct Outcome {
    /// Its exit status.
    pub status: i32,
    /// What it printed.
    pub out: String,
    /// What it complained of.
    pub err: String,
}

/// `keywheel run` in a process of its own; killed on drop.
pub struct Daemon {
    child: Child,
    log: PathBuf,
}

impl Stage {
    /// A cloud with one instance that has a login listener of its own.
    pub fn set() -> Self {
        Self::set_with(vec![InstanceSettings::new(INSTANCE, INITIAL)])
    }

    /// A cloud with these instances, and the files an operator would write but the configuration.
    pub fn set_with(instances: Vec<InstanceSettings>) -> Self {
        Self::set_in(Settings { instances, ..Settings::default() })
    }

    /// The same with whatever else is set about the cloud, except who may call it and how long its tasks take.
    pub fn set_in(settings: Settings) -> Self {
        let settings = Settings {
            credentials: vec![Credential {
                secret_id: SECRET_ID.to_owned(),
                secret_key: Secret::new(SECRET_KEY.to_owned()),
                token: None,
            }],
            task: TaskSettings { shortest: TASK, longest: TASK },
            ..settings
        };
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let cloud = runtime.block_on(Simulator::start(settings)).unwrap();
        let folder = tempfile::Builder::new().prefix("kw-").tempdir().unwrap();
        fs::create_dir(folder.path().join("state")).unwrap();
        let stage = Self { folder, cloud, runtime };
        stage.write("secret-id", SECRET_ID);
        stage.write("secret-key", SECRET_KEY);
        stage.write("initial", INITIAL);
        stage.write("sealing-key", &stage.new_key());
        stage
    }

    /// A fresh sealing key, as the command prints it.
    pub fn new_key(&self) -> String {
        let made = finished(program().args(["key", "new"]).stdin(Stdio::null()));
        assert_eq!(made.status, 0, "{}", made.err);
        made.out
    }

    /// Writes the configuration: the daemon and the provider, and then `rest`, in which `{folder}` is this stage's folder.
    pub fn configure(&self, rest: &str) {
        self.configure_with("", rest);
    }

    /// The same with further lines of `[daemon]`.
    pub fn configure_with(&self, daemon: &str, rest: &str) {
        let endpoint = self.cloud.endpoint();
        let text = format!(
            r#"[daemon]
ledger = "sqlite://{{folder}}/state/ledger.db"
ephemeral = "rehearsal"
sealing-key = {{ file = "{{folder}}/sealing-key" }}
control-socket = "{{folder}}/control.sock"
{daemon}
[limits]
usual-task-time = "150ms"
late-effect = "2s"
call-backoff = {{ first = "200ms", longest = "500ms" }}
look-backoff = {{ first = "100ms", longest = "400ms" }}
outlet-backoff = {{ first = "100ms", longest = "300ms" }}

[providers.shop]
kind = "tencent"
region = "ap-guangzhou"
endpoint = "{endpoint}"
credentials = {{ source = "static", secret-id = {{ file = "{{folder}}/secret-id" }}, secret-key = {{ file = "{{folder}}/secret-key" }} }}

{rest}"#
        );
        self.write("keywheel.toml", &text.replace("{folder}", &self.folder().display().to_string()));
    }

    /// The configuration's lines for a target on an instance; `more` are further keys.
    pub fn target(&self, name: &str, instance: &str, more: &str) -> String {
        let login = self.cloud.login_address(instance).unwrap();
        format!(
            "[targets.{name}]\nprovider = \"shop\"\ninstance = \"{instance}\"\nlogin = \"redis://{login}\"\n{more}\n\n"
        )
    }

    /// A sink file `NAME` in the folder.
    pub fn sink(&self, name: &str, more: &str) -> String {
        format!("[sinks.{name}]\nkind = \"file\"\npath = \"{{folder}}/{name}\"\n{more}\n\n")
    }

    /// Where everything is.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A path in the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder().join(name)
    }

    /// Writes a file that only its owner can read.
    pub fn write(&self, name: &str, text: &str) {
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(self.path(name)).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    /// The stand-in cloud.
    pub fn cloud(&self) -> &Simulator {
        &self.cloud
    }

    /// Changes the cloud.
    pub fn change(&self, change: Change) {
        self.runtime.block_on(self.cloud.change(change)).unwrap();
    }

    /// Changes an instance.
    pub fn change_instance(&self, id: &str, change: InstanceChange) {
        self.change(Change::of(id, change));
    }

    /// Every password the instance ever had; the last one is live.
    pub fn passwords(&self, id: &str) -> Vec<String> {
        self.cloud.history(id).iter().map(|applied| applied.password.expose().to_owned()).collect()
    }

    /// The one that is live.
    pub fn live(&self, id: &str) -> String {
        self.passwords(id).pop().unwrap()
    }

    /// Runs a command to its end, with nothing on its standard input.
    pub fn keywheel(&self, arguments: &[&str]) -> Outcome {
        finished(self.command(arguments).stdin(Stdio::null()))
    }

    /// Runs a command to its end and gives it a text to read.
    pub fn keywheel_reading(&self, arguments: &[&str], input: &str) -> Outcome {
        let mut command = self.command(arguments);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // A command that refuses before it reads closes the pipe, and that is fine.
        let _closed = child.stdin.take().unwrap().write_all(input.as_bytes());
        outcome(&child.wait_with_output().unwrap())
    }

    /// A command on this stage's configuration, without the variables of whoever runs the tests.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = program();
        command.args(arguments).arg("--config").arg(self.path("keywheel.toml"));
        command
    }

    /// `status --json` as the command prints it, and its exit status.
    pub fn status(&self) -> (Value, i32) {
        let outcome = self.keywheel(&["status", "--json"]);
        let report = serde_json::from_str(&outcome.out)
            .unwrap_or_else(|error| panic!("status --json: {error}: {} {}", outcome.out, outcome.err));
        (report, outcome.status)
    }

    /// One target out of `status --json`.
    pub fn status_of(&self, target: &str) -> Value {
        let (report, _) = self.status();
        let targets = report["targets"].as_array().unwrap();
        targets.iter().find(|found| found["target"] == target).cloned().unwrap_or_default()
    }

    /// Waits until the target is in this state with this generation.
    pub fn until(&self, target: &str, state: &str, generation: u64) {
        let mut last = Value::Null;
        let came = eventually(|| {
            last = self.status_of(target);
            last["state"] == state && last["generation"] == generation
        });
        assert!(came, "{target} is not {state} with generation {generation}: {last}");
    }

    /// A new file `NAME.log` for what a command complains of.
    pub fn log(&self, name: &str) -> fs::File {
        fs::File::create(self.path(&format!("{name}.log"))).unwrap()
    }

    /// Starts the daemon; its log goes to a file.
    pub fn spawn(&self, variables: &[(&str, &str)]) -> Daemon {
        let log = self.path("daemon.log");
        let file = OpenOptions::new().append(true).create(true).open(&log).unwrap();
        let child = self
            .command(&["run"])
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(file)
            .spawn()
            .unwrap();
        Daemon { child, log }
    }

    /// Starts the daemon and waits until it says that it is ready.
    pub fn start(&self, variables: &[(&str, &str)]) -> Daemon {
        let before = fs::metadata(self.path("daemon.log")).map_or(0, |found| found.len() as usize);
        let mut daemon = self.spawn(variables);
        until("the daemon to be ready", || {
            if let Some(ended) = daemon.child.try_wait().unwrap() {
                panic!("the daemon ended with {ended}: {}", daemon.log());
            }
            daemon.log()[before..].contains("keywheel is ready")
        });
        daemon
    }
}

impl Daemon {
    /// What it logged, and every daemon of this stage before it.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// Waits for its end and says how it ended; `None` after a signal.
    pub fn ended(mut self) -> Option<i32> {
        let mut status = None;
        until("the daemon to end", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.and_then(|status| status.code())
    }

    /// kill -9.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM, and a good end.
    pub fn stop(self) {
        self.signal(Signal::TERM);
        assert_eq!(self.ended(), Some(0));
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // The last lines say why a test failed.
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            eprintln!("the daemon's last lines:\n{}", lines[lines.len().saturating_sub(LAST_LINES)..].join("\n"));
        }
        // It may have ended, and a drop cannot fail.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until a condition holds.
pub fn until(what: &str, holds: impl FnMut() -> bool) {
    assert!(eventually(holds), "waited in vain for {what}");
}

fn eventually(mut holds: impl FnMut() -> bool) -> bool {
    (0..PATIENCE.as_millis() / LOOK.as_millis()).any(|_| {
        let came = holds();
        if !came {
            std::thread::sleep(LOOK);
        }
        came
    })
}

/// What a file holds, short enough to be shown.
pub fn digest(path: &Path) -> String {
    use sha2::{Digest, Sha256};
    hex::encode(Sha256::digest(fs::read(path).unwrap()))
}

/// The built binary, without the variables of whoever runs the tests.
fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_keywheel"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("KEYWHEEL_")) {
        command.env_remove(name);
    }
    command.env("NO_COLOR", "1");
    command
}

fn finished(command: &mut Command) -> Outcome {
    outcome(&command.output().unwrap())
}

fn outcome(output: &std::process::Output) -> Outcome {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    Outcome { status: output.status.code().unwrap_or(-1), out: text(&output.stdout), err: text(&output.stderr) }
}
