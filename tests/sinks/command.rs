//! `command`, with a program as its owner might write it.

use super::conformance::{Seen, Store, Trouble};
use super::rows::Row;
use keywheel::sink::Sink;
use keywheel::sink::command::CommandSink;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

/// Stores what it is given in one file under a lock. The file `trouble` says what goes wrong.
const PROGRAM: &str = r#"
import fcntl, json, os, signal, sys
place = sys.argv[1]
asked = json.load(sys.stdin)
with open(place + "/lock", "w") as lock:
    fcntl.flock(lock, fcntl.LOCK_EX)
    trouble = open(place + "/trouble").read() if os.path.exists(place + "/trouble") else ""
    if trouble == "Hang":
        signal.pause()
    if trouble == "Huge":
        try:
            for _ in range(100):
                sys.stdout.write("x" * 1024 * 1024)
        except BrokenPipeError:
            os._exit(1)
    if trouble in ("Down", "Throttled", "Broken", "Full"):
        sys.exit(f"{trouble}: {json.dumps(asked)}")
    if trouble in ("Denied", "NotFound"):
        print(trouble, asked.get("password"), file=sys.stderr)
        sys.exit(77)
    held = json.load(open(place + "/held")) if os.path.exists(place + "/held") else None
    if held and held["target"] != asked["target"]:
        print("this place belongs to", held["target"], file=sys.stderr)
        sys.exit(77)
    if asked["action"] == "read" and held:
        json.dump(held, sys.stdout)
    if asked["action"] == "deliver":
        if held and held["generation"] > asked["generation"]:
            sys.exit(20)
        if held != asked:
            with open(place + "/new", "w") as new:
                json.dump(asked, new)
                new.flush()
                os.fsync(new.fileno())
            os.rename(place + "/new", place + "/held")
            with open(place + "/log", "a") as log:
                print(asked["generation"], file=log)
        if trouble == "LostAnswer":
            os.remove(place + "/trouble")
            os.kill(os.getpid(), signal.SIGKILL)
"#;

pub struct Script {
    folder: tempfile::TempDir,
}

impl Script {
    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn settings(&self, hasty: bool) -> serde_json::Value {
        let program = self.path("program.py");
        let argv = serde_json::json!(["/usr/bin/env", "python3", "-IS", program, self.folder.path()]);
        let timeout = if hasty { "300ms" } else { "30s" };
        serde_json::json!({ "argv": argv, "read": argv, "check": true, "timeout": timeout })
    }
}

impl Store for Script {
    const NAME: &'static str = "command";

    async fn begin() -> Self {
        let script = Self { folder: tempfile::tempdir().unwrap() };
        fs::write(script.path("program.py"), PROGRAM).unwrap();
        script
    }

    fn sink(&self, hasty: bool) -> Arc<dyn Sink> {
        Arc::new(CommandSink::new(serde_json::from_value(self.settings(hasty)).unwrap()).unwrap())
    }

    async fn seen(&self) -> Option<Seen> {
        let held: serde_json::Value = serde_json::from_slice(&fs::read(self.path("held")).ok()?).unwrap();
        Some(Seen {
            generation: held["generation"].as_u64().unwrap(),
            account: held["account"].as_str().unwrap().to_owned(),
            password: held["login_password"].as_str().unwrap().to_owned(),
        })
    }

    async fn mark(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    async fn fail(&self, trouble: Trouble) {
        fs::write(self.path("trouble"), format!("{trouble:?}")).unwrap();
    }

    async fn mend(&self) {
        fs::remove_file(self.path("trouble")).unwrap();
    }

    async fn wipe(&self) {
        fs::remove_file(self.path("held")).unwrap();
    }

    fn leaves_out(&self, row: Row) -> Option<&'static str> {
        match row {
            Row::NewerBetween | Row::SameBetween | Row::LostBetween => Some("looked and written under one lock"),
            Row::Deliver
            | Row::Again
            | Row::Older
            | Row::Stranger
            | Row::Race
            | Row::Down
            | Row::Denied
            | Row::NotFound
            | Row::Throttled
            | Row::Broken
            | Row::Full
            | Row::LostAnswer
            | Row::Hang
            | Row::Huge
            | Row::Characters
            | Row::Ready
            | Row::ReadBack
            | Row::Wiped
            | Row::Shown => None,
        }
    }

    fn debug(&self) -> String {
        format!("{:?}", CommandSink::new(serde_json::from_value(self.settings(false)).unwrap()).unwrap())
    }
}
