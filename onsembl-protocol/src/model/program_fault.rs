//! That the program of a terminal does not run: how its agent says so, and how a server reads it.

use crate::time::WallTime;
use alloc::borrow::ToOwned;
use alloc::string::String;
use core::fmt;
use core::time::Duration;
use serde_json::{Value, json};

/// Under which name `details` of an `AGENT_ERROR` has it (P-345).
const PROGRAM: &str = "program";

/// Most bytes of a name or a reason that are kept.
const MOST: usize = 512;

/// The program of a terminal cannot be started, or ends as soon as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
pub struct ProgramFault {
    pub program: String,
    /// What the system says, or how it ended.
    pub why: String,
}

impl ProgramFault {
    /// What an agent sends.
    pub(crate) fn details(&self) -> Value {
        json!({ PROGRAM: { "name": self.program, "why": self.why } })
    }

    /// What a server reads. A peer chose the texts; they are cut.
    pub(crate) fn read(details: Option<&Value>) -> Option<Self> {
        let said = details?.get(PROGRAM)?;
        let text = |name: &str| {
            let text = said.get(name)?.as_str()?;
            text.get(..text.floor_char_boundary(MOST)).map(ToOwned::to_owned)
        };
        Some(Self { program: text("name")?, why: text("why")? })
    }
}

impl fmt::Display for ProgramFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (program, why) = (self.program.escape_debug(), self.why.escape_debug());
        write!(f, "the program of its terminal, {program}, does not run: {why}")
    }
}

/// A fault that was said at a time. It is said again while it lasts: at each attempt to start the program.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
pub struct ToldFault {
    pub fault: ProgramFault,
    pub at: WallTime,
}

impl ToldFault {
    /// The attempts are half a minute apart at most, and a program that lived for ten seconds has no fault.
    const HOLDS_FOR: Duration = Duration::from_secs(60);

    /// The fault, if it still holds.
    pub fn at(&self, now: WallTime) -> Option<&ProgramFault> {
        (now <= self.at.after(Self::HOLDS_FOR)).then_some(&self.fault)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault() -> ProgramFault {
        ProgramFault { program: "nosuch".to_owned(), why: "No such file".to_owned() }
    }

    #[test]
    fn what_is_said_is_read_and_nothing_else_is() {
        assert_eq!(ProgramFault::read(Some(&fault().details())), Some(fault()));
        assert_eq!(ProgramFault::read(None), None);
        for odd in [json!({}), json!({ "stoppedAt": "due" }), json!({ "program": { "name": 1 } })] {
            assert_eq!(ProgramFault::read(Some(&odd)), None, "{odd}");
        }
        let long = ProgramFault { why: "\u{e9}".repeat(MOST), ..fault() };
        let read = ProgramFault::read(Some(&long.details())).unwrap();
        assert_eq!(read.why.len(), MOST);
    }

    #[test]
    fn it_holds_as_long_as_it_is_said_again() {
        let told = ToldFault { fault: fault(), at: WallTime::default() };
        let after = |seconds| WallTime::default().after(Duration::from_secs(seconds));
        assert_eq!(told.at(after(60)), Some(&fault()));
        assert_eq!(told.at(after(61)), None);
    }
}
