//! The daemon's life: one at a time, told of a new configuration, stopped gently and at once, and always going on where it was.

use crate::common::stage::{INITIAL, INSTANCE, Stage, until};
use keywheel::simulator::{Change, Fault, InstanceChange, InstanceSettings, Step};
use rustix::process::Signal;
use std::fs;

const TARGET: &str = "orders-cache";
const ADOPT: &str = "adopt = { file = \"{folder}/initial\" }";

fn stage() -> Stage {
    let stage = Stage::set();
    stage.configure(
        &(stage.sink("orders", "") + &stage.target(TARGET, INSTANCE, &format!("{ADOPT}\nsinks = [\"orders\"]"))),
    );
    stage
}

fn asked(stage: &Stage) {
    let asked = stage.keywheel(&["rotate", TARGET]);
    assert_eq!(asked.status, 0, "{}{}", asked.out, asked.err);
}

/// The rotation has ended well: one new password, live, in the ledger and in the sink.
fn ended_well(stage: &Stage) {
    stage.until(TARGET, "settled", 2);
    assert_eq!(stage.passwords(INSTANCE).len(), 2, "a second password was drawn");
    let live = stage.live(INSTANCE);
    assert_ne!(live, INITIAL);
    assert_eq!(fs::read_to_string(stage.path("orders")).unwrap(), live);
    assert_eq!(stage.keywheel(&["reveal", TARGET]).out, format!("{live}\n"));
}

#[test]
fn a_second_daemon_is_refused_with_who_holds_the_ledger() {
    let stage = stage();
    let daemon = stage.start(&[]);
    let refused = stage.keywheel(&["run"]);
    assert_eq!(refused.status, 2);
    let holder = format!("keywheel run, pid {}", daemon.pid());
    assert!(refused.err.contains(&holder) && refused.err.contains("ledger"), "{}", refused.err);
    stage.until(TARGET, "settled", 1);
    daemon.stop();
    assert!(!stage.path("control.sock").exists(), "the socket is left behind");
    // A killed one leaves its socket and its lock's text behind; both are dead.
    stage.start(&[]).kill();
    let daemon = stage.start(&[]);
    asked(&stage);
    ended_well(&stage);
    daemon.stop();
}

#[test]
fn a_good_configuration_is_taken_up_and_a_bad_one_refused_whole() {
    let other = "crs-stage002";
    let stage = Stage::set_with(vec![InstanceSettings::new(INSTANCE, INITIAL), InstanceSettings::new(other, INITIAL)]);
    let first = stage.target(TARGET, INSTANCE, ADOPT);
    stage.configure(&first);
    let daemon = stage.start(&[]);
    stage.until(TARGET, "settled", 1);

    let both = first.clone() + &stage.target("sessions", other, ADOPT);
    stage.configure(&(both.clone() + "[targets.sessions.login]\n"));
    daemon.signal(Signal::HUP);
    until("the refusal", || daemon.log().contains("the new configuration is refused; the old one stays"));
    stage.configure(&first);
    asked(&stage);
    stage.until(TARGET, "settled", 2);

    stage.configure(&both);
    daemon.signal(Signal::HUP);
    stage.until("sessions", "settled", 1);
    let rotated = stage.keywheel(&["rotate", "--all", "--yes", "--wait"]);
    assert_eq!(rotated.status, 0, "{}{}", rotated.out, rotated.err);
    assert_eq!((stage.passwords(INSTANCE).len(), stage.passwords(other).len()), (3, 2));
    daemon.stop();
}

#[test]
fn a_schedule_that_is_given_later_counts_at_once() {
    for by_reload in [true, false] {
        let stage = Stage::set();
        stage.configure(&stage.target(TARGET, INSTANCE, ADOPT));
        let mut daemon = stage.start(&[]);
        stage.until(TARGET, "settled", 1);
        // Every second second: at a wake-up of its own, long before anything else would wake the target.
        stage.configure(&stage.target(TARGET, INSTANCE, &format!("{ADOPT}\nschedule = \"*/2 * * * * *\"")));
        if by_reload {
            daemon.signal(Signal::HUP);
        } else {
            daemon.stop();
            daemon = stage.start(&[]);
        }
        until("a rotation by the schedule", || stage.passwords(INSTANCE).len() > 1);
        daemon.stop();
    }
}

#[test]
fn a_gentle_stop_in_mid_rotation_leaves_what_the_next_start_finishes() {
    let stage = stage();
    stage.cloud().script([Step::once("Mod*InstancePassword", Fault::TaskStuck { span: None })]);
    let daemon = stage.start(&[]);
    stage.until(TARGET, "settled", 1);
    asked(&stage);
    stage.until(TARGET, "rotating", 1);
    until("the call to be accepted", || stage.keywheel(&["history", "--json"]).out.contains("\"answered\""));
    daemon.stop();
    assert_eq!(stage.passwords(INSTANCE), [INITIAL]);
    assert!(!stage.path("orders").exists() || fs::read_to_string(stage.path("orders")).unwrap() == INITIAL);
    stage.change(Change { release_stuck: true, ..Change::default() });
    let daemon = stage.start(&[]);
    ended_well(&stage);
    daemon.stop();
}

#[test]
fn a_second_signal_stops_at_once_and_nothing_is_lost() {
    let stage = stage();
    // The answer never comes, and the change happens: the worst moment to stop.
    stage.cloud().script([Step::once("Mod*InstancePassword", Fault::NeverAnswer { applied: true })]);
    let daemon = stage.start(&[]);
    stage.until(TARGET, "settled", 1);
    asked(&stage);
    until("the cloud to change the password", || stage.passwords(INSTANCE).len() == 2);
    daemon.signal(Signal::INT);
    until("the first signal to be heard", || daemon.log().contains("a second signal stops at once"));
    daemon.signal(Signal::INT);
    assert_eq!(daemon.ended(), Some(0));
    let open = stage.status_of(TARGET);
    assert!(["rotating", "doubt"].iter().any(|state| open["state"] == *state), "{open}");
    let daemon = stage.start(&[]);
    ended_well(&stage);
    daemon.stop();
}

#[test]
fn an_instance_that_is_not_running_is_waited_for() {
    let stage = stage();
    stage.change_instance(INSTANCE, InstanceChange { status: Some(1), ..InstanceChange::default() });
    let daemon = stage.start(&[]);
    until("the instance to be in the way", || daemon.log().contains("is not ready"));
    assert_eq!(stage.status().1, 1);
    stage.change_instance(INSTANCE, InstanceChange { status: Some(2), ..InstanceChange::default() });
    stage.until(TARGET, "settled", 1);

    stage.change_instance(INSTANCE, InstanceChange { status: Some(1), ..InstanceChange::default() });
    asked(&stage);
    until("the rotation to wait", || {
        stage.status_of(TARGET)["why"].as_str().is_some_and(|why| why.contains("nothing has changed"))
    });
    assert_eq!(stage.passwords(INSTANCE), [INITIAL]);
    stage.change_instance(INSTANCE, InstanceChange { status: Some(2), ..InstanceChange::default() });
    ended_well(&stage);
    daemon.stop();
}

#[test]
fn a_password_free_instance_halts_and_goes_on_when_told() {
    let stage = stage();
    let no_auth = |on: bool| {
        stage.change_instance(INSTANCE, InstanceChange { no_auth: Some(on), ..InstanceChange::default() });
    };
    no_auth(true);
    let daemon = stage.start(&[]);
    until("the halt", || stage.status_of(TARGET)["state"] == "halted");
    let (report, status) = stage.status();
    assert_eq!(status, 2);
    assert!(report["targets"][0]["why"].as_str().unwrap().contains("without a password"), "{report}");
    let explained = stage.keywheel(&["explain", TARGET]);
    assert_eq!(explained.status, 2);
    assert!(explained.out.contains("switch the instance to password login"), "{}", explained.out);
    no_auth(false);
    let resumed = stage.keywheel(&["recover", TARGET, "--resume"]);
    assert_eq!(resumed.status, 0, "{}", resumed.err);
    stage.until(TARGET, "settled", 1);
    daemon.stop();
}

/// What a container's health check asks: whether the daemon turns, and nothing about its targets.
#[test]
fn a_daemon_that_turns_is_healthy_whatever_its_targets_do() {
    let stage = stage();
    let health = || stage.keywheel(&["status", "--health"]);
    let gone = health();
    assert_eq!(gone.status, 1, "{}{}", gone.out, gone.err);
    assert!(gone.out.contains("no daemon listens on"), "{}", gone.out);
    // A target that cannot be adopted wants attention and no restart.
    fs::remove_file(stage.path("initial")).unwrap();
    let daemon = stage.start(&[]);
    assert_eq!(stage.status().1, 1);
    let well = health();
    assert_eq!((well.status, well.out.as_str()), (0, "alive\n"), "{}", well.err);
    daemon.stop();
    assert_eq!(health().status, 1);
}

/// The process that this one started, once there is one.
fn child_of(pid: u32) -> u32 {
    let mut child = None;
    until("a child process", || {
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
        child = children.split_whitespace().next().map(|child| child.parse().unwrap());
        child.is_some()
    });
    child.unwrap()
}

#[test]
fn a_demo_that_is_killed_leaves_no_daemon_behind() {
    let folder = tempfile::tempdir().unwrap();
    let mut demo = std::process::Command::new(env!("CARGO_BIN_EXE_keywheel"))
        .arg("demo")
        .env("TMPDIR", folder.path())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let daemon = child_of(demo.id());
    let ready =
        || fs::read_dir(folder.path()).unwrap().any(|stage| stage.unwrap().path().join("control.sock").exists());
    until("its daemon to be there", ready);
    demo.kill().unwrap();
    demo.wait().unwrap();
    // One that nobody has waited for is still listed, as a zombie.
    let ended = || fs::read_to_string(format!("/proc/{daemon}/stat")).map_or(true, |stat| stat.contains(") Z "));
    until("its daemon to end", ended);
}

/// Whoever needs a password in the night has the ledger and its key, and perhaps nothing else.
#[test]
fn a_password_is_shown_without_a_daemon_whatever_else_is_missing() {
    let stage = Stage::set();
    let other = "[providers.gone]\nkind = \"alibaba\"\nregion = \"cn-hangzhou\"\ncredentials = { source = \"static\", access-key-id = { env = \"NOT_SET\" }, access-key-secret = { env = \"NOT_SET\" } }\n\n\
                 [targets.elsewhere]\nprovider = \"gone\"\ninstance = \"r-1\"\nlogin = \"redis://127.0.0.1:1\"\nsinks = [\"none\"]\n\n[sinks.none]\nkind = \"file\"\npath = \"{folder}/no/such/folder\"\n\n";
    let adopt = "adopt = { file = \"{folder}/initial\" }\nsinks = [\"raw\"]";
    let own = stage.sink("raw", "format = \"raw\"") + &stage.target(TARGET, INSTANCE, adopt);
    stage.configure(&own);
    let daemon = stage.start(&[]);
    stage.until(TARGET, "settled", 1);
    assert_eq!(stage.keywheel(&["rotate", TARGET, "--wait"]).status, 0);
    daemon.stop();
    let before = stage.status_of(TARGET);
    stage.configure(&(own + other));
    for gone in ["secret-id", "secret-key", "initial", "raw"] {
        std::fs::remove_file(stage.path(gone)).unwrap();
    }
    let live = stage.live(INSTANCE);
    let shown = stage.keywheel(&["reveal", TARGET, "--reason", "the night"]);
    assert_eq!((shown.status, shown.out.as_str()), (0, format!("{live}\n").as_str()), "{}", shown.err);
    let long = stage.keywheel(&["reveal", TARGET, "--reason", &"x".repeat(501)]);
    assert!(long.status == 2 && long.out.is_empty() && long.err.contains("at most 500 characters"), "{}", long.err);
    let all = stage.keywheel(&["recover", TARGET, "--show"]);
    assert!(all.status == 0 && all.out.contains(&format!("generation 2: {live}")), "{}{}", all.out, all.err);
    let told = stage.keywheel(&["history", TARGET, "--json"]).out;
    assert_eq!(told.lines().filter(|line| line.contains("\"revealed\"")).count(), 2, "{told}");
    assert!(told.contains("the night") && !told.contains(&live), "{told}");
    assert_eq!(stage.keywheel(&["audit", "verify"]).status, 0);
    assert_eq!(stage.status_of(TARGET), before, "nothing else is otherwise");
    let none = stage.keywheel(&["reveal", "elsewhere"]);
    assert!(none.status == 2 && none.err.contains("keywheel adopt"), "{}", none.err);
}
