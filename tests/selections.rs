//! What a configuration becomes with the instances that its selections found.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

use keywheel::config::{self, Config, Expanded, PasswordRef, SecretRef, Sink};
use keywheel::ledger::known::{Known, Retired};
use keywheel::moment::Moment;
use keywheel::name::TargetName;
use std::path::Path;

const HEAD: &str = r#"
[daemon]
ledger = "sqlite:///var/lib/keywheel/ledger.db"
sealing-key = { file = "/etc/keywheel/sealing-key" }

[providers.shop]
kind = "tencent"
region = "ap-guangzhou"
credentials = { source = "environment" }

[providers.tair]
kind = "alibaba"
region = "cn-hangzhou"
credentials = { source = "environment" }

[sinks.each]
kind = "file"
path = "/run/keywheel/{{ target }}.env"
format = "env"
mode = "0640"

[sinks.by-team]
kind = "file"
path = "/run/{{ tag.team }}/redis.env"

[sinks.all]
kind = "command"
argv = ["/bin/store"]
"#;

/// Each team's target is called after it.
const BY_TEAM: &str = "name = \"cache-{{ tag.team }}\"\nsinks = [\"all\"]";

/// Where the two providers' instances are.
const SHOP: &str = "tencent/china/ap-guangzhou";
const TAIR: &str = "alibaba/aliyuncs/cn-hangzhou";

/// A selection of the first provider's instances that carry `rotate`; `more` are its further keys.
fn selection(name: &str, rotate: &str, more: &str) -> String {
    format!(
        "[targets.{name}]\nselect = {{ provider = \"shop\", tags = {{ rotate = \"{rotate}\" }} }}\nrecovery = \"reset\"\n{more}\n\n"
    )
}

/// The one that most of these stories need.
fn weekly(more: &str) -> String {
    selection("weekly", "weekly", more)
}

fn name(text: &str) -> TargetName {
    text.parse().unwrap()
}

fn read(targets: &str) -> Config {
    read_whole(&format!("{HEAD}{targets}"))
}

fn read_whole(text: &str) -> Config {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keywheel.toml");
    std::fs::write(&path, text).unwrap();
    config::load(&path, []).unwrap_or_else(|findings| panic!("{findings}")).config
}

/// An instance with this endpoint and these tags, found at this second.
fn known(instance: &str, second: i64, tags: &[(&str, &str)]) -> Known {
    Known {
        instance: instance.to_owned(),
        place: if instance.starts_with("r-") { TAIR } else { SHOP }.to_owned(),
        name: format!("name-{instance}"),
        endpoint: Some((format!("{instance}.invalid"), 6380)),
        tags: tags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
        target: None,
        since: Moment::from_seconds(second),
        missing: None,
        retired: None,
    }
}

fn retired(instance: &str, second: i64) -> Known {
    let retired = Retired { since: Moment::from_seconds(second), why: "gone".to_owned() };
    Known { retired: Some(retired), ..known(instance, 0, &[]) }
}

fn found(config: &Config, lists: &[(&str, &[Known])]) -> Expanded {
    let carrying = |selection: &str, known: &Known| {
        let rotate = if selection == "yearly" { "yearly" } else { "weekly" };
        let mut known = known.clone();
        known.tags.entry("rotate".to_owned()).or_insert_with(|| rotate.to_owned());
        known
    };
    let list = |(selection, list): &(&str, &[Known])| {
        (name(selection), list.iter().map(|known| carrying(selection, known)).collect())
    };
    config.with_found(&lists.iter().map(list).collect())
}

fn targets(expanded: &Expanded) -> Vec<&str> {
    expanded.config.targets.keys().map(TargetName::as_str).collect()
}

fn left_out(expanded: &Expanded) -> Vec<String> {
    expanded.left_out.iter().map(|finding| format!("{}: {}", finding.key, finding.what)).collect()
}

#[test]
fn each_instance_is_a_target_of_its_own() {
    let shop = weekly(
        r#"adopt = { file = "/etc/initial/{{ instance }}" }
login = { url = "rediss://{{ host }}:{{ port }}", tls-name = "{{ tag.tls }}.example.com", connections = 3 }
schedule = "30 3 * * SUN"
splay = "20m"
sinks = ["each", "all"]"#,
    );
    let tair = r#"[targets.tair]
select = { provider = "tair", tags = { rotate = "weekly" } }
name = "{{ name }}.{{ tag.tls }}"
recovery = "reset"
login = "redis://{{ host }}:{{ port }}"
sinks = ["each"]
"#;
    let config = read(&(shop + tair));
    assert_eq!(config.targets.len(), 0);
    let tls = &[("tls", "a")];
    let expanded = found(
        &config,
        &[
            ("weekly", &[known("crs-1", 0, tls), known("crs-2", 0, tls)]),
            ("tair", &[known("r-1", 0, tls)]),
            ("of-another-configuration", &[known("crs-9", 0, tls)]),
        ],
    );
    assert_eq!(left_out(&expanded), Vec::<String>::new());
    assert_eq!(targets(&expanded), ["name-r-1.a", "weekly-crs-1", "weekly-crs-2"]);
    let target = &expanded.config.targets[&name("weekly-crs-2")];
    assert_eq!((target.address.instance.as_str(), target.address.account.as_str()), ("crs-2", "root"));
    assert_eq!(target.adopt, Some(PasswordRef::Secret(SecretRef::File("/etc/initial/crs-2".into()))));
    assert_eq!(target.selected_by, Some(name("weekly")));
    let login = target.login.as_ref().unwrap();
    assert_eq!((login.endpoint.host.as_str(), login.endpoint.port, login.endpoint.tls), ("crs-2.invalid", 6380, true));
    assert_eq!((login.tls_name.as_deref(), login.connections), (Some("a.example.com"), 3));
    assert_eq!(target.sinks.iter().map(ToString::to_string).collect::<Vec<_>>(), ["each", "all"]);
    let Sink::File(file) = &target.own_sinks[&"each".parse().unwrap()] else { panic!("a file") };
    assert_eq!((file.path.as_path(), file.mode), (Path::new("/run/keywheel/weekly-crs-2.env"), 0o640));
    assert!(!expanded.config.sinks.contains_key(&"each".parse().unwrap()), "a template is no sink");
    // The splay follows from the target's name, so that instances of one selection do not rotate in one moment.
    let timetable = |of: &str| format!("{:?}", expanded.config.targets[&name(of)].timetable);
    assert_ne!(timetable("weekly-crs-1"), timetable("weekly-crs-2"));
    let tair = &expanded.config.targets[&name("name-r-1.a")];
    assert_eq!(tair.address.account, "r-1", "the default account is named like the instance");
}

#[test]
fn what_cannot_be_is_left_out_with_a_sentence_and_the_rest_goes_on() {
    let written = |name: &str, instance: &str| {
        format!(
            "[targets.{name}]\nprovider = \"shop\"\ninstance = \"{instance}\"\nadopt = {{ env = \"A\" }}\nsinks = [\"all\"]\n\n"
        )
    };
    let config = read(
        &[
            written("written", "crs-1"),
            written("weekly-crs-2", "crs-20"),
            weekly("sinks = [\"by-team\"]"),
            selection("other-account", "weekly", "account = \"app\"\nsinks = [\"each\"]"),
            selection("yearly", "yearly", "name = \"year-{{ tag.team }}\"\nsinks = [\"all\"]"),
        ]
        .concat(),
    );
    let team = |team: &'static str| [("team", team)];
    let weekly = [
        known("crs-1", 0, &team("one")),
        known("crs-2", 0, &team("two")),
        known("crs-3", 2, &team("three")),
        known("crs-4", 1, &team("three")),
        known("crs-5", 0, &[]),
        known("crs-6", 0, &team("../../etc")),
        known("crs-7", 0, &team("seven")),
    ];
    let yearly = [
        known("crs-7", 0, &team("x")),
        known("crs-8", 0, &team("x")),
        known("crs-9", 0, &team("x")),
        known("crs-10", 0, &team("a b")),
    ];
    let expanded = found(&config, &[("weekly", &weekly), ("other-account", &weekly[..1]), ("yearly", &yearly)]);
    assert_eq!(
        targets(&expanded),
        ["other-account-crs-1", "weekly-crs-2", "weekly-crs-4", "weekly-crs-7", "written", "year-x"]
    );
    assert_eq!(expanded.config.targets[&name("weekly-crs-2")].address.instance, "crs-20", "what is written wins");
    assert_eq!(expanded.config.targets[&name("year-x")].address.instance, "crs-8");
    assert_eq!(
        left_out(&expanded),
        [
            "targets.weekly: Instance crs-1 is left out: the target written rotates the same account already",
            "targets.weekly: Instance crs-2 is left out: its target would be called weekly-crs-2, like [targets.weekly-crs-2]",
            "targets.weekly: Instance crs-5 is left out: its sinks: the path of sink by-team: this instance has no value for tag.team",
            "targets.weekly: Instance crs-6 is left out: its sinks: the path of sink by-team: a value in the template is empty, or holds other characters than letters, digits and . _ - :",
            "targets.weekly: Instance crs-3 is left out: its file /run/three/redis.env is that of target weekly-crs-4",
            "targets.yearly: Instance crs-10 is left out: its name: a value in the template is empty, or holds other characters than letters, digits and . _ - :",
            "targets.yearly: Instance crs-7 is left out: the target weekly-crs-7 rotates the same account already",
            "targets.yearly: Instance crs-9 is left out: its target would be called year-x, like instance crs-8",
        ]
    );
    assert!(expanded.left_out[0].origin.line > 0, "it says where the selection stands");
}

/// Whoever may tag an instance decides about that one and no other.
#[test]
fn a_tag_that_makes_no_file_name_leaves_one_instance_out() {
    let named_by_team = HEAD.replace("/run/{{ tag.team }}/redis.env", "/run/{{ tag.team }}.env");
    let (just, over) = ("t".repeat(196), "t".repeat(197));
    let list = [known("crs-1", 0, &[("team", &just)]), known("crs-2", 0, &[("team", &over)])];
    let expanded = found(&read_whole(&(named_by_team + &weekly("sinks = [\"by-team\"]"))), &[("weekly", &list)]);
    assert_eq!(targets(&expanded), ["weekly-crs-1"]);
    assert_eq!(
        left_out(&expanded),
        [
            "targets.weekly: Instance crs-2 is left out: its sinks: the path of sink by-team: the file's name would be longer than 200 bytes"
        ]
    );
}

#[test]
fn a_found_target_that_cannot_be_made_stops_nobody_else() {
    let login = |host: &str| format!("login = {{ url = \"rediss://{host}\", tls-name = \"{host}\" }}\n");
    let written = "[targets.written]\nprovider = \"shop\"\ninstance = \"crs-9\"\nadopt = { env = \"A\" }\nsinks = []\n"
        .to_owned();
    let found_ones = weekly(&format!("sinks = []\n{}", login("{{ tag.tls }}.example.com")));
    let config = read(&(written + &login("redis.example.com") + &found_ones));
    // No certificate can carry the second name.
    let list = [known("crs-1", 0, &[("tls", "one")]), known("crs-2", 0, &[("tls", "two-")])];
    let Expanded { config, left_out } = found(&config, &[("weekly", &list)]);
    assert_eq!((config.targets.len(), left_out.len()), (3, 0));
    let made = keywheel::assemble::Kit::of(&config).unwrap().fleet(&config, Moment::from_seconds(0)).unwrap();
    let names: Vec<&str> = made.fleet.keys().map(TargetName::as_str).collect();
    assert_eq!(names, ["weekly-crs-1", "written"]);
    let left_out: Vec<&str> = made.left_out.keys().map(TargetName::as_str).collect();
    assert_eq!(left_out, ["weekly-crs-2"]);
}

/// The record stands under the name that it was begun with: whoever edits a tag must not make a stranger of an instance.
#[test]
fn an_instance_keeps_the_name_of_its_target() {
    let all = selection("all", "weekly", "name = \"all-{{ instance }}\"\nsinks = [\"all\"]");
    let config = read(&(all + &weekly(BY_TEAM)));
    let named = |instance: &str, team: &str, target: &str| Known {
        target: Some(name(target)),
        ..known(instance, 0, &[("team", team)])
    };
    let list = [named("crs-1", "b", "cache-a"), named("crs-2", "b", "cache-b"), known("crs-3", 0, &[("team", "a")])];
    let expanded = found(&config, &[("weekly", &list), ("all", &[known("crs-1", 9, &[])])]);
    let instances: Vec<(&str, &str)> = expanded
        .config
        .targets
        .iter()
        .map(|(name, target)| (name.as_str(), target.address.instance.as_str()))
        .collect();
    // Not that of the selection whose name comes first in the alphabet, and not that of its tag.
    assert_eq!(instances, [("cache-a", "crs-1"), ("cache-b", "crs-2")]);
    assert_eq!(
        left_out(&expanded),
        [
            "targets.weekly: Instance crs-1 stays the target cache-a, though its templates say cache-b now",
            "targets.all: Instance crs-1 is left out: the target cache-a rotates the same account already",
            "targets.weekly: Instance crs-3 is left out: its target would be called cache-a, like instance crs-1",
        ]
    );
    // Whoever makes a target gets its name, and nobody else does.
    let mut list = [known("crs-4", 0, &[("team", "d")]), known("crs-5", 1, &[("team", "d")])];
    let expanded = found(&config, &[("weekly", &list)]);
    expanded.name(&name("weekly"), &mut list);
    assert_eq!(list.map(|known| known.target), [Some(name("cache-d")), None]);
}

#[test]
fn what_is_retired_keeps_its_place_and_gives_way() {
    let config = read(&weekly(BY_TEAM));
    let team = |known: Known, team: &str| Known { tags: [("team".to_owned(), team.to_owned())].into(), ..known };
    let list = [team(retired("crs-1", 5), "a"), team(retired("crs-2", 6), "b"), team(known("crs-3", 9, &[]), "b")];
    let expanded = found(&config, &[("weekly", &list)]);
    assert_eq!(targets(&expanded), ["cache-b"]);
    assert_eq!(expanded.config.targets[&name("cache-b")].address.instance, "crs-3", "who is there goes first");
    let kept: Vec<&str> = expanded.config.retired.keys().map(TargetName::as_str).collect();
    assert_eq!(kept, ["cache-a"]);
    assert_eq!(left_out(&expanded), Vec::<String>::new(), "nobody is told of what is gone");
}

#[test]
fn what_another_configuration_found_is_no_target_of_this_one() {
    let config = read(&weekly("sinks = [\"all\"]"));
    let list = [
        known("crs-1", 0, &[("rotate", "weekly"), ("more", "")]),
        known("crs-2", 0, &[("rotate", "monthly")]),
        Known { place: "tencent/china/ap-beijing".to_owned(), ..known("crs-3", 0, &[]) },
    ];
    let expanded = found(&config, &[("weekly", &list)]);
    assert_eq!(targets(&expanded), ["weekly-crs-1"]);
    assert!(left_out(&expanded).is_empty() && expanded.config.retired.is_empty());
}

/// The targets of a selection do not exist yet when it is read, and what is tried out stands for each of them.
#[test]
fn warnings_about_each_target_name_none() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keywheel.toml");
    let pair = "[targets.t]\nselect = { provider = \"shop\", tags = { rotate = \"weekly\" } }\nstrategy = \"alternate\"\n\
                accounts = [\"a\", \"b\"]\ngrace = \"1h\"\nadopt = { file = \"/run/{{ instance }}\" }\nsinks = [\"each\"]\n";
    std::fs::write(&path, format!("{HEAD}{pair}")).unwrap();
    let loaded = config::load(&path, []).unwrap_or_else(|findings| panic!("{findings}"));
    let warnings: Vec<String> = loaded.warnings.iter().map(ToString::to_string).collect();
    let text = warnings.join("\n");
    assert!(text.contains("keywheel adopt TARGET --account b") && !text.contains("sample"), "{text}");
}

#[test]
fn a_template_serves_the_targets_that_are_written_down_too() {
    let written = |name: &str, instance: &str, sinks: &str| {
        format!(
            "[targets.{name}]\nprovider = \"shop\"\ninstance = \"{instance}\"\nadopt = {{ env = \"A\" }}\nsinks = [{sinks}]\n\n"
        )
    };
    let config = read(&(written("one", "crs-1", "\"each\", \"all\"") + &written("two", "crs-2", "\"each\"")));
    for target in ["one", "two"] {
        let own = &config.targets[&name(target)].own_sinks;
        let [Sink::File(file)] = own.values().collect::<Vec<_>>()[..] else { panic!("{own:?}") };
        assert_eq!(file.path, Path::new(&format!("/run/keywheel/{target}.env")));
    }
    let expanded = found(
        &read(
            &(written("weekly-crs-3", "crs-1", "\"each\"")
                + &weekly("name = \"w-{{ instance }}\"\nsinks = [\"each\"]")),
        ),
        &[("weekly", &[known("crs-3", 0, &[])])],
    );
    assert_eq!(targets(&expanded), ["w-crs-3", "weekly-crs-3"]);

    // Both fill the template in with the same text.
    let by_instance = HEAD.replace("{{ target }}", "{{ instance }}");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keywheel.toml");
    let accounts = ["app", "root"].map(|account| {
        written(&format!("of-{account}"), "crs-1", "\"each\"")
            .replace("adopt", &format!("account = \"{account}\"\nadopt"))
    });
    std::fs::write(&path, by_instance + &accounts.concat()).unwrap();
    let findings = config::load(&path, []).map(drop).unwrap_err().to_string();
    assert!(findings.contains("The file of sink each already holds the password of target of-app"), "{findings}");
}
