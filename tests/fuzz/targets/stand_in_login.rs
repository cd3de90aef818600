//! What a client says to a login listener of the stand-in clouds.

use super::stage::block_on;
use super::tencent::OLD;
use keywheel::simulator::{Credential, InstanceSettings, Settings, Simulator};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Nobody is let in who did not say the password, and what goes back is RESP.
pub fn run(input: &[u8]) {
    block_on(async {
        let secret_key = super::tencent::secret("key");
        let credentials = vec![Credential { secret_id: "AKIDone".to_owned(), secret_key, token: None }];
        let instances = vec![InstanceSettings::new("crs-1", OLD)];
        let cloud = Simulator::start(Settings { credentials, instances, ..Settings::default() }).await.unwrap();
        let mut stream = TcpStream::connect(cloud.login_address("crs-1").unwrap()).await.unwrap();
        let mut answer = Vec::new();
        if stream.write_all(input).await.is_ok() && stream.shutdown().await.is_ok() {
            let _end = stream.read_to_end(&mut answer).await;
        }
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.is_empty() || answer.starts_with(['+', '-', '$', '*', '%']), "{answer:?}");
        let let_in = answer.contains("+PONG") || answer.contains("+OK\r\n+OK");
        let said = input.windows(OLD.len()).any(|window| window == OLD.as_bytes());
        let quits = input.windows(4).any(|window| window.eq_ignore_ascii_case(b"QUIT"));
        assert!(!let_in || said || quits, "let in without the password: {answer:?}");
    });
}
