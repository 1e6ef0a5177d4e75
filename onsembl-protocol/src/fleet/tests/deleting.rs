//! An agent that is there, or may return by itself, is deleted only if that is meant (P-455).

use super::kit::{AGENT, Kit, hello};
use crate::fleet::*;
use crate::id::AgentId;
use crate::session::PresenceStatus;
use crate::wire::payload::{ErrorCode, ErrorReply};

/// Why the deletion was refused; `None` if the store is asked for it.
fn refused(kit: &mut Kit, number: u64, request: Request) -> Option<ErrorReply> {
    let token = Token(number);
    kit.feed(FleetEvent::Request { token, request });
    kit.answers.remove(&token).map(|answer| answer.done().expect_err("it is not done"))
}

#[test]
fn an_agent_that_is_not_offline_is_deleted_only_if_that_is_meant() {
    let agent = || AgentId::new(AGENT);
    let mut kit = Kit::new(FleetLimits::DEFAULT);
    kit.hello(1, hello("i", "h", &[]));
    let online = refused(&mut kit, 1, Request::DeleteOfflineAgent(agent())).expect("a refusal");
    assert_eq!(online.code, ErrorCode::AgentOnline);
    assert!(online.message.contains("\"ada\" is online"), "{}", online.message);
    assert!(online.message.contains("--force"), "{}", online.message);
    kit.lose(1);
    let awaited = refused(&mut kit, 2, Request::DeleteOfflineAgent(agent())).expect("a refusal");
    assert!(awaited.message.contains("is reconnecting"), "{}", awaited.message);
    assert_eq!(refused(&mut kit, 3, Request::DeleteAgent(agent())), None);
    let seat = kit.seat.expect("a machine");
    let offline = kit.presence(seat, PresenceStatus::Offline);
    kit.feed(offline);
    assert_eq!(refused(&mut kit, 4, Request::DeleteOfflineAgent(agent())), None);
    let unknown = Request::DeleteOfflineAgent(AgentId::new("unknown"));
    assert_eq!(refused(&mut kit, 5, unknown), None, "that the store says");
}
