//! How large a terminal is.

use core::fmt;

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
