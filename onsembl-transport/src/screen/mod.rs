//! The screen of a terminal, rebuilt from what its program wrote: what it shows, and a text that brings a fresh
//! terminal there. Both binaries use it: an agent to answer what programs ask, a server to show terminals.
//!
//! [`Screen`] interprets through the crate `avt`, the only model tried whose dump continues exactly. It has no
//! scrollback, so it takes as much memory as its size asks for, see [`Screen::bytes`].
//!
//! Known limits: widths are those of single characters, so that each part of an emoji that is joined, and each
//! colour of
//! skin, has cells of its own, and a selector of its form does not widen one; a character has 32 bytes of marks at
//! most, and a
//! screen 512 different ones that have any; a mark that comes after another colour was set gives its base that
//! colour. A
//! position that is asked for in origin mode is counted from the top of the screen; a character is repeated (`CSI n b`)
//! for one row at most.

mod clusters;
mod decoder;
mod look;
mod title;

pub use look::{Color, Cursor, Look, Row, Run, Style};

use clusters::{Clusters, Place, Room};
use decoder::Decoder;
use onsembl_protocol::model::TerminalSize;
use onsembl_protocol::terminal::{Modes, Piece, SequenceKind, Sequences};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;
use title::Title;

/// Ends whatever sequence the model is in.
const CANCEL: char = '\u{18}';
/// What a cell takes, in bytes, generously. A model keeps two screens.
const BYTES_OF_A_CELL: u64 = 2 * 32;
/// What a model takes beside its cells.
const BYTES_BESIDE: u64 = 8 * 1024;
/// Cells that are drawn between two looks at the clock, for each byte: some 10 ms of clearing a screen.
const CELLS_OF_A_PIECE: usize = 4 << 20;
/// Bytes between two looks at the clock, on the largest screen and on a small one.
const LEAST_PIECE: usize = 4;
const MOST_PIECE: usize = 4096;

/// The screen of one terminal.
///
/// ```
/// use onsembl_transport::protocol::model::TerminalSize;
/// use onsembl_transport::screen::Screen;
///
/// let mut screen = Screen::new(TerminalSize::new(20, 4).unwrap());
/// screen.feed(b"\x1b[1mhello\x1b[0m\r\nworld");
/// assert_eq!(screen.cursor(), (6, 2)); // behind the last letter
/// ```
pub struct Screen {
    terminal: avt::Terminal,
    size: TerminalSize,
    sequences: Sequences,
    decoder: Decoder,
    modes: Modes,
    title: Title,
    clusters: Clusters,
    inserting: Inserting,
    faults: u64,
    /// Kept between calls, so that nothing is allocated for each piece.
    text: String,
}

/// Whether what is printed shifts what stands behind it. The model does not say, and resets it where programs do not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Inserting {
    /// It is to be looked up.
    #[default]
    Unknown,
    On,
    Off,
}

impl Inserting {
    fn look_up(&mut self, terminal: &avt::Terminal, modes: &Modes) -> bool {
        if *self == Self::Unknown {
            // A program that never switched it on does not pay for a dump.
            let is_on = modes.inserts() && terminal.dump().contains("\x1b[4h");
            *self = if is_on { Self::On } else { Self::Off };
        }
        *self == Self::On
    }
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
            clusters: Clusters::default(),
            inserting: Inserting::default(),
            faults: 0,
            text: String::new(),
        }
    }

    /// Memory that the screen of a terminal of this size takes at most, in bytes.
    pub fn bytes(size: TerminalSize) -> u64 {
        u64::from(size.columns()) * u64::from(size.rows()) * BYTES_OF_A_CELL
            + BYTES_BESIDE
            + Clusters::BYTES
    }

    /// Takes what the program wrote. Characters and sequences may be cut anywhere.
    pub fn feed(&mut self, bytes: &[u8]) {
        // What a program writes must not end who looks at it, whatever the model does.
        if catch_unwind(AssertUnwindSafe(|| self.interpret(bytes))).is_err() {
            *self = Self { faults: self.faults.saturating_add(1), ..Self::new(self.size) };
        }
    }

    /// Takes what the program wrote until it is this late, and at least a little. Gives how many bytes it took: what is
    /// left is for the next call.
    pub fn feed_until(&mut self, bytes: &[u8], until: Instant) -> usize {
        let most = self.piece();
        let mut left = bytes;
        while !left.is_empty() {
            let (piece, rest) = left.split_at(most.min(left.len()));
            self.feed(piece);
            left = rest;
            if Instant::now() >= until {
                break;
            }
        }
        bytes.len() - left.len()
    }

    /// Bytes between two looks at the clock. Two of them can clear the whole screen.
    fn piece(&self) -> usize {
        let cells = usize::from(self.size.columns()) * usize::from(self.size.rows());
        (CELLS_OF_A_PIECE / cells.max(1)).clamp(LEAST_PIECE, MOST_PIECE)
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

    /// How often the model failed on what it was fed and began again with an empty screen: a defect of the model.
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
        let mut text = String::new();
        for character in for_any_terminal(&self.terminal.dump()).chars() {
            self.clusters.expand(character, &mut text);
        }
        bytes.extend_from_slice(text.as_bytes());
        bytes.extend_from_slice(self.decoder.pending());
        bytes.extend_from_slice(&self.sequences.pending());
        bytes
    }

    /// What it shows.
    pub fn look(&self) -> Look {
        Look::of(&self.terminal, &self.clusters, self.size, self.title.text())
    }

    fn interpret(&mut self, bytes: &[u8]) {
        let columns = self.size.columns();
        let Self { terminal, sequences, decoder, modes, title, clusters, inserting, text, .. } =
            self;
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
                    print(terminal, clusters, (&mut *inserting, &*modes), text);
                }
                Piece::Sequence { kind, bytes, body } => match kind {
                    SequenceKind::Control if repeats_beyond(body, columns) => {
                        control(terminal, format!("\x1b[{columns}b").as_bytes());
                    }
                    SequenceKind::Escape | SequenceKind::Control => {
                        control(terminal, bytes);
                        switch(modes, kind, bytes, body);
                        if matches!(bytes.last(), Some(b'h' | b'l' | b'p' | b'c')) {
                            *inserting = Inserting::Unknown;
                        }
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

/// Prints a text; what is a mark goes to the character before it.
fn print(
    terminal: &mut avt::Terminal,
    clusters: &mut Clusters,
    (inserting, modes): (&mut Inserting, &Modes),
    text: &str,
) {
    let mut plain = String::new();
    for character in text.chars() {
        match Place::of(character) {
            Place::Own => plain.push(clusters.own(character)),
            Place::Mark => {
                terminal.feed(plain.as_str());
                plain.clear();
                if clusters.room() == Room::LookAgain {
                    clusters.keep(&terminal.dump());
                }
                let inserts = inserting.look_up(terminal, modes);
                mark(terminal, clusters, inserts, character);
            }
            Place::None => {}
        }
    }
    terminal.feed(plain.as_str());
}

/// Puts a mark on the character before the cursor, by printing what stands for both in its place. Without one there
/// it is
/// left out.
fn mark(terminal: &mut avt::Terminal, clusters: &mut Clusters, inserts: bool, mark: char) {
    let cursor = terminal.cursor();
    let row = terminal.screen().visible_lines().nth(cursor.row);
    let cells = row.map(avt::Line::cells).unwrap_or_default();
    let before = |columns: usize| {
        let at = cursor.col.checked_sub(columns)?;
        cells.get(at).map(|cell| (at, *cell))
    };
    // The second half of a wide one has no width.
    let found = match before(1) {
        Some((_, half)) if half.width() == 0 => before(2),
        found => found,
    };
    let Some((at, cell)) = found else { return };
    let Some(marked) = clusters.with_mark(cell.char(), mark) else { return };
    let column = at.saturating_add(1);
    let (off, on) = if inserts { ("\x1b[4l", "\x1b[4h") } else { ("", "") };
    terminal.feed(format!("{off}\x1b[{column}G{marked}{on}").as_str());
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
    // Anything but a number of that many digits is larger than any screen.
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
