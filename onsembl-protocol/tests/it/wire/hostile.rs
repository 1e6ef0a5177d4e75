//! Text that is no message: an answer that names the fault, never a panic.

use super::{frames_of_agents, frames_of_dashboards, frames_to_agents, frames_to_dashboards};
use onsembl_protocol::limits::Limits;
use onsembl_protocol::wire::{
    AgentToServer, Bounded, DashboardToServer, MessageSet, ServerToAgent, ServerToDashboard, decode,
};
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Map, Value};

fn golden() -> Vec<&'static str> {
    [
        frames_of_agents::WRAPPER,
        frames_of_agents::OURS,
        frames_of_agents::LISTED,
        frames_to_agents::EXISTING,
        frames_to_agents::OURS,
        frames_of_dashboards::EXISTING,
        frames_to_dashboards::EXISTING,
        frames_to_dashboards::OURS,
    ]
    .concat()
}

fn outcome<M: MessageSet + Bounded>(text: &str) -> Result<(), String> {
    decode::<M>(text, &Limits::DEFAULT).map(drop).map_err(|error| {
        let text = error.to_string();
        assert!(!text.is_empty() && text.len() < 1000, "{} bytes", text.len());
        text
    })
}

/// Decodes in every direction, for the panics; tells whether any took it.
fn taken_by_any(text: &str) -> bool {
    let outcomes = [
        outcome::<AgentToServer>(text),
        outcome::<ServerToAgent>(text),
        outcome::<DashboardToServer>(text),
        outcome::<ServerToDashboard>(text),
    ];
    outcomes.iter().any(Result::is_ok)
}

#[test]
fn no_beginning_of_a_frame_is_taken_for_a_frame() {
    for text in golden() {
        assert!(taken_by_any(text), "{text}");
        for end in 0..text.len() {
            assert!(!taken_by_any(&text[..end]), "{}", &text[..end]);
        }
    }
}

#[test]
fn two_frames_in_one_text_are_none() {
    for text in golden() {
        assert!(!taken_by_any(&format!("{text}{text}")));
        assert!(!taken_by_any(&format!("{text} x")));
        assert!(taken_by_any(&format!(" {text}\r\n")));
    }
}

#[test]
fn numbers_beyond_all_ranges_are_borne() {
    for number in [
        "1e308",
        "-1e308",
        "1e-308",
        "18446744073709551615",
        "-9223372036854775808",
        "99999999999999999999999999",
    ] {
        for text in golden() {
            let with = text.replace("1762041600000", number);
            let _whatever = taken_by_any(&with);
        }
    }
}

/// Every type there is.
fn types() -> Vec<&'static str> {
    [AgentToServer::TYPES, ServerToAgent::TYPES, DashboardToServer::TYPES, ServerToDashboard::TYPES]
        .concat()
}

/// Every field name in any literal frame, so that random payloads meet the readers.
fn field_names() -> Vec<String> {
    fn collect(value: &Value, names: &mut Vec<String>) {
        match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    names.push(name.clone());
                    collect(value, names);
                }
            }
            Value::Array(items) => items.iter().for_each(|item| collect(item, names)),
            _ => {}
        }
    }
    let mut names = Vec::new();
    for text in golden() {
        collect(&serde_json::from_str(text).unwrap(), &mut names);
    }
    names.sort();
    names.dedup();
    names
}

fn value(names: Vec<String>) -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,8}".prop_map(Value::from),
        Just(Value::from("\u{1b}[31m")),
        Just(Value::from("1762041600000")),
        Just(Value::from("2025-11-02T00:00:00Z")),
    ];
    leaf.prop_recursive(3, 24, 6, move |inner| {
        let name = prop::sample::select(names.clone());
        prop_oneof![
            vec(inner.clone(), 0..5).prop_map(Value::from),
            vec((name, inner), 0..8)
                .prop_map(|pairs| Value::from(pairs.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..Default::default() })]

    #[test]
    fn any_text_gets_an_answer(text in "\\PC{0,200}") {
        taken_by_any(&text);
    }

    #[test]
    fn any_bytes_get_an_answer(bytes in vec(any::<u8>(), 0..200)) {
        taken_by_any(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn any_payload_of_any_type_gets_an_answer(
        kind in prop::sample::select(types()),
        payload in value(field_names()),
        id in value(vec!["x".into()]),
        timestamp in value(vec!["x".into()]),
    ) {
        let text = serde_json::json!({"type": kind, "id": id, "timestamp": timestamp, "payload": payload});
        taken_by_any(&text.to_string());
    }

    #[test]
    fn a_frame_with_one_byte_wrong_gets_an_answer(
        frame in prop::sample::select(golden()),
        at in any::<prop::sample::Index>(),
        byte in 0u8..128,
    ) {
        let mut bytes = frame.as_bytes().to_vec();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        taken_by_any(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn a_frame_with_one_value_replaced_gets_an_answer(
        frame in prop::sample::select(golden()),
        field in any::<prop::sample::Index>(),
        with in value(field_names()),
    ) {
        let mut message: Value = serde_json::from_str(frame).unwrap();
        let payload = message["payload"].as_object_mut().unwrap();
        let key = payload.keys().nth(field.index(payload.len().max(1))).cloned();
        if let Some(key) = key {
            payload.insert(key, with);
        }
        taken_by_any(&message.to_string());
    }
}
