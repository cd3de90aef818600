//! `[hooks.NAME]`: who is told after a delivery.

mod kubernetes;

pub use kubernetes::{RolloutHook, Workload, WorkloadKind};

use super::outlet::web_address;
use super::program::{Program, program};
use super::reading::{Section, refusal};
use super::secret_ref::SecretRef;
use crate::hook::signal::{self, SIGNALS, Whom};
use crate::hook::systemd::{self, VERBS, is_unit};
use crate::hook::webhook;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;
use url::Url;

/// How long a program may take unless said otherwise.
const HOOK_TIMEOUT: Duration = Duration::from_secs(60);

/// The longest time one attempt may be given: no hook has longer than two minutes in all.
const TIMEOUT_LIMIT: Duration = Duration::from_secs(100);

/// The longest time a notice may wait for other targets.
const DEBOUNCE_LIMIT: Duration = Duration::from_secs(3_600);

/// The most units of one hook.
const UNIT_LIMIT: usize = 64;

/// Something told after a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hook {
    /// What is told, and how.
    pub told: Told,
    /// How long the first notice waits for other targets that tell the same hook.
    pub debounce: Duration,
    /// Whether it counts against the restart budget.
    pub restarts: bool,
}

impl Hook {
    /// Whether one notice is enough for all targets that wait for it: what is restarted does not care for whose sake.
    pub const fn once_for_all(&self) -> bool {
        match self.told {
            Told::Systemd(_) | Told::Signal(_) | Told::Rollout(_) => true,
            Told::Command(_) | Told::Webhook(_) => !self.debounce.is_zero(),
        }
    }
}

/// What is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// A program that is run.
    Command(Program),
    /// Units of systemd.
    Systemd(SystemdHook),
    /// A process.
    Signal(SignalHook),
    /// A receiver behind a URL.
    Webhook(WebhookHook),
    /// Workloads of Kubernetes.
    Rollout(Box<RolloutHook>),
}

/// `kind = "systemd"`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SystemdHook {
    /// The units.
    pub units: Vec<String>,
    /// What is done with them.
    pub verb: &'static str,
    /// Whether they are those of the user's own manager.
    pub user: bool,
    /// The program.
    pub program: PathBuf,
    /// How long it may take.
    pub timeout: Duration,
}

/// `kind = "signal"`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignalHook {
    /// The signal's name without `SIG`.
    pub signal: &'static str,
    /// Who gets it.
    pub whom: Whom,
}

/// `kind = "webhook"`.
#[derive(Clone, PartialEq, Eq)]
pub struct WebhookHook {
    /// Where it is sent.
    pub url: Url,
    /// What it is signed with.
    pub signing_key: SecretRef,
    /// A bearer token.
    pub token: Option<SecretRef>,
    /// How long one attempt may take.
    pub timeout: Duration,
    /// Certificates (PEM) to trust instead of the machine's.
    pub ca_file: Option<PathBuf>,
}

impl fmt::Debug for WebhookHook {
    /// Without the URL, whose path and query may hold a token.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("WebhookHook").field("signing_key", &self.signing_key).finish_non_exhaustive()
    }
}

pub(super) fn parse(section: &Section<'_>) -> Option<Hook> {
    let debounce = section.span_or_zero("debounce").unwrap_or_default();
    if debounce > DEBOUNCE_LIMIT {
        let what = "Those who read the new password would wait for longer than an hour to be told";
        section.refuse("debounce", refusal(what, "write 1h or less"));
    }
    let told = match section.text("kind")? {
        "command" => Told::Command(program(section, HOOK_TIMEOUT)),
        "systemd" => Told::Systemd(systemd(section)?),
        "signal" => Told::Signal(signal(section)?),
        "webhook" => Told::Webhook(webhook(section)?),
        "kubernetes-rollout" => Told::Rollout(Box::new(kubernetes::parse(section)?)),
        _ => return None,
    };
    let usually = !matches!(told, Told::Webhook(_));
    let restarts = section.flag("restarts").unwrap_or(usually);
    Some(Hook { told, debounce, restarts })
}

fn systemd(section: &Section<'_>) -> Option<SystemdHook> {
    let units = section.texts("units");
    if section.has("units") && !(1..=UNIT_LIMIT).contains(&units.len()) {
        let what = format!("A hook has 1 to {UNIT_LIMIT} units");
        section.refuse("units", refusal(what, "write units = [\"orders.service\"]"));
    }
    if !units.iter().all(|unit| is_unit(unit)) {
        let what = "A unit's name has a suffix such as .service, and neither a pattern nor a path";
        section.refuse("units", refusal(what, "write it as `systemctl list-units` shows it"));
    }
    Some(SystemdHook {
        units: units.into_iter().map(str::to_owned).collect(),
        verb: section.choice("verb", &VERBS.map(|verb| (verb, verb))).unwrap_or(systemd::USUAL_VERB),
        user: section.flag("user").unwrap_or(false),
        program: section.path("program").unwrap_or_else(|| systemd::PROGRAM.into()),
        timeout: section.span_up_to("timeout", TIMEOUT_LIMIT).unwrap_or(systemd::TIMEOUT),
    })
}

fn signal(section: &Section<'_>) -> Option<SignalHook> {
    let names = SIGNALS.map(|(name, _)| (name, name));
    let signal = section.choice("signal", &names).unwrap_or(signal::USUAL_SIGNAL);
    let process = section.parsed("process", |text| match signal::is_process_name(text) {
        true => Ok(text.to_owned()),
        false => Err(refusal("This is no program's name", "write it without its folder, as `ps -o comm` shows it")),
    });
    let pid_file = section.path("pid-file");
    let whom = match (pid_file, process) {
        (Some(pid_file), process) => Whom::PidFile { pid_file, process },
        (None, Some(process)) => Whom::Process(process),
        (None, None) => {
            if !section.has("pid-file") && !section.has("process") {
                let next_step = "write pid-file = \"/run/NAME.pid\", or process = \"NAME\" for one in the same pod";
                section.refuse("kind", refusal("A signal needs somebody who gets it", next_step));
            }
            return None;
        }
    };
    Some(SignalHook { signal, whom })
}

fn webhook(section: &Section<'_>) -> Option<WebhookHook> {
    let url = section.parsed("url", web_address);
    let signing_key = SecretRef::parse(section, "signing-key");
    let token = SecretRef::if_written(section, "token");
    let timeout = section.span_up_to("timeout", TIMEOUT_LIMIT).unwrap_or(webhook::TIMEOUT);
    let ca_file = section.path("ca-file");
    if ca_file.is_some() && url.as_ref().is_some_and(|url| url.scheme() == "http") {
        section.refuse("ca-file", refusal("This key means nothing without TLS", "write https:// or remove it"));
    }
    Some(WebhookHook { url: url?, signing_key: signing_key?, token: token?, timeout, ca_file })
}
