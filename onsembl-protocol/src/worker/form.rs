//! The form of each message for the server of a session, and what has none.

use super::escapes::Escapes;
use super::event::{WorkerMessage, WorkerSession};
use super::outbound::Outbound;
use super::typed_commands::Waits;
use crate::id::{ChunkSequence, CommandId, Incarnation};
use crate::model::Capabilities;
use crate::output::{Outgoing, Record, RecordBody, Run, Stream, gap_notice};
use crate::wire::payload::{
    CommandAck, CommandPhase, OutputContent, OutputGap, StopReceipt, StreamType, TerminalOpened,
    TerminalOutput, TerminalSized, WaitsFor,
};
use crate::wire::{AgentToServer, OutputFrame};
use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use bytes::Bytes;

/// What is said of what a command waits for. A server that does not know whose a line is takes each for one at the
/// agent's own terminal, and shows for how long it is waited for as it always did.
fn waits_for(waits: Option<&Waits>, capabilities: Capabilities) -> (Option<WaitsFor>, Option<u64>) {
    let waits = waits.filter(|_| capabilities.says_what_typing_waits_for());
    let Some(Waits { what, line_idle }) = waits else { return (None, None) };
    if capabilities.says_whose_line() {
        let idle = line_idle.map(|idle| u64::try_from(idle.as_millis()).unwrap_or(u64::MAX));
        return (Some(what.clone()), idle);
    }
    let what = match what {
        WaitsFor::RemoteLine => WaitsFor::BegunLine,
        WaitsFor::Program | WaitsFor::Reader | WaitsFor::BegunLine | WaitsFor::Unknown(_) => {
            what.clone()
        }
    };
    (Some(what), None)
}

impl WorkerSession {
    /// The form of it; `None` if this server has none, and then it counts as said.
    pub(super) fn form(&self, item: &Outbound, escapes: &Escapes) -> Option<WorkerMessage> {
        if let Outbound::Output(sent) = item
            && self.capabilities.output_is_binary()
            && let Some(message) = binary(sent)
        {
            return Some(WorkerMessage::Binary(message));
        }
        self.text(item, escapes).map(|message| WorkerMessage::Text(Box::new(message)))
    }

    fn text(&self, item: &Outbound, escapes: &Escapes) -> Option<AgentToServer> {
        let (agent_id, capabilities) = (self.agent.clone(), self.capabilities);
        let is_unknown = |id: &CommandId| id.is_terminal() && !capabilities.knows_terminals();
        Some(match item {
            Outbound::Receipt(stop_id, stage) => AgentToServer::StopReceipt(StopReceipt {
                stop_id: stop_id.clone(),
                stage: stage.clone(),
            }),
            Outbound::Opened(opened) if capabilities.knows_terminals() => {
                let size = opened.size.filter(|_| capabilities.records_sizes());
                AgentToServer::TerminalOpened(TerminalOpened { size, ..opened.clone() })
            }
            Outbound::Typed(state) if capabilities.types() => {
                AgentToServer::TerminalInputState(state.clone())
            }
            Outbound::Typed(_) => return None,
            Outbound::Size(terminal, record) if capabilities.records_sizes() => {
                AgentToServer::TerminalSize(TerminalSized::new(terminal.clone(), None, *record))
            }
            Outbound::Opened(_) | Outbound::Size(..) => return None,
            Outbound::Acknowledgement(id, ..) if is_unknown(id) => return None,
            Outbound::Complete(report) if is_unknown(&report.command_id) => return None,
            Outbound::OutputState(state) => AgentToServer::OutputState(state.clone()),
            Outbound::Activity(activity) => AgentToServer::Activity(activity.clone()),
            Outbound::BlackBox(found) => AgentToServer::BlackBox(found.clone()),
            Outbound::OpenEnd(end) => AgentToServer::OutputGap(OutputGap {
                command_id: end.run.command.clone(),
                agent_id,
                incarnation: end.run.incarnation,
                stream_type: end.stream.into(),
                // The server numbers it behind what it has.
                sequence: ChunkSequence(0),
                offset: end.at,
                length: None,
                because: end.because,
                timestamp: None,
            }),
            Outbound::Acknowledgement(id, status, waits, keeping) => {
                let (waits_for, line_idle_ms) = waits_for(waits.as_ref(), capabilities);
                AgentToServer::CommandAck(CommandAck {
                    command_id: id.clone(),
                    agent_id,
                    status: status.clone(),
                    queue_position: None,
                    waits_for,
                    line_idle_ms,
                    unstored: keeping.is_unstored() && capabilities.leaves_output_unstored(),
                })
            }
            Outbound::Complete(report) => {
                let mut report = report.clone();
                report.agent_id = agent_id;
                report.status = phase(report.status, capabilities);
                if let Some(output) = &mut report.output {
                    output.unstored &= capabilities.leaves_output_unstored();
                }
                AgentToServer::CommandComplete(report)
            }
            Outbound::Output(Outgoing { run, record }) => match &record.body {
                RecordBody::Chunk(bytes) if capabilities.output_is_stored() => {
                    let content = OutputContent::from_bytes(bytes);
                    AgentToServer::Output(TerminalOutput {
                        agent_id,
                        ..output(run, record, content)
                    })
                }
                RecordBody::Chunk(bytes) => {
                    let raw = String::from_utf8_lossy(bytes).into_owned();
                    let content = match escapes.without(run, record.stream, &raw) {
                        Some(text) => OutputContent::Stripped { text, raw },
                        None => OutputContent::Text(raw),
                    };
                    AgentToServer::Output(self.legacy(run, record, content))
                }
                RecordBody::Gap { length, because } if capabilities.output_resumes() => {
                    AgentToServer::OutputGap(OutputGap {
                        command_id: run.command.clone(),
                        agent_id,
                        incarnation: run.incarnation,
                        stream_type: record.stream.into(),
                        sequence: record.sequence,
                        offset: record.offset,
                        length: Some(*length),
                        because: *because,
                        timestamp: None,
                    })
                }
                // It sees the gap by the next offset.
                RecordBody::Gap { .. } if capabilities.output_is_stored() => return None,
                RecordBody::Gap { length, because } => {
                    let text = format!("\n{}\n", gap_notice(Some(*length), *because));
                    AgentToServer::Output(self.legacy(run, record, OutputContent::Text(text)))
                }
            },
        })
    }

    /// Output for a server that knows only text. What a terminal writes belongs to no command there,
    /// but to the agent itself.
    fn legacy(&self, run: &Run, record: &Record, content: OutputContent) -> TerminalOutput {
        let command_id = match &self.agent {
            Some(agent) if run.command.is_terminal() => CommandId::new(agent),
            Some(_) | None => run.command.clone(),
        };
        let number = legacy_sequence(run.incarnation, record.sequence.0);
        TerminalOutput {
            agent_id: self.agent.clone(),
            command_id,
            sequence: Some(ChunkSequence(number)),
            offset: None,
            incarnation: None,
            // It knows no terminals.
            stream: match record.stream {
                Stream::Stdout | Stream::Terminal => StreamType::Stdout,
                Stream::Stderr => StreamType::Stderr,
            },
            ..output(run, record, content)
        }
    }
}

/// A chunk as a binary message; `None` if it is none.
fn binary(Outgoing { run, record }: &Outgoing) -> Option<Bytes> {
    let RecordBody::Chunk(bytes) = &record.body else { return None };
    let frame = OutputFrame {
        command_id: run.command.clone(),
        incarnation: run.incarnation,
        stream: record.stream,
        sequence: record.sequence,
        offset: record.offset,
        bytes: bytes.clone(),
    };
    frame.encode()
}

/// An end in the words that the server knows.
fn phase(phase: CommandPhase, capabilities: Capabilities) -> CommandPhase {
    match phase {
        CommandPhase::Lost if capabilities.keeps_journals() => CommandPhase::Lost,
        CommandPhase::Lost | CommandPhase::OutcomeUnknown
            if capabilities.reports_are_confirmed() =>
        {
            CommandPhase::OutcomeUnknown
        }
        // A legacy server knows three ends. The text says what this one is.
        CommandPhase::Lost | CommandPhase::OutcomeUnknown => CommandPhase::Failed,
        phase @ (CommandPhase::Pending
        | CommandPhase::Queued
        | CommandPhase::Delivered
        | CommandPhase::Running
        | CommandPhase::Cancelling
        | CommandPhase::Completed
        | CommandPhase::Failed
        | CommandPhase::Cancelled
        | CommandPhase::Unknown(_)) => phase,
    }
}

/// Output for a server that stores bytes.
fn output(run: &Run, record: &Record, content: OutputContent) -> TerminalOutput {
    TerminalOutput {
        command_id: run.command.clone(),
        agent_id: None,
        stream: record.stream.into(),
        content,
        sequence: Some(record.sequence),
        offset: Some(record.offset),
        incarnation: Some(run.incarnation),
    }
}

/// The number of a chunk for a server that tells chunks by nothing else: unique over all runs of a
/// command, for as long as the server lives, and within the 31 bits that existing databases take.
/// The start in seconds, which repeats after 4.5 hours, and 65,536 numbers for each.
fn legacy_sequence(incarnation: Incarnation, sequence: u64) -> u64 {
    let second = (incarnation.0 / 1000) % (1 << 14);
    (second << 16) + (sequence & 0x3fff_ffff)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{AgentId, ByteOffset};

    /// What such a server is sent of this text of a terminal.
    fn to_legacy_server(text: &str, escapes: &mut Escapes) -> serde_json::Value {
        let session = WorkerSession {
            agent: Some(AgentId::new("ada")),
            capabilities: Capabilities::LEGACY,
            output_window: 1 << 20,
            stopped: None,
        };
        let run = Run { command: CommandId::of_terminal("1"), incarnation: Incarnation(1) };
        let body = RecordBody::Chunk(Bytes::copy_from_slice(text.as_bytes()));
        let (sequence, offset) = (ChunkSequence(1), ByteOffset(0));
        let record = Record { sequence, stream: Stream::Terminal, offset, body };
        let item = Outbound::Output(Outgoing { run, record });
        let Some(WorkerMessage::Text(message)) = session.form(&item, escapes) else {
            panic!("a legacy server is sent text");
        };
        let AgentToServer::Output(output) = *message else { panic!("{message:?}") };
        escapes.passed(&item);
        serde_json::to_value(output).unwrap()
    }

    #[test]
    fn a_legacy_server_is_sent_text_without_escape_sequences_and_the_raw_text_beside_it() {
        let mut escapes = Escapes::default();
        let sent = to_legacy_server("\u{1b}[7mecho\u{1b}[27m\n\u{1b}[3", &mut escapes);
        assert_eq!(sent["commandId"], "ada");
        assert_eq!(sent["streamType"], "STDOUT", "it knows no terminals");
        assert_eq!(sent["content"], "echo\n");
        assert_eq!(sent["ansiCodes"], "\u{1b}[7mecho\u{1b}[27m\n\u{1b}[3");
        let sent = to_legacy_server("1mred", &mut escapes);
        assert_eq!((&sent["content"], &sent["ansiCodes"]), (&"red".into(), &"1mred".into()));
        let sent = to_legacy_server("plain", &mut escapes);
        assert_eq!(sent["content"], "plain");
        assert!(sent.get("ansiCodes").is_none() && sent.get("encoding").is_none(), "{sent}");
    }

    #[test]
    fn numbers_for_legacy_servers_differ_between_runs_and_fit_their_databases() {
        let number = |ms, n| legacy_sequence(Incarnation(ms), n);
        let start = 1_764_000_000_000;
        assert!(number(start, 1) < number(start, 2));
        assert!(number(start, 65_535) < number(start + 1000, 1));
        for ms in [0, start, u64::MAX] {
            assert!(number(ms, u64::MAX) < 1 << 31);
        }
    }
}
