//! What is in the way is found before anything is changed, and `check` finds it too.

use crate::hands::*;
use crate::redis_nodes::{ADMIN, ADMIN_PASSWORD, RedisNode, users};
use crate::redis_server::RedisServer;
use keywheel::fault::Kind;
use keywheel::provider::redis_acl::credentials::Admin;
use keywheel::provider::redis_acl::{Persist, RedisSettings};
use keywheel::provider::{Condition, Mode, Provider};
use keywheel::secret::Secret;
use std::fs;

/// One obstacle: how it is put up, and what it is taken for.
struct Row {
    name: &'static str,
    /// Further users or settings on the second node.
    put_up: fn(&RedisNode),
    account: &'static str,
    persist: Persist,
    admin: fn() -> Admin,
    refusal: &'static str,
    kind: Kind,
    /// Whether looking alone finds it.
    is_seen: bool,
}

const CLEAR: Row = Row {
    name: "nothing",
    put_up: |_| {},
    account: "app",
    persist: Persist::Auto,
    admin: keywheel,
    refusal: "",
    kind: Kind::Bug,
    is_seen: true,
};

/// A user with everything but what is taken from it.
fn less(node: &RedisNode, rights: &[&str]) {
    node.administer(&[&["ACL", "SETUSER", "small", "on", ">small", "~*", "+@all"], rights].concat());
}

fn small() -> Admin {
    admin("small", "small")
}

#[tokio::test]
async fn whatever_is_in_the_way_on_one_node_leaves_all_of_them_as_they_are() {
    let rows = [
        Row {
            name: "a user without a password",
            put_up: |node| drop(node.administer(&["ACL", "SETUSER", "app", "nopass"])),
            refusal: "Fatal",
            kind: Kind::PasswordFree,
            ..CLEAR
        },
        Row {
            name: "no such user",
            put_up: |node| drop(node.administer(&["ACL", "DELUSER", "app"])),
            refusal: "Fatal",
            kind: Kind::NotFound,
            ..CLEAR
        },
        Row {
            name: "an administrator who may not change users",
            put_up: |node| less(node, &["-acl|setuser"]),
            admin: small,
            refusal: "Fatal",
            kind: Kind::Denied,
            ..CLEAR
        },
        Row {
            name: "an administrator who may not look",
            put_up: |node| less(node, &["-acl|getuser"]),
            admin: small,
            refusal: "Fatal",
            kind: Kind::Denied,
            ..CLEAR
        },
        Row {
            name: "an administrator who may not save",
            put_up: |node| less(node, &["-acl|save"]),
            admin: small,
            refusal: "Fatal",
            kind: Kind::Denied,
            ..CLEAR
        },
        Row {
            name: "an administrator who is not there",
            put_up: |node| drop(node.administer(&["ACL", "DELUSER", "small"])),
            admin: small,
            refusal: "Fatal",
            kind: Kind::CredentialRefused,
            ..CLEAR
        },
        Row {
            name: "a file of users that cannot be written",
            put_up: |node| fs::rename(node.path("acl"), node.path("gone")).unwrap(),
            refusal: "Fatal",
            kind: Kind::Misconfigured,
            is_seen: false,
            ..CLEAR
        },
        Row {
            name: "settings that do not hold the users",
            persist: Persist::ConfigRewrite,
            refusal: "Fatal",
            kind: Kind::Misconfigured,
            ..CLEAR
        },
    ];
    for row in rows {
        let nodes = [(); 2].map(|()| RedisNode::start("", Some(&users("old"))));
        less(&nodes[0], &[]);
        less(&nodes[1], &[]);
        (row.put_up)(&nodes[1]);
        let acl = provider(RedisSettings { persist: row.persist, ..settings(&urls(&nodes)) }, (row.admin)());
        for mode in [Mode::Add, Mode::OldPassword] {
            let address = address(row.account, mode);
            let (refusal, fault) = refused(change(&acl, &address, "old", "new").await);
            assert_eq!((refusal.as_str(), fault.kind), (row.refusal, row.kind), "{}: {fault}", row.name);
            assert!(fault.what.contains(&nodes[1].url()), "{}: {fault}", row.name);
            assert!(!nodes[0].lets_in("app", "new") && nodes[0].lets_in("app", "old"), "{}", row.name);
            let kept = nodes[0].text("acl/users.acl");
            assert!(!kept.contains(&hash("new")), "{}: {kept}", row.name);
            let found = acl.check(&address).await;
            assert_eq!(found.iter().any(|found| found.kind == row.kind), row.is_seen, "{}: {found:?}", row.name);
        }
        assert!(!matches!(nodes[1].administer(&["ACL", "LIST"]), redis::Value::Nil));
        let users = format!("{:?}", nodes[1].administer(&["ACL", "LIST"]));
        assert!(!users.contains(&hash("new")), "{}: {users}", row.name);
    }
}

#[tokio::test]
async fn a_file_that_can_be_written_again_ends_the_obstacle() {
    let nodes = [RedisNode::start("", Some(&users("old")))];
    let acl = of(&nodes);
    let app = address("app", Mode::Add);
    fs::rename(nodes[0].path("acl"), nodes[0].path("gone")).unwrap();
    let (_, fault) = refused(change(&acl, &app, "old", "new").await);
    assert!(fault.what.contains("ACL SAVE") && fault.next_step.contains("writable"), "{fault}");
    fs::rename(nodes[0].path("gone"), nodes[0].path("acl")).unwrap();
    assert_eq!(change(&acl, &app, "old", "new").await, ACCEPTED);
    assert!(nodes[0].text("acl/users.acl").contains(&hash("new")));
}

#[tokio::test]
async fn a_server_that_would_forget_is_refused_unless_the_owner_says_so() {
    // Settings on standard input: there is no file to write.
    let server = crate::redis_server::RedisServer::start_with(&format!(
        "user {ADMIN} on >{ADMIN_PASSWORD} ~* &* +@all\nuser app on >old ~* &* +@all\n"
    ));
    let nodes = [format!("redis://{}", server.address())];
    let app = address("app", Mode::Add);
    for persist in [Persist::Auto, Persist::AclSave, Persist::ConfigRewrite] {
        let acl = provider(RedisSettings { persist, ..settings(&nodes) }, keywheel());
        let (refusal, fault) = refused(change(&acl, &app, "old", "new").await);
        assert_eq!((refusal.as_str(), fault.kind), ("Fatal", Kind::Misconfigured), "{persist:?}: {fault}");
        assert_eq!(acl.inspect(&app).await.unwrap_err().kind, Kind::Misconfigured);
        assert_eq!(acl.check(&app).await.len(), 1);
    }
    let acl = provider(RedisSettings { persist: Persist::None, ..settings(&nodes) }, keywheel());
    assert_eq!(acl.check(&app).await, []);
    assert_eq!(change(&acl, &app, "old", "new").await, ACCEPTED);
}

#[tokio::test]
async fn what_inspect_sees_is_what_it_says() {
    let nodes = [RedisNode::start("", Some(&users("old")))];
    let (node, acl) = (&nodes[0], of(&nodes));
    let app = address("app", Mode::Add);
    let condition = || async { acl.inspect(&app).await.map(|found| found.condition) };
    assert_eq!(condition().await.unwrap(), Condition::Ready);
    node.administer(&["ACL", "SETUSER", "app", "off"]);
    assert!(matches!(condition().await.unwrap(), Condition::Unsupported(why) if why.contains("switched off")));
    node.administer(&["ACL", "SETUSER", "app", "on", "nopass"]);
    assert_eq!(condition().await.unwrap(), Condition::PasswordFree);
    node.administer(&["ACL", "SETUSER", "app", "resetpass", ">old"]);
    node.administer(&["REPLICAOF", "127.0.0.1", "1"]);
    assert!(matches!(condition().await.unwrap(), Condition::Busy(why) if why.contains("lost its master")));
    node.administer(&["REPLICAOF", "NO", "ONE"]);
    node.administer(&["ACL", "DELUSER", "app"]);
    assert_eq!(condition().await.unwrap_err().kind, Kind::NotFound);
    // Seen from outside, where no password is known yet.
    let outside = provider(settings(&urls(&nodes)), itself());
    let default = address("default", Mode::Add);
    assert_eq!(outside.inspect(&default).await.unwrap().condition, Condition::Ready);
    node.administer(&["ACL", "SETUSER", "default", "on", "nopass", "+@all"]);
    assert_eq!(outside.inspect(&default).await.unwrap().condition, Condition::PasswordFree);
    assert_eq!(outside.check(&default).await.len(), 1);
}

/// An account that changes itself: what its password opens is looked at by `check`, too. This server would forget a change when it restarts.
#[tokio::test]
async fn check_looks_inside_with_the_password_that_is_known() {
    let server = RedisServer::start(Some("old"));
    let acl = provider(settings(&[format!("redis://{}", server.address())]), itself());
    let (default, old) = (address("default", Mode::OldPassword), Secret::new("old".to_owned()));
    assert_eq!(acl.check(&default).await, [], "from outside nothing is to be seen");
    let found = acl.check_with(&default, &[&old]).await;
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].what.contains("was started without a file of settings"), "{}", found[0]);
}
