//! What waits to be said to the server in this session, in the order in which it goes out.

use super::typed_commands::Waits;
use crate::id::{ByteOffset, CommandId, StopId};
use crate::model::{Activity, Keeping, SizeRecord};
use crate::output::{Outgoing, Run, Stream, UnknownEnd};
use crate::time::WallTime;
use crate::wire::payload::{
    AgentActivity, AgentBlackBox, CommandAckStatus, CommandComplete, OutputState, ReportedStream,
    StopStage, TerminalInputState, TerminalOpened,
};
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::string::String;
use alloc::vec::Vec;

/// One thing to say.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Outbound {
    /// How far this agent is with a stop.
    Receipt(StopId, StopStage),
    /// It opened this terminal.
    Opened(TerminalOpened),
    /// How far what was typed remotely is in the terminal.
    Typed(TerminalInputState),
    /// From where in its output a terminal has which size.
    Size(CommandId, SizeRecord),
    /// What is held of these streams.
    OutputState(OutputState),
    /// It has a command, which is at this stage; whether what it writes is to be stored.
    Acknowledgement(CommandId, CommandAckStatus, Option<Waits>, Keeping),
    /// The stream ends here with a gap of unknown length.
    OpenEnd(UnknownEnd),
    /// What it found while it was away.
    BlackBox(AgentBlackBox),
    /// What its program does.
    Activity(AgentActivity),
    Complete(CommandComplete),
    /// A process wrote this.
    Output(Outgoing),
}

/// Pages of what is held that may wait; beyond it the oldest answers are dropped, each as a whole.
const MOST_PAGES: usize = 64;

/// Reports that may wait, as many as [`AgentCommands`](crate::command::AgentCommands) remembers. Beyond it
/// those of the smallest ids are dropped; they are unconfirmed there and sent again with the next repetition.
const MOST_REPORTS: usize = 4096;

/// Words of holds that may wait; beyond it the oldest are dropped, whose holds are over.
const MOST_TYPED: usize = 16;

/// Sizes that may wait: without a session each resize adds one. Beyond it those of the smallest positions go; they are
/// said again in the next session, if they are still kept.
const MOST_SIZES: usize = 1024;

/// What waits to be said. Each command stands in each list at most once.
#[derive(Debug, Default)]
pub(super) struct OutboundQueue {
    /// Before everything else: how far a stop is, and only the last of it.
    receipt: Option<(StopId, StopStage)>,
    /// Before everything that is said of the terminal.
    opened: BTreeMap<CommandId, TerminalOpened>,
    /// Who types waits for it; only the last of each hold.
    typed: VecDeque<TerminalInputState>,
    /// Before output that stands behind it. What is kept of sizes is bounded where they are kept.
    sizes: BTreeMap<(CommandId, ByteOffset), SizeRecord>,
    output_states: VecDeque<OutputState>,
    acknowledgements: BTreeSet<CommandId>,
    open_ends: BTreeMap<(Run, Stream), UnknownEnd>,
    /// Once a session, behind what the server asks for.
    black_box: Option<AgentBlackBox>,
    /// Only the last of it.
    activity: Option<AgentActivity>,
    reports: BTreeMap<CommandId, CommandComplete>,
}

impl OutboundQueue {
    pub(super) fn receipt(&mut self, stop: StopId, stage: StopStage) {
        self.receipt = Some((stop, stage));
    }

    pub(super) fn open(&mut self, terminal: TerminalOpened) {
        let _ = self.opened.insert(terminal.command_id.clone(), terminal);
    }

    /// How far a hold is: instead of what was to be said of it before, unless that was words for people.
    pub(super) fn typed(&mut self, state: TerminalInputState) {
        self.typed.retain(|said| {
            said.holder != state.holder || said.refused.is_some() || said.notice.is_some()
        });
        self.typed.push_back(state);
        while self.typed.len() > MOST_TYPED {
            let _ = self.typed.pop_front();
        }
    }

    pub(super) fn size(&mut self, terminal: CommandId, record: SizeRecord) {
        let _ = self.sizes.insert((terminal, record.offset), record);
        while self.sizes.len() > MOST_SIZES {
            let _ = self.sizes.pop_first();
        }
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

    pub(super) fn black_box(&mut self, found: AgentBlackBox) {
        self.black_box = Some(found);
    }

    pub(super) fn activity(&mut self, activity: &Activity, now: WallTime) {
        self.activity = Some(AgentActivity::of(activity, Some(now)));
    }

    pub(super) fn open_ends(&mut self, ends: Vec<UnknownEnd>) {
        self.open_ends.extend(ends.into_iter().map(|end| ((end.run.clone(), end.stream), end)));
    }

    /// What is held, page by page, instead of what was to be said before in answer to the same question.
    pub(super) fn output_state(&mut self, streams: &[ReportedStream], query: Option<String>) {
        self.output_states.retain(|page| page.query != query);
        let chunks = streams.chunks(OutputState::STREAMS_A_PAGE);
        let mut pages: Vec<OutputState> = chunks
            .map(|page| OutputState { streams: page.to_vec(), more: true, query: query.clone() })
            .collect();
        match pages.last_mut() {
            Some(last) => last.more = false,
            // A question is answered also when nothing is held.
            None => pages.push(OutputState { streams: Vec::new(), more: false, query }),
        }
        self.output_states.extend(pages);
        while self.output_states.len() > MOST_PAGES && self.drop_oldest_answer() {}
    }

    /// Drops all pages of the oldest answer, since what is left of one would look complete. Never those of the
    /// newest, nor what a resuming server waits for. Whether there was one.
    fn drop_oldest_answer(&mut self) -> bool {
        let newest = self.output_states.back().map(|page| page.query.clone());
        let mut queries = self.output_states.iter().map(|page| &page.query);
        let oldest = queries.find(|query| query.is_some() && Some(*query) != newest.as_ref());
        let Some(oldest) = oldest.cloned() else { return false };
        self.output_states.retain(|page| page.query != oldest);
        true
    }

    pub(super) fn forget(&mut self, command: &CommandId) {
        let _ = self.opened.remove(command);
        self.typed.retain(|state| state.command_id != *command);
        self.sizes.retain(|(of, _), _| of != command);
        let _ = self.acknowledgements.remove(command);
        self.open_ends.retain(|(run, _), _| run.command != *command);
        let _ = self.reports.remove(command);
    }

    /// The next thing, except for output. `status` says how far a command is, and what it waits for.
    pub(super) fn next(
        &mut self,
        status: impl FnOnce(&CommandId) -> (CommandAckStatus, Option<Waits>),
    ) -> Option<Outbound> {
        // Somebody waits for the receipt of a stop more than for anything else.
        if let Some((stop, stage)) = self.receipt.take() {
            return Some(Outbound::Receipt(stop, stage));
        }
        // What follows is about commands, of which the server must know.
        if let Some((_, opened)) = self.opened.pop_first() {
            return Some(Outbound::Opened(opened));
        }
        if let Some(state) = self.typed.pop_front() {
            return Some(Outbound::Typed(state));
        }
        if let Some(((terminal, _), record)) = self.sizes.pop_first() {
            return Some(Outbound::Size(terminal, record));
        }
        // Output is sent from where the answers to these say.
        if let Some(page) = self.output_states.pop_front() {
            return Some(Outbound::OutputState(page));
        }
        if let Some(command) = self.acknowledgements.pop_first() {
            let (status, waits_for) = status(&command);
            return Some(Outbound::Acknowledgement(command, status, waits_for, Keeping::Stored));
        }
        if let Some(activity) = self.activity.take() {
            return Some(Outbound::Activity(activity));
        }
        // Before reports: a report ends its command, and its output is to be whole by then.
        if let Some((_, end)) = self.open_ends.pop_first() {
            return Some(Outbound::OpenEnd(end));
        }
        if let Some(found) = self.black_box.take() {
            return Some(Outbound::BlackBox(found));
        }
        self.reports.pop_first().map(|(_, report)| Outbound::Complete(report))
    }

    pub(super) fn is_empty(&self) -> bool {
        let Self {
            receipt,
            opened,
            typed,
            sizes,
            output_states,
            acknowledgements,
            open_ends,
            black_box,
            activity,
            reports,
        } = self;
        receipt.is_none()
            && black_box.is_none()
            && activity.is_none()
            && opened.is_empty()
            && typed.is_empty()
            && sizes.is_empty()
            && output_states.is_empty()
            && acknowledgements.is_empty()
            && open_ends.is_empty()
            && reports.is_empty()
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::{AgentCommands, CancelDecision};

    #[test]
    fn answers_that_wait_have_a_bound_and_go_as_a_whole() {
        let mut queue = OutboundQueue::default();
        for n in 0..3 * MOST_PAGES {
            queue.output_state(&[], Some(alloc::format!("q{n}")));
        }
        assert_eq!(queue.output_states.len(), MOST_PAGES);
        let newest = queue.output_states.back().and_then(|page| page.query.clone());
        assert_eq!(newest, Some(alloc::format!("q{}", 3 * MOST_PAGES - 1)));
    }

    #[test]
    fn reports_that_wait_have_a_bound_and_those_of_the_largest_ids_stay() {
        let mut queue = OutboundQueue::default();
        for n in 0..2 * MOST_REPORTS {
            let id = CommandId::new(alloc::format!("c{n:06}"));
            match AgentCommands::default().on_cancel(&id) {
                CancelDecision::NeverRan(report) => queue.report(report),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(queue.reports.len(), MOST_REPORTS);
        let first = queue.reports.keys().next().map(CommandId::as_str);
        assert_eq!(first, Some(alloc::format!("c{MOST_REPORTS:06}").as_str()));
    }
}
