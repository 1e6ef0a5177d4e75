//! What programs write for other programs, one JSON object a line: `claude -p --output-format stream-json`,
//! `codex exec --json`, `gemini -o stream-json`.

use super::fact::{Fact, ToolUser};
use alloc::vec::Vec;
use serde::Deserialize;

/// Longest line that is read; the type of a longer one is unknown, and it counts as none.
const MOST_LINE: usize = 256 * 1024;

/// Whose structured output it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
pub enum StreamFormat {
    Claude,
    Codex,
    Gemini,
}

impl StreamFormat {
    /// Reads `claude`, `codex` or `gemini`.
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "claude" => Some(Self::Claude),
            "codex" => Some(Self::Codex),
            "gemini" => Some(Self::Gemini),
            _ => None,
        }
    }

    fn fact(self, event: &Event<'_>) -> Option<Fact> {
        let (kind, tool) = (&*event.kind, Fact::ToolUsed(ToolUser::Agent));
        match (self, kind) {
            (Self::Claude, "system") => {
                let is_start = event.subtype.as_deref() == Some("init");
                is_start.then_some(Fact::PromptSubmitted)
            }
            (Self::Claude, "assistant" | "user") => Some(tool),
            (Self::Claude, "result") => Some(Fact::TurnEnded),
            (Self::Codex, "thread.started") => Some(Fact::SessionStarted),
            (Self::Codex, "turn.started") => Some(Fact::PromptSubmitted),
            (Self::Codex, "item.started" | "item.updated" | "item.completed") => Some(tool),
            (Self::Codex, "turn.completed" | "turn.failed") => Some(Fact::TurnEnded),
            (Self::Gemini, "init") => Some(Fact::SessionStarted),
            (Self::Gemini, "message") if event.role.as_deref() == Some("user") => {
                Some(Fact::PromptSubmitted)
            }
            (Self::Gemini, "message" | "tool_use" | "tool_result") => Some(tool),
            (Self::Gemini, "result") => Some(Fact::TurnEnded),
            (Self::Claude | Self::Codex | Self::Gemini, _) => None,
        }
    }
}

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow, rename = "type")]
    kind: crate::text::Text<'a>,
    #[serde(borrow, default)]
    subtype: Option<crate::text::Text<'a>>,
    #[serde(borrow, default)]
    role: Option<crate::text::Text<'a>>,
}

/// Reads such a stream, wherever it is cut.
#[derive(Debug)]
pub(super) struct StreamReader {
    format: StreamFormat,
    line: Vec<u8>,
    part: Part,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Kept,
    /// The line is too long.
    Passed,
}

impl StreamReader {
    pub(super) const fn new(format: StreamFormat) -> Self {
        Self { format, line: Vec::new(), part: Part::Kept }
    }

    /// The facts in what follows in the stream.
    pub(super) fn read(&mut self, bytes: &[u8]) -> Vec<Fact> {
        let mut facts = Vec::new();
        let mut lines = bytes.split(|byte| *byte == b'\n');
        self.keep(lines.next().unwrap_or_default());
        for rest in lines {
            facts.extend(self.end_line());
            self.keep(rest);
        }
        facts
    }

    fn keep(&mut self, bytes: &[u8]) {
        if self.line.len().saturating_add(bytes.len()) > MOST_LINE {
            (self.line, self.part) = (Vec::new(), Part::Passed);
        }
        match self.part {
            Part::Kept => self.line.extend_from_slice(bytes),
            Part::Passed => {}
        }
    }

    fn end_line(&mut self) -> Option<Fact> {
        let line = core::mem::take(&mut self.line);
        match core::mem::replace(&mut self.part, Part::Kept) {
            // Programs write warnings between, which are no JSON.
            Part::Kept => self.format.fact(&serde_json::from_slice(&line).ok()?),
            Part::Passed => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_is_too_long_is_passed_over_and_the_next_is_read() {
        let mut reader = StreamReader::new(StreamFormat::Claude);
        assert_eq!(reader.read(b"{\"type\":\"assistant\",\"x\":\""), []);
        for _ in 0..1000 {
            assert_eq!(reader.read(&[b'x'; 1000]), []);
            assert!(reader.line.len() <= MOST_LINE);
        }
        assert_eq!(reader.read(b"\"}\n{\"type\":\"result\"}\n"), [Fact::TurnEnded]);
    }

    #[test]
    fn what_is_no_event_is_none() {
        let mut reader = StreamReader::new(StreamFormat::Codex);
        let odd = b"warning: x\n{}\n[]\n7\n{\"type\":7}\n{\"type\":\"error\"}\n\n\xff\n";
        assert_eq!(reader.read(odd), []);
    }
}
