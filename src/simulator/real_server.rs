//! Changes the password of a real Redis server, as the operator of the stand-in cloud would.

use super::accounts::AccountSettings;
use super::instance::Instance;
use super::resp;
use super::settings::{InstanceSettings, Server};
use crate::secret::Secret;
use std::io::{Error, ErrorKind, Result};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// The longest a conversation with the server may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// The user of a login without a name.
const DEFAULT: &str = "default";

/// What is to be said to one server.
pub(super) struct Change {
    address: SocketAddr,
    commands: Vec<Vec<Secret>>,
}

/// Logs in with the known password, and lets the accounts beside the default one in.
pub(super) async fn prepare(address: SocketAddr, user: &str, instance: &InstanceSettings) -> Result<()> {
    let mut commands = vec![login(user, instance.password.expose()), words(["PING"])];
    let separator = instance.separator();
    for AccountSettings { name, password, .. } in &instance.accounts {
        let password = password.expose();
        commands.push(words(["ACL", "SETUSER", name, "reset", "on", &format!(">{password}"), "~*", "&*", "+@all"]));
        commands.extend(
            (user == DEFAULT).then(|| words(["ACL", "SETUSER", DEFAULT, &format!(">{name}{separator}{password}")])),
        );
    }
    Change { address, commands }.carry_out().await
}

/// How a real server behind an instance takes the wished password (`None`: no password any more) of an account; `None` where the
/// password opens no real server.
pub(super) fn plan(
    instance: &Instance,
    account: &str,
    wish: Option<&Secret>,
) -> std::result::Result<Option<Change>, String> {
    let settings = &instance.settings;
    let history = instance.accounts.get(account);
    let live = history.ok_or_else(|| format!("{} has no account {account}", settings.id))?.live().expose();
    let Server::Redis { address, user } = &settings.server else {
        return Ok(None);
    };
    let next = wish.map_or("", Secret::expose);
    let added = wish.map_or("nopass".to_owned(), |next| format!(">{}", next.expose()));
    let mut commands = Vec::new();
    if !settings.no_auth {
        commands.push(login(user, instance.live().expose()));
    }
    if account != settings.default_account() {
        commands.push(words(["ACL", "SETUSER", account, "resetpass", &added]));
        if user == DEFAULT && next != live {
            let at = settings.separator();
            let (added, removed) = (format!(">{account}{at}{next}"), format!("<{account}{at}{live}"));
            commands.push(words(["ACL", "SETUSER", DEFAULT, &added, &removed]));
        }
    } else if user != DEFAULT {
        commands.push(words(["ACL", "SETUSER", user, "resetpass", &added]));
    } else if settings.accounts.is_empty() {
        commands.push(words(["CONFIG", "SET", "requirepass", next]));
    } else if next != live {
        // The passwords of other accounts, which this user also has, must stay.
        commands.push(words(["ACL", "SETUSER", DEFAULT, &added, &format!("<{live}")]));
    }
    Ok(Some(Change { address: *address, commands }))
}

/// The default user logs in without its name, as servers before ACLs want it.
fn login(user: &str, password: &str) -> Vec<Secret> {
    if user == DEFAULT { words(["AUTH", password]) } else { words(["AUTH", user, password]) }
}

fn words<const N: usize>(texts: [&str; N]) -> Vec<Secret> {
    texts.map(|text| Secret::new(text.to_owned())).to_vec()
}

impl Change {
    /// Sends commands one by one; the first error answer ends the conversation. The error never repeats what was sent.
    pub(super) async fn carry_out(self) -> Result<()> {
        let Self { address, commands } = self;
        let talk = async {
            let mut stream = BufReader::new(TcpStream::connect(address).await?);
            for arguments in commands {
                let arguments: Vec<&str> = arguments.iter().map(Secret::expose).collect();
                stream.write_all(&resp::command(&arguments)).await?;
                stream.flush().await?;
                let answer = resp::read_line(&mut stream).await?.ok_or(ErrorKind::UnexpectedEof)?;
                if !answer.starts_with('+') {
                    let kind = answer.split(' ').next().unwrap_or_default().to_owned();
                    let name = arguments.first().copied().unwrap_or_default();
                    return Err(Error::other(format!("the Redis server at {address} answered {kind} to {name}")));
                }
            }
            Ok(())
        };
        tokio::time::timeout(PATIENCE, talk).await.unwrap_or_else(|_| Err(ErrorKind::TimedOut.into()))
    }
}
