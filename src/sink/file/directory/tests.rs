//! A folder as its readers see it: one generation, whole, private, in order.

use crate::fault::Kind;
use crate::sink::address::tests::document;
use crate::sink::file::FileSink;
use crate::sink::file::tests::{names, with};
use crate::sink::{Document, Endpoint, Holds, Sink};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

fn folder_sink(path: &Path) -> FileSink {
    with(path, serde_json::json!({ "format": "directory", "fields": { "user": "user", "password": "password" } }))
}

fn read(path: &Path, name: &str) -> String {
    fs::read_to_string(path.join(name)).unwrap()
}

/// The folder of the generation that readers are led to.
fn led_to(path: &Path) -> std::path::PathBuf {
    path.join(fs::read_link(path.join("..data")).unwrap())
}

#[tokio::test]
async fn a_folder_looks_like_one_that_kubernetes_mounts() {
    let around = tempfile::tempdir().unwrap();
    let path = around.path().join("redis");
    let sink =
        with(&path, serde_json::json!({ "format": "directory", "mode": "0640", "owner": 12, "group": "daemon" }));
    sink.ready(&document(1, "first").target).await.unwrap();
    assert_eq!(names(around.path()), [""; 0], "a check leaves nothing");
    let mut first = document(1, "first");
    first.endpoint = Some(Endpoint { host: "10.0.0.12".to_owned(), port: 6379, tls: false });
    sink.deliver(&first).await.unwrap();
    let seen = names(&path);
    let parts = ["account", "generation", "host", "password", "port", "target", "tls", "url", "user"];
    assert_eq!(seen[1], "..data", "{seen:?}");
    assert!(seen[0].starts_with("..1."), "{seen:?}");
    assert_eq!(seen[2..], parts);
    assert_eq!(fs::read_link(path.join("password")).unwrap(), Path::new("..data/password"));
    assert_eq!([read(&path, "password"), read(&path, "generation"), read(&path, "port")], ["first", "1", "6379"]);
    for (place, mode) in [(led_to(&path), 0o750), (path.clone(), 0o750), (path.join("password"), 0o640)] {
        let about = fs::metadata(&place).unwrap();
        assert_eq!((about.permissions().mode() & 0o7777, about.uid()), (mode, 12), "{}", place.display());
        assert_ne!(about.gid(), 0);
    }
    assert_eq!(read(&led_to(&path), ".keywheel"), r#"{"target":"orders-cache","generation":1}"#);
    // An address that is gone takes its files and their names along.
    sink.deliver(&Document { endpoint: None, ..document(2, "second") }).await.unwrap();
    assert_eq!(names(&path)[2..], ["account", "generation", "password", "target", "user"]);
}

#[tokio::test]
async fn a_folder_keeps_its_generation_in_order_and_mends_it() {
    let around = tempfile::tempdir().unwrap();
    let path = around.path().join("redis");
    let sink = folder_sink(&path);
    assert_eq!(sink.holds(&document(2, "second")).await.unwrap(), Holds::Absent);
    assert!(sink.has_lost_it().await);
    sink.deliver(&document(2, "second")).await.unwrap();
    assert!(!sink.has_lost_it().await);
    let before = led_to(&path);
    sink.deliver(&document(2, "second")).await.unwrap();
    assert_eq!(led_to(&path), before, "the same again touches nothing");
    assert_eq!(sink.deliver(&document(1, "first")).await.unwrap_err().kind, Kind::SinkNewer);
    let mut other = document(9, "other");
    other.target = "billing".parse().unwrap();
    assert!(sink.deliver(&other).await.unwrap_err().what.contains("belongs to one target"));
    for harm in [
        "rm {}/password",
        "echo changed >{}/..data/password",
        "chmod 644 {}/..data/user",
        "rm -r {}/..2.*",
        "rm {}/..data",
    ] {
        let script = harm.replace("{}", &path.display().to_string());
        assert!(std::process::Command::new("sh").args(["-c", &script]).status().unwrap().success());
        assert_ne!(sink.holds(&document(2, "second")).await.unwrap(), Holds::Same, "{harm}");
        sink.deliver(&document(2, "second")).await.unwrap();
        assert_eq!(sink.holds(&document(2, "second")).await.unwrap(), Holds::Same, "{harm}");
        assert_eq!(read(&path, "password"), "second");
        assert_eq!(names(&path).len(), 4, "{harm}: {:?}", names(&path));
    }
}

#[tokio::test]
async fn what_a_crash_left_in_a_folder_is_removed() {
    let around = tempfile::tempdir().unwrap();
    let path = around.path().join("redis");
    let sink = folder_sink(&path);
    // Killed while the folder itself was made.
    fs::create_dir(around.path().join(".redis.keywheel-new")).unwrap();
    sink.deliver(&document(1, "first")).await.unwrap();
    assert_eq!(names(around.path()), ["redis"]);
    // Killed while the folder of the next generation was written, and when only its link lacked its name.
    fs::create_dir(path.join("..2.abcdef")).unwrap();
    fs::write(path.join("..2.abcdef/password"), "sec").unwrap();
    symlink("..2.abcdef", path.join("..keywheel-link")).unwrap();
    assert_eq!(read(&path, "password"), "first");
    sink.deliver(&document(1, "first")).await.unwrap();
    assert!(!path.join("..2.abcdef").exists(), "a half-written generation may hold a password");
    sink.deliver(&document(2, "second")).await.unwrap();
    assert_eq!(names(&path).len(), 4, "{:?}", names(&path));
    // What is not keywheel's stays.
    fs::create_dir(path.join("..strangers")).unwrap();
    fs::write(path.join("notes"), "mine").unwrap();
    sink.deliver(&document(3, "third")).await.unwrap();
    assert_eq!(read(&path, "notes"), "mine");
    assert!(path.join("..strangers").exists());
}

#[tokio::test]
async fn what_is_in_a_folders_way_is_refused_with_a_sentence() {
    let around = tempfile::tempdir().unwrap();
    let place = |name: &str| around.path().join(name);
    fs::create_dir(place("real")).unwrap();
    symlink(place("real"), place("link")).unwrap();
    fs::write(place("file"), "untouched").unwrap();
    fs::create_dir(place("taken")).unwrap();
    fs::write(place("taken").join("password"), "somebody's").unwrap();
    fs::create_dir(place("led-astray")).unwrap();
    symlink("/etc", place("led-astray").join("..data")).unwrap();
    for (name, said) in [
        ("link", "symbolic link"),
        ("file", "no folder"),
        ("absent/redis", "open the folder"),
        ("taken", "password is there already"),
        ("led-astray", "did not make"),
    ] {
        let sink = folder_sink(&place(name));
        for fault in [
            sink.ready(&document(1, "p").target).await.unwrap_err(),
            sink.deliver(&document(1, "p")).await.unwrap_err(),
        ] {
            assert!(fault.what.contains(said), "{name}: {fault}");
        }
    }
    assert_eq!([read(&place("taken"), "password"), read(around.path(), "file")], ["somebody's", "untouched"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_opens_the_link_once_sees_one_generation() {
    const LAST: u64 = 120;
    let around = tempfile::tempdir().unwrap();
    let path = around.path().join("redis");
    let made = |path: &Path| {
        let fields = serde_json::json!({ "password": "password", "account": "account", "generation": "number" });
        with(path, serde_json::json!({ "format": "directory", "fields": fields }))
    };
    let of = |generation: u64| {
        let mut document = document(generation, &format!("password-{generation}"));
        document.account = format!("account-{generation}");
        document
    };
    made(&path).deliver(&of(1)).await.unwrap();
    let writer = tokio::spawn({
        let sink = made(&path);
        async move {
            for generation in 2..=LAST {
                sink.deliver(&of(generation)).await.unwrap();
            }
        }
    });
    let (mut newest, mut whole, mut torn) = (0, 0_u64, 0_u64);
    while newest < LAST {
        let folder = rustix::fs::open(path.join("..data"), rustix::fs::OFlags::DIRECTORY, rustix::fs::Mode::empty());
        let Ok(folder) = folder else { continue };
        let read = |name: &str| {
            let file = rustix::fs::openat(&folder, name, rustix::fs::OFlags::RDONLY, rustix::fs::Mode::empty()).ok()?;
            std::io::read_to_string(fs::File::from(file)).ok()
        };
        // A file that is gone says that there is a newer generation.
        let (Some(number), Some(account), Some(password)) = (read("number"), read("account"), read("password")) else {
            torn += 1;
            continue;
        };
        let number: u64 = number.parse().unwrap();
        assert_eq!((account, password), (format!("account-{number}"), format!("password-{number}")));
        assert!(number >= newest, "generations never go backwards");
        (newest, whole) = (number, whole + 1);
    }
    writer.await.unwrap();
    println!("{whole} reads of one generation, {torn} begun again");
    assert_eq!(names(&path).len(), 5);
}
