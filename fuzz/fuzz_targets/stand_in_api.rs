#![no_main]

keywheel_fuzz::fuzz!(stand_in_api);
