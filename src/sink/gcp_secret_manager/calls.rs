//! What the sink asks Secret Manager, and what an answer means that is no success.

use super::wire::{self, About, said};
use super::{GcpSecretManager, GcpSettings, Latest};
use crate::fault::{Fault, Kind};
use crate::http::{Effect, Method, Reply};
use crate::sink::Sink;
use crate::sink::web::{no_answer, refused};
use serde_json::json;
use zeroize::Zeroizing;

/// The most versions that `latest` is believed to lag behind.
const LAG_LIMIT: usize = 20;

/// How many versions are asked for until the last one is found: enough for a few million.
const SEARCH_LIMIT: usize = 48;

/// What a delivery does to a secret.
const PERMISSIONS: [&str; 4] = [
    "secretmanager.secrets.get",
    "secretmanager.secrets.update",
    "secretmanager.versions.add",
    "secretmanager.versions.access",
];

impl GcpSecretManager {
    /// One request; once more with another token where that is turned away.
    pub(super) async fn ask(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        body: &Zeroizing<Vec<u8>>,
        effect: Effect,
    ) -> Result<Reply, Fault> {
        let mut url = self.client.endpoint().clone();
        url.set_path(&format!("/v1/{path}"));
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let token = self.tokens.token(None).await?;
        let mut headers = vec![
            ("authorization".to_owned(), format!("Bearer {}", token.expose())),
            ("user-agent".to_owned(), concat!("keywheel/", env!("CARGO_PKG_VERSION")).to_owned()),
        ];
        headers.extend(self.settings.quota_project.clone().map(|project| ("x-goog-user-project".to_owned(), project)));
        if !body.is_empty() {
            headers.push(("content-type".to_owned(), "application/json".to_owned()));
        }
        let send = async |headers: &[(String, String)]| {
            self.client.send(method.clone(), url.clone(), headers, body.clone(), effect).await.map_err(no_answer)
        };
        let reply = send(&headers).await?;
        if reply.status != 401 {
            return Ok(reply);
        }
        // Nothing was done for that one.
        let other = self.tokens.token(Some(&token)).await?;
        headers[0].1 = format!("Bearer {}", other.expose());
        send(&headers).await
    }

    /// What is in a version, by its number or name.
    pub(super) async fn version(&self, version: &str) -> Result<Latest, Fault> {
        let path = format!("{}/versions/{version}:access", self.name());
        let reply = self.ask(Method::GET, &path, &[], &Zeroizing::default(), Effect::Read).await?;
        match (reply.status, said(&reply.body).status.as_str()) {
            (200, _) => match wire::content(&reply.body) {
                Some(content) => Ok(Latest::Content(content)),
                None => Err(Fault::new(
                    Kind::SinkUnavailable,
                    format!("A look at {} brought an answer that is none, or was damaged on its way", self.place()),
                )
                .advise("check the sink's endpoint; keywheel tries again")),
            },
            (404, "NOT_FOUND") => Ok(Latest::Absent),
            (400, "FAILED_PRECONDITION") => Ok(Latest::Closed(version.parse().unwrap_or(0))),
            _ => Err(self.trouble("A look", &reply)),
        }
    }

    /// What was added last, which readers of `latest` see at once or in a while: that name lags behind, a version's number does not (Google's document
    /// "Resource consistency"). `from` is a number that is known to be there.
    pub(super) async fn top(&self, from: Option<u64>) -> Result<Latest, Fault> {
        let mut top = match from {
            Some(version) => self.version(&version.to_string()).await?,
            None => self.version("latest").await?,
        };
        if matches!(top, Latest::Closed(0)) {
            top = self.last().await?;
        }
        for _ in 0..LAG_LIMIT {
            match self.version(&(top.version() + 1).to_string()).await? {
                Latest::Absent => break,
                newer @ (Latest::Closed(_) | Latest::Content(_)) => top = newer,
            }
        }
        Ok(top)
    }

    /// The version with the largest number, where `latest` gives none because it is closed. Numbers have no gaps: what was destroyed keeps its own.
    async fn last(&self) -> Result<Latest, Fault> {
        let (mut there, mut beyond) = (Latest::Absent, None);
        for _ in 0..SEARCH_LIMIT {
            let next = match beyond {
                None => (there.version() * 2).max(1),
                Some(beyond) if beyond - there.version() <= 1 => break,
                Some(beyond) => there.version() + (beyond - there.version()) / 2,
            };
            match self.version(&next.to_string()).await? {
                Latest::Absent => beyond = Some(next),
                found @ (Latest::Closed(_) | Latest::Content(_)) => there = found,
            }
        }
        Ok(there)
    }

    /// The secret itself; `None` where there is none.
    pub(super) async fn about(&self) -> Result<Option<About>, Fault> {
        let reply = self.ask(Method::GET, &self.name(), &[], &Zeroizing::default(), Effect::Read).await?;
        match (reply.status, said(&reply.body).status.as_str()) {
            (200, _) => match serde_json::from_slice(&reply.body) {
                Ok(about) => Ok(Some(about)),
                Err(_) => Err(self.trouble("A look", &reply)),
            },
            (404, "NOT_FOUND") => Ok(None),
            _ => Err(self.trouble("A look", &reply)),
        }
    }

    /// What an answer means that is no success.
    pub(super) fn trouble(&self, what: &str, reply: &Reply) -> Fault {
        let said = said(&reply.body);
        let what = format!("{what} at {}", self.place());
        let refused_with = format!("{what} was refused (HTTP status {}{})", reply.status, said.words());
        let denied = |advice: String| Fault::new(Kind::SinkDenied, refused_with.as_str()).advise(advice);
        let GcpSettings { project, quota_project, .. } = &self.settings;
        match (reply.status, said.reason.as_str()) {
            (200..=299, _) => {
                Fault::new(Kind::SinkUnavailable, format!("{what} brought an answer that Secret Manager does not give"))
                    .advise("check the sink's endpoint; keywheel tries again")
            }
            (400..=499, "SERVICE_DISABLED") => {
                denied(format!("run gcloud services enable secretmanager.googleapis.com --project {project}"))
            }
            (400..=499, "BILLING_DISABLED") => denied(format!("link a billing account to the project {project}")),
            (400..=499, "ACCESS_TOKEN_SCOPE_INSUFFICIENT") => {
                denied("give the machine the access scope cloud-platform; roles then say what it may do".to_owned())
            }
            (400..=499, "USER_PROJECT_DENIED" | "CONSUMER_INVALID") => {
                let counted = quota_project.as_ref().unwrap_or(project);
                denied(format!(
                    "grant keywheel's identity roles/serviceusage.serviceUsageConsumer on the project {counted}"
                ))
            }
            (401, _) => {
                denied("renew the sink's credentials; where they are right, set this machine's clock".to_owned())
            }
            (403, _) => denied(format!("let keywheel's identity do {} there", self.permissions().join(", "))),
            (404, _) => denied(self.how_to_create()),
            (400, _) => denied("check the sink's settings; a key of the secret's own (CMEK) must be usable".to_owned()),
            _ => refused(&what, reply),
        }
    }

    /// What keywheel's identity has to be permitted.
    fn permissions(&self) -> Vec<&'static str> {
        let mut all = PERMISSIONS.to_vec();
        if self.settings.keep.is_some() {
            all.push("secretmanager.versions.list");
            all.push(if self.settings.destroy {
                "secretmanager.versions.destroy"
            } else {
                "secretmanager.versions.disable"
            });
        }
        all
    }

    fn how_to_create(&self) -> String {
        let GcpSettings { project, secret, location, .. } = &self.settings;
        let place = match location {
            Some(location) => format!("--location={location}"),
            None => "--replication-policy=automatic".to_owned(),
        };
        format!("run gcloud secrets create {secret} --project={project} {place}, or set create = true")
    }

    pub(super) fn absent(&self) -> Fault {
        Fault::new(Kind::SinkDenied, format!("There is no such thing as {}", self.place())).advise(self.how_to_create())
    }

    /// A version that nobody closed and that cannot be opened is one whose key cannot be used: then none can be added either. Whoever may not look at it
    /// learns that from the delivery.
    pub(super) async fn refuse_unusable_key(&self, version: u64) -> Result<(), Fault> {
        let path = format!("{}/versions/{version}", self.name());
        let reply = self.ask(Method::GET, &path, &[], &Zeroizing::default(), Effect::Read).await?;
        if reply.status != 200 || !wire::is_enabled(&reply.body) {
            return Ok(());
        }
        let what = format!("{} cannot be opened, though nobody disabled its newest version", self.place());
        Err(Fault::new(Kind::SinkDenied, what).advise(
            "enable the key that the secret is encrypted by (CMEK), and let Secret Manager's service agent use it",
        ))
    }

    /// Refuses to begin where a permission is missing that a delivery needs.
    pub(super) async fn refuse_missing_permissions(&self) -> Result<(), Fault> {
        let needed = self.permissions();
        let body = Zeroizing::new(json!({ "permissions": needed }).to_string().into_bytes());
        let path = format!("{}:testIamPermissions", self.name());
        let reply = self.ask(Method::POST, &path, &[], &body, Effect::Read).await?;
        let held = (reply.status == 200).then(|| wire::permissions(&reply.body)).flatten();
        let held = held.ok_or_else(|| self.trouble("The question what is permitted", &reply))?;
        let lacking: Vec<&str> = needed.into_iter().filter(|needed| !held.iter().any(|held| held == needed)).collect();
        if lacking.is_empty() {
            return Ok(());
        }
        let what = format!("keywheel's identity may not do all that a delivery does at {}", self.place());
        Err(Fault::new(Kind::SinkDenied, what).advise(format!("let it do {} there", lacking.join(", "))))
    }
}
