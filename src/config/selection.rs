//! `[targets.NAME]` with `select`: one target for each instance that carries the tags.
//!
//! A selection keeps its table as it was written. For each instance the templates in it are filled in, and the result is parsed like the table of
//! any other target: so there is one place that knows what a target may say. Two instances that do not exist are tried when the
//! configuration is read; what does not fit them is found before the cloud was asked.

use super::document::{Node, Table, Value};
use super::finding::{Finding, Origin};
use super::outlet::Sink;
use super::provider::Provider;
use super::reading::{Report, Section, refusal};
use super::strategy;
use super::target::{self, Surroundings, Target};
use super::template::{Facts, is_template, render};
use super::waves;
use crate::name::{ProviderName, SinkName, TargetName};
use crate::rotation::plan::Recovery;
use crate::rotation::waves::Waves;
use crate::sink::file::Format;
use std::collections::BTreeMap;
use std::fmt;

/// The most tags of one selection: as many as Alibaba Cloud filters by at once.
const TAGS_LIMIT: usize = 5;

/// The longest key or value of a tag, in bytes.
const TAG_LIMIT: usize = 256;

/// The keys whose texts may be templates, beside `name` and the spot of a sink.
const TEMPLATES: [&[&str]; 4] = [&["login"], &["login", "url"], &["login", "tls-name"], &["adopt", "file"]];

/// Sinks whose spot is a template.
pub(super) type SinkTemplates = BTreeMap<SinkName, Sink>;

/// Targets that are found by tag.
#[derive(Clone)]
pub struct Selection {
    /// Where it looks.
    pub provider: ProviderName,
    /// What an instance must carry, all of it.
    pub tags: BTreeMap<String, String>,
    /// How its targets follow each other; `None` = at their time.
    pub waves: Option<Waves>,
    /// The template of the targets' names.
    name: String,
    /// `targets.NAME`
    path: String,
    origin: Origin,
    /// Everything else, as written.
    table: Table,
    /// The templates among its sinks.
    templates: SinkTemplates,
}

impl fmt::Debug for Selection {
    /// Without what was written: a value may be a secret in the wrong place.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Selection").field("path", &self.path).finish_non_exhaustive()
    }
}

/// Takes the sinks whose spot is a template out of the sinks; their names stay, so that nobody who refers to them is told that they do
/// not exist.
pub(super) fn take_templates(sinks: &mut BTreeMap<SinkName, Option<Sink>>) -> SinkTemplates {
    let mut templates = SinkTemplates::new();
    for (name, sink) in sinks {
        if sink.as_ref().and_then(Sink::spot).is_some_and(|spot| is_template(spot.text)) {
            templates.extend(sink.take().map(|sink| (name.clone(), sink)));
        }
    }
    templates
}

/// Fills the templates of sinks in for the targets that are written down. What only a cloud tells of an instance is not known of these.
pub(super) fn fill_in_for_written(
    targets: &Section<'_>,
    parsed: &mut BTreeMap<TargetName, Option<Target>>,
    templates: &SinkTemplates,
    providers: &BTreeMap<ProviderName, Option<Provider>>,
) {
    let mut taken: BTreeMap<String, TargetName> = BTreeMap::new();
    for (name, entry) in targets.entries_as_written().into_iter().filter(|(_, entry)| !entry.has("select")) {
        let Some(Some(target)) = name.parse().ok().and_then(|name: TargetName| parsed.get_mut(&name)) else { continue };
        let Ok(name) = name.parse::<TargetName>() else { continue };
        let facts = Facts::of_written(&name, target);
        let adopts_from = entry.section("adopt").and_then(|adopt| adopt.text("sink"));
        let sinks = entry.texts("sinks").into_iter().map(|text| ("sinks", text));
        for (key, text) in sinks.chain(adopts_from.map(|text| ("adopt", text))) {
            let template = text.parse().ok().and_then(|name: SinkName| templates.get_key_value(&name));
            let Some((sink_name, template)) = template else { continue };
            match Selection::own_sink(template, &facts) {
                Ok(own) => {
                    let whole = own.spot().map(|spot| spot.whole()).unwrap_or_default();
                    if let Some(other) = taken.insert(whole, name.clone()).filter(|other| *other != name) {
                        let noun = own.noun();
                        let what = format!("The {noun} of sink {text} already holds the password of target {other}");
                        entry.refuse(key, refusal(what, "put {{ target }} into it"));
                    }
                    let cloud = providers.get(&target.provider).and_then(Option::as_ref);
                    strategy::refuse_bare(&entry, target, cloud, text, &own);
                    let has_address = target.login.is_some() || cloud.and_then(Provider::own_nodes).is_some();
                    if !has_address && own.form() == Some(Format::Url) {
                        let what = format!("The sink {text} writes a URL, and this target has no login address");
                        entry.refuse(key, refusal(what, "add login = \"redis://HOST:PORT\" or choose another format"));
                    }
                    target.own_sinks.insert(sink_name.clone(), own);
                }
                Err(why) => {
                    let spot = template.spot().map_or("path", |spot| spot.key);
                    let what = format!("The {spot} of sink {text}: {why}");
                    entry.refuse(key, refusal(what, "write it with {{ target }} or {{ instance }}, or add select"));
                }
            }
        }
    }
}

/// Two templates of the same text would name the same places.
pub(super) fn refuse_twins(sinks: &Section<'_>, templates: &SinkTemplates) {
    let mut taken: BTreeMap<String, &SinkName> = BTreeMap::new();
    for (name, entry) in sinks.entries_as_written() {
        let known = name.parse().ok().and_then(|name: SinkName| templates.get_key_value(&name));
        if let Some((name, sink)) = known
            && let Some(spot) = sink.spot()
            && let Some(other) = taken.insert(spot.whole(), name)
        {
            let noun = sink.noun();
            let what = format!("The sink {other} writes the same {noun}s");
            entry.refuse(spot.key, refusal(what, format!("give each sink {noun}s of its own, or keep one of them")));
        }
    }
}

pub(super) fn parse(
    section: &Section<'_>,
    name: &TargetName,
    around: &Surroundings<'_>,
    templates: &SinkTemplates,
) -> Option<Selection> {
    let select = section.section("select")?;
    for key in ["provider", "instance"].into_iter().filter(|key| section.has(key)) {
        section.refuse(key, refusal("This key means nothing beside select", "remove it, or remove select"));
    }
    if section.has("acknowledged-by") {
        let what = "All targets that are found would share one statement, and each has generations of its own";
        section.refuse("acknowledged-by", refusal(what, "write the targets down that have it, or remove it"));
    }
    let provider = target::named(&select, "provider", select.text("provider"), around.providers);
    let cloud = provider.as_ref().and_then(|name| around.providers.get(name)?.as_ref());
    if cloud.is_some_and(|cloud| !cloud.can_list()) {
        let what = "This kind of provider cannot list its instances";
        select.refuse("provider", refusal(what, "write each instance as a target of its own"));
    }
    let tags = tags(&select);
    let mut table = section.table().clone();
    for key in ["select", "name", "waves", "provider", "instance"] {
        table.remove(key);
    }
    let selection = Selection {
        provider: provider?,
        tags: tags?,
        waves: waves::parse(section),
        name: section.text("name").map_or_else(|| format!("{name}-{{{{ instance }}}}"), str::to_owned),
        path: section.path.clone(),
        origin: section.origin.clone(),
        table,
        templates: SinkTemplates::new(),
    };
    let own = templates.iter().filter(|(name, _)| selection.names_sink(name));
    let templates = own.map(|(name, sink)| (name.clone(), sink.clone())).collect();
    let selection = Selection { templates, ..selection };
    selection.try_out(section, around);
    Some(selection)
}

fn tags(select: &Section<'_>) -> Option<BTreeMap<String, String>> {
    let section = select.section("tags")?;
    let pairs = section.keys().filter_map(|key| Some((key.to_owned(), section.text(key)?.to_owned())));
    let tags: BTreeMap<String, String> = pairs.collect();
    let written = section.keys().count();
    if written == 0 || written > TAGS_LIMIT {
        let what = format!("A selection names 1 to {TAGS_LIMIT} tags");
        select.refuse("tags", refusal(what, "write tags = { KEY = \"VALUE\" } as the instances carry them"));
        return None;
    }
    if tags.len() < written {
        // What is no text was found already.
        return None;
    }
    if tags.iter().any(|(key, value)| key.is_empty() || key.len() > TAG_LIMIT || value.len() > TAG_LIMIT) {
        let what = format!("A tag's key is not empty, and key and value have at most {TAG_LIMIT} bytes");
        select.refuse("tags", refusal(what, "copy them from the console"));
        return None;
    }
    Some(tags)
}

impl Selection {
    /// Where it stands, for findings about one of its instances.
    pub(super) fn place(&self) -> (&Origin, &str) {
        (&self.origin, &self.path)
    }

    /// Whether it delivers to this sink, or takes the first password from it.
    pub(super) fn names_sink(&self, name: &SinkName) -> bool {
        let delivers = match self.table.get("sinks").map(|node| &node.value) {
            Some(Value::List(items)) => {
                items.iter().any(|item| matches!(&item.value, Value::Text(text) if text == name.as_str()))
            }
            Some(_) | None => false,
        };
        delivers || text_at(&self.table, &["adopt", "sink"]) == Some(name.as_str())
    }

    /// Its sinks with a template for a spot: to try whether they can be made at all.
    pub fn templates(&self) -> impl Iterator<Item = (&SinkName, &Sink)> {
        self.templates.iter()
    }

    /// Tries it on two instances that do not exist.
    fn try_out(&self, section: &Section<'_>, around: &Surroundings<'_>) {
        let spots: Vec<&str> = self.templates.values().filter_map(|sink| Some(sink.spot()?.text)).collect();
        let written = TEMPLATES.iter().filter_map(|path| text_at(&self.table, path));
        let texts: Vec<&str> = [self.name.as_str()].into_iter().chain(spots).chain(written).collect();
        let [one, other] = [1, 2].map(|number| Facts::sample(number, &self.tags, &texts));
        let names = render(&self.name, &one).and_then(|first| Ok((first, render(&self.name, &other)?)));
        match &names {
            Err(why) => return section.refuse("name", refusal(why.clone(), ADVICE)),
            Ok((first, second)) if first == second => {
                let what = "Every instance would give its target the same name";
                return section.refuse("name", refusal(what, "write a template such as \"cache-{{ instance }}\""));
            }
            Ok(_) => {}
        }
        let (first, second) = names.unwrap_or_default();
        let sample = first.clone();
        let one = Facts { target: Some(first), ..one };
        self.try_sinks(section, around, [&one, &Facts { target: Some(second), ..other }]);
        let report = Report::default();
        // A spot that cannot be filled in was found above, and should not hide what else there is.
        let fits = |sink: &Sink| Self::own_sink(sink, &one).is_ok();
        let fitting = self.templates.iter().filter(|(_, sink)| fits(sink));
        let templates = fitting.map(|(name, sink)| (name.clone(), sink.clone())).collect();
        match (Self { templates, ..self.clone() }).filled_in(one, None, around, &report) {
            // What is wrong with this one is wrong with each of them.
            Err(Unfit { key, why }) if report.findings.borrow().is_empty() => section.refuse(key, refusal(why, ADVICE)),
            Err(Unfit { .. }) => report.findings.borrow().iter().for_each(|finding| section.pass_on(finding.clone())),
            Ok((_, target)) => {
                let cloud = around.providers.get(&self.provider).and_then(Option::as_ref);
                let shared = |name| around.sinks.get(name).and_then(Option::as_ref);
                for name in &target.sinks {
                    if let Some(sink) = target.own_sinks.get(name).or_else(|| shared(name)) {
                        strategy::refuse_bare(section, &target, cloud, name.as_str(), sink);
                    }
                }
                if !section.has("adopt") && target.recovery == Recovery::Halt {
                    let what = "No place is named for the passwords that work today, and no reset is allowed";
                    let next_step =
                        "add adopt or recovery = \"reset\", or run `keywheel adopt` for each instance that appears";
                    section.warn("adopt", refusal(what, next_step));
                }
            }
        }
        let about_adopt = |finding: &&Finding| finding.key.ends_with(".adopt");
        let warnings = report.warnings.borrow();
        // They are about each instance, and this one does not exist.
        let about_each = |finding: &Finding| Finding {
            what: finding.what.replace(&sample, "TARGET"),
            next_step: finding.next_step.as_ref().map(|text| text.replace(&sample, "TARGET")),
            ..finding.clone()
        };
        warnings
            .iter()
            .filter(|finding| !about_adopt(finding))
            .for_each(|finding| section.pass_on_warning(about_each(finding)));
    }

    /// Each target needs a spot of its own, so it must differ from instance to instance.
    fn try_sinks(&self, section: &Section<'_>, around: &Surroundings<'_>, [one, other]: [&Facts; 2]) {
        for text in section.texts("sinks") {
            let Ok(name) = text.parse::<SinkName>() else { continue };
            let advice = |spot: &str| format!("put a template such as {{{{ target }}}} into the sink's {spot}");
            let shared = around.sinks.get(&name).and_then(Option::as_ref);
            if let Some((sink, spot)) = shared.and_then(|sink| Some((sink, sink.spot()?))) {
                let what = format!("The {} of sink {text} would hold the passwords of several targets", sink.noun());
                section.refuse("sinks", refusal(what, advice(spot.key)));
            }
            let template = self.templates.get(&name);
            let Some((sink, spot)) = template.and_then(|sink| Some((sink, sink.spot()?))) else { continue };
            match (Self::own_sink(sink, one), Self::own_sink(sink, other)) {
                (Ok(one), Ok(other)) if one == other => {
                    let what = format!("The sink {text} would write one {} for all instances", sink.noun());
                    section.refuse("sinks", refusal(what, advice(spot.key)));
                }
                (Ok(_), Ok(_)) => {}
                (Err(why), _) | (_, Err(why)) => {
                    section.refuse("sinks", refusal(format!("The {} of sink {text}: {why}", spot.key), ADVICE));
                }
            }
            if sink.form() == Some(Format::Url) && !section.has("login") {
                let what = format!("The sink {text} writes a URL, and these targets have no login address");
                section.refuse(
                    "sinks",
                    refusal(what, "add login = \"redis://{{ host }}:{{ port }}\" or choose another format"),
                );
            }
        }
    }

    /// The target that an instance makes; one that has a `name` keeps it.
    ///
    /// # Errors
    /// Why it makes none, as a sentence without its full stop.
    pub(super) fn target(
        &self,
        facts: Facts,
        name: Option<&TargetName>,
        around: &Surroundings<'_>,
    ) -> Result<(TargetName, Target), String> {
        let report = Report::default();
        self.filled_in(facts, name, around, &report).map_err(|Unfit { key, why }| format!("its {key}: {why}"))
    }

    /// What the template calls an instance.
    ///
    /// # Errors
    /// Why it gives no name, as a sentence without its full stop.
    pub(super) fn name_of(&self, facts: &Facts) -> Result<TargetName, String> {
        render(&self.name, facts)?
            .parse()
            .map_err(|_| "the name that the template gives is none: 1 to 63 of a-z A-Z 0-9 . _ -".to_owned())
    }

    fn filled_in(
        &self,
        mut facts: Facts,
        name: Option<&TargetName>,
        around: &Surroundings<'_>,
        report: &Report,
    ) -> Result<(TargetName, Target), Unfit> {
        let unfit = |key: &'static str| move |why: String| Unfit { key, why };
        let name = name.map_or_else(|| self.name_of(&facts), |name| Ok(name.clone())).map_err(unfit("name"))?;
        facts.target = Some(name.to_string());
        let mut table = self.table.clone();
        for path in TEMPLATES {
            fill_in(&mut table, path, &facts).map_err(unfit(path[0]))?;
        }
        for (key, text) in [("provider", self.provider.to_string()), ("instance", facts.instance.clone())] {
            table.insert(key.to_owned(), Node { origin: self.origin.clone(), value: Value::Text(text) });
        }
        let own_sinks = self.own_sinks(&facts).map_err(unfit("sinks"))?;
        let sinks = own_sinks.iter().map(|(name, sink)| (name.clone(), Some(sink.clone())));
        let shared = around.sinks.iter().filter(|(name, _)| !own_sinks.contains_key(name));
        let around = Surroundings {
            sinks: &sinks.chain(shared.map(|(name, sink)| (name.clone(), sink.clone()))).collect(),
            ..*around
        };
        let node = Node { origin: self.origin.clone(), value: Value::Table(table) };
        let target = Section::of(self.path.clone(), &node, report)
            .and_then(|section| target::parse(&section, &name, &around))
            .filter(|_| report.findings.borrow().is_empty());
        let target = target.ok_or_else(|| {
            let findings = report.findings.borrow();
            let why = findings.first().map_or_else(|| "it cannot be used".to_owned(), |finding| finding.what.clone());
            unfit("settings")(why)
        })?;
        Ok((name, Target { own_sinks, ..target }))
    }

    pub(super) fn own_sink(template: &Sink, facts: &Facts) -> Result<Sink, String> {
        let Some(spot) = template.spot() else { return Ok(template.clone()) };
        template.at(render(spot.text, facts)?)
    }

    fn own_sinks(&self, facts: &Facts) -> Result<BTreeMap<SinkName, Sink>, String> {
        let own = self.templates.iter().map(|(name, sink)| {
            let key = sink.spot().map_or("path", |spot| spot.key);
            let own = Self::own_sink(sink, facts).map_err(|why| format!("the {key} of sink {name}: {why}"))?;
            Ok((name.clone(), own))
        });
        own.collect()
    }
}

/// What to do about a template.
const ADVICE: &str =
    "write it with {{ instance }}, {{ name }}, {{ host }}, {{ port }}, {{ tag.KEY }} or, but for name, {{ target }}";

/// Why an instance makes no target.
struct Unfit {
    key: &'static str,
    why: String,
}

fn text_at<'a>(table: &'a Table, path: &[&str]) -> Option<&'a str> {
    let (first, rest) = path.split_first()?;
    match (&table.get(*first)?.value, rest) {
        (Value::Text(text), []) => Some(text),
        (Value::Table(inner), [_, ..]) => text_at(inner, rest),
        (
            Value::Text(_) | Value::Number(_) | Value::Flag(_) | Value::Other(_) | Value::List(_) | Value::Table(_),
            _,
        ) => None,
    }
}

fn fill_in(table: &mut Table, path: &[&str], facts: &Facts) -> Result<(), String> {
    let Some((first, rest)) = path.split_first() else { return Ok(()) };
    match (table.get_mut(*first).map(|node| &mut node.value), rest) {
        (Some(Value::Text(text)), []) if is_template(text) => {
            *text = render(text, facts)?;
            Ok(())
        }
        (Some(Value::Table(inner)), [_, ..]) => fill_in(inner, rest, facts),
        (Some(_) | None, _) => Ok(()),
    }
}
