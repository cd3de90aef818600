//! The hook `systemd`: reloads or restarts units after a delivery.
//!
//! Through `systemctl`, which speaks D-Bus to the manager, waits for the job and says in words why it failed. A repeated notice does the same again:
//! harmless for a reload, and a second restart for a unit that cannot reload.

use super::{Hook, Notice};
use crate::fault::{Fault, Kind};
use crate::process::Program;
use async_trait::async_trait;
use std::path::PathBuf;
use std::time::Duration;
use zeroize::Zeroizing;

/// The program, unless the settings say otherwise.
pub const PROGRAM: &str = "/usr/bin/systemctl";

/// How long the units may take unless the settings say otherwise.
pub const TIMEOUT: Duration = Duration::from_secs(90);

/// What can be done with units.
pub const VERBS: [&str; 5] = ["reload-or-restart", "try-reload-or-restart", "reload", "restart", "try-restart"];

/// What is done unless the settings say otherwise.
pub const USUAL_VERB: &str = VERBS[0];

/// What the names of units that can be restarted end with.
const SUFFIXES: [&str; 7] = [".service", ".socket", ".target", ".timer", ".path", ".mount", ".slice"];

/// The longest name of a unit, in bytes.
const NAME_LIMIT: usize = 255;

/// The settings of a hook with `kind = "systemd"`.
#[derive(Debug, Clone)]
pub struct SystemdSettings {
    /// The units.
    pub units: Vec<String>,
    /// One of [`VERBS`].
    pub verb: &'static str,
    /// Whether they are those of the user's own manager.
    pub user: bool,
    /// The program.
    pub program: PathBuf,
    /// How long it may take.
    pub timeout: Duration,
}

/// Units that are reloaded or restarted after each delivery.
#[derive(Debug)]
pub struct SystemdHook {
    settings: SystemdSettings,
    program: Program,
}

/// Whether this names one unit: what `systemctl` would take for a pattern, a path or an option does not.
pub fn is_unit(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b":-_.\\@".contains(&byte);
    let named = SUFFIXES.iter().any(|suffix| text.len() > suffix.len() && text.ends_with(suffix));
    named && text.len() <= NAME_LIMIT && text.bytes().all(plain) && !text.starts_with('-')
}

impl SystemdHook {
    /// The hook, if its settings make sense.
    ///
    /// # Errors
    /// Every finding, `Kind::ConfigInvalid`.
    pub fn new(settings: SystemdSettings) -> Result<Self, Vec<Fault>> {
        let mut argv = vec![settings.program.display().to_string(), "--no-ask-password".to_owned()];
        argv.extend(settings.user.then(|| "--user".to_owned()));
        argv.extend([settings.verb.to_owned(), "--".to_owned()]);
        argv.extend(settings.units.iter().cloned());
        // Where the user's manager listens is in these two.
        let environment = ["XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS"].map(str::to_owned);
        let inherited = if settings.user { &environment[..] } else { &[] };
        Program::new(&argv, inherited, settings.timeout)
            .map(|program| Self { settings, program })
            .map_err(|wrong| wrong.into_iter().map(|what| Fault::new(Kind::ConfigInvalid, what)).collect())
    }
}

#[async_trait]
impl Hook for SystemdHook {
    async fn tell(&self, _notice: &Notice) -> Result<(), Fault> {
        let failed = |what: String| Fault::new(Kind::HookFailed, what);
        let ended = self
            .program
            .run(Zeroizing::new(Vec::new()), &[], &[])
            .await
            .map_err(|error| failed(error.to_string()).advise("look at the units with `systemctl status`"))?;
        if ended.status.success() {
            return Ok(());
        }
        let fault = failed(format!("`{} {}` {}", self.settings.verb, self.settings.units.join(" "), ended.describe()));
        Err(match ended.status.code() {
            // systemctl(1), "Exit status": the LSB codes.
            Some(4) => {
                fault.advise("allow keywheel's user to manage these units, with a rule for polkit (docs/hooks.md)")
            }
            Some(5) => fault.advise("correct the hook's units: the manager does not know one of them"),
            _ => fault.advise("look at the units with `systemctl status` and `journalctl -u`"),
        })
    }

    async fn ready(&self) -> Result<(), Fault> {
        let found = self.program.found().await;
        found.map_err(|what| Fault::new(Kind::HookFailed, what).advise("name systemctl with the hook's program"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::Generation;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_unit_is_neither_a_pattern_nor_a_path_nor_an_option() {
        for unit in ["orders.service", "getty@tty1.service", "a-b_c:d.socket", "x\\x2dy.mount"] {
            assert!(is_unit(unit), "{unit}");
        }
        for other in
            ["orders", ".service", "*.service", "/run/orders.service", "--now.service", "a b.service", "a.service\n"]
        {
            assert!(!is_unit(other), "{other}");
        }
    }

    /// What `systemctl` is asked, and what becomes of its exit status: the real one needs a booted machine.
    #[tokio::test]
    async fn the_units_are_named_after_every_option_and_a_failure_says_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("systemctl");
        let heard = folder.path().join("heard");
        let notice = Notice {
            target: "orders".parse().unwrap(),
            generation: Generation(1),
            rotation: None,
            telling: 1,
            others: [].into(),
        };
        for (status, advice) in [(0, ""), (1, "journalctl"), (4, "polkit"), (5, "does not know")] {
            std::fs::write(&program, format!("#!/bin/sh\necho \"$@\" > {}\nexit {status}\n", heard.display())).unwrap();
            std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o700)).unwrap();
            let units = vec!["orders.service".to_owned(), "till.service".to_owned()];
            let (program, timeout) = (program.clone(), TIMEOUT);
            let hook =
                SystemdHook::new(SystemdSettings { units, verb: USUAL_VERB, user: false, program, timeout }).unwrap();
            hook.ready().await.unwrap();
            let told = hook.tell(&notice).await;
            assert_eq!(
                std::fs::read_to_string(&heard).unwrap(),
                "--no-ask-password reload-or-restart -- orders.service till.service\n"
            );
            match told {
                Ok(()) => assert_eq!(status, 0),
                Err(fault) => assert!(fault.next_step.contains(advice) && status != 0, "{fault}"),
            }
        }
    }
}
