//! One instance: what it says of itself, which logins it takes, and every password it ever had.

use super::accounts::Rights;
use super::cloud::State;
use super::settings::{InstanceSettings, StaleNodes, Tair, Vendor};
use super::task::{Stamp, Task};
use crate::moment::Moment;
use crate::secret::Secret;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

/// Tencent's `Type` up to 9 is Redis 2.8 to 5.0, from before access control lists.
const LAST_TYPE_BEFORE_ACL: i64 = 9;

/// Redis has them from this version on.
const FIRST_VERSION_WITH_ACL: u32 = 6;

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

/// Every password of one account, oldest first. There is always one.
pub(super) struct History(Vec<Password>);

impl History {
    fn begin(text: Secret, started: Stamp) -> Self {
        Self(vec![Password { set: started, uptime: Duration::ZERO, text }])
    }

    /// The one that works.
    pub(super) fn live(&self) -> &Secret {
        &self.0.last().expect("there is a first password").text
    }

    pub(super) fn push(&mut self, password: Password) {
        self.0.push(password);
    }

    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = &Password> {
        self.0.iter()
    }

    /// The password that the node behind a connection knows.
    fn known_to(&self, connection: u64, uptime: Duration, stale: Option<&StaleNodes>) -> &Secret {
        let is_stale = |nodes: &StaleNodes| connection % nodes.of.max(1) < nodes.stale;
        match (self.0.as_slice(), stale) {
            ([.., before, newest], Some(nodes)) if is_stale(nodes) && uptime < newest.uptime + nodes.span => {
                &before.text
            }
            _ => self.live(),
        }
    }
}

pub(super) struct Instance {
    pub(super) settings: InstanceSettings,
    /// Where its login listener or server is.
    pub(super) login_address: Option<SocketAddr>,
    pub(super) reach: tokio::sync::watch::Sender<Reach>,
    /// By account name, the default account among them.
    pub(super) accounts: BTreeMap<String, History>,
    /// What each account may do.
    pub(super) rights: BTreeMap<String, Rights>,
    /// How often password login was switched on or off through the API.
    pub(super) auth_switches: u64,
    /// The task that holds it.
    pub(super) task: Option<i64>,
    /// Until when (uptime) another process holds it.
    pub(super) locked_until: Duration,
    /// The task numbers it ever had, oldest first.
    pub(super) tasks: Vec<i64>,
}

impl Tair {
    /// The number before the dot; 0 where there is none.
    pub(super) fn major_version(&self) -> u32 {
        self.engine_version.split('.').next().and_then(|text| text.parse().ok()).unwrap_or(0)
    }

    /// The default account's names (Alibaba document "Create and manage database accounts"). That both have one password is our
    /// reading: the document does not say.
    pub(super) fn default_names<'a>(&self, id: &'a str) -> Vec<&'a str> {
        if self.major_version() >= FIRST_VERSION_WITH_ACL { vec![id, "default"] } else { vec![id] }
    }
}

/// What a login is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Login {
    In,
    Wrong,
    /// A password was sent to an instance that has none.
    PasswordFree,
}

impl From<bool> for Login {
    fn from(opens: bool) -> Self {
        if opens { Self::In } else { Self::Wrong }
    }
}

impl Instance {
    pub(super) fn new(settings: InstanceSettings, started: Stamp) -> Self {
        let standard = settings.accounts.iter().map(|account| (account.name.clone(), account.password.clone()));
        let accounts = standard
            .chain([(settings.default_account().to_owned(), settings.password.clone())])
            .map(|(name, password)| (name, History::begin(password, started)))
            .collect();
        let rights = settings.accounts.iter().map(|account| (account.name.clone(), account.rights()));
        let rights = rights.chain([(settings.default_account().to_owned(), Rights::of_default_account())]).collect();
        Self {
            settings,
            login_address: None,
            reach: tokio::sync::watch::Sender::new(Reach::Open),
            accounts,
            rights,
            auth_switches: 0,
            task: None,
            locked_until: Duration::ZERO,
            tasks: Vec::new(),
        }
    }

    /// The passwords of the default account.
    pub(super) fn default_history(&self) -> &History {
        self.accounts.get(self.settings.default_account()).expect("an instance has its default account")
    }

    /// The default account's live password.
    pub(super) fn live(&self) -> &Secret {
        self.default_history().live()
    }

    /// Whether its engine is from before access control lists, whose login texts differ.
    pub(super) fn is_before_acl(&self) -> bool {
        match &self.settings.vendor {
            Vendor::Tencent => self.settings.engine <= LAST_TYPE_BEFORE_ACL,
            Vendor::Alibaba(tair) => tair.major_version() < FIRST_VERSION_WITH_ACL,
        }
    }

    /// The task that was under way at a moment.
    pub(super) fn task_at<'a>(&self, state: &'a State, when: Moment) -> Option<&'a Task> {
        let begun = |task: &&Task| task.accepted.at <= when;
        let newest = self.tasks.iter().rev().filter_map(|id| state.tasks.get(id)).find(begun);
        newest.filter(|task| task.end.as_ref().is_none_or(|(stamp, _)| stamp.at > when))
    }

    /// Whether a task was under way at a moment.
    pub(super) fn is_changing(&self, state: &State, when: Moment) -> bool {
        self.task_at(state, when).is_some()
    }

    /// Whether a task of this account was under way at a moment, or had ended within `lag` before it.
    pub(super) fn is_account_changing(&self, state: &State, account: &str, when: Moment, lag: Duration) -> bool {
        let of_account = self.tasks.iter().filter_map(|id| state.tasks.get(id)).filter(|task| task.account == account);
        let begun = of_account.rev().find(|task| task.accepted.at <= when);
        begun.is_some_and(|task| task.end.as_ref().is_none_or(|(stamp, _)| stamp.at + lag > when))
    }

    /// Whether another operation holds the instance.
    pub(super) fn is_locked(&self, uptime: Duration) -> bool {
        self.task.is_some() || uptime < self.locked_until
    }

    /// Judges a login. `connection` numbers the connections of this instance from 0: a stale node is a remainder of it.
    pub(super) fn login(&self, connection: u64, uptime: Duration, user: Option<&str>, password: &str) -> Login {
        let stale = self.settings.stale_nodes.as_ref();
        let opens = |account: &History, text: &str| account.known_to(connection, uptime, stale).expose() == text;
        match &self.settings.vendor {
            Vendor::Tencent if self.settings.no_auth => Login::PasswordFree,
            Vendor::Tencent => Login::from(self.opens_tencent(user, password, opens)),
            // An empty password is welcome where none is needed, a wrong one is not (Alibaba document on WRONGPASS).
            Vendor::Alibaba(_) if self.settings.no_auth && password.is_empty() => Login::In,
            Vendor::Alibaba(tair) => Login::from(self.opens_tair(tair, user, password, opens)),
        }
    }

    /// The default account logs in with the bare password or with `<instance id>:<password>` (Tencent documents "Managing Account"
    /// and "connection preparation"); with two arguments its name is `default` or the account's own. Only where the whole text is not its
    /// password, the proxy takes what stands before the first `@` for a custom account's name.
    fn opens_tencent(&self, user: Option<&str>, password: &str, opens: impl Fn(&History, &str) -> bool) -> bool {
        let known_user = user.is_none_or(|user| user == "default" || user == self.settings.account);
        let prefixed = password.strip_prefix(self.settings.id.as_str()).and_then(|rest| rest.strip_prefix(':'));
        let account = self.default_history();
        let custom = password.split_once('@').filter(|(name, _)| *name != self.settings.account);
        let opens_custom = || {
            let account = custom.and_then(|(name, password)| Some((self.accounts.get(name)?, password)));
            account.is_some_and(|(account, password)| opens(account, password))
        };
        let bare = !self.settings.prefix_required && opens(account, password);
        let opens_default = bare || prefixed.is_some_and(|password| opens(account, password));
        known_user && (opens_default || opens_custom())
    }

    /// The default account logs in with the bare password, any other with `<account>:<password>` in its place (Alibaba document
    /// "Create and manage database accounts"). Two arguments are not documented: only the default account's own names are taken.
    fn opens_tair(
        &self,
        tair: &Tair,
        user: Option<&str>,
        password: &str,
        opens: impl Fn(&History, &str) -> bool,
    ) -> bool {
        let is_default = |name: &str| tair.default_names(&self.settings.id).contains(&name);
        let standard = password.split_once(':').filter(|(name, _)| !is_default(name));
        let opens_standard = || {
            let account = standard.and_then(|(name, password)| Some((self.accounts.get(name)?, password)));
            account.is_some_and(|(account, password)| opens(account, password))
        };
        user.is_none_or(is_default) && (opens(self.default_history(), password) || opens_standard())
    }

    /// The change time that was published at a moment: of the newest password of the account set by then.
    pub(super) fn changed_before(&self, account: &str, when: Moment) -> Option<Moment> {
        let newest = self.accounts.get(account)?.iter().rev().find(|password| password.set.at <= when);
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
        instance.accounts.get_mut("root").unwrap().push(Password {
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
    fn an_instance_may_insist_on_its_name_in_front() {
        let mut instance = instance();
        instance.settings.prefix_required = true;
        for (password, verdict) in [("second-2", Login::Wrong), ("crs-a:second-2", Login::In)] {
            assert_eq!(instance.login(0, Duration::from_secs(11), None, password), verdict, "{password}");
        }
    }

    #[test]
    fn custom_accounts_log_in_with_an_at_sign_after_the_default_one_was_tried() {
        let start = Stamp { at: Moment::from_millis(0), published: Moment::from_millis(0) };
        let settings = InstanceSettings::new("crs-a", "app@first-1").with_account("app", "second@2");
        let instance = Instance::new(settings, start);
        for (user, password, verdict) in [
            (None, "app@second@2", Login::In),
            (None, "app@first-1", Login::In),
            (None, "second@2", Login::Wrong),
            (None, "App@second@2", Login::Wrong),
            (None, "root@app@first-1", Login::Wrong),
            (None, "app:second@2", Login::Wrong),
            (Some("app"), "second@2", Login::Wrong),
        ] {
            assert_eq!(instance.login(0, Duration::ZERO, user, password), verdict, "{user:?} {password}");
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
    fn tair_takes_the_bare_password_and_standard_accounts_with_a_colon() {
        let start = Stamp { at: Moment::from_millis(0), published: Moment::from_millis(0) };
        let settings = InstanceSettings::alibaba("r-bp1", "first-1").with_account("app", "second-2");
        let mut instance = Instance::new(settings, start);
        for (no_auth, version, user, password, verdict) in [
            (false, "7.0", None, "first-1", Login::In),
            (false, "7.0", Some("default"), "first-1", Login::In),
            (false, "7.0", Some("r-bp1"), "first-1", Login::In),
            (false, "5.0", Some("default"), "first-1", Login::Wrong),
            (false, "7.0", None, "app:second-2", Login::In),
            (false, "7.0", None, "app:first-1", Login::Wrong),
            (false, "7.0", None, "App:second-2", Login::Wrong),
            (false, "7.0", None, "second-2", Login::Wrong),
            (false, "7.0", Some("app"), "second-2", Login::Wrong),
            (false, "7.0", None, "r-bp1:first-1", Login::Wrong),
            (false, "7.0", None, "default:first-1", Login::Wrong),
            (false, "7.0", None, "", Login::Wrong),
            (true, "7.0", None, "", Login::In),
            (true, "7.0", None, "second-2", Login::Wrong),
            (true, "7.0", None, "first-1", Login::In),
        ] {
            instance.settings.no_auth = no_auth;
            instance.settings.vendor = Vendor::Alibaba(Tair { engine_version: version.to_owned(), ..Tair::default() });
            assert_eq!(instance.login(0, Duration::ZERO, user, password), verdict, "{version} {user:?} {password}");
        }
    }

    #[test]
    fn a_password_free_instance_refuses_any_password() {
        let mut instance = instance();
        instance.settings.no_auth = true;
        assert_eq!(instance.login(0, Duration::ZERO, None, "second-2"), Login::PasswordFree);
    }
}
