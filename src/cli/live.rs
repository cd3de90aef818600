//! `status --watch`: the same table on the whole screen, looked at again and again. Who needs a person stands on top.

use super::Exit;
use super::args;
use super::output::{counted, table};
use super::run::Signals;
use super::scene::Scene;
use super::status::{exit, row, why};
use crate::clock::Stopwatch;
use crate::driver::Snapshot;
use crate::fault::{Fault, Kind};
use crate::moment::Moment;
use crate::rotation::state::Label;
use crossterm::cursor::{Hide, MoveTo, Show};
use crossterm::terminal::{
    BeginSynchronizedUpdate, Clear, ClearType, EndSynchronizedUpdate, EnterAlternateScreen, LeaveAlternateScreen,
};
use crossterm::{execute, queue, style::Print};
use std::io::{IsTerminal, Read, Write};
use std::path::Path;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

/// The time between two looks; a look that takes long is followed by five times as long a rest, so that a large fleet costs no more than that.
const LOOK: Duration = Duration::from_secs(1);
const REST_FACTOR: u32 = 5;

/// Lines beside those of the table: what is shown, the header, and the keys.
const FRAME: usize = 4;

/// The order on the screen, and of the counts in its first line.
const ORDER: [Label; 7] =
    [Label::Halted, Label::Doubt, Label::Behind, Label::Rotating, Label::Due, Label::Paused, Label::Settled];

/// Shows the targets until somebody has seen enough.
///
/// # Errors
/// `Usage` where there is no terminal; when the configuration cannot be read at first.
pub async fn watch(config: &Path, args: &args::Status) -> Result<Exit, Fault> {
    if !std::io::stdout().is_terminal() || !std::io::stdin().is_terminal() {
        return Err(Fault::new(Kind::Usage, "there is no terminal to show it on")
            .advise("in a script, ask again and again: `keywheel status --json`"));
    }
    let mut seen = Seen::look(config, args).await?;
    let screen = Screen::open().map_err(broken)?;
    let mut keys = keys();
    let mut resized = signal(SignalKind::window_change()).map_err(broken)?;
    let mut asked_to_stop = Signals::new()?;
    let mut view = View::default();
    loop {
        let (width, height) = crossterm::terminal::size().map_err(broken)?;
        let lines = view.lines(&seen, usize::from(width), usize::from(height));
        draw(&lines).map_err(broken)?;
        let rest = tokio::time::sleep(seen.rest.saturating_sub(seen.since.elapsed()));
        tokio::select! {
            key = keys.recv() => match key {
                Some(key) if view.obeys(key) => {}
                // The terminal is gone, or somebody has seen enough.
                Some(_) | None => break,
            },
            () = asked_to_stop.stop() => break,
            _ = resized.recv() => {}
            () = rest => match Seen::look(config, args).await {
                Ok(fresh) => seen = fresh,
                // What was seen last is worth more than an empty screen.
                Err(fault) => (seen.fault, seen.since, seen.rest) = (Some(fault), Stopwatch::start(), LOOK),
            },
        }
    }
    drop(screen);
    Ok(exit(&seen.snapshots))
}

/// One look at the fleet.
struct Seen {
    snapshots: Vec<Snapshot>,
    at: Moment,
    clock: String,
    /// Why the last look saw nothing.
    fault: Option<Fault>,
    /// For how long nobody looks again, and since when.
    rest: Duration,
    since: Stopwatch,
}

impl Seen {
    /// Reads the configuration anew, since it may have been changed meanwhile.
    async fn look(config: &Path, args: &args::Status) -> Result<Self, Fault> {
        let watch = Stopwatch::start();
        let scene = Scene::read(config)?;
        let at = scene.now();
        let snapshots = scene.snapshots_of(&scene.shown(&args.targets)?).await?;
        let zone = scene.config().daemon.time_zone;
        let clock = at.utc().with_timezone(&zone).format("%H:%M:%S").to_string();
        Ok(Self {
            snapshots,
            at,
            clock,
            fault: None,
            rest: LOOK.max(watch.elapsed() * REST_FACTOR),
            since: Stopwatch::start(),
        })
    }
}

/// What somebody wants to see of it.
#[derive(Default)]
struct View {
    /// The first line that is shown.
    first: usize,
    /// Only what has this in its name or its sentence.
    filter: String,
    /// The filter is being typed.
    types: bool,
    /// How many lines the screen had, for its pages.
    page: usize,
}

impl View {
    /// Does what a key says; `false` where it says that this is enough.
    fn obeys(&mut self, key: Key) -> bool {
        match key {
            Key::End => return false,
            Key::Enter | Key::Escape if self.types => {
                self.types = false;
                if key == Key::Escape {
                    self.filter.clear();
                }
            }
            Key::Back if self.types => _ = self.filter.pop(),
            Key::Letter(letter) if self.types => self.filter.push(letter),
            Key::Letter('q') => return false,
            Key::Escape => self.filter.clear(),
            Key::Letter('/') => self.types = true,
            Key::Down | Key::Letter('j') => self.first = self.first.saturating_add(1),
            Key::Up | Key::Letter('k') => self.first = self.first.saturating_sub(1),
            Key::PageDown | Key::Letter(' ') => self.first = self.first.saturating_add(self.page),
            Key::PageUp => self.first = self.first.saturating_sub(self.page),
            Key::Top | Key::Letter('g') => self.first = 0,
            Key::Bottom | Key::Letter('G') => self.first = usize::MAX,
            Key::Enter | Key::Back | Key::Letter(_) => {}
        }
        true
    }

    /// The screen's lines, no wider and no more than it has.
    fn lines(&mut self, seen: &Seen, width: usize, height: usize) -> Vec<String> {
        self.page = height.saturating_sub(FRAME).max(1);
        let wanted = self.filter.to_lowercase();
        let fits = |snapshot: &&Snapshot| {
            let said = || why(snapshot).to_lowercase().contains(&wanted);
            snapshot.target.as_str().to_lowercase().contains(&wanted) || snapshot.label.as_str() == wanted || said()
        };
        let mut shown: Vec<&Snapshot> = seen.snapshots.iter().filter(fits).collect();
        let urgency = |snapshot: &Snapshot| match snapshot.retired {
            Some(_) => ORDER.len(),
            None => ORDER.iter().position(|label| *label == snapshot.label).unwrap_or_default(),
        };
        shown.sort_by_key(|snapshot| urgency(snapshot));
        self.first = self.first.min(shown.len().saturating_sub(self.page));
        let mut lines = vec![cut(&headline(seen), width), String::new()];
        let mut rows = table(["TARGET", "STATE", "GEN", "AGE", "NEXT", "SINKS", "WHY"]);
        rows.set_width(u16::try_from(width).unwrap_or(u16::MAX));
        for snapshot in shown.iter().skip(self.first).take(self.page) {
            // One line each: a page is as long as the screen, and `explain` tells the whole sentence.
            let mut cells = comfy_table::Row::from(row(snapshot, seen.at));
            cells.max_height(1);
            rows.add_row(cells);
        }
        lines.extend(rows.lines().take(self.page + 1).map(|line| line.trim_end().to_owned()));
        lines.truncate(height.saturating_sub(1));
        lines.resize(height.saturating_sub(1), String::new());
        lines.push(cut(&self.foot(seen, shown.len()), width));
        lines
    }

    fn foot(&self, seen: &Seen, shown: usize) -> String {
        if let Some(fault) = &seen.fault {
            return format!("not up to date: {}", fault.what);
        }
        let last = self.first.saturating_add(self.page).min(shown);
        let of = match shown {
            0 => "nothing to show".to_owned(),
            _ => format!("{} to {last} of {shown}", self.first + 1),
        };
        match (self.types, self.filter.is_empty()) {
            (true, _) => format!("only: {}_   Enter keeps it, Esc clears it", self.filter),
            (false, true) => format!("{of}   arrows and pages move, / filters, q ends"),
            (false, false) => format!("{of} with {:?}   Esc shows all, q ends", self.filter),
        }
    }
}

fn headline(seen: &Seen) -> String {
    let count = |label: Label| {
        let with = |snapshot: &&Snapshot| snapshot.label == label && snapshot.retired.is_none();
        (seen.snapshots.iter().filter(with).count(), label.as_str())
    };
    let counts = ORDER.map(count).into_iter().filter(|(count, _)| *count > 0);
    let counts: Vec<String> = counts.map(|(count, word)| format!("{count} {word}")).collect();
    let all = counted(seen.snapshots.len(), "target");
    let counts = if counts.is_empty() { String::new() } else { format!(": {}", counts.join(", ")) };
    format!("{}  {all}{counts}", seen.clock)
}

/// As much of a line as fits.
fn cut(line: &str, width: usize) -> String {
    line.chars().take(width).collect()
}

/// A key that means something here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Key {
    Letter(char),
    Enter,
    Back,
    Escape,
    Up,
    Down,
    PageUp,
    PageDown,
    Top,
    Bottom,
    /// Control-C, or Control-D.
    End,
}

/// What was typed, as a terminal in raw mode sends it: ECMA-48 sequences for keys without a letter.
fn parse(typed: &str) -> Vec<Key> {
    let sequences = [
        ("\x1b[A", Key::Up),
        ("\x1bOA", Key::Up),
        ("\x1b[B", Key::Down),
        ("\x1bOB", Key::Down),
        ("\x1b[5~", Key::PageUp),
        ("\x1b[6~", Key::PageDown),
        ("\x1b[H", Key::Top),
        ("\x1b[1~", Key::Top),
        ("\x1b[F", Key::Bottom),
        ("\x1b[4~", Key::Bottom),
    ];
    let (mut keys, mut rest) = (Vec::new(), typed);
    while let Some(letter) = rest.chars().next() {
        if let Some((sequence, key)) = sequences.iter().find(|(sequence, _)| rest.starts_with(sequence)) {
            keys.push(*key);
            rest = &rest[sequence.len()..];
            continue;
        }
        rest = &rest[letter.len_utf8()..];
        match letter {
            // A key that means nothing here: all of its sequence.
            '\x1b' if rest.starts_with(['[', 'O']) => {
                let end = rest[1..].find(|last: char| ('@'..='~').contains(&last)).map_or(rest.len(), |end| end + 2);
                rest = &rest[end..];
            }
            '\x1b' => keys.push(Key::Escape),
            '\x03' | '\x04' => keys.push(Key::End),
            '\r' | '\n' => keys.push(Key::Enter),
            '\x7f' | '\x08' => keys.push(Key::Back),
            letter if !letter.is_control() => keys.push(Key::Letter(letter)),
            _ => {}
        }
    }
    keys
}

/// What is typed, from a thread of its own: a terminal can only be waited for. It ends with the process.
fn keys() -> mpsc::Receiver<Key> {
    let (typed, keys) = mpsc::channel(64);
    std::thread::spawn(move || {
        let mut input = std::io::stdin();
        let mut bytes = [0; 256];
        while let Ok(count @ 1..) = input.read(&mut bytes) {
            for key in parse(&String::from_utf8_lossy(&bytes[..count])) {
                if typed.blocking_send(key).is_err() {
                    return;
                }
            }
        }
    });
    keys
}

/// The terminal while it belongs to us; as it was when this is dropped, also by a panic.
struct Screen;

impl Screen {
    fn open() -> std::io::Result<Self> {
        crossterm::terminal::enable_raw_mode()?;
        let screen = Self;
        execute!(std::io::stdout(), EnterAlternateScreen, Hide)?;
        Ok(screen)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // A terminal that is gone needs no order any more.
        let _gone = execute!(std::io::stdout(), Show, LeaveAlternateScreen);
        let _gone = crossterm::terminal::disable_raw_mode();
    }
}

fn draw(lines: &[String]) -> std::io::Result<()> {
    let mut screen = std::io::stdout().lock();
    queue!(screen, BeginSynchronizedUpdate)?;
    for (line, number) in lines.iter().zip(0..) {
        queue!(screen, MoveTo(0, number), Print(line), Clear(ClearType::UntilNewLine))?;
    }
    queue!(screen, EndSynchronizedUpdate)?;
    screen.flush()
}

fn broken(error: std::io::Error) -> Fault {
    Fault::new(Kind::Usage, format!("the terminal cannot be used: {error}")).advise("`keywheel status` needs none")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_what_terminals_send() {
        for (typed, keys) in [
            ("q", vec![Key::Letter('q')]),
            ("\x1b[A\x1b[B", vec![Key::Up, Key::Down]),
            ("\x1bOA", vec![Key::Up]),
            ("\x1b[5~x", vec![Key::PageUp, Key::Letter('x')]),
            ("\x1b", vec![Key::Escape]),
            ("\x1b[1;5Cz", vec![Key::Letter('z')]),
            ("\x1b[", vec![]),
            ("\x03", vec![Key::End]),
            ("é\x7f\r", vec![Key::Letter('é'), Key::Back, Key::Enter]),
            ("\x01", vec![]),
        ] {
            assert_eq!(parse(typed), keys, "{typed:?}");
        }
    }

    #[test]
    fn a_filter_is_typed_kept_and_cleared() {
        let mut view = View::default();
        let mut press =
            |keys: &str| parse(keys).into_iter().all(|key| view.obeys(key)).then(|| (view.filter.clone(), view.types));
        for (keys, filter, types) in [
            ("/", "", true),
            ("quiz", "quiz", true),
            ("\x7f", "qui", true),
            ("\r", "qui", false),
            ("\x1b", "", false),
            ("/x\x1b", "", false),
        ] {
            assert_eq!(press(keys), Some((filter.to_owned(), types)), "{keys:?}");
        }
        assert_eq!(press("q"), None);
        assert_eq!(press("\x03"), None);
    }
}
