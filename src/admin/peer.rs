//! Who is at the other end of the control socket, as the kernel says, and whether they may ask anything.
//!
//! The socket's mode is the first guard: its owner, its group and root get through. Where somebody has since opened it to everybody, the mode says
//! nothing any more, and whoever comes has to be one of those all the same.

use crate::fault::{Fault, Kind};
use crate::rotation::event::By;
use nix::unistd::{Gid, Group, Uid, User, getgrouplist};
use std::ffi::CString;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use tokio::net::UnixStream;

/// The bit of a socket's mode that lets everybody connect.
const OTHERS_CONNECT: u32 = 0o002;

/// Who is at the other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Peer {
    uid: u32,
    gid: u32,
}

/// What the socket's file says of who may connect.
#[derive(Debug, Clone, Copy)]
struct Guard {
    mode: u32,
    gid: u32,
}

impl Peer {
    /// As the kernel says.
    pub(super) fn of(stream: &UnixStream) -> Result<Self, Fault> {
        let said = stream.peer_cred().map_err(|error| {
            Fault::new(Kind::Denied, format!("the kernel does not say who asks: {error}"))
                .advise("ask from this machine, through the control socket")
        })?;
        Ok(Self { uid: said.uid(), gid: said.gid() })
    }

    /// Whoever it is, in the record's words.
    pub(super) fn by(self) -> By {
        By::Operator { uid: self.uid }
    }

    /// Whether they may ask, as far as the socket's mode and the kernel's word tell.
    pub(super) fn is_known(self, socket: &Path) -> bool {
        self.may(Uid::effective().as_raw(), Guard::of(socket), Vec::new)
    }

    /// Whether they may ask. Blocks: the user database is asked for their groups.
    ///
    /// # Errors
    /// `Denied`, saying who may.
    pub(super) fn authorise(self, socket: &Path) -> Result<(), Fault> {
        let guard = Guard::of(socket);
        match self.may(Uid::effective().as_raw(), guard, || groups(self.uid)) {
            true => Ok(()),
            false => Err(refusal(self.uid, guard)),
        }
    }

    fn may(self, own: u32, guard: Option<Guard>, groups: impl FnOnce() -> Vec<u32>) -> bool {
        if self.uid == 0 || self.uid == own {
            return true;
        }
        // A socket whose file is gone is nobody's group's.
        let Some(guard) = guard else { return false };
        guard.mode & OTHERS_CONNECT == 0 || self.gid == guard.gid || groups().contains(&guard.gid)
    }
}

impl Guard {
    fn of(socket: &Path) -> Option<Self> {
        std::fs::metadata(socket).ok().map(|found| Self { mode: found.mode(), gid: found.gid() })
    }
}

/// The groups that the user database gives a user.
fn groups(uid: u32) -> Vec<u32> {
    let Ok(Some(user)) = User::from_uid(Uid::from_raw(uid)) else { return Vec::new() };
    let Ok(name) = CString::new(user.name) else { return Vec::new() };
    let groups = getgrouplist(&name, user.gid).unwrap_or_default();
    groups.into_iter().map(Gid::as_raw).collect()
}

fn refusal(uid: u32, guard: Option<Guard>) -> Fault {
    let name = |gid: u32| Group::from_gid(Gid::from_raw(gid)).ok().flatten().map(|group| group.name);
    let group = guard.map(|guard| name(guard.gid).unwrap_or_else(|| guard.gid.to_string()));
    let group = group.unwrap_or_else(|| "of the control socket".to_owned());
    let what =
        format!("user {uid} may not steer keywheel: neither root, nor keywheel's own user, nor in the group {group}");
    Fault::new(Kind::Denied, what).advise(format!(
        "use sudo, or have the user added to the group {group}. The control socket was opened to everybody: `chmod o= SOCKET` ends that"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: u32 = 990;
    const GROUP: u32 = 980;

    fn may(uid: u32, gid: u32, mode: u32, groups: &[u32]) -> bool {
        Peer { uid, gid }.may(OWN, Some(Guard { mode, gid: GROUP }), || groups.to_vec())
    }

    #[test]
    fn a_socket_that_was_opened_to_everybody_is_still_not_everybodys() {
        for mode in [0o660, 0o600, 0o666, 0o777] {
            assert!(may(0, 0, mode, &[]) && may(OWN, 5, mode, &[]), "root and its own user, {mode:o}");
            assert!(may(1_000, GROUP, mode, &[]) && may(1_000, 1_000, mode, &[7, GROUP]), "its group, {mode:o}");
        }
        // Connected, so the mode let it in: by the group of a process that no database knows, or by a list of users.
        assert!(may(1_000, 1_000, 0o660, &[]));
        for mode in [0o666, 0o662] {
            assert!(!may(1_000, 1_000, mode, &[]) && !may(65_534, 65_534, mode, &[7]), "{mode:o}");
        }
    }
}
