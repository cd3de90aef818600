//! The files of the vendors' own tools, in all their variants, and what is wrong with some.

use crate::stage::{KEY, Stage, VENDORS, Vendor, credential, id};
use keywheel::fault::{Kind, Retry};
use keywheel::provider::credential::Source;
use keywheel::provider::credential::settings::ProfileSettings;
use std::fs;
use std::os::unix::fs::PermissionsExt;

/// A file's text, the profile that is chosen, and the beginning of the id it gives or words of what is wrong. `{id}`, `{key}`, `{role}`,
/// `{provider}` and `{token}` stand for the stage's own.
type Row = (&'static str, &'static str, Option<&'static str>, Result<&'static str, &'static str>);

const TENCENT: &[Row] = &[
    ("plain", "[default]\nsecret_id={id}\nsecret_key={key}\n", None, Ok("{id}")),
    (
        "comments, blanks, capitals, windows",
        "\u{feff}# ours\r\n[default]\r\n  Secret_Id : {id}  # an id\r\n\r\n; no\r\nSECRET_KEY = {key}\r\nrole_arn = x\r\n",
        None,
        Ok("{id}"),
    ),
    (
        "another section",
        "[default]\nsecret_id=a\nsecret_key=b\n[two]\nsecret_id={id}\nsecret_key={key}\n",
        Some("two"),
        Ok("{id}"),
    ),
    ("no such section", "[default]\nsecret_id={id}\nsecret_key={key}\n", Some("two"), Err("no profile two")),
    ("no key", "[default]\nsecret_id={id}\n", None, Err("no secret_key")),
    ("empty id", "[default]\nsecret_id=\nsecret_key={key}\n", None, Err("no secret_id")),
    ("a token", "[default]\nsecret_id={id}\nsecret_key={key}\ntoken=t\n", None, Ok("{id}")),
    ("blank inside", "[default]\nsecret_id=a b\nsecret_key={key}\n", None, Err("characters that no key has")),
    ("no sections", "secret_id={id}\nsecret_key={key}\n", None, Err("line 1")),
    ("nothing", "", None, Err("no profile default")),
    ("twice", "[default]\nsecret_id=a\nsecret_id=b\n", None, Err("second time in line 3")),
];

const ALIBABA: &[Row] = &[
    (
        "ini access_key",
        "[default]\ntype=access_key\naccess_key_id={id}\naccess_key_secret={key} # c\n",
        None,
        Ok("{id}"),
    ),
    (
        "ini sts",
        "[default]\ntype=sts\naccess_key_id={id}\naccess_key_secret={key}\nsecurity_token=t\n",
        None,
        Ok("{id}"),
    ),
    (
        "ini ram_role_arn",
        "[two]\ntype=ram_role_arn\naccess_key_id={id}\naccess_key_secret={key}\nrole_arn={role}\nrole_session_name=orders\npolicy=\n",
        Some("two"),
        Ok("STS."),
    ),
    (
        "ini oidc_role_arn",
        "[default]\ntype=oidc_role_arn\noidc_provider_arn={provider}\noidc_token_file_path={token}\nrole_arn={role}\n",
        None,
        Ok("STS."),
    ),
    ("ini ecs_ram_role", "[default]\ntype=ecs_ram_role\nrole_name=rotator\n", None, Ok("STS.")),
    ("ini ecs_ram_role without a name", "[default]\ntype=ecs_ram_role\n", None, Ok("STS.")),
    ("ini rsa_key_pair", "[default]\ntype=rsa_key_pair\npublic_key_id=x\n", None, Err("cannot use")),
    ("ini without a type", "[default]\naccess_key_id={id}\n", None, Err("no type")),
    ("ini half", "[default]\ntype=access_key\naccess_key_id={id}\n", None, Err("no access_key_secret")),
    ("ini without the section", "[other]\ntype=access_key\n", None, Err("no profile \"default\"")),
    (
        "cli AK",
        r#"{"current":"work","profiles":[{"name":"home","mode":"AK"},{"name":"work","mode":"AK","access_key_id":"{id}","access_key_secret":"{key}","region_id":"cn-hangzhou","retry_count":0}]}"#,
        None,
        Ok("{id}"),
    ),
    (
        "cli StsToken",
        r#"{"current":"","profiles":[{"name":"x","mode":"StsToken","access_key_id":"{id}","access_key_secret":"{key}","sts_token":"t"}]}"#,
        Some("x"),
        Ok("{id}"),
    ),
    (
        "cli RamRoleArn",
        r#"{"current":"x","profiles":[{"name":"x","mode":"RamRoleArn","access_key_id":"{id}","access_key_secret":"{key}","sts_token":"","ram_role_arn":"{role}","ram_session_name":"orders","expired_seconds":900,"sts_region":"cn-hangzhou"}]}"#,
        None,
        Ok("STS."),
    ),
    (
        "cli EcsRamRole",
        r#"{"current":"x","profiles":[{"name":"x","mode":"EcsRamRole","ram_role_name":"rotator"}]}"#,
        None,
        Ok("STS."),
    ),
    (
        "cli OIDC",
        r#"{"current":"x","profiles":[{"name":"x","mode":"OIDC","oidc_provider_arn":"{provider}","oidc_token_file":"{token}","ram_role_arn":"{role}","expired_seconds":0}]}"#,
        None,
        Ok("STS."),
    ),
    (
        "cli ChainableRamRoleArn",
        r#"{"current":"x","profiles":[{"name":"base","mode":"EcsRamRole"},{"name":"x","mode":"ChainableRamRoleArn","source_profile":"base","ram_role_arn":"{role}"}]}"#,
        None,
        Ok("STS."),
    ),
    (
        "cli in a ring",
        r#"{"current":"x","profiles":[{"name":"x","mode":"ChainableRamRoleArn","source_profile":"x","ram_role_arn":"{role}"}]}"#,
        None,
        Err("without end"),
    ),
    ("cli CloudSSO", r#"{"current":"x","profiles":[{"name":"x","mode":"CloudSSO"}]}"#, None, Err("\"CloudSSO\"")),
    (
        "cli without the profile",
        r#"{"current":"y","profiles":[{"name":"x","mode":"AK"}]}"#,
        None,
        Err("no profile \"y\""),
    ),
    ("cli of the wrong shape", r#"{"current":"y","profiles":"hunter2"}"#, None, Err("line 1")),
    ("cli cut off", r#"{"current":"y","#, None, Err("not understood")),
];

fn filled(stage: &Stage, vendor: Vendor, text: &str) -> String {
    let token = stage.path("token");
    text.replace("{id}", KEY.0)
        .replace("{key}", KEY.1)
        .replace("{role}", vendor.role_arn())
        .replace("{provider}", vendor.identity_provider())
        .replace("{token}", token.to_str().unwrap())
}

fn profile(stage: &Stage, vendor: Vendor, name: Option<&str>) -> Source {
    let settings = ProfileSettings { path: Some(stage.path("profile")), name: name.map(str::to_owned) };
    stage.sources(vendor).profile(settings).unwrap()
}

#[tokio::test]
async fn each_variant_gives_its_credential_or_a_sentence() {
    let rows = TENCENT.iter().map(|row| (Vendor::Tencent, row)).chain(ALIBABA.iter().map(|row| (Vendor::Alibaba, row)));
    for (vendor, (row, text, name, expected)) in rows {
        let stage = Stage::set().await;
        stage.write("token", crate::stage::TOKEN);
        stage.write("profile", &filled(&stage, vendor, text));
        match (id(&profile(&stage, vendor, *name)).await, expected) {
            (Ok(id), Ok(begins)) => assert!(id.starts_with(&filled(&stage, vendor, begins)), "{vendor:?} {row}: {id}"),
            (Err(fault), Err(words)) => {
                assert!(fault.what.contains(words), "{vendor:?} {row}: {fault}");
                assert_eq!(fault.kind, Kind::SecretUnreadable, "{vendor:?} {row}: {fault}");
                assert!(![KEY.1, "hunter2"].iter().any(|secret| fault.to_string().contains(secret)), "{row}: {fault}");
            }
            (got, _) => panic!("{vendor:?} {row}: {got:?}, not {expected:?}"),
        }
    }
}

const GOOD: [(Vendor, &str); 2] = [
    (Vendor::Tencent, "[default]\nsecret_id={id}\nsecret_key={key}\n"),
    (Vendor::Alibaba, "[default]\ntype=access_key\naccess_key_id={id}\naccess_key_secret={key}\n"),
];

#[tokio::test]
async fn a_file_that_others_may_read_is_refused() {
    for (vendor, text) in GOOD {
        for (mode, allowed) in
            [(0o600, true), (0o400, true), (0o640, true), (0o644, false), (0o660, false), (0o604, false)]
        {
            let stage = Stage::set().await;
            let path = stage.write("profile", &filled(&stage, vendor, text));
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let got = id(&profile(&stage, vendor, None)).await;
            assert_eq!(got.is_ok(), allowed, "{mode:o}: {got:?}");
            if let Err(fault) = got {
                assert!(fault.what.contains(&format!("{mode:04o}")) && fault.next_step.contains("chmod"), "{fault}");
                assert_eq!(fault.retry, Retry::Never);
            }
        }
        let stage = Stage::set().await;
        let absent = id(&profile(&stage, vendor, None)).await.unwrap_err();
        assert!(absent.what.contains("entity not found"), "{absent}");
        fs::create_dir(stage.path("profile")).unwrap();
        let folder = id(&profile(&stage, vendor, None)).await.unwrap_err();
        assert!(folder.what.contains("is not a file"), "{folder}");
        fs::remove_dir(stage.path("profile")).unwrap();
        stage.write("profile", &" ".repeat(70_000));
        let large = id(&profile(&stage, vendor, None)).await.unwrap_err();
        assert!(large.what.contains("larger than"), "{large}");
    }
}

#[tokio::test]
async fn the_vendors_own_places_are_looked_at() {
    for vendor in VENDORS {
        let (files, variable, text) = match vendor {
            Vendor::Tencent => (vec![".tencentcloud/credentials"], "TENCENTCLOUD_CREDENTIALS_FILE", GOOD[0].1),
            Vendor::Alibaba => (
                vec![".aliyun/config.json", ".alibabacloud/credentials.ini"],
                "ALIBABA_CLOUD_CREDENTIALS_FILE",
                GOOD[1].1,
            ),
        };
        for file in files {
            let stage = Stage::set().await;
            stage.set_variables([("HOME", stage.path("").to_str().unwrap())]);
            stage.write(file, &filled(&stage, vendor, text));
            let source = stage.sources(vendor).profile(ProfileSettings::default()).unwrap();
            assert_eq!(id(&source).await.unwrap(), KEY.0, "{file}");
        }
        let stage = Stage::set().await;
        let elsewhere = stage.write("elsewhere", &filled(&stage, vendor, text));
        stage.set_variables([(variable, elsewhere.to_str().unwrap())]);
        let source = stage.sources(vendor).profile(ProfileSettings::default()).unwrap();
        assert_eq!(id(&source).await.unwrap(), KEY.0, "{variable}");
    }
    let stage = Stage::set().await;
    stage.set_variables([("HOME", stage.path("").to_str().unwrap()), ("ALIBABA_CLOUD_PROFILE", "work")]);
    let text =
        r#"{"current":"home","profiles":[{"name":"work","mode":"AK","access_key_id":"{id}","access_key_secret":"k"}]}"#;
    stage.write(".aliyun/config.json", &filled(&stage, Vendor::Alibaba, text));
    let source = stage.sources(Vendor::Alibaba).profile(ProfileSettings::default()).unwrap();
    assert_eq!(id(&source).await.unwrap(), KEY.0, "ALIBABA_CLOUD_PROFILE goes before the file's own choice");
}

#[tokio::test]
async fn a_change_of_the_file_is_seen_and_a_broken_one_waits_for_the_next() {
    for (vendor, text) in GOOD {
        let stage = Stage::set().await;
        let good = filled(&stage, vendor, text);
        stage.write("profile", &good);
        let source = profile(&stage, vendor, None);
        let first = credential(&source).await;
        for broken in ["[default]\n", "{", ""] {
            stage.write("profile", broken);
            assert_eq!(id(&source).await.unwrap(), KEY.0, "while a tool writes it");
        }
        fs::remove_file(stage.path("profile")).unwrap();
        assert_eq!(id(&source).await.unwrap(), KEY.0);
        stage.write("profile", &good.replace(KEY.0, "AKIDanother"));
        assert_eq!(id(&source).await.unwrap(), "AKIDanother");
        assert_eq!(source.renewed(&first).await.ok().unwrap().id, "AKIDanother");
    }
}

#[tokio::test]
async fn a_profile_of_a_temporary_kind_is_kept_fresh_like_any_other() {
    let stage = Stage::set().await;
    stage.write("profile", "[default]\ntype=ecs_ram_role\n");
    let source = profile(&stage, Vendor::Alibaba, None);
    for _ in 0..5 {
        credential(&source).await;
    }
    assert_eq!(stage.asked("MetadataCredential"), 1, "the file's text did not change");
    stage.advance(crate::stage::LIFE).await;
    stage.opens(Vendor::Alibaba, source).await.unwrap();
    assert_eq!(stage.asked("MetadataCredential"), 2);
}
