//! The printed table: a line for each row, and the failures with all there is to know about them.

use futures_util::stream::{self, StreamExt};
use std::io::Write;
use std::time::{Duration, Instant};

/// Rows that run at the same time. They mostly wait.
const AT_ONCE: usize = 12;

/// How one row ended.
pub struct Ending {
    /// In a few words.
    pub how: String,
    /// The calls that the cloud got.
    pub calls: String,
}

/// A row that broke a promise: what is wrong, and what was recorded.
pub struct Broken {
    /// The promises that were broken.
    pub what: Vec<String>,
    /// Log and history.
    pub record: String,
}

/// A row's name and what came of it.
pub struct Line {
    name: String,
    outcome: Result<Ending, Broken>,
    took: Duration,
}

/// Runs rows, some at a time, and gives their lines in order.
pub async fn run<T, W>(rows: Vec<(String, T)>, work: impl Fn(T) -> W) -> Vec<Line>
where
    W: Future<Output = (Option<String>, Result<Ending, Broken>)>,
{
    let lines = rows.into_iter().map(|(name, row)| {
        let work = work(row);
        async move {
            let began = Instant::now();
            let (said, outcome) = work.await;
            Line { name: said.map_or(name.clone(), |said| format!("{name} {said}")), outcome, took: began.elapsed() }
        }
    });
    stream::iter(lines).buffered(AT_ONCE).collect().await
}

/// For a row that has to be good before the others can be played.
pub fn unbroken(which: &str, outcome: Result<Ending, Broken>) {
    if let Err(Broken { what, record }) = outcome {
        panic!("{which}: {what:?}\n{record}");
    }
}

/// Prints the table, then fails if a row did. It goes to the real standard output, so that a run that passes shows it, too.
pub fn print(title: &str, lines: &[Line]) {
    let mut page = String::new();
    let width = lines.iter().map(|line| line.name.chars().count()).max().unwrap_or_default();
    page.push_str(&format!("\n{title}\n\n"));
    for line in lines {
        let (how, calls) = match &line.outcome {
            Ok(ending) => (ending.how.as_str(), ending.calls.as_str()),
            Err(_) => ("BROKEN", ""),
        };
        let (name, took) = (&line.name, line.took.as_secs_f64());
        page.push_str(&format!("{name:<width$}  {took:5.1}s  {calls:<22}  {how}\n"));
    }
    let broken: Vec<(&str, &Broken)> =
        lines.iter().filter_map(|line| Some((line.name.as_str(), line.outcome.as_ref().err()?))).collect();
    for (name, broken) in &broken {
        page.push_str(&format!("\n=== {name}\n{}\n--- record\n{}\n", broken.what.join("\n"), broken.record));
    }
    page.push_str(&format!("\n{} rows, {} broken\n", lines.len(), broken.len()));
    std::io::stdout().lock().write_all(page.as_bytes()).unwrap();
    let names: Vec<&str> = broken.iter().map(|(name, _)| *name).collect();
    assert!(names.is_empty(), "promises were broken in: {}", names.join("; "));
}
