//! What an agent writes down of its commands before it acts, and what that proves after a crash.
//!
//! The order is the proof: *starting* is durable before a process starts, *ended* before the end is
//! told. Where the entries are kept, and how, is not decided here.

use super::left_behind::{LeftBehind, ProcessIdentity};
use crate::id::{CommandId, RunMark, StopId};
use crate::model::CommandComplete;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

/// Ended commands that a journal remembers, so that a late repetition is known as one.
const REMEMBERED: usize = 4096;

/// By what is found what a command left running when it ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "the names say all")]
#[non_exhaustive]
pub struct Remains {
    /// What its processes bear.
    pub mark: RunMark,
    /// Who led them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<ProcessIdentity>,
}

/// One thing that is written down.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "entry")]
#[allow(missing_docs, reason = "the names say all")]
pub enum JournalEntry {
    /// It is about to be started. Durable before it is.
    Starting {
        command: CommandId,
        /// What its processes bear.
        mark: RunMark,
    },
    Started {
        command: CommandId,
        process: ProcessIdentity,
    },
    /// It is over. Durable before its end is reported.
    Ended {
        report: CommandComplete,
        /// What of it lives on. Written again without, once that has ended.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        remains: Option<Remains>,
    },
    /// The server has heard of its end.
    Confirmed {
        command: CommandId,
    },
    /// An emergency stop: nothing starts until it is released.
    Stopped {
        stop: StopId,
    },
    Released {
        stop: StopId,
    },
}

/// What waits until an entry is durable.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Awaited {
    /// The start of this command.
    Start(CommandId),
    /// The report of this command's end.
    End(CommandId),
    /// The receipt of this stop.
    Stop(StopId),
}

impl JournalEntry {
    /// What waits until it is durable, if anything does.
    pub fn awaited(&self) -> Option<Awaited> {
        match self {
            Self::Starting { command, .. } => Some(Awaited::Start(command.clone())),
            Self::Ended { report, .. } => Some(Awaited::End(report.command_id.clone())),
            Self::Stopped { stop } => Some(Awaited::Stop(stop.clone())),
            // Without it a successor goes by the mark, and a report is said once more.
            // A stop that comes back after a crash is released by the next session.
            Self::Started { .. } | Self::Confirmed { .. } | Self::Released { .. } => None,
        }
    }

    /// Whether something waits until it is durable.
    pub const fn must_last(&self) -> bool {
        match self {
            Self::Starting { .. } | Self::Ended { .. } | Self::Stopped { .. } => true,
            Self::Started { .. } | Self::Confirmed { .. } | Self::Released { .. } => false,
        }
    }
}

/// How far a command is by its entries.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the names say all")]
pub enum Standing {
    /// It was to be started; whether it was is unknown.
    Starting {
        /// What its processes bear, if there are any.
        mark: RunMark,
    },
    Started {
        /// What its processes bear.
        mark: RunMark,
        process: ProcessIdentity,
    },
    Ended {
        /// What is reported of it.
        report: CommandComplete,
        /// The server has heard it.
        confirmed: bool,
        /// What of it lived on when that was written.
        remains: Option<Remains>,
    },
}

/// What a journal says of every command in it. A command that is not in it was never started.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CommandJournal {
    standings: BTreeMap<CommandId, Standing>,
    ended: VecDeque<CommandId>,
    stop: Option<StopId>,
}

impl CommandJournal {
    /// Whether it says that this command ended and left something running.
    pub(crate) fn has_remains(&self, command: &CommandId) -> bool {
        let standing = self.standings.get(command);
        matches!(standing, Some(Standing::Ended { remains: Some(_), .. }))
    }

    /// Takes the next entry. Entries that make no sense where they stand change nothing. Of ended
    /// commands the last 4,096 are remembered; confirmed ones are forgotten first.
    pub fn apply(&mut self, entry: JournalEntry) {
        match entry {
            JournalEntry::Starting { command, mark } => {
                let _ = self.standings.entry(command).or_insert(Standing::Starting { mark });
            }
            JournalEntry::Started { command, process } => {
                if let Some(standing) = self.standings.get_mut(&command)
                    && let Standing::Starting { mark } = standing
                {
                    *standing = Standing::Started { mark: mark.clone(), process };
                }
            }
            JournalEntry::Ended { report, remains } => {
                let id = report.command_id.clone();
                let before = self.standings.get(&id);
                let confirmed = matches!(before, Some(Standing::Ended { confirmed: true, .. }));
                let ended = Standing::Ended { report, confirmed, remains };
                let was = self.standings.insert(id.clone(), ended);
                if !matches!(was, Some(Standing::Ended { .. })) {
                    self.ended.push_back(id);
                    self.forget();
                }
            }
            JournalEntry::Confirmed { command } => {
                if let Some(Standing::Ended { confirmed, .. }) = self.standings.get_mut(&command) {
                    *confirmed = true;
                }
            }
            JournalEntry::Stopped { stop } => self.stop = Some(stop),
            JournalEntry::Released { stop } => drop(self.stop.take_if(|latched| *latched == stop)),
        }
    }

    /// Every command in it, and how far it is.
    pub fn standings(&self) -> impl Iterator<Item = (&CommandId, &Standing)> {
        self.standings.iter()
    }

    /// Runs whose ends are not in it: an earlier process of the agent died while they ran, or were about
    /// to. And those that ended and left something running. Whatever is left of them is to be ended before
    /// anything else starts.
    pub fn left_behind(&self) -> Vec<LeftBehind> {
        let left = |(id, standing): (&CommandId, &Standing)| {
            let (mark, leader) = match standing {
                Standing::Starting { mark } => (mark.clone(), None),
                Standing::Started { mark, process } => (mark.clone(), Some(process.clone())),
                Standing::Ended { remains, .. } => {
                    let Remains { mark, process } = remains.clone()?;
                    (mark, process)
                }
            };
            Some(LeftBehind { command: id.clone(), mark, leader })
        };
        self.standings().filter_map(left).collect()
    }

    /// The stop that is in force.
    pub const fn stop(&self) -> Option<&StopId> {
        self.stop.as_ref()
    }

    /// The fewest entries that say the same.
    pub fn entries(&self) -> impl Iterator<Item = JournalEntry> + '_ {
        let open = self.standings.iter().flat_map(|(id, standing)| {
            let command = id.clone();
            let (starting, started) = match standing {
                Standing::Starting { mark } => (Some(mark), None),
                Standing::Started { mark, process } => (Some(mark), Some(process)),
                Standing::Ended { .. } => (None, None),
            };
            let starting = starting.map(|mark| JournalEntry::Starting {
                command: command.clone(),
                mark: mark.clone(),
            });
            let started =
                started.map(|process| JournalEntry::Started { command, process: process.clone() });
            starting.into_iter().chain(started)
        });
        let ended = self.ended.iter().flat_map(|id| {
            let (ended, confirmed) = match self.standings.get(id) {
                Some(Standing::Ended { report, confirmed, remains }) => {
                    let (report, remains) = (report.clone(), remains.clone());
                    (Some(JournalEntry::Ended { report, remains }), *confirmed)
                }
                Some(Standing::Starting { .. } | Standing::Started { .. }) | None => (None, false),
            };
            let confirmed = confirmed.then(|| JournalEntry::Confirmed { command: id.clone() });
            ended.into_iter().chain(confirmed)
        });
        let stopped = self.stop.iter().map(|stop| JournalEntry::Stopped { stop: stop.clone() });
        open.chain(ended).chain(stopped)
    }

    fn forget(&mut self) {
        while self.ended.len() > REMEMBERED {
            let confirmed = |id: &CommandId| {
                let standing = self.standings.get(id);
                matches!(standing, Some(Standing::Ended { confirmed: true, remains: None, .. }))
            };
            let oldest = self.ended.iter().position(confirmed).unwrap_or(0);
            if let Some(id) = self.ended.remove(oldest) {
                let _ = self.standings.remove(&id);
            }
        }
    }
}
