//! A real `etcd` (Debian package `etcd-server`) on loopback ports of its own, asked with `etcdctl` (`etcd-client`).

use super::decoded;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Mutex;

/// How often other ports are tried when somebody took the first ones between finding and using them.
const ATTEMPTS: usize = 5;

/// Runs etcd until its standard input is closed, which is when the test ends, however it ends.
const KEEPER: &str = r#"folder=$1; shift; "$@" 2>&1 & cat >/dev/null; kill -9 $!; wait; rm -rf "$folder""#;

/// The administrator's password.
const ROOT: &str = "root-of-the-test";

/// A running etcd, stopped on drop.
pub struct Server {
    keeper: Child,
    alive: Option<ChildStdin>,
    port: u16,
    /// The options for etcdctl of a server with TLS.
    tls: Vec<String>,
    users: Mutex<bool>,
}

pub fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

impl Server {
    /// Starts one with these further options, and returns when it takes requests.
    pub fn start(options: &[String]) -> Self {
        (0..ATTEMPTS)
            .find_map(|_| Self::attempt(options))
            .expect("etcd starts (install it: apt-get install --no-install-recommends etcd-server etcd-client)")
    }

    fn attempt(options: &[String]) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap().keep();
        let tls = options.iter().any(|option| option.starts_with("--cert-file"));
        let scheme = if tls { "https" } else { "http" };
        let (port, peer) = (free_port(), free_port());
        let client = format!("{scheme}://127.0.0.1:{port}");
        let mut keeper = Command::new("sh")
            .args(["-c", KEEPER, "sh"])
            .arg(&folder)
            .args(["etcd", "--logger=zap", "--log-outputs=stderr", "--bcrypt-cost=4", "--data-dir"])
            .arg(folder.join("data"))
            .args([format!("--listen-client-urls={client}"), format!("--advertise-client-urls={client}")])
            .arg(format!("--listen-peer-urls=http://127.0.0.1:{peer}"))
            .arg(format!("--initial-advertise-peer-urls=http://127.0.0.1:{peer}"))
            .arg(format!("--initial-cluster=default=http://127.0.0.1:{peer}"))
            .args(options)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let alive = keeper.stdin.take();
        let mut log = BufReader::new(keeper.stdout.take().unwrap()).lines();
        let ready = log.by_ref().map_while(Result::ok).any(|line| line.contains("serving client traffic"));
        let file = |option: &str| {
            let name = options.iter().find_map(|given| given.strip_prefix(option))?.to_owned();
            Some(PathBuf::from(name).parent()?.to_owned())
        };
        let tls = match file("--trusted-ca-file=") {
            Some(folder) => ["cacert=ca.pem", "cert=client.pem", "key=client.key"]
                .map(|pair| pair.split_once('=').unwrap())
                .map(|(name, path)| format!("--{name}={}", folder.join(path).display()))
                .into(),
            None => Vec::new(),
        };
        let server = Self { keeper, alive, port, tls, users: Mutex::new(false) };
        if !ready {
            return None;
        }
        // The log must be read on, or the server would block on a full pipe.
        std::thread::spawn(move || log.for_each(drop));
        Some(server)
    }

    pub fn authority(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub fn url(&self) -> String {
        let scheme = if self.tls.is_empty() { "http" } else { "https" };
        format!("{scheme}://{}", self.authority())
    }

    /// Its own client.
    pub fn ctl(&self, arguments: &[&str]) -> Vec<u8> {
        let mut command = Command::new("etcdctl");
        command.env("ETCDCTL_API", "3").args(["--endpoints", &self.url()]).args(&self.tls);
        if *self.users.lock().unwrap() {
            command.args(["--user", &format!("root:{ROOT}")]);
        }
        let done = command.args(arguments).stdin(Stdio::null()).output().expect("etcdctl is installed");
        assert!(done.status.success(), "etcdctl {arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
        done.stdout
    }

    fn json(&self, arguments: &[&str]) -> serde_json::Value {
        serde_json::from_slice(&self.ctl(&[arguments, &["-w", "json"]].concat())).unwrap()
    }

    /// What is under a key.
    pub fn get(&self, key: &str) -> Option<Vec<u8>> {
        let found = self.json(&["get", key]);
        Some(decoded(found["kvs"][0]["value"].as_str()?))
    }

    /// The number of the last write to anything.
    pub fn revision(&self) -> u64 {
        self.json(&["get", "nothing"])["header"]["revision"].as_u64().unwrap()
    }

    /// From now on it asks who writes. `keywheel` may use what is under /conformance/.
    pub fn enable_users(&self, password: &str) {
        self.ctl(&["user", "add", &format!("root:{ROOT}")]);
        self.ctl(&["user", "grant-role", "root", "root"]);
        self.ctl(&["user", "add", &format!("keywheel:{password}")]);
        self.ctl(&["role", "add", "writer"]);
        self.ctl(&["user", "grant-role", "keywheel", "writer"]);
        self.ctl(&["role", "grant-permission", "writer", "--prefix=true", "readwrite", "/conformance/"]);
        self.ctl(&["auth", "enable"]);
        *self.users.lock().unwrap() = true;
    }

    pub fn set_password(&self, password: &str) {
        let mut command = Command::new("etcdctl");
        command.env("ETCDCTL_API", "3").args(["--endpoints", &self.url(), "--user", &format!("root:{ROOT}")]);
        command.args(["user", "passwd", "keywheel", "--interactive=false"]).stdin(Stdio::piped());
        let mut child = command.stdout(Stdio::null()).spawn().unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), format!("{password}\n").as_bytes()).unwrap();
        assert!(child.wait().unwrap().success());
    }

    /// Whether `keywheel` may do more than read.
    pub fn permit(&self, wanted: bool) {
        let kind = if wanted { "readwrite" } else { "read" };
        self.ctl(&["role", "grant-permission", "writer", "--prefix=true", kind, "/conformance/"]);
    }

    /// The alarm that etcd raises by itself when it has no room, raised and taken back by its API.
    pub fn alarm(&self, wanted: bool) {
        if !wanted {
            self.ctl(&["alarm", "disarm"]);
            return;
        }
        let post = |path: &str, token: &str, body: String| -> serde_json::Value {
            let url = format!("{}{path}", self.url());
            let done = Command::new("curl")
                .args(["-sS", "-H", &format!("Authorization: {token}"), "-d", &body, &url])
                .output()
                .expect("curl is installed");
            serde_json::from_slice(&done.stdout).unwrap()
        };
        let token = post("/v3/auth/authenticate", "", format!(r#"{{"name": "root", "password": "{ROOT}"}}"#));
        let token = token["token"].as_str().unwrap();
        let member = self.json(&["get", "nothing"])["header"]["member_id"].as_u64().unwrap();
        let body = format!(r#"{{"action": "ACTIVATE", "memberID": "{member}", "alarm": "NOSPACE"}}"#);
        let raised = post("/v3/maintenance/alarm", token, body);
        assert!(raised["alarms"].is_array(), "{raised}");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.alive.take());
        // It may have ended, and a drop cannot fail.
        let _ = self.keeper.wait();
    }
}

/// An authority, a server certificate and a client certificate.
pub struct Pki {
    folder: PathBuf,
}

impl Pki {
    pub fn in_folder(folder: &Path) -> Self {
        let write = |name: &str, text: String| std::fs::write(folder.join(name), text).unwrap();
        let key = || rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let issuer_key = key();
        write("ca.pem", params.self_signed(&issuer_key).unwrap().pem());
        let issuer = rcgen::Issuer::new(params, issuer_key);
        for (name, names) in [("server", vec!["127.0.0.1".to_owned()]), ("client", Vec::new())] {
            let mut params = rcgen::CertificateParams::new(names).unwrap();
            params.extended_key_usages =
                vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth, rcgen::ExtendedKeyUsagePurpose::ClientAuth];
            let key = key();
            write(&format!("{name}.pem"), params.signed_by(&key, &issuer).unwrap().pem());
            write(&format!("{name}.key"), key.serialize_pem());
            let path = folder.join(format!("{name}.key"));
            std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        }
        Self { folder: folder.to_owned() }
    }

    pub fn ca(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }

    pub fn client(&self) -> PathBuf {
        self.folder.join("client.pem")
    }

    pub fn client_key(&self) -> PathBuf {
        self.folder.join("client.key")
    }

    /// How etcd is told.
    pub fn options(&self) -> Vec<String> {
        let option = |name: &str, file: &str| format!("--{name}={}", self.folder.join(file).display());
        vec![
            option("cert-file", "server.pem"),
            option("key-file", "server.key"),
            option("trusted-ca-file", "ca.pem"),
            "--client-cert-auth=true".to_owned(),
        ]
    }
}
