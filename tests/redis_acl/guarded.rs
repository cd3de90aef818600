//! Over TLS, and with no more rights than the example names.

use crate::hands::*;
use crate::redis_nodes::{RedisNode, users};
use keywheel::probe::Probe;
use keywheel::probe::nodes::NodesProbe;
use keywheel::probe::redis::{LoginForm, LoginSettings, RedisProbe};
use keywheel::provider::redis_acl::{Discover, RedisSettings};
use keywheel::provider::{Mode, Provider};
use keywheel::rotation::answer::Login;
use std::path::Path;
use std::sync::Arc;

/// A certificate authority and a server certificate for `redis.test`, as PEM files.
fn certificates(folder: &Path) {
    let authority_key = rcgen::KeyPair::generate().unwrap();
    let mut authority = rcgen::CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    std::fs::write(folder.join("ca.pem"), authority.self_signed(&authority_key).unwrap().pem()).unwrap();
    let issuer = rcgen::Issuer::new(authority, authority_key);
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(vec!["redis.test".to_owned()]).unwrap();
    std::fs::write(folder.join("cert.pem"), params.signed_by(&key, &issuer).unwrap().pem()).unwrap();
    std::fs::write(folder.join("key.pem"), key.serialize_pem()).unwrap();
}

#[tokio::test]
async fn found_nodes_are_trusted_like_the_named_ones() {
    let folder = tempfile::tempdir().unwrap();
    certificates(folder.path());
    let here = folder.path().display();
    let lines = format!(
        "port 0\ntls-port PORT\ntls-auth-clients no\ntls-cert-file {here}/cert.pem\ntls-key-file {here}/key.pem\n\
         tls-ca-cert-file {here}/ca.pem\ntls-cluster yes\ncluster-enabled yes\ncluster-config-file nodes.conf"
    );
    let node = RedisNode::start(&lines, Some(&users("old")));
    let url = node.url().replace("redis://", "rediss://");
    let ca = folder.path().join("ca.pem");
    let with = |ca_file, tls_name: Option<&str>| {
        let settings = RedisSettings {
            discover: Discover::Cluster,
            ca_file,
            tls_name: tls_name.map(str::to_owned),
            ..settings(std::slice::from_ref(&url))
        };
        provider(settings, keywheel())
    };
    let app = address("app", Mode::Add);
    let acl = with(Some(ca.clone()), Some("redis.test"));
    assert_eq!(acl.nodes(&app, &secret("old")).await.unwrap(), std::slice::from_ref(&url));
    assert_eq!(change(&acl, &app, "old", "new").await, ACCEPTED);
    let make = move |node: &str| {
        let tls_name = Some("redis.test".to_owned());
        let settings = LoginSettings { ca: Some(ca.clone()), tls_name, ..LoginSettings::from(node.to_owned()) };
        let forms = vec![LoginForm::UserAndPassword("app".to_owned())];
        Ok(Arc::new(RedisProbe::new(settings, forms).unwrap()) as Arc<dyn Probe>)
    };
    let probe = NodesProbe::new(acl, app.clone(), "own".to_owned(), Arc::new(make));
    assert_eq!(probe.login(&secret("new")).await, Login::Accepted);

    let (refusal, fault) = refused(change(&with(Some(folder.path().join("ca.pem")), None), &app, "new", "no").await);
    assert!(refusal == "Unsent" && fault.next_step.contains("tls-name"), "{fault}");
}

#[tokio::test]
async fn the_rights_that_the_example_names_are_enough() {
    let example = std::fs::read_to_string("config/self-managed.toml").unwrap();
    let words: Vec<&str> = example
        .lines()
        .skip_while(|line| !line.contains("ACL SETUSER keywheel"))
        .take_while(|line| !line.contains("ACL SAVE "))
        .flat_map(|line| line.trim_start_matches('#').trim_end_matches('\\').split_whitespace())
        .map(|word| if word == ">PASSWORD" { ">little" } else { word })
        .collect();
    // A file of users, and settings that are rewritten.
    for (lines, acl_file) in [("", Some(users("old"))), ("user app on >old ~* +@all\nrequirepass root", None)] {
        let node = RedisNode::start(lines, acl_file.as_deref());
        let by = |words: &[&str]| match acl_file {
            Some(_) => node.administer(words),
            None => node.ask("", "root", words).unwrap(),
        };
        let words: Vec<&str> = words.iter().map(|word| if *word == "keywheel" { "little" } else { *word }).collect();
        by(&words);
        let acl = provider(settings(&[node.url()]), admin("little", "little"));
        let app = address("app", Mode::Add);
        assert_eq!(acl.check(&app).await, [], "{lines}");
        assert_eq!(change(&acl, &app, "old", "new").await, ACCEPTED, "{lines}");
        assert_eq!(acl.clients(&app, &secret("new")).await.unwrap(), [], "{lines}");
        acl.retire(&app, &secret("old"), &secret("new")).await.unwrap();
        assert_eq!(change(&acl, &address("app", Mode::OldPassword), "new", "newer").await, ACCEPTED);
        if acl_file.is_none() {
            // The default user's own password, which stands in the settings.
            let default = address("default", Mode::OldPassword);
            assert_eq!(acl.check(&default).await, []);
            assert_eq!(change(&acl, &default, "root", "root2").await, ACCEPTED);
        }
        let probe = probe(&acl, &app);
        assert_eq!(probe.login(&secret("new")).await, Login::Refused);
        assert_eq!(probe.login(&secret("newer")).await, Login::Accepted);
    }
}
