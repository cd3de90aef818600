//! One row's world: real servers behind lines of ours, a folder as an operator would lay it out, and the built program.

use crate::case::{ADMIN, BY_HAND, Case, Kept, OTHER};
use crate::line::Line;
use crate::record::TARGET;
use crate::redis_nodes::RedisNode;
use crate::site::{CONFIG, Ground, Site};
use crate::table::{Broken, Ending};
use crate::witness::{self, Users};
use keywheel::rotation::event::What;
use keywheel::rotation::state::Label;
use serde_json::Value;
use std::fs;
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::task::{JoinHandle, block_in_place};

/// The ground of every row's site.
const GROUND: Ground = Ground { prefix: "keywheel-nodes-", log: "debug", patience: PATIENCE };
/// A row that takes longer does not end.
const PATIENCE: Duration = Duration::from_secs(20);
/// How often it is looked whether a replica has found its master.
const LOOK: Duration = Duration::from_millis(15);
/// How often the sink is looked at.
const GLANCE: Duration = Duration::from_millis(4);

/// What a consumer finds in the sink.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    pub generation: u64,
    pub user: String,
    pub password: String,
}

/// The world of one row.
pub struct Stage {
    pub case: &'static Case,
    site: Site,
    nodes: Vec<Arc<Mutex<RedisNode>>>,
    /// The users of each server before anything happened.
    before: Vec<Users>,
    pub lines: Arc<Vec<Line>>,
    /// What was wrong with what the sink held.
    sink: Arc<Mutex<Vec<String>>>,
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
    /// `timeout` is what a node is given for half a call.
    pub async fn set(case: &'static Case, timeout: &str) -> Self {
        keywheel::http::choose_cryptography();
        let site = Site::on(&GROUND);
        let nodes = block_in_place(|| servers(case));
        let before = nodes.iter().map(|node| Users::of(node, case)).collect();
        let nodes: Vec<_> = nodes.into_iter().map(|node| Arc::new(Mutex::new(node))).collect();
        let mut lines = Vec::new();
        for node in &nodes {
            lines.push(Line::to(Arc::clone(node), Arc::clone(&site.record)).await);
        }
        let (lines, sink) = (Arc::new(lines), Arc::default());
        let watching = tokio::spawn(watch(site.path("sinks/orders"), Arc::clone(&lines), Arc::clone(&sink)));
        let stage = Self { case, site, nodes, before, lines, sink, watching };
        stage.write("admin", ADMIN.1);
        stage.write("app", BY_HAND);
        stage.write("app_b", OTHER.1);
        stage.write(CONFIG, &stage.configuration(timeout));
        stage
    }

    fn configuration(&self, timeout: &str) -> String {
        let folder = self.folder().display().to_string();
        let nodes: Vec<String> = self.lines.iter().map(|line| format!("\"redis://127.0.0.1:{}\"", line.port)).collect();
        let (nodes, admin, keys) = (nodes.join(", "), self.case.admin(&folder), self.case.keys(&folder));
        format!(
            r#"[daemon]
ledger         = "sqlite://{folder}/ledger.db"
ephemeral = "rehearsal"
sealing-key    = {{ file = "{folder}/sealing-key" }}
control-socket = "{folder}/control.sock"

[limits]
usual-task-time = "50ms"
proof-patience  = "2s"
late-effect     = "300ms"
lock-patience   = "20s"
call-backoff    = {{ first = "100ms", longest = "300ms" }}
look-backoff    = {{ first = "50ms", longest = "200ms" }}
outlet-backoff  = {{ first = "50ms", longest = "200ms" }}

[providers.own]
kind    = "redis"
nodes   = [{nodes}]
admin   = {admin}
timeout = "{timeout}"

[sinks.orders]
kind   = "file"
path   = "{folder}/sinks/orders"
format = "json"

[hooks.tell]
kind = "command"
argv = ["/bin/sh", "-c", "echo $KEYWHEEL_GENERATION >> {folder}/told"]
restarts = false

[targets.{TARGET}]
provider = "own"
sinks    = ["orders"]
hooks    = ["tell"]
{keys}
"#
        )
    }

    pub fn nodes(&self) -> Vec<MutexGuard<'_, RedisNode>> {
        self.nodes.iter().map(|node| node.lock().unwrap_or_else(PoisonError::into_inner)).collect()
    }

    /// Waits until what was set by hand is taken in and delivered.
    pub async fn adopted(&self) -> Result<(), String> {
        self.until_recorded("adopted", |it| it.label == Label::Settled && it.generation.0 == 1).await?;
        self.until("generation 1 is delivered", async || self.in_sink()).await?;
        if self.case.taken_in > 1 {
            self.until("the resting account is taken in, too", async || {
                self.record.events().await.iter().any(|event| matches!(event, What::Paired { .. })).then_some(())
            })
            .await?;
        }
        Ok(())
    }

    /// What the sink holds; nothing before the first delivery.
    pub fn in_sink(&self) -> Option<Held> {
        held(&self.path("sinks/orders"))
    }

    /// Settled with so many passwords beyond those that were taken in, by the ledger's own word; the generation.
    pub async fn settled(&self, further: u64) -> Result<u64, String> {
        let generation = self.case.taken_in + further;
        self.until_settled(generation).await?;
        Ok(generation)
    }

    /// Settled with so many passwords beyond those that were taken in, by every witness.
    pub async fn at_rest(&self, further: u64) -> Result<(), String> {
        let case = self.case;
        let generation = self.settled(further).await?;
        let generations = self.record.generations().await;
        if generations.len() as u64 != generation {
            return Err(format!("{generation} passwords should have been enough, not {}", generations.len()));
        }
        let live = &generations[generations.len() - 1];
        let wanted = Held { generation, user: case.account.to_owned(), password: live.clone() };
        let in_sink = self.in_sink();
        if in_sink.as_ref() != Some(&wanted) {
            return Err(format!("the sink should hold what is live, as one document: {in_sink:?}, and not {wanted:?}"));
        }
        if case.overlaps {
            let alone = || self.nodes().iter().all(|node| Users::of(node, case).only(live));
            self.until("the former password is gone", async || block_in_place(alone).then_some(())).await?;
            let retired = async || {
                let events = self.record.events().await;
                events.iter().any(|event| matches!(event, What::Retired { .. })).then_some(())
            };
            self.until("the record says so", retired).await?;
        }
        self.is_live(live, "")
    }

    /// Every server has this password, and everything else as it was.
    fn is_live(&self, live: &str, when: &str) -> Result<(), String> {
        block_in_place(|| {
            for (at, (node, before)) in self.nodes().iter().zip(&self.before).enumerate() {
                let wrong = witness::wrong(node, self.case, before, live);
                if !wrong.is_empty() {
                    return Err(format!("node {at}{when}: {}", wrong.join("; ")));
                }
            }
            Ok(())
        })
    }

    /// keywheel ends, then every server does, by kill -9; what they saved is what is live.
    async fn outlives_a_restart(&mut self) -> Result<(), String> {
        self.kill_daemon().await;
        let live = self.record.generations().await.pop().ok_or("there is no password")?;
        block_in_place(|| self.nodes().iter_mut().for_each(|node| node.restart()));
        self.is_live(&live, " after its restart")?;
        let linked = || self.nodes().iter().all(|node| witness::is_linked(node));
        self.until("the replica finds its master again", async || block_in_place(linked).then_some(())).await
    }

    /// Ends the row: the last looks, and all there is to know where something was broken.
    pub async fn end(mut self, how: Result<String, String>) -> Result<Ending, Broken> {
        let how = match how {
            Ok(how) => self.outlives_a_restart().await.map(|()| how),
            Err(wrong) => Err(wrong),
        };
        self.kill_daemon().await;
        let mut what = self.record.broken().await;
        what.extend(self.lines.iter().flat_map(Line::wrong));
        what.extend(self.sink.lock().unwrap_or_else(PoisonError::into_inner).clone());
        for (sprung, wanted) in self.lines.iter().map(Line::sprung).filter(|(sprung, wanted)| sprung != wanted) {
            what.push(format!("the command was met {sprung} times, and not {wanted}"));
        }
        let how = how.unwrap_or_else(|wrong| {
            what.push(wrong);
            String::new()
        });
        if what.is_empty() {
            let calls = format!("{} passwords", self.record.generations().await.len());
            return Ok(Ending { how, calls });
        }
        let history = self.ask(&["history", TARGET], "").await.1;
        let log = self.read("daemon.log");
        Err(Broken { what, record: format!("{history}\n--- log\n{log}") })
    }
}

fn servers(case: &Case) -> Vec<RedisNode> {
    let in_file = (case.kept == Kept::UsersFile).then(|| case.users());
    let settings = if in_file.is_some() { String::new() } else { case.users() };
    let mut nodes = vec![RedisNode::start(&format!("repl-diskless-sync-delay 0\n{settings}"), in_file.as_deref())];
    if case.nodes > 1 {
        let login = format!("masteruser {}\nmasterauth {}\n", case.account, case.password);
        let replica = format!("{login}replicaof 127.0.0.1 {}\n", nodes[0].port());
        nodes.push(RedisNode::start(&replica, in_file.as_deref()));
        let began = Instant::now();
        while !witness::is_linked(&nodes[1]) {
            assert!(began.elapsed() < PATIENCE, "the replica finds its master");
            std::thread::sleep(LOOK);
        }
    }
    nodes
}

fn held(path: &Path) -> Option<Held> {
    let document: Value = serde_json::from_str(&fs::read_to_string(path).ok()?).ok()?;
    let word = |key: &str| document[key].as_str().unwrap_or_default().to_owned();
    // A password that logs in alone is the default user's.
    let user = if document["user"].is_null() { "default".to_owned() } else { word("user") };
    if word("account") != user {
        return None;
    }
    Some(Held { generation: document["generation"].as_u64()?, user, password: word("password") })
}

/// Looks at the sink all the time: what appears there was let in by every server before, and is newer than what was there.
async fn watch(path: PathBuf, lines: Arc<Vec<Line>>, wrong: Arc<Mutex<Vec<String>>>) {
    let mut last: Option<Held> = None;
    loop {
        if let Some(held) = held(&path).filter(|held| last.as_ref() != Some(held)) {
            let mut wrong = wrong.lock().unwrap_or_else(PoisonError::into_inner);
            if !lines.iter().all(|line| line.has_let_in(&held.user, &held.password)) {
                wrong.push(format!("the sink was given generation {} before every server let it in", held.generation));
            }
            if last.as_ref().is_some_and(|last| last.generation >= held.generation) {
                wrong.push(format!("the sink went back to generation {}", held.generation));
            }
            last = Some(held);
        }
        tokio::time::sleep(GLANCE).await;
    }
}

/// Runs a row on a thread of its own: to ask a server is to wait for it, and no other row should.
pub async fn apart<F>(row: impl FnOnce() -> F + Send + 'static) -> F::Output
where
    F: Future<Output: Send + 'static>,
{
    let runtime = tokio::runtime::Handle::current();
    tokio::task::spawn_blocking(move || runtime.block_on(row())).await.unwrap()
}
