//! A stand-in of an Azure Key Vault (REST 2025-07-01, secrets), of Entra's token endpoint and of a machine's metadata service. Azure's own clients for Python
//! pass against it (tests/sdk/azure.py).

use super::conformance::Trouble;
use super::rows::{TOKEN, document};
use super::stand_in::{Answer, Asked, Service};
use keywheel::clock::{Clock, SystemClock};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

pub const TENANT: &str = "11111111-1111-1111-1111-111111111111";
pub const CLIENT: &str = "22222222-2222-2222-2222-222222222222";
pub const POD_TOKEN: &str = "token-of-the-pod";

/// How long a token is said to be good, in seconds.
const LIFE: i64 = 3600;

/// How many versions a page has.
const PAGE: usize = 25;

#[derive(Clone)]
struct Version {
    id: String,
    value: String,
    content_type: Value,
    tags: Map<String, Value>,
    attributes: Map<String, Value>,
}

#[derive(Default)]
struct State {
    secrets: BTreeMap<String, Vec<Version>>,
    deleted: BTreeMap<String, Vec<Version>>,
    tokens: Vec<String>,
    issued: usize,
    versions: u128,
    secret: Option<String>,
    /// With what words everything is turned away.
    answer_all_with: Option<(u16, &'static str, &'static str)>,
    /// A method that is not permitted.
    forbidden: &'static str,
    /// Where the next page is said to be.
    next_page: Option<String>,
}

#[derive(Default)]
pub struct KeyVault(Mutex<State>);

fn refused(status: u16, code: &str, inner: &str, message: &str) -> Answer {
    let mut error = json!({ "code": code, "message": message });
    if !inner.is_empty() {
        error["innererror"] = json!({ "code": inner });
    }
    Answer::json(status, &json!({ "error": error }))
}

fn not_found() -> Answer {
    refused(404, "SecretNotFound", "", "A secret with (name/id) was not found in this key vault.")
}

impl Version {
    fn is_enabled(&self) -> bool {
        self.attributes["enabled"] == true
    }

    fn about(&self, host: &str, name: &str) -> Value {
        let mut about = json!({
            "id": format!("https://{host}/secrets/{name}/{}", self.id), "attributes": self.attributes, "tags": self.tags,
        });
        if self.content_type.is_string() {
            about["contentType"] = self.content_type.clone();
        }
        about
    }

    fn whole(&self, host: &str, name: &str) -> Value {
        let mut whole = self.about(host, name);
        whole["value"] = self.value.clone().into();
        whole
    }
}

impl State {
    fn add(&mut self, name: &str, value: &str, sent: &Value) -> Version {
        self.versions += 1;
        let now = SystemClock.now().seconds();
        let mut attributes = json!({ "enabled": true, "created": now, "updated": now, "recoveryLevel": "Recoverable+Purgeable", "recoverableDays": 90 });
        for (key, value) in sent["attributes"].as_object().into_iter().flatten() {
            attributes[key] = value.clone();
        }
        let version = Version {
            // In no order of time.
            id: format!("{:032x}", self.versions.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)),
            value: value.to_owned(),
            content_type: sent["contentType"].clone(),
            tags: sent["tags"].as_object().cloned().unwrap_or_default(),
            attributes: attributes.as_object().cloned().unwrap(),
        };
        self.secrets.entry(name.to_owned()).or_default().push(version.clone());
        version
    }

    fn issue(&mut self, kind: &str) -> String {
        self.issued += 1;
        let token = format!("ey.{kind}.{}", self.issued);
        self.tokens.push(token.clone());
        token
    }
}

impl KeyVault {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn current(&self, name: &str) -> Option<String> {
        let state = self.state();
        let newest = state.secrets.get(name)?.last()?;
        newest.is_enabled().then(|| newest.value.clone())
    }

    /// Each version's value, tags, content type and attributes.
    pub fn versions(&self, name: &str) -> Vec<(String, Value, Value, Value)> {
        let state = self.state();
        let all = state.secrets.get(name).map(|versions| versions.iter());
        let shown = |version: &Version| {
            let (tags, attributes) = (version.tags.clone().into(), version.attributes.clone().into());
            (version.value.clone(), tags, version.content_type.clone(), attributes)
        };
        all.into_iter().flatten().map(shown).collect()
    }

    /// Somebody adds a version past everything, with these tags.
    pub fn add(&self, name: &str, value: &str, tags: Value) {
        self.state().add(name, value, &json!({ "tags": tags }));
    }

    pub fn disable(&self, name: &str) {
        let mut state = self.state();
        state.secrets.get_mut(name).unwrap().last_mut().unwrap().attributes.insert("enabled".to_owned(), false.into());
    }

    pub fn purge(&self, name: &str) {
        self.state().secrets.remove(name);
    }

    pub fn delete(&self, name: &str) {
        let mut state = self.state();
        let versions = state.secrets.remove(name).unwrap();
        state.deleted.insert(name.to_owned(), versions);
    }

    pub fn issued(&self) -> usize {
        self.state().issued
    }

    pub fn revoke_all(&self) {
        self.state().tokens.clear();
    }

    /// Another client secret is good from now on, and no token of the old one.
    pub fn replace_secret(&self, secret: &str) {
        let mut state = self.state();
        state.secret = Some(secret.to_owned());
        state.tokens.clear();
    }

    pub fn answer_all_with(&self, answer: Option<(u16, &'static str, &'static str)>) {
        self.state().answer_all_with = answer;
    }

    pub fn forbid(&self, method: &'static str) {
        self.state().forbidden = method;
    }

    pub fn say_next_page(&self, address: &str) {
        self.state().next_page = Some(address.to_owned());
    }

    /// The services that give tokens.
    fn tokens(&self, state: &mut State, asked: &Asked, path: &str, query: &BTreeMap<String, String>) -> Option<Answer> {
        let authority = format!("https://{}", asked.header("host").unwrap_or_default());
        if path == format!("/{TENANT}/v2.0/.well-known/openid-configuration") {
            return Some(Answer::json(
                200,
                &json!({
                    "token_endpoint": format!("{authority}/{TENANT}/oauth2/v2.0/token"), "issuer": format!("{authority}/{TENANT}/v2.0"),
                    "authorization_endpoint": format!("{authority}/{TENANT}/oauth2/v2.0/authorize"), "tenant_region_scope": "EU",
                }),
            ));
        }
        if path == "/metadata/identity/oauth2/token" {
            let whose = query.get("client_id").map(String::as_str);
            if asked.header("metadata") != Some("true")
                || query.get("resource").map(String::as_str) != Some("https://vault.azure.net")
            {
                return Some(Answer::json(400, &json!({ "error": "invalid_request" })));
            }
            if whose.is_some_and(|client| client != CLIENT) {
                return Some(Answer::json(
                    400,
                    &json!({ "error": "invalid_request", "error_description": "Identity not found" }),
                ));
            }
            let token = state.issue("machine");
            let end = (SystemClock.now().seconds() + LIFE).to_string();
            return Some(Answer::json(
                200,
                &json!({ "access_token": token, "expires_on": end, "resource": "https://vault.azure.net", "token_type": "Bearer" }),
            ));
        }
        if path != format!("/{TENANT}/oauth2/v2.0/token") {
            return None;
        }
        let form: BTreeMap<String, String> = url::form_urlencoded::parse(&asked.body).into_owned().collect();
        let is = |name: &str, value: &str| form.get(name).map(String::as_str) == Some(value);
        let says = |code: u32| {
            // As the real one, it repeats what it was sent.
            let said = format!("AADSTS{code}: not accepted: {form:?}");
            Answer::json(401, &json!({ "error": "invalid_client", "error_description": said, "error_codes": [code] }))
        };
        if !is("grant_type", "client_credentials")
            || !is("client_id", CLIENT)
            || !form.get("scope").is_some_and(|scope| scope.starts_with("https://vault.azure.net/.default"))
        {
            return Some(says(700_016));
        }
        let secret = state.secret.clone().unwrap_or_else(|| TOKEN.to_owned());
        let by_token = is("client_assertion", POD_TOKEN)
            && is("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
        if !is("client_secret", &secret) && !by_token {
            return Some(says(if form.contains_key("client_assertion") { 700_213 } else { 7_000_215 }));
        }
        let token = state.issue("application");
        Some(Answer::json(
            200,
            &json!({ "token_type": "Bearer", "expires_in": LIFE, "ext_expires_in": LIFE, "access_token": token }),
        ))
    }

    fn challenge() -> Answer {
        let challenge = format!(
            "Bearer authorization=\"https://login.microsoftonline.com/{TENANT}\", resource=\"https://vault.azure.net\""
        );
        let answer = refused(401, "Unauthorized", "", "AKV10000: Request is missing a Bearer or PoP token.");
        Answer {
            headers: vec![("www-authenticate", challenge), ("content-type", "application/json".to_owned())],
            ..answer
        }
    }

    fn on_secret(
        &self,
        state: &mut State,
        asked: &Asked,
        name: &str,
        version: &str,
        query: &BTreeMap<String, String>,
    ) -> Answer {
        let host = asked.header("host").unwrap_or_default().to_owned();
        let sent: Value = serde_json::from_slice(&asked.body).unwrap_or_default();
        if asked.method == "PUT" {
            let Some(value) = sent["value"].as_str() else {
                return refused(400, "BadParameter", "", "Property value was not specified.");
            };
            if state.deleted.contains_key(name) {
                let said = "Secret is currently in a deleted but recoverable state, and its name cannot be reused.";
                return refused(409, "Conflict", "ObjectIsDeletedButRecoverable", said);
            }
            if value.len() > 25 * 1024 || sent["tags"].as_object().is_some_and(|tags| tags.len() > 15) {
                return refused(400, "BadParameter", "", "Too large.");
            }
            let version = state.add(name, value, &sent);
            return Answer::json(200, &version.whole(&host, name));
        }
        let next_page = state.next_page.clone();
        let Some(versions) = state.secrets.get_mut(name) else { return not_found() };
        match (asked.method.as_str(), version) {
            ("GET", "versions") => {
                let mut sorted = versions.clone();
                sorted.sort_by(|one, other| one.id.cmp(&other.id));
                let from = query.get("$skiptoken").and_then(|text| text.parse().ok()).unwrap_or(0);
                let page: Vec<Value> =
                    sorted.iter().skip(from).take(PAGE).map(|version| version.about(&host, name)).collect();
                let more = from + PAGE < sorted.len();
                let next =
                    format!("https://{host}/secrets/{name}/versions?api-version=2025-07-01&$skiptoken={}", from + PAGE);
                let next = next_page.or_else(|| more.then_some(next));
                Answer::json(200, &json!({ "value": page, "nextLink": next }))
            }
            ("DELETE", "") => {
                let versions = state.secrets.remove(name).unwrap_or_default();
                let mut about = versions.last().unwrap().about(&host, name);
                about["recoveryId"] = format!("https://{host}/deletedsecrets/{name}").into();
                about["deletedDate"] = SystemClock.now().seconds().into();
                about["scheduledPurgeDate"] = (SystemClock.now().seconds() + LIFE).into();
                state.deleted.insert(name.to_owned(), versions);
                Answer::json(200, &about)
            }
            ("GET", wanted) => {
                let found = match wanted {
                    "" => versions.last(),
                    wanted => versions.iter().find(|version| version.id == wanted),
                };
                match found {
                    None => not_found(),
                    Some(version) if !version.is_enabled() => refused(
                        403,
                        "Forbidden",
                        "SecretDisabled",
                        "Operation get is not allowed on a disabled secret.",
                    ),
                    Some(version) => Answer::json(200, &version.whole(&host, name)),
                }
            }
            ("PATCH", wanted) => match versions.iter_mut().find(|version| version.id == wanted) {
                None => not_found(),
                Some(version) => {
                    if let Some(tags) = sent["tags"].as_object() {
                        version.tags = tags.clone();
                    }
                    for (key, value) in sent["attributes"].as_object().into_iter().flatten() {
                        version.attributes.insert(key.clone(), value.clone());
                    }
                    Answer::json(200, &version.about(&host, name))
                }
            },
            _ => refused(405, "BadParameter", "", "no such method"),
        }
    }

    fn on_deleted(&self, state: &mut State, asked: &Asked, name: &str, verb: &str) -> Answer {
        let host = asked.header("host").unwrap_or_default();
        let Some(versions) = state.deleted.get(name).cloned() else { return not_found() };
        let mut about = versions.last().unwrap().about(host, name);
        about["recoveryId"] = format!("https://{host}/deletedsecrets/{name}").into();
        match (asked.method.as_str(), verb) {
            ("GET", "") => Answer::json(200, &about),
            ("POST", "recover") => {
                state.deleted.remove(name);
                state.secrets.insert(name.to_owned(), versions);
                Answer::json(200, &about)
            }
            ("DELETE", "") => {
                state.deleted.remove(name);
                Answer::empty(204)
            }
            _ => refused(405, "BadParameter", "", "no such method"),
        }
    }
}

impl Service for KeyVault {
    fn answer(&self, asked: &Asked) -> Answer {
        let mut state = self.state();
        let (path, query) = asked.path.split_once('?').unwrap_or((&asked.path, ""));
        let query: BTreeMap<String, String> = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        if let Some(answer) = self.tokens(&mut state, asked, path, &query) {
            return answer;
        }
        let bearer = asked.header("authorization").and_then(|text| text.strip_prefix("Bearer ")).unwrap_or_default();
        if !state.tokens.iter().any(|token| token == bearer) {
            return Self::challenge();
        }
        if let Some((status, code, inner)) = state.answer_all_with {
            let answer = refused(status, code, inner, &String::from_utf8_lossy(&asked.body));
            return Answer { headers: vec![("location", "http://127.0.0.1:9/".to_owned())], ..answer };
        }
        if asked.method == state.forbidden {
            let said = "Caller is not authorized to perform action on resource.";
            return refused(403, "Forbidden", "ForbiddenByRbac", said);
        }
        if !query.contains_key("api-version") {
            return refused(400, "BadParameter", "", "api-version is missing");
        }
        let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        match parts[..] {
            ["secrets", name] => self.on_secret(&mut state, asked, name, "", &query),
            ["secrets", name, version] => self.on_secret(&mut state, asked, name, version, &query),
            ["deletedsecrets", name] => self.on_deleted(&mut state, asked, name, ""),
            ["deletedsecrets", name, verb] => self.on_deleted(&mut state, asked, name, verb),
            _ => refused(404, "NotFound", "", "no such path"),
        }
    }

    fn writes(&self, asked: &Asked) -> bool {
        // The first one is an empty one that asks for the challenge.
        asked.method == "PUT" && !asked.body.is_empty() && asked.header("authorization").is_some()
    }

    fn between(&self, generation: u64) {
        let value = String::from_utf8(super::stand_in::written(&document(generation))).unwrap();
        let tags = json!({ "keywheel-target": "orders-cache", "keywheel-generation": generation.to_string() });
        let mut state = self.state();
        let name = state.secrets.keys().next().unwrap().clone();
        state.add(&name, &value, &json!({ "tags": tags, "contentType": "application/json" }));
    }

    fn turn_away(&self, trouble: Trouble, asked: &Asked) -> Answer {
        match trouble {
            Trouble::Denied if asked.path.starts_with("/secrets/") => {
                refused(403, "Forbidden", "ForbiddenByRbac", "Caller is not authorized to perform action on resource.")
            }
            Trouble::Denied => self.answer(asked),
            Trouble::Throttled => {
                let headers = vec![("retry-after", "3".to_owned())];
                Answer {
                    headers,
                    ..refused(
                        429,
                        "Throttled",
                        "",
                        "Request was not processed because too many requests were received.",
                    )
                }
            }
            Trouble::Broken => refused(503, "ServiceUnavailable", "", &String::from_utf8_lossy(&asked.body)),
            Trouble::NotFound
            | Trouble::Full
            | Trouble::Down
            | Trouble::LostAnswer
            | Trouble::Hang
            | Trouble::Huge
            | Trouble::Between(_)
            | Trouble::LostBetween(_) => unreachable!(),
        }
    }
}
