//! The hook `kubernetes-rollout`, with the same stand-in.

use super::server::{Cluster, NAMESPACE};
use super::{StandIn, access, api, cluster, kubeconfig};
use crate::clients::{python, told};
use crate::conformance::Trouble;
use crate::rows::TOKEN;
use keywheel::fault::{Fault, Kind, Retry};
use keywheel::hook::kubernetes_rollout::{RolloutHook, RolloutSettings, Workload, WorkloadKind};
use keywheel::hook::{Hook, News, Notice};
use keywheel::moment::Moment;
use keywheel::name::{Generation, RotationId};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

const ALL: [(&str, WorkloadKind); 3] = [
    ("deployments", WorkloadKind::Deployment),
    ("statefulsets", WorkloadKind::StatefulSet),
    ("daemonsets", WorkloadKind::DaemonSet),
];

fn hook(cluster: &StandIn<Cluster>, names: [&str; 3]) -> RolloutHook {
    let text = kubeconfig(&cluster.url(), &json!({ "token": TOKEN }), &json!({}));
    let workloads = ALL.iter().zip(names).map(|((_, kind), name)| Workload { kind: *kind, name: name.to_owned() });
    let settings = RolloutSettings { api: api(access(text)), workloads: workloads.collect() };
    RolloutHook::new(settings, Arc::new(|| Moment::from_seconds(0)))
}

fn notice(target: &str, generation: u64, others: &[(&str, u64)]) -> Notice {
    let others = others.iter().map(|(name, generation)| {
        (name.parse().unwrap(), News { generation: Generation(*generation), rotation: None, telling: 1 })
    });
    Notice {
        target: target.parse().unwrap(),
        generation: Generation(generation),
        rotation: Some(RotationId::from_parts(Moment::from_seconds(1), generation.into())),
        telling: 1,
        others: others.collect(),
    }
}

/// A cluster with one workload of each kind, as people make them.
async fn with_workloads() -> StandIn<Cluster> {
    let cluster = cluster().await;
    for (resource, _) in ALL {
        let workload = json!({
            "metadata": { "name": "orders" },
            "spec": {
                "selector": { "matchLabels": { "app": "orders" } }, "serviceName": "orders",
                "template": {
                    "metadata": { "labels": { "app": "orders" }, "annotations": { "kubectl.kubernetes.io/restartedAt": "2026-01-01T00:00:00Z" } },
                    "spec": { "containers": [{ "name": "orders", "image": "orders:1" }] },
                },
            },
        });
        let path = format!("/apis/apps/v1/namespaces/{NAMESPACE}/{resource}?fieldManager=kubectl-create");
        assert_eq!(cluster.service.ask("POST", &path, "application/json", &workload).status, 201);
    }
    cluster
}

/// The annotations of each template, and the version of each workload.
fn seen(cluster: &StandIn<Cluster>) -> Vec<(BTreeMap<String, String>, String)> {
    let of = |(resource, _): &(&str, WorkloadKind)| {
        let object = cluster.service.object(resource, "orders").unwrap();
        let annotations: BTreeMap<String, String> =
            serde_json::from_value(object["spec"]["template"]["metadata"]["annotations"].clone()).unwrap();
        (annotations, object["metadata"]["resourceVersion"].to_string())
    };
    ALL.iter().map(of).collect()
}

fn ours(cluster: &StandIn<Cluster>) -> Vec<Vec<(String, String)>> {
    let own = |(annotations, _): (BTreeMap<String, String>, String)| {
        assert!(annotations.contains_key("kubectl.kubernetes.io/restartedAt"), "what others wrote is gone");
        annotations.into_iter().filter(|(key, _)| key.contains("keywheel")).collect()
    };
    seen(cluster).into_iter().map(own).collect()
}

fn pairs(expected: &[(&str, &str)]) -> Vec<Vec<(String, String)>> {
    let one = |(name, value): &(&str, &str)| (format!("rotation.keywheel/{name}"), (*value).to_owned());
    vec![expected.iter().map(one).collect(); 3]
}

#[tokio::test]
async fn each_workload_is_told_once_of_each_generation_however_often_the_notice_comes() {
    let cluster = with_workloads().await;
    let first = hook(&cluster, ["orders"; 3]);
    let untouched = seen(&cluster);
    first.ready().await.unwrap();
    assert_eq!(seen(&cluster), untouched, "a rehearsal was seen");
    first.tell(&notice("orders-cache", 7, &[("basket", 2)])).await.unwrap();
    assert_eq!(ours(&cluster), pairs(&[("basket", "2"), ("orders-cache", "7")]));
    // keywheel was killed before it wrote down that it had told: another process tells again, whichever target comes first then.
    let restarted = seen(&cluster);
    hook(&cluster, ["orders"; 3]).tell(&notice("orders-cache", 7, &[])).await.unwrap();
    hook(&cluster, ["orders"; 3]).tell(&notice("basket", 2, &[("orders-cache", 7)])).await.unwrap();
    assert_eq!(seen(&cluster), restarted, "a second restart");
    // Somebody's own restart is none of ours, and a notice that comes again does not undo it.
    let theirs = json!({ "spec": { "template": { "metadata": { "annotations": { "kubectl.kubernetes.io/restartedAt": "2026-02-02T00:00:00Z" } } } } });
    for (resource, _) in ALL {
        let path = format!("/apis/apps/v1/namespaces/{NAMESPACE}/{resource}/orders");
        let answer = cluster.service.ask("PATCH", &path, "application/strategic-merge-patch+json", &theirs);
        assert_eq!(answer.status, 200);
    }
    let restarted = seen(&cluster);
    hook(&cluster, ["orders"; 3]).tell(&notice("orders-cache", 7, &[])).await.unwrap();
    assert_eq!(seen(&cluster), restarted, "a second restart");
    // A sink was late, and another process tells of it.
    let late = Notice { telling: 2, ..notice("orders-cache", 7, &[]) };
    for _ in 0..2 {
        hook(&cluster, ["orders"; 3]).tell(&late).await.unwrap();
    }
    assert_eq!(ours(&cluster), pairs(&[("basket", "2"), ("orders-cache", "7-2")]));
    first.tell(&notice("orders-cache", 8, &[])).await.unwrap();
    assert_eq!(ours(&cluster), pairs(&[("basket", "2"), ("orders-cache", "8")]));
    // A name that no annotation can end in.
    first.tell(&notice("odd-", 1, &[])).await.unwrap();
    let odd = ours(&cluster).remove(0).remove(1).0;
    assert!(odd.ends_with(|last: char| last.is_ascii_alphanumeric()), "{odd}");
}

/// What keeps it from telling, and that it would have been seen beforehand.
async fn failed(hook: &RolloutHook) -> Fault {
    let ready = hook.ready().await.unwrap_err();
    let fault = hook.tell(&notice("orders-cache", 1, &[])).await.unwrap_err();
    assert_eq!((ready.kind, &ready.what), (fault.kind, &fault.what));
    assert_eq!(fault.kind, Kind::HookFailed, "{fault}");
    assert!(!fault.to_string().contains(TOKEN), "{fault}");
    fault
}

#[tokio::test]
async fn a_workload_that_is_gone_is_named_and_the_others_are_told() {
    let cluster = with_workloads().await;
    let fault = failed(&hook(&cluster, ["orders", "gone", "orders"])).await;
    assert!(fault.what.starts_with("statefulset/gone in its own namespace of the cluster"), "{fault}");
    assert!(fault.what.contains("is not there") && fault.next_step.contains("workloads"), "{fault}");
    let told: Vec<bool> = ours(&cluster).iter().map(|annotations| !annotations.is_empty()).collect();
    assert_eq!(told, [true, false, true]);
    // Tried again, it restarts none of those that were told.
    let before = seen(&cluster);
    failed(&hook(&cluster, ["orders", "gone", "orders"])).await;
    assert_eq!(seen(&cluster), before);
}

#[tokio::test]
async fn what_keeps_a_workload_from_being_told_is_said() {
    let cluster = with_workloads().await;
    let hook = hook(&cluster, ["orders"; 3]);
    cluster.service.forbid("patch", "deployments");
    let fault = failed(&hook).await;
    assert!(fault.what.contains("deployment/orders") && fault.what.contains("cannot patch resource"), "{fault}");
    let rule = "{apiGroups: [apps], resources: [deployments], resourceNames: [orders], verbs: [patch]}";
    assert!(fault.next_step.contains(rule), "{fault}");
    cluster.fail(Trouble::Throttled);
    let fault = failed(&hook).await;
    assert_eq!(fault.retry, Retry::AfterMillis(Duration::from_secs(3).as_millis() as u64));
    cluster.fail(Trouble::Broken);
    assert!(failed(&hook).await.what.contains("etcdserver: leader changed"));
    cluster.mend();
    cluster.service.set_tokens(&[]);
    assert!(failed(&hook).await.next_step.contains("renew"));
    cluster.fail(Trouble::Down);
    cluster.shut().await;
    assert!(failed(&hook).await.next_step.contains("API server"));
}

#[test]
fn a_configured_hook_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keywheel.toml");
    let text = r#"
        [daemon]
        ledger = "sqlite:///var/lib/keywheel/ledger.db"
        sealing-key = { file = "/etc/keywheel/sealing-key" }
        [hooks.rollout]
        kind = "kubernetes-rollout"
        workloads = ["deployment/orders", "statefulset/x", "daemonset/y"]
        namespace = "shop"
        debounce = "10s"
    "#;
    std::fs::write(&path, text).unwrap();
    let config = keywheel::config::load(&path, []).unwrap_or_else(|findings| panic!("{findings}")).config;
    assert!(config.hooks.values().all(|hook| hook.restarts && hook.once_for_all()));
    keywheel::assemble::Kit::of(&config).map(drop).unwrap_or_else(|fault| panic!("{fault}"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_python_client_sees_what_the_hook_said() {
    let Some(python) = python() else { return };
    let cluster = with_workloads().await;
    hook(&cluster, ["orders"; 3]).tell(&notice("orders-cache", 7, &[])).await.unwrap();
    let program = "import json, sys, kubernetes\n\
        told = json.load(sys.stdin)\n\
        apps = kubernetes.client.AppsV1Api(kubernetes.config.new_client_from_config_dict(json.loads(told['kubeconfig'])))\n\
        for read in (apps.read_namespaced_deployment, apps.read_namespaced_stateful_set, apps.read_namespaced_daemon_set):\n    \
            held = read('orders', 'shop')\n    \
            assert held.spec.template.metadata.annotations['rotation.keywheel/orders-cache'] == '7', held\n    \
            assert held.spec.template.spec.containers[0].image == 'orders:1', held\n    \
            assert {(owner.manager, owner.operation) for owner in held.metadata.managed_fields} == {('kubectl-create', 'Update'), ('keywheel', 'Update')}\n";
    let story: Value = json!({ "kubeconfig": kubeconfig(&cluster.url(), &json!({ "token": TOKEN }), &json!({})) });
    told(python, vec!["-c".to_owned(), program.to_owned()], story).await;
}
