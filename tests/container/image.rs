//! The image itself, built by the documented command and run as a cluster would run it: its own root, read-only, as a user that is not root, with nothing
//! but what the image holds. Building it takes long, so this is for the long run (`KEYWHEEL_LONG=1`).
//!
//! What runs a container here is the kernel and not an engine: a mount of the image's tree, `unshare`, `chroot`. `KEYWHEEL_IMAGE_BINARY` names a static
//! binary that is there already.

use crate::common::stage::until;
use keywheel::secret::Secret;
use keywheel::simulator::{Credential, InstanceSettings, Settings, Simulator, TaskSettings};
use rcgen::{CertificateParams, Issuer, KeyPair};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

/// Who keywheel is in the image.
const USER: u32 = 65532;
/// The most that the image may take, in bytes.
const LIMIT: u64 = 25_000_000;
const INSTANCE: &str = "crs-image001";
const INITIAL: &str = "By-Hand+2019/x&Y";
const SECRET_ID: &str = "AKIDimageimageimageimageimageimageimage0";
const SECRET_KEY: &str = "image+Secret/Key0123456789abcdef";
/// Names that only this test's name server knows.
const CLOUD: &str = "redis.cloud.example";
const LOGIN: &str = "orders.instances.example";
/// Where the name server listens: on loopback, but for nobody else who looks there.
const NAMES: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::new(127, 0, 9, 53)), 53);

/// The image in buildah's store, and its tree in a folder.
struct Image {
    container: String,
    tag: String,
    tree: PathBuf,
}

fn buildah(arguments: &[&str]) -> String {
    let told = Command::new("buildah").args(arguments).output().expect("buildah is installed");
    assert!(told.status.success(), "buildah {arguments:?}: {}", String::from_utf8_lossy(&told.stderr));
    String::from_utf8(told.stdout).unwrap().trim().to_owned()
}

impl Image {
    fn build() -> Self {
        let tag = format!("localhost/keywheel-test:{}", std::process::id());
        let mut build = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("container/build"));
        build.args(["--tag", &tag]);
        if let Some(binary) = std::env::var_os("KEYWHEEL_IMAGE_BINARY") {
            build.arg("--binary").arg(binary);
        }
        // Whoever runs the tests set some for the tests.
        let built = build.env_remove("RUSTFLAGS").env_remove("CARGO_TARGET_DIR").status().unwrap();
        assert!(built.success(), "container/build");
        let container = buildah(&["from", &tag]);
        let tree = PathBuf::from(buildah(&["mount", &container]));
        Self { container, tag, tree }
    }

    fn files(&self) -> Vec<(PathBuf, fs::Metadata)> {
        let mut found = Vec::new();
        let mut folders = vec![self.tree.clone()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let (path, kind) = (entry.as_ref().unwrap().path(), entry.unwrap().metadata().unwrap());
                if kind.is_dir() { folders.push(path) } else { found.push((path, kind)) }
            }
        }
        found
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        // Whatever is left of it is said by buildah itself.
        let _ = Command::new("buildah").args(["rm", &self.container]).stdout(Stdio::null()).status();
        let _ = Command::new("buildah").args(["rmi", &self.tag]).stdout(Stdio::null()).status();
    }
}

/// The cloud behind TLS and a name, and what is mounted into the container.
struct World {
    folder: tempfile::TempDir,
    cloud: Simulator,
    _runtime: tokio::runtime::Runtime,
}

impl World {
    fn make() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let settings = Settings {
            credentials: vec![Credential {
                secret_id: SECRET_ID.to_owned(),
                secret_key: Secret::new(SECRET_KEY.to_owned()),
                token: None,
            }],
            instances: vec![InstanceSettings::new(INSTANCE, INITIAL)],
            task: TaskSettings { shortest: Duration::from_millis(200), longest: Duration::from_millis(200) },
            ..Settings::default()
        };
        let cloud = runtime.block_on(Simulator::start(settings)).unwrap();
        let (authority, port) = runtime.block_on(behind_tls(cloud.address()));
        std::thread::spawn(answer_names);

        let folder = tempfile::tempdir().unwrap();
        for name in ["etc", "state", "run", "sinks", "tmp"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        let login = cloud.login_address(INSTANCE).unwrap().port();
        let key = Command::new(env!("CARGO_BIN_EXE_keywheel")).args(["key", "new"]).output().unwrap();
        let files = [
            ("sealing-key", String::from_utf8(key.stdout).unwrap()),
            ("secret-id", SECRET_ID.to_owned()),
            ("secret-key", SECRET_KEY.to_owned()),
            ("initial", INITIAL.to_owned()),
            ("authority.pem", authority),
            ("resolv.conf", format!("nameserver {}\n", NAMES.ip())),
            ("keywheel.toml", configuration(port, login)),
        ];
        for (name, text) in files {
            fs::write(folder.path().join("etc").join(name), text).unwrap();
        }
        let world = Self { folder, cloud, _runtime: runtime };
        for name in ["", "etc", "state", "run", "sinks", "tmp"] {
            hand_over(&world.path(name), 0o700);
        }
        for file in fs::read_dir(world.path("etc")).unwrap() {
            hand_over(&file.unwrap().path(), 0o400);
        }
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

fn hand_over(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    chown(path, Some(USER), Some(USER)).unwrap();
}

fn configuration(cloud: u16, login: u16) -> String {
    format!(
        r#"[daemon]
ledger = "sqlite:///var/lib/keywheel/ledger.db"
ephemeral = "rehearsal"
sealing-key = {{ file = "/etc/keywheel/sealing-key" }}

[limits]
usual-task-time = "150ms"
look-backoff = {{ first = "100ms", longest = "400ms" }}

[providers.shop]
kind = "tencent"
region = "ap-guangzhou"
endpoint = "https://{CLOUD}:{cloud}"
credentials = {{ source = "static", secret-id = {{ file = "/etc/keywheel/secret-id" }}, secret-key = {{ file = "/etc/keywheel/secret-key" }} }}

[sinks.orders]
kind = "file"
path = "/sinks/orders"

[targets.orders-cache]
provider = "shop"
instance = "{INSTANCE}"
login = "redis://{LOGIN}:{login}"
adopt = {{ file = "/etc/keywheel/initial" }}
sinks = ["orders"]
"#
    )
}

/// A TLS end with the cloud's name before the stand-in, which speaks none. Returns its authority's certificate and its port.
async fn behind_tls(inner: SocketAddr) -> (String, u16) {
    let authority_key = KeyPair::generate().unwrap();
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let pem = authority.self_signed(&authority_key).unwrap().pem();
    let issuer = Issuer::new(authority, authority_key);
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec![CLOUD.to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], PrivateKeyDer::try_from(key.serialize_der()).unwrap())
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                // A client that does not trust the certificate hangs up here, as one of the tests wants.
                if let Ok(mut outer) = acceptor.accept(stream).await
                    && let Ok(mut inner) = TcpStream::connect(inner).await
                {
                    // Whichever side ends the conversation, it is over.
                    let _over = tokio::io::copy_bidirectional(&mut outer, &mut inner).await;
                }
            });
        }
    });
    (pem, port)
}

/// A name server that knows two names.
fn answer_names() {
    let socket = UdpSocket::bind(NAMES).expect("port 53 of a loopback address is free");
    let mut question = [0; 512];
    while let Ok((length, asker)) = socket.recv_from(&mut question) {
        let question = &question[..length];
        let mut labels = Vec::new();
        let mut at = 12;
        while question[at] != 0 {
            let end = at + 1 + usize::from(question[at]);
            labels.push(String::from_utf8_lossy(&question[at + 1..end]).into_owned());
            at = end;
        }
        let is_known = [CLOUD, LOGIN].contains(&labels.join(".").as_str());
        let has_address = is_known && question[at + 1..at + 3] == [0, 1];
        let mut answer = question[..2].to_vec();
        answer.extend([0x81, if is_known { 0x80 } else { 0x83 }, 0, 1, 0, u8::from(has_address), 0, 0, 0, 0]);
        answer.extend(&question[12..at + 5]);
        if has_address {
            answer.extend([0xc0, 0x0c, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 127, 0, 0, 1]);
        }
        // Who asked may have gone.
        let _ = socket.send_to(&answer, asker);
    }
}

/// Starts the image's program, as the first process of a namespace of its own.
fn start(image: &Image, world: &World, variables: &[(&str, &str)], arguments: &[&str]) -> Command {
    let script = r#"set -eu
root=$1 world=$2; shift 2
mount --make-rprivate /
mount --bind "$root" "$root"
mkdir -p "$root/proc" "$root/dev" "$root/sinks"; : >"$root/etc/resolv.conf"
mount -t proc proc "$root/proc"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
for device in null zero random urandom; do : >"$root/dev/$device"; mount --bind "/dev/$device" "$root/dev/$device"; done
mount --bind "$world/etc" "$root/etc/keywheel"
mount --bind "$world/etc/resolv.conf" "$root/etc/resolv.conf"
mount --bind "$world/state" "$root/var/lib/keywheel"
mount --bind "$world/run" "$root/run/keywheel"
mount --bind "$world/sinks" "$root/sinks"
mount --bind "$world/tmp" "$root/tmp"
mount -o remount,bind,ro "$root"
mount -o remount,bind,ro "$root/etc/keywheel"
exec setpriv --no-new-privs chroot --userspec=65532:65532 --groups= "$root" /usr/bin/keywheel "$@""#;
    let mut command = Command::new("unshare");
    command.args(["--mount", "--pid", "--fork", "--kill-child", "bash", "-c", script, "container"]);
    command.arg(&image.tree).arg(world.folder.path()).args(arguments);
    command
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .env("NO_COLOR", "1")
        .envs(variables.iter().copied());
    command
}

struct Running {
    engine: Child,
    /// The program's id, as the machine counts.
    pid: u32,
}

impl Running {
    fn start(image: &Image, world: &World, variables: &[(&str, &str)]) -> Self {
        let mut engine = start(image, world, variables, &["run"]).stderr(Stdio::inherit()).spawn().unwrap();
        let mut pid = None;
        until("the program to run", || {
            assert_eq!(engine.try_wait().unwrap(), None, "the container ended");
            let children = format!("/proc/{0}/task/{0}/children", engine.id());
            pid = fs::read_to_string(children).unwrap().split_whitespace().next().map(|pid| pid.parse().unwrap());
            pid.is_some_and(|pid: u32| {
                fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|path| path.ends_with("usr/bin/keywheel"))
            })
        });
        Self { engine, pid: pid.unwrap() }
    }

    /// Runs the image's program beside the one that runs, as `podman exec` does.
    fn exec(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let told = Command::new("nsenter")
            .args(["--target", &self.pid.to_string(), "--mount", "--pid", "--root", "--wd=/"])
            .args(["--setuid", "65532", "--setgid", "65532", "/usr/bin/keywheel"])
            .args(arguments)
            .env_clear()
            .output()
            .unwrap();
        (told.status.code(), String::from_utf8_lossy(&[told.stdout, told.stderr].concat()).into_owned())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended, and a drop cannot fail.
        let _ = self.engine.kill();
        let _ = self.engine.wait();
    }
}

#[test]
fn the_image_is_small_and_rotates_with_nothing_but_what_it_holds() {
    if std::env::var_os("KEYWHEEL_LONG").is_none() {
        return println!("left out: only with KEYWHEEL_LONG");
    }
    assert!(rustix::process::getuid().is_root(), "the long run mounts the image, so it has to be root");
    let image = Image::build();
    let files = image.files();
    let size: u64 = files.iter().map(|(_, about)| about.len()).sum();
    println!("the image: {size} bytes in {} files", files.len());
    assert!(size <= LIMIT, "{size} bytes");
    let programs: Vec<_> = files.iter().filter(|(_, about)| about.permissions().mode() & 0o111 != 0).collect();
    assert_eq!(programs.len(), 1, "no shell, no other program: {programs:?}");
    assert!(files.iter().all(|(_, about)| about.permissions().mode() & 0o6022 == 0), "nothing is for others to write");

    let world = World::make();
    // The authorities that the image brings do not vouch for this cloud, and that is found out before anything happens.
    let distrusted = start(&image, &world, &[], &["check"]).output().unwrap();
    let said = String::from_utf8_lossy(&distrusted.stdout).into_owned();
    assert_eq!(distrusted.status.code(), Some(1), "{said}");
    assert!(said.contains("certificate"), "{said}");

    let mut container = Running::start(&image, &world, &[("SSL_CERT_FILE", "/etc/keywheel/authority.pem")]);
    until("the container to be healthy", || container.exec(&["status", "--health"]).0 == Some(0));
    until("today's password to be delivered", || {
        fs::read_to_string(world.path("sinks/orders")).is_ok_and(|text| text == INITIAL)
    });
    let about = fs::read_to_string(format!("/proc/{}/status", container.pid)).unwrap();
    assert!(about.contains("Uid:\t65532\t65532\t65532\t65532"), "{about}");
    assert!(
        about.contains("NSpid:") && about.lines().any(|line| line.starts_with("NSpid:") && line.ends_with("\t1")),
        "{about}"
    );
    let mounts = fs::read_to_string(format!("/proc/{}/mountinfo", container.pid)).unwrap();
    let root = mounts.lines().find(|line| line.split(' ').nth(4) == Some("/")).unwrap();
    assert!(root.split(' ').nth(5).unwrap().split(',').any(|option| option == "ro"), "{root}");

    let (status, said) = container.exec(&["rotate", "orders-cache", "--wait"]);
    assert_eq!(status, Some(0), "{said}");
    let live = world.cloud.history(INSTANCE).pop().unwrap().password.expose().to_owned();
    assert_ne!(live, INITIAL);
    assert_eq!(fs::read_to_string(world.path("sinks/orders")).unwrap(), live);

    #[allow(clippy::disallowed_methods, reason = "it is printed for whoever reads along, and decides nothing")]
    let asked = std::time::Instant::now();
    kill_process(Pid::from_raw(i32::try_from(container.pid).unwrap()).unwrap(), Signal::TERM).unwrap();
    let mut ended = None;
    until("the container to stop", || {
        ended = container.engine.try_wait().unwrap();
        ended.is_some()
    });
    println!("stopped after {:?}", asked.elapsed());
    assert_eq!(ended.unwrap().code(), Some(0));
}
