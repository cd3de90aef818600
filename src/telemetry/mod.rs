//! Log lines: for people, or as JSON for a collector. Always to standard error; standard output belongs to what a command prints. Where standard error
//! is systemd's journal, lines for people go there with their fields beside them.

mod journal;

use crate::fault::{Fault, Kind};
use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::FmtSpan;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// The form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogForm {
    /// One readable line each.
    Human,
    /// One JSON object each.
    Json,
}

/// The variable that chooses what is logged, in the notation of tracing-subscriber's `EnvFilter`, such as `debug` or `keywheel=trace`.
pub const FILTER_VARIABLE: &str = "KEYWHEEL_LOG";

/// What is logged unless the variable says otherwise. The scheduler reports each job it adds at info; its errors matter.
const QUIET: &str = "tokio_cron_scheduler=warn,hyper=warn,reqwest=warn,rustls=warn,azure_core=warn,azure_identity=warn,typespec_client_core=warn";

/// Starts logging, once per process.
///
/// # Errors
/// `Usage` when `filter` (the value of [`FILTER_VARIABLE`]) is not understood.
pub fn start(form: LogForm, level: &str, filter: Option<&str>) -> Result<(), Fault> {
    let directives = filter.map_or_else(|| format!("{level},{QUIET}"), |filter| format!("{QUIET},{filter}"));
    let filter = EnvFilter::try_new(&directives).map_err(|error| {
        Fault::new(Kind::Usage, format!("{FILTER_VARIABLE} is not understood: {error}"))
            .advise(format!("write for example {FILTER_VARIABLE}=debug"))
    })?;
    let twice = |error: &dyn std::fmt::Display| Fault::new(Kind::Bug, format!("logging was started twice: {error}"));
    // A journal that cannot be reached in its own way still takes lines from standard error.
    if form == LogForm::Human
        && journal::leads_to_the_journal()
        && let Ok(journal) = journal::Journal::connect()
    {
        return tracing_subscriber::registry().with(filter).with(journal).try_init().map_err(|error| twice(&error));
    }
    let lines =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_span_events(FmtSpan::NONE);
    let started = match form {
        LogForm::Human => {
            let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
            lines.with_target(false).with_ansi(colour).try_init()
        }
        LogForm::Json => lines.json().flatten_event(true).with_current_span(true).with_span_list(true).try_init(),
    };
    started.map_err(|error| twice(&error))
}
