//! A Vault with one KV store of version 2, and as much of the rest as a client of it needs: written from the API documents "KV secrets engine -
//! version 2", "AppRole", "Kubernetes", "Token" and "/sys/capabilities-self". hvac is its judge (tests/sinks/clients.rs).

use super::conformance::Trouble;
use super::rows::{TOKEN, document};
use super::stand_in::{Answer, Asked, Service};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// All but the unreserved characters of RFC 3986.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A token that never ends.
pub const ROOT: &str = "root-token-of-the-test";

#[derive(Default, Clone)]
struct Secret {
    versions: Vec<Version>,
    notes: Map<String, Value>,
}

#[derive(Clone)]
struct Version {
    data: Option<Map<String, Value>>,
    deleted: bool,
    destroyed: bool,
}

impl Version {
    fn about(&self, number: usize, notes: &Map<String, Value>) -> Value {
        let time = |is: bool| if is { "2026-01-02T03:04:05.000000006Z" } else { "" };
        json!({
            "version": number, "created_time": time(true), "deletion_time": time(self.deleted),
            "destroyed": self.destroyed, "custom_metadata": (!notes.is_empty()).then_some(notes),
        })
    }
}

#[derive(Default)]
struct State {
    secrets: BTreeMap<String, Secret>,
    /// When each token ends, and when it began.
    tokens: BTreeMap<String, (i64, i64)>,
    logins: usize,
    renewals: usize,
    longest_life: i64,
    namespaces: Vec<String>,
    forbidden: &'static str,
    answer_all_with: Option<u16>,
    version_one: bool,
}

pub struct Vault {
    mount: &'static str,
    /// Seconds, moved by hand.
    pub clock: Arc<AtomicI64>,
    state: Mutex<State>,
}

fn refused(status: u16, errors: &[&str]) -> Answer {
    Answer::json(status, &json!({ "errors": errors }))
}

fn data(data: Value) -> Answer {
    Answer::json(
        200,
        &json!({
            "request_id": "5a7e", "lease_id": "", "renewable": false, "lease_duration": 0, "data": data,
            "wrap_info": null, "warnings": null, "auth": null,
        }),
    )
}

impl Vault {
    /// How long a token lives unless it is renewed, in seconds.
    pub const LEASE: i64 = 3_600;

    pub fn new(mount: &'static str) -> Self {
        let state = State { longest_life: i64::MAX, ..State::default() };
        Self { mount, clock: Arc::new(AtomicI64::new(1_767_225_600)), state: Mutex::new(state) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> i64 {
        self.clock.load(Ordering::Relaxed)
    }

    pub fn newest(&self, path: &str) -> Option<Map<String, Value>> {
        let newest = self.state().secrets.get(path)?.versions.last()?.clone();
        newest.data.filter(|_| !newest.deleted && !newest.destroyed)
    }

    pub fn versions(&self, path: &str) -> Vec<String> {
        let state = self.state();
        let all = state.secrets.get(path).map(|secret| secret.versions.iter());
        all.into_iter()
            .flatten()
            .map(|version| format!("{:?}", version.data.as_ref().map(|data| &data["generation"])))
            .collect()
    }

    pub fn delete_newest(&self, path: &str) {
        self.state().secrets.get_mut(path).unwrap().versions.last_mut().unwrap().deleted = true;
    }

    pub fn destroy_newest(&self, path: &str) {
        let mut state = self.state();
        let newest = state.secrets.get_mut(path).unwrap().versions.last_mut().unwrap();
        (newest.data, newest.destroyed) = (None, true);
    }

    pub fn note(&self, path: &str, key: &str, value: &str) {
        self.state().secrets.entry(path.to_owned()).or_default().notes.insert(key.to_owned(), value.into());
    }

    pub fn notes(&self, path: &str) -> Value {
        self.state().secrets[path].notes.clone().into()
    }

    pub fn logins(&self) -> usize {
        self.state().logins
    }

    pub fn renewals(&self) -> usize {
        self.state().renewals
    }

    pub fn revoke_all(&self) {
        self.state().tokens.clear();
    }

    pub fn set_longest_life(&self, seconds: i64) {
        self.state().longest_life = seconds;
    }

    pub fn namespaces(&self) -> Vec<String> {
        self.state().namespaces.clone()
    }

    /// Takes every right to one side of the secrets away; of the empty one there is none.
    pub fn forbid(&self, side: &'static str) {
        self.state().forbidden = side;
    }

    pub fn answer_all_with(&self, status: Option<u16>) {
        self.state().answer_all_with = status;
    }

    pub fn make_version_one(&self) {
        self.state().version_one = true;
    }

    fn log_in(&self, state: &mut State) -> Answer {
        state.logins += 1;
        let token = format!("hvs.of-login-{}", state.logins);
        state.tokens.insert(token.clone(), (self.now() + Self::LEASE, self.now()));
        Answer::json(
            200,
            &json!({ "auth": {
                "client_token": token, "accessor": "a", "policies": ["default", "keywheel"], "token_policies": ["default", "keywheel"],
                "metadata": {}, "lease_duration": Self::LEASE, "renewable": true, "entity_id": "e", "token_type": "service",
            } }),
        )
    }

    fn auth(&self, state: &mut State, path: &str, said: &Value, certified: bool) -> Option<Answer> {
        Some(match path {
            "auth/approle/login" => match (said["role_id"].as_str(), said["secret_id"].as_str()) {
                (Some("keywheel-role"), Some(TOKEN)) => self.log_in(state),
                _ => refused(400, &["invalid role or secret ID"]),
            },
            "auth/clusters/eu/login" => match (said["role"].as_str(), said["jwt"].as_str()) {
                (Some("keywheel"), Some("pod-identity-token")) => self.log_in(state),
                (Some("keywheel"), _) => refused(403, &["permission denied"]),
                _ => refused(400, &["invalid role name \"another\""]),
            },
            "auth/cert/login" if certified => self.log_in(state),
            "auth/cert/login" => refused(400, &["client certificate must be supplied"]),
            _ => return None,
        })
    }

    fn own_token(&self, state: &mut State, method: &str, path: &str, token: &str) -> Option<Answer> {
        let now = self.now();
        let (end, began) = *state.tokens.get(token).unwrap_or(&(i64::MAX, now));
        match (method, path) {
            ("GET", "auth/token/lookup-self") => Some(data(json!({
                "id": token, "ttl": if token == ROOT { 0 } else { end - now }, "renewable": token != ROOT,
                "policies": ["root"], "creation_time": began, "type": "service", "path": "auth/token/create",
            }))),
            ("POST" | "PUT", "auth/token/renew-self") => {
                state.renewals += 1;
                let end = (now + Self::LEASE).min(began.saturating_add(state.longest_life));
                state.tokens.insert(token.to_owned(), (end, began));
                Some(Answer::json(
                    200,
                    &json!({ "auth": { "client_token": token, "lease_duration": end - now, "renewable": true } }),
                ))
            }
            _ => None,
        }
    }

    fn sys(&self, state: &State, method: &str, path: &str, said: &Value) -> Option<Answer> {
        match (method, path) {
            ("POST", "sys/capabilities-self") => {
                let rights = |path: &str| match path
                    .strip_prefix(self.mount)
                    .and_then(|rest| rest.get(1..)?.split('/').next())
                {
                    Some(side) if side == state.forbidden => json!(["deny"]),
                    Some("data") => json!(["create", "read", "update"]),
                    Some(_) => json!(["create", "read", "update", "list"]),
                    None => json!(["deny"]),
                };
                let all: Map<String, Value> = said["paths"]
                    .as_array()?
                    .iter()
                    .filter_map(Value::as_str)
                    .map(|path| (path.to_owned(), rights(path)))
                    .collect();
                Some(data(all.into()))
            }
            ("GET", path) if path.strip_prefix("sys/internal/ui/mounts/") == Some(self.mount) => {
                let options = if state.version_one { json!(null) } else { json!({ "version": "2" }) };
                Some(data(json!({ "type": "kv", "path": format!("{}/", self.mount), "options": options })))
            }
            _ => None,
        }
    }

    fn kv(&self, state: &mut State, method: &str, path: &str, said: &Value, query: &str) -> Answer {
        let Some((side, path)) = path.split_once('/') else { return refused(404, &[]) };
        if side == state.forbidden {
            return refused(403, &["1 error occurred:\n\t* permission denied\n\n"]);
        }
        let known = state.secrets.contains_key(path);
        let secret = state.secrets.entry(path.to_owned()).or_default();
        let newest = secret.versions.len();
        let asked = query
            .strip_prefix("version=")
            .and_then(|text| text.parse().ok())
            .filter(|asked| *asked > 0)
            .unwrap_or(newest);
        let numbers = || {
            said["versions"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_u64)
                .map(|number| number as usize - 1)
        };
        let answer = match (method, side) {
            ("GET", "data") => match secret.versions.get(asked.wrapping_sub(1)) {
                None => refused(404, &[]),
                Some(version) => {
                    let gone = version.deleted || version.destroyed;
                    let shown = if gone { Value::Null } else { version.data.clone().into() };
                    let body = json!({ "data": shown, "metadata": version.about(asked, &secret.notes) });
                    Answer { status: if gone { 404 } else { 200 }, ..data(body) }
                }
            },
            ("POST" | "PUT", "data") => match (said["options"]["cas"].as_u64(), said["data"].as_object()) {
                (Some(cas), _) if cas != newest as u64 => {
                    refused(400, &["check-and-set parameter did not match the current version"])
                }
                (_, None) => refused(400, &["no data provided"]),
                (_, Some(sent)) => {
                    secret.versions.push(Version { data: Some(sent.clone()), deleted: false, destroyed: false });
                    data(secret.versions[newest].about(newest + 1, &secret.notes))
                }
            },
            ("DELETE", "data") => {
                secret.versions.last_mut().into_iter().for_each(|version| version.deleted = true);
                Answer::empty(204)
            }
            ("POST" | "PUT", "delete" | "undelete" | "destroy") => {
                for number in numbers() {
                    let Some(version) = secret.versions.get_mut(number) else { continue };
                    match side {
                        "destroy" => (version.data, version.destroyed) = (None, true),
                        _ => version.deleted = side == "delete",
                    }
                }
                Answer::empty(204)
            }
            ("GET", "metadata") if known => {
                let versions: Map<String, Value> = (1..)
                    .zip(&secret.versions)
                    .map(|(number, version): (usize, _)| (number.to_string(), version.about(number, &Map::new())))
                    .collect();
                data(json!({
                    "current_version": newest, "oldest_version": 1, "max_versions": 0, "cas_required": false,
                    "custom_metadata": secret.notes, "versions": versions,
                }))
            }
            ("POST" | "PUT", "metadata") => match said["custom_metadata"].as_object() {
                Some(notes) if notes.values().all(|value| value.as_str().is_some_and(|text| text.len() <= 512)) => {
                    secret.notes = notes.clone();
                    Answer::empty(204)
                }
                Some(_) => refused(400, &["custom_metadata validation failed"]),
                None => Answer::empty(204),
            },
            ("DELETE", "metadata") => {
                *secret = Secret::default();
                Answer::empty(204)
            }
            ("GET", "metadata") => refused(404, &[]),
            _ => refused(405, &["unsupported operation"]),
        };
        if state.secrets.get(path).is_some_and(|secret| secret.versions.is_empty() && secret.notes.is_empty()) {
            state.secrets.remove(path);
        }
        answer
    }

    /// The path below `/v1/` and the query.
    fn parts(asked: &Asked) -> (String, String) {
        let (path, query) = asked.path.split_once('?').unwrap_or((&asked.path, ""));
        let path =
            percent_decode_str(path.strip_prefix("/v1/").unwrap_or_default()).decode_utf8().unwrap().into_owned();
        (path, query.to_owned())
    }
}

impl Service for Vault {
    fn answer(&self, asked: &Asked) -> Answer {
        let mut state = self.state();
        state.namespaces.push(asked.header("x-vault-namespace").unwrap_or_default().to_owned());
        if let Some(status) = state.answer_all_with {
            let errors = json!({ "errors": [String::from_utf8_lossy(&asked.body)] });
            let location = vec![("location", "http://127.0.0.1:9/v1/".to_owned())];
            return Answer { status, headers: location, body: errors.to_string().into_bytes() };
        }
        let (path, query) = Self::parts(asked);
        let said: Value = serde_json::from_slice(&asked.body).unwrap_or_default();
        if let Some(answer) = self.auth(&mut state, &path, &said, asked.certified) {
            return answer;
        }
        let token = asked.header("x-vault-token").unwrap_or_default();
        let good = token == ROOT || state.tokens.get(token).is_some_and(|(end, _)| self.now() < *end);
        if !good {
            return refused(403, &["permission denied"]);
        }
        if let Some(answer) = self.own_token(&mut state, &asked.method, &path, token) {
            return answer;
        }
        if let Some(answer) = self.sys(&state, &asked.method, &path, &said) {
            return answer;
        }
        match path.strip_prefix(self.mount).and_then(|rest| rest.strip_prefix('/')) {
            Some(rest) => self.kv(&mut state, &asked.method, rest, &said, &query),
            None => refused(404, &[&format!("no handler for route {path:?}. route entry not found.")]),
        }
    }

    fn writes(&self, asked: &Asked) -> bool {
        asked.method == "POST" && Self::parts(asked).0.starts_with(&format!("{}/data/", self.mount))
    }

    fn between(&self, generation: u64) {
        let document = document(generation);
        // As another keywheel would write it, so that the same generation is the same content.
        let sent = json!({
            "target": "orders-cache", "generation": generation, "account": document.account, "user": document.login_user,
            "password": document.login_password.expose(), "host": "10.0.0.12", "port": 6379, "tls": false,
            "url": format!("redis://app:{}@10.0.0.12:6379", percent_encoding::utf8_percent_encode(
                document.login_password.expose(),
                UNRESERVED,
            )),
        });
        let mut state = self.state();
        let secret = state.secrets.values_mut().next().unwrap();
        secret.versions.push(Version { data: sent.as_object().cloned(), deleted: false, destroyed: false });
    }

    fn turn_away(&self, trouble: Trouble, asked: &Asked) -> Answer {
        let (path, _) = Self::parts(asked);
        let of_the_store = path.starts_with(self.mount);
        match trouble {
            // The token is good and may do nothing.
            Trouble::Denied if path == "sys/capabilities-self" => {
                let said: Value = serde_json::from_slice(&asked.body).unwrap();
                let all = said["paths"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|path| (path.as_str().unwrap().to_owned(), json!(["deny"])));
                data(Value::Object(all.collect()))
            }
            Trouble::Denied if of_the_store => refused(403, &["1 error occurred:\n\t* permission denied\n\n"]),
            Trouble::NotFound if of_the_store => {
                refused(404, &[&format!("no handler for route {path:?}. route entry not found.")])
            }
            Trouble::NotFound if path.starts_with("sys/internal") => {
                refused(403, &["preflight capability check returned 403"])
            }
            Trouble::Denied | Trouble::NotFound => self.answer(asked),
            Trouble::Throttled => {
                let headers = vec![("retry-after", "3".to_owned())];
                Answer { headers, ..refused(429, &["request path \"kv\": rate limit quota exceeded"]) }
            }
            Trouble::Full => refused(500, &["1 error occurred:\n\t* no space left on device\n\n"]),
            Trouble::Broken => refused(503, &["Vault is sealed"]),
            Trouble::Down
            | Trouble::LostAnswer
            | Trouble::Hang
            | Trouble::Huge
            | Trouble::Between(_)
            | Trouble::LostBetween(_) => unreachable!(),
        }
    }
}
