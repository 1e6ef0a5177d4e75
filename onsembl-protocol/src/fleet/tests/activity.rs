//! What the program of an agent does, as a server shows it, and requests that depend on it.

use super::kit::{AGENT, Kit, hello};
use crate::fleet::*;
use crate::id::{AgentId, CommandId};
use crate::model::{Activity, ActivityState, Feature, TypeIf};
use crate::time::WallTime;
use crate::wire::payload::{AgentActivity, CommandRequest};
use crate::wire::{AgentToServer, ServerToAgent};
use alloc::boxed::Box;

fn said(state: ActivityState, since: i64, at: i64) -> AgentToServer {
    AgentToServer::Activity(AgentActivity {
        command_id: Some(CommandId::of_terminal("1")),
        state,
        since: Some(WallTime::from_unix_millis(since)),
        fact: None,
        lane: None,
        fact_at: None,
        question: None,
        at: Some(WallTime::from_unix_millis(at)),
    })
}

fn shown(kit: &Kit) -> Option<Activity> {
    kit.view.agents().get(&AgentId::new(AGENT)).and_then(|agent| agent.activity.as_deref().cloned())
}

#[test]
fn it_is_shown_while_its_session_lasts_and_by_the_clock_of_the_server() {
    let mut kit = Kit::new(FleetLimits::DEFAULT);
    kit.hello(1, hello("p", "a", &[]));
    assert_eq!(shown(&kit), None);
    let far = 1_900_000_000_000;
    kit.say(said(ActivityState::Waiting, far - 40_000, far));
    let now = kit.now().wall;
    assert_eq!(
        shown(&kit).map(|activity| activity.words(now)).as_deref(),
        Some("waiting for a prompt 40s")
    );
    kit.say(said(ActivityState::Gone, far, far));
    assert_eq!(shown(&kit), None);
    kit.say(said(ActivityState::Working, far, far));
    assert!(shown(&kit).is_some());
    kit.lose(1);
    assert_eq!(shown(&kit), None, "nothing is known of one that is away");
}

/// Asks for a text on this condition.
fn asked(kit: &mut Kit, name: &str) {
    let mut request = CommandRequest::new(CommandId::new(name), AgentId::new(AGENT), "go on");
    request.condition = Some(TypeIf::Waiting);
    let token = Token(7);
    kit.feed(FleetEvent::Request { token, request: Request::Command(Box::new(request)) });
}

#[test]
fn a_text_on_a_condition_goes_to_an_agent_that_knows_it_and_to_no_other() {
    let mut kit = Kit::new(FleetLimits::DEFAULT);
    kit.hello(1, hello("p", "a", &[]));
    asked(&mut kit, "c1");
    let sent = kit.sent.iter().find_map(|message| match message {
        ServerToAgent::CommandRequest(request) => Some(request.condition.clone()),
        _ => None,
    });
    assert_eq!(sent, Some(Some(TypeIf::Waiting)));
    let mut kit = Kit::new(FleetLimits::DEFAULT);
    let mut old = hello("p", "a", &[]);
    if let Some(extensions) = &mut old.extensions {
        extensions.features.retain(|feature| *feature != Feature::Activity);
    }
    kit.hello(1, old);
    asked(&mut kit, "c1");
    assert!(!kit.sent.iter().any(|message| matches!(message, ServerToAgent::CommandRequest(_))));
    assert_eq!(kit.stage("c1"), None, "it was refused at once");
}
