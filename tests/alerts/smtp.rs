//! Mails, against aiosmtpd: the server's own code on the other side, with a login and TLS.
//!
//! tests/run installs it and names its Python; without it these tests say that they were left out.

use super::channels::{message, secret};
use super::traces::Traces;
use keywheel::alert::Channel;
use keywheel::alert::smtp::{Privacy, Smtp, SmtpSettings};
use keywheel::fault::Kind;
use serde_json::Value;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

const USER: &str = "keywheel";
const PASSWORD: &str = "Mail-Pass+word/1";

struct Server {
    child: Child,
    lines: std::sync::mpsc::Receiver<String>,
    port: u16,
    folder: TempDir,
}

impl Server {
    fn start(way: &str) -> Option<Self> {
        let Some(python) = std::env::var("KEYWHEEL_SDK_PYTHON").ok().filter(|named| !named.is_empty()) else {
            let _ = writeln!(
                std::io::stderr(),
                "left out: KEYWHEEL_SDK_PYTHON is not set. tests/run installs it and sets it"
            );
            return None;
        };
        let folder = tempfile::tempdir().unwrap();
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("server.pem"), made.cert.pem()).unwrap();
        std::fs::write(path("server.key"), made.signing_key.serialize_pem()).unwrap();
        let mut child = Command::new(python)
            .arg("tests/sdk/mail.py")
            .args([path("server.pem"), path("server.key")])
            .args([way, USER, PASSWORD])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (sender, lines) = std::sync::mpsc::channel();
        let out = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || out.lines().map_while(Result::ok).all(|line| sender.send(line).is_ok()));
        let port = lines.recv().unwrap().parse().unwrap();
        Some(Self { child, lines, port, folder })
    }

    fn ca(&self) -> PathBuf {
        self.folder.path().join("server.pem")
    }

    fn settings(&self, privacy: Privacy, password: &str, ca: &Path) -> SmtpSettings {
        SmtpSettings {
            server: "localhost".to_owned(),
            port: self.port,
            privacy,
            login: (privacy != Privacy::InClear).then(|| (USER.to_owned(), secret(password))),
            from: "keywheel@example.com".to_owned(),
            to: vec!["oncall@example.com".to_owned(), "ops@example.com".to_owned()],
            timeout: Duration::from_secs(20),
            ca_file: (privacy != Privacy::InClear).then(|| ca.to_owned()),
            host: "web-1".to_owned(),
        }
    }

    fn taken(&self) -> Value {
        serde_json::from_str(&self.lines.recv_timeout(Duration::from_secs(60)).unwrap()).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself, and a drop cannot fail.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mail_arrives_over_each_kind_of_connection() {
    for (way, privacy) in [("starttls", Privacy::StartTls), ("implicit", Privacy::Implicit), ("none", Privacy::InClear)]
    {
        let Some(server) = Server::start(way) else { return };
        let channel = Smtp::new(server.settings(privacy, PASSWORD, &server.ca())).unwrap();
        channel.ready().await.unwrap_or_else(|fault| panic!("{way}: {fault}"));
        channel.tell(&message()).await.unwrap_or_else(|fault| panic!("{way}: {fault}"));
        let taken = server.taken();
        assert_eq!((&taken["from"], taken["to"].as_array().unwrap().len()), (&"keywheel@example.com".into(), 2));
        let private = privacy != Privacy::InClear;
        assert_eq!((taken["tls"].as_bool(), taken["login"].as_bool()), (Some(private), Some(private)), "{way}");
        let mail = taken["mail"].as_str().unwrap();
        for line in
            ["Subject: keywheel on web-1: orders is halted", "To: oncall@example.com, ops@example.com", "Date: "]
        {
            assert!(mail.contains(line), "{way}: {mail}");
        }
        assert!(mail.contains(&format!("Message-ID: <{}@example.com>", message().id)), "{way}: {mail}");
        assert_eq!(Traces::of(&[PASSWORD]).found(mail.as_bytes()), None);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_goes_wrong_is_told_without_the_password() {
    let Some(server) = Server::start("starttls") else { return };
    let other = Server::start("implicit").unwrap();
    let wrong = "Not-The-Pass+word/2";
    for (name, settings, advice) in [
        ("a wrong password", server.settings(Privacy::StartTls, wrong, &server.ca()), "user and password"),
        ("an unknown certificate", server.settings(Privacy::StartTls, PASSWORD, &other.ca()), "ca-file"),
        ("no STARTTLS there", other.settings(Privacy::StartTls, PASSWORD, &other.ca()), "port"),
        ("a mail in clear", server.settings(Privacy::InClear, PASSWORD, &server.ca()), "channel"),
    ] {
        let short = SmtpSettings { timeout: Duration::from_secs(5), ..settings };
        let channel = Smtp::new(short).unwrap();
        let fault = channel.tell(&message()).await.unwrap_err();
        assert_eq!(fault.kind, Kind::AlertFailed, "{name}: {fault}");
        assert!(fault.next_step.contains(advice), "{name}: {fault}");
        assert_eq!(Traces::of(&[PASSWORD, wrong]).found(format!("{fault:?}").as_bytes()), None, "{name}: {fault}");
    }
    let bad = server.folder.path().join("bad.pem");
    std::fs::write(&bad, "nothing").unwrap();
    let refused = Smtp::new(server.settings(Privacy::Implicit, PASSWORD, &bad)).err().unwrap();
    assert_eq!(refused.kind, Kind::ConfigInvalid);
}
