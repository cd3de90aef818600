//! What a driver does with each action: the outside effect, then the event; and the process may die in between.

use super::instance::index;
use super::{Crash, Told, World, ensure, fault};
use keywheel::fault::Kind;
use keywheel::name::{Generation, RotationId, SinkName};
use keywheel::rotation::Action;
use keywheel::rotation::answer::{Call, Login};
use keywheel::rotation::event::{Queue, What};
use keywheel::rotation::plan::Recovery;
use std::time::Duration;

/// The outer error is a broken promise, the inner one a dead process.
pub(super) type Performed = Told<Result<(), Crash>>;

macro_rules! or_die {
    ($world:ident) => {
        if let Err(crash) = $world.may_crash() {
            return Ok(Err(crash));
        }
    };
}

impl World {
    pub(super) fn perform(&mut self, action: Action) -> Performed {
        or_die!(self);
        match action {
            Action::Wait { .. } => return Err("a wait is not performed".to_owned()),
            Action::Call { call, candidate, previous, account } => {
                return self.call(call, candidate, previous, index(account.as_deref()));
            }
            Action::Deliver { sinks, generation } => return self.deliver(sinks, generation),
            Action::Record(what) => {
                if let What::Settled { .. } = &what {
                    self.check_settled()?;
                }
                self.append(what)?;
            }
            Action::Adopt => {
                let what = self.adopt()?;
                self.append(what)?;
            }
            Action::Begin { slot, by, reason } => {
                self.check_beginning()?;
                let rotation = RotationId::from_parts(self.clock(), self.dice.bits());
                self.append(What::Began { rotation, slot, by, reason })?;
            }
            Action::Preflight { account, previous, beside, believes } => {
                self.time_passes();
                let what = self.preflight(index(account.as_deref()), previous, beside, believes)?;
                or_die!(self);
                self.append(what)?;
            }
            Action::Prepare { generation, spare, account, beside } => {
                if spare {
                    self.password(generation)?;
                } else {
                    ensure(!self.passwords.contains_key(&generation), "a generation gets a second password")?;
                    let password = self.fresh_password();
                    self.passwords.insert(generation, password);
                }
                self.opens.insert(generation, index(account.as_deref()));
                self.append(What::Prepared { generation, account, beside })?;
            }
            Action::Pair { account } => {
                self.time_passes();
                let what = self.pair(account)?;
                self.append(what)?;
            }
            Action::Verify { generation } => {
                self.time_passes();
                return self.verify(generation);
            }
            Action::Retire { generation, current } => {
                self.check_retiring(generation, current)?;
                self.time_passes();
                return self.retire(generation, current);
            }
            Action::FindTask { .. } | Action::PollTask(_) | Action::ReadMark | Action::TryLogin { .. } => {
                self.time_passes();
                self.instance.tick(self.now, &mut self.dice);
                let what = self.look(action)?;
                or_die!(self);
                self.append(what)?;
            }
            Action::Tell { hooks, .. } => {
                for hook in hooks {
                    self.time_passes();
                    let what = if self.dice.chance(150) {
                        let until = self.clock() + Duration::from_millis(self.dice.below(90_000));
                        let by = if self.dice.chance(500) { Queue::Others } else { Queue::Budget };
                        What::HookQueued { hook, until, by }
                    } else if self.fails() {
                        let fault = fault(Kind::HookFailed);
                        What::HookFailed { hook, fault }
                    } else {
                        What::HookTold { hook }
                    };
                    or_die!(self);
                    self.append(what)?;
                }
            }
        }
        Ok(Ok(()))
    }

    fn preflight(&mut self, account: usize, previous: Option<Generation>, beside: bool, believes: bool) -> Told<What> {
        self.instance.tick(self.now, &mut self.dice);
        if !self.instance.is_free(self.now) || self.fails() {
            return Ok(What::Blocked { fault: fault(Kind::Busy) });
        }
        if self.fails() && self.dice.chance(100) {
            return Ok(What::Halted { fault: fault(Kind::Denied) });
        }
        let mut drifted = false;
        if let Some(previous) = previous.filter(|_| self.plan.login) {
            let password = self.password(previous)?;
            match self.instance.login(account, password, self.now, &mut self.dice) {
                Login::Accepted => {}
                Login::Refused if believes => drifted = true,
                Login::Refused => return Ok(What::Blocked { fault: fault(Kind::LoginRefused) }),
                Login::Mixed if beside => {}
                Login::Mixed | Login::PasswordFree | Login::Unreachable { .. } => {
                    return Ok(What::Blocked { fault: fault(Kind::LoginUnreachable) });
                }
            }
        }
        let mark = self.instance.mark(account);
        Ok(What::Ready { change_mark: mark.filter(|_| self.plan.abilities.change_mark), drifted })
    }

    fn call(&mut self, call: Call, candidate: Generation, previous: Option<Generation>, account: usize) -> Performed {
        if call == Call::Reset {
            let open = self.state.open.as_ref().ok_or("a call without a rotation")?;
            let allowed = open.reset_allowed || self.plan.recovery == Recovery::Reset;
            ensure(allowed && self.plan.abilities.reset, "a reset that is not allowed or not offered")?;
        }
        if self.plan.strategy.is_alternate() {
            let active = self.state.standing.current.as_ref().map(|current| index(current.account.as_deref()));
            ensure(active != Some(account), "a call for the active account")?;
        }
        self.append(What::Intended { call })?;
        or_die!(self);
        let compares = call == Call::Modify && self.plan.abilities.asks_old;
        let old = match previous {
            Some(previous) => Some(self.password(previous)?).filter(|_| compares),
            None => {
                ensure(!compares, "a call without the old password it compares")?;
                None
            }
        };
        let new = self.password(candidate)?;
        let answer = self.instance.change(account, old, new, self.now, &mut self.dice);
        self.say(format!("    . {answer:?}"));
        self.say_what_is_live();
        self.time_passes();
        self.check_promises()?;
        or_die!(self);
        self.append(What::Answered { answer })?;
        Ok(Ok(()))
    }

    fn look(&mut self, action: Action) -> Told<What> {
        let abilities = self.plan.abilities;
        let failed = self.fails();
        let no_look = What::LookFailed { fault: fault(Kind::Unreachable) };
        Ok(match action {
            Action::FindTask { from } => {
                ensure(abilities.task_list, "searches tasks where none can be listed")?;
                let from = from.millis() + self.clock_behind - super::CLOCK_TOLERANCE;
                let found = self.instance.find_task(from, self.now);
                if failed { no_look } else { What::TaskSought { found } }
            }
            Action::PollTask(task) => {
                ensure(abilities.task_status, "asks for a task's status where none is told")?;
                let status = self.instance.task(task, self.now);
                if failed { no_look } else { What::TaskRead { status } }
            }
            Action::ReadMark => {
                ensure(abilities.change_mark, "reads a change mark where there is none")?;
                let open = self.state.open.as_ref().and_then(|open| open.account.as_deref());
                let mark = self.instance.mark(index(open));
                if failed { no_look } else { What::MarkRead { mark } }
            }
            Action::TryLogin { candidate, previous, account } => {
                let account = index(account.as_deref());
                ensure(self.plan.login, "logs in where no route exists")?;
                let candidate = self.password(candidate)?;
                let candidate = self.instance.login(account, candidate, self.now, &mut self.dice);
                let previous = match previous {
                    Some(previous) => {
                        let previous = self.password(previous)?;
                        Some(self.instance.login(account, previous, self.now, &mut self.dice))
                    }
                    None => None,
                };
                What::LoginTried { candidate, previous }
            }
            Action::Wait { .. }
            | Action::Record(_)
            | Action::Adopt
            | Action::Begin { .. }
            | Action::Pair { .. }
            | Action::Preflight { .. }
            | Action::Verify { .. }
            | Action::Retire { .. }
            | Action::Prepare { .. }
            | Action::Call { .. }
            | Action::Deliver { .. }
            | Action::Tell { .. } => return Err("not a look".to_owned()),
        })
    }

    /// P3 and P4: only what was proven, and never an older generation than the sink holds.
    fn deliver(&mut self, sinks: Vec<SinkName>, generation: Generation) -> Performed {
        self.check_proven(generation)?;
        for sink in sinks {
            self.time_passes();
            if self.fails() {
                or_die!(self);
                let fault = fault(Kind::SinkUnavailable);
                self.append(What::DeliveryFailed { sink, generation, fault })?;
                continue;
            }
            let held = self.sinks.insert(sink.clone(), generation);
            ensure(held.is_none_or(|held| held <= generation), "P4: a sink went backwards")?;
            self.meddled.remove(&sink);
            self.deleted.remove(&sink);
            self.consumers.delivered(&sink, generation, self.clock());
            or_die!(self);
            self.append(What::Delivered { sink, generation, shape: None })?;
        }
        Ok(Ok(()))
    }
}
