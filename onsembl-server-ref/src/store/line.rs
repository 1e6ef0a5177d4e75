//! Who stands where in the store's queue: in which lane, in whose line, behind what; and whose turn it is.

use super::reader::Asker;
use super::request::Request;
use onsembl_protocol::id::{CommandId, UserId};
use std::collections::{HashMap, HashSet, VecDeque};

/// Requests of one lane in one transaction, so that 768 in all.
pub(super) const BATCH_REQUESTS: usize = 256;
/// Bytes of output in one transaction (one chunk may exceed it).
pub(super) const BATCH_OUTPUT: usize = 1024 * 1024;
/// What a user gets into a transaction in one turn: a number of requests, and bytes of output (one chunk may exceed
/// it). Neighbours of one stream are written in one go, so that single ones would cost much.
pub(crate) const TURN_REQUESTS: usize = 32;
pub(crate) const TURN_OUTPUT: usize = 128 * 1024;

/// Which requests may overtake which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lane {
    /// Stops, releases, revocations: before everything else.
    Orders,
    /// Written before data.
    Control,
    /// Output, and what must not overtake it.
    Data,
}

/// What a request needs of the disk, and behind what it must stay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Needs {
    /// Little: on a full disk it is written out of the reserve.
    Little,
    /// The same, but never before what waits of this command.
    Behind(CommandId),
    /// The same, but never before anything that waits of its user.
    BehindAll,
    /// Room for something new: on a full disk it is refused.
    New,
    /// Room: on a full disk it waits, and with it what must stay behind it.
    Room(CommandId),
}

/// In which line of the queue a request waits.
#[derive(Clone, Debug)]
pub(super) struct Routing {
    pub(super) lane: Lane,
    pub(super) asker: Asker,
    pub(super) needs: Needs,
}

impl Routing {
    /// An order of a user: before everything else.
    pub(super) const fn order(asker: Asker) -> Self {
        Self { lane: Lane::Orders, asker, needs: Needs::Little }
    }

    /// What is not held up by output.
    pub(super) fn control(user: &UserId, needs: Needs) -> Self {
        Self { lane: Lane::Control, asker: Asker::User(user.clone()), needs }
    }

    /// Output, and what must not overtake it.
    pub(super) fn data(user: &UserId, needs: Needs) -> Self {
        Self { lane: Lane::Data, asker: Asker::User(user.clone()), needs }
    }

    /// Upkeep of the database: in turn with the output of users.
    pub(super) const fn upkeep() -> Self {
        Self { lane: Lane::Data, asker: Asker::Server, needs: Needs::Little }
    }
}

/// A request in the queue.
pub(super) struct QueuedWrite {
    pub(super) routing: Routing,
    pub(super) request: Request,
}

/// One lane: what waits of each asker, and whose turn it is.
#[derive(Default)]
pub(super) struct Line {
    of: HashMap<Asker, VecDeque<QueuedWrite>>,
    order: VecDeque<Asker>,
    len: usize,
}

impl Line {
    /// How many wait.
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    /// Whether anything waits of this asker.
    #[cfg(test)]
    pub(super) fn has_any_of(&self, asker: &Asker) -> bool {
        self.of.contains_key(asker)
    }

    pub(super) fn push(&mut self, queued: QueuedWrite) {
        let own = self.of.entry(queued.routing.asker.clone()).or_default();
        if own.is_empty() {
            self.order.push_back(queued.routing.asker.clone());
        }
        own.push_back(queued);
        self.len += 1;
    }

    pub(super) fn push_front(&mut self, queued: QueuedWrite) {
        let own = self.of.entry(queued.routing.asker.clone()).or_default();
        if own.is_empty() {
            self.order.push_front(queued.routing.asker.clone());
        }
        own.push_front(queued);
        self.len += 1;
    }

    /// Takes from each in turn, until one transaction has enough.
    pub(super) fn take(&mut self, batch: &mut Vec<QueuedWrite>) {
        let (mut count, mut output) = (0, 0);
        while count < BATCH_REQUESTS
            && let Some(asker) = self.order.pop_front()
        {
            let Some(own) = self.of.get_mut(&asker) else { continue };
            let (mut run, mut run_output) = (0, 0);
            while count < BATCH_REQUESTS
                && let Some(next) = own.front()
            {
                let length = next.request.output_len();
                if output > 0 && output + length > BATCH_OUTPUT {
                    // A user who had a turn is behind the others in the next transaction.
                    match run {
                        0 => self.order.push_front(asker),
                        _ => self.order.push_back(asker),
                    }
                    return;
                }
                if run == TURN_REQUESTS || run > 0 && run_output + length > TURN_OUTPUT {
                    break;
                }
                batch.extend(own.pop_front());
                (count, run, self.len) = (count + 1, run + 1, self.len - 1);
                (output, run_output) = (output + length, run_output + length);
            }
            if own.is_empty() {
                let _ = self.of.remove(&asker);
            } else {
                self.order.push_back(asker);
            }
        }
    }

    /// Takes from each in turn what needs no room, and is behind nothing that does.
    pub(super) fn take_small(&mut self, batch: &mut Vec<QueuedWrite>) {
        let before = batch.len();
        let (mut passed, mut served) = (VecDeque::new(), VecDeque::new());
        for asker in std::mem::take(&mut self.order) {
            let Some(own) = self.of.get_mut(&asker) else { continue };
            let (mut held, mut run) = (HashSet::new(), 0);
            for queued in std::mem::take(own) {
                let has_room = run < TURN_REQUESTS && batch.len() - before < BATCH_REQUESTS;
                let may_go = match &queued.routing.needs {
                    Needs::Little | Needs::New => has_room,
                    Needs::Behind(command) => has_room && !held.contains(command),
                    Needs::BehindAll => has_room && held.is_empty(),
                    Needs::Room(command) => {
                        let _ = held.insert(command.clone());
                        false
                    }
                };
                if may_go {
                    batch.push(queued);
                    run += 1;
                } else {
                    own.push_back(queued);
                }
            }
            if own.is_empty() {
                let _ = self.of.remove(&asker);
            } else if run > 0 {
                served.push_back(asker);
            } else {
                passed.push_back(asker);
            }
        }
        self.len -= batch.len() - before;
        passed.extend(served);
        self.order = passed;
    }
}
