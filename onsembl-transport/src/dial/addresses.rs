//! In which order the addresses of a name are tried.
//!
//! Families take turns (RFC 8305, section 4), and an address that failed lately goes last, however far
//! the dial came there: one that accepts connections and then says nothing must not hide the others.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Most addresses of a name that are looked at. Names with more have them for sharing a load.
const MOST: usize = 16;

/// Most failed addresses that are remembered: those of a name that changes them all the time must not
/// fill the memory.
const REMEMBERED: usize = 64;

/// Addresses that failed lately, the longest ago first.
#[derive(Debug, Default)]
pub(super) struct Memory {
    failed: Mutex<VecDeque<SocketAddr>>,
    dialled: Mutex<Option<SocketAddr>>,
}

impl Memory {
    /// The order in which to try these addresses.
    pub(super) fn order(&self, found: impl IntoIterator<Item = SocketAddr>) -> Vec<SocketAddr> {
        let mut ordered = interleaved(found);
        let failed = lock(&self.failed);
        // A stable sort: those that did not fail keep their order.
        ordered.sort_by_key(|address| failed.iter().position(|f| f == address).map(|at| at + 1));
        ordered
    }

    /// The dial did not get through there.
    pub(super) fn failed(&self, address: SocketAddr) {
        let mut failed = lock(&self.failed);
        failed.retain(|other| *other != address);
        failed.push_back(address);
        while failed.len() > REMEMBERED {
            let _ = failed.pop_front();
        }
    }

    /// The dial got through there.
    pub(super) fn succeeded(&self, address: SocketAddr) {
        lock(&self.failed).retain(|other| *other != address);
        *lock(&self.dialled) = Some(address);
    }

    /// The dial that got through last was of no use.
    pub(super) fn last_was_of_no_use(&self) {
        let last = lock(&self.dialled).take();
        if let Some(address) = last {
            self.failed(address);
        }
    }
}

/// The families take turns, beginning with that of the first address.
fn interleaved(found: impl IntoIterator<Item = SocketAddr>) -> Vec<SocketAddr> {
    let mut all: Vec<SocketAddr> = Vec::new();
    for address in found.into_iter().take(MOST) {
        if !all.contains(&address) {
            all.push(address);
        }
    }
    let Some(first) = all.first().copied() else { return all };
    let (ours, others): (VecDeque<_>, VecDeque<_>) =
        all.iter().copied().partition(|a| a.is_ipv4() == first.is_ipv4());
    let longest = ours.len().max(others.len());
    let turn = |at: usize| [ours.get(at).copied(), others.get(at).copied()];
    (0..longest).flat_map(turn).flatten().collect()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> SocketAddr {
        format!("{text}:1").parse().unwrap()
    }

    #[test]
    fn families_take_turns() {
        let found = ["[::1]", "[::2]", "[::3]", "10.0.0.1", "10.0.0.2", "[::1]"].map(at);
        let wanted = ["[::1]", "10.0.0.1", "[::2]", "10.0.0.2", "[::3]"].map(at);
        assert_eq!(Memory::default().order(found), wanted);
        assert_eq!(Memory::default().order([]), []);
    }

    #[test]
    fn an_address_that_failed_goes_last_until_a_dial_gets_through_there() {
        let found = ["10.0.0.1", "10.0.0.2", "10.0.0.3"].map(at);
        let memory = Memory::default();
        memory.failed(at("10.0.0.1"));
        assert_eq!(memory.order(found), ["10.0.0.2", "10.0.0.3", "10.0.0.1"].map(at));
        memory.failed(at("10.0.0.2"));
        assert_eq!(memory.order(found), ["10.0.0.3", "10.0.0.1", "10.0.0.2"].map(at));
        memory.failed(at("10.0.0.1"));
        assert_eq!(memory.order(found), ["10.0.0.3", "10.0.0.2", "10.0.0.1"].map(at));
        memory.succeeded(at("10.0.0.1"));
        assert_eq!(memory.order(found), ["10.0.0.1", "10.0.0.3", "10.0.0.2"].map(at));
        // Its hello was not answered.
        memory.last_was_of_no_use();
        memory.last_was_of_no_use();
        assert_eq!(memory.order(found), ["10.0.0.3", "10.0.0.2", "10.0.0.1"].map(at));
    }

    #[test]
    fn no_more_failures_are_remembered_than_are_of_use() {
        let memory = Memory::default();
        for port in 0..10_000 {
            memory.failed(SocketAddr::from(([10, 0, 0, 1], port)));
        }
        assert_eq!(lock(&memory.failed).len(), REMEMBERED);
    }
}
