//! A booted Debian of its own: systemd as process 1 in a container of systemd-nspawn, without a network, made by debootstrap once and copied for each
//! test. It needs root.

use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

/// What the container has beside Debian's least: systemd, the peers of the tests, and what they are asked with.
const PACKAGES: &str = "systemd,systemd-sysv,dbus,redis-server,curl,ca-certificates";

/// A condition that has not come by then never comes.
const PATIENCE: Duration = Duration::from_secs(120);
/// How often a condition is looked at.
const LOOK: Duration = Duration::from_millis(200);

/// A running container; dropping it ends it and removes its files.
pub struct Machine {
    root: PathBuf,
    nspawn: Child,
    leader: Pid,
}

/// How a command in the container ended.
#[derive(Debug)]
pub struct Outcome {
    pub status: i32,
    pub out: String,
    pub err: String,
}

impl Machine {
    /// Boots a fresh copy with these files in its `/root`.
    pub fn boot(files: &[&Path]) -> Self {
        let root = target().join(format!("machine-{}", std::process::id()));
        run(Command::new("cp").args(["-a", "--reflink=auto"]).arg(debian()).arg(&root));
        for file in files {
            fs::copy(file, root.join("root").join(file.file_name().unwrap())).unwrap();
        }
        // `--keep-unit` and `--register=no`: the machine outside need not run systemd itself.
        let mut nspawn = Command::new("systemd-nspawn")
            .args(["--register=no", "--keep-unit", "--private-network", "--boot", "--console=pipe", "-D"])
            .arg(&root)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(root.with_extension("log")).unwrap())
            .spawn()
            .expect("systemd-nspawn is installed (Debian's systemd-container)");
        let mut up = None;
        until("the container to be up", || {
            if let Some(ended) = nspawn.try_wait().unwrap() {
                let log = fs::read_to_string(root.with_extension("log")).unwrap();
                panic!("systemd-nspawn ended with {ended}: {log}");
            }
            // Looked for each time: a child may only prepare the container, and go.
            let Some(leader) = first_child(&nspawn) else { return false };
            let told = Self::command(leader, "systemctl is-system-running").stdin(Stdio::null()).output().unwrap();
            let state = String::from_utf8_lossy(&told.stdout).trim().to_owned();
            let report = || Self::command(leader, "systemctl --failed; journalctl -b -p warning").output().unwrap();
            assert_ne!(state, "degraded", "{}", String::from_utf8_lossy(&report().stdout));
            up = (state == "running").then_some(leader);
            up.is_some()
        });
        Self { root, nspawn, leader: up.unwrap() }
    }

    /// Where a path of the container is, seen from outside.
    pub fn path(&self, inside: &str) -> PathBuf {
        self.root.join(inside.trim_start_matches('/'))
    }

    /// Runs a script as root in the container.
    pub fn run(&self, script: &str) -> Outcome {
        let output = Self::command(self.leader, script).stdin(Stdio::null()).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Outcome { status: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) }
    }

    /// The same for one that must succeed; what it printed.
    pub fn ok(&self, script: &str) -> String {
        let outcome = self.run(script);
        let journal = || self.run("journalctl --no-pager -n 40").out;
        assert_eq!(outcome.status, 0, "{script}\n{}{}\n{}", outcome.out, outcome.err, journal());
        outcome.out
    }

    /// Waits until a script prints what is wanted.
    pub fn until(&self, what: &str, script: &str, is: impl Fn(&str) -> bool) -> String {
        let mut last = String::new();
        let came = eventually(|| {
            last = self.run(script).out;
            is(last.trim())
        });
        let journal = || self.run("journalctl --no-pager -n 40").out;
        assert!(came, "waited in vain for {what}; last: {last}\n{}", journal());
        last.trim().to_owned()
    }

    fn command(leader: Pid, script: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--target", &leader.as_raw_nonzero().to_string()]);
        command.args(["--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--root", "--wdns=/"]);
        command.args(["/usr/bin/env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LC_ALL=C.UTF-8"]);
        command.args(["bash", "-c", script]);
        command
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // Its first process takes all others along; it may have ended.
        let _ = kill_process(self.leader, Signal::KILL);
        let _ = self.nspawn.wait();
        let _ = fs::remove_dir_all(&self.root);
        let _ = fs::remove_file(self.root.with_extension("log"));
    }
}

/// Keeps every reader of a ledger out until it is dropped, as a disk that hangs would: the locks of SQLite's readers, held by another process.
pub struct Jam {
    child: Child,
    hold: Option<ChildStdin>,
}

impl Jam {
    /// Takes the locks as soon as nobody reads.
    pub fn of(ledger: &Path) -> Self {
        // "WAL-mode File Format" of SQLite: the read locks are five bytes from offset 123 of the file beside the ledger.
        const HOLD: &str = "import fcntl, sys\nfile = open(sys.argv[1], 'r+b')\n\
            fcntl.lockf(file, fcntl.LOCK_EX, 5, 123)\nprint('held', flush=True)\nsys.stdin.read()";
        let shared = format!("{}-shm", ledger.display());
        let mut child = Command::new("python3")
            .args(["-c", HOLD, &shared])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "held\n", "{shared}");
        let hold = child.stdin.take();
        Self { child, hold }
    }
}

impl Drop for Jam {
    fn drop(&mut self) {
        // Its standard input ends, and so does it.
        if let Some(mut hold) = self.hold.take() {
            let _ = hold.flush();
        }
        let _ = self.child.wait();
    }
}

/// The container's first process: a child in a world of its own.
fn first_child(nspawn: &Child) -> Option<Pid> {
    let children = Command::new("pgrep").arg("-P").arg(nspawn.id().to_string()).output().unwrap();
    let children = String::from_utf8(children.stdout).unwrap();
    let world = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
    let child = children.lines().find(|child| world(child).is_some_and(|its| Some(its) != world("self")))?;
    Pid::from_raw(child.parse().ok()?)
}

/// Waits until a condition holds.
pub fn until(what: &str, holds: impl FnMut() -> bool) {
    assert!(eventually(holds), "waited in vain for {what}");
}

fn eventually(mut holds: impl FnMut() -> bool) -> bool {
    (0..PATIENCE.as_millis() / LOOK.as_millis()).any(|_| {
        let came = holds();
        if !came {
            std::thread::sleep(LOOK);
        }
        came
    })
}

/// Runs a command that must succeed.
pub fn run(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?}\n{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// The container's files as debootstrap makes them, of the same release as this machine, so that the program fits.
fn debian() -> PathBuf {
    let release = fs::read_to_string("/etc/os-release").unwrap();
    let name = release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME=")).expect("a release of Debian");
    let made = target().join(format!("debian-{name}"));
    if !made.exists() {
        println!("debootstrap: {name}");
        let draft = made.with_extension("new");
        let _absent = fs::remove_dir_all(&draft);
        let mut debootstrap = Command::new("debootstrap");
        debootstrap.args(["--variant=minbase", &format!("--include={PACKAGES}"), name]);
        run(debootstrap.arg(&draft).arg("http://deb.debian.org/debian"));
        fs::rename(&draft, &made).unwrap();
    }
    made
}

/// Where the tests of booted systems keep what they make.
pub fn target() -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("booted");
    fs::create_dir_all(&target).unwrap();
    target
}
