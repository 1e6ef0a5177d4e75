//! Where the output of a command goes on that the board does not have, but the database may: it is asked
//! before anything is taken. A log that guesses would number what comes in front of what is stored, and
//! no reader would find it there.

use super::commands::CommandKey;
use super::output::{Piece, Sender};
use super::run::{Answer, Hub};
use crate::board::CommandEntry;
use crate::store::{Cursor, StoreError, StreamPosition};
use onsembl_protocol::id::AgentId;
use onsembl_protocol::output::OutputLog;
use onsembl_protocol::wire::payload::CommandComplete;
use std::collections::VecDeque;
use tracing::warn;

/// What a report counts while it waits: an agent that says nothing else must be held back too.
const REPORT_COST: usize = 1024;

/// The last record of a command, and how far its streams are.
pub(super) type LogPlace = (Cursor, Vec<StreamPosition>);

/// What came of a command before it was known where its log goes on.
#[derive(Debug)]
pub(super) struct Unplaced {
    agent: AgentId,
    heard: VecDeque<Heard>,
    cost: usize,
    /// It is a terminal that is to be given up then.
    pub(super) given_up: bool,
}

/// One thing that an agent said.
#[derive(Debug)]
pub(super) enum Heard {
    Piece(Sender, Piece),
    Complete(Sender, CommandComplete),
}

impl Heard {
    fn cost(&self) -> usize {
        match self {
            Self::Piece(_, piece) => piece.cost(),
            Self::Complete(..) => REPORT_COST,
        }
    }

    const fn sender(&self) -> &Sender {
        match self {
            Self::Piece(from, _) | Self::Complete(from, _) => from,
        }
    }
}

impl Hub {
    /// Asks the database where the log of this command goes on. What comes of it waits for the answer.
    pub(super) fn ask_place(&mut self, key: &CommandKey, agent: &AgentId) {
        if self.unplaced.contains_key(key) {
            return;
        }
        let heard = VecDeque::new();
        let unplaced = Unplaced { agent: agent.clone(), heard, cost: 0, given_up: false };
        let _ = self.unplaced.insert(key.clone(), unplaced);
        let (store, key) = (self.store.clone(), key.clone());
        self.answers.spawn(async move {
            let positions = store.output_positions(&key.0, vec![key.1.clone()]).await;
            let place = match positions {
                Ok(positions) => store.output_end(&key.0, &key.1).await.map(|end| (end, positions)),
                Err(error) => Err(error),
            };
            Answer::Place { key, place }
        });
    }

    /// Keeps this until the place is known, if it is not.
    pub(super) fn hold(&mut self, key: &CommandKey, heard: Heard) -> Option<Heard> {
        let Some(unplaced) = self.unplaced.get_mut(key) else { return Some(heard) };
        if unplaced.agent != heard.sender().agent {
            self.refuse_foreign(&heard.sender().agent, &key.1);
            return None;
        }
        let (from, cost) = (heard.sender().key, heard.cost());
        unplaced.cost = unplaced.cost.saturating_add(cost);
        unplaced.heard.push_back(heard);
        self.hold_back(from, cost);
        None
    }

    /// The database has answered: what waited is taken.
    pub(super) fn on_place(&mut self, key: &CommandKey, place: Result<LogPlace, StoreError>) {
        let Some(Unplaced { agent, heard, cost, given_up }) = self.unplaced.remove(key) else {
            return;
        };
        let log = match place {
            Ok((end, positions)) => {
                OutputLog::behind(end, positions.iter().map(StreamPosition::place))
            }
            Err(error) => {
                self.counters.count("places_not_read");
                warn!(command = %key.1, %error, "cannot say where the output of a command goes on; who watches it may miss some");
                OutputLog::resumed()
            }
        };
        self.boards.of(&key.0).change(|content, revision| {
            let entry = content.commands.entry(key.1.clone()).or_insert_with(|| CommandEntry {
                agent: agent.clone(),
                view: None,
                detail: None,
                log: OutputLog::default(),
                revision,
            });
            entry.log = log;
        });
        self.release(&agent, cost);
        let now = self.now();
        for heard in heard {
            match heard {
                Heard::Piece(from, piece) => self.on_piece(&from, &key.1, piece, now),
                Heard::Complete(from, report) => self.on_complete(from, report),
            }
        }
        let is_over = self.commands.get(key).is_none_or(|open| open.life.view().status.is_final());
        if given_up && !is_over {
            self.give_up_terminal(key, &agent);
        }
    }
}
