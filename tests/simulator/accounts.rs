//! Tencent's custom accounts: how one is changed, what must be sent back, and what never happens by itself.

use crate::caller::*;
use crate::common::redis_server::RedisServer;
use keywheel::simulator::{
    AccountSettings, Change, Fault, InstanceChange, InstanceSettings, Rights, Server, Simulator, Step,
};
use serde_json::{Value, json};
use std::time::Duration;

const APP: &str = "app";
const ACCOUNT: &str = "ModifyInstanceAccount";

fn instance() -> InstanceSettings {
    let mut instance = InstanceSettings::new(CRS, OLD).with_account("other", OLD);
    let app = AccountSettings {
        privilege: "r".to_owned(),
        readonly_policy: vec!["replication".to_owned()],
        ..AccountSettings::new(APP, OLD)
    };
    instance.accounts.push(app);
    instance
}

async fn simulator() -> Simulator {
    Simulator::start(settings(vec![instance()])).await.unwrap()
}

/// A change of `app`'s password that sends back what it has.
fn app(password: &str) -> Value {
    let rights = json!({"ReadonlyPolicy": ["replication"], "Privilege": "r"});
    merged(json!({"InstanceId": CRS, "AccountName": APP, "AccountPassword": password}), rights)
}

fn root(password: &str) -> Value {
    json!({"InstanceId": CRS, "AccountName": "root", "AccountPassword": password, "ReadonlyPolicy": ["master"]})
}

fn merged(mut one: Value, two: Value) -> Value {
    one.as_object_mut().unwrap().extend(two.as_object().unwrap().clone());
    one
}

fn without(mut one: Value, key: &str) -> Value {
    one.as_object_mut().unwrap().remove(key);
    one
}

/// The rows of DescribeInstanceAccount by name.
async fn row(simulator: &Simulator, name: &str) -> Value {
    let answer = call(simulator, "DescribeInstanceAccount", json!({"InstanceId": CRS})).await;
    let rows = answer["Accounts"].as_array().unwrap().clone();
    rows.into_iter().find(|row| row["AccountName"] == name).unwrap()
}

#[tokio::test]
async fn an_account_changes_in_a_task_of_its_own_type_and_only_its_password() {
    let simulator = simulator().await;
    simulator.script([Step::once(ACCOUNT, Fault::TaskStuck { span: None })]);
    let before = row(&simulator, APP).await;
    let accepted = call(&simulator, ACCOUNT, app(NEW)).await;
    assert_eq!(
        (&row(&simulator, APP).await["Status"], &row(&simulator, "other").await["Status"]),
        (&json!(1), &json!(2))
    );
    let refused = code(&simulator, ACCOUNT, root(NEW)).await;
    assert_eq!(refused.as_deref(), Some("ResourceUnavailable.InstanceStatusError"), "one task at a time");
    assert!(logs_in(&simulator, &format!("app@{OLD}")).await && !logs_in(&simulator, &format!("app@{NEW}")).await);
    simulator.change(Change { release_stuck: true, ..Change::default() }).await.unwrap();
    assert_eq!(settle(&simulator, &accepted["TaskId"]).await, "succeed");
    assert!(!logs_in(&simulator, &format!("app@{OLD}")).await && logs_in(&simulator, &format!("app@{NEW}")).await);
    assert!(logs_in(&simulator, OLD).await && logs_in(&simulator, &format!("other@{OLD}")).await, "others stay");
    let after = row(&simulator, APP).await;
    for (field, expected) in
        [("Status", json!(2)), ("Privilege", json!("r")), ("ReadonlyPolicy", json!(["replication"]))]
    {
        assert_eq!((&before[field], &after[field]), (&expected, &expected), "{field}");
    }
    let list = call(&simulator, "DescribeTaskList", json!({"InstanceId": CRS, "TaskTypes": ["037"]})).await;
    assert_eq!(list["Tasks"][0]["TaskId"], accepted["TaskId"]);
    let by_root = call(&simulator, ACCOUNT, root(NEW)).await;
    assert_eq!(settle(&simulator, &by_root["TaskId"]).await, "succeed");
    assert!(simulator.accepts(CRS, NEW) && simulator.account_accepts(CRS, APP, NEW));
    let list = call(&simulator, "DescribeTaskList", json!({"TaskTypes": ["037"]})).await;
    assert_eq!(list["TotalCount"], 2);
    assert_eq!(simulator.auth_switches(CRS), 0);
    let paged = call(&simulator, "DescribeInstanceAccount", json!({"InstanceId": CRS, "Limit": 2, "Offset": 2})).await;
    assert_eq!((&paged["TotalCount"], paged["Accounts"].as_array().unwrap().len()), (&json!(3), 1));
}

#[tokio::test]
async fn what_is_not_sent_back_is_refused_and_what_is_changed_is_counted() {
    let simulator = simulator().await;
    let empty = Some("InvalidParameter.EmptyParam");
    let wrong = Some("InvalidParameter");
    for (body, expected) in [
        (without(app(NEW), "Privilege"), empty),
        (without(app(NEW), "ReadonlyPolicy"), empty),
        (merged(app(NEW), json!({"ReadonlyPolicy": []})), empty),
        (merged(app(NEW), json!({"Privilege": "x"})), wrong),
        (merged(app(NEW), json!({"ReadonlyPolicy": ["slave"]})), wrong),
        (merged(app(NEW), json!({"NoAuth": true})), wrong),
        (merged(app(NEW), json!({"EncryptPassword": true})), wrong),
        (merged(app(NEW), json!({"AccountName": "nobody"})), Some("ResourceNotFound.AccountDoesNotExists")),
        (merged(app(NEW), json!({"AccountPassword": "short1"})), Some("InvalidParameterValue.PasswordRuleError")),
        (merged(app(NEW), json!({"OldPassword": OLD})), Some("UnknownParameter")),
        (merged(root(NEW), json!({"Privilege": "rw"})), Some("FailedOperation.UnSupportError")),
        (without(root(NEW), "AccountName"), Some("MissingParameter")),
    ] {
        assert_eq!(code(&simulator, ACCOUNT, body.clone()).await.as_deref(), expected, "{body}");
    }
    assert_eq!(simulator.state()["tasks"], json!([]));
    let rights = |privilege: &str, policy: &str, changed: u64| {
        Some(Rights { privilege: privilege.to_owned(), readonly_policy: vec![policy.to_owned()], changed })
    };
    for (body, expected) in [
        (app(NEW), rights("r", "replication", 0)),
        (merged(app(OLD), json!({"Privilege": "rw"})), rights("rw", "replication", 1)),
        (without(merged(app(OLD), json!({"ReadonlyPolicy": ["master"]})), "AccountPassword"), rights("r", "master", 2)),
    ] {
        let accepted = call(&simulator, ACCOUNT, body).await;
        settle(&simulator, &accepted["TaskId"]).await;
        assert_eq!(simulator.rights(CRS, APP), expected);
    }
    assert_eq!(simulator.account_history(CRS, APP).len(), 3, "the last call set no password");
    assert_eq!(simulator.state()["instances"][0]["rights-changed"], json!({"app": 2, "other": 0, "root": 0}));
}

#[tokio::test]
async fn authentication_that_is_switched_on_is_counted() {
    let mut free = InstanceSettings::new(CRS, OLD).with_account(APP, OLD);
    free.no_auth = true;
    let simulator = Simulator::start(settings(vec![free])).await.unwrap();
    let app = merged(app(NEW), json!({"Privilege": "rw"}));
    for (action, body, switches) in [
        (ACCOUNT, app, 0),
        ("ResetPassword", json!({"InstanceId": CRS, "Password": NEW}), 1),
        ("ResetPassword", json!({"InstanceId": CRS, "NoAuth": true}), 2),
        (ACCOUNT, root(NEW), 3),
        (ACCOUNT, root(OLD), 3),
    ] {
        let accepted = call(&simulator, action, body.clone()).await;
        assert_eq!(settle(&simulator, &accepted["TaskId"]).await, "succeed");
        assert_eq!(simulator.auth_switches(CRS), switches, "{action} {body}");
    }
    assert_eq!(simulator.state()["instances"][0]["auth-switches"], 3);
}

#[tokio::test]
async fn an_account_may_read_as_changing_for_a_while_after_its_task() {
    let mut slow = settings(vec![instance()]);
    slow.account_lag = PATIENCE;
    let simulator = Simulator::start(slow).await.unwrap();
    let accepted = call(&simulator, ACCOUNT, app(NEW)).await;
    assert_eq!(settle(&simulator, &accepted["TaskId"]).await, "succeed");
    assert_eq!(
        (&row(&simulator, APP).await["Status"], &row(&simulator, "root").await["Status"]),
        (&json!(1), &json!(2))
    );
}

#[tokio::test]
async fn each_fault_of_a_write_meets_these_calls_too() {
    let reset = |password: &str| json!({"InstanceId": CRS, "Password": password});
    for (action, body) in [(ACCOUNT, app as fn(&str) -> Value), ("ResetPassword", reset as fn(&str) -> Value)] {
        let live = |simulator: &Simulator, password: &str| match action {
            ACCOUNT => simulator.account_accepts(CRS, APP, password),
            _ => simulator.accepts(CRS, password),
        };
        for (fault, applies) in [
            (Fault::RefuseBeforeEffect { code: "FailedOperation.SystemError".to_owned() }, false),
            (Fault::ApplyThenDropConnection { after_bytes: 0 }, true),
            (Fault::ApplyThenDropConnection { after_bytes: 20 }, true),
            (Fault::DropBeforeEffect, false),
            (Fault::ApplyThenStatus { status: 502 }, true),
            (Fault::ApplyLate { delay: Duration::from_millis(20) }, true),
            (Fault::TaskFailsAfterApplying, true),
            (Fault::TaskFailsBeforeApplying, false),
            (Fault::WrongOldPassword, false),
            (Fault::Throttle, false),
            (Fault::LockFor { span: Duration::from_millis(1) }, false),
            (Fault::TaskStuck { span: Some(Duration::from_millis(20)) }, true),
        ] {
            let simulator = simulator().await;
            simulator.script([Step::once(action, fault.clone())]);
            let answer = send(&simulator, action, body(NEW)).await;
            let began = |simulator: &Simulator| !simulator.state()["tasks"].as_array().unwrap().is_empty();
            if applies {
                until(|| live(&simulator, NEW)).await;
            } else if began(&simulator) {
                until(|| simulator.state()["tasks"][0]["status"] == "failed").await;
            }
            assert_eq!(live(&simulator, NEW), applies, "{action} {fault:?}: {answer}");
            assert_eq!(simulator.rights(CRS, APP).unwrap().changed, 0);
        }
    }
}

#[tokio::test]
async fn redis_2_8_knows_no_accounts() {
    let mut old = InstanceSettings::new(CRS, OLD);
    old.engine = 2;
    let simulator = Simulator::start(settings(vec![old.clone()])).await.unwrap();
    let refused = code(&simulator, ACCOUNT, root(NEW)).await;
    assert_eq!(refused.as_deref(), Some("FailedOperation.UnSupportError"));
    let fault = Simulator::start(settings(vec![old.with_account(APP, OLD)])).await.err().unwrap();
    assert!(fault.what.contains("Redis 2.8"), "{fault}");
}

#[tokio::test]
async fn a_real_server_takes_the_passwords_of_every_account() {
    let server = RedisServer::start(Some(OLD));
    let mut instance = instance();
    instance.server = Server::Redis { address: server.address(), user: "default".to_owned() };
    let simulator = Simulator::start(settings(vec![instance])).await.unwrap();
    let by_name = |password: &str| {
        let client = redis::Client::open(format!("redis://{APP}:{password}@{}", server.address())).unwrap();
        client.get_connection().is_ok()
    };
    let joined = |password: &str| server.accepts(&format!("{APP}@{password}"));
    assert!(server.accepts(OLD) && joined(OLD) && by_name(OLD));
    let accepted = call(&simulator, ACCOUNT, app(NEW)).await;
    assert_eq!(settle(&simulator, &accepted["TaskId"]).await, "succeed");
    assert!(joined(NEW) && by_name(NEW) && !joined(OLD) && !by_name(OLD) && server.accepts(OLD));
    let accepted = call(&simulator, MODIFY, change_of(OLD, "Third-passw0rd")).await;
    assert_eq!(settle(&simulator, &accepted["TaskId"]).await, "succeed");
    assert!(server.accepts("Third-passw0rd") && !server.accepts(OLD) && joined(NEW), "the account's own stays");
    let by_hand =
        InstanceChange { accounts: vec![AccountSettings::new(APP, "By-hand-1")], ..InstanceChange::default() };
    change(&simulator, by_hand).await;
    assert!(joined("By-hand-1") && by_name("By-hand-1") && !joined(NEW));
}
