//! Where the API server of a cluster is and who keywheel is there, in `[sinks.NAME]` and `[hooks.NAME]`.

use super::reading::{Refusal, Section, refusal};
use super::secret_ref::SecretRef;
use std::path::PathBuf;
use std::time::Duration;

/// How long one request may take unless said otherwise.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The longest time one request may be given.
const TIMEOUT_LIMIT: Duration = Duration::from_secs(100);

/// The longest name of a Secret or a workload, in bytes ("Object Names and IDs": a DNS subdomain), and that of a namespace (a DNS label).
const NAME_LIMIT: usize = 253;
const LABEL_LIMIT: usize = 63;

/// An API server, and who keywheel is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KubernetesAccess {
    /// A kubeconfig; absent means the service account of the pod that keywheel runs in.
    pub kubeconfig: Option<SecretRef>,
    /// Which of its contexts; absent means the current one.
    pub context: Option<String>,
    /// Names of the daemon's variables that a program for credentials inherits.
    pub environment: Vec<String>,
    /// The namespace; absent means the pod's or the context's own.
    pub namespace: Option<String>,
    /// How long one request may take.
    pub timeout: Duration,
    /// Certificates (PEM) to trust instead of the cluster's.
    pub ca_file: Option<PathBuf>,
}

impl KubernetesAccess {
    /// Which cluster and namespace, as far as the settings say.
    pub(super) fn within(&self) -> String {
        let kubeconfig = self.kubeconfig.as_ref().map(SecretRef::to_string).unwrap_or_default();
        let words = [&self.context, &self.namespace].map(|word| word.as_deref().unwrap_or_default());
        format!("kubernetes {kubeconfig} {}", words.join(" "))
    }
}

/// Whether this can be an object's name.
pub(super) fn name(text: &str) -> Result<String, Refusal> {
    match text.len() <= NAME_LIMIT && text.split('.').all(is_label) {
        true => Ok(text.to_owned()),
        false => Err(refusal(
            "This is no name of an object in Kubernetes",
            "use a-z, 0-9, - and . and begin and end each part with a letter or digit",
        )),
    }
}

fn is_label(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !text.is_empty() && text.bytes().all(plain) && !text.starts_with('-') && !text.ends_with('-')
}

pub(super) fn access(section: &Section<'_>) -> Option<KubernetesAccess> {
    let kubeconfig = section.has("kubeconfig").then(|| SecretRef::parse(section, "kubeconfig"));
    for key in ["context", "environment"].into_iter().filter(|key| section.has(key) && kubeconfig.is_none()) {
        section.refuse(key, refusal("This key means nothing without kubeconfig", format!("add it, or remove {key}")));
    }
    let namespace = section.parsed("namespace", |text| match is_label(text) && text.len() <= LABEL_LIMIT {
        true => Ok(text.to_owned()),
        false => Err(refusal("This is no namespace's name", "use up to 63 of a-z, 0-9 and -")),
    });
    let environment: Vec<String> = section.texts("environment").into_iter().map(str::to_owned).collect();
    if environment.iter().any(|name| name.is_empty() || name.contains(['=', '\0'])) {
        let what = "These are names of variables that the program inherits, not values";
        section.refuse("environment", refusal(what, "write the names alone, such as [\"HOME\"]"));
    }
    // One that is written and cannot be used was refused; the pod's own account must not stand in for it.
    let kubeconfig = match kubeconfig {
        Some(kubeconfig) => Some(kubeconfig?),
        None => None,
    };
    Some(KubernetesAccess {
        kubeconfig,
        context: section.text("context").map(str::to_owned),
        environment,
        namespace,
        timeout: section.span_up_to("timeout", TIMEOUT_LIMIT).unwrap_or(TIMEOUT),
        ca_file: section.path("ca-file"),
    })
}
