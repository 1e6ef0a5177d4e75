//! The bounds of a fleet: how much of each thing one user may have, what happens at the bound, and how much there is.

use crate::wire::payload::{ErrorCode, ErrorReply};
use alloc::format;
use core::time::Duration;

/// Commands that ended within this time before a start of the server are taken up again, so that readers see
/// them as if it had not ended: 10 minutes, as long as dashboards are sent an end.
pub const RECOVERED_FOR: Duration = Duration::from_secs(10 * 60);
/// At most this many of them of one user, the newest: 256, which is what a view keeps
/// ([`FleetLimits::ended_commands`]).
pub const RECOVERED_COMMANDS: usize = 256;

/// Bounds per user, and per agent where it says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FleetLimits {
    /// Agents, those included whose first session is being opened: 65,536, more than a server can keep in
    /// session. An agent that is not known yet is refused at it; known ones continue.
    pub agents: usize,
    /// What agents take together, each [`AGENT_COST`](Self::AGENT_COST) besides its texts: 288 MiB. A hello is
    /// refused at it that needs more than its agent has.
    pub agent_bytes: usize,
    /// What hellos take whose session is being opened: 16 MiB, a thousand of 16 KiB. One more is refused, and
    /// its agent comes back.
    pub hello_bytes: usize,
    /// Links of one legacy agent that are open beside the one of its session: 4, twice what was seen of real
    /// wrappers in a bad network. With one more, the newest is refused; an older one is never closed for it.
    pub parked_links: usize,
    /// Open commands of users: 1,024. A request is refused at it with `QUEUE_FULL`.
    pub open_commands: usize,
    /// What the requests of open commands take together, with 1 KiB for each besides its texts: 16 MiB. A request
    /// is refused at it with `QUEUE_FULL`.
    pub open_command_bytes: usize,
    /// Repetitions of one request that may wait for the store: 64. Further ones are refused with `QUEUE_FULL`.
    pub repetitions: usize,
    /// Open terminals of one agent: 1,024, the one that it has and those of which it could not report the end
    /// yet. An agent that crashes all the time without a server opens one every 30 s, so that these are more
    /// than eight hours of it. At it the oldest is given up.
    pub terminals_of_agent: usize,
    /// Terminals of one agent besides them whose end is not stored yet: 1,024. At it a terminal is refused.
    pub terminals_ending: usize,
    /// Terminals of all agents: 4,096, a large fleet with one each. At it a terminal is refused.
    pub terminals: usize,
    /// Unstored output of one agent, by the cost of its records: 2 MiB. At it the agent's link is not read
    /// until half of that is stored. An agent of ours never gets here, because its window is smaller; a legacy
    /// wrapper knows no window.
    pub unstored_output: usize,
    /// The same of all agents: 64 MiB, what a disk takes in some seconds. At it no link of the user's agents is
    /// read until half of that is stored.
    pub unstored_output_of_user: usize,
    /// Stored output that all commands together keep in a [`View`](super::View) for readers that follow closely:
    /// 32 MiB, of a hundred commands as much as one keeps. At it the command that has been quiet longest leaves its
    /// to the store.
    pub tail_bytes: usize,
    /// Bytes of output that is not stored after which its agent is given credit: 128 KiB, an eighth of the window.
    pub credit_bytes: usize,
    /// Output that is not stored and for which no credit is given yet because of viewers, of all agents: 8 MiB. Beyond it
    /// viewers are not waited for. It is part of what a [`View`](super::View) keeps.
    pub relayed_bytes: usize,
    /// Unknown commands that were reported to agents in their sessions: 4 MiB of ids. With more, one
    /// may be reported twice.
    pub told_bytes: usize,
    /// Ids of output that belongs to no command: 256. At it the oldest makes room; what comes under one more
    /// while all of it still waits for the store is dropped.
    pub loose_outputs: usize,
    /// Commands that are over and kept for readers that come a little late: 256. The oldest makes room.
    pub ended_commands: usize,
    /// Pages of held streams that may wait for the store, of one agent: 64. One more is dropped; its agent says
    /// everything again when it has waited long enough.
    pub pages_of_agent: usize,
    /// Such pages of all agents: 4,096.
    pub pages: usize,
    /// What such pages take, 128 bytes a stream besides its id: 16 MiB. One more is dropped like those above.
    pub page_bytes: usize,
    /// Audits in progress: 64. One more is refused with `QUEUE_FULL`.
    pub audits: usize,
    /// What agents have said for audits in progress, counted as pages are: 16 MiB. The audit that would take more
    /// is refused with `QUEUE_FULL`.
    pub audit_bytes: usize,
    /// Stops, and releases, that wait for the store or for receipts: 256 each. One stop more is carried out all
    /// the same, and answered at once that it is not known to be durable; one release more is refused with
    /// `QUEUE_FULL`.
    pub waiting_stops: usize,
    /// Agents that are being deleted: 64. One more is refused with `QUEUE_FULL`.
    pub deletions: usize,
    /// Keyboards that are held remotely: 64, of a user with as many terminals before the eyes. One more is refused with
    /// `QUEUE_FULL`.
    pub keyboards: usize,
}

impl FleetLimits {
    /// The values above.
    pub const DEFAULT: Self = Self {
        agents: 1 << 16,
        agent_bytes: 288 << 20,
        hello_bytes: 16 << 20,
        parked_links: 4,
        open_commands: 1024,
        open_command_bytes: 16 << 20,
        repetitions: 64,
        terminals_of_agent: 1024,
        terminals_ending: 1024,
        terminals: 4096,
        unstored_output: 2 << 20,
        unstored_output_of_user: 64 << 20,
        tail_bytes: 32 << 20,
        credit_bytes: 128 << 10,
        relayed_bytes: 8 << 20,
        told_bytes: 4 << 20,
        loose_outputs: 256,
        ended_commands: 256,
        pages_of_agent: 64,
        pages: 4096,
        page_bytes: 16 << 20,
        audits: 64,
        audit_bytes: 16 << 20,
        waiting_stops: 256,
        deletions: 64,
        keyboards: 64,
    };

    /// What an agent counts besides its texts: its machine, its entries in the indexes, and the emergency stop that
    /// is in force for it.
    pub const AGENT_COST: usize = 4096;
    /// What a command counts that is kept, besides its request: its lifecycle, its log, its entry in the view, what
    /// its agent says of its end, there and in the view.
    pub(crate) const COMMAND_COST: usize = 12 * 1024;

    /// Commands that are kept at most: open ones, terminals, ended ones, and output of none.
    pub const fn commands(&self) -> usize {
        self.open_commands + 2 * self.terminals + self.ended_commands + self.loose_outputs
    }

    /// What a fleet and its [`View`](super::View) hold at most, in bytes, whatever its agents and its user say. A
    /// frame more of each of its links may be on its way.
    pub const fn held_bytes(&self) -> usize {
        self.agent_bytes
            + self.hello_bytes
            // The request, and its copy on the way to the store.
            + 2 * self.open_command_bytes
            + self.commands() * Self::COMMAND_COST
            + self.unstored_output_of_user
            + self.tail_bytes
            + self.told_bytes
            // What was asked, and the question to the store.
            + 2 * (self.page_bytes + self.audit_bytes)
            + (2 * self.waiting_stops + self.deletions + self.keyboards) * Self::COMMAND_COST
    }
}

impl FleetLimits {
    /// Why one more agent is refused.
    pub(super) fn too_many_agents(&self) -> ErrorReply {
        let most = self.agents;
        let why = format!(
            "this user has {most} agents, which is the limit; delete some, or use the state directory of one of them"
        );
        ErrorReply::new(ErrorCode::QueueFull, why)
    }
}

/// How much a fleet holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
#[non_exhaustive]
pub struct FleetSize {
    /// Machines: agents in session, joining, or awaited.
    pub seats: usize,
    /// Commands that are open, or whose end is not stored.
    pub open_commands: usize,
    /// Keys by which agents are found.
    pub keys: usize,
    pub stops: usize,
}

impl Default for FleetLimits {
    fn default() -> Self {
        Self::DEFAULT
    }
}
