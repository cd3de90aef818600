//! Who is told: the configured kind in, a hook out.

use super::first;
use crate::config;
use crate::fault::Fault;
use crate::hook::Hook;
use crate::hook::command::{CommandHook, CommandHookSettings};
use std::sync::Arc;

pub(super) fn hook(hook: &config::Hook) -> Result<Arc<dyn Hook>, Fault> {
    match hook {
        config::Hook::Command(command) => {
            let settings = CommandHookSettings {
                argv: command.argv.clone(),
                environment: command.environment.clone(),
                timeout: command.timeout,
            };
            CommandHook::new(settings).map(|hook| Arc::new(hook) as Arc<dyn Hook>).map_err(first)
        }
    }
}
