//! One call: paced, signed, sent, read; sent again only where the cloud certainly did not act.

use super::answer::fault;
use super::codes::{is_missing, verdict};
use super::wire::{self, Request};
use super::{Alibaba, Nonces, ParametersIn};
use crate::fault::{Fault, Kind, Retry};
use crate::http::{Client, Effect, RETRY_AFTER_LIMIT, Reply, SendError};
use crate::name::RotationId;
use crate::pacer::Pacers;
use crate::provider::Now;
use crate::provider::credential::{Credential, CredentialSource};
use crate::provider::finding::gap_sentence;
use crate::provider::outcome::{Coded, Failed, Spoken, Verdict};
use crate::rotation::answer::Refusal;
use crate::secret::Secret;
use crate::sign::Signer;
use crate::sign::acs3::{Head, encode, percent_encoded, sign};
use serde::de::DeserializeOwned;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use zeroize::Zeroizing;

/// What we call ourselves in `User-Agent`.
const CLIENT: &str = concat!("keywheel/", env!("CARGO_PKG_VERSION"));

/// How long the gateway asks us to wait, in milliseconds (vendor's SDKs; it goes before any computed back-off).
const RETRY_AFTER: &str = "x-acs-retry-after";

/// Whoever calls one product in one region with one identity.
pub(super) struct Caller {
    pub(super) client: Client,
    pub(super) pacers: Pacers,
    pub(super) parameters_in: ParametersIn,
    pub(super) credentials: Arc<dyn CredentialSource>,
    pub(super) now: Now,
    pub(super) nonces: Nonces,
    /// The last call that succeeded had its parameters in the query.
    pub(super) query_works: AtomicBool,
    /// The cloud's clock less ours, in milliseconds, as the last answer showed it.
    pub(super) clock_gap: Mutex<Option<i64>>,
}

impl Alibaba {
    /// Sends a request that changes nothing.
    pub(super) async fn read<T: DeserializeOwned>(&self, request: Request<'_>) -> Result<T, Failed> {
        self.caller.ask(request, None, &[]).await.map_err(|coded| coded.failed)
    }

    /// Sends a change.
    pub(super) async fn write(
        &self,
        request: Request<'_>,
        rotation: RotationId,
        secrets: &[&Secret],
    ) -> Result<wire::Accepted, Failed> {
        self.caller.ask(request, Some(rotation), secrets).await.map_err(|coded| coded.failed)
    }
}

impl Caller {
    /// Sends a request and reads its answer. It is sent again only where the cloud certainly did not act: once after a stale signature, once with
    /// a renewed credential, once with the parameters at the other place.
    /// What it carries in secret must not come back in the vendor's words, neither as it is nor as it stood in the request or, encoded once
    /// more, in the text that the vendor signed.
    pub(super) async fn ask<T: DeserializeOwned>(
        &self,
        request: Request<'_>,
        rotation: Option<RotationId>,
        secrets: &[&Secret],
    ) -> Result<T, Coded> {
        let encoded = |secret: &Secret| Secret::new(percent_encoded(secret.expose()).collect());
        let once: Vec<Secret> = secrets.iter().map(|secret| encoded(secret)).collect();
        let twice: Vec<Secret> = once.iter().map(encoded).collect();
        let mut secrets: Vec<&Secret> = secrets.iter().copied().chain(&once).chain(&twice).collect();
        let action = request.action();
        let pacer = self.pacers.of(action);
        let mut credential = self.credentials.credential().await.map_err(Failed::without_credential)?;
        let mut in_query = self.begins_in_query();
        let (mut signed_again, mut renewed, mut moved) = (false, false, false);
        loop {
            pacer.turn().await;
            let sent = self.send(&request, rotation, &credential, in_query).await;
            let reply = sent.inspect_err(|failed| pacer.came_to(Some(failed.kind())))?;
            let wait = asked_to_wait(&reply);
            if let Some(span) = wait {
                pacer.pause(span);
            }
            let (code, message, request_id) = match wire::read(reply.status, &reply.body) {
                Spoken::Value(value) => {
                    pacer.passed();
                    pacer.came_to(None);
                    self.query_works.store(in_query, Ordering::Relaxed);
                    return Ok(value);
                }
                Spoken::Nonsense(what) => {
                    pacer.came_to(Some(Kind::Unanswered));
                    return Err(Failed::Unanswered(Fault::new(
                        Kind::Unanswered,
                        format!("Alibaba {action} gave {what}"),
                    ))
                    .into());
                }
                Spoken::Error { code, message, request_id } => (code, message, request_id),
            };
            let mut verdict = verdict(&request, reply.status, &code);
            if wait.is_some() && matches!(verdict, Verdict::Refused(Refusal::RuleOrOldPassword, _)) {
                // An unlisted code beside a wish to wait speaks of our rate, not of a password.
                verdict = Verdict::Unclear;
            }
            pacer.came_to(Some(verdict.kind()));
            if verdict.kind() == Kind::Throttled || wait.is_some() {
                pacer.throttled();
            } else {
                pacer.passed();
            }
            let refused = matches!(verdict, Verdict::Refused(..));
            if refused && is_missing(&request, &code) && self.parameters_in == ParametersIn::Auto && !moved {
                moved = true;
                in_query = !in_query;
                continue;
            }
            match verdict {
                Verdict::SignAgain if !signed_again => {
                    signed_again = true;
                    continue;
                }
                Verdict::RenewCredential if !renewed => {
                    renewed = true;
                    let fresh = self.credentials.renewed(&credential).await.map_err(Failed::without_credential)?;
                    if !fresh.is(&credential) {
                        credential = fresh;
                        continue;
                    }
                }
                Verdict::Unclear
                | Verdict::Refused(..)
                | Verdict::RefusedFor(..)
                | Verdict::SignAgain
                | Verdict::RenewCredential
                | Verdict::NoSuchAction => {}
            }
            secrets.push(&credential.key);
            secrets.extend(&credential.token);
            let mut fault = fault(&request, verdict, (&code, &message, &request_id), &secrets);
            if let (Kind::ClockSkew, Some(gap)) = (fault.kind, self.clock_gap()) {
                fault.what = format!("{}; {}", fault.what, gap_sentence(gap));
            }
            // What needs a person does not pass by itself, whatever the gateway says.
            let fault = match (wait, fault.retry) {
                (Some(span), Retry::Later | Retry::AfterMillis(_)) => fault.after(span),
                (Some(_), Retry::Never) | (None, _) => fault,
            };
            return Err(Coded { failed: Failed::Spoken(verdict, fault), code: Some(code) });
        }
    }

    /// Whether the next request begins with its parameters in the query.
    fn begins_in_query(&self) -> bool {
        match self.parameters_in {
            ParametersIn::Body => false,
            ParametersIn::Query => true,
            ParametersIn::Auto => self.query_works.load(Ordering::Relaxed),
        }
    }

    /// Sends one attempt, with a nonce of its own.
    async fn send(
        &self,
        request: &Request<'_>,
        rotation: Option<RotationId>,
        credential: &Credential,
        in_query: bool,
    ) -> Result<Reply, Failed> {
        let (form, query): (Vec<_>, Vec<_>) =
            request.parameters().into_iter().partition(|(name, _)| request.stands_in_body(name, in_query));
        let (query, form) = (encode(&query), encode(&form));
        let temporary: Vec<(&str, &str)> = match &credential.token {
            Some(token) => vec![("x-acs-accesskey-id", &credential.id), ("x-acs-security-token", token.expose())],
            None => Vec::new(),
        };
        let host = self.client.authority();
        let nonce = format!("{:032x}", (self.nonces)());
        let head = Head {
            host: &host,
            action: request.action(),
            version: request.version(),
            query: &query,
            content_type: (!form.expose().is_empty()).then_some(wire::FORM),
            also_signed: &temporary,
            payload: form.expose().as_bytes(),
            timestamp: (self.now)(),
            nonce: &nonce,
        };
        let mut headers = sign(&head, Signer { id: &credential.id, key: &credential.key });
        headers.push(("accept".to_owned(), "application/json".to_owned()));
        let client = match rotation {
            Some(rotation) => format!("{CLIENT} rotation/{rotation}"),
            None => CLIENT.to_owned(),
        };
        headers.push(("user-agent".to_owned(), client));
        let effect = if request.changes() { Effect::Write } else { Effect::Read };
        let body = Zeroizing::new(form.expose().as_bytes().to_vec());
        let sent = self.client.post_with_query(query.expose(), &headers, body, effect).await;
        let reply = sent.map_err(|error| match error {
            SendError::NotSent(fault) => Failed::NotSent(fault),
            SendError::Unanswered(fault) => Failed::Unanswered(fault),
        })?;
        if let Some(theirs) = reply.date {
            let gap = theirs.millis() - (self.now)().millis();
            *self.clock_gap.lock().unwrap_or_else(PoisonError::into_inner) = Some(gap);
        }
        Ok(reply)
    }

    /// The cloud's clock less ours, in milliseconds, once an answer showed it.
    pub(super) fn clock_gap(&self) -> Option<i64> {
        *self.clock_gap.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The gateway's wish, in its own header or in HTTP's, within what is believed.
fn asked_to_wait(reply: &Reply) -> Option<Duration> {
    let millis =
        reply.header(RETRY_AFTER).and_then(|text| text.trim().parse::<u64>().ok()).filter(|millis| *millis > 0);
    millis.map(|millis| Duration::from_millis(millis).min(RETRY_AFTER_LIMIT)).or(reply.retry_after)
}
