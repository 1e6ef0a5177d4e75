//! The cost of recording compared with handling a heartbeat, and the time of replaying a recorded day.
//! Each measurement is printed with its goal beside it; nothing is asserted.

#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout, clippy::indexing_slicing)]

use onsembl_protocol::id::{BeatSequence, Epoch, LinkId, PresenceVersion};
use onsembl_protocol::replay::{FrameNote, Handled, Owner, Recorder, ServerOrigin, replay};
use onsembl_protocol::session::{
    Claimant, Dialect, ServerConfig, ServerConnection, ServerEvent, ServerInbound,
};
use onsembl_protocol::step::Actions;
use onsembl_protocol::supervisor::{Key, Supervisor};
use onsembl_protocol::time::{Deadline, Now, Timestamp, WallTime};
use onsembl_protocol::wire::AgentToServer;
use onsembl_protocol::wire::payload::AgentHeartbeat;
use std::hint::black_box;
use std::time::{Duration, Instant};

const LINK: LinkId = LinkId(1);
const INTERVAL: Duration = Duration::from_secs(30);
const RING: usize = 8 * 1024 * 1024;
/// Rounds of each measurement; the best one counts, because others use this machine too.
const ROUNDS: usize = 9;

struct Shard {
    machines: Supervisor<ServerConnection>,
    recorder: Recorder,
    keys: Vec<Key>,
}

fn now(at: Duration) -> Now {
    Now {
        monotonic: Timestamp::from_origin(at),
        boot: Timestamp::from_origin(at + Duration::from_nanos(71)),
        wall: WallTime::from_unix_millis(1_762_041_600_000 + at.as_millis() as i64),
    }
}

impl Shard {
    fn new(ring: usize, agents: usize) -> Self {
        let config = ServerConfig::DEFAULT;
        let mut shard = Self {
            machines: Supervisor::new(ServerConfig::DEFAULT),
            recorder: Recorder::new(ring, config),
            keys: Vec::new(),
        };
        let at = Duration::from_secs(1);
        for _ in 0..agents {
            let (version, epoch) = (PresenceVersion(0), Epoch(0));
            let machine = ServerConnection::new(config, version, epoch, now(at));
            let key = shard.machines.insert(machine);
            let origin = ServerOrigin::New { version, epoch };
            let none = Actions::none();
            shard.recorder.began(key, Owner(0), origin, now(at), &none, Deadline::Never, None);
            let (dialect, claimant) = (Dialect::Extended, Claimant::SameProcess);
            shard.feed(key, ServerEvent::Joined { link: LINK, dialect, claimant }, at, None);
            shard.feed(key, ServerEvent::Admitted { link: LINK, epoch: Epoch(1) }, at, None);
            shard.keys.push(key);
        }
        shard
    }

    fn feed(&mut self, key: Key, event: ServerEvent, at: Duration, frame: Option<FrameNote>) {
        let now = now(at);
        let actions = self.machines.handle(key, event, now).unwrap();
        let machine = self.machines.get(key).unwrap();
        let deadline = self.machines.deadline(key).unwrap();
        let handled = Handled { event, now, frame };
        self.recorder.handled(key, &handled, &actions, deadline, || machine.snapshot());
        let _ = black_box(actions);
    }

    /// Rounds of one beat of each agent, as a server has them: received, recorded, and a wake-up.
    fn beats(&mut self, count: u64, mut each: impl FnMut(&mut Self, Key, ServerEvent, Duration)) {
        let agents = self.keys.len();
        for n in 1..=count {
            let start = Duration::from_secs(1) + INTERVAL * n as u32;
            for index in 0..agents {
                let key = self.keys[index];
                let at = start + Duration::from_micros(index as u64);
                let sequence = Some(BeatSequence(n));
                each(self, key, ServerEvent::Wake, at);
                let heartbeat = ServerInbound::Heartbeat { sequence, seen: sequence };
                let at = at + Duration::from_millis(12);
                each(self, key, ServerEvent::Received(LINK, heartbeat), at);
                let (epoch, sequence) = (Epoch(1), BeatSequence(n));
                let at = at + Duration::from_millis(4);
                let wall = now(at).wall;
                each(self, key, ServerEvent::Recorded { epoch, sequence, at: wall }, at);
            }
        }
    }
}

fn best(mut round: impl FnMut() -> Duration) -> Duration {
    (0..ROUNDS).map(|_| round()).min().unwrap_or_default()
}

/// Nanoseconds for all the events of one beat, without and with the recorder.
fn cost(agents: usize, rounds: u64) -> (f64, f64) {
    let per_beat = |d: Duration| d.as_nanos() as f64 / (agents as u64 * rounds) as f64;
    let handled = best(|| {
        let mut shard = Shard::new(0, agents);
        let begin = Instant::now();
        shard.beats(rounds, |shard, key, event, at| {
            let _ = black_box(shard.machines.handle(key, event, now(at)));
        });
        begin.elapsed()
    });
    let beat = AgentToServer::Heartbeat(AgentHeartbeat::default());
    let recorded = best(|| {
        let mut shard = Shard::new(RING, agents);
        let begin = Instant::now();
        shard.beats(rounds, |shard, key, event, at| {
            let frame = match event {
                ServerEvent::Received(..) => Some(FrameNote::message(&beat, 214)),
                _ => None,
            };
            shard.feed(key, event, at, frame);
        });
        begin.elapsed()
    });
    (per_beat(handled), per_beat(recorded))
}

/// A machine that was not announced is recorded from a checkpoint on.
fn checkpoint_size() -> usize {
    let mut shard = Shard::new(RING, 1);
    let key = shard.keys[0];
    for n in 1..4 {
        let sequence = Some(BeatSequence(n));
        let frame = ServerInbound::Heartbeat { sequence, seen: sequence };
        let _ = shard.machines.handle(key, ServerEvent::Received(LINK, frame), now(INTERVAL));
    }
    shard.recorder = Recorder::new(RING, ServerConfig::DEFAULT);
    shard.feed(key, ServerEvent::Wake, INTERVAL, None);
    shard.recorder.excerpt(key).unwrap().size()
}

fn main() {
    for (agents, rounds) in [(1, 100_000), (1_000, 200), (10_000, 20), (100_000, 4)] {
        let (handled, recorded) = cost(agents, rounds);
        println!(
            "{agents:>6} agents: a beat (received, stored, answered, woken) {handled:.0} ns, \
             recorded {recorded:.0} ns; recording alone {:.0} ns",
            recorded - handled
        );
    }

    println!("a checkpoint has {} bytes", checkpoint_size());

    let mut shard = Shard::new(RING, 1);
    shard.beats(2_880, |shard, key, event, at| {
        let beat = AgentToServer::Heartbeat(AgentHeartbeat::default());
        let frame =
            matches!(event, ServerEvent::Received(..)).then(|| FrameNote::message(&beat, 214));
        shard.feed(key, event, at, frame);
    });
    let excerpt = shard.recorder.excerpt(shard.keys[0]).unwrap();
    let size = excerpt.size();
    let begin = Instant::now();
    let file = String::from_utf8(excerpt.to_bytes("agent")).unwrap();
    let exported = begin.elapsed();
    let entries = replay(&file).unwrap().entries;
    println!(
        "a day of one agent: {entries} entries, {size} bytes in the ring ({:.1} an entry), {} bytes \
         as a file, exported in {:.2} ms",
        size as f64 / entries as f64,
        file.len(),
        exported.as_secs_f64() * 1e3
    );
    let replayed = best(|| {
        let begin = Instant::now();
        black_box(replay(&file)).unwrap();
        begin.elapsed()
    });
    println!(
        "replay of a day, 2,880 beats: {:.2} ms ({:.0} ns an entry; goal: <= 5 ms)",
        replayed.as_secs_f64() * 1e3,
        replayed.as_nanos() as f64 / entries as f64
    );
}
