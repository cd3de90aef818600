//! What happens, as server-sent events ("HTML Living Standard", server-sent events): first the state as it is, then each event that was recorded.
//!
//! Nobody who listens is waited for. Who falls behind a little is told to look anew, and who does not read at all is sent away.

use super::sight::Sight;
use crate::crowd::{Answer, Lasting};
use crate::driver::{Driver, Happening};
use crate::fault::Fault;
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::Response;
use hyper::body::{Body, Frame};
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use serde::Serialize;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio_util::sync::CancellationToken;

/// Events that may wait for a listener to read them, beside those that the driver keeps. One more, and the listener is sent away.
const WAITING: usize = 64;

/// How often a listener hears something, if only a comment: what lies between them may end connections that are silent.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// Listens from now on. `place` is given back when the listener has gone.
pub(super) fn listen(
    driver: &Arc<Driver>,
    sight: Arc<dyn Sight>,
    place: OwnedSemaphorePermit,
    stop: CancellationToken,
) -> Answer {
    let (teller, told) = mpsc::channel(WAITING);
    let gone = CancellationToken::new();
    let mut answer = Response::new(Told(told).boxed_unsync());
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer.extensions_mut().insert(Lasting::Until(gone.clone()));
    // Before the state is looked at, so that nothing falls between the two.
    let mut happenings = driver.happenings();
    tokio::spawn(async move {
        let (_place, _gone) = (place, gone.drop_guard());
        let said = stop.run_until_cancelled(async {
            say(&teller, &state(&*sight).await)?;
            loop {
                let heard = tokio::select! {
                    () = teller.closed() => return Err(Unheard),
                    heard = tokio::time::timeout(HEARTBEAT, happenings.recv()) => heard,
                };
                let line = match heard {
                    Ok(Ok(happening)) => event("happening", &Recorded::of(&happening)),
                    Ok(Err(RecvError::Lagged(_))) => event("look-anew", &Missed {}),
                    Ok(Err(RecvError::Closed)) => return Err(Unheard),
                    Err(_silence) => ":\n\n".to_owned(),
                };
                say(&teller, &line)?;
            }
        });
        let _why: Option<Result<(), Unheard>> = said.await;
    });
    answer
}

/// Nobody reads any more.
struct Unheard;

fn say(teller: &mpsc::Sender<Bytes>, line: &str) -> Result<(), Unheard> {
    teller.try_send(Bytes::from(line.to_owned())).map_err(|_| Unheard)
}

async fn state(sight: &dyn Sight) -> String {
    match sight.targets().await {
        Ok(document) => format!("event: state\ndata: {document}\n\n"),
        Err(fault) => event("unknown", &Unknown { fault }),
    }
}

fn event(name: &str, data: &impl Serialize) -> String {
    let data = serde_json::to_string(data).expect("words always have a JSON form");
    format!("event: {name}\ndata: {data}\n\n")
}

#[derive(Serialize)]
struct Recorded<'a> {
    target: &'a str,
    rotation: Option<String>,
    time: String,
    event: &'a str,
}

impl<'a> Recorded<'a> {
    fn of(happening: &'a Happening) -> Self {
        Self {
            target: happening.target.as_str(),
            rotation: happening.rotation.map(|rotation| rotation.to_string()),
            time: happening.at.to_string(),
            event: happening.what,
        }
    }
}

#[derive(Serialize)]
struct Missed {}

#[derive(Serialize)]
struct Unknown {
    fault: Fault,
}

/// What was told, piece by piece.
struct Told(mpsc::Receiver<Bytes>);

impl Body for Told {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(context).map(|piece| piece.map(|piece| Ok(Frame::data(piece))))
    }
}
