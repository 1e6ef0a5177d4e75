//! What waits to be said to the server in this session, in the order in which it goes out.

use crate::id::{ByteOffset, CommandId, StopId};
use crate::output::{Outgoing, Run, Stream};
use crate::wire::payload::{
    CommandAckStatus, CommandComplete, HeldStream, OutputState, StopStage, TerminalOpened,
};
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::string::String;
use alloc::vec::Vec;

/// One thing to say.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Due {
    /// How far this agent is with a stop.
    Receipt(StopId, StopStage),
    /// It opened this terminal.
    Opened(TerminalOpened),
    /// What is held of these streams.
    Held(OutputState),
    /// It has a command, and is so far with it.
    Acknowledged(CommandId, CommandAckStatus),
    /// The stream ends here with a gap of unknown length.
    OpenEnd(Run, Stream, ByteOffset),
    /// A command ended.
    Over(CommandComplete),
    /// A process wrote this.
    Wrote(Outgoing),
}

/// Pages of what is held that may wait; then the answers to the oldest questions are dropped.
const MOST_PAGES: usize = 64;

/// Reports that may wait, as many as the book remembers. Beyond it those of the smallest ids are dropped; they
/// are unconfirmed in the book and said again with the next repetition.
const MOST_REPORTS: usize = 4096;

/// What waits to be said. Each command stands in each list at most once.
#[derive(Debug, Default)]
pub(super) struct Outbound {
    /// Before everything else: how far a stop is, and only the last of it.
    receipt: Option<(StopId, StopStage)>,
    /// Before everything that is said of the terminal.
    opened: BTreeMap<CommandId, TerminalOpened>,
    held: VecDeque<OutputState>,
    acknowledgements: BTreeSet<CommandId>,
    open_ends: BTreeMap<(Run, Stream), ByteOffset>,
    reports: BTreeMap<CommandId, CommandComplete>,
}

impl Outbound {
    pub(super) fn receipt(&mut self, stop: StopId, stage: StopStage) {
        self.receipt = Some((stop, stage));
    }

    pub(super) fn open(&mut self, terminal: TerminalOpened) {
        let _ = self.opened.insert(terminal.command_id.clone(), terminal);
    }

    pub(super) fn acknowledge(&mut self, command: CommandId) {
        let _ = self.acknowledgements.insert(command);
    }

    /// Nothing was begun of it after all.
    pub(super) fn unacknowledge(&mut self, command: &CommandId) {
        let _ = self.acknowledgements.remove(command);
    }

    pub(super) fn report(&mut self, report: CommandComplete) {
        let _ = self.reports.insert(report.command_id.clone(), report);
        while self.reports.len() > MOST_REPORTS {
            let _ = self.reports.pop_first();
        }
    }

    pub(super) fn open_ends(&mut self, ends: Vec<(Run, Stream, ByteOffset)>) {
        self.open_ends.extend(ends.into_iter().map(|(run, stream, at)| ((run, stream), at)));
    }

    /// What is held, page by page, in place of what was to be said before in answer to the same question.
    pub(super) fn hold(&mut self, streams: &[HeldStream], query: Option<String>) {
        self.held.retain(|page| page.query != query);
        let chunks = streams.chunks(OutputState::STREAMS_A_PAGE);
        let mut pages: Vec<OutputState> = chunks
            .map(|page| OutputState { streams: page.to_vec(), more: true, query: query.clone() })
            .collect();
        match pages.last_mut() {
            Some(last) => last.more = false,
            // A question is answered also when nothing is held.
            None => pages.push(OutputState { streams: Vec::new(), more: false, query }),
        }
        while self.held.len() > MOST_PAGES {
            let _ = self.held.pop_front();
        }
        self.held.extend(pages);
    }

    pub(super) fn forget(&mut self, command: &CommandId) {
        let _ = self.opened.remove(command);
        let _ = self.acknowledgements.remove(command);
        self.open_ends.retain(|(run, _), _| run.command != *command);
        let _ = self.reports.remove(command);
    }

    /// The next thing, except for output. `status` says how far a command is.
    pub(super) fn next(
        &mut self,
        status: impl FnOnce(&CommandId) -> CommandAckStatus,
    ) -> Option<Due> {
        if let Some((stop, stage)) = self.receipt.take() {
            return Some(Due::Receipt(stop, stage));
        }
        if let Some((_, opened)) = self.opened.pop_first() {
            return Some(Due::Opened(opened));
        }
        if let Some(page) = self.held.pop_front() {
            return Some(Due::Held(page));
        }
        if let Some(command) = self.acknowledgements.pop_first() {
            let status = status(&command);
            return Some(Due::Acknowledged(command, status));
        }
        if let Some(((run, stream), at)) = self.open_ends.pop_first() {
            return Some(Due::OpenEnd(run, stream, at));
        }
        self.reports.pop_first().map(|(_, report)| Due::Over(report))
    }

    pub(super) fn is_empty(&self) -> bool {
        let Self { receipt, opened, held, acknowledgements, open_ends, reports } = self;
        receipt.is_none()
            && opened.is_empty()
            && held.is_empty()
            && acknowledgements.is_empty()
            && open_ends.is_empty()
            && reports.is_empty()
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}
