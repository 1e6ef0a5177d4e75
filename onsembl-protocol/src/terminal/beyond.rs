//! What a program leaves in a terminal beside modes: its colours, an open link, tab stops, the title, how bytes are
//! read. And the modes that are no part of a model of the screen, which are only put back.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::vec::Vec;

/// Private modes that are put back and otherwise not tracked, and whether each is on by default (XTerm Control
/// Sequences, "DEC Private Mode Set", and the manuals of mintty, RLogin and Windows Terminal). A query for one of them
/// is not answered.
pub(super) const PRIVATE: [(u16, bool); 32] = [
    (3, false),  // 132 columns
    (8, true),   // a held key repeats
    (40, false), // whether 3 does anything
    (41, false), // two ways to wrap
    (45, false),
    (42, false), // national characters
    (44, false), // a bell at the margin
    (46, false), // a log of everything
    (67, false), // backspace sends BS
    (80, false), // how pictures scroll, in three ways
    (95, false), // 3 clears nothing
    (1045, false),
    (1050, false), // function keys of other terminals, in seven ways
    (1051, false),
    (1052, false),
    (1053, false),
    (1060, false),
    (1061, false),
    (1070, true),
    (2001, false), // clicks and pastes for line editors
    (2002, false),
    (2003, false),
    (2005, false),
    (2006, false),
    (2027, false), // how wide characters are counted
    (5522, false), // pastes are reported
    (7727, false), // Escape and other keys send something else
    (7728, false),
    (7786, false), // the wheel sends something else
    (7787, false),
    (8452, false),
    (9001, false), // keys come in the form of Windows
];

/// Titles that a terminal keeps at most.
const MOST_TITLES: u8 = 10;

/// Columns up to which tab stops are set again.
const TABS_UP_TO: u16 = 512;

/// Something that was changed, and is put back by one sequence, whatever it was changed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Left {
    /// It reads VT52 sequences, and no others.
    Vt52,
    /// Bytes are no longer read as UTF-8.
    Coding,
    /// It answers in controls of one byte.
    EightBit,
    /// What is printed is a link.
    Link,
    /// What is printed is protected from being erased.
    Protection,
    /// Lights of the keyboard.
    Lights,
    /// Some of its numbered colours.
    Palette,
    /// The colours of bold text and the like.
    SpecialColors,
    /// The colour of this number of `OSC`, from 10 to 19: of text, background, cursor, mouse, selection.
    Color(u8),
    /// The shape of the mouse pointer.
    Pointer,
    /// When the mouse pointer is hidden.
    PointerMode,
    /// How titles are written and reported.
    TitleForm,
    /// Whether Shift is kept from the program while the mouse is reported.
    ShiftEscape,
    TabStops,
}

/// What is left of what one program wrote.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Beyond {
    left: BTreeSet<Left>,
    /// Titles that it put on the stack and did not take from it.
    titles: u8,
}

impl Beyond {
    /// `ESC` and this.
    pub(super) fn on_escape(&mut self, last: u8) {
        match last {
            b'H' => self.leaves(Left::TabStops),
            // It leaves the mode VT52.
            b'<' => self.undone(Left::Vt52),
            // A reset. Whether it puts back colours and the like depends on the terminal.
            b'c' => {
                for left in [Left::Vt52, Left::Link, Left::Protection, Left::TabStops] {
                    self.undone(left);
                }
            }
            _ => {}
        }
    }

    /// `ESC`, a byte between, and this.
    pub(super) fn on_escape_with(&mut self, between: u8, last: u8) {
        match (between, last) {
            (b'%', b'G') => self.undone(Left::Coding),
            (b'%', _) => self.leaves(Left::Coding),
            (b' ', b'F') => self.undone(Left::EightBit),
            (b' ', b'G') => self.leaves(Left::EightBit),
            _ => {}
        }
    }

    /// A `CSI` that is no mode.
    pub(super) fn on_control(&mut self, mark: u8, numbers: &[u16], between: u8, last: u8) {
        let first = numbers.first().copied().unwrap_or(0);
        match (mark, between, last) {
            (0, 0, b'g' | b'W') => self.leaves(Left::TabStops),
            (b'?', 0, b'W') => self.undone(Left::TabStops),
            (0, 0, b't') if first == 22 => self.titles = (self.titles + 1).min(MOST_TITLES),
            (0, 0, b't') if first == 23 => self.titles = self.titles.saturating_sub(1),
            (0, b'"', b'q') => self.is_left(Left::Protection, first == 1),
            (0, b'"', b'p') => self.is_left(Left::EightBit, numbers.get(1) != Some(&1)),
            (0, 0, b'q') if first <= 3 => self.is_left(Left::Lights, first != 0),
            (b'>', 0, b'p') => self.is_left(Left::PointerMode, !numbers.is_empty()),
            (b'>', 0, b't' | b'T') => self.is_left(Left::TitleForm, !numbers.is_empty()),
            (b'>', 0, b's') => self.is_left(Left::ShiftEscape, first != 0),
            _ => {}
        }
    }

    /// It reads VT52 sequences from here on.
    pub(super) fn on_vt52(&mut self) {
        self.leaves(Left::Vt52);
    }

    /// An `OSC` that has ended, however.
    pub(super) fn on_command(&mut self, command: CommandText) {
        let command = command.ended();
        match command.number() {
            Some(8) if command.field >= 2 => self.is_left(Left::Link, command.has_value),
            Some(4) if command.sets != 0 => self.leaves(Left::Palette),
            Some(5) if command.sets != 0 => self.leaves(Left::SpecialColors),
            Some(number @ 10..=19) => {
                for at in 0..=19 - number {
                    if command.sets & (1 << at) != 0 {
                        self.leaves(Left::Color(number + at));
                    }
                }
            }
            Some(22) => self.is_left(Left::Pointer, command.has_value),
            Some(104) if !command.has_value => self.undone(Left::Palette),
            Some(105) if !command.has_value => self.undone(Left::SpecialColors),
            Some(number @ 110..=119) => self.undone(Left::Color(number - 100)),
            Some(_) | None => {}
        }
    }

    /// Whether the program put a title on the stack that it did not take from it.
    pub(super) const fn has_title(&self) -> bool {
        self.titles > 0
    }

    fn leaves(&mut self, left: Left) {
        self.left.insert(left);
    }

    fn undone(&mut self, left: Left) {
        self.left.remove(&left);
    }

    fn is_left(&mut self, left: Left, is_left: bool) {
        match is_left {
            true => self.leaves(left),
            false => self.undone(left),
        }
    }

    /// What must be put back before anything else is understood.
    pub(super) fn restore_reading(&self, bytes: &mut Vec<u8>) {
        if self.left.contains(&Left::Vt52) {
            bytes.extend_from_slice(b"\x1b<");
        }
        if self.left.contains(&Left::Coding) {
            bytes.extend_from_slice(b"\x1b%G");
        }
    }

    /// What puts the rest back.
    pub(super) fn restore(&self, bytes: &mut Vec<u8>) {
        for left in &self.left {
            let sequence: &[u8] = match left {
                Left::Vt52 | Left::Coding => continue,
                Left::EightBit => b"\x1b F",
                Left::Link => b"\x1b]8;;\x1b\\",
                Left::Protection => b"\x1b[0\"q",
                Left::Lights => b"\x1b[0q",
                Left::Palette => b"\x1b]104\x1b\\",
                Left::SpecialColors => b"\x1b]105\x1b\\",
                Left::Color(number) => {
                    let sequence = format!("\x1b]1{number}\x1b\\");
                    bytes.extend_from_slice(sequence.as_bytes());
                    continue;
                }
                Left::Pointer => b"\x1b]22;\x1b\\",
                Left::PointerMode => b"\x1b[>p",
                Left::TitleForm => b"\x1b[>T",
                Left::ShiftEscape => b"\x1b[>0s",
                Left::TabStops => {
                    tab_stops(bytes);
                    continue;
                }
            };
            bytes.extend_from_slice(sequence);
        }
        for _ in 0..self.titles {
            bytes.extend_from_slice(b"\x1b[23;0t");
        }
    }
}

/// A tab stop in each eighth column, as far as a terminal is wide. The sequence that does it at once is understood by few.
fn tab_stops(bytes: &mut Vec<u8>) {
    bytes.extend_from_slice(b"\x1b7\x1b[3g");
    for column in (9..TABS_UP_TO).step_by(8) {
        bytes.extend_from_slice(format!("\x1b[{column}G\x1bH").as_bytes());
    }
    // Who knows it has no stop at its last column then, which those behind that set.
    bytes.extend_from_slice(b"\x1b[?5W\x1b8");
}

/// What matters of the text of an `OSC`, however long it is: its number, and which fields behind it hold a value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct CommandText {
    number: Option<u8>,
    is_other: bool,
    /// How many `;` came so far.
    field: u16,
    /// The first byte of this field.
    begins: Option<u8>,
    /// Whether a field from the second on, or the first where that is all, holds anything.
    has_value: bool,
    /// Which of the values that set something do: of colours by their index, from the lowest bit on.
    sets: u16,
}

impl CommandText {
    pub(super) fn read(mut self, byte: u8) -> Self {
        match (byte, self.field) {
            (b';', _) => {
                self.end_field();
                self.field = self.field.saturating_add(1);
                self.begins = None;
            }
            (b'0'..=b'9', 0) => match self.number.unwrap_or(0).checked_mul(10) {
                Some(tens) if tens.checked_add(byte - b'0').is_some() => {
                    self.number = Some(tens.saturating_add(byte - b'0'));
                }
                Some(_) | None => self.is_other = true,
            },
            (_, 0) => self.is_other = true,
            (byte, _) => self.begins = Some(self.begins.unwrap_or(byte)),
        }
        self
    }

    fn number(self) -> Option<u8> {
        self.number.filter(|_| !self.is_other)
    }

    fn end_field(&mut self) {
        let Some(begins) = self.begins else { return };
        let index = match self.number() {
            // A number and its colour in turn.
            Some(4 | 5) if self.field.is_multiple_of(2) => Some(0),
            Some(10..=19) => self.field.checked_sub(1),
            Some(_) | None => None,
        };
        if let Some(index) = index.filter(|index| *index < 10 && begins != b'?') {
            self.sets |= 1 << index;
        }
        // The first field of a link holds parameters.
        self.has_value |= self.field >= 2 || self.number() != Some(8);
    }

    fn ended(mut self) -> Self {
        self.end_field();
        self
    }
}
