//! Redis of one's own on three nodes: in place, two passwords at once, two users in turn; nodes that die and forget, and a daemon that is killed.

use crate::case::{KILLS, SINK, TARGET, document, kept, logged, rotate, settles, until_told};
use crate::common::redis_nodes::{ADMIN, ADMIN_PASSWORD, RedisNode, users};
use crate::common::stage::{Daemon, Stage, until};
use crate::table::{self, Row};

const BY_HAND: &str = "By-Hand+2019";
const OTHER: (&str, &str) = ("app_b", "Other-One-2020");

struct Case {
    name: &'static str,
    keys: &'static str,
    /// The user that changes first.
    account: (&'static str, &'static str),
    /// The first generation that is drawn.
    first: u64,
    /// Whether the password before stays valid after the rotation, until the grace is over.
    beside: bool,
    /// The user that must stay as it is.
    untouched: Option<(&'static str, &'static str)>,
}

#[test]
fn redis_in_place() {
    let keys = "account = \"app\"\nadopt = { file = \"{folder}/app\" }";
    let account = ("app", BY_HAND);
    Case { name: "redis in-place", keys, account, first: 2, beside: false, untouched: None }.run();
}

#[test]
fn redis_overlap() {
    let keys = "account = \"app\"\nadopt = { file = \"{folder}/app\" }\nstrategy = \"overlap\"\ngrace = \"2s\"";
    let account = ("app", BY_HAND);
    Case { name: "redis overlap", keys, account, first: 2, beside: true, untouched: None }.run();
}

#[test]
fn redis_alternate() {
    let keys = "strategy = \"alternate\"\naccounts = [\"app\", \"app_b\"]\nadopt = { file = \"{folder}/app\" }\nadopt-resting = { file = \"{folder}/app_b\" }\ngrace = \"1ms\"";
    let untouched = Some(("app", BY_HAND));
    Case { name: "redis alternate", keys, account: OTHER, first: 3, beside: false, untouched }.run();
}

fn saved() -> String {
    format!("{}user {} on >{} ~* &* +@all\n", users(BY_HAND), OTHER.0, OTHER.1)
}

impl Case {
    fn run(&self) {
        let mut rows: Vec<Row<'_>> = vec![
            ("nothing goes wrong".to_owned(), Box::new(|| self.meet(|_| {}, |_| {}))),
            (
                "a node is down before".to_owned(),
                Box::new(|| self.meet(|nodes| nodes[1].kill(), |nodes| nodes[1].restart())),
            ),
            (
                "every node is down before".to_owned(),
                Box::new(|| {
                    self.meet(
                        |nodes| nodes.iter_mut().for_each(RedisNode::kill),
                        |nodes| nodes.iter_mut().for_each(RedisNode::restart),
                    );
                }),
            ),
        ];
        rows.push(("a node dies after the change and forgets it".to_owned(), Box::new(|| self.forget())));
        for event in KILLS {
            rows.push((format!("kill -9 at {event:?}"), Box::new(move || self.die(event, false))));
            rows.push((format!("kill -9 at {event:?}, and a node with it"), Box::new(move || self.die(event, true))));
        }
        table::run(self.name, &rows);
    }

    fn stage(&self) -> (Stage, Vec<RedisNode>, Daemon) {
        let nodes: Vec<RedisNode> = (0..3).map(|_| RedisNode::start("", Some(&saved()))).collect();
        let stage = Stage::set();
        stage.write("admin", ADMIN_PASSWORD);
        stage.write("app", BY_HAND);
        stage.write("app_b", OTHER.1);
        let urls: Vec<String> = nodes.iter().map(|node| format!("\"{}\"", node.url())).collect();
        let text = format!(
            "[providers.own]\nkind = \"redis\"\nnodes = [{}]\ntimeout = \"1s\"\n\
             admin = {{ user = \"{ADMIN}\", password = {{ file = \"{{folder}}/admin\" }} }}\n\n\
             [targets.{TARGET}]\nprovider = \"own\"\nsinks = [\"{SINK}\"]\n{}\n",
            urls.join(", "),
            self.keys
        );
        stage.configure(&(stage.sink(SINK, "format = \"json\"") + &text));
        let checked = stage.keywheel(&["check"]);
        assert_eq!(checked.status, 0, "{}{}", checked.out, checked.err);
        let daemon = stage.start(&[]);
        stage.until(TARGET, "settled", 1);
        until("the sink to hold it", || stage.path(SINK).exists());
        if self.untouched.is_some() {
            until_told(&daemon, 0, "paired");
        }
        (stage, nodes, daemon)
    }

    fn meet(&self, before: impl Fn(&mut Vec<RedisNode>), after: impl Fn(&mut Vec<RedisNode>)) {
        let (stage, mut nodes, daemon) = self.stage();
        before(&mut nodes);
        assert_eq!(stage.keywheel(&["rotate", TARGET]).status, 0);
        until("it to be asked for", || daemon.log().contains("event=\"asked\""));
        after(&mut nodes);
        self.is_whole(&stage, &nodes);
    }

    /// A node that comes back as it was before the change: the next rotation mends it, whatever this one did.
    fn forget(&self) {
        let (stage, mut nodes, daemon) = self.stage();
        let before = logged(&daemon);
        assert_eq!(stage.keywheel(&["rotate", TARGET]).status, 0);
        until_told(&daemon, before, "answered");
        nodes[2].kill();
        if self.beside {
            // What it had saved is gone with its disk; with two passwords the same call brings it back.
            std::fs::write(nodes[2].path("acl/users.acl"), saved()).unwrap();
        }
        nodes[2].restart();
        if !self.beside {
            return self.is_whole(&stage, &nodes);
        }
        until("the former password to be taken away", || daemon.log()[before..].contains("event=\"retired\""));
        self.is_whole(&stage, &nodes);
    }

    fn die(&self, event: &str, with_node: bool) {
        let (stage, mut nodes, daemon) = self.stage();
        let before = logged(&daemon);
        assert_eq!(stage.keywheel(&["rotate", TARGET]).status, 0);
        until_told(&daemon, before, event);
        daemon.kill();
        if with_node {
            nodes[0].kill();
            nodes[0].restart();
        }
        let known = kept(&stage);
        for node in &nodes {
            assert!(
                known.iter().any(|password| node.lets_in(self.account.0, password)),
                "what is live is in the ledger"
            );
        }
        let daemon = stage.start(&[]);
        until("it to come to rest", || stage.status_of(TARGET)["state"] == "settled");
        if stage.status_of(TARGET)["generation"] != self.first {
            rotate(&stage, &daemon);
        }
        self.is_whole(&stage, &nodes);
    }

    fn is_whole(&self, stage: &Stage, nodes: &[RedisNode]) {
        settles(stage, self.first);
        let found = document(stage);
        let live = found["password"].as_str().unwrap();
        assert_eq!((&found["account"], &found["user"]), (&self.account.0.into(), &self.account.0.into()));
        let all = |user: &str, password: &str| nodes.iter().all(|node| node.lets_in(user, password));
        assert!(all(self.account.0, live), "every node lets it in");
        if self.beside {
            until("the old password to go", || nodes.iter().all(|node| !node.lets_in(self.account.0, self.account.1)));
            assert!(all(self.account.0, live));
        }
        assert!(nodes.iter().all(|node| !node.lets_in(self.account.0, self.account.1)), "none lets the old one in");
        if let Some((user, password)) = self.untouched {
            assert!(all(user, password), "the active user is untouched");
        }
    }
}
