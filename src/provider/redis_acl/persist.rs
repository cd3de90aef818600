//! By which command a change outlives a restart of the server.

use super::edit::Edit;
use super::look::Look;
use crate::fault::{Fault, Kind};
use serde::Deserialize;

/// How users are made durable.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Persist {
    /// `ACL SAVE` where the server has a file of users, else `CONFIG REWRITE` where it has one of settings, else nothing is changed there.
    #[default]
    Auto,
    /// `ACL SAVE`, on every node.
    AclSave,
    /// `CONFIG REWRITE`, on every node.
    ConfigRewrite,
    /// Not at all: somebody else writes the files, or a restart may forget.
    None,
}

/// The commands that make an edit durable on one node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Saving {
    /// `ACL SAVE`.
    pub acl: bool,
    /// `CONFIG REWRITE`.
    pub config: bool,
}

/// How this edit is made durable there.
///
/// # Errors
/// `Misconfigured` where a restart would forget it.
pub(super) fn saving(look: &Look, edit: &Edit<'_>, persist: Persist) -> Result<Saving, Fault> {
    let node = &look.node;
    let forgotten =
        |what: &str, next_step: &str| Err(Fault::new(Kind::Misconfigured, format!("{node} {what}")).advise(next_step));
    let users = look.user.is_some() && edit.requirepass.is_none();
    let acl = users
        && match persist {
            Persist::None => return Ok(Saving::default()),
            Persist::Auto => look.has_acl_file,
            Persist::AclSave if look.has_acl_file => true,
            Persist::AclSave => {
                return forgotten(
                    "has no file of users for ACL SAVE",
                    "set aclfile on that server, or another persist in the provider",
                );
            }
            Persist::ConfigRewrite if look.has_acl_file => {
                return forgotten(
                    "keeps its users in a file of their own, which CONFIG REWRITE does not write",
                    "set persist = \"auto\" or \"acl-save\" in the provider",
                );
            }
            Persist::ConfigRewrite => false,
        };
    let config = edit.touches_config() || !acl;
    if config && persist == Persist::None {
        return Ok(Saving::default());
    }
    if acl && config && !look.has_config_file {
        return forgotten(
            "was started without a file of settings: it would log in to its master with the old password after a restart",
            "start it with a configuration file, or give its masterauth a user of its own",
        );
    }
    if config && !look.has_config_file {
        return forgotten(
            "was started without a file of settings and has none of users: it would forget the new password when it restarts",
            "start it with a configuration file or an aclfile; or set persist = \"none\" in the provider, if something else gives it the password then",
        );
    }
    Ok(Saving { acl, config })
}
