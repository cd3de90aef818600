//! The vendors' official SDKs call the stand-in cloud. It accepts what they send and they understand what it answers: so its verifiers and its shapes
//! are right, and keywheel, which passes the same verifiers, is too.
//!
//! tests/run installs the SDKs and names them in the variables below; where they are named, they must work. Without the variables the tests say
//! that they were left out.

#![cfg(feature = "simulator")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop there")]

use keywheel::clock::{Clock, SystemClock};
use keywheel::moment::Moment;
use keywheel::name::Generation;
use keywheel::provider::credential::Static;
use keywheel::provider::{alibaba, tencent};
use keywheel::secret::Secret;
use keywheel::simulator::{
    AccountSettings, AlibabaSettings, Credential, InstanceSettings, Quota, Settings, Simulator, TaskSettings,
};
use keywheel::sink::alibaba_kms::{AlibabaKms, AlibabaKmsSettings};
use keywheel::sink::tencent_ssm::{TencentSsm, TencentSsmSettings};
use keywheel::sink::{Document, Endpoint, Sink};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

/// A Python that has what tests/sdk/requirements.txt lists.
const PYTHON: &str = "KEYWHEEL_SDK_PYTHON";
/// A folder with what tests/sdk/package-lock.json lists in its node_modules.
const NODE: &str = "KEYWHEEL_SDK_NODE";

const ID: &str = "AKIDsdksdksdksdk";
const KEY: &str = "not-a-real+key/0";
const CRS: &str = "crs-sdk00001";
const R: &str = "r-bp1sdk00001";
const APP: &str = "app";
/// The characters are ones that JSON and URLs write differently.
const OLD: &str = "Old_Passw0rd!1";
const TENCENT_NEW: [&str; 4] = ["a1/<>&+#=?B", "b2()~!@$%^*C", "c3|{}[]:;,.D", "d4-_Passw0rd"];
const ALIBABA_NEW: [&str; 3] = ["aB3!@#$%^&*()_+-=", "bC4!@#$%^&*()_+-=", "cD5!@#$%^&*()_+-="];

/// What the cloud has not done after so many looks it does not do; each is a request of its own, and a task takes some milliseconds.
const LOOKS: usize = 5_000;

/// A cloud in this process, and one language's SDKs in another.
struct Judge {
    cloud: Simulator,
    child: Child,
    questions: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

fn cloud() -> Settings {
    let app = || AccountSettings { privilege: "r".to_owned(), ..AccountSettings::new(APP, OLD) };
    let mut crs = InstanceSettings::new(CRS, OLD).with_tag("rotate", "weekly");
    let mut r = InstanceSettings::alibaba(R, OLD).with_tag("rotate", "weekly");
    crs.accounts.push(app());
    r.accounts.push(app());
    Settings {
        credentials: vec![Credential {
            secret_id: ID.to_owned(),
            secret_key: Secret::new(KEY.to_owned()),
            token: None,
        }],
        instances: vec![crs, r, InstanceSettings::new("crs-other001", OLD), InstanceSettings::alibaba("r-other", OLD)],
        task: TaskSettings { shortest: Duration::from_millis(5), longest: Duration::from_millis(20) },
        // The SDKs put every parameter into the query, passwords too.
        alibaba: AlibabaSettings { body_parameters: false, ..AlibabaSettings::default() },
        // The story looks until a task is done as fast as it can, so the published rate would decide how it ends.
        quota: Quota { per_second: 0.0, burst: 0.0 },
        ..Settings::default()
    }
}

impl Judge {
    fn start(cloud: Simulator, command: &mut Command) -> Self {
        for proxy in ["http_proxy", "https_proxy", "all_proxy"] {
            command.env_remove(proxy).env_remove(proxy.to_uppercase());
        }
        let started = command.env("NO_PROXY", "*").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = started.unwrap_or_else(|error| {
            panic!("{command:?} cannot be started ({error}): run tests/run, which installs the SDKs")
        });
        let questions = child.stdin.take();
        let answers = BufReader::new(child.stdout.take().unwrap());
        Self { cloud, child, questions, answers }
    }

    fn ask(&mut self, vendor: &str, (id, key): (&str, &str), action: &str, parameters: &Value) -> Value {
        let endpoint = self.cloud.address().to_string();
        let question = json!({
            "vendor": vendor, "endpoint": endpoint, "id": id, "key": key, "action": action, "parameters": parameters
        });
        let sent = writeln!(self.questions.as_mut().unwrap(), "{question}");
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|_| {
            panic!("the {vendor} SDK gave no answer to {action} ({sent:?}, its complaint stands above): run tests/run, which installs it")
        })
    }

    /// What a call that must succeed brings.
    fn call(&mut self, vendor: &str, action: &str, parameters: Value) -> Value {
        let mut said = self.ask(vendor, (ID, KEY), action, &parameters);
        assert!(said["answer"]["RequestId"].is_string(), "{vendor} {action} {parameters}: {said}");
        said["answer"].take()
    }

    /// The code that a call is refused with.
    fn refused(&mut self, vendor: &str, signer: (&str, &str), action: &str, parameters: Value) -> String {
        let said = self.ask(vendor, signer, action, &parameters);
        said["code"].as_str().unwrap_or_else(|| panic!("{vendor} {action} {parameters}: {said}")).to_owned()
    }

    /// Asks until the answer is as it should become.
    fn until(
        &mut self,
        vendor: &str,
        action: &str,
        parameters: &Value,
        reached: impl Fn(&Self, &Value) -> bool,
    ) -> Value {
        let mut answer = Value::Null;
        for _ in 0..LOOKS {
            answer = self.call(vendor, action, parameters.clone());
            if reached(self, &answer) {
                return answer;
            }
        }
        panic!("{vendor} {action} {parameters}: {answer}");
    }
}

impl Drop for Judge {
    fn drop(&mut self) {
        drop(self.questions.take());
        // Without questions it ends; how it ended is not what is judged, and a drop cannot fail.
        let _ = self.child.wait();
    }
}

fn tencent_redis(judge: &mut Judge) {
    let of = json!({"InstanceId": CRS});
    let with = |more: Value| {
        let mut all = of.clone();
        all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        all
    };
    let tagged = json!({"InstanceTags": [{"TagKey": "rotate", "TagValue": "weekly"}], "Limit": 10, "Offset": 0});
    let found = judge.call("tencent", "DescribeInstances", tagged);
    assert_eq!((&found["TotalCount"], &found["InstanceSet"][0]["InstanceId"]), (&json!(1), &json!(CRS)));
    assert_eq!(found["InstanceSet"][0]["InstanceTags"], json!([{"TagKey": "rotate", "TagValue": "weekly"}]));
    let accounts = judge.call("tencent", "DescribeInstanceAccount", with(json!({"Limit": 100, "Offset": 0})));
    let app = &accounts["Accounts"][1];
    assert_eq!(
        (&app["AccountName"], &app["Privilege"], &app["ReadonlyPolicy"]),
        (&json!(APP), &json!("r"), &json!(["master"]))
    );
    let policy = judge.call("tencent", "DescribeInstancePasswordPolicy", of.clone());
    assert_eq!(policy["PasswordPolicy"]["Enabled"], json!(false));

    let [first, second, third, fourth] = TENCENT_NEW;
    let rights = json!({"AccountName": APP, "AccountPassword": fourth, "ReadonlyPolicy": ["master"], "Privilege": "r"});
    let writes = [
        ("ModifyInstancePassword", json!({"OldPassword": OLD, "Password": first})),
        ("ModfiyInstancePassword", json!({"OldPassword": first, "Password": second, "EncryptPassword": false})),
        ("ResetPassword", json!({"Password": third, "NoAuth": false})),
        ("ModifyInstanceAccount", rights),
    ];
    for (action, more) in writes {
        let task = judge.call("tencent", action, with(more))["TaskId"].clone();
        assert!(task.is_i64(), "{action}");
        let ended = judge.until("tencent", "DescribeTaskInfo", &json!({"TaskId": task}), |_, answer| {
            !["preparing", "running"].contains(&answer["Status"].as_str().unwrap())
        });
        assert_eq!(ended["Status"], "succeed", "{action}");
    }
    let history = judge.cloud.history(CRS);
    let passwords: Vec<&str> = history.iter().map(|applied| applied.password.expose()).collect();
    assert_eq!(passwords, [OLD, first, second, third]);
    assert!(judge.cloud.account_accepts(CRS, APP, fourth));
    assert_eq!(judge.cloud.rights(CRS, APP).unwrap().changed, 0);
    let tasks =
        with(json!({"TaskTypes": ["007", "037"], "BeginTime": "2026-01-01 00:00:00", "Result": [2], "Limit": 100}));
    let tasks = judge.call("tencent", "DescribeTaskList", tasks);
    assert_eq!((&tasks["TotalCount"], &tasks["Tasks"][0]["TaskType"]), (&json!(4), &json!("037")));

    let wrong = with(json!({"OldPassword": OLD, "Password": first}));
    for (signer, action, parameters, code) in [
        ((ID, "another-key"), "DescribeInstances", json!({}), "AuthFailure.SignatureFailure"),
        (("AKIDnobody", KEY), "DescribeInstances", json!({}), "AuthFailure.SecretIdNotFound"),
        ((ID, KEY), "ModifyInstancePassword", wrong, "InvalidParameterValue.PasswordError"),
        ((ID, KEY), "DescribeTaskInfo", json!({"TaskId": 1}), "InvalidParameter.InvalidParameter"),
    ] {
        assert_eq!(judge.refused("tencent", signer, action, parameters), code, "{action}");
    }
}

fn alibaba_redis(judge: &mut Judge) {
    let tagged = json!({"RegionId": "cn-hangzhou", "Tag": [{"Key": "rotate", "Value": "weekly"}], "PageSize": 50, "PageNumber": 1});
    let found = judge.call("alibaba", "DescribeInstances", tagged);
    let row = &found["Instances"]["KVStoreInstance"][0];
    assert_eq!((&found["TotalCount"], &row["InstanceId"]), (&json!(1), &json!(R)));
    assert_eq!(row["Tags"]["Tag"], json!([{"Key": "rotate", "Value": "weekly"}]));
    let of = json!({"InstanceId": R});
    let shown = judge.call("alibaba", "DescribeInstanceAttribute", of.clone());
    let row = &shown["Instances"]["DBInstanceAttribute"][0];
    assert_eq!((&row["InstanceStatus"], &row["VpcAuthMode"]), (&json!("Normal"), &json!("Open")));

    let [first, second, third] = ALIBABA_NEW;
    let account = json!({"InstanceId": R, "AccountName": APP});
    let modify = json!({"InstanceId": R, "AccountName": APP, "OldAccountPassword": OLD, "NewAccountPassword": first});
    let reset = json!({"InstanceId": R, "AccountName": APP, "AccountPassword": second});
    for (action, parameters, new) in
        [("ModifyAccountPassword", modify.clone(), first), ("ResetAccountPassword", reset, second)]
    {
        judge.call("alibaba", action, parameters);
        judge.until("alibaba", "DescribeAccounts", &account, |judge, answer| {
            answer["Accounts"]["Account"][0]["AccountStatus"] == "Available" && judge.cloud.account_accepts(R, APP, new)
        });
    }
    judge.call("alibaba", "ModifyInstanceAttribute", json!({"InstanceId": R, "NewPassword": third}));
    judge.until("alibaba", "DescribeInstanceAttribute", &of, |judge, answer| {
        let status = &answer["Instances"]["DBInstanceAttribute"][0]["InstanceStatus"];
        status == "Normal" && judge.cloud.accepts(R, third)
    });

    let unknown = json!({"InstanceId": "r-nobody"});
    for (signer, action, parameters, code) in [
        ((ID, "another-key"), "DescribeAccounts", of.clone(), "SignatureDoesNotMatch"),
        (("LTAInobody", KEY), "DescribeAccounts", of.clone(), "InvalidAccessKeyId.NotFound"),
        ((ID, KEY), "ModifyAccountPassword", modify, "InvalidOldAccountPassword"),
        ((ID, KEY), "DescribeAccounts", unknown, "InvalidInstanceId.NotFound"),
    ] {
        assert_eq!(judge.refused("alibaba", signer, action, parameters), code, "{action}");
    }
}

/// What a rotation leaves behind, with characters that JSON and URLs write differently.
fn document(generation: u64) -> Document {
    let password = format!("G{generation}\"é\\%&+ #=?");
    Document {
        target: "orders-cache".parse().unwrap(),
        generation: Generation(generation),
        rotation: None,
        proven_at: Moment::from_seconds(1_735_689_600),
        account: APP.to_owned(),
        login_user: None,
        login_password: Secret::new(format!("{APP}@{password}")),
        password: Secret::new(password),
        endpoint: Some(Endpoint { host: "10.0.0.12".to_owned(), port: 6379, tls: true }),
    }
}

/// keywheel delivers while the SDK waits.
fn deliver(sink: &dyn Sink, generation: u64) {
    let runtime = tokio::runtime::Handle::current();
    runtime.block_on(sink.ready(&"orders-cache".parse().unwrap())).unwrap();
    runtime.block_on(sink.deliver(&document(generation))).unwrap();
}

/// What an application makes of the text that the SDK gives it.
fn assert_reads(text: &Value, generation: u64) {
    let read: Value = serde_json::from_str(text.as_str().unwrap()).unwrap();
    let sent = document(generation).login_password.expose().to_owned();
    assert_eq!(
        (&read["password"], &read["generation"], &read["port"]),
        (&json!(sent), &json!(generation), &json!(6379))
    );
}

/// The SDK makes a secret as its owner would, keywheel delivers into it, and the SDK reads what is there.
fn tencent_store(judge: &mut Judge) {
    let settings = tencent::TencentSettings {
        endpoint: Some(judge.cloud.endpoint().parse().unwrap()),
        quota: 10_000.0,
        ..tencent::TencentSettings::of("ap-guangzhou".to_owned())
    };
    let key = Secret::new(KEY.to_owned());
    let identity = Arc::new(Static::new(&tencent::credentials::TERMS, ID.to_owned(), key, None).unwrap());
    let api = tencent::store(settings, identity, Arc::new(|| SystemClock.now())).unwrap();
    let sink = TencentSsm::new(
        TencentSsmSettings {
            secret: "redis-orders".to_owned(),
            version: "SSM_Current".to_owned(),
            region: "ap-guangzhou".to_owned(),
            create: false,
            kms_key: None,
        },
        api,
    );
    const VENDOR: &str = "tencent-ssm";
    let of = |more: Value| {
        let mut all = json!({"SecretName": "redis-orders"});
        all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        all
    };
    let made = judge.call(VENDOR, "CreateSecret", of(json!({"SecretString": "{}", "Description": "x"})));
    assert_eq!(made["VersionId"], "SSM_Current");
    for generation in 1..=12 {
        deliver(&sink, generation);
        let read = judge.call(VENDOR, "GetSecretValue", of(json!({"VersionId": "SSM_Current"})));
        assert_reads(&read["SecretString"], generation);
    }
    let listed = judge.call(VENDOR, "ListSecretVersionIds", of(json!({})));
    let ids: Vec<&str> =
        listed["Versions"].as_array().unwrap().iter().map(|row| row["VersionId"].as_str().unwrap()).collect();
    let newest = ids.iter().find(|id| id.starts_with("orders-cache.g12.")).unwrap();
    assert!(ids.len() < 10, "{ids:?}");
    let kept = judge.call(VENDOR, "GetSecretValue", of(json!({"VersionId": newest})));
    assert_reads(&kept["SecretString"], 12);
    assert_eq!(judge.call(VENDOR, "DescribeSecret", of(json!({})))["Status"], "Enabled");

    // The rules that the sink counts on, as the SDK meets them.
    let value = |id: &str| of(json!({"VersionId": id, "SecretString": "v"}));
    judge.call(VENDOR, "PutSecretValue", value("by-hand"));
    judge.call(VENDOR, "UpdateSecret", value("by-hand"));
    for (action, parameters, code) in [
        ("CreateSecret", value("another"), "ResourceInUse.SecretExists"),
        ("PutSecretValue", value("by-hand"), "ResourceInUse.VersionIdExists"),
        ("PutSecretValue", value("an eleventh"), "InvalidParameterValue"),
        ("PutSecretValue", value("one-too-many"), "LimitExceeded"),
        ("UpdateSecret", value("nowhere"), "ResourceNotFound"),
        ("GetSecretValue", of(json!({"VersionId": "nowhere"})), "ResourceNotFound"),
        ("DescribeSecret", json!({"SecretName": "nobody"}), "ResourceNotFound"),
    ] {
        assert_eq!(judge.refused(VENDOR, (ID, KEY), action, parameters), code, "{action}");
    }
    judge.call(VENDOR, "DeleteSecretVersion", of(json!({"VersionId": "by-hand"})));
    assert_eq!(
        judge.refused(VENDOR, (ID, "another-key"), "DescribeSecret", of(json!({}))),
        "AuthFailure.SignatureFailure"
    );
}

/// The same at Alibaba Cloud.
fn alibaba_store(judge: &mut Judge) {
    let settings = alibaba::AlibabaSettings {
        endpoint: Some(judge.cloud.endpoint().parse().unwrap()),
        quota: 10_000.0,
        ..alibaba::AlibabaSettings::of("cn-hangzhou".to_owned())
    };
    let key = Secret::new(KEY.to_owned());
    let identity = Arc::new(Static::new(&alibaba::credentials::TERMS, ID.to_owned(), key, None).unwrap());
    let api =
        alibaba::store(settings, identity, Arc::new(|| SystemClock.now()), Arc::new(rand::random::<u128>)).unwrap();
    let sink = AlibabaKms::new(
        AlibabaKmsSettings {
            secret: "redis/orders".to_owned(),
            region: "cn-hangzhou".to_owned(),
            create: false,
            kms_key: None,
            kms_instance: None,
        },
        api,
    );
    const VENDOR: &str = "alibaba-kms";
    let of = |more: Value| {
        let mut all = json!({"SecretName": "redis/orders"});
        all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        all
    };
    judge.call(VENDOR, "CreateSecret", of(json!({"VersionId": "first", "SecretData": "{}"})));
    for generation in 1..=12 {
        deliver(&sink, generation);
        let read = judge.call(VENDOR, "GetSecretValue", of(json!({})));
        assert_reads(&read["SecretData"], generation);
        assert_eq!(read["VersionStages"]["VersionStage"], json!(["ACSCurrent"]));
        if generation > 1 {
            let before = judge.call(VENDOR, "GetSecretValue", of(json!({"VersionStage": "ACSPrevious"})));
            assert_reads(&before["SecretData"], generation - 1);
        }
    }
    let listed = judge.call(VENDOR, "ListSecretVersionIds", of(json!({"IncludeDeprecated": "true"})));
    assert_eq!(listed["VersionIds"]["VersionId"].as_array().unwrap().len(), 10);
    assert_eq!(judge.call(VENDOR, "DescribeSecret", of(json!({})))["SecretType"], "Generic");

    // The rules that the sink counts on, as the SDK meets them.
    let pending =
        |data: &str| of(json!({"VersionId": "v", "SecretData": data, "VersionStages": "[\"MyPendingLabel\"]"}));
    judge.call(VENDOR, "PutSecretValue", pending("one"));
    judge.call(VENDOR, "PutSecretValue", pending("one"));
    assert_reads(&judge.call(VENDOR, "GetSecretValue", of(json!({})))["SecretData"], 12);
    for (action, parameters, code) in [
        ("PutSecretValue", pending("two"), "Rejected.ResourceExist"),
        ("CreateSecret", of(json!({"VersionId": "first", "SecretData": "{}"})), "Rejected.ResourceExist"),
        ("GetSecretValue", of(json!({"VersionId": "nowhere"})), "Forbidden.ResourceNotFound"),
        ("DescribeSecret", json!({"SecretName": "nobody"}), "Forbidden.ResourceNotFound"),
        (
            "UpdateSecretVersionStage",
            of(json!({"VersionStage": "ACSCurrent", "RemoveFromVersion": "v"})),
            "InvalidParameter",
        ),
    ] {
        assert_eq!(judge.refused(VENDOR, (ID, KEY), action, parameters), code, "{action}");
    }
    judge.call(VENDOR, "UpdateSecretVersionStage", of(json!({"VersionStage": "ACSCurrent", "MoveToVersion": "v"})));
    assert_eq!(judge.call(VENDOR, "GetSecretValue", of(json!({})))["SecretData"], "one");
    assert_eq!(judge.refused(VENDOR, (ID, "another-key"), "DescribeSecret", of(json!({}))), "SignatureDoesNotMatch");
}

/// The value of a variable that tests/run sets; where it did not, the reader learns what was left out.
fn named_by_tests_run(variable: &str) -> Option<String> {
    let named = std::env::var(variable).ok().filter(|value| !value.is_empty());
    if named.is_none() {
        // Not by print!, which is shown for a failing test only. Where standard error is closed, nobody reads on.
        let _ = writeln!(
            std::io::stderr(),
            "left out: the SDKs of {variable}, which is not set. tests/run installs them and sets it"
        );
    }
    named
}

async fn judged_by(command: &mut Command, stores: bool) {
    let cloud = Simulator::start(cloud()).await.unwrap();
    let mut judge = Judge::start(cloud, command);
    // The story waits for the other process, so the cloud must have a thread of its own.
    tokio::task::block_in_place(|| {
        tencent_redis(&mut judge);
        alibaba_redis(&mut judge);
        if stores {
            tencent_store(&mut judge);
            alibaba_store(&mut judge);
        }
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_python_sdks_are_understood() {
    if let Some(python) = named_by_tests_run(PYTHON) {
        judged_by(Command::new(python).arg("tests/sdk/caller.py"), true).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_node_sdks_are_understood() {
    if let Some(folder) = named_by_tests_run(NODE) {
        let modules = format!("{folder}/node_modules");
        judged_by(Command::new("node").arg("tests/sdk/caller.js").env("NODE_PATH", modules), false).await;
    }
}
