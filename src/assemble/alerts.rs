//! Who is alerted: the configured kind in, a channel out.

use super::stores::read_anew;
use super::{at, now};
use crate::alert::Channel;
use crate::alert::dead_man::DeadMan;
use crate::alert::slack::Slack;
use crate::alert::webhook::Webhook;
use crate::config::{self, ChannelKind, Config};
use crate::fault::Fault;
use crate::http::Settings;
use crate::http::signed::ReceiverSettings;
use crate::name::ChannelName;
use crate::watch::Post;
use crate::watch::conditions::Patience;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Every channel, and what it is told.
///
/// # Errors
/// The first one that cannot be made, with the key it stands under.
pub fn posts(config: &Config) -> Result<BTreeMap<ChannelName, Post>, Fault> {
    let post = |(name, configured): (&ChannelName, &config::Channel)| {
        let channel = channel(configured).map_err(|fault| at("alerts", name, fault))?;
        Ok((name.clone(), Post { channel, events: configured.events.clone(), gather: configured.gather }))
    };
    config.alerts.iter().map(post).collect()
}

/// What is called while all is well.
pub fn dead_man(config: &Config) -> Option<DeadMan> {
    let reach = Settings { timeout: crate::alert::TIMEOUT, ca_file: None };
    config.watch.dead_man_url.as_ref().map(|url| DeadMan::new(read_anew(url), reach))
}

/// How long some conditions may last before anybody is alerted.
pub fn patience(config: &Config) -> Patience {
    Patience { doubt: config.watch.doubt_after, behind: config.watch.behind_after }
}

/// The name of this machine, as alerts give it.
pub fn host() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    let name = name.trim();
    if !name.is_empty() && name.bytes().all(is_name) { name.to_owned() } else { "localhost".to_owned() }
}

fn channel(channel: &config::Channel) -> Result<Arc<dyn Channel>, Fault> {
    let reach = Settings { timeout: channel.timeout, ca_file: channel.ca_file.clone() };
    match &channel.kind {
        ChannelKind::Webhook { url, signing_key, token } => {
            let settings = ReceiverSettings {
                url: url.clone(),
                signing_key: read_anew(signing_key),
                token: token.as_ref().map(read_anew),
                reach,
            };
            Webhook::new(settings, now()).map(|webhook| Arc::new(webhook) as Arc<dyn Channel>)
        }
        ChannelKind::Slack { url } => Ok(Arc::new(Slack::new(read_anew(url), reach))),
        ChannelKind::Smtp(settings) => smtp(channel, settings),
    }
}

#[cfg(feature = "smtp")]
fn smtp(channel: &config::Channel, smtp: &config::SmtpChannel) -> Result<Arc<dyn Channel>, Fault> {
    use crate::alert::smtp::{Privacy, Smtp, SmtpSettings};
    let settings = SmtpSettings {
        server: smtp.server.clone(),
        port: smtp.port,
        privacy: match smtp.tls {
            config::SmtpTls::StartTls => Privacy::StartTls,
            config::SmtpTls::Implicit => Privacy::Implicit,
            config::SmtpTls::None => Privacy::InClear,
        },
        login: smtp.login.as_ref().map(|(user, password)| (user.clone(), read_anew(password))),
        from: smtp.from.clone(),
        to: smtp.to.clone(),
        timeout: channel.timeout,
        ca_file: channel.ca_file.clone(),
        host: host(),
    };
    Smtp::new(settings).map(|smtp| Arc::new(smtp) as Arc<dyn Channel>)
}

#[cfg(not(feature = "smtp"))]
fn smtp(_channel: &config::Channel, _smtp: &config::SmtpChannel) -> Result<Arc<dyn Channel>, Fault> {
    Err(Fault::new(crate::fault::Kind::ConfigInvalid, "This keywheel was built without alerts by mail")
        .advise("build it with `--features smtp`"))
}
