//! A stand-in for a cloud, as hostile as the real ones: it compares the old password and may then delay, lose its answer, apply
//! late, lock, fail a task before or after applying it, and leave nodes behind for a while. Its time is true time.

use super::dice::Dice;
use keywheel::fault::{Fault, Kind};
use keywheel::name::TaskId;
use keywheel::rotation::answer::{Answer, Login, Refusal, TaskStatus};
use std::collections::BTreeSet;

/// A password: the world only needs to tell them apart.
pub type Password = u64;

/// A change that has been asked for and may still happen.
#[derive(Debug, Clone, Copy)]
pub struct Change {
    /// The password it compares first; a reset, and a change on an account whose call takes none, compares nothing.
    old: Option<Password>,
    new: Password,
    /// When it takes effect, in true milliseconds.
    at: i64,
    task: Option<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Success,
    FailBefore,
    FailAfter,
}

#[derive(Debug, Clone, Copy)]
struct Task {
    began: i64,
    ends: i64,
    failed: bool,
    outcome: Outcome,
}

/// How unkind the world is.
#[derive(Debug, Clone, Copy)]
pub struct Mood {
    /// Faults still happen.
    pub storm: bool,
    /// Accepted changes name a task.
    pub tasks: bool,
    /// One code for a broken rule and for a wrong old password.
    pub merged_code: bool,
    /// In so many of a thousand calls something goes wrong.
    pub fault_rate: u64,
}

#[derive(Debug)]
pub struct Cloud {
    pub live: Password,
    pub ever_live: BTreeSet<Password>,
    /// Changes of the password that were none of ours.
    pub foreign: u32,
    /// Calls of ours that compare nothing and took effect although another call had already done so.
    pub strays: u32,
    pub mark: u64,
    pub mood: Mood,
    pending: Vec<Change>,
    tasks: Vec<Task>,
    locked_until: i64,
    /// A task that never ends keeps the instance locked for good.
    stuck: bool,
    /// Some nodes still hold this password until then.
    stale: Option<(Password, i64)>,
    forbidden: BTreeSet<Password>,
}

impl Cloud {
    pub fn new(live: Password, mood: Mood) -> Self {
        Self {
            live,
            ever_live: BTreeSet::from([live]),
            foreign: 0,
            strays: 0,
            mark: 1,
            mood,
            pending: Vec::new(),
            tasks: Vec::new(),
            locked_until: 0,
            stuck: false,
            stale: None,
            forbidden: BTreeSet::new(),
        }
    }

    /// Whether a call of ours may still make this password live.
    pub fn may_become(&self, password: Password) -> bool {
        self.pending.iter().any(|change| change.new == password)
    }

    /// When the last thing that was asked for will have happened.
    pub fn quiet_at(&self, now: i64) -> i64 {
        let changes = self.pending.iter().map(|change| change.at);
        let tasks = self.tasks.iter().map(|task| task.ends).filter(|&ends| ends < i64::MAX);
        changes.chain(tasks).chain([now, self.locked_until]).max().unwrap_or(now)
    }

    /// Somebody ends the tasks that would never have ended. A task that has ended has done what it was for: nothing of it comes later.
    pub fn unstick(&mut self, now: i64) {
        self.stuck = false;
        for (index, task) in self.tasks.iter_mut().enumerate().filter(|(_, task)| task.ends == i64::MAX) {
            task.ends = now;
            for change in self.pending.iter_mut().filter(|change| change.task == Some(index)) {
                change.at = change.at.min(now);
            }
        }
    }

    /// Somebody else changes the password.
    pub fn intrude(&mut self, password: Password) {
        self.live = password;
        self.ever_live.insert(password);
        self.foreign += 1;
        self.mark += 1;
    }

    /// Lets everything happen that is due by now.
    pub fn tick(&mut self, now: i64, dice: &mut Dice) {
        while let Some(index) = (0..self.pending.len())
            .filter(|&index| self.pending[index].at <= now)
            .min_by_key(|&index| self.pending[index].at)
        {
            let change = self.pending.swap_remove(index);
            self.take_effect(change, dice);
        }
    }

    fn take_effect(&mut self, change: Change, dice: &mut Dice) {
        let fits = change.old.is_none_or(|old| old == self.live);
        let outcome = change.task.map_or(Outcome::Success, |task| self.tasks[task].outcome);
        if !fits || outcome == Outcome::FailBefore {
            if let Some(task) = change.task {
                self.tasks[task].failed = true;
            }
            return;
        }
        if change.task.is_none() && self.mood.tasks {
            self.tasks.push(Task { began: change.at, ends: change.at + 1_000, failed: false, outcome });
        }
        if change.old.is_none() && self.ever_live.contains(&change.new) && self.live != change.new {
            self.strays += 1;
        }
        if self.live != change.new {
            if self.mood.storm && dice.chance(200) {
                self.stale = Some((self.live, change.at + 1_000 * dice.below(150) as i64));
            }
            self.live = change.new;
            self.mark += 1;
        }
        self.ever_live.insert(change.new);
    }

    /// A call arrives; `old` is the password it compares, if it compares any.
    pub fn change(&mut self, old: Option<Password>, new: Password, now: i64, dice: &mut Dice) -> Answer {
        self.tick(now, dice);
        let refused = |refusal, kind, what: &str| Answer::Refused { refusal, fault: Fault::new(kind, what) };
        let unkind = self.mood.storm && dice.chance(self.mood.fault_rate);
        if unkind {
            match dice.below(16) {
                0 => self.locked_until = now + 1_000 * dice.below(3_000) as i64,
                1 => return refused(Refusal::Busy, Kind::Busy, "not running"),
                2 => {
                    let millis = [0, 0, 500, 2_000, u64::MAX][dice.below(5) as usize];
                    let fault =
                        Fault::new(Kind::Throttled, "slow down").after(std::time::Duration::from_millis(millis));
                    let refusal = Refusal::Throttled;
                    return Answer::Refused { refusal, fault };
                }
                3 => return refused(Refusal::Unsent, Kind::Unreachable, "no connection"),
                4 => return refused(Refusal::Fatal, Kind::Denied, "not allowed"),
                // Of a password that it took before, no cloud says later that it breaks a rule.
                5 if !self.ever_live.contains(&new) && !self.may_become(new) => {
                    self.forbidden.insert(new);
                }
                6 => return lost("lost before it arrived"),
                7..=9 => {
                    let late = match dice.below(4) {
                        0 => 0,
                        1 => dice.below(50),
                        2 => dice.below(150),
                        _ => dice.below(2_000),
                    };
                    let at = now + 1_000 * late as i64;
                    let task = None;
                    self.pending.push(Change { old, new, at, task });
                    self.tick(now, dice);
                    return lost("connection reset");
                }
                _ => {}
            }
        }
        if self.stuck || self.locked_until > now || self.tasks.iter().any(|task| task.ends > now) {
            return refused(Refusal::Locked, Kind::Locked, "locked by another flow");
        }
        let rule = self.forbidden.contains(&new);
        let wrong = old.is_some_and(|old| old != self.live);
        if (rule || wrong) && self.mood.merged_code {
            return refused(Refusal::RuleOrOldPassword, Kind::RuleViolated, "parameter error");
        }
        if rule {
            return refused(Refusal::RuleViolated, Kind::RuleViolated, "too weak");
        }
        if wrong {
            return refused(Refusal::OldPasswordWrong, Kind::OldPasswordWrong, "old password wrong");
        }
        let answer = self.accept(old, new, now, unkind, dice);
        self.tick(now, dice);
        if unkind && dice.chance(300) {
            return lost("answer lost");
        }
        answer
    }

    fn accept(&mut self, old: Option<Password>, new: Password, now: i64, unkind: bool, dice: &mut Dice) -> Answer {
        if !self.mood.tasks {
            let at = now + if unkind { 100 * dice.below(100) as i64 } else { 0 };
            self.pending.push(Change { old, new, at, task: None });
            return Answer::Accepted { task: None };
        }
        let at = now + 500 + 100 * dice.below(60) as i64;
        let outcome = match dice.below(8) {
            0 if unkind => Outcome::FailBefore,
            1 if unkind => Outcome::FailAfter,
            _ => Outcome::Success,
        };
        let mut ends = at + 100 * dice.below(30) as i64;
        if unkind && dice.chance(60) {
            ends += 1_000 * dice.below(4_000) as i64;
        }
        if unkind && dice.chance(15) {
            ends = i64::MAX;
            self.stuck = true;
        }
        self.tasks.push(Task { began: now, ends, failed: outcome != Outcome::Success, outcome });
        let at = if unkind && dice.chance(200) { ends.min(at + 3_600_000) } else { at };
        let task = Some(self.tasks.len() - 1);
        self.pending.push(Change { old, new, at, task });
        Answer::Accepted { task: Some(TaskId(self.tasks.len() as i64 - 1)) }
    }

    /// What a task says.
    pub fn task(&self, task: TaskId, now: i64) -> TaskStatus {
        let task = self.tasks[task.0 as usize];
        if task.ends > now {
            TaskStatus::Running
        } else if task.failed {
            TaskStatus::Failed { message: "it failed".to_owned() }
        } else {
            TaskStatus::Succeeded
        }
    }

    /// When the newest task since then began, and which it is.
    pub fn newest_task(&self, from: i64) -> Option<(i64, TaskId)> {
        let index = (0..self.tasks.len())
            .filter(|&index| self.tasks[index].began >= from)
            .max_by_key(|&index| self.tasks[index].began)?;
        Some((self.tasks[index].began, TaskId(index as i64)))
    }

    /// A login on several fresh connections.
    pub fn login(&self, password: Password, now: i64, dice: &mut Dice) -> Login {
        if self.mood.storm && dice.chance(self.mood.fault_rate / 4) {
            return Login::Unreachable { fault: Fault::new(Kind::LoginUnreachable, "no route") };
        }
        let stale = self.stale.filter(|&(_, until)| until > now).map(|(old, _)| old);
        let (good, node_behind) = (password == self.live, stale == Some(password));
        match (good, stale.is_some(), node_behind) {
            (true, false, _) | (true, true, true) => Login::Accepted,
            (false, _, false) => Login::Refused,
            (true, true, false) | (false, _, true) => match dice.below(3) {
                0 => Login::Accepted,
                1 => Login::Refused,
                _ => Login::Mixed,
            },
        }
    }

    /// Whether the instance would take a call now.
    pub fn is_free(&self, now: i64) -> bool {
        !self.stuck && self.locked_until <= now && self.tasks.iter().all(|task| task.ends <= now)
    }
}

/// No answer came.
pub(super) fn lost(what: &str) -> Answer {
    Answer::Unanswered { fault: Fault::new(Kind::Unanswered, what) }
}
