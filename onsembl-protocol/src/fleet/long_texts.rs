//! Texts that go to their agents in pieces: how much of them may be on its way, so that a link has room for them.

use super::state::State;
use crate::id::AgentId;
use crate::wire::payload::{CommandRequest, ErrorCode, ErrorReply, LongText};
use alloc::format;

/// Bytes of long texts that may be on their way to one agent: one of the longest. As base64 they take a third of the
/// control messages that may wait for its link.
const TO_AGENT: usize = LongText::MOST;

/// The same to all agents of a user: 8 MiB. As base64 they take two thirds of what may wait for the links of one user.
const TO_AGENTS: usize = 8 * LongText::MOST;

/// Whether the text of a request may be sent to this agent beside those that it has not begun to type.
///
/// # Errors
/// It may not, or it is not here; and why.
pub(super) fn admit(
    state: &State,
    agent: &AgentId,
    request: &CommandRequest,
) -> Result<(), ErrorReply> {
    let Some(long) = &request.long_text else { return Ok(()) };
    if long.text().is_none() {
        let why = "its text did not arrive before the request; nothing was done";
        return Err(ErrorReply::new(ErrorCode::InvalidMessage, why));
    }
    let untyped = state.commands.untyped();
    let to_agent = untyped.of(agent).saturating_add(long.held());
    let to_agents = untyped.all().saturating_add(long.held());
    let (whom, most) = match (to_agent > TO_AGENT, to_agents > TO_AGENTS) {
        (true, _) => ("this agent has", TO_AGENT),
        (false, true) => ("your agents have", TO_AGENTS),
        (false, false) => return Ok(()),
    };
    let why = format!(
        "the texts of more than 64 KiB that {whom} not begun to type would take more than {most} bytes together; wait until those are typed, or cancel them"
    );
    Err(ErrorReply::new(ErrorCode::QueueFull, why))
}
