//! What the agent says of its commands: when, in which form, and what counts as said.

use super::agent::Agent;
use super::due::{Rules, Word};
use bytes::Bytes;
use onsembl_protocol::id::{ChunkSequence, CommandId, Incarnation};
use onsembl_protocol::output::{GapCause, Outgoing, Record, RecordBody, Run, gap_notice};
use onsembl_protocol::time::Deadline;
use onsembl_protocol::wire::payload::{
    CommandAck, CommandPhase, OutputContent, OutputGap, StopReceipt, TerminalOutput,
};
use onsembl_protocol::wire::{AgentToServer, OutputFrame};
use std::time::Duration;

/// How long a report may go unconfirmed within a session before it is said again.
const CONFIRM_WITHIN: Duration = Duration::from_secs(30);

/// A word as it travels.
enum Said {
    /// The server of this session has no form for it.
    Nothing,
    Text(Box<AgentToServer>),
    Binary(Bytes),
}

impl Agent {
    /// Says what there is to say, as far as the link has room.
    pub(super) fn speak(&mut self) {
        while let Some(rules) = self.rules {
            if !self.driver.has_room() {
                if self.commands.has_words() {
                    self.driver.want_room();
                }
                return;
            }
            let Some(word) = self.commands.next_word() else { return };
            let sent = match self.message(&word, rules) {
                Said::Nothing => {
                    self.commands.said(&word, rules);
                    continue;
                }
                Said::Text(message) => self.driver.send_output(&message),
                Said::Binary(message) => self.driver.send_binary(message),
            };
            // All by the queue that makes senders wait: after a long absence there may be more
            // reports than the other one holds, and it is the order of this one that keeps a report
            // behind its output where nothing is acknowledged.
            if let Err(error) = sent {
                tracing::debug!(%error, "the session is over; what is unconfirmed waits for the next");
                self.rules = None;
                return;
            }
            self.commands.said(&word, rules);
            let now = self.clock.now().monotonic;
            if !rules.reports_are_confirmed || !rules.output_is_stored {
                self.unconfirmed_at = Some(now);
            }
            if rules.reports_are_confirmed && matches!(word, Word::Over(_)) {
                self.repeat_at = Deadline::At(now.saturating_add(CONFIRM_WITHIN));
            }
        }
    }

    /// The word in the form that the server of this session understands, if it has one.
    fn message(&self, word: &Word, rules: Rules) -> Said {
        if let Word::Wrote(sent) = word
            && rules.output_is_binary
            && let Some(message) = binary(sent)
        {
            return Said::Binary(message);
        }
        self.text(word, rules).map_or(Said::Nothing, |message| Said::Text(Box::new(message)))
    }

    fn text(&self, word: &Word, rules: Rules) -> Option<AgentToServer> {
        let agent_id = self.driver.agent_id().cloned();
        Some(match word {
            Word::Stopped(stop_id, stage) => AgentToServer::StopReceipt(StopReceipt {
                stop_id: stop_id.clone(),
                stage: stage.clone(),
            }),
            Word::Opened(opened) if rules.knows_terminals => {
                AgentToServer::TerminalOpened(opened.clone())
            }
            Word::Opened(_) => return None,
            Word::Has(id) if id.is_terminal() && !rules.knows_terminals => return None,
            Word::Over(report) if report.command_id.is_terminal() && !rules.knows_terminals => {
                return None;
            }
            Word::Holds(state) => AgentToServer::OutputState(state.clone()),
            Word::BrokeOff(run, stream, at) => AgentToServer::OutputGap(OutputGap {
                command_id: run.command.clone(),
                agent_id,
                incarnation: run.incarnation,
                stream_type: (*stream).into(),
                // The server numbers it behind what it has.
                sequence: ChunkSequence(0),
                offset: *at,
                length: None,
                because: GapCause::AgentDied,
                timestamp: None,
            }),
            Word::Has(id) => AgentToServer::CommandAck(CommandAck {
                command_id: id.clone(),
                agent_id,
                status: self.commands.status(id),
                queue_position: None,
            }),
            Word::Over(report) => {
                let mut report = report.clone();
                report.agent_id = agent_id;
                report.status = told(report.status, rules);
                AgentToServer::CommandComplete(report)
            }
            Word::Wrote(Outgoing { run, record }) => match &record.body {
                RecordBody::Chunk(bytes) if rules.output_is_stored => {
                    let content = OutputContent::from_bytes(bytes);
                    AgentToServer::Output(TerminalOutput {
                        agent_id,
                        ..output(run, record, content)
                    })
                }
                RecordBody::Chunk(bytes) => {
                    let text = String::from_utf8_lossy(bytes).into_owned();
                    AgentToServer::Output(self.legacy(run, record, text))
                }
                RecordBody::Gap { length, because } if rules.output_resumes => {
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
                RecordBody::Gap { .. } if rules.output_is_stored => return None,
                RecordBody::Gap { length, because } => {
                    let text = format!("\n{}\n", gap_notice(Some(*length), *because));
                    AgentToServer::Output(self.legacy(run, record, text))
                }
            },
        })
    }

    /// Output for a server that knows only text. What a terminal writes belongs to no command there,
    /// but to the agent itself.
    fn legacy(&self, run: &Run, record: &Record, text: String) -> TerminalOutput {
        let agent_id = self.driver.agent_id().cloned();
        let output = legacy(run, record, text);
        let command_id = match &agent_id {
            Some(agent) if run.command.is_terminal() => CommandId::new(agent),
            Some(_) | None => output.command_id,
        };
        TerminalOutput { agent_id, command_id, ..output }
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
fn told(status: CommandPhase, rules: Rules) -> CommandPhase {
    match status {
        CommandPhase::Lost if rules.knows_journals => CommandPhase::Lost,
        CommandPhase::Lost | CommandPhase::OutcomeUnknown if rules.reports_are_confirmed => {
            CommandPhase::OutcomeUnknown
        }
        // A legacy server knows three ends. The text says what this one is.
        CommandPhase::Lost | CommandPhase::OutcomeUnknown => CommandPhase::Failed,
        status => status,
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

/// Output for a server that knows only text.
fn legacy(run: &Run, record: &Record, text: String) -> TerminalOutput {
    let number = legacy_sequence(run.incarnation, record.sequence.0);
    TerminalOutput {
        sequence: Some(ChunkSequence(number)),
        offset: None,
        incarnation: None,
        ..output(run, record, OutputContent::Text(text))
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
