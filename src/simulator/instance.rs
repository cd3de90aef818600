//! One instance: what it says of itself, which logins it takes, and every password it ever had.

use super::settings::{InstanceSettings, StaleNodes};
use super::task::Stamp;
use crate::moment::Moment;
use crate::secret::Secret;
use serde::Deserialize;
use std::net::SocketAddr;
use std::time::Duration;

/// How the login listener treats new connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reach {
    /// It answers.
    #[default]
    Open,
    /// The port is closed.
    Refuse,
    /// It takes the connection and says nothing.
    Hang,
}

/// A password that became the live one.
#[derive(Debug, Clone)]
pub struct Applied {
    /// When, in true time.
    pub at: Moment,
    /// Which.
    pub password: Secret,
}

/// A password and when it was set; the first one is from before the cloud started.
pub(super) struct Password {
    pub(super) set: Stamp,
    pub(super) uptime: Duration,
    pub(super) text: Secret,
}

pub(super) struct Instance {
    pub(super) settings: InstanceSettings,
    /// Where its login listener or server is.
    pub(super) login_address: Option<SocketAddr>,
    pub(super) reach: tokio::sync::watch::Sender<Reach>,
    /// The last one is live.
    pub(super) passwords: Vec<Password>,
    /// The task that holds it.
    pub(super) task: Option<i64>,
    /// Until when (uptime) another process holds it.
    pub(super) locked_until: Duration,
    /// The task numbers it ever had, oldest first.
    pub(super) tasks: Vec<i64>,
}

/// What a login is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Login {
    In,
    Wrong,
    /// A password was sent to an instance that has none.
    PasswordFree,
}

impl Instance {
    pub(super) fn new(settings: InstanceSettings, started: Stamp) -> Self {
        let first = Password { set: started, uptime: Duration::ZERO, text: settings.password.clone() };
        Self {
            settings,
            login_address: None,
            reach: tokio::sync::watch::Sender::new(Reach::Open),
            passwords: vec![first],
            task: None,
            locked_until: Duration::ZERO,
            tasks: Vec::new(),
        }
    }

    /// The live password.
    pub(super) fn live(&self) -> &Secret {
        &self.passwords.last().expect("there is a first password").text
    }

    /// Whether another operation holds the instance.
    pub(super) fn is_locked(&self, uptime: Duration) -> bool {
        self.task.is_some() || uptime < self.locked_until
    }

    /// Judges a login. `connection` numbers the connections of this instance from 0: a stale node is a remainder of it.
    ///
    /// The default account logs in with the bare password or with `<instance id>:<password>` (Tencent documents "Managing Account"
    /// and "connection preparation"); with two arguments its name is `default` or the account's own.
    pub(super) fn login(&self, connection: u64, uptime: Duration, user: Option<&str>, password: &str) -> Login {
        if self.settings.no_auth {
            return Login::PasswordFree;
        }
        let known_user = user.is_none_or(|user| user == "default" || user == self.settings.account);
        let expected = self.password_of(connection, uptime).expose();
        let prefixed = password.strip_prefix(self.settings.id.as_str()).and_then(|rest| rest.strip_prefix(':'));
        if known_user && (password == expected || prefixed == Some(expected)) { Login::In } else { Login::Wrong }
    }

    /// The password that the node behind this connection knows.
    fn password_of(&self, connection: u64, uptime: Duration) -> &Secret {
        let stale = self.settings.stale_nodes.as_ref();
        let is_stale = |nodes: &StaleNodes| connection % nodes.of.max(1) < nodes.stale;
        match (self.passwords.as_slice(), stale) {
            ([.., before, newest], Some(nodes)) if is_stale(nodes) && uptime < newest.uptime + nodes.span => {
                &before.text
            }
            _ => self.live(),
        }
    }

    /// The change time that was published at a moment: of the newest password set by then.
    pub(super) fn changed_before(&self, when: Moment) -> Option<Moment> {
        let newest = self.passwords.iter().rev().find(|password| password.set.at <= when);
        newest.filter(|_| !self.settings.hide_change_time).map(|password| password.set.published)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instance() -> Instance {
        let start = Stamp { at: Moment::from_millis(0), published: Moment::from_millis(0) };
        let mut instance = Instance::new(InstanceSettings::new("crs-a", "first-1"), start);
        let at = Duration::from_secs(10);
        instance.passwords.push(Password {
            set: Stamp { at: start.at + at, published: start.at + at },
            uptime: at,
            text: Secret::new("second-2".to_owned()),
        });
        instance
    }

    #[test]
    fn both_login_forms_and_both_names_open_the_default_account() {
        let instance = instance();
        let now = Duration::from_secs(11);
        for (user, password, verdict) in [
            (None, "second-2", Login::In),
            (None, "crs-a:second-2", Login::In),
            (Some("default"), "second-2", Login::In),
            (Some("root"), "crs-a:second-2", Login::In),
            (Some("admin"), "second-2", Login::Wrong),
            (None, "crs-b:second-2", Login::Wrong),
            (None, "first-1", Login::Wrong),
            (None, "", Login::Wrong),
        ] {
            assert_eq!(instance.login(0, now, user, password), verdict, "{user:?} {password}");
        }
    }

    #[test]
    fn stale_nodes_take_the_password_before_for_a_while() {
        let mut instance = instance();
        instance.settings.stale_nodes = Some(StaleNodes { stale: 1, of: 3, span: Duration::from_secs(5) });
        for (connection, seconds, taken) in
            [(0, 14, "first-1"), (1, 14, "second-2"), (2, 14, "second-2"), (3, 14, "first-1"), (3, 15, "second-2")]
        {
            for password in ["first-1", "second-2"] {
                let verdict = instance.login(connection, Duration::from_secs(seconds), None, password);
                assert_eq!(verdict == Login::In, password == taken, "{connection} {seconds} {password}");
            }
        }
    }

    #[test]
    fn a_password_free_instance_refuses_any_password() {
        let mut instance = instance();
        instance.settings.no_auth = true;
        assert_eq!(instance.login(0, Duration::ZERO, None, "second-2"), Login::PasswordFree);
    }
}
