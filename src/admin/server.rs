//! The daemon's side of the control socket: who is let in, and how much they may take.

use super::MESSAGE_LIMIT;
use super::api::{Api, refused};
use super::peer::Peer;
use crate::crowd::{Bounds, Crowd};
use crate::fault::{Fault, Kind};
use std::future::ready;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{UnixListener, UnixSocket, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Owner and group may connect; the group is how an operator without root is let in.
const SOCKET_MODE: u32 = 0o660;

/// What those who may ask can take. An answer waits for its target's turn, which may first have to finish a call.
const ASKERS: Bounds = Bounds {
    places: 128,
    head: Duration::from_secs(5),
    request: Duration::from_secs(10),
    connection: Duration::from_secs(150),
    head_size: 16 * 1_024,
    headers: 64,
    body: MESSAGE_LIMIT,
};

/// What those who may not ask can take: a place to be told so, which is none of the others'.
const STRANGERS: Bounds = Bounds { places: 8, connection: Duration::from_secs(15), body: 0, ..ASKERS };

/// How many are looked up in the user database at the same time.
const LOOKUPS: usize = 8;

/// How many may wait to be let in.
const BACKLOG: u32 = 1_024;

/// How long the socket takes nobody where the system has no more file descriptors to give.
const PAUSE: Duration = Duration::from_millis(200);

/// Serves the socket until told to stop. A socket file that nobody listens on any more is replaced. The task that is returned ends when every answer
/// is out and the socket's file is gone.
///
/// # Errors
/// `LedgerHeld` when another daemon listens there; `ConfigInvalid` when the path cannot be used.
pub async fn serve(path: &Path, api: Arc<Api>, stop: CancellationToken) -> Result<JoinHandle<()>, Fault> {
    let listener = listen(path).await?;
    let doors = Arc::new(Doors {
        path: path.to_owned(),
        api,
        askers: Crowd::within(ASKERS),
        strangers: Crowd::within(STRANGERS),
        lookups: Arc::new(Semaphore::new(LOOKUPS)),
    });
    Ok(tokio::spawn(async move {
        stop.run_until_cancelled(doors.open(&listener)).await;
        drop(listener);
        if let Err(error) = std::fs::remove_file(&doors.path) {
            tracing::debug!(%error, "the control socket's file was gone already");
        }
        doors.askers.leave().await;
    }))
}

struct Doors {
    path: PathBuf,
    api: Arc<Api>,
    askers: Arc<Crowd>,
    strangers: Arc<Crowd>,
    lookups: Arc<Semaphore>,
}

impl Doors {
    async fn open(self: &Arc<Self>, listener: &UnixListener) {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => self.meet(stream).await,
                Err(error) => {
                    tracing::debug!(%error, "a connection to the control socket could not be taken");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    async fn meet(self: &Arc<Self>, stream: UnixStream) {
        let peer = match Peer::of(&stream) {
            Ok(peer) if peer.is_known(&self.path) => return self.let_in(stream, peer).await,
            Ok(peer) => peer,
            Err(fault) => return self.send_away(stream, fault).await,
        };
        // Nobody waits for somebody else to be looked up; one more than may be at the same time is not heard.
        let Ok(lookup) = Arc::clone(&self.lookups).try_acquire_owned() else { return };
        let doors = Arc::clone(self);
        tokio::spawn(async move {
            let path = doors.path.clone();
            let looked_up = tokio::task::spawn_blocking(move || peer.authorise(&path));
            let verdict = looked_up.await.unwrap_or_else(|defect| {
                Err(Fault::new(Kind::Bug, format!("looking somebody up ended in a defect: {defect}")))
            });
            drop(lookup);
            match verdict {
                Ok(()) => doors.let_in(stream, peer).await,
                Err(fault) => doors.send_away(stream, fault).await,
            }
        });
    }

    async fn let_in(&self, stream: UnixStream, peer: Peer) {
        let api = Arc::clone(&self.api);
        let answer = move |asked| {
            let api = Arc::clone(&api);
            async move { api.answer(peer.by(), asked).await }
        };
        self.askers.admit(ready(Ok(stream)), answer).await;
    }

    async fn send_away(&self, stream: UnixStream, fault: Fault) {
        tracing::info!(%fault, "somebody was refused at the control socket");
        self.strangers.admit(ready(Ok(stream)), move |_| ready(refused(fault.clone()))).await;
    }
}

async fn listen(path: &Path) -> Result<UnixListener, Fault> {
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
    let unusable = |error: std::io::Error| {
        refuse(format!("the control socket {} cannot be made: {error}", path.display()))
            .advise("check that its folder exists and keywheel may write there (systemd: RuntimeDirectory=)")
    };
    bound(path).and_then(|socket| socket.listen(BACKLOG)).map_err(unusable)
}

/// The socket in its place, and nobody can connect yet: whoever could before its mode is set, where the umask is wide, would pass for somebody whom
/// the mode let in.
fn bound(path: &Path) -> std::io::Result<UnixSocket> {
    let socket = UnixSocket::new_stream()?;
    socket.bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(SOCKET_MODE))?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::ErrorKind;
    use std::os::unix::fs::MetadataExt;

    #[tokio::test]
    async fn nobody_connects_before_the_mode_of_the_socket_is_set() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control.sock");
        let socket = bound(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, SOCKET_MODE);
        let refused = UnixStream::connect(&path).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        let _listener = socket.listen(BACKLOG).unwrap();
        assert!(UnixStream::connect(&path).await.is_ok());
    }
}
