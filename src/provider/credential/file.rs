//! Files with secrets that other tools write.

use crate::fault::{Fault, Kind, Retry};
use crate::secret::Secret;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use zeroize::{Zeroize, Zeroizing};

/// The largest file that is read, in bytes.
const FILE_LIMIT: usize = 64 * 1024;

/// The text of a profile file, which only its owner may read, and perhaps a group.
pub(super) fn private_text(path: &Path) -> Result<Zeroizing<String>, Fault> {
    let shown = path.display();
    let (text, mode) = text(path)?;
    if mode & 0o027 != 0 {
        let what = format!("The file {shown} has the mode {mode:04o}: others may use it, or its group may change it");
        let next_step =
            "chmod 0600 it (0640 where a group must read it), and replace its keys if others may have read them";
        return Err(Fault::new(Kind::SecretUnreadable, what).advise(next_step));
    }
    Ok(text)
}

/// The token of a pod's identity. The cluster writes it for every process of the pod, so its mode says nothing. It also replaces it from time to
/// time, so a token that cannot be read now may be there later.
pub(in crate::provider) fn identity_token(path: &Path) -> Result<Secret, Fault> {
    let waiting = |mut fault: Fault| {
        fault.retry = Retry::Later;
        fault.advise("check the token file's path and that the cluster projects the service account's token there")
    };
    let (text, _mode) = text(path).map_err(waiting)?;
    let token = text.trim();
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        let what = format!("The file {} holds no identity token", path.display());
        return Err(waiting(Fault::new(Kind::SecretUnreadable, what)));
    }
    Ok(Secret::new(token.to_owned()))
}

fn text(path: &Path) -> Result<(Zeroizing<String>, u32), Fault> {
    let fault = |why: &str| Fault::new(Kind::SecretUnreadable, format!("The file {} {why}", path.display()));
    let unreadable = |error: std::io::Error| fault(&format!("cannot be read: {}", error.kind()));
    // Looked at before it is opened: opening a pipe would wait for its writer. Links are followed, as clusters mount secrets by links.
    if !std::fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err(fault("is not a file"));
    }
    let file = std::fs::File::open(path).map_err(unreadable)?;
    let mode = file.metadata().map_err(unreadable)?.mode() & 0o777;
    let mut bytes = Zeroizing::new(Vec::with_capacity(FILE_LIMIT + 1));
    file.take(FILE_LIMIT as u64 + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() > FILE_LIMIT {
        return Err(fault(&format!("is larger than {FILE_LIMIT} bytes")));
    }
    match String::from_utf8(std::mem::take(&mut *bytes)) {
        Ok(text) => Ok((Zeroizing::new(text), mode)),
        Err(error) => {
            error.into_bytes().zeroize();
            Err(fault("does not hold UTF-8 text"))
        }
    }
}
