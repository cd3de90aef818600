//! `[targets.NAME]`: one credential to rotate, and what only shows between sections.

use super::daemon::zone;
use super::finding::suggestion;
use super::login::{self, Login};
use super::outlet::{Hook, Sink};
use super::policy;
use super::provider::Provider;
use super::reading::{Refusal, Section, refusal};
use super::secret_ref::SecretRef;
use crate::name::{HookName, PolicyName, ProviderName, SinkName, TargetName};
use crate::password::{Policy, Profile};
use crate::provider::{Address, Mode};
use crate::rotation::plan::Recovery;
use crate::schedule::{Missed, Settings, Timetable};
use chrono_tz::Tz;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::str::FromStr;

/// The longest instance id or account, in bytes.
const ID_LIMIT: usize = 128;

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
    pub adopt: Option<SecretRef>,
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
    /// Who is told afterwards.
    pub hooks: Vec<HookName>,
    /// What may be done when no known password works.
    pub recovery: Recovery,
    /// Sinks that are this target's alone, by the names of the templates they were made of.
    pub own_sinks: BTreeMap<SinkName, Sink>,
    /// The selection that found it; `None` where it is written down.
    pub selected_by: Option<TargetName>,
}

/// For a policy (`None`: the profile's own) and a profile's name, the policy if the profile accepts it.
type Accepted = BTreeMap<(Option<PolicyName>, &'static str), Option<Policy>>;

/// What the targets refer to. A name whose table could not be parsed is there without a value.
#[derive(Clone, Copy)]
pub(super) struct Surroundings<'a> {
    pub time_zone: Tz,
    pub providers: &'a BTreeMap<ProviderName, Option<Provider>>,
    pub policies: &'a BTreeMap<PolicyName, Option<Policy>>,
    pub sinks: &'a BTreeMap<SinkName, Option<Sink>>,
    pub hooks: &'a BTreeMap<HookName, Option<Hook>>,
    /// Which policy was held against which profile already, and what became of it.
    pub accepted: &'a RefCell<Accepted>,
}

pub(super) fn parse(section: &Section<'_>, name: &TargetName, around: &Surroundings<'_>) -> Option<Target> {
    for (key, example) in [("provider", "shop"), ("instance", "crs-5a4py64p")] {
        if !section.has(key) {
            section.refuse(key, refusal("This key is missing", format!("add it, such as {key} = \"{example}\"")));
        }
    }
    if section.has("name") {
        let what = "This key means nothing without select: the target is called by its table's name";
        section.refuse("name", refusal(what, "remove it"));
    }
    let provider = named(section, "provider", section.text("provider"), around.providers);
    let instance = section.parsed("instance", id);
    let cloud = provider.as_ref().and_then(|name| around.providers.get(name)?.as_ref());
    let account = match section.has("account") {
        true => section.parsed("account", id),
        false => cloud.zip(instance.as_deref()).map(|(cloud, instance)| cloud.default_account(instance).to_owned()),
    };
    let adopt = SecretRef::parse(section, "adopt");
    if !section.has("adopt") {
        let what = "No place is named for the password that works today";
        section.warn("adopt", refusal(what, format!("run `keywheel adopt {name}` unless that was done")));
    }
    let login = login::parse(section);
    if !section.has("login") && cloud.is_some_and(Provider::needs_login) {
        let what = "This cloud does not say when a change has taken effect, so only a login can prove it";
        section.refuse("login", refusal(what, "add login = \"redis://HOST:PORT\""));
    }
    let timetable = timetable(section, name, around.time_zone);
    let (policy_name, profile, policy) = password(section, provider.as_ref(), around);
    section.choice("strategy", &[("in-place", ())]);
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
        address: Address { instance: instance?, account: account?, mode: Mode::OldPassword },
        adopt,
        login,
        timetable: timetable?,
        policy_name,
        policy: policy?,
        profile: profile?,
        sinks,
        hooks,
        recovery,
        own_sinks: BTreeMap::new(),
        selected_by: None,
    })
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
    let profiles = [("tencent", Profile::Tencent), ("tencent-ckv", Profile::TencentCkv), ("alibaba", Profile::Alibaba)];
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
        if let (Some(provider), Some(instance)) = (entry.text("provider"), entry.text("instance")) {
            let cloud = cloud(provider);
            let place = cloud.map_or_else(|| provider.to_owned(), Provider::place);
            let is_default = |account: &&str| cloud.is_some_and(|cloud| cloud.is_default_account(instance, account));
            // A default account may have several names, and is the one that is meant where none is written.
            let account = (place, instance, entry.text("account").filter(|account| !is_default(account)));
            if let Some(other) = accounts.insert(account, name) {
                let what = format!("The target {} rotates the same account already", super::reading::shown(other));
                entry.refuse("instance", refusal(what, "keep one of the two"));
            }
        }
        let target = name.parse().ok().and_then(|name: TargetName| targets.get(&name)?.as_ref());
        for text in entry.texts("sinks") {
            let Ok(sink_name) = text.parse::<SinkName>() else {
                continue;
            };
            let Some(Some(Sink::File(file))) = around.sinks.get(&sink_name) else {
                continue;
            };
            match holders.insert(text, name) {
                Some(other) if other != name => {
                    let what = format!(
                        "The file of sink {text} already holds the password of target {}",
                        super::reading::shown(other)
                    );
                    entry.refuse("sinks", refusal(what, "give each target a sink of its own"));
                }
                Some(_) | None => {}
            }
            if file.format == crate::sink::file::Format::Url && target.is_some_and(|target| target.login.is_none()) {
                let what = format!("The sink {text} writes a URL, and this target has no login address");
                entry.refuse("sinks", refusal(what, "add login = \"redis://HOST:PORT\" or choose another format"));
            }
        }
    }
}
