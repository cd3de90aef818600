//! One row's world: a stand-in cloud in this process, a folder as an operator would lay it out, and the built program.

use super::case::{Case, FIRST, INITIAL, OUTSIDER, SECOND};
use super::observer::Observer;
use super::table::{Broken, Ending};
use super::three_sinks::STORE;
use super::traces::Traces;
use crate::record::TARGET;
use crate::site::{CONFIG, Ground, Site};
use keywheel::rotation::event::What;
use keywheel::rotation::state::Label;
use keywheel::secret::Secret;
use keywheel::simulator::{
    AccountSettings, Change, Credential, InstanceChange, InstanceSettings, Quota, Settings, Simulator, TaskSettings,
};
use std::fs;
use std::ops::{Deref, DerefMut};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;

/// The ground of every row's site.
const GROUND: Ground = Ground { prefix: "keywheel-faults-", log: "trace", patience: Duration::from_secs(60) };
const SECRET_ID: &str = "AKIDfaultsfaultsfaultsfaultsfaultsfa";
const SECRET_KEY: &str = "KeyOfTheFaultsTable0123456789abcdef";
/// How long a cloud task takes.
const TASK: Duration = Duration::from_millis(150);

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
    /// Whether there are two more sinks: a folder, and the program of `three_sinks`.
    pub three_sinks: bool,
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
            three_sinks: false,
            instance: |_| {},
        }
    }
}

/// The world of one row.
pub struct Stage {
    pub case: &'static Case,
    site: Site,
    cloud: Arc<Simulator>,
    pub observer: Observer,
    watching: JoinHandle<()>,
}

impl Deref for Stage {
    type Target = Site;

    fn deref(&self) -> &Site {
        &self.site
    }
}

impl DerefMut for Stage {
    fn deref_mut(&mut self) -> &mut Site {
        &mut self.site
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.watching.abort();
    }
}

impl Stage {
    pub async fn set(case: &'static Case, scenery: &Scenery) -> Self {
        keywheel::http::choose_cryptography();
        let site = Site::on(&GROUND);
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
        let observer = Observer::new(case, Arc::clone(&cloud), Arc::clone(&site.record), site.path("sinks/orders"));
        let watching = tokio::spawn(observer.clone().watch());
        let stage = Self { case, site, cloud, observer, watching };
        stage.write("hook-works", "");
        stage.write("secret-id", SECRET_ID);
        stage.write("secret-key", SECRET_KEY);
        stage.write("initial", INITIAL);
        stage.write("first", FIRST.1);
        stage.write("second", SECOND.1);
        stage.write("store.sh", STORE);
        stage.write(CONFIG, &stage.configuration(scenery));
        stage
    }

    fn configuration(&self, scenery: &Scenery) -> String {
        let folder = self.folder().display();
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
        let keys = self.case.keys(self.folder());
        let (more_sinks, sinks) = match scenery.three_sinks {
            false => (String::new(), r#""orders""#),
            true => (
                format!(
                    r#"
[sinks.second]
kind   = "file"
path   = "{folder}/sinks/second"
format = "directory"
fields = {{ generation = "generation", password = "secret" }}

[sinks.store]
kind  = "command"
argv  = ["/bin/sh", "{folder}/store.sh", "{folder}"]
stdin = "password"
"#
                ),
                r#""orders", "second", "store""#,
            ),
        };
        let Scenery { timeout, recovery, late_effect, lock_patience, task_patience, .. } = scenery;
        format!(
            r#"[daemon]
ledger         = "sqlite://{folder}/ledger.db"
ephemeral = "rehearsal"
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
{more_sinks}
[hooks.tell]
kind = "command"
argv = ["/bin/sh", "-c", "echo $KEYWHEEL_GENERATION >> {folder}/told; env >> {folder}/told-env; test -e {folder}/hook-works"]
restarts = false

[targets.{TARGET}]
provider = "shop"
instance = "{instance}"
recovery = "{recovery}"
sinks    = [{sinks}]
hooks    = ["tell"]
{login}
{keys}
"#
        )
    }

    pub fn cloud(&self) -> &Simulator {
        &self.cloud
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

    /// Starts a daemon on the same ledger that has a control socket of its own, as in another container. Its log is `second.log`.
    pub fn start_elsewhere(&mut self) {
        let config = fs::read_to_string(self.path(CONFIG)).unwrap();
        self.write("elsewhere.toml", &config.replace("/control.sock", "/elsewhere.sock"));
        self.start("elsewhere.toml", "second.log");
    }

    /// Waits until what was set by hand is taken in and delivered.
    pub async fn adopted(&self) -> Result<(), String> {
        self.until_recorded("adopted", |it| it.label == Label::Settled && it.generation.0 == 1).await?;
        self.until("generation 1 is delivered", async || self.observer.in_sink()).await?;
        if self.case.active.is_some() {
            self.until("the resting account is taken in, too", async || {
                let paired = self.record.events().await.iter().any(|event| matches!(event, What::Paired { .. }));
                paired.then_some(())
            })
            .await?;
        }
        self.observer.look_at_sink();
        Ok(())
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
        let mut secrets = self.record.generations().await;
        secrets.extend([INITIAL, FIRST.1, SECOND.1, OUTSIDER, SECRET_KEY, self.key.expose().trim()].map(str::to_owned));
        secrets.sort_unstable();
        secrets.dedup();
        let traces = Traces::of(&secrets);
        let knows = |path: &Path| KNOWING.iter().any(|name| path == self.path(name));
        let (mut found, read) = traces.in_folder(self.folder(), &knows);
        if read < 3 {
            found.push(format!("only {read} files were searched for secrets"));
        }
        let pid = self.daemon().unwrap_or_default();
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
        let log = self.read("daemon.log");
        let second = self.read("second.log");
        let told = self.read("told");
        let record =
            format!("{history}\n--- log\n{log}\n--- second log\n{second}\n--- hook told: {}", told.replace('\n', " "));
        Err(Broken { what, record })
    }
}

/// What an operator or keywheel itself writes passwords and keys to.
const KNOWING: [&str; 7] = ["sinks", "sinks-away", "initial", "first", "second", "secret-key", "sealing-key"];
