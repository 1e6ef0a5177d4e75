//! The short cuts of reading and writing agree with the long way on every text and every message.

use super::random_sets::{from_agent, from_dashboard, to_agent, to_dashboard};
use super::{frames_of_agents, frames_of_dashboards, frames_to_agents, frames_to_dashboards};
use onsembl_protocol::id::MessageId;
use onsembl_protocol::limits::Limits;
use onsembl_protocol::time::WallTime;
use onsembl_protocol::wire::{
    AgentToServer, Bounded, DashboardToServer, MessageSet, ServerToAgent, ServerToDashboard,
    decode, decode_carefully, decode_in_place, encode, encode_into,
};
use proptest::collection::vec;
use proptest::prelude::*;
use std::fmt::Debug;

const AT: WallTime = WallTime::from_unix_millis(1_762_041_600_123);

/// `Debug`, because a number may be none.
fn both_ways<M: MessageSet + Bounded + Debug>(text: &str, limits: &Limits) {
    let short = format!("{:?}", decode::<M>(text, limits));
    assert_eq!(short, format!("{:?}", decode_carefully::<M>(text, limits)), "{text}");
}

fn agrees(text: &str, limits: &Limits) {
    both_ways::<AgentToServer>(text, limits);
    both_ways::<ServerToAgent>(text, limits);
    both_ways::<DashboardToServer>(text, limits);
    both_ways::<ServerToDashboard>(text, limits);
    let in_place = decode_in_place(text, limits).map(|envelope| {
        let id = envelope.id.map(MessageId::new);
        (id, envelope.timestamp, envelope.message.into_owned())
    });
    let careful = decode_carefully::<AgentToServer>(text, limits)
        .map(|envelope| (envelope.id, envelope.timestamp, envelope.message));
    assert_eq!(format!("{in_place:?}"), format!("{careful:?}"), "{text}");
}

fn frames() -> impl Strategy<Value = String> {
    let text = |message: String| message;
    let id = || MessageId::new("m-1");
    prop_oneof![
        from_agent().prop_map(move |m| text(encode(&id(), AT, &m))),
        to_agent().prop_map(move |m| text(encode(&id(), AT, &m))),
        from_dashboard().prop_map(move |m| text(encode(&id(), AT, &m))),
        to_dashboard().prop_map(move |m| text(encode(&id(), AT, &m))),
        prop::sample::select(golden()).prop_map(str::to_owned),
    ]
}

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

/// Pieces that change what a frame means: repeated and unknown fields, escapes, other shapes.
const PIECES: &[&str] = &[
    r#""type":"PING","#,
    r#""id":"again","#,
    r#""id":null,"#,
    r#""payload":null,"#,
    r#""payload":{},"#,
    r#""timestamp":1,"#,
    r#""timestamp":"2025-11-02T00:00:00Z","#,
    r#""x":[[{}]],"#,
    r#""agentId":"a\u0062","#,
    r#""agentId":7,"#,
    r#""sequence":1.5,"#,
    r#""sequence":18446744073709551615,"#,
    r#""healthMetrics":null,"#,
    r#""cpu_usage":"1","#,
    r#""cpuUsage":[1],"#,
    r#""seen":[1,2],"#,
    r#""t\u0079pe":"PONG","#,
    "null",
    "{",
    "}",
    "[",
    "]",
    "\"",
    "\\",
    "\\n",
    ",",
    ":",
    " ",
    "0",
    "-",
    ".5",
    "e9",
    "é",
    "\u{0}",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..Default::default() })]

    #[test]
    fn any_change_to_a_frame_reads_the_same_both_ways(
        frame in frames(),
        changes in vec((any::<prop::sample::Index>(), 0usize..4, prop::sample::select(PIECES)), 0..3),
        after_brackets in any::<bool>(),
        name_bytes in prop::sample::select(&[256, 5][..]),
        depth in prop::sample::select(&[32, 2][..]),
    ) {
        let mut text = frame;
        for (at, cut, piece) in changes {
            let positions: Vec<usize> = text
                .char_indices()
                .filter(|(_, c)| !after_brackets || *c == '{' || *c == ',')
                .map(|(at, c)| if after_brackets { at + c.len_utf8() } else { at })
                .collect();
            let Some(from) = positions.get(at.index(positions.len().max(1))).copied() else { break };
            let cut = if after_brackets { 0 } else { cut };
            let to = text[from..].char_indices().nth(cut).map_or(text.len(), |(n, _)| from + n);
            text.replace_range(from..to, piece);
        }
        agrees(&text, &{ let mut it = Limits::DEFAULT; it.name_bytes = name_bytes; it.depth = depth; it });
    }

    #[test]
    fn fields_in_any_order_read_the_same_both_ways(
        frame in prop::sample::select(golden()),
        order in Just(vec!["type", "id", "timestamp", "payload"]).prop_shuffle(),
        payload in prop::option::of(prop::sample::select(&["null", "[]", "{}", "7", "\"x\""][..])),
    ) {
        let fields: serde_json::Map<String, serde_json::Value> = serde_json::from_str(frame).unwrap();
        let written = order.iter().filter_map(|name| {
            let value = fields.get(*name)?.to_string();
            let value = if *name == "payload" { payload.map_or(value, str::to_owned) } else { value };
            Some(format!("{name:?}:{value}"))
        });
        agrees(&format!("{{{}}}", written.collect::<Vec<_>>().join(",")), &Limits::DEFAULT);
    }

    #[test]
    fn any_text_is_written_as_serde_json_writes_it(text in any::<String>(), control in "[\u{0}-\u{7f}]{0,40}") {
        let id = MessageId::new(text + &control);
        let written = encode(&id, AT, &AgentToServer::Ping(Default::default()));
        let quoted = serde_json::to_string(id.as_str()).unwrap();
        let expected = format!(r#"{{"type":"PING","id":{quoted},"timestamp":1762041600123,"payload":{{"timestamp":null}}}}"#);
        prop_assert_eq!(written, expected);
    }

    #[test]
    fn any_payload_is_written_as_serde_json_writes_it(
        agent in from_agent(), server in to_agent(), asked in from_dashboard(), shown in to_dashboard(),
    ) {
        as_serde_json(&agent);
        as_serde_json(&server);
        as_serde_json(&asked);
        as_serde_json(&shown);
    }

    #[test]
    fn any_number_is_written_as_serde_json_writes_it(bits in any::<u64>(), small in -1e6f64..1e6, at in any::<i64>()) {
        for number in [f64::from_bits(bits), small, small / 1e9, small * 1e9] {
            as_serde_json(&AgentToServer::Trace(onsembl_protocol::wire::payload::Opaque(serde_json::json!({"n": number, "at": at, "bits": bits}))));
        }
    }
}

fn as_serde_json<M: MessageSet>(message: &M) {
    struct Payload<'a, M>(&'a M);
    impl<M: MessageSet> serde::Serialize for Payload<'_, M> {
        fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
            self.0.write_payload(s)
        }
    }
    let payload = serde_json::to_string(&Payload(message)).unwrap();
    let mut text = String::from("kept ");
    encode_into(&mut text, &MessageId::new("m"), AT, message);
    let kind = serde_json::to_string(message.kind()).unwrap();
    let head = format!(r#"kept {{"type":{kind},"id":"m","timestamp":1762041600123"#);
    assert_eq!(text, format!("{head},\"payload\":{payload}}}"));
}
