//! What stands at which path.

use super::live::LISTENING_LIMIT;
use super::signs::Health;
use super::{Console, Page, metrics, page};
use crate::crowd::{Answer, Asked, Gate, Lasting, Unfit};
use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::header::{
    ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use hyper::{Method, Response, StatusCode, Uri};
use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;

const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";
const EVENTS: &str = "text/event-stream";

/// Where what one may do stands, behind the gate.
const ACTS: &str = "/v1/";

/// What is answered to a request. Those who want to act are the gate's, where there is one.
pub(super) async fn answer(
    console: &Arc<Console>,
    gate: Option<&Gate>,
    from: IpAddr,
    asked: Result<Asked, Unfit>,
) -> Answer {
    let head = match (asked, gate) {
        (Ok(asked), Some(gate)) if asked.head.uri.path().starts_with(ACTS) => return gate(from, Ok(asked)).await,
        (Err(unfit), Some(gate)) => return gate(from, Err(unfit)).await,
        (Err(_), None) => {
            return made(StatusCode::BAD_REQUEST, TEXT, "this is read-only: GET or HEAD\n");
        }
        (Ok(asked), _) => asked.head,
    };
    look(console, &head.method, &head.uri).await
}

async fn look(console: &Arc<Console>, method: &Method, address: &Uri) -> Answer {
    if !matches!(*method, Method::GET | Method::HEAD) {
        let mut refusal = made(StatusCode::METHOD_NOT_ALLOWED, TEXT, "this is read-only: GET or HEAD\n");
        refusal.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return refusal;
    }
    match address.path() {
        "/healthz" => told(&console.signs.alive()),
        "/readyz" => told(&console.signs.ready()),
        "/metrics" => match console.metrics().await {
            Some((text, held)) => {
                let mut answer = made(StatusCode::OK, metrics::CONTENT_TYPE, text);
                answer.extensions_mut().insert(held);
                answer
            }
            None => made(StatusCode::SERVICE_UNAVAILABLE, TEXT, "too many ask for the metrics at the same time\n"),
        },
        "/" => shown(console.fleet(address.query().unwrap_or_default()).await),
        "/style.css" => made(StatusCode::OK, "text/css; charset=utf-8", page::STYLE),
        "/page.js" => made(StatusCode::OK, "text/javascript; charset=utf-8", page::SCRIPT),
        "/events" => match console.live.listen() {
            Some(news) => {
                let mut answer = with(StatusCode::OK, EVENTS, StreamBody::new(news).boxed_unsync());
                answer.extensions_mut().insert(Lasting::For(LISTENING_LIMIT));
                answer
            }
            None => made(StatusCode::SERVICE_UNAVAILABLE, TEXT, "too many listen at the same time\n"),
        },
        path => match path.strip_prefix("/targets/") {
            Some(name) => shown(console.story(name).await),
            None => nowhere(),
        },
    }
}

fn shown(page: Page) -> Answer {
    match page {
        Page::Here(html) => {
            let mut answer = made(StatusCode::OK, "text/html; charset=utf-8", html);
            answer.headers_mut().insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(page::POLICY));
            answer.headers_mut().insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
            answer
        }
        Page::Nowhere => nowhere(),
        Page::Busy => made(StatusCode::SERVICE_UNAVAILABLE, TEXT, "too many ask for pages at the same time\n"),
        Page::Starting => made(StatusCode::SERVICE_UNAVAILABLE, TEXT, "keywheel is starting\n"),
        Page::Unknown(fault) => made(StatusCode::INTERNAL_SERVER_ERROR, TEXT, format!("{fault}\n")),
    }
}

fn nowhere() -> Answer {
    made(StatusCode::NOT_FOUND, TEXT, "there are /, /targets/NAME, /events, /healthz, /readyz and /metrics\n")
}

fn told(health: &Health) -> Answer {
    let status = if health.well { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let mut line = serde_json::to_string(health).expect("words always have a JSON form");
    line.push('\n');
    made(status, JSON, line)
}

fn made(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Answer {
    with(status, kind, Full::new(body.into()).boxed_unsync())
}

fn with(status: StatusCode, kind: &'static str, body: UnsyncBoxBody<Bytes, Infallible>) -> Answer {
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    answer
}
