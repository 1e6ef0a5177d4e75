//! The machines of a shard, and the recording of what they are fed: one is not done without the other.

use super::link::Lane;
use onsembl_protocol::id::{Epoch, LinkId, PresenceVersion};
use onsembl_protocol::replay::{
    Excerpt, FrameNote, Handled, Owner, Recorder, Retired, ServerOrigin,
};
use onsembl_protocol::session::{
    ServerAction, ServerConfig, ServerConnection, ServerEvent, ServerView,
};
use onsembl_protocol::step::Actions;
use onsembl_protocol::supervisor::{Key, Supervisor};
use onsembl_protocol::time::{Deadline, Now};
use std::hash::{BuildHasher as _, RandomState};

/// Bytes in which the inputs of all machines of a shard are kept: a month of one agent, three quarters
/// of an hour of a thousand.
pub const RECORDING: usize = 8 * 1024 * 1024;

#[derive(Debug)]
pub(super) struct Machines {
    supervisor: Supervisor<ServerConnection>,
    recorder: Recorder,
    /// Makes the numbers under which the recorder knows lanes.
    owners: RandomState,
}

impl Machines {
    pub(super) fn new(config: ServerConfig) -> Self {
        Self {
            supervisor: Supervisor::new(config),
            recorder: Recorder::new(RECORDING, config),
            owners: RandomState::new(),
        }
    }

    /// Begins a recording of this many bytes.
    pub(super) fn record_in(&mut self, bytes: usize) {
        self.recorder = Recorder::new(bytes, *self.rules());
    }

    pub(super) fn rules(&self) -> &ServerConfig {
        self.supervisor.rules()
    }

    /// Puts a machine in for an agent that has none; with its history, if it had one.
    pub(super) fn insert(
        &mut self,
        lane: &Lane,
        version: PresenceVersion,
        epoch: Epoch,
        history: Option<Retired>,
        now: Now,
    ) -> Key {
        let machine = ServerConnection::new(*self.rules(), version, epoch, now);
        let deadline = machine.deadline();
        let key = self.supervisor.insert(machine);
        let (owner, origin) = (self.owner(lane), ServerOrigin::New { version, epoch });
        self.recorder.began(key, owner, origin, now, &Actions::none(), deadline, history);
        key
    }

    /// Puts a machine in for an agent that had a session with an earlier run of this server.
    pub(super) fn recover(
        &mut self,
        lane: &Lane,
        version: PresenceVersion,
        epoch: Epoch,
        now: Now,
    ) -> (Key, Actions<ServerAction>) {
        let (machine, step) = ServerConnection::recovered(*self.rules(), version, epoch, now);
        let key = self.supervisor.insert(machine);
        let (owner, origin) = (self.owner(lane), ServerOrigin::Recovered { version, epoch });
        self.recorder.began(key, owner, origin, now, &step.actions, step.deadline, None);
        (key, step.actions)
    }

    /// Nobody can choose a name that has the number of another one.
    fn owner(&self, lane: &Lane) -> Owner {
        Owner(self.owners.hash_one(lane))
    }

    /// What the machine behind `key` asks for; `None` if there is none any more.
    pub(super) fn handle(
        &mut self,
        key: Key,
        event: ServerEvent,
        now: Now,
        frame: Option<FrameNote>,
    ) -> Option<Actions<ServerAction>> {
        let actions = self.supervisor.handle(key, event, now)?;
        self.record(key, event, now, frame, &actions);
        Some(actions)
    }

    /// Wakes as many machines as this whose deadline has come.
    pub(super) fn sweep(&mut self, now: Now, most: usize) -> Vec<(Key, Actions<ServerAction>)> {
        let mut woken = Vec::new();
        let _more_is_due_and_the_next_wake_says_so =
            self.supervisor.sweep(now, most, |key, actions| woken.push((key, actions)));
        // Recorded first, in the order in which it was handled: performing feeds the machines of other links.
        for (key, actions) in &woken {
            self.record(*key, ServerEvent::Wake, now, None, actions);
        }
        woken
    }

    fn record(
        &mut self,
        key: Key,
        event: ServerEvent,
        now: Now,
        frame: Option<FrameNote>,
        actions: &Actions<ServerAction>,
    ) {
        let Some(machine) = self.supervisor.get(key) else { return };
        let Some(deadline) = self.supervisor.deadline(key) else { return };
        let handled = Handled { event, now, frame };
        self.recorder.handled(key, &handled, actions, deadline, || machine.snapshot());
    }

    /// Removes a machine. What is left of it is by what its history continues.
    pub(super) fn forget(&mut self, key: Key) -> Option<Retired> {
        let _ = self.supervisor.remove(key);
        self.recorder.forget(key)
    }

    pub(super) fn next_wake(&self) -> Deadline {
        self.supervisor.next_wake()
    }

    pub(super) fn keys(&self) -> Vec<Key> {
        self.supervisor.keys().collect()
    }

    pub(super) fn get(&self, key: Key) -> Option<ServerView<'_>> {
        self.supervisor.get(key)
    }

    /// The link of the session of the agent behind `key`.
    pub(super) fn link_of(&self, key: Key) -> Option<LinkId> {
        self.get(key)?.link()
    }

    pub(super) fn recording(&self, key: Key) -> Option<Excerpt> {
        self.recorder.excerpt(key)
    }

    pub(super) fn recording_of(&self, history: Retired) -> Option<Excerpt> {
        self.recorder.excerpt_of(history)
    }
}
