//! Targets that are found by tag: they appear, rotate, vanish and come back while the daemon runs, and the last list counts when a cloud
//! cannot say.

use crate::common::stage::{Daemon, INITIAL, Stage, until};
use keywheel::simulator::{Change, Fault, InstanceChange, InstanceSettings, Quota, Server, Step};
use rustix::process::Signal;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;

/// The configuration's lines for a provider of this kind at an endpoint; the stage's own one is slower than some tests want.
fn provider(kind: &str, region: &str, endpoint: &str) -> String {
    let (id, key) = match kind {
        "alibaba" => ("access-key-id", "access-key-secret"),
        _ => ("secret-id", "secret-key"),
    };
    format!(
        "[providers.cloud]\nkind = \"{kind}\"\nregion = \"{region}\"\nendpoint = \"{endpoint}\"\nquota = 1000\n\
         credentials = {{ source = \"static\", {id} = {{ file = \"{{folder}}/secret-id\" }}, {key} = {{ file = \"{{folder}}/secret-key\" }} }}\n\n"
    )
}

/// A selection with a file for each target; `more` are further keys.
fn selection(more: &str) -> String {
    format!(
        "[targets.weekly]\nselect = {{ provider = \"cloud\", tags = {{ rotate = \"weekly\" }} }}\nadopt = {{ file = \"{{folder}}/initial\" }}\n\
         sinks = [\"each\"]\n{more}\n\n[sinks.each]\nkind = \"file\"\npath = \"{{folder}}/{{{{ target }}}}\"\n\n"
    )
}

const LOGIN: &str = "login = \"redis://{{ host }}:{{ port }}\"";

fn configure(stage: &Stage, provider: &str, selection: &str) {
    stage.configure_with("discover-every = \"1s\"", &format!("{provider}{selection}"));
    let unlimited = Quota { per_second: 0.0, burst: 0.0 };
    stage.change(Change { quota: Some(unlimited), ..Change::default() });
}

fn tencent(stage: &Stage) -> String {
    provider("tencent", "ap-guangzhou", &stage.cloud().endpoint())
}

fn tagged(id: &str) -> InstanceSettings {
    InstanceSettings::new(id, INITIAL).with_tag("rotate", "weekly").with_tag("team", "orders")
}

fn tag(stage: &Stage, id: &str, value: Option<&str>) {
    let tags: BTreeMap<String, String> = value.iter().map(|value| ("rotate".to_owned(), (*value).to_owned())).collect();
    stage.change_instance(id, InstanceChange { tags: Some(tags), ..InstanceChange::default() });
}

fn names(stage: &Stage) -> Vec<String> {
    let (report, _) = stage.status();
    let targets = report["targets"].as_array().unwrap();
    targets.iter().map(|target| target["target"].as_str().unwrap().to_owned()).collect()
}

fn why(status: &Value) -> &str {
    status["why"].as_str().unwrap_or_default()
}

/// Waits for a round of discovery that began after this.
fn another_round(stage: &Stage) {
    let rounds = || stage.cloud().calls().get("DescribeInstances").map_or(0, |calls| calls.accepted.len());
    let before = rounds();
    // One may be under way already.
    until("two more rounds of discovery", || rounds() >= before + 2);
}

fn log_says(daemon: &Daemon, words: &str) {
    until(words, || daemon.log().contains(words));
}

#[test]
fn instances_on_several_pages_become_targets() {
    const INSTANCES: usize = 103;
    let id = |number: usize| format!("crs-{number:08}");
    let instances =
        (0..INSTANCES).map(|number| InstanceSettings { server: Server::Nothing, ..tagged(&id(number)) }).collect();
    let stage = Stage::set_with(instances);
    configure(&stage, &tencent(&stage), &selection(""));
    let checked = stage.keywheel(&["check"]);
    assert_eq!(checked.status, 0, "{}{}", checked.out, checked.err);
    assert!(checked.out.contains("weekly: finds 103 instances: crs-00000000, crs-00000001"), "{}", checked.out);
    assert!(checked.out.contains("103 targets checked"), "{}", checked.out);
    assert!(!stage.path("state/ledger.db").exists(), "check wrote something down");

    let daemon = stage.start(&[]);
    until("all of them to be settled", || {
        let (report, exit) = stage.status();
        exit == 0 && report["targets"].as_array().unwrap().len() == INSTANCES
    });
    for number in [0, 99, 100, 102] {
        let sink = stage.path(&format!("weekly-{}", id(number)));
        assert_eq!(fs::read_to_string(&sink).unwrap(), INITIAL, "{}", sink.display());
    }
    let one = stage.keywheel(&["rotate", "weekly-crs-00000101", "--wait"]);
    assert_eq!(one.status, 0, "{}{}", one.out, one.err);
    assert_eq!(stage.passwords(&id(101)).len(), 2);
    assert_eq!(stage.passwords(&id(102)).len(), 1);
    daemon.stop();
    let offline = stage.keywheel(&["check", "--offline"]);
    assert!(offline.status == 0 && offline.out.contains("103 targets"), "{}{}", offline.out, offline.err);
    let all = stage.keywheel(&["history", "weekly", "--json"]);
    assert!(all.out.lines().count() > 2 * INSTANCES, "a selection's name stands for its targets: {}", all.err);
}

#[test]
fn an_instance_appears_rotates_vanishes_and_comes_back() {
    let stage = Stage::set_with(vec![
        tagged("crs-a"),
        tagged("crs-b"),
        InstanceSettings::new("crs-c", INITIAL).with_tag("rotate", "never"),
    ]);
    let every_other_second = format!("{LOGIN}\nschedule = \"*/2 * * * * *\"");
    configure(&stage, &tencent(&stage), &selection(&every_other_second));
    let daemon = stage.start(&[]);
    for id in ["crs-a", "crs-b"] {
        until("a rotation by the schedule", || stage.passwords(id).len() >= 3);
    }
    assert_eq!(names(&stage), ["weekly-crs-a", "weekly-crs-b"]);
    assert_eq!(stage.passwords("crs-c").len(), 1);

    tag(&stage, "crs-c", Some("weekly"));
    until("the new one to rotate", || stage.passwords("crs-c").len() >= 2);
    log_says(&daemon, "an instance was found");

    // It vanishes: what was under way is finished, nothing new begins, and everything is kept.
    tag(&stage, "crs-b", None);
    log_says(&daemon, "an instance is retired");
    until("its last rotation to end", || {
        let status = stage.status_of("weekly-crs-b");
        status["state"] == "settled" && why(&status).starts_with("retired since")
    });
    let last = stage.passwords("crs-b");
    let held = stage.path("weekly-crs-b");
    until("the last password to be delivered", || fs::read_to_string(&held).unwrap() == *last.last().unwrap());
    let others = stage.passwords("crs-a").len();
    daemon.signal(Signal::HUP);
    log_says(&daemon, "the configuration was read again");
    until("two more rotations of another one", || stage.passwords("crs-a").len() >= others + 2);
    assert_eq!(stage.passwords("crs-b"), last, "a retired instance was changed");
    let status = stage.status_of("weekly-crs-b");
    assert!(why(&status).contains("lists it no longer with these tags"), "{status}");
    assert_eq!(status["next-due"], Value::Null);
    let explained = stage.keywheel(&["explain", "weekly-crs-b"]);
    assert!(explained.status == 0 && explained.out.contains("is retired"), "{}{}", explained.out, explained.err);
    let history = stage.keywheel(&["history", "weekly-crs-b", "--json"]).out;
    assert!(history.lines().count() > 5, "{history}");
    let plan = stage.keywheel(&["plan", "--for", "1m"]);
    assert!(plan.out.contains("weekly-crs-a") && !plan.out.contains("weekly-crs-b"), "{}", plan.out);
    let refused = stage.keywheel(&["rotate", "weekly-crs-b"]);
    assert!(refused.status == 2 && refused.err.contains("retired since"), "{}{}", refused.out, refused.err);

    tag(&stage, "crs-b", Some("weekly"));
    until("it to go on", || stage.passwords("crs-b").len() > last.len());
    log_says(&daemon, "a retired instance is there again");
    let again = stage.keywheel(&["history", "weekly-crs-b", "--json"]).out;
    assert!(
        again.lines().count() > history.lines().count() && again.contains("\"seq\":1,"),
        "the record was begun anew"
    );
    daemon.stop();
}

#[test]
fn a_listing_that_fails_or_lacks_much_retires_nothing() {
    let ids = ["crs-a", "crs-b", "crs-c", "crs-d"];
    let stage = Stage::set_with(ids.iter().map(|id| tagged(id)).collect());
    configure(&stage, &tencent(&stage), &selection(LOGIN));
    let daemon = stage.start(&[]);
    for id in ids {
        stage.until(&format!("weekly-{id}"), "settled", 1);
    }
    let settled = |when: &str| {
        let (report, exit) = stage.status();
        assert_eq!(exit, 0, "{when}: {report}");
        assert_eq!(names(&stage).len(), ids.len(), "{when}");
        let text = report.to_string();
        assert!(!text.contains("retired"), "{when}: {text}");
    };
    for fault in [
        Fault::DropBeforeEffect,
        Fault::Garbage { shape: keywheel::simulator::Garbage::NoFields, applied: false },
        Fault::Garbage { shape: keywheel::simulator::Garbage::CutOff, applied: false },
    ] {
        let before = daemon.log().matches("cannot be listed").count();
        stage.cloud().script([Step::once("DescribeInstances", fault.clone())]);
        until("the failure to be told", || daemon.log().matches("cannot be listed").count() > before);
        until("the listing to work again", || {
            daemon.log().matches("can be listed again").count() >= daemon.log().matches("cannot be listed").count()
        });
        settled(&format!("{fault:?}"));
    }
    let denied = |actions: &[&str]| {
        let actions = actions.iter().map(|action| (*action).to_owned()).collect();
        stage.change(Change { denied_actions: Some(actions), ..Change::default() });
    };
    denied(&["DescribeInstances"]);
    log_says(&daemon, "grant redis:DescribeInstances on all instances");
    settled("denied");
    let checked = stage.keywheel(&["check"]);
    assert_eq!(checked.status, 1);
    assert!(checked.out.contains("weekly") && checked.out.contains("redis:DescribeInstances"), "{}", checked.out);
    denied(&[]);

    // Whole, and lacking three of four at once: believed only after a while.
    for id in &ids[1..] {
        tag(&stage, id, None);
    }
    log_says(&daemon, "the listing suddenly lacks many instances");
    another_round(&stage);
    settled("many are missing");
    let rotated = stage.keywheel(&["rotate", "weekly-crs-d", "--wait"]);
    assert_eq!(rotated.status, 0, "{}{}", rotated.out, rotated.err);
    let checked = stage.keywheel(&["check"]);
    assert!(checked.out.contains("3 of 4 known instances are missing"), "{}", checked.out);
    for id in &ids[1..] {
        tag(&stage, id, Some("weekly"));
    }
    another_round(&stage);
    // One alone is believed at once.
    tag(&stage, "crs-d", None);
    until("it to be retired", || why(&stage.status_of("weekly-crs-d")).starts_with("retired since"));
    daemon.stop();
}

#[test]
fn the_last_list_counts_while_the_cloud_is_down() {
    let stage = Stage::set_with(vec![tagged("crs-a"), tagged("crs-b"), tagged("crs-c")]);
    let daily = selection(&format!("{LOGIN}\nschedule = \"@daily\""));
    configure(&stage, &tencent(&stage), &daily);
    let daemon = stage.start(&[]);
    for id in ["a", "b", "c"] {
        stage.until(&format!("weekly-crs-{id}"), "settled", 1);
    }
    tag(&stage, "crs-c", None);
    until("one to be retired", || why(&stage.status_of("weekly-crs-c")).starts_with("retired since"));
    daemon.stop();

    stage.cloud().script([Step { times: u32::MAX, ..Step::once("*", Fault::DropBeforeEffect) }]);
    let known = |when: &str| {
        assert_eq!(names(&stage), ["weekly-crs-a", "weekly-crs-b", "weekly-crs-c"], "{when}");
        let plan = stage.keywheel(&["plan", "--for", "2d"]);
        assert!(plan.out.contains("weekly-crs-a") && !plan.out.contains("weekly-crs-c"), "{when}: {}", plan.out);
    };
    known("before the start");
    let daemon = stage.start(&[]);
    log_says(&daemon, "its instances cannot be listed");
    known("after the start");
    assert_eq!(stage.status().1, 0);
    let shown = stage.keywheel(&["reveal", "weekly-crs-a"]);
    assert_eq!(shown.out, format!("{INITIAL}\n"), "{}", shown.err);
    daemon.stop();
}

#[test]
fn alibabas_instances_are_found_too() {
    let tair = |id: &str| InstanceSettings::alibaba(id, INITIAL).with_tag("rotate", "weekly");
    let stage = Stage::set_with(vec![tair("r-bp1stage0001"), tair("r-bp1stage0002"), tagged("crs-a")]);
    let cloud = provider("alibaba", "cn-hangzhou", &stage.cloud().endpoint());
    configure(
        &stage,
        &cloud,
        &selection(&format!("{LOGIN}\nname = \"{{{{ instance }}}}\"\nschedule = \"*/3 * * * * *\"")),
    );
    let checked = stage.keywheel(&["check"]);
    assert_eq!(checked.status, 0, "{}{}", checked.out, checked.err);
    assert!(checked.out.contains("weekly: finds 2 instances: r-bp1stage0001, r-bp1stage0002"), "{}", checked.out);
    let daemon = stage.start(&[]);
    for id in ["r-bp1stage0001", "r-bp1stage0002"] {
        until("a rotation by the schedule", || stage.passwords(id).len() >= 2);
    }
    tag(&stage, "r-bp1stage0002", None);
    until("one to be retired", || why(&stage.status_of("r-bp1stage0002")).starts_with("retired since"));
    assert_eq!(stage.status().1, 0, "one is left");
    tag(&stage, "r-bp1stage0001", None);
    until("the other one to be retired", || why(&stage.status_of("r-bp1stage0001")).starts_with("retired since"));
    let (_, exit) = stage.status();
    assert_eq!(exit, 1, "nothing of the selection is rotated any more, and nobody may notice");
    assert_eq!(stage.passwords("crs-a").len(), 1);
    daemon.stop();
}

#[test]
fn a_rotation_under_way_is_finished_before_its_target_is_retired() {
    let stage = Stage::set_with(vec![tagged("crs-a")]);
    // A slot each second: what is under way when the instance goes is the last.
    configure(&stage, &tencent(&stage), &selection(&format!("{LOGIN}\nschedule = \"* * * * * *\"")));
    stage.cloud().script([Step::once("Mod*InstancePassword", Fault::TaskStuck { span: None })]);
    let daemon = stage.start(&[]);
    until("the call to be accepted", || stage.keywheel(&["history", "--json"]).out.contains("\"answered\""));
    tag(&stage, "crs-a", None);
    log_says(&daemon, "what is under way is finished first");
    another_round(&stage);
    stage.change(Change { release_stuck: true, ..Change::default() });
    log_says(&daemon, "it is retired now");
    assert_eq!(fs::read_to_string(stage.path("weekly-crs-a")).unwrap(), stage.live("crs-a"));
    assert_eq!(stage.passwords("crs-a").len(), 2);
    let status = stage.status_of("weekly-crs-a");
    assert!(why(&status).starts_with("retired since") && status["state"] == "settled", "{status}");
    let refused = stage.keywheel(&["rotate", "weekly-crs-a"]);
    assert_eq!(refused.status, 2, "{}", refused.out);
    daemon.stop();
}

#[test]
fn an_instance_whose_password_nobody_knows_is_reset_at_its_slot_where_that_is_allowed() {
    let stage = Stage::set_with(vec![tagged("crs-00000001")]);
    let keys = |schedule: &str| {
        let more = format!("{LOGIN}\nrecovery = \"reset\"\nschedule = \"{schedule}\"");
        selection(&more).replace("adopt = { file = \"{folder}/initial\" }\n", "")
    };
    configure(&stage, &tencent(&stage), &keys("0 0 1 1 *"));
    let daemon = stage.start(&[]);
    until("it to be taken over", || why(&stage.status_of("weekly-crs-00000001")).contains("slot"));
    assert_eq!(stage.passwords("crs-00000001"), [INITIAL], "nothing is touched before its slot");
    configure(&stage, &tencent(&stage), &keys(&crate::rotation::soon()));
    daemon.signal(Signal::HUP);
    stage.until("weekly-crs-00000001", "settled", 1);
    let live = stage.live("crs-00000001");
    assert_ne!(live, INITIAL);
    let sink = stage.path("weekly-crs-00000001");
    until("the sink to hold it", || fs::read_to_string(&sink).is_ok_and(|text| text == live));
}

#[test]
fn a_selections_name_stands_for_each_of_its_targets_once() {
    let stage = Stage::set_with(vec![tagged("crs-a"), tagged("crs-b")]);
    configure(&stage, &tencent(&stage), &selection(LOGIN));
    let unknown = stage.keywheel(&["explain", "nobody"]);
    assert!(unknown.status == 2 && unknown.err.contains("such as weekly"), "{}", unknown.err);
    let daemon = stage.start(&[]);
    ["weekly-crs-a", "weekly-crs-b"].iter().for_each(|target| stage.until(target, "settled", 1));
    let rotated = stage.keywheel(&["rotate", "weekly", "weekly-crs-a", "--wait"]);
    assert_eq!((rotated.status, rotated.err.as_str()), (0, ""), "{}", rotated.out);
    let shown = stage.keywheel(&["status", "--json", "weekly-crs-b", "weekly"]);
    let report: Value = serde_json::from_str(&shown.out).unwrap();
    let names: Vec<&str> =
        report["targets"].as_array().unwrap().iter().filter_map(|target| target["target"].as_str()).collect();
    assert_eq!(names, ["weekly-crs-b", "weekly-crs-a"]);
    daemon.stop();
}

/// Neither a file nor a reset: `check` names each instance that somebody has to adopt by hand.
#[test]
fn an_instance_that_cannot_begin_by_itself_is_a_finding() {
    let stage = Stage::set_with(vec![tagged("crs-a"), tagged("crs-b")]);
    let keys =
        |more: &str| selection(&format!("{LOGIN}\n{more}")).replace("adopt = { file = \"{folder}/initial\" }\n", "");
    configure(&stage, &tencent(&stage), &keys("recovery = \"reset\""));
    let checked = stage.keywheel(&["check"]);
    assert_eq!(checked.status, 0, "{}{}", checked.out, checked.err);
    configure(&stage, &tencent(&stage), &keys(""));
    let checked = stage.keywheel(&["check"]);
    let said = checked.out + &checked.err;
    assert_eq!(checked.status, 1, "{said}");
    for target in ["weekly-crs-a", "weekly-crs-b"] {
        assert!(said.contains(&format!("keywheel adopt {target}")), "{said}");
    }
}

#[test]
fn a_tag_that_is_edited_makes_no_stranger_of_an_instance() {
    let stage = Stage::set_with(vec![tagged("crs-a")]);
    let keys = format!("{LOGIN}\nrecovery = \"reset\"\nname = \"c-{{{{ tag.team }}}}\"");
    configure(&stage, &tencent(&stage), &selection(&keys));
    let daemon = stage.start(&[]);
    stage.until("c-orders", "settled", 1);
    let rotated = stage.keywheel(&["rotate", "c-orders", "--wait"]);
    assert_eq!(rotated.status, 0, "{}{}", rotated.out, rotated.err);
    let tags = [("rotate", "weekly"), ("team", "payments")].map(|(key, value)| (key.to_owned(), value.to_owned()));
    stage.change_instance("crs-a", InstanceChange { tags: Some(tags.into()), ..InstanceChange::default() });
    log_says(&daemon, "stays the target c-orders, though its templates say c-payments now");
    assert_eq!(names(&stage), ["c-orders"]);
    let history = stage.keywheel(&["history", "c-orders", "--json"]).out;
    // The file knows its password, so nothing was reset.
    assert!(history.contains("\"adopted\"") && !history.contains("\"taken-over\""), "{history}");
    let revealed = stage.keywheel(&["reveal", "c-orders"]);
    assert_eq!(revealed.out.trim_end(), stage.live("crs-a"), "{}", revealed.err);
    daemon.stop();
    let daemon = stage.start(&[]);
    log_says(&daemon, "stays the target c-orders");
    assert_eq!(names(&stage), ["c-orders"], "after a start too");
    daemon.stop();
}

#[test]
fn an_instance_that_changes_its_selection_keeps_its_password() {
    let stage = Stage::set_with(vec![tagged("crs-a")]);
    let resetting = selection(&format!("{LOGIN}\nrecovery = \"reset\""))
        .replace("adopt = { file = \"{folder}/initial\" }\n", "")
        .replace("[targets.weekly]", "[targets.monthly]")
        .replace("rotate = \"weekly\"", "rotate = \"monthly\"");
    let (resetting, _sink) = resetting.split_once("[sinks.each]").unwrap();
    configure(&stage, &tencent(&stage), &format!("{}{resetting}", selection(LOGIN)));
    let daemon = stage.start(&[]);
    stage.until("weekly-crs-a", "settled", 1);
    let rotated = stage.keywheel(&["rotate", "weekly-crs-a", "--wait"]);
    assert_eq!(rotated.status, 0, "{}{}", rotated.out, rotated.err);
    let before = stage.passwords("crs-a");
    tag(&stage, "crs-a", Some("monthly"));
    stage.until("monthly-crs-a", "settled", 1);
    let history = stage.keywheel(&["history", "monthly-crs-a", "--json"]).out;
    // A reset would have been allowed; the ledger knew better.
    assert!(history.contains("\"adopted\"") && !history.contains("\"taken-over\""), "{history}");
    assert_eq!(stage.passwords("crs-a"), before);
    assert_eq!(fs::read_to_string(stage.path("monthly-crs-a")).unwrap(), stage.live("crs-a"));
    daemon.stop();
}

#[test]
fn an_instance_is_adopted_from_a_file_of_its_own() {
    let stage = Stage::set_with(vec![tagged("crs-00000001")]);
    let keys = selection(LOGIN).replace("{ file = \"{folder}/initial\" }", "{ sink = \"each\" }");
    configure(&stage, &tencent(&stage), &keys);
    let daemon = stage.start(&[]);
    until("it to be asked for", || why(&stage.status_of("weekly-crs-00000001")).contains("holds no password"));
    stage.write("weekly-crs-00000001", INITIAL);
    stage.until("weekly-crs-00000001", "settled", 1);
    let asked = stage.keywheel(&["rotate", "weekly-crs-00000001", "--wait"]);
    assert_eq!(asked.status, 0, "{}{}\n{}", asked.out, asked.err, daemon.log());
    assert_eq!(fs::read_to_string(stage.path("weekly-crs-00000001")).unwrap(), stage.live("crs-00000001"));
}

/// One cloud takes connections and says nothing; the other one's instances are found all the same.
#[test]
fn a_cloud_that_hangs_delays_no_other() {
    let stage = Stage::set_with(vec![tagged("crs-other001")]);
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let hanging = provider("tencent", "ap-guangzhou", &format!("http://{}", silent.local_addr().unwrap()));
    // By name it comes before the other selection, and it waits for longer than this test.
    let hanging = hanging.replace("providers.cloud]", "providers.hanging]\ntimeout = \"10m\"");
    let first = "[targets.first]\nselect = { provider = \"hanging\", tags = { rotate = \"daily\" } }\nadopt = { file = \"{folder}/initial\" }\n\n";
    configure(&stage, &format!("{}{hanging}", tencent(&stage)), &format!("{first}{}", selection(LOGIN)));
    let daemon = stage.start(&[]);
    stage.until("weekly-crs-other001", "settled", 1);
    daemon.stop();
}
