//! What is published: at most one status a step, along the published graph, and the true one.

use super::Judge;
use crate::lab::Invariant;
use crate::lab::kit::call::Call;
use crate::lab::kit::violation::Violation;
use crate::session::{PRESENCE_EDGES, Presence, ServerAction};
use crate::time::Now;
use std::format;

pub(super) fn one_report(
    judge: &mut Judge,
    now: Now,
    call: &Call<'_>,
    output: &[ServerAction],
    presence: Presence,
) -> Result<(), Violation> {
    let name = Invariant::OneReportPerStep;
    for (n, next) in output.iter().filter_map(|action| report(*action)).enumerate() {
        let before = core::mem::replace(&mut judge.presence, next);
        if n > 0 {
            call.blame(name, "at most one status a step", call.output())?;
        }
        let edge = next.edge_from(&before);
        if !PRESENCE_EDGES.contains(&edge) {
            let happened = format!("{edge}");
            call.blame(name, "an edge of the published graph", happened)?;
        }
        let version = judge.config.numbering.after(before.version, next.epoch);
        if next.version != version {
            let wanted = format!("version {version}");
            let happened = format!("version {}", next.version);
            call.blame(Invariant::VersionGrowsByOne, wanted, happened)?;
        }
        let since = if next.status == before.status { before.since } else { now.wall };
        if next.since != since {
            let (wanted, happened) = (format!("since {since}"), format!("{}", next.since));
            call.blame(Invariant::SinceMovesOnlyWithStatus, wanted, happened)?;
        }
    }
    if presence == judge.presence {
        return Ok(());
    }
    let (wanted, happened) = (format!("{:?}", judge.presence), format!("{presence:?}"));
    call.blame(name, wanted, happened)
}

pub(super) const fn report(action: ServerAction) -> Option<Presence> {
    match action {
        ServerAction::Report(presence) => Some(presence),
        ServerAction::Admit(_)
        | ServerAction::Welcome { .. }
        | ServerAction::Record { .. }
        | ServerAction::SendBeat { .. }
        | ServerAction::SendPing(_)
        | ServerAction::Close(..)
        | ServerAction::Overslept(_)
        | ServerAction::Forget => None,
    }
}
