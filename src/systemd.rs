//! What systemd is told about this process (`sd_notify(3)`). Without `NOTIFY_SOCKET` every call does nothing.

use sd_notify::NotifyState;
use std::time::Duration;

/// The longest status text, in characters.
const STATUS_LIMIT: usize = 200;

/// Whether somebody listens.
pub fn listens() -> bool {
    std::env::var_os("NOTIFY_SOCKET").is_some()
}

/// Start-up, or a reload, is complete.
pub fn ready() {
    tell(&[NotifyState::Ready]);
}

/// The configuration is being read again. systemd 253 and newer wants the time beside it and then a [`ready`].
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => tracing::warn!(%error, "systemd was not told about the reload: no monotonic clock"),
    }
}

/// A graceful stop has begun.
pub fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// One line for `systemctl status`.
pub fn status(line: &str) {
    let line: String = line.chars().map(|c| if c.is_control() { ' ' } else { c }).take(STATUS_LIMIT).collect();
    tell(&[NotifyState::Status(&line)]);
}

/// A sign of life.
pub fn keep_alive() {
    tell(&[NotifyState::Watchdog]);
}

/// How often to give a sign of life: half of what the unit's `WatchdogSec=` allows, as `sd_watchdog_enabled(3)` recommends.
/// `None` where no watchdog watches this process.
pub fn watchdog_interval() -> Option<Duration> {
    sd_notify::watchdog_enabled().map(|limit| limit / 2)
}

fn tell(words: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(words) {
        tracing::warn!(%error, "systemd could not be told about this process; check NOTIFY_SOCKET");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixDatagram;

    const SPEAKER: &str = "KEYWHEEL_TEST_SPEAKS_TO_SYSTEMD";

    /// The socket's address comes from the environment, so the speaker is this test again in a process of its own.
    #[test]
    fn systemd_hears_each_word() {
        if std::env::var_os(SPEAKER).is_some() {
            assert_eq!(watchdog_interval(), Some(Duration::from_secs(15)));
            ready();
            reloading();
            status("two\nlines");
            keep_alive();
            stopping();
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        let spoken = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "systemd::tests::systemd_hears_each_word"])
            .env(SPEAKER, "1")
            .env("NOTIFY_SOCKET", &path)
            .env("WATCHDOG_USEC", "30000000")
            .env_remove("WATCHDOG_PID")
            .output()
            .unwrap();
        assert!(spoken.status.success(), "{}", String::from_utf8_lossy(&spoken.stdout));
        socket.set_nonblocking(true).unwrap();
        let mut heard = Vec::new();
        let mut packet = [0; 512];
        while let Ok(length) = socket.recv(&mut packet) {
            heard.push(String::from_utf8_lossy(&packet[..length]).trim_end().to_owned());
        }
        assert_eq!(heard.len(), 5, "{heard:?}");
        assert_eq!(heard[0], "READY=1");
        assert!(heard[1].starts_with("RELOADING=1\nMONOTONIC_USEC="), "{heard:?}");
        assert_eq!(&heard[2..], ["STATUS=two lines", "WATCHDOG=1", "STOPPING=1"]);
    }

    #[test]
    fn without_systemd_nothing_happens() {
        if std::env::var_os("NOTIFY_SOCKET").is_none() {
            ready();
            assert_eq!(watchdog_interval(), None);
        }
    }
}
