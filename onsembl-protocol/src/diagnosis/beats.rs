//! What a hop tracker tells its readers: in short, whenever it changes, and in full, when somebody asks.
//!
//! The short form stands in the view of an agent and with each logged presence, the full one in a status file and in
//! `why`. Names are of what they are about, and not of the end that tells: heartbeats of the agent and of the server,
//! directions to the agent and to the server.

use super::hop_tracker::{End, HopTracker, Trouble, Ways};
use super::ring::Whose;
use crate::id::BeatSequence;
use crate::model::{Cause, Confidence, Hop};
use crate::time::{Now, Timestamp, WallTime};
use alloc::borrow::ToOwned;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::time::Duration;
use serde::{Deserialize, Serialize};

/// What one end's hop tracker says, in short.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct BeatVerdict {
    /// Of the two directions of the link.
    pub ways: Ways,
    /// Where heartbeats stop, if they do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped: Option<BeatStop>,
}

/// Where heartbeats stop, in short.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say all")]
#[non_exhaustive]
pub struct BeatStop {
    /// The first hop that is missed.
    pub hop: Hop,
    pub cause: Cause,
    pub confidence: Confidence,
    /// When the first of them was at the hop before.
    pub since: WallTime,
}

impl BeatVerdict {
    /// Nothing is amiss.
    pub(crate) const WELL: Self = Self { ways: Ways::Both, stopped: None };

    /// Where the agent's heartbeats stop, if they do; of a direction of the network nothing is said here.
    #[must_use]
    pub(crate) fn stopped_at(&self) -> Option<Cause> {
        let cause = self.stopped?.cause;
        (cause != Cause::NetworkOneWay).then_some(cause)
    }

    /// What an agent tells its server, which cannot see it: its heartbeats stop at this hop, before they are written.
    #[must_use]
    pub fn for_server(&self) -> Option<Hop> {
        let stop = self.stopped?;
        let own = [Cause::HeartbeatNeverStarted, Cause::HeartbeatNotWritten];
        own.contains(&stop.cause).then_some(stop.hop)
    }
}

/// What one end's hop tracker says, in full.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct BeatReport {
    /// `both`, `to-server-lost`, `to-agent-lost` or `one-way-or-cut`.
    pub ways: String,
    /// How sure that is of a lost direction.
    pub ways_confidence: Option<Confidence>,
    /// When the last frame of the other end came.
    pub i_hear_you: String,
    /// When this end last learned that the other end saw a further heartbeat of it, as far as that is remembered.
    pub you_hear_me: Option<String>,
    /// Where heartbeats stop.
    pub trouble: Option<BeatTrouble>,
    /// How many heartbeats of the agent got to each hop, as far as this end sees it, in this session.
    pub agent_heartbeats: BTreeMap<Hop, u32>,
    /// The same of the server's.
    pub server_heartbeats: BTreeMap<Hop, u32>,
    /// The last heartbeat that missed each hop.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missed: Vec<MissedHop>,
    /// From written to answered, of the latest answered own heartbeat, in milliseconds. A server waits for its database
    /// before it answers.
    pub round_trip_ms: Option<u64>,
}

impl BeatReport {
    /// How many heartbeats of the agent got to each hop, in one line.
    #[must_use]
    pub fn hops_of_agent(&self) -> String {
        let counts = self.agent_heartbeats.iter().map(|(hop, count)| format!("{hop} {count}"));
        counts.collect::<Vec<String>>().join(", ")
    }
}

/// The hop at which heartbeats stop, with its cause and since when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say all")]
#[non_exhaustive]
pub struct BeatTrouble {
    /// The first hop that is missed.
    pub hop: Hop,
    pub cause: Cause,
    pub confidence: Confidence,
    /// The first heartbeat that missed it.
    pub sequence: BeatSequence,
    /// When that one was at the hop before.
    pub since: String,
    pub text: String,
}

/// The last time that a hop was missed in this session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say all")]
#[non_exhaustive]
pub struct MissedHop {
    /// `agent` or `server`.
    pub of: String,
    pub hop: Hop,
    pub sequence: BeatSequence,
    /// How long after the beginning of the session that was noticed, in seconds.
    pub after_s: u64,
}

impl HopTracker {
    /// What it says now, but for its causes and times: the owner of a session is told when this is something else.
    #[must_use]
    pub fn says(&self) -> (Ways, Option<(Whose, Hop)>) {
        // The cause follows from the hop and whose it is.
        (self.ways(), self.trouble().map(|trouble| (trouble.whose, trouble.hop)))
    }

    /// What it says now, in short.
    #[must_use]
    pub fn verdict(&self, now: Now) -> BeatVerdict {
        let stopped = self.trouble().zip(self.cause()).map(|(trouble, cause)| BeatStop {
            hop: trouble.hop,
            cause,
            confidence: trouble.confidence,
            since: wall(trouble.since, now),
        });
        BeatVerdict { ways: self.ways(), stopped }
    }

    /// What it says now, in full.
    #[must_use]
    pub fn report(&self, now: Now) -> BeatReport {
        let ways = self.ways().word(self.end());
        let ways_confidence = match self.ways() {
            Ways::Both | Ways::OneWayOrCut => None,
            Ways::OutwardLost(sure) => Some(sure),
        };
        let text = |at: Timestamp| wall(at, now).to_string();
        let trouble = self.trouble().zip(self.cause()).map(|(trouble, cause)| {
            let Trouble { hop, sequence, since, confidence, whose: _ } = trouble;
            let (since, told) = (text(since), cause.text().to_owned());
            BeatTrouble { hop, cause, confidence, sequence, since, text: told }
        });
        let (agents, servers) = match self.end() {
            End::Agent => (Whose::Own, Whose::Peers),
            End::Server => (Whose::Peers, Whose::Own),
        };
        let missed =
            [("agent", agents), ("server", servers)].into_iter().flat_map(|(of, whose)| {
                Hop::ALL.into_iter().filter_map(move |hop| {
                    let (sequence, after) = self.missed(whose, hop)?;
                    Some(MissedHop { of: of.to_owned(), hop, sequence, after_s: after.as_secs() })
                })
            });
        BeatReport {
            ways: ways.to_owned(),
            ways_confidence,
            i_hear_you: text(self.heard_at()),
            you_hear_me: self.confirmed_at().map(text),
            trouble,
            agent_heartbeats: self.counts(agents, End::Agent),
            server_heartbeats: self.counts(servers, End::Server),
            missed: missed.collect(),
            round_trip_ms: self.round_trips().last().map(|(_, trip)| millis(trip)),
        }
    }

    /// Of the server's heartbeats none is recorded.
    fn counts(&self, whose: Whose, of: End) -> BTreeMap<Hop, u32> {
        let is_seen = |hop: &Hop| whose.sees(*hop) && (of == End::Agent || *hop != Hop::Recorded);
        let count = |hop| (hop, self.passed(whose, hop));
        Hop::ALL.into_iter().filter(is_seen).map(count).collect()
    }
}

/// When something was that the hop tracker has, by the wall clock as it is now.
fn wall(at: Timestamp, now: Now) -> WallTime {
    let ago = i64::try_from(now.boot.saturating_since(at).as_millis()).unwrap_or(i64::MAX);
    WallTime::from_unix_millis(now.wall.unix_millis().saturating_sub(ago))
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
