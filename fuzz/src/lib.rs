//! The targets of `tests/fuzz`, built here for libFuzzer. They stand there and nowhere else.

#[path = "../../tests/fuzz/targets/mod.rs"]
pub mod targets;

/// Runs one of the targets, in a process that is set up as Rust's own are: libFuzzer brings its own `main`.
#[macro_export]
macro_rules! fuzz {
    ($target:ident) => {
        libfuzzer_sys::fuzz_target!(init: $crate::survive_closed_pipes(), |input: &[u8]| {
            $crate::targets::$target::run(input);
        });
    };
}

/// A program that does not read what it is given must not end the process.
pub fn survive_closed_pipes() {
    // SAFETY: no handler is installed, and no other thread runs yet.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
}
