//! Any bytes, read as a message of each direction.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| onsembl_fuzz::decode::decode(bytes));
