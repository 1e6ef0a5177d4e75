//! What the hop tracker of the agent that runs says, judged: a fault of that very process, which no dial
//! shows.

use super::judge::Check;
use crate::status_file::AgentStatusFile;

/// What the running agent's own hop tracker says, if something is amiss.
pub(super) fn ledger(check: &'static str, status: &AgentStatusFile) -> Option<Check> {
    let (pid, beats) = (status.pid, status.beats.as_ref()?);
    let trouble = beats.trouble.as_ref()?;
    let found = format!(
        "process {pid} is connected, but its heartbeats do not reach the hop `{}` ({}): {}; {}",
        trouble.hop,
        trouble.cause,
        trouble.text,
        beats.hops_of_agent()
    );
    Some(Check::fail(check, found, trouble.cause.action()))
}
