//! The sealing key: without the right one nothing starts and nothing changes; it can be exchanged.

use crate::common::stage::{INITIAL, INSTANCE, Stage, digest};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;

const TARGET: &str = "orders-cache";

fn adopted() -> Stage {
    let stage = Stage::set();
    stage.configure(&stage.target(TARGET, INSTANCE, "adopt = { file = \"{folder}/initial\" }"));
    let daemon = stage.start(&[]);
    stage.until(TARGET, "settled", 1);
    daemon.stop();
    stage
}

fn state_files(stage: &Stage) -> BTreeMap<String, String> {
    let entries = fs::read_dir(stage.path("state")).unwrap().map(Result::unwrap);
    let file = |entry: fs::DirEntry| (entry.file_name().into_string().unwrap(), digest(&entry.path()));
    // The lock names its last holder; a reader may leave a log without an entry behind.
    let entries = entries.filter(|entry| entry.metadata().unwrap().len() > 0);
    entries.map(file).filter(|(name, _)| !name.ends_with(".lock") && !name.ends_with("-shm")).collect()
}

#[test]
fn without_the_right_key_nothing_starts_and_nothing_changes() {
    let stage = adopted();
    let good = fs::read_to_string(stage.path("sealing-key")).unwrap();
    let before = state_files(&stage);
    type Spoil = fn(&Stage);
    let spoils: [(&str, Spoil, &str); 5] = [
        ("missing", |stage| fs::remove_file(stage.path("sealing-key")).unwrap(), "sealing-key"),
        ("empty", |stage| stage.write("sealing-key", ""), "sealing"),
        ("no key at all", |stage| stage.write("sealing-key", "swordfish"), "key"),
        ("another", |stage| stage.write("sealing-key", &stage.new_key()), "sealing key"),
        (
            "for everybody",
            |stage| fs::set_permissions(stage.path("sealing-key"), fs::Permissions::from_mode(0o604)).unwrap(),
            "sealing-key",
        ),
    ];
    for (name, spoil, word) in spoils {
        stage.write("sealing-key", &good);
        spoil(&stage);
        for verb in [["run"].as_slice(), &["rotate", TARGET], &["reveal", TARGET], &["recover", TARGET, "--show"]] {
            let refused = stage.keywheel(verb);
            assert_eq!((refused.status, refused.err.contains(word)), (2, true), "{name} {verb:?}: {}", refused.err);
            assert!(!refused.out.contains(INITIAL) && !refused.err.contains("swordfish"), "{name} {verb:?}");
            assert!(!refused.err.contains("panicked"), "{}", refused.err);
        }
        assert_eq!(state_files(&stage), before, "{name}");
        assert_eq!(stage.passwords(INSTANCE), [INITIAL], "{name}");
    }
    stage.write("sealing-key", &good);
    fs::set_permissions(stage.path("sealing-key"), fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(stage.keywheel(&["reveal", TARGET]).out, format!("{INITIAL}\n"));
}

#[test]
fn a_key_is_exchanged_and_the_old_one_opens_nothing_any_more() {
    let stage = adopted();
    let old = fs::read_to_string(stage.path("sealing-key")).unwrap();
    stage.write("next-key", &stage.new_key());
    let next = stage.path("next-key");
    let exchange = ["key", "rotate", "--to", next.to_str().unwrap()];

    let daemon = stage.start(&[]);
    let refused = stage.keywheel(&exchange);
    assert_eq!(refused.status, 2);
    assert!(refused.err.contains(&format!("pid {}", daemon.pid())), "{}", refused.err);
    daemon.stop();

    let exchanged = stage.keywheel(&exchange);
    assert_eq!(exchanged.status, 0, "{}", exchanged.err);
    let refused = stage.keywheel(&["run"]);
    assert_eq!(refused.status, 2);
    assert!(refused.err.contains("sealing key"), "{}", refused.err);

    fs::copy(&next, stage.path("sealing-key")).unwrap();
    let daemon = stage.start(&[]);
    let rotated = stage.keywheel(&["rotate", TARGET, "--wait"]);
    assert_eq!(rotated.status, 0, "{}{}", rotated.out, rotated.err);
    assert_eq!(stage.keywheel(&["reveal", TARGET]).out, format!("{}\n", stage.live(INSTANCE)));
    daemon.stop();
    assert_eq!(stage.keywheel(&["reveal", TARGET]).out, format!("{}\n", stage.live(INSTANCE)));
    assert_ne!(fs::read_to_string(stage.path("sealing-key")).unwrap(), old);
}

#[test]
fn new_keys_are_32_bytes_in_base64_and_never_the_same() {
    use base64::Engine;
    let stage = Stage::set();
    let (one, other) = (stage.new_key(), stage.new_key());
    assert_ne!(one, other);
    let bytes = base64::engine::general_purpose::STANDARD.decode(one.strip_suffix('\n').unwrap()).unwrap();
    assert_eq!(bytes.len(), 32);
}
