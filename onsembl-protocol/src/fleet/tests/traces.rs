//! The trace of a command: kept with it, and said to no agent that did not ask for it.

use super::kit::{AGENT, Kit, hello};
use crate::fleet::*;
use crate::id::{AgentId, CommandId};
use crate::model::{Feature, TraceContext};
use crate::wire::ServerToAgent;
use crate::wire::payload::CommandRequest;
use alloc::boxed::Box;

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// What an agent with this feature, and what the store, get of a trace.
fn told_to(feature: Option<Feature>) -> (Option<TraceContext>, Option<TraceContext>) {
    let mut kit = Kit::new(FleetLimits::DEFAULT);
    let mut hello = hello("p", "a", &[]);
    if let Some(extensions) = &mut hello.extensions {
        extensions.features.extend(feature);
    }
    kit.hello(1, hello);
    let mut request = CommandRequest::new(CommandId::new("c"), AgentId::new(AGENT), "ls");
    request.trace = TraceContext::parse(PARENT);
    let request = Request::Command(Box::new(request));
    kit.feed(FleetEvent::Request { token: Token(1), request });
    let stored = kit.rows.get(&CommandId::new("c")).and_then(|row| row.request.trace);
    let sent = kit.sent.iter().find_map(|message| match message {
        ServerToAgent::CommandRequest(request) => Some(request.trace),
        _ => None,
    });
    (sent.expect("it was sent"), stored)
}

#[test]
fn an_agent_that_exports_traces_gets_the_one_of_its_command() {
    let parent = TraceContext::parse(PARENT);
    assert_eq!(told_to(Some(Feature::CommandTrace)), (parent, parent));
}

#[test]
fn an_older_agent_hears_nothing_of_traces() {
    assert_eq!(told_to(None), (None, TraceContext::parse(PARENT)));
}
