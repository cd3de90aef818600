//! What systemd hears from the daemon, and when.

use crate::common::stage::{Daemon, INITIAL, INSTANCE, Stage, until};
use keywheel::simulator::{Fault, Step};
use rustix::process::Signal;
use std::os::unix::net::UnixDatagram;
use std::sync::Mutex;

const TARGET: &str = "orders-cache";
const ADOPT: &str = "adopt = { file = \"{folder}/initial\" }";

/// The manager's end of `NOTIFY_SOCKET`.
struct Manager {
    socket: UnixDatagram,
    heard: Mutex<Vec<String>>,
}

impl Manager {
    fn new(stage: &Stage) -> Self {
        let socket = UnixDatagram::bind(stage.path("notify")).unwrap();
        socket.set_nonblocking(true).unwrap();
        Self { socket, heard: Mutex::default() }
    }

    /// Everything up to now, a line each.
    fn heard(&self) -> Vec<String> {
        let mut heard = self.heard.lock().unwrap();
        let mut packet = [0; 1_024];
        while let Ok(length) = self.socket.recv(&mut packet) {
            heard.extend(String::from_utf8_lossy(&packet[..length]).lines().map(str::to_owned));
        }
        heard.clone()
    }

    /// Waits for a line that is new since `from`, and says where the next one begins.
    fn until(&self, from: usize, what: &str, is: impl Fn(&str) -> bool) -> usize {
        let mut found = None;
        until(what, || {
            found = self.heard().iter().skip(from).position(|line| is(line));
            found.is_some()
        });
        from + found.unwrap() + 1
    }
}

fn start(stage: &Stage) -> (Manager, Daemon) {
    let manager = Manager::new(stage);
    let socket = stage.path("notify").display().to_string();
    let daemon = stage.start(&[("NOTIFY_SOCKET", &socket), ("WATCHDOG_USEC", "60000000")]);
    (manager, daemon)
}

#[test]
fn systemd_hears_of_readiness_progress_reloads_and_the_end() {
    let stage = Stage::set();
    let target =
        stage.target(TARGET, INSTANCE, &format!("{ADOPT}\nschedule = \"@yearly\"\ntime-zone = \"Asia/Shanghai\""));
    stage.configure(&target);
    let (manager, daemon) = start(&stage);
    manager.until(0, "readiness", |line| line == "READY=1");
    let heard = manager.heard();
    let place = |wanted: &str| heard.iter().position(|line| line == wanted);
    // A sweep reached the ledger before that.
    assert!(place("WATCHDOG=1") < place("READY=1") && place("WATCHDOG=1").is_some(), "{heard:?}");
    let settled = |line: &str| {
        line.starts_with("STATUS=1 target: 1 settled; next orders-cache on ") && line.ends_with("-01-01 at 00:00 CST")
    };
    let then = manager.until(0, "the sentence", settled);
    manager.until(then, "a sign of life", |line| line == "WATCHDOG=1");

    // A call that is never answered: the sentence says that a rotation is under way.
    stage.cloud().script([Step::once("Mod*InstancePassword", Fault::TaskStuck { span: None })]);
    assert_eq!(stage.keywheel(&["rotate", TARGET]).status, 0);
    manager.until(then, "the rotation", |line| line.starts_with("STATUS=1 target: 1 rotating"));

    for (text, refused) in [(format!("{target}nonsense = 1\n"), true), (target.clone(), false)] {
        stage.configure(&text);
        let before = manager.heard().len();
        daemon.signal(Signal::HUP);
        let then = manager.until(before, "the reload", |line| line == "RELOADING=1");
        let time = manager.until(then, "its time", |line| line.starts_with("MONOTONIC_USEC="));
        assert_eq!(time, then + 1, "both in one message");
        let then = manager.until(time, "its end", |line| line == "READY=1");
        let told =
            manager.heard()[time..then].iter().filter(|line| line.starts_with("STATUS=")).cloned().collect::<Vec<_>>();
        let [told] = told.as_slice() else { panic!("{told:?}") };
        assert_eq!(
            told.contains("the new configuration was refused and the old one stays; 1 target"),
            refused,
            "{told}"
        );
    }

    let before = manager.heard().len();
    daemon.stop();
    manager.until(before, "the farewell", |line| line == "STOPPING=1");
    assert!(!manager.heard().iter().any(|line| line.contains(INITIAL) || line.contains(&stage.live(INSTANCE))));
}

#[test]
fn a_daemon_that_cannot_begin_is_never_ready() {
    let stage = Stage::set();
    stage.configure(&stage.target(TARGET, INSTANCE, ADOPT));
    let first = stage.start(&[]);
    let manager = Manager::new(&stage);
    let socket = stage.path("notify").display().to_string();
    let second = stage.spawn(&[("NOTIFY_SOCKET", &socket)]);
    assert_eq!(second.ended(), Some(2), "the ledger is the first one's");
    assert_eq!(manager.heard(), ["STATUS=reading the ledger"]);
    first.stop();
}

/// One-shot runs take turns; `systemd/keywheel-rotate@.timer` may start several at once.
#[test]
fn a_command_that_waits_waits_for_the_ledger_too() {
    use std::process::Stdio;
    let other = "crs-stage002";
    let instances = [INSTANCE, other].map(|id| keywheel::simulator::InstanceSettings::new(id, INITIAL));
    let stage = Stage::set_with(instances.into());
    stage.configure(&(stage.target(TARGET, INSTANCE, ADOPT) + &stage.target("sessions", other, ADOPT)));
    // The first one's task stays under way until the second one waits.
    stage.cloud().script([Step::once("Mod*InstancePassword", Fault::TaskStuck { span: None })]);
    let run = |target: &str| {
        let mut command = stage.command(&["rotate", target, "--wait"]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(stage.log(target)).spawn().unwrap()
    };
    let first = run(TARGET);
    until("the first one's call", || {
        let history = || stage.keywheel(&["history", TARGET, "--json"]).out;
        stage.path("state/ledger.db").exists() && history().contains("\"answered\"")
    });
    let second = run("sessions");
    until("the second one to wait", || {
        std::fs::read_to_string(stage.path("sessions.log")).unwrap().contains("waiting until it is free")
    });
    assert_eq!(stage.passwords(other), [INITIAL]);
    stage.change(keywheel::simulator::Change { release_stuck: true, ..Default::default() });
    for (mut child, target) in [(first, TARGET), (second, "sessions")] {
        until(target, || child.try_wait().unwrap().is_some());
        let ended = child.wait_with_output().unwrap();
        assert!(
            ended.status.success(),
            "{target}: {}",
            std::fs::read_to_string(stage.path(&format!("{target}.log"))).unwrap()
        );
        assert_eq!(String::from_utf8(ended.stdout).unwrap(), format!("{target}: settled, generation 2\n"));
    }
    assert_eq!((stage.passwords(INSTANCE).len(), stage.passwords(other).len()), (2, 2));
}

/// What systemd-analyze says of the units: their keys, their exposure, and that both services are locked in alike.
#[test]
fn systemd_finds_nothing_to_complain_of_in_the_units() {
    let output = std::process::Command::new("tests/verify-units").output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert_eq!((output.status.success(), String::from_utf8_lossy(&said).as_ref()), (true, ""));
}
