//! What a received frame was, for people: its type and its size, never its content.

use crate::wire::MessageSet;
use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};

/// Every word there is for a frame. The types of both directions, and three that are no types. A
/// recording names nothing else, so no text of a peer gets into it.
const KINDS: [&str; 37] = [
    "unknown",
    "undecodable",
    "control",
    "AGENT_CONNECT",
    "AGENT_HEARTBEAT",
    "AGENT_ERROR",
    "COMMAND_ACK",
    "COMMAND_COMPLETE",
    "TERMINAL_OUTPUT",
    "TRACE_EVENT",
    "INVESTIGATION_REPORT",
    "PING",
    "PONG",
    "ACK",
    "ERROR",
    "SERVER_HEARTBEAT",
    "COMMAND_REQUEST",
    "COMMAND_CANCEL",
    "OUTPUT_ACK",
    "AGENT_CONTROL",
    "EMERGENCY_STOP",
    "TOKEN_REFRESH",
    "OUTPUT_GAP",
    "OUTPUT_STATE",
    "OUTPUT_RESUME",
    "OUTPUT_QUERY",
    "STOP_RECEIPT",
    "STOP_RELEASE",
    "TERMINAL_OPENED",
    "AGENT_BLACK_BOX",
    "BLACK_BOX_ACK",
    "TERMINAL_SIZE",
    "AGENT_ACTIVITY",
    "TERMINAL_INPUT",
    "TERMINAL_INPUT_STATE",
    "COMMAND_TEXT",
    "OUTPUT_CREDIT",
];

/// What a frame was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameNote {
    kind: u8,
    bytes: u32,
}

impl FrameNote {
    /// A frame with this message, of this many bytes.
    pub fn message<M: MessageSet>(message: &M, bytes: usize) -> Self {
        Self::of_type(message.kind(), bytes)
    }

    /// A frame with a message of this type, of this many bytes.
    pub fn of_type(kind: &str, bytes: usize) -> Self {
        let index = KINDS.iter().position(|k| *k == kind).unwrap_or_default();
        Self { kind: index as u8, bytes: saturate(bytes) }
    }

    /// A frame of this many bytes that could not be decoded.
    pub fn undecodable(bytes: usize) -> Self {
        Self { kind: 1, bytes: saturate(bytes) }
    }

    /// A control frame of the transport.
    pub const fn control() -> Self {
        Self { kind: 2, bytes: 0 }
    }

    /// The type of its message, or `unknown`, `undecodable`, `control`.
    pub fn kind(&self) -> &'static str {
        KINDS.get(usize::from(self.kind)).copied().unwrap_or("unknown")
    }

    /// Its size in bytes.
    pub const fn bytes(&self) -> u32 {
        self.bytes
    }

    pub(super) const fn parts(self) -> (u8, u32) {
        (self.kind, self.bytes)
    }

    pub(super) const fn of_parts((kind, bytes): (u8, u32)) -> Self {
        Self { kind, bytes }
    }
}

fn saturate(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

impl Serialize for FrameNote {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut note = serializer.serialize_struct("FrameNote", 2)?;
        note.serialize_field("type", self.kind())?;
        note.serialize_field("bytes", &self.bytes)?;
        note.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{AgentToServer, ServerToAgent};

    #[test]
    fn every_type_has_a_word_and_what_a_peer_makes_up_has_none() {
        for kind in AgentToServer::TYPES.iter().chain(ServerToAgent::TYPES) {
            assert!(KINDS.contains(kind), "{kind}");
        }
        let made_up = AgentToServer::Unknown("MY_PASSWORD".into());
        assert_eq!(FrameNote::message(&made_up, 7).kind(), "unknown");
    }
}
