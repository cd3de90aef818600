//! `[follow.NAME]` and `[follower]`: a configuration that rotates nothing, and renders what a rotator delivered elsewhere.

use super::LogForm;
use super::finding::suggestion;
use super::hook::Hook;
use super::outlet::Sink;
use super::reading::{Section, refusal};
use super::selection::{Selection, SinkTemplates};
use super::template::Facts;
use crate::hook::signal::SIGNALS;
use crate::moment::show_span;
use crate::name::{HookName, SinkName, TargetName};
use crate::sink::file::{Format as FileFormat, parts_held, parts_used};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// The sections that belong to a rotator. Beside them a follower's would be misunderstood.
const OF_A_ROTATOR: [&str; 6] = ["daemon", "limits", "policies", "watch", "alerts", "targets"];

/// How often a file on this machine is looked at.
const LOCAL: Duration = Duration::from_millis(500);
/// How often a store is asked that answers cheaply.
const NEAR: Duration = Duration::from_secs(1);
/// How often something is asked that runs a program, or somebody's own service.
const OWN: Duration = Duration::from_secs(5);
/// How often a store is asked whose requests are counted.
const METERED: Duration = Duration::from_secs(30);

/// The shortest time between two looks.
const SHORTEST: Duration = Duration::from_millis(50);
/// The longest time between two looks.
const LONGEST: Duration = Duration::from_secs(3_600);

/// How long an application may take to stop unless said otherwise.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest time that it may be given.
const STOP_LIMIT: Duration = Duration::from_secs(3_600);

/// A target that is followed.
#[derive(Debug, Clone)]
pub struct Followed {
    /// The sink that is read, by its name.
    pub source: SinkName,
    /// The sink itself.
    pub from: Sink,
    /// How often it is looked at.
    pub every: Duration,
    /// What is rendered on this machine.
    pub sinks: BTreeMap<SinkName, Sink>,
    /// Who is told.
    pub hooks: Vec<HookName>,
}

/// The follower's own settings.
#[derive(Debug, Clone)]
pub struct Follower {
    /// What log lines look like.
    pub log: LogForm,
    /// What happens to the application when what was rendered changes.
    pub on_change: OnChange,
    /// What asks the application to stop, a signal's name.
    pub stop_signal: &'static str,
    /// When it is killed if it does not.
    pub stop_timeout: Duration,
    /// How long the application may have to wait for its first password.
    pub wait_at_most: Option<Duration>,
    /// Variables in which this configuration finds secrets: they are not the application's.
    pub private_variables: BTreeSet<String>,
}

/// What happens to the application on a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnChange {
    /// It is stopped and started.
    Restart,
    /// It gets a signal.
    Signal(&'static str),
    /// Nothing: it looks for itself.
    Nothing,
}

/// What a follower's table may refer to.
pub(super) struct Around<'a> {
    pub sinks: &'a BTreeMap<SinkName, Option<Sink>>,
    pub templates: &'a SinkTemplates,
    pub hooks: &'a BTreeMap<HookName, Option<Hook>>,
}

/// Says of each section of a rotator that it means nothing here.
pub(super) fn refuse_sections_of_a_rotator(
    section: impl Fn(&'static str) -> bool,
    refuse: impl Fn(&'static str, &str),
) {
    for name in OF_A_ROTATOR.into_iter().filter(|name| section(name)) {
        refuse(name, "A configuration with [follow] rotates nothing, and this section belongs to one that does");
    }
}

pub(super) fn follower(section: &Section<'_>, private_variables: BTreeSet<String>) -> Follower {
    let names = SIGNALS.map(|(name, _)| (name, name));
    let mut changes = vec![("restart", OnChange::Restart), ("none", OnChange::Nothing)];
    changes.extend(SIGNALS.map(|(name, _)| (name, OnChange::Signal(name))));
    Follower {
        log: section.choice("log", &[("human", LogForm::Human), ("json", LogForm::Json)]).unwrap_or_default(),
        on_change: section.choice("on-change", &changes).unwrap_or(OnChange::Restart),
        stop_signal: section.choice("stop-signal", &names).unwrap_or("TERM"),
        stop_timeout: section.span_up_to("stop-timeout", STOP_LIMIT).unwrap_or(STOP_TIMEOUT),
        wait_at_most: section.span("wait-at-most"),
        private_variables,
    }
}

pub(super) fn followed(section: &Section<'_>, target: &TargetName, around: &Around<'_>) -> Option<Followed> {
    let source = section.text("source").and_then(|text| around.sink(section, "source", text, target));
    let bare = |from: &Sink| {
        matches!(from, Sink::Command(_)).then_some(("its program prints a password alone", "name another sink"))
    };
    if let Some((name, Some(from))) = &source
        && let Some((what, next_step)) = from.obstacle_to_reading().or_else(|| bare(from))
    {
        section.refuse("source", refusal(format!("The sink {name} cannot be followed: {what}"), next_step));
    }
    let every = section.span_up_to("every", LONGEST);
    if every.is_some_and(|every| every < SHORTEST) {
        let what = format!("Nobody needs to look more often than every {}", show_span(SHORTEST));
        section.refuse("every", refusal(what, "write 500ms or more"));
    }
    let texts = section.texts("sinks");
    if texts.is_empty() {
        section.refuse(
            "sinks",
            refusal("What is followed has to be rendered somewhere", "name a sink with kind = \"file\""),
        );
    }
    let mut sinks = BTreeMap::new();
    for text in texts {
        let Some((name, sink)) = around.sink(section, "sinks", text, target) else { continue };
        let Some(sink) = sink else { continue };
        if section.text("source") == Some(text) {
            section.refuse("sinks", refusal(format!("The sink {name} cannot follow itself"), "name another sink"));
        }
        if let Some(what) = not_local(&sink) {
            let next_step = "name a sink with kind = \"file\"; the rotator delivers to all others";
            section.refuse("sinks", refusal(format!("The sink {name} {what}"), next_step));
        } else if let Some((_, Some(from))) = &source {
            refuse_what_is_not_held(section, &name, &sink, from);
        }
        sinks.insert(name, sink);
    }
    let hooks = section.texts("hooks").into_iter().filter_map(|text| around.hook(section, text)).collect();
    let (source, from) = source?;
    let from = from?;
    let every = every.unwrap_or_else(|| usual_pace(&from));
    Some(Followed { source, from, every, sinks, hooks })
}

impl Around<'_> {
    /// The sink of this name, filled in for the target; without the sink where it was found wanting elsewhere.
    fn sink(
        &self,
        section: &Section<'_>,
        key: &str,
        text: &str,
        target: &TargetName,
    ) -> Option<(SinkName, Option<Sink>)> {
        let name: Option<SinkName> = text.parse().ok();
        if let Some((name, template)) = name.as_ref().and_then(|name| self.templates.get_key_value(name)) {
            let own = Selection::own_sink(template, &Facts::of_followed(target)).map_err(|why| {
                let spot = template.spot().map_or("path", |spot| spot.key);
                let what = format!("The {spot} of sink {name}: {why}");
                section.refuse(key, refusal(what, "write it with {{ target }}, the name under [follow]"));
            });
            return Some((name.clone(), own.ok()));
        }
        match name.and_then(|name| self.sinks.get_key_value(&name)) {
            Some((name, sink)) => Some((name.clone(), sink.clone())),
            None => {
                let names: Vec<&str> = self.sinks.keys().map(SinkName::as_str).collect();
                let next_step = suggestion(text, &names, "add a [sinks.NAME] first");
                section.refuse(key, refusal("There is no such sink", next_step));
                None
            }
        }
    }

    fn hook(&self, section: &Section<'_>, text: &str) -> Option<HookName> {
        let name = text.parse().ok().filter(|name: &HookName| self.hooks.contains_key(name));
        if name.is_none() {
            let names: Vec<&str> = self.hooks.keys().map(HookName::as_str).collect();
            let next_step = suggestion(text, &names, "add a [hooks.NAME] first");
            section.refuse("hooks", refusal("There is no such hook", next_step));
        }
        name
    }
}

/// What renders on this machine is a file.
fn not_local(sink: &Sink) -> Option<&'static str> {
    match sink {
        Sink::File(_) | Sink::Age(_) | Sink::SystemdCredential(_) => None,
        Sink::Command(_)
        | Sink::Store(_)
        | Sink::Aws(_)
        | Sink::Etcd(_)
        | Sink::Http(_)
        | Sink::Vault(_)
        | Sink::Gcp(_)
        | Sink::Azure(_)
        | Sink::Kubernetes(_) => Some("is no file on this machine"),
    }
}

/// How often a source is looked at unless said otherwise.
fn usual_pace(source: &Sink) -> Duration {
    match source {
        Sink::File(_) | Sink::Age(_) => LOCAL,
        Sink::Etcd(_) | Sink::Vault(_) | Sink::Kubernetes(_) => NEAR,
        Sink::SystemdCredential(_) | Sink::Http(_) | Sink::Command(_) => OWN,
        Sink::Store(_) | Sink::Aws(_) | Sink::Gcp(_) | Sink::Azure(_) => METERED,
    }
}

fn refuse_what_is_not_held(section: &Section<'_>, name: &SinkName, sink: &Sink, source: &Sink) {
    let (Some(form), template) = (sink.form(), sink.template()) else { return };
    let held = parts_held(source.form().unwrap_or(FileFormat::Json), source.fields());
    let missing = parts_used(form, sink.fields(), template).into_iter().find(|part| !held.contains(part));
    if let Some(part) = missing {
        let what = format!("The sink {name} writes the part {part}, which its source does not hold");
        let next_step =
            format!("choose its format or fields without {part}, or have the rotator deliver it to the source");
        section.refuse("sinks", refusal(what, next_step));
    }
}
