//! One heartbeat among a million connections, and a million deadlines at once.
//!
//! Run with `cargo bench --package onsembl-benches --bench supervisor`. Every line is the median of
//! several rounds; ratios are of numbers of the same run.

#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stdout)]

use onsembl_protocol::id::{BeatSequence, Epoch, LinkId, PresenceVersion};
use onsembl_protocol::session::{
    Claimant, Dialect, ServerAction, ServerConfig, ServerConnection, ServerEvent, ServerInbound,
};
use onsembl_protocol::supervisor::{Key, Supervisor};
use onsembl_protocol::time::{Deadline, Now};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use std::alloc::System;
use std::hint::black_box;
use std::time::{Duration, Instant};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const LINK: LinkId = LinkId(1);
const MILLION: usize = 1_000_000;
const ROUNDS: usize = 7;
const EVENTS: u64 = 1_000_000;
const BUDGET: usize = 256;
/// Events that a server hands over together.
const BATCH: usize = 64;

type Fleet = Supervisor<ServerConnection>;

fn at(elapsed: Duration) -> Now {
    Now::without_suspend(elapsed)
}

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// Agents in session since time zero.
fn fleet(count: usize) -> (Fleet, Vec<Key>) {
    let mut supervisor = Fleet::new(ServerConfig::DEFAULT);
    let now = at(secs(0));
    let joined = ServerEvent::Joined {
        link: LINK,
        dialect: Dialect::Extended,
        claimant: Claimant::SameProcess,
    };
    let keys = (0..count)
        .map(|_| {
            let machine =
                ServerConnection::new(ServerConfig::DEFAULT, PresenceVersion(0), Epoch(0), now);
            let key = supervisor.insert(machine);
            let admitted = ServerEvent::Admitted { link: LINK, epoch: Epoch(1) };
            black_box(supervisor.handle(key, joined, now));
            black_box(supervisor.handle(key, admitted, now));
            key
        })
        .collect();
    (supervisor, keys)
}

fn beat(n: u64) -> ServerEvent {
    let (sequence, seen) = (Some(BeatSequence(n)), Some(BeatSequence(u64::MAX)));
    ServerEvent::Received(LINK, ServerInbound::Heartbeat { sequence, seen })
}

fn recorded(n: u64, now: Now) -> ServerEvent {
    ServerEvent::Recorded { epoch: Epoch(1), sequence: BeatSequence(n), at: now.wall }
}

/// The random order, the same for every measurement: Vigna's SplitMix64.
fn random(n: u64) -> u64 {
    let z = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn pick(n: u64, count: usize) -> usize {
    ((u128::from(random(n)) * count as u128) >> 64) as usize
}

fn median(mut metrics: Vec<f64>) -> f64 {
    metrics.sort_by(f64::total_cmp);
    metrics[metrics.len() / 2]
}

fn nanos_each(events: u64, mut run: impl FnMut()) -> f64 {
    let start = Instant::now();
    run();
    start.elapsed().as_nanos() as f64 / events as f64
}

/// A virtual clock so slow that no peer is silent for long in all rounds together.
fn clock(n: u64) -> Now {
    at(Duration::from_nanos(1 + n * 100))
}

struct Beats {
    received: f64,
    /// In batches of [`BATCH`].
    batched: f64,
    round: f64,
    allocations: usize,
}

fn beats(count: usize) -> Beats {
    let (mut supervisor, keys) = fleet(count);
    // Drawn beforehand, so that finding the key is not measured.
    let order: Vec<Key> = (0..EVENTS).map(|n| keys[pick(n, count)]).collect();
    let mut n = 0;
    let mut allocations = 0;
    let mut received = |supervisor: &mut Fleet| {
        let region = Region::new(ALLOCATOR);
        let metric = nanos_each(EVENTS, || {
            for key in &order {
                n += 1;
                black_box(&supervisor.handle(*key, beat(n), clock(n)));
            }
        });
        allocations += region.change().allocations;
        metric
    };
    let received_metrics = (0..ROUNDS).map(|_| received(&mut supervisor)).collect();
    let mut batch = Vec::with_capacity(BATCH);
    let mut batched = |supervisor: &mut Fleet| {
        let region = Region::new(ALLOCATOR);
        let metric = nanos_each(EVENTS, || {
            for keys in order.chunks(BATCH) {
                batch.clear();
                batch.extend(keys.iter().map(|key| {
                    n += 1;
                    (*key, beat(n))
                }));
                supervisor.handle_batch(&batch, clock(n), |_, out| {
                    let _ = black_box(out);
                });
            }
        });
        allocations += region.change().allocations;
        metric
    };
    let batched_metrics = (0..ROUNDS).map(|_| batched(&mut supervisor)).collect();
    let mut round = |supervisor: &mut Fleet| {
        nanos_each(EVENTS, || {
            for key in &order {
                n += 1;
                let now = clock(n);
                black_box(&supervisor.handle(*key, beat(n), now));
                black_box(&supervisor.handle(*key, recorded(n, now), now));
            }
        })
    };
    let round_metrics = (0..ROUNDS).map(|_| round(&mut supervisor)).collect();
    Beats {
        received: median(received_metrics),
        batched: median(batched_metrics),
        round: median(round_metrics),
        allocations,
    }
}

/// A standing-alone machine, and what the loop around it costs.
fn alone() -> f64 {
    let now = at(secs(0));
    let mut machine =
        ServerConnection::new(ServerConfig::DEFAULT, PresenceVersion(0), Epoch(0), now);
    let joined = ServerEvent::Joined {
        link: LINK,
        dialect: Dialect::Extended,
        claimant: Claimant::SameProcess,
    };
    let _ = black_box(machine.handle(joined, now));
    let _ = black_box(machine.handle(ServerEvent::Admitted { link: LINK, epoch: Epoch(1) }, now));
    let mut n = 0;
    let mut run = || {
        nanos_each(EVENTS, || {
            for _ in 0..EVENTS {
                n += 1;
                let _ = black_box(&machine.handle(beat(n), clock(n)));
            }
        })
    };
    median((0..ROUNDS).map(|_| run()).collect())
}

/// Reads at random places of an array as large as the hot state of `connections` connections: each place
/// known beforehand, and each found only by the read before it.
fn cache_miss(count: usize) -> (f64, f64) {
    let words: Vec<u64> = (0..(count * Fleet::HOT_BYTES / 8) as u64).map(random).collect();
    let mut n = 0;
    let mut sum = 0u64;
    let mut independent = || {
        nanos_each(EVENTS, || {
            for _ in 0..EVENTS {
                n += 1;
                sum = sum.wrapping_add(words[pick(n, words.len())]);
            }
        })
    };
    let independent = median((0..ROUNDS).map(|_| independent()).collect());
    let mut next = sum;
    let mut dependent = || {
        nanos_each(EVENTS, || {
            for _ in 0..EVENTS {
                n += 1;
                next = words[pick(n ^ next, words.len())];
            }
        })
    };
    let dependent = median((0..ROUNDS).map(|_| dependent()).collect());
    black_box((sum, next));
    (independent, dependent)
}

/// Sweeps until nothing is due; nanoseconds for each machine woken, how many were closed,
/// and the longest of the sweeps.
fn sweep_all(supervisor: &mut Fleet, now: Now) -> (f64, usize, Duration) {
    let (mut woken, mut closed, mut longest) = (0, 0, Duration::ZERO);
    let start = Instant::now();
    loop {
        let begun = Instant::now();
        let swept = supervisor.sweep(now, BUDGET, |_, actions| {
            closed += usize::from(actions.iter().any(|a| matches!(a, ServerAction::Close(..))));
        });
        longest = longest.max(begun.elapsed());
        woken += swept.woken;
        if !swept.more_due {
            break;
        }
    }
    (start.elapsed().as_nanos() as f64 / woken as f64, closed, longest)
}

struct Expiries {
    own_beat: f64,
    stale: f64,
    timed_out: f64,
    longest: Duration,
}

/// The whole fleet falls silent in one instant, and each of its deadlines comes for all at once.
fn expiries() -> Expiries {
    let (mut own_beat, mut stale, mut timed_out) = (Vec::new(), Vec::new(), Vec::new());
    let (mut supervisor, _) = fleet(MILLION);
    let mut longest = Duration::ZERO;
    while let Deadline::At(due) = supervisor.next_wake() {
        let elapsed = due.since_origin();
        let (each, closed, longest_here) = sweep_all(&mut supervisor, at(elapsed));
        longest = longest.max(longest_here);
        match elapsed.as_millis() {
            30_000 => own_beat.push(each),
            45_000 => stale.push(each),
            _ => {}
        }
        if closed > 0 {
            assert_eq!(closed, MILLION);
            timed_out.push(each);
            break;
        }
    }
    Expiries {
        own_beat: median(own_beat),
        stale: median(stale),
        timed_out: median(timed_out),
        longest,
    }
}

fn next_wake(supervisor: &Fleet) -> f64 {
    let run = || {
        nanos_each(EVENTS, || {
            for _ in 0..EVENTS {
                let _ = black_box(black_box(supervisor).next_wake());
            }
        })
    };
    median((0..ROUNDS).map(|_| run()).collect())
}

/// A minute of a fleet whose beats are spread over the interval: blocks looked through without a result for
/// each machine that is woken. Counted, not timed.
fn in_vain(count: usize) -> f64 {
    let (mut supervisor, keys) = fleet(count);
    let (mut woken, mut in_vain) = (0, 0);
    let step = Duration::from_millis(10);
    let per_step = count as u64 * 10 / 30_000;
    let mut n = 0u64;
    for tick in 0..9_000u32 {
        let now = at(step * tick);
        for _ in 0..per_step {
            // Each in its turn, in an order that has nothing to do with the slots.
            let key = keys[(n * 7_919) as usize % count];
            n += 1;
            black_box(supervisor.handle(key, beat(n), now));
            black_box(supervisor.handle(key, recorded(n, now), now));
        }
        loop {
            let swept = supervisor.sweep(now, BUDGET, |_, actions| {
                let _ = black_box(&actions);
            });
            if tick >= 3_000 {
                woken += swept.woken;
                in_vain += swept.in_vain;
            }
            if !swept.more_due {
                break;
            }
        }
    }
    in_vain as f64 / woken.max(1) as f64
}

fn main() {
    println!("hot state per connection   {:>8} bytes         goal <= 96", Fleet::HOT_BYTES);
    let alone = alone();
    println!("beat, machine alone        {alone:>8.1} ns");
    let one = beats(1);
    for (name, metric) in [("1", &one), ("1 000", &beats(1_000))] {
        println!("beat of {name:<18} {:>8.1} ns", metric.received);
        println!("  in batches of {BATCH}         {:>8.1} ns", metric.batched);
        println!("  full round               {:>8.1} ns", metric.round);
    }
    let million = beats(MILLION);
    let (independent, dependent) = cache_miss(MILLION);
    println!("beat of 1 000 000          {:>8.1} ns            goal <= 60", million.received);
    println!("  in batches of {BATCH}         {:>8.1} ns            goal <= 60", million.batched);
    println!("  full round               {:>8.1} ns", million.round);
    println!("  allocations in all beats {:>8}               goal 0", million.allocations);
    println!("random read, independent   {independent:>8.1} ns");
    println!("random read, dependent     {dependent:>8.1} ns");
    for (name, miss) in [("independent", independent), ("dependent", dependent)] {
        let ratio = million.received / (one.received + miss);
        println!("beat / (single + {name:<11}) {ratio:>7.2}            goal <= 1.5");
    }
    let expiries = expiries();
    println!("1 000 000 at once, in sweeps of {BUDGET}:");
    println!("  own beat due             {:>8.1} ns each", expiries.own_beat);
    println!("  silent for stale-after   {:>8.1} ns each", expiries.stale);
    println!("  silent for timeout-after {:>8.1} ns each       goal <= 50", expiries.timed_out);
    println!("  longest sweep            {:>8.1} us", expiries.longest.as_nanos() as f64 / 1e3);
    let (supervisor, _) = fleet(MILLION);
    println!("next_wake of 1 000 000     {:>8.1} ns", next_wake(&supervisor));
    println!("blocks unused per wake     {:>8.2}", in_vain(90_000));
}
