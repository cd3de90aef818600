//! One node during one call: a connection of its own, logged in as the administrator, and the commands on it.

use super::answer::{self, Outcome};
use super::credentials::Login;
use super::edit::{DEFAULT_USER, Edit, Intent, decide};
use super::look::{Look, User, field, hash};
use super::persist::Saving;
use crate::fault::{Fault, Kind, scrub};
use crate::moment::show_span;
use crate::resp::words::{is_about_the_server, is_password_free, is_refusal};
use crate::resp::{Conversation, Reply, Route, Stage};
use crate::secret::Secret;
use std::time::Duration;

/// A conversation with one node. It is used for one call and never kept.
pub(super) struct Node {
    talk: Conversation,
    shown: String,
    /// The user it is logged in as.
    user: String,
    /// What must not be repeated out of the server's words: passwords and their hashes.
    secrets: Vec<Secret>,
}

/// A fault of the given length of time, where the future takes longer.
pub(super) async fn in_time<T>(
    limit: Duration,
    node: &str,
    work: impl Future<Output = Result<T, Fault>>,
) -> Result<T, Fault> {
    tokio::time::timeout(limit, work).await.unwrap_or_else(|_elapsed| {
        Err(Fault::new(Kind::Unreachable, format!("{node} gave no answer within {}", show_span(limit))))
    })
}

impl Node {
    /// A fresh connection on which one of the passwords was let in.
    ///
    /// # Errors
    /// `Unreachable`; `OldPasswordWrong` where the account itself logs in and the node knows none of its passwords; `CredentialRefused` where an
    /// administrator does.
    pub(super) async fn open(route: &Route, login: &Login) -> Result<Self, Fault> {
        let mut node = Self::connect(route, login).await?;
        let mut said = String::new();
        for password in &login.passwords {
            let mut words: Vec<&[u8]> = vec![b"AUTH"];
            if login.user != DEFAULT_USER {
                words.push(login.user.as_bytes());
            }
            words.push(password.expose().as_bytes());
            match node.raw(&words).await?.judged() {
                Ok(reply) if reply.is_word() => return Ok(node),
                Ok(_) => return Err(node.nonsense("AUTH")),
                // The default user needs no password there, so this connection may do what it may do.
                Err(error) if is_password_free(&error) && login.user == DEFAULT_USER => return Ok(node),
                Err(error) if is_refusal(&error) => said = error,
                Err(error) => return Err(node.fault(answer::kind(&error), "AUTH", &error)),
            }
        }
        let secrets: Vec<&Secret> = node.secrets.iter().collect();
        Err(if login.is_own {
            let what = format!("{} lets {} in with no password that is known", node.shown, login.user);
            Fault::new(Kind::OldPasswordWrong, what)
        } else {
            answer::fault(Kind::CredentialRefused, &node.shown, &format!("AUTH as {}", login.user), &said, &secrets)
        })
    }

    async fn connect(route: &Route, login: &Login) -> Result<Self, Fault> {
        let shown = route.place().to_string();
        let mut stage = Stage::Connect;
        let stream = route.connect(&mut stage).await.map_err(|error| {
            let what = format!("{} to {shown} failed: {}", stage.deed("Talking"), scrub(&error.to_string(), &[]));
            let fault = Fault::new(Kind::Unreachable, what);
            match stage.advice(&error) {
                Some(advice) => fault.advise(advice),
                None => fault.advise("start the node, or take it out of the provider's nodes; check the network path"),
            }
        })?;
        let secrets = login.passwords.iter().flat_map(|password| [password.clone(), Secret::new(hash(password))]);
        Ok(Self { talk: Conversation::new(stream), shown, user: login.user.clone(), secrets: secrets.collect() })
    }

    /// Without a password: whether the node is there, and whether it asks anybody for one.
    pub(super) async fn knock(route: &Route, login: &Login) -> Result<bool, Fault> {
        let mut node = Self::connect(route, login).await?;
        match node.raw(&[b"PING"]).await?.judged() {
            Err(said) if is_about_the_server(&said) => Err(node.fault(answer::kind(&said), "PING", &said)),
            Err(_) => Ok(false),
            Ok(_) => Ok(true),
        }
    }

    /// What must not be repeated, beside the passwords of the login.
    pub(super) fn keep_quiet_about(&mut self, passwords: &[&Secret]) {
        self.secrets.extend(passwords.iter().flat_map(|&password| [password.clone(), Secret::new(hash(password))]));
    }

    /// Where it is, in words.
    pub(super) fn shown(&self) -> &str {
        &self.shown
    }

    /// What the node shows of itself and the account.
    ///
    /// # Errors
    /// `NotFound` where there is no such user; whatever else keeps it from being read.
    pub(super) async fn look(&mut self, account: &str) -> Result<Look, Fault> {
        let info = self.read(&["INFO"]).await?;
        let info = info.text().ok_or_else(|| self.nonsense("INFO"))?;
        let has = |name: &str, value: &str| field(info, name) == Some(value);
        let mut look = Look {
            node: self.shown.clone(),
            engine: if field(info, "valkey_version").is_some() { "valkey" } else { "redis" }.to_owned(),
            run_id: field(info, "run_id").unwrap_or_default().to_owned(),
            loading: has("loading", "1"),
            is_cut_off: has("master_link_status", "down"),
            in_cluster: has("cluster_enabled", "1"),
            has_config_file: field(info, "config_file").is_some_and(|path| !path.is_empty()),
            has_acl_file: self.setting("aclfile").await?.is_some(),
            user: None,
            requirepass: self.setting("requirepass").await?,
            masterauth: self.setting("masterauth").await?,
            masteruser: self.setting("masteruser").await?.map(|user| user.expose().to_owned()).unwrap_or_default(),
        };
        look.user = self.user(account).await?;
        Ok(look)
    }

    /// The user of this name; `None` where the server has no users at all.
    async fn user(&mut self, account: &str) -> Result<Option<User>, Fault> {
        let command = "ACL GETUSER";
        match self.raw(&[b"ACL", b"GETUSER", account.as_bytes()]).await?.judged() {
            Ok(Reply::Nothing) => {
                let what = format!("{} has no user {account}", self.shown);
                Err(Fault::new(Kind::NotFound, what).advise(
                    "create it on every node, with its rights and today's password; keywheel never creates a user",
                ))
            }
            Err(said) if said.to_ascii_lowercase().contains("unknown command") => Ok(None),
            Err(said) => Err(self.fault(answer::kind(&said), command, &said)),
            Ok(reply) => User::read(&reply).map(Some).ok_or_else(|| self.nonsense(command)),
        }
    }

    /// A setting of the server; `None` where it is empty or unknown there.
    async fn setting(&mut self, name: &str) -> Result<Option<Secret>, Fault> {
        let reply = self.read(&["CONFIG", "GET", name]).await?;
        let value = reply.value(name).and_then(Reply::text).filter(|value| !value.is_empty());
        Ok(value.map(|value| Secret::new(value.to_owned())))
    }

    /// Finds out, before anything is changed, whether the commands would be allowed (from Redis 7 on) and the file would be written.
    ///
    /// # Errors
    /// `Denied`, or `Misconfigured` where the server cannot write its file.
    pub(super) async fn rehearse(&mut self, account: &str, edit: &Edit<'_>, saving: Saving) -> Result<(), Fault> {
        self.may(account, edit, saving).await?;
        self.save(saving).await.map_err(|fault| {
            if fault.kind == Kind::Unanswered {
                Fault { kind: Kind::Misconfigured, retry: Kind::Misconfigured.retry(), ..fault }
            } else {
                fault
            }
        })
    }

    /// Asks the server whether this user might do it. A server that cannot tell says yes.
    ///
    /// # Errors
    /// `Denied`, with every command that is not allowed.
    pub(super) async fn may(&mut self, account: &str, edit: &Edit<'_>, saving: Saving) -> Result<(), Fault> {
        let commands: [(bool, &[&str]); 5] = [
            (!edit.user.is_empty(), &["ACL", "SETUSER", account]),
            (edit.requirepass.is_some(), &["CONFIG", "SET", "requirepass", ""]),
            (edit.masterauth.is_some(), &["CONFIG", "SET", "masterauth", ""]),
            (saving.acl, &["ACL", "SAVE"]),
            (saving.config, &["CONFIG", "REWRITE"]),
        ];
        let user = self.user.clone();
        let mut denied = Vec::new();
        for (_, command) in commands.into_iter().filter(|(needed, _)| *needed) {
            let words: Vec<&[u8]> =
                ["ACL", "DRYRUN", user.as_str()].iter().chain(command).map(|word| word.as_bytes()).collect();
            // Allowed, it says OK. Older servers know no rehearsal, and some administrators may not ask for one.
            if let Reply::Text(_) = self.raw(&words).await? {
                denied.push(command[..2].join(" "));
            }
        }
        if denied.is_empty() {
            return Ok(());
        }
        let what = format!("{} does not allow {} to {user}", self.shown, denied.join(" and "));
        Err(Fault::new(Kind::Denied, what).advise("allow it to the administrator on every node with ACL SETUSER"))
    }

    /// Does it, makes sure of it, and makes it durable.
    pub(super) async fn carry_out(
        &mut self,
        account: &str,
        intent: Intent<'_>,
        edit: &Edit<'_>,
        saving: Saving,
    ) -> Outcome {
        if let Err(outcome) = self.write(account, edit).await {
            return outcome;
        }
        let left = self.look(account).await.and_then(|look| decide(&look, account, intent).map(|left| left.is_empty()));
        let done = match left {
            Ok(true) => self.save(saving).await,
            Ok(false) => {
                let what = format!("{} said OK, and {account} is not as it was told to be", self.shown);
                Err(Fault::new(Kind::Unanswered, what).advise("find out who else changes this user"))
            }
            Err(fault) => Err(fault),
        };
        done.map_or_else(Outcome::Unclear, |()| Outcome::Done)
    }

    /// The commands of an edit. The first one that is refused shows that nothing happened, unless another came before it.
    async fn write(&mut self, account: &str, edit: &Edit<'_>) -> Result<(), Outcome> {
        let mut commands: Vec<(&str, Vec<&[u8]>)> = Vec::new();
        if !edit.user.is_empty() {
            let words = [b"ACL", b"SETUSER".as_slice(), account.as_bytes()].into_iter();
            commands.push(("ACL SETUSER", words.chain(edit.user.iter().map(String::as_bytes)).collect()));
        }
        for (shown, name, value) in [
            ("CONFIG SET requirepass", "requirepass", edit.requirepass),
            ("CONFIG SET masterauth", "masterauth", edit.masterauth),
        ] {
            if let Some(value) = value {
                commands.push((shown, vec![b"CONFIG", b"SET", name.as_bytes(), value.expose().as_bytes()]));
            }
        }
        for (at, (shown, words)) in commands.into_iter().enumerate() {
            let reply = self.raw(&words).await.map_err(Outcome::Unclear)?;
            match reply.judged() {
                Ok(reply) if reply.is_word() => {}
                Ok(_) => return Err(Outcome::Unclear(self.nonsense(shown))),
                Err(said) => {
                    let fault = self.fault(answer::kind(&said), shown, &said);
                    return Err(if at > 0 { Outcome::Unclear(fault) } else { answer::refused(fault) });
                }
            }
        }
        Ok(())
    }

    async fn save(&mut self, saving: Saving) -> Result<(), Fault> {
        let advice = "make the file, and the folder it is in, writable for the server's own user: it writes a new file beside the old one";
        for (_, words) in [(saving.acl, ["ACL", "SAVE"]), (saving.config, ["CONFIG", "REWRITE"])]
            .into_iter()
            .filter(|(needed, _)| *needed)
        {
            let command = words.join(" ");
            match self.raw(&words.map(str::as_bytes)).await?.judged() {
                Ok(reply) if reply.is_word() => {}
                Ok(_) => return Err(self.nonsense(&command)),
                Err(said) => {
                    let fault = self.fault(answer::kind(&said), &command, &said);
                    return Err(if fault.kind == Kind::Unanswered { fault.advise(advice) } else { fault });
                }
            }
        }
        Ok(())
    }

    /// A command that changes nothing; an error is a fault.
    pub(super) async fn read(&mut self, words: &[&str]) -> Result<Reply, Fault> {
        let bytes: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
        let reply = self.raw(&bytes).await?;
        reply.judged().map_err(|said| self.fault(answer::kind(&said), &words.join(" "), &said))
    }

    async fn raw(&mut self, words: &[&[u8]]) -> Result<Reply, Fault> {
        self.talk.ask(words).await.map_err(|error| {
            let secrets: Vec<&Secret> = self.secrets.iter().collect();
            let said = scrub(&error.to_string(), &secrets);
            let fault =
                Fault::new(Kind::Unreachable, format!("The conversation with {} broke off: {said}", self.shown));
            match Stage::Talk.advice(&error) {
                Some(advice) => fault.advise(advice),
                None => fault,
            }
        })
    }

    fn fault(&self, kind: Kind, command: &str, said: &str) -> Fault {
        answer::fault(kind, &self.shown, command, said, &self.secrets.iter().collect::<Vec<&Secret>>())
    }

    fn nonsense(&self, command: &str) -> Fault {
        Fault::new(
            Kind::Unanswered,
            format!("{} answered {command} with something that is no answer to it", self.shown),
        )
    }
}
