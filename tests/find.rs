//! Instances found by tag, by both vendors' providers: against the stand-in cloud, and against a server that answers from a script.

#![cfg(feature = "simulator")]
#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]
#![allow(dead_code, reason = "the script has more steps than are used here")]

mod scripted;

use keywheel::fault::{Fault, Kind, Retry};
use keywheel::moment::Moment;
use keywheel::provider::alibaba::{self, Alibaba, AlibabaSettings};
use keywheel::provider::credential::Static;
use keywheel::provider::tencent::{self, Tencent, TencentSettings};
use keywheel::provider::{Found, Provider};
use keywheel::secret::Secret;
use keywheel::simulator::{Change, Credential, InstanceChange, InstanceSettings, Quota, Server, Settings, Simulator};
use scripted::{Scripted, Step};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const KEY: &str = "key-of-the-tests";

/// A cloud takes each nonce once, whichever provider sends it.
static NONCES: AtomicU64 = AtomicU64::new(0);

fn secret(text: &str) -> Secret {
    Secret::new(text.to_owned())
}

#[allow(clippy::disallowed_methods, reason = "the stand-in compares signatures with the machine's clock")]
fn now() -> Moment {
    chrono::Utc::now().into()
}

fn tencent(endpoint: &str) -> Box<dyn Provider> {
    let settings = TencentSettings {
        endpoint: Some(endpoint.parse().unwrap()),
        quota: 10_000.0,
        ..TencentSettings::of("ap-guangzhou".to_owned())
    };
    let credentials = Static::new(&tencent::credentials::TERMS, "AKIDfind".to_owned(), secret(KEY), None).ok().unwrap();
    Box::new(Tencent::new(settings, Arc::new(credentials), Arc::new(now)).ok().unwrap())
}

fn alibaba(endpoint: &str) -> Box<dyn Provider> {
    let settings = AlibabaSettings {
        endpoint: Some(endpoint.parse().unwrap()),
        quota: 10_000.0,
        ..AlibabaSettings::of("cn-hangzhou".to_owned())
    };
    let credentials = Static::new(&alibaba::credentials::TERMS, "AKIDfind".to_owned(), secret(KEY), None).ok().unwrap();
    let nonces = Arc::new(|| u128::from(NONCES.fetch_add(1, Ordering::Relaxed)));
    Box::new(Alibaba::new(settings, Arc::new(credentials), Arc::new(now), nonces).ok().unwrap())
}

async fn cloud(instances: Vec<InstanceSettings>) -> Simulator {
    let settings = Settings {
        credentials: vec![Credential { secret_id: "AKIDfind".to_owned(), secret_key: secret(KEY), token: None }],
        instances: instances
            .into_iter()
            .map(|instance| InstanceSettings { server: Server::Nothing, ..instance })
            .collect(),
        quota: Quota { per_second: 0.0, burst: 0.0 },
        ..Settings::default()
    };
    Simulator::start(settings).await.unwrap()
}

fn tags(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

async fn find(provider: &dyn Provider, pairs: &[(&str, &str)]) -> Result<Vec<Found>, Fault> {
    provider.find(&tags(pairs)).await
}

fn ids(found: &[Found]) -> Vec<&str> {
    found.iter().map(|found| found.instance.as_str()).collect()
}

#[tokio::test]
async fn the_stand_in_lists_every_page_and_only_what_carries_all_tags() {
    let tagged = |instance: InstanceSettings, number: usize| match number % 50 {
        0 => instance,
        1 => instance.with_tag("rotate", "weekly"),
        _ => instance.with_tag("rotate", "weekly").with_tag("team", "orders"),
    };
    let at_tencent = (0..250).map(|number| {
        let id = format!("crs-{number:08}");
        tagged(InstanceSettings::new(&id, "Initial-2019"), number)
    });
    let at_alibaba = (0..120).map(|number| {
        let id = format!("r-{number:08}");
        tagged(InstanceSettings::alibaba(&id, "Initial-2019"), number)
    });
    let cloud = cloud(at_tencent.chain(at_alibaba).collect()).await;
    for (provider, prefix, all, both, reads) in
        [(tencent(&cloud.endpoint()), "crs", 245, 240, 3), (alibaba(&cloud.endpoint()), "r", 117, 114, 3)]
    {
        let before = cloud.calls().get("DescribeInstances").map_or(0, |calls| calls.accepted.len());
        let found = find(&*provider, &[("rotate", "weekly")]).await.unwrap();
        assert_eq!(found.len(), all, "{prefix}");
        assert_eq!(cloud.calls()["DescribeInstances"].accepted.len() - before, reads, "{prefix}: pages");
        assert!(ids(&found).iter().all(|id| id.starts_with(prefix)));
        assert_eq!(found[1].tags, tags(&[("rotate", "weekly"), ("team", "orders")]));
        assert_eq!(found[1].name, found[1].instance);
        let found = find(&*provider, &[("rotate", "weekly"), ("team", "orders")]).await.unwrap();
        assert_eq!(found.len(), both, "{prefix}: each tag must match");
        assert_eq!(find(&*provider, &[("rotate", "daily")]).await.unwrap(), []);
    }
    // Other kinds and states are told and marked.
    let status = |status| InstanceChange { status: Some(status), ..InstanceChange::default() };
    cloud.change(Change::of("crs-00000002", status(-2))).await.unwrap();
    cloud.change(Change::of("crs-00000003", status(1))).await.unwrap();
    let found = find(&*tencent(&cloud.endpoint()), &[("team", "orders")]).await.unwrap();
    assert_eq!(found[0].unfit.as_deref(), Some("the instance is isolated"));
    assert_eq!(found[1].unfit, None, "what passes by itself is waited for");

    let denied = Change { denied_actions: Some(vec!["DescribeInstances".to_owned()]), ..Change::default() };
    cloud.change(denied).await.unwrap();
    for (provider, permission) in [
        (tencent(&cloud.endpoint()), "redis:DescribeInstances"),
        (alibaba(&cloud.endpoint()), "kvstore:DescribeInstances"),
    ] {
        let fault = find(&*provider, &[("rotate", "weekly")]).await.unwrap_err();
        assert_eq!(fault.kind, Kind::Denied);
        assert!(fault.next_step.contains(permission), "{fault}");
    }
}

fn reply(body: &str) -> Step {
    Step::Reply(200, String::new(), body.to_owned())
}

#[tokio::test]
async fn tencent_is_asked_by_tag_and_page_and_its_rows_are_read() {
    let row = |id: &str, more: &str| format!(r#"{{"InstanceId":"{id}","Status":2{more}}}"#);
    let tag = r#""InstanceTags":[{"TagKey":"rotate","TagValue":"weekly"}]"#;
    let page = format!(
        r#"{{"Response":{{"TotalCount":4,"InstanceSet":[{},{},{},{}],"RequestId":"r"}}}}"#,
        row("crs-1", &format!(r#","InstanceName":"o\u001b[31mrders","WanIp":"10.0.0.9","Port":6380,"Type":15,{tag}"#)),
        row("crs-2", &format!(r#","Type":200,"WanIp":"","Port":0,{tag}"#)),
        row("crs-3", r#","InstanceTags":[{"TagKey":"team","TagValue":"weekly"}]"#),
        row("crs-4", r#","InstanceTags":[{"TagKey":"rotate","TagValue":"Weekly"}]"#),
    );
    let server = Scripted::serve(vec![reply(&page)]).await;
    let provider = tencent(&format!("http://{}/", server.address));
    let found = find(&*provider, &[("rotate", "weekly")]).await.unwrap();
    assert_eq!(ids(&found), ["crs-1", "crs-2"]);
    assert_eq!(found[0].endpoint, Some(("10.0.0.9".to_owned(), 6380)));
    assert!(!found[0].name.contains('\u{1b}'), "{:?}", found[0].name);
    assert!(found[1].unfit.as_deref().is_some_and(|why| why.contains("Memcached")), "{:?}", found[1].unfit);
    assert_eq!(found[1].endpoint, None);
    assert_eq!(
        server.seen()[0].body,
        r#"{"InstanceTags":[{"TagKey":"rotate","TagValue":"weekly"}],"Limit":100,"Offset":0}"#
    );
}

#[tokio::test]
async fn alibaba_is_asked_by_tag_region_and_page_and_its_rows_are_read() {
    let row = |id: &str, more: &str| format!(r#"{{"InstanceId":"{id}","InstanceStatus":"Normal"{more}}}"#);
    let tags = r#""Tags":{"Tag":[{"Key":"a&b","Value":"c d"},{"Key":"e"}]}"#;
    let page = format!(
        r#"{{"TotalCount":4,"Instances":{{"KVStoreInstance":[{},{},{},{}]}},"RequestId":"r"}}"#,
        row(
            "r-1",
            &format!(r#","ConnectionDomain":"r-1.redis.rds.aliyuncs.com","Port":6379,"InstanceType":"Redis",{tags}"#)
        ),
        row("r-2", &format!(r#","InstanceType":"Memcache",{tags}"#)),
        row("r-3", &format!(r#","EngineVersion":"2.8",{tags}"#)),
        row("r-4", r#","Tags":{"Tag":[{"Key":"e"}]}"#),
    );
    let server = Scripted::serve(vec![reply(&page)]).await;
    let provider = alibaba(&format!("http://{}/", server.address));
    let found = find(&*provider, &[("a&b", "c d"), ("e", "")]).await.unwrap();
    assert_eq!(ids(&found), ["r-1", "r-2", "r-3"]);
    assert_eq!(found[0].endpoint, Some(("r-1.redis.rds.aliyuncs.com".to_owned(), 6379)));
    assert_eq!(found.iter().map(|found| found.unfit.is_some()).collect::<Vec<_>>(), [false, true, true]);
    let sent = &server.seen()[0].body;
    for parameter in ["RegionId=cn-hangzhou", "Tag.1.Key=a%26b", "Tag.1.Value=c%20d", "PageNumber=1", "PageSize=50"] {
        assert!(sent.contains(parameter), "{parameter} in {sent}");
    }
}

#[tokio::test]
async fn a_part_of_a_list_is_no_list() {
    let tencent_page = |total: usize, ids: &[&str]| {
        let tags = r#""InstanceTags":[{"TagKey":"rotate","TagValue":"weekly"}]"#;
        let rows: Vec<String> = ids.iter().map(|id| format!(r#"{{"InstanceId":"{id}","Status":2,{tags}}}"#)).collect();
        reply(&format!(r#"{{"Response":{{"TotalCount":{total},"InstanceSet":[{}],"RequestId":"r"}}}}"#, rows.join(",")))
    };
    for steps in [
        vec![tencent_page(3, &["a", "b"]), Step::Raw(String::new())],
        vec![tencent_page(3, &["a", "b"]), tencent_page(2, &[])],
        vec![tencent_page(3, &["a", "b"]), tencent_page(3, &["b"])],
        vec![tencent_page(3, &["a", "b"]), reply(r#"{"Response":{"RequestId":"r"}}"#)],
        vec![reply(r#"{"Response":{"TotalCount":0,"RequestId":"r"}}"#)],
        // Found by its tags, and shown without them: then it is not known who carries them.
        vec![reply(
            r#"{"Response":{"TotalCount":1,"InstanceSet":[{"InstanceId":"a","Status":2,"InstanceTags":null}],"RequestId":"r"}}"#,
        )],
    ] {
        let server = Scripted::serve(steps).await;
        let fault = find(&*tencent(&format!("http://{}/", server.address)), &[]).await.unwrap_err();
        assert_ne!(fault.retry, Retry::Never, "{fault}");
    }
}
