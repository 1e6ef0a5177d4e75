//! Random typing by persons, at the agent's machine and remotely: nobody's half-written message is ever sent by somebody else.

use super::begun_line::Person;
use super::modes::Modes;
use super::settings::LineMode;
use super::submission::Typing;
use super::typing_queue::{Expecting, Passing, Typed, TypingQueue};
use crate::id::CommandId;
use crate::time::Timestamp;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;
use proptest::prelude::*;

const IDLE: Duration = Duration::from_secs(60);

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_origin(Duration::from_secs(seconds))
}

/// What somebody types, and what it does to their message.
#[derive(Clone, Copy, Debug)]
enum Hand {
    Types(char),
    /// A line end within the message, in this form.
    LineEnd(&'static [u8]),
    Backspace,
    Kill,
    Interrupt(&'static [u8]),
    Enter,
    Waits(u64),
}

/// A program that gathers a message as coding agents do.
#[derive(Debug, Default)]
struct Message(String);

impl Message {
    fn press(&mut self, hand: Hand) {
        match hand {
            Hand::Types(character) => self.0.push(character),
            Hand::LineEnd(_) => self.0.push('\n'),
            Hand::Backspace => drop(self.0.pop()),
            Hand::Kill => {
                let kept = self.0.rfind('\n').map_or(0, |at| at + 1);
                self.0.truncate(kept);
            }
            Hand::Interrupt(_) => self.0.clear(),
            Hand::Enter if self.0.ends_with('\\') => self.0.push('\n'),
            Hand::Enter => self.0.clear(),
            Hand::Waits(_) => {}
        }
    }
}

fn bytes(hand: Hand) -> Vec<u8> {
    match hand {
        Hand::Types(character) => character.to_string().into_bytes(),
        Hand::LineEnd(bytes) | Hand::Interrupt(bytes) => bytes.to_vec(),
        Hand::Backspace => b"\x7f".to_vec(),
        Hand::Kill => b"\x15".to_vec(),
        Hand::Enter => b"\r".to_vec(),
        Hand::Waits(_) => Vec::new(),
    }
}

fn hands() -> impl Strategy<Value = Hand> {
    let line_ends: [&[u8]; 4] = [b"\n", b"\x1b\r", b"\x1b[13;2u", b"\x1b[13;5u"];
    let interrupts: [&[u8]; 2] = [b"\x03", b"\x1b[99;5u"];
    prop_oneof![
        4 => prop::sample::select(vec!['a', 'é', '\\', ' ']).prop_map(Hand::Types),
        1 => prop::sample::select(line_ends.to_vec()).prop_map(Hand::LineEnd),
        2 => Just(Hand::Backspace),
        1 => Just(Hand::Kill),
        1 => prop::sample::select(interrupts.to_vec()).prop_map(Hand::Interrupt),
        2 => Just(Hand::Enter),
        1 => (0_u64..70).prop_map(Hand::Waits),
    ]
}

/// Where persons type: whoever sits at the machine, and the holder of the keyboard, in turn.
fn persons() -> impl Strategy<Value = Person> {
    prop::sample::select(vec![Person::AtMachine, Person::Remote])
}

/// One message, and when a key was last pressed.
#[derive(Debug)]
struct Draft {
    queue: TypingQueue,
    message: Message,
    seconds: u64,
    touched: u64,
}

impl Draft {
    fn press(&mut self, hand: Hand, by: Person) {
        if let Hand::Waits(more) = hand {
            self.seconds += more;
            return;
        }
        self.message.press(hand);
        let _ = self.queue.on_person(&bytes(hand), by, at(self.seconds));
        self.touched = self.seconds;
    }

    fn is_left_alone(&self) -> bool {
        self.touched + IDLE.as_secs() <= self.seconds
    }
}

proptest! {
    /// Nobody's half-written line is ever sent by somebody else, unless it was left alone for as long as was said. What a
    /// person types while a submission is on its way stands behind that, and is theirs.
    #[test]
    fn a_text_meets_no_message_that_somebody_is_writing(
        typed_by_hand in proptest::collection::vec((hands(), persons(), any::<bool>()), 0..40),
    ) {
        let text = Typing::submission("text", &Modes::default(), LineMode::Program).unwrap();
        let (queue, message) = (TypingQueue::new(IDLE), Message::default());
        let mut draft = Draft { queue, message, seconds: 0, touched: 0 };
        for (number, (hand, by, is_behind)) in typed_by_hand.into_iter().enumerate() {
            if !is_behind {
                draft.press(hand, by);
            }
            let id = CommandId::new(format!("c-{number}"));
            draft.queue.ask(id.clone(), Passing::Waits, at(draft.seconds));
            let is_left_alone = draft.is_left_alone();
            let taken = draft.queue.take_next(at(draft.seconds));
            if taken.is_some() {
                prop_assert!(draft.message.0.is_empty() || is_left_alone, "{:?}", draft.message);
                draft.message = Message::default();
            } else {
                prop_assert!(!is_left_alone, "it is deferred for ever");
                prop_assert!(draft.queue.withdraw(&id));
            }
            if is_behind {
                draft.press(hand, by);
            }
            if taken.is_some() {
                let now = at(draft.seconds);
                let typed = draft.queue.on_typed(&id, Some(&text), Typed::Whole, now);
                prop_assert_eq!(typed, Expecting::Typing);
            }
        }
    }
}
