//! Reading a password from a person or a pipe, never from the command line.

use super::run::Signals;
use crate::fault::{Fault, Kind};
use crate::secret::Secret;
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
use std::io::{BufRead, IsTerminal, Read, Write};
use zeroize::Zeroizing;

/// The longest password that is read, in bytes.
const LIMIT: u64 = 1_024;

/// One line from standard input; at a terminal it is asked for and not shown.
///
/// # Errors
/// `Usage` when nothing is given.
pub async fn password(question: String) -> Result<Secret, Fault> {
    let before = tcgetattr(std::io::stdin()).ok();
    let mut signals = Signals::new()?;
    tokio::select! {
        read = tokio::task::spawn_blocking(move || ask(&question)) => {
            read.unwrap_or_else(|defect| Err(Fault::new(Kind::Bug, format!("reading the password ended in a defect: {defect}"))))
        }
        () = signals.stop() => {
            // The terminal was quiet while it was asked; a shell that goes on must not stay so.
            if let Some(before) = before {
                let _gone = tcsetattr(std::io::stdin(), OptionalActions::Flush, &before);
            }
            Err(Fault::new(Kind::Stopping, "interrupted").advise("nothing was taken in; run it again"))
        }
    }
}

/// Whether the person at the terminal agrees; `None` where there is none.
///
/// # Errors
/// `Stopping` when interrupted.
pub async fn agreed(question: String) -> Result<Option<bool>, Fault> {
    if !std::io::stdin().is_terminal() {
        return Ok(None);
    }
    let mut signals = Signals::new()?;
    let asked = tokio::task::spawn_blocking(move || {
        let mut screen = std::io::stderr();
        let _asked = write!(screen, "{question} [y/N] ").and_then(|()| screen.flush());
        read_line(&mut std::io::stdin().lock())
    });
    tokio::select! {
        read = asked => {
            let line = read.unwrap_or_else(|defect| Err(Fault::new(Kind::Bug, format!("asking ended in a defect: {defect}"))))?;
            Ok(Some(matches!(line.trim(), "y" | "Y" | "yes" | "Yes")))
        }
        () = signals.stop() => Err(Fault::new(Kind::Stopping, "interrupted").advise("nothing was done; run it again")),
    }
}

fn ask(question: &str) -> Result<Secret, Fault> {
    let input = std::io::stdin();
    let line = if input.is_terminal() {
        let mut screen = std::io::stderr();
        // A terminal that cannot be written to cannot be asked either; reading below says so.
        let _asked = write!(screen, "{question} (not shown): ").and_then(|()| screen.flush());
        let line = unseen(|| read_line(&mut input.lock()))?;
        let _newline = writeln!(screen);
        line
    } else {
        read_line(&mut input.lock())?
    };
    let text = line.trim_end_matches(['\n', '\r']);
    if text.is_empty() {
        return Err(
            Fault::new(Kind::Usage, "no password was given").advise("type it at the prompt, or pipe one line into it")
        );
    }
    Ok(Secret::new(text.to_owned()))
}

fn read_line(input: &mut impl BufRead) -> Result<Zeroizing<String>, Fault> {
    let mut line = Zeroizing::new(String::with_capacity(LIMIT as usize + 2));
    input
        .take(LIMIT + 1)
        .read_line(&mut line)
        .map_err(|error| Fault::new(Kind::Usage, format!("the password cannot be read: {error}")))?;
    if line.len() as u64 > LIMIT {
        return Err(Fault::new(Kind::Usage, format!("the password is longer than {LIMIT} bytes")));
    }
    Ok(line)
}

/// Reads with the terminal's echo off, and puts it back whatever happens.
fn unseen<T>(read: impl FnOnce() -> Result<T, Fault>) -> Result<T, Fault> {
    let terminal = std::io::stdin();
    let before = tcgetattr(&terminal)
        .map_err(|error| Fault::new(Kind::Usage, format!("the terminal's echo cannot be turned off: {error}")))?;
    let mut quiet = before.clone();
    quiet.local_modes.remove(LocalModes::ECHO);
    tcsetattr(&terminal, OptionalActions::Flush, &quiet)
        .map_err(|error| Fault::new(Kind::Usage, format!("the terminal's echo cannot be turned off: {error}")))?;
    let line = read();
    tcsetattr(&terminal, OptionalActions::Flush, &before)
        .map_err(|error| Fault::new(Kind::Usage, format!("the terminal's echo cannot be turned on again: {error}")))?;
    line
}
