//! The way of a heartbeat, hop by hop, and what it means when it stops at one.

use super::cause::Cause;
use crate::text::Text;
use core::fmt;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A hop of a heartbeat on its way from the end that makes it to the other end and back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Hop {
    /// It is time for it.
    Due,
    /// The machine of the sender made it.
    Made,
    /// It stands in the queue to the connection.
    Queued,
    /// The connection took it.
    Written,
    /// It came off the connection at the other end.
    Received,
    /// The machine of the other end took it.
    Handled,
    /// The database holds it. Of the server's heartbeats none is recorded.
    Recorded,
    /// The other end wrote a heartbeat that tells of it.
    Answered,
    /// That one came.
    AnswerReceived,
}

impl Hop {
    /// Each of them, in order.
    pub const ALL: [Self; 9] = [
        Self::Due,
        Self::Made,
        Self::Queued,
        Self::Written,
        Self::Received,
        Self::Handled,
        Self::Recorded,
        Self::Answered,
        Self::AnswerReceived,
    ];

    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Due => "due",
            Self::Made => "made",
            Self::Queued => "queued",
            Self::Written => "written",
            Self::Received => "received",
            Self::Handled => "handled",
            Self::Recorded => "recorded",
            Self::Answered => "answered",
            Self::AnswerReceived => "answer-received",
        }
    }

    /// The hop of this word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|hop| hop.as_str() == word)
    }

    pub(crate) const fn index(self) -> usize {
        self as usize
    }

    /// The cause, if heartbeats of an agent do not get to this hop.
    pub(crate) const fn missed_by_agents_beat(self) -> Cause {
        match self {
            Self::Due | Self::Made => Cause::HeartbeatNeverStarted,
            Self::Queued | Self::Written => Cause::HeartbeatNotWritten,
            Self::Received => Cause::HeartbeatNotReceived,
            Self::Handled => Cause::HeartbeatNotHandled,
            Self::Recorded => Cause::HeartbeatNotRecorded,
            Self::Answered | Self::AnswerReceived => Cause::HeartbeatNotAnswered,
        }
    }

    /// The cause, if heartbeats of a server do not get to this hop. They are its answers too.
    pub(crate) const fn missed_by_servers_beat(self) -> Cause {
        match self {
            Self::Due | Self::Made | Self::Queued | Self::Written => Cause::HeartbeatNotAnswered,
            Self::Received
            | Self::Handled
            | Self::Recorded
            | Self::Answered
            | Self::AnswerReceived => Cause::NetworkOneWay,
        }
    }
}

impl fmt::Display for Hop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Hop {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Hop {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let word = Text::deserialize(d)?;
        Self::parse(&word).ok_or_else(|| D::Error::custom("no hop of a heartbeat has this name"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_hop_is_read_back() {
        for hop in Hop::ALL {
            assert_eq!(Hop::parse(hop.as_str()), Some(hop));
        }
        assert_eq!(Hop::parse("of-a-later-version"), None);
    }
}
