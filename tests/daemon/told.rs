//! What others are told: each request that leaves is read on its way, and what a hook is given is written down. A password travels in the body of the call
//! that sets it, and nowhere else; the cloud's key travels not at all.

use crate::common::stage::{INITIAL, INSTANCE, SECRET_KEY, Stage};
use crate::common::traces::{Traces, assert_absent};
use keywheel::simulator::InstanceSettings;
use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

const TAIR: &str = "r-bp1stage0002";
const TAIR_INITIAL: &str = "Tair-By-Hand+2020/q";

/// The calls that set a password; every other one only looks.
const SETS: [&str; 2] = ["ModifyInstancePassword", "ModifyAccountPassword"];

/// What went over one connection so far.
type Sent = Arc<Mutex<Vec<u8>>>;

/// Passes connections on to an address, and keeps what went there.
struct Tap {
    address: SocketAddr,
    sent: Arc<Mutex<Vec<Sent>>>,
}

impl Tap {
    fn on(behind: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let sent = Arc::<Mutex<Vec<Sent>>>::default();
        let (kept, behind) = (Arc::clone(&sent), behind.to_owned());
        // It ends with the test's process: nobody connects any more when the daemon has stopped.
        thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                let Ok(far) = TcpStream::connect(&behind) else { continue };
                let (mut back_from, mut back_to) = (far.try_clone().unwrap(), near.try_clone().unwrap());
                thread::spawn(move || pass_on(&mut back_from, &mut back_to, |_| ()));
                let bytes = Sent::default();
                kept.lock().unwrap().push(Arc::clone(&bytes));
                thread::spawn(move || {
                    pass_on(&mut &near, &mut &far, |some| bytes.lock().unwrap().extend_from_slice(some));
                    // The other side may have closed it first.
                    let _closed = far.shutdown(Shutdown::Both);
                });
            }
        });
        Self { address, sent }
    }

    /// Each request's head and body.
    fn requests(&self) -> Vec<(String, Vec<u8>)> {
        let mut all = Vec::new();
        for connection in self.sent.lock().unwrap().iter() {
            let connection = connection.lock().unwrap();
            let mut rest = connection.as_slice();
            while let Some(end) = rest.windows(4).position(|four| four == b"\r\n\r\n") {
                let head = String::from_utf8(rest[..end].to_vec()).unwrap();
                let length = header(&head, "content-length").map_or(0, |length| length.parse().unwrap());
                all.push((head, rest[end + 4..end + 4 + length].to_vec()));
                rest = &rest[end + 4 + length..];
            }
            assert!(rest.is_empty(), "half a request");
        }
        all
    }
}

fn pass_on(from: &mut impl Read, to: &mut impl Write, mut see: impl FnMut(&[u8])) {
    let mut some = [0; 4096];
    while let Ok(count @ 1..) = from.read(&mut some) {
        see(&some[..count]);
        if to.write_all(&some[..count]).is_err() {
            return;
        }
    }
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = head.lines().filter_map(|line| line.split_once(": "));
    lines.find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

#[test]
fn a_password_travels_in_the_body_of_the_call_that_sets_it_and_nowhere_else() {
    let stage = Stage::set_with(vec![
        InstanceSettings::new(INSTANCE, INITIAL),
        InstanceSettings::alibaba(TAIR, TAIR_INITIAL).with_account("orders", "Not-Ours-2021"),
    ]);
    let tap = Tap::on(stage.cloud().endpoint().trim_start_matches("http://"));
    let endpoint = format!("http://{}", tap.address);
    stage.write("tair.initial", TAIR_INITIAL);
    stage.write("noted", "");
    let target = |name: &str, provider: &str, instance: &str, initial: &str| {
        format!(
            "[targets.{name}]\nprovider = \"{provider}\"\ninstance = \"{instance}\"\nadopt = {{ file = \"{{folder}}/{initial}\" }}\n\
             login = \"redis://{}\"\nsinks = [\"{name}-env\"]\nhooks = [\"note\"]\n\n",
            stage.cloud().login_address(instance).unwrap()
        )
    };
    let key = "secret-id = { file = \"{folder}/secret-id\" }, secret-key = { file = \"{folder}/secret-key\" }";
    let alibaba_key =
        "access-key-id = { file = \"{folder}/secret-id\" }, access-key-secret = { file = \"{folder}/secret-key\" }";
    let provider = |name: &str, kind: &str, region: &str, key: &str| {
        format!(
            "[providers.{name}]\nkind = \"{kind}\"\nregion = \"{region}\"\nendpoint = \"{endpoint}\"\n\
             credentials = {{ source = \"static\", {key} }}\n\n"
        )
    };
    stage.configure(
        &[
            provider("tapped", "tencent", "ap-guangzhou", key),
            provider("tair", "alibaba", "cn-hangzhou", alibaba_key),
            stage.sink("orders-env", "format = \"env\""),
            stage.sink("baskets-env", "format = \"env\""),
            target("orders", "tapped", INSTANCE, "initial"),
            target("baskets", "tair", TAIR, "tair.initial"),
            "[hooks.note]\nkind = \"command\"\nargv = [\"/bin/sh\", \"-c\", \"env >> {folder}/noted; cat >> {folder}/noted\"]\n".to_owned(),
        ]
        .concat(),
    );
    let daemon = stage.start(&[("KEYWHEEL_LOG", "trace")]);
    for target in ["orders", "baskets"] {
        let rotated = stage.keywheel(&["rotate", target, "--wait"]);
        assert_eq!(rotated.status, 0, "{rotated:?}");
    }
    daemon.stop();

    let passwords: Vec<String> = [INSTANCE, TAIR].iter().flat_map(|instance| stage.passwords(instance)).collect();
    assert_eq!(passwords.len(), 4, "each had one by hand and got another");
    let (secrets, key) = (Traces::of(&passwords), Traces::of(&[SECRET_KEY]));
    let mut bodies = BTreeMap::new();
    for (head, body) in tap.requests() {
        let action = header(&head, "x-tc-action").or(header(&head, "x-acs-action")).expect("an action").to_owned();
        assert_eq!(secrets.found(head.as_bytes()), None, "the head of {action}: {head}");
        let whole = [head.as_bytes(), &body].concat();
        assert_eq!(key.found(&whole), None, "the cloud's key in {action}");
        let holds = secrets.found(&body).is_some();
        assert_eq!(holds, SETS.contains(&action.as_str()), "a password in the body of {action}");
        *bodies.entry(action).or_insert(0) += 1;
    }
    println!("requests read: {bodies:?}");
    assert!(SETS.iter().all(|action| bodies.contains_key(*action)), "{bodies:?}");
    assert!(bodies.len() > SETS.len(), "others were sent, too: {bodies:?}");

    let noted = fs::read(stage.path("noted")).unwrap();
    assert!(String::from_utf8_lossy(&noted).contains("KEYWHEEL_GENERATION=2"), "the hook was run");
    assert_absent("what the hook was given", &noted, &[passwords, vec![SECRET_KEY.to_owned()]].concat());
}
