//! The dialect of each peer: how an agent and a dashboard connect, send heartbeats and forward output.
//!
//! [`Wire`] turns what is to be said into bytes and bytes into what was heard. It owns no socket.

use crate::payloads::{self, Envelope, INCARNATION, Keeping, Lines, Piece};
use crate::{mqtt, websocket};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::borrow::Cow;

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Dialect {
    /// Our protocol with its extensions; output in binary messages.
    Extended,
    /// Our protocol as the TypeScript wrappers and dashboards speak it.
    Legacy,
    /// WebSocket messages that a relay passes on.
    Relay,
    SocketIo,
    /// MQTT 3.1.1, output at QoS 1.
    Mqtt,
    Nats,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Role {
    Agent,
    /// One that watches all output.
    Dashboard,
    /// One that sees commands but no output.
    Commands,
    /// One that sees the output of this command only; by its name.
    Viewer,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Stage {
    Upgrade,
    Hello,
    Live,
}

/// What was heard.
#[derive(Debug)]
pub enum Heard<'a> {
    /// The upgrade was agreed to.
    Upgraded,
    /// In session.
    Live,
    /// The server has recorded, or where it records nothing answered, the beats up to this one.
    Beat(u64),
    /// Output of this command is stored up to here.
    Stored(Cow<'a, str>, u64),
    /// Output: of which command, where in its stream, and what.
    Output(Option<Cow<'a, str>>, Option<u64>, Cow<'a, [u8]>),
    /// The agent is to run this command, and has said that it does.
    Asked(Cow<'a, str>),
    /// How a command is.
    Status(Cow<'a, str>, Cow<'a, str>),
}

/// One end of a link.
#[derive(Debug)]
pub struct Wire {
    pub dialect: Dialect,
    pub role: Role,
    pub out: Vec<u8>,
    pub token: String,
    /// Its own name.
    pub name: String,
    /// Ends each command at once.
    pub ends_commands: bool,
    /// Whether output of what it asks for is to be stored.
    pub keeping: Keeping,
    /// How much output may be unstored; of a peer that stores none there is no such bound.
    pub window: u64,
    /// What the server calls it.
    id: String,
    stage: Stage,
    said: u64,
    beats: u64,
    heard_beat: u64,
    packet: u16,
    /// The beginning of a message that comes in several frames, and what it is.
    partial: Option<(u8, Vec<u8>)>,
}

/// Of a binary message to a dashboard, in bytes.
const STREAM_HEAD: usize = 38;

impl Wire {
    pub fn new(dialect: Dialect, role: Role, name: String, token: String) -> Self {
        let stage = match dialect {
            Dialect::Extended | Dialect::Legacy | Dialect::Relay | Dialect::SocketIo => {
                Stage::Upgrade
            }
            Dialect::Mqtt | Dialect::Nats => Stage::Hello,
        };
        Self {
            dialect,
            role,
            token,
            name,
            stage,
            out: Vec::new(),
            ends_commands: false,
            keeping: Keeping::Stored,
            window: u64::MAX,
            id: String::new(),
            said: 0,
            beats: 0,
            heard_beat: 0,
            packet: 0,
            partial: None,
        }
    }

    /// The same peer over another link.
    pub fn again(&self) -> Self {
        let mut new = Self::new(self.dialect, self.role, self.name.clone(), self.token.clone());
        new.id.clone_from(&self.id);
        new.ends_commands = self.ends_commands;
        new.keeping = self.keeping;
        new
    }

    /// What is said first, once the socket is connected.
    pub fn dialled(&mut self) {
        let path = match (self.dialect, self.role) {
            (Dialect::SocketIo, _) => "/socket.io/?EIO=4&transport=websocket".into(),
            (Dialect::Legacy, Role::Agent) if !self.id.is_empty() => {
                format!("/ws/agent?agentId={}", self.id)
            }
            (_, Role::Agent) => "/ws/agent".to_owned(),
            (_, Role::Dashboard | Role::Commands | Role::Viewer) => "/ws/dashboard".into(),
        };
        match self.dialect {
            Dialect::Extended | Dialect::Legacy | Dialect::Relay | Dialect::SocketIo => {
                websocket::upgrade(&mut self.out, &path, &self.token);
            }
            Dialect::Mqtt => {
                let mut body = vec![0, 4, b'M', b'Q', b'T', b'T', 4, 2, 0, 60];
                mqtt::text(&mut body, &self.name);
                mqtt::packet(&mut self.out, 0x10, &[&body]);
            }
            // The server speaks first.
            Dialect::Nats => {}
        }
    }

    /// Takes what can be taken of the input; how much that was.
    pub fn hear(&mut self, input: &[u8], on: &mut dyn FnMut(Heard)) -> Result<usize, String> {
        match self.dialect {
            Dialect::Mqtt => self.hear_mqtt(input, on),
            Dialect::Nats => self.hear_nats(input, on),
            Dialect::Extended | Dialect::Legacy | Dialect::Relay | Dialect::SocketIo => {
                let mut taken = 0;
                if self.stage == Stage::Upgrade {
                    let Some(size) = websocket::upgraded(input)? else { return Ok(0) };
                    taken = size;
                    self.stage = Stage::Hello;
                    on(Heard::Upgraded);
                    if self.dialect != Dialect::SocketIo {
                        self.hello();
                    }
                }
                while let Some(frame) = websocket::next(&input[taken..])? {
                    taken += frame.size;
                    match frame.opcode {
                        websocket::TEXT | websocket::BINARY if !frame.last => {
                            self.partial = Some((frame.opcode, frame.body.to_vec()));
                        }
                        websocket::TEXT => self.text(frame.body, on)?,
                        websocket::BINARY => self.binary(frame.body, on)?,
                        websocket::CONTINUATION => {
                            let (opcode, mut body) =
                                self.partial.take().ok_or("a frame that continues nothing")?;
                            body.extend_from_slice(frame.body);
                            match opcode {
                                _ if !frame.last => self.partial = Some((opcode, body)),
                                websocket::TEXT => self.text(&body, on)?,
                                _ => self.binary(&body, on)?,
                            }
                        }
                        websocket::PING => {
                            websocket::frame(&mut self.out, websocket::PONG, &[frame.body]);
                        }
                        websocket::PONG => {}
                        _ => {
                            return Err(format!("closed: {}", String::from_utf8_lossy(frame.body)));
                        }
                    }
                }
                Ok(taken)
            }
        }
    }

    fn say(&mut self, kind: &str, payload: &Value) {
        self.said += 1;
        let text = format!(
            r#"{{"type":"{kind}","id":"m-{}","timestamp":{INCARNATION},"payload":{payload}}}"#,
            self.said
        );
        websocket::frame(&mut self.out, websocket::TEXT, &[text.as_bytes()]);
    }

    fn hello(&mut self) {
        match (self.dialect, self.role) {
            (Dialect::Relay, _) => {
                self.say("AGENT_CONNECT", &json!({"agentId": self.name, "name": self.name}));
            }
            (dialect, Role::Agent) => {
                let hello =
                    payloads::agent_hello(&self.name, &self.id, dialect == Dialect::Extended);
                self.say("AGENT_CONNECT", &hello);
            }
            (dialect, role) => {
                let command = (role == Role::Viewer).then_some(self.name.as_str());
                let extended = dialect == Dialect::Extended;
                let hello = payloads::dashboard_hello(command, role != Role::Commands, extended);
                self.say("DASHBOARD_INIT", &hello);
            }
        }
    }

    fn text(&mut self, text: &[u8], on: &mut dyn FnMut(Heard)) -> Result<(), String> {
        match self.dialect {
            Dialect::Relay => {
                if self.stage == Stage::Hello {
                    self.stage = Stage::Live;
                    on(Heard::Live);
                } else {
                    // It answers each, in order.
                    self.heard_beat += 1;
                    on(Heard::Beat(self.heard_beat));
                }
                Ok(())
            }
            Dialect::SocketIo => self.text_socket_io(text, on),
            _ => self.text_onsembl(text, on),
        }
    }

    fn text_onsembl(&mut self, text: &[u8], on: &mut dyn FnMut(Heard)) -> Result<(), String> {
        let envelope: Envelope = serde_json::from_slice(text).map_err(|error| error.to_string())?;
        let raw = envelope.payload.map_or("{}", RawValue::get);
        if envelope.kind == "TERMINAL_STREAM" && self.dialect == Dialect::Legacy {
            let lines: Lines =
                serde_json::from_str(raw).map_err(|error| format!("{error}: {raw}"))?;
            // Output goes to it a second time, as that of its agent.
            if !lines.command_id.starts_with("agent-session-") {
                let mut bytes = lines.content.join("\n").into_bytes();
                bytes.push(b'\n');
                on(Heard::Output(Some(lines.command_id), None, Cow::Owned(bytes)));
            }
            return Ok(());
        }
        if envelope.kind == "TERMINAL_STREAM" {
            let piece: Piece =
                serde_json::from_str(raw).map_err(|error| format!("{error}: {raw}"))?;
            if piece.encoding.is_some_and(|encoding| encoding != "utf-8") {
                return Err("output that is text came in another encoding".into());
            }
            let bytes = match piece.content {
                Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
                Cow::Owned(text) => Cow::Owned(text.into_bytes()),
            };
            on(Heard::Output(Some(piece.command_id), piece.offset, bytes));
            return Ok(());
        }
        let interesting = [
            "ACK",
            "SERVER_HEARTBEAT",
            "OUTPUT_ACK",
            "OUTPUT_CREDIT",
            "COMMAND_REQUEST",
            "COMMAND_STATUS",
            "PING",
            "ERROR",
        ];
        if !interesting.contains(&envelope.kind) {
            return Ok(());
        }
        let payload: Value = serde_json::from_str(raw).map_err(|error| error.to_string())?;
        let word = |name: &str| payload[name].as_str().unwrap_or_default().to_owned();
        match envelope.kind {
            "PING" => {
                let answer = json!({"timestamp": payload["timestamp"]});
                self.say("PONG", &answer);
                if self.dialect == Dialect::Legacy && self.role == Role::Agent {
                    self.beats += 1;
                    on(Heard::Beat(self.beats));
                }
            }
            "ACK" if self.stage == Stage::Hello => {
                if self.role == Role::Agent {
                    self.id = word("agentId");
                }
                if let Some(window) = payload["extensions"]["outputWindowBytes"].as_u64() {
                    self.window = window;
                }
                self.stage = Stage::Live;
                on(Heard::Live);
            }
            "SERVER_HEARTBEAT" => {
                self.heard_beat = payload["sequence"].as_u64().unwrap_or(self.heard_beat);
                if let Some(recorded) = payload["recorded"]["sequence"].as_u64() {
                    on(Heard::Beat(recorded));
                }
            }
            // Of output that is not stored: the server wants what follows.
            "OUTPUT_ACK" | "OUTPUT_CREDIT" => {
                on(Heard::Stored(
                    word("commandId").into(),
                    payload["offset"].as_u64().unwrap_or(0),
                ));
            }
            "COMMAND_REQUEST" => {
                let command = word("commandId");
                let keeping = match payload["unstored"].as_bool() {
                    Some(true) => Keeping::Unstored,
                    Some(false) | None => Keeping::Stored,
                };
                self.run(&command, keeping);
                on(Heard::Asked(command.into()));
            }
            "COMMAND_STATUS" => on(Heard::Status(word("commandId").into(), word("status").into())),
            "ERROR" => return Err(format!("the server says {raw}")),
            _ => {}
        }
        Ok(())
    }

    fn run(&mut self, command: &str, keeping: Keeping) {
        if self.dialect == Dialect::Legacy {
            return;
        }
        let mut running = json!({"commandId": command, "agentId": self.id, "status": "EXECUTING"});
        if keeping == Keeping::Unstored {
            running["unstored"] = json!(true);
        }
        self.say("COMMAND_ACK", &running);
        if self.ends_commands {
            let ended = payloads::ended(&self.id, command);
            self.say("COMMAND_COMPLETE", &ended);
        }
    }

    fn binary(&mut self, body: &[u8], on: &mut dyn FnMut(Heard)) -> Result<(), String> {
        match self.dialect {
            Dialect::Relay => {
                on(Heard::Output(None, None, Cow::Borrowed(body)));
                Ok(())
            }
            Dialect::Extended if self.role != Role::Agent => {
                let short = "a binary message that is shorter than its head";
                let (head, rest) = body.split_at_checked(STREAM_HEAD).ok_or(short)?;
                let length = |at: usize| usize::from(head[at]) << 8 | usize::from(head[at + 1]);
                let (command, agent) = (length(2), length(4));
                if head[0] != 2 || rest.len() < command + agent {
                    return Err("a binary message of an unknown kind".into());
                }
                let offset =
                    head[22..30].iter().fold(0u64, |value, byte| value << 8 | u64::from(*byte));
                let (command, rest) = rest.split_at(command);
                on(Heard::Output(
                    Some(String::from_utf8_lossy(command)),
                    Some(offset),
                    Cow::Borrowed(&rest[agent..]),
                ));
                Ok(())
            }
            _ => Err("a binary message that was not agreed on".into()),
        }
    }

    fn text_socket_io(&mut self, text: &[u8], on: &mut dyn FnMut(Heard)) -> Result<(), String> {
        match text {
            // The transport is open: into the namespace.
            [b'0', ..] => websocket::frame(&mut self.out, websocket::TEXT, &[b"40"]),
            [b'2', ..] => websocket::frame(&mut self.out, websocket::TEXT, &[b"3"]),
            [b'4', b'0', ..] => {
                let hello = if self.role == Role::Agent {
                    format!(r#"420["hello",{{"name":"{}"}}]"#, self.name)
                } else {
                    r#"420["watch"]"#.into()
                };
                websocket::frame(&mut self.out, websocket::TEXT, &[hello.as_bytes()]);
            }
            [b'4', b'3', rest @ ..] => {
                if self.stage == Stage::Hello {
                    self.stage = Stage::Live;
                    on(Heard::Live);
                } else {
                    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
                    let number = std::str::from_utf8(&rest[..digits])
                        .ok()
                        .and_then(|text| text.parse().ok());
                    on(Heard::Beat(number.unwrap_or(0)));
                }
            }
            [b'4', b'2', event @ ..] => {
                // The name, the text and, for the recovery of a connection, where it stands.
                let words: Vec<Cow<str>> =
                    serde_json::from_slice(event).map_err(|error| error.to_string())?;
                if let [name, text, ..] = words.as_slice()
                    && name == "output"
                {
                    on(Heard::Output(None, None, Cow::Borrowed(text.as_bytes())));
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn hear_mqtt(&mut self, input: &[u8], on: &mut dyn FnMut(Heard)) -> Result<usize, String> {
        let mut taken = 0;
        while let Some((kind, body, size)) = mqtt::next(&input[taken..]) {
            taken += size;
            match kind >> 4 {
                2 if body.get(1) != Some(&0) => return Err("MQTT: not accepted".into()),
                2 if self.role == Role::Agent => {
                    self.stage = Stage::Live;
                    on(Heard::Live);
                }
                2 => {
                    let mut body = vec![0, 1];
                    mqtt::text(&mut body, "out/+");
                    body.push(1);
                    mqtt::packet(&mut self.out, 0x82, &[&body]);
                }
                9 => {
                    self.stage = Stage::Live;
                    on(Heard::Live);
                }
                3 => {
                    let topic = body
                        .get(..2)
                        .map_or(0, |two| usize::from(two[0]) << 8 | usize::from(two[1]));
                    let qos = kind >> 1 & 3;
                    let start = 2 + topic + if qos > 0 { 2 } else { 0 };
                    if qos > 0 {
                        mqtt::packet(&mut self.out, 0x40, &[&body[2 + topic..start]]);
                    }
                    on(Heard::Output(None, None, Cow::Borrowed(&body[start..])));
                }
                4 => {
                    self.said += 1;
                    on(Heard::Stored(Cow::Borrowed(""), self.said));
                }
                13 => {
                    self.heard_beat += 1;
                    on(Heard::Beat(self.heard_beat));
                }
                _ => {}
            }
        }
        Ok(taken)
    }

    fn hear_nats(&mut self, input: &[u8], on: &mut dyn FnMut(Heard)) -> Result<usize, String> {
        let mut taken = 0;
        loop {
            let rest = &input[taken..];
            let Some(end) = rest.windows(2).position(|two| two == b"\r\n") else {
                return Ok(taken);
            };
            let line = String::from_utf8_lossy(&rest[..end]).into_owned();
            let mut size = end + 2;
            if line.starts_with("MSG ") {
                let bytes: usize = line
                    .rsplit(' ')
                    .next()
                    .and_then(|text| text.parse().ok())
                    .ok_or("a size in MSG")?;
                let Some(body) = rest.get(size..size + bytes) else { return Ok(taken) };
                if rest.len() < size + bytes + 2 {
                    return Ok(taken);
                }
                on(Heard::Output(None, None, Cow::Borrowed(body)));
                size += bytes + 2;
            } else if line.starts_with("INFO") {
                let hello = format!(
                    "CONNECT {{\"verbose\":false,\"pedantic\":false,\"name\":\"{}\",\"lang\":\"bench\",\"version\":\"0\"}}\r\n",
                    self.name
                );
                self.out.extend_from_slice(hello.as_bytes());
                if self.role != Role::Agent {
                    self.out.extend_from_slice(b"SUB out.* 1\r\n");
                }
                self.out.extend_from_slice(b"PING\r\n");
            } else if line == "PING" {
                self.out.extend_from_slice(b"PONG\r\n");
            } else if line == "PONG" && self.stage == Stage::Hello {
                self.stage = Stage::Live;
                on(Heard::Live);
            } else if line == "PONG" {
                self.heard_beat += 1;
                on(Heard::Beat(self.heard_beat));
            } else if line.starts_with("-ERR") {
                return Err(line);
            }
            taken += size;
        }
    }

    /// A heartbeat; its number.
    pub fn beat(&mut self) -> u64 {
        self.beats += 1;
        match self.dialect {
            Dialect::Extended | Dialect::Legacy | Dialect::Relay => {
                let payload = payloads::beat(&self.id, self.beats, self.heard_beat);
                self.say("AGENT_HEARTBEAT", &payload);
            }
            Dialect::SocketIo => {
                let text = format!(
                    r#"42{0}["beat",{{"sequence":{0},"healthMetrics":{{"cpuUsage":12.5,"memoryUsage":34.0,"uptime":56,"commandsProcessed":7,"activeCommands":1}}}}]"#,
                    self.beats
                );
                websocket::frame(&mut self.out, websocket::TEXT, &[text.as_bytes()]);
            }
            Dialect::Mqtt => self.out.extend_from_slice(&[0xc0, 0]),
            Dialect::Nats => self.out.extend_from_slice(b"PING\r\n"),
        }
        self.beats
    }

    /// A chunk of output: one frame, that stands there in the stream of this command.
    pub fn output(&mut self, stream: u32, command: &str, sequence: u64, offset: u64, bytes: &[u8]) {
        match self.dialect {
            Dialect::Extended => {
                let name = command.as_bytes();
                let mut head = [0; 28];
                head[0] = 1;
                head[2..4].copy_from_slice(&(name.len() as u16).to_be_bytes());
                head[4..12].copy_from_slice(&INCARNATION.to_be_bytes());
                head[12..20].copy_from_slice(&sequence.to_be_bytes());
                head[20..28].copy_from_slice(&offset.to_be_bytes());
                websocket::frame(&mut self.out, websocket::BINARY, &[&head, name, bytes]);
            }
            Dialect::Legacy => {
                let content = String::from_utf8_lossy(bytes);
                let payload = json!({
                    "commandId": command, "agentId": self.id, "content": content, "streamType": "STDOUT", "sequence": sequence,
                });
                self.say("TERMINAL_OUTPUT", &payload);
            }
            Dialect::Relay => websocket::frame(&mut self.out, websocket::BINARY, &[bytes]),
            Dialect::SocketIo => {
                let text = Value::from(String::from_utf8_lossy(bytes)).to_string();
                websocket::frame(
                    &mut self.out,
                    websocket::TEXT,
                    &[br#"42["output","#, text.as_bytes(), b"]"],
                );
            }
            Dialect::Mqtt => {
                let mut head = Vec::with_capacity(20);
                mqtt::text(&mut head, &format!("out/{stream}"));
                self.packet = self.packet.checked_add(1).unwrap_or(1);
                head.extend_from_slice(&self.packet.to_be_bytes());
                mqtt::packet(&mut self.out, 0x32, &[&head, bytes]);
            }
            Dialect::Nats => {
                self.out
                    .extend_from_slice(format!("PUB out.{stream} {}\r\n", bytes.len()).as_bytes());
                self.out.extend_from_slice(bytes);
                self.out.extend_from_slice(b"\r\n");
            }
        }
    }

    /// Asks for a command at an agent, as a dashboard does.
    pub fn ask(&mut self, agent: &str, command: &str, text: &str) {
        let payload = payloads::request(agent, command, text, self.keeping);
        self.say("COMMAND_REQUEST", &payload);
    }

    /// Says that it leaves for good.
    pub fn leave(&mut self) {
        websocket::frame(&mut self.out, websocket::CLOSE, &[&4103u16.to_be_bytes(), b"stopped"]);
    }

    /// What the server calls this agent.
    pub fn id(&self) -> &str {
        &self.id
    }
}

#[cfg(test)]
mod tests;
