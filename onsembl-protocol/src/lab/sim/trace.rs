//! Witnesses that only write down: the text of a run, and a number that stands for it.

use super::SECOND;
use crate::lab::fact::{Fact, When, Witness};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::{self, Write as _};

/// One line for each fact, with its times. For the run of one seed.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    /// The lines so far.
    pub lines: Vec<String>,
}

impl Witness for Trace {
    fn witness(&mut self, when: When, fact: &Fact) {
        let seconds = |nanos: u64| format!("{}.{:09}", nanos / SECOND, nanos % SECOND);
        let (world, local) = (seconds(when.world), seconds(when.local));
        self.lines.push(format!("{world:>16} {local:>18} {}  {fact:?}", when.wall));
    }
}

/// One number for a whole run: equal for equal runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digest(pub u64);

impl Default for Digest {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl fmt::Write for Digest {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        Ok(())
    }
}

impl Witness for Digest {
    fn witness(&mut self, when: When, fact: &Fact) {
        let _a_number_is_never_full = write!(self, "{when:?}{fact:?}");
    }
}

/// Two witnesses of one run.
impl<A: Witness, B: Witness> Witness for (A, B) {
    fn witness(&mut self, when: When, fact: &Fact) {
        self.0.witness(when, fact);
        self.1.witness(when, fact);
    }
}
