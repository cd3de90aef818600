//! Taking in today's password from wherever it is kept: verified first, nothing changed, and a sentence where it cannot be.

use crate::common::stage::{INITIAL, INSTANCE, Outcome, Stage, until};
use crate::common::traces::{assert_absent, assert_absent_in_folder};
use keywheel::simulator::InstanceSettings;
use std::fs;
use std::os::unix::fs::PermissionsExt;

const TARGET: &str = "orders-cache";
const WRONG: &str = "Not-The-One-1/x";

/// A target with a sink of this format.
fn stage_with(format: &str, more: &str) -> Stage {
    let stage = Stage::set();
    let sink = stage.sink("orders", &format!("format = \"{format}\"\n{more}"));
    stage.configure(&(sink + &stage.target(TARGET, INSTANCE, "sinks = [\"orders\"]")));
    stage
}

fn well(outcome: &Outcome) {
    assert_eq!(outcome.status, 0, "{}{}", outcome.out, outcome.err);
}

/// Refused with these words; nothing was taken in or changed, and no password is said.
fn refused(stage: &Stage, outcome: &Outcome, words: &[&str]) {
    let said = outcome.err.split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!((outcome.status, outcome.out.as_str()), (2, ""), "{said}");
    for word in words {
        assert!(said.contains(word), "it does not say {word:?}: {said}");
    }
    assert_absent("an error", outcome.err.as_bytes(), &[INITIAL.to_owned(), WRONG.to_owned(), "hunter2".to_owned()]);
    assert_eq!(stage.passwords(INSTANCE), [INITIAL]);
    assert_eq!(stage.keywheel(&["reveal", TARGET]).status, 2, "nothing was taken in");
}

fn adopt(stage: &Stage, from: &str) -> Outcome {
    stage.keywheel(&["adopt", TARGET, "--from", from])
}

fn taken_in(stage: &Stage, outcome: &Outcome, password: &str) {
    well(outcome);
    assert!(outcome.out.contains("nothing was changed"), "{}", outcome.out);
    assert_eq!(stage.status_of(TARGET)["generation"], 1);
    assert_eq!(stage.keywheel(&["reveal", TARGET]).out, format!("{password}\n"));
    assert_absent("what it said", format!("{}{}", outcome.out, outcome.err).as_bytes(), &[password.to_owned()]);
}

/// The ledger is gone and with it every password; the sink still has the one that works.
#[test]
fn a_lost_ledger_is_begun_anew_from_the_sink_that_keywheel_wrote() {
    for format in ["raw", "env", "json", "yaml", "url"] {
        let stage = stage_with(format, "");
        well(&stage.keywheel_reading(&["adopt", TARGET], INITIAL));
        well(&stage.keywheel(&["rotate", TARGET, "--wait"]));
        let live = stage.live(INSTANCE);
        let written = fs::read(stage.path("orders")).unwrap();
        fs::remove_dir_all(stage.path("state")).unwrap();
        fs::create_dir(stage.path("state")).unwrap();

        taken_in(&stage, &adopt(&stage, "sink:orders"), &live);
        assert_eq!(stage.passwords(INSTANCE).len(), 2, "{format}: nothing was changed there");
        assert_eq!(fs::read(stage.path("orders")).unwrap(), written, "{format}: nor here");
        let daemon = stage.start(&[]);
        // The file's numbers are ahead of the new ledger's, and it says how to go on.
        until("the sink to refuse", || stage.keywheel(&["explain", TARGET]).out.contains(".orders.keywheel"));
        assert_eq!(stage.status_of(TARGET)["state"], "behind");
        fs::remove_file(stage.path(".orders.keywheel")).unwrap();
        stage.until(TARGET, "settled", 1);
        daemon.stop();
    }
}

#[test]
fn a_sink_that_cannot_give_the_password_says_why_and_nothing_changes() {
    let stage = stage_with("env", "mode = \"0640\"");
    refused(
        &stage,
        &adopt(&stage, "sink:orders"),
        &["the sink orders", "holds no password of orders-cache", "keywheel adopt orders-cache"],
    );
    for (content, mode, words) in [
        ("", 0o600, &["holds no password"][..]),
        ("REDIS_HOST=\"h\"\n", 0o600, &["does not set REDIS_PASSWORD", "correct what is there"]),
        ("REDIS_PASSWORD=hunter2 # why\n", 0o600, &["a line 1", "keywheel adopt orders-cache"]),
        ("REDIS_PASSWORD=\"hunter2\"\n", 0o644, &["has the mode 0644, wider than the sink's 0640", "chmod 0640"]),
        (
            "REDIS_PASSWORD=\"Not-The-One-1/x\"\n",
            0o640,
            &[
                "refuses this password",
                "nothing was taken in or changed",
                "the sink orders does not hold today's password",
            ],
        ),
    ] {
        stage.write("orders", content);
        fs::set_permissions(stage.path("orders"), fs::Permissions::from_mode(mode)).unwrap();
        refused(&stage, &adopt(&stage, "sink:orders"), words);
        assert_eq!(fs::read_to_string(stage.path("orders")).unwrap(), content, "the sink is left alone");
    }
    refused(&stage, &adopt(&stage, "sink:order"), &["there is no sink order", "such as orders"]);
    let template = stage_with("template", "template = \"pass {{ password }}\"");
    refused(&template, &adopt(&template, "sink:orders"), &["cannot be read back", "keywheel adopt orders-cache"]);
}

#[test]
fn each_place_is_read_and_only_a_password_that_works_is_taken_in() {
    for daemon_runs in [false, true] {
        for kind in ["env", "file", "credential", "-"] {
            let stage = stage_with("raw", "");
            let daemon = daemon_runs.then(|| stage.start(&[]));
            let from = match kind {
                "env" => "env:ORDERS_INITIAL".to_owned(),
                "file" => format!("file:{}", stage.path("given").display()),
                "credential" => "credential:given".to_owned(),
                word => word.to_owned(),
            };
            let give = |password: &str| {
                let mut command = stage.command(&["adopt", TARGET, "--from", &from]);
                stage.write("given", &format!("{password}\n"));
                match kind {
                    "env" => command.env("ORDERS_INITIAL", password).stdin(std::process::Stdio::null()),
                    "-" => command.stdin(fs::File::open(stage.path("given")).unwrap()),
                    _ => command.env("CREDENTIALS_DIRECTORY", stage.folder()).stdin(std::process::Stdio::null()),
                };
                let output = command.output().unwrap();
                let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
                Outcome { status: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) }
            };
            refused(
                &stage,
                &give(WRONG),
                &[
                    "refuses this password",
                    "nothing was taken in or changed",
                    "run `keywheel adopt orders-cache` again",
                ],
            );
            taken_in(&stage, &give(INITIAL), INITIAL);
            if let Some(daemon) = daemon {
                stage.until(TARGET, "settled", 1);
                assert_absent("the log", daemon.log().as_bytes(), &[INITIAL.to_owned(), WRONG.to_owned()]);
                daemon.stop();
            }
            assert_absent_in_folder(&stage.path("state"), &[INITIAL.to_owned(), WRONG.to_owned()]);
        }
    }
}

#[test]
fn what_is_no_place_is_refused_before_anything_is_read() {
    let stage = stage_with("raw", "");
    let teaches = &["file:/path, env:NAME, credential:NAME, sink:NAME, or -"][..];
    for word in ["hunter2", "", "/hunter2", "vault:hunter2", "env:hunter2!", "file:", "sink:hunter2 x"] {
        refused(&stage, &adopt(&stage, word), teaches);
    }
    refused(&stage, &adopt(&stage, "hunter2"), &["a password itself never stands on a command line"]);
    for (word, words) in [
        ("env:NOT_SET", &["The variable NOT_SET is not set"][..]),
        ("file:/no/such/file", &["The file /no/such/file cannot be read"]),
        ("credential:given", &["CREDENTIALS_DIRECTORY is not set"]),
    ] {
        refused(&stage, &adopt(&stage, word), words);
    }
    refused(&stage, &stage.keywheel(&["adopt", TARGET, "--from", "-"]), &["no password was given"]);
}

#[test]
fn the_daemon_takes_it_in_from_the_configured_sink_once_it_is_there_and_right() {
    let stage = Stage::set();
    let more = "adopt = { sink = \"given\" }\nsinks = [\"orders\"]";
    let sinks = stage.sink("given", "format = \"json\"") + &stage.sink("orders", "");
    stage.configure(&(sinks + &stage.target(TARGET, INSTANCE, more)));
    let checked = stage.keywheel(&["check"]);
    let said = checked.out.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(checked.status == 1 && said.contains("the sink given") && said.contains("holds no password"), "{said}");
    assert_eq!(checked.err, "", "a sink that is only read is used");

    let daemon = stage.start(&[]);
    until("the wait for the sink", || {
        stage.status_of(TARGET)["why"].as_str().is_some_and(|why| why.contains("holds no password of orders-cache"))
    });
    stage.write("given", &format!("{{\"password\": \"{WRONG}\"}}"));
    until("the halt", || stage.status_of(TARGET)["state"] == "halted");
    assert_eq!(stage.passwords(INSTANCE), [INITIAL]);
    assert!(!stage.path("orders").exists(), "nothing unproven is published");

    stage.write("given", &format!("{{\"password\": \"{INITIAL}\", \"user\": null}}"));
    well(&stage.keywheel(&["recover", TARGET, "--resume"]));
    stage.until(TARGET, "settled", 1);
    assert_eq!(fs::read_to_string(stage.path("orders")).unwrap(), INITIAL);
    assert!(!stage.path(".given.keywheel").exists(), "the sink that was read is left alone");
    well(&stage.keywheel(&["rotate", TARGET, "--wait"]));
    assert_absent("the log", daemon.log().as_bytes(), &[INITIAL.to_owned(), WRONG.to_owned(), stage.live(INSTANCE)]);
    daemon.stop();
}

#[test]
fn a_program_that_reads_back_gives_the_password() {
    let stage = Stage::set();
    let program = "[sinks.store]\nkind = \"command\"\nargv = [\"/bin/sh\", \"-c\", \"cat > {folder}/stored\"]\n\
                   read = [\"/bin/sh\", \"-c\", \"cat > {folder}/asked; cat {folder}/stored\"]\n\n";
    let more = "adopt = { sink = \"store\" }\nsinks = [\"store\"]";
    stage.configure(&(program.to_owned() + &stage.target(TARGET, INSTANCE, more)));
    refused(&stage, &adopt(&stage, "sink:store"), &["the sink store", "/bin/sh", "No such file"]);
    stage.write("stored", "{\"password\":\"By-Hand+2019/x&Y\",\"target\":\"another\"}");
    refused(&stage, &adopt(&stage, "sink:store"), &["another target's password", "KEYWHEEL_TARGET"]);
    stage.write("stored", "{\"password\":\"By-Hand+2019/x&Y\"}");
    let daemon = stage.start(&[]);
    stage.until(TARGET, "settled", 1);
    assert_eq!(
        fs::read_to_string(stage.path("asked")).unwrap(),
        "{\"version\":1,\"action\":\"read\",\"target\":\"orders-cache\"}\n"
    );
    daemon.stop();
}

/// Clients of such an account send `ACCOUNT:PASSWORD`, so that is what stands in the file.
#[test]
fn the_account_in_front_of_the_password_is_not_taken_for_a_part_of_it() {
    let id = "r-bp1stage0002";
    let stage = Stage::set_with(vec![InstanceSettings::alibaba(id, INITIAL).with_account("orders", "orders:2020/x")]);
    let provider = format!(
        "[providers.tair]\nkind = \"alibaba\"\nregion = \"cn-hangzhou\"\nendpoint = \"{}\"\ncredentials = {{ source = \"static\", \
         access-key-id = {{ file = \"{{folder}}/secret-id\" }}, access-key-secret = {{ file = \"{{folder}}/secret-key\" }} }}\n\n",
        stage.cloud().endpoint()
    );
    let target = stage.target(TARGET, id, "account = \"orders\"\nadopt = { sink = \"orders\" }\nsinks = [\"orders\"]");
    let sink = stage.sink("orders", "format = \"env\"");
    stage.configure(&(provider + &sink + &target.replace("\"shop\"", "\"tair\"")));
    stage.write("orders", "REDIS_PASSWORD=orders:orders:2020/x\n");
    let daemon = stage.start(&[]);
    stage.until(TARGET, "settled", 1);
    assert_eq!(stage.keywheel(&["reveal", TARGET]).out, "orders:2020/x\n");
    assert!(fs::read_to_string(stage.path("orders")).unwrap().contains("REDIS_PASSWORD=\"orders:orders:2020/x\"\n"));
    daemon.stop();
}
