//! Terminals: their ids, and how large they are.

use crate::id::{AgentId, ByteOffset, CommandId, Incarnation};
use alloc::format;
use core::fmt;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// How the id of a terminal begins. Ids that begin so are minted by agents; no one else may ask for
/// a command under one.
pub const TERMINAL_PREFIX: &str = "terminal-";

impl CommandId {
    /// The id of a terminal. `unique` tells it from every other of its user.
    pub fn of_terminal(unique: impl fmt::Display) -> Self {
        Self::new(format!("{TERMINAL_PREFIX}{unique}"))
    }

    /// How the id begins under which legacy peers know what an agent writes beside its commands.
    pub(crate) const SESSION_PREFIX: &str = "agent-session-";

    /// Where legacy dashboards show what an agent writes beside its commands (P-168).
    pub(crate) fn of_session(agent: &AgentId) -> Self {
        Self::new(format!("{}{}", Self::SESSION_PREFIX, agent.as_str()))
    }

    /// Whether it names a terminal.
    pub fn is_terminal(&self) -> bool {
        self.as_str().starts_with(TERMINAL_PREFIX)
    }
}

/// Columns and rows of a terminal, each from 1 to [`MOST`](Self::MOST).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TerminalSize {
    columns: u16,
    rows: u16,
}

impl TerminalSize {
    /// Most columns, and most rows: no screen has more, and some programs allocate by it.
    pub const MOST: u16 = 1000;
    /// 80 columns and 24 rows, as terminals have had since the VT100.
    pub const DEFAULT: Self = Self { columns: 80, rows: 24 };

    /// A size; `None` outside of the range.
    pub const fn new(columns: u64, rows: u64) -> Option<Self> {
        let most = Self::MOST as u64;
        if columns == 0 || columns > most || rows == 0 || rows > most {
            return None;
        }
        Some(Self { columns: columns as u16, rows: rows as u16 })
    }

    /// Reads `COLUMNSxROWS`, as `120x40`.
    pub fn parse(text: &str) -> Option<Self> {
        let (columns, rows) = text.split_once(['x', 'X'])?;
        Self::new(columns.trim().parse().ok()?, rows.trim().parse().ok()?)
    }

    /// Columns.
    pub const fn columns(self) -> u16 {
        self.columns
    }

    /// Rows.
    pub const fn rows(self) -> u16 {
        self.rows
    }
}

impl fmt::Display for TerminalSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.columns, self.rows)
    }
}

/// From where in the output of a terminal it has a size. It stands among the bytes and takes none of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SizeRecord {
    /// The run of its program.
    pub incarnation: Incarnation,
    /// The first byte that was written at this size, or behind it.
    pub offset: ByteOffset,
    /// How large it is from there.
    pub size: TerminalSize,
}

#[derive(Serialize, Deserialize)]
struct Raw {
    columns: u64,
    rows: u64,
}

impl Serialize for TerminalSize {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        Raw { columns: self.columns().into(), rows: self.rows().into() }.serialize(s)
    }
}

impl<'de> Deserialize<'de> for TerminalSize {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let Raw { columns, rows } = Raw::deserialize(d)?;
        Self::new(columns, rows).ok_or_else(|| {
            serde::de::Error::custom("a terminal has from 1 to 1000 columns and rows")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn a_size_is_read_as_it_is_written_and_nothing_outside_of_the_range_is_one() {
        let size = TerminalSize::parse("120x40").unwrap();
        assert_eq!((size.columns(), size.rows()), (120, 40));
        assert_eq!(TerminalSize::parse(&size.to_string()), Some(size));
        assert!(TerminalSize::new(1000, 1).is_some());
        for odd in ["", "x", "120", "0x40", "120x0", "1001x40", "120x1001", "-1x2", "1x2x3"] {
            assert_eq!(TerminalSize::parse(odd), None, "{odd}");
        }
    }
}
