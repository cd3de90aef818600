//! The store behind a sink as the rows see it, and how the rows are played and shown.

use super::rows::{Row, play};
use keywheel::sink::Sink;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

/// What goes wrong in a store, from now until it is mended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// Nobody is there.
    Down,
    /// Neither reading nor writing is allowed.
    Denied,
    /// The store is there, and the place in it is not.
    NotFound,
    /// It asks to slow down.
    Throttled,
    /// It fails by itself.
    Broken,
    /// It has no room.
    Full,
    /// The next write takes effect, and its answer never comes. What follows goes well.
    LostAnswer,
    /// It takes what it is sent and never answers.
    Hang,
    /// It does what it is asked and answers with 100 MB.
    Huge,
    /// Before the next write takes effect, and after the sink looked, another writer delivers this generation. What follows goes well.
    Between(u64),
    /// The same, and the answer to the write never comes either.
    LostBetween(u64),
}

/// What a reader of the store makes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// The number of the password.
    pub generation: u64,
    /// The account as the cloud calls it.
    pub account: String,
    /// What clients send as the password.
    pub password: String,
}

/// A kind of sink with a store behind it. Each row begins with a new one, on a thread and a runtime of its own.
pub trait Store: Sized + 'static {
    /// The sink's kind.
    const NAME: &'static str;

    /// An empty store.
    async fn begin() -> Self;

    /// A sink on it, each time a new one, as another process would have it. `hasty`: one that waits for well below a second.
    fn sink(&self, hasty: bool) -> Arc<dyn Sink>;

    /// What is there, by another way than through the sink.
    async fn seen(&self) -> Option<Seen>;

    /// A text that is another one after each version that was made, even of the same content.
    async fn mark(&self) -> String;

    /// Lets it fail.
    async fn fail(&self, trouble: Trouble);

    /// Lets it be as before.
    async fn mend(&self);

    /// Somebody deletes what is there.
    async fn wipe(&self);

    /// More time passes than a hung store is given, where the sink's patience is fixed. Where it is a setting, a hasty sink has little.
    async fn time_passes(&self) {}

    /// How much of a huge answer the sink took in before it hung up, in bytes.
    async fn swallowed(&self) -> Option<u64> {
        None
    }

    /// Why this row makes no sense here, if that is so.
    fn leaves_out(&self, row: Row) -> Option<&'static str>;

    /// The sink as `Debug` shows it, with its settings.
    fn debug(&self) -> String;
}

/// How one row went with one sink.
pub enum Cell {
    /// As promised.
    Kept,
    /// Not tried, for this reason.
    LeftOut(&'static str),
    /// Otherwise than promised.
    Failed(String),
}

/// All rows with one sink.
pub struct Column {
    pub name: &'static str,
    pub cells: Vec<(Row, Cell)>,
}

/// Plays every row. `KEYWHEEL_ROW` names a part of a row's words to play that one alone.
pub fn column<S: Store>() -> Column {
    let wanted = std::env::var("KEYWHEEL_ROW").unwrap_or_default();
    let rows = Row::ALL.iter().copied().filter(|row| row.words().contains(&wanted));
    Column { name: S::NAME, cells: rows.map(|row| (row, cell::<S>(row))).collect() }
}

/// One row on a thread of its own: a panic there is a failed cell, and time that is stopped there stops nowhere else.
fn cell<S: Store>(row: Row) -> Cell {
    let played = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let store = S::begin().await;
            match store.leaves_out(row) {
                Some(why) => Cell::LeftOut(why),
                None => {
                    play(row, &store).await;
                    Cell::Kept
                }
            }
        })
    });
    played.join().unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        Cell::Failed(text.or_else(|| panic.downcast_ref().map(|text: &&str| (*text).to_owned())).unwrap_or_default())
    })
}

/// Shows the table, and why what was left out was. Not by print!, which is shown for a failing test only.
pub fn print(columns: &[Column]) {
    let mut text = format!("\n{:38}", "");
    columns.iter().for_each(|column| text += &format!("{:15}", column.name));
    let mut reasons: Vec<&str> = Vec::new();
    for (number, (row, _)) in columns.first().iter().flat_map(|column| column.cells.iter().enumerate()) {
        text += &format!("\n{:38}", row.words());
        for column in columns {
            text += &match &column.cells[number].1 {
                Cell::Kept => format!("{:15}", "kept"),
                Cell::Failed(_) => format!("{:15}", "FAILED"),
                Cell::LeftOut(why) => {
                    let known = reasons.iter().position(|reason| reason == why).unwrap_or_else(|| {
                        reasons.push(why);
                        reasons.len() - 1
                    });
                    format!("{:15}", format!("- ({})", known + 1))
                }
            };
        }
    }
    for (number, reason) in reasons.iter().enumerate() {
        text += &format!("\n({}) left out: {reason}", number + 1);
    }
    // Where standard error is closed, nobody reads on.
    let _ = writeln!(io::stderr(), "{text}\n");
}

/// Everything that is logged in this process, at every level.
static HEARD: Mutex<Vec<u8>> = Mutex::new(Vec::new());

struct Ear;

impl Write for Ear {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        HEARD.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Keeps everything that is logged from now on.
pub fn listen() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let kept = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_ansi(false).with_writer(|| Ear);
        kept.init();
        tracing::trace!("{}", "The first line shows that lines are kept. ".repeat(25));
    });
}

/// What was kept.
pub fn heard() -> Vec<u8> {
    HEARD.lock().unwrap_or_else(PoisonError::into_inner).clone()
}
