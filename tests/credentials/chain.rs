//! The order of a chain's links, and what it says when none works.

use crate::stage::{KEY, Stage, URI, VENDORS, Vendor, id};
use keywheel::fault::{Kind, Retry};
use keywheel::simulator::{Fault, MetadataSettings, Step};

/// What can be set up, by the chain's own names for it.
fn set_up(stage: &Stage, vendor: Vendor, link: &str) {
    let ini = |id: &str| match vendor {
        Vendor::Tencent => format!("[default]\nsecret_id={id}\nsecret_key=k\n"),
        Vendor::Alibaba => format!("[default]\ntype=access_key\naccess_key_id={id}\naccess_key_secret=k\n"),
    };
    match link {
        "environment" => stage.set_variables(vendor.key_variables()),
        "profile" => drop(stage.write(".tencentcloud/credentials", &ini("from-the-profile"))),
        "CLI profile" => drop(stage.write(".aliyun/config.json", &ini("from-the-cli"))),
        "credentials file" => drop(stage.write(".alibabacloud/credentials.ini", &ini("from-the-file"))),
        "oidc" => stage.in_a_pod(vendor),
        "credentials URI" => stage.with_uri(),
        "instance role" => {}
        other => panic!("no link {other}"),
    }
}

/// The links in order, and how the id of each one's credential begins.
fn links(vendor: Vendor) -> Vec<(&'static str, &'static str)> {
    match vendor {
        Vendor::Tencent => vec![
            ("environment", KEY.0),
            ("profile", "from-the-profile"),
            ("oidc", "AKIDtemporary-"),
            ("instance role", "AKIDtemporary-"),
        ],
        Vendor::Alibaba => vec![
            ("environment", KEY.0),
            ("oidc", "STS."),
            ("CLI profile", "from-the-cli"),
            ("credentials file", "from-the-file"),
            ("credentials URI", "STS."),
            ("instance role", "STS."),
        ],
    }
}

async fn stage(vendor: Vendor, set: &[(&str, &str)]) -> Stage {
    let stage = Stage::set().await;
    stage.set_variables([("HOME", stage.path("").to_str().unwrap())]);
    for (link, _) in set {
        set_up(&stage, vendor, link);
    }
    stage
}

#[tokio::test]
async fn the_first_link_that_is_set_up_is_taken_and_kept() {
    for vendor in VENDORS {
        let links = links(vendor);
        for (index, (link, begins)) in links.iter().enumerate() {
            let stage = stage(vendor, &links[index..]).await;
            if index > 0 {
                // A variable without anything in it is not set: compose files and unit files leave such behind.
                stage.set_variables(vendor.key_variables().map(|(name, _)| (name, "")));
            }
            if *link == "instance role" {
                stage.set_variables([(URI, "")]);
            }
            let chain = stage.sources(vendor).chain().unwrap();
            let given = id(&chain).await.unwrap_or_else(|fault| panic!("{vendor:?} {link}: {fault}"));
            assert!(given.starts_with(begins), "{vendor:?} {link}: {given}");
            let expected = ["oidc", "credentials URI", "instance role"].map(|name| usize::from(*link == name));
            let asked = [vendor.identity_action(), "CredentialsUri", "MetadataCredential"];
            assert_eq!(asked.map(|action| stage.asked(action)), expected, "{vendor:?} {link}");
            // What appears later changes nobody's identity.
            if index > 0 {
                set_up(&stage, vendor, "environment");
                assert_eq!(id(&chain).await.unwrap(), given, "{vendor:?} {link} is kept");
            }
        }
    }
}

#[tokio::test]
async fn a_link_that_is_set_up_and_broken_ends_the_search() {
    for vendor in VENDORS {
        let stage = stage(vendor, &links(vendor)).await;
        let [_, (key, _)] = vendor.key_variables();
        stage.unset(key);
        let fault = id(&stage.sources(vendor).chain().unwrap()).await.unwrap_err();
        assert!(fault.what.contains(&format!("environment: The environment variable {key} is not set")), "{fault}");
        let pod = self::stage(vendor, &[("oidc", ""), ("instance role", "")]).await;
        std::fs::remove_file(pod.path("token")).unwrap();
        let fault = id(&pod.sources(vendor).chain().unwrap()).await.unwrap_err();
        assert!(fault.what.contains("oidc: The file") && fault.retry != Retry::Never, "{fault}");
        assert_eq!(pod.asked("MetadataCredential"), 0, "the node's role is not this pod's");
    }
    let stage = stage(Vendor::Alibaba, &[("credentials URI", ""), ("instance role", "")]).await;
    stage.cloud.script([Step::once("CredentialsUri", Fault::ApplyThenStatus { status: 503 })]);
    let fault = id(&stage.sources(Vendor::Alibaba).chain().unwrap()).await.unwrap_err();
    assert!(
        fault.what.contains("credentials URI: The credentials service at") && fault.retry != Retry::Never,
        "{fault}"
    );
    assert_eq!(stage.asked("MetadataCredential"), 0, "the machine's role is somebody else");
}

#[tokio::test]
async fn where_none_works_each_link_is_heard() {
    for vendor in VENDORS {
        let stage = stage(vendor, &[]).await;
        stage.change_metadata(MetadataSettings::default()).await;
        let fault = id(&stage.sources(vendor).chain().unwrap()).await.unwrap_err();
        for (link, _) in links(vendor) {
            assert!(fault.what.contains(&format!("{link}: ")), "{link} is not heard: {fault}");
        }
        assert_eq!(fault.kind, Kind::CredentialRefused, "{fault}");
    }
    let stage = stage(Vendor::Alibaba, &[]).await;
    stage.set_variables([
        ("ALIBABA_CLOUD_ECS_METADATA_DISABLED", "true"),
        ("ALIBABA_CLOUD_CLI_PROFILE_DISABLED", "TRUE"),
    ]);
    set_up(&stage, Vendor::Alibaba, "CLI profile");
    let fault = id(&stage.sources(Vendor::Alibaba).chain().unwrap()).await.unwrap_err();
    assert_eq!((fault.kind, fault.retry), (Kind::SecretUnreadable, Retry::Never), "{fault}");
    assert!(fault.what.contains("metadata service is disabled") && fault.what.contains("or it is disabled"), "{fault}");
}
