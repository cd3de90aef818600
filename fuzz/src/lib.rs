//! The targets of `tests/fuzz`, built here for libFuzzer. They stand there and nowhere else.

#[path = "../../tests/fuzz/targets/mod.rs"]
pub mod targets;
