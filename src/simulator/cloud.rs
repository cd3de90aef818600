//! The stand-in cloud itself: its instances, its tasks, and the one path by which a password changes.

use super::actions::{Action, Call};
use super::answer::{Fields, Refusal};
use super::instance::{Instance, Password};
use super::quota::Buckets;
use super::rules::broken_rule;
use super::script::{Fault, Script};
use super::settings::{Server, Settings};
use super::task::{Course, Stamp, Task, TaskKind};
use super::time::Clock;
use super::{read, real_server};
use crate::secret::Secret;
use serde_json::json;
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

/// `Type` 200 is Memcached, which has no such password.
const MEMCACHED: i64 = 200;

/// `Status` 2: running.
const RUNNING: i64 = 2;

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
type Wish = Option<Secret>;

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

    /// What the script has in store for this call.
    pub(super) fn next_fault(&self, call: &Call) -> Option<Fault> {
        let mut state = self.state();
        let of_task = call.number("TaskId").and_then(|id| state.tasks.get(&id));
        let of_list = || call.texts("InstanceIds").filter(|ids| ids.len() == 1).map(|ids| ids[0]);
        let instance = of_task
            .map(|task| task.instance.as_str())
            .or_else(|| call.text("InstanceId"))
            .or_else(of_list)
            .map(str::to_owned);
        state.script.take(call.action.name(), instance.as_deref())
    }

    /// Another process takes the instance for a while.
    pub(super) fn lock_instance(&self, id: &str, span: Duration) {
        let until = self.clock.uptime() + span;
        if let Some(instance) = self.state().instances.get_mut(id) {
            instance.locked_until = until;
        }
    }

    /// Carries out a call.
    pub(super) fn perform(self: &Arc<Self>, call: &Call, how: How) -> Result<Fields, Refusal> {
        match call.action {
            Action::ModifyInstancePassword | Action::ModfiyInstancePassword | Action::ResetPassword => {
                let task = self.accept(call, how.course)?;
                Ok(Fields::from_iter([("TaskId".to_owned(), json!(task))]))
            }
            Action::DescribeTaskInfo
            | Action::DescribeTaskList
            | Action::DescribeInstances
            | Action::DescribeInstanceAccount
            | Action::DescribeInstancePasswordPolicy => {
                let world = read::World {
                    when: self.clock.now() - how.age,
                    uptime: self.clock.uptime().saturating_sub(how.age),
                    region: &self.settings.region,
                    zone_hours: self.settings.zone_hours,
                };
                read::answer(&self.state(), world, call)
            }
        }
    }

    /// Checks a write and starts its task.
    fn accept(self: &Arc<Self>, call: &Call, course: Course) -> Result<i64, Refusal> {
        let stamp = self.stamp();
        let mut state = self.state();
        let State { instances, tasks, releases, .. } = &mut *state;
        let id = call.text("InstanceId").unwrap_or_default();
        let instance = instances.get_mut(id).ok_or_else(|| unknown_instance(id))?;
        let wish = judge(call, instance, self.clock.uptime())?;
        let number = FIRST_TASK + i64::try_from(tasks.len()).unwrap_or(i64::MAX - FIRST_TASK);
        let duration = self.task_duration(number);
        let task = Task {
            id: number,
            instance: id.to_owned(),
            kind: if wish.is_some() == instance.settings.no_auth {
                TaskKind::SwitchPasswordFree
            } else {
                TaskKind::SetPassword
            },
            accepted: stamp,
            running_from: stamp.at + duration / PREPARING_SHARE,
            end: None,
        };
        instance.task = Some(number);
        instance.tasks.push(number);
        let run = Arc::clone(self).run_task(task.clone(), wish, course, duration, releases.subscribe());
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
        wish: Wish,
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
                self.change_server(&task.instance, &wish).await
            }
        };
        let stamp = self.stamp();
        let uptime = self.clock.uptime();
        let mut state = self.state();
        if let Some(instance) = state.instances.get_mut(&task.instance) {
            if carried_out.is_ok() {
                install(instance, &wish, stamp, uptime);
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

    /// Changes the live password as somebody at the console would: at once, past tasks and locks.
    pub(super) async fn set_by_hand(&self, id: &str, password: Secret) -> Result<(), String> {
        let wish = Some(password);
        self.change_server(id, &wish).await?;
        let stamp = self.stamp();
        let uptime = self.clock.uptime();
        if let Some(instance) = self.state().instances.get_mut(id) {
            install(instance, &wish, stamp, uptime);
        }
        Ok(())
    }

    /// Where a real server stands behind the instance, makes it take the wished password.
    async fn change_server(&self, id: &str, wish: &Wish) -> Result<(), String> {
        let known = self.state().instances.get(id).map(|instance| {
            let live = (!instance.settings.no_auth).then(|| instance.live().clone());
            (instance.settings.server.clone(), live)
        });
        match known {
            None => Err(format!("there is no instance {id}")),
            Some((Server::Listener { .. } | Server::Nothing, _)) => Ok(()),
            Some((Server::Redis { address, user }, live)) => {
                let live = live.as_ref().map(Secret::expose);
                real_server::set_password(address, &user, live, wish.as_ref().map(Secret::expose))
                    .await
                    .map_err(|error| error.to_string())
            }
        }
    }
}

/// What the wish becomes once it is carried out.
fn install(instance: &mut Instance, wish: &Wish, set: Stamp, uptime: Duration) {
    instance.settings.no_auth = wish.is_none();
    if let Some(text) = wish.clone() {
        instance.passwords.push(Password { set, uptime, text });
    }
}

/// Refuses a write or says what it asks for.
fn judge(call: &Call, instance: &Instance, uptime: Duration) -> Result<Wish, Refusal> {
    let is_reset = call.action == Action::ResetPassword;
    let settings = &instance.settings;
    if settings.engine == MEMCACHED {
        return Err(Refusal::new("FailedOperation.UnSupportError", "The instance does not support this API."));
    }
    if settings.status != RUNNING || (is_reset && instance.is_locked(uptime)) {
        return Err(Refusal::new(
            "ResourceUnavailable.InstanceStatusAbnormal",
            "The instance's status does not allow this operation.",
        ));
    }
    if instance.is_locked(uptime) {
        return Err(Refusal::new(
            "ResourceUnavailable.InstanceLockedError",
            "The instance is locked by another process.",
        ));
    }
    if call.flag("EncryptPassword") {
        return Err(Refusal::new("InvalidParameter", "The password cannot be decrypted."));
    }
    let proves_old = !settings.no_auth && call.text("OldPassword") == Some(instance.live().expose());
    if !is_reset && !proves_old {
        return Err(Refusal::new(
            "InvalidParameterValue.PasswordError",
            "The password check failed: the password is wrong.",
        ));
    }
    if call.flag("NoAuth") {
        return Ok(None);
    }
    let Some(password) = call.text("Password") else {
        return Err(Refusal::new("InvalidParameter", "Password is missing."));
    };
    match broken_rule(call.action, settings.engine, settings.password_policy.as_ref(), password) {
        Some(rule) => {
            Err(Refusal::new("InvalidParameterValue.PasswordRuleError", format!("The password breaks a rule: {rule}.")))
        }
        None => Ok(Some(Secret::new(password.to_owned()))),
    }
}

pub(super) fn unknown_instance(id: &str) -> Refusal {
    Refusal::new("ResourceNotFound.InstanceNotExists", format!("There is no instance {id}."))
}

/// Sixty-four bits that follow from sixty-four others and look like chance (the finalizer of SplitMix64).
fn mix(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
