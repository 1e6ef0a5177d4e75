//! Random typing at the agent's own terminal: nobody's half-written message is ever sent by somebody else.

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

proptest! {
    /// Nobody's half-written line is ever sent by somebody else, unless it was left alone for as long as was said.
    #[test]
    fn a_text_meets_no_message_that_somebody_is_writing(
        typed_by_hand in proptest::collection::vec(hands(), 0..40),
    ) {
        let mut queue = TypingQueue::new(IDLE);
            let text = Typing::submission("text", &Modes::default(), LineMode::Program).unwrap();
        let mut message = Message::default();
        let (mut seconds, mut touched) = (0, 0);
        for (number, hand) in typed_by_hand.into_iter().enumerate() {
            if let Hand::Waits(more) = hand {
                seconds += more;
            } else {
                message.press(hand);
                let _ = queue.on_local(&bytes(hand), at(seconds));
                touched = seconds;
            }
            let id = CommandId::new(format!("c-{number}"));
            queue.ask(id.clone(), Passing::Waits, at(seconds));
            let is_left_alone = touched + IDLE.as_secs() <= seconds;
            if queue.take_next(at(seconds)).is_some() {
                prop_assert!(message.0.is_empty() || is_left_alone, "{:?}", message);
                let typed = queue.on_typed(&id, Some(&text), Typed::Whole, at(seconds));
                    prop_assert_eq!(typed, Expecting::Typing);
                message = Message::default();
            } else {
                prop_assert!(!is_left_alone, "it is held back for ever");
                prop_assert!(queue.withdraw(&id));
            }
        }
    }
}
