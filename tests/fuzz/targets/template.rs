//! Templates of sink files: a password on the first line, then the template.

use super::formats::{document, path, rendered};
use super::stage::{block_on, first_line, holds_none_of};
use keywheel::resp::Place;
use keywheel::sink::Sink;
use keywheel::sink::file::{FileSettings, FileSink, Format};

/// A template that was taken gives a text or a fault in a bounded time; the fault repeats no password, and what is wrong with one that was
/// not taken is said.
pub fn run(input: &[u8]) {
    let (password, template) = first_line(input);
    let Ok(template) = std::str::from_utf8(template) else { return };
    let (owner, group, prefix) = (None, None, None);
    let (format, mode) = (Format::Template, "0600".to_owned());
    let template = Some(template.to_owned());
    match FileSink::new(FileSettings { path: path(), format, mode, owner, group, prefix, template, fields: None }) {
        Err(findings) => assert!(!findings.is_empty() && findings.iter().all(|finding| !finding.what.is_empty())),
        Ok(sink) => {
            let place = Place::parse("redis://10.0.0.1:6379").ok().filter(|_| sink.needs_endpoint());
            let document = document(None, place, password);
            if rendered(&sink, &document).is_none() {
                let fault =
                    block_on(sink.holds(&document)).expect_err("a document that cannot be written is no other one");
                let secrets: Vec<&str> = Some(password).filter(|text| text.len() > 8).into_iter().collect();
                holds_none_of(&fault.what, &secrets);
            }
        }
    }
}
