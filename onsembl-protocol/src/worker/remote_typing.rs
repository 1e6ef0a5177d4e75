//! The worker and the holder of its terminal's keyboard: what is typed key by key from afar goes to the program at once,
//! before all that waits to be typed, and is said to be there when it is.

use super::Worker;
use super::event::{RemoteOutcome, WorkerAction};
use super::note::WorkerNote;
use super::terminal::Piece;
use crate::id::{CommandId, HoldId};
use crate::terminal::{HiddenBytes, Incoming, Place, RemotePiece, RemoteStroke, program_ended};
use crate::time::Now;
use crate::wire::payload::{TerminalInput, TerminalInputState, TypedBytes};
use alloc::borrow::ToOwned;
use alloc::string::String;
use bytes::Bytes;

impl Worker {
    /// Somebody types this from afar.
    pub(super) fn on_remote_input(&mut self, input: TerminalInput, now: Now) {
        let TerminalInput { command_id: id, holder, sequence, bytes: TypedBytes(bytes) } = input;
        let is_stopped = self.emergency.is_latched();
        let Some(terminal) = self.terminal.as_mut().filter(|terminal| terminal.is_run(&id)) else {
            return self.refuse_remote(id, holder, program_ended());
        };
        match terminal.remote.take(&holder, sequence, bytes.len()) {
            Incoming::Typed => {}
            Incoming::Dropped => return self.note(WorkerNote::RemoteInputDropped),
            Incoming::Refused(why) => return self.refuse_remote(id, holder, why),
        }
        if is_stopped {
            let _ = terminal.remote.fail(&holder);
            let why = "an emergency stop is in force on this agent".to_owned();
            return self.refuse_remote(id, holder, why);
        }
        let Some(pieces) = terminal.on_remote_keys(&bytes, now.monotonic) else {
            let _ = terminal.remote.fail(&holder);
            return self.refuse_remote(id, holder, program_ended());
        };
        self.watch_input(&bytes, now);
        let last = pieces.len().saturating_sub(1);
        let stroke = |piece, keys: Bytes, place| RemoteStroke {
            hold: holder.clone(),
            sequence,
            piece,
            keys: HiddenBytes(keys),
            place,
        };
        // Without any bytes it is there at once.
        if pieces.is_empty() {
            let stroke = stroke(RemotePiece::Plain, bytes, Place::Last);
            return self.on_typed_remotely(&stroke, RemoteOutcome::Typed);
        }
        self.actions.extend(pieces.into_iter().enumerate().map(|(at, piece)| {
            let place = if at == last { Place::Last } else { Place::Inside };
            WorkerAction::TypeRemotely(match piece {
                Piece::Plain(keys) => stroke(RemotePiece::Plain, keys, place),
                Piece::Suspending(keys) => stroke(RemotePiece::Suspending, keys, place),
            })
        }));
    }

    /// What became of a piece of it.
    pub(super) fn on_typed_remotely(&mut self, stroke: &RemoteStroke, outcome: RemoteOutcome) {
        let Some(terminal) = &mut self.terminal else { return };
        let Some(id) = terminal.run().cloned() else { return };
        let RemoteStroke { hold, sequence, keys, place, .. } = stroke;
        let notice = match outcome {
            RemoteOutcome::Typed => None,
            RemoteOutcome::Withheld => Some(
                "Ctrl-Z would suspend this program itself, and nothing could continue it; it does not get it".to_owned(),
            ),
            RemoteOutcome::Lost(why) => {
                if terminal.remote.fail(hold) {
                    self.refuse_remote(id, hold.clone(), why);
                }
                return;
            }
        };
        // Of an input in pieces the last one says that it is there.
        let sequence = match place {
            Place::Last => *sequence,
            Place::Inside => crate::id::InputSequence(sequence.0.saturating_sub(1)),
        };
        let is_news = terminal.remote.on_typed(hold, sequence, keys.0.len());
        let taken = terminal.remote.taken().filter(|(of, _)| *of == hold).map(|(_, taken)| taken);
        if let Some(taken) = taken.filter(|_| is_news || notice.is_some()) {
            let (command_id, holder) = (id, hold.clone());
            let state = TerminalInputState { command_id, holder, taken, refused: None, notice };
            self.uplink.queue.typed(state);
        }
    }

    /// Its program has ended. The server ends the hold with the terminal, which it hears of by itself.
    pub(super) fn end_remote_typing(&mut self) {
        if let Some(terminal) = &mut self.terminal {
            let _ = terminal.remote.end();
        }
    }

    fn refuse_remote(&mut self, command_id: CommandId, holder: HoldId, why: String) {
        self.note(WorkerNote::RemoteInputRefused(why.clone()));
        let taken = self.terminal.as_ref().and_then(|terminal| terminal.remote.taken());
        let taken = taken.filter(|(hold, _)| **hold == holder).map(|(_, taken)| taken);
        let (taken, refused) = (taken.unwrap_or_default(), Some(why));
        let state = TerminalInputState { command_id, holder, taken, refused, notice: None };
        self.uplink.queue.typed(state);
    }
}
