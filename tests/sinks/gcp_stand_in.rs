//! A stand-in of Google's Secret Manager (REST v1) and of the services that give tokens for it: the exchange for federated identities, the impersonation
//! of a service account, and a machine's metadata server. Google's own client for Python passes against it (tests/sdk/gcp.py).

use super::conformance::Trouble;
use super::rows::{TOKEN, document};
use super::stand_in::{Answer, Asked, Service, written};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::process::Command;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

/// The project's number, which stands in the names that are answered whatever was asked for.
const NUMBER: &str = "123456789012";

pub const ACCOUNT: &str = "keywheel@shop-prod.iam.gserviceaccount.com";

#[derive(Clone)]
struct Version {
    data: Vec<u8>,
    state: &'static str,
    etag: u64,
}

#[derive(Default)]
struct Secret {
    etag: u64,
    annotations: Map<String, Value>,
    aliases: Map<String, Value>,
    labels: Map<String, Value>,
    versions: Vec<Version>,
}

#[derive(Default)]
struct State {
    /// By their names without the project.
    secrets: BTreeMap<String, Secret>,
    changes: u64,
    tokens: BTreeMap<String, i64>,
    /// Permissions that nobody has.
    forbidden: Vec<&'static str>,
    answer_all_with: Option<(u16, &'static str, &'static str)>,
    /// Whether the key that everything is encrypted by is off.
    key_is_off: bool,
    /// How many versions `latest` lags behind.
    lag: usize,
    /// What was asked, without the bodies.
    heard: Vec<String>,
    quota_projects: Vec<String>,
}

#[derive(Default)]
pub struct SecretManager {
    pub clock: AtomicI64,
    pub issued: AtomicUsize,
    state: Mutex<State>,
}

/// A service account's key, made once: the file as Google gives it, and what verifies it.
pub struct ServiceAccountKey {
    pub json: String,
    public: Vec<u8>,
}

pub fn service_account_key() -> &'static ServiceAccountKey {
    static KEY: OnceLock<ServiceAccountKey> = OnceLock::new();
    KEY.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("key");
        let run = |arguments: &[&str]| {
            let ended = Command::new("ssh-keygen").args(arguments).arg("-f").arg(&file).output().unwrap();
            assert!(ended.status.success(), "{ended:?}");
            String::from_utf8(ended.stdout).unwrap()
        };
        run(&["-q", "-t", "rsa", "-b", "2048", "-m", "PKCS8", "-N", ""]);
        let public = run(&["-e", "-m", "PEM"]);
        let public: String = public.lines().filter(|line| !line.starts_with("-----")).collect();
        let json = json!({
            "type": "service_account", "project_id": "shop-prod", "private_key_id": "0123456789abcdef", "client_email": ACCOUNT,
            "private_key": std::fs::read_to_string(&file).unwrap(), "client_id": "1", "token_uri": "https://oauth2.googleapis.com/token",
        });
        ServiceAccountKey { json: json.to_string(), public: STANDARD.decode(public).unwrap() }
    })
}

fn refused(code: u16, status: &str, reason: &str, message: &str) -> Answer {
    let details = if reason.is_empty() {
        json!([])
    } else {
        json!([{ "@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason, "domain": "googleapis.com" }])
    };
    Answer::json(code, &json!({ "error": { "code": code, "message": message, "status": status, "details": details } }))
}

fn no_key() -> Answer {
    refused(400, "FAILED_PRECONDITION", "", "The Cloud KMS key is disabled.")
}

fn not_found() -> Answer {
    refused(404, "NOT_FOUND", "", "Secret not found or has no versions.")
}

/// CRC-32C by its table.
fn checksum(data: &[u8]) -> u32 {
    let table: Vec<u32> = (0..256u32)
        .map(|byte| (0..8).fold(byte, |sum, _| (sum >> 1) ^ (0x82f6_3b78 & (sum & 1).wrapping_neg())))
        .collect();
    !data.iter().fold(u32::MAX, |sum, byte| (sum >> 8) ^ table[((sum ^ u32::from(*byte)) & 0xff) as usize])
}

impl Secret {
    fn about(&self, path: &str) -> Value {
        json!({
            "name": format!("projects/{NUMBER}/{path}"), "createTime": "2025-01-01T00:00:00.000001Z", "etag": format!("\"{:x}\"", self.etag),
            "annotations": self.annotations, "labels": self.labels, "versionAliases": self.aliases, "replication": { "automatic": {} },
        })
    }

    fn about_version(&self, path: &str, number: usize) -> Value {
        let version = &self.versions[number - 1];
        json!({
            "name": format!("projects/{NUMBER}/{path}/versions/{number}"), "createTime": "2025-01-01T00:00:00.000001Z", "state": version.state,
            "etag": format!("\"{:x}\"", version.etag), "replicationStatus": { "automatic": {} }, "clientSpecifiedPayloadChecksum": true,
        })
    }

    fn add(&mut self, data: Vec<u8>, etag: u64) -> usize {
        self.versions.push(Version { data, state: "ENABLED", etag });
        self.versions.len()
    }
}

/// A path below `/v1/` and its parts.
struct Place {
    /// The secret without its project; empty where the project itself is meant.
    secret: String,
    /// What follows `versions/`.
    version: Option<String>,
    /// What follows the colon.
    verb: String,
}

impl Place {
    fn of(path: &str) -> Option<Self> {
        let rest = path.strip_prefix("/v1/projects/")?.split_once('/')?.1;
        let (rest, verb) = rest.rsplit_once(':').unwrap_or((rest, ""));
        let (secret, version) = match rest.split_once("/versions") {
            Some((secret, version)) => (secret, Some(version.trim_start_matches('/').to_owned())),
            None => (rest, None),
        };
        Some(Self { secret: secret.to_owned(), version, verb: verb.to_owned() })
    }
}

impl SecretManager {
    /// How long its tokens are good, in seconds.
    pub const LIFE: i64 = 3600;

    pub fn with(secret: &str) -> Self {
        let manager = Self::default();
        manager.clock.store(1_735_689_600, Ordering::Relaxed);
        manager.state().secrets.insert(format!("secrets/{secret}"), Secret { etag: 1, ..Secret::default() });
        manager
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn latest(&self, secret: &str) -> Option<Vec<u8>> {
        let newest = self.state().secrets.get(&format!("secrets/{secret}"))?.versions.last()?.clone();
        (newest.state == "ENABLED").then_some(newest.data)
    }

    /// Each version's content and state.
    pub fn versions(&self, secret: &str) -> Vec<(String, &'static str)> {
        let state = self.state();
        let all = state.secrets.get(&format!("secrets/{secret}")).map(|secret| secret.versions.iter());
        let shown = |version: &Version| (String::from_utf8_lossy(&version.data).into_owned(), version.state);
        all.into_iter().flatten().map(shown).collect()
    }

    pub fn close(&self, secret: &str, state: &'static str) {
        for version in &mut self.state().secrets.get_mut(&format!("secrets/{secret}")).unwrap().versions {
            version.state = state;
        }
    }

    pub fn delete(&self, secret: &str) {
        self.state().secrets.remove(&format!("secrets/{secret}"));
    }

    pub fn annotations(&self, secret: &str) -> Value {
        self.state().secrets[&format!("secrets/{secret}")].annotations.clone().into()
    }

    pub fn annotate(&self, secret: &str, key: &str, value: Option<&str>) {
        let mut state = self.state();
        let secret = state.secrets.get_mut(&format!("secrets/{secret}")).unwrap();
        match value {
            Some(value) => secret.annotations.insert(key.to_owned(), value.into()),
            None => secret.annotations.remove(key),
        };
        secret.etag += 1000;
    }

    pub fn alias(&self, secret: &str, name: &str, version: u64) {
        let mut state = self.state();
        let secret = state.secrets.get_mut(&format!("secrets/{secret}")).unwrap();
        secret.aliases.insert(name.to_owned(), version.to_string().into());
    }

    /// Somebody adds a version past everything.
    pub fn add(&self, secret: &str, data: &str) {
        self.state().secrets.get_mut(&format!("secrets/{secret}")).unwrap().add(data.into(), 7);
    }

    pub fn forbid(&self, permissions: &[&'static str]) {
        self.state().forbidden = permissions.to_vec();
    }

    pub fn answer_all_with(&self, answer: Option<(u16, &'static str, &'static str)>) {
        self.state().answer_all_with = answer;
    }

    pub fn let_lag(&self, versions: usize) {
        self.state().lag = versions;
    }

    pub fn turn_key_off(&self, off: bool) {
        self.state().key_is_off = off;
    }

    pub fn revoke_all(&self) {
        self.state().tokens.clear();
    }

    pub fn heard(&self) -> Vec<String> {
        std::mem::take(&mut self.state().heard)
    }

    pub fn quota_projects(&self) -> Vec<String> {
        self.state().quota_projects.clone()
    }

    fn issue(&self, state: &mut State, kind: &str) -> String {
        let number = self.issued.fetch_add(1, Ordering::Relaxed);
        let token = format!("ya29.{kind}-{number}");
        state.tokens.insert(token.clone(), self.clock.load(Ordering::Relaxed) + Self::LIFE);
        token
    }

    /// Whether this is a token of ours, or one that the service account's key signed.
    fn knows(&self, state: &State, asked: &Asked) -> bool {
        let Some(token) = asked.header("authorization").and_then(|text| text.strip_prefix("Bearer ")) else {
            return false;
        };
        let now = self.clock.load(Ordering::Relaxed);
        if token.starts_with("ya29.federated") {
            // Good for an impersonation alone.
            return false;
        }
        state.tokens.get(token).is_some_and(|end| now < *end) || self.verifies(token, now)
    }

    fn verifies(&self, token: &str, now: i64) -> bool {
        let Some((text, signature)) = token.rsplit_once('.') else { return false };
        let Some((head, claims)) = text.split_once('.') else { return false };
        let decoded = |part: &str| URL_SAFE_NO_PAD.decode(part).unwrap_or_default();
        let public = &service_account_key().public;
        let public = ring::signature::UnparsedPublicKey::new(&ring::signature::RSA_PKCS1_2048_8192_SHA256, public);
        let head: Value = serde_json::from_slice(&decoded(head)).unwrap_or_default();
        let claims: Value = serde_json::from_slice(&decoded(claims)).unwrap_or_default();
        let (begin, end) = (claims["iat"].as_i64().unwrap_or(i64::MAX), claims["exp"].as_i64().unwrap_or(0));
        // Google forgives clocks a little.
        let begin = begin.saturating_sub(60);
        let meant = claims["aud"] == "https://secretmanager.googleapis.com/"
            || claims["scope"].as_str().is_some_and(|scope| scope.ends_with("/auth/cloud-platform"));
        head["alg"] == "RS256"
            && head["kid"] == "0123456789abcdef"
            && claims["iss"] == ACCOUNT
            && claims["sub"] == ACCOUNT
            && meant
            && (begin..end).contains(&now)
            && end - begin <= 3660
            && public.verify(text.as_bytes(), &decoded(signature)).is_ok()
    }

    /// The services that give tokens.
    fn tokens(&self, state: &mut State, asked: &Asked, path: &str) -> Option<Answer> {
        let bearer = asked.header("authorization").unwrap_or_default();
        Some(match (asked.method.as_str(), path) {
            ("POST", "/sts/token") => {
                let form: BTreeMap<String, String> = url::form_urlencoded::parse(&asked.body).into_owned().collect();
                let right = form.get("grant_type").is_some_and(|kind| kind.ends_with("grant-type:token-exchange"))
                    && form.get("requested_token_type").is_some_and(|kind| kind.ends_with("token-type:access_token"))
                    && form.get("audience").is_some_and(|audience| audience.contains("/workloadIdentityPools/"))
                    && form.contains_key("scope");
                if !right {
                    return Some(Answer::json(400, &json!({ "error": "invalid_request" })));
                }
                if form.get("subject_token").map(String::as_str) != Some(TOKEN) {
                    let said = format!("The token {:?} is not of the provider.", form.get("subject_token"));
                    return Some(Answer::json(400, &json!({ "error": "invalid_grant", "error_description": said })));
                }
                let kind = if form["audience"].contains("/impersonated") { "federated" } else { "direct" };
                let token = self.issue(state, kind);
                Answer::json(
                    200,
                    &json!({
                        "access_token": token, "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
                        "token_type": "Bearer", "expires_in": Self::LIFE,
                    }),
                )
            }
            ("POST", "/impersonate:generateAccessToken") => {
                let known = bearer.strip_prefix("Bearer ").is_some_and(|token| state.tokens.contains_key(token));
                let said: Value = serde_json::from_slice(&asked.body).unwrap_or_default();
                if !known || !said["scope"].is_array() || said["lifetime"].as_str().is_some_and(|text| text != "3600s")
                {
                    return Some(refused(403, "PERMISSION_DENIED", "IAM_PERMISSION_DENIED", "not permitted"));
                }
                let token = self.issue(state, "impersonated");
                let end = chrono::DateTime::from_timestamp(self.clock.load(Ordering::Relaxed) + Self::LIFE, 0).unwrap();
                let end = end.to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
                Answer::json(200, &json!({ "accessToken": token, "expireTime": end }))
            }
            ("GET", path) if path.starts_with("/computeMetadata/") => {
                if asked.header("metadata-flavor") != Some("Google") {
                    return Some(Answer::empty(403));
                }
                if !path.ends_with("/service-accounts/default/token") {
                    return Some(Answer::empty(404));
                }
                let token = self.issue(state, "machine");
                let life = Self::LIFE - 1;
                Answer::json(200, &json!({ "access_token": token, "expires_in": life, "token_type": "Bearer" }))
            }
            ("GET", "/subject") => Answer::json(200, &json!({ "value": TOKEN, "count": 1 })),
            _ => return None,
        })
    }

    fn on_project(&self, state: &mut State, asked: &Asked, place: &Place, query: &BTreeMap<String, String>) -> Answer {
        let said: Value = serde_json::from_slice(&asked.body).unwrap_or_default();
        match (asked.method.as_str(), query.get("secretId")) {
            ("POST", Some(id)) => {
                let path = format!("{}/{id}", place.secret);
                let regional = place.secret.starts_with("locations/");
                if regional == said["replication"]["automatic"].is_object() {
                    return refused(400, "INVALID_ARGUMENT", "", "replication is for global secrets, and needed there");
                }
                if state.secrets.contains_key(&path) {
                    return refused(409, "ALREADY_EXISTS", "", "Secret already exists.");
                }
                state.changes += 1;
                let annotations = said["annotations"].as_object().cloned().unwrap_or_default();
                let labels = said["labels"].as_object().cloned().unwrap_or_default();
                let secret = Secret { etag: state.changes, annotations, labels, ..Secret::default() };
                let about = secret.about(&path);
                state.secrets.insert(path, secret);
                Answer::json(200, &about)
            }
            _ => refused(400, "INVALID_ARGUMENT", "", "secretId is missing"),
        }
    }

    fn on_secret(&self, state: &mut State, asked: &Asked, place: &Place, query: &BTreeMap<String, String>) -> Answer {
        let said: Value = serde_json::from_slice(&asked.body).unwrap_or_default();
        state.changes += 1;
        let (changes, forbidden) = (state.changes, state.forbidden.clone());
        let Some(secret) = state.secrets.get_mut(&place.secret) else { return not_found() };
        match (asked.method.as_str(), place.verb.as_str()) {
            ("GET", "") => Answer::json(200, &secret.about(&place.secret)),
            ("PATCH", "") => {
                let etag = said["etag"].as_str().unwrap_or_default();
                if !etag.is_empty() && etag != format!("\"{:x}\"", secret.etag) {
                    return refused(400, "FAILED_PRECONDITION", "", "The etag does not match.");
                }
                let wrong = |key: &String| {
                    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
                    key.is_empty() || key.len() > 63 || !key.bytes().all(plain)
                };
                for field in query.get("updateMask").map(String::as_str).unwrap_or_default().split(',') {
                    let sent = said[field].as_object().cloned().unwrap_or_default();
                    match field {
                        "annotations" if sent.keys().any(wrong) => {
                            return refused(400, "INVALID_ARGUMENT", "", "An annotation's key is none.");
                        }
                        "annotations" => secret.annotations = sent,
                        "labels" => secret.labels = sent,
                        "versionAliases" => secret.aliases = sent,
                        _ => return refused(400, "INVALID_ARGUMENT", "", "updateMask names no field."),
                    }
                }
                secret.etag = changes;
                Answer::json(200, &secret.about(&place.secret))
            }
            ("POST", "addVersion") => {
                let Ok(data) = STANDARD.decode(said["payload"]["data"].as_str().unwrap_or_default()) else {
                    return refused(400, "INVALID_ARGUMENT", "", "The payload is no base64.");
                };
                let sum = &said["payload"]["dataCrc32c"];
                let sum = sum.as_str().map_or_else(|| sum.as_u64(), |text| text.parse().ok());
                if data.len() > 65_536 || sum.is_some_and(|sum| sum != u64::from(checksum(&data))) {
                    return refused(400, "INVALID_ARGUMENT", "", "The payload's checksum does not match.");
                }
                let number = secret.add(data, changes);
                Answer::json(200, &secret.about_version(&place.secret, number))
            }
            ("POST", "testIamPermissions") => {
                let asked = said["permissions"].as_array().cloned().unwrap_or_default();
                let held: Vec<Value> =
                    asked.into_iter().filter(|one| !forbidden.iter().any(|forbidden| one == forbidden)).collect();
                // What is empty is left out.
                Answer::json(200, &if held.is_empty() { json!({}) } else { json!({ "permissions": held }) })
            }
            ("DELETE", "") => {
                state.secrets.remove(&place.secret);
                Answer::json(200, &json!({}))
            }
            _ => not_found(),
        }
    }

    fn on_version(&self, state: &mut State, asked: &Asked, place: &Place, wanted: &str) -> Answer {
        state.changes += 1;
        let (changes, lag, key_is_off) = (state.changes, state.lag, state.key_is_off);
        let Some(secret) = state.secrets.get_mut(&place.secret) else { return not_found() };
        let count = secret.versions.len();
        if wanted.is_empty() {
            let all = (1..=count).rev();
            let open = asked.path.contains("filter=state%3AENABLED");
            let all: Vec<Value> = all
                .filter(|number| !open || secret.versions[number - 1].state == "ENABLED")
                .map(|number| secret.about_version(&place.secret, number))
                .collect();
            return Answer::json(200, &json!({ "versions": all, "totalSize": all.len() }));
        }
        let number = match (wanted, secret.aliases.get(wanted)) {
            ("latest", _) => count.saturating_sub(lag),
            (_, Some(number)) => number.as_str().and_then(|text| text.parse().ok()).unwrap_or(0),
            (number, None) => number.parse().unwrap_or(0),
        };
        let name = format!("projects/{NUMBER}/{}/versions/{number}", place.secret);
        let Some(version) = number.checked_sub(1).and_then(|index| secret.versions.get_mut(index)) else {
            return not_found();
        };
        let said: Value = serde_json::from_slice(&asked.body).unwrap_or_default();
        let etag = said["etag"].as_str().unwrap_or_default();
        let state = match (asked.method.as_str(), place.verb.as_str()) {
            ("GET", "access") if version.state != "ENABLED" => {
                let said = format!("Secret Version [{name}] is in {} state.", version.state);
                return refused(400, "FAILED_PRECONDITION", "", &said);
            }
            ("GET", "access") if key_is_off => return no_key(),
            ("GET", "access") => {
                let payload = json!({ "data": STANDARD.encode(&version.data), "dataCrc32c": checksum(&version.data).to_string() });
                return Answer::json(200, &json!({ "name": name, "payload": payload }));
            }
            ("GET", "") => return Answer::json(200, &secret.about_version(&place.secret, number)),
            ("POST", _) if !etag.is_empty() && etag != format!("\"{:x}\"", version.etag) => {
                return refused(400, "FAILED_PRECONDITION", "", "The etag does not match.");
            }
            ("POST", "disable") => "DISABLED",
            ("POST", "enable") => "ENABLED",
            ("POST", "destroy") => "DESTROYED",
            _ => return not_found(),
        };
        if version.state == "DESTROYED" {
            return refused(400, "FAILED_PRECONDITION", "", "The version is destroyed.");
        }
        (version.state, version.etag) = (state, changes);
        if state == "DESTROYED" {
            version.data.clear();
        }
        Answer::json(200, &secret.about_version(&place.secret, number))
    }

    /// What permission this needs.
    fn permission(asked: &Asked, place: &Place) -> &'static str {
        match (asked.method.as_str(), place.version.as_deref(), place.verb.as_str()) {
            ("GET", None, _) => "secretmanager.secrets.get",
            ("PATCH", None, _) => "secretmanager.secrets.update",
            ("POST", None, "addVersion") => "secretmanager.versions.add",
            ("POST", None, "") => "secretmanager.secrets.create",
            ("GET", Some(_), "access") => "secretmanager.versions.access",
            ("GET", Some(""), _) => "secretmanager.versions.list",
            ("POST", Some(_), "disable") => "secretmanager.versions.disable",
            ("POST", Some(_), "destroy") => "secretmanager.versions.destroy",
            _ => "",
        }
    }
}

impl Service for SecretManager {
    fn answer(&self, asked: &Asked) -> Answer {
        let mut state = self.state();
        let (path, query) = asked.path.split_once('?').unwrap_or((&asked.path, ""));
        let query: BTreeMap<String, String> = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        state.heard.push(format!("{} {}", asked.method, path.rsplit('/').next().unwrap_or_default()));
        if let Some(answer) = self.tokens(&mut state, asked, path) {
            return answer;
        }
        if let Some((code, status, reason)) = state.answer_all_with {
            // As some servers do with what they do not understand.
            let answer = refused(code, status, reason, &String::from_utf8_lossy(&asked.body));
            return Answer { headers: vec![("location", "http://127.0.0.1:9/".to_owned())], ..answer };
        }
        state.quota_projects.extend(asked.header("x-goog-user-project").map(str::to_owned));
        if !self.knows(&state, asked) {
            return refused(
                401,
                "UNAUTHENTICATED",
                "ACCESS_TOKEN_EXPIRED",
                "Request had invalid authentication credentials.",
            );
        }
        let Some(place) = Place::of(path) else { return not_found() };
        if state.forbidden.contains(&Self::permission(asked, &place)) {
            return refused(403, "PERMISSION_DENIED", "IAM_PERMISSION_DENIED", "Permission denied on resource.");
        }
        if state.key_is_off && place.verb == "addVersion" {
            return no_key();
        }
        match &place.version {
            Some(version) => self.on_version(&mut state, asked, &place, version),
            None if place.secret.ends_with("secrets") => self.on_project(&mut state, asked, &place, &query),
            None => self.on_secret(&mut state, asked, &place, &query),
        }
    }

    fn writes(&self, asked: &Asked) -> bool {
        asked.path.contains(":addVersion")
    }

    fn between(&self, generation: u64) {
        let document = document(generation);
        let data = written(&document);
        let mut state = self.state();
        state.changes += 1;
        let changes = state.changes;
        let secret = state.secrets.values_mut().next().unwrap();
        secret.etag = changes;
        secret.annotations.insert("keywheel-target".to_owned(), "orders-cache".into());
        secret.annotations.insert("keywheel-generation".to_owned(), generation.to_string().into());
        secret.annotations.insert("keywheel-after".to_owned(), secret.versions.len().to_string().into());
        secret.add(data, changes);
    }

    fn turn_away(&self, trouble: Trouble, asked: &Asked) -> Answer {
        let of_the_store = asked.path.starts_with("/v1/");
        match trouble {
            Trouble::Denied if of_the_store => {
                refused(403, "PERMISSION_DENIED", "IAM_PERMISSION_DENIED", "Permission denied on resource.")
            }
            Trouble::NotFound if of_the_store => not_found(),
            Trouble::Denied | Trouble::NotFound => self.answer(asked),
            Trouble::Throttled => {
                let headers = vec![("retry-after", "3".to_owned())];
                Answer { headers, ..refused(429, "RESOURCE_EXHAUSTED", "RATE_LIMIT_EXCEEDED", "Quota exceeded.") }
            }
            Trouble::Full => refused(429, "RESOURCE_EXHAUSTED", "", "Quota exceeded."),
            Trouble::Broken => refused(503, "UNAVAILABLE", "", &String::from_utf8_lossy(&asked.body)),
            Trouble::Down
            | Trouble::LostAnswer
            | Trouble::Hang
            | Trouble::Huge
            | Trouble::Between(_)
            | Trouble::LostBetween(_) => unreachable!(),
        }
    }
}
