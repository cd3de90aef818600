//! How a password changes, what refuses it, and what shows meanwhile.

use crate::caller::*;
use crate::common::redis_server::RedisServer;
use keywheel::secret::Secret;
use keywheel::simulator::{Change, Fault, InstanceChange, InstanceSettings, PasswordPolicy, Server, Simulator, Step};
use serde_json::json;
use std::time::Duration;

#[tokio::test]
async fn a_password_changes_at_the_end_of_its_task() {
    let simulator = simulator().await;
    for (action, old, new) in [(MODIFY, OLD, NEW), ("ModfiyInstancePassword", NEW, "Third-passw0rd")] {
        let accepted = call(&simulator, action, change_of(old, new)).await;
        assert_eq!(settle(&simulator, &accepted["TaskId"]).await, "succeed");
        assert!(logs_in(&simulator, new).await && !logs_in(&simulator, old).await, "{action}");
    }
    let reset = call(&simulator, "ResetPassword", json!({"InstanceId": CRS, "Password": OLD})).await;
    assert_eq!(settle(&simulator, &reset["TaskId"]).await, "succeed");
    assert!(simulator.accepts(CRS, OLD));
    let history = simulator.history(CRS);
    let passwords: Vec<&str> = history.iter().map(|applied| applied.password.expose()).collect();
    assert_eq!(passwords, [OLD, NEW, "Third-passw0rd", OLD]);
    assert!(history.windows(2).all(|pair| pair[0].at <= pair[1].at));
}

#[tokio::test]
async fn states_and_rules_refuse_with_the_published_codes() {
    let simulator = simulator().await;
    let policy = PasswordPolicy { enabled: true, letters: 1, digits: 1, specials: 1, length: 20 };
    let status = |status: i64| InstanceChange { status: Some(status), ..InstanceChange::default() };
    let abnormal = Some("ResourceUnavailable.InstanceStatusAbnormal");
    for (state, body, expected) in [
        (
            InstanceChange::default(),
            json!({"InstanceId": "crs-b", "OldPassword": OLD, "Password": NEW}),
            Some("ResourceNotFound.InstanceNotExists"),
        ),
        (InstanceChange::default(), change_of("Wr0ng-passw", NEW), Some("InvalidParameterValue.PasswordError")),
        (InstanceChange::default(), change_of(OLD, "short1"), Some("InvalidParameterValue.PasswordRuleError")),
        (InstanceChange::default(), json!({"InstanceId": CRS, "Old": OLD}), Some("UnknownParameter")),
        (status(1), change_of(OLD, NEW), abnormal),
        (status(-2), change_of(OLD, NEW), abnormal),
        (status(-3), change_of(OLD, NEW), abnormal),
        (
            InstanceChange { lock: Some(PATIENCE), ..status(2) },
            change_of(OLD, NEW),
            Some("ResourceUnavailable.InstanceLockedError"),
        ),
        (
            InstanceChange { lock: Some(Duration::ZERO), password_policy: Some(policy), ..InstanceChange::default() },
            change_of(OLD, NEW),
            Some("InvalidParameterValue.PasswordRuleError"),
        ),
        (
            InstanceChange { no_auth: Some(true), ..InstanceChange::default() },
            change_of(OLD, NEW),
            Some("InvalidParameterValue.PasswordError"),
        ),
    ] {
        change(&simulator, state.clone()).await;
        assert_eq!(code(&simulator, MODIFY, body).await.as_deref(), expected, "{state:?}");
    }
    assert_eq!(simulator.state()["tasks"], json!([]));
    let shown = call(&simulator, "DescribeInstances", json!({"InstanceIds": [CRS]})).await;
    assert_eq!(shown["InstanceSet"][0]["NoAuth"], json!(true));
    let policy = call(&simulator, "DescribeInstancePasswordPolicy", json!({"InstanceId": CRS})).await;
    assert_eq!(policy["PasswordPolicy"]["MinLength"], json!(20));
    let reset =
        call(&simulator, "ResetPassword", json!({"InstanceId": CRS, "Password": "A-long-enough-passw0rd"})).await;
    settle(&simulator, &reset["TaskId"]).await;
    assert!(logs_in(&simulator, "A-long-enough-passw0rd").await, "a reset switches password login on");
}

#[tokio::test]
async fn a_running_task_holds_the_instance_and_shows_everywhere() {
    let simulator = simulator().await;
    simulator.script([Step::once(MODIFY, Fault::TaskStuck { span: None })]);
    let before = call(&simulator, "DescribeInstanceAccount", json!({"InstanceId": CRS})).await;
    let accepted = call(&simulator, MODIFY, change_of(OLD, NEW)).await;
    assert_eq!(
        code(&simulator, MODIFY, change_of(OLD, NEW)).await.as_deref(),
        Some("ResourceUnavailable.InstanceLockedError")
    );
    let shown = call(&simulator, "DescribeInstances", json!({})).await;
    assert_eq!(shown["InstanceSet"][0]["Status"], json!(1));
    let account = call(&simulator, "DescribeInstanceAccount", json!({"InstanceId": CRS})).await;
    assert_eq!(account["Accounts"][0]["Status"], json!(1));
    assert_eq!(account["Accounts"][0]["PasswordLastModifiedTime"], before["Accounts"][0]["PasswordLastModifiedTime"]);
    assert!(simulator.accepts(CRS, OLD) && logs_in(&simulator, OLD).await);
    simulator.change(Change { release_stuck: true, ..Change::default() }).await.unwrap();
    assert_eq!(settle(&simulator, &accepted["TaskId"]).await, "succeed");
    assert!(logs_in(&simulator, NEW).await);
    let list =
        call(&simulator, "DescribeTaskList", json!({"InstanceId": CRS, "TaskTypes": ["007"], "Result": [2]})).await;
    assert_eq!((&list["TotalCount"], &list["Tasks"][0]["TaskId"]), (&json!(1), &accepted["TaskId"]));
    let start = list["Tasks"][0]["StartTime"].as_str().unwrap();
    for (window, found) in [
        (json!({"BeginTime": start, "EndTime": start}), 1),
        (json!({"EndTime": "2000-01-01 00:00:00"}), 0),
        (json!({"TaskTypes": ["037"]}), 0),
    ] {
        let list = call(&simulator, "DescribeTaskList", window.clone()).await;
        assert_eq!(list["TotalCount"], json!(found), "{window}");
    }
    change(&simulator, InstanceChange { hide_change_time: Some(true), ..InstanceChange::default() }).await;
    let account = call(&simulator, "DescribeInstanceAccount", json!({"InstanceId": CRS})).await;
    assert_eq!(account["Accounts"][0]["PasswordLastModifiedTime"], json!(""));
}

#[tokio::test]
async fn a_real_server_takes_the_new_password() {
    let server = RedisServer::start(Some(OLD));
    let mut instance = InstanceSettings::new(CRS, OLD);
    instance.server = Server::Redis { address: server.address(), user: "default".to_owned() };
    let simulator = Simulator::start(settings(vec![instance.clone()])).await.unwrap();
    assert!(server.accepts(OLD));
    let accepted = call(&simulator, MODIFY, change_of(OLD, NEW)).await;
    assert_eq!(settle(&simulator, &accepted["TaskId"]).await, "succeed");
    assert!(server.accepts(NEW) && !server.accepts(OLD));
    change(
        &simulator,
        InstanceChange { password: Some(Secret::new("By-hand-1".to_owned())), ..InstanceChange::default() },
    )
    .await;
    assert!(server.accepts("By-hand-1") && simulator.accepts(CRS, "By-hand-1"));
    let unknown = Simulator::start(settings(vec![instance])).await.err().unwrap();
    assert!(!unknown.to_string().contains(OLD) && unknown.to_string().contains("WRONGPASS"), "{unknown}");
    drop(server);
    let accepted = call(&simulator, MODIFY, change_of("By-hand-1", NEW)).await;
    assert_eq!(settle(&simulator, &accepted["TaskId"]).await, "failed", "a dead server cannot be changed");
    assert!(simulator.accepts(CRS, "By-hand-1"));
}

#[tokio::test]
async fn a_real_servers_acl_user_takes_the_new_password() {
    let server = RedisServer::start_with(&format!("user app on ~* +@all >{OLD}\nuser default off\n"));
    let mut instance = InstanceSettings::new(CRS, OLD);
    instance.server = Server::Redis { address: server.address(), user: "app".to_owned() };
    let simulator = Simulator::start(settings(vec![instance])).await.unwrap();
    let accepted = call(&simulator, MODIFY, change_of(OLD, NEW)).await;
    assert_eq!(settle(&simulator, &accepted["TaskId"]).await, "succeed");
    for (password, let_in) in [(OLD, false), (NEW, true)] {
        let client = redis::Client::open(format!("redis://app:{password}@{}", server.address())).unwrap();
        assert_eq!(client.get_connection().is_ok(), let_in, "{password}");
    }
}
