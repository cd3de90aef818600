//! The key `acknowledged-by` of a target: where its consumer says which generation it uses.

use super::outlet::web_address;
use super::reading::{Section, refusal};
use super::secret_ref::SecretRef;
use crate::rotation::plan::Strategy;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;
use url::Url;

/// How long the consumer may take to answer unless said otherwise.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The longest time it may be given.
const TIMEOUT_LIMIT: Duration = Duration::from_secs(60);

/// Where a consumer says which generation it uses.
#[derive(Clone, PartialEq, Eq)]
pub enum Consumer {
    /// In a file.
    File(PathBuf),
    /// At a URL.
    Url {
        /// The URL.
        url: Url,
        /// A bearer token.
        token: Option<SecretRef>,
        /// How long it may take to answer.
        timeout: Duration,
        /// Certificates (PEM) to trust instead of the machine's.
        ca_file: Option<PathBuf>,
    },
}

impl fmt::Debug for Consumer {
    /// Without the URL, whose path and query may hold a token.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => formatter.debug_tuple("File").field(path).finish(),
            Self::Url { .. } => formatter.write_str("Url(…)"),
        }
    }
}

/// What stands at the key; `None` where nothing does, or nothing usable.
pub(super) fn parse(section: &Section<'_>, strategy: Option<&Strategy>) -> Option<Consumer> {
    let table = section.section("acknowledged-by")?;
    if strategy == Some(&Strategy::InPlace) {
        let what = "The former password is gone with the change, so nothing could wait for the consumer";
        section.refuse("acknowledged-by", refusal(what, "set strategy = \"alternate\" or \"overlap\", or remove it"));
    }
    match (table.has("file"), table.has("url")) {
        (true, false) => {
            for key in ["token", "ca-file", "timeout"].into_iter().filter(|key| table.has(key)) {
                table.refuse(key, refusal("This key means nothing for a file", "remove it"));
            }
            table.path("file").map(Consumer::File)
        }
        (false, true) => {
            let url = table.parsed("url", web_address);
            let token = SecretRef::if_written(&table, "token");
            let timeout = table.span_up_to("timeout", TIMEOUT_LIMIT).unwrap_or(TIMEOUT);
            Some(Consumer::Url { url: url?, token: token?, timeout, ca_file: table.path("ca-file") })
        }
        (true, true) | (false, false) => {
            let what = "A consumer says it in a file or at a URL";
            section.refuse(
                "acknowledged-by",
                refusal(what, "write { file = \"/run/orders/generation\" } or { url = \"https://…\" }"),
            );
            None
        }
    }
}
