//! Two users whose agents share one shard, with a fleet each, in virtual time: whatever the one does, every byte that
//! the agents of the other are sent comes at the same moment, and all that the other's fleet shows, stores and answers
//! is the same.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[path = "apart/owner.rs"]
mod owner;
#[path = "apart/peers.rs"]
mod peers;

use onsembl_protocol::id::UserId;
use owner::{Fleets, Owner};
use peers::{Given, Manners, Peer};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// Things that each agent of the watched user does, half a second apart.
const STEPS: u64 = 60;
/// Until everything that they caused has happened.
const SETTLED: Duration = Duration::from_secs(120);

/// Who is there besides the user that is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Neighbour {
    None,
    Hostile,
}

/// All that user `u` is given, in the order in which it comes.
fn given(seed: u64, neighbour: Neighbour, fleets: Fleets) -> Vec<String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async {
        let (began, (orders, taken)) = (Instant::now(), mpsc::unbounded_channel());
        let log = Given::new(began);
        let end = began + Duration::from_millis(500) * STEPS as u32 + SETTLED;
        let owner = Owner::new(UserId::new("u"), log.clone(), fleets);
        for agent in 0..2 {
            let peer = Peer::new(seed, "u", agent, Some(log.clone()), orders.clone());
            tokio::spawn(peer.run(Manners::Fair, STEPS));
        }
        if neighbour == Neighbour::Hostile {
            for agent in 0..4 {
                let peer = Peer::new(seed + 1000, "v", agent, None, orders.clone());
                tokio::spawn(peer.run(Manners::Hostile, 8 * STEPS));
            }
        }
        owner.run(taken, end).await;
        log.take()
    })
}

fn assert_same(seed: u64, one: &[String], other: &[String]) {
    for (n, (one, other)) in one.iter().zip(other).enumerate() {
        assert_eq!(one, other, "seed {seed}, thing {n}");
    }
    assert_eq!(one.len(), other.len(), "seed {seed}");
}

#[test]
fn what_one_user_is_given_is_the_same_whatever_another_does() {
    let mut things = 0;
    for seed in 0..16 {
        let alone = given(seed, Neighbour::None, Fleets::OfEach);
        let beside = given(seed, Neighbour::Hostile, Fleets::OfEach);
        assert_same(seed, &alone, &beside);
        things += alone.len();
    }
    assert!(things > 16 * 200, "{things}");
}

#[test]
fn a_run_is_the_same_each_time() {
    let run = || given(7, Neighbour::Hostile, Fleets::OfEach);
    assert_same(7, &run(), &run());
}

/// What the property above would not notice would be worth nothing.
#[test]
fn a_fleet_that_two_users_share_is_noticed() {
    let alone = given(3, Neighbour::None, Fleets::OfAll);
    let beside = given(3, Neighbour::Hostile, Fleets::OfAll);
    assert_ne!(alone, beside);
}
