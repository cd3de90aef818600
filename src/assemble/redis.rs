//! Redis and Valkey of one's own: the provider, and a login on every node of it.

use super::{first, variable};
use crate::config;
use crate::fault::Fault;
use crate::probe::Probe;
use crate::probe::nodes::NodesProbe;
use crate::probe::redis::{FormChoice, LoginForm, LoginSettings, RedisProbe};
use crate::provider::redis_acl::credentials::{Admin, NothingKnown, ReadAnew};
use crate::provider::redis_acl::{RedisAcl, RedisSettings};
use crate::provider::{Address, Provider};
use std::sync::Arc;

/// The provider.
pub(super) fn provider(redis: &config::Redis) -> Result<RedisAcl, Fault> {
    let settings = RedisSettings {
        nodes: redis.addresses(),
        discover: redis.discover,
        persist: redis.persist,
        timeout: redis.timeout,
        ca_file: redis.ca_file.clone(),
        tls_name: redis.tls_name.clone(),
    };
    RedisAcl::new(settings, admin(&redis.admin))
}

fn admin(admin: &config::RedisAdmin) -> Admin {
    match admin {
        config::RedisAdmin::Itself => Admin { user: None, passwords: Arc::new(NothingKnown) },
        config::RedisAdmin::User { user, password } => {
            let reference = password.clone();
            let read = ReadAnew(Arc::new(move || reference.read(&variable)));
            Admin { user: Some(user.clone()), passwords: Arc::new(read) }
        }
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
