//! The agent's machine is recorded and replayed like the server's; its seed is in the first line.

use crate::support::{awake_and_asleep, secs};
use onsembl_protocol::close::{Breakage, CloseReason};
use onsembl_protocol::id::{BeatSequence, Epoch, LinkId};
use onsembl_protocol::liveness::HeartbeatTiming;
use onsembl_protocol::replay::{AgentOrigin, Head, ReplayError, Script, replay};
use onsembl_protocol::session::{
    AgentAction, AgentConfig, AgentConnection, AgentEvent, AgentInbound, DialFailure, Dialect,
    EchoBits, ServerBeat, SessionTerms,
};
use onsembl_protocol::time::Deadline;
use std::time::Duration;

/// An agent whose dial fails, that is in session, loses the server, sleeps, and stops.
pub(super) fn story() -> String {
    let mut out = Vec::new();
    let (mut at, mut asleep) = (secs(1), Duration::ZERO);
    let head: Head<AgentConnection> =
        Head { agent: "agent-1".into(), config: AgentConfig::DEFAULT, seeds: vec![42], dropped: 0 };
    let now = awake_and_asleep(at, asleep);
    let (mut script, _) = Script::begin(&head, AgentOrigin::New, now, &mut out).unwrap();
    let terms = SessionTerms {
        dialect: Dialect::Extended,
        epoch: Epoch(1),
        timing: HeartbeatTiming::DEFAULT,
        end_orders: false,
    };
    let beat = |n| {
        let n = Some(BeatSequence(n));
        ServerBeat { sequence: n, seen: n, recorded: n, lagging: false }
    };
    let busy = DialFailure::Busy { retry_after: Some(secs(7)) };
    let (one, two) = (LinkId(1), LinkId(2));
    let echo = Some(EchoBits::from(1_762_041_600_123.5));
    let mut dialled = Vec::new();
    for event in [
        Some(AgentEvent::Start),
        Some(AgentEvent::DialFailed(one, busy)),
        None,
        Some(AgentEvent::LinkUp(two)),
        Some(AgentEvent::Received(two, AgentInbound::HelloAccepted(terms))),
        Some(AgentEvent::Received(two, AgentInbound::Heartbeat(beat(1)))),
        Some(AgentEvent::Received(two, AgentInbound::Ping { echo })),
        None,
        None,
        None,
        None,
    ] {
        let event = event.unwrap_or_else(|| {
            let Deadline::At(due) = script.machine().deadline() else { panic!("no deadline") };
            at = at.max(due.since_origin());
            AgentEvent::Wake
        });
        let step = script.handle(event, awake_and_asleep(at, asleep), None, &mut out);
        dialled.extend(step.actions.into_iter().filter(|a| matches!(a, AgentAction::Dial(_))));
        at += Duration::from_millis(35);
    }
    asleep += secs(7200);
    let down = AgentEvent::LinkDown(two, CloseReason::broken(Breakage::EndOfStream));
    for event in [down, AgentEvent::Wake, AgentEvent::Stop] {
        at += secs(1);
        let _ = script.handle(event, awake_and_asleep(at, asleep), None, &mut out);
    }
    assert!(dialled.len() >= 2, "{dialled:?}");
    script.finish(&mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn an_agent_replays_by_its_seed() {
    let text = story();
    let replayed = replay(&text).unwrap();
    assert_eq!((replayed.machine, replayed.entries), ("agent", 15));
    assert!(text.starts_with(r#"{"format":"onsembl-recording","version":1,"core":"#));
    assert!(text.contains(r#""seeds":[42]"#));
}

#[test]
fn without_a_seed_there_is_no_agent() {
    let head: Head<AgentConnection> =
        Head { agent: "a".into(), config: AgentConfig::DEFAULT, seeds: vec![], dropped: 0 };
    let mut out = Vec::new();
    let now = awake_and_asleep(secs(1), Duration::ZERO);
    assert!(Script::begin(&head, AgentOrigin::New, now, &mut out).is_none());
    assert!(out.is_empty());
}

#[test]
fn another_seed_is_another_story() {
    let mut lines: Vec<String> = story().lines().map(str::to_owned).collect();
    lines[0] = lines[0].replace("[42]", "[43]");
    super::refusals::seal(&mut lines);
    let Err(ReplayError::Differs(difference)) = replay(&lines.join("\n")) else {
        panic!("not noticed")
    };
    assert_eq!((difference.line, difference.n), (4, 3), "{difference}");
    assert!(difference.event.contains("DialFailed"), "{difference}");
}
