//! The secret stores of both clouds as sinks of one target: one with the identity of its provider, one with its own.

use crate::common::stage::{INITIAL, INSTANCE, Stage, until};
use keywheel::secret::Secret;
use keywheel::simulator::{Change, Fault, Kept, KeptVersion, Step, Store};
use serde_json::{Value, json};

const TARGET: &str = "orders-cache";
const SSM: (Store, &str) = (Store::TencentSsm, "redis-orders-cache");
const KMS: (Store, &str) = (Store::AlibabaKms, "redis/orders-cache");

fn configure(stage: &Stage) {
    let endpoint = stage.cloud().endpoint();
    let stores = format!(
        r#"
[sinks.ssm]
kind = "tencent-ssm"
secret = "redis-{{{{ target }}}}"
provider = "shop"
endpoint = "{endpoint}"

[sinks.kms]
kind = "alibaba-kms"
secret = "redis/{{{{ target }}}}"
region = "cn-hangzhou"
credentials = {{ source = "static", access-key-id = {{ file = "{{folder}}/secret-id" }}, access-key-secret = {{ file = "{{folder}}/secret-key" }} }}
endpoint = "{endpoint}"
create = true

"#
    );
    let target = stage.target(TARGET, INSTANCE, "adopt = { sink = \"ssm\" }\nsinks = [\"ssm\", \"kms\"]");
    stage.configure(&(stores + &target));
}

/// What readers of a secret find.
fn shown(stage: &Stage, (store, name): (Store, &str)) -> Value {
    let kept = stage.cloud().secret(store, name).unwrap_or_default();
    let version = kept.version("SSM_Current").or_else(|| kept.labelled("ACSCurrent"));
    version.map_or(Value::Null, |version| serde_json::from_str(version.text.expose()).unwrap())
}

#[test]
fn a_rotation_reaches_the_secret_stores_of_both_clouds() {
    let stage = Stage::set();
    configure(&stage);

    // Nobody made the secret yet, and `check` says how it is made.
    let checked = stage.keywheel(&["check"]);
    assert_eq!(checked.status, 1, "{checked:?}");
    let words: String = checked.out.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("There is no such") || words.contains("ResourceNotFound"), "{words}");

    // Its owner does, with the password that works today.
    let text = Secret::new(json!({"password": INITIAL}).to_string());
    let first = KeptVersion { id: "SSM_Current".to_owned(), text, labels: Vec::new(), writes: 1 };
    stage.cloud().set_secret(SSM.0, SSM.1, Some(Kept { versions: vec![first], ..Kept::default() }));
    let checked = stage.keywheel(&["check"]);
    assert_eq!(checked.status, 0, "{checked:?}");

    let daemon = stage.start(&[]);
    stage.until(TARGET, "settled", 1);
    let holds = |generation: u64| {
        let live = stage.live(INSTANCE);
        [SSM, KMS].into_iter().all(|store| {
            let shown = shown(&stage, store);
            shown["password"] == json!(live) && shown["generation"] == json!(generation)
        })
    };
    assert!(holds(1), "the password that was adopted stands in both");

    // One store takes nothing: no rotation begins.
    let deny = |actions: &[&str]| {
        let denied = actions.iter().map(|action| (*action).to_owned()).collect();
        stage.change(Change { denied_actions: Some(denied), ..Change::default() });
    };
    deny(&["UpdateSecret"]);
    stage.keywheel(&["rotate", TARGET]);
    until("the preflight to meet it", || daemon.log().contains("ssm:UpdateSecret"));
    assert_eq!(stage.live(INSTANCE), INITIAL);
    deny(&[]);
    stage.until(TARGET, "settled", 2);
    assert!(stage.live(INSTANCE) != INITIAL && holds(2));

    // Answers are lost on the way; each store has one version of it in the end.
    let lost = |action: &str| Step::once(action, Fault::ApplyThenDropConnection { after_bytes: 0 });
    stage.cloud().script([lost("CreateSecret"), lost("UpdateSecretVersionStage"), lost("GetSecretValue")]);
    stage.keywheel(&["rotate", TARGET]);
    stage.until(TARGET, "settled", 3);
    assert!(holds(3));
    for (store, name) in [SSM, KMS] {
        let versions = stage.cloud().secret(store, name).unwrap().versions;
        let ours = versions.iter().filter(|version| version.id.starts_with("orders-cache.g3.")).count();
        assert_eq!(ours, 1, "{store:?}");
    }

    // Somebody puts the former one back, and the next rotation replaces it.
    let former = stage.cloud().secret(SSM.0, SSM.1).unwrap();
    let mut kept = former.clone();
    let old = former.versions.iter().find(|version| version.id.starts_with("orders-cache.g2.")).unwrap().text.clone();
    kept.versions
        .iter_mut()
        .filter(|version| version.id == "SSM_Current")
        .for_each(|version| version.text = old.clone());
    stage.cloud().set_secret(SSM.0, SSM.1, Some(kept));
    stage.keywheel(&["rotate", TARGET]);
    stage.until(TARGET, "settled", 4);
    assert!(holds(4));
    daemon.stop();
}
