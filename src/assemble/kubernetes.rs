//! What is in a cluster of Kubernetes: the configured kind in, a hand out.

use crate::config;
use crate::fault::Fault;
use crate::hook::Hook;
use crate::sink::Sink;
use std::sync::Arc;

#[cfg(feature = "kubernetes")]
pub(super) fn sink(sink: &config::KubernetesSink) -> Result<Arc<dyn Sink>, Fault> {
    use crate::sink::kubernetes::{KubernetesSettings, KubernetesSink};
    let settings = KubernetesSettings {
        api: api(&sink.access),
        secret: sink.secret.clone(),
        kind: sink.kind.clone(),
        labels: sink.labels.clone(),
        fields: sink.fields.clone(),
        create: sink.create,
        force: sink.force,
    };
    let made = KubernetesSink::new(settings, super::now());
    made.map(|sink| Arc::new(sink) as Arc<dyn Sink>).map_err(super::first)
}

#[cfg(not(feature = "kubernetes"))]
pub(super) fn sink(_sink: &config::KubernetesSink) -> Result<Arc<dyn Sink>, Fault> {
    Err(Fault::new(crate::fault::Kind::ConfigInvalid, "This keywheel was built without the sink kubernetes")
        .advise("build it with `--features kubernetes`"))
}

#[cfg(feature = "kubernetes")]
pub(super) fn rollout(rollout: &config::RolloutHook) -> Result<Arc<dyn Hook>, Fault> {
    use crate::hook::kubernetes_rollout::{RolloutHook, RolloutSettings, Workload, WorkloadKind};
    let workload = |workload: &config::Workload| Workload {
        kind: match workload.kind {
            config::WorkloadKind::Deployment => WorkloadKind::Deployment,
            config::WorkloadKind::StatefulSet => WorkloadKind::StatefulSet,
            config::WorkloadKind::DaemonSet => WorkloadKind::DaemonSet,
        },
        name: workload.name.clone(),
    };
    let settings =
        RolloutSettings { api: api(&rollout.access), workloads: rollout.workloads.iter().map(workload).collect() };
    Ok(Arc::new(RolloutHook::new(settings, super::now())))
}

#[cfg(not(feature = "kubernetes"))]
pub(super) fn rollout(_rollout: &config::RolloutHook) -> Result<Arc<dyn Hook>, Fault> {
    Err(Fault::new(crate::fault::Kind::ConfigInvalid, "This keywheel was built without the hook kubernetes-rollout")
        .advise("build it with `--features kubernetes`"))
}

#[cfg(feature = "kubernetes")]
fn api(access: &config::KubernetesAccess) -> crate::kubernetes::ApiSettings {
    use crate::kubernetes::{Access, ApiSettings, Pod, SERVICE_ACCOUNT};
    let variable = super::variable;
    let whose = match &access.kubeconfig {
        None => Access::Pod(Pod {
            folder: SERVICE_ACCOUNT.into(),
            host: variable("KUBERNETES_SERVICE_HOST"),
            port: variable("KUBERNETES_SERVICE_PORT"),
        }),
        Some(kubeconfig) => Access::Kubeconfig {
            text: super::stores::read_anew(kubeconfig),
            context: access.context.clone(),
            environment: access.environment.clone(),
        },
    };
    ApiSettings {
        access: whose,
        namespace: access.namespace.clone(),
        reach: crate::http::Settings { timeout: access.timeout, ca_file: access.ca_file.clone() },
    }
}
