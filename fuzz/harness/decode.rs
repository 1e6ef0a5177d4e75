// What must hold for any bytes that a peer sends. Shared by the fuzz target and by the test that
// replays the corpus on a stable compiler.

use bytes::Bytes;
use onsembl_protocol::id::MessageId;
use onsembl_protocol::limits::Limits;
use onsembl_protocol::time::WallTime;
use onsembl_protocol::wire::{
    self, AgentToServer, Bounded, DashboardToServer, MessageSet, OutputFrame, ServerToAgent,
    ServerToDashboard, StreamFrame,
};

/// Decoding never panics; what was decoded is written in a form that is read again as the same.
pub fn decode(bytes: &[u8]) {
    binary(bytes);
    let Ok(text) = core::str::from_utf8(bytes) else { return };
    both_ways::<AgentToServer>(text);
    both_ways::<ServerToAgent>(text);
    both_ways::<DashboardToServer>(text);
    both_ways::<ServerToDashboard>(text);
}

/// A binary message has one form only: what is read of it is written as it came.
fn binary(bytes: &[u8]) {
    let message = Bytes::copy_from_slice(bytes);
    if let Ok(frame) = OutputFrame::decode(message.clone(), &Limits::DEFAULT) {
        let again = frame.encode();
        assert!(again.is_some_and(|again| again == bytes), "another form: {frame:?}");
    }
    if let Ok(frame) = StreamFrame::decode(message, &Limits::DEFAULT) {
        let again = frame.encode();
        assert!(again.is_some_and(|again| again == bytes), "another form: {frame:?}");
    }
}

fn both_ways<M: MessageSet + Bounded + PartialEq + core::fmt::Debug>(text: &str) {
    // A canonical form may be longer than what it was read from (escapes, both names of a field).
    let limits = {
        let mut it = Limits::DEFAULT;
        it.message_bytes = 4 << 20;
        it
    };
    let Ok(first) = wire::decode::<M>(text, &limits) else { return };
    let id = MessageId::new("m");
    let canonical =
        wire::encode(&id, WallTime::from_unix_millis(1_700_000_000_000), &first.message);
    let second = wire::decode::<M>(&canonical, &limits);
    assert!(second.is_ok(), "our own form is not read: {second:?}\n{canonical}");
    let Ok(second) = second else { return };
    let again = wire::encode(&id, WallTime::from_unix_millis(1_700_000_000_000), &second.message);
    assert_eq!(canonical, again, "the canonical form is not stable");
}
