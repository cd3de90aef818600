//! etcd's JSON gateway: `/v3/kv/txn` and `/v3/auth/authenticate` of etcd 3.4 and newer ("gRPC gateway" and "Authentication" in etcd's documents).
//! Keys and values are base64 there, and 64-bit numbers are texts.

use crate::fault::{Fault, Kind, scrub};
use crate::http::{self, Client, Effect, Reply, SendError};
use crate::secret::Secret;
use crate::sink::web::Credential;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize, Serializer};
use sha2::{Digest, Sha256};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};
use tokio::sync::Mutex;
use url::Url;
use zeroize::Zeroizing;

/// How much of the store's own words is shown, in characters.
const SHOWN_LIMIT: usize = 200;

/// The largest file of a client certificate or its key, in bytes.
const CERTIFICATE_LIMIT: usize = 64 * 1024;

/// A client certificate, as files.
#[derive(Debug, Clone)]
pub struct Certificate {
    /// The certificate and what leads to its root (PEM).
    pub certificate: PathBuf,
    /// Its key (PEM).
    pub key: PathBuf,
}

impl Certificate {
    /// Certificate and key as they are now, if nobody can read the key but its owner and group.
    fn read(&self) -> Result<Zeroizing<Vec<u8>>, Fault> {
        let unusable = |path: &Path, why: String| {
            let what = format!("The client certificate's file {} cannot be used: {why}", path.display());
            Fault::new(Kind::SinkDenied, what)
                .advise("name a PEM file with the certificate, and one with its key that others cannot read")
        };
        let mut pem = Zeroizing::new(Vec::with_capacity(2 * CERTIFICATE_LIMIT));
        for path in [&self.certificate, &self.key] {
            let about = std::fs::metadata(path).map_err(|error| unusable(path, error.to_string()))?;
            if !about.is_file() || about.len() >= CERTIFICATE_LIMIT as u64 {
                return Err(unusable(path, format!("it is no file of less than {CERTIFICATE_LIMIT} bytes")));
            }
            if *path == self.key && about.mode() & 0o027 != 0 {
                return Err(unusable(path, "others may read it, or its group may change it".to_owned()));
            }
            let text = Zeroizing::new(std::fs::read(path).map_err(|error| unusable(path, error.to_string()))?);
            pem.extend_from_slice(&text);
            pem.push(b'\n');
        }
        Ok(pem)
    }
}

/// One key's value.
pub struct Entry {
    /// The value.
    pub value: Zeroizing<Vec<u8>>,
    /// The revision of the store that wrote it.
    pub revision: u64,
}

/// A write that holds only while the key is as it was seen.
pub struct Write<'a> {
    pub key: String,
    pub value: &'a [u8],
    /// The revision that wrote it; 0 where it was not there.
    pub seen: u64,
}

/// The members of a store, and who asks them.
pub struct Gateway {
    endpoints: Vec<Url>,
    reach: http::Settings,
    certificate: Option<Certificate>,
    open: std::sync::Mutex<Open>,
    user: Option<(String, Credential)>,
    /// Kept until it is refused.
    token: Mutex<Option<Secret>>,
}

struct Open {
    members: Arc<[Member]>,
    /// A digest of the certificate that they are shown: a short-lived one is replaced under the same name.
    shown: Option<[u8; 32]>,
}

struct Member {
    authority: String,
    transactions: Client,
    authentication: Client,
}

/// A way to each of them.
fn members(
    endpoints: &[Url],
    reach: &http::Settings,
    pem: Option<&Zeroizing<Vec<u8>>>,
) -> Result<Arc<[Member]>, Fault> {
    let client = |endpoint: &Url, path: &str| {
        let mut endpoint = endpoint.clone();
        endpoint.set_path(path);
        match pem {
            Some(pem) => Client::with_certificate(endpoint, reach, pem),
            None => Client::new(endpoint, reach),
        }
    };
    let member = |endpoint: &Url| {
        Ok(Member {
            authority: endpoint.authority().to_owned(),
            transactions: client(endpoint, "/v3/kv/txn")?,
            authentication: client(endpoint, "/v3/auth/authenticate")?,
        })
    };
    endpoints.iter().map(member).collect()
}

/// Why there is no answer to a question.
enum Failed {
    /// Another member may have one.
    Elsewhere(Fault),
    /// The token is none any more.
    Token(Fault),
    /// There is none, or the store says no.
    Spoken(Fault),
}

impl std::fmt::Debug for Gateway {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let user = self.user.as_ref().map(|(name, _)| name);
        formatter.debug_struct("Gateway").field("members", &self.place()).field("user", &user).finish_non_exhaustive()
    }
}

impl Gateway {
    /// The gateway of each member. The client certificate is read when one is asked.
    ///
    /// # Errors
    /// `ConfigInvalid` for an endpoint or certificates to trust that cannot be used.
    pub fn new(
        endpoints: Vec<Url>,
        reach: http::Settings,
        certificate: Option<Certificate>,
        user: Option<(String, Credential)>,
    ) -> Result<Self, Fault> {
        let open = std::sync::Mutex::new(Open { members: members(&endpoints, &reach, None)?, shown: None });
        Ok(Self { endpoints, reach, certificate, open, user, token: Mutex::default() })
    }

    /// The members, for people.
    pub fn place(&self) -> String {
        let members: Vec<&str> = self.endpoints.iter().map(Url::authority).collect();
        members.join(", ")
    }

    /// The members, with the certificate as it is now.
    fn members(&self) -> Result<Arc<[Member]>, Fault> {
        let pem = self.certificate.as_ref().map(Certificate::read).transpose()?;
        let shown = pem.as_ref().map(|pem| Sha256::digest(pem.as_slice()).into());
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.shown != shown {
            let unusable = |fault: Fault| Fault::new(Kind::SinkDenied, fault.what).advise(fault.next_step);
            let members = members(&self.endpoints, &self.reach, pem.as_ref()).map_err(unusable)?;
            *open = Open { members, shown };
        }
        Ok(Arc::clone(&open.members))
    }

    /// Keys, all as they are at one revision.
    pub async fn read(&self, keys: [&str; 2]) -> Result<[Option<Entry>; 2], Fault> {
        let transaction = Transaction { success: keys.map(Operation::range).into(), ..Transaction::default() };
        entries(self.transact(&transaction, Effect::Read).await?)
    }

    /// Writes both, if both are still as they were seen; otherwise answers what is there.
    pub async fn write(&self, writes: &[Write<'_>; 2]) -> Result<Option<[Option<Entry>; 2]>, Fault> {
        let unchanged = |write: &Write<'_>| Compare::new(&write.key, "EQUAL", write.seen);
        let transaction = Transaction {
            compare: writes.iter().map(unchanged).collect(),
            success: writes.iter().map(Operation::put).collect(),
            failure: writes.iter().map(|write| Operation::range(&write.key)).collect(),
        };
        let answer = self.transact(&transaction, Effect::Write).await?;
        if answer.succeeded { Ok(None) } else { entries(answer).map(Some) }
    }

    /// The same under a condition that never holds: no revision is below zero.
    pub async fn rehearse(&self, writes: &[Write<'_>; 2]) -> Result<(), Fault> {
        let transaction = Transaction {
            compare: writes.iter().map(|write| Compare::new(&write.key, "LESS", 0)).collect(),
            success: writes.iter().map(Operation::put).collect(),
            failure: writes.iter().map(|write| Operation::range(&write.key)).collect(),
        };
        let answer = self.transact(&transaction, Effect::Write).await?;
        match answer.succeeded {
            false => Ok(()),
            true => {
                Err(Fault::new(Kind::SinkDenied, "etcd found a revision below zero, and wrote what was a question"))
            }
        }
    }

    /// Asks one member after the other, until one answers.
    async fn transact(&self, transaction: &Transaction, effect: Effect) -> Result<Answer, Fault> {
        let body = Zeroizing::new(serde_json::to_vec(transaction).expect("texts always have a JSON form"));
        let mut failed = None;
        for member in self.members()?.iter() {
            match self.ask(member, &body, effect).await {
                Ok(answer) => return Ok(answer),
                Err(Failed::Elsewhere(fault)) => failed = Some(fault),
                Err(Failed::Token(fault) | Failed::Spoken(fault)) => return Err(fault),
            }
        }
        Err(failed.unwrap_or_else(|| Fault::new(Kind::SinkUnavailable, "No member of the etcd store is named")))
    }

    /// Asks one member, once more with another token where the first is refused: nothing was done for that one.
    async fn ask(&self, member: &Member, body: &Zeroizing<Vec<u8>>, effect: Effect) -> Result<Answer, Failed> {
        let mut token = self.token(member, None).await?;
        let mut renewed = token.is_none();
        loop {
            let reply = member.transactions.post(&headers(token.as_ref()), body.clone(), effect).await;
            match answer(member, reply, token.as_slice()) {
                Err(Failed::Token(_)) if !renewed => {
                    renewed = true;
                    token = self.token(member, token.as_ref()).await?;
                }
                outcome => return outcome,
            }
        }
    }

    /// The token that is kept, or a new one where there is none but the refused one.
    async fn token(&self, member: &Member, refused: Option<&Secret>) -> Result<Option<Secret>, Failed> {
        let Some((name, password)) = &self.user else { return Ok(None) };
        let mut kept = self.token.lock().await;
        if let Some(token) = kept.as_ref().filter(|token| refused.is_none_or(|old| old.expose() != token.expose())) {
            return Ok(Some(token.clone()));
        }
        *kept = None;
        let password = password.read("password").map_err(Failed::Spoken)?;
        let question = Authenticate { name, password: password.expose() };
        let body = Zeroizing::new(serde_json::to_vec(&question).expect("texts always have a JSON form"));
        let reply = member.authentication.post(&headers(None), body, Effect::Write).await;
        let answer: Authenticated = answer(member, reply, &[password])?;
        *kept = Some(Secret::new(answer.token));
        Ok(kept.clone())
    }
}

fn headers(token: Option<&Secret>) -> Vec<(String, String)> {
    let mut headers = vec![("content-type".to_owned(), "application/json".to_owned())];
    headers.extend(token.map(|token| ("authorization".to_owned(), token.expose().to_owned())));
    headers
}

/// The whole answer, or why there is none.
fn answer<T: DeserializeOwned>(
    member: &Member,
    reply: Result<Reply, SendError>,
    secrets: &[Secret],
) -> Result<T, Failed> {
    let whom = &member.authority;
    let unavailable = |fault: Fault| Fault { kind: Kind::SinkUnavailable, ..fault };
    let reply = match reply {
        Err(SendError::NotSent(fault)) => return Err(Failed::Elsewhere(unavailable(fault))),
        Err(SendError::Unanswered(fault)) => {
            let next_step = "nothing; keywheel looks at what is there and delivers again";
            return Err(Failed::Spoken(unavailable(fault).advise(next_step)));
        }
        Ok(reply) => reply,
    };
    if reply.status == 200 {
        return serde_json::from_slice(&reply.body).map_err(|_| {
            let what = format!("{whom} gave an answer that etcd's JSON gateway does not give");
            Failed::Spoken(
                Fault::new(Kind::SinkUnavailable, what).advise("check that the endpoint is the client URL of an etcd"),
            )
        });
    }
    let said: Complaint = serde_json::from_slice(&reply.body).unwrap_or_default();
    let words = scrub(said.words(), &secrets.iter().collect::<Vec<_>>());
    let words: String = words.chars().take(SHOWN_LIMIT).collect();
    let what = match words.is_empty() {
        true => format!("{whom} answered with status {}", reply.status),
        false => format!("{whom} says: {words}"),
    };
    Err(verdict(&reply, &said, what))
}

/// What a complaint means. The numbers are those of gRPC, the words those of etcd's `rpctypes`.
fn verdict(reply: &Reply, said: &Complaint, what: String) -> Failed {
    let words = said.words();
    let has = |part: &str| words.contains(part);
    let denied = |advice: &str| Fault::new(Kind::SinkDenied, &*what).advise(advice);
    let later = |advice: &str| {
        let fault = Fault::new(Kind::SinkUnavailable, &*what).advise(advice);
        reply.retry_after.map_or(fault.clone(), |span| fault.after(span))
    };
    match (said.code, reply.status) {
        _ if has("invalid auth token") || has("revision of auth store is old") => {
            Failed::Token(later("nothing; keywheel asks for another token"))
        }
        _ if has("user name is empty") => {
            Failed::Spoken(denied("give the sink a user and its password: this etcd asks who writes"))
        }
        _ if has("authentication is not enabled") => Failed::Spoken(denied(
            "run `etcdctl auth enable`, since everybody can read this store; or remove user and password from the sink",
        )),
        _ if has("invalid user ID or password") => Failed::Spoken(denied("check the sink's user and password")),
        _ if has("database space exceeded") => Failed::Spoken(later(
            "make room: `etcdctl compact REVISION`, `etcdctl defrag`, then `etcdctl alarm disarm`",
        )),
        _ if has("request is too large") => Failed::Spoken(denied("raise --max-request-bytes of etcd")),
        (7, _) | (_, 403) => Failed::Spoken(denied(
            "let the sink's user read and write the key and KEY.keywheel: `etcdctl role grant-permission ROLE --prefix readwrite KEY`",
        )),
        (16, _) | (_, 401) => Failed::Token(denied("check the sink's user and password")),
        (12, _) | (_, 404 | 405) => Failed::Spoken(denied(
            "check that the endpoint is the client URL of etcd 3.4 or newer and that its JSON gateway is on (--enable-grpc-gateway)",
        )),
        (8, _) | (_, 429) => Failed::Spoken(later("nothing; keywheel delivers again, and later each time")),
        (14, _) | (_, 503) => Failed::Elsewhere(later("see to the etcd cluster: `etcdctl endpoint health --cluster`")),
        _ => Failed::Spoken(later("look at etcd's own log; keywheel delivers again")),
    }
}

/// The entries of a transaction of two looks.
fn entries(answer: Answer) -> Result<[Option<Entry>; 2], Fault> {
    let nonsense = || Fault::new(Kind::SinkUnavailable, "etcd answered a look at two keys with something else");
    let entry = |response: Response| match response.response_range.ok_or_else(nonsense)?.kvs.into_iter().next() {
        None => Ok(None),
        Some(found) => {
            let encoded = Zeroizing::new(found.value);
            let value = Zeroizing::new(STANDARD.decode(encoded.as_bytes()).map_err(|_| nonsense())?);
            let revision = found.mod_revision.parse().map_err(|_| nonsense())?;
            Ok(Some(Entry { value, revision }))
        }
    };
    let found = answer.responses.into_iter().map(entry).collect::<Result<Vec<_>, Fault>>()?;
    found.try_into().map_err(|_| nonsense())
}

#[derive(Serialize)]
struct Authenticate<'a> {
    name: &'a str,
    password: &'a str,
}

#[derive(Deserialize)]
struct Authenticated {
    token: String,
}

#[derive(Default, Serialize)]
struct Transaction {
    compare: Vec<Compare>,
    success: Vec<Operation>,
    failure: Vec<Operation>,
}

#[derive(Serialize)]
struct Compare {
    key: String,
    target: &'static str,
    result: &'static str,
    mod_revision: String,
}

impl Compare {
    fn new(key: &str, result: &'static str, revision: u64) -> Self {
        Self { key: STANDARD.encode(key), target: "MOD", result, mod_revision: revision.to_string() }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Operation {
    RequestRange {
        key: String,
    },
    RequestPut {
        key: String,
        #[serde(serialize_with = "as_text")]
        value: Zeroizing<String>,
    },
}

impl Operation {
    fn range(key: &str) -> Self {
        Self::RequestRange { key: STANDARD.encode(key) }
    }

    fn put(write: &Write<'_>) -> Self {
        Self::RequestPut { key: STANDARD.encode(&write.key), value: Zeroizing::new(STANDARD.encode(write.value)) }
    }
}

fn as_text<S: Serializer>(text: &Zeroizing<String>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(text)
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    succeeded: bool,
    #[serde(default)]
    responses: Vec<Response>,
}

#[derive(Deserialize)]
struct Response {
    response_range: Option<Range>,
}

#[derive(Deserialize)]
struct Range {
    #[serde(default)]
    kvs: Vec<Found>,
}

#[derive(Deserialize)]
struct Found {
    #[serde(default)]
    value: String,
    mod_revision: String,
}

#[derive(Default, Deserialize)]
struct Complaint {
    #[serde(default)]
    error: String,
    #[serde(default)]
    message: String,
    #[serde(default)]
    code: i64,
}

impl Complaint {
    /// Newer gateways leave `error` out.
    fn words(&self) -> &str {
        if self.message.is_empty() { &self.error } else { &self.message }
    }
}
