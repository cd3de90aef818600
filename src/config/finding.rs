//! What is wrong with a configuration, where, and what to do: every finding at once.
//!
//! A finding never holds a value that could be a secret: it names places, keys, types and choices.

use std::fmt;
use std::sync::Arc;

/// How many findings are shown; the rest is counted.
pub const SHOWN_LIMIT: usize = 100;

/// How many words are listed to choose from.
const CHOICES_LIMIT: usize = 24;

/// Where a key was written.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Origin {
    /// The number of the layer: later layers win.
    pub layer: usize,
    /// Line in the file, from 1; 0 where there are no lines (a variable, or the file as a whole).
    pub line: usize,
    /// Column in the line, in characters from 1.
    pub column: usize,
    /// The file's path as it was given, or the variable's name.
    pub place: Arc<str>,
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => formatter.write_str(&self.place),
            line => write!(formatter, "{}:{line}:{}", self.place, self.column),
        }
    }
}

/// One thing that is wrong, or worth knowing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// Where it stands.
    pub origin: Origin,
    /// The key's path, such as `targets.orders-cache.schedule`; empty where the file as a whole is meant.
    pub key: String,
    /// What is wrong, a sentence without its full stop.
    pub what: String,
    /// What to do; `None` where the sentence says so itself.
    pub next_step: Option<String>,
}

impl Finding {
    /// Sentence and advice, as one text.
    pub fn sentence(&self) -> String {
        match &self.next_step {
            Some(next_step) => format!("{}. Next: {next_step}", self.what),
            None => format!("{}.", self.what),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: ", self.origin)?;
        if !self.key.is_empty() {
            write!(formatter, "{}: ", self.key)?;
        }
        formatter.write_str(&self.sentence())
    }
}

/// Why a configuration cannot be used; in the order of the files, and never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Findings(pub Vec<Finding>);

impl std::error::Error for Findings {}

impl fmt::Display for Findings {
    /// Two lines for each finding: where it is, and indented below what is wrong and what to do.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = &self.0[..self.0.len().min(SHOWN_LIMIT)];
        let widest = shown.iter().map(|finding| finding.origin.to_string().chars().count());
        let width = widest.max().unwrap_or(0);
        for finding in shown {
            let line = format!("{:width$}  {}", finding.origin.to_string(), finding.key);
            writeln!(formatter, "{}", line.trim_end())?;
            writeln!(formatter, "    {}", finding.sentence())?;
        }
        if self.0.len() > SHOWN_LIMIT {
            writeln!(formatter, "and {} more", self.0.len() - SHOWN_LIMIT)?;
        }
        match self.0.len() {
            1 => formatter.write_str("1 problem in the configuration"),
            count => write!(formatter, "{count} problems in the configuration"),
        }
    }
}

/// The known word nearest to what was written, if it is near enough to be meant.
pub(super) fn nearest<'a>(written: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let folded = written.to_lowercase().replace('_', "-");
    known
        .into_iter()
        .map(|word| (strsim::damerau_levenshtein(&folded, &word.to_lowercase()), word))
        .filter(|(distance, word)| *distance <= (word.chars().count() / 3).max(1))
        .min()
        .map(|(_, word)| word)
}

/// "did you mean `x`?", or all there is to choose from.
pub(super) fn suggestion(written: &str, known: &[&str], none: &str) -> String {
    match nearest(written, known.iter().copied()) {
        Some(word) => format!("did you mean {word}?"),
        None if known.is_empty() => none.to_owned(),
        None if known.len() > CHOICES_LIMIT => format!("check the spelling; {} names are known", known.len()),
        None => format!("choose from: {}", known.join(", ")),
    }
}
