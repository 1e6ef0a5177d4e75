//! What is written is read back as it was, for random messages of all four sets.

use super::random_sets::{from_agent, from_dashboard, to_agent, to_dashboard};
use onsembl_protocol::id::MessageId;
use onsembl_protocol::limits::Limits;
use onsembl_protocol::time::WallTime;
use onsembl_protocol::wire::{Bounded, MessageSet, decode, encode};
use proptest::prelude::*;
use std::fmt::Debug;

fn comes_back<M: MessageSet + Bounded + PartialEq + Debug>(
    message: &M,
) -> Result<(), TestCaseError> {
    let (id, at) = (MessageId::new("m-1"), WallTime::from_unix_millis(1_762_041_600_123));
    let text = encode(&id, at, message);
    let envelope = decode::<M>(&text, &Limits::DEFAULT)
        .map_err(|e| TestCaseError::fail(format!("{e}: {text}")))?;
    prop_assert_eq!(&envelope.message, message, "{}", text);
    prop_assert_eq!(envelope.id, Some(id));
    prop_assert_eq!(envelope.timestamp, Some(at));
    // And the written form is a fixed point.
    prop_assert_eq!(encode(&MessageId::new("m-1"), at, &envelope.message), text);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..Default::default() })]

    #[test]
    fn what_an_agent_writes_comes_back(message in from_agent()) {
        comes_back(&message)?;
    }

    #[test]
    fn what_a_server_writes_to_an_agent_comes_back(message in to_agent()) {
        comes_back(&message)?;
    }

    #[test]
    fn what_a_dashboard_writes_comes_back(message in from_dashboard()) {
        comes_back(&message)?;
    }

    #[test]
    fn what_a_server_writes_to_a_dashboard_comes_back(message in to_dashboard()) {
        comes_back(&message)?;
    }
}
