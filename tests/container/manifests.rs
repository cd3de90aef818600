//! The Containerfile and the manifests, each held against the tool or schema that judges it.

use super::helm::fits_the_operators_schema;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A Python that has what tests/sdk/requirements.txt lists.
pub const PYTHON: &str = "KEYWHEEL_SDK_PYTHON";
/// A folder whose node_modules has what tests/sdk/package.json lists.
pub const NODE: &str = "KEYWHEEL_SDK_NODE";

pub fn tree() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A program that came with the Python of tests/run; `None`, said aloud, where the tests run without it.
pub fn installed(program: &str) -> Option<PathBuf> {
    let Some(python) = std::env::var_os(PYTHON) else {
        println!("left out: {PYTHON} names no Python (tests/run does)");
        return None;
    };
    Some(Path::new(&python).with_file_name(program))
}

/// Every folder that is one kustomization, with what stands in its kustomization.yaml.
fn kustomizations() -> Vec<(PathBuf, Value)> {
    let folders = fs::read_dir(tree().join("container/kubernetes")).unwrap();
    let mut found: Vec<_> = folders
        .map(|folder| folder.unwrap().path())
        .map(|folder| {
            let text = fs::read_to_string(folder.join("kustomization.yaml")).unwrap();
            (folder, serde_yaml_ng::from_str(&text).unwrap())
        })
        .collect();
    found.sort_by(|one, other| one.0.cmp(&other.0));
    assert!(!found.is_empty());
    found
}

/// The documents of a file, without empty ones.
pub fn documents(text: &str) -> Vec<Value> {
    let all = serde_yaml_ng::Deserializer::from_str(text);
    let all = all.map(|document| <Value as serde::Deserialize>::deserialize(document).unwrap());
    all.filter(|document| !document.is_null()).collect()
}

/// Each document of `text` is one of a kind that Kubernetes has, and has what that kind has.
pub fn fits_its_schema(what: &str, text: &str) {
    let Some(judge) = installed("kubernetes-validate") else { return };
    let file = tempfile::Builder::new().suffix(".yaml").tempfile().unwrap();
    fs::write(&file, text).unwrap();
    let told = Command::new(&judge).arg("--strict").arg(file.path()).output().unwrap();
    let said = String::from_utf8_lossy(&[told.stdout, told.stderr].concat()).into_owned();
    assert!(told.status.success(), "{what}: {said}");
    assert_eq!(said.matches(" passed ").count(), documents(text).len(), "{what}: {said}");
}

pub fn texts(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().map(|text| text.as_str().unwrap().to_owned()).collect()
}

#[test]
fn hadolint_has_nothing_to_say() {
    let Some(hadolint) = installed("hadolint") else { return };
    let told = Command::new(hadolint).arg(tree().join("container/Containerfile")).output().unwrap();
    let said = [told.stdout, told.stderr].concat();
    assert!(told.status.success() && said.is_empty(), "{}", String::from_utf8_lossy(&said));
}

#[test]
fn a_kustomization_names_every_file_beside_it() {
    for (folder, kustomization) in kustomizations() {
        let mut named: BTreeSet<String> = texts(&kustomization["resources"]).into_iter().collect();
        for generator in kustomization["configMapGenerator"].as_array().into_iter().flatten() {
            named.extend(texts(&generator["files"]));
        }
        named.insert("kustomization.yaml".to_owned());
        let there: BTreeSet<String> =
            fs::read_dir(&folder).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
        assert_eq!(named, there, "{}", folder.display());
    }
}

#[test]
fn every_manifest_fits_the_schema_of_its_kind() {
    for (folder, kustomization) in kustomizations() {
        for file in texts(&kustomization["resources"]) {
            let text = fs::read_to_string(folder.join(&file)).unwrap();
            // The operator's own kinds are in no schema of Kubernetes.
            if text.contains("monitoring.coreos.com/") {
                fits_the_operators_schema(&documents(&text));
            } else {
                fits_its_schema(&file, &text);
            }
        }
    }
}

#[test]
fn the_configurations_in_the_manifests_are_ones_that_keywheel_takes() {
    let mut checked = 0;
    for (folder, kustomization) in kustomizations() {
        for generator in kustomization["configMapGenerator"].as_array().into_iter().flatten() {
            for file in texts(&generator["files"]) {
                let told = Command::new(env!("CARGO_BIN_EXE_keywheel"))
                    .args(["check", "--offline", "--config"])
                    .arg(folder.join(&file))
                    .output()
                    .unwrap();
                let said = String::from_utf8_lossy(&[told.stdout, told.stderr].concat()).into_owned();
                assert!(told.status.success(), "{}/{file}: {said}", folder.display());
                checked += 1;
            }
        }
    }
    assert!(checked > 0);
}

#[test]
fn the_image_that_the_manifests_run_is_the_one_of_this_version() {
    for (folder, kustomization) in kustomizations() {
        for image in kustomization["images"].as_array().into_iter().flatten() {
            assert_eq!(image["newTag"], env!("CARGO_PKG_VERSION"), "{}", folder.display());
        }
    }
    let compose = documents(&fs::read_to_string(tree().join("container/compose.yaml")).unwrap()).remove(0);
    let image = format!("localhost/keywheel:{}", env!("CARGO_PKG_VERSION"));
    assert_eq!(compose["services"]["keywheel"]["image"], image);
}

/// The Role lets keywheel do what its configuration asks for, and nothing else.
#[test]
fn the_rotators_rights_are_those_that_its_configuration_needs() {
    let folder = tree().join("container/kubernetes/rotator");
    let configuration: toml::Table = fs::read_to_string(folder.join("keywheel.toml")).unwrap().parse().unwrap();
    let account = fs::read_to_string(folder.join("account.yaml")).unwrap();
    let role = documents(&account).into_iter().find(|document| document["kind"] == "Role").unwrap();
    let mut granted: Vec<(String, Vec<String>, Vec<String>)> = role["rules"]
        .as_array()
        .unwrap()
        .iter()
        .map(|rule| (texts(&rule["resources"]).concat(), texts(&rule["resourceNames"]), texts(&rule["verbs"])))
        .collect();
    granted.sort();
    let of_kind = |section: &str, kind: &str| -> Vec<toml::Table> {
        let all = configuration[section].as_table().unwrap().values().map(|one| one.as_table().unwrap().clone());
        all.filter(|one| one["kind"].as_str() == Some(kind)).collect()
    };
    let secrets: Vec<String> =
        of_kind("sinks", "kubernetes").iter().map(|sink| sink["secret"].as_str().unwrap().to_owned()).collect();
    let workloads: Vec<String> = of_kind("hooks", "kubernetes-rollout")
        .iter()
        .flat_map(|hook| hook["workloads"].as_array().unwrap().clone())
        .map(|workload| workload.as_str().unwrap().strip_prefix("deployment/").unwrap().to_owned())
        .collect();
    let verbs = |verbs: &[&str]| verbs.iter().map(|verb| (*verb).to_owned()).collect::<Vec<_>>();
    assert_eq!(
        granted,
        [
            ("deployments".to_owned(), workloads, verbs(&["patch"])),
            ("secrets".to_owned(), secrets, verbs(&["get", "patch"])),
        ]
    );
}
