//! Parts of a terminal that programs switch and that are no modes: the levels of the enhanced keyboard, the
//! scroll region, the character sets. Each knows how it is put back.

use alloc::format;
use alloc::vec::Vec;

/// Levels of the enhanced keyboard that are counted.
const MOST_LEVELS: u8 = 16;

/// The enhanced keyboard of one screen ("Comprehensive keyboard handling in terminals").
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Keyboard {
    /// What was set without a level of its own.
    base: u16,
    /// How often it was switched on and not off.
    levels: u8,
    /// What is set on each of these levels.
    on_levels: [u16; MOST_LEVELS as usize],
}

impl Keyboard {
    /// `CSI > flags u`.
    pub(super) fn push(&mut self, flags: u16) {
        self.levels = (self.levels + 1).min(MOST_LEVELS);
        *self.current() = flags;
    }

    /// `CSI < levels u`.
    pub(super) fn pop(&mut self, levels: u16) {
        self.levels = self.levels.saturating_sub(u8::try_from(levels).unwrap_or(u8::MAX));
        for dropped in self.on_levels.iter_mut().skip(usize::from(self.levels)) {
            *dropped = 0;
        }
    }

    /// `CSI = flags ; how u`. On a level of its own it is undone with the level.
    pub(super) fn set(&mut self, flags: u16, how: u16) {
        let current = self.current();
        match how {
            0 | 1 => *current = flags,
            2 => *current |= flags,
            3 => *current &= !flags,
            _ => {}
        }
    }

    /// How many levels there are.
    pub(super) fn levels(self) -> u16 {
        self.levels.into()
    }

    /// What is set now.
    pub(super) fn flags(mut self) -> u16 {
        *self.current()
    }

    fn current(&mut self) -> &mut u16 {
        let level = usize::from(self.levels).checked_sub(1);
        level.and_then(|level| self.on_levels.get_mut(level)).unwrap_or(&mut self.base)
    }

    /// What sets it in a fresh terminal.
    pub(super) fn setting(self, bytes: &mut Vec<u8>) {
        if self.base > 0 {
            bytes.extend_from_slice(format!("\x1b[={}u", self.base).as_bytes());
        }
        for flags in self.on_levels.iter().take(usize::from(self.levels)) {
            bytes.extend_from_slice(format!("\x1b[>{flags}u").as_bytes());
        }
    }

    pub(super) fn restore(self, bytes: &mut Vec<u8>) {
        if self.levels > 0 {
            bytes.extend_from_slice(format!("\x1b[<{}u", self.levels).as_bytes());
        }
        if self.base > 0 {
            bytes.extend_from_slice(b"\x1b[=0u");
        }
    }
}

/// Which lines scroll.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Margins {
    #[default]
    All,
    Some,
}

impl Margins {
    /// `CSI top ; bottom r`, each 0 if it is not given. How many lines there are is unknown here, so that a
    /// region that names its last line counts as one.
    pub(super) fn set(&mut self, top: u16, bottom: u16) {
        *self = if top <= 1 && bottom == 0 { Self::All } else { Self::Some };
    }

    /// It moves the cursor to the corner, where it was not.
    pub(super) fn restore(self, bytes: &mut Vec<u8>) {
        match self {
            Self::All => {}
            Self::Some => bytes.extend_from_slice(b"\x1b7\x1b[r\x1b8"),
        }
    }
}

/// The character sets: what is written comes out as lines and corners where another one is chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Charsets {
    /// Whether each of the four is not ASCII.
    foreign: [bool; 4],
    /// Whether another than the first is in use.
    shifted: bool,
}

/// What chooses each of the four.
const SLOTS: [u8; 4] = [b'(', b')', b'*', b'+'];

impl Charsets {
    /// `ESC`, `slot` and `set`. Other bytes than those of a slot mean something else.
    pub(super) fn designate(&mut self, slot: u8, set: u8) {
        let slots = SLOTS.iter().zip(&mut self.foreign);
        for (_, foreign) in slots.filter(|(of, _)| **of == slot) {
            *foreign = set != b'B';
        }
    }

    /// Another one is in use from here, or the first again.
    pub(super) fn shift(&mut self, to_another: bool) {
        self.shifted = to_another;
    }

    pub(super) fn restore(self, bytes: &mut Vec<u8>) {
        if self.shifted {
            bytes.push(0x0f);
        }
        for (slot, _) in SLOTS.iter().zip(self.foreign).filter(|(_, foreign)| *foreign) {
            bytes.extend_from_slice(&[0x1b, *slot, b'B']);
        }
    }
}
