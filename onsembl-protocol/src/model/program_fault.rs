//! That the program of a terminal does not run: how its agent says so, and how a server reads it.

use crate::time::WallTime;
use alloc::borrow::ToOwned;
use alloc::string::String;
use core::fmt;
use core::time::Duration;
use serde_json::{Value, json};

/// Under which name `details` of an `AGENT_ERROR` has it (P-345).
const PROGRAM: &str = "program";

/// In it, that the program runs again; then there is no reason, and who does not know this reads nothing.
const RUNS: &str = "runs";

/// Most bytes of a name or a reason that are kept.
const MOST: usize = 512;

/// The program of a terminal cannot be started, ends as soon as it is, or was stopped by a signal.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
#[non_exhaustive]
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

    /// What an agent sends when a fault that it told of is over: this program runs again.
    pub(crate) fn over(program: &str) -> Value {
        json!({ PROGRAM: { "name": program, RUNS: true } })
    }

    /// Whether an agent says that.
    pub(crate) fn is_over(details: Option<&Value>) -> bool {
        let said = details.and_then(|details| details.get(PROGRAM)?.get(RUNS)?.as_bool());
        said == Some(true)
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
        write!(f, "the program of its terminal, {program}, is not running: {why}")
    }
}

/// A fault that was said at a time. It is said again while it lasts: at each attempt to start the program.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
#[non_exhaustive]
pub struct ToldFault {
    pub fault: ProgramFault,
    pub at: WallTime,
}

impl ToldFault {
    /// The attempts are half a minute apart at most, and a program that lived for ten seconds has no fault.
    const VALID_FOR: Duration = Duration::from_secs(60);

    /// The fault, if it is still valid.
    pub fn at(&self, now: WallTime) -> Option<&ProgramFault> {
        (now <= self.at.after(Self::VALID_FOR)).then_some(&self.fault)
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
        let over = ProgramFault::over("nosuch");
        assert!(ProgramFault::is_over(Some(&over)) && ProgramFault::read(Some(&over)).is_none());
        assert!(!ProgramFault::is_over(Some(&fault().details())) && !ProgramFault::is_over(None));
        let long = ProgramFault { why: "\u{e9}".repeat(MOST), ..fault() };
        let read = ProgramFault::read(Some(&long.details())).unwrap();
        assert_eq!(read.why.len(), MOST);
    }

    #[test]
    fn it_is_valid_as_long_as_it_is_said_again() {
        let told = ToldFault { fault: fault(), at: WallTime::default() };
        let after = |seconds| WallTime::default().after(Duration::from_secs(seconds));
        assert_eq!(told.at(after(60)), Some(&fault()));
        assert_eq!(told.at(after(61)), None);
    }
}
