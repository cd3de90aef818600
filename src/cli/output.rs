//! How things look on a terminal: aligned tables that fit its width, colour only where it is wanted.

use crate::moment::Moment;
use crate::name::TargetName;
use crate::rotation::state::Label;
use anstyle::Style;
use chrono_tz::Tz;
use comfy_table::{Cell, Color, ContentArrangement, Table, presets};

/// The width of a table that goes to a file or pipe, in columns.
const PLAIN_WIDTH: u16 = 140;

/// A sentence in a table's last column needs a screen of this many columns.
const SENTENCES_WIDTH: u16 = 110;

/// A table without lines, as wide as the terminal at most.
pub fn table<'a>(header: impl IntoIterator<Item = &'a str>) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    if table.width().is_none() {
        table.set_width(PLAIN_WIDTH);
    }
    if std::env::var_os("NO_COLOR").is_some() {
        table.force_no_tty();
    }
    table.set_header(header.into_iter().collect::<Vec<_>>());
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table
}

/// Whether a table that also holds sentences can be read: on a narrower screen sentences stand below it instead.
pub fn is_wide(table: &Table) -> bool {
    table.width().is_none_or(|width| width >= SENTENCES_WIDTH)
}

/// Breaks a text between words to the screen's width, each line indented by so many columns.
pub fn wrapped(text: &str, indent: u16) -> Vec<String> {
    let mut lines = Table::new();
    lines.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    let width = lines.width().unwrap_or(PLAIN_WIDTH);
    lines.set_width(width).add_row([text]);
    for column in lines.column_iter_mut() {
        column.set_padding((indent, 0));
    }
    lines.lines().map(|line| line.trim_end().to_owned()).collect()
}

/// Prints a table without trailing blanks. Whoever closes the pipe has seen enough.
pub fn print_table(table: &Table) {
    for line in table.lines() {
        print_line(line.trim_end());
    }
}

/// Prints one line; colour is taken out unless standard output is a terminal that wants it.
pub fn print_line(line: &str) {
    use std::io::Write;
    // A closed pipe (`| head`) is no fault of the command.
    let _closed = writeln!(anstream::stdout(), "{line}");
}

/// Advice with the target's own name in the commands it quotes, so that they can be pasted.
pub fn addressed(advice: &str, target: &TargetName) -> String {
    advice.replace(" TARGET", &format!(" {target}"))
}

/// A state's word in its colour.
pub fn state(label: Label) -> Cell {
    let colour = match label {
        Label::Settled => Color::Green,
        Label::Rotating | Label::Due | Label::Paused => Color::Cyan,
        Label::Doubt | Label::Behind => Color::Yellow,
        Label::Halted => Color::Red,
    };
    Cell::new(label.as_str()).fg(colour)
}

/// A number of things: `1 finding`, `2 findings`.
pub fn counted(number: usize, thing: &str) -> String {
    if number == 1 { format!("1 {thing}") } else { format!("{number} {thing}s") }
}

/// Text in bold, for headings.
pub fn bold(text: &str) -> String {
    let style = Style::new().bold();
    format!("{style}{text}{style:#}")
}

/// A moment in local time: `Sun 2026-11-22 03:30:00`.
pub fn local(moment: Moment, zone: Tz) -> String {
    moment.utc().with_timezone(&zone).format("%a %Y-%m-%d %H:%M:%S").to_string()
}
