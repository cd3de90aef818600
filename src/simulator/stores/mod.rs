//! The secret stores of both clouds: Tencent's Secrets Manager (SSM) and Alibaba's KMS. Both answer on the same port as everything else; the version
//! of their API tells a request for them apart.

mod alibaba;
mod tencent;

pub(super) use alibaba::KmsCall;
pub(super) use tencent::SsmCall;

use super::cloud::Cloud;
use super::head::{Head, only};
use crate::secret::Secret;
use std::collections::BTreeMap;

/// The most versions of one secret (Tencent, "PutSecretValue"; Alibaba, "PutSecretValue").
const VERSIONS_LIMIT: usize = 10;

/// Whether a request is meant for Tencent's store.
pub(super) fn is_tencents(head: &Head<'_>) -> bool {
    only(head.headers, "x-tc-version") == Some(tencent::VERSION)
}

/// Whether a request is meant for Alibaba's.
pub(super) fn is_alibabas(head: &Head<'_>) -> bool {
    only(head.headers, "x-acs-version") == Some(alibaba::VERSION)
}

/// Whose store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Store {
    /// Tencent Cloud's Secrets Manager.
    TencentSsm,
    /// Alibaba Cloud's KMS.
    AlibabaKms,
}

/// All secrets, by store and name.
pub(super) type Secrets = BTreeMap<(Store, String), Kept>;

/// One secret.
#[derive(Debug, Clone, Default)]
pub struct Kept {
    /// Its versions, oldest first.
    pub versions: Vec<KeptVersion>,
    /// Whether it is in use: `Enabled` at Tencent. A secret that is not is about to be deleted.
    pub disabled: bool,
    /// `SecretType` other than that of secrets that their owner writes.
    pub kind: Option<String>,
}

/// One version of a secret.
#[derive(Debug, Clone)]
pub struct KeptVersion {
    /// What its writer called it.
    pub id: String,
    /// What is in it.
    pub text: Secret,
    /// Its labels; Tencent knows none.
    pub labels: Vec<String>,
    /// How often something was written into it.
    pub writes: u64,
}

impl Kept {
    /// The version of this name.
    pub fn version(&self, id: &str) -> Option<&KeptVersion> {
        self.versions.iter().find(|version| version.id == id)
    }

    /// The version with this label.
    pub fn labelled(&self, label: &str) -> Option<&KeptVersion> {
        self.versions.iter().find(|version| version.labels.iter().any(|held| held == label))
    }

    fn add(&mut self, id: &str, text: &str, labels: Vec<String>) {
        labels.iter().for_each(|label| self.unlabel(label));
        let text = Secret::new(text.to_owned());
        self.versions.push(KeptVersion { id: id.to_owned(), text, labels, writes: 1 });
    }

    fn unlabel(&mut self, label: &str) {
        self.versions.iter_mut().for_each(|version| version.labels.retain(|held| held != label));
    }
}

/// Works on one secret.
fn with<T>(cloud: &Cloud, store: Store, name: &str, work: impl FnOnce(Option<&mut Kept>) -> T) -> T {
    work(cloud.state().secrets.get_mut(&(store, name.to_owned())))
}

/// Whether a name has these characters alone, beside letters and digits, and is no longer than this.
fn is_name(text: &str, longest: usize, others: &str) -> bool {
    (1..=longest).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || others.as_bytes().contains(&byte))
}
