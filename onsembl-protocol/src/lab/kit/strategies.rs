//! Strategies for single values: times, close causes, dial failures, samples of the clocks.
//!
//! Scripts are made of these. Use them alone where a test needs just one value.

use crate::close::{Breakage, CloseCause, CloseCode, CloseReason};
use crate::id::{BeatSequence, Epoch};
use crate::model::{Dialect, HeartbeatTiming};
use crate::session::{
    AgentInbound, Claimant, DialFailure, HelloRefusal, ServerBeat, ServerInbound, SessionTerms,
    StoreTrouble,
};
use crate::time::{Now, Timestamp, WallTime};
use core::time::Duration;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use std::vec::Vec;

/// Valid times of liveness: the default first, then short, tight and long ones, then any.
pub fn timing() -> impl Strategy<Value = HeartbeatTiming> {
    let of = |(interval, stale, timeout): (u64, u64, u64)| {
        let ms = Duration::from_millis;
        HeartbeatTiming::new(ms(interval), ms(stale), ms(timeout)).unwrap_or_default()
    };
    prop_oneof![
        6 => Just(HeartbeatTiming::DEFAULT),
        2 => select(&[(1_000, 2_500, 5_000), (5_000, 5_001, 5_002), (600_000, 900_000, 3_600_000)][..])
            .prop_map(of),
        1 => (1_000u64..60_000, 1u64..60_000, 1u64..120_000)
            .prop_map(move |(i, s, t)| of((i, i + s, i + s + t))),
    ]
}

/// Which protocol a peer speaks; mostly the present one.
pub fn dialect() -> impl Strategy<Value = Dialect> {
    prop_oneof![4 => Just(Dialect::Extended), 1 => Just(Dialect::Legacy)]
}

/// What the answer to a hello settles.
pub fn terms() -> impl Strategy<Value = SessionTerms> {
    (dialect(), 1u64..4, timing(), any::<bool>()).prop_map(
        |(dialect, epoch, timing, end_orders)| SessionTerms {
            dialect,
            epoch: Epoch(epoch),
            timing,
            end_orders,
        },
    )
}

/// Every way in which a dial can fail.
pub(crate) fn dial_failure() -> impl Strategy<Value = DialFailure> {
    let busy = |seconds| DialFailure::Busy { retry_after: Some(Duration::from_secs(seconds)) };
    select(std::vec![
        DialFailure::Unreachable,
        DialFailure::TimedOut,
        DialFailure::Tls,
        DialFailure::NotAServer(0),
        DialFailure::NotAServer(403),
        DialFailure::NotAServer(502),
        DialFailure::NoToken,
        DialFailure::Unauthorized,
        DialFailure::Busy { retry_after: None },
        busy(5),
        busy(120),
        DialFailure::Forbidden,
    ])
}

/// Every cause of a close: those with a code of their own, every breakage, no code and foreign ones.
pub(crate) fn close_cause() -> impl Strategy<Value = CloseCause> {
    let mut causes: Vec<CloseCause> = CloseCause::ALL.to_vec();
    causes.extend([
        CloseCause::Broken(Breakage::EndOfStream),
        CloseCause::Broken(Breakage::Reset),
        CloseCause::Broken(Breakage::WriteStalled),
        CloseCause::Broken(Breakage::Io),
        CloseCause::NoCode,
        CloseCause::Other(CloseCode(4321)),
    ]);
    select(causes)
}

/// Every way in which a link can end: broken first, then by the peer, then by this side.
pub(crate) fn close_reason() -> impl Strategy<Value = CloseReason> {
    let breakages = [Breakage::EndOfStream, Breakage::Reset, Breakage::WriteStalled, Breakage::Io];
    prop_oneof![
        2 => select(breakages.map(CloseReason::broken).to_vec()),
        3 => close_cause().prop_map(|cause| CloseReason::peer(Some(cause.code()))),
        1 => close_cause().prop_map(CloseReason::local),
    ]
}

/// Samples of a host's clocks: awake for up to a day, asleep for up to a day, any wall time.
pub fn now() -> impl Strategy<Value = Now> {
    (0u64..86_400_000, 0u64..86_400_000, any::<i64>()).prop_map(|(awake, asleep, wall)| {
        let at = Timestamp::from_origin(Duration::from_millis(awake));
        Now {
            monotonic: at,
            boot: at.saturating_add(Duration::from_millis(asleep)),
            wall: WallTime::from_unix_millis(wall),
        }
    })
}

/// Any heartbeat of a server, sound or not.
pub fn server_beat() -> impl Strategy<Value = ServerBeat> {
    (sequence(), sequence(), sequence(), any::<bool>()).prop_map(
        |(sequence, seen, recorded, lagging)| ServerBeat { sequence, seen, recorded, lagging },
    )
}

/// A frame that an agent in session may get: anything first, probes and heartbeats after it.
pub(crate) fn frame_to_agent() -> impl Strategy<Value = AgentInbound> {
    prop_oneof![
        4 => Just(AgentInbound::Other),
        2 => (0u32..1000).prop_map(|n| AgentInbound::Ping { echo: Some(f64::from(n).into()) }),
        1 => Just(AgentInbound::Ping { echo: None }),
        3 => server_beat().prop_map(AgentInbound::Heartbeat),
    ]
}

/// Why a hello is refused.
pub fn hello_refusal() -> impl Strategy<Value = HelloRefusal> {
    select(&[HelloRefusal::Other, HelloRefusal::Unauthorized, HelloRefusal::Forbidden][..])
}

/// A frame that a server may get of an agent.
pub(crate) fn frame_to_server() -> impl Strategy<Value = ServerInbound> {
    prop_oneof![
        3 => Just(ServerInbound::Other),
        1 => Just(ServerInbound::Pong),
        3 => (sequence(), sequence())
            .prop_map(|(sequence, seen)| ServerInbound::Heartbeat { sequence, seen }),
    ]
}

/// Whose link a hello's is.
pub fn claimant() -> impl Strategy<Value = Claimant> {
    select(&[Claimant::SameProcess, Claimant::OtherProcess][..])
}

/// What a store says of itself.
pub fn store_trouble() -> impl Strategy<Value = Option<StoreTrouble>> {
    select(
        &[
            None,
            Some(StoreTrouble::Slow),
            Some(StoreTrouble::Busy),
            Some(StoreTrouble::Full),
            Some(StoreTrouble::Failed),
        ][..],
    )
}

fn sequence() -> impl Strategy<Value = Option<BeatSequence>> {
    option::of((0u64..40).prop_map(BeatSequence))
}
