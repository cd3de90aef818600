//! The command line's side of the control socket.

use super::{MESSAGE_LIMIT, Reply, Request, VERSION};
use crate::fault::{Fault, Kind};
use crate::name::TargetName;
use crate::secret::Secret;
use std::path::Path;
use std::time::Duration;

/// A command is answered when its target's turn has recorded it; a turn may first have to finish a call.
const ANSWER_LIMIT: Duration = Duration::from_secs(120);

/// Whether it turns it says at once, or it does not turn.
const HEALTH_LIMIT: Duration = Duration::from_secs(5);

/// A connection to a running daemon.
pub struct Control {
    client: reqwest::Client,
}

impl Control {
    /// Connects; `None` when no daemon listens there.
    ///
    /// # Errors
    /// `ControlUnreachable` when a daemon may be there but cannot be asked, such as for lack of permission.
    pub async fn connect(path: &Path) -> Result<Option<Self>, Fault> {
        match tokio::net::UnixStream::connect(path).await {
            Ok(_) => {}
            Err(error)
                if matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::ConnectionRefused) =>
            {
                return Ok(None);
            }
            Err(error) => {
                let what = format!("the control socket {} cannot be opened: {error}", path.display());
                return Err(Fault::new(Kind::ControlUnreachable, what));
            }
        }
        let client = reqwest::Client::builder()
            .unix_socket(path)
            .no_proxy()
            .timeout(ANSWER_LIMIT)
            .tls_certs_only([])
            .build()
            .map_err(|error| {
                Fault::new(Kind::ControlUnreachable, format!("the control client cannot be made: {error}"))
            })?;
        Ok(Some(Self { client }))
    }

    /// Rotate now.
    ///
    /// # Errors
    /// What the daemon answered.
    pub async fn rotate(
        &self,
        target: &TargetName,
        reason: Option<String>,
        through_freeze: bool,
    ) -> Result<String, Fault> {
        self.ask(target, "rotate", Request { reason, through_freeze, ..Request::default() }).await
    }

    /// Take in the password that works today.
    ///
    /// # Errors
    /// What the daemon answered.
    pub async fn adopt(
        &self,
        target: &TargetName,
        password: &Secret,
        account: Option<&str>,
        reason: Option<&str>,
    ) -> Result<String, Fault> {
        self.ask(target, "adopt", with_password(password, account, reason)).await
    }

    /// Take this password as current.
    ///
    /// # Errors
    /// What the daemon answered.
    pub async fn replace(
        &self,
        target: &TargetName,
        password: &Secret,
        account: Option<&str>,
        reason: Option<&str>,
    ) -> Result<String, Fault> {
        self.ask(target, "replace", with_password(password, account, reason)).await
    }

    /// Begin nothing, for this long or until somebody resumes.
    ///
    /// # Errors
    /// What the daemon answered.
    pub async fn pause(
        &self,
        target: &TargetName,
        span: Option<Duration>,
        reason: Option<&str>,
    ) -> Result<String, Fault> {
        let (seconds, reason) = (span.map(|span| span.as_secs()), reason.map(str::to_owned));
        self.ask(target, "pause", Request { seconds, reason, ..Request::default() }).await
    }

    /// End a pause.
    ///
    /// # Errors
    /// What the daemon answered.
    pub async fn unpause(&self, target: &TargetName) -> Result<String, Fault> {
        self.ask(target, "unpause", Request::default()).await
    }

    /// Go on after a halt.
    ///
    /// # Errors
    /// What the daemon answered.
    pub async fn resume(&self, target: &TargetName, allow_reset: bool, reason: Option<&str>) -> Result<String, Fault> {
        let reason = reason.map(str::to_owned);
        self.ask(target, "resume", Request { allow_reset, reason, ..Request::default() }).await
    }

    /// The current password, or every one that may be live.
    ///
    /// # Errors
    /// What the daemon answered.
    pub async fn reveal(&self, target: &TargetName, all: bool, reason: Option<&str>) -> Result<String, Fault> {
        let reason = reason.map(str::to_owned);
        self.ask(target, "reveal", Request { all, reason, ..Request::default() }).await
    }

    /// Whether the daemon turns.
    ///
    /// # Errors
    /// Why it does not, in its own words; `ControlUnreachable` when it gives no answer soon.
    pub async fn health(&self) -> Result<String, Fault> {
        answered(self.client.get(format!("http://keywheel/{VERSION}/health")).timeout(HEALTH_LIMIT)).await
    }

    async fn ask(&self, target: &TargetName, verb: &str, mut request: Request) -> Result<String, Fault> {
        let body = serde_json::to_vec(&request)
            .map_err(|error| Fault::new(Kind::Bug, format!("the request cannot be written: {error}")))?;
        if let Some(password) = &mut request.password {
            zeroize::Zeroize::zeroize(password);
        }
        answered(self.client.post(format!("http://keywheel/{VERSION}/targets/{target}/{verb}")).body(body)).await
    }
}

/// What the daemon answers to this request.
async fn answered(request: reqwest::RequestBuilder) -> Result<String, Fault> {
    let unreachable = |what: String| Fault::new(Kind::ControlUnreachable, what);
    let answer = request
        .send()
        .await
        .map_err(|error| unreachable(format!("the daemon did not answer: {}", error.without_url())))?;
    let body = answer.bytes().await.map_err(|error| unreachable(format!("the daemon's answer broke off: {error}")))?;
    if body.len() > MESSAGE_LIMIT {
        return Err(unreachable("the daemon's answer is too long".to_owned()));
    }
    match serde_json::from_slice(&body) {
        Ok(Reply::Done(done)) => Ok(done),
        Ok(Reply::Refused(fault)) => Err(fault),
        Err(_) => Err(unreachable("the daemon's answer is not understood; are both of one version?".to_owned())),
    }
}

fn with_password(password: &Secret, account: Option<&str>, reason: Option<&str>) -> Request {
    let (account, reason) = (account.map(str::to_owned), reason.map(str::to_owned));
    Request { password: Some(password.expose().to_owned()), account, reason, ..Request::default() }
}
