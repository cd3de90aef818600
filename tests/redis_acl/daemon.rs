//! The built program and a real cluster: adopted, checked and rotated in place, by the configuration alone.

use crate::redis_nodes::{ADMIN, ADMIN_PASSWORD, RedisCluster};
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

/// A command that has not ended by then never ends.
const PATIENCE: Duration = Duration::from_secs(90);
/// How often it is looked at.
const LOOK: Duration = Duration::from_millis(25);

fn write(folder: &Path, name: &str, text: &str) {
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(folder.join(name)).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

fn keywheel(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_keywheel"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("KEYWHEEL_")) {
        command.env_remove(name);
    }
    command.env("NO_COLOR", "1").env("COLUMNS", "200").args(arguments);
    if arguments[0] != "key" {
        command.arg("--config").arg(folder.join("keywheel.toml"));
    }
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // What it prints fits into a pipe. A rotation that never ends is a failure, not a test that never ends.
    let ended = (0..PATIENCE.as_millis() / LOOK.as_millis()).any(|_| {
        let ended = child.try_wait().unwrap().is_some();
        if !ended {
            std::thread::sleep(LOOK);
        }
        ended
    });
    if !ended {
        child.kill().unwrap();
    }
    let output = child.wait_with_output().unwrap();
    assert!(ended, "{arguments:?} did not end: {output:?}");
    output
}

fn said(folder: &Path, arguments: &[&str]) -> String {
    let output = keywheel(folder, arguments);
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{arguments:?}: {out}{err}");
    out.into_owned()
}

#[test]
fn a_cluster_is_checked_and_rotated_in_place_through_the_built_program() {
    let mut cluster = RedisCluster::start("By-Hand+2019");
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    write(folder, "admin", ADMIN_PASSWORD);
    write(folder, "initial", "By-Hand+2019");
    write(folder, "sealing-key", &said(folder, &["key", "new"]));
    let here = folder.display();
    let node = cluster.nodes[0].url();
    let text = format!(
        r#"
[daemon]
ledger = "sqlite://{here}/ledger.db"
ephemeral = "rehearsal"
sealing-key = {{ file = "{here}/sealing-key" }}
control-socket = "{here}/control.sock"

[limits]
usual-task-time = "100ms"

[providers.own]
kind = "redis"
nodes = ["{node}"]
discover = "cluster"
admin = {{ user = "{ADMIN}", password = {{ file = "{here}/admin" }} }}

[sinks.url]
kind = "file"
path = "{here}/url"
format = "url"

[targets.app]
provider = "own"
account = "app"
adopt = {{ file = "{here}/initial" }}
sinks = ["url"]
"#
    );
    write(folder, "keywheel.toml", &text);
    assert!(said(folder, &["check"]).contains("nothing would fail"));
    said(folder, &["rotate", "app", "--wait"]);
    let password = said(folder, &["reveal", "app"]);
    let password = password.trim_end();
    assert_eq!((cluster.let_in("By-Hand+2019"), cluster.let_in(password)), (0, 3));
    let url = std::fs::read_to_string(folder.join("url")).unwrap();
    assert_eq!(url.trim_end(), node.replace("redis://", &format!("redis://app:{password}@")));

    // The file of the administrator is read anew, and a node that is down is named.
    write(folder, "admin", "wrong");
    let output = keywheel(folder, &["check"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stdout).contains("WRONGPASS"), "{output:?}");
    write(folder, "admin", ADMIN_PASSWORD);
    let down = cluster.nodes[2].url();
    cluster.nodes[2].kill();
    let output = keywheel(folder, &["check"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stdout).contains(&down), "{output:?}");
    cluster.nodes[2].restart();
    cluster.until_whole();
    said(folder, &["rotate", "app", "--wait"]);
    assert_eq!(cluster.let_in(password), 0);
}
