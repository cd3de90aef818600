//! The keys of `[watch]`, and of `[alerts.NAME]` for each kind.

use super::{Key, Kinds, Shape, may, must};

pub(super) const WATCH: &[Key] = &[
    may("every", Shape::Text, "\"30s\""),
    may("doubt-after", Shape::Text, "\"15m\""),
    may("behind-after", Shape::Text, "\"15m\""),
    may("dead-man-url", Shape::Reference, "{ credential = \"dead-man-url\" }"),
    may("dead-man-every", Shape::Text, "\"1m\""),
];

pub(super) const ALERT: Kinds = Kinds { tag: "kind", of: &[("webhook", WEBHOOK), ("slack", SLACK), ("smtp", SMTP)] };

const EVENTS: Key = may("events", Shape::List, "[\"halted\", \"too-old\"]");
const GATHER: Key = may("gather", Shape::Text, "\"1m\"");
const TIMEOUT: Key = may("timeout", Shape::Text, "\"30s\"");
const CA_FILE: Key = may("ca-file", Shape::Text, "\"/etc/ssl/certs/ca-certificates.crt\"");

const WEBHOOK: &[Key] = &[
    must("url", Shape::Text, "\"https://alerts.example.com/keywheel\""),
    must("signing-key", Shape::Reference, "{ credential = \"alerts-key\" }"),
    may("token", Shape::Reference, "{ credential = \"alerts-token\" }"),
    EVENTS,
    GATHER,
    TIMEOUT,
    CA_FILE,
];

const SLACK: &[Key] =
    &[must("url", Shape::Reference, "{ credential = \"slack-url\" }"), EVENTS, GATHER, TIMEOUT, CA_FILE];

const SMTP: &[Key] = &[
    must("server", Shape::Text, "\"mail.example.com\""),
    may("port", Shape::Number, "587"),
    may("tls", Shape::Text, "\"starttls\""),
    may("user", Shape::Text, "\"keywheel\""),
    may("password", Shape::Reference, "{ credential = \"mail-password\" }"),
    must("from", Shape::Text, "\"keywheel@example.com\""),
    must("to", Shape::List, "[\"oncall@example.com\"]"),
    EVENTS,
    GATHER,
    TIMEOUT,
    CA_FILE,
];
