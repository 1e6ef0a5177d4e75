//! Why an agent is or was not there: the closed list of causes, each with its id, a sentence, and what to do.
//!
//! The ids stand on the wire, in the database, in `why` and in metrics, and are never renamed. Nothing here finds
//! a cause; that is done in the room `diagnosis`.

use crate::text::Text;
use core::fmt;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

macro_rules! causes {
    ($($name:ident = $id:literal, $text:literal, $action:literal;)*) => {
        /// Why an agent was away, or why its heartbeats fail.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Cause {
            $(#[doc = concat!("`", $id, "`: ", $text, ".")] $name,)*
        }

        impl Cause {
            /// Every cause, in the order of the documents.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// Its id, the same everywhere.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $id,)*
                }
            }

            /// What happened, for people.
            pub const fn text(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }

            /// What its reader can do about it.
            pub const fn action(self) -> &'static str {
                match self {
                    $(Self::$name => $action,)*
                }
            }
        }
    };
}

causes! {
    HeartbeatNeverStarted = "heartbeat-never-started",
        "the agent is running but made no heartbeat when one was due",
        "restart the agent; if it happens again, report it with `export`";
    HeartbeatNotWritten = "heartbeat-not-written",
        "heartbeats were made and are queued on the agent, not written to the connection",
        "check the load of the agent's machine, and its uplink; restart the agent";
    HeartbeatNotReceived = "heartbeat-not-received",
        "heartbeats were written by the agent and did not reach the server",
        "look for a proxy or firewall that delays or drops the agent's messages";
    HeartbeatNotHandled = "heartbeat-not-handled",
        "heartbeats reached the server and were not handled",
        "check the server's log and load; report it with `export`";
    HeartbeatNotRecorded = "heartbeat-not-recorded",
        "heartbeats reached the server and were not recorded in its database",
        "check the server's disk and database; the evidence has its error";
    HeartbeatNotAnswered = "heartbeat-not-answered",
        "heartbeats were recorded and not answered",
        "check the server's log and load; report it with `export`";

    AgentSlept = "agent-slept",
        "the agent's machine slept",
        "nothing; keep the machine awake if the agent must stay connected";
    AgentStalled = "agent-stalled",
        "the agent's process did not run for a while",
        "check what stopped or starved it: a debugger, an overloaded machine, a paused VM or container";
    AgentCrashed = "agent-crashed",
        "the agent's process crashed",
        "report the crash with the agent's log; run the agent under a service manager";
    AgentKilled = "agent-killed",
        "the agent's process ended without notice: it was killed, or crashed before it could log anything",
        "look for what kills processes on that machine, and for a core dump; run the agent under a service manager";
    AgentRestarted = "agent-restarted",
        "the agent was restarted",
        "nothing";
    AgentStopped = "agent-stopped",
        "the agent was stopped on its machine",
        "start it again when it is needed";
    AgentEndedByOrder = "agent-ended-by-order",
        "a remote order ended the agent (`control stop` or `control restart`)",
        "start it again when it is needed";
    AgentUpgraded = "agent-upgraded",
        "the agent was restarted with another version",
        "nothing";
    AgentDeleted = "agent-deleted",
        "the agent was deleted on the server",
        "to have it back, start it with a new token and a new state directory";

    HostRebooted = "host-rebooted",
        "the agent's machine was restarted",
        "start the agent at boot, for example by a systemd unit";
    HostOutOfMemory = "host-out-of-memory",
        "the agent's machine ran out of memory, and the agent was killed",
        "give the machine more memory, or limit the memory of the agent's commands";
    HostOutOfDescriptors = "host-out-of-descriptors",
        "the agent ran out of file descriptors",
        "raise the limit of open files of the agent";
    HostOutOfDisk = "host-out-of-disk",
        "the disk of the agent's state directory is full",
        "free space on that disk";
    ClockJump = "clock-jump",
        "the clock of the agent's machine was set to another time",
        "run a time service on that machine";

    NetworkChanged = "network-changed",
        "the agent's machine moved to another network",
        "nothing";
    NetworkCut = "network-cut",
        "the network between agent and server was interrupted in both directions",
        "see `why --all`: if agents of other networks dropped too, check the server's network, otherwise the agent's";
    NetworkOneWay = "network-one-way",
        "the network carried one direction only; the evidence names the one that was lost",
        "look for a firewall or proxy on the lost direction";
    NetworkOneWayOrCut = "network-one-way-or-cut",
        "nothing was received; whether one direction or both were lost cannot be determined from this end",
        "run `onsembl-agent doctor` on the agent's machine, or wait for its return";
    ConnectionCut = "connection-cut",
        "something between agent and server ended the connection; neither of the two did",
        "nothing if it happened once; else check the proxies, load balancers and firewalls in between, and their limits";

    NameResolution = "name-resolution",
        "the name of the server could not be resolved",
        "check the server's name and the resolver of the agent's machine";
    NoRoute = "no-route",
        "the agent's machine had no route to the server",
        "check network and VPN of the agent's machine";
    ConnectionRefused = "connection-refused",
        "nothing accepted connections at the server's address",
        "check that the server runs and that address and port are right";
    DialUnanswered = "dial-unanswered",
        "connections to the server's address were made, and requests over them were not answered",
        "look for what accepts connections there and does not forward them (load balancer, VPN, firewall), and whether the server hangs";
    Tls = "tls",
        "the TLS handshake failed; the evidence has the fault",
        "renew or correct the certificate, or trust its issuer with `--ca`";
    Proxy = "proxy",
        "a proxy did not let the agent through",
        "check the proxy's address and credentials, and whether it allows the server";
    Redirect = "redirect",
        "the server's address redirects to another one",
        "start the agent with the address in the evidence, if it is yours";
    MiddleboxAnswer = "middlebox-answer",
        "something other than the server answered at its address",
        "check the server URL, and for a login page or a proxy without WebSocket";
    MiddleboxIdleTimeout = "middlebox-idle-timeout",
        "something between agent and server cuts connections that are idle for the time in the evidence",
        "set `--heartbeat-interval` below that time, or raise it on the proxy";
    MiddleboxLifetime = "middlebox-lifetime",
        "something between agent and server ends each connection at the age in the evidence",
        "raise that limit on the proxy, or ignore it: the agent reconnects by itself";

    ServerRestarted = "server-restarted",
        "the server was restarted",
        "nothing; check the server's log if it was not intended";
    ServerStalled = "server-stalled",
        "the server itself did not run for a while",
        "check the load of the server's machine";
    ServerBusy = "server-busy",
        "the server could not accept the session and asked the agent to retry later",
        "check the server's load and database";
    ServerDrained = "server-drained",
        "the server was drained before it was stopped",
        "nothing";
    ServerMoved = "server-moved",
        "the agent was moved to another server",
        "nothing";

    TokenMissing = "token-missing",
        "the agent had no token; no server was contacted",
        "check the token file of the agent";
    TokenExpired = "token-expired",
        "the agent's token has expired",
        "give the agent a new token";
    TokenRevoked = "token-revoked",
        "the agent's token was revoked",
        "give the agent a new token, if it may come back";
    TokenWrongKind = "token-wrong-kind",
        "the token is not one for agents",
        "make a token with `onsembl-server token --agent`";
    TokenRefused = "token-refused",
        "the server does not accept the agent's token",
        "give the agent a token of this server";

    SecondInstance = "second-instance",
        "another process with the same identity took the agent's session",
        "stop one of the two, or give one a state directory of its own";
    InstancesEvictEachOther = "instances-evict-each-other",
        "two processes with one identity take the session from each other",
        "stop one of the two, or give one a state directory of its own";
    SlowConsumer = "slow-consumer",
        "the agent did not read its messages",
        "check the load of the agent's machine, and its downlink";
    ProtocolError = "protocol-error",
        "one end sent a message that the other does not understand",
        "bring both ends to the same version; look for a proxy that changes messages";

    Unknown = "unknown",
        "the evidence does not determine the cause",
        "run `onsembl-agent doctor` on the agent's machine";
}

impl Cause {
    /// The cause with this id. One that this version does not know is [`Unknown`](Self::Unknown).
    #[must_use]
    pub fn parse(id: &str) -> Self {
        Self::ALL.iter().copied().find(|cause| cause.as_str() == id).unwrap_or(Self::Unknown)
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Cause {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Cause {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Text::deserialize(d).map(|id| Self::parse(&id))
    }
}

/// How sure a statement is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Confidence {
    /// Of the causes that fit, the likeliest; others fit too.
    Low,
    /// One end recorded it, and nothing contradicts.
    Medium,
    /// Recorded by the end that did it or suffered it, or by both ends alike; no other cause fits.
    High,
}

impl Confidence {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
        }
    }
}

impl fmt::Display for Confidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeSet;

    #[test]
    fn each_cause_has_an_id_of_its_own_that_is_read_back() {
        let ids: BTreeSet<_> = Cause::ALL.iter().map(|cause| cause.as_str()).collect();
        assert_eq!(ids.len(), Cause::ALL.len());
        for cause in Cause::ALL {
            assert_eq!(Cause::parse(cause.as_str()), *cause);
            let plain = |c: char| c.is_ascii_lowercase() || c == '-';
            assert!(cause.as_str().chars().all(plain), "{cause}");
            assert!(!cause.text().ends_with('.') && !cause.action().is_empty(), "{cause}");
        }
        assert_eq!(Cause::parse("of-a-later-version"), Cause::Unknown);
    }
}
