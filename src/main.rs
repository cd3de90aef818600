//! The keywheel command.

fn main() {}
