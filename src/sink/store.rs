//! A vendor's secret store as a sink sees it: calls by name, and what a refusal of one means for a delivery. The vendor's signature, pace and
//! credentials are the provider's business.

pub mod secret;

use crate::fault::{Fault, Kind, Retry};
use crate::secret::Secret;
use crate::sink::Document;
use async_trait::async_trait;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// One call of a store's API.
#[derive(Debug, Clone, Copy)]
pub struct StoreCall<'a> {
    /// The action by the vendor's name.
    pub action: &'static str,
    /// Its parameters by the vendor's names.
    pub parameters: &'a [(&'static str, &'a str)],
    /// What the vendor's words must not repeat.
    pub secrets: &'a [&'a Secret],
    /// Whether it changes anything.
    pub writes: bool,
}

/// The API of a secret store, as one identity calls it in one region.
///
/// Duties: an answer is bounded in size and time; nothing is sent twice unless the store certainly did not act; no error repeats a secret.
#[async_trait]
pub trait StoreApi: Send + Sync {
    /// Calls an action and gives the fields of its answer.
    ///
    /// # Errors
    /// What the store said, or that it said nothing; after a write without a code, it may have acted.
    async fn call(&self, call: StoreCall<'_>) -> Result<Value, StoreFailure>;
}

/// Why a call brought nothing.
#[derive(Debug)]
pub struct StoreFailure {
    /// The store's own code; absent where it gave none.
    pub code: Option<String>,
    /// What happened.
    pub fault: Fault,
}

impl StoreFailure {
    /// Whether the store gave this code, or a detail of it.
    pub fn is(&self, code: &str) -> bool {
        let rest = self.code.as_deref().and_then(|said| said.strip_prefix(code));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    }

    /// What this means for a delivery: somebody must do something first, or it passes. Either way it is tried again: nothing but a look shows
    /// that something was done.
    pub fn of_sink(self) -> Fault {
        let Fault { kind, what, next_step, retry } = self.fault;
        let needs_a_person = retry == Retry::Never;
        let advised = needs_a_person || kind == Kind::CredentialMissing;
        let fault = Fault::new(if needs_a_person { Kind::SinkDenied } else { Kind::SinkUnavailable }, what);
        let fault = if advised {
            // A sink is never halted, so nothing has to be resumed.
            let mend = next_step.split(", then `keywheel recover").next().unwrap_or_default();
            fault.advise(mend)
        } else {
            fault
        };
        match retry {
            Retry::AfterMillis(millis) => fault.after(std::time::Duration::from_millis(millis)),
            Retry::Later | Retry::Never => fault,
        }
    }
}

/// The calls about one secret of a store.
pub(super) struct SecretCalls<'a> {
    pub(super) api: &'a dyn StoreApi,
    /// The vendor, for people.
    pub(super) vendor: &'static str,
    /// The secret's name.
    pub(super) secret: &'a str,
}

impl SecretCalls<'_> {
    /// An action that looks, with these parameters beside the secret's name.
    pub(super) async fn read<T: DeserializeOwned>(
        &self,
        action: &'static str,
        more: &[(&'static str, &str)],
    ) -> Result<T, StoreFailure> {
        self.call(action, more, (false, &[])).await
    }

    /// An action that changes something; the store's words must not repeat what is secret in the document.
    pub(super) async fn write(
        &self,
        action: &'static str,
        more: &[(&'static str, &str)],
        document: Option<&Document>,
    ) -> Result<(), StoreFailure> {
        let secrets = document.map(secret::secrets).unwrap_or_default();
        let secrets: Vec<&Secret> = secrets.iter().collect();
        self.call(action, more, (true, &secrets)).await.map(|_: Value| ())
    }

    async fn call<T: DeserializeOwned>(
        &self,
        action: &'static str,
        more: &[(&'static str, &str)],
        (writes, secrets): (bool, &[&Secret]),
    ) -> Result<T, StoreFailure> {
        let mut parameters = vec![("SecretName", self.secret)];
        parameters.extend_from_slice(more);
        let answer = self.api.call(StoreCall { action, parameters: &parameters, secrets, writes }).await?;
        serde_json::from_value(answer).map_err(|_| StoreFailure {
            code: None,
            fault: Fault::new(Kind::Unanswered, format!("{} {action} gave an answer of the wrong shape", self.vendor)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(code: &str, fault: Fault) -> StoreFailure {
        StoreFailure { code: (!code.is_empty()).then(|| code.to_owned()), fault }
    }

    #[test]
    fn a_code_is_known_with_every_detail() {
        let said = |code: &str| failure(code, Fault::new(Kind::NotFound, "x"));
        for (code, asked, known) in [
            ("ResourceNotFound", "ResourceNotFound", true),
            ("ResourceNotFound.SecretNotExist", "ResourceNotFound", true),
            ("ResourceNotFoundX", "ResourceNotFound", false),
            ("ResourceNotFound", "ResourceNotFound.SecretNotExist", false),
            ("", "", false),
        ] {
            assert_eq!(said(code).is(asked), known, "{code} {asked}");
        }
    }

    #[test]
    fn a_refusal_for_a_person_is_told_from_one_that_passes() {
        for (kind, expected, advice) in [
            (Kind::Denied, Kind::SinkDenied, "mend it"),
            (Kind::CredentialRefused, Kind::SinkDenied, "mend it"),
            (Kind::CredentialMissing, Kind::SinkUnavailable, "mend it"),
            (Kind::Throttled, Kind::SinkUnavailable, Kind::SinkUnavailable.next_step()),
            (Kind::Unanswered, Kind::SinkUnavailable, Kind::SinkUnavailable.next_step()),
        ] {
            let fault = Fault::new(kind, "what").advise("mend it, then `keywheel recover TARGET --resume`");
            let fault = failure("", fault).of_sink();
            assert_eq!(
                (fault.kind, fault.next_step.as_str(), fault.retry),
                (expected, advice, Retry::Later),
                "{kind:?}"
            );
        }
        let wait = Fault::new(Kind::Throttled, "x").after(std::time::Duration::from_secs(7));
        assert_eq!(failure("", wait).of_sink().retry, Retry::AfterMillis(7_000));
    }
}
