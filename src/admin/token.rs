//! Actions over TCP, for whoever holds a bearer token ("The OAuth 2.0 Authorization Framework: Bearer Token Usage", RFC 6750): a few verbs that show
//! no password and take none. Everything else stays on the control socket.

use super::Reply;
use super::api::{Api, told, unfit_for};
use crate::clock::Clock;
use crate::crowd::{Answer, Asked, Gate, Unfit};
use crate::fault::{Fault, Kind};
use crate::moment::Moment;
use crate::name::TokenName;
use crate::rotation::event::By;
use crate::secret::Secret;
use hyper::StatusCode;
use hyper::header::{AUTHORIZATION, HeaderMap, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use subtle::{Choice, ConstantTimeEq};

/// So many wrong tokens an address may send within [`PENALTY`]; then it is not listened to for as long, whatever it sends.
const WRONG: u32 = 10;

/// How long a wrong token counts.
const PENALTY: Duration = Duration::from_secs(60);

/// Addresses whose wrong tokens are counted at the same time.
const ADDRESSES: usize = 1_024;

/// What is kept of a token.
type Print = [u8; 32];

/// Those who hold a token.
pub struct Holders {
    api: Arc<Api>,
    clock: Arc<dyn Clock>,
    known: Mutex<Vec<(TokenName, Print)>>,
    wrong: Mutex<BTreeMap<IpAddr, Wrong>>,
}

/// Wrong tokens from one address, `times` of them since then.
#[derive(Debug, Clone, Copy)]
struct Wrong {
    times: u32,
    since: Moment,
}

impl Holders {
    /// Nobody holds one yet.
    pub fn new(api: Arc<Api>, clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self { api, clock, known: Mutex::default(), wrong: Mutex::default() })
    }

    /// From now on these are the tokens, and what lets their holders in; nothing where there are none.
    pub fn follow(self: &Arc<Self>, tokens: &[(TokenName, Secret)]) -> Option<Gate> {
        let prints = tokens.iter().map(|(name, token)| (name.clone(), print(token.expose())));
        *lock(&self.known) = prints.collect();
        let holders = Arc::clone(self);
        let gate: Gate = Arc::new(move |from, asked| {
            let holders = Arc::clone(&holders);
            Box::pin(async move { holders.answer(from, asked).await })
        });
        (!tokens.is_empty()).then_some(gate)
    }

    async fn answer(&self, from: IpAddr, asked: Result<Asked, Unfit>) -> Answer {
        let now = self.clock.now();
        if self.is_shut_out(from, now) {
            let fault = Fault::new(Kind::Throttled, "too many wrong tokens came from this address")
                .advise("wait a minute, and look who sends them");
            let mut answer = told(StatusCode::TOO_MANY_REQUESTS, &Reply::Refused(fault));
            answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from(PENALTY.as_secs()));
            return answer;
        }
        let asked = match asked {
            Ok(asked) => asked,
            Err(unfit) => return unfit_for(unfit),
        };
        let given = bearer(&asked.head.headers);
        match given.and_then(|given| self.holder(given)) {
            Some(name) => self.api.act_for(By::Token { name }, asked).await,
            None => {
                // Who sends none does not guess.
                if given.is_some() {
                    self.note_wrong(from, now);
                }
                let what =
                    if given.is_some() { "there is no such token" } else { "this needs a token, and none was sent" };
                let fault = Fault::new(Kind::Denied, what)
                    .advise("send `Authorization: Bearer TOKEN` with one of daemon.tokens, or use the control socket");
                let mut answer = told(StatusCode::UNAUTHORIZED, &Reply::Refused(fault));
                answer.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"keywheel\""));
                answer
            }
        }
    }

    /// Whose token this is. How long that takes tells nothing of a token: prints of one length are compared, and all of them.
    fn holder(&self, given: &str) -> Option<TokenName> {
        let given = print(given);
        let mut found = None;
        for (name, known) in &*lock(&self.known) {
            let same: Choice = known.ct_eq(&given);
            if bool::from(same) {
                found = Some(name.clone());
            }
        }
        found
    }

    fn is_shut_out(&self, from: IpAddr, now: Moment) -> bool {
        lock(&self.wrong).get(&from).is_some_and(|wrong| wrong.times >= WRONG && wrong.counts(now))
    }

    fn note_wrong(&self, from: IpAddr, now: Moment) {
        let mut wrong = lock(&self.wrong);
        if wrong.len() >= ADDRESSES {
            wrong.retain(|_, wrong| wrong.counts(now));
        }
        // So many at the same time are no one who guesses; a token is too long for that anyway.
        if wrong.len() >= ADDRESSES && !wrong.contains_key(&from) {
            return;
        }
        let of = wrong.entry(from).or_insert(Wrong { times: 0, since: now });
        if !of.counts(now) {
            *of = Wrong { times: 0, since: now };
        }
        of.times += 1;
        if of.times == 1 || of.times == WRONG {
            tracing::warn!(%from, times = of.times, "a wrong bearer token was refused");
        }
        if of.times == WRONG {
            of.since = now;
        }
    }
}

impl Wrong {
    /// Whether they still do. Those of a time that is yet to come are of before the clock was set back: nobody is shut out until it is there again.
    fn counts(self, now: Moment) -> bool {
        self.since <= now && now.since(self.since) < PENALTY
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}

fn print(token: &str) -> Print {
    Sha256::digest(token).into()
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_tokens_count_for_a_minute_and_a_clock_that_is_set_back_ends_it() {
        let since = Moment::from_seconds(1_764_000_000);
        let wrong = Wrong { times: WRONG, since };
        assert!(wrong.counts(since) && wrong.counts(since + PENALTY - Duration::from_millis(1)));
        assert!(!wrong.counts(since + PENALTY));
        assert!(!wrong.counts(since - Duration::from_secs(86_400)));
    }
}
