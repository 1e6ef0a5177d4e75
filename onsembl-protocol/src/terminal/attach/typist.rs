//! What is typed at an attached terminal, on its way into the one that is looked at: who holds the keyboard, what was
//! sent and is not known to have arrived, and what is sent again. Pure; it is told the time, and polled for messages.

use super::super::keyboard::TakeForce;
use crate::id::{HoldId, InputSequence};
use crate::time::{Deadline, Timestamp};
use alloc::borrow::ToOwned as _;
use alloc::collections::VecDeque;
use alloc::format;
use alloc::string::String;
use bytes::Bytes;
use core::time::Duration;

/// Bytes of one message; the server takes twice as many.
const PIECE: usize = 8 * 1024;
/// Bytes and messages that may be on their way; the server takes 64 KiB and 64.
const UNDER_WAY: usize = 32 * 1024;
const UNDER_WAY_PIECES: usize = 32;
/// Bytes that may wait for their turn, of a paste. More is not taken: the key that detaches must not wait behind it.
const WAITING: usize = 1024 * 1024;
/// How long after a refusal for now it is sent again.
const AGAIN_AFTER: Duration = Duration::from_millis(300);
/// How long a server may take to say who types: 10 s, after which a key asks again. A link that is lost says so itself.
const ANSWERED_WITHIN: Duration = Duration::from_secs(10);
/// How long after a refusal because the agent is away the keyboard is asked for again: a second, which is soon for a
/// person, and little work for a server of which an agent stays away for days.
const ASKED_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// What the person at the terminal wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// To look only.
    Look,
    /// To type, if nobody else does.
    Type,
    /// To type, whoever does.
    TakeOver,
}

/// Something for the server.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
pub enum TypistSays {
    Take(TakeForce),
    Input { hold: HoldId, sequence: InputSequence, bytes: Bytes },
    Release(HoldId),
}

/// The server says who holds the keyboard.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
pub struct KeyboardSaid {
    pub about: SaidAbout,
    pub holder: Option<HoldId>,
    /// Who that is, in its own words.
    pub name: String,
    /// Up to this number everything that was typed is in the terminal.
    pub taken: InputSequence,
    /// Why the hold before it ended, or what became of something that was typed.
    pub because: String,
}

/// Why it is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SaidAbout {
    /// The last wish of this one for the keyboard: it has it.
    Wish,
    /// It is news for all who look.
    News,
}

/// What a refusal of the server is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The last wish for the keyboard: somebody else holds it.
    WishWhileHeld,
    /// The last wish for the keyboard: the agent of the terminal is away.
    WishWhileAway,
    /// The last wish for the keyboard, for another reason.
    Wish,
    /// Something that was typed, and that may be sent again.
    InputForNow,
    /// Something that was typed.
    Input,
}

/// The one who types at this end.
#[derive(Debug)]
pub(super) struct Typist {
    wish: Wish,
    state: State,
    /// The last hold of this end, which may outlive its link at the server.
    last: Option<HoldId>,
    /// Who holds the keyboard, as far as is known.
    seen: Option<HoldId>,
    /// What was typed and not sent.
    waiting: VecDeque<Bytes>,
    waiting_bytes: usize,
    messages: VecDeque<TypistSays>,
    notice: Option<String>,
    /// Bytes of which it is unknown that they arrived.
    doubtful: usize,
}

#[derive(Debug)]
enum State {
    /// The first link is being made, and says what is wrong if it is not. What is typed meanwhile waits for it, as
    /// a shell's
    /// would.
    Beginning,
    /// The link is lost.
    Away,
    /// It may be taken when something is typed.
    Free,
    /// Another one holds it, and this one does not want to take it over.
    Watching,
    /// It was asked for, and is to be asked for again from then on.
    Asked(Timestamp, Asking),
    /// The agent is away: it is asked for again from then on, and at once when something is typed.
    Later(Timestamp),
    Held(Held),
}

/// Why the keyboard was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asking {
    /// There is a new link, or something was typed: a refusal is told.
    First,
    /// The agent was away the last time, which was told then.
    Again,
}

#[derive(Debug)]
struct Held {
    hold: HoldId,
    /// The number of the next piece.
    next: InputSequence,
    /// What is not known to be in the terminal.
    under_way: VecDeque<(InputSequence, Bytes)>,
    bytes: usize,
    again_at: Option<Timestamp>,
}

impl Typist {
    pub(super) fn new(wish: Wish) -> Self {
        Self {
            wish,
            state: match wish {
                Wish::Look => State::Watching,
                Wish::Type | Wish::TakeOver => State::Beginning,
            },
            last: None,
            seen: None,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            messages: VecDeque::new(),
            notice: None,
            doubtful: 0,
        }
    }

    /// There is a link to a server, which may know typing.
    pub(super) fn connected(&mut self, types: bool, now: Timestamp) {
        match (self.wish, types) {
            (Wish::Look, _) => self.state = State::Watching,
            (Wish::Type | Wish::TakeOver, false) => {
                self.state = State::Watching;
                self.forget_waiting();
                self.notice =
                    Some("this server does not support remote typing; view only".to_owned());
            }
            (Wish::Type, true) => self.ask(TakeForce::IfFree, Asking::First, now),
            (Wish::TakeOver, true) => {
                // Once: whoever takes it back later keeps it.
                self.wish = Wish::Type;
                self.ask(TakeForce::Over, Asking::First, now);
            }
        }
    }

    /// The link is lost, and the hold with it. What was on its way may have arrived or not, so it is not sent again.
    pub(super) fn link_lost(&mut self) {
        self.drop_hold();
        self.seen = None;
        self.messages.clear();
        self.state = State::Away;
    }

    /// Something is typed here. Whether anybody takes it.
    pub(super) fn typed(&mut self, bytes: Bytes, now: Timestamp) -> bool {
        match &self.state {
            State::Away | State::Watching => return false,
            State::Free | State::Later(_) => self.ask(TakeForce::IfFree, Asking::First, now),
            State::Beginning | State::Asked(..) | State::Held(_) => {}
        }
        if self.waiting_bytes + bytes.len() > WAITING {
            self.notice = Some(format!(
                "the program does not read its input; {} bytes were dropped",
                bytes.len()
            ));
            return false;
        }
        self.waiting_bytes += bytes.len();
        self.waiting.push_back(bytes);
        self.fill();
        true
    }

    /// Whether what is typed goes into the terminal.
    pub(super) fn holds(&self) -> bool {
        matches!(self.state, State::Held(_))
    }

    /// Whether there is no link over which anything could be typed.
    pub(super) fn is_away(&self) -> bool {
        matches!(self.state, State::Away)
    }

    /// The server says who holds the keyboard.
    pub(super) fn on_state(&mut self, said: KeyboardSaid) {
        self.seen.clone_from(&said.holder);
        if !said.because.is_empty() {
            self.notice = Some(said.because.clone());
        }
        match &mut self.state {
            State::Asked(..) if said.about == SaidAbout::Wish => {
                let Some(hold) = said.holder else { return };
                self.last = Some(hold.clone());
                self.notice = None;
                self.state = State::Held(Held {
                    hold,
                    next: InputSequence(1),
                    under_way: VecDeque::new(),
                    bytes: 0,
                    again_at: None,
                });
                self.fill();
            }
            State::Held(held) if said.holder.as_ref() == Some(&held.hold) => {
                while let Some((_, bytes)) =
                    held.under_way.pop_front_if(|(number, _)| *number <= said.taken)
                {
                    held.bytes = held.bytes.saturating_sub(bytes.len());
                }
                self.fill();
            }
            State::Held(_) => {
                self.drop_hold();
                self.state = match said.holder {
                    Some(_) => {
                        self.notice = Some(format!(
                            "{} holds the keyboard; view only (attach --take takes over)",
                            said.name
                        ));
                        State::Watching
                    }
                    None => State::Free,
                };
            }
            State::Watching if said.holder.is_none() && self.wish != Wish::Look => {
                self.state = State::Free;
            }
            State::Beginning
            | State::Away
            | State::Free
            | State::Watching
            | State::Asked(..)
            | State::Later(_) => {}
        }
    }

    /// The server refuses something, for this reason. Whether it was of this one.
    pub(super) fn on_refused(&mut self, what: Refused, why: &str, now: Timestamp) -> bool {
        match (&mut self.state, what) {
            // The link before this one may not have ended yet for the server.
            (State::Asked(..), Refused::WishWhileHeld)
                if self.last.is_some() && self.seen == self.last =>
            {
                self.last = None;
                self.ask(TakeForce::Over, Asking::First, now);
                true
            }
            (State::Asked(..), Refused::WishWhileHeld) => {
                self.give_up(State::Watching, why);
                true
            }
            // After a restart of the server an agent may reconnect later than a viewer. The viewer that held the keyboard
            // gets it back without pressing a key.
            (State::Asked(_, asking), Refused::WishWhileAway) => {
                let later = State::Later(now.saturating_add(ASKED_AGAIN_AFTER));
                if *asking == Asking::First || !self.waiting.is_empty() {
                    self.give_up(later, why);
                } else {
                    self.state = later;
                }
                true
            }
            (State::Asked(..), Refused::Wish) => {
                self.give_up(State::Free, why);
                true
            }
            // It has room for it later; and what came behind what it refused is a hole.
            (State::Held(held), Refused::InputForNow) => {
                let _ = held.again_at.get_or_insert(now.saturating_add(AGAIN_AFTER));
                true
            }
            (State::Held(_), Refused::Input) => {
                self.drop_hold();
                self.give_up(State::Free, why);
                true
            }
            (
                State::Beginning
                | State::Away
                | State::Free
                | State::Watching
                | State::Asked(..)
                | State::Later(_)
                | State::Held(_),
                Refused::WishWhileHeld
                | Refused::WishWhileAway
                | Refused::Wish
                | Refused::InputForNow
                | Refused::Input,
            ) => false,
        }
    }

    fn give_up(&mut self, to: State, why: &str) {
        self.state = to;
        self.notice = Some(why.to_owned());
        self.forget_waiting();
    }

    /// When to call [`on_time`](Self::on_time).
    pub(super) fn deadline(&self) -> Deadline {
        match &self.state {
            State::Held(held) => held.again_at.map_or(Deadline::Never, Deadline::At),
            State::Asked(until, _) | State::Later(until) => Deadline::At(*until),
            State::Beginning | State::Away | State::Free | State::Watching => Deadline::Never,
        }
    }

    /// Sends again what may have been refused: the server takes each number once. Asks again for the keyboard of an
    /// agent that was away. Does not wait for an answer any longer.
    pub(super) fn on_time(&mut self, now: Timestamp) {
        if !self.deadline().is_due(now) {
            return;
        }
        match &mut self.state {
            State::Held(held) => {
                held.again_at = None;
                for (sequence, bytes) in &held.under_way {
                    self.messages.push_back(held.input(*sequence, bytes.clone()));
                }
            }
            State::Later(_) => self.ask(TakeForce::IfFree, Asking::Again, now),
            State::Asked(..) => self.give_up(
                State::Free,
                "the server did not say who holds the keyboard; nothing was typed, and the next key asks again",
            ),
            State::Beginning | State::Away | State::Free | State::Watching => {}
        }
    }

    /// The keyboard is given up.
    pub(super) fn release(&mut self) {
        if let State::Held(held) = &self.state {
            self.messages.push_back(TypistSays::Release(held.hold.clone()));
            self.state = State::Watching;
        }
    }

    /// The next message to the server.
    pub(super) fn next_message(&mut self) -> Option<TypistSays> {
        self.messages.pop_front()
    }

    /// What there is to tell the person.
    pub(super) fn take_notice(&mut self) -> Option<String> {
        let doubtful = core::mem::take(&mut self.doubtful);
        let notice = self.notice.take();
        match (notice, doubtful) {
            (notice, 0) => notice,
            (notice, bytes) => {
                let notice = notice.map_or_else(String::new, |notice| format!("{notice}; "));
                Some(format!("{notice}whether the last {bytes} bytes of input arrived is unknown"))
            }
        }
    }

    fn ask(&mut self, force: TakeForce, asking: Asking, now: Timestamp) {
        self.state = State::Asked(now.saturating_add(ANSWERED_WITHIN), asking);
        self.messages.push_back(TypistSays::Take(force));
    }

    fn drop_hold(&mut self) {
        if let State::Held(held) = &self.state {
            self.doubtful += held.bytes;
        }
        self.forget_waiting();
    }

    /// What was not sent is not typed: the screen has gone on meanwhile.
    fn forget_waiting(&mut self) {
        self.waiting.clear();
        self.waiting_bytes = 0;
    }

    /// Sends as much as may be on its way.
    fn fill(&mut self) {
        let State::Held(held) = &mut self.state else { return };
        while held.bytes < UNDER_WAY && held.under_way.len() < UNDER_WAY_PIECES {
            let Some(front) = self.waiting.front_mut() else { return };
            let piece = front.split_to(front.len().min(PIECE));
            if front.is_empty() {
                let _ = self.waiting.pop_front();
            }
            self.waiting_bytes = self.waiting_bytes.saturating_sub(piece.len());
            held.bytes += piece.len();
            held.under_way.push_back((held.next, piece.clone()));
            self.messages.push_back(held.input(held.next, piece));
            held.next = held.next.next();
        }
    }
}

impl Held {
    fn input(&self, sequence: InputSequence, bytes: Bytes) -> TypistSays {
        TypistSays::Input { hold: self.hold.clone(), sequence, bytes }
    }
}

#[cfg(test)]
mod tests;
