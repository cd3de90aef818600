//! Users with passwords of their own: in place, reset, and by an administrator that is rotated itself.

use crate::hands::*;
use crate::redis_nodes::{ADMIN, ADMIN_PASSWORD, RedisNode, users};
use keywheel::fault::Kind;
use keywheel::probe::Probe;
use keywheel::provider::redis_acl::credentials::Admin;
use keywheel::provider::{Mode, Provider};
use keywheel::rotation::answer::Login;
use std::sync::Arc;

fn pair(password: &str) -> [RedisNode; 2] {
    [(); 2].map(|()| RedisNode::start("slowlog-log-slower-than 0", Some(&users(password))))
}

fn live(nodes: &[RedisNode], password: &str) -> Vec<bool> {
    nodes.iter().map(|node| node.lets_in("app", password)).collect()
}

#[tokio::test]
async fn in_place_the_new_password_takes_the_place_of_the_old_one() {
    let nodes = pair("old");
    let acl = of(&nodes);
    let app = address("app", Mode::OldPassword);
    // One node has it already, from a call that was cut off.
    nodes[0].administer(&["ACL", "SETUSER", "app", ">new", "<old"]);
    assert_eq!(probe(&acl, &app).login(&secret("new")).await, Login::Mixed);
    for _ in 0..2 {
        assert_eq!(change(&acl, &app, "old", "new").await, ACCEPTED);
        assert_eq!((live(&nodes, "old"), live(&nodes, "new")), (vec![false; 2], vec![true; 2]));
    }
    // What somebody else set is neither the old nor the new one, and is not overwritten.
    nodes[1].administer(&["ACL", "SETUSER", "app", "resetpass", ">theirs"]);
    let (refusal, fault) = refused(change(&acl, &app, "new", "newer").await);
    assert_eq!((refusal.as_str(), fault.kind), ("OldPasswordWrong", Kind::OldPasswordWrong));
    assert!(fault.what.contains(&nodes[1].url()) && !fault.what.contains(&nodes[0].url()), "{fault}");
    assert_eq!((live(&nodes, "new"), live(&nodes, "newer")), (vec![true, false], vec![false; 2]));

    // A reset leaves the candidate alone; with two passwords it is added and nobody is cut off.
    assert_eq!(acl.reset(&address("app", Mode::Add), rotation(), &secret("newest")).await, ACCEPTED);
    assert_eq!((live(&nodes, "newest"), live(&nodes, "theirs")), (vec![true; 2], vec![false, true]));
    assert_eq!(acl.reset(&app, rotation(), &secret("last")).await, ACCEPTED);
    for password in ["new", "newest", "theirs"] {
        assert_eq!(live(&nodes, password), [false; 2], "{password}");
    }
    assert_eq!(live(&nodes, "last"), [true; 2]);
    assert_eq!(change(&acl, &address("app", Mode::Reset), "last", "after").await, ACCEPTED);
    assert_eq!((live(&nodes, "last"), live(&nodes, "after")), (vec![false; 2], vec![true; 2]));
}

#[tokio::test]
async fn the_old_password_is_needed_where_it_is_compared_and_nowhere_else() {
    let nodes = pair("old");
    let acl = of(&nodes);
    let without = |mode| {
        let acl = Arc::clone(&acl);
        async move { acl.change(&address("app", mode), rotation(), None, &secret("new")).await }
    };
    assert_eq!(refused(without(Mode::OldPassword).await).0, "Fatal");
    assert_eq!(refused(without(Mode::Account).await).0, "Fatal");
    assert_eq!(without(Mode::Add).await, ACCEPTED);
    let abilities = |mode| acl.abilities(&address("app", mode));
    assert!(abilities(Mode::OldPassword).asks_old && !abilities(Mode::Add).asks_old && abilities(Mode::Add).reset);
}

#[tokio::test]
async fn every_character_goes_in_and_none_comes_out() {
    let nodes = [RedisNode::start("slowlog-log-slower-than 0", Some(&users("old")))];
    let acl = of(&nodes);
    let app = address("app", Mode::Add);
    let other = format!("{SPECIAL}{SPECIAL}");
    assert_eq!(change(&acl, &app, "old", SPECIAL).await, ACCEPTED);
    assert_eq!(probe(&acl, &app).login(&secret(SPECIAL)).await, Login::Accepted);
    acl.retire(&app, &secret("old"), &secret(SPECIAL)).await.unwrap();
    assert_eq!(change(&acl, &address("app", Mode::OldPassword), SPECIAL, &other).await, ACCEPTED);
    assert_eq!((live(&nodes, SPECIAL), live(&nodes, &other)), (vec![false], vec![true]));
    let seen = format!("{:?}", nodes[0].administer(&["SLOWLOG", "GET", "1000"]));
    assert!(seen.contains("SETUSER") && !seen.contains(SPECIAL), "{seen}");
    for hash in [hash(SPECIAL), hash(&other)] {
        assert!(!seen.contains(&hash), "{seen}");
    }
}

#[tokio::test]
async fn an_account_may_administer_itself() {
    let nodes = pair("old");
    let acl = provider(settings(&urls(&nodes)), itself());
    let (in_place, adding) = (address("app", Mode::OldPassword), address("app", Mode::Add));
    assert!(!acl.abilities(&adding).reset);
    assert_eq!(acl.check(&adding).await, []);
    assert_eq!(change(&acl, &adding, "old", "new").await, ACCEPTED);
    acl.retire(&adding, &secret("old"), &secret("new")).await.unwrap();
    for _ in 0..2 {
        assert_eq!(change(&acl, &in_place, "new", "newer").await, ACCEPTED);
    }
    assert_eq!((live(&nodes, "new"), live(&nodes, "newer")), (vec![false; 2], vec![true; 2]));
    // Turned away with both is drift; a reset cannot get in.
    assert_eq!(refused(change(&acl, &in_place, "no", "nope").await).0, "OldPasswordWrong");
    let (refusal, fault) = refused(acl.reset(&in_place, rotation(), &secret("nope")).await);
    assert_eq!((refusal.as_str(), fault.kind), ("Fatal", Kind::CredentialRefused));
}

#[tokio::test]
async fn an_administrator_that_is_rotated_itself_gets_in_with_either_password_on_each_node() {
    let nodes = pair("old");
    nodes[0].administer(&["ACL", "SETUSER", ADMIN, "resetpass", ">admin-new"]);
    let admin = |passwords| Admin { user: Some(ADMIN.to_owned()), passwords: Arc::new(Several(passwords)) };
    let both = || admin(vec!["admin-new", crate::redis_nodes::ADMIN_PASSWORD]);
    let acl = provider(settings(&urls(&nodes)), both());
    let app = address("app", Mode::Add);
    assert_eq!(acl.check(&app).await, []);
    assert_eq!(change(&acl, &app, "old", "new").await, ACCEPTED);
    assert_eq!(live(&nodes, "new"), [true; 2]);
    // Its own change goes on from there, although its source knows nothing newer than the file.
    let own = provider(settings(&urls(&nodes)), admin(vec![crate::redis_nodes::ADMIN_PASSWORD]));
    let keywheel = address(ADMIN, Mode::OldPassword);
    assert_eq!(change(&own, &keywheel, crate::redis_nodes::ADMIN_PASSWORD, "admin-new").await, ACCEPTED);
    for node in &nodes {
        assert!(node.lets_in(ADMIN, "admin-new") && !node.lets_in(ADMIN, crate::redis_nodes::ADMIN_PASSWORD));
    }
    assert_eq!(change(&acl, &app, "new", "newer").await, ACCEPTED);
}

#[tokio::test]
async fn two_addresses_of_one_server_are_one_node() {
    let nodes = [RedisNode::start("", Some(&users("old")))];
    let both = [nodes[0].url(), format!("redis://localhost:{}", nodes[0].port())];
    let acl = provider(settings(&both), keywheel());
    assert_eq!(change(&acl, &address("app", Mode::OldPassword), "old", "new").await, ACCEPTED);
    assert_eq!((live(&nodes, "old"), live(&nodes, "new")), (vec![false], vec![true]));
}

/// Who is connected as the account is named, on each node, and nobody else is.
#[tokio::test]
async fn those_who_are_connected_as_the_account_are_named() {
    let nodes = pair("old");
    let connect = |node: &RedisNode, user: &str, password: &str| {
        let mut connection = redis::Client::open(node.url()).unwrap().get_connection().unwrap();
        redis::cmd("AUTH").arg(user).arg(password).query::<()>(&mut connection).unwrap();
        connection
    };
    let mut orders = connect(&nodes[0], "app", "old");
    redis::cmd("CLIENT").arg("SETNAME").arg("orders").query::<()>(&mut orders).unwrap();
    let _unnamed = connect(&nodes[1], "app", "old");
    let _other = connect(&nodes[1], ADMIN, ADMIN_PASSWORD);
    let shown = |clients: Vec<keywheel::provider::Client>| {
        let mut shown: Vec<_> = clients.into_iter().map(|client| (client.node, client.name)).collect();
        shown.sort();
        shown
    };
    let mut expected = vec![(nodes[0].url(), Some("orders".to_owned())), (nodes[1].url(), None)];
    expected.sort();
    let app = address("app", Mode::Add);
    assert_eq!(shown(of(&nodes).clients(&app, &secret("old")).await.unwrap()), expected);
    // One that administers itself is not its own user.
    let itself = provider(settings(&urls(&nodes)), itself());
    assert_eq!(shown(itself.clients(&app, &secret("old")).await.unwrap()), expected);
}
