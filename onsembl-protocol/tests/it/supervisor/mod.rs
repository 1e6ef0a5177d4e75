//! The supervisor: against a naive scan, under a budget, over a stall, and how much it holds.

mod bounds;
mod model;
mod stall;

use crate::support::now;
use onsembl_protocol::id::{BeatSequence, Epoch, LinkId, PresenceVersion};
use onsembl_protocol::session::{
    Claimant, Dialect, ServerConfig, ServerConnection, ServerEvent, ServerInbound,
};
use onsembl_protocol::supervisor::{Key, Supervisor};
use std::time::Duration;

type Fleet = Supervisor<ServerConnection>;

const LINK: LinkId = LinkId(1);

/// An agent with a session since `since`.
fn join(fleet: &mut Fleet, since: Duration) -> Key {
    let (config, at) = (ServerConfig::DEFAULT, now(since));
    let key = fleet.insert(ServerConnection::new(config, PresenceVersion(0), Epoch(0), at));
    let joined = ServerEvent::Joined {
        link: LINK,
        dialect: Dialect::Extended,
        claimant: Claimant::SameProcess,
    };
    let admitted = ServerEvent::Admitted { link: LINK, epoch: Epoch(1) };
    for event in [joined, admitted] {
        assert!(!fleet.handle(key, event, at).unwrap().is_empty());
    }
    key
}

fn beat(n: u64) -> ServerEvent {
    let (sequence, seen) = (Some(BeatSequence(n)), Some(BeatSequence(u64::MAX)));
    ServerEvent::Received(LINK, ServerInbound::Heartbeat { sequence, seen })
}

fn recorded(n: u64, at: Duration) -> ServerEvent {
    ServerEvent::Recorded { epoch: Epoch(1), sequence: BeatSequence(n), at: now(at).wall }
}
