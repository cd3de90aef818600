//! What a person may type. The help texts teach: each verb says what it does, what it changes, and how it ends.

use crate::name::{PolicyName, TargetName};
use clap::{ArgGroup, Args, Parser, Subcommand};
use std::ffi::OsString;
#[cfg(feature = "simulator")]
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Where the configuration is unless said otherwise.
pub const DEFAULT_CONFIG: &str = "/etc/keywheel/keywheel.toml";

/// Rotates the passwords of managed Redis instances on a schedule, and never loses one.
#[derive(Debug, Parser)]
#[command(
    name = "keywheel",
    version,
    max_term_width = 100,
    after_help = "New here? `keywheel demo` shows a whole story in a temporary folder: no set-up, no network.\n\
                  Exit codes: 0 all well, 1 attention or findings, 2 halted, or keywheel could not do it (the reason is on standard error)."
)]
pub struct Cli {
    /// The configuration file; `keywheel.d/*.toml` beside it and KEYWHEEL__SECTION__KEY variables are laid over it
    #[arg(long, short, global = true, value_name = "FILE", env = "KEYWHEEL_CONFIG", default_value = DEFAULT_CONFIG)]
    pub config: PathBuf,

    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Run the daemon
    ///
    /// Rotates each target on its schedule until it is told to stop. SIGHUP reads the configuration again (a bad one is refused and
    /// the old stays). SIGTERM or Ctrl-C finishes the step under way and stops; a second Ctrl-C stops at once. Either way the next
    /// start goes on where this one stopped. KEYWHEEL_LOG=debug says more.
    Run(Run),

    /// Follow what a rotator delivered elsewhere, and render it here
    ///
    /// The other half of a sidecar. Reads the sources under [follow.NAME] again and again (a file, Vault, a Secret of Kubernetes, etcd, a cloud's store),
    /// renders the files that are named there within about a second of a change, and tells their hooks. It rotates nothing and has no ledger. While a
    /// source is down, what was rendered last stays, and how old it is is said.
    ///
    /// With `-- CMD ARGS…` it is the parent of an application: it waits until every file is there, starts CMD, restarts or signals it when a file changes
    /// (`on-change` under `[follower]`), passes signals on, stops it within `stop-timeout`, and ends with its exit status (128 and the signal's number
    /// where a signal ended it; 2 where it could not be started). As process 1 of a container it also reaps. No password is in the arguments or the
    /// environment of CMD.
    ///
    /// Without CMD, SIGHUP reads the configuration again, and SIGTERM ends it. `keywheel check` tries the configuration, sources and files.
    Follow(Follow),

    /// Try everything that could fail, without changing anything
    ///
    /// Reads the configuration and every secret it refers to, asks each cloud about each target, tries today's password, and asks each
    /// sink whether it would take a write. Prints every finding with what to do about it. Exit 0 when there is none, 1 when there are.
    Check(Check),

    /// Show what will run when, in local time, and how much of each quota it takes
    Plan(Plan),

    /// Rotate now
    ///
    /// Asks the running daemon; if none runs, does it itself. Each target is first checked, as always: an instance that is busy or a
    /// sink that is down holds its rotation off, and nothing changes until both are well.
    Rotate(Rotate),

    /// Show each target's state. Exit 0 all well, 1 attention, 2 halted
    Status(Status),

    /// Say why a target did or did not rotate, what happens next and when
    Explain(One),

    /// Show what happened, oldest first
    History(History),

    /// Take in the password that works today, verify it, and change nothing
    ///
    /// Asks for it at the prompt, or reads one line from standard input, unless `--from` says where it is kept. It is read here, by this
    /// command, and taken in only if the instance lets it in. The first rotation comes at the target's next slot.
    Adopt(Adopt),

    /// Help a target that needs a person. Every use is recorded
    ///
    /// `--show` says why keywheel stopped and prints every password that may be live. `--set` takes a password that works. `--resume` goes on looking for
    /// evidence. `--reset` goes on and allows one administrator's reset to the same new password.
    Recover(Recover),

    /// Begin no rotation for a while; one under way is finished
    Pause(Pause),

    /// End a pause
    Resume(Resume),

    /// Print the current password and a newline, nothing else. Every use is recorded
    Reveal(Reveal),

    /// Print sample passwords of a policy and their entropy; needs no configuration
    Generate(Generate),

    /// Prove that the record is as it was written, or hand it to another program
    #[command(subcommand)]
    Audit(Audit),

    /// Make or change the sealing key that protects the ledger
    #[command(subcommand)]
    Key(Key),

    /// Print a manual page, or write all of them
    Man(Man),

    /// Print what a shell needs to complete command lines
    ///
    /// For bash: `keywheel completions bash > /usr/share/bash-completion/completions/keywheel`.
    Completions {
        /// Which shell: bash, elvish, fish, powershell or zsh
        #[arg(hide_possible_values = true)]
        shell: clap_complete::Shell,
    },

    /// Print a JSON Schema of the configuration, for an editor that completes and checks it
    Schema,

    /// Show a whole story on a stand-in cloud in a temporary folder: no set-up, no network
    #[cfg(feature = "simulator")]
    Demo,

    /// Run the stand-in cloud alone, to rehearse a real configuration against it
    #[cfg(feature = "simulator")]
    Simulate(Simulate),
}

/// `follow`
#[derive(Debug, Args)]
pub struct Follow {
    /// Look once, render, tell hooks, and end: 0 up to date, 1 what an earlier look rendered is kept, 2 nothing is there
    #[arg(long, conflicts_with = "application")]
    pub once: bool,
    /// How long CMD may have to wait for its first password, before this gives up with status 2; without it, for ever
    #[arg(long, value_name = "SPAN", value_parser = crate::moment::parse_span, requires = "application")]
    pub wait_at_most: Option<Duration>,
    /// How an application is started; not for people.
    #[arg(long, hide = true, value_name = "NUMBER", requires = "application")]
    pub become_application_of: Option<u32>,
    /// The application whose parent this is, and its arguments
    #[arg(last = true, value_name = "CMD")]
    pub application: Vec<OsString>,
}

/// `run`
#[derive(Debug, Args)]
pub struct Run {
    /// Stop when the process with this id, which started this one, ends in whatever way; for `keywheel demo`
    #[arg(long, hide = true, value_name = "PID")]
    pub end_with_parent: Option<u32>,
}

/// `check`
#[derive(Debug, Args)]
pub struct Check {
    /// Only read the configuration: no secrets, no network
    #[arg(long)]
    pub offline: bool,
    /// Also send a test message through each channel for alerts
    #[arg(long, conflicts_with = "offline")]
    pub alerts: bool,
    /// Only these targets
    pub targets: Vec<TargetName>,
}

/// `plan`
#[derive(Debug, Args)]
pub struct Plan {
    /// How far to look ahead
    #[arg(long = "for", value_name = "SPAN", default_value = "7d", value_parser = crate::moment::parse_span)]
    pub span: Duration,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Only these targets
    pub targets: Vec<TargetName>,
}

/// `rotate`
#[derive(Debug, Args)]
pub struct Rotate {
    /// Which targets
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    pub targets: Vec<TargetName>,
    /// Every target
    #[arg(long)]
    pub all: bool,
    /// Why; kept in the record
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// Wait until each is settled or needs a person
    #[arg(long)]
    pub wait: bool,
    /// With --all: do not ask first
    #[arg(long, requires = "all")]
    pub yes: bool,
    /// Also on dates on which nothing begins by itself ([freezes.NAME])
    #[arg(long)]
    pub through_freeze: bool,
}

/// `status`
#[derive(Debug, Args)]
pub struct Status {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Only ask whether the daemon runs and turns: exit 0 if it does, 1 if not, whatever the targets are doing. For a container's health check, which
    /// restarts what fails it: a halted target needs a person and no restart
    #[arg(long, conflicts_with_all = ["json", "targets"])]
    pub health: bool,
    /// Only these targets
    pub targets: Vec<TargetName>,
}

/// One target.
#[derive(Debug, Args)]
pub struct One {
    /// Which target
    pub target: TargetName,
}

/// `history`
#[derive(Debug, Args)]
pub struct History {
    /// Only this target
    pub target: Option<TargetName>,
    /// Print one JSON object a line
    #[arg(long)]
    pub json: bool,
}

/// `adopt`
#[derive(Debug, Args)]
pub struct Adopt {
    /// Which target
    pub target: TargetName,
    /// Where the password is kept: file:/path, env:NAME, credential:NAME, sink:NAME (one of the configured sinks that can be read back), or -
    /// for standard input. Never the password itself
    #[arg(long, value_name = "REF")]
    pub from: Option<String>,
    /// Which account of a pair that takes turns; without it, the one that lets the password in
    #[arg(long, value_name = "NAME")]
    pub account: Option<String>,
    /// Why; kept in the record
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
}

/// `recover`
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("how").required(true).multiple(false)))]
pub struct Recover {
    /// Which target
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    pub target: Option<TargetName>,
    /// With --resume: every target that is halted
    #[arg(long, requires = "resume", conflicts_with_all = ["show", "set", "reset"])]
    pub all: bool,
    /// Say what may be live and why keywheel stopped
    #[arg(long, group = "how")]
    pub show: bool,
    /// Take a password that works, from the prompt or standard input
    #[arg(long, group = "how")]
    pub set: bool,
    /// With --set: which account of a pair that takes turns; without it, the one that lets the password in
    #[arg(long, value_name = "NAME", requires = "set")]
    pub account: Option<String>,
    /// Go on, allowing one administrator's reset to the same new password
    #[arg(long, group = "how")]
    pub reset: bool,
    /// Go on looking for evidence
    #[arg(long, group = "how")]
    pub resume: bool,
    /// Why; kept in the record
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
}

/// `reveal`
#[derive(Debug, Args)]
pub struct Reveal {
    /// Which target
    pub target: TargetName,
    /// Why; kept in the record
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
}

/// `pause`
#[derive(Debug, Args)]
pub struct Pause {
    /// Which targets
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    pub targets: Vec<TargetName>,
    /// Every target
    #[arg(long)]
    pub all: bool,
    /// For how long; without it, until `keywheel resume`
    #[arg(long = "for", value_name = "SPAN", value_parser = crate::moment::parse_span)]
    pub span: Option<Duration>,
    /// Why; kept in the record
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
}

/// `resume`
#[derive(Debug, Args)]
pub struct Resume {
    /// Which targets
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    pub targets: Vec<TargetName>,
    /// Every target that is paused
    #[arg(long)]
    pub all: bool,
}

/// `generate`
#[derive(Debug, Args)]
pub struct Generate {
    /// A policy of the configuration
    #[arg(long, value_name = "NAME", conflicts_with = "profile")]
    pub policy: Option<PolicyName>,
    /// A vendor's rules: tencent, tencent-ckv, alibaba or redis
    #[arg(long, value_name = "NAME", default_value = "tencent")]
    pub profile: String,
    /// How many
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub count: u32,
}

/// `audit`
#[derive(Debug, Subcommand)]
pub enum Audit {
    /// Walk every record from its first event, those of retired targets and of keywheel itself too, and name the first one that is not as it was written
    ///
    /// Each event carries a keyed mark that chains it to the one before, and the end of each record has one too: a row that was changed, moved, inserted or
    /// cut out shows, and so do rows cut off the end, a password that was put back, and a target that is gone. An older copy of the whole ledger does not.
    /// Needs the sealing key; works beside a running daemon. Exit 0 all sound, 1 a record is not.
    Verify(AuditVerify),
    /// Print every event, oldest first, a line each: who asked, why, what was done, and how it ended; without TARGETs, also what happened to keywheel itself. No passwords
    Export(AuditExport),
}

/// `audit verify`
#[derive(Debug, Args)]
pub struct AuditVerify {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `audit export`
#[derive(Debug, Args)]
pub struct AuditExport {
    /// `json`: objects as `history --json` prints them; `cef`: the Common Event Format of many collectors
    #[arg(long, value_name = "FORM", value_enum, hide_possible_values = true, default_value = "json")]
    pub format: ExportForm,
    /// Only these targets
    pub targets: Vec<TargetName>,
}

/// What `audit export` prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum ExportForm {
    /// JSON lines.
    Json,
    /// Common Event Format.
    Cef,
}

/// `key`
#[derive(Debug, Subcommand)]
pub enum Key {
    /// Print a new sealing key: 32 random bytes in base64
    New,
    /// Seal the ledger with another key. The daemon must not be running
    Rotate {
        /// A file with the new key, as `keywheel key new` prints it
        #[arg(long, value_name = "FILE")]
        to: PathBuf,
    },
}

/// `man`
#[derive(Debug, Args)]
pub struct Man {
    /// A verb's page (`rotate`, `key-new`), or keywheel.toml; without it the program's own
    pub page: Option<String>,
    /// Write all pages into this folder instead
    #[arg(long, value_name = "FOLDER", conflicts_with = "page")]
    pub to: Option<PathBuf>,
}

/// `simulate`
#[cfg(feature = "simulator")]
#[derive(Debug, Args)]
pub struct Simulate {
    /// Where to listen; loopback only. Without it, where the world's file says, else 127.0.0.1:9470
    #[arg(long, value_name = "ADDR")]
    pub listen: Option<SocketAddr>,
    /// A TOML file with its credentials, instances and faults; without it a key and one instance are made up and printed
    #[arg(long, value_name = "FILE")]
    pub world: Option<PathBuf>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    /// What the documents tell people to type.
    #[test]
    fn documented_command_lines_are_understood() {
        for line in [
            "run --config x.toml",
            "follow",
            "follow --once",
            "follow --wait-at-most 5m -- redis-cli ping",
            "follow -- a --config b -c -- d",
            "check --offline a b",
            "plan --for 30d --json a",
            "rotate a b --reason because --wait",
            "rotate --all --wait",
            "status --json a",
            "explain a",
            "history a --json",
            "history",
            "adopt a",
            "adopt a --from file:/p",
            "adopt a --from sink:s",
            "adopt a --from -",
            "recover a --show",
            "recover a --set",
            "recover a --reset",
            "recover a --resume",
            "recover --resume a",
            "recover --all --resume",
            "reveal a",
            "reveal a --reason because",
            "recover a --set --reason because",
            "adopt a --reason because",
            "pause a --for 2h --reason because",
            "generate --profile redis --count 3",
            "generate --policy p",
            "key new",
            "key rotate --to /p",
            "man",
            "man rotate",
            "man --to /p",
            "completions bash",
            "schema",
            "demo",
            "simulate",
            "simulate --listen 127.0.0.1:1 --world w.toml",
        ] {
            let words = ["keywheel"].into_iter().chain(line.split(' '));
            assert!(Cli::try_parse_from(words).is_ok(), "{line}");
        }
    }

    #[test]
    fn what_would_be_ambiguous_is_refused() {
        for line in [
            "recover a",
            "recover --show",
            "recover --resume",
            "recover --all",
            "recover --all --set",
            "recover --all a --resume",
            "recover a --show --set",
            "rotate",
            "rotate a --all",
            "follow a",
            "follow --once -- a",
            "adopt",
            "reveal",
        ] {
            let words = ["keywheel"].into_iter().chain(line.split(' '));
            assert!(Cli::try_parse_from(words).is_err(), "{line}");
        }
    }
}
