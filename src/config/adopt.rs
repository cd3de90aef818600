//! Where the password that works today can be taken from: wherever a secret is kept, or a sink that can be read back.

use super::finding::suggestion;
use super::outlet::Sink;
use super::reading::{Section, refusal, shown};
use super::schema::PASSWORD_REFERENCE;
use super::secret_ref::SecretRef;
use crate::fault::{Fault, Kind};
use crate::name::SinkName;
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

/// What may stand after `--from`.
const WORDS: &str = "file:/path, env:NAME, credential:NAME, sink:NAME, or - for standard input";

/// A place that holds a password of an instance.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum PasswordRef {
    /// A place that holds a secret.
    Secret(SecretRef),
    /// A sink that can be read back.
    Sink(SinkName),
}

impl fmt::Display for PasswordRef {
    /// In words, for faults.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Secret(reference) => reference.fmt(formatter),
            Self::Sink(name) => write!(formatter, "the sink {name}"),
        }
    }
}

impl PasswordRef {
    /// The reference as one word of a command line: `file:/path`, `env:NAME`, `credential:NAME` or `sink:NAME`.
    ///
    /// # Errors
    /// `Usage`; the word is not repeated, since it could be a password in the wrong place.
    pub fn from_word(word: &str) -> Result<Self, Fault> {
        let (kind, rest) = word.split_once(':').unwrap_or_default();
        let name = |what: &str| {
            Err(Fault::new(Kind::Usage, format!("what stands after {kind}: in --from is not {what}"))
                .advise(format!("write {WORDS}")))
        };
        match kind {
            "file" if rest.is_empty() || rest.contains('\0') => name("a path"),
            "file" => Ok(Self::Secret(SecretRef::File(PathBuf::from(rest)))),
            "env" if !SecretRef::is_variable(rest) => name("the name of a variable"),
            "env" => Ok(Self::Secret(SecretRef::Env(rest.to_owned()))),
            "credential" if !SecretRef::is_credential(rest) => name("the name of a credential"),
            "credential" => Ok(Self::Secret(SecretRef::Credential(rest.to_owned()))),
            "sink" => rest.parse().map(Self::Sink).or_else(|_| name("the name of a sink")),
            _ => Err(Fault::new(Kind::Usage, "what stands after --from does not say where the password is kept")
                .advise(format!(
                    "write {WORDS}; a password itself never stands on a command line, where others can read it"
                ))),
        }
    }

    /// The reference at a target's key `adopt`.
    pub(super) fn parse(target: &Section<'_>, sinks: &BTreeMap<SinkName, Option<Sink>>) -> Option<Self> {
        let table = target.section("adopt")?;
        let kinds: Vec<&str> = PASSWORD_REFERENCE.iter().map(|key| key.name).filter(|kind| table.has(kind)).collect();
        match kinds[..] {
            ["sink"] => {}
            [_] => return SecretRef::parse(target, "adopt").map(Self::Secret),
            _ => {
                let next_step = "write exactly one of { env = \"NAME\" }, { file = \"/path\" }, { credential = \"name\" } and { sink = \"name\" }";
                target.refuse("adopt", refusal("This does not say where the password is kept", next_step));
                return None;
            }
        }
        let text = table.text("sink")?;
        let Some((name, sink)) = text.parse().ok().and_then(|name: SinkName| sinks.get_key_value(&name)) else {
            let names: Vec<&str> = sinks.keys().map(SinkName::as_str).collect();
            table
                .refuse("sink", refusal("There is no such sink", suggestion(text, &names, "add a [sinks.NAME] first")));
            return None;
        };
        if let Some(obstacle) = sink.as_ref().and_then(Sink::obstacle_to_reading) {
            table.refuse("sink", refusal(format!("The sink {name} cannot be read back: {}", obstacle.0), obstacle.1));
            return None;
        }
        Some(Self::Sink(name.clone()))
    }
}

/// A file or a secret holds the password of the target whose sink it is: nobody else's is found there.
pub(super) fn refuse_strangers(targets: &Section<'_>, sinks: &BTreeMap<SinkName, Option<Sink>>) {
    let of_one = |name: &str| {
        let sink = sinks.get(&name.parse::<SinkName>().ok()?)?.as_ref()?;
        sink.spot().map(|_| sink.noun())
    };
    let entries = targets.entries_as_written();
    let mut owners: BTreeMap<&str, &str> = BTreeMap::new();
    for (name, entry) in &entries {
        for sink in entry.texts("sinks") {
            owners.entry(sink).or_insert(name);
        }
    }
    for (name, entry) in &entries {
        let Some(table) = entry.section("adopt") else { continue };
        let Some((sink, noun)) = table.text("sink").and_then(|sink| Some((sink, of_one(sink)?))) else { continue };
        if let Some(owner) = owners.get(sink).filter(|owner| *owner != name) {
            let what = format!("The {noun} of sink {sink} holds the password of target {}", shown(owner));
            table.refuse("sink", refusal(what, "name a sink that holds this target's own"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_word_of_the_command_line_is_understood() {
        for (word, shown) in [
            ("file:/etc/keywheel/initial", "the file /etc/keywheel/initial"),
            ("file:a:b", "the file a:b"),
            ("env:ORDERS_INITIAL", "the variable ORDERS_INITIAL"),
            ("credential:orders-initial", "the credential orders-initial"),
            ("sink:orders-env", "the sink orders-env"),
        ] {
            assert_eq!(PasswordRef::from_word(word).unwrap().to_string(), shown);
        }
    }

    #[test]
    fn what_is_no_reference_is_not_repeated() {
        for word in [
            "hunter2",
            "",
            "/hunter2",
            "env:hunter2=",
            "env:",
            "file:",
            "credential:.hunter2",
            "sink:hunter2 x",
            "vault:hunter2",
        ] {
            let fault = PasswordRef::from_word(word).unwrap_err();
            assert_eq!(fault.kind, Kind::Usage, "{word}");
            assert!(!fault.to_string().contains("hunter2") && fault.next_step.contains("file:/path"), "{fault}");
        }
    }
}
