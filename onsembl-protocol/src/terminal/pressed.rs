//! Which keys bytes stand for that a terminal sends, in the forms that terminals have for them: plain bytes, sequences of
//! XTerm, and the two enhanced keyboards (`CSI code ; modifiers u` and `CSI 27 ; modifiers ; code ~`).

/// Numbers of one sequence that are read.
const MOST_DIGITS: u32 = 999_999;
/// Characters of private use that stand for keys without a character (kitty's keyboard protocol).
const FUNCTIONAL: core::ops::RangeInclusive<u32> = 57_344..=63_743;
/// The Enter of the numeric keypad.
const KEYPAD_ENTER: u32 = 57_414;

/// What a key does to a line that is being typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pressed {
    Character(u32),
    /// The plain one, which ends a line.
    Enter,
    /// A line end within a message, for programs that know such.
    LineEnd,
    /// Throws the line away wherever the cursor is in it.
    Interrupt,
    /// Throws away what is before the cursor.
    Kill,
    Backspace,
    /// It may bring a whole line, or a part of one.
    Recall,
    /// Moves within a line, or changes a part of it.
    Edit,
    /// Suspends what is in the foreground.
    Suspend,
    PasteBegins,
    PasteEnds,
    /// No key of a line, or no key at all.
    Silent,
}

/// Reads bytes as they were typed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Scanner {
    #[default]
    Ground,
    /// In a character of more than one byte: those that follow.
    Character {
        left: u8,
    },
    Escape,
    /// Behind `ESC [`.
    Control(Numbers),
    /// Behind `ESC O`.
    Single,
    /// Behind `CSI M`: three bytes of the mouse.
    Mouse {
        left: u8,
    },
    /// An answer of the terminal, up to a bell or `ESC \\`.
    Text,
    TextEscape,
}

/// The numbers of a control sequence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Numbers {
    /// The first three.
    fields: [u32; 3],
    /// Which of them is being read.
    field: usize,
    /// What stands behind the colon of the second one: 1 a press, 2 a repetition, 3 a release.
    event: u32,
    part: Part,
    origin: Origin,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Part {
    #[default]
    Main,
    /// Behind one colon.
    First,
    Later,
}

/// Whose a sequence is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Origin {
    #[default]
    Key,
    /// With `?`, `<`, `=` or `>`: an answer, or the mouse.
    Terminal,
}

impl Scanner {
    /// Whether what comes next begins a key.
    pub(super) const fn is_between_keys(self) -> bool {
        matches!(self, Self::Ground)
    }

    /// Reads a byte. Gives the key that it completes.
    pub(super) fn read(&mut self, byte: u8) -> Option<Pressed> {
        let (next, pressed) = match (*self, byte) {
            (Self::Ground, 0x1b) => (Self::Escape, None),
            (Self::Ground, 0xc2..=0xdf) => (Self::Character { left: 1 }, None),
            (Self::Ground, 0xe0..=0xef) => (Self::Character { left: 2 }, None),
            (Self::Ground, 0xf0..=0xf4) => (Self::Character { left: 3 }, None),
            (Self::Ground, byte) => (Self::Ground, Some(plain(byte))),
            (Self::Character { left }, 0x80..=0xbf) if left > 1 => {
                (Self::Character { left: left - 1 }, None)
            }
            // Also one that was cut off by something else: in doubt a line is begun.
            (Self::Character { .. }, _) => (Self::Ground, Some(Pressed::Character(0xfffd))),
            (Self::Escape, b'[') => (Self::Control(Numbers::default()), None),
            (Self::Escape, b'O') => (Self::Single, None),
            (Self::Escape, b'P' | b']' | b'_' | b'^' | b'X') => (Self::Text, None),
            (Self::Escape, 0x1b) => (Self::Escape, None),
            (Self::Escape, last) => (Self::Ground, Some(behind_escape(last))),
            (Self::Single, last) => (Self::Ground, Some(single(last))),
            (Self::Control(numbers), byte) => match numbers.read(byte) {
                Some(numbers) => (Self::Control(numbers), None),
                None if byte == b'M' && numbers == Numbers::default() => {
                    (Self::Mouse { left: 3 }, None)
                }
                None => (Self::Ground, Some(numbers.pressed(byte))),
            },
            (Self::Mouse { left }, _) if left > 1 => (Self::Mouse { left: left - 1 }, None),
            (Self::Mouse { .. }, _) => (Self::Ground, Some(Pressed::Silent)),
            (Self::Text, 0x07) | (Self::TextEscape, b'\\') => (Self::Ground, Some(Pressed::Silent)),
            (Self::Text | Self::TextEscape, 0x1b) => (Self::TextEscape, None),
            (Self::Text | Self::TextEscape, _) => (Self::Text, None),
        };
        *self = next;
        pressed
    }
}

impl Numbers {
    /// Takes a byte; `None` if it ends the sequence.
    fn read(mut self, byte: u8) -> Option<Self> {
        match byte {
            b'?' | b'<' | b'=' | b'>' => self.origin = Origin::Terminal,
            b'0'..=b'9' => {
                let digit = u32::from(byte - b'0');
                let number = match self.part {
                    Part::Main => self.fields.get_mut(self.field),
                    Part::First => (self.field == 1).then_some(&mut self.event),
                    Part::Later => None,
                };
                if let Some(number) = number {
                    *number = number.saturating_mul(10).saturating_add(digit).min(MOST_DIGITS);
                }
            }
            b';' => {
                self.field = self.field.saturating_add(1);
                self.part = Part::Main;
            }
            b':' => {
                self.part = match self.part {
                    Part::Main => Part::First,
                    Part::First | Part::Later => Part::Later,
                };
            }
            0x20..=0x2f => {}
            _ => return None,
        }
        Some(self)
    }

    fn pressed(self, last: u8) -> Pressed {
        const RELEASED: u32 = 3;
        let [first, second, third] = self.fields;
        if self.origin == Origin::Terminal || self.event == RELEASED {
            return Pressed::Silent;
        }
        match (first, last) {
            (200, b'~') => Pressed::PasteBegins,
            (201, b'~') => Pressed::PasteEnds,
            (27, b'~') => enhanced(third, second),
            (code, b'u') => enhanced(code, second),
            (1 | 3 | 4 | 7 | 8, b'~') | (_, b'C' | b'D' | b'H' | b'F') => Pressed::Edit,
            (_, b'A') => Pressed::Recall,
            _ => Pressed::Silent,
        }
    }
}

/// A key that is sent as one byte.
fn plain(byte: u8) -> Pressed {
    match byte {
        b'\r' => Pressed::Enter,
        b'\n' => Pressed::LineEnd,
        0x03 => Pressed::Interrupt,
        0x15 => Pressed::Kill,
        0x08 | 0x7f => Pressed::Backspace,
        0x1a => Pressed::Suspend,
        // Completion, the history, what was cut before, what was undone, and what the next key is taken for.
        b'\t' | 0x0e | 0x10 | 0x12 | 0x16 | 0x19 | 0x1f => Pressed::Recall,
        0x01 | 0x02 | 0x04..=0x06 | 0x0b | 0x14 | 0x17 => Pressed::Edit,
        0x00..=0x1f => Pressed::Silent,
        b' '..=b'~' | 0x80.. => Pressed::Character(u32::from(byte)),
    }
}

/// A key with Alt; or Escape, and then another key.
fn behind_escape(last: u8) -> Pressed {
    match last {
        b'\r' | b'\n' => Pressed::LineEnd,
        0x00..=0x1f | 0x7f => Pressed::Edit,
        b' '..=b'~' | 0x80.. => Pressed::Recall,
    }
}

/// A key behind `ESC O`: an arrow, or one of the numeric keypad.
fn single(last: u8) -> Pressed {
    match last {
        b'A' => Pressed::Recall,
        b'C' | b'D' | b'H' | b'F' => Pressed::Edit,
        b'M' => Pressed::Enter,
        b'j'..=b'y' | b'X' => Pressed::Character(u32::from(last)),
        _ => Pressed::Silent,
    }
}

/// A key of an enhanced keyboard: its character, and one more than the modifiers that are held.
fn enhanced(code: u32, modifiers: u32) -> Pressed {
    const SHIFT: u32 = 1;
    const CONTROL: u32 = 4;
    // The locks of capitals and of numbers change no key of these.
    let held = modifiers.saturating_sub(1) & 0b11_1111;
    let letter = u8::try_from(code).unwrap_or(0);
    match (code, held) {
        (13 | KEYPAD_ENTER, 0) => Pressed::Enter,
        (13 | KEYPAD_ENTER, _) => Pressed::LineEnd,
        (8 | 127, 0) => Pressed::Backspace,
        (9, _) => Pressed::Recall,
        (0..=31 | 127, _) => Pressed::Silent,
        (code, _) if FUNCTIONAL.contains(&code) => Pressed::Silent,
        (_, 0 | SHIFT) => Pressed::Character(code),
        (_, CONTROL) if letter.is_ascii_alphabetic() => plain_control(letter),
        (_, _) => Pressed::Edit,
    }
}

/// A letter with Ctrl. Those that stand for other keys in plain form are keys of their own here.
fn plain_control(letter: u8) -> Pressed {
    match plain(letter & 0x1f) {
        Pressed::Enter | Pressed::Backspace => Pressed::Edit,
        pressed @ (Pressed::LineEnd
        | Pressed::Interrupt
        | Pressed::Kill
        | Pressed::Suspend
        | Pressed::Recall
        | Pressed::Edit
        | Pressed::Silent
        | Pressed::Character(_)
        | Pressed::PasteBegins
        | Pressed::PasteEnds) => pressed,
    }
}
