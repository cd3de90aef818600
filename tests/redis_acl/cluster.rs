//! Two passwords on every node of a real cluster.

use crate::hands::*;
use crate::redis_nodes::{RedisCluster, users};
use keywheel::fault::Kind;
use keywheel::probe::Probe;
use keywheel::provider::redis_acl::{Discover, RedisAcl};
use keywheel::provider::{Condition, Mode, Provider};
use keywheel::rotation::answer::Login;
use std::sync::Arc;

/// The provider that is told one node and finds the others.
fn finding(cluster: &RedisCluster) -> Arc<RedisAcl> {
    let settings = settings(&[cluster.nodes[1].url()]);
    provider(keywheel::provider::redis_acl::RedisSettings { discover: Discover::Cluster, ..settings }, keywheel())
}

#[tokio::test]
async fn two_passwords_live_on_every_node_until_the_old_one_goes_everywhere() {
    let mut cluster = RedisCluster::start("old");
    let acl = finding(&cluster);
    let app = address("app", Mode::Add);
    let probe = probe(&acl, &app);
    assert_eq!(acl.inspect(&app).await.unwrap().condition, Condition::Ready);
    assert_eq!(acl.check(&app).await, []);
    assert_eq!(probe.login(&secret("new")).await, Login::Refused);

    // Adding it again changes nothing.
    for _ in 0..2 {
        assert_eq!(change(&acl, &app, "old", "new").await, ACCEPTED);
        assert_eq!((cluster.let_in("old"), cluster.let_in("new")), (3, 3));
    }
    assert_eq!(probe.login(&secret("old")).await, Login::Accepted);
    assert_eq!(probe.login(&secret("new")).await, Login::Accepted);

    for _ in 0..2 {
        acl.retire(&app, &secret("old"), &secret("new")).await.unwrap();
        assert_eq!((cluster.let_in("old"), cluster.let_in("new")), (0, 3));
    }
    for node in &mut cluster.nodes {
        let kept = node.text("acl/users.acl");
        assert!(kept.contains(&hash("new")) && !kept.contains(&hash("old")), "{kept}");
        node.restart();
    }
    assert_eq!((cluster.let_in("old"), cluster.let_in("new")), (0, 3));
    cluster.until_whole();
    assert_eq!(probe.login(&secret("old")).await, Login::Refused);
    assert_eq!(probe.login(&secret("new")).await, Login::Accepted);
}

#[tokio::test]
async fn with_a_node_down_nothing_is_changed_anywhere_and_it_is_named() {
    let mut cluster = RedisCluster::start("old");
    let acl = finding(&cluster);
    let app = address("app", Mode::Add);
    let down = cluster.nodes[2].url();
    cluster.nodes[2].kill();
    let (refusal, fault) = refused(change(&acl, &app, "old", "new").await);
    assert_eq!((refusal.as_str(), fault.kind), ("Unsent", Kind::Unreachable));
    assert!(fault.what.contains(&down), "{fault}");
    assert_eq!((cluster.let_in("old"), cluster.let_in("new")), (2, 0));
    match probe(&acl, &app).login(&secret("old")).await {
        Login::Unreachable { fault } => {
            assert!(fault.what.contains("2 of 3 nodes were let in") && fault.what.contains(&down), "{fault}")
        }
        other @ (Login::Accepted | Login::Refused | Login::Mixed | Login::PasswordFree) => panic!("{other:?}"),
    }
    assert!(acl.check(&app).await.iter().any(|fault| fault.what.contains(&down)));
    cluster.nodes[2].restart();
    assert_eq!(change(&acl, &app, "old", "new").await, ACCEPTED);
    assert_eq!(cluster.let_in("new"), 3);
}

#[tokio::test]
async fn a_node_that_comes_back_with_an_older_acl_gets_the_password_by_the_same_call() {
    let mut cluster = RedisCluster::start("old");
    let acl = finding(&cluster);
    let app = address("app", Mode::Add);
    let probe = probe(&acl, &app);
    assert_eq!(change(&acl, &app, "old", "new").await, ACCEPTED);
    let node = &mut cluster.nodes[0];
    node.kill();
    std::fs::write(node.path("acl/users.acl"), users("old")).unwrap();
    node.restart();
    let forgetful = node.url();
    assert_eq!(probe.login(&secret("new")).await, Login::Mixed);

    // Nobody is cut off there: the old one stays on every node while one node does not know the new one.
    let fault = acl.retire(&app, &secret("old"), &secret("new")).await.unwrap_err();
    assert!(fault.kind == Kind::LoginRefused && fault.what.contains(&forgetful), "{fault}");
    assert_eq!(cluster.let_in("old"), 3);

    assert_eq!(change(&acl, &app, "old", "new").await, ACCEPTED);
    assert_eq!(probe.login(&secret("new")).await, Login::Accepted);
    acl.retire(&app, &secret("old"), &secret("new")).await.unwrap();
    assert_eq!((cluster.let_in("old"), cluster.let_in("new")), (0, 3));
}

#[tokio::test]
async fn an_account_that_administers_itself_opens_the_list_of_nodes_with_the_password_that_is_tried() {
    let cluster = RedisCluster::start("old");
    let settings = settings(&[cluster.nodes[0].url()]);
    let settings = keywheel::provider::redis_acl::RedisSettings { discover: Discover::Cluster, ..settings };
    let acl = provider(settings, itself());
    let app = address("app", Mode::Add);
    assert_eq!(acl.inspect(&app).await.unwrap().condition, Condition::Ready);
    assert_eq!(acl.nodes(&app, &secret("no")).await.unwrap(), [cluster.nodes[0].url()]);
    assert_eq!(acl.nodes(&app, &secret("old")).await.unwrap().len(), 3);
    assert_eq!(probe(&acl, &app).login(&secret("no")).await, Login::Refused);
    assert_eq!(change(&acl, &app, "old", "new").await, ACCEPTED);
    assert_eq!(cluster.let_in("new"), 3);
    acl.retire(&app, &secret("old"), &secret("new")).await.unwrap();
    assert_eq!((cluster.let_in("old"), cluster.let_in("new")), (0, 3));
}
