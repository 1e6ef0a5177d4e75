//! Who stands where in the store's queue: in which lane, in whose line, behind what; and whose turn it is.

use super::reader::Asker;
use super::request::Request;
use super::reserve_shares::ReserveShares;
use super::small::Small;
use onsembl_protocol::id::{CommandId, UserId};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Requests of one lane in one transaction, so that 768 in all.
pub(super) const BATCH_REQUESTS: usize = 256;
/// This many records of output count as one request: written together, they cost as much.
pub(crate) const RECORDS_PER_REQUEST: usize = 16;
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
    /// Little: on a full disk it is written out of its asker's share of the reserve.
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

/// Whether somebody waits for a request to be committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waits {
    ForIt,
    /// It only records.
    Nobody,
}

/// In which line of the queue a request waits.
#[derive(Clone, Debug)]
pub(super) struct Routing {
    pub(super) lane: Lane,
    pub(super) asker: Asker,
    pub(super) needs: Needs,
    pub(super) waits: Waits,
}

impl Routing {
    /// An order of a user: before everything else.
    pub(super) const fn order(asker: Asker) -> Self {
        Self { lane: Lane::Orders, asker, needs: Needs::Little, waits: Waits::ForIt }
    }

    /// What is not held up by output.
    pub(super) fn control(user: &UserId, needs: Needs) -> Self {
        let asker = Asker::User(user.clone());
        Self { lane: Lane::Control, asker, needs, waits: Waits::ForIt }
    }

    /// The same, of what nobody waits for: it may wait for others.
    pub(super) fn record(user: &UserId) -> Self {
        Self { waits: Waits::Nobody, ..Self::control(user, Needs::Little) }
    }

    /// Output, and what must not overtake it.
    pub(super) fn data(user: &UserId, needs: Needs) -> Self {
        let asker = Asker::User(user.clone());
        Self { lane: Lane::Data, asker, needs, waits: Waits::ForIt }
    }

    /// Upkeep of the database: in turn with the output of users.
    pub(super) const fn upkeep() -> Self {
        Self { lane: Lane::Data, asker: Asker::Server, needs: Needs::Little, waits: Waits::ForIt }
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
    of: HashMap<Asker, Own>,
    order: BTreeMap<i64, Asker>,
    /// Whether it is known what of it is written on a full disk too: only while the disk is full, since each record of
    /// output would cost a good part more.
    knows_small: bool,
    /// The turns of those of whom something is.
    small: BTreeSet<i64>,
    /// Who has used up its share of the reserve.
    resting: Vec<Asker>,
    first_turn: i64,
    next_turn: i64,
    len: usize,
    /// Askers and requests that were looked at on a full disk.
    #[cfg(test)]
    looked_at: usize,
}

/// What waits of one asker, in order.
#[derive(Default)]
struct Own {
    standing: Standing,
    requests: BTreeMap<i64, QueuedWrite>,
    small: Small,
}

/// Whether an asker gets turns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Standing {
    /// Nothing of it waits.
    #[default]
    Idle,
    InTurn(i64),
    Resting,
}

impl Own {
    fn put(&mut self, at: i64, queued: QueuedWrite, knows_small: bool) {
        if knows_small {
            self.small.add(at, &queued.routing.needs);
        }
        let _ = self.requests.insert(at, queued);
    }

    fn take(&mut self, at: i64, knows_small: bool) -> Option<QueuedWrite> {
        let queued = self.requests.remove(&at)?;
        if knows_small {
            self.small.remove(at, &queued.routing.needs);
        }
        Some(queued)
    }

    fn first(&self) -> Option<(i64, &QueuedWrite)> {
        self.requests.first_key_value().map(|(at, queued)| (*at, queued))
    }
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

    /// How many askers and requests were looked at on a full disk since the last call.
    #[cfg(test)]
    pub(super) fn looked_at(&mut self) -> usize {
        std::mem::take(&mut self.looked_at)
    }

    pub(super) fn push(&mut self, queued: QueuedWrite) {
        let asker = queued.routing.asker.clone();
        let own = self.of.entry(asker.clone()).or_default();
        let at = own.requests.last_key_value().map_or(0, |(at, _)| at + 1);
        own.put(at, queued, self.knows_small);
        self.len += 1;
        match own.standing {
            Standing::Idle => self.stand_last(asker),
            Standing::InTurn(turn) => self.settle(&asker, turn),
            Standing::Resting => {}
        }
    }

    pub(super) fn push_front(&mut self, queued: QueuedWrite) {
        let asker = queued.routing.asker.clone();
        let own = self.of.entry(asker.clone()).or_default();
        let at = own.first().map_or(0, |(at, _)| at - 1);
        own.put(at, queued, self.knows_small);
        self.len += 1;
        match own.standing {
            Standing::Idle => {
                self.first_turn -= 1;
                self.stand(asker, self.first_turn);
            }
            Standing::InTurn(turn) => self.settle(&asker, turn),
            Standing::Resting => {}
        }
    }

    /// Takes from each in turn, until one transaction has enough; on a full disk, from those that have not used up their
    /// shares of the reserve.
    pub(super) fn take(&mut self, batch: &mut Vec<QueuedWrite>, reserve: Option<&ReserveShares>) {
        self.forget_small();
        let most = BATCH_REQUESTS * RECORDS_PER_REQUEST;
        let most_in_turn = TURN_REQUESTS * RECORDS_PER_REQUEST;
        let (mut count, mut output) = (0, 0);
        while count < most
            && let Some((turn, asker)) = self.order.pop_first()
        {
            let _ = self.small.remove(&turn);
            if reserve.is_some_and(|reserve| !reserve.may(&asker)) {
                self.rest(asker);
                continue;
            }
            let Some(own) = self.of.get_mut(&asker) else { continue };
            let (mut run, mut run_output) = (0, 0);
            while count < most
                && let Some((at, next)) = own.first()
            {
                let length = next.request.output_len();
                let weight = next.request.weight();
                if output > 0 && output + length > BATCH_OUTPUT {
                    // A user who had a turn is behind the others in the next transaction.
                    match run {
                        0 => self.stand(asker, turn),
                        _ => self.stand_last(asker),
                    }
                    return;
                }
                if run > 0 && (run + weight > most_in_turn || run_output + length > TURN_OUTPUT) {
                    break;
                }
                batch.extend(own.take(at, self.knows_small));
                (count, run, self.len) = (count + weight, run + weight, self.len - 1);
                (output, run_output) = (output + length, run_output + length);
            }
            self.stand_last(asker);
        }
    }

    /// Takes from each in turn what needs no room, and is behind nothing that does. Looks only at what it takes, however
    /// much waits, but for the first time after the disk was found to be full.
    pub(super) fn take_small(&mut self, batch: &mut Vec<QueuedWrite>, reserve: &ReserveShares) {
        self.know_small();
        let (before, mut served) = (batch.len(), Vec::new());
        while batch.len() - before < BATCH_REQUESTS
            && let Some(turn) = self.small.pop_first()
        {
            #[cfg(test)]
            {
                self.looked_at += 1;
            }
            let Some(asker) = self.order.remove(&turn) else { continue };
            if !reserve.may(&asker) {
                self.rest(asker);
                continue;
            }
            let Some(own) = self.of.get_mut(&asker) else { continue };
            let mut run = 0;
            while run < TURN_REQUESTS
                && batch.len() - before < BATCH_REQUESTS
                && let Some(at) = own.small.first()
            {
                batch.extend(own.take(at, self.knows_small));
                (run, self.len) = (run + 1, self.len - 1);
                #[cfg(test)]
                {
                    self.looked_at += 1;
                }
            }
            served.push(asker);
        }
        for asker in served {
            self.stand_last(asker);
        }
    }

    fn know_small(&mut self) {
        if std::mem::replace(&mut self.knows_small, true) {
            return;
        }
        for own in self.of.values_mut() {
            for (at, queued) in &own.requests {
                own.small.add(*at, &queued.routing.needs);
            }
            match own.standing {
                Standing::InTurn(turn) if own.small.first().is_some() => {
                    let _ = self.small.insert(turn);
                }
                Standing::InTurn(_) | Standing::Idle | Standing::Resting => {}
            }
        }
    }

    fn forget_small(&mut self) {
        if std::mem::replace(&mut self.knows_small, false) {
            self.small.clear();
            self.of.values_mut().for_each(|own| own.small = Small::default());
        }
    }

    /// The reserve is whole again: everybody gets turns.
    pub(super) fn wake_all(&mut self) {
        for asker in std::mem::take(&mut self.resting) {
            self.stand_last(asker);
        }
    }

    fn rest(&mut self, asker: Asker) {
        if let Some(own) = self.of.get_mut(&asker) {
            own.standing = Standing::Resting;
            self.resting.push(asker);
        }
    }

    fn stand_last(&mut self, asker: Asker) {
        let turn = self.next_turn;
        self.next_turn += 1;
        self.stand(asker, turn);
    }

    /// It gets this turn, if anything of it waits.
    fn stand(&mut self, asker: Asker, turn: i64) {
        let Some(own) = self.of.get_mut(&asker) else { return };
        if own.requests.is_empty() {
            let _ = self.of.remove(&asker);
            return;
        }
        own.standing = Standing::InTurn(turn);
        self.settle(&asker, turn);
        let _ = self.order.insert(turn, asker);
    }

    /// Whether something of it is written on a full disk may have changed.
    fn settle(&mut self, asker: &Asker, turn: i64) {
        if !self.knows_small {
            return;
        }
        let has_small = self.of.get(asker).is_some_and(|own| own.small.first().is_some());
        let _ = if has_small { self.small.insert(turn) } else { self.small.remove(&turn) };
    }
}
