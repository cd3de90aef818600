//! The keys of the sinks in an account of AWS.

use super::{Key, Kinds, Shape, may, must};

/// `kind = "aws-secrets-manager"`.
pub(super) const SECRETS_MANAGER_SINK: &[Key] = &[
    must("secret", Shape::Text, "\"redis/{{ target }}\""),
    REGION,
    CREDENTIALS,
    ENDPOINT,
    may("create", Shape::Flag, "false"),
    KMS_KEY,
    FORMAT,
    PREFIX,
    TEMPLATE,
    FIELDS,
    TIMEOUT,
    CA_FILE,
];

/// `kind = "aws-parameter-store"`.
pub(super) const PARAMETER_STORE_SINK: &[Key] = &[
    must("parameter", Shape::Text, "\"/redis/{{ target }}\""),
    REGION,
    CREDENTIALS,
    ENDPOINT,
    may("create", Shape::Flag, "false"),
    KMS_KEY,
    may("tier", Shape::Text, "\"standard\""),
    FORMAT,
    PREFIX,
    TEMPLATE,
    FIELDS,
    TIMEOUT,
    CA_FILE,
];

const REGION: Key = must("region", Shape::Text, "\"eu-central-1\"");
const CREDENTIALS: Key = must("credentials", Shape::Kinds(&SOURCES), "{ source = \"web-identity\" }");
const ENDPOINT: Key =
    may("endpoint", Shape::Text, "\"https://vpce-0a1b2c3d.secretsmanager.eu-central-1.vpce.amazonaws.com\"");
const KMS_KEY: Key = may("kms-key", Shape::Text, "\"alias/redis\"");
const FORMAT: Key = may("format", Shape::Text, "\"json\"");
const PREFIX: Key = may("prefix", Shape::Text, "\"REDIS_\"");
const TEMPLATE: Key = may("template", Shape::Text, "\"requirepass {{ password }}\\n\"");
const FIELDS: Key = may("fields", Shape::Texts, "{ password = \"REDIS_PASSWORD\" }");
const TIMEOUT: Key = may("timeout", Shape::Text, "\"15s\"");
const CA_FILE: Key = may("ca-file", Shape::Text, "\"/etc/ssl/certs/ca-certificates.crt\"");

const SOURCES: Kinds = Kinds {
    tag: "source",
    of: &[
        (
            "static",
            &[
                must("access-key-id", Shape::Reference, "{ credential = \"aws-access-key-id\" }"),
                must("secret-access-key", Shape::Reference, "{ credential = \"aws-secret-access-key\" }"),
                may("session-token", Shape::Reference, "{ file = \"/run/keywheel/aws-session-token\" }"),
            ],
        ),
        ("environment", &[]),
        (
            "profile",
            &[
                may("path", Shape::Text, "\"/etc/keywheel/aws-credentials\""),
                may("profile", Shape::Text, "\"default\""),
                STS,
                METADATA,
            ],
        ),
        (
            "web-identity",
            &[
                may("role-arn", Shape::Text, "\"arn:aws:iam::100000000001:role/rotator\""),
                may("token-file", Shape::Text, "\"/var/run/secrets/eks.amazonaws.com/serviceaccount/token\""),
                may("session-name", Shape::Text, "\"keywheel\""),
                STS,
            ],
        ),
        ("container", &[]),
        ("instance-role", &[may("role", Shape::Text, "\"rotator\""), METADATA]),
        ("chain", &[STS, METADATA]),
    ],
};

const STS: Key = may("sts-endpoint", Shape::Text, "\"https://sts.eu-central-1.amazonaws.com\"");
const METADATA: Key = may("metadata-endpoint", Shape::Text, "\"http://127.0.0.1:9470\"");
