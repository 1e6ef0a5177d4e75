//! Any bytes, taken as what a node does with its machines.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| onsembl_fuzz::supervisor::supervisor(bytes));
