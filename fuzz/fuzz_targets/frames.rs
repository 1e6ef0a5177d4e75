//! Any bytes, read as those of a WebSocket client.
#![no_main]

#[path = "../harness/frames.rs"]
mod frames;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| frames::frames(bytes));
