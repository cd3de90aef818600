//! Alibaba's two resets as the ordinary change, on a real Redis server: ResetAccountPassword for a standard account, ModifyInstanceAttribute for the
//! default one.

use crate::common::redis_server::RedisServer;
use crate::common::stage::{INITIAL, Stage};
use crate::rotation::soon;
use keywheel::simulator::{self, InstanceSettings, Server, Step};
use serde_json::Value;
use std::fs;

const INSTANCE: &str = "r-bp1stage0001";
const ACCOUNT: (&str, &str) = ("orders", "Another-One-2020");

#[test]
fn both_kinds_of_account_are_reset_at_their_tick_where_their_owner_chose_that() {
    let server = RedisServer::start(Some(INITIAL));
    let settings = InstanceSettings {
        server: Server::Redis { address: server.address(), user: "default".to_owned() },
        ..InstanceSettings::alibaba(INSTANCE, INITIAL).with_account(ACCOUNT.0, ACCOUNT.1)
    };
    let stage = Stage::set_with(vec![settings]);
    stage.write("orders.initial", ACCOUNT.1);
    let schedule = soon();
    let target = |name: &str, keys: &str, initial: &str| {
        stage.sink(&format!("{name}-json"), "format = \"json\"")
            + &format!(
                "[targets.{name}]\nprovider = \"tair\"\ninstance = \"{INSTANCE}\"\nmode = \"reset\"\n\
                 adopt = {{ file = \"{{folder}}/{initial}\" }}\nschedule = \"{schedule}\"\nsinks = [\"{name}-json\"]\n{keys}\n\n"
            )
    };
    let login = |form: &str| format!("login = {{ url = \"redis://{}\", form = \"{form}\" }}\n", server.address());
    let provider = format!(
        "[providers.tair]\nkind = \"alibaba\"\nregion = \"cn-hangzhou\"\nendpoint = \"{}\"\ncredentials = {{ source = \"static\", \
         access-key-id = {{ file = \"{{folder}}/secret-id\" }}, access-key-secret = {{ file = \"{{folder}}/secret-key\" }} }}\n\n",
        stage.cloud().endpoint()
    );
    let main = target("main", &login("password"), "initial");
    let orders = target("orders", &format!("account = \"orders\"\n{}", login("user-and-password")), "orders.initial");
    stage.configure(&[provider, main, orders].concat());
    for action in ["ResetAccountPassword", "ModifyInstanceAttribute"] {
        stage.cloud().script([Step::once(action, simulator::Fault::ApplyThenDropConnection { after_bytes: 0 })]);
    }
    let checked = stage.keywheel(&["check"]);
    assert_eq!(checked.status, 0, "{}{}", checked.out, checked.err);

    let _daemon = stage.start(&[]);
    stage.until("main", "settled", 2);
    stage.until("orders", "settled", 2);
    let calls = stage.cloud().calls();
    let sent = |action: &str| calls.get(action).map_or(0, |calls| calls.accepted.len());
    assert_eq!(
        (sent("ModifyInstanceAttribute"), sent("ResetAccountPassword"), sent("ModifyAccountPassword")),
        (1, 1, 0)
    );
    for (name, user, old) in [("main", "default", INITIAL), ("orders", ACCOUNT.0, ACCOUNT.1)] {
        let text = fs::read_to_string(stage.path(&format!("{name}-json"))).unwrap();
        let document: Value = serde_json::from_str(&text).unwrap();
        let new = document["password"].as_str().unwrap();
        assert_eq!(document["user"].as_str().unwrap_or("default"), user, "user and password are one document");
        for (password, works) in [(new, true), (old, false)] {
            let mut url = url::Url::parse(&format!("redis://{user}@{}", server.address())).unwrap();
            url.set_password(Some(password)).unwrap();
            let client = redis::Client::open(url.as_str()).unwrap();
            assert_eq!(client.get_connection().is_ok(), works, "{name}");
        }
    }
    assert_eq!(stage.cloud().auth_switches(INSTANCE), 0);
}
