//! What is to be said to the server of commands, in the order in which it goes out.

use onsembl_protocol::id::{ByteOffset, CommandId, StopId};
use onsembl_protocol::output::{Outgoing, Run, Stream};
use onsembl_protocol::session::Dialect;
use onsembl_protocol::wire::payload::{
    CommandComplete, Feature, OutputState, StopStage, TerminalOpened,
};
use onsembl_transport::agent::AgentSession;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// One thing to say.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Word {
    /// It is so far with a stop.
    Stopped(StopId, StopStage),
    /// It opened this terminal.
    Opened(TerminalOpened),
    /// It is here, and so far.
    Has(CommandId),
    /// It is over.
    Over(CommandComplete),
    /// It wrote this.
    Wrote(Outgoing),
    /// How much was written from there on nobody knows.
    BrokeOff(Run, Stream, ByteOffset),
    /// So much is held of these streams.
    Holds(OutputState),
}

/// Pages of what is held that may wait; then the answers to the oldest questions are dropped.
const MOST_PAGES: usize = 64;

/// What waits to be said in this session. Bounded by the commands there are: each stands in each
/// list at most once.
#[derive(Debug, Default)]
pub(super) struct Due {
    /// Before everything else.
    receipt: Option<Word>,
    opened: BTreeMap<CommandId, TerminalOpened>,
    states: VecDeque<OutputState>,
    acknowledgements: BTreeSet<CommandId>,
    broken: BTreeMap<(Run, Stream), ByteOffset>,
    reports: BTreeMap<CommandId, CommandComplete>,
}

impl Due {
    /// Says how far it is with a stop, in the place of what was to be said of that before.
    pub(super) fn receipt(&mut self, word: Word) {
        self.receipt = Some(word);
    }

    /// Before everything that is said of it.
    pub(super) fn open(&mut self, terminal: TerminalOpened) {
        self.opened.insert(terminal.command_id.clone(), terminal);
    }

    pub(super) fn acknowledge(&mut self, command: CommandId) {
        self.acknowledgements.insert(command);
    }

    pub(super) fn report(&mut self, report: CommandComplete) {
        self.reports.insert(report.command_id.clone(), report);
    }

    pub(super) fn break_off(&mut self, ends: Vec<(Run, Stream, ByteOffset)>) {
        self.broken.extend(ends.into_iter().map(|(run, stream, at)| ((run, stream), at)));
    }

    /// Says what is held, in the place of what was to be said of it before to the same end.
    pub(super) fn hold(&mut self, pages: Vec<OutputState>) {
        let query = pages.first().and_then(|page| page.query.clone());
        self.states.retain(|page| page.query != query);
        while self.states.len() > MOST_PAGES {
            self.states.pop_front();
        }
        self.states.extend(pages);
    }

    pub(super) fn forget(&mut self, command: &CommandId) {
        self.opened.remove(command);
        self.acknowledgements.remove(command);
        self.broken.retain(|(run, _), _| run.command != *command);
        self.reports.remove(command);
    }

    pub(super) fn next(&mut self) -> Option<Word> {
        let broken = |((run, stream), at)| Word::BrokeOff(run, stream, at);
        if let Some(receipt) = self.receipt.take() {
            return Some(receipt);
        }
        if let Some((_, opened)) = self.opened.pop_first() {
            return Some(Word::Opened(opened));
        }
        let holds = self.states.pop_front().map(Word::Holds);
        let runs = holds.or_else(|| self.acknowledgements.pop_first().map(Word::Has));
        let runs = runs.or_else(|| self.broken.pop_first().map(broken));
        runs.or_else(|| self.reports.pop_first().map(|(_, report)| Word::Over(report)))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.receipt.is_none()
            && self.opened.is_empty()
            && self.states.is_empty()
            && self.broken.is_empty()
            && self.acknowledgements.is_empty()
            && self.reports.is_empty()
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

/// What the server of a session answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rules {
    /// Output has offsets, and is acknowledged once stored. Else it is gone when it is sent.
    pub(super) output_is_stored: bool,
    /// It takes chunks in binary messages.
    pub(super) output_is_binary: bool,
    /// It knows gaps, and says after the welcome how far it is.
    pub(super) output_resumes: bool,
    /// It takes receipts of stops, and says which is in force.
    pub(super) latches_stops: bool,
    /// It knows `LOST`, and of which journal what is known.
    pub(super) knows_journals: bool,
    /// It says when an end of unknown place is stored. Else everything before it must do.
    pub(super) open_ends_are_stored: bool,
    /// It knows terminals that an agent opened.
    pub(super) knows_terminals: bool,
    /// Reports are acknowledged. Else one is as good as confirmed when it is sent.
    pub(super) reports_are_confirmed: bool,
}

impl Rules {
    pub(super) fn of(session: &AgentSession) -> Self {
        let extended = session.dialect == Dialect::Extended;
        Self {
            output_is_stored: extended && session.features.contains(&Feature::OutputBytes),
            output_is_binary: extended
                && session.features.contains(&Feature::OutputBytes)
                && session.features.contains(&Feature::OutputBinary),
            output_resumes: extended
                && session.features.contains(&Feature::OutputBytes)
                && session.features.contains(&Feature::OutputSpool),
            latches_stops: extended && session.features.contains(&Feature::StopLatch),
            knows_journals: extended && session.features.contains(&Feature::CommandJournal),
            open_ends_are_stored: extended && session.features.contains(&Feature::OpenEnds),
            knows_terminals: extended && session.features.contains(&Feature::Terminal),
            reports_are_confirmed: extended && session.features.contains(&Feature::CommandReports),
        }
    }
}
