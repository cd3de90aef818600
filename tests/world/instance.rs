//! What a target's passwords open: one account, a pair of accounts, or the nodes of a server of one's own.

use super::cloud::{Cloud, Mood, Password};
use super::dice::Dice;
use super::nodes::Nodes;
use keywheel::name::TaskId;
use keywheel::rotation::answer::{Answer, Login, TaskStatus};

/// The names of a pair's accounts, in the order of the configuration.
pub const PAIR: [&str; 2] = ["a", "b"];

/// Which account a name means; one that has no name is the only one.
pub fn index(account: Option<&str>) -> usize {
    usize::from(account == Some(PAIR[1]))
}

#[derive(Debug)]
pub enum Instance {
    /// One account, or two on one instance, each with a password of its own.
    Accounts(Vec<Cloud>),
    /// Several passwords on each node.
    Nodes(Nodes),
}

impl Instance {
    pub fn cloud(&self, account: usize) -> Option<&Cloud> {
        match self {
            Self::Accounts(clouds) => clouds.get(account),
            Self::Nodes(_) => None,
        }
    }

    pub fn nodes(&self) -> Option<&Nodes> {
        match self {
            Self::Accounts(_) => None,
            Self::Nodes(nodes) => Some(nodes),
        }
    }

    fn moods(&mut self) -> Vec<&mut Mood> {
        match self {
            Self::Accounts(clouds) => clouds.iter_mut().map(|cloud| &mut cloud.mood).collect(),
            Self::Nodes(nodes) => vec![&mut nodes.mood],
        }
    }

    /// No more faults; `unstick` ends the tasks that would never have ended.
    pub fn calm(&mut self, now: i64, unstick: bool) {
        self.moods().into_iter().for_each(|mood| mood.storm = false);
        if let (Self::Accounts(clouds), true) = (self, unstick) {
            clouds.iter_mut().for_each(|cloud| cloud.unstick(now));
        }
    }

    /// Changes that were none of ours.
    pub fn foreign(&self) -> u32 {
        match self {
            Self::Accounts(clouds) => clouds.iter().map(|cloud| cloud.foreign).sum(),
            Self::Nodes(nodes) => nodes.foreign,
        }
    }

    /// Whether a call of ours took effect so late that nothing could be done about it.
    pub fn has_strays(&self) -> bool {
        match self {
            Self::Accounts(clouds) => clouds.iter().any(|cloud| cloud.strays > 0),
            Self::Nodes(nodes) => !nodes.strays.is_empty(),
        }
    }

    pub fn tick(&mut self, now: i64, dice: &mut Dice) {
        match self {
            Self::Accounts(clouds) => clouds.iter_mut().for_each(|cloud| cloud.tick(now, dice)),
            Self::Nodes(nodes) => nodes.tick(now),
        }
    }

    pub fn quiet_at(&self, now: i64) -> i64 {
        match self {
            Self::Accounts(clouds) => clouds.iter().map(|cloud| cloud.quiet_at(now)).max().unwrap_or(now),
            Self::Nodes(nodes) => nodes.quiet_at(now),
        }
    }

    pub fn is_free(&self, now: i64) -> bool {
        match self {
            Self::Accounts(clouds) => clouds.iter().all(|cloud| cloud.is_free(now)),
            Self::Nodes(nodes) => nodes.is_all_up(),
        }
    }

    /// A call arrives for an account; `old` is the password it compares, if it compares any.
    pub fn change(
        &mut self,
        account: usize,
        old: Option<Password>,
        new: Password,
        now: i64,
        dice: &mut Dice,
    ) -> Answer {
        match self {
            Self::Accounts(clouds) => {
                let pair = clouds.len() > 1;
                match clouds[account].change(old, new, now, dice) {
                    Answer::Accepted { task: Some(TaskId(task)) } if pair => {
                        Answer::Accepted { task: Some(of_pair(account, task)) }
                    }
                    answer @ (Answer::Accepted { .. } | Answer::Refused { .. } | Answer::Unanswered { .. }) => answer,
                }
            }
            Self::Nodes(nodes) => nodes.add(new, now, dice),
        }
    }

    pub fn login(&self, account: usize, password: Password, now: i64, dice: &mut Dice) -> Login {
        match self {
            Self::Accounts(clouds) => clouds[account].login(password, now, dice),
            Self::Nodes(nodes) => nodes.login(password, dice),
        }
    }

    pub fn mark(&self, account: usize) -> Option<String> {
        self.cloud(account).map(|cloud| cloud.mark.to_string())
    }

    /// What a task says.
    pub fn task(&self, task: TaskId, now: i64) -> TaskStatus {
        match self {
            Self::Accounts(clouds) if clouds.len() > 1 => clouds[(task.0 % 2) as usize].task(TaskId(task.0 / 2), now),
            Self::Accounts(clouds) => clouds[0].task(task, now),
            Self::Nodes(_) => TaskStatus::Failed { message: "no tasks here".to_owned() },
        }
    }

    /// The newest password task of the instance since then. The list does not say for which account it is.
    pub fn find_task(&self, from: i64, now: i64) -> Option<(TaskId, TaskStatus)> {
        let Self::Accounts(clouds) = self else { return None };
        let newest = |(account, cloud): (usize, &Cloud)| {
            let (began, TaskId(task)) = cloud.newest_task(from)?;
            Some((began, if clouds.len() > 1 { of_pair(account, task) } else { TaskId(task) }))
        };
        let (_, task) = clouds.iter().enumerate().filter_map(newest).max_by_key(|(began, _)| *began)?;
        Some((task, self.task(task, now)))
    }
}

fn of_pair(account: usize, task: i64) -> TaskId {
    TaskId(task * 2 + account as i64)
}
