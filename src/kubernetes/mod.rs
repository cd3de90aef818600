//! An API server of Kubernetes, for the sink `kubernetes` and the hook `kubernetes-rollout`.
//!
//! `kube` reads kubeconfigs, builds the requests and knows the server's answers; they travel through [`crate::http`]. ARCHITECTURE.md says why not
//! through its own client.

mod access;
mod exec;

pub use access::{Access, Pod, SERVICE_ACCOUNT};

use crate::fault::{Fault, Kind, scrub};
use crate::http::{Effect, Reply, SendError, Settings};
use crate::moment::Moment;
use crate::secret::Secret;
use access::Session;
use kube::core::Status;
use kube::core::request::Error as Unbuildable;
use std::sync::Arc;
use tokio::sync::Mutex;
use zeroize::Zeroizing;

/// Under this name the server notes which fields are keywheel's.
pub const FIELD_MANAGER: &str = "keywheel";

/// How much of the server's own words is shown, in characters.
const SAID_LIMIT: usize = 300;

/// The cause of a conflict over who decides about a field.
const FIELD_CONFLICT: &str = "FieldManagerConflict";

/// A request as `kube` builds it.
pub type Question = hyper::Request<Vec<u8>>;

/// Tells the time.
pub type Now = Arc<dyn Fn() -> Moment + Send + Sync>;

/// Which server, and as whom.
#[derive(Debug, Clone)]
pub struct ApiSettings {
    /// Where its address and the credentials are.
    pub access: Access,
    /// The namespace, where it is not the pod's or the context's own.
    pub namespace: Option<String>,
    /// Timeout of one request, and certificates that win over those of `access`.
    pub reach: Settings,
}

/// An API server. Opened when it is first asked, and anew about once a minute and when the credentials are refused: whoever made them may have
/// replaced them.
pub struct Api {
    settings: ApiSettings,
    now: Now,
    session: Mutex<Option<Session>>,
}

/// Why there is no answer.
#[derive(Debug)]
pub enum Failure {
    /// Address or credentials cannot be come by, or are none; nothing was sent.
    NoAccess(Fault),
    /// There is no whole answer.
    NoAnswer(SendError),
}

/// What a server answered.
pub struct Answer {
    /// The answer.
    pub reply: Reply,
    token: Option<Secret>,
}

/// A field that somebody else decides about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// Its path, such as `.data.password`.
    pub field: String,
    /// In the server's words: `conflict with "kubectl-edit" using v1`.
    pub with: String,
}

impl Conflict {
    /// Whether it is keywheel itself that decided, by another kind of request.
    pub fn is_with_ourselves(&self) -> bool {
        self.with.split('"').nth(1) == Some(FIELD_MANAGER)
    }
}

impl Answer {
    fn status(&self) -> Option<Status> {
        serde_json::from_slice(&self.reply.body).ok()
    }

    /// The server's own words, in one line and without these secrets; empty where it has none.
    pub fn words(&self, secrets: &[&Secret]) -> String {
        let secrets: Vec<&Secret> = secrets.iter().copied().chain(&self.token).collect();
        let said = self.status().map(|status| status.message).unwrap_or_default();
        scrub(&said, &secrets).chars().take(SAID_LIMIT).collect()
    }

    /// The kind of thing that the server speaks of, such as `namespaces`.
    pub fn about(&self) -> String {
        self.status().and_then(|status| status.details).map(|details| details.kind).unwrap_or_default()
    }

    /// Why a request that could be understood was refused, in the server's word for it, such as `AlreadyExists`.
    pub fn reason(&self) -> String {
        self.status().map(|status| status.reason).unwrap_or_default()
    }

    /// The fields that others decide about, where that is why a write was refused.
    pub fn conflicts(&self) -> Vec<Conflict> {
        let causes = self.status().and_then(|status| status.details).map(|details| details.causes).unwrap_or_default();
        let conflicts = causes.into_iter().filter(|cause| cause.reason == FIELD_CONFLICT);
        conflicts.map(|cause| Conflict { field: cause.field, with: scrub(&cause.message, &[]) }).collect()
    }
}

impl Api {
    /// The server. Nothing is read and nobody is asked yet.
    pub fn new(settings: ApiSettings, now: Now) -> Self {
        Self { settings, now, session: Mutex::default() }
    }

    /// Where it is, in words for people.
    pub fn place(&self) -> String {
        let namespace = self
            .settings
            .namespace
            .as_deref()
            .map_or("its own namespace".to_owned(), |name| format!("the namespace {name}"));
        format!("{namespace} of {}", self.settings.access.words())
    }

    /// Asks what `build` makes for the namespace; once more with credentials that were read anew, where they are refused.
    ///
    /// # Errors
    /// Why there is no answer. A refusal is one.
    pub async fn ask(
        &self,
        build: impl Fn(&str) -> Result<Question, Unbuildable>,
        effect: Effect,
    ) -> Result<Answer, Failure> {
        let (session, fresh) = self.opened(None).await.map_err(Failure::NoAccess)?;
        let answer = self.asked(&session, &build, effect).await?;
        if answer.reply.status != 401 || fresh {
            return Ok(answer);
        }
        let (session, _) = self.opened(Some(&session)).await.map_err(Failure::NoAccess)?;
        self.asked(&session, &build, effect).await
    }

    async fn asked(
        &self,
        session: &Session,
        build: impl Fn(&str) -> Result<Question, Unbuildable>,
        effect: Effect,
    ) -> Result<Answer, Failure> {
        let namespace = self.settings.namespace.as_deref().unwrap_or(&session.namespace);
        let question = build(namespace).map_err(|_| {
            Failure::NoAccess(Fault::new(Kind::Bug, "A request to the API server that cannot be built"))
        })?;
        let (head, body) = question.into_parts();
        let body = Zeroizing::new(body);
        let mut headers = vec![
            ("accept".to_owned(), "application/json".to_owned()),
            ("user-agent".to_owned(), concat!("keywheel/", env!("CARGO_PKG_VERSION")).to_owned()),
        ];
        if let Some(kind) = head.headers.get("content-type").and_then(|value| value.to_str().ok()) {
            headers.push(("content-type".to_owned(), kind.to_owned()));
        } else if !body.is_empty() {
            headers.push(("content-type".to_owned(), "application/json".to_owned()));
        }
        if let Some(token) = &session.token {
            headers.push(("authorization".to_owned(), format!("Bearer {}", token.expose())));
        }
        let mut url = session.client.endpoint().clone();
        url.set_path(&format!("{}{}", url.path().trim_end_matches('/'), head.uri.path()));
        url.set_query(head.uri.query().filter(|query| !query.is_empty()));
        let sent = session.client.send(head.method, url, &headers, body, effect).await;
        sent.map(|reply| Answer { reply, token: session.token.clone() }).map_err(Failure::NoAnswer)
    }

    /// The session, and whether it was opened just now. It is not held while the server thinks, so that a request that hangs holds up no other.
    async fn opened(&self, turned_away: Option<&Session>) -> Result<(Session, bool), Fault> {
        let mut held = self.session.lock().await;
        let now = (self.now)();
        let usable =
            |session: &&Session| now < session.until && turned_away.is_none_or(|old| old.number != session.number);
        if let Some(session) = held.as_ref().filter(usable) {
            return Ok((session.clone(), false));
        }
        let number = held.as_ref().map_or(0, |session| session.number + 1);
        // A session whose credentials were refused or have ended is of no use to anybody.
        *held = None;
        let session = self.settings.access.open(&self.settings.reach, now, number).await?;
        *held = Some(session.clone());
        Ok((session, true))
    }
}
