//! What is fuzzed: for each parser of what others write, a function that takes any bytes and panics where a promise is broken. `tests/fuzz`
//! runs them over the corpus, `fuzz/` under libFuzzer.

pub mod acl;
pub mod alibaba;
pub mod command;
pub mod config;
pub mod credentials;
pub mod events;
pub mod formats;
pub mod login;
pub mod reply;
pub mod rows;
pub mod schedule;
pub mod stage;
pub mod stand_in_api;
pub mod stand_in_login;
pub mod template;
pub mod tencent;
