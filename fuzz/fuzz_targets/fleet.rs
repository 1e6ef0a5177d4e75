//! Any bytes, taken as what the agents and the dashboards of one user say to a server whose store answers late or
//! never. What the server holds of them is measured at the allocator.
#![no_main]

use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use std::alloc::System;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

fn held() -> usize {
    let counted = ALLOCATOR.stats();
    counted.bytes_allocated.saturating_sub(counted.bytes_deallocated)
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| onsembl_fuzz::fleet::bounded(bytes, held));
