//! The follower as the parent of an application: when it starts it, what it passes on, and how both end.

use super::place::{Place, lives, password, program};
use super::stage::until;
use rustix::process::Signal;
use std::process::{Command, Stdio};

#[test]
fn the_application_starts_with_its_password_there_and_its_end_is_ours() {
    let place = Place::set(
        "",
        "[sinks.unused]\nkind = \"vault\"\naddress = \"https://vault.invalid\"\npath = \"x\"\n\
         auth = { method = \"token\", token = { env = \"VAULT_TOKEN_OF_KEYWHEEL\" } }",
    );
    let script = "cat $1/out/user $1/out/password >$1/seen; tr '\\0' '\\n' </proc/self/environ >$1/environment; \
                  tr '\\0' '\\n' </proc/self/cmdline >$1/arguments; exit 7";
    let folder = place.path("");
    let mut command = place.command(&["follow", "--", "sh", "-c", script, "sh", folder.to_str().unwrap()]);
    command.env("VAULT_TOKEN_OF_KEYWHEEL", "hvs.secret").env("ITS_OWN", "kept").env("NOTIFY_SOCKET", "/nowhere");
    let follower = place.spawn(command);
    follower.until_says("the application waits for its password");
    assert!(!place.path("seen").exists());
    place.deliver(1);
    assert_eq!(follower.ended(), Some(7));
    assert_eq!(place.read("seen"), format!("orders_a{}", password(1)));
    let environment = place.read("environment");
    assert!(environment.contains("ITS_OWN=kept") && environment.contains("PATH="), "{environment}");
    assert!(!environment.contains("NOTIFY_SOCKET") && !environment.contains("VAULT_TOKEN"), "{environment}");
    for private in ["hvs.secret", &password(1)] {
        for place_of_it in [&environment, &place.read("arguments"), &place.read("follow.log")] {
            assert!(!place_of_it.contains(private), "{place_of_it}");
        }
    }
}

#[test]
fn an_application_that_a_signal_ended_ends_us_with_its_number() {
    let place = Place::set("", "");
    place.deliver(1);
    let follower = place.follow_shell("kill -9 $$");
    assert_eq!(follower.ended(), Some(128 + 9));
}

#[test]
fn signals_are_passed_on() {
    let place = Place::set("", "");
    place.deliver(1);
    let follower = place.follow_shell(
        "for it in HUP USR1 USR2; do trap \"echo $it >>$1/heard\" $it; done; trap 'echo TERM >>$1/heard; exit 3' TERM; \
         echo >$1/ready; while :; do sleep 0.05; done",
    );
    until("the application to be ready", || place.path("ready").exists());
    let mut heard = String::new();
    for (signal, name) in [(Signal::HUP, "HUP"), (Signal::USR1, "USR1"), (Signal::USR2, "USR2")] {
        follower.signal(signal);
        heard = format!("{heard}{name}\n");
        until(name, || place.read("heard") == heard);
    }
    follower.signal(Signal::TERM);
    assert_eq!(follower.ended(), Some(3), "it stops in its own way");
    assert_eq!(place.read("heard"), format!("{heard}TERM\n"));
}

#[test]
fn who_does_not_stop_is_killed_with_everything_that_it_started() {
    let place = Place::set("", "[follower]\nstop-timeout = \"200ms\"");
    place.deliver(1);
    let follower = place.follow_shell("trap '' TERM; sleep 1000 & echo $! >$1/other; wait; sleep 1000");
    until("the application's child", || !place.read("other").is_empty());
    follower.signal(Signal::TERM);
    assert_eq!(follower.ended(), Some(128 + 9));
    until("the application's child to be gone", || !lives(&place.read("other")));
    assert!(place.read("follow.log").contains("did not stop within 200ms"));
}

#[test]
fn a_change_starts_the_application_again_or_tells_it_or_does_nothing() {
    let script =
        "trap 'echo told >>$1/log' HUP; cat $1/out/password >>$1/log; echo >>$1/log; while :; do sleep 0.05; done";
    for (on_change, told) in [("restart", password(2)), ("HUP", "told".to_owned()), ("none", String::new())] {
        let place = Place::set("", &format!("[follower]\non-change = \"{on_change}\""));
        place.deliver(1);
        let follower = place.follow_shell(script);
        place.until_holds("log", &password(1));
        place.deliver(2);
        place.until_holds("out/password", &password(2));
        place.until_holds("log", format!("{}\n{told}", password(1)).trim());
        follower.signal(Signal::TERM);
        assert_eq!(follower.ended(), Some(128 + 15), "{on_change}");
        let lines = place.read("log").lines().count();
        assert_eq!(lines, 1 + usize::from(on_change != "none"), "{on_change}: {}", place.read("log"));
    }
}

#[test]
fn a_follower_that_is_killed_takes_the_application_along_in_order() {
    let place = Place::set("", "");
    place.deliver(1);
    let follower =
        place.follow_shell("trap 'echo asked >$1/end; exit' TERM; echo $$ >$1/number; while :; do sleep 0.05; done");
    until("the application", || !place.read("number").is_empty());
    follower.signal(Signal::KILL);
    assert_eq!(follower.ended(), None);
    place.until_holds("end", "asked");
    until("the application to be gone", || !lives(&place.read("number")));
}

#[test]
fn what_cannot_start_is_said_with_status_2() {
    let place = Place::set("", "");
    for (words, said) in [
        (&["follow", "--", "no-such-program"][..], "no-such-program after -- is not there"),
        (&["follow", "--wait-at-most", "200ms", "--", "true"], "did not come within 200ms"),
        (&["run"], "configuration of a follower"),
    ] {
        let ended = place.run(words);
        let complaint = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.code(), Some(2), "{complaint}");
        assert!(complaint.contains(said) && complaint.contains("Next:"), "{complaint}");
    }
    // Stopped while it waits, it ends as the signal says: the application never did its work.
    let follower = place.follow(&["--", "true"]);
    follower.until_says("waits for its password");
    follower.signal(Signal::TERM);
    assert_eq!(follower.ended(), Some(128 + 15));
}

/// In a name space of its own it is process 1: who has no parent any more is its child, and is reaped.
#[test]
fn as_the_first_process_of_a_container_it_reaps() {
    let allowed = Command::new("unshare").args(["--pid", "--fork", "--mount-proc", "true"]).output();
    if !allowed.is_ok_and(|tried| tried.status.success()) {
        eprintln!("left out: name spaces may not be made here");
        return;
    }
    let place = Place::set("", "");
    place.deliver(1);
    let count = "grep -l '^[0-9]* (orphan) ' /proc/[0-9]*/stat 2>/dev/null | wc -l";
    let script = format!(
        "cp /bin/sleep $1/orphan; for i in 1 2 3; do ($1/orphan 0.1 &); done; [ $({count}) -ge 1 ] || exit 8; \
         for i in $(seq 1 600); do [ $({count}) = 0 ] && exit 5; sleep 0.05; done; exit 9"
    );
    let mut command = Command::new("unshare");
    command.args(["--pid", "--fork", "--mount-proc"]).arg(program().get_program());
    command.arg("--config").arg(place.path("follow.toml")).args(["follow", "--", "sh", "-c", &script, "sh"]);
    command.arg(place.path(""));
    let follower = place.spawn(command);
    assert_eq!(follower.ended(), Some(5), "{}", place.read("follow.log"));
    // And a signal reaches the application through both.
    let mut inner = Command::new("unshare");
    inner.args(["--pid", "--fork", "--mount-proc"]).arg(program().get_program());
    inner.arg("--config").arg(place.path("follow.toml")).args(["follow", "--", "sh", "-c"]);
    inner.args(["trap 'echo asked >$1/asked; exit 4' TERM; kill -TERM 1; while :; do sleep 0.05; done", "sh"]);
    inner.arg(place.path("")).stdin(Stdio::null());
    let follower = place.spawn(inner);
    assert_eq!(follower.ended(), Some(4), "{}", place.read("follow.log"));
    assert_eq!(place.read("asked").trim(), "asked");
}
