//! What is rendered, when hooks are told, and what a follower does about a source that is down, goes back, or holds rubbish.

use super::place::{Place, password};
use super::stage::until;
use rustix::process::Signal;
use std::fs;
use std::process::Command;

const HOOK: &str =
    "[hooks.note]\nkind = \"command\"\nargv = [\"/bin/sh\", \"-c\", \"echo $KEYWHEEL_GENERATION >>{folder}/told\"]";

#[test]
fn each_generation_is_rendered_once_and_told_once() {
    let place = Place::set("hooks = [\"note\"]", HOOK);
    place.deliver(1);
    let follower = place.follow(&[]);
    for generation in 1..=5 {
        place.deliver(generation);
        place.until_holds("out/password", &password(generation));
        place.until_holds("out/generation", &generation.to_string());
        until("the hook", || place.read("told").lines().last() == Some(&generation.to_string()));
        // The same again changes nothing and tells nobody.
        place.deliver(generation);
    }
    follower.stop();
    assert_eq!(place.read("told"), "1\n2\n3\n4\n5\n");
    // After a start nobody knows whether the hook was told: once more, and nothing is written.
    let before = fs::read_link(place.path("out/..data")).unwrap();
    let follower = place.follow(&[]);
    until("the hook", || place.read("told").ends_with("5\n5\n"));
    follower.until_says("everything is rendered already");
    assert_eq!(fs::read_link(place.path("out/..data")).unwrap(), before);
    follower.stop();
}

#[test]
fn a_source_that_is_down_or_rubbish_or_older_leaves_what_was_rendered() {
    let place = Place::set("", "");
    place.deliver(3);
    let follower = place.follow(&[]);
    place.until_holds("out/password", &password(3));
    let source = place.path("source.json");
    fs::remove_file(&source).unwrap();
    follower.until_says("keeps generation 3");
    follower.until_says("holds no password of orders yet");
    fs::write(&source, "{\"password\":\"half a docu").unwrap();
    fs::set_permissions(&source, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    follower.until_says("is no JSON object");
    // Somebody puts an old backup there.
    fs::write(&source, format!("{{\"password\":\"{}\",\"generation\":2,\"target\":\"orders\"}}", "Old-password-2"))
        .unwrap();
    follower.until_says("went back to generation 2");
    assert_eq!(place.read("out/password"), password(3));
    place.deliver(4);
    place.until_holds("out/password", &password(4));
    let log = follower.log();
    follower.stop();
    for secret in ["half a docu", "Old-password-2", &password(3), &password(4)] {
        assert!(!log.contains(secret), "{log}");
    }
}

#[test]
fn an_application_starts_with_what_an_earlier_start_rendered_while_the_source_is_down() {
    let place = Place::set("", "[follower]\non-change = \"none\"");
    place.deliver(1);
    assert_eq!(place.run(&["follow", "--once"]).status.code(), Some(0));
    fs::remove_file(place.path("source.json")).unwrap();
    let follower = place.follow_shell("cat $1/out/password >$1/seen; while :; do sleep 0.05; done");
    place.until_holds("seen", &password(1));
    follower.until_says("keeps what an earlier start rendered");
    place.deliver(2);
    place.until_holds("out/password", &password(2));
    follower.signal(Signal::TERM);
    assert_eq!(follower.ended(), Some(128 + 15));
}

#[test]
fn one_look_ends_with_what_it_found() {
    let place = Place::set("hooks = [\"note\"]", HOOK);
    let line = |words: &[&str], status: i32, said: &str| {
        let ended = place.run(words);
        let text = format!("{}{}", String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr));
        assert_eq!(ended.status.code(), Some(status), "{words:?}: {text}");
        assert!(text.contains(said), "{words:?}: {text}");
        assert!(!text.contains(&password(1)) && !text.contains(&password(2)), "{text}");
    };
    line(&["check", "--offline"], 0, "1 followed target, nothing wrong");
    line(&["check"], 1, "holds no password of orders yet");
    line(&["follow", "--once"], 2, "orders: nothing yet");
    place.deliver(1);
    line(&["check"], 0, "orders: generation 1 in");
    assert!(!place.path("out").exists(), "check changes nothing");
    line(&["follow", "--once"], 0, "orders: generation 1");
    assert_eq!(place.read("told"), "1\n");
    fs::write(place.path("source.json"), "{").unwrap();
    line(&["follow", "--once"], 1, "keeps what an earlier start rendered");
}

#[test]
fn the_configuration_is_read_again_and_a_bad_one_refused() {
    let place = Place::set("", "");
    place.deliver(1);
    let follower = place.follow(&[]);
    place.until_holds("out/password", &password(1));
    place.configure("hooks = [\"none\"]", "");
    follower.signal(Signal::HUP);
    follower.until_says("There is no such hook");
    place.deliver(2);
    place.until_holds("out/password", &password(2));
    place.configure("hooks = [\"note\"]", HOOK);
    follower.signal(Signal::HUP);
    place.until_holds("told", "2");
    follower.stop();
}

#[test]
fn a_full_disk_keeps_the_old_file_until_there_is_room() {
    let place = Place::set("", "");
    fs::create_dir(place.path("small")).unwrap();
    let mounted =
        Command::new("mount").args(["-t", "tmpfs", "-o", "size=64k", "tmpfs"]).arg(place.path("small")).output();
    if !mounted.is_ok_and(|done| done.status.success()) {
        eprintln!("left out: mounting a file system is not allowed here");
        return;
    }
    let text = place.read("follow.toml").replace("/out\"", "/small/out\"");
    fs::write(place.path("follow.toml"), text).unwrap();
    place.deliver(1);
    let follower = place.follow(&[]);
    place.until_holds("small/out/password", &password(1));
    fs::write(place.path("small/ballast"), vec![0; 128 * 1024]).unwrap_err();
    place.deliver(2);
    follower.until_says("free space where the sink's file lies");
    assert_eq!(place.read("small/out/password"), password(1));
    fs::remove_file(place.path("small/ballast")).unwrap();
    place.until_holds("small/out/password", &password(2));
    follower.stop();
    let _status = Command::new("umount").arg("-l").arg(place.path("small")).status();
}

#[test]
fn what_a_source_does_not_hold_cannot_be_rendered_and_is_found_before() {
    let place = Place::set("", "");
    let text = place.read("follow.toml");
    for (from, to, said) in [
        ("format = \"json\"", "format = \"raw\"", "writes the part user, which its source does not hold"),
        ("sinks = [\"out\"]", "sinks = [\"source\"]", "cannot follow itself"),
        ("sinks = [\"out\"]", "sinks = [\"absent\"]", "There is no such sink"),
        ("source = \"source\"", "source = \"nowhere\"", "There is no such sink"),
        ("every = \"50ms\"", "every = \"1ms\"", "more often than every 50ms"),
        ("[follow.orders]", "[targets.a]\n[follow.orders]", "belongs to one that does"),
        ("format = \"json\"", "format = \"template\"\ntemplate = \"{{ password }}\"", "cannot be followed"),
    ] {
        fs::write(place.path("follow.toml"), text.replace(from, to)).unwrap();
        for words in [&["check", "--offline"][..], &["follow", "--once"]] {
            let ended = place.run(words);
            let complaint = String::from_utf8(ended.stderr).unwrap();
            assert_eq!(ended.status.code(), Some(2), "{to}: {complaint}");
            assert!(complaint.contains(said), "{to}: {complaint}");
        }
    }
}
