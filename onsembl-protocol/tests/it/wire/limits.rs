//! The bounds of decoding: each holds to the byte, and the error says whom it concerns.

use super::frame;
use onsembl_protocol::id::{CommandId, MessageId};
use onsembl_protocol::limits::Limits;
use onsembl_protocol::wire::{
    AgentToServer, Bounded, DashboardToServer, DecodeCause, DecodeError, Envelope, MessageSet,
    ServerToAgent, decode,
};

const LIMITS: Limits = {
    let mut it = Limits::DEFAULT;
    it.message_bytes = 4096;
    it.depth = 8;
    it.name_bytes = 16;
    it.command_bytes = 64;
    it.list_entries = 3;
    it
};

fn bounded<M: MessageSet + Bounded>(text: &str) -> Result<Envelope<M>, DecodeError> {
    decode(text, &LIMITS)
}

/// A field within its limit is read, one beyond is refused by name.
fn holds<M: MessageSet + Bounded + std::fmt::Debug>(
    kind: &str,
    field: &str,
    within: &str,
    beyond: &str,
) {
    assert!(bounded::<M>(&frame(kind, within)).is_ok(), "{within}");
    let error = bounded::<M>(&frame(kind, beyond)).expect_err(beyond);
    match &error.cause {
        DecodeCause::TooLong { field: named, kind: k, .. } => {
            assert_eq!((*named, k.as_ref()), (field, kind));
        }
        other => panic!("{other} for {beyond}"),
    }
    assert_eq!(error.message_id, Some(MessageId::new("msg_7_1")), "{kind} {field}");
}

fn of(n: usize) -> String {
    "n".repeat(n)
}

fn list(n: usize) -> String {
    let items: Vec<String> = (0..n).map(|i| format!("\"{i}\"")).collect();
    format!("[{}]", items.join(","))
}

#[test]
fn a_message_has_a_size() {
    let text = |n: usize| format!(r#"{{"type":"PING","id":"m","payload":{{"x":"{}"}}}}"#, of(n));
    let room = LIMITS.message_bytes - text(0).len();
    assert!(bounded::<AgentToServer>(&text(room)).is_ok());
    let error = bounded::<AgentToServer>(&text(room + 1)).unwrap_err();
    let cause = DecodeCause::TooLarge { bytes: 4097, limit: 4096 };
    assert_eq!(error, DecodeError { cause, message_id: None, command_id: None });
}

#[test]
fn a_message_has_a_depth_and_its_error_still_names_it() {
    let text = |n: usize| {
        format!(
            r#"{{"type":"TRACE_EVENT","id":"m","payload":{{"commandId":"c","x":{}1{}}}}}"#,
            "[".repeat(n),
            "]".repeat(n)
        )
    };
    assert!(bounded::<AgentToServer>(&text(LIMITS.depth - 2)).is_ok());
    let error = bounded::<AgentToServer>(&text(LIMITS.depth - 1)).unwrap_err();
    assert_eq!(error.cause, DecodeCause::TooDeep { limit: LIMITS.depth });
    assert_eq!(error.message_id, Some(MessageId::new("m")));
    assert_eq!(error.command_id, Some(CommandId::new("c")));
}

#[test]
fn nesting_beyond_any_stack_is_refused_and_not_followed() {
    let deep = format!(r#"{{"type":"PING","id":"m","payload":{}"#, "[".repeat(1_000_000));
    let error = decode::<AgentToServer>(&deep, &Limits::DEFAULT).unwrap_err();
    assert_eq!(error.cause, DecodeCause::TooDeep { limit: 32 });
}

#[test]
fn every_name_of_a_hello_has_a_length() {
    for field in ["agentId", "name", "agentType", "version", "hostMachine"] {
        let payload = |n| format!(r#"{{"{field}":"{}"}}"#, of(n));
        holds::<AgentToServer>("AGENT_CONNECT", field, &payload(16), &payload(17));
    }
    for field in ["agentKey", "instance"] {
        let other = if field == "agentKey" { "instance" } else { "agentKey" };
        let payload = |n| format!(r#"{{"extensions":{{"{field}":"{}","{other}":"x"}}}}"#, of(n));
        holds::<AgentToServer>("AGENT_CONNECT", field, &payload(16), &payload(17));
    }
    let commands = |n| {
        format!(r#"{{"extensions":{{"agentKey":"k","instance":"i","commands":["{}"]}}}}"#, of(n))
    };
    holds::<AgentToServer>("AGENT_CONNECT", "commandId", &commands(16), &commands(17));
}

#[test]
fn every_list_has_a_number_of_entries() {
    let hello = |n| format!(r#"{{"capabilities":{}}}"#, list(n));
    holds::<AgentToServer>("AGENT_CONNECT", "capabilities", &hello(3), &hello(4));
    for field in ["features", "commands"] {
        let ext = |n| {
            format!(r#"{{"extensions":{{"agentKey":"k","instance":"i","{field}":{}}}}}"#, list(n))
        };
        holds::<AgentToServer>("AGENT_CONNECT", "extensions", &ext(3), &ext(4));
    }
    let args = |n| format!(r#"{{"command":"x","args":{}}}"#, list(n));
    holds::<DashboardToServer>("COMMAND_REQUEST", "args", &args(3), &args(4));
    for key in ["agents", "commands"] {
        let init = |n| format!(r#"{{"subscriptions":{{"{key}":{}}}}}"#, list(n));
        holds::<DashboardToServer>("DASHBOARD_INIT", "subscriptions", &init(3), &init(4));
    }
    let stop = |n| format!(r#"{{"affectedAgents":{}}}"#, list(n));
    holds::<DashboardToServer>("EMERGENCY_STOP", "affectedAgents", &stop(3), &stop(4));
    let env = |n: usize| {
        let items: Vec<String> = (0..n).map(|i| format!("\"{i}\":\"x\"")).collect();
        format!(r#"{{"command":"x","env":{{{}}}}}"#, items.join(","))
    };
    holds::<DashboardToServer>("COMMAND_REQUEST", "env", &env(3), &env(4));
}

#[test]
fn commands_and_reasons_have_a_length() {
    let command = |n| format!(r#"{{"command":"{}"}}"#, of(n));
    holds::<DashboardToServer>("COMMAND_REQUEST", "command", &command(64), &command(65));
    holds::<ServerToAgent>("COMMAND_REQUEST", "command", &command(64), &command(65));
    let directory = |n| format!(r#"{{"command":"x","workingDirectory":"{}"}}"#, of(n));
    holds::<DashboardToServer>(
        "COMMAND_REQUEST",
        "workingDirectory",
        &directory(64),
        &directory(65),
    );
    let reason = |n| format!(r#"{{"commandId":"c","reason":"{}"}}"#, of(n));
    holds::<DashboardToServer>("COMMAND_CANCEL", "reason", &reason(64), &reason(65));
    let error = |n| format!(r#"{{"commandId":"c","error":"{}"}}"#, of(n));
    holds::<AgentToServer>("COMMAND_COMPLETE", "error", &error(64), &error(65));
    let fault = |n| format!(r#"{{"message":"{}"}}"#, of(n));
    holds::<AgentToServer>("AGENT_ERROR", "message", &fault(64), &fault(65));
    let refusal = |n| format!(r#"{{"code":"X","message":"{}"}}"#, of(n));
    holds::<ServerToAgent>("ERROR", "message", &refusal(64), &refusal(65));
}

#[test]
fn command_ids_have_a_length_everywhere() {
    let id = |n: usize| format!(r#"{{"commandId":"{}","status":"RECEIVED","content":"x"}}"#, of(n));
    for kind in ["COMMAND_ACK", "COMMAND_COMPLETE", "TERMINAL_OUTPUT"] {
        holds::<AgentToServer>(kind, "commandId", &id(16), &id(17));
    }
    for kind in ["COMMAND_REQUEST", "COMMAND_CANCEL"] {
        holds::<DashboardToServer>(kind, "commandId", &id(16), &id(17));
        holds::<ServerToAgent>(kind, "commandId", &id(16), &id(17));
    }
}

#[test]
fn an_id_that_is_too_long_is_not_repeated_in_the_error() {
    let text = format!(
        r#"{{"type":"COMMAND_CANCEL","id":"{}","payload":{{"commandId":"{}"}}}}"#,
        of(17),
        of(17)
    );
    let error = bounded::<DashboardToServer>(&text).unwrap_err();
    assert_eq!((error.message_id, error.command_id), (None, None));
}

#[test]
fn a_type_that_is_too_long_is_not_repeated_in_the_error() {
    let error = decode::<AgentToServer>(&frame(&of(100_000), "{}"), &Limits::DEFAULT).unwrap_err();
    assert!(matches!(error.cause, DecodeCause::TooLong { field: "type", .. }), "{error:.200}");
    assert!(error.to_string().len() < 400, "{} bytes", error.to_string().len());
}

#[test]
fn an_error_names_message_and_command_when_they_can_be_read() {
    let named = |text: &str| {
        let error = bounded::<DashboardToServer>(text).expect_err(text);
        (error.message_id.map(String::from), error.command_id.map(String::from))
    };
    let both = (Some("m".to_string()), Some("c".to_string()));
    for text in [
        r#"{"type":"COMMAND_REQUEST","id":"m","payload":{"commandId":"c"}}"#,
        r#"{"type":"COMMAND_REQUEST","id":"m","payload":{"commandId":"c","command":5}}"#,
        r#"{"type":"COMMAND_REQUEST","id":"m","payload":{"commandId":"c","command":"x","env":[]}}"#,
        r#"{"id":"m","payload":{"commandId":"c","command":"x"}}"#,
        r#"{"type":7,"id":"m","payload":{"commandId":"c","command":"x"}}"#,
    ] {
        assert_eq!(named(text), both, "{text}");
    }
    let only_message = (Some("m".to_string()), None);
    for text in [
        r#"{"type":"COMMAND_CANCEL","id":"m","payload":{}}"#,
        r#"{"type":"COMMAND_CANCEL","id":"m","payload":{"commandId":7}}"#,
        r#"{"type":"COMMAND_CANCEL","id":"m","payload":"x"}"#,
        r#"{"type":"COMMAND_CANCEL","id":"m","payload":[]}"#,
    ] {
        assert_eq!(named(text), only_message, "{text}");
    }
    for text in ["", "{", "[]", "null", "5", "\"PING\"", r#"{"type":"PING""#, r#"{"type":5}"#] {
        assert_eq!(named(text), (None, None), "{text}");
    }
}

#[test]
fn an_error_never_repeats_what_may_be_a_secret() {
    let secret = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ1LTEifQ.c2lnbmF0dXJl";
    for text in [
        frame("TOKEN_REFRESH", &format!("\"{secret}\"")),
        frame("TOKEN_REFRESH", &format!(r#"{{"accessToken":["{secret}"]}}"#)),
        frame(
            "TOKEN_REFRESH",
            &format!(r#"{{"accessToken":"x","refreshToken":{{"{secret}":1}}}}"#),
        ),
        frame("DASHBOARD_SUBSCRIBE", &format!(r#"{{"type":"agent","all":"{secret}"}}"#)),
        format!(r#""{secret}""#),
        format!(r#"{{"type":"PING","{secret}"#),
    ] {
        let error = decode::<DashboardToServer>(&text, &Limits::DEFAULT).expect_err(&text);
        let printed = format!("{error} {error:?}");
        assert!(!printed.contains(secret), "{printed}");
        assert!(printed.len() < 1000, "{printed}");
    }
}
