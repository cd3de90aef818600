//! The requests whose signatures the vendor published or its SDK made, sent over TCP at the time they were made for.

use super::caller::*;
use crate::caller::{OLD, settings};
use keywheel::secret::Secret;
use keywheel::simulator::{Change, InstanceSettings, Simulator};
use sha2::{Digest, Sha256};

#[tokio::test]
async fn the_vendors_own_requests_are_accepted_and_used_up() {
    let signed = |names: &str, signature: &str, id: &str| {
        format!("ACS3-HMAC-SHA256 Credential={id},SignedHeaders={names},Signature={signature}")
    };
    const SHORT: &str = "host;x-acs-action;x-acs-content-sha256;x-acs-date;x-acs-signature-nonce;x-acs-version";
    const WITH_TYPE: &str =
        "content-type;host;x-acs-action;x-acs-content-sha256;x-acs-date;x-acs-signature-nonce;x-acs-version";
    const WITH_TOKEN: &str = "host;x-acs-accesskey-id;x-acs-action;x-acs-content-sha256;x-acs-date;x-acs-security-token;x-acs-signature-nonce;x-acs-version";
    const FAKE: (&str, &str) = ("LTAI5tFAKEFAKEFAKEFAKE01", "FakeAliyunSecretKeyForVectors1");
    const STS: (&str, &str) = ("STS.NFAKEFAKEFAKEFAKE01", FAKE.1);
    const DAWN: &str = "2025-01-01T00:00:00Z";
    type Row = (
        (&'static str, &'static str),
        [&'static str; 5],
        &'static str,
        &'static str,
        &'static str,
        &'static str,
        &'static str,
    );
    // Key, then host, action, version, date and nonce, then query, body, signed names, signature, and what it meets once accepted.
    let rows: [Row; 5] = [
        (
            ("YourAccessKeyId", "YourAccessKeySecret"),
            [
                "ecs.cn-shanghai.aliyuncs.com",
                "RunInstances",
                "2014-05-26",
                "2023-10-26T10:22:32Z",
                "3156853299f313e23d1673dc12e1703d",
            ],
            "ImageId=win2019_1809_x64_dtc_zh-cn_40G_alibase_20230811.vhd&RegionId=cn-shanghai",
            "",
            SHORT,
            "06563a9e1b43f5dfe96b81484da74bceab24a1d853912eee15083a6f0f3283c0",
            "InvalidVersion",
        ),
        (
            FAKE,
            ["r-kvstore.aliyuncs.com", MODIFY, "2015-01-01", DAWN, "3156853299f313e23d1673dc12e1703d"],
            "AccountName=testaccount&InstanceId=r-bp1zxszhcgatnx00&NewAccountPassword=aB3%21%40%23%24%25%5E%26%2A%28%29_%2B-%3D&OldAccountPassword=Old_Passw0rd%21",
            "",
            SHORT,
            "f25351ba8d10a08b779b77ef484ddf1ee0ae7f78248040d3b83b00de1198a2bf",
            "HTTP/1.1 200 OK",
        ),
        (
            FAKE,
            ["r-kvstore.cn-beijing.aliyuncs.com", RESET, "2015-01-01", DAWN, "5e2a2b9d0c7f4f0a8d6b1c3e4f5a6b7c"],
            "",
            "AccountName=testaccount&AccountPassword=aB3%21%40%23%24%25%5E%26%2A%28%29_%2B-%3D&InstanceId=r-bp1zxszhcgatnx00",
            WITH_TYPE,
            "6324823177d8ece1d84f2c83c1db68fdb0c69675092182f5c190d596ceb4bd0a",
            "HTTP/1.1 200 OK",
        ),
        (
            STS,
            [
                "r-kvstore.aliyuncs.com",
                "DescribeAccounts",
                "2015-01-01",
                "2025-01-01T23:59:59Z",
                "0f0e0d0c0b0a09080706050403020100",
            ],
            "InstanceId=r-bp1zxszhcgatnx00",
            "",
            WITH_TOKEN,
            "0158181283f92355df93d5fe78c6fa662bb4b28268dc9e27b24f3927fd5b7335",
            "HTTP/1.1 200 OK",
        ),
        (
            FAKE,
            ["kms.cn-hangzhou.aliyuncs.com", "PutSecretValue", "2016-01-20", DAWN, "11112222333344445555666677778888"],
            "",
            "SecretData=%7B%22password%22%3A%22aB3%21x%22%7D&SecretName=redis%2Fprod%2Fapp&VersionId=rot-20250101T000000Z",
            WITH_TYPE,
            "4b8e0b6e943ac4e833d439122878ad59b5ce6e2ba0a9e74a4da29ddca6ac65d1",
            "Forbidden.ResourceNotFound",
        ),
    ];
    for ((id, key), [host, action, version, date, nonce], query, body, names, signature, met) in rows {
        let instance =
            InstanceSettings::alibaba("r-bp1zxszhcgatnx00", OLD).with_account("testaccount", "Old_Passw0rd!");
        let mut settings = settings(vec![instance]);
        settings.credentials[0].secret_id = id.to_owned();
        settings.credentials[0].secret_key = Secret::new(key.to_owned());
        settings.credentials[0].token = names.contains("token").then(|| Secret::new("FAKE-STS-TOKEN-0001".to_owned()));
        let simulator = Simulator::start(settings).await.unwrap();
        let vector_time = chrono::DateTime::parse_from_rfc3339(date).unwrap().timestamp_millis();
        let offset = vector_time - simulator.state()["now"].as_i64().unwrap();
        simulator.change(Change { clock_offset_millis: Some(offset), ..Change::default() }).await.unwrap();
        let value = |name: &str| match name {
            "content-type" => FORM.to_owned(),
            "host" => host.to_owned(),
            "x-acs-accesskey-id" => id.to_owned(),
            "x-acs-action" => action.to_owned(),
            "x-acs-content-sha256" => hex::encode(Sha256::digest(body)),
            "x-acs-date" => date.to_owned(),
            "x-acs-security-token" => "FAKE-STS-TOKEN-0001".to_owned(),
            "x-acs-signature-nonce" => nonce.to_owned(),
            _ => version.to_owned(),
        };
        let mut headers: Vec<(String, String)> = names.split(';').map(|name| (name.to_owned(), value(name))).collect();
        headers.push(("authorization".to_owned(), signed(names, signature, id)));
        let request = Request { method: "POST", query: query.to_owned(), headers, body: body.to_owned() };
        for place in 0..signature.len() {
            let mut bad = request.clone();
            let last = bad.headers.last_mut().unwrap();
            let at = last.1.len() - 1 - place;
            let other = if last.1.as_bytes()[at] == b'0' { "1" } else { "0" };
            last.1.replace_range(at..=at, other);
            assert!(bad.send(&simulator).await.contains("SignatureDoesNotMatch"), "{action} {place}");
        }
        let answer = request.send(&simulator).await;
        assert!(answer.contains(met), "{action}: {answer}");
        let again = request.send(&simulator).await;
        assert!(again.starts_with("HTTP/1.1 400") && again.contains("SignatureNonceUsed"), "{action}: {again}");
    }
}
