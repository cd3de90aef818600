//! Sink files as their readers see them: whole, private, in order, and on disks that are full or read-only.

use super::super::address::tests::document;
use super::slot::{HELD_LIMIT, checked_folder, checked_mode};
use super::*;
use crate::fault::{Kind, Retry};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

fn sink(path: &Path) -> FileSink {
    with(path, serde_json::json!({}))
}

pub(super) fn with(path: &Path, more: serde_json::Value) -> FileSink {
    let mut settings = serde_json::json!({ "path": path });
    settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    FileSink::new(serde_json::from_value(settings).unwrap()).unwrap()
}

pub(super) fn names(folder: &Path) -> Vec<String> {
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

fn target() -> TargetName {
    "orders-cache".parse().unwrap()
}

async fn read_back(sink: &FileSink) -> Result<Option<String>, Fault> {
    Ok(sink.read_back(&target()).await?.map(|held| match held {
        Held::AsSent(password) => password.expose().to_owned(),
        Held::Bare(_) => panic!("a file holds what clients send"),
    }))
}

#[tokio::test]
async fn what_was_delivered_is_read_back_and_compared_in_each_format() {
    for format in ["raw", "env", "json", "yaml", "url", "template"] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("redis");
        let template = (format == "template").then_some("pass {{ password }}");
        let sink = with(&path, serde_json::json!({ "format": format, "template": template, "mode": "0640" }));
        let readable = format != "template";
        let second = document(2, "se\"c'o`n$d");
        if readable {
            assert_eq!(read_back(&sink).await.unwrap(), None, "{format}");
        }
        assert_eq!(sink.holds(&second).await.unwrap(), Holds::Absent, "{format}");
        sink.deliver(&second).await.unwrap();
        match read_back(&sink).await {
            Ok(held) => assert_eq!(held.as_deref(), readable.then_some("se\"c'o`n$d"), "{format}"),
            Err(fault) => assert_eq!((fault.kind, readable), (Kind::Unsupported, false), "{fault}"),
        }
        assert_eq!(sink.holds(&second).await.unwrap(), Holds::Same, "{format}");
        assert_eq!(sink.holds(&document(3, "third")).await.unwrap(), Holds::Other, "{format}");
        let harmed = |script: &str| {
            let script = format!("{script} {}", path.display());
            assert!(Command::new("sh").args(["-c", &script]).status().unwrap().success());
        };
        for harm in ["printf x >>", "chmod 0600", "chgrp 12", ": >", "head -c 300000 /dev/zero >"] {
            harmed(harm);
            // Without a group in the settings, whatever group the file has will do.
            let seen = if harm == "chgrp 12" { Holds::Same } else { Holds::Other };
            assert_eq!(sink.holds(&second).await.unwrap(), seen, "{format} {harm}");
            sink.deliver(&second).await.unwrap();
        }
        harmed("rm");
        assert_eq!(sink.holds(&second).await.unwrap(), Holds::Absent, "{format}");
    }
}

#[tokio::test]
async fn what_somebody_else_left_is_read_with_care() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("redis");
    let sink = with(&path, serde_json::json!({ "mode": "0640", "format": "env" }));
    let put = |content: &[u8], mode: u32| {
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    for (content, mode, expected) in [
        (b"REDIS_PASSWORD=by-hand-1\n".as_slice(), 0o640, Ok(Some("by-hand-1"))),
        (b"REDIS_PASSWORD=by-hand-1\n", 0o400, Ok(Some("by-hand-1"))),
        (b"", 0o640, Ok(None)),
        (b"REDIS_PASSWORD=hunter2\n", 0o644, Err("has the mode 0644, wider than the sink's 0640")),
        (b"REDIS_PASSWORD=hunter2\n", 0o660, Err("has the mode 0660")),
        (b"PASSWORD=hunter2\n", 0o640, Err("does not set REDIS_PASSWORD")),
        (b"REDIS_PASSWORD=hunter2\xff\n", 0o640, Err("does not hold UTF-8")),
        (&[b'#'; HELD_LIMIT + 1], 0o640, Err("larger than 64 KiB")),
    ] {
        put(content, mode);
        match (read_back(&sink).await, expected) {
            (Ok(held), Ok(expected)) => assert_eq!(held.as_deref(), expected),
            (Err(fault), Err(expected)) => {
                assert_eq!(fault.kind, Kind::SecretUnreadable, "{fault}");
                assert!(fault.what.contains(expected) && !fault.to_string().contains("hunter"), "{fault}");
            }
            (found, _) => panic!("{found:?}, not {expected:?}"),
        }
    }
    assert_eq!(names(folder.path()), ["redis"], "reading leaves nothing behind");
}

#[tokio::test]
async fn what_is_in_the_way_of_a_delivery_is_in_the_way_of_reading() {
    let folder = tempfile::tempdir().unwrap();
    let real = folder.path().join("real");
    std::fs::write(&real, "hunter2").unwrap();
    let link = folder.path().join("link");
    symlink(&real, &link).unwrap();
    let fifo = folder.path().join("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let other = folder.path().join("other");
    let mut stranger = document(1, "hunter2");
    stranger.target = "billing".parse().unwrap();
    sink(&other).deliver(&stranger).await.unwrap();
    for (path, said) in [
        (link, "symbolic link"),
        (fifo, "no regular file"),
        (folder.path().join("absent/password"), "open the folder"),
        (other, "belongs to the target billing"),
    ] {
        for fault in [
            sink(&path).read_back(&target()).await.unwrap_err(),
            sink(&path).holds(&document(1, "hunter2")).await.unwrap_err(),
        ] {
            assert!(fault.what.contains(said), "{}: {fault}", path.display());
            assert!(!fault.to_string().contains("hunter2"), "{fault}");
        }
    }
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
