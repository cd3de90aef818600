//! The composition root: the one place that matches on kinds. Configuration in, hands and fleet out.

use crate::config::{self, Config, LedgerUrl, SecretRef};
use crate::discovery::{Search, Sought};
use crate::driver::{AdoptFrom, Fleet, Hands, PlanSettings, Target};
use crate::fault::{Fault, Kind};
use crate::hook::Hook;
use crate::hook::command::{CommandHook, CommandHookSettings};
use crate::ledger::sqlite::{Reader, SqliteLedger};
use crate::moment::Moment;
use crate::name::{HookName, ProviderName, SinkName, TargetName};
use crate::probe::Probe;
use crate::probe::redis::{
    LoginForm, LoginSettings, RedisProbe, alibaba_forms, login_password, login_user, tencent_forms,
};
use crate::provider::alibaba::{self, Alibaba, AlibabaSettings};
use crate::provider::credential::{CredentialSource, Static, Terms};
use crate::provider::tencent::{self, Tencent, TencentSettings};
use crate::provider::{Now, Provider};
use crate::seal::aead::SealingKey;
use crate::sink::Sink;
use crate::sink::command::{CommandSettings, CommandSink};
use crate::sink::file::{FileSettings, FileSink, Who};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The daemon's own variables.
pub fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// The ledger, taken by this process alone. `holder` says who that is.
///
/// # Errors
/// What keeps it from being opened: key, lock, file.
pub fn ledger(config: &Config, holder: &str) -> Result<SqliteLedger, Fault> {
    let key = sealing_key(&config.daemon.sealing_key)?;
    match &config.daemon.ledger {
        LedgerUrl::Sqlite(path) => SqliteLedger::open(path, &key, holder),
    }
}

/// The ledger to read beside a running daemon, without the sealing key: nothing sealed can be read and no MAC is checked.
///
/// # Errors
/// What keeps it from being read.
pub fn reader(config: &Config) -> Result<Reader, Fault> {
    match &config.daemon.ledger {
        LedgerUrl::Sqlite(path) => Reader::open(path, None),
    }
}

/// The same with the sealing key: passwords can be read, MACs are checked.
///
/// # Errors
/// What keeps it from being read.
pub fn unsealed_reader(config: &Config) -> Result<Reader, Fault> {
    let key = sealing_key(&config.daemon.sealing_key)?;
    match &config.daemon.ledger {
        LedgerUrl::Sqlite(path) => Reader::open(path, Some(&key)),
    }
}

/// The sealing key that a reference names.
///
/// # Errors
/// `SecretUnreadable`, or `KeyWrong` when it is not a sealing key.
pub fn sealing_key(reference: &SecretRef) -> Result<SealingKey, Fault> {
    SealingKey::parse(&reference.read(&variable)?)
}

/// What decides each target's moves. Needs no secret.
pub fn settings(config: &Config, up_since: Moment) -> BTreeMap<TargetName, PlanSettings> {
    config.targets.iter().map(|(name, target)| (name.clone(), plan_settings(config, target, up_since))).collect()
}

/// The same for targets that are retired: what decided their moves while they had any.
pub fn retired_settings(config: &Config, up_since: Moment) -> BTreeMap<TargetName, PlanSettings> {
    let settings = |target| plan_settings(config, target, up_since);
    config.retired.iter().map(|(name, retired)| (name.clone(), settings(&retired.target))).collect()
}

fn plan_settings(config: &Config, target: &config::Target, up_since: Moment) -> PlanSettings {
    let abilities = match &config.providers[&target.provider] {
        config::Provider::Tencent(_) => Tencent::abilities_of(&target.address),
        config::Provider::Alibaba(_) => Alibaba::abilities_of(&target.address),
    };
    PlanSettings {
        place: format!("{}/{}", target.address.instance, target.address.account),
        timetable: target.timetable.clone(),
        up_since,
        login: target.login.is_some(),
        abilities,
        recovery: target.recovery,
        sinks: target.sinks.clone(),
        hooks: target.hooks.clone(),
        limits: config.limits.clone(),
    }
}

/// Every target with its hands. Providers, sinks and hooks are made once and shared.
///
/// # Errors
/// The first thing that cannot be made, with the key it stands under.
pub fn fleet(config: &Config, up_since: Moment) -> Result<Fleet, Fault> {
    Kit::of(config)?.fleet(config, up_since)
}

/// What targets share: made once for a configuration, so that a provider keeps its pace and its credential while the fleet grows and shrinks.
pub struct Kit {
    providers: BTreeMap<ProviderName, Arc<dyn Provider>>,
    sinks: BTreeMap<SinkName, Arc<dyn Sink>>,
    hooks: BTreeMap<HookName, Arc<dyn Hook>>,
}

impl Kit {
    /// Makes everything that this configuration names.
    ///
    /// # Errors
    /// As for [`fleet`].
    pub fn of(config: &Config) -> Result<Self, Fault> {
        let kit = Self {
            providers: made(&config.providers, "providers", provider)?,
            sinks: made(&config.sinks, "sinks", sink)?,
            hooks: made(&config.hooks, "hooks", hook)?,
        };
        // What is wrong with one file of a selection is wrong with all: better now than when the first instance appears.
        for (name, file) in config.selections.values().flat_map(config::Selection::file_sinks) {
            sink(&file).map_err(|fault| at("sinks", name, fault))?;
        }
        Ok(kit)
    }

    /// Every target with its hands.
    ///
    /// # Errors
    /// As for [`fleet`].
    pub fn fleet(&self, config: &Config, up_since: Moment) -> Result<Fleet, Fault> {
        let made = |(name, target): (&TargetName, &config::Target)| match self.target(config, name, target, up_since) {
            Ok(target) => Ok((name.clone(), Arc::new(target))),
            Err(fault) => Err(at("targets", name, fault)),
        };
        config.targets.iter().map(made).collect()
    }

    /// What each selection looks for, and where.
    pub fn searches(&self, config: &Config) -> Vec<Search> {
        let search = |(name, selection): (&TargetName, &config::Selection)| Search {
            selection: name.clone(),
            provider: Arc::clone(&self.providers[&selection.provider]),
            sought: Sought { place: config.providers[&selection.provider].place(), tags: selection.tags.clone() },
        };
        config.selections.iter().map(search).collect()
    }

    fn target(
        &self,
        config: &Config,
        name: &TargetName,
        target: &config::Target,
        up_since: Moment,
    ) -> Result<Target, Fault> {
        Ok(Target {
            name: name.clone(),
            address: target.address.clone(),
            instance_key: format!("{}/{}", config.providers[&target.provider].place(), target.address.instance),
            settings: plan_settings(config, target, up_since),
            hands: hands(config, target, self)?,
        })
    }

    /// The target's sinks, its own ones among them.
    fn sinks_of(&self, target: &config::Target) -> Result<BTreeMap<SinkName, Arc<dyn Sink>>, Fault> {
        let of = |name: &SinkName| match target.own_sinks.get(name) {
            Some(own) => Ok((name.clone(), sink(own)?)),
            None => Ok((name.clone(), Arc::clone(&self.sinks[name]))),
        };
        target.sinks.iter().map(of).collect()
    }
}

fn made<N: Ord + Clone + std::fmt::Display, C, T>(
    configured: &BTreeMap<N, C>,
    section: &str,
    make: impl Fn(&C) -> Result<T, Fault>,
) -> Result<BTreeMap<N, T>, Fault> {
    let make = |(name, config): (&N, &C)| match make(config) {
        Ok(hand) => Ok((name.clone(), hand)),
        Err(fault) => Err(at(section, name, fault)),
    };
    configured.iter().map(make).collect()
}

fn at(section: &str, name: &impl std::fmt::Display, fault: Fault) -> Fault {
    Fault { what: format!("{section}.{name}: {}", fault.what), ..fault }
}

fn hands(config: &Config, target: &config::Target, kit: &Kit) -> Result<Hands, Fault> {
    let probe = probe(config, target)?;
    let endpoint = target.login.as_ref().map(|login| login.endpoint.clone());
    let form = {
        let probe = probe.clone();
        let fallback = forms(config, target).into_iter().next().unwrap_or(LoginForm::Password);
        move || probe.as_ref().map_or_else(|| fallback.clone(), |probe| probe.form().clone())
    };
    Ok(Hands {
        provider: Arc::clone(&kit.providers[&target.provider]),
        probe: probe.map(|probe| probe as Arc<dyn Probe>),
        sinks: kit.sinks_of(target)?,
        hooks: target.hooks.iter().map(|name| (name.clone(), Arc::clone(&kit.hooks[name]))).collect(),
        policy: target.policy.clone(),
        profile: target.profile,
        adopt: adopt(target.adopt.clone()),
        login: Arc::new(move |password| {
            let form = form();
            (login_user(&form).map(str::to_owned), login_password(&form, password))
        }),
        endpoint,
    })
}

fn adopt(reference: Option<SecretRef>) -> AdoptFrom {
    Arc::new(move || reference.as_ref().map(|reference| reference.read(&variable)))
}

fn probe(config: &Config, target: &config::Target) -> Result<Option<Arc<RedisProbe>>, Fault> {
    let Some(login) = &target.login else { return Ok(None) };
    let scheme = if login.endpoint.tls { "rediss" } else { "redis" };
    let host = if login.endpoint.host.contains(':') {
        format!("[{}]", login.endpoint.host)
    } else {
        login.endpoint.host.clone()
    };
    let settings = LoginSettings {
        address: format!("{scheme}://{host}:{}", login.endpoint.port),
        form: login.form,
        ca: login.ca_file.clone(),
        tls_name: login.tls_name.clone(),
        connections: login.connections as usize,
        timeout: login.timeout,
    };
    RedisProbe::new(settings, forms(config, target)).map(|probe| Some(Arc::new(probe))).map_err(first)
}

/// What a client sends on the login route, the likeliest form first.
fn forms(config: &Config, target: &config::Target) -> Vec<LoginForm> {
    let (instance, account) = (&target.address.instance, &target.address.account);
    let chosen = target.login.as_ref().and_then(|login| login.form.form(instance, account));
    let cloud = &config.providers[&target.provider];
    let is_default = cloud.is_default_account(instance, account);
    match (cloud, chosen) {
        (_, Some(form)) => vec![form],
        (config::Provider::Tencent(_), None) => tencent_forms(instance, account, is_default),
        (config::Provider::Alibaba(_), None) => alibaba_forms(account, is_default),
    }
}

fn provider(provider: &config::Provider) -> Result<Arc<dyn Provider>, Fault> {
    match provider {
        config::Provider::Tencent(tencent) => {
            let settings = TencentSettings {
                region: tencent.region.clone(),
                site: tencent.site,
                regional: tencent.regional,
                endpoint: tencent.endpoint.clone(),
                quota: f64::from(tencent.quota),
                action_spelling: tencent.action_spelling,
                time_zone: tencent.time_zone,
                timeout: tencent.timeout,
                ca_file: tencent.ca_file.clone(),
            };
            Ok(Arc::new(Tencent::new(settings, tencent_credentials(&tencent.credentials)?, now())?))
        }
        config::Provider::Alibaba(alibaba) => {
            let settings = AlibabaSettings {
                region: alibaba.region.clone(),
                network: alibaba.network,
                endpoint: alibaba.endpoint.clone(),
                parameters_in: alibaba.parameters_in,
                quota: f64::from(alibaba.quota),
                timeout: alibaba.timeout,
                ca_file: alibaba.ca_file.clone(),
            };
            let nonces = Arc::new(|| crate::chance::Chance::bits(&crate::chance::SystemChance));
            Ok(Arc::new(Alibaba::new(settings, alibaba_credentials(&alibaba.credentials)?, now(), nonces)?))
        }
    }
}

fn now() -> Now {
    Arc::new(|| crate::clock::Clock::now(&crate::clock::SystemClock))
}

fn tencent_credentials(source: &config::TencentCredentials) -> Result<Arc<dyn CredentialSource>, Fault> {
    match source {
        config::TencentCredentials::Environment => Ok(Arc::new(tencent::credentials::environment(Arc::new(variable)))),
        config::TencentCredentials::Static { secret_id, secret_key, token } => {
            fixed(&tencent::credentials::TERMS, secret_id, secret_key, token.as_ref())
        }
    }
}

fn alibaba_credentials(source: &config::AlibabaCredentials) -> Result<Arc<dyn CredentialSource>, Fault> {
    match source {
        config::AlibabaCredentials::Environment => Ok(Arc::new(alibaba::credentials::environment(Arc::new(variable)))),
        config::AlibabaCredentials::Static { access_key_id, access_key_secret, security_token } => {
            fixed(&alibaba::credentials::TERMS, access_key_id, access_key_secret, security_token.as_ref())
        }
    }
}

/// A credential whose parts are each read from their own place, once.
fn fixed(
    terms: &Terms,
    id: &SecretRef,
    key: &SecretRef,
    token: Option<&SecretRef>,
) -> Result<Arc<dyn CredentialSource>, Fault> {
    let id = id.read(&variable)?.expose().to_owned();
    let token = token.map(|token| token.read(&variable)).transpose()?;
    Ok(Arc::new(Static::new(terms, id, key.read(&variable)?, token)?))
}

fn sink(sink: &config::Sink) -> Result<Arc<dyn Sink>, Fault> {
    match sink {
        config::Sink::File(file) => {
            let who = |text: &Option<String>| {
                text.as_ref().map(|text| text.parse().map_or_else(|_| Who::Name(text.clone()), Who::Number))
            };
            let settings = FileSettings {
                path: file.path.clone(),
                format: file.format,
                mode: format!("{:04o}", file.mode),
                owner: who(&file.owner),
                group: who(&file.group),
                prefix: file.prefix.clone(),
                template: file.template.clone(),
            };
            FileSink::new(settings).map(|sink| Arc::new(sink) as Arc<dyn Sink>).map_err(first)
        }
        config::Sink::Command(command) => {
            let settings = CommandSettings {
                argv: command.argv.clone(),
                stdin: command.stdin,
                check: command.check,
                environment: command.environment.clone(),
                timeout: command.timeout,
            };
            CommandSink::new(settings).map(|sink| Arc::new(sink) as Arc<dyn Sink>).map_err(first)
        }
    }
}

fn hook(hook: &config::Hook) -> Result<Arc<dyn Hook>, Fault> {
    match hook {
        config::Hook::Command(command) => {
            let settings = CommandHookSettings {
                argv: command.argv.clone(),
                environment: command.environment.clone(),
                timeout: command.timeout,
            };
            CommandHook::new(settings).map(|hook| Arc::new(hook) as Arc<dyn Hook>).map_err(first)
        }
    }
}

/// The first of several findings; the configuration found everything it could before.
fn first(faults: Vec<Fault>) -> Fault {
    faults.into_iter().next().unwrap_or_else(|| Fault::new(Kind::Bug, "a hand was refused without a reason"))
}
