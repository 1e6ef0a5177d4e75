//! The status that is shown: at most one a step, along the published graph, and the true one.

use super::super::subject::Observation;
use super::Judge;
use crate::lab::Invariant;
use crate::lab::kit::call::Call;
use crate::lab::kit::violation::Violation;
use crate::session::{AGENT_EDGES, AgentStatusKind};
use std::format;

pub(super) fn one_report(
    judge: &mut Judge,
    call: &Call<'_>,
    seen: &[Observation],
    status: Option<AgentStatusKind>,
) -> Result<(), Violation> {
    let name = Invariant::OneReportPerStep;
    let mut reports = 0;
    for observation in seen {
        let Observation::Shown(phase) = observation else { continue };
        reports += 1;
        if reports > 1 {
            call.blame(name, "at most one status a step", call.output())?;
        }
        if !AGENT_EDGES.iter().any(|edge| edge.from == judge.shown && edge.to == *phase) {
            let edge = format!("from {} to {phase}", judge.shown);
            call.blame(name, "an edge of the published graph", edge)?;
        }
        judge.shown = *phase;
    }
    match status {
        Some(status) if status != judge.shown => {
            let happened = format!("shown {}, but it is {status}", judge.shown);
            call.blame(name, "the status shown is the true one", happened)
        }
        Some(_) | None => Ok(()),
    }
}
