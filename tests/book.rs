//! The book in docs/, and the pages beside it: every chapter is in the summary, every link and inclusion leads somewhere, nothing is said twice.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop there")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Component, Path, PathBuf};
use std::process::Command;

/// Pages outside the book that people read.
const BESIDE: [&str; 6] =
    ["README.md", "ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "container/README.md"];

/// From how many letters on a sentence that stands twice is a copy and not a turn of phrase.
const A_COPY: usize = 70;

fn tree() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn text(path: &Path) -> String {
    fs::read_to_string(tree().join(path)).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The book's chapters, by their path in the sources.
fn chapters() -> BTreeSet<PathBuf> {
    let files = fs::read_dir(tree().join("docs")).unwrap().map(|file| file.unwrap().path());
    let pages = files.filter(|path| path.extension().is_some_and(|extension| extension == "md"));
    let named = pages.map(|path| path.strip_prefix(tree()).unwrap().to_owned());
    named.filter(|path| !path.ends_with("SUMMARY.md")).collect()
}

/// A page without what stands between fences.
fn prose(text: &str) -> String {
    let mut is_code = false;
    let lines = text.lines().filter(|line| {
        let fence = line.trim_start().starts_with("```");
        is_code ^= fence;
        !fence && !is_code
    });
    lines.fold(String::new(), |all, line| all + line + "\n")
}

/// Where the links of a page lead: what stands in `](…)` and is not elsewhere on the net.
fn links(text: &str) -> Vec<String> {
    let prose = prose(text);
    let ends = prose.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
    ends.map(|(link, _)| link.to_owned()).filter(|link| !link.contains("://")).collect()
}

/// The headings of a page as GitHub and mdBook name them.
fn anchors(text: &str) -> BTreeSet<String> {
    let prose = prose(text);
    let headings = prose.lines().filter(|line| line.starts_with('#'));
    let letters = |heading: &str| {
        let plain = heading.trim_start_matches('#').trim().to_lowercase();
        plain
            .chars()
            .filter_map(|letter| match letter {
                ' ' => Some('-'),
                letter if letter.is_alphanumeric() || matches!(letter, '-' | '_') => Some(letter),
                _ => None,
            })
            .collect()
    };
    headings.map(letters).collect()
}

/// The path without `..` in it.
fn plain(path: &Path) -> PathBuf {
    path.components().fold(PathBuf::new(), |mut whole, part| {
        if part == Component::ParentDir {
            assert!(whole.pop(), "{} leaves the sources", path.display());
        } else {
            whole.push(part);
        }
        whole
    })
}

/// What a page takes in from elsewhere: the file, and the part of it.
fn included(page: &Path) -> Vec<(PathBuf, Option<String>)> {
    let text = text(page);
    let asked = text.split("{{#include ").skip(1).map(|rest| rest.split_once("}}").unwrap().0.to_owned());
    let place = |asked: String| {
        let (path, part) = match asked.split_once(':') {
            Some((path, part)) => (path.to_owned(), Some(part.to_owned())),
            None => (asked, None),
        };
        (plain(&page.with_file_name(path)), part)
    };
    asked.map(place).collect()
}

#[test]
fn the_summary_has_each_chapter_once() {
    let named: Vec<PathBuf> =
        links(&text(Path::new("docs/SUMMARY.md"))).iter().map(|link| Path::new("docs").join(link)).collect();
    assert_eq!(named.iter().cloned().collect::<BTreeSet<_>>(), chapters());
    assert_eq!(named.len(), chapters().len(), "one of them stands there twice");
}

#[test]
fn every_link_leads_somewhere() {
    for page in chapters().into_iter().chain(BESIDE.map(PathBuf::from)) {
        let own = text(&page);
        for link in links(&own) {
            let (path, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let target = if path.is_empty() { page.clone() } else { plain(&page.with_file_name(path)) };
            assert!(tree().join(&target).exists(), "{}: {link}", page.display());
            // A page of the book is also read where there is nothing but the book.
            let leaves = page.starts_with("docs") && !target.starts_with("docs");
            assert!(!leaves, "{}: {link} leads out of the book", page.display());
            let mut there = if anchor.is_empty() { continue } else { anchors(&text(&target)) };
            for (file, _) in included(&target) {
                there.extend(anchors(&text(&file)));
            }
            assert!(there.contains(anchor), "{}: {link}: no such heading", page.display());
        }
    }
}

/// Chapters hold files of the sources themselves, so that nothing has to be kept the same by hand. What is taken in has no links, since these would lead
/// elsewhere from there.
#[test]
fn what_a_chapter_takes_in_is_there() {
    let mut taken = BTreeSet::new();
    for chapter in chapters() {
        for (file, part) in included(&chapter) {
            let whole = text(&file);
            let part = part.map_or(whole.as_str(), |part| {
                let (_, rest) = whole.split_once(&format!("<!-- ANCHOR: {part} -->")).unwrap();
                rest.split_once(&format!("<!-- ANCHOR_END: {part} -->")).unwrap().0
            });
            assert!(links(part).iter().all(|link| link.starts_with('#')), "{}: {:?}", file.display(), links(part));
            taken.insert(file);
        }
    }
    let wanted = ["README.md", "SECURITY.md", "config/follower.toml", "config/reference.toml", "container/README.md"];
    assert_eq!(
        taken,
        wanted.map(PathBuf::from).into_iter().collect(),
        "the configuration's chapter is the reference itself"
    );
}

#[test]
fn nothing_is_said_twice() {
    let mut seen: BTreeMap<String, PathBuf> = BTreeMap::new();
    for page in chapters().into_iter().chain(BESIDE.map(PathBuf::from)) {
        let prose = prose(&text(&page)).replace('\n', " ");
        for sentence in prose.split(". ").flat_map(|part| part.split(" | ")).map(str::trim) {
            if sentence.chars().count() < A_COPY {
                continue;
            }
            let before = seen.insert(sentence.to_owned(), page.clone());
            assert_eq!(before, None, "stands in {}, too: {sentence}", page.display());
        }
    }
}

#[test]
fn the_runbook_has_each_exit_code() {
    let source = text(Path::new("src/cli/mod.rs"));
    let (_, rest) = source.split_once("impl From<Exit> for std::process::ExitCode").unwrap();
    let (body, _) = rest.split_once("\n}\n").unwrap();
    let codes: Vec<u8> =
        body.split("=> Self::from(").skip(1).filter_map(|rest| rest.split_once(')').unwrap().0.parse().ok()).collect();
    assert!(codes.len() > 2, "{codes:?}");
    let runbook = text(Path::new("docs/RUNBOOK.md"));
    let (_, rest) = runbook.split_once("## Exit codes").unwrap();
    let (section, _) = rest.split_once("\n## ").unwrap();
    for code in codes {
        assert!(section.contains(&format!("\n| {code} | ")), "docs/RUNBOOK.md lacks exit code {code}");
    }
}

/// The blocks of TOML that a page shows.
fn shown(page: &str) -> Vec<String> {
    let text = text(Path::new(page));
    let blocks = text.split("```toml\n").skip(1).map(|rest| rest.split_once("```").unwrap().0.to_owned());
    blocks.filter(|block| !block.contains("{{#include")).collect()
}

/// Has keywheel read a configuration, and what stands in a file of its own beside it.
fn is_taken(what: &str, configuration: &str, part: Option<&str>) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keywheel.toml");
    fs::write(&file, configuration).unwrap();
    if let Some(part) = part {
        fs::create_dir(folder.path().join("keywheel.d")).unwrap();
        fs::write(folder.path().join("keywheel.d/part.toml"), part).unwrap();
    }
    let mut check = Command::new(env!("CARGO_BIN_EXE_keywheel"));
    let told = check.args(["check", "--offline", "--config"]).arg(&file).output().unwrap();
    assert!(told.status.success(), "{what}: {}", String::from_utf8_lossy(&[told.stdout, told.stderr].concat()));
}

/// The README's configuration is whole, a follower's is, and every other one is a part that fits beside the README's.
#[test]
fn what_the_pages_show_is_a_configuration() {
    let [whole, own] = <[String; 2]>::try_from(shown("README.md")).unwrap();
    is_taken("README.md", &whole, None);
    let (before, rest) = whole.split_once("[providers.shop]\n").unwrap();
    let (_, after) = rest.split_once("\n\n").unwrap();
    let without_login: Vec<&str> = after.lines().filter(|line| !line.starts_with("login")).collect();
    is_taken("README.md, Redis of one's own", &format!("{before}{own}\n{}", without_login.join("\n")), None);

    let mut parts = 0;
    for page in chapters() {
        let page = page.to_str().unwrap();
        for block in shown(page) {
            if block.contains("[follow.") {
                is_taken(page, &block, None);
            } else {
                is_taken(page, &whole, Some(&block));
            }
            parts += 1;
        }
    }
    assert!(parts > 4, "{parts}");
}
