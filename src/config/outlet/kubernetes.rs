//! `kind = "kubernetes"`: a Secret.

use super::super::kubernetes::{self, KubernetesAccess};
use super::super::reading::{Section, refusal};
use super::super::template::is_template;
use super::fields;
use crate::sink::file::Format as FileFormat;
use std::collections::BTreeMap;

/// The one of Kubernetes' own types that a password fits, and the keys it wants one of.
const BASIC_AUTH: &str = "kubernetes.io/basic-auth";
const BASIC_AUTH_KEYS: [&str; 2] = ["username", "password"];

/// The longest type and the longest label, in bytes.
const TYPE_LIMIT: usize = 253;
const LABEL_LIMIT: usize = 63;

/// A Secret for each target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KubernetesSink {
    /// Which cluster, and as whom.
    pub access: KubernetesAccess,
    /// The Secret's name, perhaps a template.
    pub secret: String,
    /// Its type, where it is to be another than `Opaque`.
    pub kind: Option<String>,
    /// Labels that it gets.
    pub labels: BTreeMap<String, String>,
    /// Which parts of the document it holds, and what each is called.
    pub fields: Option<BTreeMap<String, String>>,
    /// Whether a Secret that is not there is made.
    pub create: bool,
    /// Whether fields that others decide about are taken over.
    pub force: bool,
}

impl KubernetesSink {
    /// The same for another Secret.
    ///
    /// # Errors
    /// Why that is no Secret's name, as a sentence without its full stop.
    pub(super) fn at(&self, text: &str) -> Result<Self, String> {
        let secret = kubernetes::name(text).map_err(|refusal| refusal.0)?;
        Ok(Self { secret, ..self.clone() })
    }
}

pub(super) fn parse(section: &Section<'_>) -> Option<KubernetesSink> {
    let access = kubernetes::access(section);
    let secret = section.parsed("secret", |text| match is_template(text) {
        true => Ok(text.to_owned()),
        false => kubernetes::name(text),
    });
    let kind = section.parsed("type", |text| match text {
        BASIC_AUTH => Ok(text.to_owned()),
        _ if text.starts_with("kubernetes.io/") => Err(refusal(
            "Kubernetes keeps Secrets of this type for something other than a password",
            format!("write Opaque, {BASIC_AUTH}, or a type of your own"),
        )),
        _ if text.is_empty() || text.len() > TYPE_LIMIT => {
            Err(refusal("This is no Secret's type", format!("write Opaque, {BASIC_AUTH}, or a type of your own")))
        }
        _ => Ok(text.to_owned()),
    });
    let fields = fields(section, |fields| FileFormat::Json.names(Some(fields)).map(drop));
    let lacks_both =
        |fields: &BTreeMap<String, String>| !fields.values().any(|name| BASIC_AUTH_KEYS.contains(&name.as_str()));
    if kind.as_deref() == Some(BASIC_AUTH) && fields.as_ref().is_some_and(lacks_both) {
        let what = "A Secret of this type has a key username or password";
        section.refuse("fields", refusal(what, "call user username, or password password"));
    }
    let labels = labels(section);
    Some(KubernetesSink {
        access: access?,
        secret: secret?,
        kind,
        labels: labels?,
        fields,
        create: section.flag("create").unwrap_or(false),
        force: section.flag("force").unwrap_or(false),
    })
}

/// Labels as the server takes them ("Labels and Selectors").
fn labels(section: &Section<'_>) -> Option<BTreeMap<String, String>> {
    let Some(table) = section.section("labels") else { return Some(BTreeMap::new()) };
    let word = |text: &str| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        let ends = |text: &str| {
            let of = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
            of(text.as_bytes().first()) && of(text.as_bytes().last())
        };
        text.len() <= LABEL_LIMIT && text.bytes().all(plain) && ends(text)
    };
    let is_key = |key: &str| match key.split_once('/') {
        Some((prefix, name)) => kubernetes::name(prefix).is_ok() && word(name),
        None => word(key),
    };
    let mut labels = BTreeMap::new();
    for key in table.keys() {
        let Some(value) = table.text(key) else { continue };
        if !is_key(key) || !(value.is_empty() || word(value)) {
            let next_step = "write such as { \"app.kubernetes.io/part-of\" = \"orders\" }";
            section.refuse("labels", refusal("There is a label in this that Kubernetes does not take", next_step));
            return None;
        }
        labels.insert(key.to_owned(), value.to_owned());
    }
    Some(labels)
}
