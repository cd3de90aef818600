//! The keys of `kind = "azure-key-vault"`.

use super::{Key, Kinds, Shape, may, must};

pub(super) const SINK: &[Key] = &[
    must("vault", Shape::Text, "\"https://shop.vault.azure.net\""),
    must("secret", Shape::Text, "\"redis-{{ target }}\""),
    must("credentials", Shape::Kinds(&CREDENTIALS), "{ source = \"managed-identity\" }"),
    may("authority", Shape::Text, "\"https://login.microsoftonline.com\""),
    may("format", Shape::Text, "\"json\""),
    may("prefix", Shape::Text, "\"REDIS_\""),
    may("template", Shape::Text, "\"requirepass {{ password }}\\n\""),
    may("fields", Shape::Texts, "{ password = \"REDIS_PASSWORD\" }"),
    may("timeout", Shape::Text, "\"15s\""),
    may("ca-file", Shape::Text, "\"/etc/ssl/certs/ca-certificates.crt\""),
];

const CREDENTIALS: Kinds = Kinds {
    tag: "source",
    of: &[
        (
            "client-secret",
            &[TENANT, CLIENT, must("secret", Shape::Reference, "{ credential = \"azure-client-secret\" }")],
        ),
        (
            "workload-identity",
            &[TENANT, CLIENT, may("token-file", Shape::Text, "\"/var/run/secrets/azure/tokens/azure-identity-token\"")],
        ),
        (
            "managed-identity",
            &[may("client", Shape::Text, ID), may("metadata-endpoint", Shape::Text, "\"http://127.0.0.1:9470\"")],
        ),
    ],
};

const ID: &str = "\"00000000-0000-0000-0000-000000000000\"";
const TENANT: Key = must("tenant", Shape::Text, ID);
const CLIENT: Key = must("client", Shape::Text, ID);
