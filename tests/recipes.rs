//! The recipes of docs/recipes.md that can be run here, run as they stand there: each client lives through changes of its password and of its user.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop there")]

#[path = "common/redis_server.rs"]
mod redis_server;

use redis_server::RedisServer;
use std::ffi::OsString;
use std::io::{BufRead, BufReader, Lines, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

/// How often a condition is looked at, and how many times. Far more than a client's own back-off adds up to.
const LOOK: Duration = Duration::from_millis(20);
const LOOKS: usize = 6_000;

/// What makes a program of a recipe: for each line that it reads it asks the server who it is, and prints the answer or the error.
const PYTHON: &str = r#"
import sys
client = connect(sys.argv[1])
for line in sys.stdin:
    try:
        print(client.acl_whoami(), flush=True)
    except redis.RedisError as error:
        print("refused:", error, flush=True)
"#;
const NODE: &str = r"
import { createInterface } from 'node:readline';
const client = await connect(process.argv[2]);
for await (const line of createInterface({ input: process.stdin })) {
  console.log(await client.sendCommand(['ACL', 'WHOAMI']).catch(error => `refused: ${error.message}`));
}
process.exit(0);
";

fn named_by_tests_run(variable: &str) -> Option<OsString> {
    let named = std::env::var_os(variable);
    if named.is_none() {
        println!("left out: {variable} is not set (tests/run does)");
    }
    named
}

/// The page's program in this language.
fn recipe(language: &str) -> &'static str {
    let page = include_str!("../docs/recipes.md");
    let (_, rest) = page.split_once(&format!("```{language}\n")).unwrap();
    rest.split_once("```").unwrap().0
}

/// The server, and the file that a rotator would write.
struct World {
    folder: tempfile::TempDir,
    server: RedisServer,
}

impl World {
    fn new() -> Self {
        let users = [
            "user default off",
            "user root on >admin ~* &* +@all",
            "user orders_a on >first ~* +@all",
            "user orders_b on >other ~* +@all",
        ];
        let world =
            Self { folder: tempfile::tempdir().unwrap(), server: RedisServer::start_with(&(users.join("\n") + "\n")) };
        world.deliver("orders_a", "first");
        world
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("redis.json")
    }

    /// As the sink does: a file beside it takes its place.
    fn deliver(&self, user: &str, password: &str) {
        let draft = self.folder.path().join("draft");
        let held = serde_json::json!({
            "user": user, "password": password, "host": "127.0.0.1", "port": self.server.address().port(), "tls": false,
        });
        std::fs::write(&draft, held.to_string()).unwrap();
        std::fs::rename(draft, self.file()).unwrap();
    }

    fn administer(&self, words: &[&str]) {
        let client = redis::Client::open(format!("redis://root:admin@{}", self.server.address())).unwrap();
        let mut command = redis::cmd(words[0]);
        words[1..].iter().for_each(|word| _ = command.arg(word));
        command.query::<redis::Value>(&mut client.get_connection().unwrap()).unwrap();
    }

    /// Every connection has to be made again.
    fn cut(&self) {
        self.administer(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
    }

    /// Whether the server has refused a login so far.
    fn has_refused(&self) -> bool {
        let client = redis::Client::open(format!("redis://root:admin@{}", self.server.address())).unwrap();
        let told = redis::cmd("ACL").arg("LOG").query::<Vec<redis::Value>>(&mut client.get_connection().unwrap());
        !told.unwrap().is_empty()
    }
}

struct Application {
    child: Child,
    asks: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Application {
    fn start(command: &mut Command) -> Self {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (asks, answers) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()).lines());
        Self { child, asks, answers }
    }

    fn ask(&mut self) -> String {
        writeln!(self.asks, "who").unwrap();
        self.answers.next().expect("the program goes on").unwrap()
    }

    /// Asks until the answer is this one.
    fn until(&mut self, wanted: &str) {
        let mut said = String::new();
        let came = eventually(|| {
            said = self.ask();
            said == wanted
        });
        assert!(came, "not {wanted} but {said}");
    }
}

impl Drop for Application {
    fn drop(&mut self) {
        // It may have ended, and a drop cannot fail.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn eventually(mut holds: impl FnMut() -> bool) -> bool {
    (0..LOOKS).any(|_| {
        let came = holds();
        if !came {
            std::thread::sleep(LOOK);
        }
        came
    })
}

fn lives_through_rotations(world: &World, application: &mut Application) {
    assert_eq!(application.ask(), "orders_a");

    // overlap: both passwords work for a while; nobody is refused.
    world.administer(&["ACL", "SETUSER", "orders_a", ">second"]);
    world.deliver("orders_a", "second");
    assert_eq!(application.ask(), "orders_a", "an open connection stays");
    world.administer(&["ACL", "SETUSER", "orders_a", "<first"]);
    world.cut();
    application.until("orders_a");

    // alternate: the other user's turn.
    world.administer(&["ACL", "SETUSER", "orders_b", "resetpass", ">third"]);
    world.deliver("orders_b", "third");
    world.cut();
    application.until("orders_b");
    assert!(!world.has_refused(), "neither of these turns anybody away");

    // in-place: the old password is dead before the new one is read.
    world.administer(&["ACL", "SETUSER", "orders_b", "resetpass", ">fourth"]);
    world.cut();
    // It is asked now and answers once the file is right.
    writeln!(application.asks, "who").unwrap();
    assert!(eventually(|| world.has_refused()), "nobody tried to log in");
    world.deliver("orders_b", "fourth");
    let answer = application.answers.next().unwrap().unwrap();
    // redis-py repeats the question itself; with node-redis that one may fail, as the page says.
    assert!(answer == "orders_b" || answer.starts_with("refused: "), "{answer}");
    application.until("orders_b");
}

#[test]
fn python_reads_again_for_each_connection() {
    let Some(python) = named_by_tests_run("KEYWHEEL_SDK_PYTHON") else { return };
    let world = World::new();
    let program = format!("{}{PYTHON}", recipe("python"));
    let mut application = Application::start(Command::new(python).args(["-c", &program]).arg(world.file()));
    lives_through_rotations(&world, &mut application);
}

#[test]
fn node_reads_again_for_each_connection() {
    let Some(folder) = named_by_tests_run("KEYWHEEL_SDK_NODE") else { return };
    let world = World::new();
    // A module finds its packages beside it.
    let program = world.folder.path().join("recipe.mjs");
    std::fs::write(&program, format!("{}{NODE}", recipe("javascript"))).unwrap();
    std::os::unix::fs::symlink(Path::new(&folder).join("node_modules"), world.folder.path().join("node_modules"))
        .unwrap();
    let mut application = Application::start(Command::new("node").arg(&program).arg(world.file()));
    lives_through_rotations(&world, &mut application);
}
