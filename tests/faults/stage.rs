//! One row's world: a stand-in cloud in this process, a folder as an operator would lay it out, and the built program.

use super::case::{Case, FIRST, INITIAL, OUTSIDER, SECOND};
use super::observer::Observer;
use super::table::{Broken, Ending};
use super::traces::Traces;
use keywheel::admin::Control;
use keywheel::ledger::Projection;
use keywheel::ledger::sqlite::Reader;
use keywheel::rotation::event::What;
use keywheel::rotation::state::Label;
use keywheel::seal::aead::SealingKey;
use keywheel::secret::Secret;
use keywheel::simulator::{
    AccountSettings, Change, Credential, InstanceChange, InstanceSettings, Quota, Settings, Simulator, TaskSettings,
};
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;

/// The target of every row.
pub const TARGET: &str = "orders-cache";

const CONFIG: &str = "keywheel.toml";
const PROGRAM: &str = env!("CARGO_BIN_EXE_keywheel");
const SECRET_ID: &str = "AKIDfaultsfaultsfaultsfaultsfaultsfa";
const SECRET_KEY: &str = "KeyOfTheFaultsTable0123456789abcdef";
/// How long a cloud task takes.
const TASK: Duration = Duration::from_millis(150);
/// How often the ledger is read while waiting.
const LOOK: Duration = Duration::from_millis(15);
/// A row that takes longer does not end.
const PATIENCE: Duration = Duration::from_secs(60);

/// What differs from row to row before anything happens.
#[derive(Clone)]
pub struct Scenery {
    /// Whether there is a login route.
    pub login: bool,
    /// How many connections each login opens.
    pub connections: u32,
    /// One request in all.
    pub timeout: &'static str,
    /// `halt` or `reset`.
    pub recovery: &'static str,
    pub late_effect: &'static str,
    pub lock_patience: &'static str,
    pub task_patience: &'static str,
    /// The instance, once made.
    pub instance: fn(&mut InstanceSettings),
}

impl Default for Scenery {
    fn default() -> Self {
        Self {
            login: true,
            connections: 1,
            timeout: "5s",
            recovery: "halt",
            late_effect: "700ms",
            lock_patience: "20s",
            task_patience: "10s",
            instance: |_| {},
        }
    }
}

/// The world of one row.
pub struct Stage {
    pub case: &'static Case,
    folder: TempDir,
    cloud: Arc<Simulator>,
    daemon: Option<Child>,
    key: Secret,
    pub observer: Observer,
    watching: JoinHandle<()>,
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.watching.abort();
    }
}

impl Stage {
    pub async fn set(case: &'static Case, scenery: &Scenery) -> Self {
        keywheel::http::choose_cryptography();
        let folder = tempfile::Builder::new().prefix("keywheel-faults-").tempdir().unwrap();
        let mut instance = case.make();
        (scenery.instance)(&mut instance);
        let settings = Settings {
            credentials: vec![Credential {
                secret_id: SECRET_ID.to_owned(),
                secret_key: Secret::new(SECRET_KEY.to_owned()),
                token: None,
            }],
            instances: vec![instance],
            task: TaskSettings { shortest: TASK, longest: TASK },
            // Only a script makes a call one too many: how fast the machine is decides nothing.
            quota: Quota { per_second: 0.0, burst: 0.0 },
            ..Settings::default()
        };
        let cloud = Arc::new(Simulator::start(settings).await.unwrap());
        let key = SealingKey::generate(&mut rand::rng());
        let places = (folder.path().join("ledger.db"), folder.path().join("sinks/orders"));
        let observer = Observer::new(case, Arc::clone(&cloud), SealingKey::parse(&key).unwrap(), places);
        let watching = tokio::spawn(observer.clone().watch());
        let stage = Self { case, folder, cloud, daemon: None, key, observer, watching };
        fs::create_dir(stage.path("sinks")).unwrap();
        stage.write("hook-works", "");
        stage.write("sealing-key", stage.key.expose());
        stage.write("secret-id", SECRET_ID);
        stage.write("secret-key", SECRET_KEY);
        stage.write("initial", INITIAL);
        stage.write("first", FIRST.1);
        stage.write("second", SECOND.1);
        stage.write(CONFIG, &stage.configuration(scenery));
        stage
    }

    fn configuration(&self, scenery: &Scenery) -> String {
        let folder = self.folder.path().display();
        let endpoint = self.cloud.endpoint();
        let instance = self.case.instance();
        let login = match self.cloud.login_address(instance).filter(|_| scenery.login) {
            Some(address) => {
                let connections = scenery.connections;
                format!(r#"login = {{ url = "redis://{address}", connections = {connections}, timeout = "1s" }}"#)
            }
            None => String::new(),
        };
        let (kind, region, [id, key]) = self.case.provider();
        let keys = self.case.keys(self.folder.path());
        let Scenery { timeout, recovery, late_effect, lock_patience, task_patience, .. } = scenery;
        format!(
            r#"[daemon]
ledger         = "sqlite://{folder}/ledger.db"
sealing-key    = {{ file = "{folder}/sealing-key" }}
control-socket = "{folder}/control.sock"

[limits]
usual-task-time = "100ms"
task-patience   = "{task_patience}"
proof-patience  = "2s"
late-effect     = "{late_effect}"
lock-patience   = "{lock_patience}"
call-backoff    = {{ first = "100ms", longest = "300ms" }}
look-backoff    = {{ first = "50ms", longest = "200ms" }}
outlet-backoff  = {{ first = "50ms", longest = "200ms" }}

[providers.shop]
kind        = "{kind}"
region      = "{region}"
endpoint    = "{endpoint}"
timeout     = "{timeout}"
quota       = 1000
credentials = {{ source = "static", {id} = {{ file = "{folder}/secret-id" }}, {key} = {{ file = "{folder}/secret-key" }} }}

[sinks.orders]
kind   = "file"
path   = "{folder}/sinks/orders"
format = "json"

[hooks.tell]
kind = "command"
argv = ["/bin/sh", "-c", "echo $KEYWHEEL_GENERATION >> {folder}/told; env >> {folder}/told-env; test -e {folder}/hook-works"]

[targets.{TARGET}]
provider = "shop"
instance = "{instance}"
recovery = "{recovery}"
sinks    = ["orders"]
hooks    = ["tell"]
{login}
{keys}
"#
        )
    }

    /// A file only this user can read, as keywheel insists.
    fn write(&self, name: &str, text: &str) {
        let mut options = OpenOptions::new();
        let file = options.write(true).create(true).truncate(true).mode(0o600).open(self.path(name));
        file.unwrap().write_all(text.as_bytes()).unwrap();
    }

    pub fn cloud(&self) -> &Simulator {
        &self.cloud
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Changes the instance.
    pub async fn change(&self, change: InstanceChange) {
        self.cloud.change(Change::of(self.case.instance(), change)).await.unwrap();
    }

    /// Somebody else sets this password on the account that the rotation changes.
    pub async fn outsider(&self, password: &str) {
        self.observer.expect_outsider(password);
        let change = match self.case.account.name() {
            None => InstanceChange { password: Some(Secret::new(password.to_owned())), ..InstanceChange::default() },
            Some(name) => {
                InstanceChange { accounts: vec![AccountSettings::new(name, password)], ..InstanceChange::default() }
            }
        };
        self.change(change).await;
    }

    /// Starts `keywheel run`; its log goes to a file in the folder.
    pub fn start_daemon(&mut self) {
        let command = self.program(&["run"], CONFIG);
        self.daemon = Some(spawn(command, &self.path("daemon.log")));
    }

    /// Starts a daemon on the same ledger that has a control socket of its own, as in another container. Its log is `second.log`.
    pub fn start_elsewhere(&mut self) {
        let config = fs::read_to_string(self.path(CONFIG)).unwrap();
        self.write("elsewhere.toml", &config.replace("/control.sock", "/elsewhere.sock"));
        let command = self.program(&["run"], "elsewhere.toml");
        self.daemon = Some(spawn(command, &self.path("second.log")));
    }

    /// Waits until the daemon that was started last ends by itself.
    pub async fn daemon_ends(&mut self) -> Result<(), String> {
        let Some(mut daemon) = self.daemon.take() else { return Ok(()) };
        let ended = tokio::time::timeout(PATIENCE, daemon.wait()).await;
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
        command.args(words).arg("--config").arg(self.path(config)).env("KEYWHEEL_LOG", "trace");
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
        let output = tokio::time::timeout(PATIENCE, child.wait_with_output()).await.expect("the verb ends").unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        (output.status.code().unwrap_or(-1), said)
    }

    /// Waits until what was set by hand is taken in and delivered.
    pub async fn adopted(&self) -> Result<(), String> {
        self.until_recorded("adopted", |it| it.label == Label::Settled && it.generation.0 == 1).await?;
        self.until("generation 1 is delivered", async || self.observer.in_sink()).await?;
        if self.case.active.is_some() {
            self.until("the resting account is taken in, too", async || {
                let paired = self.events().await.iter().any(|event| matches!(event, What::Paired { .. }));
                paired.then_some(())
            })
            .await?;
        }
        self.observer.look_at_sink();
        Ok(())
    }

    /// Asks the daemon for a rotation, as soon as it listens.
    pub async fn rotate(&self) -> Result<(), String> {
        self.until("the daemon takes `rotate`", async || {
            let control = Control::connect(&self.path("control.sock")).await.ok().flatten()?;
            control.rotate(&TARGET.parse().unwrap(), None).await.ok()
        })
        .await
        .map(drop)
    }

    /// What the ledger says of the target without being asked in keywheel's words.
    pub async fn projection(&self) -> Option<Projection> {
        let reader = Reader::open(&self.path("ledger.db"), Some(&SealingKey::parse(&self.key).unwrap())).ok()?;
        reader.listing().await.ok()?.pop().map(|listing| listing.projection)
    }

    /// The target's record, event by event.
    pub async fn events(&self) -> Vec<What> {
        let Ok(reader) = Reader::open(&self.path("ledger.db"), Some(&SealingKey::parse(&self.key).unwrap())) else {
            return Vec::new();
        };
        let rows = reader.recent(&TARGET.parse().unwrap()).await.unwrap_or_default();
        rows.into_iter().map(|row| row.event.what).collect()
    }

    /// Waits until the projection is as wanted.
    pub async fn until_recorded(&self, what: &str, wanted: impl Fn(&Projection) -> bool) -> Result<Projection, String> {
        self.until(what, async || self.projection().await.filter(|projection| wanted(projection))).await
    }

    /// Waits until there is something.
    pub async fn until<T>(&self, what: &str, look: impl AsyncFn() -> Option<T>) -> Result<T, String> {
        let began = Instant::now();
        loop {
            if let Some(found) = look().await {
                return Ok(found);
            }
            if began.elapsed() > PATIENCE {
                let last = self.projection().await;
                return Err(format!("it did not come to this: {what}; the ledger's last word: {last:?}"));
            }
            // Who waits long is not in a hurry.
            tokio::time::sleep(LOOK.max(began.elapsed() / 16)).await;
        }
    }

    /// How many calls that change a password the cloud let through.
    pub fn changes(&self) -> usize {
        let calls = self.cloud.calls();
        let of = |action: &str| calls.get(action).map_or(0, |calls| calls.accepted.len());
        let Case { change, reset, .. } = self.case;
        if change == reset { of(change) } else { of(change) + of(reset) }
    }

    /// Secrets where they do not belong: the ledger's bytes, the log of every detail, a temporary file, what a hook was told, the process's words and
    /// variables.
    async fn leaks(&self) -> Vec<String> {
        let mut secrets = self.observer.generations().await;
        secrets.extend([INITIAL, FIRST.1, SECOND.1, OUTSIDER, SECRET_KEY, self.key.expose().trim()].map(str::to_owned));
        secrets.sort_unstable();
        secrets.dedup();
        let traces = Traces::of(&secrets);
        let knows = |path: &Path| KNOWING.iter().any(|name| path == self.path(name));
        let (mut found, read) = traces.in_folder(self.folder.path(), &knows);
        if read < 3 {
            found.push(format!("only {read} files were searched for secrets"));
        }
        let pid = self.daemon.as_ref().and_then(Child::id).unwrap_or_default();
        for name in ["cmdline", "environ"] {
            let bytes = fs::read(format!("/proc/{pid}/{name}")).unwrap_or_default();
            found.extend(traces.found(&bytes).map(|(number, form)| format!("{name} holds secret {number} as {form}")));
        }
        found
    }

    /// Ends the row: the last looks, and all there is to know where something was broken.
    pub async fn end(mut self, how: Result<String, String>) -> Result<Ending, Broken> {
        self.observer.look_at_sink();
        self.observer.look_at_ledger("at the end").await;
        self.observer.audit().await;
        let leaks = self.leaks().await;
        self.kill_daemon().await;
        let mut what = self.observer.broken();
        what.extend(leaks);
        let how = how.unwrap_or_else(|wrong| {
            what.push(wrong);
            String::new()
        });
        if what.is_empty() {
            let total: usize = self.cloud.calls().values().map(|calls| calls.accepted.len()).sum();
            let calls = format!("{} changes, {total} calls", self.changes());
            return Ok(Ending { how, calls });
        }
        let history = self.ask(&["history", TARGET], "").await.1;
        let log = fs::read_to_string(self.path("daemon.log")).unwrap_or_default();
        let second = fs::read_to_string(self.path("second.log")).unwrap_or_default();
        let told = fs::read_to_string(self.path("told")).unwrap_or_default();
        let record =
            format!("{history}\n--- log\n{log}\n--- second log\n{second}\n--- hook told: {}", told.replace('\n', " "));
        Err(Broken { what, record })
    }
}

/// What an operator or keywheel itself writes passwords and keys to.
const KNOWING: [&str; 7] = ["sinks", "sinks-away", "initial", "first", "second", "secret-key", "sealing-key"];

fn spawn(mut command: Command, to: &Path) -> Child {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log(to));
    command.kill_on_drop(true).spawn().unwrap()
}

/// A log that several processes append to.
pub fn log(path: &Path) -> fs::File {
    OpenOptions::new().append(true).create(true).open(path).unwrap()
}
