//! What the nodes show before a rotation, and everything that could fail during one, tried without changing anything.

use super::credentials::Login;
use super::edit::{DEFAULT_USER, usual};
use super::node::{Node, in_time};
use super::persist::saving;
use super::{Ready, RedisAcl, answer};
use crate::fault::{Fault, Kind};
use crate::provider::finding::{Found, gather, of_condition};
use crate::provider::{Address, Condition, Instance, Mode};
use crate::secret::Secret;
use futures_util::future::join_all;

impl RedisAcl {
    /// Whether every node may be changed now.
    pub(super) async fn condition(&self, address: &Address) -> Result<Instance, Fault> {
        let login = self.admin.login(address, &[]).await?;
        let instance = |condition, engine: &str| Instance {
            condition,
            change_mark: None,
            password_policy: None,
            engine: engine.to_owned(),
        };
        if login.passwords.is_empty() {
            let condition = self.seen_from_outside(address, &login).await.map_err(answer::together)?;
            return Ok(instance(condition, "redis"));
        }
        let mut ready = self.ready(address, &login).await.map_err(answer::together)?;
        let mut condition = Condition::Ready;
        for found in &mut ready {
            condition = self.of_node(address, found).await?;
            if condition != Condition::Ready {
                break;
            }
        }
        let engine = ready.first().map_or("redis", |found| found.look.engine.as_str());
        Ok(instance(condition, engine))
    }

    async fn of_node(&self, address: &Address, Ready { node, look }: &mut Ready) -> Result<Condition, Fault> {
        let (shown, account) = (look.node.clone(), &address.account);
        if look.loading {
            return Ok(Condition::Busy(format!("{shown} is still reading its data in")));
        }
        match &look.user {
            Some(user) if user.nopass => return Ok(Condition::PasswordFree),
            Some(user) if !user.on => {
                return Ok(Condition::Unsupported(format!(
                    "{shown} has {account} switched off, so no login can prove a password"
                )));
            }
            Some(_) => {}
            None if account != DEFAULT_USER || address.mode == Mode::Add => {
                return Ok(Condition::Unsupported(format!(
                    "{shown} has one password and no users (it is older than Redis 6)"
                )));
            }
            None if look.requirepass.is_none() => return Ok(Condition::PasswordFree),
            None => {}
        }
        saving(look, &usual(look, account, &Secret::new(String::new())), self.settings.persist)?;
        if look.is_cut_off {
            return Ok(Condition::Busy(format!("{shown} has lost its master")));
        }
        if look.in_cluster {
            let state = in_time(self.settings.timeout, &shown, node.read(&["CLUSTER", "INFO"])).await;
            // It helps and is not needed: an administrator who may not ask does not stop the rotation.
            if state.is_ok_and(|state| state.text().is_some_and(|text| text.contains("cluster_state:fail"))) {
                return Ok(Condition::Busy(format!("{shown} says that the cluster is not whole")));
            }
        }
        Ok(Condition::Ready)
    }

    /// As much as can be seen where no password is known yet.
    async fn seen_from_outside(&self, address: &Address, login: &Login) -> Result<Condition, Vec<Fault>> {
        let knocks = self.seeds.iter().map(|route| async move {
            in_time(self.settings.timeout, &route.place().to_string(), Node::knock(route, login)).await
        });
        let (mut is_open, mut faults) = (false, Vec::new());
        for knock in join_all(knocks).await {
            match knock {
                Ok(open) => is_open |= open,
                Err(fault) => faults.push(fault),
            }
        }
        match is_open && address.account == DEFAULT_USER {
            _ if !faults.is_empty() => Err(faults),
            true => Ok(Condition::PasswordFree),
            false => Ok(Condition::Ready),
        }
    }

    /// Every finding at once; empty when all is well. `known` passwords may be live.
    pub(super) async fn findings(&self, address: &Address, known: &[&Secret]) -> Vec<Fault> {
        let login = match self.admin.login(address, known).await {
            Ok(login) => login,
            Err(fault) => return vec![fault],
        };
        let (conditions, faults) = if login.passwords.is_empty() {
            match self.seen_from_outside(address, &login).await {
                Ok(condition) => (vec![condition], Vec::new()),
                Err(faults) => (Vec::new(), faults),
            }
        } else {
            self.each(address, &login).await
        };
        let mut findings = Vec::new();
        gather(&mut findings, conditions.iter().map(|condition| of_condition(&address.instance, condition)));
        gather(&mut findings, faults.into_iter().map(Found::Finding));
        findings
    }

    /// What stands in the way on each node.
    async fn each(&self, address: &Address, login: &Login) -> (Vec<Condition>, Vec<Fault>) {
        let mut ready = match self.ready(address, login).await {
            Ok(ready) => ready,
            Err(faults) => return (Vec::new(), faults),
        };
        let (mut conditions, mut faults) = (Vec::new(), Vec::new());
        for found in &mut ready {
            match self.of_node(address, found).await {
                Ok(condition) => conditions.push(condition),
                Err(fault) => faults.push(fault),
            }
            faults.extend(self.permissions(address, found).await.err());
        }
        (conditions, faults)
    }

    /// Whether the commands of a rotation would be allowed, as far as the server can tell. What a rotation will need is not known before, so the
    /// usual is asked about.
    async fn permissions(&self, address: &Address, Ready { node, look }: &mut Ready) -> Result<(), Fault> {
        let word = Secret::new(String::new());
        let edit = usual(look, &address.account, &word);
        let saving = saving(look, &edit, self.settings.persist).unwrap_or_default();
        let shown = look.node.clone();
        match in_time(self.settings.timeout, &shown, node.may(&address.account, &edit, saving)).await {
            Err(fault) if fault.kind == Kind::Denied => Err(fault),
            Ok(()) | Err(_) => Ok(()),
        }
    }
}
