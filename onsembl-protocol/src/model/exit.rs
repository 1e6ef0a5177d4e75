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
