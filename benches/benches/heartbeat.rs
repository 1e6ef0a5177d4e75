//! One heartbeat through the machines of one agent, and through a supervisor of many.

#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing)]

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use onsembl_protocol::id::{BeatSequence, Epoch, LinkId, PresenceVersion};
use onsembl_protocol::session::{
    Claimant, Dialect, ServerConfig, ServerConnection, ServerEvent, ServerInbound,
};
use onsembl_protocol::supervisor::Supervisor;
use onsembl_protocol::time::Now;
use std::hint::black_box;
use std::time::Duration;

const LINK: LinkId = LinkId(1);

fn connected() -> ServerConnection {
    let now = Now::without_suspend(Duration::ZERO);
    let mut machine =
        ServerConnection::new(ServerConfig::DEFAULT, PresenceVersion(0), Epoch(0), now);
    let joined = ServerEvent::Joined {
        link: LINK,
        dialect: Dialect::Extended,
        claimant: Claimant::SameProcess,
    };
    let _ = black_box(machine.handle(joined, now));
    let _ = black_box(machine.handle(ServerEvent::Admitted { link: LINK, epoch: Epoch(1) }, now));
    machine
}

fn beat(sequence: u64) -> ServerEvent {
    let sequence = Some(BeatSequence(sequence));
    ServerEvent::Received(LINK, ServerInbound::Heartbeat { sequence, seen: sequence })
}

fn one(c: &mut Criterion) {
    let mut machine = connected();
    let mut n = 0;
    c.bench_function("a beat of one agent", |b| {
        b.iter(|| {
            n += 1;
            machine.handle(beat(n), Now::without_suspend(Duration::from_millis(n)))
        });
    });
}

fn many(c: &mut Criterion) {
    let mut group = c.benchmark_group("a beat of one agent of many");
    for count in [100usize, 10_000] {
        let mut supervisor = Supervisor::<ServerConnection>::new(ServerConfig::DEFAULT);
        let keys: Vec<_> = (0..count).map(|_| supervisor.insert(connected())).collect();
        let mut n = 0u64;
        group.bench_function(BenchmarkId::from_parameter(count), |b| {
            b.iter(|| {
                n += 1;
                let key = keys[n.wrapping_mul(0x9e37_79b9_7f4a_7c15) as usize % count];
                supervisor
                    .handle(key, beat(n), Now::without_suspend(Duration::from_millis(n)))
                    .unwrap()
            });
        });
    }
    group.finish();
}

criterion_group!(benches, one, many);
criterion_main!(benches);
