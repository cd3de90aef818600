//! Redis of one's own, against real servers: what a call does on every node and on its disk, and what is left alone when something is in the way.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop there")]
#![allow(dead_code, reason = "the shared part has more than these tests use")]

#[path = "../common/redis_nodes.rs"]
mod redis_nodes;
#[path = "../common/redis_server.rs"]
mod redis_server;

mod cluster;
mod daemon;
mod guarded;
mod hands;
mod lost;
mod obstacles;
mod settings;
mod users;
