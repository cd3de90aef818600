//! The container: what is handed out in `container/` is right, and the image does what it is for.

#![cfg(feature = "simulator")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop there")]

#[path = "../common/mod.rs"]
mod common;
mod helm;
mod image;
mod manifests;
