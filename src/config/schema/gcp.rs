//! The keys of `kind = "gcp-secret-manager"`.

use super::{Key, Kinds, Shape, may, must};

pub(super) const SINK: &[Key] = &[
    must("project", Shape::Text, "\"shop-prod\""),
    must("secret", Shape::Text, "\"redis-{{ target }}\""),
    must("credentials", Shape::Kinds(&CREDENTIALS), "{ source = \"metadata\" }"),
    may("location", Shape::Text, "\"europe-west3\""),
    may("quota-project", Shape::Text, "\"shop-prod\""),
    may("create", Shape::Flag, "false"),
    may("keep", Shape::Number, "3"),
    may("destroy", Shape::Flag, "false"),
    may("format", Shape::Text, "\"json\""),
    may("prefix", Shape::Text, "\"REDIS_\""),
    may("template", Shape::Text, "\"requirepass {{ password }}\\n\""),
    may("fields", Shape::Texts, "{ password = \"REDIS_PASSWORD\" }"),
    may("endpoint", Shape::Text, "\"https://secretmanager.googleapis.com\""),
    may("timeout", Shape::Text, "\"15s\""),
    may("ca-file", Shape::Text, "\"/etc/ssl/certs/ca-certificates.crt\""),
];

const CREDENTIALS: Kinds = Kinds {
    tag: "source",
    of: &[
        ("service-account", &[must("key", Shape::Reference, "{ credential = \"google-key\" }")]),
        (
            "metadata",
            &[
                may("account", Shape::Text, "\"default\""),
                may("metadata-endpoint", Shape::Text, "\"http://127.0.0.1:9470\""),
            ],
        ),
        ("external-account", &[must("account-file", Shape::Text, "\"/etc/keywheel/google-federation.json\"")]),
    ],
};
