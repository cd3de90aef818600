//! Every parser of what others write, over its corpus in `tests/corpus` and over seeded mutations of it: one line for each target with the number
//! of inputs. `fuzz/README.md` says how the same targets run under libFuzzer.
#![allow(clippy::unwrap_used, reason = "a target reports what is wrong by panicking")]

mod mutate;
mod targets;

use mutate::Mutator;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

/// How many times more mutations a long run makes.
const LONG: u64 = 50;

fn over(name: &str, run: fn(&[u8]), mutations: u64) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus").join(name);
    let mut files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty(), "{} is empty", folder.display());
    let corpus: Vec<Vec<u8>> = files.iter().map(|file| std::fs::read(file).unwrap()).collect();
    for (file, input) in files.iter().zip(&corpus) {
        tried(run, input, &file.display().to_string());
    }
    let mutations = if std::env::var_os("KEYWHEEL_LONG").is_some() { mutations * LONG } else { mutations };
    let mut mutator = Mutator::new(name, &corpus);
    for number in 0..mutations {
        tried(run, &mutator.next(), &format!("mutation {number}"));
    }
    println!("{name}: {} inputs of the corpus, {mutations} mutations", corpus.len());
}

/// Runs one input; where it breaks a promise, says which input that is and leaves it beside the build.
fn tried(run: fn(&[u8]), input: &[u8], which: &str) {
    if let Err(cause) = catch_unwind(AssertUnwindSafe(|| run(input))) {
        let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join("fuzz-found");
        std::fs::write(&kept, input).unwrap();
        eprintln!("{which}: \"{}\"\nkept in {}", input.escape_ascii(), kept.display());
        std::panic::resume_unwind(cause);
    }
}

/// A test for each target, with the number of its mutations: few where each one is dear.
macro_rules! targets {
    ($($name:ident $mutations:literal)*) => {$(
        #[test]
        fn $name() {
            over(stringify!($name), targets::$name::run, $mutations);
        }
    )*};
}

targets! {
    acl 3_000
    alibaba 2_000
    command 300
    config 1_000
    credentials 2_000
    events 5_000
    formats 5_000
    login 4_000
    reply 20_000
    rows 5_000
    schedule 1_000
    stand_in_api 2_000
    stand_in_login 3_000
    template 10_000
    tencent 2_000
}

/// A target that is not run finds nothing: every folder of the corpus and every file of targets has its test and its fuzzer.
#[test]
fn every_target_is_run_here_and_under_libfuzzer() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let names = |folder: &str| {
        let names = std::fs::read_dir(root.join(folder)).unwrap();
        let stem = |path: std::path::PathBuf| path.file_stem().unwrap().to_str().unwrap().to_owned();
        let mut names: Vec<String> = names.map(|entry| stem(entry.unwrap().path())).collect();
        names.retain(|name| name != "mod" && name != "stage");
        names.sort();
        names
    };
    let targets = names("tests/fuzz/targets");
    assert_eq!(names("tests/corpus"), targets);
    assert_eq!(names("fuzz/fuzz_targets"), targets);
    let (here, manifest) = (include_str!("main.rs"), std::fs::read_to_string(root.join("fuzz/Cargo.toml")).unwrap());
    for target in targets {
        assert!(here.lines().any(|line| line.trim_start().starts_with(&format!("{target} "))), "{target} has no test");
        assert!(manifest.contains(&format!("name = \"{target}\"")), "{target} is no binary of fuzz/Cargo.toml");
    }
}
