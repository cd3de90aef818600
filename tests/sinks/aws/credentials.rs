//! Each source of a credential, with moto to say whether what it gave is one.

use super::super::conformance::{heard, listen};
use super::super::stand_in::{Answer, Asked, Service, StandIn};
use super::super::traces::Traces;
use super::server::Server;
use super::*;
use keywheel::fault::Kind;
use std::process::{Command, Stdio};
use std::sync::Mutex;

/// Tells a copy of this program what to try.
const CHILD: &str = "KEYWHEEL_TEST_AWS_CHILD";

/// What a container's service wants to see.
const POD: &str = "pod-identity-token";

const ROLE: &str = "arn:aws:iam::123456789012:role/rotator";

fn secret(server: &'static Server, source: Source) -> (SecretsManager, String) {
    let account = Account::<Secret>::at(Some(server), Secret::SHOWS);
    let settings = Secret::settings(reach(server, &server.url(), Some(source)), &account.place);
    (SecretsManager::new(settings).unwrap(), account.place)
}

/// The vendor's code shows requests and answers at trace; here nothing that it sends or gets may be seen.
fn none_is_logged(secrets: &[&str]) {
    let secrets: Vec<String> = secrets.iter().map(|secret| (*secret).to_owned()).collect();
    assert_eq!(Traces::of(&secrets).found(&heard()), None, "a log line holds a secret");
}

fn changing(text: &str) -> (Credential, Arc<Mutex<String>>) {
    let text = Arc::new(Mutex::new(text.to_owned()));
    let kept = text.clone();
    (Credential(Arc::new(move || Ok(Text::new(kept.lock().unwrap().clone())))), text)
}

#[test]
fn a_key_that_is_refused_is_read_again() {
    let Some(server) = own_server() else { return };
    let (key, text) = changing("wrong-hunter2");
    let (sink, place) = secret(server, Source::Static { id: says(&server.id), key, token: None });
    let profile = tempfile::NamedTempFile::new().unwrap();
    let keys = |key: &str| format!("[orders]\naws_access_key_id = {}\naws_secret_access_key = {key}\n", server.id);
    std::fs::write(profile.path(), keys("wrong-hunter2")).unwrap();
    let source = Source::Profile { path: Some(profile.path().to_owned()), name: Some("orders".to_owned()) };
    let (by_profile, _) = secret(server, source);
    run(async {
        for sink in [&sink, &by_profile] {
            let fault = sink.deliver(&document(1)).await.unwrap_err();
            assert!(fault.kind == Kind::SinkDenied && fault.next_step.contains("credentials"), "{fault}");
            assert!(!fault.to_string().contains("hunter2"), "{fault}");
        }
        *text.lock().unwrap() = server.key.clone();
        std::fs::write(profile.path(), keys(&server.key)).unwrap();
        sink.deliver(&document(1)).await.unwrap();
        by_profile.deliver(&document(1)).await.unwrap();
        assert_eq!(generation::<Secret>(server, &place), 1);
        // One that was good and is so no more, in the middle of a daemon's life.
        let old = server.boto3("iam", "create_access_key", json!({ "UserName": "keywheel" })).unwrap();
        let part = |name: &str| old["AccessKey"][name].as_str().unwrap().to_owned();
        let file = |id: &str, key: &str| format!("[orders]\naws_access_key_id = {id}\naws_secret_access_key = {key}\n");
        std::fs::write(profile.path(), file(&part("AccessKeyId"), &part("SecretAccessKey"))).unwrap();
        let source = Source::Profile { path: Some(profile.path().to_owned()), name: Some("orders".to_owned()) };
        let (sink, _) = secret(server, source);
        sink.deliver(&document(1)).await.unwrap();
        let gone = json!({ "UserName": "keywheel", "AccessKeyId": part("AccessKeyId") });
        server.boto3("iam", "delete_access_key", gone).unwrap();
        std::fs::write(profile.path(), keys(&server.key)).unwrap();
        sink.deliver(&document(2)).await.unwrap();
    });
}

/// Roles Anywhere and others give their credentials by a program.
#[test]
fn a_profiles_program_gives_the_credential() {
    let Some(server) = own_server() else { return };
    listen();
    let folder = tempfile::tempdir().unwrap();
    let (script, profile) = (folder.path().join("gives it"), folder.path().join("profiles"));
    let answer = json!({ "Version": 1, "AccessKeyId": server.id, "SecretAccessKey": server.key });
    std::fs::write(&script, format!("echo '{answer}'")).unwrap();
    let role = "[by-role]\nrole_arn = arn:aws:iam::123456789012:role/rotator\nsource_profile = orders\n";
    let program = format!("[orders]\ncredential_process = /bin/sh \"{}\"\n", script.display());
    std::fs::write(&profile, format!("{program}{role}")).unwrap();
    let of = |name: &str| Source::Profile { path: Some(profile.clone()), name: Some(name.to_owned()) };
    let ((sink, place), (by_role, _)) = (secret(server, of("orders")), secret(server, of("by-role")));
    run(async {
        sink.deliver(&document(1)).await.unwrap();
        assert_eq!(generation::<Secret>(server, &place), 1);
        let fault = by_role.deliver(&document(1)).await.unwrap_err();
        assert!(fault.kind == Kind::SinkUnavailable && fault.what.contains("a role's source_profile"), "{fault}");
    });
    none_is_logged(&[&server.key]);
}

/// A role that anybody may take on, and that may do everything to secrets.
fn make_role(server: &Server) {
    let anybody = json!({ "Version": "2012-10-17", "Statement": [{ "Effect": "Allow", "Action": "sts:*", "Principal": { "AWS": "*" } }] });
    let with = json!({ "RoleName": "rotator", "AssumeRolePolicyDocument": anybody.to_string() });
    server.boto3("iam", "create_role", with).unwrap();
    let may = json!({ "Version": "2012-10-17", "Statement": [{ "Effect": "Allow", "Action": "secretsmanager:*", "Resource": "*" }] });
    let with = json!({ "RoleName": "rotator", "PolicyName": "may", "PolicyDocument": may.to_string() });
    server.boto3("iam", "put_role_policy", with).unwrap();
}

#[test]
fn a_pods_identity_takes_on_a_role() {
    let Some(server) = own_server() else { return };
    listen();
    make_role(server);
    let token = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(token.path(), "the-pods-own-hunter2").unwrap();
    let role =
        |file: &std::path::Path| Source::WebIdentity { role: Some((ROLE.to_owned(), file.to_owned())), session: None };
    let sink = |file: &std::path::Path| {
        let account = Account::<Secret>::at(Some(server), Secret::SHOWS);
        let sts_endpoint = Some(server.url().parse().unwrap());
        let reach = Reach { sts_endpoint, ..reach(server, &server.url(), Some(role(file))) };
        SecretsManager::new(Secret::settings(reach, &account.place)).unwrap()
    };
    run(async {
        let of_pod = sink(token.path());
        of_pod.ready(&document(1).target).await.unwrap();
        of_pod.deliver(&document(1)).await.unwrap();
        let fault = sink(std::path::Path::new("/nowhere/token")).deliver(&document(1)).await.unwrap_err();
        assert_eq!(fault.kind, Kind::SinkUnavailable, "a source that gives none is asked again: {fault}");
        assert!(fault.what.contains("pod's identity") && fault.next_step.contains("role-arn"), "{fault}");
    });
    none_is_logged(&["the-pods-own-hunter2", &server.key]);
}

/// The service of a machine and that of a container, which both give the role's credential.
struct Host {
    role: Value,
    expires: Mutex<String>,
    broken: Mutex<bool>,
    asked: AtomicU32,
}

impl Service for Host {
    fn answer(&self, asked: &Asked) -> Answer {
        let credential = json!({
            "Code": "Success", "Type": "AWS-HMAC", "LastUpdated": "2026-01-01T00:00:00Z", "AccessKeyId": self.role["AccessKeyId"],
            "SecretAccessKey": self.role["SecretAccessKey"], "Token": self.role["SessionToken"], "Expiration": *self.expires.lock().unwrap(),
        });
        let text = |text: &str| Answer { status: 200, headers: Vec::new(), body: text.as_bytes().to_vec() };
        if *self.broken.lock().unwrap() {
            return Answer::empty(503);
        }
        let known = asked.header("x-aws-ec2-metadata-token") == Some("machine-hunter2");
        match (asked.method.as_str(), asked.path.as_str()) {
            ("PUT", "/latest/api/token") => Answer {
                headers: vec![("x-aws-ec2-metadata-token-ttl-seconds", "21600".to_owned())],
                ..text("machine-hunter2")
            },
            ("GET", "/latest/meta-data/iam/security-credentials/") if known => text("rotator"),
            ("GET", "/latest/meta-data/iam/security-credentials/rotator") if known => {
                self.asked.fetch_add(1, Ordering::SeqCst);
                Answer::json(200, &credential)
            }
            ("GET", "/container?which=1") if asked.header("authorization") == Some(POD) => {
                Answer::json(200, &credential)
            }
            _ => Answer::empty(401),
        }
    }

    fn writes(&self, _asked: &Asked) -> bool {
        false
    }

    fn between(&self, _generation: u64) {}

    fn turn_away(&self, _trouble: Trouble, _asked: &Asked) -> Answer {
        Answer::empty(500)
    }
}

async fn host(server: &Server, expires: String) -> StandIn<Host> {
    make_role(server);
    let taken = server.boto3("sts", "assume_role", json!({ "RoleArn": ROLE, "RoleSessionName": "host" })).unwrap();
    let (role, expires, broken) = (taken["Credentials"].clone(), Mutex::new(expires), Mutex::default());
    StandIn::start(Host { role, expires, broken, asked: AtomicU32::new(0) }).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_machines_role_is_renewed_before_it_ends_and_used_while_it_lasts() {
    let Some(server) = own_server() else { return };
    listen();
    let at = |seconds: u64| (SystemClock.now() + Duration::from_secs(seconds)).to_string();
    let host = host(server, at(3600)).await;
    let metadata_endpoint = Some(host.url().parse().unwrap());
    let source = Some(Source::InstanceRole { role: None });
    let account = Account::<Secret>::at(Some(server), Secret::SHOWS);
    let reach = Reach { metadata_endpoint, ..reach(server, &server.url(), source) };
    let sink = SecretsManager::new(Secret::settings(reach.clone(), &account.place)).unwrap();
    let asked = || host.service.asked.load(Ordering::SeqCst);
    sink.deliver(&document(1)).await.unwrap();
    sink.deliver(&document(2)).await.unwrap();
    assert_eq!(asked(), 1, "one that is good for an hour is kept");
    *host.service.expires.lock().unwrap() = at(120);
    let sink = SecretsManager::new(Secret::settings(reach, &account.place)).unwrap();
    assert_eq!(sink.holds(&document(2)).await.unwrap(), keywheel::sink::Holds::Same);
    let before = asked();
    assert_eq!(sink.holds(&document(2)).await.unwrap(), keywheel::sink::Holds::Same);
    assert!(asked() > before, "one that ends soon is asked for again");
    *host.service.broken.lock().unwrap() = true;
    sink.deliver(&document(3)).await.unwrap();
    let other = Reach {
        metadata_endpoint: Some(host.url().parse().unwrap()),
        ..super::reach(server, &server.url(), Some(Source::InstanceRole { role: None }))
    };
    let fault = SecretsManager::new(Secret::settings(other, &account.place)).unwrap();
    let fault = fault.deliver(&document(3)).await.unwrap_err();
    assert!(fault.kind == Kind::SinkUnavailable && fault.what.contains("machine's role"), "{fault}");
    let part = |name: &str| host.service.role[name].as_str().unwrap();
    none_is_logged(&[part("SecretAccessKey"), part("SessionToken"), "machine-hunter2"]);
}

/// Sources that are variables need a process of their own: a copy of this program, which runs the test below alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_variables_name_is_found() {
    let Some(server) = own_server() else { return };
    let host = host(server, "2099-01-01T00:00:00Z".to_owned()).await;
    let keys = [("AWS_ACCESS_KEY_ID", server.id.clone()), ("AWS_SECRET_ACCESS_KEY", server.key.clone())];
    let container = [
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", format!("{}/container?which=1", host.url())),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN", POD.to_owned()),
    ];
    for (source, variables) in
        [("environment", &keys[..]), ("container", &container[..]), ("chain", &keys[..]), ("chain", &container[..])]
    {
        let account = Account::<Secret>::at(Some(server), Secret::SHOWS);
        let told = json!({ "url": server.url(), "place": account.place, "source": source });
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(["aws::credentials::a_copy_that_is_told_what_to_try", "--exact", "--nocapture"])
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", "/nowhere")
            .env(CHILD, told.to_string())
            .envs(variables.iter().map(|(name, value)| (*name, value)))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let done = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
        let said = String::from_utf8_lossy(&done.stderr).into_owned() + &String::from_utf8_lossy(&done.stdout);
        assert!(done.status.success() && said.contains("1 passed"), "{source}: {said}");
        assert_eq!(generation::<Secret>(server, &account.place), 1, "{source}: {said}");
    }
}

#[test]
fn a_copy_that_is_told_what_to_try() {
    let Ok(told) = std::env::var(CHILD) else { return };
    let told: Value = serde_json::from_str(&told).unwrap();
    let source = match told["source"].as_str().unwrap() {
        "environment" => Source::Environment,
        "container" => Source::Container,
        _ => Source::Chain,
    };
    let reach = Reach {
        region: REGION.to_owned(),
        endpoint: Some(told["url"].as_str().unwrap().parse().unwrap()),
        source,
        sts_endpoint: None,
        metadata_endpoint: None,
        timeout: Duration::from_secs(30),
        ca_file: None,
        now: Arc::new(|| SystemClock.now()),
    };
    let sink = SecretsManager::new(Secret::settings(reach, told["place"].as_str().unwrap())).unwrap();
    run(sink.deliver(&document(1))).unwrap();
}
