//! What a driver does with each action: the outside effect, then the event; and the process may die in between.

use super::{Crash, PLACE, Told, World, ensure, fault};
use keywheel::fault::Kind;
use keywheel::name::{Generation, RotationId, SinkName};
use keywheel::rotation::Action;
use keywheel::rotation::answer::{Call, Login};
use keywheel::rotation::event::{Proof, What};
use keywheel::rotation::plan::Recovery;

/// The outer error is a broken promise, the inner one a dead process.
type Performed = Told<Result<(), Crash>>;

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
            Action::Call { call, candidate, previous, account: _ } => return self.call(call, candidate, previous),
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
                let rotation = RotationId::from_parts(self.clock(), self.dice.bits());
                self.append(What::Began { rotation, slot, by, reason })?;
            }
            Action::Preflight { .. } => {
                self.time_passes();
                let what = self.preflight()?;
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
                self.append(What::Prepared { generation, account, beside })?;
            }
            Action::Pair { .. } | Action::Verify { .. } | Action::Retire { .. } => {
                return Err(format!("not asked of a password that changes in place: {action:?}"));
            }
            Action::FindTask { .. } | Action::PollTask(_) | Action::ReadMark | Action::TryLogin { .. } => {
                self.time_passes();
                self.cloud.tick(self.now, &mut self.dice);
                let what = self.look(action)?;
                or_die!(self);
                self.append(what)?;
            }
            Action::Tell { hooks, .. } => {
                for hook in hooks {
                    self.time_passes();
                    let what = if self.fails() {
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

    fn adopt(&mut self) -> Told<What> {
        let by = keywheel::rotation::event::By::Configuration;
        let generation = self.state.standing.newest.following();
        let proof = if self.plan.login { Proof::Login } else { Proof::Stated };
        if self.plan.login {
            match self.cloud.login(1, self.now, &mut self.dice) {
                Login::Accepted => {}
                Login::Refused => {
                    return Ok(What::Halted { fault: fault(Kind::LoginRefused) });
                }
                Login::Mixed | Login::PasswordFree | Login::Unreachable { .. } => {
                    return Ok(What::Blocked { fault: fault(Kind::LoginUnreachable) });
                }
            }
        }
        self.passwords.insert(generation, 1);
        Ok(What::Adopted { generation, proof, by, place: PLACE.to_owned(), account: None })
    }

    fn preflight(&mut self) -> Told<What> {
        if !self.cloud.is_free(self.now) || self.fails() {
            return Ok(What::Blocked { fault: fault(Kind::Busy) });
        }
        if self.fails() && self.dice.chance(100) {
            return Ok(What::Halted { fault: fault(Kind::Denied) });
        }
        let current = self.state.standing.current.as_ref().ok_or("preflight without a current password")?;
        let password = self.password(current.generation)?;
        let login = self.cloud.login(password, self.now, &mut self.dice);
        let drifted = match login {
            _ if !self.plan.login => false,
            Login::Accepted => false,
            Login::Refused => true,
            Login::Mixed | Login::PasswordFree | Login::Unreachable { .. } => {
                return Ok(What::Blocked { fault: fault(Kind::LoginUnreachable) });
            }
        };
        let change_mark = self.plan.abilities.change_mark.then(|| self.cloud.mark.to_string());
        Ok(What::Ready { change_mark, drifted })
    }

    fn call(&mut self, call: Call, candidate: Generation, previous: Option<Generation>) -> Performed {
        if call == Call::Reset {
            let open = self.state.open.as_ref().ok_or("a call without a rotation")?;
            let allowed = open.reset_allowed || self.plan.recovery == Recovery::Reset;
            ensure(allowed && self.plan.abilities.reset, "a reset that is not allowed or not offered")?;
        }
        self.append(What::Intended { call })?;
        or_die!(self);
        let previous = previous.ok_or("a call without the old password")?;
        let (new, old) = (self.password(candidate)?, self.password(previous)?);
        let answer = self.cloud.change(call, old, new, self.now, &mut self.dice);
        self.say(format!("    . {answer:?}; password {} is live", self.cloud.live));
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
                let found = self.cloud.find_task(from, self.now);
                if failed { no_look } else { What::TaskSought { found } }
            }
            Action::PollTask(task) => {
                ensure(abilities.task_status, "asks for a task's status where none is told")?;
                let status = self.cloud.task(task, self.now);
                if failed { no_look } else { What::TaskRead { status } }
            }
            Action::ReadMark => {
                ensure(abilities.change_mark, "reads a change mark where there is none")?;
                let mark = Some(self.cloud.mark.to_string());
                if failed { no_look } else { What::MarkRead { mark } }
            }
            Action::TryLogin { candidate, previous, account: _ } => {
                ensure(self.plan.login, "logs in where no route exists")?;
                let candidate = self.password(candidate)?;
                let candidate = self.cloud.login(candidate, self.now, &mut self.dice);
                let previous = match previous {
                    Some(previous) => {
                        let previous = self.password(previous)?;
                        Some(self.cloud.login(previous, self.now, &mut self.dice))
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
            or_die!(self);
            self.append(What::Delivered { sink, generation })?;
        }
        Ok(Ok(()))
    }

    /// Settled is true: every sink holds current, and current is live unless somebody else interfered.
    fn check_settled(&self) -> Told {
        ensure(self.sinks_hold_current(), "settled although a sink lacks current")?;
        let undisturbed = self.cloud.foreign == 0 && self.cloud.stray_resets == 0 && !self.replaced;
        let current = self.state.standing.current.as_ref().ok_or("settled without a current password")?;
        let password = self.password(current.generation)?;
        let live = self.cloud.live == password || self.cloud.may_become(password);
        ensure(live || !undisturbed, "settled although current is not live")
    }
}
