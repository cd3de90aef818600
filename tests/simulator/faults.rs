//! What the script does to a call, and what the cloud does all the same.

use crate::caller::*;
use keywheel::secret::Secret;
use keywheel::simulator::{Fault, Garbage, InstanceChange, Step};
use serde_json::json;
use std::io;
use std::time::Duration;
use tokio::io::AsyncReadExt;

/// Each fault of a write: what its caller sees, and which password is live in the end.
#[tokio::test]
async fn each_fault_of_a_write_does_what_it_says() {
    const TASK: &str = "\"TaskId\":16661";
    let garbage = |shape: Garbage| Fault::Garbage { shape, applied: true };
    for (fault, seen, live) in [
        (
            Fault::RefuseBeforeEffect { code: "FailedOperation.SystemError".to_owned() },
            "FailedOperation.SystemError",
            OLD,
        ),
        (Fault::ApplyThenDropConnection { after_bytes: 0 }, "", NEW),
        (Fault::ApplyThenDropConnection { after_bytes: 5 }, "\r\n\r\n{\"Res", NEW),
        (Fault::DropBeforeEffect, "", OLD),
        (Fault::ApplyThenStatus { status: 502 }, "HTTP/1.1 502 ", NEW),
        (Fault::ApplyLate { delay: Duration::from_millis(20) }, "", NEW),
        (Fault::LockFor { span: PATIENCE }, "ResourceUnavailable.InstanceLockedError", OLD),
        (Fault::TaskStuck { span: Some(Duration::from_millis(20)) }, TASK, NEW),
        (Fault::TaskFailsAfterApplying, TASK, NEW),
        (Fault::TaskFailsBeforeApplying, TASK, OLD),
        (Fault::WrongOldPassword, "InvalidParameterValue.PasswordError", OLD),
        (Fault::Throttle, "RequestLimitExceeded", OLD),
        (Fault::StaleRead { age: PATIENCE }, TASK, NEW),
        (garbage(Garbage::NotJson), "<!doctype html>", NEW),
        (garbage(Garbage::NoEnvelope), "[\"TaskId\", 1]", NEW),
        (garbage(Garbage::NoFields), "{\"Response\":{\"RequestId\"", NEW),
        (garbage(Garbage::WrongTypes), "\"TaskId\":\"soon\"", NEW),
        (garbage(Garbage::CutOff), "\"Tas", NEW),
        (garbage(Garbage::Empty), "content-length: 0", NEW),
        (Fault::Garbage { shape: Garbage::Empty, applied: false }, "content-length: 0", OLD),
        (Fault::HugeBody { applied: true }, "content-length: 100000000", NEW),
        (Fault::SlowBody { pause: Duration::from_millis(1) }, TASK, NEW),
    ] {
        let simulator = simulator().await;
        simulator.script([Step::once(MODIFY, fault.clone())]);
        let answer = send(&simulator, MODIFY, change_of(OLD, NEW)).await;
        assert!(answer.contains(seen) && answer.is_empty() == seen.is_empty(), "{fault:?}: {answer:.400}");
        assert_eq!(simulator.steps_left(), 0);
        if matches!(fault, Fault::HugeBody { .. }) {
            assert!(answer.len() > 100_000_000);
        }
        if let Fault::ApplyThenDropConnection { after_bytes: 5 } = fault {
            assert!(answer.ends_with("{\"Res"), "{answer}");
        }
        if live == NEW {
            until(|| simulator.accepts(CRS, NEW)).await;
        }
        let settled = || {
            simulator.state()["tasks"]
                .as_array()
                .unwrap()
                .iter()
                .all(|task| ["succeed", "failed"].contains(&task["status"].as_str().unwrap()))
        };
        until(settled).await;
        assert!(simulator.accepts(CRS, live), "{fault:?}");
        let failed = matches!(fault, Fault::TaskFailsAfterApplying | Fault::TaskFailsBeforeApplying);
        for task in simulator.state()["tasks"].as_array().unwrap() {
            assert_eq!(task["status"] == "failed", failed, "{fault:?}");
        }
    }
}

#[tokio::test]
async fn endless_and_absent_answers_last_until_the_caller_leaves() {
    let simulator = simulator().await;
    simulator.script([
        Step::once(MODIFY, Fault::EndlessBody { applied: false }),
        Step::once(MODIFY, Fault::NeverAnswer { applied: true }),
    ]);
    let request = sign(&simulator, MODIFY, &change_of(OLD, NEW), 0);
    let mut endless = request.open(&simulator).await.unwrap();
    let mut read = 0;
    let mut buffer = vec![0; 1 << 16];
    while read < 120_000_000 {
        let length = endless.read(&mut buffer).await.unwrap();
        assert_ne!(length, 0, "it ended after {read} bytes");
        read += length;
    }
    assert!(simulator.accepts(CRS, OLD));
    let mut silent = request.open(&simulator).await.unwrap();
    until(|| simulator.accepts(CRS, NEW)).await;
    let nothing = silent.try_read(&mut buffer).unwrap_err();
    assert_eq!(nothing.kind(), io::ErrorKind::WouldBlock);
    drop(simulator);
    assert_eq!(silent.read(&mut buffer).await.unwrap_or(0), 0, "a stopped cloud hangs up");
}

#[tokio::test]
async fn a_call_that_comes_late_is_judged_when_it_comes() {
    let simulator = simulator().await;
    simulator.script([Step::once(MODIFY, Fault::ApplyLate { delay: Duration::from_millis(300) })]);
    assert_eq!(send(&simulator, MODIFY, change_of(OLD, NEW)).await, "");
    let list = call(&simulator, "DescribeTaskList", json!({"InstanceId": CRS})).await;
    assert_eq!(list["TotalCount"], json!(0), "nothing is to be seen of it meanwhile");
    change(
        &simulator,
        InstanceChange { password: Some(Secret::new("By-hand-1".to_owned())), ..InstanceChange::default() },
    )
    .await;
    let wait = simulator.uptime() + Duration::from_millis(600);
    until(|| simulator.uptime() > wait).await;
    assert!(simulator.accepts(CRS, "By-hand-1"), "the old password it proves is not the live one any more");
    assert_eq!(simulator.state()["tasks"], json!([]));
}

#[tokio::test]
async fn a_stale_read_shows_the_past() {
    let simulator = simulator().await;
    let accepted = call(&simulator, MODIFY, change_of(OLD, NEW)).await;
    settle(&simulator, &accepted["TaskId"]).await;
    let stale = |action: &str| Step::once(action, Fault::StaleRead { age: PATIENCE });
    simulator.script(["DescribeTaskList", "DescribeTaskInfo", "DescribeInstanceAccount"].map(stale));
    let list = json!({"InstanceId": CRS});
    assert_eq!(call(&simulator, "DescribeTaskList", list.clone()).await["TotalCount"], json!(0));
    assert_eq!(call(&simulator, "DescribeTaskList", list.clone()).await["TotalCount"], json!(1));
    let info = json!({"TaskId": accepted["TaskId"]});
    assert_eq!(
        code(&simulator, "DescribeTaskInfo", info.clone()).await.as_deref(),
        Some("InvalidParameter.InvalidParameter")
    );
    assert_eq!(call(&simulator, "DescribeTaskInfo", info).await["Status"], json!("succeed"));
    let account = call(&simulator, "DescribeInstanceAccount", list).await;
    assert_eq!(account["Accounts"][0]["PasswordLastModifiedTime"], json!(""));
}
