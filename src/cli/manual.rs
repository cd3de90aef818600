//! `man`, `completions` and `schema`: what is written about the program, made of what the program is.

use super::Exit;
use super::args::{self, Cli};
use super::output::print_line;
use crate::config::json_schema;
use crate::fault::{Fault, Kind};
use clap::{Command, CommandFactory};
use clap_complete::Shell;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};
use std::io::{self, Write};
use std::path::Path;

/// The annotated configuration, of which the page about it is made.
const REFERENCE: &str = include_str!("../../config/reference.toml");

/// The same of a follower.
const FOLLOWER: &str = include_str!("../../config/follower.toml");

/// What stands at the foot of each page.
const SOURCE: &str = concat!("keywheel ", env!("CARGO_PKG_VERSION"));

/// When the pages last changed in form; what they say changes with the program.
const DATE: &str = "2026-11-26";

/// Prints one page, or writes all of them.
///
/// # Errors
/// `Usage` where there is no such page, or the folder cannot be written.
pub fn man(args: &args::Man) -> Result<Exit, Fault> {
    let pages = pages();
    if let Some(folder) = &args.to {
        for (name, page) in &pages {
            let path = folder.join(name);
            std::fs::write(&path, page).map_err(|error| unwritable(&path, &error))?;
        }
        return Ok(Exit::Well);
    }
    let wanted = match args.page.as_deref() {
        None => "keywheel.1".to_owned(),
        Some("keywheel.toml") => "keywheel.toml.5".to_owned(),
        Some(verb) => format!("keywheel-{verb}.1"),
    };
    let page = pages.iter().find(|(name, _)| *name == wanted).ok_or_else(|| {
        Fault::new(Kind::Usage, format!("there is no page {wanted}")).advise("name a verb, or keywheel.toml")
    })?;
    print(&page.1);
    Ok(Exit::Well)
}

/// Prints what a shell needs to complete command lines.
pub fn completions(shell: Shell) -> Exit {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "keywheel", &mut script);
    print(&script);
    Exit::Well
}

/// Prints the JSON Schema of the configuration.
pub fn schema() -> Exit {
    print_line(&format!("{:#}", json_schema()));
    Exit::Well
}

/// Every page by its file's name.
fn pages() -> Vec<(String, Vec<u8>)> {
    let mut all = Vec::new();
    // Without the verb `help`, which would have a page for each page.
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    below(&command, &mut all);
    all.push(("keywheel.toml.5".to_owned(), configuration().to_roff().into_bytes()));
    all
}

fn below(command: &Command, all: &mut Vec<(String, Vec<u8>)>) {
    let name = command.get_display_name().unwrap_or_else(|| command.get_name()).to_owned();
    let mut page = Vec::new();
    let man = Man::new(command.clone()).title(name.to_uppercase()).date(DATE).source(SOURCE).manual("keywheel");
    man.render(&mut page).expect("writing to memory does not fail");
    if name == "keywheel" {
        let mut more = Roff::new();
        more.control("SH", ["FILES"]);
        more.control("TP", []);
        more.text([bold(args::DEFAULT_CONFIG)]);
        more.text([roman("The configuration; see keywheel.toml(5).")]);
        page.extend(more.to_roff().into_bytes());
    }
    all.push((format!("{name}.1"), page));
    command.get_subcommands().for_each(|sub| below(sub, all));
}

/// The page keywheel.toml(5): the references' comments as text, their keys as lists.
fn configuration() -> Roff {
    let mut page = Roff::new();
    page.control("TH", ["KEYWHEEL.TOML", "5", DATE, SOURCE, "keywheel"]);
    page.control("SH", ["NAME"]);
    page.text([roman("keywheel.toml - the configuration of keywheel(1)")]);
    described(&mut page, "DESCRIPTION", "SECTIONS", REFERENCE);
    described(&mut page, "A FOLLOWER", "SECTIONS OF A FOLLOWER", FOLLOWER);
    page
}

/// What stands before the first section, and then the sections.
fn described(page: &mut Roff, introduction: &'static str, sections: &'static str, reference: &str) {
    page.control("SH", [introduction]);
    let mut has_sections = false;
    for paragraph in reference.split("\n\n") {
        let lines: Vec<&str> = paragraph.lines().collect();
        let head = lines.iter().position(|line| line.starts_with('['));
        let (text, keys) = lines.split_at(head.unwrap_or(lines.len()));
        if head.is_some() && !std::mem::replace(&mut has_sections, true) {
            page.control("SH", [sections]);
        }
        if let Some((section, keys)) = keys.split_first() {
            page.control("SS", [*section]);
            prose(page, text);
            keys.iter().for_each(|line| key(page, line));
        } else {
            prose(page, text);
        }
    }
}

/// Comment lines; those that are indented stand as they are.
fn prose(page: &mut Roff, lines: &[&str]) {
    let mut was_kept = false;
    for line in lines {
        let text = line.trim_start_matches('#');
        let kept = text.strip_prefix("  ");
        if std::mem::replace(&mut was_kept, kept.is_some()) || kept.is_some() {
            page.control("br", []);
        }
        match kept {
            Some(kept) => {
                page.text([roman(kept.trim())]);
            }
            None if text.trim().is_empty() => {
                page.control("PP", []);
            }
            None => {
                page.text([roman(text.trim())]);
            }
        }
    }
}

/// `name = value  # what it means`, perhaps behind a `#` because it excludes another one.
fn key(page: &mut Roff, line: &str) {
    let (assignment, comment) = split_comment(line.trim_start_matches("# "));
    let Some((name, value)) = assignment.split_once('=') else {
        page.control("PP", []);
        page.text([roman(line.trim_start_matches('#').trim())]);
        return;
    };
    page.control("TP", []);
    page.text([bold(name.trim()), roman(format!(" = {}", value.trim()))]);
    page.text([roman(comment.unwrap_or("as above"))]);
}

/// The part before a comment, and the comment; a `#` in quotes begins none.
fn split_comment(line: &str) -> (&str, Option<&str>) {
    let mut quote = None;
    for (at, letter) in line.char_indices() {
        match (quote, letter) {
            (None, '"' | '\'') => quote = Some(letter),
            (Some(open), letter) if open == letter => quote = None,
            (None, '#') => return (line[..at].trim_end(), Some(line[at + 1..].trim())),
            _ => {}
        }
    }
    (line.trim_end(), None)
}

fn print(text: &[u8]) {
    // A closed pipe (`| head`) is no fault of the command.
    let _closed = io::stdout().write_all(text);
}

fn unwritable(path: &Path, error: &io::Error) -> Fault {
    Fault::new(Kind::Usage, format!("{} cannot be written: {error}", path.display()))
        .advise("name a folder that exists and that you may write to")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::known_keys;

    #[test]
    fn each_verb_has_a_page_and_the_configuration_each_key() {
        let pages = pages();
        let names: Vec<&str> = pages.iter().map(|(name, _)| name.as_str()).collect();
        for verb in Cli::command().get_subcommands() {
            let name = format!("keywheel-{}.1", verb.get_name());
            assert!(names.contains(&name.as_str()), "{name} is not among {names:?}");
        }
        assert!(names.contains(&"keywheel-key-rotate.1"));
        let (_, page) = pages.iter().find(|(name, _)| name == "keywheel.toml.5").unwrap();
        let page = String::from_utf8(page.clone()).unwrap().replace("\\-", "-");
        for (section, key) in known_keys() {
            let last = key.rsplit('.').next().unwrap();
            assert!(page.contains(last), "{section}: {key} is not in keywheel.toml.5");
        }
    }

    #[test]
    fn a_comment_begins_outside_of_quotes() {
        assert_eq!(split_comment("a = 1  # b # c"), ("a = 1", Some("b # c")));
        assert_eq!(split_comment("a = \"x#y\" # z"), ("a = \"x#y\"", Some("z")));
        assert_eq!(split_comment("a = '#'"), ("a = '#'", None));
    }
}
