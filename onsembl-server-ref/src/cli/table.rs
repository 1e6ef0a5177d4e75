//! Tables for people: as wide as the terminal, one line for each row.

use super::view::View;
use comfy_table::{CellAlignment, Color, ColumnConstraint, ContentArrangement, Row};
use onsembl_protocol::shown::Shown;
use unicode_width::UnicodeWidthStr as _;

/// Columns between two columns.
const GAP: u16 = 2;
/// What a column that takes the rest gets at least, before spare columns go.
const LEAST_REST: usize = 14;

/// What happens to a column where the terminal is narrow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fit {
    /// It stays whole.
    Whole,
    /// It is cut to this many columns.
    AtMost(usize),
    /// It takes what the others leave, and is cut to that.
    Rest,
}

/// A column.
#[derive(Clone, Copy, Debug)]
pub(super) struct Column {
    head: &'static str,
    fit: Fit,
    /// It is left out where there is too little room; the last of them first.
    is_spare: bool,
}

impl Column {
    pub(super) const fn new(head: &'static str, fit: Fit) -> Self {
        Self { head, fit, is_spare: false }
    }

    pub(super) const fn spare(self) -> Self {
        Self { is_spare: true, ..self }
    }
}

/// What a cell means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Tone {
    #[default]
    Plain,
    Good,
    Warning,
    Bad,
    Dim,
}

/// A cell, escaped.
#[derive(Clone, Debug)]
pub(super) struct Cell {
    text: String,
    tone: Tone,
}

impl Cell {
    pub(super) fn new(text: impl std::fmt::Display) -> Self {
        Self { text: Shown::new(text).into(), tone: Tone::Plain }
    }

    pub(super) fn toned(self, tone: Tone) -> Self {
        Self { tone, ..self }
    }

    fn width(&self) -> usize {
        self.text.width()
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::new(text.into())
    }
}

/// Rows under a head.
#[derive(Clone, Debug)]
pub(super) struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    pub(super) fn new(columns: impl IntoIterator<Item = Column>) -> Self {
        Self { columns: columns.into_iter().collect(), rows: Vec::new() }
    }

    /// A row with a cell for each column.
    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = Cell>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// A line for each row, and for the head.
    pub(super) fn lines(&self, view: View) -> Vec<String> {
        let shown = self.shown(view.columns());
        let mut table = comfy_table::Table::new();
        let _ = table.load_style(comfy_table::presets::NOTHING).set_truncation_indicator("…");
        if view.colours() {
            let _ = table.enforce_styling();
        } else {
            let _ = table.force_no_tty();
        }
        let of = |cells: &mut dyn Iterator<Item = comfy_table::Cell>| {
            let mut row = Row::from(cells.collect::<Vec<_>>());
            let _ = row.max_height(1);
            row
        };
        let head = shown.iter().map(|(_, column)| comfy_table::Cell::new(column.head));
        let mut head =
            head.map(|cell| if view.colours() { cell.fg(Color::DarkGrey) } else { cell });
        let _ = table.set_header(of(&mut head));
        for row in &self.rows {
            let mut cells = shown.iter().filter_map(|(at, _)| row.get(*at)).map(styled);
            let _ = table.add_row(of(&mut cells));
        }
        match view.columns() {
            Some(columns) => {
                let columns = u16::try_from(columns).unwrap_or(u16::MAX);
                // Behind the last column is a gap that is not seen.
                let _ = table.set_content_arrangement(ContentArrangement::Dynamic);
                let _ = table.set_width(columns.saturating_add(GAP));
            }
            None => {
                let _ = table.set_content_arrangement(ContentArrangement::Disabled);
            }
        }
        for (column, (at, of)) in table.column_iter_mut().zip(&shown) {
            let _ = column.set_padding((0, GAP));
            // What is cut is cut anywhere, and not only between words.
            let _ = column.set_delimiter('\0');
            column.set_cell_alignment(CellAlignment::Left);
            let constraint = match (of.fit, view.columns()) {
                (Fit::Whole, _) | (_, None) => Some(ColumnConstraint::ContentWidth),
                (Fit::AtMost(most), Some(_)) => {
                    let width = self.width(*at).min(most);
                    let width = u16::try_from(width).unwrap_or(u16::MAX).saturating_add(GAP);
                    Some(ColumnConstraint::Absolute(comfy_table::Width::Fixed(width)))
                }
                (Fit::Rest, Some(_)) => None,
            };
            if let Some(constraint) = constraint {
                let _ = column.set_constraint(constraint);
            }
        }
        table.lines().map(|line| line.trim_end().to_owned()).collect()
    }

    /// As many columns as its widest cell has.
    fn width(&self, column: usize) -> usize {
        let head = self.columns.get(column).map_or(0, |column| column.head.len());
        let cells = self.rows.iter().filter_map(|row| row.get(column)).map(Cell::width);
        cells.max().unwrap_or_default().max(head)
    }

    /// The columns that have room, with their places.
    fn shown(&self, columns: Option<usize>) -> Vec<(usize, Column)> {
        let mut shown: Vec<_> = self.columns.iter().copied().enumerate().collect();
        let Some(columns) = columns else { return shown };
        let least = |&(at, column): &(usize, Column)| {
            let width = self.width(at);
            usize::from(GAP)
                + match column.fit {
                    Fit::Whole => width,
                    Fit::AtMost(most) => width.min(most),
                    Fit::Rest => width.min(LEAST_REST),
                }
        };
        while shown.iter().map(least).sum::<usize>() > columns + usize::from(GAP) {
            match shown.iter().rposition(|(_, column)| column.is_spare) {
                Some(last) => drop(shown.remove(last)),
                None => break,
            }
        }
        shown
    }
}

fn styled(cell: &Cell) -> comfy_table::Cell {
    let styled = comfy_table::Cell::new(&cell.text);
    match cell.tone {
        Tone::Plain => styled,
        Tone::Good => styled.fg(Color::Green),
        Tone::Warning => styled.fg(Color::Yellow),
        Tone::Bad => styled.fg(Color::Red),
        Tone::Dim => styled.fg(Color::DarkGrey),
    }
}

/// A text in one line of at most this many characters.
pub(super) fn short(text: &str, most: usize) -> String {
    let line = text.lines().next().unwrap_or_default();
    let cut = line.len() < text.trim_end().len() || line.chars().count() > most;
    let mut shown: String = line.chars().take(most).collect();
    if cut {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::super::view::Format;
    use super::*;

    fn table() -> Table {
        let columns = [
            Column::new("NAME", Fit::AtMost(30)),
            Column::new("STATUS", Fit::Whole),
            Column::new("BECAUSE", Fit::Rest),
        ];
        let mut table = Table::new(columns);
        let because = "the link to the agent is lost, and nobody knows yet whether it comes back";
        table.row(["a".repeat(30).into(), "online".into(), because.into()]);
        table.row(["漢字".repeat(8).into(), "offline".into(), "短い".repeat(30).into()]);
        table.row(["\u{1b}[31m".into(), "x".into(), "two\nlines".into()]);
        table
    }

    #[test]
    fn a_table_is_no_wider_than_its_terminal_and_its_rows_are_lines() {
        for columns in [60, 80, 81, 120, 200] {
            let lines = table().lines(View::of_columns(columns));
            assert_eq!(lines.len(), 4, "{lines:#?}");
            for line in &lines {
                assert!(line.width() <= columns, "{columns}: {} {line:?}", line.width());
                assert!(!line.contains('\u{1b}'), "{line:?}");
            }
        }
        let lines = table().lines(View::of_columns(80));
        assert!(lines[1].starts_with(&"a".repeat(30)) && lines[1].ends_with('…'), "{lines:#?}");
        assert!(lines[1].width() > 70, "all of the terminal is used: {lines:#?}");
        let at = |line: &str, of: &str| line.find(of).map(|at| line[..at].width());
        assert_eq!(at(&lines[1], "online"), at(&lines[2], "offline"), "{lines:#?}");
    }

    #[test]
    fn a_pipe_gets_everything_and_colours_only_a_terminal() {
        for format in [Format::Table, Format::Wide] {
            let lines = table().lines(View::of_pipe(format));
            assert!(lines[1].ends_with("comes back"), "{lines:#?}");
            assert!(lines[3].contains("\\u{1b}[31m") && lines[3].ends_with("two\\nlines"));
        }
        let mut toned = Table::new([Column::new("STATUS", Fit::Whole)]);
        toned.row([Cell::from("online").toned(Tone::Good)]);
        let coloured = toned.lines(View::of_columns(80).in_colours());
        assert!(coloured[1].contains("\u{1b}[") && coloured[1].contains("online"), "{coloured:?}");
        assert_eq!(toned.lines(View::of_columns(80))[1], "online");
    }

    #[test]
    fn a_spare_column_goes_before_the_others_become_unreadable() {
        let mut table = Table::new([
            Column::new("ID", Fit::Whole),
            Column::new("TEXT", Fit::Rest),
            Column::new("WHY", Fit::Rest).spare(),
        ]);
        table.row(["x".repeat(30).into(), "t".repeat(60).into(), "w".repeat(60).into()]);
        assert!(table.lines(View::of_columns(100))[0].contains("WHY"));
        assert!(!table.lines(View::of_columns(50))[0].contains("WHY"));
        assert!(table.lines(View::of_pipe(Format::Table))[0].contains("WHY"));
    }
}
