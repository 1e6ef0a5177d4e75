//! Any bytes, taken as the faults that befall a small fleet which the reference model watches.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| onsembl_fuzz::model::model(bytes));
