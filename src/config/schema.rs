//! Every key there is: its section, its shape, whether it must be there, and an example for whoever has to write it.

mod alerts;
mod aws;
mod azure;
mod fleets;
mod gcp;
mod hooks;
mod kubernetes;
mod sources;

/// What a key holds.
pub enum Shape {
    /// A text in quotes.
    Text,
    /// A whole number.
    Number,
    /// `true` or `false`.
    Flag,
    /// A list of texts.
    List,
    /// A text, or a whole number.
    TextOrNumber,
    /// Where a secret is kept; never the secret.
    Reference,
    /// Where a password is kept: the same, or a sink that holds it.
    PasswordReference,
    /// A table with these keys.
    Table(&'static [Key]),
    /// A text that stands for the first key of the table, or the table.
    TextOrTable(&'static [Key]),
    /// A table of texts under keys of the owner's choice.
    Texts,
    /// A table of places that hold secrets, under names of the owner's choice.
    References,
    /// A table whose other keys depend on one of them.
    Kinds(&'static Kinds),
}

/// A table whose key `tag` decides which others it has.
pub struct Kinds {
    /// The deciding key.
    pub tag: &'static str,
    /// For each of its values the other keys.
    pub of: &'static [(&'static str, &'static [Key])],
}

/// One key.
pub struct Key {
    /// As it is written.
    pub name: &'static str,
    /// What it holds.
    pub shape: Shape,
    /// A value, as TOML.
    pub example: &'static str,
    /// Whether its table is useless without it.
    pub must: bool,
}

/// One section of the file.
pub struct Section {
    /// As it is written in brackets.
    pub name: &'static str,
    /// Whether it holds one table for each name, and what these are tables of.
    pub named: Option<&'static str>,
    /// The keys.
    pub shape: Shape,
}

const fn must(name: &'static str, shape: Shape, example: &'static str) -> Key {
    Key { name, shape, example, must: true }
}

const fn may(name: &'static str, shape: Shape, example: &'static str) -> Key {
    Key { name, shape, example, must: false }
}

/// The sections, in the order of the reference.
pub const SECTIONS: &[Section] = &[
    Section { name: "daemon", named: None, shape: Shape::Table(DAEMON) },
    Section { name: "limits", named: None, shape: Shape::Table(LIMITS) },
    Section { name: "providers", named: Some("provider"), shape: Shape::Kinds(&PROVIDER) },
    Section { name: "policies", named: Some("policy"), shape: Shape::Table(POLICY) },
    Section { name: "sinks", named: Some("sink"), shape: Shape::Kinds(&SINK) },
    Section { name: "hooks", named: Some("hook"), shape: Shape::Kinds(&hooks::HOOK) },
    Section { name: "watch", named: None, shape: Shape::Table(alerts::WATCH) },
    Section { name: "alerts", named: Some("channel"), shape: Shape::Kinds(&alerts::ALERT) },
    Section { name: "freezes", named: Some("freeze"), shape: Shape::Table(fleets::FREEZE) },
    Section { name: "targets", named: Some("target"), shape: Shape::Table(TARGET) },
    Section { name: "follow", named: Some("followed target"), shape: Shape::Table(FOLLOW) },
    Section { name: "follower", named: None, shape: Shape::Table(FOLLOWER) },
];

const DAEMON: &[Key] = &[
    must("ledger", Shape::Text, "\"sqlite:///var/lib/keywheel/ledger.db\""),
    must("sealing-key", Shape::Reference, "{ credential = \"sealing-key\" }"),
    may("control-socket", Shape::Text, "\"/run/keywheel/control.sock\""),
    may("listen", Shape::Text, "\"127.0.0.1:9464\""),
    may("tokens", Shape::References, "{ deploys = { credential = \"deploys-token\" } }"),
    may("tls", Shape::Table(TLS), "{ certificate = \"/etc/keywheel/tls.pem\", key = { credential = \"tls-key\" } }"),
    may("metrics-targets", Shape::Number, "2000"),
    may("time-zone", Shape::Text, "\"Asia/Shanghai\""),
    may("max-in-flight", Shape::Number, "256"),
    may("restart-budget", Shape::Number, "30"),
    may("discover-every", Shape::Text, "\"15m\""),
    may("log", Shape::Text, "\"human\""),
    may("ephemeral", Shape::Text, "\"adopt-from-sink\""),
];

const TLS: &[Key] = &[
    must("certificate", Shape::Text, "\"/etc/keywheel/tls.pem\""),
    must("key", Shape::Reference, "{ credential = \"tls-key\" }"),
];

const LIMITS: &[Key] = &[
    may("usual-task-time", Shape::Text, "\"5s\""),
    may("task-patience", Shape::Text, "\"15m\""),
    may("proof-patience", Shape::Text, "\"2m\""),
    may("late-effect", Shape::Text, "\"60s\""),
    may("lock-patience", Shape::Text, "\"30m\""),
    may("attempts", Shape::Number, "8"),
    may("redraws", Shape::Number, "2"),
    may("agreement", Shape::Number, "4"),
    may("rounds", Shape::Number, "60"),
    may("hook-attempts", Shape::Number, "8"),
    may("call-backoff", Shape::Table(BACKOFF), "{ first = \"4s\", longest = \"2m\" }"),
    may("look-backoff", Shape::Table(BACKOFF), "{ first = \"2s\", longest = \"30s\" }"),
    may("outlet-backoff", Shape::Table(BACKOFF), "{ first = \"2s\", longest = \"5m\" }"),
];

const BACKOFF: &[Key] = &[may("first", Shape::Text, "\"2s\""), may("longest", Shape::Text, "\"2m\"")];

const PROVIDER: Kinds = Kinds { tag: "kind", of: &[("tencent", TENCENT), ("alibaba", ALIBABA), ("redis", REDIS)] };

const TENCENT: &[Key] = &[
    must("region", Shape::Text, "\"ap-guangzhou\""),
    may("site", Shape::Text, "\"china\""),
    may("regional", Shape::Flag, "false"),
    may("endpoint", Shape::Text, "\"https://redis.tencentcloudapi.com\""),
    must("credentials", Shape::Kinds(&sources::TENCENT), "{ source = \"environment\" }"),
    may("quota", Shape::Number, "20"),
    may("action-spelling", Shape::Text, "\"auto\""),
    may("time-zone", Shape::Text, "\"Asia/Shanghai\""),
    may("timeout", Shape::Text, "\"60s\""),
    may("ca-file", Shape::Text, "\"/etc/ssl/certs/ca-certificates.crt\""),
];

const ALIBABA: &[Key] = &[
    must("region", Shape::Text, "\"cn-hangzhou\""),
    may("network", Shape::Text, "\"public\""),
    may("endpoint", Shape::Text, "\"https://r-kvstore.aliyuncs.com\""),
    must("credentials", Shape::Kinds(&sources::ALIBABA), "{ source = \"environment\" }"),
    may("quota", Shape::Number, "20"),
    may("parameters-in", Shape::Text, "\"body\""),
    may("timeout", Shape::Text, "\"60s\""),
    may("ca-file", Shape::Text, "\"/etc/ssl/certs/ca-certificates.crt\""),
];

const REDIS: &[Key] = &[
    must("nodes", Shape::List, "[\"redis://10.0.0.21:6379\"]"),
    may("discover", Shape::Text, "\"none\""),
    must("admin", Shape::TextOrTable(REDIS_ADMIN), "\"self\""),
    may("persist", Shape::Text, "\"auto\""),
    may("timeout", Shape::Text, "\"10s\""),
    may("ca-file", Shape::Text, "\"/etc/keywheel/redis-ca.pem\""),
    may("tls-name", Shape::Text, "\"redis.example.com\""),
];

const REDIS_ADMIN: &[Key] = &[
    may("user", Shape::Text, "\"keywheel\""),
    may("password", Shape::Reference, "{ credential = \"redis-admin\" }"),
    may("target", Shape::Text, "\"redis-admin\""),
];

const POLICY: &[Key] = &[
    may("length", Shape::Number, "24"),
    may("alphabet", Shape::Text, "\"url-safe\""),
    may("require", Shape::Table(REQUIRE), "{ lower = 1, upper = 1, digit = 1, special = 1 }"),
    may("first", Shape::Text, "\"letter\""),
];

const REQUIRE: &[Key] = &[
    may("lower", Shape::Number, "1"),
    may("upper", Shape::Number, "1"),
    may("digit", Shape::Number, "1"),
    may("special", Shape::Number, "1"),
];

const SINK: Kinds = Kinds {
    tag: "kind",
    of: &[
        ("file", FILE_SINK),
        ("command", COMMAND_SINK),
        ("http", HTTP_SINK),
        ("vault", VAULT_SINK),
        ("kubernetes", kubernetes::SINK),
        ("tencent-ssm", TENCENT_SSM_SINK),
        ("alibaba-kms", ALIBABA_KMS_SINK),
        ("aws-secrets-manager", aws::SECRETS_MANAGER_SINK),
        ("aws-parameter-store", aws::PARAMETER_STORE_SINK),
        ("etcd", ETCD_SINK),
        ("gcp-secret-manager", gcp::SINK),
        ("azure-key-vault", azure::SINK),
        ("age", AGE_SINK),
        ("systemd-credential", CREDENTIAL_SINK),
    ],
};

const FILE_SINK: &[Key] = &[
    must("path", Shape::Text, "\"/run/orders/redis.env\""),
    may("format", Shape::Text, "\"raw\""),
    may("mode", Shape::Text, "\"0640\""),
    may("owner", Shape::TextOrNumber, "\"orders\""),
    may("group", Shape::TextOrNumber, "\"orders\""),
    may("prefix", Shape::Text, "\"REDIS_\""),
    may("template", Shape::Text, "\"requirepass {{ password }}\\n\""),
    may("fields", Shape::Texts, "{ password = \"REDIS_PASSWORD\" }"),
];

const COMMAND_SINK: &[Key] = &[
    must("argv", Shape::List, "[\"/usr/local/bin/store-password\"]"),
    may("stdin", Shape::Text, "\"json\""),
    may("check", Shape::Flag, "false"),
    may("fields", Shape::Texts, "{ password = \"secret\" }"),
    may("read", Shape::List, "[\"/usr/local/bin/show-password\"]"),
    may("environment", Shape::List, "[\"VAULT_ADDR\"]"),
    may("timeout", Shape::Text, "\"30s\""),
];

const TENCENT_SSM_SINK: &[Key] = &[
    must("secret", Shape::Text, "\"redis-{{ target }}\""),
    may("version", Shape::Text, "\"SSM_Current\""),
    may("provider", Shape::Text, "\"shop\""),
    may("region", Shape::Text, "\"ap-guangzhou\""),
    may("site", Shape::Text, "\"china\""),
    may("credentials", Shape::Kinds(&sources::TENCENT), "{ source = \"environment\" }"),
    may("endpoint", Shape::Text, "\"https://ssm.tencentcloudapi.com\""),
    may("create", Shape::Flag, "false"),
    may("kms-key", Shape::Text, "\"23e80852-1e38-11e9-b129-5cb9019b4b01\""),
    may("timeout", Shape::Text, "\"15s\""),
    may("ca-file", Shape::Text, "\"/etc/ssl/certs/ca-certificates.crt\""),
];

const ALIBABA_KMS_SINK: &[Key] = &[
    must("secret", Shape::Text, "\"redis/{{ target }}\""),
    may("provider", Shape::Text, "\"warehouse\""),
    may("region", Shape::Text, "\"cn-hangzhou\""),
    may("network", Shape::Text, "\"public\""),
    may("credentials", Shape::Kinds(&sources::ALIBABA), "{ source = \"environment\" }"),
    may("endpoint", Shape::Text, "\"https://kms.cn-hangzhou.aliyuncs.com\""),
    may("create", Shape::Flag, "false"),
    may("kms-key", Shape::Text, "\"key-hzz1234567890\""),
    may("kms-instance", Shape::Text, "\"kst-hzz1234567890\""),
    may("timeout", Shape::Text, "\"15s\""),
    may("ca-file", Shape::Text, "\"/etc/ssl/certs/ca-certificates.crt\""),
];

const HTTP_SINK: &[Key] = &[
    must("url", Shape::Text, "\"https://receiver.example.com/passwords/orders\""),
    must("signing-key", Shape::Reference, "{ credential = \"receiver-key\" }"),
    may("token", Shape::Reference, "{ credential = \"receiver-token\" }"),
    may("check", Shape::Flag, "false"),
    may("read", Shape::Flag, "false"),
    may("timeout", Shape::Text, "\"30s\""),
    may("ca-file", Shape::Text, "\"/etc/ssl/certs/ca-certificates.crt\""),
];

const VAULT_SINK: &[Key] = &[
    must("address", Shape::Text, "\"https://vault.example.com:8200\""),
    may("mount", Shape::Text, "\"secret\""),
    must("path", Shape::Text, "\"redis/{{ target }}\""),
    may("namespace", Shape::Text, "\"shop\""),
    must("auth", Shape::Kinds(&VAULT_AUTH), "{ method = \"token\", token = { credential = \"vault-token\" } }"),
    may("timeout", Shape::Text, "\"30s\""),
    may("ca-file", Shape::Text, "\"/etc/ssl/certs/ca-certificates.crt\""),
];

const VAULT_AUTH: Kinds = Kinds {
    tag: "method",
    of: &[
        ("token", &[must("token", Shape::Reference, "{ credential = \"vault-token\" }")]),
        (
            "approle",
            &[
                must("role-id", Shape::Reference, "{ credential = \"vault-role-id\" }"),
                may("secret-id", Shape::Reference, "{ credential = \"vault-secret-id\" }"),
                may("mount", Shape::Text, "\"approle\""),
            ],
        ),
        (
            "kubernetes",
            &[
                must("role", Shape::Text, "\"keywheel\""),
                may("token-file", Shape::Text, "\"/var/run/secrets/kubernetes.io/serviceaccount/token\""),
                may("mount", Shape::Text, "\"kubernetes\""),
            ],
        ),
        (
            "cert",
            &[
                must("certificate", Shape::Text, "\"/etc/keywheel/vault.pem\""),
                must("key", Shape::Reference, "{ credential = \"vault-key\" }"),
                may("role", Shape::Text, "\"keywheel\""),
                may("mount", Shape::Text, "\"cert\""),
            ],
        ),
    ],
};

const AGE_SINK: &[Key] = &[
    must("path", Shape::Text, "\"/srv/backup/redis.age\""),
    must("recipients", Shape::List, "[\"age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p\"]"),
    may("armor", Shape::Flag, "false"),
    may("identity", Shape::Reference, "{ credential = \"age-identity\" }"),
    may("format", Shape::Text, "\"raw\""),
    may("mode", Shape::Text, "\"0640\""),
    may("owner", Shape::TextOrNumber, "\"orders\""),
    may("group", Shape::TextOrNumber, "\"orders\""),
    may("prefix", Shape::Text, "\"REDIS_\""),
    may("template", Shape::Text, "\"requirepass {{ password }}\\n\""),
    may("fields", Shape::Texts, "{ password = \"REDIS_PASSWORD\" }"),
];

const CREDENTIAL_SINK: &[Key] = &[
    must("path", Shape::Text, "\"/etc/credstore.encrypted/redis\""),
    may("name", Shape::Text, "\"redis\""),
    may("with-key", Shape::Text, "\"auto\""),
    may("program", Shape::Text, "\"/usr/bin/systemd-creds\""),
    may("timeout", Shape::Text, "\"30s\""),
    may("format", Shape::Text, "\"raw\""),
    may("mode", Shape::Text, "\"0640\""),
    may("owner", Shape::TextOrNumber, "\"orders\""),
    may("group", Shape::TextOrNumber, "\"orders\""),
    may("prefix", Shape::Text, "\"REDIS_\""),
    may("template", Shape::Text, "\"requirepass {{ password }}\\n\""),
    may("fields", Shape::Texts, "{ password = \"REDIS_PASSWORD\" }"),
];

const ETCD_SINK: &[Key] = &[
    must("endpoints", Shape::List, "[\"https://10.0.0.31:2379\"]"),
    must("key", Shape::Text, "\"/keywheel/{{ target }}\""),
    may("format", Shape::Text, "\"json\""),
    may("prefix", Shape::Text, "\"REDIS_\""),
    may("template", Shape::Text, "\"requirepass {{ password }}\\n\""),
    may("fields", Shape::Texts, "{ password = \"REDIS_PASSWORD\" }"),
    may("user", Shape::Text, "\"keywheel\""),
    may("password", Shape::Reference, "{ credential = \"etcd\" }"),
    may("ca-file", Shape::Text, "\"/etc/keywheel/etcd-ca.pem\""),
    may("certificate", Shape::Text, "\"/etc/keywheel/etcd-client.pem\""),
    may("certificate-key", Shape::Text, "\"/etc/keywheel/etcd-client.key\""),
    may("timeout", Shape::Text, "\"10s\""),
];

const TARGET: &[Key] = &[
    may("provider", Shape::Text, "\"shop\""),
    may("instance", Shape::Text, "\"crs-5a4py64p\""),
    may("select", Shape::Table(SELECT), "{ provider = \"shop\", tags = { rotate = \"weekly\" } }"),
    may("name", Shape::Text, "\"cache-{{ instance }}\""),
    may("waves", Shape::Table(fleets::WAVES), "{ canary = 1, then = \"10%\", halt-after = 2 }"),
    may("account", Shape::Text, "\"root\""),
    may("accounts", Shape::List, "[\"orders_a\", \"orders_b\"]"),
    may("mode", Shape::Text, "\"old-password\""),
    may("adopt", Shape::PasswordReference, "{ file = \"/etc/keywheel/orders.initial\" }"),
    may("adopt-resting", Shape::Reference, "{ file = \"/etc/keywheel/orders-b.initial\" }"),
    may("login", Shape::TextOrTable(LOGIN), "\"redis://10.0.0.12:6379\""),
    may("schedule", Shape::Text, "\"30 3 * * SUN\""),
    may("every", Shape::Text, "\"30d\""),
    may("window", Shape::Text, "\"2h\""),
    may("splay", Shape::Text, "\"20m\""),
    may("missed", Shape::Text, "\"if-open\""),
    may("max-age", Shape::Text, "\"45d\""),
    may("time-zone", Shape::Text, "\"Asia/Shanghai\""),
    may("policy", Shape::Text, "\"default\""),
    may("profile", Shape::Text, "\"tencent\""),
    may("strategy", Shape::Text, "\"in-place\""),
    may("grace", Shape::Text, "\"1h\""),
    may("acknowledged-by", Shape::Table(CONSUMER), "{ file = \"/run/orders/generation\" }"),
    may("verify-every", Shape::Text, "\"6h\""),
    may("sinks", Shape::List, "[\"orders-env\"]"),
    may("on-sink-down", Shape::Text, "\"hold\""),
    may("hooks", Shape::List, "[\"reload-orders\"]"),
    may("recovery", Shape::Text, "\"halt\""),
];

const FOLLOW: &[Key] = &[
    must("source", Shape::Text, "\"orders-vault\""),
    may("every", Shape::Text, "\"1s\""),
    must("sinks", Shape::List, "[\"orders-folder\"]"),
    may("hooks", Shape::List, "[\"reload-orders\"]"),
];

const FOLLOWER: &[Key] = &[
    may("log", Shape::Text, "\"human\""),
    may("on-change", Shape::Text, "\"restart\""),
    may("stop-signal", Shape::Text, "\"TERM\""),
    may("stop-timeout", Shape::Text, "\"10s\""),
    may("wait-at-most", Shape::Text, "\"5m\""),
];

const CONSUMER: &[Key] = &[
    may("file", Shape::Text, "\"/run/orders/generation\""),
    may("url", Shape::Text, "\"https://orders.example.com/redis-generation\""),
    may("token", Shape::Reference, "{ credential = \"orders-token\" }"),
    may("ca-file", Shape::Text, "\"/etc/ssl/certs/ca-certificates.crt\""),
    may("timeout", Shape::Text, "\"10s\""),
];

const SELECT: &[Key] =
    &[must("provider", Shape::Text, "\"shop\""), must("tags", Shape::Texts, "{ rotate = \"weekly\" }")];

const LOGIN: &[Key] = &[
    must("url", Shape::Text, "\"redis://10.0.0.12:6379\""),
    may("connections", Shape::Number, "1"),
    may("form", Shape::Text, "\"auto\""),
    may("ca-file", Shape::Text, "\"/etc/keywheel/redis-ca.pem\""),
    may("tls-name", Shape::Text, "\"redis.example.com\""),
    may("timeout", Shape::Text, "\"5s\""),
];

/// The kinds of reference.
pub const REFERENCE: &[Key] = &[
    may("env", Shape::Text, "\"ORDERS_PASSWORD\""),
    may("file", Shape::Text, "\"/etc/keywheel/orders.initial\""),
    may("credential", Shape::Text, "\"orders-initial\""),
];

/// The kinds of reference to a password.
pub const PASSWORD_REFERENCE: &[Key] = &[
    may("env", Shape::Text, "\"ORDERS_PASSWORD\""),
    may("file", Shape::Text, "\"/etc/keywheel/orders.initial\""),
    may("credential", Shape::Text, "\"orders-initial\""),
    may("sink", Shape::Text, "\"orders-env\""),
];

/// The section of this name.
pub fn section(name: &str) -> Option<&'static Section> {
    SECTIONS.iter().find(|section| section.name == name)
}

impl Shape {
    /// The keys of the table this shape allows, those of every kind together, without the deciding key; empty for plain values.
    pub fn keys(&self) -> Vec<&'static Key> {
        match self {
            Self::Text
            | Self::Number
            | Self::Flag
            | Self::List
            | Self::TextOrNumber
            | Self::Texts
            | Self::References => Vec::new(),
            Self::Reference => REFERENCE.iter().collect(),
            Self::PasswordReference => PASSWORD_REFERENCE.iter().collect(),
            Self::Table(keys) | Self::TextOrTable(keys) => keys.iter().collect(),
            Self::Kinds(kinds) => kinds.of.iter().flat_map(|(_, keys)| keys.iter()).collect(),
        }
    }

    /// The key that decides over the others.
    pub fn tag(&self) -> Option<&'static str> {
        match self {
            Self::Kinds(kinds) => Some(kinds.tag),
            Self::Text
            | Self::Number
            | Self::Flag
            | Self::List
            | Self::TextOrNumber
            | Self::Texts
            | Self::References
            | Self::Reference
            | Self::PasswordReference
            | Self::Table(_)
            | Self::TextOrTable(_) => None,
        }
    }
}

/// Every key the configuration knows, as section and path: `targets` and `login.connections`. For the tests of the reference.
pub fn known_keys() -> Vec<(&'static str, String)> {
    fn below(shape: &Shape, prefix: &str, into: &mut Vec<String>) {
        into.extend(shape.tag().map(|tag| format!("{prefix}{tag}")));
        for key in shape.keys() {
            into.push(format!("{prefix}{}", key.name));
            if let Some(tag) = key.shape.tag().filter(|tag| shape.tag() == Some(tag)) {
                // A source inside another: but for the deciding key, its keys are those around it.
                into.push(format!("{prefix}{}.{tag}", key.name));
            } else if !matches!(key.shape, Shape::Reference | Shape::PasswordReference) {
                // The kinds of reference are the same everywhere.
                below(&key.shape, &format!("{prefix}{}.", key.name), into);
            }
        }
    }
    let mut all = Vec::new();
    for section in SECTIONS {
        let mut keys = Vec::new();
        below(&section.shape, "", &mut keys);
        // What a sink's sources of a credential share with a provider's stands there.
        let is_shared = |key: &str| {
            key.starts_with("credentials.") && all.iter().any(|held| *held == ("providers", key.to_owned()))
        };
        keys.retain(|key| section.name != "sinks" || key == "credentials.source" || !is_shared(key));
        all.extend(keys.into_iter().map(|key| (section.name, key)));
    }
    all.sort();
    all.dedup();
    all
}
