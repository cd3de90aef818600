//! Request signatures: pure functions from a whole request head and a key to the headers to send, so that no half-signed request exists.

pub mod tc3;
