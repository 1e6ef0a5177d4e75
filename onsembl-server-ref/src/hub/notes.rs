//! Writes the notes of a fleet to the log and the counters, with their own text and severity. Each kind has a log
//! statement of its own, because the log limits the rate of each statement.

use crate::bounds::LogLimit;
use crate::metrics::Metrics;
use onsembl_protocol::fleet::FleetNote;
use onsembl_protocol::id::UserId;
use onsembl_protocol::model::Severity;
use onsembl_transport::counters::Counters;
use tracing::{debug, error, info, warn};

/// Whose hello was refused, and why ([`FleetNote::repeats`]).
pub(super) type TurnedAway = LogLimit<UserId, (&'static str, String)>;

/// Logs and counts a note of this user's fleet.
pub(super) fn note(
    user: &UserId,
    note: &FleetNote,
    counters: &Counters,
    metrics: &Metrics,
    turned_away: &TurnedAway,
) {
    metrics.note(note);
    if let Some(counter) = note.counter() {
        counters.count(counter);
    }
    let more = match note.repeats() {
        None => 0,
        Some((cause, why)) => match turned_away.allow(user.clone(), (cause, why.to_owned())) {
            Some(more) => more,
            None => return debug!(%user, cause, "{note} again"),
        },
    };
    macro_rules! line {
        ($($about:tt)*) => {
            match note.severity() {
                Severity::Debug => debug!($($about)*, "{note}"),
                Severity::Info => info!($($about)*, "{note}"),
                Severity::Warn => warn!($($about)*, "{note}"),
                Severity::Error => error!($($about)*, "{note}"),
            }
        };
    }
    match note {
        FleetNote::Hello { link, name, peer } => {
            line!(%link, %user, name = name.as_deref().unwrap_or("-"), %peer);
        }
        FleetNote::Probe { link } => line!(%link, %user),
        FleetNote::AdmissionWithoutHello { link } => line!(%user, %link),
        FleetNote::SessionWithoutLink { link } => line!(%user, %link),
        FleetNote::SessionRefused { link, why } => line!(%user, %link, more, %why),
        FleetNote::Denied { link, why } => line!(%link, %user, more, %why),
        FleetNote::TooManyAgents { link } => line!(%link, %user, more),
        FleetNote::Parked { link, agent, parked } => line!(%user, %link, %agent, parked),
        FleetNote::TooManyLinks { link, agent } => line!(%user, %link, %agent, more),
        FleetNote::Contested { agent, host, peer, contest } => {
            line!(%agent, %user, ?host, %peer, %contest);
        }
        FleetNote::Presence { agent, name, status, because, epoch, version } => {
            line!(%user, %agent, name = name.as_str(), status = status.as_str(), because, %epoch, %version);
        }
        FleetNote::HeartbeatsStop { agent, stop } => {
            line!(%user, %agent, hop = %stop.hop, cause = %stop.cause);
        }
        FleetNote::Paused { agent, pausing } => line!(%user, %agent, paused = pausing.is_paused()),
        FleetNote::Activity { agent, what } => line!(%user, %agent, ?what),
        FleetNote::AgentDeleted { agent } => line!(%agent, %user),
        FleetNote::AgentFault { agent, kind, recoverable, text } => {
            line!(%user, %agent, kind, recoverable, ?text);
        }
        FleetNote::FindingsNotKept { agent, why } => line!(%user, %agent, %why),
        FleetNote::TraceNotKept { agent } | FleetNote::FindingsDropped { agent } => {
            line!(%user, %agent);
        }
        FleetNote::DialsFailed { agent, fault, times } => {
            line!(%user, %agent, fault = fault.as_str(), times);
        }
        FleetNote::CommandTaken { command, agent } => line!(%command, %agent, %user),
        FleetNote::KeyboardTaken { agent, command } => line!(%user, %agent, %command),
        FleetNote::KeyboardFree { agent, command, because } => {
            line!(%user, %agent, %command, because);
        }
        FleetNote::CommandRepeated { command } => line!(%user, %command),
        FleetNote::Command { command, view } => {
            line!(%user, %command, status = view.status.phase().as_str(), because = %view.because);
        }
        FleetNote::CommandSent { command, agent } => line!(%user, %command, %agent),
        FleetNote::NoSession { command, agent } => line!(%user, %command, %agent),
        FleetNote::CommandNotStored { command, why } => line!(%user, %command, %why),
        FleetNote::EndNotStored { command, why } => line!(%user, %command, %why),
        FleetNote::AgentSays { command, text } => line!(%user, %command, ?text),
        FleetNote::ForeignCommand { agent, command } => line!(%user, %agent, %command),
        FleetNote::UnknownCommandReported { agent, command } => line!(%user, %agent, %command),
        FleetNote::CommandAdopted { agent, command } => line!(%agent, %command, %user),
        FleetNote::NotAdopted { agent, command, why } => line!(%agent, %command, %user, %why),
        FleetNote::GapDeclared { agent, command, stream, offset, length, because } => {
            line!(%user, %agent, %command, %stream, %offset, length, %because);
        }
        FleetNote::HoleFound { agent, command, stream, offset, length } => {
            line!(%user, %agent, %command, %stream, %offset, length);
        }
        FleetNote::OutputMissing { command, stream, offset, length } => {
            line!(%user, %command, %stream, %offset, length);
        }
        FleetNote::OutputNotKept { command, stream, offset, length } => {
            line!(%user, %command, %stream, %offset, length);
        }
        FleetNote::OutputUnwatched { command, bytes } => line!(%user, %command, bytes),
        FleetNote::LooseOutputDropped { agent, command } => line!(%user, %agent, %command),
        FleetNote::RecordRefused { command, why } => line!(%user, %command, %why),
        FleetNote::LogPositionNotRead { command, why } => line!(%user, %command, %why),
        FleetNote::PositionsNotRead { agent, why } => line!(%user, %agent, %why),
        FleetNote::StatesDropped { agent } => line!(%user, %agent),
        FleetNote::Throttled { agent } => line!(%user, %agent),
        FleetNote::TerminalOpened { agent, command } => line!(%user, %command, %agent),
        FleetNote::TerminalMisnamed { agent, command } => line!(%user, %agent, %command),
        FleetNote::SizesDropped { agent, command } => line!(%user, %agent, %command),
        FleetNote::TerminalRefused { agent, command } => line!(%user, %agent, %command),
        FleetNote::TerminalGivenUp { agent, command } => line!(%user, %agent, %command),
        FleetNote::Order { agent, action } => line!(%user, %agent, %action),
        FleetNote::Stop { stop, reason, agents, commands } => {
            let stop = stop.as_ref().map_or("-", |stop| stop.as_str());
            line!(%user, stop, agents, commands, ?reason);
        }
        FleetNote::StopAdopted { agent, stop } => line!(%user, %agent, %stop),
        FleetNote::StopRecovered { stop, reason } => line!(%user, %stop, ?reason),
        FleetNote::StopReceipt { agent, stop, stage } => line!(%user, %agent, %stop, %stage),
        FleetNote::StopRepeated { agent, stop } => line!(%user, %agent, %stop),
        FleetNote::StopAwaitedAgent { agent, stop } => line!(%user, %agent, %stop),
        FleetNote::StopNotStored { stop, why } => line!(%user, %stop, %why),
        FleetNote::StopReleased { stop } => line!(%user, %stop),
        FleetNote::AuditAnsweredLate { agent } => line!(%user, %agent),
        FleetNote::AuditUnanswered { agent } => line!(%user, %agent),
    }
}
