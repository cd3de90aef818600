//! Who may call, how often, and what a request must look like.

use crate::caller::*;
use keywheel::secret::Secret;
use keywheel::simulator::{Change, InstanceSettings, Quota, Simulator};
use serde_json::json;

#[tokio::test]
async fn one_flipped_byte_anywhere_is_refused() {
    let simulator = simulator().await;
    let good = sign(&simulator, MODIFY, &change_of(OLD, NEW), 0);
    let mut requests = Vec::new();
    for place in 0..good.body.len() {
        let mut bad = good.clone();
        bad.body[place] ^= 1;
        requests.push(bad);
    }
    for (index, (_, value)) in good.headers.iter().enumerate() {
        for place in 0..value.len() {
            let mut bytes = value.clone().into_bytes();
            bytes[place] ^= 1;
            let mut bad = good.clone();
            bad.headers[index].1 = String::from_utf8(bytes).unwrap();
            requests.push(bad);
        }
    }
    assert!(requests.len() > 300);
    for bad in requests {
        let answer = bad.send(&simulator).await;
        assert!(!answer.contains("TaskId"), "{:?} {answer}", bad.headers);
    }
    assert_eq!(simulator.state()["tasks"], json!([]));
    assert!(good.send(&simulator).await.contains("TaskId"));
}

#[tokio::test]
async fn the_clock_the_token_and_the_headers_are_judged() {
    let mut with_token = settings(vec![InstanceSettings::new(CRS, OLD)]);
    with_token.credentials[0].token = Some(Secret::new("session".to_owned()));
    let simulator = Simulator::start(with_token).await.unwrap();
    let signed = |millis: i64| sign(&simulator, "DescribeInstances", &json!({}), millis).with("X-TC-Token", "session");
    for (request, expected) in [
        (signed(0), "InstanceSet"),
        (signed(-290_000), "InstanceSet"),
        (signed(-302_000), "AuthFailure.SignatureExpire"),
        (signed(302_000), "AuthFailure.SignatureExpire"),
        (signed(0).with("X-TC-Token", "sessioN"), "AuthFailure.TokenFailure"),
        (signed(0).with("X-TC-Version", "2018-04-13"), "NoSuchVersion"),
        (signed(0).with("X-TC-Region", "ap-tokyo"), "ResourceNotFound.InstanceNotExists"),
        (signed(0).with("X-TC-Region", "ap-nowhere"), "UnsupportedRegion"),
        (sign(&simulator, "ModifiyInstancePassword", &json!({}), 0).with("X-TC-Token", "session"), "InvalidAction"),
    ] {
        let answer = request.send(&simulator).await;
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains(expected), "{expected}: {answer}");
        let mut bare = request.clone();
        bare.headers.retain(|(name, _)| name != "X-TC-Region" && name != "X-TC-Version" && name != "Authorization");
        assert!(bare.send(&simulator).await.contains("AuthFailure.InvalidAuthorization"));
    }
    let change = Change { clock_offset_millis: Some(400_000), ..Change::default() };
    simulator.change(change).await.unwrap();
    assert!(signed(0).send(&simulator).await.contains("AuthFailure.SignatureExpire"));
    let answer = signed(400_000).send(&simulator).await;
    let date = answer.lines().find_map(|line| line.strip_prefix("date: ")).unwrap();
    let published = chrono::DateTime::parse_from_rfc2822(date).unwrap().timestamp_millis();
    assert!((published - 400_000 - simulator.state()["now"].as_i64().unwrap()).abs() < 60_000, "{answer}");
}

#[tokio::test]
async fn actions_can_be_absent_or_denied() {
    let simulator = simulator().await;
    let change = Change {
        absent_actions: Some(vec![MODIFY.to_owned(), "DescribeInstancePasswordPolicy".to_owned()]),
        denied_actions: Some(vec!["DescribeTaskInfo".to_owned()]),
        ..Change::default()
    };
    simulator.change(change).await.unwrap();
    for (action, body, expected) in [
        (MODIFY, change_of(OLD, NEW), Some("InvalidAction")),
        ("DescribeInstancePasswordPolicy", json!({"InstanceId": CRS}), Some("InvalidAction")),
        ("DescribeTaskInfo", json!({"TaskId": 1}), Some("UnauthorizedOperation.NoCAMAuthed")),
        ("ModfiyInstancePassword", change_of(OLD, NEW), None),
    ] {
        assert_eq!(code(&simulator, action, body).await.as_deref(), expected, "{action}");
    }
    assert_eq!(simulator.refusals()["InvalidAction"], 2);
}

#[tokio::test]
async fn the_bucket_lets_through_what_it_holds_and_counts_both() {
    let mut limited = settings(vec![InstanceSettings::new(CRS, OLD)]);
    limited.quota = Quota { per_second: 0.001, burst: 20.0 };
    let simulator = Simulator::start(limited).await.unwrap();
    let mut throttled = 0;
    for _ in 0..25 {
        let refused = code(&simulator, "DescribeInstances", json!({})).await;
        throttled += usize::from(refused.as_deref() == Some("RequestLimitExceeded"));
    }
    assert_eq!(code(&simulator, "DescribeTaskList", json!({})).await, None, "each action has its own");
    let calls = &simulator.calls()["DescribeInstances"];
    assert_eq!((throttled, calls.accepted.len(), calls.throttled.len()), (5, 20, 5));
    assert!(calls.accepted.is_sorted());
    assert_eq!(simulator.state()["calls"]["DescribeInstances"], json!({"accepted": 20, "throttled": 5}));
}

#[tokio::test]
async fn instances_are_found_by_their_tags_page_by_page() {
    let tagged = |number: usize| {
        let instance = InstanceSettings::new(&format!("crs-{number:02}"), OLD).with_tag("team", "shop");
        if number % 2 == 0 { instance.with_tag("rotate", "weekly") } else { instance.with_tag("rotate", "daily") }
    };
    let simulator = Simulator::start(settings((0..25).map(tagged).collect())).await.unwrap();
    let weekly = json!([{"TagKey": "rotate", "TagValue": "weekly"}]);
    for (request, total, shown) in [
        (json!({}), 25, 20),
        (json!({"Offset": 20}), 25, 5),
        (json!({"InstanceTags": weekly, "Limit": 10}), 13, 10),
        (json!({"InstanceTags": weekly, "Limit": 10, "Offset": 10}), 13, 3),
        (json!({"InstanceTags": [{"TagKey": "rotate", "TagValue": "yearly"}]}), 0, 0),
        (
            json!({"InstanceTags": [{"TagKey": "rotate", "TagValue": "weekly"}, {"TagKey": "team", "TagValue": "shop"}]}),
            25,
            20,
        ),
        (json!({"TagKeys": ["rotate"], "Limit": 1000}), 25, 25),
        (json!({"TagKeys": ["colour"]}), 0, 0),
        (json!({"InstanceTags": []}), 25, 20),
    ] {
        let answer = call(&simulator, "DescribeInstances", request.clone()).await;
        let instances = answer["InstanceSet"].as_array().unwrap();
        assert_eq!((&answer["TotalCount"], instances.len()), (&json!(total), shown), "{request}");
    }
    let answer = call(&simulator, "DescribeInstances", json!({"InstanceIds": ["crs-07"]})).await;
    let tags = json!([{"TagKey": "rotate", "TagValue": "daily"}, {"TagKey": "team", "TagValue": "shop"}]);
    assert_eq!(answer["InstanceSet"][0]["InstanceTags"], tags);
    let gone = keywheel::simulator::InstanceChange { tags: Some(Default::default()), ..Default::default() };
    simulator.change(Change::of("crs-00", gone)).await.unwrap();
    let answer = call(&simulator, "DescribeInstances", json!({"InstanceTags": weekly})).await;
    assert_eq!(answer["TotalCount"], 12, "a tag can be taken away");
}
