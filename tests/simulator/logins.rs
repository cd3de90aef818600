//! The login listener, by hand and by a real client.

use crate::caller::*;
use keywheel::secret::Secret;
use keywheel::simulator::{InstanceChange, Reach, StaleNodes};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

#[tokio::test]
async fn the_listener_speaks_as_redis_does() {
    let simulator = simulator().await;
    let wrong = "-WRONGPASS invalid username-password pair or user is disabled.\r\n";
    for (said, heard) in [
        ("PING\r\n".to_owned(), "-NOAUTH Authentication required.\r\n"),
        (format!("AUTH {OLD}\r\nPING\r\nping hello\r\n"), "+OK\r\n+PONG\r\n$5\r\nhello\r\n"),
        (format!("AUTH {CRS}:{OLD}\r\n"), "+OK\r\n"),
        (format!("AUTH default {OLD}\r\n"), "+OK\r\n"),
        (format!("AUTH root {OLD}\r\nCLIENT SETNAME x\r\nCLIENT SETINFO LIB-NAME y\r\n"), "+OK\r\n+OK\r\n+OK\r\n"),
        (format!("AUTH {NEW}\r\nPING\r\n"), &format!("{wrong}-NOAUTH Authentication required.\r\n")),
        (format!("AUTH nobody {OLD}\r\n"), wrong),
        ("AUTH a b c\r\n".to_owned(), "-ERR wrong number of arguments for 'auth' command\r\n"),
        (format!("AUTH {OLD}\r\nGET x\r\n"), "+OK\r\n-ERR unknown command 'GET'\r\n"),
        (format!("HELLO 2 AUTH default {NEW}\r\n"), wrong),
        ("HELLO 4\r\n".to_owned(), "-NOPROTO unsupported protocol version\r\n"),
    ] {
        assert_eq!(converse(&simulator, &said).await, heard, "{said}");
    }
    let map = converse(&simulator, &format!("HELLO 3 AUTH root {OLD} SETNAME x\r\nPING\r\n")).await;
    assert!(map.starts_with("%7\r\n$6\r\nserver\r\n$5\r\nredis\r\n") && map.ends_with("*0\r\n+PONG\r\n"), "{map}");
    assert!(converse(&simulator, "HELLO\r\n").await.starts_with("-NOAUTH HELLO must"));
    change(&simulator, InstanceChange { no_auth: Some(true), ..InstanceChange::default() }).await;
    let answer = converse(&simulator, &format!("AUTH {OLD}\r\nPING\r\n")).await;
    assert!(answer.starts_with("-ERR AUTH <password> called without any password configured"), "{answer}");
    assert!(answer.ends_with("+PONG\r\n"), "{answer}");
}

#[tokio::test]
async fn a_real_client_logs_in_both_ways() {
    let simulator = simulator().await;
    let address = simulator.login_address(CRS).unwrap();
    for (url, let_in) in [
        (format!("redis://:{OLD}@{address}"), true),
        (format!("redis://root:{OLD}@{address}"), true),
        (format!("redis://:{CRS}%3A{OLD}@{address}"), true),
        (format!("redis://:{OLD}@{address}/?protocol=resp3"), true),
        (format!("redis://:{NEW}@{address}"), false),
    ] {
        let client = redis::Client::open(url.as_str()).unwrap();
        let answer = match client.get_multiplexed_async_connection().await {
            Ok(mut connection) => redis::cmd("PING").query_async::<String>(&mut connection).await,
            Err(error) => Err(error),
        };
        assert_eq!(answer.is_ok(), let_in, "{url} {answer:?}");
    }
}

#[tokio::test]
async fn logins_can_be_refused_held_up_and_disagree() {
    let simulator = simulator().await;
    let reach = |reach: Reach| InstanceChange { reach: Some(reach), ..InstanceChange::default() };
    let address = simulator.login_address(CRS).unwrap();
    change(&simulator, reach(Reach::Refuse)).await;
    let refused = async {
        while TcpStream::connect(address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, refused).await.unwrap();
    change(&simulator, reach(Reach::Hang)).await;
    let mut stream = tokio::time::timeout(PATIENCE, async {
        loop {
            match TcpStream::connect(address).await {
                Ok(stream) => return stream,
                Err(_) => tokio::task::yield_now().await,
            }
        }
    })
    .await
    .unwrap();
    stream.write_all(format!("AUTH {OLD}\r\n").as_bytes()).await.unwrap();
    let mut buffer = [0; 5];
    let silence = tokio::time::timeout(Duration::from_millis(100), stream.read_exact(&mut buffer)).await;
    assert!(silence.is_err());
    change(&simulator, reach(Reach::Open)).await;
    tokio::time::timeout(PATIENCE, stream.read_exact(&mut buffer)).await.unwrap().unwrap();
    assert_eq!(&buffer, b"+OK\r\n");

    let stale = StaleNodes { stale: 1, of: 2, span: PATIENCE };
    change(
        &simulator,
        InstanceChange {
            stale_nodes: Some(stale),
            password: Some(Secret::new(NEW.to_owned())),
            ..InstanceChange::default()
        },
    )
    .await;
    let mut seen = Vec::new();
    for _ in 0..4 {
        seen.push(logs_in(&simulator, NEW).await);
    }
    assert_eq!(seen.iter().filter(|&&let_in| let_in).count(), 2, "{seen:?}");
    assert!(seen.windows(2).all(|pair| pair[0] != pair[1]), "{seen:?}");
}
