//! The login probe against a real redis-server, and against servers that misbehave.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop there")]

use keywheel::fault::Kind;
use keywheel::probe::Probe;
use keywheel::probe::redis::{
    LoginForm, LoginSettings, RedisProbe, alibaba_forms, bare_password, login_password, tencent_forms,
};
use keywheel::rotation::answer::Login;
use keywheel::secret::Secret;
use rustix::net::{AddressFamily, SocketType, bind, getsockname, socket};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Every printable ASCII character that is not a letter or digit, and some that are not ASCII.
const SPECIAL: &str = "pA5 !\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~é漢";

/// A redis-server of its own, configured through its standard input; gone when dropped.
struct Server {
    child: Child,
    port: u16,
    _folder: tempfile::TempDir,
}

impl Server {
    /// Starts it with these lines of configuration; `PORT` in them is the port.
    fn start(lines: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let lines = if lines.contains("PORT") { lines.to_owned() } else { format!("port PORT\n{lines}") };
        let settings = format!(
            "bind 127.0.0.1\nsave \"\"\nappendonly no\ndir {}\n{}\n",
            folder.path().display(),
            lines.replace("PORT", &port.to_string())
        );
        let mut child = Command::new("redis-server")
            .arg("-")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("redis-server is installed");
        child.stdin.take().unwrap().write_all(settings.as_bytes()).unwrap();
        let mut said = BufReader::new(child.stdout.take().unwrap());
        let mut log = String::new();
        while !log.contains("Ready to accept connections") {
            let length = said.read_line(&mut log).unwrap();
            assert!(length > 0, "redis-server ended: {log}");
        }
        std::thread::spawn(move || std::io::copy(&mut said, &mut std::io::sink()));
        Self { child, port, _folder: folder }
    }

    fn with_password(password: &str) -> Self {
        Self::start(&format!("requirepass {}", quoted(password)))
    }

    /// One command on a connection of its own; the first line of the answer.
    fn administer(&self, words: &[&str]) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        let words: Vec<Vec<u8>> = words.iter().map(|word| word.as_bytes().to_vec()).collect();
        stream.write_all(&redis::pack_command(&words)).unwrap();
        let mut answer = String::new();
        BufReader::new(stream).read_line(&mut answer).unwrap();
        answer
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _killed = self.child.kill();
        let _status = self.child.wait();
    }
}

/// A word of redis.conf.
fn quoted(word: &str) -> String {
    let bytes: String = word.bytes().map(|byte| format!("\\x{byte:02x}")).collect();
    format!("\"{bytes}\"")
}

fn probe(address: &str, forms: Vec<LoginForm>, more: serde_json::Value) -> RedisProbe {
    let mut settings = serde_json::json!({ "address": address, "timeout": "20s" });
    settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    RedisProbe::new(serde_json::from_value(settings).unwrap(), forms).unwrap()
}

fn plain(port: u16, forms: Vec<LoginForm>) -> RedisProbe {
    probe(&format!("redis://127.0.0.1:{port}"), forms, serde_json::json!({}))
}

fn secret(text: &str) -> Secret {
    Secret::new(text.to_owned())
}

fn why(login: Login) -> String {
    match &login {
        Login::Unreachable { fault } => {
            assert_eq!(fault.kind, Kind::LoginUnreachable);
            fault.to_string()
        }
        Login::Accepted | Login::Refused | Login::Mixed | Login::PasswordFree => panic!("{login:?}"),
    }
}

/// What a misbehaving server answers to each command of one connection.
type Script = Vec<&'static [u8]>;

/// A listener that gives each connection, in order, to one of the scripts, and then waits for the other side to hang up.
fn scripted(scripts: Vec<Script>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let mut open = Vec::new();
        for script in scripts {
            let (mut stream, _) = listener.accept().unwrap();
            open.push(std::thread::spawn(move || {
                let mut heard = [0; 1024];
                for answer in script {
                    if stream.read(&mut heard).unwrap_or(0) == 0 || stream.write_all(answer).is_err() {
                        return;
                    }
                }
                let _end = stream.read(&mut heard);
            }));
        }
        for thread in open {
            let _ended = thread.join();
        }
    });
    port
}

const NOAUTH: &[u8] = b"-NOAUTH Authentication required.\r\n";
const WRONGPASS: &[u8] = b"-WRONGPASS invalid username-password pair or user is disabled.\r\n";
const OK: &[u8] = b"+OK\r\n";
const PONG: &[u8] = b"+PONG\r\n";
const LOADING: &[u8] = b"-LOADING Redis is loading the dataset in memory\r\n";

#[tokio::test]
async fn passwords_with_every_special_character_are_proven_and_refused() {
    let server = Server::with_password(SPECIAL);
    let probe = plain(server.port, vec![LoginForm::Password]);
    assert_eq!(probe.login(&secret(SPECIAL)).await, Login::Accepted);
    for wrong in ["wrong", "", &SPECIAL[1..], "pA5", &format!("{SPECIAL} ")] {
        assert_eq!(probe.login(&secret(wrong)).await, Login::Refused, "{wrong}");
    }
    assert_eq!(probe.route(), format!("redis://127.0.0.1:{}", server.port));
}

#[tokio::test]
async fn each_login_form_is_what_the_documents_say() {
    let rows = [
        (LoginForm::Password, "p:@w", None),
        (LoginForm::InstanceColonPassword("crs-5a4py64p".to_owned()), "crs-5a4py64p:p:@w", None),
        (LoginForm::AccountAtPassword("app".to_owned()), "app@p:@w", None),
        (LoginForm::AccountColonPassword("app".to_owned()), "app:p:@w", None),
        (LoginForm::UserAndPassword("app".to_owned()), "p:@w", Some("app")),
    ];
    for (form, sent, user) in rows {
        assert_eq!(login_password(&form, &secret("p:@w")).expose(), sent);
        let in_front = sent != "p:@w";
        let bare = bare_password(&form, &secret(sent)).map(|bare| bare.expose().to_owned());
        assert_eq!(bare.as_deref(), in_front.then_some("p:@w"), "the inverse");
        assert!(bare_password(&form, &secret("p:@w")).is_none(), "nothing stands in front");
        let server = match user {
            None => Server::with_password(sent),
            Some(user) => Server::start(&format!("requirepass admin\nuser {user} on +@all ~* >p:@w")),
        };
        let probe = plain(server.port, vec![form.clone()]);
        assert_eq!(probe.login(&secret("p:@w")).await, Login::Accepted, "{form:?}");
        assert_eq!(probe.login(&secret("p:@")).await, Login::Refused, "{form:?}");
    }
}

#[tokio::test]
async fn auto_finds_the_form_that_works_and_remembers_it() {
    let forms = tencent_forms("crs-1", "root", true);
    for (live, form) in [("pw", &forms[0]), ("crs-1:pw", &forms[1])] {
        let server = Server::with_password(live);
        let probe = plain(server.port, forms.clone());
        assert_eq!(probe.form(), &LoginForm::Password);
        assert_eq!(probe.login(&secret("nope")).await, Login::Refused);
        assert_eq!(probe.login(&secret("pw")).await, Login::Accepted);
        assert_eq!(probe.form(), form);
        assert_eq!(probe.login(&secret("pw")).await, Login::Accepted);
    }
    assert_eq!(tencent_forms("crs-1", "app", false), [LoginForm::AccountAtPassword("app".to_owned())]);
    assert_eq!(alibaba_forms("r-1", true), [LoginForm::Password]);
    assert_eq!(alibaba_forms("app", false), [LoginForm::AccountColonPassword("app".to_owned())]);
}

#[tokio::test]
async fn a_password_that_becomes_live_between_two_forms_does_not_change_the_form() {
    let forms = tencent_forms("crs-1", "root", true);
    let (refused, let_in): (Script, Script) = (vec![NOAUTH, WRONGPASS], vec![NOAUTH, OK, PONG]);
    for (third, form) in [(&let_in, &forms[0]), (&refused, &forms[1])] {
        let port = scripted(vec![refused.clone(), let_in.clone(), third.clone()]);
        let probe = plain(port, forms.clone());
        assert_eq!(probe.login(&secret("pw")).await, Login::Accepted);
        assert_eq!(probe.form(), form);
    }
}

#[tokio::test]
async fn a_changed_password_is_seen_at_once() {
    let server = Server::start("");
    let probe = plain(server.port, vec![LoginForm::Password]);
    assert_eq!(probe.login(&secret("any")).await, Login::PasswordFree);
    assert_eq!(server.administer(&["CONFIG", "SET", "requirepass", "one"]), "+OK\r\n");
    assert_eq!(probe.login(&secret("one")).await, Login::Accepted);
    assert_eq!(probe.login(&secret("two")).await, Login::Refused);
}

#[tokio::test]
async fn a_free_instance_proves_nothing() {
    let server = Server::start("user app on +ping ~* >pw");
    assert_eq!(plain(server.port, vec![LoginForm::Password]).login(&secret("pw")).await, Login::PasswordFree);
    // The named user's password is compared all the same.
    let named = plain(server.port, vec![LoginForm::UserAndPassword("app".to_owned())]);
    assert_eq!(named.login(&secret("pw")).await, Login::Accepted);
    assert_eq!(named.login(&secret("no")).await, Login::Refused);
}

#[tokio::test]
async fn a_user_who_may_not_even_ping_is_logged_in() {
    let server = Server::start("requirepass admin\nuser app on -@all >pw");
    let probe = plain(server.port, vec![LoginForm::UserAndPassword("app".to_owned())]);
    assert_eq!(probe.login(&secret("pw")).await, Login::Accepted);
}

#[tokio::test]
async fn a_server_without_room_says_nothing_about_the_password() {
    let server = Server::start("requirepass pw\nmaxclients 1");
    let held = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
    // The answer to a command shows that this connection is the one the server has room for.
    let mut line = String::new();
    (&held).write_all(b"PING\r\n").unwrap();
    BufReader::new(&held).read_line(&mut line).unwrap();
    let probe = plain(server.port, vec![LoginForm::Password]);
    why(probe.login(&secret("pw")).await);
    drop(held);
}

/// A certificate authority and a server certificate for `redis.test`, as PEM files.
fn certificates(folder: &Path) {
    let authority_key = rcgen::KeyPair::generate().unwrap();
    let mut authority = rcgen::CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority_pem = authority.self_signed(&authority_key).unwrap().pem();
    let issuer = rcgen::Issuer::new(authority, authority_key);
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate =
        rcgen::CertificateParams::new(vec!["redis.test".to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
    std::fs::write(folder.join("ca.pem"), authority_pem).unwrap();
    std::fs::write(folder.join("cert.pem"), certificate.pem()).unwrap();
    std::fs::write(folder.join("key.pem"), key.serialize_pem()).unwrap();
}

#[tokio::test]
async fn tls_is_verified_against_the_given_authority_and_name() {
    let folder = tempfile::tempdir().unwrap();
    certificates(folder.path());
    let shown = folder.path().display();
    let server = Server::start(&format!(
        "port 0\ntls-port PORT\ntls-auth-clients no\ntls-cert-file {shown}/cert.pem\ntls-key-file {shown}/key.pem\n\
         tls-ca-cert-file {shown}/ca.pem\nrequirepass {}",
        quoted(SPECIAL)
    ));
    let address = format!("rediss://127.0.0.1:{}", server.port);
    let ca = folder.path().join("ca.pem");
    let with = |more| probe(&address, vec![LoginForm::Password], more);

    let trusted = with(serde_json::json!({ "ca": ca, "tls-name": "redis.test", "connections": 3 }));
    assert_eq!(trusted.login(&secret(SPECIAL)).await, Login::Accepted);
    assert_eq!(trusted.login(&secret("wrong")).await, Login::Refused);

    let other_name = with(serde_json::json!({ "ca": ca }));
    assert!(why(other_name.login(&secret(SPECIAL)).await).contains("tls-name"));

    let elsewhere = tempfile::tempdir().unwrap();
    certificates(elsewhere.path());
    let stranger = with(serde_json::json!({ "ca": elsewhere.path().join("ca.pem"), "tls-name": "redis.test" }));
    assert!(why(stranger.login(&secret(SPECIAL)).await).contains("TLS handshake"));

    // Each protocol on the other's port: an error within the time limit, never a verdict.
    let without_tls = plain(server.port, vec![LoginForm::Password]);
    why(without_tls.login(&secret(SPECIAL)).await);
    let no_tls_there = Server::with_password("pw");
    let address = format!("rediss://127.0.0.1:{}", no_tls_there.port);
    let settings = serde_json::json!({ "ca": ca, "tls-name": "redis.test", "timeout": "1s" });
    let probe = probe(&address, vec![LoginForm::Password], settings);
    assert!(why(probe.login(&secret("pw")).await).contains("TLS"));
}

#[tokio::test]
async fn answers_that_are_no_evidence_are_none() {
    let rows: [(Script, &str); 11] = [
        (vec![LOADING], "LOADING"),
        (vec![b"-ERR max number of clients reached\r\n"], "max number"),
        (vec![NOAUTH, b"-MASTERDOWN Link with MASTER is down\r\n"], "MASTERDOWN"),
        (vec![NOAUTH, b"-ERR unknown trouble with hunter2\r\n"], "[secret]"),
        (vec![NOAUTH, b"+QUEUED\r\n"], "QUEUED"),
        (vec![NOAUTH, OK, LOADING], "LOADING"),
        (vec![NOAUTH, OK, b"+PANG\r\n"], "PANG"),
        (vec![b"HTTP/1.1 400 Bad Request\r\n"], "not a reply"),
        (vec![NOAUTH, b"$3\r\nabc\r\n"], "not a reply"),
        (vec![NOAUTH, b"-\xff\xfe\r\n"], "not a reply"),
        (vec![NOAUTH, &[b'-'; 5000]], "more than 1024 bytes"),
    ];
    for (script, said) in rows {
        let port = scripted(vec![script.clone()]);
        let fault = why(plain(port, vec![LoginForm::Password]).login(&secret("hunter2")).await);
        assert!(fault.contains(said), "{said}: {fault}");
        assert!(!fault.contains("hunter2"), "{fault}");
    }
}

#[tokio::test]
async fn a_silent_server_costs_the_time_limit_and_no_more() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let address = format!("redis://127.0.0.1:{port}");
    let settings = serde_json::json!({ "timeout": "100ms" });
    let probe = probe(&address, vec![LoginForm::Password], settings);
    let fault = why(probe.login(&secret("pw")).await);
    assert!(fault.contains("no end within 100ms"), "{fault}");
    // A port that is taken and where nobody listens: one that is given back may be another test's at once.
    let taken = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    bind(&taken, &SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let silent = SocketAddr::try_from(getsockname(&taken).unwrap()).unwrap();
    let probe = self::probe(&format!("redis://{silent}"), vec![LoginForm::Password], serde_json::json!({}));
    let fault = why(probe.login(&secret("pw")).await);
    assert!(fault.contains("Connecting"), "{fault}");
}

#[tokio::test]
async fn several_connections_must_agree() {
    let welcome: Script = vec![NOAUTH, OK, PONG];
    let refusal: Script = vec![NOAUTH, WRONGPASS];
    let trouble: Script = vec![LOADING];
    let free: Script = vec![PONG];
    let login = async |scripts: [&Script; 3]| {
        let port = scripted(scripts.map(Script::clone).to_vec());
        let address = format!("redis://127.0.0.1:{port}");
        let settings = serde_json::json!({ "connections": 3 });
        probe(&address, vec![LoginForm::Password], settings).login(&secret("pw")).await
    };
    assert_eq!(login([&welcome, &welcome, &welcome]).await, Login::Accepted);
    assert_eq!(login([&refusal, &refusal, &refusal]).await, Login::Refused);
    assert_eq!(login([&refusal, &welcome, &refusal]).await, Login::Mixed);
    assert_eq!(login([&welcome, &trouble, &refusal]).await, Login::Mixed);
    assert_eq!(login([&welcome, &free, &refusal]).await, Login::PasswordFree);
    assert!(why(login([&welcome, &welcome, &trouble]).await).contains("2 of 3 connections were let in"));
    assert!(why(login([&refusal, &trouble, &refusal]).await).contains("2 of 3 connections were turned away"));
}

#[test]
fn settings_are_an_address_or_a_table_and_checked_whole() {
    let read = |value: serde_json::Value| serde_json::from_value::<LoginSettings>(value);
    assert_eq!(
        read(serde_json::json!("redis://h:1")).unwrap(),
        read(serde_json::json!({ "address": "redis://h:1" })).unwrap()
    );
    let unknown = read(serde_json::json!({ "address": "redis://h", "conections": 2 })).unwrap_err();
    assert!(unknown.to_string().contains("conections"), "{unknown}");
    assert!(read(serde_json::json!(5)).is_err());
    assert!(read(serde_json::json!({ "address": "redis://h", "timeout": "soon" })).is_err());

    let findings = |value| RedisProbe::new(read(value).unwrap(), vec![LoginForm::Password]).unwrap_err();
    for (address, said) in [
        ("not an address", "cannot be read"),
        ("http://h", "another scheme"),
        ("redis://:hunter2@h", "user or password"),
        ("redis://h/1", "more than host and port"),
        ("redis://", "no host"),
    ] {
        let found = findings(serde_json::json!(address));
        assert!(found[0].what.contains(said), "{address}: {found:?}");
        assert!(!found[0].to_string().contains("hunter2"));
    }
    let all = findings(serde_json::json!({ "address": "redis://h", "ca": "/ca", "connections": 0, "timeout": "0s" }));
    assert_eq!(all.len(), 3, "{all:?}");
    let missing = findings(serde_json::json!({ "address": "rediss://h", "ca": "/no/such/file" }));
    assert!(missing[0].what.contains("/no/such/file"), "{missing:?}");
    let six =
        RedisProbe::new(read(serde_json::json!("redis://[fd00::1]")).unwrap(), vec![LoginForm::Password]).unwrap();
    assert_eq!((six.route(), six.host(), six.port()), ("redis://[fd00::1]:6379", "fd00::1", 6379));
}
