//! The texts that peers send, letter by letter as existing ones write them; only ids and contents
//! are filled in.

use serde_json::Value;

/// A JSON text literal of any string.
pub(crate) fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

/// The hello of the legacy wrapper: no name, a made-up id, the type that the documents do not know.
pub(crate) fn wrapper_hello(agent: &str) -> String {
    format!(
        r#"{{"type":"AGENT_CONNECT","id":"connect-1762080000123","timestamp":1762080000123,"payload":{{"agentId":"{agent}","agentType":"CUSTOM","version":"1.0.0","hostMachine":"workstation","capabilities":{{"maxTokens":0,"supportsInterrupt":true,"supportsTrace":true}}}}}}"#
    )
}

/// The hello of a legacy wrapper whose user configured a name.
pub(crate) fn named_wrapper_hello(agent: &str, name: &str) -> String {
    format!(
        r#"{{"type":"AGENT_CONNECT","id":"connect-1762080000124","timestamp":1762080000124,"payload":{{"agentId":"{agent}","name":"{name}","agentType":"CLAUDE","version":"1.0.0","hostMachine":"workstation","capabilities":{{"maxTokens":0,"supportsInterrupt":true,"supportsTrace":true}}}}}}"#
    )
}

/// Output of the legacy wrapper.
pub(crate) fn wrapper_output(command: &str, agent: &str, sequence: u64, content: &str) -> String {
    let content = quoted(content);
    format!(
        r#"{{"type":"TERMINAL_OUTPUT","id":"{command}-1762080001000","timestamp":1762080001000,"payload":{{"commandId":"{command}","agentId":"{agent}","streamType":"STDOUT","content":{content},"sequence":{sequence}}}}}"#
    )
}

/// The wrapper's answer to a JSON PING.
pub(crate) fn wrapper_pong(echo: &Value) -> String {
    format!(
        r#"{{"type":"PONG","id":"pong-1762080002000","timestamp":1762080002000,"payload":{{"timestamp":{echo}}}}}"#
    )
}

/// The hello of the legacy dashboard.
pub(crate) fn dashboard_hello(user: &str) -> String {
    format!(
        r#"{{"type":"DASHBOARD_INIT","id":"msg_1_1762080003000","timestamp":1762080003000,"payload":{{"userId":"{user}","subscriptions":{{"agents":{{"all":true}},"commands":{{"all":true}},"terminals":true,"traces":true}}}}}}"#
    )
}

/// A command as the agents page of the legacy dashboard sends it.
pub(crate) fn page_command(command: &str, agent: &str, text: &str, args: &[&str]) -> String {
    let (text, args) = (quoted(text), Value::from(args.to_vec()));
    format!(
        r#"{{"type":"COMMAND_REQUEST","id":"msg_7_1762080004000","timestamp":1762080004000,"payload":{{"agentId":"{agent}","commandId":"{command}","command":{text},"args":{args},"env":{{}},"type":"NATURAL","priority":5,"executionConstraints":{{"timeLimitMs":300000,"maxRetries":1}}}}}}"#
    )
}

pub(crate) fn cancel(command: &str) -> String {
    format!(
        r#"{{"type":"COMMAND_CANCEL","id":"msg_9_1762080005000","timestamp":1762080005000,"payload":{{"commandId":"{command}","reason":"User cancelled"}}}}"#
    )
}

/// The hello of an agent that speaks the extensions.
pub(crate) fn extended_hello(key: &str, instance: &str, commands: &[&str]) -> String {
    let commands = Value::from(commands.to_vec());
    format!(
        r#"{{"type":"AGENT_CONNECT","id":"hello-{instance}","timestamp":1762080000000,"payload":{{"agentId":"{key}","name":"name of {key}","agentType":"CUSTOM","version":"0.1.0","hostMachine":"box","capabilities":{{"maxTokens":0,"supportsInterrupt":true,"supportsTrace":false}},"extensions":{{"features":["heartbeats","output-bytes","command-reports"],"agentKey":"{key}","instance":"{instance}","maxParallel":1000,"commands":{commands}}}}}}}"#
    )
}

/// A heartbeat of an agent that speaks the extensions.
pub(crate) fn beat(sequence: u64, seen: u64) -> String {
    format!(
        r#"{{"type":"AGENT_HEARTBEAT","id":"beat-{sequence}","timestamp":1762080000000,"payload":{{"agentId":"x","healthMetrics":{{"cpuUsage":12.5,"memoryUsage":64,"uptime":100,"commandsProcessed":{sequence}}},"sequence":{sequence},"seen":{{"sequence":{seen},"ageMs":3}}}}}}"#
    )
}

/// Output of an agent that speaks the extensions.
pub(crate) struct Chunk<'a> {
    pub(crate) command: &'a str,
    pub(crate) stream: &'a str,
    pub(crate) sequence: u64,
    pub(crate) offset: u64,
    pub(crate) encoding: &'a str,
    pub(crate) content: &'a str,
}

impl Chunk<'_> {
    pub(crate) fn text(&self) -> String {
        let Self { command, stream, sequence, offset, encoding, content } = self;
        let content = quoted(content);
        format!(
            r#"{{"type":"TERMINAL_OUTPUT","id":"out-{sequence}","timestamp":1762080000000,"payload":{{"commandId":"{command}","streamType":"{stream}","content":{content},"encoding":"{encoding}","sequence":{sequence},"offset":{offset},"incarnation":1762080000000}}}}"#
        )
    }
}

pub(crate) fn command_ack(command: &str, status: &str) -> String {
    format!(
        r#"{{"type":"COMMAND_ACK","id":"ack-{command}","timestamp":1762080000000,"payload":{{"commandId":"{command}","status":"{status}"}}}}"#
    )
}

pub(crate) fn command_complete(command: &str, status: &str, exit_code: i32) -> String {
    format!(
        r#"{{"type":"COMMAND_COMPLETE","id":"{command}-complete","timestamp":1762080000000,"payload":{{"commandId":"{command}","status":"{status}","exitCode":{exit_code},"executionTime":40,"duration":40,"tokensUsed":0}}}}"#
    )
}

/// The hello of a dashboard that speaks the extensions.
pub(crate) fn extended_dashboard_hello() -> String {
    r#"{"type":"DASHBOARD_INIT","id":"init","timestamp":1762080000000,"payload":{"subscriptions":{"agents":["*"],"commands":["*"],"terminals":true,"traces":false},"extensions":{"features":["output-bytes"]}}}"#.to_owned()
}
