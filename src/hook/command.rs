//! The hook `command`: runs a program after a delivery.
//!
//! The program gets no password. Its environment holds `PATH`, the variables the settings name, and
//! `KEYWHEEL_TARGET`, `KEYWHEEL_GENERATION`, `KEYWHEEL_ROTATION` (empty for an adopted password), `KEYWHEEL_TELLING` (which telling of that generation
//! this is, from 1: another one comes when a sink was late) and `KEYWHEEL_TARGETS`: all targets that this
//! one run is for, separated by spaces; more than one only where `debounce` is set. Exit status 0 means done; anything
//! else, or no end in time, means that it is told again with back-off. It can therefore be told twice about the same rotation.

use super::{Hook, Notice};
use crate::fault::{Fault, Kind};
use crate::moment::span_setting;
use crate::name::TargetName;
use crate::process::Program;
use async_trait::async_trait;
use serde::Deserialize;
use std::iter::once;
use std::time::Duration;
use zeroize::Zeroizing;

/// How long a hook may take where the settings say nothing.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);

/// The settings of a hook with `kind = "command"`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct CommandHookSettings {
    /// The program's absolute path, then its arguments. No shell reads them.
    pub argv: Vec<String>,
    /// Names of the daemon's variables that the program inherits beside `PATH`.
    #[serde(default)]
    pub environment: Vec<String>,
    /// When the program is killed, with everything it started.
    #[serde(default = "default_timeout", deserialize_with = "span_setting")]
    pub timeout: Duration,
}

/// A program that is run after each delivery.
#[derive(Debug)]
pub struct CommandHook {
    program: Program,
}

impl CommandHook {
    /// The hook, if its settings make sense.
    ///
    /// # Errors
    /// Every finding, `Kind::ConfigInvalid`.
    pub fn new(settings: CommandHookSettings) -> Result<Self, Vec<Fault>> {
        Program::new(&settings.argv, &settings.environment, settings.timeout)
            .map(|program| Self { program })
            .map_err(|wrong| wrong.into_iter().map(|what| Fault::new(Kind::ConfigInvalid, what)).collect())
    }
}

#[async_trait]
impl Hook for CommandHook {
    async fn tell(&self, notice: &Notice) -> Result<(), Fault> {
        let targets = once(&notice.target).chain(notice.others.keys());
        let targets: Vec<&str> = targets.map(TargetName::as_str).collect();
        let variables = [
            ("KEYWHEEL_TARGET", notice.target.to_string()),
            ("KEYWHEEL_TARGETS", targets.join(" ")),
            ("KEYWHEEL_GENERATION", notice.generation.to_string()),
            ("KEYWHEEL_ROTATION", notice.rotation.map(|rotation| rotation.to_string()).unwrap_or_default()),
            ("KEYWHEEL_TELLING", notice.telling.to_string()),
        ];
        let ended = self
            .program
            .run(Zeroizing::new(Vec::new()), &variables, &[])
            .await
            .map_err(|error| Fault::new(Kind::HookFailed, error.to_string()))?;
        if ended.status.success() {
            Ok(())
        } else {
            Err(Fault::new(Kind::HookFailed, format!("{} {}", self.program.path().display(), ended.describe())))
        }
    }

    async fn ready(&self) -> Result<(), Fault> {
        let found = self.program.found().await;
        found
            .map_err(|what| Fault::new(Kind::HookFailed, what).advise("correct the hook's argv or install the program"))
    }
}

fn default_timeout() -> Duration {
    DEFAULT_TIMEOUT
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hook::News;
    use crate::moment::Moment;
    use crate::name::{Generation, RotationId};

    fn hook(script: &str, timeout: &str) -> CommandHook {
        let settings = serde_json::json!({ "argv": ["/bin/sh", "-c", script], "timeout": timeout });
        CommandHook::new(serde_json::from_value(settings).unwrap()).unwrap()
    }

    fn notice(rotation: Option<RotationId>) -> Notice {
        let others =
            [("till-cache".parse().unwrap(), News { generation: Generation(2), rotation: None, telling: 1 })].into();
        Notice { target: "orders-cache".parse().unwrap(), generation: Generation(7), rotation, telling: 3, others }
    }

    #[tokio::test]
    async fn the_program_learns_what_changed_and_nothing_else() {
        let rotation = RotationId::from_parts(Moment::from_seconds(1), 5);
        let script = format!(
            "[ \"$KEYWHEEL_TARGETS\" = 'orders-cache till-cache' ] && [ $KEYWHEEL_TARGET/$KEYWHEEL_GENERATION/$KEYWHEEL_ROTATION/$KEYWHEEL_TELLING = orders-cache/7/{rotation}/3 ] && [ -z \"$(cat)\" ]"
        );
        hook(&script, "30s").tell(&notice(Some(rotation))).await.unwrap();
        hook("[ -z \"$KEYWHEEL_ROTATION\" ]", "30s").tell(&notice(None)).await.unwrap();
    }

    #[tokio::test]
    async fn failures_say_which_program_and_what_it_said() {
        for (script, timeout, said) in [
            ("echo no such unit >&2; exit 5", "30s", "status 5 and said: no such unit"),
            ("kill -9 $$", "30s", "signal"),
            ("sleep 600", "100ms", "did not end within 100ms"),
        ] {
            let fault = hook(script, timeout).tell(&notice(None)).await.unwrap_err();
            assert_eq!(fault.kind, Kind::HookFailed);
            assert!(fault.what.starts_with("/bin/sh"), "{fault}");
            assert!(fault.what.contains(said), "{fault}");
        }
    }

    #[test]
    fn bad_settings_are_refused() {
        for bad in [
            serde_json::json!({}),
            serde_json::json!({ "argv": "/bin/true" }),
            serde_json::json!({ "argv": ["/bin/true"], "timeout": "soon" }),
            serde_json::json!({ "argv": ["/bin/true"], "shell": true }),
        ] {
            assert!(serde_json::from_value::<CommandHookSettings>(bad.clone()).is_err(), "{bad}");
        }
        let relative = serde_json::from_value(serde_json::json!({ "argv": ["true"] })).unwrap();
        assert_eq!(CommandHook::new(relative).unwrap_err()[0].kind, Kind::ConfigInvalid);
    }
}
