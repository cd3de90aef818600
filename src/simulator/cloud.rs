//! The stand-in cloud itself: its instances, its tasks, and the one path by which a password changes.

use super::accounts::Edit;
use super::alibaba::Nonces;
use super::answer::Refusal;
use super::identity::{Issued, MetadataSettings, RoleSettings};
use super::instance::{Instance, Password};
use super::quota::Buckets;
use super::real_server;
use super::script::Script;
use super::settings::{Settings, Vendor};
use super::stores::Secrets;
use super::task::{Course, Stamp, Task, TaskKind};
use super::time::Clock;
use crate::secret::Secret;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Tasks are numbered from here.
const FIRST_TASK: i64 = 16_661;

/// The part of a task's duration that it spends preparing: one in this many.
const PREPARING_SHARE: u32 = 10;

pub(super) struct Cloud {
    pub(super) settings: Settings,
    pub(super) clock: Clock,
    pub(super) stop: CancellationToken,
    requests: AtomicU64,
    state: Mutex<State>,
}

pub(super) struct State {
    pub(super) instances: BTreeMap<String, Instance>,
    pub(super) tasks: BTreeMap<i64, Task>,
    pub(super) script: Script,
    pub(super) buckets: Buckets,
    pub(super) absent: BTreeSet<String>,
    pub(super) denied: BTreeSet<String>,
    /// How often each error code was answered.
    pub(super) refusals: BTreeMap<String, u64>,
    /// What must not come again.
    pub(super) nonces: Nonces,
    /// The roles there are now, the machine's among them.
    pub(super) roles: Vec<RoleSettings>,
    pub(super) metadata: MetadataSettings,
    /// Tokens of the metadata service, and the uptime at which each ends.
    pub(super) metadata_tokens: BTreeMap<String, Duration>,
    /// Temporary credentials, oldest first.
    pub(super) issued: Vec<Issued>,
    /// What is in the clouds' secret stores.
    pub(super) secrets: Secrets,
    /// Counts the times that stuck tasks were released.
    pub(super) releases: watch::Sender<u64>,
}

/// How one call is to be carried out.
#[derive(Debug, Clone, Copy)]
pub(super) struct How {
    /// For a write: how its task goes on.
    pub(super) course: Course,
    /// For a read: how old the answer is.
    pub(super) age: Duration,
}

impl How {
    pub(super) const PROPERLY: Self = Self { course: Course::Normal, age: Duration::ZERO };
}

/// What a write asks for: a password, or none any more.
pub(super) type Wish = Option<Secret>;

/// A write that nothing speaks against.
pub(super) struct Order {
    pub(super) instance: String,
    /// By the name its passwords are kept under.
    pub(super) account: String,
    pub(super) kind: TaskKind,
    pub(super) wish: Wish,
    /// What else of the account is to change.
    pub(super) edit: Edit,
}

impl Cloud {
    pub(super) fn new(settings: Settings) -> Self {
        let clock = Clock::start(settings.clock_offset_millis);
        let started = Stamp { at: clock.now(), published: clock.published() };
        let instances = settings
            .instances
            .iter()
            .map(|instance| (instance.id.clone(), Instance::new(instance.clone(), started)))
            .collect();
        let mut script = Script::default();
        script.append(settings.script.clone());
        let state = State {
            instances,
            tasks: BTreeMap::new(),
            script,
            buckets: Buckets::new(settings.quota),
            absent: settings.absent_actions.iter().cloned().collect(),
            denied: settings.denied_actions.iter().cloned().collect(),
            refusals: BTreeMap::new(),
            nonces: Nonces::default(),
            roles: settings.roles.clone(),
            metadata: settings.metadata.clone(),
            metadata_tokens: BTreeMap::new(),
            issued: Vec::new(),
            secrets: Secrets::new(),
            releases: watch::Sender::new(0),
        };
        Self { settings, clock, stop: CancellationToken::new(), requests: AtomicU64::new(0), state: Mutex::new(state) }
    }

    /// The state, for a moment: never held across an await.
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at one instance that certainly exists.
    pub(super) fn with_instance<T>(&self, id: &str, look: impl FnOnce(&Instance) -> T) -> T {
        look(self.state().instances.get(id).expect("instances are never removed"))
    }

    pub(super) fn stamp(&self) -> Stamp {
        Stamp { at: self.clock.now(), published: self.clock.published() }
    }

    /// The next request id: another for every request, the same in every run with the same seed.
    pub(super) fn request_id(&self) -> String {
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        let (high, low) = (mix(self.settings.seed ^ number), mix(!self.settings.seed ^ number));
        format!(
            "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
            high >> 32,
            high >> 16 & 0xffff,
            high & 0xffff,
            low >> 48,
            low & 0xffff_ffff_ffff
        )
    }

    /// Another process takes the instance for a while.
    pub(super) fn lock_instance(&self, id: &str, span: Duration) {
        let until = self.clock.uptime() + span;
        if let Some(instance) = self.state().instances.get_mut(id) {
            instance.locked_until = until;
        }
    }

    /// Checks a write and starts its task, whose number it gives.
    pub(super) fn accept(
        self: &Arc<Self>,
        course: Course,
        check: impl FnOnce(&State, Duration) -> Result<Order, Refusal>,
    ) -> Result<i64, Refusal> {
        let stamp = self.stamp();
        let mut state = self.state();
        let Order { instance, account, kind, wish, edit } = check(&state, self.clock.uptime())?;
        let State { instances, tasks, releases, .. } = &mut *state;
        let number = FIRST_TASK + i64::try_from(tasks.len()).unwrap_or(i64::MAX - FIRST_TASK);
        let duration = self.task_duration(number);
        if let Some(held) = instances.get_mut(&instance) {
            held.task = Some(number);
            held.tasks.push(number);
        }
        let task = Task {
            id: number,
            instance,
            account,
            kind,
            accepted: stamp,
            running_from: stamp.at + duration / PREPARING_SHARE,
            end: None,
        };
        let run = Arc::clone(self).run_task(task.clone(), (wish, edit), course, duration, releases.subscribe());
        tasks.insert(number, task);
        let stop = self.stop.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = run => {}
            }
        });
        Ok(number)
    }

    fn task_duration(&self, number: i64) -> Duration {
        let bounds = self.settings.task;
        let width = bounds.longest.saturating_sub(bounds.shortest).as_micros();
        let drawn = u128::from(mix(self.settings.seed ^ number.unsigned_abs())) % (width + 1);
        bounds.shortest + Duration::from_micros(u64::try_from(drawn).unwrap_or(u64::MAX))
    }

    /// Lives a task's life. The password changes, and the instance is let go, in the moment in which the task ends.
    async fn run_task(
        self: Arc<Self>,
        task: Task,
        (wish, edit): (Wish, Edit),
        course: Course,
        duration: Duration,
        mut releases: watch::Receiver<u64>,
    ) {
        tokio::time::sleep(duration).await;
        if let Course::Stuck(span) = course {
            let never = async {
                match span {
                    Some(span) => tokio::time::sleep(span).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = never => {}
                _ = releases.changed() => {}
            }
        }
        let carried_out = match course {
            Course::FailsBeforeApplying => Err("the flow was rolled back".to_owned()),
            Course::Normal | Course::Stuck(_) | Course::FailsAfterApplying => {
                self.change_server(&task.instance, &task.account, &wish).await
            }
        };
        let stamp = self.stamp();
        let uptime = self.clock.uptime();
        let mut state = self.state();
        if let Some(instance) = state.instances.get_mut(&task.instance) {
            if carried_out.is_ok() {
                install(instance, &task.account, (&wish, &edit), stamp, uptime);
            }
            instance.task = None;
        }
        let outcome = match course {
            Course::FailsAfterApplying => carried_out.and(Err("a step of the flow failed".to_owned())),
            Course::Normal | Course::Stuck(_) | Course::FailsBeforeApplying => carried_out,
        };
        if let Some(kept) = state.tasks.get_mut(&task.id) {
            kept.end = Some((stamp, outcome));
        }
    }

    /// Changes a live password as somebody at the console would: at once, past tasks and locks.
    pub(super) async fn set_by_hand(&self, id: &str, account: &str, password: Secret) -> Result<(), String> {
        let wish = Some(password);
        self.change_server(id, account, &wish).await?;
        let stamp = self.stamp();
        let uptime = self.clock.uptime();
        if let Some(instance) = self.state().instances.get_mut(id) {
            install(instance, account, (&wish, &Edit::default()), stamp, uptime);
        }
        Ok(())
    }

    /// Where a real server stands behind the instance, makes it take the wished password.
    async fn change_server(&self, id: &str, account: &str, wish: &Wish) -> Result<(), String> {
        let change = {
            let state = self.state();
            let instance = state.instances.get(id).ok_or_else(|| format!("there is no instance {id}"))?;
            real_server::plan(instance, account, wish.as_ref())?
        };
        match change {
            Some(change) => change.carry_out().await.map_err(|error| error.to_string()),
            None => Ok(()),
        }
    }
}

/// What the wish becomes once it is carried out.
fn install(instance: &mut Instance, account: &str, (wish, edit): (&Wish, &Edit), set: Stamp, uptime: Duration) {
    match instance.settings.vendor {
        Vendor::Tencent if account == instance.settings.account => {
            instance.auth_switches += u64::from(instance.settings.no_auth != wish.is_none());
            instance.settings.no_auth = wish.is_none();
        }
        // Password-free access of a VPC is a switch of its own there (Alibaba, "ModifyInstanceVpcAuthMode").
        Vendor::Tencent | Vendor::Alibaba(_) => {}
    }
    if let Some(rights) = instance.rights.get_mut(account) {
        rights.edit(edit);
    }
    if edit.keeps_password {
        return;
    }
    if let (Some(text), Some(history)) = (wish.clone(), instance.accounts.get_mut(account)) {
        history.push(Password { set, uptime, text });
    }
}

/// Sixty-four bits that follow from sixty-four others and look like chance (the finalizer of SplitMix64).
fn mix(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
