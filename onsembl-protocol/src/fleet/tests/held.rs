//! What keeps an agent from its work, as a server shows it: an order to pause, with who gave it, and a program that does
//! not run.

use super::kit::{AGENT, Kit, hello};
use crate::diagnosis::OrderInForce;
use crate::fleet::*;
use crate::id::AgentId;
use crate::model::Pausing;
use crate::time::WallTime;
use crate::wire::AgentToServer;
use crate::wire::payload::{AgentControl, AgentErrorReport, AgentErrorType, ControlAction};
use alloc::borrow::ToOwned;
use alloc::string::{String, ToString};
use core::time::Duration;
use serde_json::{Value, json};

fn order(kit: &mut Kit, action: ControlAction) {
    let control = AgentControl {
        agent_id: Some(AgentId::new(AGENT)),
        action,
        reason: None,
        graceful_shutdown: None,
        timeout: None,
        size: None,
    };
    kit.feed(FleetEvent::Request { token: Token(9), request: Request::Control(control) });
}

fn says(kit: &mut Kit, pausing: Pausing) {
    let seat = kit.seat.unwrap();
    kit.feed(FleetEvent::Paused { seat, pausing });
}

fn in_force(kit: &Kit) -> OrderInForce {
    kit.view.agents().get(&AgentId::new(AGENT)).unwrap().order_in_force()
}

fn paused(by: Option<&str>, since: WallTime) -> OrderInForce {
    OrderInForce::Paused { by: by.map(ToOwned::to_owned), since: Some(since) }
}

#[test]
fn a_pause_is_shown_with_who_ordered_it_and_since_when_over_a_lost_link_too() {
    let second = Duration::from_secs(1);
    let mut kit = Kit::new(FleetLimits::DEFAULT);
    kit.hello(1, hello("p", "a", &[]));
    let since = kit.now().wall;
    order(&mut kit, ControlAction::Pause);
    assert_eq!(in_force(&kit), OrderInForce::None, "until the agent says so");
    kit.now += second;
    says(&mut kit, Pausing::Paused);
    assert_eq!(in_force(&kit), paused(Some("ann"), since));
    kit.now += second;
    order(&mut kit, ControlAction::Pause);
    assert_eq!(in_force(&kit), paused(Some("ann"), since), "it was paused already");
    kit.lose(1);
    assert_eq!(in_force(&kit), OrderInForce::None, "nobody knows");
    kit.hello(2, hello("p", "a", &[]));
    says(&mut kit, Pausing::Paused);
    assert_eq!(in_force(&kit), paused(Some("ann"), since));
    order(&mut kit, ControlAction::Resume);
    says(&mut kit, Pausing::Running);
    assert_eq!(in_force(&kit), OrderInForce::None);
    // By an order of which this run of the server knows nothing.
    kit.now += second;
    says(&mut kit, Pausing::Paused);
    assert_eq!(in_force(&kit), paused(None, kit.now().wall));
}

fn fault(kit: &Kit) -> Option<String> {
    let agent = kit.view.agents().get(&AgentId::new(AGENT)).unwrap();
    agent.program_fault.as_ref().map(|told| told.fault.to_string())
}

fn says_of_program(kit: &mut Kit, said: &Value) {
    kit.say(AgentToServer::Fault(AgentErrorReport {
        error_type: AgentErrorType::Execution,
        message: "of the program".to_owned(),
        recoverable: true,
        details: Some(json!({ "program": said })),
    }));
}

#[test]
fn a_fault_of_a_program_is_shown_until_its_agent_says_that_it_runs_again() {
    let mut kit = Kit::new(FleetLimits::DEFAULT);
    kit.hello(1, hello("p", "a", &[]));
    says_of_program(&mut kit, &json!({ "name": "sh", "why": "stopped by a signal" }));
    assert!(fault(&kit).is_some_and(|fault| fault.contains("stopped by a signal")));
    says_of_program(&mut kit, &json!({ "name": "sh", "runs": false }));
    assert!(fault(&kit).is_some());
    says_of_program(&mut kit, &json!({ "name": "sh", "runs": true }));
    assert_eq!(fault(&kit), None);
}
