//! What went wrong, and what to do about it. A kind without a next step does not compile.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;
use zeroize::Zeroizing;

/// The longest text of a fault that is kept, in bytes: a vendor's error message may be of any length.
pub const WHAT_LIMIT: usize = 600;

/// Something that went wrong, said so that a person can act on it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "kebab-case")]
pub struct Fault {
    /// Which kind of trouble this is; decides the verdict.
    pub kind: Kind,
    /// What happened, in one sentence without a secret in it.
    pub what: String,
    /// What a person should do next.
    pub next_step: String,
    /// Whether trying again can help.
    pub retry: Retry,
}

/// Whether the same thing may be tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Retry {
    /// Nothing changes until a person acts.
    Never,
    /// Later, with back-off.
    Later,
    /// Not before this many milliseconds have passed: the other side said so.
    AfterMillis(u64),
}

/// The kinds of trouble keywheel tells apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// The instance is locked by another operation.
    Locked,
    /// The instance is not in a state that allows a change now.
    Busy,
    /// The cloud asks us to slow down.
    Throttled,
    /// The other side cannot be reached, and nothing was sent.
    Unreachable,
    /// A request was sent and no answer that means anything came back.
    Unanswered,
    /// The cloud says that the old password is not the current one.
    OldPasswordWrong,
    /// The new password breaks a rule of the instance.
    RuleViolated,
    /// The cloud task reported failure.
    TaskFailed,
    /// Our cloud identity may not do this.
    Denied,
    /// The cloud does not accept our credentials.
    CredentialRefused,
    /// The configured source gives no credentials, and nothing was sent without them.
    CredentialMissing,
    /// Our clock and the cloud's differ too much.
    ClockSkew,
    /// The instance or account does not exist.
    NotFound,
    /// The instance is isolated, expired or being deleted.
    Gone,
    /// The instance accepts logins without a password.
    PasswordFree,
    /// The cloud does not offer this here.
    Unsupported,
    /// The request is wrong in a way that only a changed configuration can mend.
    Misconfigured,
    /// The instance refused a login.
    LoginRefused,
    /// The instance could not be asked to log us in.
    LoginUnreachable,
    /// A sink cannot take a write now.
    SinkUnavailable,
    /// A sink will not take our writes.
    SinkDenied,
    /// A sink already holds a newer generation.
    SinkNewer,
    /// A hook did not succeed.
    HookFailed,
    /// A channel for alerts could not be told.
    AlertFailed,
    /// A consumer does not say that it uses the current password.
    NotAcknowledged,
    /// The ledger's disk is full.
    LedgerFull,
    /// The ledger cannot be read or written.
    LedgerUnusable,
    /// Another process holds the ledger.
    LedgerHeld,
    /// The ledger holds something that keywheel did not write, or not in this form.
    LedgerCorrupt,
    /// The ledger was written by a newer keywheel.
    LedgerNewer,
    /// The sealing key does not open this ledger.
    KeyWrong,
    /// Somebody else claimed the target since.
    ClaimLost,
    /// A secret that the configuration refers to cannot be read.
    SecretUnreadable,
    /// The configuration cannot be used.
    ConfigInvalid,
    /// The command line asks for something that does not exist or make sense.
    Usage,
    /// The running daemon could not be asked.
    ControlUnreachable,
    /// keywheel was told to stop.
    Stopping,
    /// keywheel contradicts itself.
    Bug,
}

impl Kind {
    /// What to do about this kind of trouble, where nothing more precise is known.
    pub const fn next_step(self) -> &'static str {
        match self {
            Self::Locked => {
                "wait; keywheel tries again. If the lock stays, look at the instance's tasks in the cloud console"
            }
            Self::Busy => "wait until the instance is running; keywheel tries again",
            Self::Throttled => "nothing; keywheel slows down. If it lasts, lower the provider's quota setting",
            Self::Unreachable => "check the network path, the proxy settings and the endpoint",
            Self::Unanswered => "nothing; keywheel finds out by evidence what became of the call",
            Self::OldPasswordWrong => {
                "run `keywheel recover TARGET --set` with the password that works, or set recovery = \"reset\""
            }
            Self::RuleViolated => "compare the policy with the instance's own password policy",
            Self::TaskFailed => {
                "look at the task in the cloud console; keywheel checks which password is live before it tries again"
            }
            Self::Denied => {
                "grant the missing permission (the README has the least-privilege policy), then `keywheel recover TARGET --resume`"
            }
            Self::CredentialRefused => "renew the provider's credentials, then `keywheel recover TARGET --resume`",
            Self::CredentialMissing => "mend the provider's credentials source; keywheel goes on by itself then",
            Self::ClockSkew => {
                "set this machine's clock (timedatectl, chrony), then `keywheel recover TARGET --resume`"
            }
            Self::NotFound => "check instance, account and region in the configuration",
            Self::Gone => "renew or restore the instance, or remove the target",
            Self::PasswordFree => {
                "switch the instance to password login first; keywheel will not turn authentication on by itself"
            }
            Self::Unsupported => "choose another mode or upgrade the instance",
            Self::Misconfigured => "correct the configuration and run `keywheel check`",
            Self::LoginRefused => "find the password that works and give it with `keywheel recover TARGET --set`",
            Self::LoginUnreachable => "check the target's login address, TLS settings and the network path",
            Self::SinkUnavailable => "repair the sink; keywheel delivers as soon as it takes a write",
            Self::SinkDenied => "give keywheel the right to write to the sink",
            Self::SinkNewer => "find out who else writes to the sink; keywheel never puts an older generation there",
            Self::HookFailed => "read the hook's own log; keywheel repeats it with back-off",
            Self::AlertFailed => {
                "check the channel's settings with `keywheel check --alerts`; it is told again with back-off"
            }
            Self::NotAcknowledged => {
                "let the consumer move to the current password; the former one goes once it says so"
            }
            Self::LedgerFull => "free space on the ledger's disk; no rotation starts until then",
            Self::LedgerUnusable => "check the path, owner and mode of the ledger and its folder",
            Self::LedgerHeld => "use the running daemon, or stop it first",
            Self::LedgerCorrupt => {
                "stop, keep a copy of the ledger, and restore it from a backup; keywheel changes nothing meanwhile"
            }
            Self::LedgerNewer => "install the keywheel version that wrote this ledger, or a newer one",
            Self::KeyWrong => "give the sealing key this ledger was made with",
            Self::ClaimLost => "nothing; the process that holds the newer claim goes on",
            Self::SecretUnreadable => {
                "check the reference, and that the file exists and only keywheel's user can read it"
            }
            Self::ConfigInvalid => "correct the configuration and run `keywheel check --offline`",
            Self::Usage => "see `keywheel --help`",
            Self::ControlUnreachable => "check that the daemon runs and that you may open its control socket",
            Self::Stopping => "start keywheel again; it goes on where it stopped",
            Self::Bug => "report this with the output of `keywheel history TARGET --json`; it holds no password",
        }
    }

    /// Whether trying again can help, where nothing more precise is known.
    pub const fn retry(self) -> Retry {
        match self {
            Self::Locked
            | Self::Busy
            | Self::Throttled
            | Self::Unreachable
            | Self::Unanswered
            | Self::TaskFailed
            | Self::CredentialMissing
            | Self::LoginUnreachable
            | Self::SinkUnavailable
            | Self::SinkDenied
            | Self::HookFailed
            | Self::AlertFailed
            | Self::NotAcknowledged
            | Self::LedgerFull
            | Self::LedgerUnusable
            | Self::ControlUnreachable
            | Self::Stopping => Retry::Later,
            Self::OldPasswordWrong
            | Self::RuleViolated
            | Self::Denied
            | Self::CredentialRefused
            | Self::ClockSkew
            | Self::NotFound
            | Self::Gone
            | Self::PasswordFree
            | Self::Unsupported
            | Self::Misconfigured
            | Self::LoginRefused
            | Self::SinkNewer
            | Self::LedgerHeld
            | Self::LedgerCorrupt
            | Self::LedgerNewer
            | Self::KeyWrong
            | Self::ClaimLost
            | Self::SecretUnreadable
            | Self::ConfigInvalid
            | Self::Usage
            | Self::Bug => Retry::Never,
        }
    }
}

impl Fault {
    /// A fault of this kind with the kind's own next step. `what` is cut to [`WHAT_LIMIT`] bytes and must hold no secret.
    pub fn new(kind: Kind, what: impl Into<String>) -> Self {
        let mut what = what.into();
        if what.len() > WHAT_LIMIT {
            let cut = (0..=WHAT_LIMIT).rev().find(|&at| what.is_char_boundary(at)).unwrap_or(0);
            what.truncate(cut);
            what.push('…');
        }
        Self { kind, what, next_step: kind.next_step().to_owned(), retry: kind.retry() }
    }

    /// A fault whose text is a whole report, of any length, that says itself what to do.
    pub fn report(kind: Kind, text: String) -> Self {
        Self { kind, what: text, next_step: String::new(), retry: kind.retry() }
    }

    /// The same fault with a more precise next step.
    #[must_use]
    pub fn advise(mut self, next_step: impl Into<String>) -> Self {
        self.next_step = next_step.into();
        self
    }

    /// The same fault with the other side's own "not before".
    #[must_use]
    pub fn after(mut self, span: Duration) -> Self {
        self.retry = Retry::AfterMillis(u64::try_from(span.as_millis()).unwrap_or(u64::MAX));
        self
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.next_step.is_empty() {
            return formatter.write_str(&self.what);
        }
        write!(formatter, "{}. Next: {}", self.what.trim_end_matches('.'), self.next_step)
    }
}

/// Replaces every occurrence of a secret in a foreign text, so that a vendor's error message cannot carry it on: as it is, and as it stands inside
/// quotes, for whoever repeats what it was sent may repeat it as it was written or as it writes texts itself.
pub fn scrub(text: &str, secrets: &[&crate::secret::Secret]) -> String {
    let mut clean = text.to_owned();
    for secret in secrets {
        let exposed = secret.expose();
        if !exposed.is_empty() {
            let quoted = Zeroizing::new(serde_json::to_string(exposed).unwrap_or_default());
            let inside = quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(exposed);
            clean = clean.replace(inside, "[secret]").replace(exposed, "[secret]");
        }
    }
    clean.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;

    #[test]
    fn a_fault_says_what_happened_and_what_to_do() {
        let fault = Fault::new(Kind::Locked, "The instance is locked.");
        assert_eq!(fault.to_string(), format!("The instance is locked. Next: {}", Kind::Locked.next_step()));
    }

    #[test]
    fn a_long_text_is_cut_at_a_character() {
        let fault = Fault::new(Kind::Bug, "é".repeat(WHAT_LIMIT));
        assert!(fault.what.len() <= WHAT_LIMIT + '…'.len_utf8());
    }

    #[test]
    fn foreign_text_is_scrubbed() {
        let secret = Secret::new("hunter2".to_owned());
        assert_eq!(scrub("bad\x1b[0m password hunter2!", &[&secret]), "bad [0m password [secret]!");
        let secret = Secret::new("hunter\"2\\".to_owned());
        assert_eq!(scrub(r#"hunter"2\, or {"p":"hunter\"2\\"}"#, &[&secret]), r#"[secret], or {"p":"[secret]"}"#);
    }
}
