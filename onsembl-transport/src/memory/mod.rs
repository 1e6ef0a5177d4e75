//! Links inside one process: for tests, simulations, and peers that live side by side.
//!
//! They behave as sockets do: bounded, with pings answered by the far end when it reads, close
//! frames that are echoed, and a [`Cable`] between the ends that can be cut or frozen.

mod cable;
mod halves;
mod network;

pub use cable::{Cable, Direction};
pub use network::{MemoryDialer, MemoryListener, network};

use crate::link::Link;

/// Two ends of one link. Each holds up to `capacity` frames (at least one) that the other has not
/// read yet.
pub fn pair(capacity: usize) -> (Link, Link) {
    let (a, b, _) = pair_with_cable(capacity);
    (a, b)
}

/// As [`pair`], with the cable between the ends. [`Direction::FirstToSecond`] is from the first
/// link to the second.
pub fn pair_with_cable(capacity: usize) -> (Link, Link, Cable) {
    let cable = Cable::new(capacity);
    let [a, b] = halves::links(&cable, ["memory:first", "memory:second"]);
    (a, b, cable)
}
