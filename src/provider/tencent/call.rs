//! One call: paced, signed, sent, read; sent again only where the cloud certainly did not act.

use super::answer::fault;
use super::codes::verdict;
use super::{Tencent, wire};
use crate::fault::{Fault, Kind};
use crate::http::{Client, Effect, Reply, SendError};
use crate::name::RotationId;
use crate::pacer::Pacers;
use crate::provider::Now;
use crate::provider::credential::{Credential, CredentialSource};
use crate::provider::finding::gap_sentence;
use crate::provider::outcome::{Coded, Failed, Spoken, Verdict};
use crate::rotation::answer::Refusal;
use crate::secret::Secret;
use crate::sign::Signer;
use crate::sign::tc3::{Head, sign};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::{Arc, Mutex, PoisonError};
use zeroize::Zeroizing;

/// What we call ourselves in `X-TC-RequestClient`.
const CLIENT: &str = concat!("keywheel-", env!("CARGO_PKG_VERSION"));

/// A product of the vendor's: what its signatures and versions are called by.
#[derive(Debug, Clone, Copy)]
pub(super) struct Product {
    /// The first label of its domain, and what its signatures are for.
    pub(super) service: &'static str,
    /// `X-TC-Version`.
    pub(super) version: &'static str,
}

/// Whoever calls one product in one region with one identity.
pub(super) struct Caller {
    pub(super) product: Product,
    pub(super) client: Client,
    pub(super) region: String,
    pub(super) pacers: Pacers,
    pub(super) credentials: Arc<dyn CredentialSource>,
    pub(super) now: Now,
    /// The cloud's clock less ours, in milliseconds, as the last answer showed it.
    pub(super) clock_gap: Mutex<Option<i64>>,
}

/// One request before it is signed.
pub(super) struct Outgoing<'a, B> {
    pub(super) action: &'static str,
    pub(super) request: &'a B,
    pub(super) effect: Effect,
    pub(super) rotation: Option<RotationId>,
    /// What the vendor's words must not repeat.
    pub(super) secrets: &'a [&'a Secret],
}

impl Caller {
    /// Sends a request and reads its answer. It is sent again only where the cloud certainly did not act: once after a stale signature, once
    /// with a renewed credential.
    pub(super) async fn ask<B: Serialize + Sync, T: DeserializeOwned>(
        &self,
        call: &Outgoing<'_, B>,
    ) -> Result<T, Coded> {
        let pacer = self.pacers.of(call.action);
        let mut credential = self.credentials.credential().await.map_err(Failed::without_credential)?;
        let (mut signed_again, mut renewed) = (false, false);
        loop {
            pacer.turn().await;
            let body = wire::body(call.request).map_err(Failed::NotSent)?;
            let sent = self.send(call, &credential, body).await;
            let reply = sent.inspect_err(|failed| pacer.came_to(Some(failed.kind())))?;
            if let Some(span) = reply.retry_after {
                pacer.pause(span);
            }
            let (code, message, request_id) = match wire::read(reply.status, &reply.body) {
                Spoken::Value(value) => {
                    pacer.passed();
                    pacer.came_to(None);
                    return Ok(value);
                }
                Spoken::Nonsense(what) => {
                    pacer.came_to(Some(Kind::Unanswered));
                    let fault = Fault::new(Kind::Unanswered, format!("Tencent {} gave {what}", call.action));
                    return Err(Failed::Unanswered(fault).into());
                }
                Spoken::Error { code, message, request_id } => (code, message, request_id),
            };
            let verdict = verdict(&code);
            pacer.came_to(Some(verdict.kind()));
            if verdict.kind() == Kind::Throttled {
                pacer.throttled();
            } else {
                pacer.passed();
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
                Verdict::RefusedFor(Refusal::Throttled, _, span) => pacer.pause(span),
                Verdict::Unclear
                | Verdict::Refused(..)
                | Verdict::RefusedFor(..)
                | Verdict::SignAgain
                | Verdict::RenewCredential
                | Verdict::NoSuchAction => {}
            }
            let mut secrets = call.secrets.to_vec();
            secrets.push(&credential.key);
            secrets.extend(&credential.token);
            let mut fault = fault(call.action, &code, &message, &request_id, &secrets);
            if let (Kind::ClockSkew, Some(gap)) = (fault.kind, self.clock_gap()) {
                fault.what = format!("{}; {}", fault.what, gap_sentence(gap));
            }
            return Err(Coded { failed: Failed::Spoken(verdict, fault), code: Some(code) });
        }
    }

    async fn send<B>(
        &self,
        call: &Outgoing<'_, B>,
        credential: &Credential,
        body: Zeroizing<Vec<u8>>,
    ) -> Result<Reply, Failed> {
        let host = self.client.authority();
        let head = Head {
            service: self.product.service,
            host: &host,
            content_type: wire::CONTENT_TYPE,
            also_signed: &[("x-tc-action", call.action)],
            payload: &body,
            timestamp: (self.now)(),
        };
        let signer = Signer { id: &credential.id, key: &credential.key };
        let mut headers = sign(&head, signer);
        let mut add = |name: &str, value: &str| headers.push((name.to_owned(), value.to_owned()));
        add("x-tc-version", self.product.version);
        add("x-tc-region", &self.region);
        add("x-tc-language", "en-US");
        add("x-tc-requestclient", CLIENT);
        if let Some(token) = &credential.token {
            add("x-tc-token", token.expose());
        }
        if let Some(trace) = call.rotation.and_then(wire::trace_id) {
            add("x-tc-traceid", &trace);
        }
        let reply = self.client.post(&headers, body, call.effect).await.map_err(|error| match error {
            SendError::NotSent(fault) => Failed::NotSent(fault),
            SendError::Unanswered(fault) => Failed::Unanswered(fault),
        })?;
        if let Some(theirs) = reply.date {
            let gap = theirs.millis() - (self.now)().millis();
            *self.clock_gap.lock().unwrap_or_else(PoisonError::into_inner) = Some(gap);
        }
        Ok(reply)
    }

    pub(super) fn clock_gap(&self) -> Option<i64> {
        *self.clock_gap.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tencent {
    pub(super) async fn read<B: Serialize + Sync, T: DeserializeOwned>(
        &self,
        action: &'static str,
        request: &B,
    ) -> Result<T, Failed> {
        let call = Outgoing { action, request, effect: Effect::Read, rotation: None, secrets: &[] };
        self.caller.ask(&call).await.map_err(|coded| coded.failed)
    }

    /// Sends a change under one name.
    pub(super) async fn write<B: Serialize + Sync>(
        &self,
        action: &'static str,
        request: &B,
        rotation: RotationId,
        secrets: &[&Secret],
    ) -> Result<wire::Started, Failed> {
        let call = Outgoing { action, request, effect: Effect::Write, rotation: Some(rotation), secrets };
        self.caller.ask(&call).await.map_err(|coded| coded.failed)
    }
}
