//! `status --watch` at a terminal, which `script` makes: what is on the screen, what keys do, and that the terminal is given back.

use crate::common::stage::{INSTANCE, Stage, until};
use std::io::{Read, Write};
use std::process::{ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};

const TARGET: &str = "orders";

/// A terminal of this size in which the command runs, and what it has shown so far.
struct Terminal {
    child: std::process::Child,
    keys: ChildStdin,
    shown: Arc<Mutex<String>>,
}

impl Terminal {
    fn open(stage: &Stage, (columns, rows): (usize, usize)) -> Self {
        let command = stage.command(&["status", "--watch"]);
        let words = std::iter::once(command.get_program()).chain(command.get_args());
        let words: Vec<String> = words.map(|word| format!("'{}'", word.to_str().unwrap())).collect();
        let line = format!("stty cols {columns} rows {rows}; {}", words.join(" "));
        let mut child = Command::new("script")
            .args(["-qec", &line, "/dev/null"])
            .envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (keys, mut output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let shown = Arc::new(Mutex::new(String::new()));
        let seen = Arc::clone(&shown);
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = output.read(&mut bytes) {
                seen.lock().unwrap().push_str(&String::from_utf8_lossy(&bytes[..count]));
            }
        });
        Self { child, keys, shown }
    }

    fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
        self.keys.flush().unwrap();
    }

    /// Forgets what was shown and waits until this is.
    fn shows(&self, words: &str) {
        let mut all = String::new();
        until(&format!("{words:?} on the screen"), || {
            all.push_str(&std::mem::take(&mut *self.shown.lock().unwrap()));
            all.contains(words)
        });
    }

    fn ended(mut self) -> (Option<i32>, String) {
        drop(self.keys);
        let status = self.child.wait().unwrap().code();
        until("the terminal to be given back", || self.shown.lock().unwrap().contains("\x1b[?1049l"));
        let rest = self.shown.lock().unwrap().clone();
        (status, rest)
    }
}

#[test]
fn a_rotation_is_followed_on_the_screen() {
    let stage = Stage::set();
    let adopt = "adopt = { file = \"{folder}/initial\" }\nsinks = [\"raw\"]";
    stage.configure(&(stage.sink("raw", "format = \"raw\"") + &stage.target(TARGET, INSTANCE, adopt)));
    let no_terminal = stage.keywheel(&["status", "--watch"]);
    assert_eq!(no_terminal.status, 2, "{}{}", no_terminal.out, no_terminal.err);
    assert!(no_terminal.err.contains("there is no terminal"), "{}", no_terminal.err);

    let daemon = stage.start(&[]);
    stage.until(TARGET, "settled", 1);
    let mut terminal = Terminal::open(&stage, (120, 20));
    terminal.shows("1 target: 1 settled");
    terminal.shows("it has no schedule and rotates when asked");
    terminal.shows("1 to 1 of 1   arrows and pages move, / filters, q ends");
    let rotated = stage.keywheel(&["rotate", TARGET, "--wait"]);
    assert_eq!(rotated.status, 0, "{}{}", rotated.out, rotated.err);
    terminal.shows(&format!("{TARGET}  "));
    terminal.press("/nothing-like-it");
    terminal.shows("only: nothing-like-it_");
    terminal.press("\r");
    terminal.shows("nothing to show with \"nothing-like-it\"");
    terminal.press("\x1b");
    terminal.shows("1 to 1 of 1");
    // What cannot be read is said, and what was seen stays.
    let whole = std::fs::read_to_string(stage.path("keywheel.toml")).unwrap();
    stage.write("keywheel.toml", "[daemon");
    terminal.shows("not up to date: ");
    stage.write("keywheel.toml", &whole);
    terminal.shows("1 to 1 of 1");
    terminal.press("q");
    assert_eq!(terminal.ended().0, Some(0));

    // On a small screen, and ended by Control-C.
    let mut terminal = Terminal::open(&stage, (40, 6));
    terminal.shows("1 settled");
    terminal.press("\x03");
    assert_eq!(terminal.ended().0, Some(0));
    daemon.stop();
}
