//! `[targets.NAME]` with `select`: one target for each instance that carries the tags.
//!
//! A selection keeps its table as it was written. For each instance the templates in it are filled in, and the result is parsed like the table of
//! any other target: so there is one place that knows what a target may say. Two instances that do not exist are tried when the
//! configuration is read; what does not fit them is found before the cloud was asked.

use super::document::{Node, Table, Value};
use super::finding::{Finding, Origin};
use super::outlet::{FileSink, Sink};
use super::reading::{Report, Section, absolute, refusal};
use super::strategy;
use super::target::{self, Surroundings, Target};
use super::template::{Facts, is_template, render};
use crate::name::{ProviderName, SinkName, TargetName};
use crate::rotation::plan::Recovery;
use crate::sink::file::{FILE_NAME_LIMIT, Format};
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

/// The most tags of one selection: as many as Alibaba Cloud filters by at once.
const TAGS_LIMIT: usize = 5;

/// The longest key or value of a tag, in bytes.
const TAG_LIMIT: usize = 256;

/// The keys whose texts may be templates, beside `name` and the path of a file sink.
const TEMPLATES: [&[&str]; 4] = [&["login"], &["login", "url"], &["login", "tls-name"], &["adopt", "file"]];

/// File sinks whose path is a template.
pub(super) type SinkTemplates = BTreeMap<SinkName, FileSink>;

/// Targets that are found by tag.
#[derive(Clone)]
pub struct Selection {
    /// Where it looks.
    pub provider: ProviderName,
    /// What an instance must carry, all of it.
    pub tags: BTreeMap<String, String>,
    /// The template of the targets' names.
    name: String,
    /// `targets.NAME`
    path: String,
    origin: Origin,
    /// Everything else, as written.
    table: Table,
    /// The file sinks among its sinks.
    files: SinkTemplates,
}

impl fmt::Debug for Selection {
    /// Without what was written: a value may be a secret in the wrong place.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Selection").field("path", &self.path).finish_non_exhaustive()
    }
}

/// Takes the file sinks whose path is a template out of the sinks; their names stay, so that nobody who refers to them is told that they do
/// not exist.
pub(super) fn take_templates(sinks: &mut BTreeMap<SinkName, Option<Sink>>) -> SinkTemplates {
    let mut templates = SinkTemplates::new();
    for (name, sink) in sinks {
        match sink {
            Some(Sink::File(file)) if file.path.to_str().is_some_and(is_template) => {
                templates.insert(name.clone(), file.clone());
                *sink = None;
            }
            Some(_) | None => {}
        }
    }
    templates
}

/// A template names many files, so it serves selections only, and two of the same text would name the same files.
pub(super) fn refuse_misplaced(sinks: &Section<'_>, targets: &Section<'_>, templates: &SinkTemplates) {
    for (_, entry) in targets.entries().filter(|(_, entry)| !entry.has("select")) {
        let adopts_from = entry.section("adopt").and_then(|adopt| adopt.text("sink"));
        let sinks = entry.texts("sinks").into_iter().map(|text| ("sinks", text));
        for (key, text) in sinks.chain(adopts_from.map(|text| ("adopt", text))) {
            if text.parse().is_ok_and(|name: SinkName| templates.contains_key(&name)) {
                let what =
                    format!("The path of sink {text} is a template, which only a target with select can fill in");
                entry.refuse(key, refusal(what, "give this target a sink of its own"));
            }
        }
    }
    let mut taken: BTreeMap<&Path, &SinkName> = BTreeMap::new();
    for (name, entry) in sinks.entries_as_written() {
        let known = name.parse().ok().and_then(|name: SinkName| templates.get_key_value(&name));
        if let Some((name, file)) = known
            && let Some(other) = taken.insert(&file.path, name)
        {
            let what = format!("The sink {other} writes the same files");
            entry.refuse("path", refusal(what, "give each sink files of its own, or keep one of them"));
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
    let provider = target::named(&select, "provider", select.text("provider"), around.providers);
    let cloud = provider.as_ref().and_then(|name| around.providers.get(name)?.as_ref());
    if cloud.is_some_and(|cloud| !cloud.can_list()) {
        let what = "This kind of provider cannot list its instances";
        select.refuse("provider", refusal(what, "write each instance as a target of its own"));
    }
    let tags = tags(&select);
    let mut table = section.table().clone();
    for key in ["select", "name", "provider", "instance"] {
        table.remove(key);
    }
    let selection = Selection {
        provider: provider?,
        tags: tags?,
        name: section.text("name").map_or_else(|| format!("{name}-{{{{ instance }}}}"), str::to_owned),
        path: section.path.clone(),
        origin: section.origin.clone(),
        table,
        files: SinkTemplates::new(),
    };
    let own = templates.iter().filter(|(name, _)| selection.names_sink(name));
    let files = own.map(|(name, file)| (name.clone(), file.clone())).collect();
    let selection = Selection { files, ..selection };
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

    /// Its file sinks with their templates for paths: to try whether they can be made at all.
    pub fn file_sinks(&self) -> impl Iterator<Item = (&SinkName, Sink)> {
        self.files.iter().map(|(name, file)| (name, Sink::File(file.clone())))
    }

    /// Tries it on two instances that do not exist.
    fn try_out(&self, section: &Section<'_>, around: &Surroundings<'_>) {
        let paths: Vec<&str> = self.files.values().filter_map(|file| file.path.to_str()).collect();
        let written = TEMPLATES.iter().filter_map(|path| text_at(&self.table, path));
        let texts: Vec<&str> = [self.name.as_str()].into_iter().chain(paths).chain(written).collect();
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
        // A path that cannot be filled in was found above, and should not hide what else there is.
        let fits = |file: &FileSink| Self::own_path(file, &one).is_ok();
        let files = self.files.iter().filter(|(_, file)| fits(file)).map(|(k, v)| (k.clone(), v.clone())).collect();
        match (Self { files, ..self.clone() }).filled_in(one, None, around, &report) {
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

    /// Each target needs a file of its own, so a file's path must differ from instance to instance.
    fn try_sinks(&self, section: &Section<'_>, around: &Surroundings<'_>, [one, other]: [&Facts; 2]) {
        let advice = "put a template such as {{ target }} into the sink's path";
        for text in section.texts("sinks") {
            let Ok(name) = text.parse::<SinkName>() else { continue };
            if let Some(Some(Sink::File(_))) = around.sinks.get(&name) {
                let what = format!("The file of sink {text} would hold the passwords of several targets");
                section.refuse("sinks", refusal(what, advice));
            }
            let Some(file) = self.files.get(&name) else { continue };
            match (Self::own_path(file, one), Self::own_path(file, other)) {
                (Ok(one), Ok(other)) if one == other => {
                    let what = format!("The sink {text} would write one file for all instances");
                    section.refuse("sinks", refusal(what, advice));
                }
                (Ok(_), Ok(_)) => {}
                (Err(why), _) | (_, Err(why)) => {
                    section.refuse("sinks", refusal(format!("The path of sink {text}: {why}"), ADVICE));
                }
            }
            if file.format == Format::Url && !section.has("login") {
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

    fn own_path(file: &FileSink, facts: &Facts) -> Result<PathBuf, String> {
        let path = render(file.path.to_str().unwrap_or_default(), facts)?;
        let path = absolute(&path).map_err(|refusal| refusal.0)?;
        match path.file_name() {
            Some(name) if name.len() <= FILE_NAME_LIMIT => Ok(path),
            Some(_) => Err(format!("the file's name would be longer than {FILE_NAME_LIMIT} bytes")),
            None => Err("it would not end in a file's name".to_owned()),
        }
    }

    fn own_sinks(&self, facts: &Facts) -> Result<BTreeMap<SinkName, Sink>, String> {
        let own = self.files.iter().map(|(name, file)| {
            let path = Self::own_path(file, facts).map_err(|why| format!("the path of sink {name}: {why}"))?;
            Ok((name.clone(), Sink::File(FileSink { path, ..file.clone() })))
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
