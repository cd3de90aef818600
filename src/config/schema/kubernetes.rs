//! The keys of the sink `kubernetes` and of the hook `kubernetes-rollout`.

use super::hooks::{DEBOUNCE, RESTARTS};
use super::{Key, Shape, may, must};

/// The sink.
pub(super) const SINK: &[Key] = &[
    must("secret", Shape::Text, "\"redis-{{ target }}\""),
    may("namespace", Shape::Text, "\"shop\""),
    may("kubeconfig", Shape::Reference, "{ credential = \"kubeconfig\" }"),
    may("context", Shape::Text, "\"shop\""),
    may("environment", Shape::List, "[\"HOME\"]"),
    may("type", Shape::Text, "\"Opaque\""),
    may("fields", Shape::Texts, "{ password = \"REDIS_PASSWORD\" }"),
    may("labels", Shape::Texts, "{ \"app.kubernetes.io/part-of\" = \"orders\" }"),
    may("create", Shape::Flag, "false"),
    may("force", Shape::Flag, "false"),
    may("timeout", Shape::Text, "\"30s\""),
    may("ca-file", Shape::Text, "\"/etc/keywheel/cluster-ca.pem\""),
];

/// The hook.
pub(super) const ROLLOUT: &[Key] = &[
    must("workloads", Shape::List, "[\"deployment/orders\"]"),
    may("namespace", Shape::Text, "\"shop\""),
    may("kubeconfig", Shape::Reference, "{ credential = \"kubeconfig\" }"),
    may("context", Shape::Text, "\"shop\""),
    may("environment", Shape::List, "[\"HOME\"]"),
    may("timeout", Shape::Text, "\"30s\""),
    may("ca-file", Shape::Text, "\"/etc/keywheel/cluster-ca.pem\""),
    DEBOUNCE,
    RESTARTS,
];
