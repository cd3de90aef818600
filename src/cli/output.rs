//! How things look on a terminal: aligned tables that fit its width, colour only where it is wanted.

use crate::moment::Moment;
use crate::rotation::state::Label;
use anstyle::Style;
use chrono_tz::Tz;
use comfy_table::{Cell, Color, ContentArrangement, Table, presets};

/// The width of a table that goes to a file or pipe, in columns.
const PLAIN_WIDTH: u16 = 140;

/// A table without lines, as wide as the terminal at most.
pub fn table<const N: usize>(header: [&str; N]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    if table.width().is_none() {
        table.set_width(PLAIN_WIDTH);
    }
    if std::env::var_os("NO_COLOR").is_some() {
        table.force_no_tty();
    }
    table.set_header(header);
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table
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

/// A state's word in its colour.
pub fn state(label: Label) -> Cell {
    let colour = match label {
        Label::Settled => Color::Green,
        Label::Rotating | Label::Due => Color::Cyan,
        Label::Doubt | Label::Behind => Color::Yellow,
        Label::Halted => Color::Red,
    };
    Cell::new(label.as_str()).fg(colour)
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
