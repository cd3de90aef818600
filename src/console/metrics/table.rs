//! Every metric there is: name, kind, labels, and what it says. A name carries its unit; a moment is a timestamp in seconds, so that whoever asks "since
//! when" or "how long until" subtracts it from `time()`.

/// What a metric's numbers do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Go up and down.
    Gauge,
    /// Only go up, and begin anew with each start.
    Counter,
    /// Are counted by buckets.
    Histogram,
}

/// One metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metric {
    /// What it is called.
    pub name: &'static str,
    /// What its numbers do.
    pub kind: Kind,
    /// What its series are told apart by.
    pub labels: &'static [&'static str],
    /// What it says.
    pub help: &'static str,
}

macro_rules! metrics {
    ($($key:ident = $kind:ident $name:literal [$($label:literal),*] $help:literal;)*) => {
        $(#[doc = $help] pub const $key: Metric =
            Metric { name: $name, kind: Kind::$kind, labels: &[$($label),*], help: $help };)*

        /// Every metric, in the order of docs/METRICS.md.
        pub const ALL: &[Metric] = &[$($key),*];
    };
}

metrics! {
    BUILD_INFO = Gauge "keywheel_build_info" ["version"] "Which keywheel this is; always 1.";
    STARTED = Gauge "keywheel_started_timestamp_seconds" [] "When the daemon started.";
    READY = Gauge "keywheel_ready" [] "Whether /readyz says ready: 1 or 0.";
    CONFIGURATION = Gauge "keywheel_configuration_accepted" [] "Whether the configuration was taken up when it was read last: 0 while an older one stays in force.";
    SWEPT = Gauge "keywheel_sweep_timestamp_seconds" [] "When a sweep last reached the ledger; one comes every second.";
    TURNS = Gauge "keywheel_turns" [] "Targets that have their turn now.";
    TURNS_LIMIT = Gauge "keywheel_turns_limit" [] "How many may have it at the same time (max-in-flight).";
    TURN_FAILURES = Counter "keywheel_turn_failures_total" [] "Turns that could not go on, such as on a full disk.";
    TARGETS = Gauge "keywheel_targets" ["state"] "Targets by state: settled, due, rotating, doubt, behind, halted or paused.";
    UNREADABLE = Gauge "keywheel_targets_unreadable" [] "Targets whose record cannot be read; they are in no state.";
    TOO_OLD = Gauge "keywheel_targets_too_old" [] "Targets whose password is older than their max-age.";
    WITHOUT_SERIES = Gauge "keywheel_targets_without_series" [] "Targets that have no series of their own because there are more than metrics-targets; troubled ones have theirs.";
    OLDEST = Gauge "keywheel_oldest_password_timestamp_seconds" [] "When the oldest current password of the fleet was proven live.";
    LOOKED = Gauge "keywheel_fleet_look_timestamp_seconds" [] "As of when the numbers of targets are.";
    PROVEN = Gauge "keywheel_password_timestamp_seconds" ["target"] "When the current password was proven live; its age is the time since.";
    TOO_OLD_AT = Gauge "keywheel_password_too_old_timestamp_seconds" ["target"] "When the current password is older than max-age; absent without one.";
    NEXT_DUE = Gauge "keywheel_next_due_timestamp_seconds" ["target"] "When the next rotation is due; absent where none is scheduled.";
    DOUBT_SINCE = Gauge "keywheel_doubt_since_timestamp_seconds" ["target"] "Since when nobody knows which password is live; absent otherwise.";
    HALTED_SINCE = Gauge "keywheel_halted_since_timestamp_seconds" ["target"] "Since when a person is needed; absent otherwise.";
    GIVEN_UP = Gauge "keywheel_hooks_given_up" ["target"] "Hooks that were not told of the current password and no longer will be; absent where there are none.";
    BEHIND_SINCE = Gauge "keywheel_sink_behind_since_timestamp_seconds" ["target", "sink"] "Since when the sink lacks the current password; absent otherwise.";
    BEHIND_BY = Gauge "keywheel_sink_behind_generations" ["target", "sink"] "How many generations the sink lacks; absent where it lacks none.";
    BEGUN = Counter "keywheel_rotations_begun_total" [] "Rotations that began.";
    ROTATIONS = Counter "keywheel_rotations_total" ["outcome"] "Rotations that ended: settled, abandoned (nothing was changed), overtaken (the next one was proven before all sinks had this one) or replaced (a person gave another password).";
    HALTS = Counter "keywheel_halts_total" [] "Times that a target halted.";
    DOUBTS = Counter "keywheel_doubts_total" [] "Times that an answer was lost or ambiguous.";
    LATENESS = Histogram "keywheel_rotation_lateness_seconds" [] "How long after their due time rotations began that the schedule caused.";
    BLIND = Histogram "keywheel_blind_time_seconds" [] "How long a sink held a dead password: from the last call that replaced it, which is the earliest moment at which it may have died, until the new one was delivered; in-place rotations only.";
    DELIVERIES = Counter "keywheel_deliveries_total" ["result"] "Attempts to deliver a password to a sink: delivered or failed.";
    NOTICES = Counter "keywheel_hook_notices_total" ["result"] "Attempts to tell a hook: told or failed.";
    REVEALED = Counter "keywheel_passwords_revealed_total" [] "Times that a person was shown passwords.";
    CALLS = Counter "keywheel_api_calls_total" ["provider", "action", "verdict"] "Calls of a cloud's API by what they came to: done, or the word of the fault as in docs/RUNBOOK.md.";
    WAITING = Gauge "keywheel_quota_waiting" ["provider", "action"] "Calls that wait for the quota.";
    ADMITTED = Counter "keywheel_quota_admitted_total" ["provider", "action"] "Calls that the quota let go.";
    THROTTLED = Counter "keywheel_quota_throttled_total" ["provider", "action"] "Times that the cloud complained about the rate.";
    RATE = Gauge "keywheel_quota_rate" ["provider", "action"] "Calls per second that are let go at most at present; it falls where the cloud complains.";
    QUOTA = Gauge "keywheel_quota_limit" ["provider"] "Calls per second and action as configured (quota).";
    CREDENTIALS_END = Gauge "keywheel_credentials_end_timestamp_seconds" ["provider"] "When the credential in hand ends; its source gives another one before. Absent where nobody says.";
    COMMITS = Histogram "keywheel_ledger_commit_seconds" [] "How long the ledger's transactions took to be on disk.";
    COMMIT_FAILURES = Counter "keywheel_ledger_commit_failures_total" [] "Transactions that failed as a whole.";
    ALERTS = Gauge "keywheel_alerts" ["event"] "Alerts that stand now, by what they are of; none without a channel.";
    RAISED = Counter "keywheel_alerts_raised_total" ["event"] "Alerts that were raised.";
    OVER = Counter "keywheel_alerts_over_total" ["event"] "Alerts that ended.";
    MESSAGES = Counter "keywheel_alert_messages_total" ["channel", "result"] "Attempts to tell a channel: told or failed.";
}
