//! What the configuration says of a source. What is absent is taken from the variables that the vendor's own tools read, or has a default.

use std::path::PathBuf;
use std::time::Duration;

/// A profile in a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProfileSettings {
    /// The file; absent means where the vendor's tools look.
    pub path: Option<PathBuf>,
    /// The profile's name in it.
    pub name: Option<String>,
}

/// The role of a machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MetadataSettings {
    /// The role's name; absent means that the metadata service is asked for it.
    pub role: Option<String>,
}

/// A role for a pod's own identity.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IdentitySettings {
    /// The identity provider: an id at Tencent Cloud, an ARN at Alibaba Cloud.
    pub provider: Option<String>,
    /// The file that holds the identity's token; another process replaces it from time to time.
    pub token_file: Option<PathBuf>,
    /// The role.
    pub role: Option<String>,
    /// What the cloud's records call this session.
    pub session: Option<String>,
    /// How long one credential should live.
    pub duration: Option<Duration>,
    /// Narrows what the role may do, in the vendor's policy language.
    pub policy: Option<String>,
}

/// A role that another credential may take on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleSettings {
    /// The role's ARN.
    pub role: String,
    /// What the cloud's records call this session.
    pub session: Option<String>,
    /// How long one credential should live.
    pub duration: Option<Duration>,
    /// What the role's owner asks for besides.
    pub external_id: Option<String>,
    /// Narrows what the role may do, in the vendor's policy language.
    pub policy: Option<String>,
}

/// What the cloud's records call a session where nobody says otherwise.
pub const SESSION: &str = "keywheel";
