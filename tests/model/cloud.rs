//! What a target's passwords open, and the cloud around it: it compares the old password and may then delay, lose its answer, apply late, lock, or fail a task before or
//! after applying it. Nothing here has a time of its own: what may happen late may happen at any later step.

use keywheel::fault::{Fault, Kind};
use keywheel::moment::Moment;
use keywheel::name::TaskId;
use keywheel::rotation::answer::{Answer, Login, Refusal, TaskStatus};

/// A password: the model only tells them apart. Each stands for one that was drawn by chance, so no two are alike.
pub type Password = u8;

/// The password that somebody else sets.
pub const STRANGE: Password = 63;

/// Passwords as bits.
pub type Passwords = u64;

pub const fn bit(password: Password) -> Passwords {
    1 << password
}

/// The passwords that these bits stand for.
pub fn each(passwords: Passwords) -> impl Iterator<Item = Password> {
    (0..=STRANGE).filter(move |&password| passwords & bit(password) != 0)
}

/// A change that was asked for and may still happen.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Change {
    pub door: usize,
    /// The password it compares when it takes effect; a reset compares none.
    pub old: Option<Password>,
    pub new: Password,
    pub task: Option<usize>,
    /// Its acceptance was heard. Without a task that is a promise.
    pub heard: bool,
    /// It compares nothing and another password was proven since: nobody can take it back.
    pub stray: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Task {
    pub began: Moment,
    pub status: Progress,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Progress {
    Running,
    Succeeded,
    Failed,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Cloud {
    /// What each door lets in: the one account, those of a pair, or the nodes of a server of one's own.
    pub doors: Vec<Passwords>,
    /// A password is added beside the others, on every node; else it replaces the one on its account.
    pub beside: bool,
    /// What any account, or every node, ever let in.
    pub ever_live: Passwords,
    pub changes: Vec<Change>,
    pub tasks: Vec<Task>,
    /// Another operation holds the instance.
    pub locked: bool,
    /// A password that breaks a rule of the instance.
    pub forbidden: Option<Password>,
    /// Counts the changes of the password.
    pub mark: u8,
    /// Somebody else changed the password, or a call of ours did that nobody could take back.
    pub disturbed: bool,
}

/// How something fares outside. All but `Well` cost a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fate {
    Well,
    /// It does not arrive, or nothing is done.
    Lost,
    /// It is done and reported as failed, or only half of it is seen.
    Unclear,
    /// Nodes that lag behind answer.
    Stale,
    /// The call never left.
    Unsent,
    /// Refused for now, without a reason.
    NotNow,
    /// Not allowed.
    Denied,
    /// The candidate breaks a rule.
    RuleBroken,
}

impl Change {
    pub fn asked(door: usize, old: Option<Password>, new: Password) -> Self {
        Self { door, old, new, task: None, heard: false, stray: false }
    }
}

impl Cloud {
    pub fn new(doors: &[Password], beside: bool) -> Self {
        let doors: Vec<Passwords> = doors.iter().map(|&password| bit(password)).collect();
        let ever_live = doors.iter().fold(0, |all, door| all | door);
        Self {
            doors,
            beside,
            ever_live,
            changes: Vec::new(),
            tasks: Vec::new(),
            locked: false,
            forbidden: None,
            mark: 0,
            disturbed: false,
        }
    }

    pub fn is_busy(&self) -> bool {
        self.locked || self.tasks.iter().any(|task| task.status == Progress::Running)
    }

    /// A call arrives, or does not.
    pub fn call(&mut self, change: Change, names_tasks: bool, merged_code: bool, fate: Fate, now: Moment) -> Answer {
        let refused = |refusal, kind| Answer::Refused { refusal, fault: fault(kind) };
        match fate {
            Fate::Lost => return Answer::Unanswered { fault: fault(Kind::Unanswered) },
            Fate::Unsent => return refused(Refusal::Unsent, Kind::Unreachable),
            Fate::NotNow => return refused(Refusal::NotNow, Kind::Busy),
            Fate::Denied => return refused(Refusal::Fatal, Kind::Denied),
            Fate::RuleBroken => self.forbidden = Some(change.new),
            Fate::Well | Fate::Unclear | Fate::Stale => {}
        }
        if self.is_busy() {
            return refused(Refusal::Locked, Kind::Locked);
        }
        if self.beside {
            return self.add(change.new, fate);
        }
        let rule = self.forbidden == Some(change.new);
        let wrong = !self.fits(&change);
        match (rule, wrong, merged_code) {
            (false, false, _) => {}
            (_, _, true) => return refused(Refusal::RuleOrOldPassword, Kind::RuleViolated),
            (true, _, false) => return refused(Refusal::RuleViolated, Kind::RuleViolated),
            (false, true, false) => return refused(Refusal::OldPasswordWrong, Kind::OldPasswordWrong),
        }
        let task = names_tasks.then_some(self.tasks.len());
        if names_tasks {
            self.tasks.push(Task { began: now, status: Progress::Running });
        }
        self.changes.push(Change { task, ..change });
        self.changes.sort();
        Answer::Accepted { task: task.map(id) }
    }

    /// Every node gets the password; or only the first, and the second later or never.
    fn add(&mut self, new: Password, fate: Fate) -> Answer {
        let reached = if matches!(fate, Fate::Unclear | Fate::Stale) { 1 } else { self.doors.len() };
        (0..reached).for_each(|door| self.take_effect(door, new));
        if fate == Fate::Stale {
            let late = (reached..self.doors.len()).map(|door| Change::asked(door, None, new));
            self.changes.extend(late);
            self.changes.sort();
        }
        match reached == self.doors.len() {
            true => Answer::Accepted { task: None },
            false => Answer::Unanswered { fault: fault(Kind::Unanswered) },
        }
    }

    fn take_effect(&mut self, door: usize, new: Password) {
        let before = if self.beside { self.doors[door] } else { 0 };
        self.doors[door] = before | bit(new);
        let everywhere = !self.beside || self.login(door, new) == Login::Accepted;
        self.ever_live |= if everywhere { bit(new) } else { 0 };
        self.mark += 1;
    }

    /// Takes a password away, where the one that stays is everywhere; `Unclear` = on the first node only.
    pub fn retire(&mut self, old: Password, stays: Password, fate: Fate) -> bool {
        if fate == Fate::Lost || self.login(0, stays) != Login::Accepted {
            return false;
        }
        let reached = if fate == Fate::Well { self.doors.len() } else { 1 };
        self.doors.iter_mut().take(reached).for_each(|door| *door &= !bit(old));
        self.login(0, old) == Login::Refused
    }

    /// What any door lets in.
    pub fn live(&self) -> Passwords {
        self.doors.iter().fold(0, |all, door| all | door)
    }

    pub fn fits(&self, change: &Change) -> bool {
        change.old.is_none_or(|old| self.doors[change.door] & bit(old) != 0)
    }

    /// The acceptance of this change was heard.
    pub fn was_heard(&mut self, new: Password) {
        // What comes to a node of one's own later belongs to a call that went unanswered.
        let mut unheard = self.changes.iter_mut().filter(|change| !self.beside && change.new == new && !change.heard);
        if let Some(change) = unheard.next() {
            change.heard = true;
        }
        self.changes.sort();
    }

    /// A change takes effect; `Unclear` = its task ends in failure nevertheless, `Lost` = it never happens.
    pub fn apply(&mut self, index: usize, fate: Fate) {
        let change = self.changes.remove(index);
        let happens = self.fits(&change) && fate != Fate::Lost;
        if let Some(task) = change.task {
            let succeeds = happens && fate == Fate::Well;
            self.tasks[task].status = if succeeds { Progress::Succeeded } else { Progress::Failed };
        }
        if happens {
            self.disturbed |= change.stray && self.doors[change.door] & bit(change.new) == 0;
            self.take_effect(change.door, change.new);
        }
    }

    pub fn intrude(&mut self) {
        self.take_effect(0, STRANGE);
        self.disturbed = true;
    }

    /// Calls that compare nothing and are still out cannot be taken back.
    pub fn leave_behind(&mut self) {
        for change in self.changes.iter_mut().filter(|change| change.old.is_none() && !change.heard) {
            change.stray = true;
        }
        self.changes.sort();
    }

    pub fn login(&self, account: usize, password: Password) -> Login {
        let asked = if self.beside { &self.doors[..] } else { &self.doors[account..=account] };
        match asked.iter().filter(|&door| door & bit(password) != 0).count() {
            0 => Login::Refused,
            open if open == asked.len() => Login::Accepted,
            _ => Login::Mixed,
        }
    }

    pub fn task(&self, task: usize) -> TaskStatus {
        match self.tasks[task].status {
            Progress::Running => TaskStatus::Running,
            Progress::Succeeded => TaskStatus::Succeeded,
            Progress::Failed => TaskStatus::Failed { message: "it failed".to_owned() },
        }
    }

    /// The newest task since then.
    pub fn find_task(&self, from: Moment) -> Option<(TaskId, TaskStatus)> {
        let index = (0..self.tasks.len()).rev().find(|&index| self.tasks[index].began >= from)?;
        Some((id(index), self.task(index)))
    }
}

fn id(task: usize) -> TaskId {
    TaskId(i64::try_from(task).unwrap_or(i64::MAX))
}

pub fn fault(kind: Kind) -> Fault {
    Fault::new(kind, "the model says so")
}
