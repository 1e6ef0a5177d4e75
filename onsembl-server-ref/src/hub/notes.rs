//! The facts of a fleet as log lines and counters.

use onsembl_protocol::fleet::FleetNote;
use onsembl_protocol::id::UserId;
use onsembl_transport::counters::Counters;
use tracing::{debug, error, info, warn};

/// Logs and counts a fact of this user's fleet.
pub(super) fn note(user: &UserId, note: FleetNote, counters: &Counters) {
    if let Some(counter) = counter(&note) {
        counters.count(counter);
    }
    match note {
        FleetNote::Hello { link, name, peer } => {
            info!(%link, %user, name = name.as_deref().unwrap_or("-"), %peer, "an agent says hello");
        }
        FleetNote::Probe { link } => debug!(%link, %user, "a diagnosis connection"),
        FleetNote::AdmissionWithoutHello { link } => {
            debug!(%user, %link, "a session was asked for of a hello whose link is gone");
        }
        FleetNote::SessionWithoutLink { link } => {
            debug!(%user, %link, "the link of a session ended before the session was opened");
        }
        FleetNote::SessionRefused { link, why } => {
            warn!(%user, %link, %why, "no session for an agent");
        }
        FleetNote::Denied { link, why } => {
            warn!(%link, %user, ?why, "the token of an agent may not speak for it; the hello is refused");
        }
        FleetNote::TooManyAgents { link } => {
            warn!(%link, %user, "this user has too many agents; one more is refused");
        }
        FleetNote::Parked { link, agent, parked } => {
            info!(%user, %link, %agent, parked, "a link of a legacy agent is kept beside the one of its session");
        }
        FleetNote::TooManyLinks { link, agent } => {
            warn!(%user, %link, %agent, "a legacy agent has too many open links; the newest is refused");
        }
        FleetNote::Contested { agent, host, peer, contest } => {
            warn!(%agent, %user, ?host, %peer, %contest, "two processes of one agent ask for its session; is a state directory a copy of another's?");
        }
        FleetNote::Presence { agent, status, because, epoch, version } => {
            info!(%user, %agent, status = status.as_str(), because, %epoch, %version, "presence");
        }
        FleetNote::Paused { agent, paused } => {
            info!(%user, %agent, paused, "the agent says whether it is paused");
        }
        FleetNote::AgentDeleted { agent } => info!(%agent, %user, "agent deleted"),
        FleetNote::AgentFault { agent, kind, recoverable, text } => {
            warn!(%user, %agent, kind, recoverable, ?text, "an agent reports a fault");
        }
        FleetNote::TraceNotKept { agent } => {
            debug!(%user, %agent, "a trace or report, which is not kept");
        }
        FleetNote::CommandTaken { command, agent } => {
            info!(%command, %agent, %user, "command accepted, being stored");
        }
        FleetNote::CommandRepeated { command } => {
            debug!(%user, %command, "a command that is known was asked for again");
        }
        FleetNote::Command { command, view } => {
            info!(%user, %command, status = view.status.phase().as_str(), because = %view.because, "command");
        }
        FleetNote::CommandSent { command, agent } => info!(%user, %command, %agent, "command sent"),
        FleetNote::NoSession { command, agent } => {
            debug!(%user, %command, %agent, "the agent has no session; the message is repeated in the next one");
        }
        FleetNote::CommandNotStored { command, why } => {
            warn!(%user, %command, %why, "a command could not be stored");
        }
        FleetNote::EndNotStored { command, why } => {
            error!(%user, %command, %why, "the end of a command could not be stored; trying again in 10 s");
        }
        FleetNote::AgentSays { command, text } => {
            debug!(%user, %command, ?text, "the agent says why");
        }
        FleetNote::ForeignCommand { agent, command } => {
            warn!(%user, %agent, %command, "an agent speaks of a command of another agent; it is not heard");
        }
        FleetNote::UnknownCommandReported { agent, command } => {
            debug!(%user, %agent, %command, "an agent is told to drop a command that is not known here");
        }
        FleetNote::CommandAdopted { agent, command } => {
            warn!(%agent, %command, %user, "a command that its agent has was not in the database, and is adopted");
        }
        FleetNote::NotAdopted { agent, command, why } => {
            warn!(%agent, %command, %user, %why, "a command that its agent has is not in the database, and cannot be adopted now");
        }
        FleetNote::GapDeclared { agent, command, stream, offset, length, because } => {
            warn!(%user, %agent, %command, %stream, %offset, length, %because, "an agent declares that output is missing");
        }
        FleetNote::HoleFound { agent, command, stream, offset, length } => {
            warn!(%user, %agent, %command, %stream, %offset, length, "output before this never came");
        }
        FleetNote::OutputMissing { command, stream, offset, length } => {
            warn!(%user, %command, %stream, %offset, length, "a command is over, and its agent does not have all of its output");
        }
        FleetNote::LooseOutputDropped { agent, command } => {
            warn!(%user, %agent, %command, "too much output that belongs to no command; it is dropped");
        }
        FleetNote::RecordRefused { command, why } => {
            warn!(%user, %command, %why, "the database refuses a record of output");
        }
        FleetNote::LogPositionNotRead { command, why } => {
            warn!(%user, %command, %why, "cannot say where the output of a command goes on; readers may miss some");
        }
        FleetNote::PositionsNotRead { agent, why } => {
            warn!(%user, %agent, %why, "cannot say how far output is stored");
        }
        FleetNote::StatesDropped { agent } => {
            warn!(%user, %agent, "an agent says what it holds faster than the database answers; a page is dropped");
        }
        FleetNote::Throttled { agent } => {
            debug!(%user, %agent, "not reading from an agent until its output is stored");
        }
        FleetNote::TerminalOpened { agent, command } => {
            info!(%user, %command, %agent, "an agent has a terminal");
        }
        FleetNote::TerminalMisnamed { agent, command } => {
            warn!(%user, %agent, %command, "an agent opened a terminal under an id that no terminal has; it is not taken");
        }
        FleetNote::TerminalRefused { agent, command } => {
            warn!(%user, %agent, %command, "too many terminals are open; one of this agent is not taken");
        }
        FleetNote::TerminalGivenUp { agent, command } => {
            warn!(%user, %agent, %command, "too many terminals of this agent are open; the oldest is given up");
        }
        FleetNote::Order { agent, action } => {
            info!(%user, %agent, %action, "an order for an agent");
        }
        FleetNote::Stop { stop, reason, agents, commands } => {
            let stop = stop.as_ref().map_or("-", |stop| stop.as_str());
            warn!(%user, stop, agents, commands, ?reason, "emergency stop");
        }
        FleetNote::StopRecovered { stop, reason } => {
            warn!(%user, %stop, ?reason, "an emergency stop is in force");
        }
        FleetNote::StopAdopted { agent, stop } => {
            warn!(%user, %agent, %stop, "an agent is stopped by an order that was not in the database, and is adopted");
        }
        FleetNote::StopReceipt { agent, stop, stage } => {
            info!(%user, %agent, %stop, %stage, "receipt of an emergency stop");
        }
        FleetNote::StopRepeated { agent, stop } => {
            debug!(%user, %agent, %stop, "an agent is told again that it is stopped");
        }
        FleetNote::StopAwaitedAgent { agent, stop } => {
            info!(%user, %agent, %stop, "an agent comes back to an emergency stop");
        }
        FleetNote::StopNotStored { stop, why } => {
            error!(%user, %stop, %why, "an emergency stop was carried out, but is not stored");
        }
        FleetNote::StopReleased { stop } => info!(%user, %stop, "an emergency stop is released"),
        FleetNote::AuditAnsweredLate { agent } => {
            debug!(%user, %agent, "an agent answers an audit that is over");
        }
        FleetNote::AuditUnanswered { agent } => {
            debug!(%user, %agent, "an agent did not answer an audit in time");
        }
        other => warn!(%user, ?other, "a fact of the fleet that this version does not word"),
    }
}

/// What a fact counts as.
const fn counter(note: &FleetNote) -> Option<&'static str> {
    Some(match note {
        FleetNote::AdmissionWithoutHello { .. } => "admissions_without_hello",
        FleetNote::SessionWithoutLink { .. } => "sessions_nobody_waits_for",
        FleetNote::SessionRefused { .. } => "sessions_refused",
        FleetNote::Denied { .. } => "hellos_with_tokens_of_others",
        FleetNote::TooManyAgents { .. } => "agents_refused",
        FleetNote::TooManyLinks { .. } => "links_of_agents_refused",
        FleetNote::Contested { .. } => "agents_contested",
        FleetNote::AgentFault { .. } => "agent_faults",
        FleetNote::TraceNotKept { .. } => "traces_not_kept",
        FleetNote::CommandNotStored { .. } => "commands_not_stored",
        FleetNote::EndNotStored { .. } => "ends_not_stored",
        FleetNote::ForeignCommand { .. } => "reports_on_foreign_commands",
        FleetNote::UnknownCommandReported { .. } => "unknown_commands_told",
        FleetNote::CommandAdopted { .. } => "commands_adopted",
        FleetNote::NotAdopted { .. } => "commands_not_adopted",
        FleetNote::GapDeclared { .. }
        | FleetNote::HoleFound { .. }
        | FleetNote::OutputMissing { .. } => "output_gaps",
        FleetNote::LooseOutputDropped { .. } => "loose_output_dropped",
        FleetNote::RecordRefused { .. } => "output_refused",
        FleetNote::LogPositionNotRead { .. } => "places_not_read",
        FleetNote::PositionsNotRead { .. } => "positions_not_read",
        FleetNote::StatesDropped { .. } => "states_dropped",
        FleetNote::Throttled { .. } => "agents_held_back",
        FleetNote::TerminalMisnamed { .. } => "terminals_under_foreign_ids",
        FleetNote::TerminalRefused { .. } => "terminals_refused",
        FleetNote::TerminalGivenUp { .. } => "terminals_given_up",
        FleetNote::StopRepeated { .. } => "stops_repeated",
        FleetNote::StopAdopted { .. } => "stops_adopted",
        FleetNote::StopNotStored { .. } => "stops_not_stored",
        FleetNote::AuditUnanswered { .. } => "audits_unanswered",
        _ => return None,
    })
}
