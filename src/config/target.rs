//! `[targets.NAME]`: one credential to rotate, and what only shows between sections.

use super::adopt::PasswordRef;
use super::consumer::{self, Consumer};
use super::daemon::zone;
use super::finding::suggestion;
use super::hook::Hook;
use super::login::{self, Login};
use super::mode;
use super::outlet::Sink;
use super::policy;
use super::provider::Provider;
use super::reading::{Refusal, Section, refusal};
use super::redis::RedisAdmin;
use super::secret_ref::SecretRef;
use super::strategy;
use crate::name::{HookName, PolicyName, ProviderName, SinkName, TargetName};
use crate::password::{Policy, Profile};
use crate::provider::{Address, tencent};
use crate::rotation::plan::{OnSinkDown, Recovery, Strategy};
use crate::rotation::waves::Waves;
use crate::schedule::{Missed, Settings, Timetable};
use chrono_tz::Tz;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::str::FromStr;
use std::time::Duration;

/// The longest instance id or account, in bytes.
const ID_LIMIT: usize = 128;

/// Verifying more often than this is a finding.
const VERIFY_SHORTEST: Duration = Duration::from_secs(1);

/// The most sinks or hooks of one target.
const OUTLETS_LIMIT: usize = 64;

/// One credential to rotate.
#[derive(Debug, Clone)]
pub struct Target {
    /// Whose instance it is.
    pub provider: ProviderName,
    /// Instance and account.
    pub address: Address,
    /// Where the password that works today is kept; `None`: `keywheel adopt` is told.
    pub adopt: Option<PasswordRef>,
    /// Where a password is proven; `None`: only the cloud's evidence counts.
    pub login: Option<Login>,
    /// When it is due.
    pub timetable: Timetable,
    /// The name of its policy; `None`: the profile's own.
    pub policy_name: Option<PolicyName>,
    /// What its passwords look like; the profile accepts every one of them.
    pub policy: Policy,
    /// The vendor's rules they comply with.
    pub profile: Profile,
    /// Where its passwords go.
    pub sinks: Vec<SinkName>,
    /// What a sink that does not take passwords holds back.
    pub on_sink_down: OnSinkDown,
    /// Who is told afterwards.
    pub hooks: Vec<HookName>,
    /// What may be done when no known password works.
    pub recovery: Recovery,
    /// How its password changes.
    pub strategy: Strategy,
    /// Where its consumer says which generation it uses.
    pub acknowledged_by: Option<Consumer>,
    /// Where the password of a pair's resting account is kept.
    pub adopt_resting: Option<SecretRef>,
    /// How often current is verified between rotations.
    pub verify_every: Option<Duration>,
    /// Sinks that are this target's alone, by the names of the templates they were made of.
    pub own_sinks: BTreeMap<SinkName, Sink>,
    /// The selection that found it; `None` where it is written down.
    pub selected_by: Option<TargetName>,
    /// How the targets of that selection follow each other.
    pub waves: Option<Waves>,
}

impl Target {
    /// Its account, or the two that take turns.
    pub fn addresses(&self) -> Vec<Address> {
        match &self.strategy {
            Strategy::InPlace | Strategy::Overlap { .. } => vec![self.address.clone()],
            Strategy::Alternate { accounts, .. } => {
                accounts.iter().map(|account| Address { account: account.clone(), ..self.address.clone() }).collect()
            }
        }
    }
}

/// For a policy (`None`: the profile's own) and a profile's name, the policy if the profile accepts it.
type Accepted = BTreeMap<(Option<PolicyName>, &'static str), Option<Policy>>;

/// What the targets refer to. A name whose table could not be parsed is there without a value.
#[derive(Clone, Copy)]
pub(super) struct Surroundings<'a> {
    pub time_zone: Tz,
    /// How long an unanswered call may still take effect.
    pub late_effect: Duration,
    pub providers: &'a BTreeMap<ProviderName, Option<Provider>>,
    pub policies: &'a BTreeMap<PolicyName, Option<Policy>>,
    pub sinks: &'a BTreeMap<SinkName, Option<Sink>>,
    pub hooks: &'a BTreeMap<HookName, Option<Hook>>,
    /// Which policy was held against which profile already, and what became of it.
    pub accepted: &'a RefCell<Accepted>,
}

pub(super) fn parse(section: &Section<'_>, name: &TargetName, around: &Surroundings<'_>) -> Option<Target> {
    if section.has("name") {
        let what = "This key means nothing without select: the target is called by its table's name";
        section.refuse("name", refusal(what, "remove it"));
    }
    if section.has("waves") {
        let what = "One target has nobody to follow: waves are for the targets of a selection";
        section.refuse("waves", refusal(what, "remove it, or add select"));
    }
    let provider = named(section, "provider", section.text("provider"), around.providers);
    let cloud = provider.as_ref().and_then(|name| around.providers.get(name)?.as_ref());
    if !section.has("provider") {
        section.refuse("provider", refusal("This key is missing", "add it, such as provider = \"shop\""));
    }
    let instance = instance(section, provider.as_ref(), cloud, around);
    let strategy = strategy::parse(section, cloud, around.late_effect, id);
    strategy::refuse_one_login(section, cloud, instance.as_deref(), strategy.as_ref());
    let account = match section.has("account") {
        _ if section.has("accounts") => strategy.as_ref().and_then(|strategy| match strategy {
            Strategy::Alternate { accounts: [first, _], .. } => Some(first.clone()),
            Strategy::InPlace | Strategy::Overlap { .. } => None,
        }),
        true => section.parsed("account", id),
        false => cloud.zip(instance.as_deref()).map(|(cloud, instance)| cloud.default_account(instance).to_owned()),
    };
    let mode = match strategy {
        Some(Strategy::Overlap { .. }) => mode::added(section),
        _ => mode::parse(section, cloud, instance.as_deref(), pair_names(strategy.as_ref()).or(account.as_deref())),
    };
    if let Some(RedisAdmin::User { user, .. }) = cloud.and_then(Provider::own_nodes).map(|redis| &redis.admin)
        && account.as_ref() == Some(user)
    {
        let what = "This account is the provider's administrator too, whose password is read from its own place";
        let next_step = "let a sink of this target write that place, or set admin = \"self\" in the provider";
        section.warn("account", refusal(what, next_step));
    }
    let adopt = PasswordRef::parse(section, around.sinks);
    if !section.has("adopt") {
        let what = "No place is named for the password that works today";
        section.warn("adopt", refusal(what, format!("run `keywheel adopt {name}` unless that was done")));
    }
    let adopt_resting = adopt_resting(section, name, strategy.as_ref());
    let acknowledged_by = consumer::parse(section, strategy.as_ref());
    let login = login::parse(section);
    let verify_every = section.span_or_zero("verify-every");
    if let Some(every) = verify_every.filter(|every| *every < VERIFY_SHORTEST) {
        let what = format!("A login every {} is a load, not a verification", crate::moment::show_span(every));
        section.refuse(
            "verify-every",
            refusal(what, format!("use {} or more", crate::moment::show_span(VERIFY_SHORTEST))),
        );
    }
    if verify_every.is_some() && !section.has("login") && !cloud.is_some_and(Provider::logs_in_by_itself) {
        section.refuse(
            "verify-every",
            refusal("Only a login can verify a password", "add login = \"redis://HOST:PORT\", or remove it"),
        );
    }
    if !section.has("login") && cloud.is_some_and(Provider::needs_login) {
        let what = "This cloud does not say when a change has taken effect, so only a login can prove it";
        section.refuse("login", refusal(what, "add login = \"redis://HOST:PORT\""));
    }
    let timetable = timetable(section, name, around.time_zone);
    let (policy_name, profile, policy) = password(section, provider.as_ref(), around);
    let sinks = outlets(section, "sinks", around.sinks);
    let hooks = outlets(section, "hooks", around.hooks);
    if !section.has("sinks") || sinks.is_empty() && section.texts("sinks").is_empty() {
        section.warn(
            "sinks",
            refusal("No sink receives this password", "add sinks = [\"NAME\"], or read it with `keywheel reveal`"),
        );
    }
    let recoveries = [("halt", Recovery::Halt), ("reset", Recovery::Reset)];
    let recovery = section.choice("recovery", &recoveries).unwrap_or_default();
    Some(Target {
        provider: provider?,
        address: Address { instance: instance?, account: account?, mode },
        adopt,
        login,
        timetable: timetable?,
        policy_name,
        policy: policy?,
        profile: profile?,
        sinks,
        on_sink_down: section.choice("on-sink-down", &OnSinkDown::ALL).unwrap_or_default(),
        hooks,
        recovery,
        strategy: strategy?,
        acknowledged_by,
        adopt_resting,
        verify_every,
        own_sinks: BTreeMap::new(),
        selected_by: None,
        waves: None,
    })
}

/// The account of a pair that says by which call both are changed: the second, unless that one alone is the vendor's default.
fn pair_names(strategy: Option<&Strategy>) -> Option<&str> {
    match strategy? {
        Strategy::Alternate { accounts: [first, second], .. } => {
            Some(if second == tencent::DEFAULT_ACCOUNT { first } else { second })
        }
        Strategy::InPlace | Strategy::Overlap { .. } => None,
    }
}

fn adopt_resting(section: &Section<'_>, name: &TargetName, strategy: Option<&Strategy>) -> Option<SecretRef> {
    let reference = SecretRef::parse(section, "adopt-resting");
    match strategy {
        Some(Strategy::Alternate { accounts: [_, second], .. }) if !section.has("adopt-resting") => {
            let what = format!("No place is named for today's password of the resting account {second}");
            let next =
                format!("run `keywheel adopt {name} --account {second}` unless that was done, or a reset is allowed");
            section.warn("adopt-resting", refusal(what, next));
        }
        Some(Strategy::InPlace | Strategy::Overlap { .. }) if section.has("adopt-resting") => {
            let next = "remove it, or set strategy = \"alternate\"";
            section
                .refuse("adopt-resting", refusal("There is one account, and adopt says where its password is", next));
        }
        Some(_) | None => {}
    }
    reference
}

/// The instance. A provider that is one instance is its name, where no other is given.
fn instance(
    section: &Section<'_>,
    provider: Option<&ProviderName>,
    cloud: Option<&Provider>,
    around: &Surroundings<'_>,
) -> Option<String> {
    if section.has("instance") {
        return section.parsed("instance", id);
    }
    if let (Some(name), Some(_)) = (provider, cloud.and_then(Provider::own_nodes)) {
        return Some(name.as_str().to_owned());
    }
    // Of a provider that could not be parsed nobody knows whether it is one instance.
    if cloud.is_none() && provider.is_some_and(|name| around.providers.contains_key(name)) {
        return None;
    }
    section.refuse("instance", refusal("This key is missing", "add it, such as instance = \"crs-5a4py64p\""));
    None
}

fn id(text: &str) -> Result<String, Refusal> {
    let plain = |byte: u8| byte.is_ascii_graphic() && byte != b'"';
    match !text.is_empty() && text.len() <= ID_LIMIT && text.bytes().all(plain) {
        true => Ok(text.to_owned()),
        false => Err(refusal("This cannot be an id of the cloud's", "copy it from the console, such as crs-5a4py64p")),
    }
}

/// The name at a key, if a table of that name is there.
pub(super) fn named<N: FromStr + Ord + AsName, T>(
    section: &Section<'_>,
    key: &str,
    text: Option<&str>,
    known: &BTreeMap<N, Option<T>>,
) -> Option<N> {
    let text = text?;
    if let Some(name) = text.parse().ok().filter(|name| known.contains_key(name)) {
        return Some(name);
    }
    let names: Vec<&str> = known.keys().map(AsName::as_name).collect();
    let none = format!("add a [{}.NAME] first", N::SECTION);
    section.refuse(key, refusal(format!("There is no such {}", N::NOUN), suggestion(text, &names, &none)));
    None
}

/// What names of the five sections have in common here.
pub(super) trait AsName {
    const SECTION: &'static str;
    const NOUN: &'static str;
    fn as_name(&self) -> &str;
}

macro_rules! as_name {
    ($($name:ty: $section:literal, $noun:literal;)*) => {$(
        impl AsName for $name {
            const SECTION: &'static str = $section;
            const NOUN: &'static str = $noun;
            fn as_name(&self) -> &str {
                self.as_str()
            }
        }
    )*};
}

as_name! {
    ProviderName: "providers", "provider";
    PolicyName: "policies", "policy";
    SinkName: "sinks", "sink";
    HookName: "hooks", "hook";
}

fn outlets<N: FromStr + Ord + AsName + Clone, T>(
    section: &Section<'_>,
    key: &str,
    known: &BTreeMap<N, Option<T>>,
) -> Vec<N> {
    let texts = section.texts(key);
    if texts.len() > OUTLETS_LIMIT {
        section.refuse(key, refusal(format!("These are more than {OUTLETS_LIMIT}"), "leave some out"));
    }
    let mut names: Vec<N> = Vec::new();
    for text in texts {
        let Some(name) = named(section, key, Some(text), known) else {
            continue;
        };
        if names.contains(&name) {
            let what = format!("The {} {} stands here twice", N::NOUN, name.as_name());
            section.refuse(key, refusal(what, "name it once"));
        } else {
            names.push(name);
        }
    }
    names
}

fn timetable(section: &Section<'_>, name: &TargetName, daemon_zone: Tz) -> Option<Timetable> {
    let missed = [("if-open", Missed::IfOpen), ("run", Missed::Run), ("skip", Missed::Skip)];
    let settings = Settings {
        target: name.clone(),
        schedule: section.text("schedule").map(str::to_owned),
        every: section.span_or_zero("every"),
        zone: zone(section).unwrap_or(daemon_zone),
        window: section.span_or_zero("window"),
        splay: section.span_or_zero("splay").unwrap_or_default(),
        missed: section.choice("missed", &missed).unwrap_or_default(),
        max_age: section.span_or_zero("max-age"),
    };
    let refuse = |problems: Vec<crate::schedule::ScheduleProblem>| {
        for problem in problems {
            section.refuse(problem.setting(), problem.to_string());
        }
    };
    Timetable::parse(settings).map_err(refuse).ok()
}

/// The target's policy and profile. A policy that breaks a profile's rules is refused once for both, not once for each target.
fn password(
    section: &Section<'_>,
    provider: Option<&ProviderName>,
    around: &Surroundings<'_>,
) -> (Option<PolicyName>, Option<Profile>, Option<Policy>) {
    let usual: PolicyName = policy::DEFAULT_NAME.parse().expect("the word is a name");
    let name = match section.has("policy") {
        true => match named(section, "policy", section.text("policy"), around.policies) {
            Some(name) => Some(name),
            None => return (None, None, None),
        },
        false => around.policies.contains_key(&usual).then_some(usual),
    };
    let profiles = Profile::ALL.map(|profile| (profile.name(), profile));
    let profile = match section.has("profile") {
        true => section.choice("profile", &profiles),
        false => provider.and_then(|provider| around.providers.get(provider)?.as_ref()).map(Provider::profile),
    };
    let Some(profile) = profile else {
        return (name, None, None);
    };
    let asked = (name.clone(), profile.name());
    if let Some(known) = around.accepted.borrow().get(&asked) {
        return (name, Some(profile), known.clone());
    }
    let policy = match &name {
        None => Some(profile.default_policy()),
        Some(name) => around.policies.get(name).and_then(Clone::clone).filter(|policy| {
            let problems = profile.accepts_policy(policy).err().unwrap_or_default();
            for problem in &problems {
                section.refuse("policy", format!("the policy {name} does not fit: {problem}"));
            }
            problems.is_empty()
        }),
    };
    around.accepted.borrow_mut().insert(asked, policy.clone());
    (name, Some(profile), policy)
}

/// An administrator that is a target has to be one of the same nodes, and not one that takes turns with another account.
pub(super) fn refuse_lost_administrators(
    section: &Section<'_>,
    targets: &BTreeMap<TargetName, Option<Target>>,
    around: &Surroundings<'_>,
) {
    for (name, entry) in section.entries_as_written() {
        let provider: Option<ProviderName> = entry.text("provider").and_then(|text| text.parse().ok());
        let cloud = provider.as_ref().and_then(|name| around.providers.get(name)?.as_ref());
        let Some(RedisAdmin::Target(admin)) = cloud.and_then(Provider::own_nodes).map(|redis| &redis.admin) else {
            continue;
        };
        let found = targets.get(admin).and_then(Option::as_ref);
        let place = |target: &Target| around.providers.get(&target.provider)?.as_ref().map(Provider::place);
        let here = found.is_some_and(|found| place(found) == cloud.map(Provider::place));
        if !here || found.is_some_and(|found| found.strategy.is_alternate()) {
            let what = format!(
                "The administrator of {} is the target {admin}, which is none of one account on these nodes",
                super::reading::shown(name)
            );
            entry.refuse("provider", refusal(what, "name a target of these nodes in the provider's admin"));
        }
    }
}

/// Two targets of one account, and one file for two passwords.
pub(super) fn refuse_conflicts(
    section: &Section<'_>,
    targets: &BTreeMap<TargetName, Option<Target>>,
    around: &Surroundings<'_>,
) {
    let cloud = |provider: &str| {
        let name: ProviderName = provider.parse().ok()?;
        around.providers.get(&name)?.as_ref()
    };
    let mut accounts: BTreeMap<(String, &str, Option<&str>), &str> = BTreeMap::new();
    let mut holders: BTreeMap<&str, &str> = BTreeMap::new();
    for (name, entry) in section.entries_as_written() {
        // By what is written, so that a target with another problem is compared too.
        let of_nodes = |provider: &str| cloud(provider).and_then(Provider::own_nodes).is_some();
        let instance = match entry.text("provider") {
            // A label of the owner's: there is one instance, whatever it is called.
            Some(provider) if of_nodes(provider) => Some(""),
            Some(_) | None => entry.text("instance"),
        };
        if let (Some(provider), Some(instance)) = (entry.text("provider"), instance) {
            let cloud = cloud(provider);
            let place = cloud.map_or_else(|| provider.to_owned(), Provider::place);
            let is_default = |account: &&str| cloud.is_some_and(|cloud| cloud.is_default_account(instance, account));
            // A default account may have several names, and is the one that is meant where none is written.
            let mut named: Vec<Option<&str>> = entry.texts("accounts").into_iter().map(Some).collect();
            if named.is_empty() {
                named.push(entry.text("account"));
            }
            for account in named {
                let account = (place.clone(), instance, account.filter(|account| !is_default(account)));
                if let Some(other) = accounts.insert(account, name).filter(|other| *other != name) {
                    let what = format!("The target {} rotates the same account already", super::reading::shown(other));
                    let key = if instance.is_empty() { "account" } else { "instance" };
                    entry.refuse(key, refusal(what, "keep one of the two"));
                }
            }
        }
        let target = name.parse().ok().and_then(|name: TargetName| targets.get(&name)?.as_ref());
        for text in entry.texts("sinks") {
            let Ok(sink_name) = text.parse::<SinkName>() else {
                continue;
            };
            let Some(Some(sink)) = around.sinks.get(&sink_name) else {
                continue;
            };
            if let Some(target) = target {
                strategy::refuse_bare(&entry, target, cloud(target.provider.as_str()), text, sink);
            }
            if sink.spot().is_none() {
                continue;
            }
            match holders.insert(text, name) {
                Some(other) if other != name => {
                    let what = format!(
                        "The {} of sink {text} already holds the password of target {}",
                        sink.noun(),
                        super::reading::shown(other)
                    );
                    entry.refuse("sinks", refusal(what, "give each target a sink of its own"));
                }
                Some(_) | None => {}
            }
            let has_address = |target: &Target| target.login.is_some() || of_nodes(target.provider.as_str());
            let is_url = sink.form() == Some(crate::sink::file::Format::Url);
            if is_url && target.is_some_and(|target| !has_address(target)) {
                let what = format!("The sink {text} writes a URL, and this target has no login address");
                entry.refuse("sinks", refusal(what, "add login = \"redis://HOST:PORT\" or choose another format"));
            }
        }
    }
}
