//! Any bytes, as a message that is written and read.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| onsembl_fuzz::roundtrip::roundtrip(bytes));
