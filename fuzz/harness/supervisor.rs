// A supervisor does with its machines what a naive list of them does.

use super::bytes::{Bytes, MOST_EVENTS};
use super::server::event;
use core::time::Duration;
use onsembl_protocol::id::{Epoch, LinkId, PresenceVersion};
use onsembl_protocol::session::{ServerConfig, ServerConnection, ServerEvent, ServerView};
use onsembl_protocol::supervisor::{Key, Supervisor};
use onsembl_protocol::time::{Deadline, Now};

/// More machines than any confusion needs.
const MOST_MACHINES: usize = 24;

/// Any bytes, taken as what a server node does with its supervisor.
pub fn supervisor(bytes: &[u8]) {
    let mut bytes = Bytes(bytes);
    let mut node = Node {
        owner: Supervisor::new(ServerConfig::DEFAULT),
        list: Vec::new(),
        removed: None,
        at: Duration::ZERO,
    };
    for _ in 0..MOST_EVENTS {
        if bytes.is_empty() {
            break;
        }
        node.step(&mut bytes);
        node.agrees();
    }
}

struct Listed {
    key: Key,
    machine: ServerConnection,
    /// As its last step said: later than the time of that step.
    deadline: Deadline,
    joined: LinkId,
}

struct Node {
    owner: Supervisor<ServerConnection>,
    list: Vec<Listed>,
    removed: Option<Key>,
    at: Duration,
}

impl Node {
    fn now(&self) -> Now {
        Now::without_suspend(self.at)
    }

    fn step(&mut self, bytes: &mut Bytes<'_>) {
        self.pass(bytes);
        let kind = bytes.byte();
        let index = usize::from(bytes.byte()) % self.list.len().max(1);
        match kind % 8 {
            0 | 1 if self.list.len() < MOST_MACHINES => self.insert(kind > 127),
            2 if !self.list.is_empty() => self.remove(index),
            3..6 if !self.list.is_empty() => self.handle(index, bytes),
            _ => self.sweep(bytes),
        }
    }

    fn pass(&mut self, bytes: &mut Bytes<'_>) {
        self.at += match bytes.byte() % 8 {
            0..3 => Duration::ZERO,
            3 => Duration::from_millis(bytes.short()),
            4 => Duration::from_millis(bytes.short() * 20),
            5 => Duration::from_secs(3600),
            _ => match self.owner.next_wake() {
                Deadline::At(at) => at.since_origin().saturating_sub(self.at),
                Deadline::Never => Duration::ZERO,
            },
        };
    }

    fn insert(&mut self, recovered: bool) {
        let (version, epoch, now) = (PresenceVersion(0), Epoch(0), self.now());
        let config = ServerConfig::DEFAULT;
        let machine = if recovered {
            ServerConnection::recovered(config, version, epoch, now).0
        } else {
            ServerConnection::new(config, version, epoch, now)
        };
        let key = self.owner.insert(machine.clone());
        assert!(self.list.iter().all(|listed| listed.key != key), "a key twice");
        assert_ne!(self.removed, Some(key), "a key again");
        let deadline = machine.deadline();
        self.list.push(Listed { key, machine, deadline, joined: LinkId(10) });
    }

    fn remove(&mut self, index: usize) {
        let listed = self.list.swap_remove(index);
        let removed = self.owner.remove(listed.key);
        assert!(removed.is_some(), "a machine was lost");
        assert_eq!(removed.map(|m| m.presence()), Some(listed.machine.presence()));
        assert!(self.owner.remove(listed.key).is_none(), "removed twice");
        self.removed = Some(listed.key);
    }

    fn handle(&mut self, index: usize, bytes: &mut Bytes<'_>) {
        let now = self.now();
        if let Some(removed) = self.removed {
            assert!(
                self.owner.handle(removed, ServerEvent::Wake, now).is_none(),
                "an old key acts"
            );
        }
        let Some(listed) = self.list.get_mut(index) else { return };
        let event = event(bytes, &listed.machine, listed.joined);
        if let ServerEvent::Joined { link, .. } = event {
            listed.joined = link;
        }
        let actions = self.owner.handle(listed.key, event, now);
        let expected = listed.machine.handle(event, now);
        listed.deadline = expected.deadline;
        assert_eq!(actions, Some(expected.actions), "{event:?}");
    }

    /// A machine that is woken must do as its double; none is woken without cause, and one that is due is
    /// woken unless the budget ended the sweep.
    fn sweep(&mut self, bytes: &mut Bytes<'_>) {
        let now = self.now();
        let budget = usize::from(bytes.byte() % 8);
        let mut woken = Vec::new();
        let swept = self.owner.sweep(now, budget, |key, actions| woken.push((key, actions)));
        assert_eq!(swept.woken, woken.len());
        assert!(woken.len() <= budget, "over the budget of {budget}: {swept:?}");
        let spent = swept.woken + swept.in_vain;
        assert!(!swept.more_due || spent == budget, "gave up early: {swept:?}");
        for (key, actions) in woken {
            let Some(listed) = self.list.iter_mut().find(|listed| listed.key == key) else {
                panic!("{key:?} is nobody's key");
            };
            assert!(listed.machine.deadline().is_due(now.monotonic), "{key:?} was not due");
            let expected = listed.machine.handle(ServerEvent::Wake, now);
            listed.deadline = expected.deadline;
            assert_eq!(actions, expected.actions, "{key:?}");
        }
        if !swept.more_due {
            let late = self.list.iter().find(|l| l.deadline.is_due(now.monotonic));
            assert!(late.is_none(), "left due: {:?}", late.map(|l| l.key));
        }
    }

    fn agrees(&self) {
        assert_eq!(self.owner.len(), self.list.len());
        let mut keys: Vec<Key> = self.owner.keys().collect();
        let mut listed: Vec<Key> = self.list.iter().map(|listed| listed.key).collect();
        keys.sort_unstable();
        listed.sort_unstable();
        assert_eq!(keys, listed);
        let mut earliest = Deadline::Never;
        for listed in &self.list {
            let owned = self.owner.get(listed.key);
            assert_eq!(owned.map(ServerView::presence), Some(listed.machine.presence()));
            assert_eq!(owned.map(ServerView::link), Some(listed.machine.link()));
            earliest = earliest.min(listed.deadline);
        }
        if let Some(removed) = self.removed {
            assert!(self.owner.get(removed).is_none(), "an old key names something");
        }
        // The next wake may be early, never late.
        assert_eq!(self.owner.next_wake().min(earliest), self.owner.next_wake(), "{earliest:?}");
    }
}
