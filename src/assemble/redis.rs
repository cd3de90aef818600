//! Redis and Valkey of one's own: the provider, and a login on every node of it.

use super::{first, variable};
use crate::config::{self, Config};
use crate::fault::{Fault, Kind};
use crate::name::TargetName;
use crate::probe::Probe;
use crate::probe::nodes::NodesProbe;
use crate::probe::redis::{FormChoice, LoginForm, LoginSettings, RedisProbe};
use crate::provider::redis_acl::credentials::{Admin, AdminPasswords, NothingKnown, ReadAnew};
use crate::provider::redis_acl::{RedisAcl, RedisSettings};
use crate::provider::{Address, Provider};
use crate::rotation::fold;
use crate::secret::Secret;
use async_trait::async_trait;
use std::sync::Arc;

/// The provider.
pub(super) fn provider(config: &Config, redis: &config::Redis) -> Result<RedisAcl, Fault> {
    let settings = RedisSettings {
        nodes: redis.addresses(),
        discover: redis.discover,
        persist: redis.persist,
        timeout: redis.timeout,
        ca_file: redis.ca_file.clone(),
        tls_name: redis.tls_name.clone(),
    };
    RedisAcl::new(settings, admin(config, &redis.admin))
}

fn admin(config: &Config, admin: &config::RedisAdmin) -> Admin {
    match admin {
        config::RedisAdmin::Itself => Admin { user: None, passwords: Arc::new(NothingKnown) },
        config::RedisAdmin::User { user, password } => {
            let reference = password.clone();
            let read = ReadAnew(Arc::new(move || reference.read(&variable)));
            Admin { user: Some(user.clone()), passwords: Arc::new(read) }
        }
        config::RedisAdmin::Target(name) => {
            let user = config.targets.get(name).map(|target| target.address.account.clone());
            Admin { user, passwords: Arc::new(InLedger { config: config.clone(), target: name.clone() }) }
        }
    }
}

/// The passwords of an administrator that is itself a target: all that may be live, the newest first. Read from the ledger for each call, beside whoever
/// writes it, so that a rotation of the administrator is seen at once and in every state.
struct InLedger {
    config: Config,
    target: TargetName,
}

#[async_trait]
impl AdminPasswords for InLedger {
    async fn candidates(&self, _address: &Address) -> Result<Vec<Secret>, Fault> {
        let target = &self.target;
        let unknown = || {
            let what = format!("the password of the administrator is that of target {target}, which has none yet");
            Fault::new(Kind::SecretUnreadable, what)
                .advise(format!("run `keywheel adopt {target}`, or say in the configuration where its password is"))
        };
        let crate::config::LedgerUrl::Sqlite(path) = &self.config.daemon.ledger;
        let mut generations = Vec::new();
        let mut passwords = Vec::new();
        if path.exists() {
            let reader = super::unsealed_reader(&self.config)?;
            let rows = reader.recent(target).await?;
            let state = fold(rows.iter().map(|row| &row.event))
                .map_err(|illegal| Fault::new(Kind::LedgerCorrupt, format!("target {target}: {illegal}")))?;
            generations = state.candidates();
            for &generation in generations.iter().rev() {
                passwords.push(reader.password(target, generation).await?);
            }
        }
        // Before it was taken in, the configuration may say what it is.
        if generations.is_empty() {
            let adopt = self.config.targets.get(target).and_then(|target| target.adopt.clone());
            let reference = adopt.ok_or_else(unknown)?;
            passwords.push(super::password_from(&self.config, target, &reference).await?);
        }
        Ok(passwords)
    }
}

/// A login on every node, by the provider's newest list of them.
pub(super) fn probe(
    redis: &config::Redis,
    provider: Arc<dyn Provider>,
    address: &Address,
    form: LoginForm,
) -> NodesProbe {
    let (ca, tls_name, timeout) = (redis.ca_file.clone(), redis.tls_name.clone(), redis.timeout);
    let make = move |node: &str| {
        let settings = LoginSettings {
            address: node.to_owned(),
            form: FormChoice::Auto,
            ca: ca.clone(),
            tls_name: tls_name.clone(),
            connections: 1,
            timeout,
        };
        RedisProbe::new(settings, vec![form.clone()]).map(|probe| Arc::new(probe) as Arc<dyn Probe>).map_err(first)
    };
    let named = redis.addresses();
    let route = match named.as_slice() {
        [] => "the nodes".to_owned(),
        [only] => only.clone(),
        [first, rest @ ..] => format!("{first} and {} more", rest.len()),
    };
    NodesProbe::new(provider, address.clone(), route, Arc::new(make))
}
