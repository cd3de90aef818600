//! What stands at which path.

use super::signs::Health;
use super::{Console, Page, metrics, page};
use crate::crowd::{self, Asked, Gate, Unfit};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::header::{
    ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use hyper::{Method, Response, StatusCode, Uri};
use std::net::IpAddr;
use std::sync::Arc;

/// An answer, whole.
pub(super) type Answer = Response<Full<Bytes>>;

const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";

/// Where what one may do stands, behind the gate.
const ACTS: &str = "/v1/";

/// What is answered to a request. Those who want to act are the gate's, where there is one.
pub(super) async fn answer(
    console: &Arc<Console>,
    gate: Option<&Gate>,
    from: IpAddr,
    asked: Result<Asked, Unfit>,
) -> crowd::Answer {
    let head = match (asked, gate) {
        (Ok(asked), Some(gate)) if asked.head.uri.path().starts_with(ACTS) => return gate(from, Ok(asked)).await,
        (Err(unfit), Some(gate)) => return gate(from, Err(unfit)).await,
        (Err(_), None) => {
            return made(StatusCode::BAD_REQUEST, TEXT, "this is read-only: GET or HEAD\n").map(BodyExt::boxed_unsync);
        }
        (Ok(asked), _) => asked.head,
    };
    look(console, &head.method, &head.uri).await.map(BodyExt::boxed_unsync)
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
            Some(text) => made(StatusCode::OK, metrics::CONTENT_TYPE, text),
            None => made(StatusCode::SERVICE_UNAVAILABLE, TEXT, "too many ask for the metrics at the same time\n"),
        },
        "/" => shown(console.fleet(address.query().unwrap_or_default()).await),
        "/style.css" => made(StatusCode::OK, "text/css; charset=utf-8", page::STYLE),
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
    made(StatusCode::NOT_FOUND, TEXT, "there are /, /targets/NAME, /healthz, /readyz and /metrics\n")
}

fn told(health: &Health) -> Answer {
    let status = if health.well { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let mut line = serde_json::to_string(health).expect("words always have a JSON form");
    line.push('\n');
    made(status, JSON, line)
}

fn made(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    answer
}
