//! Two accounts in turn, through the built binary: at the cron tick the resting account's password changes and the sink receives user and password
//! together; the account that was active before stays valid until the next rotation.

use crate::common::redis_server::RedisServer;
use crate::common::stage::{INITIAL, INSTANCE, Stage, until};
use crate::rotation::soon;
use crate::tencent_modes::{document, lets_in, opens};
use keywheel::simulator::{AccountSettings, Fault, InstanceSettings, Server, Step};

const FIRST: (&str, &str) = ("orders_a", "First-One-2020");
const SECOND: (&str, &str) = ("orders_b", "Second-One-2020");
const TAIR: &str = "r-bp1pair00001";

/// A stage whose instance is a real server with both accounts as ACL users.
fn stage(server: &RedisServer, vendor: &str) -> Stage {
    let real = Server::Redis { address: server.address(), user: "default".to_owned() };
    let account = |(name, password)| AccountSettings::new(name, password);
    let instance = match vendor {
        "tencent" => InstanceSettings {
            accounts: vec![account(FIRST), account(SECOND)],
            server: real,
            ..InstanceSettings::new(INSTANCE, INITIAL)
        },
        _ => InstanceSettings {
            server: real,
            ..InstanceSettings::alibaba(TAIR, INITIAL).with_account(FIRST.0, FIRST.1).with_account(SECOND.0, SECOND.1)
        },
    };
    let stage = Stage::set_with(vec![instance]);
    stage.write("first", FIRST.1);
    stage.write("second", SECOND.1);
    stage
}

fn configure(stage: &Stage, server: &RedisServer, vendor: &str, keys: &str) {
    let (provider, instance) = match vendor {
        "tencent" => (String::new(), INSTANCE),
        _ => (
            format!(
                "[providers.tair]\nkind = \"alibaba\"\nregion = \"cn-hangzhou\"\nendpoint = \"{}\"\ncredentials = {{ source = \"static\", \
                 access-key-id = {{ file = \"{{folder}}/secret-id\" }}, access-key-secret = {{ file = \"{{folder}}/secret-key\" }} }}\n\n",
                stage.cloud().endpoint()
            ),
            TAIR,
        ),
    };
    let name = if vendor == "tencent" { "shop" } else { "tair" };
    let target = format!(
        "[targets.orders]\nprovider = \"{name}\"\ninstance = \"{instance}\"\nstrategy = \"alternate\"\n\
         accounts = [\"{}\", \"{}\"]\nadopt = {{ file = \"{{folder}}/first\" }}\nsinks = [\"orders-json\"]\n\
         login = {{ url = \"redis://{}\", form = \"user-and-password\" }}\n{keys}\n",
        FIRST.0,
        SECOND.0,
        server.address()
    );
    stage.configure(&[provider, stage.sink("orders-json", "format = \"json\""), target].concat());
}

/// The call that changes an account's password there.
fn action(vendor: &str) -> &'static str {
    if vendor == "tencent" { "ModifyInstanceAccount" } else { "ModifyAccountPassword" }
}

#[test]
fn the_resting_account_changes_at_the_tick_and_the_other_stays_valid() {
    for vendor in ["tencent", "alibaba"] {
        let server = RedisServer::start(Some(INITIAL));
        let stage = stage(&server, vendor);
        let keys =
            format!("adopt-resting = {{ file = \"{{folder}}/second\" }}\ngrace = \"1ms\"\nschedule = \"{}\"", soon());
        configure(&stage, &server, vendor, &keys);
        let checked = stage.keywheel(&["check"]);
        assert_eq!(checked.status, 0, "{vendor}: {}{}", checked.out, checked.err);
        stage.cloud().script([Step::once(action(vendor), Fault::ApplyThenDropConnection { after_bytes: 0 })]);
        let daemon = stage.start(&[]);

        // The active account's password is generation 1, the resting one's 2, and the first that keywheel draws 3.
        stage.until("orders", "settled", 3);
        let found = document(&stage, "orders");
        assert_eq!((&found["account"], &found["user"]), (&SECOND.0.into(), &SECOND.0.into()), "{vendor}");
        assert!(opens(&server, &found), "{vendor}: the new password of the resting account works");
        assert!(!lets_in(&server, SECOND.0, SECOND.1), "{vendor}: its old one does not");
        assert!(lets_in(&server, FIRST.0, FIRST.1), "{vendor}: the account that was active is still valid");
        let explained = stage.keywheel(&["explain", "orders"]);
        assert!(explained.out.contains("orders_b") && explained.out.contains("also valid"), "{}", explained.out);

        let asked = stage.keywheel(&["rotate", "orders", "--wait"]);
        assert_eq!(asked.status, 0, "{vendor}: {}{}\n{}", asked.out, asked.err, daemon.log());
        let next = document(&stage, "orders");
        assert_eq!((&next["account"], &next["generation"]), (&FIRST.0.into(), &4.into()), "{vendor}");
        assert!(opens(&server, &next) && opens(&server, &found), "{vendor}: both accounts are valid");
        assert!(!lets_in(&server, FIRST.0, FIRST.1), "{vendor}: the first account's old password is not");
    }
}

#[test]
fn the_grace_holds_a_rotation_that_was_asked_for() {
    let server = RedisServer::start(Some(INITIAL));
    let stage = stage(&server, "tencent");
    configure(&stage, &server, "tencent", "adopt-resting = { file = \"{folder}/second\" }\ngrace = \"1d\"");
    let _daemon = stage.start(&[]);
    stage.until("orders", "settled", 1);
    let asked = stage.keywheel(&["rotate", "orders", "--wait"]);
    assert_eq!(asked.status, 0, "{}{}", asked.out, asked.err);
    let first = document(&stage, "orders");
    let asked = stage.keywheel(&["rotate", "orders"]);
    assert_eq!(asked.status, 0, "{}{}", asked.out, asked.err);
    assert!(asked.out.contains("rests until"), "{}", asked.out);
    until("the reason to be known", || {
        stage.status_of("orders")["why"].as_str().unwrap_or_default().contains("rests until")
    });
    assert_eq!(document(&stage, "orders"), first, "nothing was touched");
    assert!(lets_in(&server, FIRST.0, FIRST.1));
}

#[test]
fn a_resting_account_whose_password_nobody_knows_is_asked_for_where_the_call_compares_it() {
    let server = RedisServer::start(Some(INITIAL));
    let stage = stage(&server, "alibaba");
    configure(&stage, &server, "alibaba", "grace = \"1ms\"");
    let checked = stage.keywheel(&["check"]);
    assert_eq!(checked.status, 1, "{}", checked.out);
    assert!(checked.out.contains("--account orders_b"), "{}", checked.out);
    let _daemon = stage.start(&[]);
    stage.until("orders", "settled", 1);

    let refused = stage.keywheel_reading(&["adopt", "orders", "--account", "orders_b"], "Not-The-One-2020");
    assert_eq!(refused.status, 2, "a wrong password is not taken in: {}", refused.out);
    let taken = stage.keywheel_reading(&["adopt", "orders", "--account", "orders_b"], SECOND.1);
    assert_eq!(taken.status, 0, "{}", taken.err);
    let again = stage.keywheel_reading(&["adopt", "orders", "--account", "orders_b"], SECOND.1);
    assert_eq!(again.status, 2, "{}", again.out);
    let asked = stage.keywheel(&["rotate", "orders", "--wait"]);
    assert_eq!(asked.status, 0, "{}{}", asked.out, asked.err);
    assert!(opens(&server, &document(&stage, "orders")));
    assert!(lets_in(&server, FIRST.0, FIRST.1));
}

/// The accounts of a target are replaced in the configuration: the password that a person gives then is current, whichever of the pair it opens.
#[test]
fn a_password_of_another_pair_becomes_current() {
    let server = RedisServer::start(Some(INITIAL));
    let stage = stage(&server, "tencent");
    let target = format!(
        "[targets.orders]\nprovider = \"shop\"\ninstance = \"{INSTANCE}\"\naccount = \"{}\"\n\
         adopt = {{ file = \"{{folder}}/first\" }}\nsinks = [\"orders-json\"]\n\
         login = {{ url = \"redis://{}\", form = \"user-and-password\" }}\n",
        FIRST.0,
        server.address()
    );
    stage.configure(&[stage.sink("orders-json", "format = \"json\""), target].concat());
    let daemon = stage.start(&[]);
    stage.until("orders", "settled", 1);
    drop(daemon);
    configure(&stage, &server, "tencent", "grace = \"1ms\"");
    let daemon = stage.start(&[]);
    until("it to halt", || stage.status_of("orders")["state"] == "halted");
    let given = stage.keywheel_reading(&["recover", "orders", "--set", "--account", SECOND.0], SECOND.1);
    assert_eq!(given.status, 0, "{}", given.err);
    stage.until("orders", "settled", 2);
    let found = document(&stage, "orders");
    assert_eq!((&found["account"], &found["generation"]), (&SECOND.0.into(), &2.into()), "{}", daemon.log());
    assert!(opens(&server, &found));
}
