//! The package in a booted Debian: systemd starts the unit as it is shipped, its watchdog ends a daemon that is stuck, an upgrade comes in the middle of a
//! rotation, and nobody else reads anything. Takes minutes and needs root, debootstrap and systemd-nspawn: only with `KEYWHEEL_LONG`.

#![cfg(feature = "simulator")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop there")]

mod machine;

use machine::{Jam, Machine, run};
use serde_json::Value;
use std::path::PathBuf;
use std::process::Command;

const LEDGER: &str = "/var/lib/private/keywheel/ledger.db";

/// The stand-in's instance, and a Redis of one's own.
const CONFIGURATION: &str = r#"
[daemon]
ledger      = "sqlite:///var/lib/keywheel/ledger.db"
sealing-key = { credential = "sealing-key" }
listen      = "127.0.0.1:9464"

[limits]
usual-task-time = "1s"
look-backoff    = { first = "200ms", longest = "1s" }

[providers.shop]
kind        = "tencent"
region      = "ap-guangzhou"
endpoint    = "http://127.0.0.1:9470"
credentials = { source = "static", secret-id = { credential = "cloud-id" }, secret-key = { credential = "cloud-key" } }

[providers.own]
kind  = "redis"
nodes = ["redis://127.0.0.1:6379"]
admin = "self"

[sinks.orders-env]
kind   = "file"
path   = "/run/keywheel-sinks/orders/redis.env"
format = "env"
mode   = "0640"

[sinks.orders-json]
kind   = "file"
path   = "/run/keywheel-sinks/orders/redis.json"
format = "json"
mode   = "0640"

[targets.orders-cache]
provider = "shop"
instance = "crs-demo0001"
login    = "redis://127.0.0.1:9471"
schedule = "@yearly"
sinks    = ["orders-env", "orders-json"]

[targets.sessions]
provider = "own"
instance = "local"
account  = "default"
"#;

/// What the rotator above delivers, rendered for somebody else.
const FOLLOWER: &str = r#"
# It says its generation itself: the marker beside a file is its writer's alone.
[sinks.orders-json]
kind   = "file"
path   = "/run/keywheel-sinks/orders/redis.json"
format = "json"
mode   = "0640"

[sinks.rendered]
kind   = "file"
path   = "/run/keywheel-sinks/app/redis"
format = "directory"
mode   = "0640"

[follow.orders-cache]
source = "orders-json"
sinks  = ["rendered"]
"#;

struct Story {
    machine: Machine,
}

impl Story {
    fn step(&self, what: &str) {
        println!("booted: {what}");
    }

    fn show(&self, property: &str) -> String {
        self.machine.ok(&format!("systemctl show -P {property} keywheel")).trim().to_owned()
    }

    fn until_shown(&self, property: &str, is: impl Fn(&str) -> bool) -> String {
        self.machine.until(property, &format!("systemctl show -P {property} keywheel"), is)
    }

    fn status(&self, target: &str) -> Value {
        let report = self.machine.run("keywheel status --json");
        let report: Value = serde_json::from_str(&report.out).unwrap_or_else(|_| panic!("{report:?}"));
        report["targets"].as_array().unwrap().iter().find(|one| one["target"] == target).cloned().unwrap()
    }

    fn until_settled(&self, target: &str, generation: u64) {
        let mut last = Value::Null;
        machine::until(&format!("{target} to be settled with generation {generation}"), || {
            last = self.status(target);
            last["state"] == "settled" && last["generation"] == generation
        });
    }

    fn reveal(&self, target: &str) -> String {
        self.machine.ok(&format!("keywheel reveal {target}")).trim().to_owned()
    }

    /// The cloud's next task goes on until [`release`](Self::release).
    fn hold_next_task(&self) {
        let step = r#"[{"action": "Mod*InstancePassword", "fault": {"kind": "task-stuck"}}]"#;
        self.machine.ok(&format!("curl -sSf -d '{step}' http://127.0.0.1:9470/_simulator/script"));
    }

    fn release(&self) {
        self.machine.ok(r#"curl -sSf -d '{"release-stuck": true}' http://127.0.0.1:9470/_simulator/change"#);
    }

    /// How many passwords the cloud's instance had so far.
    fn passwords(&self) -> usize {
        let state = self.machine.ok("curl -sSf http://127.0.0.1:9470/_simulator/state");
        let state: Value = serde_json::from_str(&state).unwrap();
        state["instances"][0]["history"].as_array().unwrap_or_else(|| panic!("{state:#}")).len()
    }

    /// A rotation that cannot end yet, and its id.
    fn begin(&self) -> String {
        self.hold_next_task();
        self.machine.ok("keywheel rotate orders-cache");
        let began = |history: &str| {
            let line = history.lines().rfind(|line| line.contains("\"began\""))?;
            Some(serde_json::from_str::<Value>(line).unwrap()["rotation"].as_str()?.to_owned())
        };
        let history = self.machine.until("the call", "keywheel history orders-cache --json", |history| {
            let rotation = began(history).unwrap_or_default();
            history.lines().any(|line| line.contains("\"answered\"") && line.contains(&rotation))
        });
        assert_eq!(self.status("orders-cache")["state"], "rotating");
        began(&history).unwrap()
    }

    /// That rotation, and no other, goes on to its end.
    fn goes_on(&self, rotation: &str, generation: u64) {
        self.release();
        self.until_settled("orders-cache", generation);
        let history = self.machine.ok("keywheel history orders-cache --json");
        let settled = history.lines().rfind(|line| line.contains("\"settled\"")).unwrap();
        assert!(settled.contains(rotation), "{settled}");
        assert_eq!(self.passwords() as u64, generation, "each rotation draws one password");
    }
}

fn package(version: &str) -> PathBuf {
    let root = env!("CARGO_MANIFEST_DIR");
    run(Command::new("packaging/build-deb").arg("--quick").current_dir(root).env("KEYWHEEL_DEB_VERSION", version));
    let made = glob(&format!("{root}/target/debian"), &format!("keywheel_{version}-1_"));
    let made = made.unwrap_or_else(|| panic!("no package of version {version}"));
    // cargo-deb removes the package before when it makes one.
    let kept = machine::target().join(made.file_name().unwrap());
    std::fs::rename(&made, &kept).unwrap();
    run(Command::new("lintian").args(["--allow-root", "--fail-on", "error,warning"]).arg(&kept));
    kept
}

fn glob(folder: &str, begins: &str) -> Option<PathBuf> {
    let entries = std::fs::read_dir(folder).ok()?;
    entries
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(begins)))
}

#[test]
fn the_package_lives_in_a_booted_system() {
    if std::env::var_os("KEYWHEEL_LONG").is_none() {
        return println!("booted: only with KEYWHEEL_LONG");
    }
    if !rustix::process::geteuid().is_root() {
        return println!("booted: only as root: a container is booted");
    }
    let packages = ["0.1.0", "0.1.1"].map(package);
    let story = Story { machine: Machine::boot(&packages.each_ref().map(PathBuf::as_path)) };
    installed(&story);
    credentials(&story);
    readiness(&story);
    reloads(&story);
    journal(&story);
    watchdog(&story);
    following(&story);
    upgrade(&story);
    one_shot(&story);
    privacy(&story);
    plain_credentials(&story);
    removal(&story);
}

fn installed(story: &Story) {
    story.step("the package starts nothing, and its configuration is a sound beginning");
    let machine = &story.machine;
    machine.ok("dpkg -i /root/keywheel_0.1.0-1_*.deb");
    assert_eq!(machine.run("systemctl is-active keywheel").out.trim(), "inactive");
    assert_eq!(machine.run("systemctl is-enabled keywheel").out.trim(), "disabled");
    machine.ok("keywheel check --offline && test -d /run/keywheel-sinks && id keywheel && test ! -e /var/lib/keywheel");
    assert_eq!(
        machine.ok(
            "systemd-analyze verify --man=no keywheel.service keywheel-rotate@x.service keywheel-follow@x.service 2>&1"
        ),
        ""
    );
    // Without a key it says what is missing, and is never ready.
    machine.run("systemctl start --no-block keywheel");
    machine.until("a sentence", "journalctl -u keywheel --no-pager", |log| {
        log.contains("sealing-key") && log.contains("Next: ") && !log.contains("Started keywheel")
    });
    machine.run("systemctl stop keywheel; systemctl reset-failed keywheel");
}

fn credentials(story: &Story) {
    story.step("credentials that are sealed to the machine");
    let machine = &story.machine;
    machine.ok("set -e
        # It prints its key.
        systemd-run -q --unit=stand-in -p StandardOutput=null keywheel simulate
        printf 'requirepass By-Hand-2019\\nport 6379\\nsave \"\"\\n' > /root/redis.conf
        systemctl stop redis-server
        systemd-run -q --unit=own-redis redis-server /root/redis.conf
        groupadd --system orders
        echo 'd /run/keywheel-sinks/orders 2750 keywheel orders' > /etc/tmpfiles.d/orders.conf
        systemd-tmpfiles --create orders.conf
        sealed() { systemd-creds encrypt --name=$1 - /etc/credstore.encrypted/keywheel.$1; }
        keywheel key new | sealed sealing-key
        printf AKID-rehearsal | sealed cloud-id
        printf rehearsal-secret-key | sealed cloud-key");
    std::fs::write(machine.path("/etc/keywheel/keywheel.toml"), CONFIGURATION).unwrap();
    machine.ok("systemctl start keywheel");
    machine
        .ok("printf Rehearsal-Passw0rd | keywheel adopt orders-cache && printf By-Hand-2019 | keywheel adopt sessions");
    machine.ok("keywheel rotate --all --yes --wait");
    story.until_settled("orders-cache", 2);
    story.until_settled("sessions", 2);
    assert!(machine.ok("cat /run/keywheel-sinks/orders/redis.env").contains(&story.reveal("orders-cache")));
    story.until_shown("StatusText", |text| {
        text.starts_with("2 targets: 2 settled; next orders-cache on ") && text.ends_with("-01-01 at 00:00 UTC")
    });
    machine.ok("curl -sSf http://127.0.0.1:9464/readyz");
    assert_eq!(story.show("NRestarts"), "0");
}

fn readiness(story: &Story) {
    story.step("ready only when it is");
    let machine = &story.machine;
    // Killed, so that the files that its readers share stay.
    machine.ok("systemctl kill -s KILL keywheel; systemctl stop keywheel");
    let jam = Jam::of(&machine.path(LEDGER));
    machine.ok("systemctl start --no-block keywheel");
    story.until_shown("StatusText", |text| text == "reading the ledger");
    assert_eq!(story.show("ActiveState"), "activating");
    drop(jam);
    story.until_shown("ActiveState", |state| state == "active");
    // Whoever waits for it is let go on only then.
    machine.ok("systemctl restart keywheel && keywheel rotate sessions --wait");
    story.until_settled("sessions", 3);
}

fn reloads(story: &Story) {
    story.step("good and bad configurations");
    let machine = &story.machine;
    let file = machine.path("/etc/keywheel/keywheel.toml");
    let pid = story.show("MainPID");
    std::fs::write(&file, format!("{CONFIGURATION}nonsense = 1\n")).unwrap();
    assert_ne!(machine.run("systemctl reload keywheel").status, 0, "a bad configuration fails the reload");
    machine.ok("journalctl -u keywheel --no-pager | grep -F 'targets.sessions.nonsense'");
    assert!(!story.show("StatusText").contains("refused"), "the daemon was not asked");
    // Whoever signals the daemon itself is told, too.
    machine.ok("systemctl kill -s HUP --kill-who=main keywheel");
    story.until_shown("StatusText", |text| {
        text.starts_with("the new configuration was refused and the old one stays; 2 ")
    });
    assert_eq!(story.show("ActiveState"), "active");
    let more = CONFIGURATION.replace("account  = \"default\"", "account  = \"default\"\nschedule = \"30 3 1 1 *\"");
    std::fs::write(&file, more).unwrap();
    machine.ok("systemctl reload keywheel");
    story.until_shown("StatusText", |text| text.starts_with("2 targets: 2 settled"));
    machine.ok("keywheel rotate sessions --wait");
    story.until_settled("sessions", 4);
    assert_eq!((story.show("MainPID"), story.show("NRestarts").as_str()), (pid, "0"));
}

fn journal(story: &Story) {
    story.step("fields in the journal");
    let rotation = story.begin();
    story.goes_on(&rotation, 3);
    let lines =
        story.machine.ok(&format!("journalctl -o json KEYWHEEL_TARGET=orders-cache KEYWHEEL_ROTATION={rotation}"));
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for event in ["began", "answered", "proven", "delivered", "settled"] {
        let line =
            lines.iter().find(|line| line["KEYWHEEL_EVENT"] == event).unwrap_or_else(|| panic!("{event}: {lines:#?}"));
        assert_eq!((line["_SYSTEMD_UNIT"].as_str(), line["PRIORITY"].as_str()), (Some("keywheel.service"), Some("6")));
        let message = line["MESSAGE"].as_str().unwrap();
        assert!(message.contains(&rotation) && message.contains("target=orders-cache"), "{message}");
    }
}

fn watchdog(story: &Story) {
    story.step("the watchdog ends a daemon that is stuck, and the next one goes on");
    let machine = &story.machine;
    machine.ok("mkdir -p /run/systemd/system/keywheel.service.d
        printf '[Service]\\nWatchdogSec=4s\\nRestartSec=1s\\n' > /run/systemd/system/keywheel.service.d/quick.conf
        systemctl daemon-reload && systemctl restart keywheel");
    for (generation, how) in [(4, "its driver waits for the ledger"), (5, "it stands still")] {
        let (rotation, before) = (story.begin(), story.show("NRestarts").parse::<u32>().unwrap());
        let ended = "journalctl -u keywheel --no-pager | grep -c 'Watchdog timeout'";
        let timeouts: u32 = machine.run(ended).out.trim().parse().unwrap();
        let jam = (generation == 4).then(|| Jam::of(&machine.path(LEDGER)));
        if jam.is_none() {
            machine.ok("systemctl kill -s STOP --kill-who=main keywheel");
        }
        machine.until(how, ended, |count| count.parse().is_ok_and(|count: u32| count > timeouts));
        drop(jam);
        story.until_shown("NRestarts", |count| count.parse().is_ok_and(|count: u32| count > before));
        story.until_shown("ActiveState", |state| state == "active");
        story.goes_on(&rotation, generation);
    }
    machine.ok("rm -r /run/systemd/system/keywheel.service.d; systemctl daemon-reload; systemctl restart keywheel");
    assert_eq!(
        machine.ok("find / -xdev -name 'core*' -size +1M -newer /root/redis.conf -not -path '/proc/*'"),
        "",
        "a core dump"
    );
}

fn following(story: &Story) {
    story.step("a follower beside the rotator, as another user");
    let machine = &story.machine;
    machine.ok("usermod -a -G orders keywheel-follow
        install -d /etc/keywheel/followers
        echo 'd /run/keywheel-sinks/app 2750 keywheel-follow orders' > /etc/tmpfiles.d/app.conf
        systemd-tmpfiles --create app.conf");
    std::fs::write(machine.path("/etc/keywheel/followers/orders.toml"), FOLLOWER).unwrap();
    machine.ok("systemctl start --no-block keywheel-follow@orders");
    let state = "systemctl show -P ActiveState keywheel-follow@orders";
    machine.until("the follower to be ready", state, |state| state == "active");
    let rendered = "cat /run/keywheel-sinks/app/redis/password";
    assert_eq!(machine.ok(rendered), story.reveal("orders-cache"), "it is ready when its files are there");
    machine.ok("keywheel rotate orders-cache --wait");
    story.until_settled("orders-cache", 6);
    let password = story.reveal("orders-cache");
    machine.until("the new password", rendered, |text| text == password);
    machine.ok("systemctl reload keywheel-follow@orders && systemctl is-active keywheel-follow@orders");
    machine.ok("! runuser -u keywheel-follow -- ls /var/lib/private/keywheel && ! runuser -u keywheel-follow -- keywheel rotate sessions");
    assert_eq!(machine.ok("systemctl show -P StatusText keywheel-follow@orders").trim(), "1 target followed");
    machine.ok("systemctl stop keywheel-follow@orders");
}

fn upgrade(story: &Story) {
    story.step("an upgrade in the middle of a rotation");
    let machine = &story.machine;
    let (rotation, pid, kept) = (story.begin(), story.show("MainPID"), story.reveal("sessions"));
    let upgraded = machine.run("dpkg -i /root/keywheel_0.1.1-1_*.deb");
    assert_eq!(upgraded.status, 0, "{upgraded:?}");
    assert_ne!(story.show("MainPID"), pid, "the new program runs");
    assert_eq!(story.show("ActiveState"), "active");
    assert_eq!(story.status("orders-cache")["state"], "rotating");
    story.goes_on(&rotation, 7);
    assert_eq!(story.reveal("sessions"), kept);
    assert!(machine.ok("cat /etc/keywheel/keywheel.toml").contains("[targets.sessions]"), "the configuration is kept");
}

fn one_shot(story: &Story) {
    story.step("one run by a timer, with a daemon and without");
    let machine = &story.machine;
    machine.ok("systemctl start keywheel-rotate@sessions");
    story.until_settled("sessions", 5);
    machine.ok("test -S /run/keywheel/control.sock && systemctl stop keywheel");
    // The runbook's way to a password while no daemon runs.
    let shown = "systemd-run --quiet --pipe --wait -p DynamicUser=yes -p User=keywheel -p StateDirectory=keywheel \
        -p LoadCredentialEncrypted=sealing-key:keywheel.sealing-key -p LoadCredentialEncrypted=cloud-id:keywheel.cloud-id \
        -p LoadCredentialEncrypted=cloud-key:keywheel.cloud-key keywheel recover sessions --show";
    let password = machine.ok("redis-cli --no-auth-warning -a wrong ping; grep requirepass /root/redis.conf");
    let password = password.trim().rsplit(' ').next().unwrap().trim_matches('"').to_owned();
    assert!(machine.ok(shown).contains(&password), "{password}");
    // Two at once take turns at the ledger.
    machine.ok("systemctl start keywheel-rotate@sessions keywheel-rotate@orders-cache");
    story.until_settled("sessions", 6);
    story.until_settled("orders-cache", 8);
    machine.ok("systemctl enable --now keywheel-rotate@sessions.timer");
    assert!(machine.ok("systemctl list-timers").contains("keywheel-rotate@sessions.timer"));
    machine.ok("systemctl disable --now keywheel-rotate@sessions.timer && systemctl start keywheel");
}

fn privacy(story: &Story) {
    story.step("nothing is readable by another user");
    let machine = &story.machine;
    let pid = story.show("MainPID");
    machine.ok("useradd --no-create-home mallory && useradd --no-create-home --groups keywheel alice && useradd --no-create-home --groups orders app");
    let as_mallory = |script: &str| machine.run(&format!("runuser -u mallory -- bash -c \"{script}\"")).out;
    let secrets = [story.reveal("orders-cache"), story.reveal("sessions"), "rehearsal-secret-key".to_owned()];
    let key = machine.ok("systemd-creds decrypt --name=sealing-key /etc/credstore.encrypted/keywheel.sealing-key -");
    for secret in secrets.iter().chain([&key.trim().to_owned()]) {
        std::fs::write(machine.path("/root/wanted"), format!("{secret}\n")).unwrap();
        // By root, everywhere that is kept or shown; the ledger is sealed, the program itself knows the stand-in's key.
        let kept = machine.run("grep -rslF -f /root/wanted /var /etc /tmp /usr/local /run --exclude=wanted; journalctl --no-pager -o export | grep -cF -f /root/wanted").out;
        let sinks = ["/run/keywheel-sinks/orders/redis.env", "/run/keywheel-sinks/orders/redis.json"];
        let places: Vec<&str> = kept.lines().filter(|line| *line != "0" && !sinks.contains(line)).collect();
        let credentials = |place: &&str| !place.starts_with("/run/credentials/keywheel.service/");
        let places: Vec<&str> = places.into_iter().filter(credentials).collect();
        assert!(places.is_empty(), "{places:?}");
        let shown = machine.run("cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null | grep -acF -f /root/wanted; systemctl show keywheel | grep -cF -f /root/wanted").out;
        assert_eq!(shown, "0\n0\n");
    }
    for place in [
        "/var/lib/private/keywheel/ledger.db",
        "/var/lib/keywheel/ledger.db",
        "/run/keywheel/control.sock",
        "/run/keywheel-sinks/orders/redis.env",
        "/run/credentials/keywheel.service/sealing-key",
        "/etc/credstore.encrypted/keywheel.sealing-key",
        &format!("/proc/{pid}/environ"),
        &format!("/proc/{pid}/mem"),
        &format!("/proc/{pid}/root/tmp"),
    ] {
        machine.ok(&format!("ls {place}"));
        assert_eq!(
            as_mallory(&format!("head -c1 {place} >/dev/null 2>&1 && echo readable; ls -A {place}/ 2>/dev/null")),
            "",
            "{place}"
        );
    }
    // Those who may, can: the application reads, and the group asks.
    machine.ok("runuser -u app -- grep -q REDIS_PASSWORD /run/keywheel-sinks/orders/redis.env");
    machine.ok("runuser -u alice -- keywheel rotate sessions");
    story.until_settled("sessions", 7);
    assert!(
        machine.ok("keywheel history sessions --json").contains("65534"),
        "the unit says how the record names alice"
    );
    let refused = machine.run("runuser -u mallory -- keywheel rotate sessions");
    assert!(refused.status != 0 && refused.err.contains("control socket"), "{refused:?}");
}

fn plain_credentials(story: &Story) {
    story.step("credentials in clear, by the drop-in");
    let machine = &story.machine;
    machine.ok(
        "set -e
        systemd-creds decrypt --name=sealing-key /etc/credstore.encrypted/keywheel.sealing-key - | (umask 077; cat > /etc/keywheel/sealing-key)
        rm /etc/credstore.encrypted/keywheel.sealing-key
        install -D -m 0644 /usr/share/doc/keywheel/examples/plain-credentials.conf /etc/systemd/system/keywheel.service.d/credentials.conf
        systemctl daemon-reload
        systemctl restart keywheel
        keywheel rotate --all --yes --wait",
    );
    story.until_settled("orders-cache", 9);
}

fn removal(story: &Story) {
    story.step("a removal stops the daemon and keeps the ledger");
    let machine = &story.machine;
    let purged = machine.run("dpkg -P keywheel");
    assert_eq!(purged.status, 0, "{purged:?}");
    assert!(purged.err.contains("/var/lib/private/keywheel is kept"), "{purged:?}");
    machine.ok(&format!("test -s {LEDGER} && test ! -e /usr/bin/keywheel && ! pgrep -x keywheel"));
}
