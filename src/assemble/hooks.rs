//! Who is told, and who says that it has heard: the configured kind in, a hook or a consumer out.

use super::stores::read_anew;
use super::{first, now};
use crate::config::{self, Told};
use crate::consumer::Consumer;
use crate::consumer::file::ConsumerFile;
use crate::consumer::web::ConsumerUrl;
use crate::fault::Fault;
use crate::hook::command::{CommandHook, CommandHookSettings};
use crate::hook::signal::SignalHook;
use crate::hook::systemd::{SystemdHook, SystemdSettings};
use crate::hook::webhook::WebhookHook;
use crate::hook::{Hook, Listener, Terms};
use crate::http::Settings;
use crate::http::signed::ReceiverSettings;
use std::sync::Arc;

/// The hook, and when it is told.
pub(super) fn listener(config: &config::Config, hook: &config::Hook) -> Result<Listener, Fault> {
    let terms = Terms {
        debounce: hook.debounce,
        once_for_all: hook.once_for_all(),
        per_minute: hook.restarts.then_some(config.daemon.restart_budget),
    };
    Ok(Listener { hook: told(&hook.told)?, terms })
}

/// Who says which generation it uses.
pub(super) fn consumer(consumer: &config::Consumer) -> Result<Arc<dyn Consumer>, Fault> {
    match consumer {
        config::Consumer::File(path) => Ok(Arc::new(ConsumerFile::new(path.clone()))),
        config::Consumer::Url { url, token, timeout, ca_file } => {
            let reach = Settings { timeout: *timeout, ca_file: ca_file.clone() };
            ConsumerUrl::new(url.clone(), token.as_ref().map(read_anew), &reach)
                .map(|consumer| Arc::new(consumer) as Arc<dyn Consumer>)
        }
    }
}

fn told(told: &Told) -> Result<Arc<dyn Hook>, Fault> {
    match told {
        Told::Command(command) => {
            let settings = CommandHookSettings {
                argv: command.argv.clone(),
                environment: command.environment.clone(),
                timeout: command.timeout,
            };
            CommandHook::new(settings).map(|hook| Arc::new(hook) as Arc<dyn Hook>).map_err(first)
        }
        Told::Systemd(systemd) => {
            let settings = SystemdSettings {
                units: systemd.units.clone(),
                verb: systemd.verb,
                user: systemd.user,
                program: systemd.program.clone(),
                timeout: systemd.timeout,
            };
            SystemdHook::new(settings).map(|hook| Arc::new(hook) as Arc<dyn Hook>).map_err(first)
        }
        Told::Signal(signal) => {
            SignalHook::new(signal.signal, signal.whom.clone()).map(|hook| Arc::new(hook) as Arc<dyn Hook>)
        }
        Told::Webhook(webhook) => {
            let settings = ReceiverSettings {
                url: webhook.url.clone(),
                signing_key: read_anew(&webhook.signing_key),
                token: webhook.token.as_ref().map(read_anew),
                reach: Settings { timeout: webhook.timeout, ca_file: webhook.ca_file.clone() },
            };
            WebhookHook::new(settings, now()).map(|hook| Arc::new(hook) as Arc<dyn Hook>)
        }
        Told::Rollout(rollout) => super::kubernetes::rollout(rollout),
    }
}
