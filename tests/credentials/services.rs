//! What each service is asked and what it may answer: the metadata service's token, the pod's token file, the role's conditions.

use crate::stage::{KEY, Stage, TOKEN, VENDORS, Vendor, assume, credential, id, roles};
use keywheel::fault::{Kind, Retry};
use keywheel::provider::credential::endpoint::Reach;
use keywheel::provider::credential::settings::{IdentitySettings, MetadataSettings};
use keywheel::secret::Secret;
use keywheel::simulator::{self, Change, Handshake, RoleSettings, Step};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;
use url::Url;

#[tokio::test]
async fn the_metadata_services_token_is_used_and_done_without_only_where_that_is_allowed() {
    let disabled = ("ALIBABA_CLOUD_IMDSV1_DISABLED", "true");
    let rows = [
        (Handshake::Offered, None, None, true),
        (Handshake::Required, None, None, true),
        (Handshake::Unknown, None, None, true),
        (Handshake::Unknown, Some(false), None, false),
        (Handshake::Unknown, None, Some(disabled), false),
        (Handshake::Unknown, Some(true), Some(disabled), true),
        (Handshake::Required, Some(false), None, true),
    ];
    for (handshake, without_token, variable, works) in rows {
        let stage = Stage::set().await;
        stage.set_variables(variable);
        let role = Some("rotator".to_owned());
        stage.change_metadata(simulator::MetadataSettings { role, handshake, ..Default::default() }).await;
        let reach = Reach { metadata_without_token: without_token, ..stage.reach() };
        let sources = stage.sources_reaching(Vendor::Alibaba, reach);
        let source = sources.instance_role(MetadataSettings::default()).unwrap();
        let row = format!("{handshake:?} {without_token:?} {variable:?}");
        assert!(stage.asked("MetadataToken") == 0, "{row}");
        match id(&source).await {
            Ok(_) => assert!(works, "{row}"),
            Err(fault) => {
                assert!(!works && fault.what.contains("token"), "{row}: {fault}");
                assert_ne!(fault.retry, Retry::Never, "{row}: {fault}");
            }
        }
        assert!(stage.asked("MetadataToken") > 0, "{row}");
    }
}

#[tokio::test]
async fn a_token_that_does_not_arrive_is_done_without_too() {
    for (without_token, works) in [(Some(true), true), (Some(false), false)] {
        let stage = Stage::set().await;
        stage.cloud.script([Step { times: 9, ..Step::once("MetadataToken", simulator::Fault::DropBeforeEffect) }]);
        let reach = Reach { metadata_without_token: without_token, ..stage.reach() };
        let source = stage.sources_reaching(Vendor::Alibaba, reach).instance_role(MetadataSettings::default()).unwrap();
        assert_eq!(id(&source).await.is_ok(), works, "{without_token:?}");
    }
}

#[tokio::test]
async fn a_role_may_be_named_and_must_be_the_machines() {
    for vendor in VENDORS {
        let stage = Stage::set().await;
        let by_name = |name: &str| MetadataSettings { role: Some(name.to_owned()) };
        let source = stage.sources(vendor).instance_role(by_name("rotator")).unwrap();
        credential(&source).await;
        assert_eq!(stage.asked("MetadataRole"), 0, "a named role is not asked for");
        let source = stage.sources(vendor).instance_role(by_name("other")).unwrap();
        let fault = id(&source).await.unwrap_err();
        assert!(fault.what.contains("no role other") && fault.retry == Retry::Never, "{fault}");
    }
    let stage = Stage::set().await;
    stage.set_variables([("ALIBABA_CLOUD_ECS_METADATA", "rotator")]);
    let source = stage.sources(Vendor::Alibaba).instance_role(MetadataSettings::default()).unwrap();
    credential(&source).await;
    assert_eq!(stage.asked("MetadataRole"), 0);
}

#[tokio::test]
async fn no_metadata_service_is_a_sentence_that_says_where_it_was_looked_for() {
    for vendor in VENDORS {
        let stage = Stage::set().await;
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let nobody = Url::parse(&format!("http://{}/", listener.local_addr().unwrap())).unwrap();
        drop(listener);
        let reach = Reach { metadata: Some(nobody.clone()), ..stage.reach() };
        let source = stage.sources_reaching(vendor, reach).instance_role(MetadataSettings::default()).unwrap();
        let fault = id(&source).await.unwrap_err();
        assert_eq!(fault.kind, Kind::Unreachable);
        assert!(fault.what.contains(nobody.authority()) && fault.next_step.contains("role"), "{fault}");
    }
}

#[tokio::test]
async fn the_pods_token_is_read_at_each_renewal() {
    for vendor in VENDORS {
        let stage = Stage::set().await;
        stage.in_a_pod(vendor);
        // The cluster writes it for every process of the pod.
        fs::set_permissions(stage.path("token"), fs::Permissions::from_mode(0o644)).unwrap();
        let source = stage.sources(vendor).oidc(IdentitySettings::default()).unwrap();
        let first = id(&source).await.unwrap();
        let newer = Some(Secret::new("a.newer.token".to_owned()));
        stage.change_roles(|role| role.identity_token = newer.clone()).await;
        stage.advance(Duration::from_secs(3 * 3_600)).await;
        let fault = id(&source).await.unwrap_err();
        assert_eq!((fault.kind, fault.retry != Retry::Never), (Kind::CredentialRefused, true), "{fault}");
        assert!(!fault.to_string().contains(TOKEN), "{fault}");
        stage.write("token", "a.newer.token\n");
        stage.advance(Duration::from_secs(60)).await;
        assert_ne!(id(&source).await.unwrap(), first);
    }
}

#[tokio::test]
async fn what_is_missing_of_an_identity_is_named() {
    for vendor in VENDORS {
        for name in vendor.identity_variables() {
            let stage = Stage::set().await;
            stage.in_a_pod(vendor);
            stage.unset(name);
            let source = stage.sources(vendor).oidc(IdentitySettings::default()).unwrap();
            let fault = id(&source).await.unwrap_err();
            assert!(fault.what.contains(name) && fault.kind == Kind::SecretUnreadable, "{fault}");
        }
        for (text, words) in
            [(None, "cannot be read"), (Some(" \n"), "no identity token"), (Some("two parts"), "no identity token")]
        {
            let stage = Stage::set().await;
            stage.in_a_pod(vendor);
            match text {
                Some(text) => drop(stage.write("token", text)),
                None => fs::remove_file(stage.path("token")).unwrap(),
            }
            let source = stage.sources(vendor).oidc(IdentitySettings::default()).unwrap();
            let fault = id(&source).await.unwrap_err();
            assert!(fault.what.contains(words), "{fault}");
            assert_ne!(fault.retry, Retry::Never, "the cluster may still write it");
        }
    }
}

/// What the role's owner set up, what is asked for, and what comes of it.
struct Condition {
    name: &'static str,
    role: fn(&mut RoleSettings),
    denied: bool,
    ask: fn(&mut keywheel::provider::credential::settings::RoleSettings),
    refused: Option<(Kind, bool)>,
}

const CONDITIONS: &[Condition] = &[
    Condition { name: "plain", role: |_| {}, denied: false, ask: |_| {}, refused: None },
    Condition {
        name: "named caller",
        role: |role| role.callers = vec![KEY.0.to_owned()],
        denied: false,
        ask: |_| {},
        refused: None,
    },
    Condition {
        name: "another caller",
        role: |role| role.callers = vec!["AKIDsomebodyelse".to_owned()],
        denied: false,
        ask: |_| {},
        refused: Some((Kind::Denied, false)),
    },
    Condition {
        name: "external id",
        role: |role| role.external_id = Some("agreed-upon".to_owned()),
        denied: false,
        ask: |ask| ask.external_id = Some("agreed-upon".to_owned()),
        refused: None,
    },
    Condition {
        name: "no external id",
        role: |role| role.external_id = Some("agreed-upon".to_owned()),
        denied: false,
        ask: |_| {},
        refused: Some((Kind::Denied, false)),
    },
    Condition {
        name: "another role",
        role: |_| {},
        denied: false,
        ask: |ask| ask.role.push_str("-two"),
        refused: Some((Kind::NotFound, false)),
    },
    Condition {
        name: "not allowed at all",
        role: |_| {},
        denied: true,
        ask: |_| {},
        refused: Some((Kind::Denied, false)),
    },
    Condition {
        name: "too long",
        role: |role| role.longest = Some(Duration::from_secs(3_600)),
        denied: false,
        ask: |ask| ask.duration = Some(Duration::from_secs(7_201)),
        refused: Some((Kind::Misconfigured, false)),
    },
    Condition {
        name: "a session's name that cannot be",
        role: |_| {},
        denied: false,
        ask: |ask| ask.session = Some("two words".to_owned()),
        refused: Some((Kind::Misconfigured, false)),
    },
];

#[tokio::test]
async fn a_role_is_given_under_its_owners_conditions() {
    for vendor in VENDORS {
        for Condition { name, role, denied, ask, refused } in CONDITIONS {
            let stage = Stage::set().await;
            stage.set_variables(vendor.key_variables());
            stage.change_roles(role).await;
            let actions = if *denied { vec!["AssumeRole".to_owned()] } else { Vec::new() };
            stage.cloud.change(Change { denied_actions: Some(actions), ..Change::default() }).await.unwrap();
            let mut settings = assume(vendor);
            ask(&mut settings);
            let sources = stage.sources(vendor);
            let source = sources.assume_role(sources.environment(), settings).unwrap();
            let got = id(&source).await.map_err(|fault| (fault.kind, fault.retry != Retry::Never));
            assert_eq!(got.as_ref().err(), refused.as_ref(), "{vendor:?} {name}");
        }
    }
}

#[tokio::test]
async fn a_pods_role_trusts_its_identity_provider_only() {
    for vendor in VENDORS {
        let stage = Stage::set().await;
        stage.in_a_pod(vendor);
        stage.set_variables([(vendor.identity_variables()[0], "another")]);
        let source = stage.sources(vendor).oidc(IdentitySettings::default()).unwrap();
        let fault = id(&source).await.unwrap_err();
        assert_eq!((fault.kind, fault.retry), (Kind::Denied, Retry::Never), "{fault}");
    }
}

#[tokio::test]
async fn a_key_that_the_token_service_does_not_know_is_told() {
    for vendor in VENDORS {
        for (id_, key) in [("AKIDunknown", KEY.1), (KEY.0, "wrong-key")] {
            let stage = Stage::set().await;
            let [(id_name, _), (key_name, _)] = vendor.key_variables();
            stage.set_variables([(id_name, id_), (key_name, key)]);
            let sources = stage.sources(vendor);
            let source = sources.assume_role(sources.environment(), assume(vendor)).unwrap();
            let fault = id(&source).await.unwrap_err();
            assert_eq!((fault.kind, fault.retry), (Kind::CredentialRefused, Retry::Never), "{vendor:?}: {fault}");
            assert!(!fault.to_string().contains(key), "{fault}");
        }
    }
}

#[tokio::test]
async fn a_clock_that_is_off_is_told() {
    for vendor in VENDORS {
        let stage = Stage::set().await;
        stage.set_variables(vendor.key_variables());
        stage.cloud.change(Change { clock_offset_millis: Some(20 * 60_000), ..Change::default() }).await.unwrap();
        let sources = stage.sources(vendor);
        let source = sources.assume_role(sources.environment(), assume(vendor)).unwrap();
        let fault = id(&source).await.unwrap_err();
        assert_eq!(fault.kind, Kind::ClockSkew, "{vendor:?}: {fault}");
    }
}

#[test]
fn a_world_with_roles_is_read_from_toml() {
    let text = r#"
        [[credentials]]
        secret-id = "AKIDx"
        secret-key = "k"
        [metadata]
        role = "rotator"
        life = "30m"
        handshake = "required"
        [[roles]]
        arn = "acs:ram::1:role/rotator"
        callers = ["AKIDx"]
        external-id = "agreed-upon"
        identity-provider = "acs:ram::1:oidc-provider/ack"
        identity-token = "a.b.c"
        longest = "1h"
    "#;
    let settings: simulator::Settings = toml::from_str(text).unwrap();
    assert_eq!(settings.metadata.life, Duration::from_secs(1_800));
    assert_eq!(settings.roles.len(), 1);
    assert!(!format!("{settings:?}").contains("a.b.c"));
    assert_eq!(roles().len(), 2);
}
