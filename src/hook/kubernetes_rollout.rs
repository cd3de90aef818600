//! The hook `kubernetes-rollout`: has the pods of workloads made anew after a delivery, as `kubectl rollout restart` does, by an annotation of the
//! pods' template.
//!
//! The annotation's key names the target and its value the generation. A notice that is told again, because its answer was lost or keywheel was
//! killed, changes nothing, so that it restarts nothing, whoever else restarted the workload meanwhile. One that comes for a sink that was late, whose
//! readers have to look again, has a value of its own.

use super::{Hook, Notice};
use crate::fault::{Fault, Kind};
use crate::http::{Effect, SendError};
use crate::kubernetes::{Answer, Api, ApiSettings, FIELD_MANAGER, Failure, Now};
use crate::name::TargetName;
use async_trait::async_trait;
use futures_util::future::join_all;
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, StatefulSet};
use kube::Resource;
use kube::core::Request;
use kube::core::params::{Patch, PatchParams};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fmt;

/// What annotations of a target's rotations begin with.
const PREFIX: &str = "rotation.keywheel/";

/// A workload with pods of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workload {
    /// What it is.
    pub kind: WorkloadKind,
    /// Its name.
    pub name: String,
}

/// The kinds of workload that restart their pods when their template changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WorkloadKind {
    /// `deployment/NAME`
    Deployment,
    /// `statefulset/NAME`
    StatefulSet,
    /// `daemonset/NAME`
    DaemonSet,
}

impl WorkloadKind {
    fn word(self) -> &'static str {
        match self {
            Self::Deployment => "deployment",
            Self::StatefulSet => "statefulset",
            Self::DaemonSet => "daemonset",
        }
    }

    fn path(self, namespace: &str) -> String {
        match self {
            Self::Deployment => Deployment::url_path(&(), Some(namespace)),
            Self::StatefulSet => StatefulSet::url_path(&(), Some(namespace)),
            Self::DaemonSet => DaemonSet::url_path(&(), Some(namespace)),
        }
    }
}

impl fmt::Display for Workload {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.kind.word(), self.name)
    }
}

/// The settings of a hook with `kind = "kubernetes-rollout"`.
#[derive(Debug, Clone)]
pub struct RolloutSettings {
    /// Which cluster and namespace, and as whom.
    pub api: ApiSettings,
    /// Whose pods are made anew.
    pub workloads: Vec<Workload>,
}

/// Workloads that are restarted after each delivery.
pub struct RolloutHook {
    api: Api,
    workloads: Vec<Workload>,
}

impl fmt::Debug for RolloutHook {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("RolloutHook").field("workloads", &self.workloads).finish_non_exhaustive()
    }
}

/// A target's key. An annotation's name ends in a letter or a digit, a target's need not.
fn key(target: &TargetName) -> String {
    let name = target.as_str();
    match name.ends_with(|last: char| last.is_ascii_alphanumeric()) {
        true => format!("{PREFIX}{name}"),
        false => format!("{PREFIX}{}", hex::encode(&Sha256::digest(name)[..8])),
    }
}

/// The change that puts these into a workload's template.
fn change(annotations: &BTreeMap<String, String>) -> Value {
    let annotations: Map<String, Value> = annotations.iter().map(|(key, value)| (key.clone(), json!(value))).collect();
    json!({ "spec": { "template": { "metadata": { "annotations": annotations } } } })
}

/// What the workloads are to say after a notice.
fn annotations(notice: &Notice) -> BTreeMap<String, String> {
    let own = notice.news();
    let told = notice.others.iter().chain([(&notice.target, &own)]);
    told.map(|(target, news)| (key(target), news.to_string())).collect()
}

impl RolloutHook {
    /// The hook. Nobody is asked yet.
    pub fn new(settings: RolloutSettings, now: Now) -> Self {
        Self { api: Api::new(settings.api, now), workloads: settings.workloads }
    }

    /// Sends each workload this change, and says what kept the first one from taking it: one that is gone keeps none of the others from being told.
    async fn change(&self, annotations: &BTreeMap<String, String>, dry_run: bool) -> Result<(), Fault> {
        let patch = Patch::Merge(change(annotations));
        let manager = Some(FIELD_MANAGER.to_owned());
        let parameters = PatchParams { dry_run, field_manager: manager, ..PatchParams::default() };
        let one = self.workloads.iter().map(|workload| self.ask(workload, &parameters, &patch));
        join_all(one).await.into_iter().collect()
    }

    async fn ask(&self, workload: &Workload, parameters: &PatchParams, patch: &Patch<Value>) -> Result<(), Fault> {
        let Workload { kind, name } = workload;
        let build = |namespace: &str| Request::new(kind.path(namespace)).patch(name, parameters, patch);
        let failed = |fault: Fault| Fault::new(Kind::HookFailed, format!("{workload}: {}", fault.what));
        let answer = match self.api.ask(build, Effect::Write).await {
            Ok(answer) => answer,
            Err(Failure::NoAccess(fault)) => return Err(failed(fault.clone()).advise(fault.next_step)),
            Err(Failure::NoAnswer(SendError::NotSent(fault) | SendError::Unanswered(fault))) => {
                return Err(failed(fault).advise("see that the API server runs and can be reached"));
            }
        };
        match answer.reply.status {
            200..=299 => Ok(()),
            _ => Err(self.refused(workload, &answer)),
        }
    }

    fn refused(&self, workload: &Workload, answer: &Answer) -> Fault {
        let (status, place, words) = (answer.reply.status, self.api.place(), answer.words(&[]));
        let said = if words.is_empty() { String::new() } else { format!(": {words}") };
        let fault = |why: &str| {
            Fault::new(Kind::HookFailed, format!("{workload} in {place}{why} (HTTP status {status}){said}"))
        };
        match status {
            404 => fault(" is not there").advise("correct the hook's workloads and namespace, or remove what is gone"),
            401 => fault(" cannot be told: the credentials are not accepted").advise("renew the hook's credentials"),
            403 => {
                let Workload { kind, name } = workload;
                fault(" may not be changed").advise(format!(
                    "give the Role of keywheel's user in that namespace the rule {{apiGroups: [apps], resources: [{}s], resourceNames: \
                     [{name}], verbs: [patch]}}",
                    kind.word()
                ))
            }
            _ => match answer.reply.retry_after {
                Some(span) => fault(" was not restarted").after(span),
                None => fault(" was not restarted"),
            },
        }
    }
}

#[async_trait]
impl Hook for RolloutHook {
    async fn tell(&self, notice: &Notice) -> Result<(), Fault> {
        self.change(&annotations(notice), false).await
    }

    async fn ready(&self) -> Result<(), Fault> {
        let rehearsal = BTreeMap::from([(format!("{PREFIX}rehearsal"), "0".to_owned())]);
        self.change(&rehearsal, true).await
    }
}
