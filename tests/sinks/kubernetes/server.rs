//! An API server with Secrets and workloads, as much of it as a client of them needs: written from "Kubernetes API Concepts", "Server-Side Apply",
//! "Secrets" and "API conventions". Kubernetes' Python client is its judge (tests/sinks/kubernetes.rs).

use super::super::conformance::Trouble;
use super::super::rows::{TOKEN, document};
use super::super::stand_in::{Answer, Asked, Service};
use super::fields::{self, Managers, apply, leaves, updated};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use url::form_urlencoded;

pub const NAMESPACE: &str = "shop";
pub const SECRET: &str = "redis-orders";

/// Who keywheel is there.
const USER: &str = "system:serviceaccount:shop:keywheel";

#[derive(Clone)]
struct Kept {
    object: Value,
    managers: Managers,
}

#[derive(Default)]
struct State {
    kept: BTreeMap<(String, String), Kept>,
    version: u64,
    tokens: BTreeSet<String>,
    certificates: bool,
    forbidden: BTreeSet<(&'static str, &'static str)>,
    refusal: Option<(u16, &'static str, &'static str)>,
    /// Whether somebody writes before the next note of field managers arrives.
    meddle: bool,
    requests: Vec<String>,
    seen_tokens: Vec<String>,
}

pub struct Cluster(Mutex<State>);

/// A request, taken apart.
struct Request<'a> {
    verb: &'static str,
    resource: String,
    name: String,
    query: BTreeMap<String, String>,
    kind: &'a str,
    body: Value,
}

fn status(code: u16, reason: &str, message: &str, details: Value) -> Answer {
    let body = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message, "reason": reason, "details": details,
        "code": code,
    });
    Answer::json(code, &body)
}

fn singular(resource: &str) -> &'static str {
    match resource {
        "secrets" => "Secret",
        "deployments" => "Deployment",
        "statefulsets" => "StatefulSet",
        "daemonsets" => "DaemonSet",
        other => panic!("the stand-in has no {other}"),
    }
}

fn group(resource: &str) -> &'static str {
    if resource == "secrets" { "" } else { "apps" }
}

fn version(resource: &str) -> &'static str {
    if resource == "secrets" { "v1" } else { "apps/v1" }
}

fn qualified(resource: &str) -> String {
    if resource == "secrets" { resource.to_owned() } else { format!("{resource}.apps") }
}

fn forbidden(verb: &str, resource: &str, name: &str) -> Answer {
    let message = format!(
        "{} \"{name}\" is forbidden: User \"{USER}\" cannot {verb} resource \"{resource}\" in API group \"{}\" in the namespace \"{NAMESPACE}\"",
        qualified(resource),
        group(resource)
    );
    status(403, "Forbidden", &message, json!({ "name": name, "group": group(resource), "kind": resource }))
}

fn absent(resource: &str, name: &str) -> Answer {
    let message = format!("{} \"{name}\" not found", qualified(resource));
    status(404, "NotFound", &message, json!({ "name": name, "group": group(resource), "kind": resource }))
}

fn conflict(resource: &str, name: &str, why: &str) -> Answer {
    let message = format!("Operation cannot be fulfilled on {} \"{name}\": {why}", qualified(resource));
    status(409, "Conflict", &message, json!({ "name": name, "group": group(resource), "kind": resource }))
}

const MODIFIED: &str = "the object has been modified; please apply your changes to the latest version and try again";

fn invalid(name: &str, field: &str, why: &str) -> Answer {
    let message = format!("Secret \"{name}\" is invalid: {field}: {why}");
    let causes = json!([{ "reason": "FieldValueForbidden", "message": why, "field": field }]);
    status(422, "Invalid", &message, json!({ "name": name, "kind": "Secret", "causes": causes }))
}

/// What the server fills in, and what it refuses.
fn admitted(before: Option<&Value>, object: &mut Value, name: &str) -> Result<(), Answer> {
    if object["kind"] != "Secret" {
        return Ok(());
    }
    let texts = object.as_object_mut().unwrap().remove("stringData");
    for (key, text) in texts.iter().filter_map(Value::as_object).flatten() {
        object["data"][key] = STANDARD.encode(text.as_str().unwrap()).into();
    }
    if object["type"].is_null() {
        object["type"] = "Opaque".into();
    }
    let data = object["data"].as_object().cloned().unwrap_or_default();
    for (key, value) in &data {
        let plain = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
        if !plain {
            return Err(invalid(
                name,
                &format!("data[{key}]"),
                "Invalid value: a valid config key must consist of alphanumeric characters, '-', '_' or '.'",
            ));
        }
        if value.as_str().is_none_or(|text| STANDARD.decode(text).is_err()) {
            let message = "Secret in version \"v1\" cannot be handled as a Secret: illegal base64 data at input byte 0";
            return Err(status(400, "BadRequest", message, Value::Null));
        }
    }
    if object["type"] == "kubernetes.io/basic-auth" && !data.contains_key("username") && !data.contains_key("password")
    {
        return Err(invalid(name, "data[username]", "Required value"));
    }
    let Some(before) = before else { return Ok(()) };
    if before["type"] != object["type"] {
        return Err(invalid(name, "type", "Invalid value: field is immutable"));
    }
    if before["immutable"] == true && (before["data"] != object["data"] || object["immutable"] != true) {
        return Err(invalid(name, "data", "Forbidden: field is immutable when `immutable` is set"));
    }
    Ok(())
}

/// A JSON merge patch (RFC 7396).
fn merged(into: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *into = patch.clone();
        return;
    };
    if !into.is_object() {
        *into = Value::Object(Map::new());
    }
    for (key, value) in patch {
        match value.is_null() {
            true => drop(into.as_object_mut().unwrap().remove(key)),
            false => merged(into.as_object_mut().unwrap().entry(key).or_insert(Value::Null), value),
        }
    }
}

impl State {
    /// Puts an object down, as a new version unless nothing changed.
    fn keep(&mut self, request: &Request<'_>, mut object: Value, managers: Managers) -> Value {
        let key = (request.resource.clone(), request.name.clone());
        object["metadata"]["managedFields"] = fields::shown(&managers, version(&request.resource));
        let before = self.kept.get(&key);
        let unchanged =
            before.is_some_and(|before| leaves(&before.object) == leaves(&object) && before.managers == managers);
        if unchanged {
            return before.unwrap().object.clone();
        }
        let metadata = &mut object["metadata"];
        metadata["resourceVersion"] = (self.version + 1).to_string().into();
        if metadata["uid"].is_null() {
            metadata["uid"] = format!("00000000-0000-4000-8000-{:012}", self.version + 1).into();
            metadata["creationTimestamp"] = "2026-01-02T03:04:05Z".into();
        }
        if !request.query.contains_key("dryRun") {
            self.version += 1;
            self.kept.insert(key, Kept { object: object.clone(), managers });
        }
        object
    }

    fn create(&mut self, request: &Request<'_>) -> Answer {
        let Request { resource, name, .. } = request;
        if self.kept.contains_key(&(resource.clone(), name.clone())) {
            let message = format!("{} \"{name}\" already exists", qualified(resource));
            return status(409, "AlreadyExists", &message, json!({ "name": name, "kind": resource }));
        }
        let mut object = request.body.clone();
        object["metadata"]["namespace"] = NAMESPACE.into();
        (object["apiVersion"], object["kind"]) = (version(resource).into(), singular(resource).into());
        if let Err(answer) = admitted(None, &mut object, name) {
            return answer;
        }
        let manager = request.query.get("fieldManager").map_or("a-client", String::as_str);
        let managers = updated(&json!({}), &object, &Managers::new(), manager);
        Answer::json(201, &self.keep(request, object, managers))
    }

    fn apply(&mut self, request: &Request<'_>) -> Answer {
        let Request { resource, name, body, query, .. } = request;
        let Some(manager) = query.get("fieldManager") else {
            let message =
                "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch";
            return status(422, "Invalid", message, Value::Null);
        };
        let held = self.kept.get(&(resource.clone(), name.clone())).cloned();
        if held.is_none() && self.forbidden.iter().any(|(verb, of)| *verb == "create" && of == resource) {
            // Seen on a real API server: it does not say why.
            let message = format!("{} \"{name}\" is forbidden: ", qualified(resource));
            return status(403, "Forbidden", &message, json!({ "name": name, "kind": resource }));
        }
        if held.is_none() && body["metadata"]["uid"].is_string() {
            return conflict(
                resource,
                name,
                "uid mismatch: the provided object specified uid, and no existing object was found",
            );
        }
        let empty = json!({
            "apiVersion": version(resource), "kind": singular(resource), "metadata": { "name": name, "namespace": NAMESPACE },
        });
        let (live, managers) = held.clone().map_or((empty, Managers::new()), |kept| (kept.object, kept.managers));
        let force = query.get("force").is_some_and(|force| force == "true");
        match apply(&live, &managers, body, manager, force) {
            Err(conflicts) => {
                let cause = |conflict: &fields::Conflict| {
                    let ((name, operation), version) = (&conflict.with, version(resource));
                    let with = match *operation {
                        "Apply" => format!("conflict with \"{name}\""),
                        _ => format!("conflict with \"{name}\" using {version}"),
                    };
                    json!({ "reason": "FieldManagerConflict", "message": with, "field": format!(".{}", conflict.path.join(".")) })
                };
                let causes: Vec<Value> = conflicts.iter().map(cause).collect();
                let message = format!("Apply failed with {} conflicts", causes.len());
                status(409, "Conflict", &message, json!({ "causes": causes }))
            }
            Ok((mut object, managers)) => {
                if let Err(answer) = self.is_current(request, held.as_ref()) {
                    return answer;
                }
                match admitted(held.as_ref().map(|kept| &kept.object), &mut object, name) {
                    Err(answer) => answer,
                    Ok(()) => {
                        Answer::json(if held.is_some() { 200 } else { 201 }, &self.keep(request, object, managers))
                    }
                }
            }
        }
    }

    /// Whether the object is the one that the request speaks of.
    fn is_current(&self, request: &Request<'_>, held: Option<&Kept>) -> Result<(), Answer> {
        let Some(held) = held else { return Ok(()) };
        let differs =
            |key: &str| request.body["metadata"][key].as_str().is_some_and(|sent| held.object["metadata"][key] != sent);
        if differs("resourceVersion") {
            return Err(conflict(&request.resource, &request.name, MODIFIED));
        }
        if differs("uid") {
            return Err(invalid(&request.name, "metadata.uid", "Invalid value: field is immutable"));
        }
        Ok(())
    }

    /// A replacement, or a patch that is no apply.
    fn change(&mut self, request: &Request<'_>) -> Answer {
        let Request { resource, name, body, .. } = request;
        let key = (resource.clone(), name.clone());
        if body["metadata"]["managedFields"].is_array() && std::mem::take(&mut self.meddle) {
            let Kept { mut object, managers } = self.kept[&key].clone();
            object["metadata"]["labels"]["seen-by"] = "somebody".into();
            self.keep(request, object, managers);
        }
        let Some(held) = self.kept.get(&key).cloned() else {
            return absent(resource, name);
        };
        if let Err(answer) = self.is_current(request, Some(&held)) {
            return answer;
        }
        let mut object = match request.verb {
            "update" => body.clone(),
            _ => {
                let mut object = held.object.clone();
                merged(&mut object, body);
                object
            }
        };
        for key in ["uid", "creationTimestamp", "namespace"] {
            object["metadata"][key] = held.object["metadata"][key].clone();
        }
        if let Err(answer) = admitted(Some(&held.object), &mut object, name) {
            return answer;
        }
        // Who sends the notes along decides about them, too.
        let managers = match body["metadata"]["managedFields"].is_array() {
            true => fields::read(&body["metadata"]["managedFields"]),
            false => held.managers.clone(),
        };
        let manager = request.query.get("fieldManager").map_or("a-client", String::as_str);
        let managers = updated(&held.object, &object, &managers, manager);
        Answer::json(200, &self.keep(request, object, managers))
    }
}

impl Cluster {
    pub fn new() -> Self {
        Self(Mutex::new(State { tokens: BTreeSet::from([TOKEN.to_owned()]), ..State::default() }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whose requests are answered from now on.
    pub fn set_tokens(&self, tokens: &[&str]) {
        self.state().tokens = tokens.iter().map(|token| (*token).to_owned()).collect();
    }

    /// Answers whoever shows a certificate that is trusted.
    pub fn take_certificates(&self) {
        self.state().certificates = true;
    }

    pub fn forbid(&self, verb: &'static str, resource: &'static str) {
        self.state().forbidden.insert((verb, resource));
    }

    /// Answers every write in this way; `None` as before.
    pub fn refuse_writes(&self, refusal: Option<(u16, &'static str, &'static str)>) {
        self.state().refusal = refusal;
    }

    /// Before the next note of field managers arrives, and after the Secret was looked at, somebody changes something else of it.
    pub fn meddle_with_the_next_note(&self) {
        self.state().meddle = true;
    }

    /// Verb and resource of each request so far.
    pub fn requests(&self) -> Vec<String> {
        self.state().requests.clone()
    }

    /// The tokens that were shown so far.
    pub fn shown_tokens(&self) -> Vec<String> {
        self.state().seen_tokens.clone()
    }

    pub fn object(&self, resource: &str, name: &str) -> Option<Value> {
        self.state().kept.get(&(resource.to_owned(), name.to_owned())).map(|kept| kept.object.clone())
    }

    /// What stands under a key of the Secret.
    pub fn text(&self, key: &str) -> Option<String> {
        let object = self.object("secrets", SECRET)?;
        Some(String::from_utf8(STANDARD.decode(object["data"][key].as_str()?).unwrap()).unwrap())
    }

    pub fn remove(&self, resource: &str, name: &str) {
        let mut state = self.state();
        state.version += 1;
        state.kept.remove(&(resource.to_owned(), name.to_owned()));
    }

    /// A request of somebody else.
    pub fn ask(&self, method: &str, path: &str, kind: &str, body: &Value) -> Answer {
        let mut headers = hyper::HeaderMap::new();
        headers.insert("content-type", kind.parse().unwrap());
        headers.insert("authorization", format!("Bearer {TOKEN}").parse().unwrap());
        let body = serde_json::to_vec(body).unwrap();
        let asked = Asked { method: method.to_owned(), path: path.to_owned(), headers, body, certified: false };
        self.answer(&asked)
    }

    fn taken_apart(asked: &Asked) -> Option<Request<'_>> {
        let (path, query) = asked.path.split_once('?').unwrap_or((&asked.path, ""));
        let rest = path.strip_prefix("/api/v1/").or_else(|| path.strip_prefix("/apis/apps/v1/"))?;
        let rest = rest.strip_prefix("namespaces/")?.strip_prefix(NAMESPACE)?.strip_prefix('/')?;
        let (resource, name) = rest.split_once('/').unwrap_or((rest, ""));
        let kind = asked.header("content-type").unwrap_or_default();
        let body: Value = serde_json::from_slice(&asked.body).unwrap_or_default();
        let verb = match asked.method.as_str() {
            "GET" if name.is_empty() => "list",
            "GET" => "get",
            "POST" => "create",
            "PATCH" => "patch",
            "PUT" => "update",
            _ => "delete",
        };
        let name = if name.is_empty() { body["metadata"]["name"].as_str().unwrap_or_default() } else { name };
        let (resource, name) = (resource.to_owned(), name.to_owned());
        let query = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        Some(Request { verb, resource, name, query, kind, body })
    }
}

impl Service for Cluster {
    fn answer(&self, asked: &Asked) -> Answer {
        let mut state = self.state();
        let token = asked.header("authorization").and_then(|text| text.strip_prefix("Bearer ")).unwrap_or_default();
        state.seen_tokens.push(token.to_owned());
        if !(state.tokens.contains(token) || state.certificates && asked.certified) {
            return status(401, "Unauthorized", "Unauthorized", Value::Null);
        }
        let Some(request) = Self::taken_apart(asked) else {
            return status(404, "NotFound", "the server could not find the requested resource", json!({}));
        };
        state.requests.push(format!("{} {}", request.verb, request.resource));
        let denied =
            state.forbidden.iter().find(|(verb, resource)| *verb == request.verb && *resource == request.resource);
        if denied.is_some() {
            return forbidden(request.verb, &request.resource, &request.name);
        }
        if let Some((code, reason, message)) = state.refusal.filter(|_| !["get", "list"].contains(&request.verb)) {
            return status(code, reason, message, json!({ "kind": request.resource }));
        }
        match (request.verb, request.kind) {
            ("get", _) => match state.kept.get(&(request.resource.clone(), request.name.clone())) {
                Some(kept) => Answer::json(200, &kept.object),
                None => absent(&request.resource, &request.name),
            },
            ("list", _) => {
                let items: Vec<&Value> = state
                    .kept
                    .iter()
                    .filter(|((of, _), _)| *of == request.resource)
                    .map(|(_, kept)| &kept.object)
                    .collect();
                let list = format!("{}List", singular(&request.resource));
                Answer::json(
                    200,
                    &json!({ "apiVersion": version(&request.resource), "kind": list, "metadata": { "resourceVersion": "1" }, "items": items }),
                )
            }
            ("create", _) => state.create(&request),
            ("patch", "application/apply-patch+yaml") => state.apply(&request),
            ("patch" | "update", _) => state.change(&request),
            _ => match state.kept.remove(&(request.resource.clone(), request.name.clone())) {
                Some(_) => Answer::json(
                    200,
                    &json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success" }),
                ),
                None => absent(&request.resource, &request.name),
            },
        }
    }

    fn writes(&self, asked: &Asked) -> bool {
        asked.method != "GET" && !asked.path.contains("dryRun")
    }

    fn between(&self, generation: u64) {
        // As another keywheel would write it, so that the same generation is the same content.
        let document = document(generation);
        let password = document.login_password.expose();
        let url = format!("redis://app:{}@10.0.0.12:6379", super::encoded(password));
        let texts = [
            ("target", "orders-cache"),
            ("generation", &generation.to_string()),
            ("account", "app"),
            ("user", "app"),
            ("password", password),
            ("host", "10.0.0.12"),
            ("port", "6379"),
            ("tls", "false"),
            ("url", &url),
        ];
        let data: Map<String, Value> =
            texts.into_iter().map(|(key, text)| (key.to_owned(), STANDARD.encode(text).into())).collect();
        let annotations = json!({
            "keywheel/target": "orders-cache", "keywheel/generation": generation.to_string(), "keywheel/rotation": "adopted",
        });
        let object = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": { "name": SECRET, "annotations": annotations }, "data": data,
        });
        let path = format!("/api/v1/namespaces/{NAMESPACE}/secrets/{SECRET}?fieldManager=keywheel");
        let answer = self.ask("PATCH", &path, "application/apply-patch+yaml", &object);
        assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
    }

    fn turn_away(&self, trouble: Trouble, asked: &Asked) -> Answer {
        let Some(request) = Self::taken_apart(asked) else { return self.answer(asked) };
        match trouble {
            Trouble::Denied => forbidden(request.verb, &request.resource, &request.name),
            // The whole namespace is gone: a look finds no object, a write no namespace.
            Trouble::NotFound if request.verb == "get" => absent(&request.resource, &request.name),
            Trouble::NotFound => {
                let details = json!({ "name": NAMESPACE, "kind": "namespaces" });
                status(404, "NotFound", &format!("namespaces \"{NAMESPACE}\" not found"), details)
            }
            Trouble::Throttled => {
                let message = "the server has received too many requests and has asked us to try again later";
                let answer = status(429, "TooManyRequests", message, json!({ "retryAfterSeconds": 3 }));
                Answer { headers: vec![("retry-after", "3".to_owned())], ..answer }
            }
            Trouble::Broken => status(500, "InternalError", "etcdserver: leader changed", Value::Null),
            Trouble::Full
            | Trouble::Down
            | Trouble::LostAnswer
            | Trouble::Hang
            | Trouble::Huge
            | Trouble::Between(_)
            | Trouble::LostBetween(_) => unreachable!(),
        }
    }
}
