//! The configuration: layers of TOML and variables in, one checked [`Config`] out, or every finding at once.
//!
//! The way in: [`layers`] reads and merges, [`shape`] holds the tree against the [`schema`], each section is parsed into its type, and
//! [`target`] looks at what only shows between sections. [`expand`] adds what a [`selection`] found. No secret is read and no value that could be one is ever shown.

mod adopt;
mod alert;
mod aws;
mod consumer;
mod credentials;
mod daemon;
mod document;
mod entrance;
mod etcd;
mod expand;
mod finding;
mod follow;
mod freeze;
mod hook;
mod json_schema;
mod kubernetes;
mod layers;
mod login;
mod mode;
mod outlet;
mod policy;
mod program;
mod provider;
mod reading;
mod redis;
mod schema;
mod sealed;
mod secret_ref;
mod selection;
mod shape;
mod store;
mod strategy;
mod target;
mod template;
mod variables;
mod waves;

pub use adopt::PasswordRef;
pub use alert::{Channel, ChannelKind, SmtpChannel, SmtpTls, Watch};
pub use aws::{AwsCredentials, AwsSink, AwsSource, AwsStore, AwsTier};
pub use consumer::Consumer;
pub use credentials::{Credentials, CredentialsFrom};
pub use daemon::{Daemon, Ephemeral, LedgerUrl, LogForm};
pub use entrance::{Entrance, Tls};
pub use etcd::EtcdSink;
pub use expand::{Expanded, RetiredTarget};
pub use finding::{Finding, Findings, Origin};
pub use follow::{Followed, Follower, OnChange};
pub use freeze::Freezing;
pub use hook::{Hook, RolloutHook, SignalHook, SystemdHook, Told, WebhookHook, Workload, WorkloadKind};
pub use json_schema::json_schema;
pub use kubernetes::KubernetesAccess;
pub use layers::FILE_LIMIT;
pub use login::Login;
pub use outlet::{
    AzureIdentity, AzureSink, CommandSink, FileSink, Format, GcpIdentity, GcpSink, HttpSink, KubernetesSink, Sink,
    VaultAuth, VaultSink,
};
pub use provider::{Alibaba, Provider, Tencent};
pub use redis::{Redis, RedisAdmin};
pub use schema::known_keys;
pub use sealed::{AgeSink, CredentialSink};
pub use secret_ref::{SECRET_LIMIT, SecretRef};
pub use selection::Selection;
pub use store::{Identity, Store, StoreSink};
pub use target::Target;
pub use variables::PREFIX;

use crate::name::{ChannelName, FreezeName, HookName, PolicyName, ProviderName, SinkName, TargetName};
use crate::password::Policy;
use crate::rotation::plan::Limits;
use document::{Node, Table, Value};
use reading::{Report, Section, refusal};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;

/// Everything that is configured; all names in it lead somewhere.
#[derive(Debug, Clone)]
pub struct Config {
    /// The daemon itself.
    pub daemon: Daemon,
    /// Patience and back-off of every rotation.
    pub limits: Limits,
    /// Cloud accounts.
    pub providers: BTreeMap<ProviderName, Provider>,
    /// Password policies; each can be met.
    pub policies: BTreeMap<PolicyName, Policy>,
    /// Places that receive passwords.
    pub sinks: BTreeMap<SinkName, Sink>,
    /// Who is told afterwards.
    pub hooks: BTreeMap<HookName, Hook>,
    /// What is watched.
    pub watch: Watch,
    /// Who is alerted.
    pub alerts: BTreeMap<ChannelName, Channel>,
    /// Dates on which nothing begins by itself.
    pub freezes: BTreeMap<FreezeName, Freezing>,
    /// What is rotated; with [`Config::with_found`] also what selections found.
    pub targets: BTreeMap<TargetName, Target>,
    /// Targets that are found by tag.
    pub selections: BTreeMap<TargetName, Selection>,
    /// What is followed; where there is any of it, nothing is rotated.
    pub follow: BTreeMap<TargetName, Followed>,
    /// How it is followed.
    pub follower: Follower,
    /// What selections found once and find no longer; empty without [`Config::with_found`].
    pub retired: BTreeMap<TargetName, RetiredTarget>,
}

/// A usable configuration, and what is worth knowing about it.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// What is odd, but harms nothing.
    pub warnings: Vec<Finding>,
}

/// Loads the file at `path`, the files of `keywheel.d` beside it, and what `variables` (the daemon's environment) sets. Reads nothing else.
///
/// # Errors
/// Every finding at once, in the order of files and lines.
pub fn load(path: &Path, variables: impl IntoIterator<Item = (OsString, OsString)>) -> Result<Loaded, Findings> {
    let loaded = load_either(path, variables)?;
    match loaded.config.follow.is_empty() {
        true => Ok(loaded),
        false => Err(Findings(vec![Finding {
            origin: Origin { layer: 0, line: 0, column: 0, place: path.display().to_string().into() },
            key: "follow".to_owned(),
            what: "This is the configuration of a follower, which rotates nothing and has no ledger".to_owned(),
            next_step: Some("use it with `keywheel follow` or `keywheel check`".to_owned()),
        }])),
    }
}

/// The same, where it may be a rotator's or a follower's.
///
/// # Errors
/// As for [`load`].
pub fn load_either(path: &Path, variables: impl IntoIterator<Item = (OsString, OsString)>) -> Result<Loaded, Findings> {
    let merged = layers::read(path, variables.into_iter().collect()).map_err(in_order)?;
    let mut findings = Vec::new();
    let (config, warnings) = check(&merged.table, &merged.whole, &mut findings);
    match config {
        Some(config) if findings.is_empty() => Ok(Loaded { config, warnings }),
        _ => Err(in_order(findings)),
    }
}

fn in_order(mut findings: Vec<Finding>) -> Findings {
    findings.sort();
    findings.dedup();
    Findings(findings)
}

/// Looks at the whole tree; a configuration is only there where nothing was found.
fn check(tree: &Table, whole: &Origin, findings: &mut Vec<Finding>) -> (Option<Config>, Vec<Finding>) {
    shape::check(tree, whole, findings);
    let report = Report::default();
    let sections = Sections {
        tree,
        whole,
        report: &report,
        absent: Node { origin: whole.clone(), value: Value::Table(Table::new()) },
    };
    let config = sections.config();
    findings.append(&mut report.findings.borrow_mut());
    let mut warnings = report.warnings.take();
    warnings.sort();
    (config, warnings)
}

struct Sections<'a> {
    tree: &'a Table,
    whole: &'a Origin,
    report: &'a Report,
    absent: Node,
}

impl Sections<'_> {
    /// The section of this name, empty where it is not there.
    fn section(&self, name: &str) -> Section<'_> {
        let there = self.tree.get(name).and_then(|node| Section::of(name.to_owned(), node, self.report));
        there.unwrap_or_else(|| {
            Section::of(name.to_owned(), &self.absent, self.report).expect("an empty table is a table")
        })
    }

    /// The named tables of a section, each by `parse`; what could not be parsed keeps its name, so that nobody who refers to it is blamed.
    fn named<N, T>(&self, section: &str, parse: impl Fn(&Section<'_>, &N) -> Option<T>) -> BTreeMap<N, Option<T>>
    where
        N: std::str::FromStr + Ord,
    {
        self.named_if(section, |_| true, parse)
    }

    /// The same for the tables that are wanted.
    fn named_if<N, T>(
        &self,
        section: &str,
        wanted: impl Fn(&Section<'_>) -> bool,
        parse: impl Fn(&Section<'_>, &N) -> Option<T>,
    ) -> BTreeMap<N, Option<T>>
    where
        N: std::str::FromStr + Ord,
    {
        let entries = self.section(section);
        let parsed = entries.entries().filter(|(_, entry)| wanted(entry)).filter_map(|(name, entry)| {
            let name = name.parse().ok()?;
            let value = parse(&entry, &name);
            Some((name, value))
        });
        parsed.collect()
    }

    fn config(&self) -> Option<Config> {
        let follows = shape::follows(self.tree);
        let daemon_section = self.section("daemon");
        let time_zone = daemon::time_zone(&daemon_section);
        let daemon = match follows {
            true => Some(Daemon::of_none()),
            false => daemon::parse(&daemon_section, time_zone),
        };
        let limits = daemon::limits(&self.section("limits"));
        let providers = self.named("providers", |section, _: &ProviderName| provider::parse(section));
        let policies = self.named("policies", |section, _: &PolicyName| policy::parse(section));
        let mut sinks = self.named("sinks", |section, _: &SinkName| outlet::sink(section));
        store::refuse_strange_providers(&self.section("sinks"), &providers, |name| {
            match sinks.get(&name.parse::<SinkName>().ok()?)?.as_ref()? {
                Sink::Store(sink) => Some(sink.store.clone()),
                Sink::File(_)
                | Sink::Command(_)
                | Sink::Aws(_)
                | Sink::Etcd(_)
                | Sink::Age(_)
                | Sink::SystemdCredential(_)
                | Sink::Http(_)
                | Sink::Vault(_)
                | Sink::Gcp(_)
                | Sink::Azure(_)
                | Sink::Kubernetes(_) => None,
            }
        });
        let templates = selection::take_templates(&mut sinks);
        let hooks = self.named("hooks", |section, _: &HookName| hook::parse(section));
        let around = follow::Around { sinks: &sinks, templates: &templates, hooks: &hooks };
        let followed = self.named("follow", |section, name| follow::followed(section, name, &around));
        let follower = follow::follower(&self.section("follower"), secret_ref::variables(self.tree));
        if follows {
            follow::refuse_sections_of_a_rotator(
                |name| self.tree.contains_key(name),
                |name, what| self.section(name).refuse("", refusal(what, "leave it out")),
            );
        }
        let watch = alert::watch(&self.section("watch"));
        let alerts = self.named("alerts", |section, _: &ChannelName| alert::channel(section));
        let freezes =
            self.named("freezes", |section, name| freeze::parse(section, name, time_zone, &self.section("targets")));
        let surroundings = target::Surroundings {
            time_zone,
            late_effect: limits.late_effect,
            providers: &providers,
            policies: &policies,
            sinks: &sinks,
            hooks: &hooks,
            accepted: &std::cell::RefCell::default(),
        };
        let is_selection = |entry: &Section<'_>| entry.has("select");
        let mut targets = self.named_if(
            "targets",
            |entry| !is_selection(entry),
            |section, name| target::parse(section, name, &surroundings),
        );
        let selections = self.named_if("targets", is_selection, |section, name| {
            selection::parse(section, name, &surroundings, &templates)
        });
        if let Some(daemon) = &daemon {
            daemon::refuse_what_would_be_lost(daemon, &self.section("targets"));
        }
        outlet::refuse_shared_spots(&self.section("sinks"), &sinks);
        adopt::refuse_strangers(&self.section("targets"), &sinks);
        target::refuse_lost_administrators(&self.section("targets"), &targets, &surroundings);
        selection::refuse_twins(&self.section("sinks"), &templates);
        selection::fill_in_for_written(&self.section("targets"), &mut targets, &templates, &providers);
        target::refuse_conflicts(&self.section("targets"), &targets, &surroundings);
        self.warn_of_unused();
        if !follows && self.section("targets").entries().next().is_none() {
            self.report.warnings.borrow_mut().push(Finding {
                origin: self.whole.clone(),
                key: "targets".to_owned(),
                what: "There is no target, so nothing will be rotated".to_owned(),
                next_step: Some("add a [targets.NAME]".to_owned()),
            });
        }
        Some(Config {
            daemon: daemon?,
            limits,
            providers: complete(providers)?,
            policies: complete(policies)?,
            sinks: complete(sinks.into_iter().filter(|(name, _)| !templates.contains_key(name)).collect())?,
            hooks: complete(hooks)?,
            watch,
            alerts: complete(alerts)?,
            freezes: complete(freezes)?,
            targets: complete(targets)?,
            selections: complete(selections)?,
            follow: complete(followed)?,
            follower,
            retired: BTreeMap::new(),
        })
    }

    /// What no target refers to.
    fn warn_of_unused(&self) {
        let targets = self.section("targets");
        for (section, key, plural) in [
            ("providers", "provider", false),
            ("policies", "policy", false),
            ("sinks", "sinks", true),
            ("hooks", "hooks", true),
        ] {
            let mut used = std::collections::BTreeSet::new();
            let sinks = self.section("sinks");
            used.extend(sinks.entries().filter_map(|(_, sink)| sink.text("provider")).filter(|_| key == "provider"));
            for (_, followed) in self.section("follow").entries() {
                used.extend(followed.texts(key));
                used.extend(followed.text("source").filter(|_| key == "sinks"));
            }
            for (_, target) in targets.entries() {
                used.extend(target.section("adopt").and_then(|adopt| adopt.text("sink")).filter(|_| key == "sinks"));
                match plural {
                    true => used.extend(target.texts(key)),
                    false if key == "provider" && target.has("select") => {
                        used.extend(target.section("select").and_then(|select| select.text(key)));
                    }
                    false => used.extend(target.text(key).or((key == "policy").then_some(policy::DEFAULT_NAME))),
                }
            }
            for (name, entry) in self.section(section).entries().filter(|(name, _)| !used.contains(name)) {
                let advice = format!("remove it, or name {name} in a target's {key}");
                entry.warn("", refusal("No target uses this", advice));
            }
        }
    }
}

fn complete<N: Ord, T>(parsed: BTreeMap<N, Option<T>>) -> Option<BTreeMap<N, T>> {
    parsed.into_iter().map(|(name, value)| Some((name, value?))).collect()
}
