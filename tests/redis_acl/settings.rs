//! The default user's password where it stands in the server's settings, and servers without users.

use crate::hands::*;
use crate::redis_nodes::RedisNode;
use keywheel::fault::Kind;
use keywheel::probe::Probe;
use keywheel::provider::redis_acl::{Discover, RedisSettings};
use keywheel::provider::{Mode, Provider};
use keywheel::rotation::answer::Login;

const NO_USERS: &str = "rename-command ACL \"\"\nrequirepass old";

#[tokio::test]
async fn in_place_the_setting_changes_and_the_old_password_is_nowhere_left() {
    for lines in ["requirepass old", NO_USERS] {
        let mut nodes = [RedisNode::start(lines, None)];
        let acl = provider(settings(&urls(&nodes)), itself());
        let default = address("default", Mode::OldPassword);
        for _ in 0..2 {
            assert_eq!(change(&acl, &default, "old", SPECIAL).await, ACCEPTED, "{lines}");
        }
        assert_eq!(probe(&acl, &default).login(&secret(SPECIAL)).await, Login::Accepted);
        assert_eq!(refused(change(&acl, &default, "old", "other").await).0, "OldPasswordWrong");
        let kept = nodes[0].text("redis.conf");
        assert!(
            !kept.contains("requirepass \"old\"") && !kept.contains("requirepass old") && !kept.contains(&hash("old")),
            "{kept}"
        );
        nodes[0].restart();
        assert!(nodes[0].lets_in("", SPECIAL) && !nodes[0].lets_in("", "old"));
        // An administrator's reset, by the default user as administrator.
        let acl = provider(settings(&urls(&nodes)), admin("default", SPECIAL));
        assert_eq!(acl.reset(&default, rotation(), &secret("reset")).await, ACCEPTED, "{lines}");
        assert!(nodes[0].lets_in("", "reset") && !nodes[0].lets_in("", SPECIAL));
    }
}

#[tokio::test]
async fn one_password_cannot_be_two() {
    let nodes = [RedisNode::start(NO_USERS, None)];
    let acl = provider(settings(&urls(&nodes)), admin("default", "old"));
    let (refusal, fault) = refused(change(&acl, &address("default", Mode::Add), "old", "new").await);
    assert_eq!((refusal.as_str(), fault.kind), ("Fatal", Kind::Unsupported));
    assert!(fault.next_step.contains("in-place"), "{fault}");
    assert_eq!(acl.check(&address("default", Mode::Add)).await.len(), 1);
    assert_eq!(acl.check(&address("default", Mode::OldPassword)).await, []);
    assert_eq!(acl.check(&address("app", Mode::OldPassword)).await.len(), 1);
}

#[tokio::test]
async fn with_two_passwords_the_default_user_of_a_replica_set_keeps_its_replication() {
    let master = RedisNode::start("requirepass old\nmasterauth old\nrepl-diskless-sync-delay 0", None);
    let lines = format!("requirepass old\nmasterauth old\nreplicaof 127.0.0.1 {}", master.port());
    let mut nodes = [master, RedisNode::start(&lines, None)];
    let link = |node: &RedisNode, password: &str| {
        (0..2000).any(|_| {
            let info: String =
                redis::from_redis_value(node.ask("", password, &["INFO", "replication"]).unwrap()).unwrap();
            let up = info.contains("master_link_status:up");
            if !up {
                std::thread::sleep(std::time::Duration::from_millis(10));
            }
            up
        })
    };
    assert!(link(&nodes[1], "old"));
    // The master alone is named, and names its replica.
    let found = RedisSettings { discover: Discover::Replicas, ..settings(&[nodes[0].url()]) };
    let acl = provider(found, itself());
    let default = address("default", Mode::Add);
    assert_eq!(acl.nodes(&default, &secret("old")).await.unwrap().len(), 2);
    assert_eq!(change(&acl, &default, "old", "new").await, ACCEPTED);
    for node in &nodes {
        assert!(node.lets_in("", "old") && node.lets_in("", "new"));
        assert!(node.text("redis.conf").contains(&hash("new")));
    }
    for _ in 0..2 {
        acl.retire(&default, &secret("old"), &secret("new")).await.unwrap();
    }
    for node in &mut nodes {
        assert!(!node.lets_in("", "old") && node.lets_in("", "new"));
        let kept = node.text("redis.conf");
        assert!(!kept.contains("\"old\"") && !kept.contains(" old\n") && !kept.contains(&hash("old")), "{kept}");
        // Valkey calls the setting primaryauth.
        assert!(kept.contains("masterauth \"new\"") || kept.contains("primaryauth \"new\""), "{kept}");
        node.restart();
        assert!(!node.lets_in("", "old") && node.lets_in("", "new"));
    }
    assert!(link(&nodes[1], "new"));
    // And in place, from the replica's side: it names its master.
    let found = RedisSettings { discover: Discover::Replicas, ..settings(&[nodes[1].url()]) };
    let acl = provider(found, itself());
    assert_eq!(change(&acl, &address("default", Mode::OldPassword), "new", "newer").await, ACCEPTED);
    nodes[1].restart();
    assert!(nodes.iter().all(|node| node.lets_in("", "newer") && !node.lets_in("", "new")));
    assert!(link(&nodes[1], "newer"));
}
