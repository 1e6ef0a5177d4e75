//! What is said when heartbeats of a session stop.

use super::kit::{AGENT, Kit, hello};
use crate::diagnosis::{BeatStop, BeatVerdict};
use crate::fleet::*;
use crate::id::AgentId;
use crate::model::{Cause, Confidence, Hop, Severity};
use crate::session::PresenceStatus;
use crate::wire::payload::HealthMetrics;
use alloc::vec::Vec;

fn noted(kit: &Kit) -> Vec<&FleetNote> {
    kit.notes.iter().filter(|n| matches!(n, FleetNote::HeartbeatsStop { .. })).collect()
}

#[test]
fn where_heartbeats_stop_is_noted_of_a_session_and_of_none_that_is_over() {
    let mut kit = Kit::new(FleetLimits::DEFAULT);
    kit.hello(1, hello("p", "a", &[]));
    let seat = kit.seat.unwrap();
    let since = kit.now().wall;
    let stop = BeatStop {
        hop: Hop::ALL[0],
        cause: Cause::NetworkCut,
        confidence: Confidence::High,
        since,
    };
    let stopped = BeatVerdict { stopped: Some(stop), ..BeatVerdict::WELL };
    kit.feed(FleetEvent::Beats { seat, verdict: BeatVerdict::WELL });
    assert!(noted(&kit).is_empty(), "nothing is amiss");
    kit.feed(FleetEvent::Beats { seat, verdict: stopped });
    let agent = AgentId::new(AGENT);
    assert_eq!(noted(&kit), [&FleetNote::HeartbeatsStop { agent, stop }]);
    assert_eq!(noted(&kit)[0].severity(), Severity::Warn);
    let away = kit.presence(seat, PresenceStatus::Offline);
    kit.feed(away);
    kit.feed(FleetEvent::Beats { seat, verdict: stopped });
    assert_eq!(noted(&kit).len(), 1);
}

/// What changes seldom stands once, and what a heartbeat brought only where it is shown.
#[test]
fn what_a_heartbeat_brought_is_shown_whatever_else_changes() {
    let mut kit = Kit::new(FleetLimits::DEFAULT);
    kit.hello(1, hello("p", "a", &[]));
    let (seat, id) = (kit.seat.unwrap(), AgentId::new(AGENT));
    let metrics = HealthMetrics { commands_processed: Some(7), ..HealthMetrics::default() };
    kit.feed(FleetEvent::Metrics { seat, metrics });
    kit.feed(FleetEvent::Beats { seat, verdict: BeatVerdict::WELL });
    let heard = kit.now().wall;
    kit.feed(FleetEvent::Heard { seat, at: heard });
    for status in [PresenceStatus::Stale, PresenceStatus::Offline] {
        let presence = kit.presence(seat, status);
        kit.feed(presence);
        let shown = &kit.view.agents()[&id];
        assert_eq!(shown.presence.status, status);
        assert_eq!((shown.metrics, shown.last_heard), (Some(metrics), Some(heard)));
        let facts: [&AgentFacts; 2] = [shown, &kit.fleet.state.roster.agent(&id).unwrap().shown];
        assert!(core::ptr::eq(facts[0], facts[1]), "the fleet and its readers share them");
    }
    assert_eq!(kit.view.agents()[&id].beats, None, "its session is over");
}
