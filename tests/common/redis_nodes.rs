//! Real Redis or Valkey servers that live on disk: each has a folder with its settings and, if the test wants one, its file of users, so that it can be
//! killed, started again, and found as it left itself. `REDIS_SERVER` names another program than `redis-server`.

#![allow(dead_code, reason = "each test file uses the part it needs")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop there")]

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// How often another port is tried when somebody took the first one between finding and using it.
const ATTEMPTS: usize = 8;
/// Ports of servers, below those that the kernel gives to whoever asks for any: a server that is down finds its port free when it comes back. The bus of a
/// cluster, ten thousand above, is below them, too.
const PORTS: std::ops::Range<u16> = 10_000..22_000;
/// A condition that has not come by then never comes.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often a condition is looked at.
const LOOK: Duration = Duration::from_millis(25);

/// The administrator of every node that [`users`] makes.
pub const ADMIN: &str = "keywheel";
/// Its password.
pub const ADMIN_PASSWORD: &str = "Adm1n+of/all=Nodes";

/// A file of users: no default user, the administrator, and `app` with this password.
pub fn users(password: &str) -> String {
    format!("user default off\nuser {ADMIN} on >{ADMIN_PASSWORD} ~* &* +@all\nuser app on >{password} ~* &* +@all\n")
}

/// One server. Killed when dropped.
pub struct RedisNode {
    folder: tempfile::TempDir,
    port: u16,
    child: Option<Child>,
}

impl RedisNode {
    /// A server with these further lines of settings (`PORT` in them is its port), and with a file of these users if there are any.
    pub fn start(settings: &str, users: Option<&str>) -> Self {
        (0..ATTEMPTS)
            .find_map(|_| {
                let mut node = Self::prepare(settings, users);
                node.launch().then_some(node)
            })
            .expect("redis-server starts (install it: apt-get install --no-install-recommends redis-server)")
    }

    fn prepare(settings: &str, users: Option<&str>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = quiet_port();
        let here = folder.path().display();
        let mut lines = format!(
            "port {port}\nbind 127.0.0.1\nsave \"\"\nappendonly no\ndaemonize no\nlogfile \"\"\ndir {here}\n{}\n",
            settings.replace("PORT", &port.to_string())
        );
        if let Some(users) = users {
            fs::create_dir(folder.path().join("acl")).unwrap();
            fs::write(folder.path().join("acl/users.acl"), users).unwrap();
            lines += &format!("aclfile {here}/acl/users.acl\n");
        }
        fs::write(folder.path().join("redis.conf"), lines).unwrap();
        Self { folder, port, child: None }
    }

    /// Starts the process; `false` if it ended at once.
    fn launch(&mut self) -> bool {
        let mut child = Command::new(std::env::var_os("REDIS_SERVER").unwrap_or_else(|| "redis-server".into()))
            .arg(self.folder.path().join("redis.conf"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("redis-server is installed");
        let mut log = BufReader::new(child.stdout.take().unwrap()).lines();
        let ready = log.by_ref().map_while(Result::ok).any(|line| line.contains("Ready to accept connections"));
        if !ready {
            // Its log has ended and so does it, with whatever status; the caller says what it means.
            let _ = child.wait();
            return false;
        }
        // The log must be read on, or the server would block on a full pipe.
        std::thread::spawn(move || log.for_each(drop));
        self.child = Some(child);
        true
    }

    /// kill -9.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Starts it again on its port, with what it left on disk.
    pub fn restart(&mut self) {
        self.kill();
        assert!((0..ATTEMPTS).any(|_| self.launch()), "the server starts again");
    }

    /// `redis://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Its process id while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// A file in its folder: `redis.conf`, `acl/users.acl`.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The text of such a file.
    pub fn text(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    /// One command on a fresh connection of this user, by a foreign client. An empty name logs in by the password alone, an empty password not at all.
    pub fn ask(&self, user: &str, password: &str, words: &[&str]) -> redis::RedisResult<redis::Value> {
        let client = redis::Client::open(self.url())?;
        let mut connection = client.get_connection()?;
        if !password.is_empty() {
            let mut auth = redis::cmd("AUTH");
            if !user.is_empty() {
                auth.arg(user);
            }
            auth.arg(password).query::<()>(&mut connection)?;
        }
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]).query(&mut connection)
    }

    /// The same as the administrator; it must work.
    pub fn administer(&self, words: &[&str]) -> redis::Value {
        self.ask(ADMIN, ADMIN_PASSWORD, words).unwrap_or_else(|error| panic!("{words:?}: {error}"))
    }

    /// The answer as a text.
    pub fn answer(&self, words: &[&str]) -> String {
        redis::from_redis_value(self.administer(words)).unwrap()
    }

    /// Whether a new login of the user is let in.
    pub fn lets_in(&self, user: &str, password: &str) -> bool {
        self.ask(user, password, &["PING"]).is_ok()
    }
}

impl Drop for RedisNode {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A cluster of three masters that share all slots. Each has a file of users.
pub struct RedisCluster {
    /// The nodes.
    pub nodes: Vec<RedisNode>,
}

impl RedisCluster {
    /// Starts it; `app` has this password on each node. Returns once every node says that the cluster is whole.
    pub fn start(password: &str) -> Self {
        let settings = "cluster-enabled yes\ncluster-config-file nodes.conf\ncluster-node-timeout 2000\n";
        let nodes: Vec<RedisNode> = (0..3).map(|_| RedisNode::start(settings, Some(&users(password)))).collect();
        let cluster = Self { nodes };
        let (slots, count) = (16_384, cluster.nodes.len());
        for (at, node) in cluster.nodes.iter().enumerate() {
            let own: Vec<String> =
                (slots * at / count..slots * (at + 1) / count).map(|slot| slot.to_string()).collect();
            let words: Vec<&str> = ["CLUSTER", "ADDSLOTS"].into_iter().chain(own.iter().map(String::as_str)).collect();
            node.administer(&words);
        }
        for node in &cluster.nodes[1..] {
            cluster.nodes[0].administer(&["CLUSTER", "MEET", "127.0.0.1", &node.port().to_string()]);
        }
        cluster.until_whole();
        cluster
    }

    /// Waits until every node says that the cluster is whole.
    pub fn until_whole(&self) {
        for node in &self.nodes {
            until("the cluster to be whole", || {
                let info = node.answer(&["CLUSTER", "INFO"]);
                info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:3")
            });
        }
    }

    /// On how many nodes a new login of `app` is let in.
    pub fn let_in(&self, password: &str) -> usize {
        self.nodes.iter().filter(|node| node.lets_in("app", password)).count()
    }
}

/// A port that nobody has at this moment.
fn quiet_port() -> u16 {
    let mut drawn = std::iter::repeat_with(|| rand::random_range(PORTS));
    drawn.find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok()).unwrap()
}

/// Waits until a condition holds.
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let came = (0..PATIENCE.as_millis() / LOOK.as_millis()).any(|_| {
        let came = holds();
        if !came {
            std::thread::sleep(LOOK);
        }
        came
    });
    assert!(came, "waited in vain for {what}");
}
