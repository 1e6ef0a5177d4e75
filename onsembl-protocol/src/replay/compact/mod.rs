//! The compact form of events, origins and snapshots: fields in order, numbers as varints, no names.
//!
//! It is written and read by the same program, so it needs no version and tells no types.

mod read;
mod write;

pub(super) use read::Reader;
pub(super) use write::Writer;

use core::fmt;
use serde::{de, ser};
use thiserror::Error;

/// A value cannot be written or read in this form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(super) enum CompactError {
    /// There is no room for it, or it ends too early.
    #[error("the compact form ends in the middle of a value")]
    End,
    /// The value is of a kind that nothing recorded has.
    #[error("a value of a kind that the compact form does not have")]
    Kind,
    /// Its own type refused it.
    #[error("the compact form holds a value that its type does not allow")]
    Refused,
}

impl ser::Error for CompactError {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self::Refused
    }
}

impl de::Error for CompactError {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self::Refused
    }
}

/// Small numbers of either sign as small numbers.
const fn zigzag(n: i64) -> u64 {
    ((n << 1) ^ (n >> 63)) as u64
}

const fn unzigzag(n: u64) -> i64 {
    ((n >> 1) as i64) ^ -((n & 1) as i64)
}
