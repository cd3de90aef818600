//! What can be asked of a running daemon, and what it answers.

use super::sight::Sight;
use super::{Reply, Request, events};
use crate::crowd::{Answer, Asked, Unfit};
use crate::driver::{Driver, Wish};
use crate::fault::{Fault, Kind};
use crate::moment::parse_span;
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
use tokio_util::sync::CancellationToken;

/// Commands that may wait for their targets' turns at the same time: fewer than there are places, so that there is always one for who only looks.
const COMMANDS: usize = 64;

/// Looks at the whole fleet at the same time. Each of a large fleet takes some megabytes until it is read.
const LOOKS: usize = 2;

/// Listeners at the same time.
const LISTENERS: usize = 16;

/// How far `plan` looks ahead unless asked otherwise, and at most.
const PLANNED: (Duration, Duration) = (Duration::from_secs(7 * 24 * 3_600), Duration::from_secs(31 * 24 * 3_600));

/// What is described: this API, for machines.
const DESCRIPTION: &str = include_str!("../../docs/openapi.json");

/// Whether the daemon turns, in its own words.
pub type Health = Box<dyn Fn() -> Result<String, Fault> + Send + Sync>;

/// The API of one daemon.
pub struct Api {
    pub(super) driver: Arc<Driver>,
    health: Health,
    sight: Arc<dyn Sight>,
    stop: CancellationToken,
    commands: Semaphore,
    looks: Semaphore,
    listeners: Arc<Semaphore>,
}

/// What can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Whether the daemon turns.
    Health,
    /// What all this is, for machines.
    Description,
    /// Every target's state.
    Targets,
    /// One target.
    Target,
    /// What runs when.
    Plan,
    /// What happens, as it happens.
    Events,
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
    get("/v1/openapi.json", Operation::Description),
    get("/v1/targets", Operation::Targets),
    get("/v1/targets/{target}", Operation::Target),
    get("/v1/plan", Operation::Plan),
    get("/v1/events", Operation::Events),
    post("/v1/targets/{target}/rotate", Verb::Rotate),
    post("/v1/targets/{target}/adopt", Verb::Adopt),
    post("/v1/targets/{target}/replace", Verb::Replace),
    post("/v1/targets/{target}/reveal", Verb::Reveal),
    post("/v1/targets/{target}/pause", Verb::Pause),
    post("/v1/targets/{target}/unpause", Verb::Unpause),
    post("/v1/targets/{target}/resume", Verb::Resume),
];

impl Operation {
    /// Whether it is there over TCP for who holds a token: it shows no password, takes none, and does nothing that cannot be taken back.
    pub const fn is_remote(self) -> bool {
        match self {
            Self::Act(Verb::Rotate | Verb::Pause | Verb::Unpause | Verb::Resume) => true,
            Self::Act(Verb::Adopt | Verb::Replace | Verb::Reveal) => false,
            Self::Health | Self::Description | Self::Targets | Self::Target | Self::Plan | Self::Events => false,
        }
    }
}

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
    /// The API of this driver's daemon, until it is told to stop.
    pub fn new(driver: Arc<Driver>, health: Health, sight: Arc<dyn Sight>, stop: CancellationToken) -> Arc<Self> {
        Arc::new(Self {
            driver,
            health,
            sight,
            stop,
            commands: Semaphore::new(COMMANDS),
            looks: Semaphore::new(LOOKS),
            listeners: Arc::new(Semaphore::new(LISTENERS)),
        })
    }

    /// What is answered to a request of somebody who may ask for anything.
    pub async fn answer(&self, by: By, asked: Result<Asked, Unfit>) -> Answer {
        match asked {
            Ok(asked) => self.answer_among(ROUTES.iter(), by, asked).await,
            Err(unfit) => unfit_for(unfit),
        }
    }

    /// The same for somebody far away: a few verbs, and nothing else is there.
    pub(super) async fn act_for(&self, by: By, asked: Asked) -> Answer {
        self.answer_among(ROUTES.iter().filter(|route| route.operation.is_remote()), by, asked).await
    }

    async fn answer_among(&self, routes: impl Iterator<Item = &'static Route>, by: By, asked: Asked) -> Answer {
        let path = asked.head.uri.path();
        let here: Vec<(&Route, Option<&str>)> = routes.filter_map(|route| Some((route, route.is_at(path)?))).collect();
        let Some((route, name)) = here.iter().find(|(route, _)| route.method == asked.head.method) else {
            return elsewhere(&here);
        };
        match route.operation {
            Operation::Health => answered((self.health)()),
            Operation::Description => document(StatusCode::OK, DESCRIPTION),
            Operation::Targets => self.look(self.sight.targets()).await,
            Operation::Target => match parsed(name.unwrap_or_default()) {
                Ok(target) => self.target(&target).await,
                Err(fault) => told(StatusCode::NOT_FOUND, &Reply::Refused(fault)),
            },
            Operation::Plan => match span_in(asked.head.uri.query().unwrap_or_default()) {
                Ok(span) => self.look(self.sight.plan(span)).await,
                Err(fault) => told(StatusCode::BAD_REQUEST, &Reply::Refused(fault)),
            },
            Operation::Events => match Arc::clone(&self.listeners).try_acquire_owned() {
                Ok(place) => events::listen(&self.driver, Arc::clone(&self.sight), place, self.stop.clone()),
                Err(_) => too_many(&format!("{LISTENERS} listen already")),
            },
            Operation::Act(verb) => match parsed(name.unwrap_or_default()) {
                Ok(target) if self.driver.fleet().contains_key(&target) => {
                    self.act(&target, verb, by, &asked.body).await
                }
                Ok(target) => unknown(&target),
                Err(fault) => told(StatusCode::NOT_FOUND, &Reply::Refused(fault)),
            },
        }
    }

    async fn look(&self, seen: impl Future<Output = Result<String, Fault>>) -> Answer {
        let Ok(_place) = self.looks.try_acquire() else {
            return too_many(&format!("{LOOKS} look at the whole fleet already"));
        };
        match seen.await {
            Ok(text) => document(StatusCode::OK, text),
            Err(fault) => unseen(fault),
        }
    }

    async fn target(&self, target: &TargetName) -> Answer {
        match self.sight.target(target).await {
            Ok(Some(text)) => document(StatusCode::OK, text),
            Ok(None) => unknown(target),
            Err(fault) => unseen(fault),
        }
    }

    async fn act(&self, target: &TargetName, verb: Verb, by: By, body: &[u8]) -> Answer {
        let wish = match understand(verb, by, body) {
            Ok(wish) => wish,
            Err(fault) => return told(StatusCode::BAD_REQUEST, &Reply::Refused(fault)),
        };
        if let Some(fault) = beyond_a_token(&wish) {
            return refused(fault);
        }
        let Ok(_place) = self.commands.try_acquire() else {
            return too_many(&format!("{COMMANDS} commands wait for their targets already"));
        };
        answered(self.driver.command(target, wish).await)
    }
}

fn parsed(name: &str) -> Result<TargetName, Fault> {
    name.parse().map_err(|bad: crate::name::BadName| Fault::new(Kind::Usage, bad.to_string()))
}

/// How far ahead a query wants to look.
fn span_in(query: &str) -> Result<Duration, Fault> {
    let (usual, longest) = PLANNED;
    let mut span = usual;
    for (key, value) in url::form_urlencoded::parse(query.as_bytes()) {
        let refuse = |what: String| Fault::new(Kind::Usage, what).advise("write ?for=7d, for 31 days at most");
        span = match &*key {
            "for" => parse_span(&value).map_err(|error| refuse(error.to_string()))?,
            _ => return Err(refuse("the only question to the plan is `for`".to_owned())),
        };
        if span > longest {
            return Err(refuse("this is too far ahead".to_owned()));
        }
    }
    Ok(span)
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
    let Request { reason, through_freeze, account, seconds, allow_reset, all, .. } = request;
    Ok(match verb {
        Verb::Rotate => Wish::Rotate { by, reason, through_freeze },
        Verb::Adopt => Wish::Adopt { by, reason, password: password()?, account },
        Verb::Replace => Wish::Replace { by, reason, password: password()?, account },
        Verb::Reveal => Wish::Reveal { by, reason, all },
        Verb::Pause => Wish::Pause { by, reason, span: seconds.map(Duration::from_secs) },
        Verb::Unpause => Wish::Unpause { by },
        Verb::Resume => Wish::Resume { by, reason, allow_reset },
    })
}

/// What a token's holder may not want, though they may want the like of it: what whoever runs keywheel has ruled out.
fn beyond_a_token(wish: &Wish) -> Option<Fault> {
    let (what, command) = match wish {
        Wish::Resume { by: By::Token { .. }, allow_reset: true, .. } => {
            ("no token allows a reset", "recover TARGET --reset")
        }
        Wish::Rotate { by: By::Token { .. }, through_freeze: true, .. } => {
            ("no token rotates through a freeze", "rotate TARGET --through-freeze")
        }
        Wish::Rotate { .. }
        | Wish::Adopt { .. }
        | Wish::Pause { .. }
        | Wish::Unpause { .. }
        | Wish::Resume { .. }
        | Wish::Replace { .. }
        | Wish::Redeliver { .. }
        | Wish::Reveal { .. } => return None,
    };
    let next = format!("do it on keywheel's own machine: `keywheel {command}`");
    Some(Fault::new(Kind::Denied, what).advise(next))
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

pub(super) fn unfit_for(unfit: Unfit) -> Answer {
    let (status, what) = match unfit {
        Unfit::TooLong => {
            (StatusCode::PAYLOAD_TOO_LARGE, format!("a request has at most {} bytes", super::MESSAGE_LIMIT))
        }
        Unfit::Broken => (StatusCode::BAD_REQUEST, "the request broke off".to_owned()),
    };
    told(status, &Reply::Refused(Fault::new(Kind::Usage, what)))
}

fn unknown(target: &TargetName) -> Answer {
    let fault = Fault::new(Kind::Usage, format!("there is no target {target}"));
    told(StatusCode::NOT_FOUND, &Reply::Refused(fault))
}

fn too_many(what: &str) -> Answer {
    let fault = Fault::new(Kind::Busy, what).advise("ask again when some of them have their answer");
    told(StatusCode::SERVICE_UNAVAILABLE, &Reply::Refused(fault))
}

/// What was to be looked at cannot be.
fn unseen(fault: Fault) -> Answer {
    let status =
        if fault.kind == Kind::Busy { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::INTERNAL_SERVER_ERROR };
    told(status, &Reply::Refused(fault))
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
    document(status, serde_json::to_vec(what).expect("words always have a JSON form"))
}

/// The same where it is written already.
fn document(status: StatusCode, text: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(text.into()).boxed_unsync());
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}
