// Both ends against the reference model: a small fleet that lives through the faults that the bytes
// name breaks no demand, and every agent is back in the end.

use super::bytes::Bytes;
use core::time::Duration;
use onsembl_protocol::lab::sim::{Fault, FaultKind, Faults, Planned, Scenario};
use onsembl_protocol::lab::watch;

const SECOND: u64 = 1_000_000_000;
/// More faults than a story needs; bounds the time of one input.
const MOST_FAULTS: usize = 40;

/// Any bytes, taken as a fleet and what befalls it.
pub fn model(bytes: &[u8]) {
    let mut bytes = Bytes(bytes);
    let seed = u64::from(bytes.byte());
    let rules = Scenario::from_seed(seed);
    let agents = u32::from(bytes.byte() % 3) + 1;
    let mut faults = Vec::new();
    let mut at = 0;
    while !bytes.is_empty() && faults.len() < MOST_FAULTS {
        at += bytes.short() * SECOND / 256;
        let fault = Fault {
            kind: bytes.pick(FaultKind::ALL),
            agent: u32::from(bytes.byte()) % agents,
            lasts: u64::from(bytes.byte()) * SECOND / 2 + 1,
            code: bytes.short() as u16,
        };
        faults.push(Planned { at, fault });
    }
    let duration = Duration::from_nanos(at + 300 * SECOND);
    let scenario = Scenario { agents, duration, faults: Faults::These(faults), ..rules };
    if let Some((_, wrong)) = watch(&scenario).wrong {
        panic!("{wrong}\n{scenario}");
    }
}
