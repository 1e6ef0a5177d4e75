//! Any bytes, taken as events of an agent's machine with their times.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| onsembl_fuzz::agent::agent(bytes));
