#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| crosspoint_fuzz::run("scram", input));
