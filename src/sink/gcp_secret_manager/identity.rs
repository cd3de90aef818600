//! How a token is come by: signed with a service account's key, given by the machine's metadata server, or exchanged for a token of another identity
//! provider (workload identity federation). Google's documents: "Service account credentials" with self-signed tokens (AIP-4111), "VM metadata",
//! "External account credentials" (AIP-4117).
//!
//! Google's own crate for this, `google-cloud-auth`, reads answers of any size, follows redirects, lets a variable win over the settings, repeats requests
//! and quotes answers in its errors, and its transport cannot be replaced.

use super::wire::{self, Given, Wiped};
use crate::fault::{Fault, Kind};
use crate::http::nearby::Nearby;
use crate::http::{Client, Effect, Method, Reply, Settings};
use crate::moment::Moment;
use crate::secret::Secret;
use crate::sink::http::Now;
use crate::sink::vault::read_file;
use crate::sink::web::{Credential, no_answer, refused};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls::SignatureScheme;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use serde::Deserialize;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::sync::Mutex;
use url::Url;
use zeroize::Zeroizing;

/// What a token is asked for: everything that the identity's roles permit.
const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";

/// The metadata server's host. Its address is the same on every machine and never leaves it.
pub const METADATA_HOST: &str = "metadata.google.internal";

/// How long a token is good that a key signs, or that an impersonation gives.
const LIFE: Duration = Duration::from_secs(3600);

/// Clocks differ: a token that begins in the future would be refused.
const SKEW: Duration = Duration::from_secs(10);

/// This long before its end a token is no longer begun to be used.
const LAST_MOMENTS: Duration = Duration::from_secs(120);

/// Who keywheel is at Google.
#[derive(Debug, Clone)]
pub enum Identity {
    /// A service account, by its key: the JSON file that Google gives once.
    ServiceAccount(Credential),
    /// The service account of the machine, or of the pod on GKE.
    Metadata {
        /// Which of them; `default` is the usual one.
        account: String,
        /// Where the metadata server is.
        endpoint: Url,
    },
    /// An identity elsewhere that a pool at Google trusts, by the file that `gcloud iam workload-identity-pools create-cred-config` makes. It holds no
    /// secret.
    ExternalAccount(PathBuf),
}

/// The tokens of one identity.
pub(super) struct Tokens {
    identity: Identity,
    reach: Settings,
    now: Now,
    kept: Mutex<Option<Kept>>,
}

struct Kept {
    token: Secret,
    end: Moment,
}

#[derive(Deserialize)]
struct Key {
    client_email: String,
    private_key_id: String,
    private_key: Wiped,
}

#[derive(Deserialize)]
struct External {
    audience: String,
    subject_token_type: String,
    token_url: String,
    credential_source: Source,
    service_account_impersonation_url: Option<String>,
}

#[derive(Deserialize)]
struct Source {
    file: Option<PathBuf>,
    url: Option<String>,
    #[serde(default)]
    headers: std::collections::BTreeMap<String, String>,
    #[serde(default)]
    format: Form,
}

/// How the other identity's token stands in what is read.
#[derive(Default, Deserialize)]
struct Form {
    subject_token_field_name: Option<String>,
}

impl Tokens {
    pub(super) fn new(identity: Identity, reach: Settings, now: Now) -> Self {
        Self { identity, reach, now, kept: Mutex::default() }
    }

    /// The token that is kept while it is good, or a new one; another one than `refused` where the store turned that away.
    pub(super) async fn token(&self, refused: Option<&Secret>) -> Result<Secret, Fault> {
        let mut kept = self.kept.lock().await;
        let now = (self.now)();
        let good = |held: &&Kept| {
            now + LAST_MOMENTS < held.end && refused.is_none_or(|old| old.expose() != held.token.expose())
        };
        if let Some(held) = kept.as_ref().filter(good) {
            return Ok(held.token.clone());
        }
        // In its last moments the old one is better than none.
        let last = kept.take().filter(|held| refused.is_none() && now < held.end);
        match (self.issued(now).await, last) {
            (Ok(issued), _) => Ok(kept.insert(issued).token.clone()),
            (Err(_), Some(last)) => Ok(kept.insert(last).token.clone()),
            (Err(fault), None) => Err(fault),
        }
    }

    async fn issued(&self, now: Moment) -> Result<Kept, Fault> {
        match &self.identity {
            Identity::ServiceAccount(key) => {
                let key = key.read("service account's key")?;
                let token = signed(&key, now).map_err(|why| {
                    let what = format!("The sink's service account key {why}");
                    Fault::new(Kind::SinkDenied, what).advise(
                        "give it the JSON file as Google made it: gcloud iam service-accounts keys create FILE --iam-account ACCOUNT",
                    )
                })?;
                Ok(Kept { token, end: now - SKEW + LIFE })
            }
            Identity::Metadata { account, endpoint } => from_metadata(account, endpoint, now).await,
            Identity::ExternalAccount(path) => self.exchanged(path, now).await,
        }
    }

    async fn exchanged(&self, path: &Path, now: Moment) -> Result<Kept, Fault> {
        let external = external(path)?;
        let subject = self.subject(&external.credential_source, path).await?;
        let body = form(&[
            ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
            ("requested_token_type", "urn:ietf:params:oauth:token-type:access_token"),
            ("audience", &external.audience),
            ("scope", SCOPE),
            ("subject_token_type", &external.subject_token_type),
            ("subject_token", subject.expose()),
        ]);
        let headers = [("content-type".to_owned(), "application/x-www-form-urlencoded".to_owned())];
        let (whom, reply) = self.send(Method::POST, &external.token_url, &headers, body).await?;
        let what = format!("The exchange of the workload's token at {whom}");
        let advice = "check the pool, the provider and its conditions, and that the workload's token is of the audience that the provider expects";
        let given = given(&what, &reply, advice)?;
        let Some(url) = external.service_account_impersonation_url else { return Ok(kept(given, now)) };
        let body = json!({ "scope": [SCOPE], "lifetime": format!("{}s", LIFE.as_secs()) }).to_string().into_bytes();
        let headers = [
            ("content-type".to_owned(), "application/json".to_owned()),
            ("authorization".to_owned(), format!("Bearer {}", given.token.expose())),
        ];
        let (whom, reply) = self.send(Method::POST, &url, &headers, Zeroizing::new(body)).await?;
        let what = format!("The question for a service account's token at {whom}");
        let advice = "grant the workload's principal roles/iam.workloadIdentityUser on the service account";
        self::given(&what, &reply, advice).map(|given| kept(given, now))
    }

    /// The token of the other identity provider, as it is now.
    async fn subject(&self, source: &Source, path: &Path) -> Result<Secret, Fault> {
        let none = |why: &str| {
            let what = format!("The sink's external account file {} {why}", path.display());
            Fault::new(Kind::SinkDenied, what)
                .advise("make it for a source of the kind file or url, or choose another source of credentials")
        };
        let text = match (&source.file, &source.url) {
            (Some(file), _) => read_file(file, "workload token")?,
            (None, Some(url)) => {
                let headers: Vec<(String, String)> =
                    source.headers.iter().map(|(name, value)| (name.to_lowercase(), value.clone())).collect();
                let (whom, reply) = self.send(Method::GET, url, &headers, Zeroizing::default()).await?;
                match reply.status {
                    200 => reply.body,
                    _ => return Err(refused(&format!("The question for the workload's token at {whom}"), &reply)),
                }
            }
            (None, None) => return Err(none("names a source of tokens that this sink does not know")),
        };
        let whole = match &source.format.subject_token_field_name {
            None => std::str::from_utf8(&text).ok().map(|text| Secret::new(text.trim().to_owned())),
            Some(field) => wire::text_at(&text, field),
        };
        let plain =
            |token: &Secret| !token.expose().is_empty() && token.expose().bytes().all(|byte| byte.is_ascii_graphic());
        whole.filter(plain).ok_or_else(|| none("leads to something that is no token"))
    }

    /// One request to an address that stands in a file, and whom it went to.
    async fn send(
        &self,
        method: Method,
        url: &str,
        headers: &[(String, String)],
        body: Zeroizing<Vec<u8>>,
    ) -> Result<(String, Reply), Fault> {
        let url = Url::parse(url).map_err(|_| {
            Fault::new(Kind::SinkDenied, "An address in the sink's external account file is none")
                .advise("make the file anew: gcloud iam workload-identity-pools create-cred-config")
        })?;
        let client = Client::new(url.clone(), &self.reach).map_err(|fault| Fault {
            kind: Kind::SinkDenied,
            retry: crate::fault::Retry::Later,
            ..fault
        })?;
        let reply = client.send(method, url, headers, body, Effect::Write).await.map_err(no_answer)?;
        Ok((client.authority(), reply))
    }
}

fn kept(given: Given, now: Moment) -> Kept {
    Kept { token: given.token, end: given.end.unwrap_or(now + given.life.unwrap_or_default()) }
}

/// The token in an answer.
fn given(what: &str, reply: &Reply, advice: &str) -> Result<Given, Fault> {
    match reply.status {
        200 => wire::given(&reply.body).ok_or_else(|| Fault::new(Kind::SinkDenied, format!("{what} gave no token"))),
        400 | 401 | 403 | 404 => {
            let said = wire::said(&reply.body).words();
            let what = format!("{what} was refused (HTTP status {}{said})", reply.status);
            Err(Fault::new(Kind::SinkDenied, what).advise(advice))
        }
        _ => Err(refused(what, reply)),
    }
}

async fn from_metadata(account: &str, endpoint: &Url, now: Moment) -> Result<Kept, Fault> {
    let unavailable = |fault: Fault| Fault { kind: Kind::SinkUnavailable, ..fault };
    let server = Nearby::new(endpoint, METADATA_HOST)?;
    let path = format!("/computeMetadata/v1/instance/service-accounts/{account}/token");
    let answer = server.get(&path, &[("metadata-flavor", "Google")]).await.map_err(unavailable)?;
    let given = (answer.status == 200).then(|| wire::given(answer.text.as_bytes())).flatten();
    match (answer.status, given) {
        (_, Some(given)) => Ok(kept(given, now)),
        (404, None) => {
            let what = format!("{} knows no service account {account}", server.called());
            Err(Fault::new(Kind::SinkDenied, what).advise(
                "attach a service account to the machine (on GKE: switch Workload Identity on), or choose another source of credentials",
            ))
        }
        (403, None) => {
            let what = format!("{} does not give this workload a token (HTTP status 403)", server.called());
            Err(Fault::new(Kind::SinkDenied, what).advise(
                "on GKE: let the Kubernetes service account act as the one at Google (roles/iam.workloadIdentityUser)",
            ))
        }
        (status, None) => {
            let what = format!("{} gave no token (HTTP status {status})", server.called());
            Err(Fault::new(Kind::SinkUnavailable, what))
        }
    }
}

fn external(path: &Path) -> Result<External, Fault> {
    let text = read_file(path, "external account file")?;
    let none = |why: String| {
        let what = format!("The sink's external account file {} {why}", path.display());
        Fault::new(Kind::SinkDenied, what)
            .advise("make it anew: gcloud iam workload-identity-pools create-cred-config PROVIDER --credential-source-file=TOKEN …")
    };
    // What a parser says may repeat what stands there.
    let whole: Value = serde_json::from_slice(&text).map_err(|_| none("is not JSON".to_owned()))?;
    match whole.get("type").and_then(Value::as_str) {
        Some("external_account") => {}
        Some("service_account") => {
            return Err(none("is a service account's key: use source = \"service-account\" for it".to_owned()));
        }
        _ => return Err(none("is not of the type external_account".to_owned())),
    }
    serde_json::from_value(whole).map_err(|_| none("lacks what an external account needs".to_owned()))
}

/// A token that a service account's key signs for itself: no service is asked for it.
fn signed(key: &Secret, now: Moment) -> Result<Secret, &'static str> {
    let key: Key = serde_json::from_str(key.expose()).map_err(|_| "is not the JSON of a service account's key")?;
    let unusable = "holds a private key that cannot be used";
    let private = PrivateKeyDer::from_pem_slice(key.private_key.0.as_bytes()).map_err(|_| unusable)?;
    let private = rustls::crypto::ring::sign::any_supported_type(&private).map_err(|_| unusable)?;
    let signer = private.choose_scheme(&[SignatureScheme::RSA_PKCS1_SHA256]).ok_or("is not an RSA key")?;
    let begin = now - SKEW;
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let head = part(&json!({ "alg": "RS256", "typ": "JWT", "kid": key.private_key_id }));
    let claims = part(&json!({
        "iss": key.client_email, "sub": key.client_email, "scope": SCOPE, "iat": begin.seconds(), "exp": (begin + LIFE).seconds(),
    }));
    let text = format!("{head}.{claims}");
    let signature = signer.sign(text.as_bytes()).map_err(|_| unusable)?;
    Ok(Secret::new(format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature))))
}

/// A form as its body.
fn form(pairs: &[(&str, &str)]) -> Zeroizing<Vec<u8>> {
    // Once with room for all of it, so that nothing is left behind where it grew.
    let room = pairs.iter().map(|(name, value)| name.len() + 3 * value.len() + 2).sum();
    let mut all = url::form_urlencoded::Serializer::new(String::with_capacity(room));
    all.extend_pairs(pairs);
    Zeroizing::new(all.finish().into_bytes())
}
