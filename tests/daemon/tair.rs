//! Alibaba's Tair: the default account and an account of its own on one real Redis server, each changed at its cron tick. Two rotations on one
//! instance never overlap, so the second waits for the first.

use crate::common::redis_server::RedisServer;
use crate::common::stage::{INITIAL, Stage, until};
use crate::rotation::soon;
use keywheel::simulator::{self, InstanceSettings, Server, Step};
use std::fs;

const INSTANCE: &str = "r-bp1stage0001";

const ACCOUNT: (&str, &str) = ("orders", "Another-One-2020");

/// The provider and both targets; every answer is proven by a login at the server itself.
fn configuration(stage: &Stage, server: &RedisServer, schedule: &str) -> String {
    let login = server.address();
    let target = |name: &str, account: &str, initial: &str| {
        format!(
            "[targets.{name}]\nprovider = \"tair\"\ninstance = \"{INSTANCE}\"\n{account}adopt = {{ file = \"{{folder}}/{initial}\" }}\n\
             login = \"redis://{login}\"\nschedule = \"{schedule}\"\nsinks = [\"{name}-env\"]\n\n"
        )
    };
    [
        format!(
            "[providers.tair]\nkind = \"alibaba\"\nregion = \"cn-hangzhou\"\nendpoint = \"{}\"\ncredentials = {{ source = \"static\", \
             access-key-id = {{ file = \"{{folder}}/secret-id\" }}, access-key-secret = {{ file = \"{{folder}}/secret-key\" }} }}\n\n",
            stage.cloud().endpoint()
        ),
        stage.sink("main-env", "format = \"env\""),
        stage.sink("orders-env", "format = \"env\""),
        target("main", "", "initial"),
        target("orders", "account = \"orders\"\n", "orders.initial"),
    ]
    .concat()
}

#[test]
fn both_kinds_of_account_rotate_on_one_instance_even_when_an_answer_is_lost() {
    let server = RedisServer::start(Some(INITIAL));
    let settings = InstanceSettings {
        server: Server::Redis { address: server.address(), user: "default".to_owned() },
        ..InstanceSettings::alibaba(INSTANCE, INITIAL).with_account(ACCOUNT.0, ACCOUNT.1)
    };
    let stage = Stage::set_with(vec![settings]);
    stage.write("orders.initial", ACCOUNT.1);
    stage.configure(&configuration(&stage, &server, &soon()));
    stage
        .cloud()
        .script([Step::once("ModifyAccountPassword", simulator::Fault::ApplyThenDropConnection { after_bytes: 0 })]);
    let checked = stage.keywheel(&["check"]);
    assert_eq!(checked.status, 0, "{}{}", checked.out, checked.err);

    let _daemon = stage.start(&[]);
    stage.until("main", "settled", 2);
    stage.until("orders", "settled", 2);

    let main = stage.live(INSTANCE);
    assert!(server.accepts(&main), "the new password of the default account works");
    assert!(!server.accepts(INITIAL), "the old one does not");
    let orders = stage.cloud().account_history(INSTANCE, ACCOUNT.0).pop().unwrap().password;
    assert!(!stage.cloud().account_accepts(INSTANCE, ACCOUNT.0, ACCOUNT.1));
    for (sink, login) in [("main-env", main), ("orders-env", format!("orders:{}", orders.expose()))] {
        let path = stage.path(sink);
        until("the sink to hold it", || fs::read_to_string(&path).is_ok_and(|text| text.contains(&login)));
    }
}
