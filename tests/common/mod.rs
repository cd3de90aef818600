//! What several test files share.

pub mod plain_http;
pub mod receiver;
pub mod redis_nodes;
pub mod redis_server;
pub mod stage;
pub mod traces;
