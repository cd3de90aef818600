//! The daemon's side of the control socket.

use super::{MESSAGE_LIMIT, Reply, Request, VERSION};
use crate::driver::{Driver, Wish};
use crate::fault::{Fault, Kind};
use crate::name::TargetName;
use crate::rotation::event::By;
use crate::secret::Secret;
use axum::extract::connect_info::Connected;
use axum::extract::{ConnectInfo, DefaultBodyLimit, Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::serve::IncomingStream;
use axum::{Json, Router};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path as FilePath;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

/// Owner and group may connect; the group is how an operator without root is let in.
const SOCKET_MODE: u32 = 0o660;

/// Who is at the other end, as the kernel says.
#[derive(Debug, Clone, Copy)]
struct Peer {
    uid: Option<u32>,
}

impl Connected<IncomingStream<'_, UnixListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, UnixListener>) -> Self {
        Self { uid: stream.io().peer_cred().ok().map(|credentials| credentials.uid()) }
    }
}

/// Serves the socket until told to stop. `health` says whether the daemon turns. A socket file that nobody listens on any more is replaced. The task
/// that is returned ends when every answer is out and the socket's file is gone.
///
/// # Errors
/// `LedgerHeld` when another daemon listens there; `ConfigInvalid` when the path cannot be used.
pub async fn serve(
    path: &FilePath,
    driver: Arc<Driver>,
    health: impl Fn() -> Result<String, Fault> + Clone + Send + Sync + 'static,
    stop: CancellationToken,
) -> Result<JoinHandle<()>, Fault> {
    let listener = listen(path).await?;
    let routes = Router::new()
        .route(&format!("/{VERSION}/targets/{{target}}/{{verb}}"), post(obey))
        .route(&format!("/{VERSION}/health"), get(move || std::future::ready(told(health()))))
        .layer(DefaultBodyLimit::max(MESSAGE_LIMIT))
        .with_state(driver);
    let service = routes.into_make_service_with_connect_info::<Peer>();
    let path = path.to_owned();
    Ok(tokio::spawn(async move {
        let served = axum::serve(listener, service).with_graceful_shutdown(stop.cancelled_owned()).await;
        if let Err(error) = served {
            tracing::error!(%error, "the control socket failed");
        }
        if let Err(error) = std::fs::remove_file(&path) {
            tracing::debug!(%error, "the control socket's file was gone already");
        }
    }))
}

async fn listen(path: &FilePath) -> Result<UnixListener, Fault> {
    let refuse = |what: String| Fault::new(Kind::ConfigInvalid, what);
    if std::fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket()) {
        if UnixStream::connect(path).await.is_ok() {
            let what = format!("another daemon listens on the control socket {}", path.display());
            return Err(Fault::new(Kind::LedgerHeld, what));
        }
        std::fs::remove_file(path).map_err(|error| {
            refuse(format!("the dead control socket {} cannot be removed: {error}", path.display()))
        })?;
    }
    let listener = UnixListener::bind(path).map_err(|error| {
        refuse(format!("the control socket {} cannot be made: {error}", path.display()))
            .advise("check that its folder exists and keywheel may write there (systemd: RuntimeDirectory=)")
    })?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(SOCKET_MODE))
        .map_err(|error| refuse(format!("the mode of {} cannot be set: {error}", path.display())))?;
    Ok(listener)
}

async fn obey(
    State(driver): State<Arc<Driver>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Path((target, verb)): Path<(String, String)>,
    body: axum::body::Bytes,
) -> (StatusCode, Json<Reply>) {
    let answer = match authorise(peer) {
        Ok(by) => match understand(&target, &verb, by, &Zeroizing::new(body.to_vec())) {
            Ok((target, wish)) => driver.command(&target, wish).await,
            Err(fault) => Err(fault),
        },
        Err(fault) => Err(fault),
    };
    told(answer)
}

fn told(answer: Result<String, Fault>) -> (StatusCode, Json<Reply>) {
    match answer {
        Ok(done) => (StatusCode::OK, Json(Reply::Done(done))),
        Err(fault) if fault.kind == Kind::Denied => (StatusCode::FORBIDDEN, Json(Reply::Refused(fault))),
        Err(fault) => (StatusCode::CONFLICT, Json(Reply::Refused(fault))),
    }
}

/// Root, the daemon's own user, and whoever the socket's mode lets in through its group.
fn authorise(peer: Peer) -> Result<By, Fault> {
    peer.uid.map(|uid| By::Operator { uid }).ok_or_else(|| {
        Fault::new(Kind::Denied, "the kernel does not say who asks")
            .advise("ask from this machine, through the control socket")
    })
}

fn understand(target: &str, verb: &str, by: By, body: &[u8]) -> Result<(TargetName, Wish), Fault> {
    let target: TargetName =
        target.parse().map_err(|bad: crate::name::BadName| Fault::new(Kind::Usage, bad.to_string()))?;
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
    let wish = match verb {
        "rotate" => Wish::Rotate { by, reason: request.reason, through_freeze: request.through_freeze },
        "adopt" => Wish::Adopt { by, password: password()?, account: request.account },
        "replace" => Wish::Replace { by, password: password()?, account: request.account },
        "reveal" => Wish::Reveal { by, all: request.all },
        "pause" => Wish::Pause { by, span: request.seconds.map(Duration::from_secs) },
        "unpause" => Wish::Unpause { by },
        "resume" => Wish::Resume { by, allow_reset: request.allow_reset },
        unknown => return Err(Fault::new(Kind::Usage, format!("there is no verb {unknown:?}"))),
    };
    Ok((target, wish))
}
