//! The API's front door: which cloud is asked, and what the script does to the call.

use super::alibaba::{self, RpcCall};
use super::answer::{Fields, Refusal};
use super::body::{Body, Dropped};
use super::cloud::{Cloud, How};
use super::control;
use super::dialect::{Dialect, Wording};
use super::head::Head;
use super::metadata::{self, MetadataCall};
use super::script::Fault;
use super::stores::{self, KmsCall, SsmCall};
use super::sts::{self, OidcOrRoleCall, RoleCall};
use super::task::Course;
use super::tencent::JsonCall;
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::{Request, Response, StatusCode};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};

/// The largest request body (Tencent, "Signature method v3": 10 MB).
pub(super) const REQUEST_LIMIT: usize = 10 * 1024 * 1024;

/// Serves the API until the cloud stops.
pub(super) async fn serve(cloud: Arc<Cloud>, listener: TcpListener) {
    let stop = cloud.stop.clone();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            stream = listener.accept() => match stream {
                Ok((stream, _peer)) => {
                    tokio::spawn(serve_connection(Arc::clone(&cloud), stream));
                }
                // Out of descriptors, or the peer hung up in the queue: let others run, then try again.
                Err(_) => tokio::task::yield_now().await,
            },
        }
    }
}

async fn serve_connection(cloud: Arc<Cloud>, stream: TcpStream) {
    let stop = cloud.stop.clone();
    // An answer goes out at once; where that cannot be set, it goes out a little later.
    let _ = stream.set_nodelay(true);
    let service = hyper::service::service_fn(move |request| answer(Arc::clone(&cloud), request));
    let connection =
        hyper::server::conn::http1::Builder::new().serve_connection(hyper_util::rt::TokioIo::new(stream), service);
    tokio::select! {
        () = stop.cancelled() => {}
        // A connection that breaks is the caller's affair, or the script's.
        _ = connection => {}
    }
}

async fn answer(cloud: Arc<Cloud>, request: Request<Incoming>) -> Result<Response<Body>, Dropped> {
    let (head, body) = request.into_parts();
    let body = Limited::new(body, REQUEST_LIMIT).collect().await;
    // One that is too long, or broke off, is none.
    let body = body.map(|body| body.to_bytes()).ok();
    if let Some(name) = head.uri.path().strip_prefix("/_simulator/") {
        let (status, text) = control::answer(&cloud, &head.method, name, &body.unwrap_or_default()).await;
        return Ok(reply(&cloud, status, Body::whole(text)));
    }
    let signed = Head::of(&head);
    if metadata::is_meant(&signed) {
        converse::<MetadataCall>(&cloud, &signed, body.as_deref()).await
    } else if sts::is_tencents(&signed) {
        converse::<RoleCall>(&cloud, &signed, body.as_deref()).await
    } else if sts::is_alibabas(&signed) {
        converse::<OidcOrRoleCall>(&cloud, &signed, body.as_deref()).await
    } else if stores::is_tencents(&signed) {
        converse::<SsmCall>(&cloud, &signed, body.as_deref()).await
    } else if stores::is_alibabas(&signed) {
        converse::<KmsCall>(&cloud, &signed, body.as_deref()).await
    } else if alibaba::is_meant(&signed) {
        converse::<RpcCall>(&cloud, &signed, body.as_deref()).await
    } else {
        converse::<JsonCall>(&cloud, &signed, body.as_deref()).await
    }
}

/// Answers a request in one vendor's words. `body` is `None` where it was too large or broke off.
async fn converse<D: Dialect>(
    cloud: &Arc<Cloud>,
    head: &Head<'_>,
    body: Option<&[u8]>,
) -> Result<Response<Body>, Dropped> {
    let admitted = body.map_or_else(|| Err(D::too_large()), |body| D::admit(cloud, head, body));
    let request_id = cloud.request_id();
    match admitted {
        Ok(call) => suffer(cloud, call, &request_id).await,
        Err(refusal) => Ok(say::<D>(cloud, &Err(refusal), &request_id)),
    }
}

/// What the script has in store for this call.
fn next_fault<D: Dialect>(cloud: &Cloud, call: &D) -> Option<Fault> {
    let mut state = cloud.state();
    let instance = call.instance(&state);
    state.script.take(call.action(), instance.as_deref())
}

/// Carries out an admitted call, as well as the script lets it.
async fn suffer<D: Dialect>(cloud: &Arc<Cloud>, call: D, id: &str) -> Result<Response<Body>, Dropped> {
    let properly = |call: &D| call.perform(cloud, How::PROPERLY);
    let on_course = |course: Course| {
        let how = How { course, ..How::PROPERLY };
        call.perform(cloud, how)
    };
    let apply_if = |applied: bool| {
        if applied {
            // The answer is what the caller never hears.
            drop(properly(&call));
        }
    };
    let word = |call: &D| D::word(&properly(call), id, &cloud.settings);
    let ok = |body: Body| reply(cloud, StatusCode::OK, body);
    let Some(fault) = next_fault(cloud, &call) else {
        return Ok(say::<D>(cloud, &properly(&call), id));
    };
    let answer = match fault {
        Fault::RefuseBeforeEffect { code } => Err(Refusal::new(&code, "The script says so.")),
        Fault::ApplyThenDropConnection { after_bytes } => {
            let text = word(&call).text;
            return match after_bytes {
                0 => Err(Dropped),
                sent => Ok(ok(Body::cut(text, sent))),
            };
        }
        Fault::DropBeforeEffect => return Err(Dropped),
        Fault::ApplyThenStatus { status } => {
            apply_if(true);
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
            return Ok(reply(cloud, status, Body::whole("<html>upstream error</html>")));
        }
        Fault::ApplyLate { delay } => {
            apply_late(Arc::clone(cloud), call, delay);
            return Err(Dropped);
        }
        Fault::LockFor { span } => {
            let instance = call.instance(&cloud.state());
            cloud.lock_instance(&instance.unwrap_or_default(), span);
            properly(&call)
        }
        Fault::TaskStuck { span } => on_course(Course::Stuck(span)),
        Fault::TaskFailsAfterApplying => on_course(Course::FailsAfterApplying),
        Fault::TaskFailsBeforeApplying => on_course(Course::FailsBeforeApplying),
        Fault::WrongOldPassword => Err(D::wrong_old_password(&cloud.settings)),
        Fault::Throttle => Err(D::throttled()),
        Fault::StaleRead { age } => {
            let how = How { age, ..How::PROPERLY };
            call.perform(cloud, how)
        }
        Fault::Garbage { shape, applied } => {
            apply_if(applied);
            return Ok(ok(Body::whole(D::garbage(shape, id))));
        }
        Fault::HugeBody { applied } | Fault::EndlessBody { applied } => {
            apply_if(applied);
            return Ok(ok(Body::filled(D::endless(id), matches!(fault, Fault::EndlessBody { .. }))));
        }
        Fault::SlowBody { pause } => return Ok(ok(Body::slow(word(&call).text, pause))),
        Fault::NeverAnswer { applied } => {
            apply_if(applied);
            return std::future::pending().await;
        }
    };
    Ok(say::<D>(cloud, &answer, id))
}

fn apply_late<D: Dialect>(cloud: Arc<Cloud>, call: D, delay: Duration) {
    tokio::spawn(async move {
        tokio::select! {
            () = cloud.stop.cancelled() => {}
            // Whatever it is answered now, nobody hears it.
            () = tokio::time::sleep(delay) => drop(call.perform(&cloud, How::PROPERLY)),
        }
    });
}

/// A proper answer, counted where it refuses.
fn say<D: Dialect>(cloud: &Cloud, answer: &Result<Fields, Refusal>, id: &str) -> Response<Body> {
    if let Err(refusal) = answer {
        *cloud.state().refusals.entry(refusal.code.clone()).or_default() += 1;
    }
    let Wording { status, retry_after, text } = D::word(answer, id, &cloud.settings);
    let mut response = reply(cloud, status, Body::whole(text));
    if let Some(span) = retry_after {
        let millis = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        response.headers_mut().insert(alibaba::RETRY_AFTER, millis.into());
    }
    response
}

fn reply(cloud: &Cloud, status: StatusCode, body: Body) -> Response<Body> {
    let date = cloud.clock.published().utc().format("%a, %d %b %Y %H:%M:%S GMT");
    Response::builder()
        .status(status)
        .header(hyper::header::CONTENT_TYPE, "application/json")
        .header(hyper::header::DATE, date.to_string())
        .body(body)
        .expect("a date and a content type are header values")
}
