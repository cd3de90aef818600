//! Each source opens the cloud's Redis API, and what it gave opens it with the right token only, and until it ends.

use crate::stage::{KEY, LIFE, ROLE, Stage, TOKEN, VENDORS, Vendor, address, assume, credential};
use keywheel::fault::Kind;
use keywheel::provider::credential::settings::{IdentitySettings, MetadataSettings, ProfileSettings};
use keywheel::provider::credential::{Credential, Life, Source, Static};
use keywheel::provider::{alibaba, tencent};
use keywheel::secret::Secret;
use std::sync::Arc;
use std::time::Duration;

/// How a row makes its source.
type Make = fn(&Stage, Vendor) -> Source;

const SOURCES: &[(&str, Make)] = &[
    ("environment", |stage, vendor| {
        stage.set_variables(vendor.key_variables());
        stage.sources(vendor).environment()
    }),
    ("profile", |stage, vendor| {
        let text = match vendor {
            Vendor::Tencent => format!("[default]\nsecret_id = {}\nsecret_key = {}\n", KEY.0, KEY.1),
            Vendor::Alibaba => format!(
                "[default]\ntype = access_key\naccess_key_id = {}\naccess_key_secret = {} # ours\n",
                KEY.0, KEY.1
            ),
        };
        let path = Some(stage.write("profile", &text));
        stage.sources(vendor).profile(ProfileSettings { path, name: None }).unwrap()
    }),
    ("instance-role", |stage, vendor| stage.sources(vendor).instance_role(MetadataSettings::default()).unwrap()),
    ("instance-role by name", |stage, vendor| {
        stage.sources(vendor).instance_role(MetadataSettings { role: Some(ROLE.to_owned()) }).unwrap()
    }),
    ("oidc by variables", |stage, vendor| {
        stage.in_a_pod(vendor);
        stage.sources(vendor).oidc(IdentitySettings::default()).unwrap()
    }),
    ("oidc by settings", |stage, vendor| {
        let settings = IdentitySettings {
            provider: Some(vendor.identity_provider().to_owned()),
            token_file: Some(stage.write("token", TOKEN)),
            role: Some(vendor.role_arn().to_owned()),
            session: Some("orders".to_owned()),
            duration: Some(Duration::from_secs(1_800)),
            policy: None,
        };
        stage.sources(vendor).oidc(settings).unwrap()
    }),
    ("assume-role over environment", |stage, vendor| {
        stage.set_variables(vendor.key_variables());
        let sources = stage.sources(vendor);
        sources.assume_role(sources.environment(), assume(vendor)).unwrap()
    }),
    ("assume-role over instance-role", |stage, vendor| {
        let sources = stage.sources(vendor);
        let base = sources.instance_role(MetadataSettings::default()).unwrap();
        sources.assume_role(base, assume(vendor)).unwrap()
    }),
    ("assume-role over oidc", |stage, vendor| {
        stage.in_a_pod(vendor);
        let sources = stage.sources(vendor);
        let base = sources.oidc(IdentitySettings::default()).unwrap();
        sources.assume_role(base, assume(vendor)).unwrap()
    }),
    ("assume-role over chain, narrowed", |stage, vendor| {
        let sources = stage.sources(vendor);
        let mut role = assume(vendor);
        role.policy = Some(r#"{"Statement": [{"Effect": "Allow", "Action": "*"}]}"#.to_owned());
        role.session = Some("a.b_c-d@e".to_owned());
        sources.assume_role(sources.chain().unwrap(), role).unwrap()
    }),
    ("chain", |stage, vendor| stage.sources(vendor).chain().unwrap()),
];

/// The credential with other parts, as a source that knows nothing else.
fn with(vendor: Vendor, credential: &Credential, token: Option<Secret>) -> Source {
    let terms = match vendor {
        Vendor::Tencent => &tencent::credentials::TERMS,
        Vendor::Alibaba => &alibaba::credentials::TERMS,
    };
    Arc::new(Static::new(terms, credential.id.clone(), credential.key.clone(), token).ok().unwrap())
}

#[tokio::test]
async fn each_source_opens_the_api() {
    for vendor in VENDORS {
        for (name, make) in SOURCES {
            let stage = Stage::set().await;
            let source = make(&stage, vendor);
            stage.opens(vendor, Arc::clone(&source)).await.unwrap_or_else(|fault| panic!("{vendor:?} {name}: {fault}"));
            let given = credential(&source).await;
            let Life::Until(ends) = given.life else {
                assert!(given.token.is_none() && given.id == KEY.0, "{vendor:?} {name}");
                continue;
            };
            let stripped = [None, Some(Secret::new("another-token".to_owned()))];
            for token in stripped {
                let fault = stage.opens(vendor, with(vendor, &given, token)).await.unwrap_err();
                assert_eq!(fault.kind, Kind::CredentialRefused, "{vendor:?} {name}: {fault}");
            }
            let copy = with(vendor, &given, given.token.clone());
            stage.opens(vendor, Arc::clone(&copy)).await.unwrap();
            drop(source);
            stage.advance(ends.since(stage.surroundings().clock.now())).await;
            let fault = stage.opens(vendor, copy).await.expect_err(name);
            assert_eq!(fault.kind, Kind::CredentialRefused, "{vendor:?} {name}, ended: {fault}");
        }
    }
}

#[tokio::test]
async fn one_clouds_temporary_credential_opens_nothing_at_the_other() {
    let stage = Stage::set().await;
    let source = stage.sources(Vendor::Tencent).instance_role(MetadataSettings::default()).unwrap();
    let given = credential(&source).await;
    let fault = stage.opens(Vendor::Alibaba, with(Vendor::Alibaba, &given, given.token.clone())).await.unwrap_err();
    assert_eq!(fault.kind, Kind::CredentialRefused, "{fault}");
}

#[tokio::test]
async fn a_credential_that_nothing_renews_is_a_worry() {
    for vendor in VENDORS {
        let stage = Stage::set().await;
        let machine = stage.sources(vendor).instance_role(MetadataSettings::default()).unwrap();
        let given = credential(&machine).await;
        let copy = with(vendor, &given, given.token.clone());
        for (source, worries) in [(machine, 0), (copy, 1)] {
            let provider = stage.provider(vendor, source);
            let found = provider.worries().await;
            assert_eq!(found.len(), worries, "{vendor:?}: {found:?}");
            assert!(found.iter().all(|fault| fault.what.contains("cannot renew")), "{found:?}");
            assert_eq!(provider.check(&address(vendor)).await, [], "{vendor:?}");
        }
    }
}

#[tokio::test]
async fn check_tells_what_the_source_said() {
    for vendor in VENDORS {
        let stage = Stage::set().await;
        stage.change_metadata(keywheel::simulator::MetadataSettings { life: LIFE, ..Default::default() }).await;
        let source = stage.sources(vendor).instance_role(MetadataSettings::default()).unwrap();
        let found = stage.provider(vendor, source).check(&address(vendor)).await;
        assert_eq!(found.len(), 1);
        assert!(found[0].what.contains("no role is bound to this machine"), "{found:?}");
    }
}
