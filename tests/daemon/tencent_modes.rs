//! Tencent's calls beside the one that compares the old password: each at its cron tick, or after drift, through the built binary.

use crate::common::redis_server::RedisServer;
use crate::common::stage::{INITIAL, INSTANCE, Stage, until};
use crate::rotation::soon;
use keywheel::secret::Secret;
use keywheel::simulator::{AccountSettings, Fault, InstanceChange, InstanceSettings, Server, Settings, Step};
use serde_json::Value;
use std::fs;
use std::time::Duration;

const APP: &str = "app";
const APP_INITIAL: &str = "Another-One-2020";
const RESET: &str = "ResetPassword";
const ACCOUNT: &str = "ModifyInstanceAccount";

/// An instance with a custom account that may only read, from the replicas; the passwords are those of a real server.
fn with_app(server: Option<&RedisServer>) -> InstanceSettings {
    let app = AccountSettings {
        privilege: "r".to_owned(),
        readonly_policy: vec!["replication".to_owned()],
        ..AccountSettings::new(APP, APP_INITIAL)
    };
    let mut instance = InstanceSettings { accounts: vec![app], ..InstanceSettings::new(INSTANCE, INITIAL) };
    if let Some(server) = server {
        instance.server = Server::Redis { address: server.address(), user: "default".to_owned() };
    }
    instance
}

/// A target and its sink; `keys` are the lines that differ.
fn target(stage: &Stage, name: &str, initial: &str, keys: &str) -> String {
    let sink = stage.sink(&format!("{name}-json"), "format = \"json\"");
    format!(
        "{sink}[targets.{name}]\nprovider = \"shop\"\ninstance = \"{INSTANCE}\"\nadopt = {{ file = \"{{folder}}/{initial}\" }}\nsinks = [\"{name}-json\"]\n{keys}\n\n"
    )
}

/// A login route; what stands for the account is sent as a user name where `form` says so.
fn login(stage: &Stage, form: &str) -> String {
    format!("login = {{ url = \"redis://{}\", form = \"{form}\" }}\n", stage.cloud().login_address(INSTANCE).unwrap())
}

/// What a target's sink holds.
pub fn document(stage: &Stage, name: &str) -> Value {
    serde_json::from_str(&fs::read_to_string(stage.path(&format!("{name}-json"))).unwrap()).unwrap()
}

/// Whether a new connection is let in with what the sink says, user and password together.
pub fn opens(server: &RedisServer, document: &Value) -> bool {
    lets_in(server, document["user"].as_str().unwrap_or_default(), document["password"].as_str().unwrap())
}

pub fn lets_in(server: &RedisServer, user: &str, password: &str) -> bool {
    let mut url = url::Url::parse(&format!("redis://{}", server.address())).unwrap();
    url.set_username(user).unwrap();
    url.set_password(Some(password)).unwrap();
    let client = redis::Client::open(url.as_str()).unwrap();
    client.get_connection().and_then(|mut connection| redis::cmd("PING").query::<String>(&mut connection)).is_ok()
}

/// How often an action was taken.
fn calls(stage: &Stage, action: &str) -> usize {
    stage.cloud().calls().get(action).map_or(0, |calls| calls.accepted.len())
}

/// Nothing but passwords was changed.
fn assert_untouched(stage: &Stage) {
    assert_eq!(stage.cloud().auth_switches(INSTANCE), 0, "authentication was switched");
    let rights = stage.cloud().rights(INSTANCE, APP).unwrap();
    assert_eq!((rights.privilege.as_str(), rights.changed), ("r", 0), "the account's rights were changed");
    assert_eq!(stage.cloud().rights(INSTANCE, "root").unwrap().changed, 0);
}

#[test]
fn root_is_reset_at_its_tick_where_its_owner_chose_that_even_when_an_answer_is_lost() {
    let server = RedisServer::start(Some(INITIAL));
    let instance = InstanceSettings {
        server: Server::Redis { address: server.address(), user: "default".to_owned() },
        ..InstanceSettings::new(INSTANCE, INITIAL)
    };
    let stage = Stage::set_with(vec![instance]);
    let keys = format!("mode = \"reset\"\nschedule = \"{}\"\n{}", soon(), login(&stage, "password"));
    stage.configure(&target(&stage, "main", "initial", &keys));
    stage.cloud().script([Step::once(RESET, Fault::ApplyThenDropConnection { after_bytes: 0 })]);
    let checked = stage.keywheel(&["check"]);
    assert_eq!(checked.status, 0, "{}{}", checked.out, checked.err);
    let _daemon = stage.start(&[]);
    stage.until("main", "settled", 2);
    let found = document(&stage, "main");
    assert_eq!((&found["account"], &found["generation"]), (&"root".into(), &2.into()));
    assert!(opens(&server, &found), "the new password works");
    assert!(!server.accepts(INITIAL), "the old one does not");
    assert_eq!((calls(&stage, RESET), calls(&stage, "ModifyInstancePassword")), (1, 0));
    assert_eq!(stage.cloud().auth_switches(INSTANCE), 0);
}

#[test]
fn a_custom_account_and_root_change_by_the_call_that_edits_accounts() {
    let server = RedisServer::start(Some(INITIAL));
    let stage = Stage::set_with(vec![with_app(Some(&server))]);
    stage.write("app.initial", APP_INITIAL);
    let schedule = soon();
    // A real server has no proxy in front that takes ACCOUNT@PASSWORD apart: there the account is an ACL user.
    let app = format!("account = \"{APP}\"\nschedule = \"{schedule}\"\n{}", login(&stage, "user-and-password"));
    let root = format!("mode = \"account\"\nschedule = \"{schedule}\"\n{}", login(&stage, "password"));
    stage.configure(&[target(&stage, "app", "app.initial", &app), target(&stage, "main", "initial", &root)].concat());
    let checked = stage.keywheel(&["check"]);
    assert_eq!(checked.status, 0, "{}{}", checked.out, checked.err);
    let _daemon = stage.start(&[]);
    stage.until("app", "settled", 2);
    stage.until("main", "settled", 2);
    let (app, main) = (document(&stage, "app"), document(&stage, "main"));
    assert_eq!((&app["user"], &app["account"], &main["account"]), (&APP.into(), &APP.into(), &"root".into()));
    assert!(opens(&server, &app) && opens(&server, &main), "both new passwords work");
    assert!(!lets_in(&server, APP, APP_INITIAL) && !server.accepts(INITIAL), "neither old one does");
    assert_eq!((calls(&stage, ACCOUNT), calls(&stage, RESET), calls(&stage, "ModifyInstancePassword")), (2, 0, 0));
    assert_untouched(&stage);
}

#[test]
fn behind_the_proxy_a_custom_account_logs_in_with_an_at_sign() {
    let stage = Stage::set_with(vec![with_app(None)]);
    stage.write("app.initial", APP_INITIAL);
    let keys = format!("account = \"{APP}\"\nlogin = \"redis://{}\"", stage.cloud().login_address(INSTANCE).unwrap());
    stage.configure(&target(&stage, "app", "app.initial", &keys));
    let _daemon = stage.start(&[]);
    stage.until("app", "settled", 1);
    let asked = stage.keywheel(&["rotate", "app", "--wait"]);
    assert_eq!(asked.status, 0, "{}{}", asked.out, asked.err);
    let found = document(&stage, "app");
    let sent = found["password"].as_str().unwrap();
    let live = stage.cloud().account_history(INSTANCE, APP).pop().unwrap().password;
    assert_eq!(sent, format!("{APP}@{}", live.expose()));
    assert_eq!(stage.passwords(INSTANCE), [INITIAL], "root's stays");
    assert_untouched(&stage);
}

#[test]
fn without_a_login_route_the_task_counts_once_the_account_is_settled() {
    const LAG: Duration = Duration::from_secs(1);
    let instance = InstanceSettings { server: Server::Nothing, ..with_app(None) };
    let stage = Stage::set_in(Settings { instances: vec![instance], account_lag: LAG, ..Settings::default() });
    stage.write("app.initial", APP_INITIAL);
    stage.configure(&target(&stage, "app", "app.initial", &format!("account = \"{APP}\"")));
    stage.cloud().script([Step::once(ACCOUNT, Fault::LockFor { span: Duration::from_millis(300) })]);
    let daemon = stage.start(&[]);
    stage.until("app", "settled", 1);
    let asked = stage.keywheel(&["rotate", "app", "--wait"]);
    assert_eq!(asked.status, 0, "{}{}\n{}", asked.out, asked.err, daemon.log());
    let history = stage.keywheel(&["history", "app", "--json"]);
    let events: Vec<Value> = history.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let at = |event: &Value| event["time"].as_str().and_then(|time| chrono::DateTime::parse_from_rfc3339(time).ok());
    let proven = events.iter().find(|event| event["event"] == "proven").unwrap();
    assert!(proven.to_string().contains("task"), "the record says what proved it: {proven}");
    let applied = stage.cloud().account_history(INSTANCE, APP).pop().unwrap();
    let gap = at(proven).unwrap().timestamp_millis() - applied.at.millis();
    assert!(
        gap >= i64::try_from(LAG.as_millis()).unwrap(),
        "proven {gap} ms after the change, before the account settled"
    );
    let sent = document(&stage, "app")["password"].as_str().unwrap().to_owned();
    assert_eq!(sent, format!("{APP}@{}", applied.password.expose()));
    assert_untouched(&stage);
}

#[test]
fn after_drift_a_reset_sets_right_what_recovery_allows() {
    let stage = Stage::set_with(vec![with_app(None)]);
    stage.write("app.initial", APP_INITIAL);
    let login = format!("recovery = \"reset\"\nlogin = \"redis://{}\"", stage.cloud().login_address(INSTANCE).unwrap());
    let app = format!("account = \"{APP}\"\n{login}");
    stage.configure(&[target(&stage, "app", "app.initial", &app), target(&stage, "main", "initial", &login)].concat());
    let _daemon = stage.start(&[]);
    stage.until("app", "settled", 1);
    stage.until("main", "settled", 1);
    let by_hand = InstanceChange {
        password: Some(Secret::new("Console-Pass-1".to_owned())),
        accounts: vec![AccountSettings::new(APP, "Console-Pass-2")],
        ..InstanceChange::default()
    };
    stage.change_instance(INSTANCE, by_hand);
    for (name, action) in [("main", RESET), ("app", ACCOUNT)] {
        let asked = stage.keywheel(&["rotate", name, "--wait"]);
        assert_eq!(asked.status, 0, "{}{}", asked.out, asked.err);
        assert_eq!(calls(&stage, action), 1, "{action}");
    }
    assert_eq!(calls(&stage, "ModifyInstancePassword"), 0, "drift is known before the call");
    assert!(stage.cloud().accepts(INSTANCE, document(&stage, "main")["password"].as_str().unwrap()));
    let app = document(&stage, "app");
    let (account, password) = app["password"].as_str().and_then(|sent| sent.split_once('@')).unwrap();
    assert!(account == APP && stage.cloud().account_accepts(INSTANCE, APP, password));
    assert_untouched(&stage);
}

#[test]
fn an_instance_that_became_free_of_passwords_is_never_reset() {
    let stage = Stage::set_with(vec![with_app(None)]);
    // Without a login route only the cloud says so, and it says it after the preflight.
    stage.configure(&target(&stage, "main", "initial", "mode = \"reset\"\nrecovery = \"reset\""));
    stage.cloud().script([Step::once(RESET, Fault::LockFor { span: Duration::from_millis(900) })]);
    let _daemon = stage.start(&[]);
    stage.until("main", "settled", 1);
    let asked = stage.keywheel(&["rotate", "main"]);
    until("the first call to be refused", || stage.cloud().steps_left() == 0);
    stage.change_instance(INSTANCE, InstanceChange { no_auth: Some(true), ..InstanceChange::default() });
    until("the target to halt", || stage.status_of("main")["state"] == "halted");
    let why = stage.status_of("main")["why"].as_str().unwrap().to_owned();
    assert!(why.contains("logins need no password"), "{why} {}{}", asked.out, asked.err);
    assert_eq!((stage.cloud().auth_switches(INSTANCE), stage.passwords(INSTANCE).len()), (0, 1));
}

#[test]
fn an_endpoint_that_knows_only_the_first_published_name_is_called_by_it() {
    let server = RedisServer::start(Some(INITIAL));
    let instance = InstanceSettings {
        server: Server::Redis { address: server.address(), user: "default".to_owned() },
        ..InstanceSettings::new(INSTANCE, INITIAL)
    };
    let stage = Stage::set_with(vec![instance]);
    let provider = format!(
        "[providers.old]\nkind = \"tencent\"\nregion = \"ap-guangzhou\"\nendpoint = \"{}\"\naction-spelling = \"misspelt\"\ncredentials = {{ source = \"static\", \
         secret-id = {{ file = \"{{folder}}/secret-id\" }}, secret-key = {{ file = \"{{folder}}/secret-key\" }} }}\n\n",
        stage.cloud().endpoint()
    );
    let keys = format!("schedule = \"{}\"\n{}", soon(), login(&stage, "password"));
    stage.configure(&(provider + &target(&stage, "main", "initial", &keys).replace("\"shop\"", "\"old\"")));
    stage.cloud().script([Step::once("ModfiyInstancePassword", Fault::ApplyThenDropConnection { after_bytes: 0 })]);
    let _daemon = stage.start(&[]);
    stage.until("main", "settled", 2);
    let found = document(&stage, "main");
    assert!(opens(&server, &found) && !server.accepts(INITIAL));
    assert_eq!((calls(&stage, "ModfiyInstancePassword"), calls(&stage, "ModifyInstancePassword")), (1, 0));
}
