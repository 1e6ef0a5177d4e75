//! A table over all types: whatever one side really sends, the other side has a place for.
//! (A list of types that one side sends and the other refuses is what once cut every agent after
//! a hundred seconds.)

use super::{
    canonical, frames_of_agents, frames_of_dashboards, frames_to_agents, frames_to_dashboards, read,
};
use onsembl_protocol::wire::{
    AgentToServer, Bounded, DashboardToServer, Envelope, MessageSet, ServerToAgent,
    ServerToDashboard,
};
use std::collections::BTreeSet;

/// Sent by existing wrappers, or listed by the existing server as coming from agents.
const FROM_AGENTS: &[&str] = &[
    "AGENT_CONNECT",
    "AGENT_HEARTBEAT",
    "AGENT_ERROR",
    "COMMAND_ACK",
    "COMMAND_COMPLETE",
    "TERMINAL_OUTPUT",
    "TRACE_EVENT",
    "INVESTIGATION_REPORT",
    "PING",
    "PONG",
];

/// Sent by the existing server to agents.
const TO_AGENTS: &[&str] = &[
    "ACK",
    "PING",
    "COMMAND_REQUEST",
    "COMMAND_CANCEL",
    "AGENT_CONTROL",
    "EMERGENCY_STOP",
    "TOKEN_REFRESH",
    "SERVER_HEARTBEAT",
    "ERROR",
];

/// Sent by existing dashboards.
const FROM_DASHBOARDS: &[&str] = &[
    "DASHBOARD_INIT",
    "DASHBOARD_SUBSCRIBE",
    "DASHBOARD_UNSUBSCRIBE",
    "COMMAND_REQUEST",
    "COMMAND_CANCEL",
    "AGENT_CONTROL",
    "EMERGENCY_STOP",
    "PING",
    "PONG",
    "TOKEN_REFRESH",
];

/// Sent by the existing server to dashboards, or listened for by them.
const TO_DASHBOARDS: &[&str] = &[
    "DASHBOARD_CONNECTED",
    "AGENT_CONNECTED",
    "AGENT_STATUS",
    "AGENT_DISCONNECT",
    "COMMAND_STATUS",
    "COMMAND_COMPLETE",
    "TERMINAL_STREAM",
    "TRACE_STREAM",
    "TRACE_UPDATE",
    "QUEUE_UPDATE",
    "EMERGENCY_STOP",
    "ACK",
    "ERROR",
    "PING",
    "PONG",
    "TOKEN_REFRESH",
];

fn set(types: &[&str]) -> BTreeSet<String> {
    types.iter().map(ToString::to_string).collect()
}

/// The set has these types, these extensions of ours, and no other.
fn covers<M: MessageSet>(existing: &[&str], ours: &[&str]) {
    let mut all = set(existing);
    all.extend(set(ours));
    assert_eq!(set(M::TYPES), all);
}

#[test]
fn each_set_has_what_existing_peers_send_and_our_extensions() {
    let ours = [
        "OUTPUT_GAP",
        "OUTPUT_STATE",
        "STOP_RECEIPT",
        "TERMINAL_OPENED",
        "TERMINAL_SIZE",
        "TERMINAL_INPUT_STATE",
        "AGENT_BLACK_BOX",
        "AGENT_ACTIVITY",
    ];
    covers::<AgentToServer>(FROM_AGENTS, &ours);
    let ours = [
        "PONG",
        "OUTPUT_ACK",
        "OUTPUT_CREDIT",
        "OUTPUT_RESUME",
        "OUTPUT_QUERY",
        "BLACK_BOX_ACK",
        "STOP_RELEASE",
        "TERMINAL_INPUT",
        "COMMAND_TEXT",
    ];
    covers::<ServerToAgent>(TO_AGENTS, &ours);
    let ours = [
        "STOP_RELEASE",
        "KEYBOARD_TAKE",
        "KEYBOARD_RELEASE",
        "TERMINAL_INPUT",
        "OUTPUT_TAKEN",
        "COMMAND_TEXT",
    ];
    covers::<DashboardToServer>(FROM_DASHBOARDS, &ours);
    let ours = ["OUTPUT_GAP", "TERMINAL_SIZE", "KEYBOARD_STATE", "OUTPUT_BEHIND"];
    covers::<ServerToDashboard>(TO_DASHBOARDS, &ours);
}

/// Every literal frame is read as a type that the set has.
fn known<M: MessageSet + Bounded>(frames: &[&[&str]]) -> BTreeSet<String> {
    let mut seen = BTreeSet::new();
    for text in frames.concat() {
        let envelope: Envelope<M> = read(text);
        let kind = envelope.message.kind().to_owned();
        assert!(M::TYPES.contains(&kind.as_str()), "{kind} is not known: {text}");
        assert!(envelope.id.is_some() && envelope.timestamp.is_some(), "{text}");
        seen.insert(kind);
    }
    seen
}

/// Types without a literal frame, less those that are synonyms of another.
fn without_frame<M: MessageSet>(seen: &BTreeSet<String>) -> Vec<String> {
    set(M::TYPES).difference(seen).cloned().collect()
}

#[test]
fn every_type_has_a_literal_frame_that_is_read() {
    use frames_of_agents::{LISTED, OURS, WRAPPER};
    let seen = known::<AgentToServer>(&[WRAPPER, OURS, LISTED]);
    assert_eq!(without_frame::<AgentToServer>(&seen), [""; 0]);
    let seen = known::<ServerToAgent>(&[frames_to_agents::EXISTING, frames_to_agents::OURS]);
    assert_eq!(without_frame::<ServerToAgent>(&seen), [""; 0]);
    let seen =
        known::<DashboardToServer>(&[frames_of_dashboards::EXISTING, frames_of_dashboards::OURS]);
    assert_eq!(without_frame::<DashboardToServer>(&seen), [""; 0]);
    let seen =
        known::<ServerToDashboard>(&[frames_to_dashboards::EXISTING, frames_to_dashboards::OURS]);
    assert_eq!(without_frame::<ServerToDashboard>(&seen), ["TRACE_UPDATE"]);
}

#[test]
fn every_type_that_we_can_send_is_read_at_the_other_end() {
    canonical::every_sample_is_read_back_by_its_own_type();
}
