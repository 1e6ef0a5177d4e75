//! What must hold of a world, judged from outside: by what the database accepted, what was shown, and what really happened.

use super::{Millis, RESUME_WINDOW};
use onsembl_protocol::cluster::{Owner, RouteReply};
use onsembl_protocol::id::{Epoch, NodeRun, PresenceVersion};
use onsembl_protocol::session::PresenceStatus;
use std::collections::{BTreeMap, BTreeSet};

/// A registration that was renewed so recently may not be swept.
const RENEWED_WITHIN: Millis = 3_000;

/// So long an agent may take itself for in session while its node is gone.
const UNNOTICED: Millis = 20_000;

#[derive(Debug, Default)]
pub(super) struct Judge {
    /// Who was granted each epoch of each agent.
    grants: Vec<BTreeMap<Epoch, Owner>>,
    renewed: BTreeMap<NodeRun, Millis>,
    /// Registrations whose process has ended.
    over: BTreeSet<NodeRun>,
    /// What each version of each agent says.
    versions: Vec<BTreeMap<PresenceVersion, PresenceStatus>>,
    /// When each agent was last in session at its own end.
    pub(super) in_session: Vec<Option<Millis>>,
    /// When each agent ended for good.
    pub(super) ended: Vec<Option<Millis>>,
    pub(super) commands: BTreeSet<u64>,
    pub(super) stopped: BTreeSet<usize>,
    /// Since when an order is owed to an agent whose node is well.
    owed: BTreeMap<(usize, u64), Millis>,
    replies: BTreeMap<u64, RouteReply>,
    /// What happened in this world that not every world has.
    pub(super) met: BTreeSet<&'static str>,
}

impl Judge {
    pub(super) fn new(agents: usize) -> Self {
        Self {
            grants: vec![BTreeMap::new(); agents],
            versions: vec![BTreeMap::new(); agents],
            in_session: vec![None; agents],
            ended: vec![None; agents],
            ..Self::default()
        }
    }

    #[track_caller]
    pub(super) fn demand(&self, holds: bool, what: impl FnOnce() -> String) {
        assert!(holds, "{}", what());
    }

    // --- the database

    pub(super) fn renewed(&mut self, run: NodeRun, at: Millis) {
        let _ = self.renewed.insert(run, at);
    }

    /// The process of this registration ended.
    pub(super) fn process_ended(&mut self, run: NodeRun) {
        let _ = self.over.insert(run);
    }

    /// A registration in force was ended by another node.
    pub(super) fn swept(&mut self, run: NodeRun, at: Millis) {
        let _ = self.met.insert("a node was swept");
        let renewed = self.renewed.get(&run).copied().unwrap_or(0);
        let has_ended = self.over.contains(&run);
        self.demand(has_ended || at >= renewed + RENEWED_WITHIN, || {
            format!("node {run} was swept at {at}, and renewed at {renewed}")
        });
    }

    pub(super) fn granted(&mut self, agent: usize, epoch: Epoch, owner: Owner) {
        let latest = self.grants[agent].keys().next_back().copied();
        self.demand(latest.is_none_or(|latest| epoch > latest), || {
            format!("epoch {epoch} of agent {agent} was granted behind {latest:?}")
        });
        let _ = self.grants[agent].insert(epoch, owner);
    }

    /// The database took this for what is now.
    pub(super) fn presented(
        &mut self,
        agent: usize,
        (run, epoch): (NodeRun, Epoch),
        version: PresenceVersion,
        status: PresenceStatus,
        at: Millis,
    ) {
        let latest = self.grants[agent].iter().next_back();
        let is_owner = latest.is_some_and(|(of, owner)| *of == epoch && owner.run == run);
        self.demand(is_owner, || {
            format!("node {run} wrote of agent {agent} under {epoch}, and the owner is {latest:?}")
        });
        self.shown(agent, version, status);
        if status == PresenceStatus::Offline {
            let _ = self.met.insert("an agent was given up");
            let since = self.in_session[agent];
            let is_long_ago = since.is_none_or(|since| at + UNNOTICED >= since + RESUME_WINDOW);
            self.demand(is_long_ago, || {
                format!("agent {agent} is offline at {at}, and was in session at {since:?}")
            });
        }
    }

    /// A node shows this to the others and to readers.
    pub(super) fn shown(&mut self, agent: usize, version: PresenceVersion, status: PresenceStatus) {
        let before = self.versions[agent].insert(version, status);
        self.demand(before.is_none_or(|before| before == status), || {
            format!("version {version} of agent {agent} is {before:?} and {status:?}")
        });
    }

    pub(super) fn inserted(&mut self, command: u64) {
        let _ = self.commands.insert(command);
    }

    pub(super) fn stop_ordered(&mut self, agent: usize) {
        let _ = self.stopped.insert(agent);
    }

    // --- users

    /// A user is told.
    pub(super) fn replied(&mut self, command: u64, reply: RouteReply) {
        let _ = self.met.insert(match reply {
            RouteReply::Handled => "a request was handled by another node",
            RouteReply::Waits(_) => "a user was told that a request waits",
            RouteReply::Unreachable(_) => "a user was told that nothing was stored",
        });
        self.demand(!matches!(reply, RouteReply::Unreachable(_)), || {
            format!("command {command} is stored, and its user was told that it is not")
        });
        let before = self.replies.insert(command, reply);
        self.demand(before.is_none(), || format!("command {command} was answered twice"));
    }

    /// An agent whose node is well is owed this, or is not any more.
    pub(super) fn owed(
        &mut self,
        agent: usize,
        what: u64,
        is_owed: bool,
        at: Millis,
        within: Millis,
    ) {
        if !is_owed {
            let _ = self.owed.remove(&(agent, what));
            return;
        }
        let since = *self.owed.entry((agent, what)).or_insert(at);
        self.demand(at <= since + within, || {
            format!("agent {agent} waits for {what} since {since}, and its node is well")
        });
    }
}
