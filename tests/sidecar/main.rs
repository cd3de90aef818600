//! `keywheel follow`, the built program: what it renders, what it does as the parent of an application, and the whole story of a rotator, its followers
//! and applications that never stop logging in.

#![cfg(feature = "simulator")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop there")]

mod parent;
mod place;
mod rendering;
#[path = "../common/stage.rs"]
mod stage;
mod story;
mod vanishing;
