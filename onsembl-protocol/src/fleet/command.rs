//! One command of a user as one value: its lifecycle, its output, what was asked for, and who waits for it.

use super::action::Token;
use super::agent::Session;
use super::event::LogPosition;
use super::row::CommandRecord;
use crate::command::{CommandCause, CommandLifecycle, CommandTerms, CommandView};
use crate::id::{AgentId, ByteOffset, ChunkSequence, CommandId, Incarnation, MessageId};
use crate::limits::Limits;
use crate::model::{Dialect, Keeping, SizeRecord};
use crate::output::{OutputLog, StoredBody, Stream};
use crate::time::{Deadline, Timestamp, WallTime};
use crate::wire::payload::{CommandComplete, CommandInput, CommandRequest, LongText};
use crate::wire::{self, ServerToAgent};
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;
use core::time::Duration;

/// Longest message with a request to an agent: what a link takes, less what its envelope and the ids take.
const LONGEST_REQUEST: usize = Limits::DEFAULT.message_bytes - 4096;
/// What a request counts besides its texts while it is open.
const REQUEST_COST: usize = 1024;
/// The most that a byte of a text becomes in a message: `\u0000`, and the text of a command goes out twice.
const MOST_OF_A_BYTE: usize = 12;

/// What a piece of output counts besides its bytes while it waits: one without any must count too.
const PIECE_COST: usize = 256;
/// What a report counts while it waits: an agent that says nothing else must be throttled too.
const REPORT_COST: usize = 1024;

/// A command, or output of an agent that belongs to none.
#[derive(Debug)]
pub(super) struct Command {
    /// The agent that runs it.
    pub(super) agent: AgentId,
    pub(super) log: Log,
    /// What its agent says about its end.
    pub(super) detail: Option<String>,
    pub(super) course: Course,
}

/// Where a command is for its fleet.
#[derive(Debug)]
pub(super) enum Course {
    /// It is not over, or its end is not stored yet.
    Open(Box<Open>),
    /// Its end is stored. It is kept a while for readers that come late.
    Over(CommandView),
    /// No command that this server knows: what an agent writes under this id is kept for readers.
    Loose,
}

/// How many sizes of a terminal were taken lately. Each is a write to the store.
#[derive(Clone, Debug, Default)]
pub(super) struct SizesTaken {
    since: Option<Timestamp>,
    taken: u32,
    /// The latest: said again in another session, they are no news.
    known: VecDeque<SizeRecord>,
}

/// What becomes of a size that an agent says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SizeSaid {
    New,
    Known,
    TooMany,
}

/// Sizes of one terminal that are taken within [`SIZES_WINDOW`]: twice what an agent keeps of them.
const MOST_SIZES: u32 = 256;
/// In this time no more than [`MOST_SIZES`] are taken.
const SIZES_WINDOW: Duration = Duration::from_secs(10);

/// Sizes of one terminal that are known again: what an agent says again is the few of which it does not know that they
/// are stored.
const KNOWN_SIZES: usize = 32;

impl SizesTaken {
    /// Takes one more, if it is new and not too many.
    pub(super) fn take(&mut self, record: SizeRecord, now: Timestamp) -> SizeSaid {
        if self.known.contains(&record) {
            return SizeSaid::Known;
        }
        if self.since.is_none_or(|since| since.saturating_add(SIZES_WINDOW) <= now) {
            (self.since, self.taken) = (Some(now), 0);
        }
        self.taken = self.taken.saturating_add(1);
        if self.taken > MOST_SIZES {
            return SizeSaid::TooMany;
        }
        // At one position the last one counts.
        let position = (record.incarnation, record.offset);
        self.known.retain(|known| (known.incarnation, known.offset) != position);
        self.known.push_back(record);
        if self.known.len() > KNOWN_SIZES {
            let _ = self.known.pop_front();
        }
        SizeSaid::New
    }
}

/// A command that is not over, or whose end is not stored yet.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) lifecycle: CommandLifecycle,
    pub(super) deadline: Deadline,
    pub(super) request: Box<CommandRequest>,
    pub(super) row: Row,
    /// Requests that are answered when it is stored.
    pub(super) waiters: Vec<Token>,
    pub(super) after_end: AfterEnd,
    /// What it waits for on its agent, as that says.
    pub(super) waits_for: Option<String>,
    /// If it is a terminal.
    pub(super) sizes: SizesTaken,
}

impl Open {
    /// A command that the store is asked to take, with the requests that wait for its answer.
    pub(super) fn new(
        lifecycle: CommandLifecycle,
        request: Box<CommandRequest>,
        waiters: Vec<Token>,
    ) -> Self {
        Self {
            deadline: lifecycle.deadline(),
            lifecycle,
            request,
            row: Row::Asked,
            waiters,
            after_end: AfterEnd::Confirm,
            waits_for: None,
            sizes: SizesTaken::default(),
        }
    }

    /// What the store is to take of it at this moment.
    pub(super) fn record(
        &self,
        command: &CommandId,
        agent: &AgentId,
        at: WallTime,
    ) -> CommandRecord {
        let view = self.lifecycle.view();
        CommandRecord {
            request: Box::new(self.request.without_secret()),
            command: command.clone(),
            agent: agent.clone(),
            origin: self.lifecycle.origin(),
            stage: view.status,
            cause: Some(view.because.to_string()),
            exit: view.exit,
            created_at: at,
            updated_at: at,
            ended_at: view.ended_at,
        }
    }
}

/// Whether the store has a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Row {
    /// It was asked to take it.
    Asked,
    Stored,
}

/// What is sent to an agent when the end of a command is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AfterEnd {
    /// That its report is stored: it forgets the command.
    Confirm,
    /// That the command is unknown here: it was given up, and the agent may still have it.
    Drop,
}

/// The numbers of a command's output.
#[derive(Debug)]
pub(super) enum Log {
    /// The store is being asked where it continues. A log that guesses would number what comes in front of
    /// what is stored, and no reader would find it there.
    Deferred(Deferred),
    /// It continues here.
    Known(OutputLog),
}

/// Messages that arrived before it was known where its output continues.
#[derive(Debug, Default)]
pub(super) struct Deferred {
    heard: VecDeque<Heard>,
    cost: usize,
    pub(super) after: AfterPosition,
    /// Whether its agent sends its output to be stored.
    pub(super) keeping: Keeping,
}

/// What happens to a command once it is known where its output continues.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum AfterPosition {
    #[default]
    Resume,
    /// It is a terminal that is to be given up.
    GiveUp,
    /// It is a terminal that was given up before: nothing more of it is taken.
    Close,
}

/// One thing that an agent said of a command.
#[derive(Debug)]
pub(super) enum Heard {
    Piece(Piece),
    Complete(CommandComplete),
}

impl Heard {
    fn cost(&self) -> usize {
        match self {
            Self::Piece(piece) => piece.body.byte_count().saturating_add(PIECE_COST),
            Self::Complete(_) => REPORT_COST,
        }
    }
}

/// A piece of a stream, as it came.
#[derive(Debug)]
pub(super) struct Piece {
    pub(super) stream: Stream,
    /// Where it belongs; a legacy wrapper does not say.
    pub(super) position: Option<Position>,
    pub(super) body: StoredBody,
}

/// Where a piece belongs, as its agent numbers it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Position {
    pub(super) incarnation: Incarnation,
    pub(super) sequence: ChunkSequence,
    pub(super) offset: ByteOffset,
}

impl Deferred {
    /// Keeps this until it is known where it goes. What it costs meanwhile.
    pub(super) fn defer(&mut self, heard: Heard) -> usize {
        let cost = heard.cost();
        self.cost = self.cost.saturating_add(cost);
        self.heard.push_back(heard);
        cost
    }

    /// Whether its agent said how it ended.
    pub(super) fn has_end(&self) -> bool {
        self.heard.iter().any(|heard| matches!(heard, Heard::Complete(_)))
    }

    /// What waited, and what it cost.
    pub(super) fn into_heard(self) -> (VecDeque<Heard>, usize) {
        (self.heard, self.cost)
    }
}

impl Log {
    /// The log behind what the store has.
    pub(super) fn behind((end, positions): &LogPosition) -> OutputLog {
        OutputLog::behind(*end, positions.iter().map(super::row::StreamPosition::stored))
    }

    /// What of it waits for the store, and counts for its agent.
    pub(super) const fn waiting(&self) -> usize {
        match self {
            Self::Known(log) => log.waiting(),
            Self::Deferred(deferred) => deferred.cost,
        }
    }

    pub(super) const fn known(&mut self) -> Option<&mut OutputLog> {
        match self {
            Self::Known(log) => Some(log),
            Self::Deferred(_) => None,
        }
    }
}

impl Command {
    /// One that is not over.
    pub(super) fn opened(agent: AgentId, log: Log, open: Open) -> Self {
        Self { agent, log, detail: None, course: Course::Open(Box::new(open)) }
    }

    pub(super) fn open(&self) -> Option<&Open> {
        match &self.course {
            Course::Open(open) => Some(open),
            Course::Over(_) | Course::Loose => None,
        }
    }

    pub(super) fn open_mut(&mut self) -> Option<&mut Open> {
        match &mut self.course {
            Course::Open(open) => Some(open),
            Course::Over(_) | Course::Loose => None,
        }
    }

    /// What it waits for on its agent, until it has started.
    pub(super) fn waits_for(&self) -> Option<String> {
        let open = self.open().filter(|open| open.lifecycle.is_before_start())?;
        open.waits_for.clone()
    }

    /// Whether it is over and its agent did not say so.
    pub(super) const fn was_given_up(&self) -> bool {
        match &self.course {
            Course::Over(view) => !matches!(view.because, CommandCause::AgentReported(_)),
            Course::Open(_) | Course::Loose => false,
        }
    }

    /// Where readers see it; `None` if it belongs to no command.
    pub(super) fn view(&self) -> Option<CommandView> {
        match &self.course {
            Course::Open(open) => Some(open.lifecycle.view()),
            Course::Over(view) => Some(*view),
            Course::Loose => None,
        }
    }

    /// Whether readers see it: a command of a user not before the store has it, since until then nothing
    /// says that it was taken; loose output not before it is known where it goes.
    pub(super) fn is_shown(&self, id: &CommandId) -> bool {
        match &self.course {
            Course::Open(open) => open.row == Row::Stored || id.is_terminal(),
            Course::Over(_) => true,
            Course::Loose => matches!(self.log, Log::Known(_)),
        }
    }

    /// Whether it is a terminal that lives, as far as is known.
    pub(super) fn is_going_on(&self) -> bool {
        let gives_up =
            matches!(&self.log, Log::Deferred(Deferred { after: AfterPosition::GiveUp, .. }));
        !gives_up && self.open().is_some_and(|open| !open.lifecycle.view().status.is_final())
    }
}

/// What the sender of a command asked for.
pub(super) fn terms(request: &CommandRequest) -> CommandTerms {
    let start_within = request.start_within_ms.map(Duration::from_millis);
    CommandTerms {
        time_limit: request.constraints.time_limit_ms.map(Duration::from_millis),
        start_within: start_within
            .map_or(CommandTerms::START_WITHIN, |asked| asked.min(CommandTerms::START_WITHIN)),
        on_its_way: on_its_way(request),
    }
}

/// Bytes of a long text that the slowest link takes in a second: 16 KiB. A slower one ends by itself, since a piece would take
/// longer than a write may.
const SLOWEST: usize = 16 * 1024;

/// How much longer than another the request is on its way. Sent again sooner, its text would wait behind itself.
fn on_its_way(request: &CommandRequest) -> Duration {
    let held = request.long_text.as_ref().map_or(0, LongText::held);
    Duration::from_secs(u64::try_from(held / SLOWEST).unwrap_or(u64::MAX))
}

/// What a request takes in memory.
pub(super) fn cost_of(request: &CommandRequest) -> usize {
    let args = request.args.iter().map(String::len);
    let env = request.env.iter().map(|(name, value)| name.len() + value.len());
    let others = request.working_directory.as_ref().map_or(0, String::len);
    let long = request.long_text.as_ref().map_or(0, LongText::held);
    args.chain(env).fold(request.text.len() + long + others + REQUEST_COST, usize::saturating_add)
}

/// What an agent of this dialect is sent: a legacy wrapper types the text and uses nothing else.
pub(super) fn as_sent(request: &CommandRequest, dialect: Dialect) -> CommandRequest {
    let mut request = request.clone();
    match dialect {
        Dialect::Extended => {}
        Dialect::Legacy => {
            for argument in core::mem::take(&mut request.args) {
                request.text.push(' ');
                request.text.push_str(&argument);
            }
        }
    }
    request
}

/// Why a request cannot be handed to an agent of this dialect in one message, if it cannot: it would be dropped at
/// each return of the agent.
pub(super) fn too_long(request: &CommandRequest, dialect: Dialect) -> Option<String> {
    if cost_of(request).saturating_mul(MOST_OF_A_BYTE) <= LONGEST_REQUEST {
        return None;
    }
    let message = ServerToAgent::CommandRequest(as_sent(request, dialect));
    let bytes = wire::encode(&MessageId::new(""), WallTime::default(), &message).len();
    (bytes > LONGEST_REQUEST).then(|| {
        format!(
            "the message to the agent would have {bytes} bytes, of at most {LONGEST_REQUEST} (the text goes out twice); shorten the text, the arguments or the environment"
        )
    })
}

/// Why an agent is not to get what is typed so: it would take it for a text.
pub(super) fn misread(
    dialect: Dialect,
    session: Option<&Session>,
    request: &CommandRequest,
) -> Option<&'static str> {
    let tells = session.is_some_and(|session| session.capabilities.tells_activity());
    if request.condition.is_some() && !tells {
        return Some(
            "this agent does not report activity (it lacks the feature `activity`), and would type the text unconditionally; nothing was done",
        );
    }
    let takes_long = session.is_some_and(|session| session.capabilities.takes_long_texts());
    if request.long_text.is_some() && !takes_long {
        return Some(
            "this agent takes texts of 65,536 bytes (64 KiB) at most (it lacks the feature `long-text`), and this one is longer; nothing was done; update the agent, or put the text into a file on its machine and name that",
        );
    }
    match &request.input {
        None | Some(CommandInput::Text) => None,
        Some(CommandInput::Secret) => {
            let takes = session.is_some_and(|session| session.capabilities.takes_secrets());
            (!takes).then_some(
                "this agent does not support secrets and might store or show it; nothing was done",
            )
        }
        Some(CommandInput::Keys | CommandInput::Unknown(_)) => match dialect {
            Dialect::Legacy => Some(
                "this agent is a legacy wrapper, which would type the names of keys as text; nothing was done",
            ),
            Dialect::Extended
                if session.is_some_and(|session| session.capabilities.knows_terminals()) =>
            {
                None
            }
            Dialect::Extended => Some(
                "this agent has no terminal support and would type the names of keys as text; nothing was done",
            ),
        },
    }
}
