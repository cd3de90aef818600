//! The Helm chart, rendered by Helm's own engine: what comes out fits Kubernetes' schemas, and is what the kustomizations are.

use super::manifests::{NODE, PYTHON, documents, fits_its_schema, installed, texts, tree};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

const CHART: &str = "container/helm/keywheel";

/// Runs a judge that reads its standard input.
fn told(command: &mut Command, given: &str) -> String {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(given.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// What Helm makes of a chart; `None`, said aloud, where the tests run without the Python that has Helm.
fn helm(chart: &str, release: &str, values: &Value) -> Option<Result<String, String>> {
    installed("python")?;
    let asked = json!({ "chart": tree().join(chart), "release": release, "namespace": "shop", "values": values });
    let said = ask(&asked);
    if let Some(refused) = said["refused"].as_str() {
        return Some(Err(refused.to_owned()));
    }
    let files = said["files"].as_object().unwrap_or_else(|| panic!("{said}"));
    let manifests = files.iter().filter(|(name, _)| name.ends_with(".yaml"));
    Some(Ok(manifests.map(|(_, text)| text.as_str().unwrap()).collect::<Vec<_>>().join("\n---\n")))
}

fn ask(asked: &Value) -> Value {
    let mut judge = Command::new(std::env::var_os(PYTHON).unwrap());
    serde_json::from_str(&told(judge.arg("tests/container/render.py"), &asked.to_string())).unwrap()
}

fn text(path: &str) -> String {
    fs::read_to_string(tree().join(path)).unwrap()
}

/// The values that make of the chart what the kustomization of the rotator is.
fn as_the_kustomization() -> Value {
    json!({
        "configuration": text("container/kubernetes/rotator/keywheel.toml"),
        "rights": { "secrets": ["redis-orders"], "deployments": ["orders"] },
    })
}

/// Everything that can be switched on or named differently.
fn everything() -> Value {
    json!({
        "configuration": text("config/minimal.toml"),
        "secrets": { "sealingKey": "key-of-ours", "cloud": "" },
        "rights": { "secrets": ["one", "two"], "statefulSets": ["three"], "daemonSets": ["four"] },
        "image": { "repository": "registry.example.com/keywheel", "tag": "1.2.3", "pullPolicy": "Always" },
        "imagePullSecrets": [{ "name": "registry" }],
        "serviceAccount": { "annotations": { "example.com/role": "rotator" } },
        "ledger": { "size": "5Gi", "storageClass": "ssd" },
        "resources": { "limits": { "memory": "1Gi" } },
        "env": [{ "name": "KEYWHEEL_LOG", "value": "debug" }],
        "volumes": [{ "name": "identity", "emptyDir": {} }],
        "volumeMounts": [{ "name": "identity", "mountPath": "/var/run/secrets/tokens" }],
        "podAnnotations": { "example.com/team": "shop" },
        "nodeSelector": { "disk": "local" },
        "tolerations": [{ "key": "shop", "operator": "Exists" }],
        "affinity": { "nodeAffinity": { "requiredDuringSchedulingIgnoredDuringExecution": { "nodeSelectorTerms": [
            { "matchExpressions": [{ "key": "zone", "operator": "In", "values": ["a"] }] }] } } },
        "networkPolicy": { "metricsFrom": [{ "podSelector": {} }], "ports": [443] },
        "podMonitor": { "enabled": true, "interval": "1m", "labels": { "release": "prometheus" } },
        "prometheusRule": { "enabled": true, "labels": { "release": "prometheus" } },
    })
}

/// As little as possible.
fn little() -> Value {
    json!({
        "configuration": text("config/minimal.toml"),
        "ledger": { "existingClaim": "a-claim" },
        "networkPolicy": { "enabled": false },
    })
}

/// What only a chart adds to a manifest.
fn without_the_charts_marks(value: &mut Value) {
    match value {
        Value::Object(all) => {
            for mark in ["app.kubernetes.io/instance", "app.kubernetes.io/managed-by", "helm.sh/chart"] {
                all.remove(mark);
            }
            all.remove("checksum/configuration");
            all.remove("helm.sh/resource-policy");
            all.values_mut().for_each(without_the_charts_marks);
            all.retain(|key, value| !(["labels", "annotations"].contains(&key.as_str()) && *value == json!({})));
        }
        Value::Array(all) => all.iter_mut().for_each(without_the_charts_marks),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Each document by its kind and name, without what only a chart or only a kustomization has.
fn by_name(text: &str) -> BTreeMap<String, Value> {
    let named = documents(text).into_iter().map(|mut document| {
        without_the_charts_marks(&mut document);
        let metadata = document["metadata"].as_object_mut().unwrap();
        // The chart labels everything, the kustomization what needs it.
        metadata.remove("labels");
        let name = metadata["name"].as_str().unwrap().to_owned();
        (format!("{} {name}", document["kind"].as_str().unwrap()), document)
    });
    named.collect()
}

/// A kustomization's resources with its image, as `kubectl kustomize` shows them; its ConfigMaps are looked at by themselves.
fn kustomized(folder: &Path) -> String {
    let file = documents(&fs::read_to_string(folder.join("kustomization.yaml")).unwrap()).remove(0);
    let resources = texts(&file["resources"]).into_iter().map(|name| fs::read_to_string(folder.join(name)).unwrap());
    let image = &file["images"][0];
    let name = format!("image: {}:{}\n", image["newName"].as_str().unwrap(), image["newTag"].as_str().unwrap());
    resources.collect::<Vec<_>>().join("\n---\n").replace("image: keywheel\n", &name)
}

#[test]
fn helm_renders_the_kustomization_of_the_rotator() {
    let Some(rendered) = helm(CHART, "keywheel", &as_the_kustomization()) else { return };
    let rendered = rendered.unwrap();
    let mut charted = by_name(&rendered);
    let configuration = charted.remove("ConfigMap keywheel").unwrap();
    assert_eq!(configuration["data"]["keywheel.toml"], as_the_kustomization()["configuration"]);
    let kustomized = by_name(&kustomized(&tree().join("container/kubernetes/rotator")));
    assert_eq!(charted.keys().collect::<Vec<_>>(), kustomized.keys().collect::<Vec<_>>());
    for (name, document) in &kustomized {
        assert_eq!(&charted[name], document, "{name}");
    }
    let ledger = documents(&rendered).into_iter().find(|one| one["kind"] == "PersistentVolumeClaim").unwrap();
    assert_eq!(ledger["metadata"]["annotations"]["helm.sh/resource-policy"], "keep", "an uninstall leaves the ledger");
}

#[test]
fn helm_renders_the_kustomization_of_the_sidecar() {
    let Some(rendered) = helm("tests/container/orders", "orders", &json!({})) else { return };
    let rendered = rendered.unwrap();
    let mut charted = rendered.clone();
    for volume in ["passwords", "configuration", "identity"] {
        charted = charted.replace(&format!("keywheel-{volume}"), volume);
    }
    let charted = by_name(&charted);
    assert_eq!(charted.len(), 1, "with rotator: false nothing else is made");
    let kustomized = by_name(&kustomized(&tree().join("container/kubernetes/sidecar")));
    assert_eq!(charted["Deployment orders"], kustomized["Deployment orders"]);
    fits_its_schema("the sidecar", &rendered);
}

#[test]
fn whatever_the_values_the_manifests_fit_their_schemas() {
    let sets = [("keywheel", as_the_kustomization()), ("shop", everything()), ("a", little())];
    for (release, values) in sets {
        let Some(rendered) = helm(CHART, release, &values) else { return };
        let rendered = rendered.unwrap();
        // As text, since what reads it there has to know the same numbers as Kubernetes does.
        let (of_the_operator, of_kubernetes): (Vec<&str>, Vec<&str>) =
            rendered.split("\n---\n").partition(|one| one.contains("monitoring.coreos.com/"));
        fits_its_schema(release, &of_kubernetes.join("\n---\n"));
        let of_the_operator: Vec<Value> = of_the_operator.into_iter().flat_map(documents).collect();
        assert_eq!(of_the_operator.len(), if release == "shop" { 2 } else { 0 });
        fits_the_operators_schema(&of_the_operator);
        let name = if release == "keywheel" { "keywheel".to_owned() } else { format!("{release}-keywheel") };
        let deployment = documents(&rendered).into_iter().find(|one| one["kind"] == "Deployment").unwrap();
        assert_eq!(deployment["metadata"]["name"], name);
    }
}

/// What is chosen is what comes out: each value changes the manifest that it is for.
#[test]
fn what_is_chosen_comes_out() {
    let Some(rendered) = helm(CHART, "shop", &everything()) else { return };
    let all = by_name(&rendered.unwrap());
    let pod = &all["Deployment shop-keywheel"]["spec"]["template"]["spec"];
    let container = &pod["containers"][0];
    assert_eq!(container["image"], "registry.example.com/keywheel:1.2.3");
    assert_eq!(container["envFrom"], Value::Null);
    assert_eq!(container["env"][0]["name"], "KEYWHEEL_LOG");
    assert_eq!(container["volumeMounts"][4]["mountPath"], "/var/run/secrets/tokens");
    assert_eq!(pod["volumes"][3]["secret"]["secretName"], "key-of-ours");
    assert_eq!((&pod["tolerations"][0]["key"], &pod["nodeSelector"]["disk"]), (&json!("shop"), &json!("local")));
    let rights: Vec<Value> = all["Role shop-keywheel"]["rules"]
        .as_array()
        .unwrap()
        .iter()
        .map(|rule| json!([rule["resources"], rule["resourceNames"], rule["verbs"]]))
        .collect();
    let expected = json!([
        [["secrets"], ["one", "two"], ["get", "patch"]],
        [["statefulsets"], ["three"], ["patch"]],
        [["daemonsets"], ["four"], ["patch"]],
    ]);
    assert_eq!(Value::from(rights), expected);
    assert_eq!(all["PersistentVolumeClaim shop-keywheel-ledger"]["spec"]["storageClassName"], "ssd");
    assert_eq!(all["NetworkPolicy shop-keywheel"]["spec"]["egress"][1]["ports"].as_array().unwrap().len(), 1);
    let rules = documents(&text("docs/prometheus/keywheel.rules.yml")).remove(0);
    assert_eq!(all["PrometheusRule shop-keywheel"]["spec"], rules, "the tested rules");

    let little = by_name(&helm(CHART, "a", &little()).unwrap().unwrap());
    let kinds: Vec<&str> = little.keys().map(|name| name.split(' ').next().unwrap()).collect();
    assert_eq!(kinds, ["ConfigMap", "Deployment", "Role", "RoleBinding", "ServiceAccount"]);
    assert_eq!(little["Role a-keywheel"]["rules"], json!([]), "no right that was not given");
}

#[test]
fn what_cannot_be_right_is_refused() {
    let cases = [
        (json!({}), "set `configuration` to the text of keywheel.toml"),
        (json!({ "configuration": "x", "replicas": 2 }), "replicas"),
        (json!({ "configuration": "x", "rights": { "secrets": "redis-orders" } }), "/rights/secrets"),
        (json!({ "configuration": "x", "rights": { "secrets": ["*"] } }), "/rights/secrets"),
    ];
    for (values, said) in cases {
        let Some(refused) = helm(CHART, "keywheel", &values) else { return };
        let refused = refused.expect_err(said);
        assert!(refused.contains(said) || refused.contains(&said.replace('/', ".")[1..]), "{refused}");
    }
    let lint = ask(&json!({ "chart": tree().join(CHART), "lint": true, "values": as_the_kustomization() }));
    assert_eq!(lint["lint"], json!([]));
}

#[test]
fn the_chart_is_of_this_version() {
    let chart = documents(&text("container/helm/keywheel/Chart.yaml")).remove(0);
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!((&chart["version"], &chart["appVersion"]), (&json!(version), &json!(version)));
}

/// The operator's kinds, by the schemas of its own definitions; where Node is.
pub fn fits_the_operators_schema(documents: &[Value]) {
    let Some(folder) = std::env::var_os(NODE) else {
        return println!("left out: {NODE} names no folder (tests/run does, where Node is)");
    };
    let given: String = documents.iter().map(|one| format!("{one}\n")).collect();
    let said = told(Command::new("node").arg("tests/container/operator.mjs").arg(folder), &given);
    assert_eq!(said.lines().count(), documents.len(), "{said}");
    assert!(said.lines().all(|line| line.ends_with(" fits")), "{said}");
}
