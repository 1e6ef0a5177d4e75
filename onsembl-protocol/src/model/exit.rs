//! How a process ended.

use core::fmt;

/// The end of a command's process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Exit {
    /// It exited with this code.
    Code(i32),
    /// This signal ended it.
    Signal(i32),
}

impl Exit {
    /// Whether it succeeded: code 0 and nothing else (P-97).
    pub const fn success(self) -> bool {
        matches!(self, Self::Code(0))
    }

    /// The end that two fields tell of, one for a code and one for a signal. A signal comes first (P-31).
    pub fn of_fields(code: Option<i32>, signal: Option<i32>) -> Option<Self> {
        signal.map(Self::Signal).or(code.map(Self::Code))
    }

    /// These two fields.
    pub const fn fields(exit: Option<Self>) -> (Option<i32>, Option<i32>) {
        match exit {
            Some(Self::Code(code)) => (Some(code), None),
            Some(Self::Signal(signal)) => (None, Some(signal)),
            None => (None, None),
        }
    }

    /// The code a shell would report: the exit code, or 128 and the signal's number.
    ///
    /// ```
    /// use onsembl_protocol::model::Exit;
    ///
    /// assert_eq!(Exit::Code(3).shell_code(), 3);
    /// assert_eq!(Exit::Signal(9).shell_code(), 137);
    /// ```
    pub const fn shell_code(self) -> i32 {
        match self {
            Self::Code(code) => code,
            Self::Signal(signal) => 128 + signal,
        }
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit code {code}"),
            Self::Signal(signal) => write!(f, "ended by signal {signal}"),
        }
    }
}
