//! What no row says: what readiness finds, what becomes of every answer that is lost, what people put there, and what is particular to each store.

use super::server::Server;
use super::*;
use keywheel::fault::Kind;
use keywheel::sink::aws::Tier;
use keywheel::sink::{Document, Held, Holds};

fn target() -> keywheel::name::TargetName {
    "orders-cache".parse().unwrap()
}

fn held(held: Option<Held>) -> Option<String> {
    held.map(|held| match held {
        Held::Bare(text) | Held::AsSent(text) => text.expose().to_owned(),
    })
}

/// The answer to each call of a delivery is lost in turn; after each, the same delivery again ends as if none had been.
async fn no_lost_answer_makes_another_version<S: Shelf>(
    server: &'static Server,
    calls: &[(&'static str, &'static str)],
) {
    for call in calls {
        let account = Account::<S>::at(Some(server), *call);
        let sink = account.sink(false);
        sink.deliver(&document(1)).await.unwrap();
        let before = account.mark().await;
        account.fail(Trouble::LostAnswer).await;
        let fault = sink.deliver(&document(2)).await.expect_err(call.0);
        assert_eq!(fault.kind, Kind::SinkUnavailable, "{call:?}: {fault}");
        sink.deliver(&document(2)).await.unwrap();
        assert_eq!(account.seen().await.unwrap().generation, 2);
        let after = account.mark().await;
        assert_eq!(after.split(' ').count(), before.split(' ').count() + 1, "{call:?}: {after}");
        sink.deliver(&document(2)).await.unwrap();
        assert_eq!(account.mark().await, after);
    }
}

/// Each permission that the README names is needed, and readiness or the first delivery says which is missing.
async fn what_is_not_permitted_is_named<S: Shelf>(server: &'static Server) {
    let account = Account::<S>::at(Some(server), S::SHOWS);
    let sink = account.sink(false);
    sink.deliver(&document(1)).await.unwrap();
    for (missing, generation) in S::ACTIONS.iter().zip(2..) {
        // What a person put over it makes the next delivery a whole one.
        S::put(server, &account.place, "{}");
        let others = S::ACTIONS.iter().filter(|action| *action != missing).map(|action| (*action).to_owned());
        server.permit(&others.collect::<Vec<_>>());
        if S::FOR_PEOPLE.contains(missing) {
            sink.ready(&target()).await.unwrap();
            sink.deliver(&document(generation)).await.unwrap();
            assert_eq!(account.seen().await.unwrap().generation, generation, "{missing}");
            permit_all::<S>(server);
            continue;
        }
        let found = match sink.ready(&target()).await {
            Err(fault) => Err(fault),
            Ok(()) => sink.deliver(&document(generation)).await,
        };
        let fault = found.expect_err(missing);
        assert_eq!(fault.kind, Kind::SinkDenied, "{missing}: {fault}");
        assert!(fault.next_step.contains(missing), "{missing}: {fault}");
        permit_all::<S>(server);
        sink.deliver(&document(generation)).await.unwrap();
    }
    S::remove(server, &account.place);
    for fault in [sink.ready(&target()).await.unwrap_err(), sink.deliver(&document(9)).await.unwrap_err()] {
        assert!(fault.kind == Kind::SinkDenied && fault.next_step.contains("create = true"), "{fault}");
    }
    assert_eq!(
        (held(sink.read_back(&target()).await.unwrap()), sink.holds(&document(3)).await.unwrap()),
        (None, Holds::Absent)
    );
}

/// What a person wrote there is taken in where it is a password, and nothing is guessed.
async fn what_people_put_there<S: Shelf>(server: &'static Server) {
    let account = Account::<S>::at(Some(server), S::SHOWS);
    let sink = account.sink(false);
    for (text, read) in [
        ("{}", Ok(None)),
        ("{\"password\": \"today's\"}", Ok(Some("today's"))),
        ("today's", Err(Kind::SecretUnreadable)),
    ] {
        S::put(server, &account.place, text);
        let got = sink.read_back(&target()).await.map(held).map_err(|fault| fault.kind);
        assert_eq!(got, read.map(|text| text.map(str::to_owned)), "{text}");
    }
    // Over a generation of ours it is no newer one, and the same one is put back by a delivery.
    for generation in [4, 4] {
        sink.deliver(&document(generation)).await.unwrap();
        S::put(server, &account.place, "{\"password\": \"by hand\"}");
        assert_eq!(sink.holds(&document(generation)).await.unwrap(), Holds::Other);
    }
    assert_eq!(sink.deliver(&document(3)).await.unwrap_err().kind, Kind::SinkNewer);
    sink.deliver(&document(4)).await.unwrap();
    assert_eq!(account.seen().await.unwrap().generation, 4);
    // Another address is another document of the same generation, and there is a way back.
    let moved = Document { endpoint: None, ..document(4) };
    for shown in [&moved, &document(4), &moved] {
        sink.deliver(shown).await.unwrap();
        assert_eq!(sink.holds(shown).await.unwrap(), Holds::Same);
    }
}

#[test]
fn secrets_manager_beyond_the_rows() {
    let Some(server) = own_server() else { return };
    permit_all::<Secret>(server);
    run(async {
        let calls = [
            ("DescribeSecret", ""),
            ("GetSecretValue", ""),
            ("PutSecretValue", ""),
            ("UpdateSecretVersionStage", ""),
            ("TagResource", ""),
        ];
        no_lost_answer_makes_another_version::<Secret>(server, &calls).await;
        what_is_not_permitted_is_named::<Secret>(server).await;
        what_people_put_there::<Secret>(server).await;
        what_readiness_finds_in_a_secret(server).await;
        labels_and_tags(server).await;
        a_version_of_that_id_with_something_else_in_it(server).await;
    });
}

async fn what_readiness_finds_in_a_secret(server: &'static Server) {
    let account = Account::<Secret>::at(Some(server), Secret::SHOWS);
    let (sink, place) = (account.sink(false), account.place.as_str());
    let denied = async |words: &str| {
        let fault = sink.ready(&target()).await.unwrap_err();
        assert!(fault.kind == Kind::SinkDenied && fault.next_step.contains(words), "{words}: {fault}");
    };
    let boto3 = |call: &str, with: Value| server.boto3("secretsmanager", call, with).unwrap();
    boto3("delete_secret", json!({ "SecretId": place }));
    denied("restore-secret").await;
    let fault = sink.deliver(&document(1)).await.unwrap_err();
    assert!(fault.kind == Kind::SinkDenied && fault.what.contains("scheduled for deletion"), "{fault}");
    boto3("restore_secret", json!({ "SecretId": place }));
    sink.ready(&target()).await.unwrap();
    let every = json!({ "AutomaticallyAfterDays": 30 });
    let with = json!({ "SecretId": place, "RotationRules": every, "RotateImmediately": false });
    boto3("rotate_secret", with);
    denied("cancel-rotate-secret").await;
    let wrong = keywheel::sink::aws::Reach { region: "eu-west-1".to_owned(), ..account.reach() };
    let copied = format!("{place}-copy");
    let copies = json!([{ "Region": "eu-west-1" }]);
    boto3("create_secret", json!({ "Name": copied, "SecretString": "{}", "AddReplicaRegions": copies }));
    let fault = Secret::sink(wrong, &copied).ready(&target()).await.unwrap_err();
    assert!(fault.next_step.contains("eu-central-1"), "{fault}");
}

/// What readers and people see beside the text: labels, tags, the password before.
async fn labels_and_tags(server: &'static Server) {
    let account = Account::<Secret>::at(Some(server), Secret::SHOWS);
    let sink = account.sink(false);
    for generation in [1, 2] {
        sink.ready(&target()).await.unwrap();
        sink.deliver(&document(generation)).await.unwrap();
    }
    let at = |label: &str| {
        let with = json!({ "SecretId": account.place, "VersionStage": label });
        let got = server.boto3("secretsmanager", "get_secret_value", with).unwrap();
        let id = got["VersionId"].as_str().unwrap().to_owned();
        (id, serde_json::from_str::<Value>(got["SecretString"].as_str().unwrap()).unwrap())
    };
    let ((current, now), (previous, before), (pending, _)) = (at("AWSCURRENT"), at("AWSPREVIOUS"), at("AWSPENDING"));
    assert_eq!((&now["generation"], &before["generation"]), (&json!(2), &json!(1)));
    assert!(now["password"] == document(2).login_password.expose() && now["target"] == "orders-cache");
    assert!(current.contains("-00000000000000000002-") && previous.contains("-00000000000000000001-"), "{current}");
    assert_eq!(current, pending, "which is how the vendor's own rotations end");
    let described = server.boto3("secretsmanager", "describe_secret", json!({ "SecretId": account.place })).unwrap();
    let tags = described["Tags"].as_array().unwrap();
    for (key, value) in [("managed-by", "keywheel"), ("keywheel:target", "orders-cache"), ("keywheel:generation", "2")]
    {
        assert!(tags.contains(&json!({ "Key": key, "Value": value })), "{tags:?}");
    }
}

/// Another ledger wrote the same generation with another password: nobody's to overwrite.
async fn a_version_of_that_id_with_something_else_in_it(server: &'static Server) {
    let account = Account::<Secret>::at(Some(server), Secret::SHOWS);
    let other = Document {
        password: Text::new("another".to_owned()),
        login_password: Text::new("another".to_owned()),
        ..document(1)
    };
    account.direct().deliver(&other).await.unwrap();
    let fault = account.sink(false).deliver(&document(1)).await.unwrap_err();
    assert!(fault.kind == Kind::SinkDenied && fault.what.contains("something else"), "{fault}");
    // Also where readers see another version by now.
    Secret::put(server, &account.place, "{}");
    let fault = account.sink(false).deliver(&document(1)).await.unwrap_err();
    assert!(fault.kind == Kind::SinkDenied && fault.what.contains("something else"), "{fault}");
}

/// With `create` a secret that is not there is made once, whatever answers are lost; in whatever form, its generation is known.
#[test]
fn a_secret_is_made_where_its_owner_allows_it() {
    let Some(server) = own_server() else { return };
    server.permit(&["secretsmanager:*".to_owned()]);
    run(async {
        for (number, lost) in [false, true].into_iter().enumerate() {
            let account = Account::<Secret>::at(Some(server), ("CreateSecret", ""));
            let place = format!("made/{number}");
            let settings = SecretsManagerSettings {
                create: true,
                kms_key: Some("alias/redis".to_owned()),
                format: Format::Raw,
                ..Secret::settings(account.reach(), &place)
            };
            let sink = SecretsManager::new(settings).unwrap();
            sink.ready(&target()).await.unwrap();
            if lost {
                account.fail(Trouble::LostAnswer).await;
                assert_eq!(sink.deliver(&document(1)).await.unwrap_err().kind, Kind::SinkUnavailable);
            }
            sink.deliver(&document(1)).await.unwrap();
            sink.ready(&target()).await.unwrap();
            let described = server.boto3("secretsmanager", "describe_secret", json!({ "SecretId": place })).unwrap();
            assert_eq!(described["KmsKeyId"], "alias/redis");
            assert_eq!(Secret::mark(server, &place).split(' ').count(), 1);
            sink.deliver(&document(2)).await.unwrap();
            assert_eq!(Secret::shown(server, &place).as_deref(), Some(document(2).login_password.expose()));
            assert_eq!(sink.deliver(&document(1)).await.unwrap_err().kind, Kind::SinkNewer);
            let stranger = Document { target: "billing".parse().unwrap(), ..document(3) };
            let fault = sink.deliver(&stranger).await.unwrap_err();
            assert!(fault.kind == Kind::SinkDenied && fault.what.contains("orders-cache"), "{fault}");
            assert_eq!(
                held(sink.read_back(&target()).await.unwrap()).as_deref(),
                Some(document(2).login_password.expose())
            );
        }
    });
}

#[test]
fn parameter_store_beyond_the_rows() {
    let Some(server) = own_server() else { return };
    permit_all::<Parameter>(server);
    run(async {
        let calls = [
            ("GetParameterHistory", ""),
            ("PutParameter", "true"),
            ("LabelParameterVersion", ""),
            ("UnlabelParameterVersion", ""),
        ];
        no_lost_answer_makes_another_version::<Parameter>(server, &calls).await;
        what_is_not_permitted_is_named::<Parameter>(server).await;
        what_people_put_there::<Parameter>(server).await;
        more_versions_than_the_store_keeps(server).await;
        a_newer_one_that_was_overwritten_is_put_back(server).await;
        a_parameter_that_is_made(server).await;
        parameters::what_a_delivery_covered_is_put_right_though_nobody_waits_for_it_any_more(server).await;
        parameters::one_that_is_deleted_while_readiness_looks_is_as_it_was(server).await;
    });
}

/// The store keeps a hundred versions, and refuses to write where the oldest has a label.
async fn more_versions_than_the_store_keeps(server: &'static Server) {
    let account = Account::<Parameter>::at(Some(server), Parameter::SHOWS);
    let sink = account.sink(false);
    for _ in 1..100 {
        Parameter::put(server, &account.place, "{}");
    }
    for generation in 1..=3 {
        sink.deliver(&document(generation)).await.unwrap();
    }
    let with = json!({ "Name": format!("/{}:keywheel-g3", account.place), "WithDecryption": true });
    let got = server.boto3("ssm", "get_parameter", with).unwrap();
    let content: Value = serde_json::from_str(got["Parameter"]["Value"].as_str().unwrap()).unwrap();
    assert_eq!((&content["generation"], &got["Parameter"]["Version"]), (&json!(3), &json!(103)));
    let mut question = json!({ "Name": format!("/{}", account.place), "MaxResults": 50 });
    let mut labels = Vec::new();
    loop {
        let page = server.boto3("ssm", "get_parameter_history", question.clone()).unwrap();
        labels.extend(page["Parameters"].as_array().unwrap().iter().map(|version| version["Labels"].clone()));
        let Some(token) = page["NextToken"].as_str() else { break };
        question["NextToken"] = token.into();
    }
    assert_eq!(labels.len(), 100);
    let labelled: Vec<Value> = labels.into_iter().filter(|labels| *labels != json!([])).collect();
    assert_eq!(labelled, [json!(["keywheel-g3"])]);
    assert_eq!(sink.deliver(&document(2)).await.unwrap_err().kind, Kind::SinkNewer);
}

/// An older writer that did not look: what it did is put right by whoever delivers next, and the older one learns why.
async fn a_newer_one_that_was_overwritten_is_put_back(server: &'static Server) {
    let account = Account::<Parameter>::at(Some(server), Parameter::SHOWS);
    let sink = account.sink(false);
    sink.deliver(&document(2)).await.unwrap();
    let older = history(server, &account.place).pop().unwrap();
    sink.deliver(&document(3)).await.unwrap();
    let with = json!({
        "Name": format!("/{}", account.place), "Value": older["Value"], "Description": older["Description"],
        "Type": "SecureString", "Overwrite": true,
    });
    server.boto3("ssm", "put_parameter", with).unwrap();
    assert_eq!(account.seen().await.unwrap().generation, 2);
    assert_eq!(sink.holds(&document(3)).await.unwrap(), Holds::Other);
    assert_eq!(sink.deliver(&document(2)).await.unwrap_err().kind, Kind::SinkNewer);
    assert_eq!(account.seen().await.unwrap().generation, 3);
    let mark = account.mark().await;
    sink.deliver(&document(3)).await.unwrap();
    assert_eq!((account.seen().await.unwrap().generation, account.mark().await), (3, mark));
}

async fn a_parameter_that_is_made(server: &'static Server) {
    let account = Account::<Parameter>::at(Some(server), ("PutParameter", ""));
    let settings = ParameterStoreSettings {
        create: true,
        kms_key: Some("alias/redis".to_owned()),
        tier: Some(Tier::Advanced),
        format: Format::Raw,
        ..Parameter::settings(account.reach(), "made")
    };
    let sink = ParameterStore::new(settings.clone()).unwrap();
    sink.ready(&target()).await.unwrap();
    account.fail(Trouble::LostAnswer).await;
    assert_eq!(sink.deliver(&document(1)).await.unwrap_err().kind, Kind::SinkUnavailable);
    sink.deliver(&document(1)).await.unwrap();
    // Without a key and a tier of its own, a sink keeps those that the parameter has.
    let plain =
        ParameterStore::new(ParameterStoreSettings { kms_key: None, tier: None, create: false, ..settings }).unwrap();
    plain.ready(&target()).await.unwrap();
    plain.deliver(&document(2)).await.unwrap();
    let versions = history(server, "made");
    assert_eq!(versions.len(), 2);
    for version in versions {
        assert_eq!(
            (&version["KeyId"], &version["Tier"], &version["Type"]),
            (&json!("alias/redis"), &json!("Advanced"), &json!("SecureString"))
        );
    }
    assert_eq!(Parameter::shown(server, "made").as_deref(), Some(document(2).login_password.expose()));
    let fault = plain.ready(&"billing".parse().unwrap()).await.unwrap_err();
    assert!(fault.kind == Kind::SinkDenied && fault.what.contains("orders-cache"), "{fault}");
    // In plain text whoever may list parameters would see it.
    let with = json!({ "Name": "/plain", "Value": "{}", "Type": "String" });
    server.boto3("ssm", "put_parameter", with).unwrap();
    let open = ParameterStore::new(Parameter::settings(account.reach(), "plain")).unwrap();
    let fault = open.ready(&target()).await.unwrap_err();
    assert!(fault.kind == Kind::SinkDenied && fault.what.contains("type String"), "{fault}");
}

/// What the vendor says, and what it means for a delivery. moto says none of it.
#[test]
fn what_the_vendor_says_is_understood() {
    let Some(server) = own_server() else { return };
    permit_all::<Secret>(server);
    let (denied, away) = (Kind::SinkDenied, Kind::SinkUnavailable);
    let bad = "400 Bad Request";
    for (status, said, kind, next_step) in [
        (
            bad,
            r#"{"__type":"InvalidSignatureException","message":"Signature expired: 20260101T000000Z is now earlier than 20260101T001500Z\nhunter2"}"#,
            denied,
            "clock",
        ),
        (
            bad,
            r#"{"__type":"com.amazonaws.secretsmanager#AccessDeniedException","Message":"Access to KMS is not allowed"}"#,
            denied,
            "secretsmanager:DescribeSecret",
        ),
        (
            bad,
            r#"{"__type":"ExpiredTokenException","message":"The security token included in the request is expired"}"#,
            denied,
            "renew the sink's credentials",
        ),
        (bad, r#"{"__type":"DecryptionFailure","message":"KMS key is disabled"}"#, denied, "kms:Decrypt"),
        (bad, r#"{"__type":"LimitExceededException","message":"quota"}"#, denied, "delete secrets"),
        (bad, r#"{"__type":"SubscriptionRequiredException","message":"not subscribed"}"#, denied, "enable the region"),
        (bad, r#"{"__type":"ValidationException","message":"Value 'hunter2' failed to satisfy"}"#, denied, "settings"),
        (bad, r#"{"__type":"RequestLimitExceeded","message":"slow down"}"#, away, "later each time"),
        ("500 Internal Server Error", r#"{"__type":"InternalServiceError","message":"hunter2"}"#, away, "again"),
        ("503 Service Unavailable", "<html>hunter2</html>", away, ""),
        ("307 Temporary Redirect", "hunter2", denied, "address"),
        ("200 OK", "<html>hunter2</html>", away, "endpoint"),
        ("200 OK", "", away, "endpoint"),
    ] {
        let words = Words { throttled: (status, said), ..words::<Secret>(Secret::SHOWS) };
        let account = Account::<Secret>::behind(Some(server), words);
        let sink = account.sink(false);
        run(account.fail(Trouble::Throttled));
        let fault = run(sink.ready(&target())).unwrap_err();
        assert_eq!(fault.kind, kind, "{said}: {fault}");
        assert!(fault.next_step.contains(next_step) && !fault.to_string().contains("hunter2"), "{said}: {fault}");
        assert_ne!(fault.retry, keywheel::fault::Retry::Never, "{said}");
    }
}

/// A configuration file is enough: both kinds, in two forms, for a target whose name is part of the place.
#[test]
fn what_the_configuration_says_is_what_is_done() {
    let Some(server) = own_server() else { return };
    server.permit(&["secretsmanager:*".to_owned(), "ssm:*".to_owned()]);
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        use std::os::unix::fs::PermissionsExt;

        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        path.display().to_string()
    };
    let credentials = format!(
        "{{ source = \"static\", access-key-id = {{ file = \"{}\" }}, secret-access-key = {{ file = \"{}\" }} }}",
        file("id", &server.id),
        file("key", &server.key)
    );
    let common = format!(
        "region = \"eu-central-1\"\ncredentials = {credentials}\nendpoint = \"{}\"\ncreate = true\n",
        server.url().trim_end_matches('/')
    );
    let path = file(
        "keywheel.toml",
        &format!(
            r#"
            [daemon]
            ledger = "sqlite://{0}/ledger.db"
            sealing-key = {{ file = "{0}/sealing-key" }}

            [providers.shop]
            kind = "tencent"
            region = "ap-guangzhou"
            credentials = {{ source = "environment" }}

            [sinks.secret]
            kind = "aws-secrets-manager"
            secret = "redis/{{{{ target }}}}"
            fields = {{ password = "password", user = "username" }}
            {common}
            [sinks.parameter]
            kind = "aws-parameter-store"
            parameter = "/redis/{{{{ target }}}}"
            format = "raw"
            tier = "advanced"
            {common}
            [targets.orders-cache]
            provider = "shop"
            instance = "crs-1"
            adopt = {{ sink = "secret" }}
            sinks = ["secret", "parameter"]
            "#,
            folder.path().display()
        ),
    );
    let loaded = keywheel::config::load(std::path::Path::new(&path), std::iter::empty());
    let config = loaded.unwrap_or_else(|findings| panic!("{findings}")).config;
    let fleet = keywheel::assemble::fleet(&config, SystemClock.now()).unwrap().fleet;
    run(async {
        for sink in fleet[&target()].hands.sinks.values() {
            sink.ready(&target()).await.unwrap();
            sink.deliver(&document(1)).await.unwrap();
            assert_eq!(sink.holds(&document(1)).await.unwrap(), Holds::Same);
        }
    });
    let sent = document(1).login_password;
    let shown: Value = serde_json::from_str(&Secret::shown(server, "redis/orders-cache").unwrap()).unwrap();
    assert_eq!(shown, json!({ "password": sent.expose(), "username": "app" }));
    assert_eq!(Parameter::shown(server, "redis/orders-cache").as_deref(), Some(sent.expose()));
    assert_eq!(history(server, "redis/orders-cache")[0]["Tier"], "Advanced");
}
