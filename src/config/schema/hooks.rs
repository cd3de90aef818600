//! The keys of `[hooks.NAME]`, for each kind.

use super::{Key, Kinds, Shape, may, must};

pub(super) const HOOK: Kinds =
    Kinds { tag: "kind", of: &[("command", COMMAND), ("systemd", SYSTEMD), ("signal", SIGNAL), ("webhook", WEBHOOK)] };

const DEBOUNCE: Key = may("debounce", Shape::Text, "\"10s\"");
const RESTARTS: Key = may("restarts", Shape::Flag, "true");
const TIMEOUT: Key = may("timeout", Shape::Text, "\"60s\"");

const COMMAND: &[Key] = &[
    must("argv", Shape::List, "[\"/usr/local/bin/reload-orders\"]"),
    may("environment", Shape::List, "[\"LANG\"]"),
    TIMEOUT,
    DEBOUNCE,
    RESTARTS,
];

const SYSTEMD: &[Key] = &[
    must("units", Shape::List, "[\"orders.service\"]"),
    may("verb", Shape::Text, "\"reload-or-restart\""),
    may("user", Shape::Flag, "false"),
    may("program", Shape::Text, "\"/usr/bin/systemctl\""),
    TIMEOUT,
    DEBOUNCE,
    RESTARTS,
];

const SIGNAL: &[Key] = &[
    may("signal", Shape::Text, "\"HUP\""),
    may("pid-file", Shape::Text, "\"/run/orders.pid\""),
    may("process", Shape::Text, "\"orders\""),
    DEBOUNCE,
    RESTARTS,
];

const WEBHOOK: &[Key] = &[
    must("url", Shape::Text, "\"https://orders.example.com/hooks/keywheel\""),
    must("signing-key", Shape::Reference, "{ credential = \"orders-hook\" }"),
    may("token", Shape::Reference, "{ credential = \"orders-token\" }"),
    may("ca-file", Shape::Text, "\"/etc/ssl/certs/ca-certificates.crt\""),
    TIMEOUT,
    DEBOUNCE,
    RESTARTS,
];
