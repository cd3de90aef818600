//! One call: paced, signed, sent, read; sent again only where the cloud certainly did not act.

use super::answer::fault;
use super::codes::verdict;
use super::{Tencent, wire};
use crate::fault::{Fault, Kind};
use crate::http::{Effect, Reply, SendError};
use crate::name::RotationId;
use crate::provider::credential::Credential;
use crate::provider::finding::gap_sentence;
use crate::provider::outcome::{Failed, Spoken, Verdict};
use crate::rotation::answer::Refusal;
use crate::secret::Secret;
use crate::sign::Signer;
use crate::sign::tc3::{Head, sign};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::PoisonError;
use zeroize::Zeroizing;

/// What we call ourselves in `X-TC-RequestClient`.
const CLIENT: &str = concat!("keywheel-", env!("CARGO_PKG_VERSION"));

/// One request before it is signed.
struct Outgoing<'a, B> {
    action: &'static str,
    request: &'a B,
    effect: Effect,
    rotation: Option<RotationId>,
    /// What the vendor's words must not repeat.
    secrets: &'a [&'a Secret],
}

impl Tencent {
    /// Sends a request and reads its answer. It is sent again only where the cloud certainly did not act: once after a stale signature, once
    /// with a renewed credential.
    async fn ask<B: Serialize + Sync, T: DeserializeOwned>(&self, call: &Outgoing<'_, B>) -> Result<T, Failed> {
        let pacer = self.pacers.of(call.action);
        let mut credential = self.credentials.credential().await.map_err(Failed::without_credential)?;
        let (mut signed_again, mut renewed) = (false, false);
        loop {
            pacer.turn().await;
            let body = wire::body(call.request).map_err(Failed::NotSent)?;
            let reply = self.send(call, &credential, body).await?;
            if let Some(span) = reply.retry_after {
                pacer.pause(span);
            }
            let (code, message, request_id) = match wire::read(reply.status, &reply.body) {
                Spoken::Value(value) => {
                    pacer.passed();
                    return Ok(value);
                }
                Spoken::Nonsense(what) => {
                    let fault = Fault::new(Kind::Unanswered, format!("Tencent {} gave {what}", call.action));
                    return Err(Failed::Unanswered(fault));
                }
                Spoken::Error { code, message, request_id } => (code, message, request_id),
            };
            let verdict = verdict(&code);
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
            return Err(Failed::Spoken(verdict, fault));
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
            service: wire::SERVICE,
            host: &host,
            content_type: wire::CONTENT_TYPE,
            also_signed: &[("x-tc-action", call.action)],
            payload: &body,
            timestamp: (self.now)(),
        };
        let signer = Signer { id: &credential.id, key: &credential.key };
        let mut headers = sign(&head, signer);
        let mut add = |name: &str, value: &str| headers.push((name.to_owned(), value.to_owned()));
        add("x-tc-version", wire::VERSION);
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

    pub(super) async fn read<B: Serialize + Sync, T: DeserializeOwned>(
        &self,
        action: &'static str,
        request: &B,
    ) -> Result<T, Failed> {
        self.ask(&Outgoing { action, request, effect: Effect::Read, rotation: None, secrets: &[] }).await
    }

    /// Sends a change under one name.
    pub(super) async fn write<B: Serialize + Sync>(
        &self,
        action: &'static str,
        request: &B,
        rotation: RotationId,
        secrets: &[&Secret],
    ) -> Result<wire::Started, Failed> {
        self.ask(&Outgoing { action, request, effect: Effect::Write, rotation: Some(rotation), secrets }).await
    }
}
