//! What has to be done on one node, decided from what it shows. Deciding again after it was done asks for nothing more: that is how a change
//! is verified, and why every call can be repeated.

use super::look::{Look, User, hash};
use crate::fault::{Fault, Kind};
use crate::secret::Secret;
use std::collections::BTreeSet;

/// What a call wants of every node.
#[derive(Debug, Clone, Copy)]
pub(super) enum Intent<'a> {
    /// `new` beside what is there.
    Add {
        /// What is there, if it is known: the account may have to log in with it.
        old: Option<&'a Secret>,
        /// The candidate.
        new: &'a Secret,
    },
    /// `new` in the place of `old`.
    Swap {
        /// What must be there.
        old: &'a Secret,
        /// The candidate.
        new: &'a Secret,
    },
    /// `new` alone, whatever was there.
    Set {
        /// The candidate.
        new: &'a Secret,
    },
    /// `old` gone, and `current` left.
    Retire {
        /// What goes.
        old: &'a Secret,
        /// What stays.
        current: &'a Secret,
    },
}

impl<'a> Intent<'a> {
    /// The account's passwords that the call brings, the newest first.
    pub(super) fn own(self) -> Vec<&'a Secret> {
        match self {
            Self::Add { old, new } => std::iter::once(new).chain(old).collect(),
            Self::Set { new } => vec![new],
            Self::Swap { old, new } => vec![new, old],
            Self::Retire { old, current } => vec![current, old],
        }
    }

    /// The password that the account has afterwards.
    fn lasting(self) -> &'a Secret {
        match self {
            Self::Add { new, .. } | Self::Swap { new, .. } | Self::Set { new } => new,
            Self::Retire { current, .. } => current,
        }
    }
}

/// Commands for one node. None at all where it is as it should be.
#[derive(Debug, Default)]
pub(super) struct Edit<'a> {
    /// The modifiers of one `ACL SETUSER`: the server applies all of them, or none.
    pub user: Vec<String>,
    /// `CONFIG SET requirepass`, which replaces all passwords of the default user.
    pub requirepass: Option<&'a Secret>,
    /// `CONFIG SET masterauth`: this node logs in to its master with a password that goes.
    pub masterauth: Option<&'a Secret>,
    /// This node logs in to its master as the account: its settings hold the password, too. Said even where nothing is to be changed, since a call that was cut
    /// short may have changed it and not written the file.
    pub is_masters_login: bool,
}

impl Edit<'_> {
    /// Whether nothing is to be done.
    pub(super) fn is_empty(&self) -> bool {
        self.user.is_empty() && self.requirepass.is_none() && self.masterauth.is_none()
    }

    /// Whether the file with the settings has to be written, and not that with the users.
    pub(super) fn touches_config(&self) -> bool {
        self.requirepass.is_some() || self.masterauth.is_some() || self.is_masters_login
    }
}

/// What has to be done on this node.
///
/// # Errors
/// Why it must not be.
pub(super) fn decide<'a>(look: &Look, account: &str, intent: Intent<'a>) -> Result<Edit<'a>, Fault> {
    let node = &look.node;
    if look.loading {
        return Err(Fault::new(Kind::Busy, format!("{node} is still reading its data in")));
    }
    let mut edit = match &look.user {
        None => without_users(look, account, intent)?,
        Some(user) if user.nopass => {
            return Err(Fault::new(Kind::PasswordFree, format!("{node} lets {account} in with any password")));
        }
        Some(user) => match one_password(look, account, user, intent) {
            Some(one) => one?,
            None => modifiers(look, account, user, intent)?,
        },
    };
    edit.masterauth = masterauth(look, account, intent);
    edit.is_masters_login = is_masters_login(look, account);
    Ok(edit)
}

/// The default user of a server that keeps its password in `requirepass`, with no file of users: the setting is changed, which changes the user
/// with it. Otherwise the old password would stay in the settings, in clear, for ever. `None` where the users alone matter.
fn one_password<'a>(look: &Look, account: &str, user: &User, intent: Intent<'a>) -> Option<Result<Edit<'a>, Fault>> {
    let set = look.requirepass.as_ref().filter(|_| account == DEFAULT_USER && !look.has_acl_file)?;
    let setting = |password| Some(Ok(Edit { requirepass: Some(password), ..Edit::default() }));
    match intent {
        Intent::Swap { old, new } if is(set, old) && user.hashes == only([old]) => setting(new),
        Intent::Set { new } if !is(set, new) || user.hashes != only([new]) => setting(new),
        // Both are there and nothing else, so the setting leaves exactly the current one.
        Intent::Retire { old, current } if is(set, old) && user.hashes.contains(&hash(current)) => {
            let rest: BTreeSet<String> = user.hashes.difference(&only([old, current])).cloned().collect();
            if rest.is_empty() { setting(current) } else { None }
        }
        Intent::Swap { .. } | Intent::Set { .. } | Intent::Retire { .. } | Intent::Add { .. } => None,
    }
}

/// The name of the user that is there on every server.
pub(super) const DEFAULT_USER: &str = "default";

fn modifiers<'a>(look: &Look, account: &str, user: &User, intent: Intent<'a>) -> Result<Edit<'a>, Fault> {
    let node = &look.node;
    let has = |password: &Secret| user.hashes.contains(&hash(password));
    let (add, remove) = (|password: &Secret| format!("#{}", hash(password)), |old: &Secret| format!("!{}", hash(old)));
    let user = match intent {
        Intent::Add { new, .. } if has(new) => vec![],
        Intent::Add { new, .. } => vec![add(new)],
        Intent::Swap { old, new } => match (has(old), has(new)) {
            // The same password twice: nothing may be taken away.
            (true, true) if is(old, new) => vec![],
            (true, true) => vec![remove(old)],
            (true, false) => vec![add(new), remove(old)],
            (false, true) => vec![],
            (false, false) => {
                let what = format!("{node} knows neither the old nor the new password of {account}");
                return Err(Fault::new(Kind::OldPasswordWrong, what));
            }
        },
        Intent::Set { new } if user.hashes == only([new]) => vec![],
        Intent::Set { new } => vec!["resetpass".to_owned(), add(new)],
        Intent::Retire { old, current } if is(old, current) => {
            return Err(Fault::new(Kind::Bug, format!("the current password of {account} was to be taken away")));
        }
        Intent::Retire { current, .. } if !has(current) => {
            let what =
                format!("{node} does not know the current password of {account}, so the one before it stays there");
            return Err(Fault::new(Kind::LoginRefused, what)
                .advise("find out why (a node that was restarted with an older ACL?); `ACL LOAD` or another rotation gives it the current one"));
        }
        Intent::Retire { old, .. } if has(old) => vec![remove(old)],
        Intent::Retire { .. } => vec![],
    };
    Ok(Edit { user, ..Edit::default() })
}

/// Before Redis 6 there are no users, but one password.
fn without_users<'a>(look: &Look, account: &str, intent: Intent<'a>) -> Result<Edit<'a>, Fault> {
    let node = &look.node;
    let unsupported = |what: String| Err(Fault::new(Kind::Unsupported, what));
    if account != DEFAULT_USER {
        return unsupported(format!("{node} has no users (it is older than Redis 6), so there is no {account} on it"));
    }
    let Some(set) = &look.requirepass else {
        return Err(Fault::new(Kind::PasswordFree, format!("{node} lets anybody in without a password")));
    };
    let setting = |password| Ok(Edit { requirepass: Some(password), ..Edit::default() });
    match intent {
        Intent::Swap { new, .. } | Intent::Set { new } if is(set, new) => Ok(Edit::default()),
        Intent::Swap { old, new } if is(set, old) => setting(new),
        Intent::Set { new } => setting(new),
        Intent::Swap { .. } => {
            Err(Fault::new(Kind::OldPasswordWrong, format!("{node} has neither the old nor the new password")))
        }
        Intent::Add { .. } | Intent::Retire { .. } => {
            let fault =
                Fault::new(Kind::Unsupported, format!("{node} has one password only (it is older than Redis 6)"));
            Err(fault.advise("set strategy = \"in-place\" in the target"))
        }
    }
}

/// A node that logs in to its master as this account, with a password that goes, would be turned away at its next reconnection. With two passwords
/// it moves when the old one goes, since by then the new one is known to be on every node.
fn masterauth<'a>(look: &Look, account: &str, intent: Intent<'a>) -> Option<&'a Secret> {
    let set = look.masterauth.as_ref()?;
    let goes = is_masters_login(look, account)
        && match intent {
            Intent::Add { .. } => false,
            Intent::Swap { old, .. } | Intent::Retire { old, .. } => is(set, old),
            Intent::Set { new } => !is(set, new),
        };
    goes.then(|| intent.lasting())
}

/// Whether the node logs in to its master as this account.
fn is_masters_login(look: &Look, account: &str) -> bool {
    let user = if look.masteruser.is_empty() { DEFAULT_USER } else { look.masteruser.as_str() };
    look.masterauth.is_some() && user == account
}

/// What a rotation of this account is likely to need on this node, to ask for permissions with; no command is made of it.
pub(super) fn usual<'a>(look: &Look, account: &str, word: &'a Secret) -> Edit<'a> {
    let by_setting = account == DEFAULT_USER && look.requirepass.is_some() && !look.has_acl_file;
    let is_masters_login = is_masters_login(look, account);
    Edit {
        user: if look.user.is_some() { vec!["#".to_owned()] } else { Vec::new() },
        requirepass: by_setting.then_some(word),
        masterauth: is_masters_login.then_some(word),
        is_masters_login,
    }
}

fn is(one: &Secret, other: &Secret) -> bool {
    one.expose() == other.expose()
}

fn only<const N: usize>(passwords: [&Secret; N]) -> BTreeSet<String> {
    passwords.into_iter().map(hash).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Secret {
        Secret::new(text.to_owned())
    }

    /// A node with a user of these passwords; `None`: without users.
    fn node(passwords: Option<&[&str]>, requirepass: &str, masterauth: &str, has_acl_file: bool) -> Look {
        let some = |text: &str| (!text.is_empty()).then(|| secret(text));
        Look {
            node: "N".to_owned(),
            engine: "redis".to_owned(),
            run_id: String::new(),
            loading: false,
            is_cut_off: false,
            in_cluster: false,
            has_config_file: true,
            has_acl_file,
            user: passwords.map(|passwords| User {
                on: true,
                nopass: false,
                hashes: passwords.iter().map(|password| hash(&secret(password))).collect(),
            }),
            requirepass: some(requirepass),
            masterauth: some(masterauth),
            masteruser: String::new(),
        }
    }

    /// `#new !old`, `require:new`, `master:new`, or the kind of the fault.
    fn shown(look: &Look, account: &str, intent: Intent<'_>) -> String {
        let name = |hash_text: &str| {
            let known = ["old", "new", "other"].into_iter().find(|name| hash(&secret(name)) == hash_text);
            known.unwrap_or("?").to_owned()
        };
        match decide(look, account, intent) {
            Err(fault) => format!("{:?}", fault.kind),
            Ok(edit) => {
                let user = edit.user.iter().map(|word| match word.split_at_checked(1) {
                    Some((sign @ ("#" | "!"), hash)) => format!("{sign}{}", name(hash)),
                    Some(_) | None => word.clone(),
                });
                let require = edit.requirepass.map(|password| format!("require:{}", password.expose()));
                let master = edit.masterauth.map(|password| format!("master:{}", password.expose()));
                user.chain(require).chain(master).collect::<Vec<_>>().join(" ")
            }
        }
    }

    #[test]
    fn each_node_gets_what_it_lacks_and_nothing_else() {
        let (old, new) = (&secret("old"), &secret("new"));
        let add = Intent::Add { old: None, new };
        let swap = Intent::Swap { old, new };
        let set = Intent::Set { new };
        let retire = Intent::Retire { old, current: new };
        type Row<'a> = (Intent<'a>, Option<&'a [&'a str]>, &'a str);
        let rows: [Row<'_>; 20] = [
            (add, Some(&["old"]), "#new"),
            (add, Some(&["old", "new"]), ""),
            (add, Some(&[]), "#new"),
            (add, Some(&["other"]), "#new"),
            (add, None, "Unsupported"),
            (swap, Some(&["old"]), "#new !old"),
            (swap, Some(&["old", "other"]), "#new !old"),
            (swap, Some(&["old", "new"]), "!old"),
            (swap, Some(&["new"]), ""),
            (swap, Some(&["other"]), "OldPasswordWrong"),
            (swap, Some(&[]), "OldPasswordWrong"),
            (swap, None, "Unsupported"),
            (set, Some(&["other", "old"]), "resetpass #new"),
            (set, Some(&["new", "old"]), "resetpass #new"),
            (set, Some(&["new"]), ""),
            (retire, Some(&["old", "new"]), "!old"),
            (retire, Some(&["old", "new", "other"]), "!old"),
            (retire, Some(&["new"]), ""),
            (retire, Some(&["old"]), "LoginRefused"),
            (retire, Some(&["other"]), "LoginRefused"),
        ];
        for (intent, passwords, expected) in rows {
            let look = node(passwords, "", "", true);
            assert_eq!(shown(&look, "app", intent), expected, "{intent:?} {passwords:?}");
        }
    }

    #[test]
    fn the_default_users_password_may_stand_in_the_settings_too() {
        let (old, new) = (&secret("old"), &secret("new"));
        let add = Intent::Add { old: None, new };
        let swap = Intent::Swap { old, new };
        let set = Intent::Set { new };
        let retire = Intent::Retire { old, current: new };
        type Row<'a> = (Intent<'a>, Option<&'a [&'a str]>, &'a str, &'a str, bool, &'a str);
        let rows: [Row<'_>; 21] = [
            (add, Some(&["old"]), "old", "old", false, "#new"),
            (swap, Some(&["old"]), "old", "", false, "require:new"),
            (swap, Some(&["old"]), "old", "old", false, "require:new master:new"),
            (swap, Some(&["old"]), "old", "other", false, "require:new"),
            (swap, Some(&["old"]), "old", "", true, "#new !old"),
            (swap, Some(&["old", "other"]), "old", "", false, "#new !old"),
            (swap, Some(&["new"]), "new", "", false, ""),
            (set, Some(&["other"]), "other", "other", false, "require:new master:new"),
            (set, Some(&["other"]), "other", "", true, "resetpass #new"),
            (set, Some(&["new"]), "new", "new", false, ""),
            (retire, Some(&["old", "new"]), "old", "old", false, "require:new master:new"),
            (retire, Some(&["old", "new", "other"]), "old", "", false, "!old"),
            (retire, Some(&["old", "new"]), "old", "", true, "!old"),
            (retire, Some(&["old"]), "old", "", false, "LoginRefused"),
            (retire, Some(&["new"]), "new", "new", false, ""),
            (swap, None, "old", "old", false, "require:new master:new"),
            (swap, None, "new", "", false, ""),
            (swap, None, "other", "", false, "OldPasswordWrong"),
            (swap, None, "", "", false, "PasswordFree"),
            (set, None, "other", "", false, "require:new"),
            (add, None, "old", "", false, "Unsupported"),
        ];
        for (intent, passwords, requirepass, masterauth, has_acl_file, expected) in rows {
            let look = node(passwords, requirepass, masterauth, has_acl_file);
            assert_eq!(shown(&look, "default", intent), expected, "{intent:?} {passwords:?} {requirepass}");
        }
    }

    #[test]
    fn a_call_that_was_cut_short_is_saved_when_it_is_repeated() {
        let (old, new) = (&secret("old"), &secret("new"));
        for (masterauth, account, expected) in [
            ("new", "default", (true, true)),
            ("new", "app", (true, false)),
            ("", "default", (true, false)),
            ("old", "default", (false, true)),
        ] {
            let edit = decide(&node(Some(&["new"]), "", masterauth, true), account, Intent::Swap { old, new }).unwrap();
            assert_eq!((edit.is_empty(), edit.touches_config()), expected, "{masterauth:?} {account}");
        }
    }

    #[test]
    fn what_checks_no_password_or_is_loading_is_left_alone() {
        let new = &secret("new");
        let mut look = node(Some(&["old"]), "", "", true);
        look.loading = true;
        assert_eq!(shown(&look, "app", Intent::Add { old: None, new }), "Busy");
        look.loading = false;
        look.user = Some(User { on: true, nopass: true, ..User::default() });
        assert_eq!(shown(&look, "app", Intent::Set { new }), "PasswordFree");
        assert_eq!(shown(&node(Some(&["new"]), "", "", true), "app", Intent::Retire { old: new, current: new }), "Bug");
    }
}
