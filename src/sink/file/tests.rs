//! Sink files as their readers see them: whole, private, in order, and on disks that are full or read-only.

use super::super::address::tests::document;
use super::*;
use crate::fault::Retry;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::process::Command;

fn sink(path: &Path) -> FileSink {
    with(path, serde_json::json!({}))
}

fn with(path: &Path, more: serde_json::Value) -> FileSink {
    let mut settings = serde_json::json!({ "path": path });
    settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    FileSink::new(serde_json::from_value(settings).unwrap()).unwrap()
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// A mounted file system that goes away with the test. Tests of full and read-only disks need root, as continuous integration has it.
struct Mount(tempfile::TempDir);

impl Mount {
    fn tmpfs(options: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(folder.path()).status().unwrap();
        assert!(mounted.success(), "this test mounts a file system and needs root for that");
        Self(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _status = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

#[tokio::test]
async fn a_delivery_is_whole_private_and_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("redis.env");
    let sink = with(&path, serde_json::json!({ "mode": "0640", "owner": 12, "group": "daemon", "format": "raw" }));
    sink.ready(&"orders-cache".parse().unwrap()).await.unwrap();
    assert_eq!(names(folder.path()), [""; 0], "a check leaves nothing");
    sink.deliver(&document(1, "first")).await.unwrap();
    let about = std::fs::metadata(&path).unwrap();
    assert_eq!((about.permissions().mode() & 0o7777, about.uid()), (0o640, 12));
    assert_ne!(about.gid(), 0);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "first");
    assert_eq!(names(folder.path()), [".redis.env.keywheel", "redis.env"]);
    let marker = std::fs::read_to_string(folder.path().join(".redis.env.keywheel")).unwrap();
    assert_eq!(marker, r#"{"target":"orders-cache","generation":1}"#);
}

#[tokio::test]
async fn the_same_generation_again_touches_nothing_and_an_older_one_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("password");
    let sink = sink(&path);
    sink.deliver(&document(2, "second")).await.unwrap();
    let before = std::fs::metadata(&path).unwrap();
    assert_eq!(before.mode() & 0o7777, 0o600);
    sink.deliver(&document(2, "second")).await.unwrap();
    let after = std::fs::metadata(&path).unwrap();
    assert_eq!((before.ino(), before.mtime_nsec()), (after.ino(), after.mtime_nsec()));

    let fault = sink.deliver(&document(1, "first")).await.unwrap_err();
    assert_eq!((fault.kind, fault.retry), (Kind::SinkNewer, Retry::Never));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "second");
    sink.deliver(&document(3, "third")).await.unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "third");
}

#[tokio::test]
async fn a_file_that_was_changed_or_lost_is_mended_by_the_same_generation() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("password");
    let sink = sink(&path);
    sink.deliver(&document(2, "second")).await.unwrap();
    for harm in ["rm", "echo changed >", "chmod 644"] {
        let harmed = Command::new("sh").args(["-c", &format!("{harm} {}", path.display())]).status();
        assert!(harmed.unwrap().success());
        sink.deliver(&document(2, "second")).await.unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "second");
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
    }
}

#[tokio::test]
async fn what_a_crash_leaves_behind_is_cleaned_up() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("password");
    let sink = sink(&path);
    sink.deliver(&document(1, "first")).await.unwrap();
    // Killed after the marker and in the middle of the new content.
    std::fs::write(folder.path().join(".password.keywheel"), r#"{"target":"orders-cache","generation":2}"#).unwrap();
    std::fs::write(folder.path().join(".password.keywheel-new"), "sec").unwrap();
    std::fs::write(folder.path().join("..password.keywheel.keywheel-new"), "{").unwrap();
    let fault = sink.deliver(&document(1, "first")).await.unwrap_err();
    assert_eq!(fault.kind, Kind::SinkNewer, "the marker may be ahead, never behind");
    sink.deliver(&document(2, "second")).await.unwrap();
    sink.deliver(&document(3, "third")).await.unwrap();
    assert_eq!(names(folder.path()), [".password.keywheel", "password"]);
}

#[tokio::test]
async fn a_sink_file_belongs_to_one_target() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("password");
    let sink = sink(&path);
    sink.deliver(&document(1, "first")).await.unwrap();
    let mut other = document(9, "other");
    other.target = "billing".parse().unwrap();
    let fault = sink.deliver(&other).await.unwrap_err();
    assert_eq!(fault.kind, Kind::SinkDenied);
    assert!(fault.what.contains("belongs to one target"), "{fault}");
    assert_eq!(sink.ready(&other.target).await.unwrap_err().kind, Kind::SinkDenied);
    sink.ready(&"orders-cache".parse().unwrap()).await.unwrap();
}

#[tokio::test]
async fn what_is_in_the_way_is_refused_with_a_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let real = folder.path().join("real");
    std::fs::write(&real, "untouched").unwrap();
    let link = folder.path().join("link");
    symlink(&real, &link).unwrap();
    let marked = folder.path().join("marked");
    std::fs::write(folder.path().join(".marked.keywheel"), "not ours").unwrap();
    let linked_marker = folder.path().join("trapped");
    symlink(&real, folder.path().join(".trapped.keywheel")).unwrap();
    std::fs::create_dir(folder.path().join("folder")).unwrap();
    for (path, said) in [
        (link, "symbolic link"),
        (folder.path().join("folder"), "no regular file"),
        (folder.path().join("absent/password"), "open the folder"),
        (real.join("password"), "not a folder"),
        (marked, "not a marker"),
        (linked_marker, "Could not"),
    ] {
        let sink = sink(&path);
        for fault in [
            sink.ready(&"orders-cache".parse().unwrap()).await.unwrap_err(),
            sink.deliver(&document(1, "p")).await.unwrap_err(),
        ] {
            assert!(fault.what.contains(said), "{}: {fault}", path.display());
            assert_eq!(fault.retry, Retry::Later, "{fault}");
        }
    }
    assert_eq!(std::fs::read_to_string(&real).unwrap(), "untouched");
}

#[tokio::test]
async fn a_full_disk_leaves_the_old_file_and_is_found_before() {
    let mount = Mount::tmpfs("size=64k");
    let path = mount.path("password");
    let sink = sink(&path);
    sink.deliver(&document(1, "first")).await.unwrap();
    let filled = std::fs::write(mount.path("ballast"), vec![0; 128 * 1024]);
    assert!(filled.is_err(), "the disk is full now");
    for fault in [
        sink.ready(&"orders-cache".parse().unwrap()).await.unwrap_err(),
        sink.deliver(&document(2, "second")).await.unwrap_err(),
    ] {
        assert_eq!(fault.kind, Kind::SinkUnavailable);
        assert!(fault.next_step.contains("free space"), "{fault}");
    }
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "first");
    std::fs::remove_file(mount.path("ballast")).unwrap();
    sink.deliver(&document(2, "second")).await.unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "second");
    assert_eq!(names(mount.0.path()), [".password.keywheel", "password"]);
}

#[tokio::test]
async fn a_read_only_disk_is_found_before() {
    let mount = Mount::tmpfs("ro");
    let sink = sink(&mount.path("password"));
    for fault in [
        sink.ready(&"orders-cache".parse().unwrap()).await.unwrap_err(),
        sink.deliver(&document(1, "first")).await.unwrap_err(),
    ] {
        assert_eq!(fault.kind, Kind::SinkDenied);
        assert!(fault.next_step.contains("ReadWritePaths"), "{fault}");
    }
}

#[tokio::test]
async fn readers_see_one_generation_or_the_other_while_writers_race() {
    const LAST: u64 = 40;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("password");
    let whole = |generation: u64| format!("{generation}:").repeat(500);
    sink(&path).deliver(&document(1, &whole(1))).await.unwrap();
    // Two sinks on one file are two processes to each other: they share the lock on the disk and nothing else.
    let writers = [sink(&path), sink(&path)].map(|sink| {
        tokio::spawn(async move {
            for generation in 2..=LAST {
                let content = format!("{generation}:").repeat(500);
                match sink.deliver(&document(generation, &content)).await {
                    Ok(()) => {}
                    Err(fault) => assert_eq!(fault.kind, Kind::SinkNewer, "{fault}"),
                }
            }
        })
    });
    let mut newest = 1;
    while newest < LAST {
        let text = std::fs::read_to_string(&path).unwrap();
        let seen: u64 = text.split(':').next().unwrap().parse().unwrap();
        assert!(seen >= newest, "generations never go backwards");
        assert_eq!(text, whole(seen), "whole or not at all");
        newest = seen;
        tokio::task::yield_now().await;
    }
    for writer in writers {
        writer.await.unwrap();
    }
    assert_eq!(names(folder.path()), [".password.keywheel", "password"]);
}

#[test]
fn bad_settings_are_refused_with_every_finding() {
    let refused = |settings: serde_json::Value| {
        let found = FileSink::new(serde_json::from_value(settings).unwrap()).unwrap_err();
        assert!(found.iter().all(|fault| fault.kind == Kind::ConfigInvalid));
        found.len()
    };
    assert_eq!(
        refused(serde_json::json!({
            "path": "relative", "mode": "0777", "owner": "no-such-user", "group": "no-such-group", "format": "url", "prefix": "X_"
        })),
        5
    );
    for (mode, good) in [("0600", true), ("640", true), ("0644", true), ("0o440", true), ("0602", false)]
        .into_iter()
        .chain([("", false), ("-1", false), ("+600", false), ("0200", false), ("4600", false), ("600000", false)])
    {
        assert_eq!(checked_mode(mode).is_ok(), good, "{mode}");
    }
    for bad in ["/", "/a/..", "/folder/", "a"] {
        assert!(checked_folder(Path::new(bad)).is_err(), "{bad}");
    }
    assert!(checked_folder(Path::new(&format!("/{}", "x".repeat(FILE_NAME_LIMIT + 1)))).is_err());
    for unknown in [serde_json::json!({ "path": "/a", "paht": 1 }), serde_json::json!({})] {
        assert!(serde_json::from_value::<FileSettings>(unknown).is_err());
    }
}
