#![no_main]

keywheel_fuzz::fuzz!(formats);
