//! Rotations whose providers have no key of their own: the role of a machine at Tencent Cloud, and at Alibaba Cloud a role on top of a pod's
//! identity.

use crate::common::redis_server::RedisServer;
use crate::common::stage::{INITIAL, INSTANCE, SECRET_ID, SECRET_KEY, Stage, until};
use keywheel::secret::Secret;
use keywheel::simulator::{Change, InstanceSettings, MetadataSettings, RoleSettings, Server};
use std::fs;
use std::time::Duration;

const TAIR: &str = "r-bp1stage0002";
const ROLE: &str = "acs:ram::100000000001:role/rotator";
const POD_ROLE: &str = "acs:ram::100000000001:role/pod";
const PROVIDER: &str = "acs:ram::100000000001:oidc-provider/ack-stage";
const TOKEN: &str = "eyJhbGciOiJSUzI1NiJ9.e30.stage";

fn server_of(instance: InstanceSettings, server: &RedisServer) -> InstanceSettings {
    let server = Server::Redis { address: server.address(), user: "default".to_owned() };
    InstanceSettings { server, ..instance }
}

/// The machine's role; `None` takes it away.
fn machine(role: Option<&str>) -> Change {
    let metadata =
        MetadataSettings { role: role.map(str::to_owned), life: Duration::from_secs(7_200), ..Default::default() };
    Change { metadata: Some(metadata), ..Change::default() }
}

fn roles() -> Change {
    let pod = RoleSettings {
        arn: POD_ROLE.to_owned(),
        identity_provider: Some(PROVIDER.to_owned()),
        identity_token: Some(Secret::new(TOKEN.to_owned())),
        // Nobody takes it on with a key.
        callers: vec!["nobody".to_owned()],
        ..RoleSettings::default()
    };
    let rotator =
        RoleSettings { arn: ROLE.to_owned(), external_id: Some("agreed-upon".to_owned()), ..RoleSettings::default() };
    Change { roles: Some(vec![pod, rotator]), ..Change::default() }
}

fn configuration(stage: &Stage, schedule: &str) -> String {
    let endpoint = stage.cloud().endpoint();
    let target = |name: &str, provider: &str, instance: &str| {
        let login = stage.cloud().login_address(instance).unwrap();
        format!(
            "[targets.{name}]\nprovider = \"{provider}\"\ninstance = \"{instance}\"\nadopt = {{ file = \"{{folder}}/initial\" }}\n\
             login = \"redis://{login}\"\n{schedule}\nsinks = [\"{name}-env\"]\n\n"
        )
    };
    [
        format!(
            "[providers.cvm]\nkind = \"tencent\"\nregion = \"ap-guangzhou\"\nendpoint = \"{endpoint}\"\n\
             credentials = {{ source = \"instance-role\", metadata-endpoint = \"{endpoint}\" }}\n\n"
        ),
        format!(
            "[providers.pod]\nkind = \"alibaba\"\nregion = \"cn-hangzhou\"\nendpoint = \"{endpoint}\"\n\n\
             [providers.pod.credentials]\nsource = \"assume-role\"\nrole-arn = \"{ROLE}\"\nexternal-id = \"agreed-upon\"\n\
             duration = \"15m\"\nsts-endpoint = \"{endpoint}\"\n\
             base = {{ source = \"oidc\", provider-arn = \"{PROVIDER}\", role-arn = \"{POD_ROLE}\", token-file = \"{{folder}}/token\" }}\n\n"
        ),
        stage.sink("machine-env", "format = \"env\""),
        stage.sink("tair-env", "format = \"env\""),
        target("machine", "cvm", INSTANCE),
        target("tair", "pod", TAIR),
    ]
    .concat()
}

fn stage(servers: [&RedisServer; 2]) -> Stage {
    let stage = Stage::set_with(vec![
        server_of(InstanceSettings::new(INSTANCE, INITIAL), servers[0]),
        server_of(InstanceSettings::alibaba(TAIR, INITIAL), servers[1]),
    ]);
    stage.change(machine(Some("rotator")));
    stage.change(roles());
    stage.write("token", TOKEN);
    stage
}

#[test]
fn providers_without_a_key_of_their_own_rotate() {
    let servers = [RedisServer::start(Some(INITIAL)), RedisServer::start(Some(INITIAL))];
    let stage = stage([&servers[0], &servers[1]]);
    stage.configure(&configuration(&stage, ""));
    let checked = stage.keywheel(&["check"]);
    assert_eq!(checked.status, 0, "{}{}", checked.out, checked.err);
    assert!(!checked.err.contains("cannot renew"), "{}", checked.err);

    let daemon = stage.start(&[("KEYWHEEL_LOG", "trace")]);
    ["machine", "tair"].iter().for_each(|name| stage.until(name, "settled", 1));
    let asked = stage.keywheel(&["rotate", "--all", "--yes"]);
    assert_eq!(asked.status, 0, "{}{}", asked.out, asked.err);
    for (name, instance, server) in [("machine", INSTANCE, &servers[0]), ("tair", TAIR, &servers[1])] {
        stage.until(name, "settled", 2);
        let live = stage.live(instance);
        assert!(
            server.accepts(&live) && !server.accepts(INITIAL),
            "{name}: the new password works, the old one does not"
        );
        let path = stage.path(&format!("{name}-env"));
        until("the sink to hold it", || fs::read_to_string(&path).is_ok_and(|text| text.contains(&live)));
    }
    let log = daemon.log();
    daemon.stop();
    // Keys and tokens were sent where they belong and nowhere else.
    for secret in [TOKEN, "temporary-key-", "temporary-token-"] {
        assert!(!log.contains(secret), "the log shows {secret}");
        for entry in fs::read_dir(stage.path("state")).unwrap() {
            let bytes = fs::read(entry.unwrap().path()).unwrap();
            assert!(
                !bytes.windows(secret.len()).any(|window| window == secret.as_bytes()),
                "the ledger shows {secret}"
            );
        }
    }
    let calls = stage.cloud().calls();
    for action in ["MetadataCredential", "AssumeRoleWithOIDC", "AssumeRole"] {
        // Once by `check` and once by the daemon, however many calls each of them signed.
        assert_eq!(calls[action].accepted.len(), 2, "{action}");
    }
}

#[test]
fn check_tells_which_source_gives_nothing_and_which_will_end() {
    let servers = [RedisServer::start(Some(INITIAL)), RedisServer::start(Some(INITIAL))];
    let stage = stage([&servers[0], &servers[1]]);
    stage.configure(&configuration(&stage, ""));
    stage.change(machine(None));
    fs::remove_file(stage.path("token")).unwrap();
    let checked = stage.keywheel(&["check"]);
    // A table breaks sentences into lines.
    let text = checked.out.split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(checked.status, 1, "{text}{}", checked.err);
    for words in ["no role is bound", "bind the role", "/token", "cannot be read", "2 findings"] {
        assert!(text.contains(words), "{words}: {text}");
    }

    // A key that works but carries a token is a warning, not a finding.
    let endpoint = stage.cloud().endpoint();
    let rest = format!(
        "[providers.env]\nkind = \"tencent\"\nregion = \"ap-guangzhou\"\nendpoint = \"{endpoint}\"\ncredentials = {{ source = \"environment\" }}\n\n{}",
        stage.target("machine", INSTANCE, "adopt = { file = \"{folder}/initial\" }").replace("\"shop\"", "\"env\"")
    );
    stage.configure(&rest);
    let run = |variables: &[(&str, &str)]| {
        let output = stage.command(&["check"]).envs(variables.iter().copied()).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let pair = [("TENCENTCLOUD_SECRET_ID", SECRET_ID), ("TENCENTCLOUD_SECRET_KEY", SECRET_KEY)];
    let (status, err) = run(&pair);
    assert!(status == Some(0) && !err.contains("providers.env: "), "{err}");
    let (_, err) = run(&[pair[0], pair[1], ("TENCENTCLOUD_TOKEN", "ends-some-day")]);
    let err = err.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(err.contains("warning: providers.env: ") && err.contains("cannot renew it"), "{err}");
    assert!(!err.contains("ends-some-day"), "{err}");
}

/// Nothing was sent without a credential, so a missing one halts nobody: it is waited for, and a person is told.
#[test]
fn a_credential_that_is_missing_is_waited_for() {
    let stage = Stage::set();
    let endpoint = stage.cloud().endpoint();
    let provider = format!(
        "[providers.file]\nkind = \"tencent\"\nregion = \"ap-guangzhou\"\nendpoint = \"{endpoint}\"\n\
         credentials = {{ source = \"profile\", path = \"{{folder}}/profile\" }}\n\n"
    );
    let target = stage.target("machine", INSTANCE, "adopt = { file = \"{folder}/initial\" }").replace("shop", "file");
    stage.configure(&(provider + &target));
    let profile = format!("[default]\nsecret_id={SECRET_ID}\nsecret_key={SECRET_KEY}\n");

    stage.write("profile", &profile);
    let daemon = stage.start(&[]);
    stage.until("machine", "settled", 1);
    daemon.stop();

    fs::remove_file(stage.path("profile")).unwrap();
    let daemon = stage.start(&[]);
    let asked = stage.keywheel(&["rotate", "machine"]);
    assert_eq!(asked.status, 0, "{}{}", asked.out, asked.err);
    until("a person to be told", || daemon.log().contains("keywheel waits, and a person should know"));
    let status = stage.status_of("machine");
    assert_eq!((status["state"].as_str(), stage.status().1), (Some("rotating"), 1), "{status}");
    // Between two looks it says that it looks.
    until("the status to say so", || {
        let why = stage.status_of("machine")["why"].to_string();
        why.contains("/profile") && why.contains("keywheel goes on by itself")
    });
    stage.write("profile", &profile);
    stage.until("machine", "settled", 2);
    daemon.stop();
}

/// A token for the service may stand in the URL, so nothing shows it. What goes in plain text goes past any proxy.
#[test]
fn a_credentials_uri_is_asked_and_never_shown() {
    let server = RedisServer::start(Some(INITIAL));
    let stage = Stage::set_with(vec![server_of(InstanceSettings::alibaba(TAIR, INITIAL), &server)]);
    let endpoint = stage.cloud().endpoint();
    let provider = format!(
        "[providers.broker]\nkind = \"alibaba\"\nregion = \"cn-hangzhou\"\nendpoint = \"{endpoint}\"\n\
         credentials = {{ source = \"credentials-uri\" }}\n\n"
    );
    let target = stage.target("tair", TAIR, "adopt = { file = \"{folder}/initial\" }").replace("shop", "broker");
    stage.configure(&(provider + &target));

    let url = format!("{}/latest/credentials-uri?token=hunter2", endpoint.trim_end_matches('/'));
    let nobody = "http://127.0.0.1:9";
    let variables = [("ALIBABA_CLOUD_CREDENTIALS_URI", url.as_str()), ("HTTP_PROXY", nobody), ("http_proxy", nobody)];
    let daemon = stage.start(&[&variables[..], &[("KEYWHEEL_LOG", "trace")]].concat());
    stage.until("tair", "settled", 1);
    let asked = stage.keywheel(&["rotate", "tair"]);
    assert_eq!(asked.status, 0, "{}{}", asked.out, asked.err);
    stage.until("tair", "settled", 2);
    let log = daemon.log();
    daemon.stop();
    assert!(server.accepts(&stage.live(TAIR)) && !server.accepts(INITIAL));
    assert_eq!(stage.cloud().calls()["CredentialsUri"].accepted.len(), 1);
    assert!(!log.contains("hunter2"), "the log shows the URL's query");

    // The table breaks sentences into lines, so one word stands for each.
    for (url, word) in [("http://10.0.0.1/?token=hunter2", "169.254.0.0/16"), (&url.replace("-uri", "-urn"), "404")] {
        let checked = stage.command(&["check"]).env("ALIBABA_CLOUD_CREDENTIALS_URI", url).output().unwrap();
        let said = String::from_utf8([checked.stdout, checked.stderr].concat()).unwrap();
        assert!(checked.status.code() == Some(1) && said.contains(word), "{said}");
        assert!(!said.contains("hunter2"), "{said}");
    }
}
