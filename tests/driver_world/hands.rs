//! The hands a driver is given: a provider, a login route, sinks and hooks, each as unreliable as the real ones and never slower than their contract
//! allows.

use super::instance::{Instance, index};
use super::promises;
use super::sim::{Inner, Process, number};
use super::truth::Shelf;
use async_trait::async_trait;
use keywheel::consumer::Consumer;
use keywheel::fault::{Fault, Kind};
use keywheel::hook::{Hook, Notice};
use keywheel::moment::Moment;
use keywheel::name::{Generation, HookName, RotationId, SinkName, TargetName, TaskId};
use keywheel::probe::Probe;
use keywheel::provider::{Abilities, Address, Condition, Instance as Seen, Provider};
use keywheel::rotation::answer::{Answer, Call, Login, Refusal, TaskStatus};
use keywheel::secret::Secret;
use keywheel::sink::{Document, Holds, Sink};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// A provider's request timeout.
const TIMEOUT: Duration = Duration::from_secs(15);
/// Longer than the driver lets a sink or a hook take.
const HANGS: Duration = Duration::from_secs(400);
/// By how much a search for tasks is widened: clocks differ.
const CLOCK_TOLERANCE: i64 = 300_000;

/// One target's provider.
pub struct CloudOf {
    pub process: Arc<Process>,
    pub target: TargetName,
    pub abilities: Abilities,
    pub pair: bool,
}

impl CloudOf {
    fn account(&self, address: &Address) -> usize {
        if self.pair { index(Some(&address.account)) } else { 0 }
    }

    /// A look that may fail, or hang until the request times out.
    async fn look<T>(&self, see: impl FnOnce(&mut Inner) -> Result<T, Fault>) -> Result<T, Fault> {
        self.process.wait().await;
        let (hangs, fails) = {
            let mut inner = self.process.sim.lock();
            (inner.strikes(12, "look hangs"), inner.strikes(5, "look failed"))
        };
        if hangs {
            tokio::time::sleep(TIMEOUT).await;
        }
        if hangs || fails {
            return Err(Fault::new(Kind::Unreachable, "no answer to a look"));
        }
        let seen = {
            let mut inner = self.process.sim.lock();
            tick(&mut inner, &self.target);
            see(&mut inner)
        };
        self.process.wait().await;
        seen
    }

    async fn send(&self, address: &Address, call: Call, old: Option<&Secret>, new: &Secret) -> Answer {
        self.process.wait().await;
        let account = self.account(address);
        let new = number(new);
        let old = old.map(number).filter(|_| call == Call::Modify && self.abilities.asks_old);
        let (answer, hangs) = {
            let mut inner = self.process.sim.lock();
            let verdict = promises::before_call(&inner, &self.target, &self.process, call, (account, new));
            promises::excuse(&mut inner, &self.target);
            let twice = inner.strikes(30, "call sent twice on its way");
            let answer = self.arrive(&mut inner, account, old, new);
            let answer = if twice { self.arrive_again(&mut inner, account, old, new) } else { answer };
            let hangs = inner.strikes(15, "call never answered");
            let lost = || Answer::Unanswered { fault: Fault::new(Kind::Unanswered, "the request timed out") };
            let answer = if hangs { lost() } else { answer };
            note_answer(&mut inner, &self.target, account, new, &answer);
            let verdict = verdict.and_then(|()| promises::check(&mut inner, &self.target));
            drop(inner);
            self.process.sim.judge(verdict);
            (answer, hangs)
        };
        if hangs {
            tokio::time::sleep(TIMEOUT).await;
        }
        self.process.wait().await;
        answer
    }

    fn arrive(&self, inner: &mut Inner, account: usize, old: Option<u64>, new: u64) -> Answer {
        let Inner { truths, dice, now, .. } = inner;
        let Some(truth) = truths.get_mut(&self.target) else { return super::cloud::lost("no such target") };
        truth.instance.change(account, old, new, *now, dice)
    }

    /// Somebody on the way sent the call twice, and passes the second answer on: an honest one, to a call that may have been carried out already.
    fn arrive_again(&self, inner: &mut Inner, account: usize, old: Option<u64>, new: u64) -> Answer {
        let storm = |inner: &mut Inner, storm: bool| {
            let instance = inner.truths.get_mut(&self.target).map(|truth| &mut truth.instance);
            match instance {
                Some(Instance::Accounts(clouds)) => clouds.iter_mut().for_each(|cloud| cloud.mood.storm = storm),
                Some(Instance::Nodes(nodes)) => nodes.mood.storm = storm,
                None => {}
            }
        };
        storm(inner, false);
        let answer = self.arrive(inner, account, old, new);
        storm(inner, true);
        answer
    }
}

/// What became of a call, counted by what really happened.
fn note_answer(inner: &mut Inner, target: &TargetName, account: usize, new: u64, answer: &Answer) {
    inner.say(|| format!("{target}   account {account}, password {new}: {answer:?}"));
    let current = inner
        .disk
        .records
        .get(target)
        .and_then(|record| record.passwords.get(&record.state.standing.current.as_ref()?.generation).copied());
    let Some(truth) = inner.truths.get_mut(target) else { return };
    let (live, late) = match &truth.instance {
        Instance::Accounts(clouds) => (clouds[account].live == new, clouds[account].may_become(new)),
        Instance::Nodes(nodes) => (nodes.up().any(|node| node.valid.contains(&new)), false),
    };
    let fault = match answer {
        Answer::Accepted { .. } => None,
        Answer::Unanswered { .. } if live => Some("call applied, answer lost"),
        Answer::Unanswered { .. } if late => Some("call unanswered, applied later"),
        Answer::Unanswered { .. } => Some("call lost"),
        Answer::Refused { refusal, .. } => Some(match refusal {
            Refusal::Locked => "call refused: locked",
            Refusal::Busy | Refusal::NotNow => "call refused: busy",
            Refusal::Throttled => "call refused: throttled",
            Refusal::Unsent => "call not sent",
            Refusal::OldPasswordWrong | Refusal::RuleOrOldPassword => "call refused: old password or rule",
            Refusal::RuleViolated => "call refused: rule",
            Refusal::Fatal => {
                truth.denied = true;
                "call refused: denied"
            }
        }),
    };
    // Current may be sent again, to a node that forgot it.
    if !matches!(answer, Answer::Refused { .. }) && current != Some(new) {
        truth.in_question[account] = Some(new);
    }
    if let Some(fault) = fault {
        inner.count(fault);
    }
}

/// Lets everything happen to this target's instance that is due by now.
pub fn tick(inner: &mut Inner, target: &TargetName) {
    let Inner { truths, dice, now, .. } = inner;
    if let Some(truth) = truths.get_mut(target) {
        truth.instance.tick(*now, dice);
    }
}

fn gone() -> Fault {
    Fault::new(Kind::NotFound, "no such target")
}

#[async_trait]
impl Provider for CloudOf {
    fn abilities(&self, _address: &Address) -> Abilities {
        self.abilities
    }

    async fn inspect(&self, address: &Address) -> Result<Seen, Fault> {
        let account = self.account(address);
        self.look(|inner| {
            if inner.strikes(150, "look denied") {
                inner.truths.get_mut(&self.target).ok_or_else(gone)?.denied = true;
                return Err(Fault::new(Kind::Denied, "not allowed to look"));
            }
            let now = inner.now;
            let truth = inner.truths.get(&self.target).ok_or_else(gone)?;
            let free = truth.instance.is_free(now);
            Ok(Seen {
                condition: if free { Condition::Ready } else { Condition::Busy("a flow runs".to_owned()) },
                change_mark: truth.instance.mark(account).filter(|_| self.abilities.change_mark),
                password_policy: None,
                engine: "redis".to_owned(),
            })
        })
        .await
    }

    async fn change(&self, address: &Address, _rotation: RotationId, old: Option<&Secret>, new: &Secret) -> Answer {
        self.send(address, Call::Modify, old, new).await
    }

    async fn reset(&self, address: &Address, _rotation: RotationId, new: &Secret) -> Answer {
        self.send(address, Call::Reset, None, new).await
    }

    async fn retire(&self, _address: &Address, old: &Secret, current: &Secret) -> Result<(), Fault> {
        self.process.wait().await;
        let (old, current) = (number(old), number(current));
        let (outcome, verdict) = {
            let mut inner = self.process.sim.lock();
            let verdict = promises::before_retiring(&inner, &self.target, &self.process, old);
            promises::excuse(&mut inner, &self.target);
            let Inner { truths, dice, now, .. } = &mut *inner;
            let outcome = match truths.get_mut(&self.target).map(|truth| &mut truth.instance) {
                Some(Instance::Nodes(nodes)) => nodes.remove(old, current, *now, dice),
                Some(Instance::Accounts(_)) | None => Err(gone()),
            };
            (outcome, verdict.and_then(|()| promises::check(&mut inner, &self.target)))
        };
        self.process.sim.judge(verdict);
        self.process.wait().await;
        outcome
    }

    async fn task(&self, _address: &Address, task: TaskId) -> Result<TaskStatus, Fault> {
        self.look(|inner| Ok(inner.truths.get(&self.target).ok_or_else(gone)?.instance.task(task, inner.now))).await
    }

    async fn find_task(
        &self,
        _address: &Address,
        from: Moment,
        _to: Moment,
    ) -> Result<Option<(TaskId, TaskStatus)>, Fault> {
        let from = from.millis() - self.process.skew.load(Ordering::Relaxed) - CLOCK_TOLERANCE;
        self.look(|inner| Ok(inner.truths.get(&self.target).ok_or_else(gone)?.instance.find_task(from, inner.now)))
            .await
    }

    async fn change_mark(&self, address: &Address) -> Result<Option<String>, Fault> {
        let account = self.account(address);
        self.look(|inner| Ok(inner.truths.get(&self.target).ok_or_else(gone)?.instance.mark(account))).await
    }

    async fn check(&self, _address: &Address) -> Vec<Fault> {
        Vec::new()
    }
}

/// The login route of one account.
pub struct RouteOf {
    pub process: Arc<Process>,
    pub target: TargetName,
    pub account: usize,
}

#[async_trait]
impl Probe for RouteOf {
    async fn login(&self, password: &Secret) -> Login {
        self.process.wait().await;
        let password = number(password);
        let hangs = self.process.sim.lock().strikes(15, "login hangs");
        if hangs {
            tokio::time::sleep(TIMEOUT).await;
            return Login::Unreachable { fault: Fault::new(Kind::LoginUnreachable, "the login timed out") };
        }
        let login = {
            let mut inner = self.process.sim.lock();
            tick(&mut inner, &self.target);
            let Inner { truths, dice, now, .. } = &mut *inner;
            let login = truths
                .get_mut(&self.target)
                .map(|truth| truth.instance.login(self.account, password, *now, dice))
                .unwrap_or(Login::Refused);
            match &login {
                Login::Unreachable { .. } => inner.count("login unreachable"),
                Login::Mixed => inner.count("login: nodes disagree"),
                Login::Refused => inner.count("login refused"),
                Login::Accepted | Login::PasswordFree => {}
            }
            inner.say(|| format!("{}   login with {password}: {login:?}", self.target));
            login
        };
        self.process.wait().await;
        login
    }

    fn route(&self) -> &str {
        "redis://simulated"
    }
}

/// One sink of a target.
pub struct ShelfOf {
    pub process: Arc<Process>,
    pub target: TargetName,
    pub sink: SinkName,
}

impl ShelfOf {
    /// The shelf, unless the sink is down now.
    fn open<'a>(&self, inner: &'a mut Inner) -> Result<&'a mut Shelf, Fault> {
        let now = inner.now;
        let down = Fault::new(Kind::SinkUnavailable, "the sink is down");
        if inner.strikes(20, "sink goes down for a while") {
            let until = now + 1_000 * inner.dice.below(1_200) as i64;
            self.shelf(inner)?.down_until = until;
        }
        if self.shelf(inner)?.down_until > now {
            inner.count("sink down");
            return Err(down);
        }
        self.shelf(inner)
    }

    fn shelf<'a>(&self, inner: &'a mut Inner) -> Result<&'a mut Shelf, Fault> {
        Ok(inner.truths.get_mut(&self.target).ok_or_else(gone)?.sinks.entry(self.sink.clone()).or_default())
    }
}

#[async_trait]
impl Sink for ShelfOf {
    async fn ready(&self, _target: &TargetName) -> Result<(), Fault> {
        self.process.wait().await;
        let mut inner = self.process.sim.lock();
        if inner.strikes(10, "sink not ready") {
            return Err(Fault::new(Kind::SinkDenied, "the folder is not there"));
        }
        self.open(&mut inner).map(|_| ())
    }

    /// As a sink has it that writes whole documents.
    fn shape(&self, document: &Document) -> Option<Vec<u8>> {
        Some(format!("{} {:?} {}", document.generation, document.rotation, document.proven_at.millis()).into_bytes())
    }

    async fn deliver(&self, document: &Document) -> Result<(), Fault> {
        self.process.wait().await;
        let (generation, password) = (document.generation, number(&document.password));
        let before = {
            let mut inner = self.process.sim.lock();
            let now = inner.now;
            let hung = self.shelf(&mut inner).is_ok_and(|shelf| shelf.hung_until > now);
            hung || inner.strikes(25, "sink hangs before it wrote")
        };
        if before {
            tokio::time::sleep(HANGS).await;
        }
        let (outcome, verdict, after) = {
            let mut inner = self.process.sim.lock();
            let verdict =
                promises::before_delivery(&inner, &self.target, &self.process, &self.sink, (generation, password));
            let clock = Moment::from_millis(inner.now);
            let outcome = match self.open(&mut inner) {
                Ok(shelf) if shelf.held.is_some_and(|(held, _)| held > generation) && !shelf.deleted => {
                    Err(Fault::new(Kind::SinkNewer, "it holds a newer generation"))
                }
                Ok(shelf) => {
                    let mut taken = std::mem::take(&mut shelf.taken);
                    taken.push(generation);
                    *shelf = Shelf { held: Some((generation, password)), taken, ..Shelf::default() };
                    Ok(())
                }
                Err(fault) => Err(fault),
            };
            if outcome.is_ok() {
                inner.say(|| format!("{}   {} holds generation {generation}", self.target, self.sink));
                // What a configuration no longer names is no longer ours, even where a turn goes on with it.
                let truth = inner.truths.get_mut(&self.target).filter(|truth| truth.named.contains(&self.sink));
                if let Some(truth) = truth {
                    truth.consumers.delivered(&self.sink, generation, clock);
                }
            }
            let after = outcome.is_ok() && inner.strikes(25, "sink wrote and hangs");
            let failed = outcome.is_ok() && inner.strikes(15, "sink wrote and then failed");
            let outcome = if failed { Err(Fault::new(Kind::SinkUnavailable, "it failed")) } else { outcome };
            (outcome, verdict, after)
        };
        self.process.sim.judge(verdict);
        if after {
            tokio::time::sleep(HANGS).await;
        }
        self.process.wait().await;
        outcome
    }

    async fn has_lost_it(&self) -> bool {
        self.process.wait().await;
        let mut inner = self.process.sim.lock();
        self.shelf(&mut inner).is_ok_and(|shelf| shelf.deleted)
    }

    async fn holds(&self, document: &Document) -> Result<Holds, Fault> {
        self.process.wait().await;
        let mut inner = self.process.sim.lock();
        let shelf = self.open(&mut inner)?;
        Ok(match shelf.held {
            _ if shelf.deleted => Holds::Absent,
            None => Holds::Absent,
            _ if shelf.meddled => Holds::Other,
            Some(held) if held == (document.generation, number(&document.password)) => Holds::Same,
            Some(_) => Holds::Other,
        })
    }

    fn place(&self) -> String {
        self.sink.to_string()
    }
}

/// The consumer of a target that says which generation it uses.
pub struct ReaderOf {
    pub process: Arc<Process>,
    pub target: TargetName,
}

#[async_trait]
impl Consumer for ReaderOf {
    async fn uses(&self) -> Result<Generation, Fault> {
        self.process.wait().await;
        let says = self.process.sim.lock().truths.get(&self.target).and_then(|truth| truth.says);
        says.flatten().ok_or_else(|| Fault::new(Kind::NotAcknowledged, "it says nothing"))
    }

    fn place(&self) -> String {
        "the consumer".to_owned()
    }
}

/// One hook of a target.
pub struct BellOf {
    pub process: Arc<Process>,
    pub target: TargetName,
    pub hook: HookName,
}

#[async_trait]
impl Hook for BellOf {
    async fn tell(&self, notice: &Notice) -> Result<(), Fault> {
        {
            let mut inner = self.process.sim.lock();
            let rung = (inner.now, self.target.clone(), notice.others.keys().cloned().collect());
            inner.rings.push(rung);
        }
        self.process.wait().await;
        let (fails, hangs) = {
            let mut inner = self.process.sim.lock();
            (inner.strikes(6, "hook failed"), inner.strikes(30, "hook hangs"))
        };
        if hangs {
            tokio::time::sleep(HANGS).await;
        }
        if fails {
            return Err(Fault::new(Kind::HookFailed, "it failed"));
        }
        {
            let mut inner = self.process.sim.lock();
            let own = notice.news();
            for (target, news) in notice.others.iter().chain([(&self.target, &own)]) {
                if let Some(truth) = inner.truths.get_mut(target) {
                    truth.told.insert((self.hook.clone(), news.generation));
                }
            }
        }
        self.process.wait().await;
        Ok(())
    }

    async fn ready(&self) -> Result<(), Fault> {
        Ok(())
    }
}
