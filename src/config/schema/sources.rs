//! The keys of a provider's `credentials`, for each vendor and source.

use super::{Key, Kinds, Shape, may, must};

/// Tencent Cloud's sources.
pub(super) const TENCENT: Kinds = Kinds {
    tag: "source",
    of: &[
        ("environment", &[]),
        ("static", TENCENT_STATIC),
        ("profile", PROFILE),
        ("instance-role", &[ROLE, METADATA]),
        ("oidc", &[TENCENT_IDENTITY, TOKEN_FILE, TENCENT_ROLE, SESSION, TENCENT_DURATION, STS]),
        (
            "assume-role",
            &[
                must("role-arn", Shape::Text, "\"qcs::cam::uin/100000000001:roleName/rotator\""),
                must("base", Shape::Kinds(&TENCENT_BASE), "{ source = \"environment\" }"),
                SESSION,
                TENCENT_DURATION,
                EXTERNAL_ID,
                POLICY,
                STS,
                METADATA,
            ],
        ),
        ("chain", &[STS, METADATA]),
    ],
};

/// What a role at Tencent Cloud can stand on.
const TENCENT_BASE: Kinds = Kinds {
    tag: "source",
    of: &[
        ("environment", &[]),
        ("static", TENCENT_STATIC),
        ("profile", PROFILE),
        ("instance-role", &[ROLE]),
        ("oidc", &[TENCENT_IDENTITY, TOKEN_FILE, TENCENT_ROLE, SESSION, TENCENT_DURATION]),
        ("chain", &[]),
    ],
};

/// Alibaba Cloud's sources.
pub(super) const ALIBABA: Kinds = Kinds {
    tag: "source",
    of: &[
        ("environment", &[]),
        ("static", ALIBABA_STATIC),
        ("profile", &[PATH, NAME, STS, METADATA, WITHOUT_TOKEN]),
        ("instance-role", &[ROLE, METADATA, WITHOUT_TOKEN]),
        ("credentials-uri", &[URL]),
        ("oidc", &[ALIBABA_IDENTITY, TOKEN_FILE, ALIBABA_ROLE, SESSION, ALIBABA_DURATION, POLICY, STS]),
        (
            "assume-role",
            &[
                must("role-arn", Shape::Text, "\"acs:ram::100000000001:role/rotator\""),
                must("base", Shape::Kinds(&ALIBABA_BASE), "{ source = \"environment\" }"),
                SESSION,
                ALIBABA_DURATION,
                EXTERNAL_ID,
                POLICY,
                STS,
                METADATA,
                WITHOUT_TOKEN,
            ],
        ),
        ("chain", &[STS, METADATA, WITHOUT_TOKEN]),
    ],
};

/// What a role at Alibaba Cloud can stand on.
const ALIBABA_BASE: Kinds = Kinds {
    tag: "source",
    of: &[
        ("environment", &[]),
        ("static", ALIBABA_STATIC),
        ("profile", PROFILE),
        ("instance-role", &[ROLE]),
        ("credentials-uri", &[URL]),
        ("oidc", &[ALIBABA_IDENTITY, TOKEN_FILE, ALIBABA_ROLE, SESSION, ALIBABA_DURATION, POLICY]),
        ("chain", &[]),
    ],
};

const TENCENT_STATIC: &[Key] = &[
    must("secret-id", Shape::Reference, "{ file = \"/etc/keywheel/tencent-secret-id\" }"),
    must("secret-key", Shape::Reference, "{ file = \"/etc/keywheel/tencent-secret-key\" }"),
    may("token", Shape::Reference, "{ file = \"/run/keywheel/tencent-token\" }"),
];

const ALIBABA_STATIC: &[Key] = &[
    must("access-key-id", Shape::Reference, "{ file = \"/etc/keywheel/alibaba-access-key-id\" }"),
    must("access-key-secret", Shape::Reference, "{ file = \"/etc/keywheel/alibaba-access-key-secret\" }"),
    may("security-token", Shape::Reference, "{ file = \"/run/keywheel/alibaba-security-token\" }"),
];

const PROFILE: &[Key] = &[PATH, NAME];
const PATH: Key = may("path", Shape::Text, "\"/etc/keywheel/cloud-profile\"");
const NAME: Key = may("profile", Shape::Text, "\"default\"");
const ROLE: Key = may("role", Shape::Text, "\"rotator\"");
const URL: Key = may("url", Shape::Text, "\"https://broker.example.com/credentials\"");
const TENCENT_IDENTITY: Key = may("provider-id", Shape::Text, "\"cls-12345678\"");
const ALIBABA_IDENTITY: Key =
    may("provider-arn", Shape::Text, "\"acs:ram::100000000001:oidc-provider/ack-rrsa-c12345678\"");
const TOKEN_FILE: Key = may("token-file", Shape::Text, "\"/var/run/secrets/tokens/identity\"");
const TENCENT_ROLE: Key = may("role-arn", Shape::Text, "\"qcs::cam::uin/100000000001:roleName/rotator\"");
const ALIBABA_ROLE: Key = may("role-arn", Shape::Text, "\"acs:ram::100000000001:role/rotator\"");
const SESSION: Key = may("session-name", Shape::Text, "\"keywheel\"");
const TENCENT_DURATION: Key = may("duration", Shape::Text, "\"2h\"");
const ALIBABA_DURATION: Key = may("duration", Shape::Text, "\"1h\"");
const EXTERNAL_ID: Key = may("external-id", Shape::Text, "\"agreed-upon\"");
const POLICY: Key = may("role-policy", Shape::Text, "'{\"Version\": \"1\", \"Statement\": []}'");
const STS: Key = may("sts-endpoint", Shape::Text, "\"https://sts.example.com\"");
const METADATA: Key = may("metadata-endpoint", Shape::Text, "\"http://127.0.0.1:9470\"");
const WITHOUT_TOKEN: Key = may("without-token", Shape::Flag, "true");
