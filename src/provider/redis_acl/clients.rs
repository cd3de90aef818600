//! Who is connected as an account now, by `CLIENT LIST` on every node.

use super::node::{Node, in_time};
use super::{DEFAULT_ACCOUNT, RedisAcl};
use crate::fault::Fault;
use crate::provider::{Address, Client};
use crate::secret::Secret;
use futures_util::future::join_all;
use std::time::Duration;

impl RedisAcl {
    /// Every client of every node that is logged in as this account: not those that replicate, and not we ourselves.
    pub(super) async fn connected(&self, address: &Address, current: &Secret) -> Result<Vec<Client>, Fault> {
        let login = self.admin.login(address, &[current]).await?;
        let routes = self.topology(&login).await?;
        let lists = routes.into_iter().map(|route| {
            let login = &login;
            async move {
                let node = route.place().to_string();
                in_time(self.settings.timeout, &node, async {
                    let mut talk = Node::open(&route, login).await?;
                    let list = talk.read(&["CLIENT", "LIST"]).await?;
                    Ok(read(list.text().unwrap_or_default(), &address.account, &node))
                })
                .await
            }
        });
        let found: Result<Vec<Vec<Client>>, Fault> = join_all(lists).await.into_iter().collect();
        Ok(found?.into_iter().flatten().collect())
    }
}

/// The lines of `CLIENT LIST` that are this account's. A server that knows no users names none, and all are the default one's.
fn read(list: &str, account: &str, node: &str) -> Vec<Client> {
    let client = |line: &str| {
        let field = |name: &str| {
            line.split(' ')
                .find_map(|field| field.split_once('=').filter(|(key, _)| *key == name))
                .map(|(_, value)| value)
        };
        let user = field("user").unwrap_or(DEFAULT_ACCOUNT);
        let flags = field("flags").unwrap_or_default();
        let connected_for = Duration::from_secs(field("age")?.parse().ok()?);
        // Nobody else's last command was this list. Before Redis 7 it has no second word, and whoever named itself has the same one.
        let is_fresh = connected_for <= Duration::from_secs(1);
        let is_ours = field("cmd").is_some_and(|command| command == "client|list" || command == "client" && is_fresh);
        if user != account || is_ours || flags.contains(['S', 'M']) {
            return None;
        }
        let name = field("name").filter(|name| !name.is_empty());
        Some(Client {
            node: node.to_owned(),
            from: field("addr")?.to_owned(),
            name: name.map(str::to_owned),
            connected_for,
        })
    };
    list.lines().filter_map(client).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_of_one_account() {
        let list = "id=3 addr=10.0.0.5:52004 laddr=10.0.0.1:6379 fd=8 name=orders age=7200 idle=0 flags=N db=0 cmd=get user=app resp=2\n\
            id=4 addr=10.0.0.6:52005 fd=9 name= age=5 idle=0 flags=P db=0 cmd=subscribe user=app\n\
            id=5 addr=10.0.0.7:52006 fd=10 name= age=5 idle=0 flags=N db=0 cmd=client|list user=app\n\
            id=6 addr=10.0.0.8:52007 fd=11 name= age=900 idle=0 flags=S db=0 cmd=replconf user=app\n\
            id=7 addr=10.0.0.9:52008 fd=12 name= age=900 idle=0 flags=N db=0 cmd=get user=other\n\
            half a line\n";
        let shown: Vec<String> = read(list, "app", "redis://10.0.0.1:6379").iter().map(ToString::to_string).collect();
        assert_eq!(
            shown,
            [
                "orders at 10.0.0.5:52004 (redis://10.0.0.1:6379, connected for 2h)",
                "10.0.0.6:52005 (redis://10.0.0.1:6379, connected for 5s)"
            ]
        );
        let old = "addr=10.0.0.5:52004 fd=8 name= age=7 idle=0 flags=N db=0 cmd=get\n";
        assert_eq!((read(old, "default", "n").len(), read(old, "app", "n").len()), (1, 0));
    }
}
