//! How a command shows what came of it: `-o`.

use super::print;
use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use serde_json::Value;
use std::fmt::Display;

/// What is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Lines to read.
    Text,
    /// One JSON document.
    Json,
}

/// What every command takes of how to show things.
#[derive(Clone, Copy, Debug, Args)]
pub(super) struct View {
    /// Output format: text or json.
    #[arg(
        short,
        long,
        global = true,
        value_enum,
        default_value = "text",
        hide_possible_values = true,
        hide_default_value = true,
        value_name = "FORMAT",
        help_heading = "Output"
    )]
    output: Format,
}

impl View {
    /// The same as with `-o json` if a flag of the command says so.
    pub(super) fn or_json(self, json: bool) -> Self {
        if json { Self { output: Format::Json } } else { self }
    }

    pub(super) fn is_json(self) -> bool {
        self.output == Format::Json
    }

    /// These lines, or the same as JSON.
    pub(super) fn lines(
        self,
        lines: impl IntoIterator<Item = impl Display>,
        json: impl FnOnce() -> Value,
    ) -> Result<()> {
        let written = match self.output {
            Format::Text => print::lines(lines),
            Format::Json => print::json(&json().to_string()),
        };
        written.context("cannot write to standard output")
    }
}
