//! How a command shows what came of it: `-o`, `-q`, the width of the terminal, colours.

use super::print;
use super::table::Table;
use clap::{Args, ValueEnum};
use serde_json::Value;
use std::fmt::Display;

/// What is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For people: fits the terminal.
    Table,
    /// For people: all columns in full.
    Wide,
    /// One JSON document.
    Json,
    /// One JSON object per line.
    Jsonl,
    /// One name or id per line.
    Name,
}

/// What every command takes of how to show things.
#[derive(Clone, Copy, Debug, Args)]
pub(super) struct ViewArgs {
    /// Output format: table, wide (all columns in full), json, jsonl (one object per line) or name.
    #[arg(
        short,
        long,
        global = true,
        value_enum,
        value_name = "FORMAT",
        hide_possible_values = true,
        help_heading = "Output"
    )]
    output: Option<Format>,
    /// The same as -o json.
    #[arg(long, global = true, conflicts_with = "output", help_heading = "Output")]
    json: bool,
    /// Omit informational messages.
    #[arg(short, long, global = true, help_heading = "Output")]
    quiet: bool,
}

/// How this command shows things.
#[derive(Clone, Copy, Debug)]
pub(super) struct View {
    pub(super) format: Format,
    pub(super) quiet: bool,
    /// Columns of the terminal; `None` where nothing is to be fitted.
    columns: Option<usize>,
    colours: bool,
}

/// Whether a command also heeds `ONSEMBL_JSON`, as those do that knew `--json` from the beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum JsonVariable {
    Heeded,
    Ignored,
}

/// What is meant by a variable that is on or off.
pub(super) fn is_on(value: &str) -> bool {
    matches!(value.trim().to_ascii_lowercase().as_str(), "1" | "true" | "t" | "yes" | "y" | "on")
}

impl View {
    pub(super) fn new(args: ViewArgs, variable: JsonVariable) -> Self {
        let by_variable = || {
            let value = std::env::var("ONSEMBL_JSON");
            variable == JsonVariable::Heeded && value.is_ok_and(|value| is_on(&value))
        };
        let format = match (args.json, args.output) {
            (true, _) => Format::Json,
            (false, Some(format)) => format,
            (false, None) if by_variable() => Format::Json,
            (false, None) => Format::Table,
        };
        let is_terminal = print::is_terminal();
        let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let columns = || set("COLUMNS").and_then(|c| c.parse().ok()).or_else(print::columns);
        let is_plain = set("NO_COLOR").is_some() || set("TERM").is_some_and(|term| term == "dumb");
        Self {
            format,
            quiet: args.quiet,
            columns: if is_terminal { columns() } else { None },
            colours: is_terminal && !is_plain,
        }
    }

    /// Whether a program reads what is printed.
    pub(super) const fn is_json(self) -> bool {
        match self.format {
            Format::Json | Format::Jsonl => true,
            Format::Table | Format::Wide | Format::Name => false,
        }
    }

    /// How wide a table may be; `None`: as wide as it needs.
    pub(super) const fn columns(self) -> Option<usize> {
        match self.format {
            Format::Table => self.columns,
            Format::Wide | Format::Json | Format::Jsonl | Format::Name => None,
        }
    }

    pub(super) const fn colours(self) -> bool {
        self.colours
    }

    /// Prints a list, whose entries have this name in JSON. `named` is by which name or id other commands take an
    /// entry, `table` shows all of them.
    pub(super) fn list(
        self,
        name: &str,
        entries: &[Value],
        named: impl Fn(&Value) -> String,
        table: impl FnOnce() -> anyhow::Result<Shape>,
    ) -> anyhow::Result<()> {
        match self.format {
            Format::Json => {
                print::json(serde_json::json!({ "total": entries.len(), name: entries }))?;
            }
            Format::Jsonl => entries.iter().try_for_each(print::json)?,
            Format::Name => print::lines(entries.iter().map(named))?,
            Format::Table | Format::Wide => match table()? {
                Shape::Table(table) => print::table(&table.lines(self))?,
                Shape::Nothing(text) if self.quiet => drop(text),
                Shape::Nothing(text) => print::line(text)?,
            },
        }
        Ok(())
    }

    /// Prints one thing.
    pub(super) fn one(
        self,
        json: impl Display,
        name: &str,
        show: impl FnOnce() -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        match self.format {
            Format::Json | Format::Jsonl => Ok(print::json(json)?),
            Format::Name => Ok(print::line(name)?),
            Format::Table | Format::Wide => show(),
        }
    }

    /// The same of what was silent in earlier versions, and still is where no person looks.
    pub(super) fn done_for_people(
        self,
        json: &Value,
        name: &str,
        text: impl Display,
    ) -> anyhow::Result<()> {
        let quiet = self.quiet || !print::is_terminal();
        Self { quiet, ..self }.done(json, name, text)
    }

    /// Prints that something is done, to which this belongs. `text` says it to people, unless they do not want to know.
    pub(super) fn done(self, json: &Value, name: &str, text: impl Display) -> anyhow::Result<()> {
        self.one(json, name, || match self.quiet {
            true => Ok(()),
            false => Ok(print::line(text)?),
        })
    }
}

/// What a list looks like to people.
pub(super) enum Shape {
    Table(Table),
    /// There are no entries, and this is what to do about it.
    Nothing(String),
}

#[cfg(test)]
impl View {
    /// A terminal of this many columns, without colours.
    pub(super) const fn of_columns(columns: usize) -> Self {
        Self { format: Format::Table, quiet: false, columns: Some(columns), colours: false }
    }

    /// A pipe.
    pub(super) const fn of_pipe(format: Format) -> Self {
        Self { format, quiet: false, columns: None, colours: false }
    }

    pub(super) const fn in_colours(self) -> Self {
        Self { colours: true, ..self }
    }
}
