//! The worker and the holder of its terminal's keyboard: what is typed key by key remotely goes to the program at once,
//! before all that waits to be typed, one piece at a time, and is said to be there when it is.

use super::activity::Activities;
use super::course::Course;
use super::event::{RemoteOutcome, WorkerAction};
use super::note::WorkerNote;
use super::terminal::{Piece, Terminal};
use crate::id::{CommandId, HoldId, InputSequence};
use crate::terminal::{
    HiddenBytes, Incoming, PieceOrder, RemoteKeys, RemotePiece, RemoteStroke, program_ended,
};
use crate::time::Now;
use crate::wire::payload::{TerminalInput, TerminalInputState, TypedBytes};
use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use bytes::Bytes;

/// Told to whoever pressed a key that would suspend the program of the terminal.
pub(super) const NOT_SUSPENDED: &str =
    "Ctrl-Z would suspend this program itself, and nothing could resume it; dropped";

/// What is typed key by key, and how far it is.
#[derive(Debug, Default)]
pub(super) struct RemoteTyping(RemoteKeys);

impl RemoteTyping {
    /// A session began. Holds do not outlast a session, and their ids grow within one.
    pub(super) fn on_session(&mut self) {
        self.0 = RemoteKeys::default();
    }

    /// Whether an input is typed in part. Then nothing else is typed, which would stand within it.
    pub(super) fn is_within_input(&self) -> bool {
        self.0.is_within_input()
    }

    /// The holder of the keyboard types this.
    pub(super) fn on_input(
        &mut self,
        input: TerminalInput,
        terminal: &mut Terminal,
        course: &mut Course,
        activities: &mut Activities,
        now: Now,
    ) {
        let TerminalInput { command_id: id, holder, sequence, bytes: TypedBytes(bytes) } = input;
        if !terminal.is_run(&id) {
            return self.refuse(id, holder, program_ended(), course);
        }
        match self.0.take(&holder, sequence, bytes.len()) {
            Incoming::Typed => {}
            Incoming::Dropped => return course.out.note(WorkerNote::RemoteInputDropped),
            Incoming::Refused(why) => return self.refuse(id, holder, why, course),
        }
        self.0.wait(sequence, bytes);
        self.type_next(terminal, course, activities, now);
    }

    /// Has the next piece typed, if none is on its way. What an input does to the line and to what is known of the
    /// program
    /// counts from then on: what waited may be dropped, and somebody else's text be typed before.
    fn type_next(
        &mut self,
        terminal: &mut Terminal,
        course: &mut Course,
        activities: &mut Activities,
        now: Now,
    ) {
        if let Some((holder, sequence, bytes)) = self.0.next_input() {
            match pieces(&bytes, terminal, course, now) {
                Ok(pieces) => {
                    activities.on_input(&bytes, now.monotonic);
                    self.0.put(strokes(&holder, sequence, bytes, pieces));
                }
                Err(why) => {
                    let _ = self.0.fail(&holder);
                    if let Some(id) = terminal.run().cloned() {
                        self.refuse(id, holder, why, course);
                    }
                }
            }
        }
        if let Some(stroke) = self.0.next() {
            course.out.act(WorkerAction::TypeRemotely(stroke));
        }
    }

    /// What became of a piece of it.
    pub(super) fn on_typed(
        &mut self,
        stroke: &RemoteStroke,
        outcome: RemoteOutcome,
        terminal: &mut Terminal,
        course: &mut Course,
        activities: &mut Activities,
        now: Now,
    ) {
        let Some(id) = terminal.run().cloned() else { return };
        let RemoteStroke { hold, sequence, keys, order, .. } = stroke;
        let notice = match outcome {
            RemoteOutcome::Typed => None,
            RemoteOutcome::Withheld => Some(NOT_SUSPENDED.to_owned()),
            RemoteOutcome::Lost(why) => {
                if self.0.fail(hold) {
                    self.refuse(id, hold.clone(), why, course);
                }
                return;
            }
        };
        // Of an input in pieces the last one says that it is there.
        let sequence = match order {
            PieceOrder::Last => *sequence,
            PieceOrder::Inside => InputSequence(sequence.0.saturating_sub(1)),
        };
        let is_news = self.0.on_typed(hold, sequence, keys.0.len());
        let taken = self.0.taken().filter(|(of, _)| *of == hold).map(|(_, taken)| taken);
        if let Some(taken) = taken.filter(|_| is_news || notice.is_some()) {
            let (command_id, holder) = (id, hold.clone());
            let state = TerminalInputState { command_id, holder, taken, refused: None, notice };
            course.handover.uplink.queue.typed(state);
        }
        self.type_next(terminal, course, activities, now);
    }

    /// The program has ended, and what was on its way with it.
    pub(super) fn end(&mut self) {
        let _ = self.0.end();
    }

    /// It is not typed, nor is anything more of its hold.
    pub(super) fn refuse(
        &self,
        command_id: CommandId,
        holder: HoldId,
        why: String,
        course: &mut Course,
    ) {
        course.out.note(WorkerNote::RemoteInputRefused(why.clone()));
        let taken = self.0.taken().filter(|(hold, _)| **hold == holder).map(|(_, taken)| taken);
        let (taken, refused) = (taken.unwrap_or_default(), Some(why));
        let state = TerminalInputState { command_id, holder, taken, refused, notice: None };
        course.handover.uplink.queue.typed(state);
    }
}

/// What an input consists of, as the terminal is now.
///
/// # Errors
/// Why nothing of it is typed.
fn pieces(
    bytes: &Bytes,
    terminal: &mut Terminal,
    course: &Course,
    now: Now,
) -> Result<Vec<Piece>, String> {
    // Keys start things as commands do.
    if course.stops.emergency.is_latched() {
        return Err("an emergency stop is in force on this agent".to_owned());
    }
    let pieces = terminal.on_remote_keys(bytes, now.monotonic).ok_or_else(program_ended)?;
    if pieces.len() > RemoteKeys::PIECES {
        return Err(format!(
            "more than {} keys of one input may suspend the program; nothing of it was typed",
            RemoteKeys::PIECES / 2
        ));
    }
    Ok(pieces)
}

fn strokes(
    holder: &HoldId,
    sequence: InputSequence,
    bytes: Bytes,
    pieces: Vec<Piece>,
) -> impl Iterator<Item = RemoteStroke> {
    // One without any bytes is there when what stands before it is.
    let pieces = if pieces.is_empty() { [Piece::Plain(bytes)].into() } else { pieces };
    let last = pieces.len().saturating_sub(1);
    pieces.into_iter().enumerate().map(move |(at, piece)| {
        let order = if at == last { PieceOrder::Last } else { PieceOrder::Inside };
        let (piece, keys) = match piece {
            Piece::Plain(keys) => (RemotePiece::Plain, keys),
            Piece::Suspending(keys) => (RemotePiece::Suspending, keys),
        };
        RemoteStroke { hold: holder.clone(), sequence, piece, keys: HiddenBytes(keys), order }
    })
}
