//! The API's front door: who calls, may they, how often, and what the script does to the call.

use super::actions::{Action, Call, VERSION};
use super::answer::{Refusal, envelope};
use super::body::{Body, Dropped};
use super::cloud::{Cloud, How};
use super::control;
use super::script::{Fault, Garbage};
use super::signature::{Head, only, verify};
use super::task::Course;
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::{Request, Response, StatusCode};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};

/// The largest request body (Tencent, "Signature method v3": 10 MB).
pub(super) const REQUEST_LIMIT: usize = 10 * 1024 * 1024;

/// Regions of the vendor's SDK; a region that is none of them does not exist.
const REGIONS: [&str; 22] = [
    "ap-bangkok",
    "ap-beijing",
    "ap-chengdu",
    "ap-chongqing",
    "ap-guangzhou",
    "ap-guangzhou-open",
    "ap-hongkong",
    "ap-jakarta",
    "ap-mumbai",
    "ap-nanjing",
    "ap-seoul",
    "ap-shanghai",
    "ap-shanghai-fsi",
    "ap-shenzhen-fsi",
    "ap-singapore",
    "ap-tokyo",
    "eu-frankfurt",
    "eu-moscow",
    "na-ashburn",
    "na-siliconvalley",
    "na-toronto",
    "sa-saopaulo",
];

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
    let path = head.uri.path();
    let body = Limited::new(body, REQUEST_LIMIT).collect().await;
    let body = body.map(|body| body.to_bytes());
    if let Some(name) = path.strip_prefix("/_simulator/") {
        let (status, text) = control::answer(&cloud, &head.method, name, &body.unwrap_or_default()).await;
        return Ok(reply(&cloud, status, Body::whole(text)));
    }
    let admitted = match &body {
        Ok(body) => admit(&cloud, &head, body),
        Err(_) => Err(Refusal::new("RequestSizeLimitExceeded", "The request is too large.")),
    };
    let request_id = cloud.request_id();
    match admitted {
        Ok(call) => suffer(&cloud, call, &request_id).await,
        Err(refusal) => Ok(say(&cloud, &Err(refusal), &request_id)),
    }
}

/// Everything that is checked before an action looks at the request.
fn admit(cloud: &Cloud, head: &hyper::http::request::Parts, body: &[u8]) -> Result<Call, Refusal> {
    let signed = Head {
        method: head.method.as_str(),
        path: head.uri.path(),
        query: head.uri.query().unwrap_or_default(),
        headers: &head.headers,
    };
    if signed.method != "POST" || signed.path != "/" {
        return Err(Refusal::new("InvalidRequest", "Requests are POST to the path /."));
    }
    let settings = &cloud.settings;
    verify(&signed, body, &settings.credentials, &settings.service, cloud.clock.published())?;
    let header = |name: &str| {
        only(&head.headers, name)
            .ok_or_else(|| Refusal::new("MissingParameter", format!("The header {name} is missing.")))
    };
    let name = header("x-tc-action")?;
    if header("x-tc-version")? != VERSION {
        return Err(Refusal::new("NoSuchVersion", "There is no such version of this API."));
    }
    let mut state = cloud.state();
    let action = Action::named(name)
        .filter(|_| !state.absent.contains(name))
        .ok_or_else(|| Refusal::new("InvalidAction", "There is no such action."))?;
    let region = header("x-tc-region")?;
    if region != settings.region {
        return Err(if REGIONS.contains(&region) {
            Refusal::new("ResourceNotFound.InstanceNotExists", "There is nothing in this region.")
        } else {
            Refusal::new("UnsupportedRegion", "There is no such region.")
        });
    }
    if state.denied.contains(name) {
        return Err(Refusal::new("UnauthorizedOperation.NoCAMAuthed", "No CAM permission for this action."));
    }
    if !state.buckets.admit(action.name(), cloud.clock.uptime(), cloud.clock.now()) {
        return Err(throttled());
    }
    drop(state);
    Call::read(action, body)
}

fn throttled() -> Refusal {
    Refusal::new("RequestLimitExceeded", "The request frequency exceeds the API's limit.")
}

/// Carries out an admitted call, as well as the script lets it.
async fn suffer(cloud: &Arc<Cloud>, call: Call, id: &str) -> Result<Response<Body>, Dropped> {
    let properly = |call: &Call| cloud.perform(call, How::PROPERLY);
    let on_course = |course: Course| {
        let how = How { course, ..How::PROPERLY };
        cloud.perform(&call, how)
    };
    let apply_if = |applied: bool| {
        if applied {
            // The answer is what the caller never hears.
            drop(properly(&call));
        }
    };
    let ok = |body: Body| reply(cloud, StatusCode::OK, body);
    let Some(fault) = cloud.next_fault(&call) else {
        return Ok(say(cloud, &properly(&call), id));
    };
    let answer = match fault {
        Fault::RefuseBeforeEffect { code } => Err(Refusal::new(&code, "The script says so.")),
        Fault::ApplyThenDropConnection { after_bytes } => {
            let text = envelope(&properly(&call), id);
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
            cloud.lock_instance(call.text("InstanceId").unwrap_or_default(), span);
            properly(&call)
        }
        Fault::TaskStuck { span } => on_course(Course::Stuck(span)),
        Fault::TaskFailsAfterApplying => on_course(Course::FailsAfterApplying),
        Fault::TaskFailsBeforeApplying => on_course(Course::FailsBeforeApplying),
        Fault::WrongOldPassword => Err(Refusal::new(
            "InvalidParameterValue.PasswordError",
            "The password check failed: the password is wrong.",
        )),
        Fault::Throttle => Err(throttled()),
        Fault::StaleRead { age } => {
            let how = How { age, ..How::PROPERLY };
            cloud.perform(&call, how)
        }
        Fault::Garbage { shape, applied } => {
            apply_if(applied);
            return Ok(ok(Body::whole(garbage(shape, id))));
        }
        Fault::HugeBody { applied } | Fault::EndlessBody { applied } => {
            apply_if(applied);
            let head = format!(r#"{{"Response":{{"RequestId":"{id}","TaskId":1,"Padding":""#);
            return Ok(ok(Body::filled(head, matches!(fault, Fault::EndlessBody { .. }))));
        }
        Fault::SlowBody { pause } => return Ok(ok(Body::slow(envelope(&properly(&call), id), pause))),
        Fault::NeverAnswer { applied } => {
            apply_if(applied);
            return std::future::pending().await;
        }
    };
    Ok(say(cloud, &answer, id))
}

fn apply_late(cloud: Arc<Cloud>, call: Call, delay: Duration) {
    tokio::spawn(async move {
        tokio::select! {
            () = cloud.stop.cancelled() => {}
            // Whatever it is answered now, nobody hears it.
            () = tokio::time::sleep(delay) => drop(cloud.perform(&call, How::PROPERLY)),
        }
    });
}

fn garbage(shape: Garbage, id: &str) -> String {
    match shape {
        Garbage::NotJson => "<!doctype html><title>Please log in</title>".to_owned(),
        Garbage::NoEnvelope => r#"["TaskId", 1]"#.to_owned(),
        Garbage::NoFields => format!(r#"{{"Response":{{"RequestId":"{id}"}}}}"#),
        Garbage::WrongTypes => {
            format!(
                r#"{{"Response":{{"RequestId":"{id}","TaskId":"soon","Status":7,"Tasks":{{}},"Accounts":"","InstanceSet":1,"TotalCount":[]}}}}"#
            )
        }
        Garbage::CutOff => format!(r#"{{"Response":{{"RequestId":"{id}","Tas"#),
        Garbage::Empty => String::new(),
    }
}

/// A proper answer, counted where it refuses.
fn say(cloud: &Cloud, answer: &Result<super::answer::Fields, Refusal>, id: &str) -> Response<Body> {
    if let Err(refusal) = answer {
        *cloud.state().refusals.entry(refusal.code.clone()).or_default() += 1;
    }
    reply(cloud, StatusCode::OK, Body::whole(envelope(answer, id)))
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
