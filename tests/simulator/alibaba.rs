//! The other cloud: Alibaba's R-kvstore, called as a rotator calls it.

mod caller;
mod vectors;

use crate::caller::{NEW, OLD, PATIENCE, settings, until};
use crate::common::redis_server::RedisServer;
use caller::*;
use keywheel::secret::Secret;
use keywheel::simulator::{
    AccountSettings, Change, Fault, Garbage, InstanceChange, InstanceSettings, Quota, Server, Settings, Simulator,
    Step, Tair, Vendor,
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::time::Duration;

#[tokio::test]
async fn one_flipped_byte_anywhere_is_refused() {
    let simulator = simulator().await;
    for place in [In::Query, In::Body] {
        let good = sign(&simulator, "POST", place, MODIFY, &change_of(OLD, NEW));
        let flipped = |text: &str, at: usize| {
            let mut bytes = text.as_bytes().to_vec();
            bytes[at] ^= 1;
            String::from_utf8(bytes).unwrap()
        };
        let mut requests = Vec::new();
        for at in 0..good.query.len() {
            requests.push(Request { query: flipped(&good.query, at), ..good.clone() });
        }
        for at in 0..good.body.len() {
            requests.push(Request { body: flipped(&good.body, at), ..good.clone() });
        }
        for (index, (_, value)) in good.headers.iter().enumerate() {
            for at in 0..value.len() {
                let mut bad = good.clone();
                bad.headers[index].1 = flipped(value, at);
                requests.push(bad);
            }
        }
        assert!(requests.len() > 400);
        for bad in requests {
            let answer = bad.send(&simulator).await;
            assert!(!answer.starts_with("HTTP/1.1 200"), "{} {:?} {answer}", bad.query, bad.headers);
        }
        assert_eq!(simulator.state()["tasks"], json!([]));
    }
    let good = sign(&simulator, "POST", In::Query, MODIFY, &change_of(OLD, NEW));
    assert!(good.send(&simulator).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn a_password_changes_in_the_end_and_the_account_shows_it() {
    let simulator = simulator().await;
    for (action, method, place, parameters, account, before, after) in [
        (MODIFY, "POST", In::Body, change_of(OLD, NEW).to_vec(), APP, OLD, NEW),
        (MODIFY, "POST", In::Query, change_of(NEW, "Th!rd+passw0rd").to_vec(), APP, NEW, "Th!rd+passw0rd"),
        (
            RESET,
            "GET",
            In::Query,
            vec![("InstanceId", R), ("AccountName", APP), ("AccountPassword", OLD), ("SourceBiz", "x")],
            APP,
            "Th!rd+passw0rd",
            OLD,
        ),
        (
            MODIFY,
            "POST",
            In::Body,
            vec![
                ("InstanceId", R),
                ("AccountName", "default"),
                ("OldAccountPassword", OLD),
                ("NewAccountPassword", NEW),
            ],
            R,
            OLD,
            NEW,
        ),
        (
            "ModifyInstanceAttribute",
            "POST",
            In::Body,
            vec![("InstanceId", R), ("NewPassword", "F0urth_passw0rd")],
            R,
            NEW,
            "F0urth_passw0rd",
        ),
    ] {
        simulator.script([Step::once(action, Fault::TaskStuck { span: None })]);
        let answer = sign(&simulator, method, place, action, &parameters).send(&simulator).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{action} {answer}");
        let (_, text) = answer.split_once("\r\n\r\n").unwrap();
        let body: Value = serde_json::from_str(text).unwrap();
        assert_eq!(body.as_object().unwrap().keys().collect::<Vec<_>>(), ["RequestId"], "no task id");
        let unavailable = async { while status_of(&simulator, account).await != "Unavailable" {} };
        tokio::time::timeout(PATIENCE, unavailable).await.unwrap();
        assert_eq!(status_of(&simulator, "other").await, "Available");
        let (_, shown) = call(&simulator, "DescribeInstanceAttribute", &[("InstanceId", R)]).await;
        let status = &shown["Instances"]["DBInstanceAttribute"][0]["InstanceStatus"];
        assert_eq!(status == "Changing", account == R, "{action}");
        let (code, refused) =
            call(&simulator, RESET, &[("InstanceId", R), ("AccountName", "other"), ("AccountPassword", NEW)]).await;
        assert_eq!((code, refused["Code"].as_str()), (400, Some("TaskExists")), "the task holds the instance");
        let form = |password: &str| if account == R { password.to_owned() } else { format!("{APP}:{password}") };
        assert!(logs_in(&simulator, &form(before)).await && !logs_in(&simulator, &form(after)).await, "{action}");
        simulator.change(Change { release_stuck: true, ..Change::default() }).await.unwrap();
        until(|| idle(&simulator)).await;
        assert_eq!(status_of(&simulator, account).await, "Available");
        assert!(logs_in(&simulator, &form(after)).await && !logs_in(&simulator, &form(before)).await, "{action}");
    }
    let texts = |history: Vec<keywheel::simulator::Applied>| {
        history.iter().map(|applied| applied.password.expose().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(texts(simulator.account_history(R, APP)), [OLD, NEW, "Th!rd+passw0rd", OLD]);
    assert_eq!(texts(simulator.history(R)), [OLD, NEW, "F0urth_passw0rd"]);
    assert!(simulator.accepts(R, "F0urth_passw0rd") && simulator.account_accepts(R, APP, OLD));
    let digest = hex::encode(Sha256::digest(NEW));
    assert_eq!(simulator.state()["instances"][0]["accounts"][APP][1]["sha256"], json!(digest));
}

#[tokio::test]
async fn states_and_rules_refuse_with_the_published_codes() {
    let simulator = simulator().await;
    let status =
        |status: &str| InstanceChange { instance_status: Some(status.to_owned()), ..InstanceChange::default() };
    let same = InstanceChange::default;
    let of = |name: &'static str, value: &'static str| {
        change_of(OLD, NEW).map(|pair| if pair.0 == name { (name, value) } else { pair }).to_vec()
    };
    for (state, action, parameters, expected) in [
        (same(), MODIFY, of("InstanceId", "r-bp2"), (404, "InvalidInstanceId.NotFound")),
        (same(), MODIFY, of("AccountName", "nobody"), (404, "InvalidAccountName.NotFound")),
        (same(), MODIFY, of("OldAccountPassword", "Wr0ng_passw"), (400, "InvalidOldAccountPassword")),
        (same(), MODIFY, of("NewAccountPassword", "onlyletters"), (400, "InvalidAccountPassword.Format")),
        (same(), MODIFY, change_of(OLD, NEW)[..3].to_vec(), (400, "MissingNewAccountPassword")),
        (same(), "ModifyAcountPassword", of("", ""), (404, "InvalidAction.NotFound")),
        (same(), "DescribeInstances", vec![("PageSize", "51")], (400, "InvalidParameter")),
        (status("Changing"), MODIFY, of("", ""), (403, "IncorrectDBInstanceState")),
        (status("Inactive"), MODIFY, of("", ""), (403, "IncorrectDBInstanceState")),
        (
            InstanceChange { lock: Some(PATIENCE), ..status("Normal") },
            MODIFY,
            of("", ""),
            (403, "IncorrectDBInstanceState"),
        ),
    ] {
        change(&simulator, state).await;
        let (status, answer) = call(&simulator, action, &parameters).await;
        assert_eq!((status, answer["Code"].as_str().unwrap()), expected, "{parameters:?}");
        for member in ["RequestId", "HostId", "Message", "Recommend"] {
            assert!(answer[member].is_string(), "{answer}");
        }
    }
    assert_eq!(simulator.state()["tasks"], json!([]));
    let (status, answer) =
        call(&simulator, "ModifyInstanceAttribute", &[("InstanceId", R), ("InstanceName", "x")]).await;
    assert_eq!((status, answer["Code"].as_str()), (200, None), "a new name is no new password");

    let mut old = settings(vec![InstanceSettings::alibaba(R, OLD)]);
    old.instances[0].vendor = Vendor::Alibaba(Tair { engine_version: "2.8".to_owned(), ..Tair::default() });
    old.alibaba.wrong_old_password = "IncorrectOldPassword".to_owned();
    old.alibaba.body_parameters = false;
    let old = Simulator::start(old).await.unwrap();
    let reset = [("InstanceId", R), ("AccountName", R), ("AccountPassword", NEW)];
    assert_eq!(call(&old, RESET, &reset).await.1["Code"], "MissingInstanceId", "this one reads no form");
    let modify = [("InstanceId", R), ("AccountName", R), ("OldAccountPassword", NEW), ("NewAccountPassword", NEW)];
    for (action, parameters, code) in
        [(RESET, &reset[..], "InvalidEngineVersion.Format"), (MODIFY, &modify[..], "IncorrectOldPassword")]
    {
        let answer = sign(&old, "POST", In::Query, action, parameters).send(&old).await;
        assert!(answer.contains(code), "{answer}");
    }
}

/// Each fault of a write: what its caller sees, and which password is live in the end.
#[tokio::test]
async fn each_fault_of_a_write_does_what_it_says() {
    const OK: &str = "HTTP/1.1 200 ";
    let garbage = |shape: Garbage| Fault::Garbage { shape, applied: true };
    let refuse = |code: &str| Fault::RefuseBeforeEffect { code: code.to_owned() };
    for (fault, seen, live) in [
        (refuse("ServiceUnavailable"), "HTTP/1.1 503 ", OLD),
        (refuse("InternalError"), "HTTP/1.1 500 ", OLD),
        (refuse("ProxyError"), "HTTP/1.1 400 ", OLD),
        (Fault::ApplyThenDropConnection { after_bytes: 0 }, "", NEW),
        (Fault::ApplyThenDropConnection { after_bytes: 5 }, "\r\n\r\n{\"Req", NEW),
        (Fault::DropBeforeEffect, "", OLD),
        (Fault::ApplyThenStatus { status: 502 }, "HTTP/1.1 502 ", NEW),
        (Fault::ApplyLate { delay: Duration::from_millis(20) }, "", NEW),
        (Fault::LockFor { span: PATIENCE }, "IncorrectDBInstanceState", OLD),
        (Fault::TaskStuck { span: Some(Duration::from_millis(20)) }, OK, NEW),
        (Fault::TaskFailsAfterApplying, OK, NEW),
        (Fault::TaskFailsBeforeApplying, OK, OLD),
        (Fault::WrongOldPassword, "InvalidOldAccountPassword", OLD),
        (Fault::Throttle, "Throttling.User", OLD),
        (Fault::StaleRead { age: PATIENCE }, OK, NEW),
        (garbage(Garbage::NotJson), "<!doctype html>", NEW),
        (garbage(Garbage::NoEnvelope), "[\"RequestId\", 1]", NEW),
        (garbage(Garbage::NoFields), "\r\n\r\n{}", NEW),
        (garbage(Garbage::WrongTypes), "\"RequestId\":7", NEW),
        (garbage(Garbage::CutOff), "\"Acc", NEW),
        (garbage(Garbage::Empty), "content-length: 0", NEW),
        (Fault::Garbage { shape: Garbage::Empty, applied: false }, "content-length: 0", OLD),
        (Fault::HugeBody { applied: true }, "content-length: 100000000", NEW),
        (Fault::SlowBody { pause: Duration::from_millis(1) }, OK, NEW),
    ] {
        let simulator = simulator().await;
        simulator.script([Step { instance: Some(R.to_owned()), ..Step::once(MODIFY, fault.clone()) }]);
        let answer = sign(&simulator, "POST", In::Body, MODIFY, &change_of(OLD, NEW)).send(&simulator).await;
        assert!(answer.contains(seen) && answer.is_empty() == seen.is_empty(), "{fault:?}: {answer:.400}");
        assert_eq!(answer.contains("x-acs-retry-after: 100"), fault == Fault::Throttle, "{fault:?}: {answer:.400}");
        assert_eq!(simulator.steps_left(), 0);
        if live == NEW {
            until(|| simulator.account_accepts(R, APP, NEW)).await;
        }
        until(|| idle(&simulator)).await;
        assert!(simulator.account_accepts(R, APP, live) && simulator.accepts(R, OLD), "{fault:?}");
    }
}

#[tokio::test]
async fn a_stale_read_shows_the_past() {
    let simulator = simulator().await;
    simulator.script([Step::once(MODIFY, Fault::TaskStuck { span: None })]);
    assert_eq!(call(&simulator, MODIFY, &change_of(OLD, NEW)).await.0, 200);
    let unavailable = async { while status_of(&simulator, APP).await != "Unavailable" {} };
    tokio::time::timeout(PATIENCE, unavailable).await.unwrap();
    simulator.script([Step::once("DescribeAccounts", Fault::StaleRead { age: PATIENCE })]);
    assert_eq!(status_of(&simulator, APP).await, "Available");
    assert_eq!(status_of(&simulator, APP).await, "Unavailable");
}

#[tokio::test]
async fn instances_are_paged_and_each_cloud_knows_its_own() {
    let mut instances: Vec<InstanceSettings> =
        (0..65).map(|number| InstanceSettings::alibaba(&format!("r-{number:02}"), OLD)).collect();
    instances.iter_mut().for_each(|instance| instance.server = Server::Nothing);
    instances[7].no_auth = true;
    instances.push(InstanceSettings::new("crs-a", OLD));
    let simulator = Simulator::start(settings(instances)).await.unwrap();
    for (parameters, count, first) in [
        (vec![], 30, Some("r-00")),
        (vec![("PageNumber", "3")], 5, Some("r-60")),
        (vec![("PageSize", "50"), ("PageNumber", "2")], 15, Some("r-50")),
        (vec![("PageNumber", "4")], 0, None),
        (vec![("InstanceIds", "r-03,r-09,crs-a")], 2, Some("r-03")),
        (vec![("RegionId", "cn-beijing")], 0, None),
    ] {
        let (_, answer) = call(&simulator, "DescribeInstances", &parameters).await;
        let shown = answer["Instances"]["KVStoreInstance"].as_array().unwrap();
        let first_shown = shown.first().and_then(|instance| instance["InstanceId"].as_str());
        assert_eq!((shown.len(), first_shown), (count, first), "{parameters:?}");
    }
    assert_eq!(call(&simulator, "DescribeInstances", &[]).await.1["TotalCount"], 65);
    for (id, mode) in [("r-06", "Open"), ("r-07", "Close")] {
        let (_, answer) = call(&simulator, "DescribeInstanceAttribute", &[("InstanceId", id)]).await;
        let shown = &answer["Instances"]["DBInstanceAttribute"][0];
        assert_eq!(shown["VpcAuthMode"], mode);
        for (name, value) in [("InstanceStatus", "Normal"), ("EngineVersion", "7.0"), ("ArchitectureType", "standard")]
        {
            assert_eq!(shown[name], value);
        }
    }
    assert_eq!(call(&simulator, "DescribeAccounts", &[("InstanceId", "crs-a")]).await.0, 404);
    let theirs = crate::caller::call(&simulator, "DescribeInstances", json!({})).await;
    assert_eq!(theirs["TotalCount"], 1);
    let refused = crate::caller::code(&simulator, "DescribeInstanceAccount", json!({"InstanceId": "r-00"})).await;
    assert_eq!(refused.as_deref(), Some("ResourceNotFound.InstanceNotExists"));
}

#[tokio::test]
async fn instances_are_found_by_all_their_tags() {
    let tagged = |number: usize| {
        let instance = InstanceSettings::alibaba(&format!("r-{number:02}"), OLD).with_tag("team", "shop");
        if number < 33 { instance.with_tag("rotate", "weekly") } else { instance }
    };
    let simulator = Simulator::start(settings((0..40).map(tagged).collect())).await.unwrap();
    let region = ("RegionId", "cn-hangzhou");
    let (team, shop) = (("Tag.1.Key", "team"), ("Tag.1.Value", "shop"));
    let (rotate, weekly) = (("Tag.2.Key", "rotate"), ("Tag.2.Value", "weekly"));
    for (parameters, total, shown) in [
        (vec![region, team, shop], 40, 30),
        (vec![region, team], 40, 30),
        (vec![region, team, shop, rotate, weekly], 33, 30),
        (vec![region, team, shop, rotate, weekly, ("PageNumber", "2")], 33, 3),
        (vec![region, team, shop, rotate, ("Tag.2.Value", "daily")], 0, 0),
    ] {
        let (_, answer) = call(&simulator, "DescribeInstances", &parameters).await;
        let instances = answer["Instances"]["KVStoreInstance"].as_array().unwrap();
        assert_eq!((&answer["TotalCount"], instances.len()), (&json!(total), shown), "{parameters:?}");
    }
    for (parameters, code) in
        [(vec![team, shop], "MissingRegionId"), (vec![region, rotate, weekly], "InvalidParameter")]
    {
        let (status, answer) = call(&simulator, "DescribeInstances", &parameters).await;
        assert_eq!((status, answer["Code"].as_str()), (400, Some(code)), "{parameters:?}");
    }
    let (_, answer) = call(&simulator, "DescribeInstances", &[("InstanceIds", "r-35")]).await;
    let tags = &answer["Instances"]["KVStoreInstance"][0]["Tags"];
    assert_eq!(*tags, json!({"Tag": [{"Key": "team", "Value": "shop"}]}));
}

#[tokio::test]
async fn quotas_denials_and_absence_have_their_codes() {
    let mut limited = settings(vec![instance()]);
    limited.quota = Quota { per_second: 0.001, burst: 2.0 };
    limited.alibaba.retry_after = Some(Duration::from_millis(1_500));
    let simulator = Simulator::start(limited).await.unwrap();
    let change = Change {
        absent_actions: Some(vec![RESET.to_owned()]),
        denied_actions: Some(vec!["DescribeAccounts".to_owned()]),
        ..Change::default()
    };
    simulator.change(change).await.unwrap();
    assert_eq!(call(&simulator, RESET, &[]).await.1["Code"], "InvalidAction.NotFound");
    let (status, denied) = call(&simulator, "DescribeAccounts", &[("InstanceId", R)]).await;
    assert_eq!((status, denied["Code"].as_str()), (403, Some("Forbidden.RAM")));
    for throttled in [false, false, true] {
        let request = sign(&simulator, "POST", In::Query, "DescribeInstances", &[]);
        let answer = request.send(&simulator).await;
        assert_eq!(answer.contains("Throttling.User"), throttled, "{answer}");
        assert_eq!(answer.contains("x-acs-retry-after: 1500\r\n"), throttled, "{answer}");
    }
    assert_eq!(simulator.calls()["DescribeInstances"].throttled.len(), 1);
    let put = Request { method: "PUT", ..sign(&simulator, "POST", In::Query, "DescribeInstances", &[]) };
    assert!(put.send(&simulator).await.starts_with("HTTP/1.1 405 "));
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
    let colon = |password: &str| server.accepts(&format!("{APP}:{password}"));
    assert!(server.accepts(OLD) && colon(OLD) && by_name(OLD) && server.accepts(&format!("other:{OLD}")));
    assert_eq!(call(&simulator, MODIFY, &change_of(OLD, NEW)).await.0, 200);
    until(|| idle(&simulator)).await;
    assert!(colon(NEW) && by_name(NEW) && !colon(OLD) && !by_name(OLD) && server.accepts(OLD));
    let reset = [("InstanceId", R), ("NewPassword", "Th1rd_passw0rd")];
    assert_eq!(call(&simulator, "ModifyInstanceAttribute", &reset).await.0, 200);
    until(|| idle(&simulator)).await;
    assert!(server.accepts("Th1rd_passw0rd") && !server.accepts(OLD) && colon(NEW));
    let by_hand = AccountSettings { name: APP.to_owned(), password: Secret::new("By_hand_1".to_owned()) };
    change(&simulator, InstanceChange { accounts: vec![by_hand], ..InstanceChange::default() }).await;
    assert!(colon("By_hand_1") && !colon(NEW) && simulator.account_accepts(R, APP, "By_hand_1"));
    assert!(server.accepts(&format!("other:{OLD}")));
}

#[tokio::test]
async fn settings_are_read_from_toml_and_checked() {
    let text = r#"
        alibaba = { region = "cn-beijing", wrong-old-password = "Odd", retry-after = "2s" }
        [[credentials]]
        secret-id = "LTAIx"
        secret-key = "k"
        [[instances]]
        id = "r-bp1"
        password = "OldPassw0rd-1"
        vendor = { kind = "alibaba", engine-version = "5.0" }
        accounts = [{ name = "app", password = "OldPassw0rd-1" }]
        [[instances]]
        id = "crs-a"
        password = "OldPassw0rd-1"
    "#;
    let good: Settings = toml::from_str(text).unwrap();
    assert!(!format!("{good:?}").contains(OLD));
    let old = Tair { engine_version: "5.0".to_owned(), ..Tair::default() };
    assert_eq!(good.instances[0].vendor, Vendor::Alibaba(old));
    drop(Simulator::start(good.clone()).await.unwrap());
    type Spoil = fn(&mut Settings);
    let spoils: [(Spoil, &str); 4] = [
        (|settings| settings.instances[0].accounts[0].name = R.to_owned(), "like the default one"),
        (|settings| settings.instances[0].accounts[0].name = "default".to_owned(), "like the default one"),
        (|settings| settings.instances[0] = settings.instances[0].clone().with_account(APP, OLD), "twice"),
        (|settings| settings.instances[1] = settings.instances[1].clone().with_account(APP, OLD), "Alibaba only"),
    ];
    for (spoil, why) in spoils {
        let mut bad = good.clone();
        spoil(&mut bad);
        let fault = Simulator::start(bad).await.err().unwrap();
        assert!(fault.what.contains(why), "{fault}");
    }
    assert!(toml::from_str::<Settings>(&text.replace("engine-version", "engine")).is_err());
}
