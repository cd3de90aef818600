//! The composition root: the one place that matches on kinds. Configuration in, hands and fleet out.

pub mod alerts;
mod aws;
mod clouds;
mod credentials;
pub mod entrance;
pub mod follow;
mod foreign;
mod hooks;
mod kubernetes;
mod local;
mod redis;
mod stores;
mod vanishing;

use crate::config::{self, Config, LedgerUrl, SecretRef};
use crate::discovery::{Search, Sought};
use crate::driver::{Account, Fleet, Hands, PlanSettings, Target};
use crate::fault::{Fault, Kind};
use crate::hook::Listener;
use crate::ledger::sqlite::{Reader, SqliteLedger};
use crate::moment::Moment;
use crate::name::{ChannelName, HookName, ProviderName, SinkName, TargetName};
use crate::probe::Probe;
use crate::probe::redis::{
    LoginForm, LoginSettings, RedisProbe, acl_forms, alibaba_forms, login_password, login_user, tencent_forms,
};
use crate::provider::alibaba::credentials::AlibabaSources;
use crate::provider::alibaba::{Alibaba, AlibabaSettings, Nonces};
use crate::provider::credential::Source;
use crate::provider::redis_acl::RedisAcl;
use crate::provider::tencent::credentials::TencentSources;
use crate::provider::tencent::{Tencent, TencentSettings};
use crate::provider::{Address, Now, Provider};
use crate::seal::aead::SealingKey;
use crate::sink::command::{CommandSettings, CommandSink};
use crate::sink::file::{FileSettings, FileSink, Who};
use crate::sink::{Endpoint, Sink};
use crate::watch::Post;
mod adopt;

pub use adopt::password_from;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The daemon's own variables.
pub fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Refuses a ledger on storage that vanishes, unless the configuration says what is to be done then.
///
/// # Errors
/// `LedgerUnusable`.
pub fn refuse_what_vanishes(config: &Config) -> Result<(), Fault> {
    let LedgerUrl::Sqlite(path) = &config.daemon.ledger;
    vanishing::refuse(path, config.daemon.ephemeral)
}

/// The ledger, taken by this process alone. `holder` says who that is.
///
/// # Errors
/// What keeps it from being opened: key, lock, file.
pub fn ledger(config: &Config, holder: &str) -> Result<SqliteLedger, Fault> {
    refuse_what_vanishes(config)?;
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
    config.targets.iter().map(|(name, target)| (name.clone(), plan_settings(config, name, target, up_since))).collect()
}

/// The same for targets that are retired: what decided their moves while they had any.
pub fn retired_settings(config: &Config, up_since: Moment) -> BTreeMap<TargetName, PlanSettings> {
    // No slot counts for them any more.
    let settings = |name: &TargetName, target: &config::Target| PlanSettings {
        timetable: target.timetable.clone().by_hand(),
        ..plan_settings(config, name, target, up_since)
    };
    config.retired.iter().map(|(name, retired)| (name.clone(), settings(name, &retired.target))).collect()
}

fn plan_settings(config: &Config, name: &TargetName, target: &config::Target, up_since: Moment) -> PlanSettings {
    let abilities = match &config.providers[&target.provider] {
        config::Provider::Tencent(_) => Tencent::abilities_of(&target.address),
        config::Provider::Alibaba(_) => Alibaba::abilities_of(&target.address),
        config::Provider::Redis(redis) => {
            RedisAcl::abilities_of(&target.address, redis.admin == config::RedisAdmin::Itself)
        }
    };
    // In one order whatever the configuration says: which of a pair comes first is no other place.
    let mut accounts: Vec<String> = target.addresses().into_iter().map(|address| address.account).collect();
    accounts.sort_unstable();
    let for_it = config.freezes.values().filter(|freezing| freezing.is_for(name, target.selected_by.as_ref()));
    let freezes = for_it.map(|freezing| freezing.freeze.clone()).collect();
    PlanSettings {
        place: format!("{}/{}", target.address.instance, accounts.join("+")),
        timetable: target.timetable.clone().frozen_on(freezes),
        wave: target.selected_by.clone().zip(target.waves),
        up_since,
        login: target.login.is_some() || config.providers[&target.provider].own_nodes().is_some(),
        abilities,
        strategy: target.strategy.clone(),
        recovery: target.recovery,
        on_sink_down: target.on_sink_down,
        take_over: target.selected_by.is_some(),
        adopts: target.adopt.is_some(),
        adopts_resting: target.adopt_resting.is_some(),
        verify_every: target.verify_every,
        sinks: target.sinks.clone(),
        hooks: target.hooks.clone(),
        limits: config.limits.clone(),
    }
}

/// Every target with its hands, as far as those that were found could be made.
#[derive(Default)]
pub struct Made {
    /// The targets.
    pub fleet: Fleet,
    /// Found ones that cannot be made, and why: whoever may tag an instance must not be able to stop all the others.
    pub left_out: BTreeMap<TargetName, Fault>,
}

/// Every target with its hands. Providers, sinks and hooks are made once and shared.
///
/// # Errors
/// The first thing that cannot be made, with the key it stands under; a target that a selection found is left out instead.
pub fn fleet(config: &Config, up_since: Moment) -> Result<Made, Fault> {
    Kit::of(config)?.fleet(config, up_since)
}

/// What targets share: made once for a configuration, so that a provider keeps its pace and its credential while the fleet grows and shrinks.
pub struct Kit {
    providers: BTreeMap<ProviderName, Arc<dyn Provider>>,
    sinks: BTreeMap<SinkName, Arc<dyn Sink>>,
    hooks: BTreeMap<HookName, Listener>,
    posts: BTreeMap<ChannelName, Post>,
}

impl Kit {
    /// Makes everything that this configuration names.
    ///
    /// # Errors
    /// As for [`fleet`].
    pub fn of(config: &Config) -> Result<Self, Fault> {
        let kit = Self {
            providers: made(&config.providers, "providers", |one| provider(config, one))?,
            sinks: made(&config.sinks, "sinks", |one| sink(config, one))?,
            hooks: made(&config.hooks, "hooks", |one| hooks::listener(config, one))?,
            posts: alerts::posts(config)?,
        };
        // What is wrong with one file of a selection is wrong with all: better now than when the first instance appears.
        for (name, template) in config.selections.values().flat_map(config::Selection::templates) {
            sink(config, template).map_err(|fault| at("sinks", name, fault))?;
        }
        Ok(kit)
    }

    /// Every target with its hands.
    ///
    /// # Errors
    /// As for [`fleet`].
    pub fn fleet(&self, config: &Config, up_since: Moment) -> Result<Made, Fault> {
        let mut made = Made::default();
        for (name, target) in &config.targets {
            match self.target(config, name, target, up_since) {
                Ok(hands) => {
                    made.fleet.insert(name.clone(), Arc::new(hands));
                }
                Err(fault) if target.selected_by.is_some() => {
                    made.left_out.insert(name.clone(), fault);
                }
                Err(fault) => return Err(at("targets", name, fault)),
            }
        }
        Ok(made)
    }

    /// Who is alerted.
    pub fn posts(&self) -> &BTreeMap<ChannelName, Post> {
        &self.posts
    }

    /// The cloud accounts.
    pub fn providers(&self) -> &BTreeMap<ProviderName, Arc<dyn Provider>> {
        &self.providers
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
        let accounts = target.addresses().into_iter().map(|address| account(config, target, address, &self.providers));
        let accounts: Result<Vec<Account>, Fault> = accounts.collect();
        Ok(Target {
            name: name.clone(),
            accounts: accounts?,
            instance_key: format!("{}/{}", config.providers[&target.provider].place(), target.address.instance),
            settings: plan_settings(config, name, target, up_since),
            hands: hands(config, name, target, self)?,
        })
    }

    /// The target's sinks, its own ones among them.
    fn sinks_of(&self, config: &Config, target: &config::Target) -> Result<BTreeMap<SinkName, Arc<dyn Sink>>, Fault> {
        let of = |name: &SinkName| match target.own_sinks.get(name) {
            Some(own) => Ok((name.clone(), sink(config, own)?)),
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

/// One account of a target: its login route and what a client sends there.
fn account(
    config: &Config,
    target: &config::Target,
    address: Address,
    providers: &BTreeMap<ProviderName, Arc<dyn Provider>>,
) -> Result<Account, Fault> {
    let probe = probe(config, target, &address)?;
    let nodes = config.providers[&target.provider].own_nodes();
    let form = {
        let probe = probe.clone();
        let fallback = forms(config, target, &address).into_iter().next().unwrap_or(LoginForm::Password);
        move || probe.as_ref().map_or_else(|| fallback.clone(), |probe| probe.form().clone())
    };
    let probe: Option<Arc<dyn Probe>> = match (probe, nodes) {
        (Some(probe), _) => Some(probe),
        (None, Some(redis)) => {
            let form = forms(config, target, &address).into_iter().next().unwrap_or(LoginForm::Password);
            let provider = Arc::clone(&providers[&target.provider]);
            Some(Arc::new(redis::probe(redis, provider, &address, form)))
        }
        (None, None) => None,
    };
    Ok(Account {
        address,
        probe,
        login: Arc::new(move |password| {
            let form = form();
            (login_user(&form).map(str::to_owned), login_password(&form, password))
        }),
    })
}

fn hands(config: &Config, name: &TargetName, target: &config::Target, kit: &Kit) -> Result<Hands, Fault> {
    let sinks = kit.sinks_of(config, target)?;
    Ok(Hands {
        provider: Arc::clone(&kit.providers[&target.provider]),
        hooks: target.hooks.iter().map(|name| (name.clone(), kit.hooks[name].clone())).collect(),
        policy: target.policy.clone(),
        profile: target.profile,
        adopt: adopt::adopt_from(name, target, adopt::forms(config, target), |name| {
            sinks.get(name).or_else(|| kit.sinks.get(name)).map(Arc::clone)
        }),
        adopt_resting: adopt::secret(target.adopt_resting.clone()),
        consumer: target.acknowledged_by.as_ref().map(hooks::consumer).transpose()?,
        endpoint: endpoint(config, target),
        sinks,
    })
}

/// Where clients connect: the login route, else the first of the nodes of one's own.
fn endpoint(config: &Config, target: &config::Target) -> Option<Endpoint> {
    let named = target.login.as_ref().map(|login| login.endpoint.clone());
    let nodes = config.providers[&target.provider].own_nodes();
    named.or_else(|| nodes.and_then(|redis| redis.nodes.first().cloned()))
}

fn probe(config: &Config, target: &config::Target, address: &Address) -> Result<Option<Arc<RedisProbe>>, Fault> {
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
    RedisProbe::new(settings, forms(config, target, address)).map(|probe| Some(Arc::new(probe))).map_err(first)
}

/// What a client sends on the login route, the likeliest form first.
fn forms(config: &Config, target: &config::Target, address: &Address) -> Vec<LoginForm> {
    let (instance, account) = (&address.instance, &address.account);
    let chosen = target.login.as_ref().and_then(|login| login.form.form(instance, account));
    let cloud = &config.providers[&target.provider];
    let is_default = cloud.is_default_account(instance, account);
    match (cloud, chosen) {
        (_, Some(form)) => vec![form],
        (config::Provider::Tencent(_), None) => tencent_forms(instance, account, is_default),
        (config::Provider::Alibaba(_), None) => alibaba_forms(account, is_default),
        (config::Provider::Redis(_), None) => acl_forms(account, is_default),
    }
}

fn provider(config: &Config, provider: &config::Provider) -> Result<Arc<dyn Provider>, Fault> {
    match provider {
        config::Provider::Tencent(tencent) => {
            let settings = tencent_settings(tencent);
            let source = tencent_source(&tencent.credentials, &settings)?;
            Ok(Arc::new(Tencent::new(settings, source, now())?))
        }
        config::Provider::Alibaba(alibaba) => {
            let settings = alibaba_settings(alibaba);
            let source = alibaba_source(&alibaba.credentials, &settings)?;
            Ok(Arc::new(Alibaba::new(settings, source, now(), nonces())?))
        }
        config::Provider::Redis(redis) => Ok(Arc::new(redis::provider(config, redis)?)),
    }
}

fn tencent_settings(tencent: &config::Tencent) -> TencentSettings {
    TencentSettings {
        region: tencent.region.clone(),
        site: tencent.site,
        regional: tencent.regional,
        endpoint: tencent.endpoint.clone(),
        quota: f64::from(tencent.quota),
        action_spelling: tencent.action_spelling,
        time_zone: tencent.time_zone,
        timeout: tencent.timeout,
        ca_file: tencent.ca_file.clone(),
    }
}

fn tencent_source(from: &config::Credentials, settings: &TencentSettings) -> Result<Source, Fault> {
    let reach = credentials::reach(from, settings.timeout, settings.ca_file.clone());
    let sources = TencentSources::new(credentials::surroundings(), reach, settings.region.clone(), settings.site);
    credentials::source(&sources, &from.source)
}

fn alibaba_settings(alibaba: &config::Alibaba) -> AlibabaSettings {
    AlibabaSettings {
        region: alibaba.region.clone(),
        network: alibaba.network,
        endpoint: alibaba.endpoint.clone(),
        parameters_in: alibaba.parameters_in,
        quota: f64::from(alibaba.quota),
        timeout: alibaba.timeout,
        ca_file: alibaba.ca_file.clone(),
    }
}

fn alibaba_source(from: &config::Credentials, settings: &AlibabaSettings) -> Result<Source, Fault> {
    let reach = credentials::reach(from, settings.timeout, settings.ca_file.clone());
    let sources = AlibabaSources::new(credentials::surroundings(), reach, settings.region.clone(), settings.network);
    credentials::source(&sources, &from.source)
}

fn nonces() -> Nonces {
    Arc::new(|| crate::chance::Chance::bits(&crate::chance::SystemChance))
}

fn now() -> Now {
    Arc::new(|| crate::clock::Clock::now(&crate::clock::SystemClock))
}

fn sink(config: &Config, sink: &config::Sink) -> Result<Arc<dyn Sink>, Fault> {
    match sink {
        config::Sink::File(file) => {
            FileSink::new(file_settings(file)).map(|sink| Arc::new(sink) as Arc<dyn Sink>).map_err(first)
        }
        config::Sink::Command(command) => {
            let settings = CommandSettings {
                argv: command.argv.clone(),
                stdin: command.stdin,
                check: command.check,
                fields: command.fields.clone(),
                read: command.read.clone(),
                environment: command.environment.clone(),
                timeout: command.timeout,
            };
            CommandSink::new(settings).map(|sink| Arc::new(sink) as Arc<dyn Sink>).map_err(first)
        }
        config::Sink::Store(settings) => clouds::sink(config, settings),
        config::Sink::Aws(settings) => aws::sink(settings),
        config::Sink::Etcd(etcd) => local::etcd(etcd),
        config::Sink::Age(age) => local::age(age),
        config::Sink::SystemdCredential(credential) => local::systemd_credential(credential),
        config::Sink::Http(http) => Ok(Arc::new(stores::http(http)?)),
        config::Sink::Vault(vault) => Ok(Arc::new(stores::vault(vault)?)),
        config::Sink::Gcp(gcp) => foreign::gcp(gcp),
        config::Sink::Azure(azure) => foreign::azure(azure),
        config::Sink::Kubernetes(secret) => kubernetes::sink(secret),
    }
}

fn file_settings(file: &config::FileSink) -> FileSettings {
    let who = |text: &Option<String>| {
        text.as_ref().map(|text| text.parse().map_or_else(|_| Who::Name(text.clone()), Who::Number))
    };
    FileSettings {
        path: file.path.clone(),
        format: file.format,
        mode: format!("{:04o}", file.mode),
        owner: who(&file.owner),
        group: who(&file.group),
        prefix: file.prefix.clone(),
        template: file.template.clone(),
        fields: file.fields.clone(),
    }
}

/// The first of several findings; the configuration found everything it could before.
fn first(faults: Vec<Fault>) -> Fault {
    faults.into_iter().next().unwrap_or_else(|| Fault::new(Kind::Bug, "a hand was refused without a reason"))
}
