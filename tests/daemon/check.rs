//! `check` finds before the first rotation what would fail during it, and changes nothing.

use crate::common::stage::{INITIAL, INSTANCE, Stage, digest};
use keywheel::simulator::{Change, Fault, InstanceChange, InstanceSettings, Reach, Step};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

const TARGET: &str = "orders-cache";

/// A target whose password is taken in, with a sink in a folder of its own.
fn adopted() -> Stage {
    let stage = Stage::set();
    fs::create_dir(stage.path("sinks")).unwrap();
    let sink = stage.sink("sinks/orders", "").replace("[sinks.sinks/orders]", "[sinks.orders]");
    stage.configure(&(sink + &stage.target(TARGET, INSTANCE, "sinks = [\"orders\"]")));
    let adopted = stage.keywheel_reading(&["adopt", TARGET], INITIAL);
    assert_eq!(adopted.status, 0, "{}", adopted.err);
    stage
}

/// What must not change: the cloud's passwords and tasks, the record, and every file in the folder.
fn standing(stage: &Stage) -> (serde_json::Value, String, BTreeMap<String, String>) {
    let mut cloud = stage.cloud().state();
    for moving in ["now", "calls", "refusals"] {
        cloud.as_object_mut().unwrap().remove(moving);
    }
    let mut files = BTreeMap::new();
    for folder in ["", "state", "sinks"] {
        let Ok(entries) = fs::read_dir(stage.path(folder)) else { continue };
        for entry in entries.map(Result::unwrap).filter(|entry| entry.file_type().unwrap().is_file()) {
            let name = entry.file_name().into_string().unwrap();
            // The index of SQLite's log is shared memory that any reader touches; a log without an entry says nothing.
            if !name.ends_with("-shm") && entry.metadata().unwrap().len() > 0 {
                files.insert(format!("{folder}/{name}"), digest(&entry.path()));
            }
        }
    }
    (cloud, stage.keywheel(&["history", "--json"]).out, files)
}

fn clock(minutes: i64) -> Change {
    Change { clock_offset_millis: Some(minutes * 60_000), ..Change::default() }
}

fn denied(action: &str) -> Change {
    Change { denied_actions: Some(vec![action.to_owned()]), ..Change::default() }
}

/// What is wrong, how it is brought about, and words of the finding.
type Row = (&'static str, fn(&Stage), &'static [&'static str]);

const TROUBLES: &[Row] = &[
    ("bad key", |stage| stage.write("secret-key", "another+Key"), &["AuthFailure.SignatureFailure", "SecretKey"]),
    ("unknown key id", |stage| stage.write("secret-id", "AKIDnobody"), &["AuthFailure.SecretIdNotFound"]),
    ("no key", |stage| fs::remove_file(stage.path("secret-key")).unwrap(), &["secret-key", "cannot be"]),
    ("may not see instances", |stage| stage.change(denied("DescribeInstances")), &["DescribeInstances", "permission"]),
    ("may not see tasks", |stage| stage.change(denied("DescribeTaskInfo")), &["DescribeTaskInfo", "permission"]),
    ("may not list tasks", |stage| stage.change(denied("DescribeTaskList")), &["DescribeTaskList", "permission"]),
    (
        "wrong old password",
        |stage| {
            let password = Some(keywheel::secret::Secret::new("Somebody-Else-1".to_owned()));
            stage.change_instance(INSTANCE, InstanceChange { password, ..InstanceChange::default() });
        },
        &["refuses the password", "recover"],
    ),
    (
        "locked",
        |stage| {
            let lock = Some(Duration::from_secs(600));
            stage.change_instance(INSTANCE, InstanceChange { lock, ..InstanceChange::default() });
        },
        &[INSTANCE, "another operation runs on the instance"],
    ),
    (
        "not running",
        |stage| stage.change_instance(INSTANCE, InstanceChange { status: Some(1), ..InstanceChange::default() }),
        &[INSTANCE, "running"],
    ),
    (
        "isolated",
        |stage| stage.change_instance(INSTANCE, InstanceChange { status: Some(-2), ..InstanceChange::default() }),
        &[INSTANCE, "isolated"],
    ),
    (
        "password-free",
        |stage| stage.change_instance(INSTANCE, InstanceChange { no_auth: Some(true), ..InstanceChange::default() }),
        &["password", "switch the instance to password login"],
    ),
    ("sink without its folder", |stage| fs::remove_dir_all(stage.path("sinks")).unwrap(), &["sinks"]),
    (
        "sink that is a folder",
        |stage| {
            fs::remove_dir_all(stage.path("sinks")).unwrap();
            fs::create_dir_all(stage.path("sinks/orders")).unwrap();
        },
        &["sinks/orders"],
    ),
    (
        "unreachable login",
        |stage| {
            stage.change_instance(INSTANCE, InstanceChange { reach: Some(Reach::Refuse), ..InstanceChange::default() });
        },
        &["redis://", "login address"],
    ),
    ("slow clock", |stage| stage.change(clock(6)), &["ahead", "clock"]),
    ("fast clock", |stage| stage.change(clock(-6)), &["behind", "clock"]),
    ("missing sealing key", |stage| fs::remove_file(stage.path("sealing-key")).unwrap(), &["sealing-key"]),
    ("another sealing key", |stage| stage.write("sealing-key", &stage.new_key()), &["sealing key"]),
    (
        "sealing key for everybody",
        |stage| fs::set_permissions(stage.path("sealing-key"), fs::Permissions::from_mode(0o644)).unwrap(),
        &["sealing-key", "read"],
    ),
];

#[test]
fn each_trouble_is_found_and_nothing_is_changed() {
    let mut wrong = Vec::new();
    for (name, bring_about, words) in TROUBLES {
        let stage = adopted();
        bring_about(&stage);
        let before = standing(&stage);
        let found = stage.keywheel(&["check"]);
        // A table breaks sentences into lines.
        let text = found.out.split_whitespace().collect::<Vec<_>>().join(" ");
        if found.status != 1 || !words.iter().all(|word| text.contains(word)) || !text.contains("Nothing was changed") {
            wrong.push(format!("{name}: exit {}\n{}{}", found.status, found.out, found.err));
        }
        if standing(&stage) != before {
            wrong.push(format!("{name}: something changed"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn where_all_is_well_nothing_is_found_and_several_troubles_are_found_at_once() {
    let stage = adopted();
    let before = standing(&stage);
    let well = stage.keywheel(&["check"]);
    assert_eq!((well.status, well.err.as_str()), (0, ""), "{}", well.out);
    assert_eq!(standing(&stage), before);
    stage.change_instance(
        INSTANCE,
        InstanceChange { reach: Some(Reach::Refuse), status: Some(1), ..InstanceChange::default() },
    );
    fs::remove_dir_all(stage.path("sinks")).unwrap();
    let found = stage.keywheel(&["check"]);
    assert_eq!(found.status, 1);
    assert!(found.out.contains("3 findings"), "{}", found.out);
}

#[test]
fn an_engine_that_takes_other_passwords_than_the_profile_is_found() {
    let ckv = InstanceSettings { engine: 3, ..InstanceSettings::new(INSTANCE, INITIAL) };
    let stage = Stage::set_with(vec![ckv]);
    for (profile, exit) in [("", 1), ("\nprofile = \"tencent-ckv\"", 0)] {
        stage.configure(&stage.target(
            TARGET,
            INSTANCE,
            &format!("adopt = {{ file = \"{{folder}}/initial\" }}{profile}"),
        ));
        let found = stage.keywheel(&["check"]);
        assert_eq!(found.status, exit, "{}{}", found.out, found.err);
        let text = found.out.split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(text.contains("is CKV and takes no password"), exit == 1, "{}", found.out);
    }
    // The instance's own rule may be one that the policy cannot meet either.
    let rule = keywheel::simulator::PasswordPolicy { enabled: true, letters: 1, digits: 1, specials: 3, length: 8 };
    stage.change_instance(INSTANCE, InstanceChange { password_policy: Some(rule), ..InstanceChange::default() });
    let found = stage.keywheel(&["check"]);
    assert!(
        found.status == 1 && found.out.contains("cannot") && found.out.contains("both"),
        "{}{}",
        found.out,
        found.err
    );
}

/// The codes of this action are not published, and a rotation can do without its answer.
#[test]
fn a_password_policy_that_cannot_be_read_is_a_finding_and_holds_up_no_rotation() {
    for code in ["InvalidParameter.InvalidParameter", "FailedOperation.SystemError"] {
        let stage = adopted();
        let refused = Fault::RefuseBeforeEffect { code: code.to_owned() };
        let always = Step { times: u32::MAX, ..Step::once("DescribeInstancePasswordPolicy", refused) };
        stage.cloud().script([always]);
        let found = stage.keywheel(&["check"]);
        let text = found.out.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(found.status == 1 && text.contains(code) && text.contains("1 finding"), "{code}: {}", found.out);
        let rotated = stage.keywheel(&["rotate", TARGET, "--wait"]);
        assert_eq!(rotated.status, 0, "{code}: {}{}", rotated.out, rotated.err);
    }
}

#[test]
fn before_adoption_the_configured_password_is_tried() {
    let stage = Stage::set();
    stage.configure(&stage.target(TARGET, INSTANCE, "adopt = { file = \"{folder}/initial\" }"));
    for (password, exit) in [(INITIAL, 0), ("Not-The-One-1", 1)] {
        stage.write("initial", password);
        let found = stage.keywheel(&["check"]);
        assert_eq!(found.status, exit, "{}{}", found.out, found.err);
        assert!(!stage.path("state/ledger.db").exists(), "check made a ledger");
    }
    stage.configure(&stage.target(TARGET, INSTANCE, ""));
    let found = stage.keywheel(&["check"]);
    assert_eq!(found.status, 1);
    assert!(found.out.contains("keywheel adopt orders-cache"), "{}", found.out);
}

#[test]
fn a_wrong_configuration_is_refused_whole_before_anything_is_tried() {
    let stage = Stage::set();
    let target = |more: &str| stage.target(TARGET, INSTANCE, more);
    for (rest, words) in [
        (target("shcedule = \"@daily\""), &["shcedule", "schedule", "keywheel.toml:"][..]),
        (target("schedule = \"0 0 30 2 *\""), &["never fires"]),
        (target("schedule = \"@daily\"\nwindow = \"0s\""), &["window"]),
        (target("schedule = \"@daily\"\nwindow = \"1h\"\nsplay = \"2h\""), &["splay"]),
        (target("policy = \"short\"") + "[policies.short]\nlength = 4\n", &["short"]),
        (target("") + &target("").replace(TARGET, "twin"), &["twin", TARGET]),
        (target("schedule = \"x\"\nsinks = [\"none\"]"), &["schedule", "no such sink"]),
    ] {
        stage.configure(&rest);
        for verb in [["check", "--offline"].as_slice(), &["check"], &["run"], &["status"]] {
            let refused = stage.keywheel(verb);
            assert_eq!((refused.status, refused.out.as_str()), (2, ""), "{verb:?} {rest}");
            for word in words {
                assert!(refused.err.contains(word), "{verb:?} says nothing of {word}: {}", refused.err);
            }
        }
    }
    assert!(!stage.path("state/ledger.db").exists());
    // What looks like a secret in the wrong place is not repeated.
    stage.configure(&target("adopt = \"Hunter-2-Hunter\""));
    let refused = stage.keywheel(&["check", "--offline"]);
    assert!(refused.status == 2 && !refused.err.contains("Hunter"), "{}", refused.err);
}
