//! The demo's stage: a temporary folder, a stand-in cloud in this process, and the daemon in one of its own.

use crate::admin::Control;
use crate::cli::history::describe;
use crate::cli::output::{bold, print_line};
use crate::cli::scene::Scene;
use crate::cli::status;
use crate::driver::Snapshot;
use crate::fault::{Fault, Kind};
use crate::name::{Generation, TargetName};
use crate::rotation::state::Label;
use crate::seal::aead::SealingKey;
use crate::secret::Secret;
use crate::simulator::{Credential, InstanceSettings, Settings, Simulator, TaskSettings};
use indicatif::{ProgressBar, ProgressStyle};
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tempfile::TempDir;
use tokio::process::{Child, Command};

/// The instance of the story.
pub(super) const INSTANCE: &str = "crs-demo0001";
/// Its password before keywheel knows it.
pub(super) const INITIAL: &str = "Set-By-Hand-2019";

const TARGET: &str = "orders-cache";
const SECRET_ID: &str = "AKIDdemodemodemodemodemodemodemodemo";
const SECRET_KEY: &str = "demodemodemodemodemodemodemodemo";

/// How long a cloud task takes.
const TASK: Duration = Duration::from_millis(600);
/// How far ahead the cron tick lies when the daemon is started.
const TICK_AHEAD: Duration = Duration::from_secs(4);
/// How often the ledger is read.
const LOOK: Duration = Duration::from_millis(50);
/// A chapter that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(30);

/// Everything the story needs.
pub(super) struct Stage {
    folder: TempDir,
    cloud: Simulator,
    daemon: Option<Child>,
    schedule: String,
    target: TargetName,
    told: u64,
}

impl Stage {
    /// Makes the folder, the cloud and the files an operator would write.
    pub(super) async fn set() -> Result<Self, Fault> {
        let folder = tempfile::Builder::new()
            .prefix("keywheel-demo-")
            .tempdir()
            .map_err(|error| wrong("a temporary folder", &error))?;
        let settings = Settings {
            credentials: vec![Credential {
                secret_id: SECRET_ID.to_owned(),
                secret_key: Secret::new(SECRET_KEY.to_owned()),
                token: None,
            }],
            instances: vec![InstanceSettings::new(INSTANCE, INITIAL)],
            task: TaskSettings { shortest: TASK, longest: TASK },
            ..Settings::default()
        };
        let cloud = Simulator::start(settings).await.map_err(|error| wrong("the stand-in cloud", &error))?;
        let target = TARGET.parse().map_err(|error| wrong("the target's name", &error))?;
        let tick = crate::clock::Clock::now(&crate::clock::SystemClock) + TICK_AHEAD;
        let schedule = tick.utc().format("%-S %-M %-H * * *").to_string();
        let stage = Self { folder, cloud, daemon: None, schedule, target, told: 0 };
        stage.write("sealing-key", SealingKey::generate(&mut rand::rng()).expose())?;
        stage.write("secret-id", SECRET_ID)?;
        stage.write("secret-key", SECRET_KEY)?;
        stage.write("orders.initial", INITIAL)?;
        stage.write("keywheel.toml", &stage.configuration()?)?;
        Ok(stage)
    }

    fn configuration(&self) -> Result<String, Fault> {
        let folder = self.folder.path().display();
        let endpoint = self.cloud.endpoint();
        let login =
            self.cloud.login_address(INSTANCE).ok_or_else(|| self.failed("the instance has no login address"))?;
        let schedule = &self.schedule;
        Ok(format!(
            r#"[daemon]
ledger         = "sqlite://{folder}/ledger.db"
ephemeral      = "rehearsal"                  # the folder is temporary, wherever it lies
sealing-key    = {{ file = "{folder}/sealing-key" }}
control-socket = "{folder}/control.sock"

[limits]  # a story has less time than a cloud
usual-task-time = "300ms"
late-effect     = "3s"
call-backoff    = {{ first = "400ms", longest = "1s" }}
look-backoff    = {{ first = "200ms", longest = "600ms" }}

[providers.shop]
kind        = "tencent"
region      = "ap-guangzhou"
endpoint    = "{endpoint}"
credentials = {{ source = "static", secret-id = {{ file = "{folder}/secret-id" }}, secret-key = {{ file = "{folder}/secret-key" }} }}

[sinks.orders-env]
kind   = "file"
path   = "{folder}/orders.env"
format = "env"

[targets.orders-cache]
provider = "shop"
instance = "{INSTANCE}"
adopt    = {{ file = "{folder}/orders.initial" }}
login    = "redis://{login}"
schedule = "{schedule}"
sinks    = ["orders-env"]
"#
        ))
    }

    /// A file only this user can read, as keywheel insists.
    fn write(&self, name: &str, text: &str) -> Result<(), Fault> {
        let path = self.folder.path().join(name);
        let written = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path);
        written.and_then(|mut file| file.write_all(text.as_bytes())).map_err(|error| wrong(name, &error))
    }

    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(super) fn cloud(&self) -> &Simulator {
        &self.cloud
    }

    pub(super) fn schedule(&self) -> &str {
        &self.schedule
    }

    pub(super) fn chapter(&self, number: u32, title: &str, text: &str) {
        print_line("");
        print_line(&bold(&format!("{number}. {title}")));
        print_line(&format!("   {text}"));
    }

    pub(super) fn say(&self, text: &str) {
        print_line(&format!("   {text}"));
    }

    /// Starts `keywheel run`; its log goes to a file in the folder.
    pub(super) async fn start_daemon(&mut self) -> Result<(), Fault> {
        let program = std::env::current_exe().map_err(|error| wrong("this program's own path", &error))?;
        let log = OpenOptions::new()
            .append(true)
            .create(true)
            .open(self.path("daemon.log"))
            .map_err(|error| wrong("the daemon's log", &error))?;
        let mut command = Command::new(program);
        command
            .args(["run", "--end-with-parent", &std::process::id().to_string(), "--config"])
            .arg(self.path("keywheel.toml"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("KEYWHEEL_")) {
            command.env_remove(name);
        }
        self.daemon = Some(command.kill_on_drop(true).spawn().map_err(|error| wrong("the daemon", &error))?);
        Ok(())
    }

    /// kill -9.
    pub(super) async fn kill_daemon(&mut self) -> Result<(), Fault> {
        match self.daemon.take() {
            Some(mut daemon) => daemon.kill().await.map_err(|error| wrong("kill -9", &error)),
            None => Ok(()),
        }
    }

    /// Ctrl-C, as an operator stops it.
    pub(super) async fn stop_daemon(&mut self) -> Result<(), Fault> {
        let Some(mut daemon) = self.daemon.take() else { return Ok(()) };
        let pid = daemon.id().and_then(|id| i32::try_from(id).ok()).and_then(rustix::process::Pid::from_raw);
        if let Some(pid) = pid {
            rustix::process::kill_process(pid, rustix::process::Signal::INT)
                .map_err(|error| wrong("Ctrl-C", &error))?;
        }
        daemon.wait().await.map_err(|error| wrong("the daemon's end", &error))?;
        Ok(())
    }

    /// `keywheel rotate orders-cache`, by the control socket as the command does it.
    pub(super) async fn rotate(&self) -> Result<(), Fault> {
        let control = Control::connect(&self.path("control.sock")).await?;
        let control = control.ok_or_else(|| self.failed("the daemon does not listen on its control socket"))?;
        control.rotate(&self.target, Some("the demo".to_owned()), false).await?;
        self.say("$ keywheel rotate orders-cache --reason 'the demo'");
        Ok(())
    }

    /// Waits until the target is settled with this generation.
    pub(super) async fn settled(&self, generation: Generation) -> Result<(), Fault> {
        self.until(|snapshot| snapshot.label == Label::Settled && snapshot.generation == Some(generation)).await
    }

    /// Waits until the recorded state is as wanted, with a line that says what it waits for on a terminal.
    pub(super) async fn until(&self, wanted: impl Fn(&Snapshot) -> bool) -> Result<(), Fault> {
        let bar = ProgressBar::new_spinner();
        // The template is a constant; were it ever wrong, the plain spinner serves as well.
        if let Ok(style) = ProgressStyle::with_template("   {spinner} {elapsed} {wide_msg}") {
            bar.set_style(style);
        }
        let wait = async {
            loop {
                let scene = self.scene()?;
                let snapshot = scene.snapshot(&self.target).await?;
                if wanted(&snapshot) {
                    return Ok(());
                }
                if let Some(fault) = &snapshot.halt {
                    return Err(self.failed(&format!("the target halted: {fault}")));
                }
                bar.set_message(format!("{}: {}", snapshot.label.as_str(), snapshot.why));
                bar.tick();
                tokio::time::sleep(LOOK).await;
            }
        };
        let outcome = tokio::time::timeout(PATIENCE, wait).await;
        bar.finish_and_clear();
        outcome.unwrap_or_else(|_| Err(self.failed("the chapter took too long")))
    }

    /// Waits until the cloud has set this many passwords, the first included.
    pub(super) async fn until_cloud_applied(&self, passwords: usize) -> Result<(), Fault> {
        let wait = async {
            while self.cloud.history(INSTANCE).len() < passwords {
                tokio::time::sleep(LOOK).await;
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.map_err(|_| self.failed("the cloud did not apply the change"))
    }

    /// Prints what the ledger recorded since the last time.
    pub(super) async fn show_record(&mut self) -> Result<(), Fault> {
        for row in self.scene()?.history(&self.target).await? {
            if row.seq > self.told {
                let time = row.event.at.utc().format("%H:%M:%S%.3f");
                print_line(&format!("   {time}  {}", describe(&row.event.what)));
                self.told = row.seq;
            }
        }
        Ok(())
    }

    /// Prints `keywheel status`.
    pub(super) async fn show_status(&self) -> Result<(), Fault> {
        let args = crate::cli::args::Status { json: false, health: false, targets: Vec::new() };
        status::status(&self.scene()?, &args).await.map(|_| ())
    }

    /// Prints the sink file.
    pub(super) fn show_sink(&self) -> Result<(), Fault> {
        let path = self.path("orders.env");
        let text = fs::read_to_string(&path).map_err(|error| wrong("the sink file", &error))?;
        self.say(&format!("{}:", path.display()));
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            self.say(&format!("  {line}"));
        }
        Ok(())
    }

    /// Says whether the instance lets in the one before and the one now.
    pub(super) fn show_logins(&self, before: &str) -> Result<(), Fault> {
        let now = self.current_password();
        let word = |password: &str| if self.cloud.accepts(INSTANCE, password) { "let in" } else { "refused" };
        self.say(&format!("login with {before}: {}", word(before)));
        self.say(&format!("login with {now}: {}", word(&now)));
        if self.cloud.accepts(INSTANCE, before) || !self.cloud.accepts(INSTANCE, &now) {
            return Err(self.failed("the instance does not let in what it should"));
        }
        Ok(())
    }

    /// What the cloud set last.
    pub(super) fn current_password(&self) -> String {
        self.cloud.history(INSTANCE).last().map(|applied| applied.password.expose().to_owned()).unwrap_or_default()
    }

    /// A chapter that does not end as it should. The folder stays, so that one can look.
    pub(super) fn failed(&self, what: &str) -> Fault {
        let log = self.path("daemon.log");
        let log = fs::read_to_string(log).unwrap_or_default();
        let last: Vec<&str> = log.lines().rev().take(5).collect();
        Fault::new(Kind::Bug, format!("the demo failed: {what}; the daemon's last lines: {}", last.join(" | ")))
    }

    fn scene(&self) -> Result<Scene, Fault> {
        Scene::read(&self.path("keywheel.toml"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

fn wrong(what: &str, error: &dyn std::fmt::Display) -> Fault {
    Fault::new(Kind::Usage, format!("{what}: {error}"))
        .advise("the demo needs a writable temporary folder and loopback")
}
