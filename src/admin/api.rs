//! What can be asked of a running daemon, and what it answers.

use super::{Reply, Request};
use crate::crowd::{Answer, Asked, Unfit};
use crate::driver::{Driver, Wish};
use crate::fault::{Fault, Kind};
use crate::name::TargetName;
use crate::rotation::event::By;
use crate::secret::Secret;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Response, StatusCode};
use serde::Serialize;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

/// Commands that may wait for their targets' turns at the same time: fewer than there are places, so that there is always one for who only looks.
const COMMANDS: usize = 64;

/// Whether the daemon turns, in its own words.
pub type Health = Box<dyn Fn() -> Result<String, Fault> + Send + Sync>;

/// The API of one daemon.
pub struct Api {
    pub(super) driver: Arc<Driver>,
    health: Health,
    commands: Semaphore,
}

/// What can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Whether the daemon turns.
    Health,
    /// Something that a person wants of a target.
    Act(Verb),
}

/// What a person may want of a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// Rotate now.
    Rotate,
    /// Take in the password that works today.
    Adopt,
    /// Take this password as current.
    Replace,
    /// Say the current password, or every one that may be live.
    Reveal,
    /// Begin nothing.
    Pause,
    /// End a pause.
    Unpause,
    /// Go on after a halt.
    Resume,
}

/// One thing that can be asked for, and where.
#[derive(Debug, Clone)]
pub struct Route {
    /// The method.
    pub method: Method,
    /// The path; `{target}` stands for a target's name.
    pub path: &'static str,
    /// What it does.
    pub operation: Operation,
}

const fn get(path: &'static str, operation: Operation) -> Route {
    Route { method: Method::GET, path, operation }
}

const fn post(path: &'static str, verb: Verb) -> Route {
    Route { method: Method::POST, path, operation: Operation::Act(verb) }
}

/// Everything that can be asked for. `docs/openapi.json` describes the same.
pub const ROUTES: &[Route] = &[
    get("/v1/health", Operation::Health),
    post("/v1/targets/{target}/rotate", Verb::Rotate),
    post("/v1/targets/{target}/adopt", Verb::Adopt),
    post("/v1/targets/{target}/replace", Verb::Replace),
    post("/v1/targets/{target}/reveal", Verb::Reveal),
    post("/v1/targets/{target}/pause", Verb::Pause),
    post("/v1/targets/{target}/unpause", Verb::Unpause),
    post("/v1/targets/{target}/resume", Verb::Resume),
];

impl Route {
    /// Whether this is its path; with the target's name as it stands there, if there is one.
    fn is_at<'a>(&self, path: &'a str) -> Option<Option<&'a str>> {
        match self.path.split_once("{target}") {
            None => (self.path == path).then_some(None),
            Some((before, after)) => {
                let name = path.strip_prefix(before)?.strip_suffix(after)?;
                (!name.is_empty() && !name.contains('/')).then_some(Some(name))
            }
        }
    }
}

impl Api {
    /// The API of this driver's daemon.
    pub fn new(driver: Arc<Driver>, health: Health) -> Arc<Self> {
        Arc::new(Self { driver, health, commands: Semaphore::new(COMMANDS) })
    }

    /// What is answered to a request of somebody who may ask.
    pub async fn answer(&self, by: By, asked: Result<Asked, Unfit>) -> Answer {
        let asked = match asked {
            Ok(asked) => asked,
            Err(unfit) => return unfit_for(unfit),
        };
        let path = asked.head.uri.path();
        let here: Vec<(&Route, Option<&str>)> =
            ROUTES.iter().filter_map(|route| Some((route, route.is_at(path)?))).collect();
        let Some((route, name)) = here.iter().find(|(route, _)| route.method == asked.head.method) else {
            return elsewhere(&here);
        };
        let target = match name.map(|name| self.target(name)).transpose() {
            Ok(target) => target,
            Err(fault) => return told(StatusCode::NOT_FOUND, &Reply::Refused(fault)),
        };
        match (route.operation, target) {
            (Operation::Health, _) => answered((self.health)()),
            (Operation::Act(verb), Some(target)) => self.act(&target, verb, by, &asked.body).await,
            (Operation::Act(_), None) => elsewhere(&[]),
        }
    }

    fn target(&self, name: &str) -> Result<TargetName, Fault> {
        let target: TargetName =
            name.parse().map_err(|bad: crate::name::BadName| Fault::new(Kind::Usage, bad.to_string()))?;
        match self.driver.fleet().contains_key(&target) {
            true => Ok(target),
            false => Err(Fault::new(Kind::Usage, format!("there is no target {target}"))),
        }
    }

    async fn act(&self, target: &TargetName, verb: Verb, by: By, body: &[u8]) -> Answer {
        let wish = match understand(verb, by, body) {
            Ok(wish) => wish,
            Err(fault) => return told(StatusCode::BAD_REQUEST, &Reply::Refused(fault)),
        };
        let Ok(_place) = self.commands.try_acquire() else {
            let fault = Fault::new(Kind::Busy, format!("{COMMANDS} commands wait for their targets already"))
                .advise("ask again when some of them were answered");
            return told(StatusCode::SERVICE_UNAVAILABLE, &Reply::Refused(fault));
        };
        answered(self.driver.command(target, wish).await)
    }
}

fn understand(verb: Verb, by: By, body: &[u8]) -> Result<Wish, Fault> {
    // serde_json's messages name keys and positions of the request, and never quote a string value of a known key.
    let mut request: Request = if body.is_empty() {
        Request::default()
    } else {
        serde_json::from_slice(body).map_err(|error| {
            Fault::new(Kind::Usage, format!("the request is not understood at column {}", error.column()))
        })?
    };
    // Taken at once, so that it is wiped whatever the verb does with it.
    let given = request.password.take().filter(|text| !text.is_empty()).map(Secret::new);
    let password = || given.ok_or_else(|| Fault::new(Kind::Usage, "the request carries no password"));
    let Request { reason, account, seconds, allow_reset, all, .. } = request;
    Ok(match verb {
        Verb::Rotate => Wish::Rotate { by, reason },
        Verb::Adopt => Wish::Adopt { by, password: password()?, account },
        Verb::Replace => Wish::Replace { by, password: password()?, account },
        Verb::Reveal => Wish::Reveal { by, all },
        Verb::Pause => Wish::Pause { by, span: seconds.map(Duration::from_secs) },
        Verb::Unpause => Wish::Unpause { by },
        Verb::Resume => Wish::Resume { by, allow_reset },
    })
}

/// What somebody is told who may not ask.
pub(super) fn refused(fault: Fault) -> Answer {
    answered(Err(fault))
}

fn answered(answer: Result<String, Fault>) -> Answer {
    match answer {
        Ok(done) => told(StatusCode::OK, &Reply::Done(done)),
        Err(fault) if fault.kind == Kind::Denied => told(StatusCode::FORBIDDEN, &Reply::Refused(fault)),
        Err(fault) => told(StatusCode::CONFLICT, &Reply::Refused(fault)),
    }
}

fn unfit_for(unfit: Unfit) -> Answer {
    let (status, what) = match unfit {
        Unfit::TooLong => {
            (StatusCode::PAYLOAD_TOO_LARGE, format!("a request has at most {} bytes", super::MESSAGE_LIMIT))
        }
        Unfit::Broken => (StatusCode::BAD_REQUEST, "the request broke off".to_owned()),
    };
    told(status, &Reply::Refused(Fault::new(Kind::Usage, what)))
}

/// Nothing is there; or something else is, by these methods.
fn elsewhere(here: &[(&Route, Option<&str>)]) -> Answer {
    let fault =
        |what: &str| Reply::Refused(Fault::new(Kind::Usage, what).advise("see docs/openapi.json for what there is"));
    if here.is_empty() {
        return told(StatusCode::NOT_FOUND, &fault("there is nothing at this address"));
    }
    let methods: Vec<&str> = here.iter().map(|(route, _)| route.method.as_str()).collect();
    let mut answer = told(StatusCode::METHOD_NOT_ALLOWED, &fault("this address has another method"));
    if let Ok(methods) = HeaderValue::from_str(&methods.join(", ")) {
        answer.headers_mut().insert(ALLOW, methods);
    }
    answer
}

/// An answer in JSON.
pub(super) fn told(status: StatusCode, what: &impl Serialize) -> Answer {
    let text = serde_json::to_vec(what).expect("words always have a JSON form");
    let mut answer = Response::new(Full::new(Bytes::from(text)).boxed());
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}
