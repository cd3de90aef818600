//! A message in words, for chats and mails.

use super::{Event, Group, Message, Told};
use std::fmt::Write;

/// The longest line of a subject, in characters.
const SUBJECT_LIMIT: usize = 150;

/// What it is about, in one line.
pub fn subject(message: &Message) -> String {
    let mut parts: Vec<String> = message.groups.iter().map(headline).collect();
    if parts.is_empty() {
        parts.push("a test message".to_owned());
    }
    let line = format!("keywheel on {}: {}", message.host, parts.join("; "));
    let line: String = line.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
    match line.char_indices().nth(SUBJECT_LIMIT) {
        Some((cut, _)) => format!("{}…", &line[..cut]),
        None => line,
    }
}

/// All of it.
pub fn body(message: &Message) -> String {
    let mut text = format!("keywheel on {}, {}\n", message.host, message.at);
    if message.groups.is_empty() {
        text.push_str("\nThis is a test: alerts arrive here. Nothing happened.\n");
    }
    for group in &message.groups {
        let _written = write!(text, "\n{}\n", capital(&headline(group)));
        for told in &group.named {
            line(&mut text, told);
        }
        if let more @ 1.. = group.count.saturating_sub(group.named.len()) {
            let _written = writeln!(text, "- and {more} more; `keywheel status` shows what there is now");
        }
    }
    text
}

fn line(text: &mut String, told: &Told) {
    let Told { key, since, until, what, next_step } = told;
    let name = match (key.event, &key.part) {
        (Event::LeftOut, _) => String::new(),
        (_, None) => format!("{}, ", key.subject),
        (_, Some(part)) => format!("{}, {part}, ", key.subject),
    };
    let what = what.trim_end_matches('.');
    let _written = match until {
        Some(until) => writeln!(text, "- {name}since {since} and until {until}: {what}"),
        None if next_step.is_empty() => writeln!(text, "- {name}since {since}: {what}"),
        None => writeln!(text, "- {name}since {since}: {what}. Next: {next_step}"),
    };
}

fn headline(group: &Group) -> String {
    let is = if group.count == 1 { "is" } else { "are" };
    let has = if group.count == 1 { "has" } else { "have" };
    let (one, many) = match group.event {
        Event::Behind => ("sink", "sinks"),
        Event::Hook => ("hook", "hooks"),
        Event::Credentials => ("provider", "providers"),
        Event::LeftOut => ("instance", "instances"),
        Event::Waves => ("selection", "selections"),
        Event::Halted | Event::Doubt | Event::TooOld | Event::Waiting | Event::Record => ("target", "targets"),
    };
    let whom = match (group.count, group.named.first(), group.event) {
        (1, Some(_), Event::LeftOut) => "an instance".to_owned(),
        (1, Some(Told { key, .. }), _) => match &key.part {
            Some(part) => format!("{one} {part} of {}", key.subject),
            None => key.subject.clone(),
        },
        (1, _, _) => format!("1 {one}"),
        (count, _, _) => format!("{count} {many}"),
    };
    let said = match (group.event, group.over) {
        (Event::Halted, false) => format!("{is} halted"),
        (Event::Halted, true) => format!("{is} halted no more"),
        (Event::Doubt, false) => format!("{is} in doubt for long"),
        (Event::Doubt, true) => format!("{is} out of doubt"),
        (Event::Behind, false) => format!("{is} behind for long"),
        (Event::Behind, true) => format!("{has} caught up"),
        (Event::TooOld, false) => format!("{has} a password older than max-age"),
        (Event::TooOld, true) => format!("{has} no password older than max-age any more"),
        (Event::Hook, false) => format!("{is} given up on"),
        (Event::Hook, true) => format!("{is} told again"),
        (Event::Waiting, false) => format!("{} for something that a person should know", waits(group.count)),
        (Event::Waiting, true) => format!("{} for that no more", waits(group.count)),
        (Event::Credentials, false) => format!("{has} credentials that will end"),
        (Event::Credentials, true) => format!("{has} lasting credentials again"),
        (Event::LeftOut, false) => format!("{is} left out"),
        (Event::LeftOut, true) => format!("{is} left out no more"),
        (Event::Record, false) => format!("{has} a record that cannot be read"),
        (Event::Record, true) => format!("{has} a readable record again"),
        (Event::Waves, false) => format!("{} no rotation any more", begins(group.count)),
        (Event::Waves, true) => format!("{} rotations again", begins(group.count)),
    };
    format!("{whom} {said}")
}

const fn begins(count: usize) -> &'static str {
    if count == 1 { "begins" } else { "begin" }
}

const fn waits(count: usize) -> &'static str {
    if count == 1 { "waits" } else { "wait" }
}

fn capital(line: &str) -> String {
    let mut letters = line.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}
