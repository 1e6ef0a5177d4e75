//! The screen of a terminal, rebuilt from what its program wrote: what it shows, and a text that brings a fresh
//! terminal there. Both binaries use it: an agent to answer what programs ask, a server to show terminals.
//!
//! [`Screen`] interprets through the crate `avt`, the only model tried whose dump continues exactly. It has no
//! scrollback, so it takes as much memory as its size asks for, see [`Screen::bytes`].
//!
//! Known limits: a combining character is left out, because the model would give it a cell of its own; a position that
//! is asked for in origin mode is counted from the top of the screen; a character is repeated (`CSI n b`) for one row at
//! most.

mod decoder;
mod look;
mod title;

pub use look::{Color, Cursor, Look, Row, Run, Style};

use decoder::Decoder;
use onsembl_protocol::model::TerminalSize;
use onsembl_protocol::terminal::{Modes, Piece, SequenceKind, Sequences};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use title::Title;
use unicode_width::UnicodeWidthChar;

/// Ends whatever sequence the model is in.
const CANCEL: char = '\u{18}';
/// What a cell takes, in bytes, generously. A model keeps two screens.
const BYTES_OF_A_CELL: u64 = 2 * 32;
/// What a model takes beside its cells.
const BYTES_BESIDE: u64 = 8 * 1024;

/// The screen of one terminal.
pub struct Screen {
    terminal: avt::Terminal,
    size: TerminalSize,
    sequences: Sequences,
    decoder: Decoder,
    modes: Modes,
    title: Title,
    faults: u64,
    /// Kept between calls, so that nothing is allocated for each piece.
    text: String,
}

impl fmt::Debug for Screen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Screen").field("size", &self.size).finish_non_exhaustive()
    }
}

impl Screen {
    /// An empty screen.
    pub fn new(size: TerminalSize) -> Self {
        Self {
            terminal: fresh(size),
            size,
            sequences: Sequences::default(),
            decoder: Decoder::default(),
            modes: Modes::default(),
            title: Title::default(),
            faults: 0,
            text: String::new(),
        }
    }

    /// Memory that the screen of a terminal of this size takes at most, in bytes.
    pub fn bytes(size: TerminalSize) -> u64 {
        u64::from(size.columns()) * u64::from(size.rows()) * BYTES_OF_A_CELL + BYTES_BESIDE
    }

    /// Takes what the program wrote. Characters and sequences may be cut anywhere.
    pub fn feed(&mut self, bytes: &[u8]) {
        // What a program writes must not end who looks at it, whatever the model does.
        if catch_unwind(AssertUnwindSafe(|| self.interpret(bytes))).is_err() {
            *self = Self { faults: self.faults.saturating_add(1), ..Self::new(self.size) };
        }
    }

    /// The terminal got another size.
    pub fn resize(&mut self, size: TerminalSize) {
        let (columns, rows) = (usize::from(size.columns()), usize::from(size.rows()));
        let resized = catch_unwind(AssertUnwindSafe(|| self.terminal.resize(columns, rows)));
        self.size = size;
        if resized.is_err() {
            *self = Self { faults: self.faults.saturating_add(1), ..Self::new(size) };
        }
    }

    /// How often the model failed on what it was fed and began anew with an empty screen: a defect of the model.
    pub fn faults(&self) -> u64 {
        self.faults
    }

    /// Its size.
    pub fn size(&self) -> TerminalSize {
        self.size
    }

    /// The modes that the program switched.
    pub fn modes(&self) -> &Modes {
        &self.modes
    }

    /// Column and row of the cursor, from 1.
    pub fn cursor(&self) -> (u16, u16) {
        let cursor = self.terminal.cursor();
        let at = |position: usize, most: u16| {
            u16::try_from(position).unwrap_or(most).saturating_add(1).min(most)
        };
        (at(cursor.col, self.size.columns()), at(cursor.row, self.size.rows()))
    }

    /// What brings a fresh terminal of the same size to this screen: both screens, cursor, colours, scroll region,
    /// modes, title, and the beginning of what is not whole yet. A `Screen` that is fed with it continues exactly
    /// as this one does.
    pub fn dump(&self) -> Vec<u8> {
        let mut bytes = self.title.setting();
        bytes.extend_from_slice(&self.modes.setting());
        bytes.extend_from_slice(for_any_terminal(&self.terminal.dump()).as_bytes());
        bytes.extend_from_slice(self.decoder.pending());
        bytes.extend_from_slice(&self.sequences.pending());
        bytes
    }

    /// What it shows.
    pub fn look(&self) -> Look {
        Look::of(&self.terminal, self.size, self.title.text())
    }

    fn interpret(&mut self, bytes: &[u8]) {
        let columns = self.size.columns();
        let Self { terminal, sequences, decoder, modes, title, text, .. } = self;
        sequences.read(bytes, |piece| {
            if !matches!(piece, Piece::Plain(_)) {
                // A character that something interrupted.
                text.clear();
                decoder.finish(text);
                terminal.feed(text.as_str());
            }
            match piece {
                Piece::Plain(plain) => {
                    text.clear();
                    decoder.read(plain, text);
                    modes.read(plain);
                    text.retain(takes_a_place);
                    terminal.feed(text.as_str());
                }
                Piece::Sequence { kind, bytes, body } => match kind {
                    SequenceKind::Control if repeats_beyond(body, columns) => {
                        control(terminal, format!("\x1b[{columns}b").as_bytes());
                    }
                    SequenceKind::Escape | SequenceKind::Control => {
                        control(terminal, bytes);
                        switch(modes, kind, bytes, body);
                    }
                    SequenceKind::Command => title.command(body),
                    SequenceKind::Device | SequenceKind::Application | SequenceKind::Ignored => {}
                },
                // Control bytes in it have acted.
                Piece::Broken(bytes) => control(terminal, bytes),
                // Nothing of such a length changes a screen.
                Piece::Long { .. } | Piece::Rest(_) => {}
            }
        });
    }
}

fn fresh(size: TerminalSize) -> avt::Terminal {
    let (columns, rows) = (usize::from(size.columns()), usize::from(size.rows()));
    match avt::Terminal::new(columns, rows) {
        Ok(terminal) => terminal,
        // A size has a column and a row at least.
        Err(_) => unreachable!("{size} is a size"),
    }
}

/// Whether it repeats the last character more often than a row has columns. Some bytes would keep the model busy for
/// seconds.
fn repeats_beyond(body: &[u8], columns: u16) -> bool {
    let digits = body.strip_suffix(b"b").filter(|digits| digits.iter().all(u8::is_ascii_digit));
    let count = digits.and_then(|digits| std::str::from_utf8(digits).ok());
    // What is no number of that many digits is larger than any screen.
    count.is_some_and(|count| !count.is_empty() && count.parse().map_or(true, |n: u16| n > columns))
}

fn control(terminal: &mut avt::Terminal, bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        terminal.feed(text);
    }
    terminal.feed(CANCEL);
}

fn switch(modes: &mut Modes, kind: SequenceKind, bytes: &[u8], body: &[u8]) {
    if kind == SequenceKind::Control {
        modes.read(b"\x1b[");
        modes.read(body);
    } else {
        modes.read(bytes);
    }
    modes.read(&[0x18]);
}

/// The model prints what terminals pass over.
fn takes_a_place(character: char) -> bool {
    character != '\u{7f}' && character.width() != Some(0)
}

/// The model writes colours as `38:2:R:G:B`, which xterm.js reads as a colour space and two colours of three, and a
/// character that is repeated as `CSI b`, which tmux knows for ASCII only.
fn for_any_terminal(dump: &str) -> String {
    let mut rewritten = String::with_capacity(dump.len());
    let mut rest = dump;
    while let Some((before, behind)) = rest.split_once("\x1b[") {
        rewritten.push_str(before);
        let numbers = behind.find(|c: char| !matches!(c, '0'..='9' | ';' | ':'));
        let (numbers, others) = behind.split_at(numbers.unwrap_or(behind.len()));
        let repeated = others.strip_prefix('b').zip(before.chars().next_back());
        if let Some((others, character)) = repeated
            && let Ok(times) = numbers.parse::<u16>()
        {
            rewritten.extend(core::iter::repeat_n(character, usize::from(times)));
            rest = others;
            continue;
        }
        rewritten.push_str("\x1b[");
        if others.starts_with('m') {
            rewritten.extend(numbers.chars().map(|c| if c == ':' { ';' } else { c }));
        } else {
            rewritten.push_str(numbers);
        }
        rest = others;
    }
    rewritten.push_str(rest);
    rewritten
}

#[cfg(test)]
mod tests;
