//! What a screen shows at one moment, apart from how it came there.

use super::clusters::Clusters;
use avt::{Cell, Pen, ScreenKind, Terminal};
use onsembl_protocol::model::TerminalSize;
use std::fmt::Write;

/// What a screen shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Look {
    /// Its size.
    pub size: TerminalSize,
    /// Where the cursor is.
    pub cursor: Cursor,
    /// The title, as the program chose it, without control characters: at most 256 characters.
    pub title: Option<String>,
    /// Whether it is the other screen, which programs use that draw over all of it.
    pub alternate: bool,
    /// Each row, from the top.
    pub rows: Vec<Row>,
}

/// Where a cursor is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Cursor {
    /// From 1 to the number of columns, and one more behind the last character of a full row.
    pub column: u16,
    /// From 1.
    pub row: u16,
    /// Whether it is shown.
    pub shown: bool,
}

/// A row of a screen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its text, cut where the style changes.
    pub runs: Vec<Run>,
    /// The text continues in the next row: the line was too long for the screen.
    pub continues: bool,
}

/// Characters of one style.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// The characters; no control characters are among them.
    pub text: String,
    /// How they look.
    pub style: Style,
}

/// How a character looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
#[non_exhaustive]
pub struct Style {
    pub foreground: Option<Color>,
    pub background: Option<Color>,
    pub bold: bool,
    pub faint: bool,
    pub italic: bool,
    pub underline: bool,
    pub strikethrough: bool,
    pub blink: bool,
    pub inverse: bool,
}

/// A colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Color {
    /// Of the palette.
    Indexed(u8),
    /// Red, green and blue.
    Rgb(u8, u8, u8),
}

impl Look {
    pub(super) fn of(
        terminal: &Terminal,
        clusters: &Clusters,
        size: TerminalSize,
        title: Option<&str>,
    ) -> Self {
        let cursor = terminal.cursor();
        let from_one = |at: usize| u16::try_from(at).unwrap_or(u16::MAX).saturating_add(1);
        let rows = terminal.screen().visible_lines().map(|line| Row {
            runs: line
                .chunks(|one, next| one.pen() != next.pen())
                .map(|cells| run(&cells, clusters))
                .collect(),
            continues: line.is_wrapped(),
        });
        Self {
            size,
            cursor: Cursor {
                column: from_one(cursor.col),
                row: from_one(cursor.row),
                shown: cursor.visible,
            },
            title: title.map(str::to_owned),
            alternate: terminal.active_screen_kind() == ScreenKind::Alternate,
            rows: rows.collect(),
        }
    }

    /// The text, a line for each row, without spaces at the ends of rows and without empty rows at the bottom.
    pub fn text(&self) -> String {
        self.lines(Row::text)
    }

    /// The same with colours, as sequences that switch nothing else and end in the usual colours.
    pub fn ansi(&self) -> String {
        self.lines(Row::ansi)
    }

    fn lines(&self, of: impl Fn(&Row) -> String) -> String {
        let last = self.rows.iter().rposition(|row| !row.is_blank());
        let mut lines = String::new();
        for row in self.rows.iter().take(last.map_or(0, |last| last + 1)) {
            lines.push_str(&of(row));
            lines.push('\n');
        }
        lines
    }
}

impl Row {
    /// The text, without spaces at its end.
    pub fn text(&self) -> String {
        let text: String = self.runs.iter().map(|run| run.text.as_str()).collect();
        text.trim_end().to_owned()
    }

    fn is_blank(&self) -> bool {
        self.runs.iter().all(Run::is_blank)
    }

    fn ansi(&self) -> String {
        let mut text = String::new();
        let last = self.runs.iter().rposition(|run| !run.is_blank());
        let count = last.map_or(0, |last| last + 1);
        for (at, run) in self.runs.iter().take(count).enumerate() {
            let shown = match run.style == Style::default() && at + 1 == count {
                true => run.text.trim_end(),
                false => run.text.as_str(),
            };
            run.style.write(shown, &mut text);
        }
        text
    }
}

impl Run {
    fn is_blank(&self) -> bool {
        let is_seen = self.style.background.is_some()
            || self.style.inverse
            || self.style.underline
            || self.style.strikethrough;
        !is_seen && self.text.trim_end().is_empty()
    }
}

impl Style {
    fn write(&self, shown: &str, text: &mut String) {
        if *self == Self::default() {
            text.push_str(shown);
            return;
        }
        text.push_str("\x1b[0");
        let attributes = [
            (self.bold, 1),
            (self.faint, 2),
            (self.italic, 3),
            (self.underline, 4),
            (self.blink, 5),
            (self.inverse, 7),
            (self.strikethrough, 9),
        ];
        // Writing to a string does not fail.
        for (_, number) in attributes.into_iter().filter(|(on, _)| *on) {
            _ = write!(text, ";{number}");
        }
        for (color, base) in [(self.foreground, 38), (self.background, 48)] {
            _ = match color {
                None => Ok(()),
                Some(Color::Indexed(index)) => write!(text, ";{base};5;{index}"),
                Some(Color::Rgb(r, g, b)) => write!(text, ";{base};2;{r};{g};{b}"),
            };
        }
        _ = write!(text, "m{shown}\x1b[0m");
    }
}

fn run(cells: &[Cell], clusters: &Clusters) -> Run {
    let style = cells.first().map(|cell| style(cell.pen())).unwrap_or_default();
    let mut text = String::new();
    for cell in cells {
        clusters.expand(cell.char(), &mut text);
    }
    Run { text, style }
}

fn style(pen: &Pen) -> Style {
    Style {
        foreground: pen.foreground().map(color),
        background: pen.background().map(color),
        bold: pen.is_bold(),
        faint: pen.is_faint(),
        italic: pen.is_italic(),
        underline: pen.is_underline(),
        strikethrough: pen.is_strikethrough(),
        blink: pen.is_blink(),
        inverse: pen.is_inverse(),
    }
}

fn color(color: avt::Color) -> Color {
    match color {
        avt::Color::Indexed(index) => Color::Indexed(index),
        avt::Color::RGB(rgb) => Color::Rgb(rgb.r, rgb.g, rgb.b),
    }
}
