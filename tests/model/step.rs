//! What a process's step does to the world, and what it learns from it.

use super::age::NOW;
use super::cloud::{Change, Fate, fault};
use super::turn::{Around, Outside, Step, Then, Turn, index};
use super::world::{Broken, Setting, Who, World};
use keywheel::fault::Kind;
use keywheel::name::{Generation, SinkName};
use keywheel::rotation::Action;
use keywheel::rotation::answer::{Answer, Login};
use keywheel::rotation::event::What;

impl Setting {
    /// A turn goes on; one that contradicts itself ends, as the driver's does.
    pub fn go_on(&self, world: &mut World, who: Who, mut turn: Turn) {
        let around = Around { setting: self, ledger: &world.ledger, slot: world.slot, fresh: world.fresh() };
        match turn.decide(&around) {
            Ok(()) if turn.step == Step::Over => {}
            Ok(()) => *world.turn(who) = Some(turn),
            Err(why) => world.breaks(Broken::Contradiction(why)),
        }
    }

    pub fn step(&self, world: &mut World, who: Who, fate: Fate) {
        let Some(mut turn) = world.turn(who).take() else { return };
        match std::mem::replace(&mut turn.step, Step::Over) {
            Step::Over => {}
            Step::Append { wake_at, then } => {
                if fate != Fate::Lost && !world.append(turn.fence, &turn.unwritten, wake_at) || fate != Fate::Well {
                    // The turn ends; what it believed is dropped.
                    return;
                }
                turn.unwritten.clear();
                match then {
                    Then::End => {}
                    Then::Decide => self.go_on(world, who, turn),
                    Then::Outside(outside) => {
                        turn.step = Step::Outside(outside);
                        *world.turn(who) = Some(turn);
                    }
                }
            }
            Step::Outside(outside) => match self.outside(world, &mut turn, outside, fate) {
                Err(why) => world.breaks(Broken::Contradiction(why)),
                Ok(Some(more)) => {
                    turn.step = Step::Outside(more);
                    *world.turn(who) = Some(turn);
                }
                Ok(None) => self.go_on(world, who, turn),
            },
        }
    }

    /// Does one thing outside and notes what came of it; gives what is still to be done of it.
    fn outside(
        &self,
        world: &mut World,
        turn: &mut Turn,
        outside: Outside,
        fate: Fate,
    ) -> Result<Option<Outside>, String> {
        match outside {
            Outside::See(action) => {
                let what = self.see(world, turn, &action, fate)?;
                turn.note(what)?;
            }
            Outside::Call { account, old, new } => {
                let asked = Change::asked(account, old, new);
                let answer = world.cloud.call(asked, self.tasks, self.merged_code, fate, NOW);
                return Ok(Some(Outside::Hear { new, answer }));
            }
            Outside::Hear { new, answer } => {
                let answer = match fate {
                    Fate::Well => {
                        if matches!(answer, Answer::Accepted { .. }) {
                            world.cloud.was_heard(new);
                        }
                        answer
                    }
                    _ => Answer::Unanswered { fault: fault(Kind::Unanswered) },
                };
                turn.note(What::Answered { answer })?;
            }
            Outside::Retire { generation, old, stays } => {
                let done = world.cloud.retire(old, stays, fate) && fate == Fate::Well;
                turn.note(match done {
                    true => What::Retired { generation },
                    false => What::RetireFailed { generation, fault: fault(Kind::Unanswered) },
                })?;
            }
            Outside::Deliver { mut sinks, mut done, generation } => {
                let sink = sinks.remove(0);
                done.push(self.deliver(world, turn, &sink, generation, fate));
                if !sinks.is_empty() {
                    return Ok(Some(Outside::Deliver { sinks, done, generation }));
                }
                done.into_iter().try_for_each(|what| turn.note(what))?;
            }
        }
        Ok(None)
    }

    /// A sink takes no generation that is older than what it holds.
    fn deliver(&self, world: &mut World, turn: &Turn, sink: &SinkName, generation: Generation, fate: Fate) -> What {
        let place = self.plan.sinks.iter().position(|known| known == sink).unwrap_or(0);
        let failed = |kind| What::DeliveryFailed { sink: sink.clone(), generation, fault: fault(kind) };
        if fate == Fate::Lost {
            return failed(Kind::SinkUnavailable);
        }
        if world.sinks[place] > generation {
            if world.ledger.fence == turn.fence {
                world.breaks(Broken::Backwards);
            }
            return failed(Kind::SinkNewer);
        }
        world.sinks[place] = generation;
        match fate {
            Fate::Well => What::Delivered { sink: sink.clone(), generation, shape: None },
            _ => failed(Kind::SinkUnavailable),
        }
    }

    fn see(&self, world: &World, turn: &Turn, action: &Action, fate: Fate) -> Result<What, String> {
        let cloud = &world.cloud;
        let (lost, no_look) = (fate == Fate::Lost, What::LookFailed { fault: fault(Kind::Unreachable) });
        let password = |generation| turn.password(&world.ledger, generation);
        Ok(match action {
            Action::Preflight { account, previous, believes, .. } => {
                if lost || cloud.is_busy() {
                    return Ok(What::Blocked { fault: fault(Kind::Busy) });
                }
                let mut drifted = false;
                if let Some(previous) = previous.filter(|_| self.plan.login) {
                    drifted = cloud.login(index(account.as_deref()), password(previous)?) == Login::Refused;
                }
                if drifted && !believes {
                    return Ok(What::Blocked { fault: fault(Kind::LoginRefused) });
                }
                let mark = self.plan.abilities.change_mark.then(|| cloud.mark.to_string());
                What::Ready { change_mark: mark, drifted }
            }
            Action::FindTask { .. } | Action::PollTask(_) | Action::ReadMark if lost => no_look,
            Action::FindTask { from } => What::TaskSought { found: cloud.find_task(*from) },
            Action::PollTask(task) => {
                let task = usize::try_from(task.0).map_err(|_| "a task that never was".to_owned())?;
                What::TaskRead { status: cloud.task(task) }
            }
            Action::ReadMark => What::MarkRead { mark: Some(cloud.mark.to_string()) },
            Action::TryLogin { candidate, previous, account } => {
                let account = index(account.as_deref());
                let candidate = cloud.login(account, password(*candidate)?);
                let previous = match previous {
                    Some(previous) => Some(cloud.login(account, password(*previous)?)),
                    None => None,
                };
                strained(candidate, previous, fate)
            }
            other => return Err(format!("not a look: {other:?}")),
        })
    }
}

/// What logins show when something is in their way. Nodes that lag behind know the candidate's predecessor only.
fn strained(candidate: Login, previous: Option<Login>, fate: Fate) -> What {
    let unreachable = || Login::Unreachable { fault: fault(Kind::LoginUnreachable) };
    let changed = candidate == Login::Accepted;
    let (candidate, previous) = match fate {
        Fate::Lost => (unreachable(), previous.map(|_| unreachable())),
        Fate::Unclear if changed => (Login::Mixed, previous.map(|_| Login::Mixed)),
        Fate::Stale if changed => (Login::Refused, previous.map(|_| Login::Accepted)),
        _ => (candidate, previous),
    };
    What::LoginTried { candidate, previous }
}
