//! What servers say to a login: the forms first, then what each connection hears from beginning to end.

use super::stage::{block_on, chosen, first_line, holds_none_of, node, parts, quoted};
use super::tencent::{OLD, secret};
use keywheel::probe::Probe;
use keywheel::probe::redis::{LoginForm, LoginSettings, RedisProbe, acl_forms, alibaba_forms, tencent_forms};
use keywheel::rotation::answer::Login;

type Forms = fn() -> Vec<LoginForm>;

const WORDS: [(&str, Forms); 4] = [
    ("password", || acl_forms("default", true)),
    ("user", || acl_forms("app", false)),
    ("two forms", || tencent_forms("crs-1", "root", true)),
    ("account", || alibaba_forms("app", false)),
];

/// Somebody is let in only where the server said so, refused only by a word about passwords, and no fault repeats what was sent.
pub fn run(input: &[u8]) {
    let (word, script) = first_line(input);
    let forms = chosen(word, &WORDS)();
    block_on(async {
        let server = node(script).await;
        let settings = LoginSettings::from(format!("redis://{}", server.address));
        let probe = RedisProbe::new(settings, forms).unwrap();
        let login = probe.login(&secret(OLD)).await;
        let said: Vec<String> =
            parts(script).iter().map(|part| String::from_utf8_lossy(part).to_ascii_lowercase()).collect();
        let says = |word: &str| said.iter().any(|part| part.contains(word));
        match login {
            Login::Accepted => assert!(says("+ok\r\n") && (says("+pong") || says("noperm")), "let in by nobody"),
            Login::Refused => assert!(says("wrongpass") || says("password"), "refused by nobody"),
            Login::PasswordFree => assert!(says("+pong") || says("password"), "nobody said that it needs no password"),
            Login::Mixed => panic!("one connection cannot disagree with itself"),
            Login::Unreachable { fault } => {
                let [shown, _] = quoted(OLD);
                holds_none_of(&fault.to_string(), &[OLD, &shown]);
            }
        }
        assert!(server.played() <= 3, "{} connections for one login", server.played());
    });
}
