//! What is typed at an attached terminal, on its way into the one that is looked at: who holds the keyboard, what was
//! sent and is not known to have arrived, and what is sent again. Pure; it is told the time, and polled for messages.

use bytes::Bytes;
use onsembl_protocol::id::{CommandId, HoldId, InputSequence, MessageId};
use onsembl_protocol::wire::DashboardToServer;
use onsembl_protocol::wire::payload::{
    ErrorCode, ErrorReply, KeyboardRelease, KeyboardState, KeyboardTake, TakeMode, TerminalInput,
    TypedBytes,
};
use std::collections::VecDeque;
use std::time::Duration;
use tokio::time::Instant;

/// Bytes of one message; the server takes twice as many.
const PIECE: usize = 8 * 1024;
/// Bytes and messages that may be on their way; the server takes 64 KiB and 64.
const UNDER_WAY: usize = 32 * 1024;
const UNDER_WAY_PIECES: usize = 32;
/// Bytes that may wait for their turn, of a paste. More is not taken: the key that detaches must not wait behind it.
const WAITING: usize = 1024 * 1024;
/// How long after a refusal for now it is sent again.
const AGAIN_AFTER: Duration = Duration::from_millis(300);

/// What the person at the terminal wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// To look only.
    Look,
    /// To type, if nobody else does.
    Type,
    /// To type, whoever does.
    TakeOver,
}

/// The one who types at this end.
#[derive(Debug)]
pub(super) struct Typist {
    terminal: CommandId,
    name: String,
    wish: Wish,
    state: State,
    /// The last hold of this end, which may outlive its link at the server.
    last: Option<HoldId>,
    /// Who holds the keyboard, as far as is known.
    seen: Option<HoldId>,
    /// What was typed and not sent.
    waiting: VecDeque<Bytes>,
    waiting_bytes: usize,
    messages: VecDeque<DashboardToServer>,
    notice: Option<String>,
    /// Bytes of which it is not known that they arrived.
    doubtful: usize,
}

#[derive(Debug)]
enum State {
    /// The first link is being made. What is typed meanwhile waits for it, as a shell's would.
    Beginning,
    /// The link is lost.
    Away,
    /// It may be taken when something is typed.
    Free,
    /// Another one holds it, and this one does not want to take it over.
    Watching,
    /// It was asked for; by this message, once it was sent.
    Asked(Option<MessageId>),
    Held(Held),
}

#[derive(Debug)]
struct Held {
    hold: HoldId,
    /// The number of the next piece.
    next: InputSequence,
    /// What is not known to be in the terminal.
    under_way: VecDeque<(InputSequence, Bytes)>,
    bytes: usize,
    again_at: Option<Instant>,
}

impl Typist {
    /// One who types into this terminal, under this name.
    pub(super) fn new(terminal: CommandId, name: String, wish: Wish) -> Self {
        Self {
            terminal,
            name,
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
    pub(super) fn connected(&mut self, types: bool) {
        match (self.wish, types) {
            (Wish::Look, _) => self.state = State::Watching,
            (Wish::Type | Wish::TakeOver, false) => {
                self.state = State::Watching;
                self.forget_waiting();
                self.notice = Some(
                    "this server is of a version in which nobody can type from here; looking only"
                        .to_owned(),
                );
            }
            (Wish::Type, true) => self.ask(TakeMode::IfFree),
            (Wish::TakeOver, true) => {
                // Once: whoever takes it back later keeps it.
                self.wish = Wish::Type;
                self.ask(TakeMode::Over);
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
    pub(super) fn typed(&mut self, bytes: Bytes) -> bool {
        match &self.state {
            State::Away | State::Watching => return false,
            State::Free => self.ask(TakeMode::IfFree),
            State::Beginning | State::Asked(_) | State::Held(_) => {}
        }
        if self.waiting_bytes + bytes.len() > WAITING {
            self.notice = Some(format!(
                "the program does not read what is typed; {} bytes were dropped",
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

    /// The message that asks for the keyboard was sent as this one.
    pub(super) fn asked_as(&mut self, id: Option<MessageId>) {
        if let State::Asked(asked) = &mut self.state {
            *asked = id;
        }
    }

    /// The server says who holds the keyboard.
    pub(super) fn on_state(&mut self, said: KeyboardState) {
        if said.command_id != self.terminal {
            return;
        }
        self.seen.clone_from(&said.holder);
        if !said.because.is_empty() {
            self.notice = Some(said.because.clone());
        }
        match &mut self.state {
            State::Asked(asked) if asked.is_some() && *asked == said.message_id => {
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
                            "{} types here now; looking only (attach --take takes it over)",
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
            State::Beginning | State::Away | State::Free | State::Watching | State::Asked(_) => {}
        }
    }

    /// The server refuses something. Whether it was of this one.
    pub(super) fn on_error(&mut self, error: &ErrorReply, now: Instant) -> bool {
        let about = error.original_message_id.as_ref();
        match &mut self.state {
            State::Asked(asked) if about.is_some() && asked.as_ref() == about => {
                let is_held = error.code == ErrorCode::KeyboardHeld;
                // The link before this one may not have ended yet for the server.
                if is_held && self.last.is_some() && self.seen == self.last {
                    self.last = None;
                    self.ask(TakeMode::Over);
                    return true;
                }
                self.state = if is_held { State::Watching } else { State::Free };
                self.notice = Some(error.message.clone());
                self.forget_waiting();
                true
            }
            State::Held(held) if error.context.command_id.as_ref() == Some(&self.terminal) => {
                // It has room for it later; and what came behind what it refused is a hole.
                let is_for_now =
                    matches!(error.code, ErrorCode::QueueFull | ErrorCode::InvalidMessage);
                if is_for_now {
                    let _ = held.again_at.get_or_insert(now + AGAIN_AFTER);
                } else {
                    self.drop_hold();
                    self.notice = Some(error.message.clone());
                    self.state = State::Free;
                }
                true
            }
            State::Beginning
            | State::Away
            | State::Free
            | State::Watching
            | State::Asked(_)
            | State::Held(_) => false,
        }
    }

    /// When to call [`on_time`](Self::on_time).
    pub(super) fn deadline(&self) -> Option<Instant> {
        match &self.state {
            State::Held(held) => held.again_at,
            State::Beginning | State::Away | State::Free | State::Watching | State::Asked(_) => {
                None
            }
        }
    }

    /// Sends again what may have been refused. The server takes each number once.
    pub(super) fn on_time(&mut self, now: Instant) {
        let State::Held(held) = &mut self.state else { return };
        if held.again_at.take_if(|at| *at <= now).is_none() {
            return;
        }
        for (number, bytes) in &held.under_way {
            self.messages.push_back(input(&self.terminal, &held.hold, *number, bytes.clone()));
        }
    }

    /// The keyboard is given up.
    pub(super) fn release(&mut self) {
        if let State::Held(held) = &self.state {
            self.messages.push_back(DashboardToServer::KeyboardRelease(KeyboardRelease {
                command_id: self.terminal.clone(),
                holder: held.hold.clone(),
            }));
            self.state = State::Watching;
        }
    }

    /// The next message to the server.
    pub(super) fn next_message(&mut self) -> Option<DashboardToServer> {
        self.messages.pop_front()
    }

    /// What there is to tell the person.
    pub(super) fn take_notice(&mut self) -> Option<String> {
        let doubtful = std::mem::take(&mut self.doubtful);
        let notice = self.notice.take();
        match (notice, doubtful) {
            (notice, 0) => notice,
            (notice, bytes) => {
                let notice = notice.map_or_else(String::new, |notice| format!("{notice}; "));
                Some(format!(
                    "{notice}whether the last {bytes} bytes that were typed arrived is not known"
                ))
            }
        }
    }

    fn ask(&mut self, mode: TakeMode) {
        self.state = State::Asked(None);
        self.messages.push_back(DashboardToServer::KeyboardTake(KeyboardTake {
            command_id: self.terminal.clone(),
            name: self.name.clone(),
            mode: Some(mode),
        }));
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
            self.messages.push_back(input(&self.terminal, &held.hold, held.next, piece));
            held.next = InputSequence(held.next.0.saturating_add(1));
        }
    }
}

fn input(
    terminal: &CommandId,
    hold: &HoldId,
    sequence: InputSequence,
    bytes: Bytes,
) -> DashboardToServer {
    DashboardToServer::TerminalInput(TerminalInput {
        command_id: terminal.clone(),
        holder: hold.clone(),
        sequence,
        bytes: TypedBytes(bytes),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terminal() -> CommandId {
        CommandId::of_terminal("1")
    }

    fn state(holder: Option<&str>, taken: u64, message: Option<&str>) -> KeyboardState {
        KeyboardState {
            command_id: terminal(),
            agent_id: None,
            message_id: message.map(MessageId::new),
            holder: holder.map(HoldId::new),
            name: "somebody".to_owned(),
            since: None,
            taken: InputSequence(taken),
            because: String::new(),
        }
    }

    fn sent(typist: &mut Typist) -> Vec<(u64, Vec<u8>)> {
        std::iter::from_fn(|| typist.next_message())
            .filter_map(|message| match message {
                DashboardToServer::TerminalInput(input) => {
                    Some((input.sequence.0, input.bytes.0.to_vec()))
                }
                _ => None,
            })
            .collect()
    }

    fn mode(typist: &mut Typist) -> Option<TakeMode> {
        match typist.next_message()? {
            DashboardToServer::KeyboardTake(take) => take.mode,
            other => panic!("{other:?}"),
        }
    }

    fn holding(wish: Wish) -> Typist {
        let mut typist = Typist::new(terminal(), "ann".to_owned(), wish);
        typist.connected(true);
        let _ = mode(&mut typist);
        typist.asked_as(Some(MessageId::new("m")));
        typist.on_state(state(Some("h"), 0, Some("m")));
        assert!(typist.holds());
        typist
    }

    fn refusal(code: ErrorCode) -> ErrorReply {
        let error = ErrorReply::new(code, "why").about(Some(MessageId::new("m")));
        error.for_command(Some(terminal()))
    }

    #[test]
    fn what_is_typed_goes_out_in_order_and_is_bounded_on_its_way() {
        let mut typist = holding(Wish::Type);
        assert!(typist.typed(Bytes::from_static(b"a")) && typist.typed(Bytes::from_static(b"b")));
        assert_eq!(sent(&mut typist), [(1, b"a".to_vec()), (2, b"b".to_vec())]);
        assert!(typist.typed(Bytes::from(vec![b'x'; 200_000])));
        assert!(!typist.typed(Bytes::from(vec![b'x'; WAITING])));
        assert!(typist.take_notice().unwrap().contains("does not read"));
        let first = sent(&mut typist);
        assert!(first.iter().map(|(_, bytes)| bytes.len()).sum::<usize>() <= UNDER_WAY + PIECE);
        assert!(first.iter().all(|(_, bytes)| bytes.len() <= PIECE));
        typist.on_state(state(Some("h"), 100, None));
        assert!(!sent(&mut typist).is_empty());
    }

    #[test]
    fn what_was_refused_for_now_is_sent_again_under_its_numbers() {
        let mut typist = holding(Wish::Type);
        let now = Instant::now();
        assert!(typist.typed(Bytes::from_static(b"a")) && typist.typed(Bytes::from_static(b"b")));
        let before = sent(&mut typist);
        typist.on_state(state(Some("h"), 1, None));
        assert!(typist.on_error(&refusal(ErrorCode::QueueFull), now));
        typist.on_time(now);
        assert!(sent(&mut typist).is_empty());
        typist.on_time(now + AGAIN_AFTER);
        assert_eq!(sent(&mut typist), before[1..]);
    }

    #[test]
    fn what_was_on_its_way_when_the_link_was_lost_is_not_sent_again() {
        let mut typist = holding(Wish::Type);
        assert!(typist.typed(Bytes::from_static(b"secret")));
        let _ = sent(&mut typist);
        typist.link_lost();
        assert!(typist.take_notice().unwrap().contains("6 bytes"));
        assert!(!typist.typed(Bytes::from_static(b"away")), "nobody takes it");
        typist.connected(true);
        assert_eq!(mode(&mut typist), Some(TakeMode::IfFree));
        // The server has not noticed that the old link is lost.
        typist.asked_as(Some(MessageId::new("m")));
        typist.on_state(state(Some("h"), 0, None));
        assert!(typist.on_error(&refusal(ErrorCode::KeyboardHeld), Instant::now()));
        assert_eq!(mode(&mut typist), Some(TakeMode::Over));
        typist.asked_as(Some(MessageId::new("n")));
        typist.on_state(state(Some("i"), 0, Some("n")));
        assert!(typist.holds() && sent(&mut typist).is_empty());
    }

    #[test]
    fn nobody_takes_back_by_a_key_what_another_took_over() {
        let mut typist = holding(Wish::TakeOver);
        typist.on_state(state(Some("other"), 0, None));
        assert!(!typist.holds() && !typist.typed(Bytes::from_static(b"x")));
        assert!(typist.take_notice().unwrap().contains("somebody types here now"));
        typist.on_state(state(None, 0, None));
        assert!(typist.typed(Bytes::from_static(b"x")), "it is free again");
        assert_eq!(mode(&mut typist), Some(TakeMode::IfFree));
    }

    #[test]
    fn what_is_typed_before_the_first_link_is_there_waits_for_it() {
        let mut typist = Typist::new(terminal(), "ann".to_owned(), Wish::Type);
        assert!(typist.typed(Bytes::from_static(b"early")));
        typist.connected(true);
        let _ = mode(&mut typist);
        typist.asked_as(Some(MessageId::new("m")));
        typist.on_state(state(Some("h"), 0, Some("m")));
        assert_eq!(sent(&mut typist), [(1, b"early".to_vec())]);
    }

    #[test]
    fn who_only_looks_asks_for_nothing() {
        let mut typist = Typist::new(terminal(), "ann".to_owned(), Wish::Look);
        typist.connected(true);
        typist.on_state(state(None, 0, None));
        assert!(typist.next_message().is_none() && !typist.typed(Bytes::from_static(b"x")));
    }
}
