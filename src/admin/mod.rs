//! The control socket: a Unix socket by which the command line steers a running daemon.
//!
//! `server` lets connections in and bounds them, `peer` knows who may ask, `api` what can be asked and what is answered, `sight` what can be
//! looked at, `events` tells what happens, `token` lets in who holds one, `client` is the command line's side.

pub mod api;
mod client;
mod events;
mod peer;
mod server;
pub mod sight;
pub mod token;

pub use api::Api;
pub use client::Control;
pub use server::serve;

use serde::{Deserialize, Serialize};

/// The longest request or answer, in bytes.
pub const MESSAGE_LIMIT: usize = 64 * 1024;

/// Where the API lives; a change that breaks a client gets another number.
const VERSION: &str = "v1";

/// What a request carries beside its path. No `Debug`: it may hold a password.
#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Request {
    /// Why, in the asker's words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
    /// Whether it begins on dates on which nothing begins by itself, for `rotate`.
    #[serde(default)]
    pub(crate) through_freeze: bool,
    /// A password, for `adopt` and `replace`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) password: Option<String>,
    /// Which account of a pair, for `adopt` and `replace`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) account: Option<String>,
    /// For how long, in seconds, for `pause`; without it until somebody resumes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) seconds: Option<u64>,
    /// Whether a reset is allowed, for `resume`.
    #[serde(default)]
    pub(crate) allow_reset: bool,
    /// Whether every password that may be live is wanted, for `reveal`.
    #[serde(default)]
    pub(crate) all: bool,
}

/// What a request is answered with. No `Debug`: what was done may be to say a password.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Reply {
    /// It was done.
    Done(String),
    /// It was not.
    Refused(crate::fault::Fault),
}
