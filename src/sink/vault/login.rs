//! How a token is come by, and kept alive: renewed when two thirds of its time are over, replaced by a new login when it cannot be renewed or is
//! no longer accepted.

use super::{VaultSink, wire};
use crate::fault::{Fault, Kind, Retry};
use crate::http::{Client, Effect, Method, Reply};
use crate::moment::Moment;
use crate::secret::Secret;
use crate::sink::web::{Credential, refused};
use serde_json::json;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;
use zeroize::Zeroizing;

/// The largest file with a certificate, or with a pod's identity, in bytes.
const FILE_LIMIT: usize = 256 * 1024;

/// How the sink shows who it is. `mount` is where the method is mounted below `auth/`.
#[derive(Debug, Clone)]
pub enum Auth {
    /// A token that somebody else makes.
    Token(Credential),
    /// A machine's role.
    AppRole {
        /// Below `auth/`.
        mount: String,
        /// Which role.
        role_id: Credential,
        /// What proves it; a role may do without.
        secret_id: Option<Credential>,
    },
    /// A pod's identity.
    Kubernetes {
        /// Below `auth/`.
        mount: String,
        /// The role in Vault.
        role: String,
        /// The pod's token, which the cluster replaces from time to time.
        token_file: PathBuf,
    },
    /// A client certificate.
    Certificate {
        /// Below `auth/`.
        mount: String,
        /// The role in Vault; absent means any that the certificate fits.
        role: Option<String>,
        /// The certificate (PEM), with those between it and its root.
        certificate: PathBuf,
        /// Its private key (PEM).
        key: Credential,
    },
}

/// A token, and until when it is good.
#[derive(Clone)]
pub(super) struct Session {
    pub(super) token: Secret,
    /// What carries its requests: with the certificate where that is the login.
    pub(super) client: Client,
    /// When it is to be renewed and when it ends; `None` where it never does.
    times: Option<Times>,
    renewable: bool,
}

#[derive(Clone, Copy)]
struct Times {
    renew: Moment,
    end: Moment,
}

impl Times {
    fn of(now: Moment, seconds: u64) -> Option<Self> {
        let after = |part: u64| now + Duration::from_secs(seconds.saturating_mul(part) / 3);
        (seconds > 0).then(|| Self { renew: after(2), end: after(3) })
    }
}

impl VaultSink {
    /// Sees to it that there is a token that will do. True where it was made or read just now.
    pub(super) async fn keep_alive(&self, session: &mut Option<Session>) -> Result<bool, Fault> {
        let now = (self.now)();
        let Some(open) = session.as_ref().filter(|open| open.times.is_none_or(|times| now < times.end)) else {
            *session = Some(self.log_in().await?);
            return Ok(true);
        };
        if open.times.is_none_or(|times| now < times.renew) {
            return Ok(false);
        }
        if open.renewable
            && let Some(times) = self.renewed(open, now).await
        {
            *session = Some(Session { times: Some(times), ..open.clone() });
            return Ok(false);
        }
        match self.log_in().await {
            Ok(fresh) => {
                *session = Some(fresh);
                Ok(true)
            }
            // The old one is good for a while yet.
            Err(_) => Ok(false),
        }
    }

    /// Another token in place of one that was turned away; false where there is no other.
    pub(super) async fn log_in_anew(&self, session: &mut Option<Session>) -> Result<bool, Fault> {
        if let (Auth::Token(source), Some(open)) = (&self.settings.auth, session.as_ref())
            && source.read("token")?.expose() == open.token.expose()
        {
            return Ok(false);
        }
        *session = None;
        *session = Some(self.log_in().await?);
        Ok(true)
    }

    /// The times of the token after a renewal; `None` where that brought nothing.
    async fn renewed(&self, open: &Session, now: Moment) -> Option<Times> {
        let path = "auth/token/renew-self";
        let body = Zeroizing::new(b"{}".to_vec());
        let reply = self.call(&open.client, Some(&open.token), Method::POST, path, body, Effect::Read).await.ok()?;
        let token = (reply.status == 200).then(|| wire::token(&reply.body)).flatten()?;
        let times = Times::of(now, token.lease_duration)?;
        // At the end of its longest life a renewal gives next to nothing.
        (open.times.is_none_or(|held| times.end > held.end)).then_some(times)
    }

    async fn log_in(&self) -> Result<Session, Fault> {
        let (mount, claims, secrets, client) = match &self.settings.auth {
            Auth::Token(source) => return self.looked_at(source.read("token")?).await,
            Auth::AppRole { mount, role_id, secret_id } => {
                let role_id = role_id.read("role-id")?;
                let secret_id = secret_id.as_ref().map(|source| source.read("secret-id")).transpose()?;
                let mut claims = json!({ "role_id": role_id.expose() });
                if let Some(secret_id) = &secret_id {
                    claims["secret_id"] = secret_id.expose().into();
                }
                (mount, claims, [Some(role_id), secret_id], None)
            }
            Auth::Kubernetes { mount, role, token_file } => {
                let token =
                    String::from_utf8(read(token_file, "token-file")?.to_vec()).map_err(|_| no_token(token_file))?;
                let token = Secret::new(token.trim().to_owned());
                if token.expose().is_empty() || !token.expose().bytes().all(|byte| byte.is_ascii_graphic()) {
                    return Err(no_token(token_file));
                }
                (mount, json!({ "role": role, "jwt": token.expose() }), [Some(token), None], None)
            }
            Auth::Certificate { mount, role, certificate, key } => {
                let mut pem = read(certificate, "certificate")?;
                pem.push(b'\n');
                pem.extend_from_slice(key.read("key")?.expose().as_bytes());
                let client = Client::with_certificate(self.settings.address.clone(), &self.settings.reach, &pem);
                let client = client.map_err(|fault| Fault { kind: Kind::SinkDenied, retry: Retry::Later, ..fault })?;
                let claims = role.as_ref().map_or_else(|| json!({}), |role| json!({ "name": role }));
                (mount, claims, [None, None], Some(client))
            }
        };
        let client = client.unwrap_or_else(|| self.client.clone());
        let body = Zeroizing::new(claims.to_string().into_bytes());
        let path = format!("auth/{mount}/login");
        let reply = self.call(&client, None, Method::POST, &path, body, Effect::Read).await?;
        let token = (reply.status == 200).then(|| wire::token(&reply.body)).flatten();
        match token.map(|token| (token.client_token, token.lease_duration, token.renewable)) {
            Some((Some(text), seconds, renewable)) if !text.is_empty() => {
                let token = Secret::new(text);
                Ok(Session { token, client, times: Times::of((self.now)(), seconds), renewable })
            }
            _ => {
                let secrets: Vec<&Secret> = secrets.iter().flatten().collect();
                Err(self.no_login(&format!("A login at auth/{mount}"), &reply, &secrets))
            }
        }
    }

    /// A token that somebody else made, with what Vault says of it.
    async fn looked_at(&self, token: Secret) -> Result<Session, Fault> {
        let path = "auth/token/lookup-self";
        let nothing = Zeroizing::default();
        let reply = self.call(&self.client, Some(&token), Method::GET, path, nothing, Effect::Read).await?;
        match (reply.status == 200).then(|| wire::own_token(&reply.body)).flatten() {
            Some(about) => {
                let times = Times::of((self.now)(), about.lease_duration);
                Ok(Session { token, client: self.client.clone(), times, renewable: about.renewable })
            }
            None => Err(self.no_login("A look at keywheel's token", &reply, &[&token])),
        }
    }

    fn no_login(&self, what: &str, reply: &Reply, secrets: &[&Secret]) -> Fault {
        let at = self.client.authority();
        let what = format!("{what} in Vault at {at}");
        match reply.status {
            200..=299 => Fault::new(Kind::SinkDenied, format!("{what} gave no token")),
            400 | 401 | 403 => {
                let words = self.words(reply, secrets);
                Fault::new(Kind::SinkDenied, format!("{what} was refused (HTTP status {}){words}", reply.status))
                    .advise("renew the sink's credentials in Vault, and check role, auth mount and namespace")
            }
            503 => Fault::new(
                Kind::SinkUnavailable,
                format!("{what} met one that is sealed or not ready (HTTP status 503)"),
            )
            .advise("unseal Vault; keywheel delivers as soon as it takes a write"),
            _ => refused(&what, reply),
        }
    }
}

fn no_token(path: &Path) -> Fault {
    Fault::new(Kind::SinkDenied, format!("The file {} holds no identity token", path.display()))
        .advise("check that the cluster projects the service account's token there")
}

/// A file that others write and replace.
pub fn read(path: &Path, key: &str) -> Result<Zeroizing<Vec<u8>>, Fault> {
    let unreadable = |why: &str| {
        Fault::new(Kind::SinkDenied, format!("The sink's {key}: the file {} {why}", path.display()))
            .advise("check the path, and that keywheel's user may read it")
    };
    let told = |error: std::io::Error| unreadable(&format!("cannot be read: {}", error.kind()));
    // Looked at before it is opened: opening a pipe would wait for its writer. Links are followed, as clusters mount secrets by links.
    if !std::fs::metadata(path).map_err(told)?.is_file() {
        return Err(unreadable("is not a file"));
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(FILE_LIMIT + 1));
    let file = std::fs::File::open(path).map_err(told)?;
    file.take(FILE_LIMIT as u64 + 1).read_to_end(&mut bytes).map_err(told)?;
    if bytes.len() > FILE_LIMIT {
        return Err(unreadable("is too large"));
    }
    Ok(bytes)
}
