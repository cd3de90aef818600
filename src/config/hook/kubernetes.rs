//! `kind = "kubernetes-rollout"`: workloads whose pods are made anew.

use super::super::kubernetes::{self, KubernetesAccess};
use super::super::reading::{Section, refusal};

/// The most workloads of one hook: each is a request, and a hook has two minutes in all.
const WORKLOAD_LIMIT: usize = 16;

/// Workloads that are told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RolloutHook {
    /// Which cluster, and as whom.
    pub access: KubernetesAccess,
    /// Whose pods are made anew.
    pub workloads: Vec<Workload>,
}

/// A workload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workload {
    /// What it is.
    pub kind: WorkloadKind,
    /// Its name.
    pub name: String,
}

/// The kinds of workload that make their pods anew when their template changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WorkloadKind {
    /// A Deployment.
    Deployment,
    /// A StatefulSet.
    StatefulSet,
    /// A DaemonSet.
    DaemonSet,
}

const KINDS: [(&str, WorkloadKind); 3] = [
    ("deployment", WorkloadKind::Deployment),
    ("statefulset", WorkloadKind::StatefulSet),
    ("daemonset", WorkloadKind::DaemonSet),
];

pub(super) fn parse(section: &Section<'_>) -> Option<RolloutHook> {
    let access = kubernetes::access(section);
    let texts = section.texts("workloads");
    if section.has("workloads") && !(1..=WORKLOAD_LIMIT).contains(&texts.len()) {
        let what = format!("A hook has 1 to {WORKLOAD_LIMIT} workloads");
        section.refuse("workloads", refusal(what, "write workloads = [\"deployment/orders\"]"));
        return None;
    }
    let workloads: Option<Vec<Workload>> = texts.into_iter().map(workload).collect();
    if workloads.is_none() {
        let what = "A workload is deployment/NAME, statefulset/NAME or daemonset/NAME";
        section.refuse("workloads", refusal(what, "write them such as [\"deployment/orders\"]"));
    }
    Some(RolloutHook { access: access?, workloads: workloads? })
}

fn workload(text: &str) -> Option<Workload> {
    let (word, name) = text.split_once('/')?;
    let (_, kind) = KINDS.into_iter().find(|(known, _)| *known == word)?;
    Some(Workload { kind, name: kubernetes::name(name).ok()? })
}
