//! Configurations, as one file: every finding has its place, and no value of a secret's key is ever shown.

use keywheel::config;
use std::cell::OnceCell;

/// What stands in the seeds where a secret could have got into the wrong place.
const PLANTED: &str = "hunter2";

thread_local! {
    static FOLDER: OnceCell<tempfile::TempDir> = const { OnceCell::new() };
}

/// Reading twice gives the same; findings are sentences in one line, none repeats what was planted as a value, and what was read in has no findings.
pub fn run(input: &[u8]) {
    let path = FOLDER.with(|folder| folder.get_or_init(|| tempfile::tempdir().unwrap()).path().join("keywheel.toml"));
    std::fs::write(&path, input).unwrap();
    let (first, second) = (config::load(&path, []), config::load(&path, []));
    let findings = match (first, second) {
        (Ok(one), Ok(two)) => {
            assert_eq!(one.warnings, two.warnings);
            let (one, two) = (&one.config, &two.config);
            assert_eq!(format!("{one:?}"), format!("{two:?}"));
            for target in one.targets.values() {
                assert!(target.timetable.describe().len() < 4_096);
            }
            return;
        }
        (Err(one), Err(two)) => {
            assert_eq!(one, two);
            one.0
        }
        (Ok(_), Err(findings)) | (Err(findings), Ok(_)) => panic!("once it can be read and once not: {findings}"),
    };
    assert!(!findings.is_empty(), "refused without a reason");
    let text = String::from_utf8_lossy(input);
    let planted = text.contains(PLANTED) && text.lines().all(|line| !is_named(line));
    for finding in findings {
        let sentence = finding.sentence();
        assert!(!finding.what.is_empty(), "{finding:?}");
        assert!(!sentence.contains('\n'), "{sentence:?}");
        assert!(!planted || !sentence.contains(PLANTED), "{sentence:?}");
    }
}

/// Whether what was planted may be a name on this line, and not a value: names are shown.
fn is_named(line: &str) -> bool {
    let (key, value) = line.split_once('=').unwrap_or((line, ""));
    key.contains(PLANTED) || value.contains(['{', '[', ']', '}', ',', '\'']) && value.contains(PLANTED)
}
