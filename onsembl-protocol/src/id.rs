//! Identifiers. Each is a type of its own, so that one can never be passed for another.
//!
//! Ids that travel are opaque strings, because existing peers mint them in many shapes
//! (`cmd-<ms>-<rand>`, `claude-<base36>`, UUIDs). Numbers are counters of ours.
//!
//! `as_str` is the id; `Display` is what people may see of it. Nothing is compared, stored or sent by `Display`.
//!
//! Tier 0 of the [crate](crate#what-is-public-in-tiers): the ground.

use crate::shown::Shown;
use crate::text::Text;
use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::sync::Arc;
use core::fmt;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Characters that are shown of an id: as many as one has bytes at most, by [`Limits`](crate::limits::Limits).
const LONGEST_SHOWN: usize = 256;

macro_rules! text_id {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            #[doc = concat!("Takes `text` as a [`", stringify!($name), "`], whatever it holds.")]
            pub fn new(text: impl AsRef<str>) -> Self {
                Self(Arc::from(text.as_ref()))
            }

            /// The text of the id.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                Text::deserialize(d).map(Self::new)
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                Self(Arc::from(text))
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0.as_ref().to_owned()
            }
        }

        /// For people: escaped and bounded, see [`Shown`].
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&Shown::new(&self.0).within(LONGEST_SHOWN), f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }
    )*};
}

text_id! {
    /// An agent as the server knows it. Minted by the server (a UUID), learned by the agent from
    /// the acknowledgement of its hello.
    AgentId;
    /// One emergency stop. Minted by the server.
    StopId;
    /// What makes an agent the same agent in every session: a stable key from its state directory,
    /// or what stands in for one when the agent is a legacy wrapper. Unique per user.
    AgentKey;
    /// One run of an agent process. A second process of the same agent has another instance.
    InstanceId;
    /// The owner of agents and commands: the `sub` of a token.
    UserId;
    /// A token, by what may be said of it: not secret.
    TokenId;
    /// The tokens that succeed one another, of which each but the first is the renewal of an earlier one.
    LineageId;
    /// A command, as named by the client that asked for it. Unique per user.
    CommandId;
    /// The `id` of an envelope. Opaque and not unique in the field; never used to tell duplicates.
    MessageId;
    /// One authenticated session of one agent, minted by the server.
    SessionId;
    /// One run of a server process.
    ServerInstanceId;
    /// One journal of an agent: everything since it was begun is in it, or was never started. An
    /// agent that lost its journal, or a part of it, begins another.
    JournalId;
    /// What the processes of one run of one command bear in their environment, and hand down.
    RunMark;
    /// One hold of the keyboard of a terminal by a dashboard. Minted by the server.
    HoldId;
}

macro_rules! number_id {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(pub u64);

        impl $name {
            /// The one after this.
            #[must_use]
            pub const fn next(self) -> Self {
                Self(self.0.saturating_add(1))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    )*};
}

number_id! {
    /// The generation of a link: each dialled or accepted link of a process gets the next one, and
    /// an event that names an old generation changes nothing.
    LinkId;
    /// Grows in the database with each session of an agent; the newest wins.
    Epoch;
    /// Grows with each published change of one agent's presence; a reader never goes back.
    PresenceVersion;
    /// Numbers the heartbeats of one direction of one session, from 1.
    BeatSequence;
    /// Numbers the output chunks of one command over all its streams, from 1.
    ChunkSequence;
    /// A position in an output stream, in bytes from its start.
    ByteOffset;
    /// Numbers what is typed under one hold of a keyboard, from 1.
    InputSequence;
    /// A link of a dashboard, numbered by the server that serves it: another one for each link of one run of a server.
    DashboardId;
    /// One registration of a node of a cluster, numbered by the database: a node that was taken for dead registers again,
    /// under another one.
    NodeRun;
    /// Tells the process that produced an output stream from any other that ran under the same
    /// command id. Our agent takes the wall time of the start, in milliseconds.
    Incarnation;
}

impl Epoch {
    /// The epoch that a store grants next to an agent whose latest stored presence has this version: greater than this
    /// one, and so great that no version of an earlier epoch reaches its [versions](PresenceVersion::base_of), whether
    /// it was stored or only published (PROTOCOL.md, P-62).
    #[must_use]
    pub const fn next_above(self, stored: PresenceVersion) -> Self {
        let reached = stored.0.saturating_add(PresenceVersion::UNSTORED) >> PresenceVersion::BITS;
        Self(if self.0 < reached { reached } else { self.0 }).next()
    }
}

impl PresenceVersion {
    /// Bits of the number within an epoch.
    const BITS: u32 = 20;
    /// More presences of an agent than are published and not stored at any moment. Half of an epoch: the versions of one
    /// that came to its end may continue into the next one.
    const UNSTORED: u64 = 1 << (Self::BITS - 1);
    /// The greatest integer that every reader holds exactly, those that have only floating-point numbers too.
    const GREATEST: u64 = (1 << 53) - 1;

    /// What all versions of an epoch are greater than. Epochs from 2^33 on have none of their own.
    #[must_use]
    pub const fn base_of(epoch: Epoch) -> Self {
        let last = Self::GREATEST >> Self::BITS;
        Self(if epoch.0 < last { epoch.0 } else { last } << Self::BITS)
    }

    /// The version of the presence after this one, if that is of this epoch.
    #[must_use]
    pub const fn next_in(self, epoch: Epoch) -> Self {
        let base = Self::base_of(epoch);
        let next = if self.0 < base.0 { base.next() } else { self.next() };
        Self(if next.0 < Self::GREATEST { next.0 } else { Self::GREATEST })
    }

    /// This version of a machine that counted from zero because its epoch was not granted yet, counted in that epoch.
    #[must_use]
    pub(crate) const fn counted_above(self, base: Self) -> Self {
        if self.0 < base.0 { Self(base.0.saturating_add(self.0)) } else { self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNSTORED: u64 = 1 << 19;

    #[test]
    fn an_epoch_begins_above_all_that_was_published_before_it() {
        for epoch in [1, 2, 7, 1 << 20, (1 << 33) - 3] {
            let base = epoch << 20;
            for stored in
                [0, base - 1, base + 1, base + UNSTORED - 1, base + UNSTORED, base + (1 << 20) + 5]
            {
                for unstored in [0, 1, UNSTORED - 1] {
                    let published = stored.max(base) + unstored;
                    let next = Epoch(epoch).next_above(PresenceVersion(stored));
                    assert!(next > Epoch(epoch) && next.0 <= epoch + 3, "{epoch} {stored} {next}");
                    assert!(
                        PresenceVersion::base_of(next).0 > published,
                        "{epoch} {stored} {unstored}"
                    );
                }
            }
        }
        assert_eq!(Epoch(3).next_above(PresenceVersion((3 << 20) + 4)), Epoch(4));
    }

    #[test]
    fn versions_are_numbered_within_their_epoch_and_stay_exact_for_every_reader() {
        let first = PresenceVersion(0).next_in(Epoch(0));
        assert_eq!(first, PresenceVersion(1));
        assert_eq!(first.next_in(Epoch(1)), PresenceVersion((1 << 20) + 1));
        assert_eq!(
            PresenceVersion((1 << 20) + 1).next_in(Epoch(1)),
            PresenceVersion((1 << 20) + 2)
        );
        // At the end of the number the epoch is raised.
        assert_eq!(PresenceVersion((2 << 20) - 1).next_in(Epoch(1)), PresenceVersion(2 << 20));
        for epoch in [(1 << 33) - 1, 1 << 33, u64::MAX] {
            let base = PresenceVersion::base_of(Epoch(epoch));
            assert_eq!(base.0, ((1 << 33) - 1) << 20);
            assert!(base.next_in(Epoch(epoch)) > base);
        }
        let greatest = PresenceVersion((1 << 53) - 1);
        assert_eq!(greatest.next_in(Epoch(1)), greatest);
    }
}
