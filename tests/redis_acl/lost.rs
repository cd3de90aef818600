//! Answers that are lost on the way, between keywheel and a real server.

use crate::hands::*;
use crate::redis_nodes::{RedisNode, users};
use keywheel::provider::redis_acl::RedisSettings;
use keywheel::provider::{Mode, Provider};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// What a bad line does with the command that changes a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Loss {
    /// It never arrives, and the connection ends.
    Command,
    /// It arrives, and the connection ends before the answer.
    Answer,
    /// It arrives, and the answer never comes.
    Silence,
}

/// A line to a server, good but for the first time that command comes by.
fn line(server: u16, loss: Loss) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("redis://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let mut is_bad = true;
        for near in listener.incoming() {
            let mut near = near.unwrap();
            let mut far = TcpStream::connect(("127.0.0.1", server)).unwrap();
            let is_lost = Arc::new(AtomicBool::new(false));
            let back = answers(far.try_clone().unwrap(), near.try_clone().unwrap(), Arc::clone(&is_lost), loss);
            let mut bytes = [0; 16 * 1024];
            // keywheel asks one question at a time, and each of them comes in one piece.
            while let Ok(count @ 1..) = near.read(&mut bytes) {
                let command = String::from_utf8_lossy(&bytes[..count]).into_owned();
                if is_bad && command.contains("SETUSER") && !command.contains("DRYRUN") {
                    is_bad = false;
                    if loss == Loss::Command {
                        break;
                    }
                    is_lost.store(true, Ordering::SeqCst);
                }
                if far.write_all(&bytes[..count]).is_err() {
                    break;
                }
            }
            // Either side may have closed it by now.
            let _ = (near.shutdown(Shutdown::Both), far.shutdown(Shutdown::Both));
            back.join().unwrap();
        }
    });
    address
}

/// The way back, until an answer is to be lost.
fn answers(mut far: TcpStream, mut near: TcpStream, is_lost: Arc<AtomicBool>, loss: Loss) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let mut bytes = [0; 16 * 1024];
        while let Ok(count @ 1..) = far.read(&mut bytes) {
            if is_lost.load(Ordering::SeqCst) {
                if loss == Loss::Answer {
                    // keywheel may have given up by now.
                    let _ = near.shutdown(Shutdown::Both);
                }
                // With silence it is keywheel that gives up.
                return;
            }
            if near.write_all(&bytes[..count]).is_err() {
                return;
            }
        }
    })
}

#[tokio::test]
async fn a_lost_answer_on_one_node_is_never_a_refusal_and_the_same_call_settles_it() {
    for (loss, mode) in [
        (Loss::Command, Mode::Add),
        (Loss::Answer, Mode::Add),
        (Loss::Answer, Mode::OldPassword),
        (Loss::Command, Mode::OldPassword),
        (Loss::Silence, Mode::OldPassword),
    ] {
        let nodes = [(); 2].map(|()| RedisNode::start("", Some(&users("old"))));
        let bad = line(nodes[1].port(), loss);
        let timeout = if loss == Loss::Silence { Duration::from_secs(2) } else { Duration::from_secs(20) };
        let acl = provider(RedisSettings { timeout, ..settings(&[nodes[0].url(), bad.clone()]) }, keywheel());
        let app = address("app", mode);
        let fault = unanswered(change(&acl, &app, "old", "new").await);
        assert!(fault.what.contains("1 of 2 nodes have it") && fault.what.contains(&bad), "{loss:?}: {fault}");
        assert!(nodes[0].lets_in("app", "new"));
        assert_eq!(nodes[1].lets_in("app", "new"), loss != Loss::Command, "{loss:?}");
        assert_eq!(change(&acl, &app, "old", "new").await, ACCEPTED, "{loss:?}");
        for node in &nodes {
            assert!(node.lets_in("app", "new"));
            assert_eq!(node.lets_in("app", "old"), mode == Mode::Add);
            assert!(node.text("acl/users.acl").contains(&hash("new")));
        }
    }
}

#[tokio::test]
async fn a_server_that_never_answers_costs_the_time_limit_and_changes_nothing() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let nodes = [RedisNode::start("", Some(&users("old")))];
    let silent_url = format!("redis://{}", silent.local_addr().unwrap());
    let settings = RedisSettings { timeout: Duration::from_millis(500), ..settings(&[nodes[0].url(), silent_url]) };
    let acl = provider(settings, keywheel());
    let (refusal, fault) = refused(change(&acl, &address("app", Mode::Add), "old", "new").await);
    assert_eq!(refusal, "Unsent");
    assert!(fault.what.contains("no answer within"), "{fault}");
    assert!(!nodes[0].lets_in("app", "new"));
    assert!(acl.retire(&address("app", Mode::Add), &secret("none"), &secret("old")).await.is_err());
}
