//! What processes wrote on its way to the server: the outbox, the relay of what is not to be stored, the runs that an
//! earlier process left, and what must be stored before an end is reported.

use super::outbound::OutboundQueue;
use crate::command::Fate;
use crate::id::{ByteOffset, CommandId, Incarnation};
use crate::model::{Capabilities, Keeping, OutputTotals};
use crate::output::{
    LeftRun, OpenEnds, Outbox, Outgoing, Relay, Run, SpoolAction, SpoolBounds, SpoolEvent,
    SpoolPolicy, SpoolRequest, Stream, StreamState, UnknownEnd,
};
use crate::time::{Deadline, Timestamp};
use crate::wire::payload::{OutputAck, OutputCredit, OutputResume, ReportedStream};
use alloc::string::String;
use alloc::vec::Vec;
use bytes::Bytes;

/// Output, and how far it is stored.
#[derive(Debug)]
pub(super) struct Delivery {
    outbox: Outbox,
    /// The output of runs that is not to be stored.
    relay: Relay,
    turn: Turn,
    /// Runs of an earlier process that are not reported yet.
    left: OpenEnds,
    policy: Option<SpoolPolicy>,
    disk: Disk,
    /// Whether pages are read back from it.
    reading: Disk,
    server: Server,
}

/// Whose output goes out next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    Outbox,
    Relay,
}

/// Whether the disk does what it is asked for, as far as was said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Disk {
    Works,
    Failed,
}

/// What is known of the latest server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Server {
    /// There was none: whether it knows gaps cannot be said.
    Unknown,
    /// It knows gaps, and says how far it is.
    Resumes,
    /// It confirms nothing: a legacy server.
    Simple,
}

/// Whether the end of a command may be reported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Readiness {
    /// Something before it is not stored.
    Waits,
    /// These streams end with gaps of unknown length, which must be declared to the server first.
    OpenEnds(Vec<UnknownEnd>),
    /// Everything before it is stored or declared.
    Ready,
}

/// What a failed write means for what is to be logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum News {
    /// The first failure since the last success: worth a log line.
    Changed,
    /// The spool was known to fail.
    Known,
}

impl Delivery {
    pub(super) fn new(bounds: SpoolBounds, policy: Option<SpoolPolicy>) -> Self {
        Self {
            outbox: Outbox::new(bounds),
            relay: Relay::new(bounds.memory),
            turn: Turn::Outbox,
            left: OpenEnds::default(),
            policy,
            disk: Disk::Works,
            reading: Disk::Works,
            server: Server::Unknown,
        }
    }

    /// Takes up what an earlier process left of a run, whose end it knew or did not.
    pub(super) fn recover(&mut self, run: LeftRun, end: Fate) {
        let name = run.recovered.run().clone();
        self.outbox.recover(run.recovered);
        self.left.leave(name, end == Fate::Ended);
    }

    /// A process runs; what it writes is numbered from here.
    pub(super) fn open(&mut self, run: Run, keeping: Keeping) -> Option<SpoolRequest> {
        if keeping.is_unstored() {
            self.relay.open(run);
            return None;
        }
        // A program in a terminal must not hang because nothing takes its output; of a command every byte counts.
        let by_kind =
            if run.command.is_terminal() { SpoolPolicy::DropOldest } else { SpoolPolicy::Block };
        let policy = self.policy.unwrap_or(by_kind);
        self.outbox.open(run.clone(), policy);
        Some(SpoolRequest::Open(run, policy))
    }

    pub(super) fn push(&mut self, id: &CommandId, stream: Stream, bytes: Bytes) {
        match self.keeping(id) {
            Keeping::Stored => self.outbox.push(id, stream, bytes),
            Keeping::Unstored => self.relay.push(id, stream, bytes),
        }
    }

    /// Whether what this command writes is to be stored.
    pub(super) fn keeping(&self, id: &CommandId) -> Keeping {
        Keeping::of(self.relay.has(id))
    }

    /// How much a command wrote.
    pub(super) fn totals(&self, id: &CommandId) -> Option<OutputTotals> {
        self.relay.totals(id).or_else(|| self.outbox.totals(id))
    }

    /// It ended, and something that outlives it has these streams open. Of output that is not stored nobody awaits the
    /// rest.
    pub(super) fn end(&mut self, id: &CommandId, open: &[Stream]) {
        if self.keeping(id).is_unstored() {
            return;
        }
        self.outbox.end(id);
        if let Some(all) = self.outbox.totals(id).filter(|_| !open.is_empty()) {
            self.left.outlive(Run { command: id.clone(), incarnation: all.incarnation }, open);
        }
    }

    /// The outbox, to look at.
    pub(super) const fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    /// The outbox, to send from.
    pub(super) fn outbox_mut(&mut self) -> &mut Outbox {
        &mut self.outbox
    }

    /// The runs of earlier processes, to look at.
    pub(super) const fn left(&self) -> &OpenEnds {
        &self.left
    }

    /// The relay, to look at.
    #[cfg(any(test, feature = "sim", feature = "testing"))]
    pub(super) const fn relay(&self) -> &Relay {
        &self.relay
    }

    /// Whether nothing waits at all.
    pub(super) const fn is_empty(&self) -> bool {
        self.outbox.is_empty() && self.relay.is_empty()
    }

    pub(super) fn poll_action(&mut self) -> Option<SpoolAction> {
        self.relay.poll_action().or_else(|| self.outbox.poll_action())
    }

    /// The next record to send. What is stored and what is not take turns.
    pub(super) fn next_to_send(&mut self) -> Option<Outgoing> {
        let Self { outbox, relay, turn, .. } = self;
        let (next, other) = match turn {
            Turn::Outbox => (outbox.next_to_send().or_else(|| relay.next_to_send()), Turn::Relay),
            Turn::Relay => (relay.next_to_send().or_else(|| outbox.next_to_send()), Turn::Outbox),
        };
        *turn = other;
        next
    }

    /// A server that acknowledges nothing has this.
    pub(super) fn on_sent_to_legacy(&mut self, sent: &Outgoing) {
        let Outgoing { run, record } = sent;
        match self.keeping(&run.command) {
            Keeping::Stored => self.outbox.on_sent_to_legacy(sent),
            Keeping::Unstored => {
                let (id, end) = (&run.command, record.end());
                self.relay.on_credit(id, run.incarnation, record.stream, end);
            }
        }
    }

    /// Whether nothing more of a command is to be sent that is not stored: its end may be reported then.
    pub(super) fn is_given_away(&self, id: &CommandId) -> bool {
        self.relay.has(id) && self.relay.is_settled(id)
    }

    /// The commands of which that is so.
    pub(super) fn given_away(&self) -> Vec<CommandId> {
        self.relay.settled()
    }

    /// The session ended.
    pub(super) fn on_session_ended(&mut self) {
        self.relay.on_session_ended();
    }

    /// A session began. What is unstored is reported to a server that resumes there.
    pub(super) fn on_session(&mut self, window: u64, capabilities: Capabilities, now: Timestamp) {
        self.left.on_session();
        self.relay.on_session(window);
        if capabilities.output_resumes() {
            self.server = Server::Resumes;
            // It may have more than was acknowledged, which is not to be sent again.
            self.outbox.resume(window, now);
        } else {
            self.server = Server::Simple;
            self.outbox.restart(window);
        }
    }

    /// Whether there was a session.
    pub(super) fn had_session(&self) -> bool {
        self.server != Server::Unknown
    }

    /// Says what is held of which streams: to continue where the server is, or because it asks. Of what is not stored no
    /// server says where it is.
    pub(super) fn report_output_state(
        &self,
        query: Option<String>,
        agreed: Option<Capabilities>,
        outbound: &mut OutboundQueue,
    ) {
        // To resume, a server must hear of each stream that may continue; a question is about what there is.
        let is_reported = |produced: ByteOffset| produced > ByteOffset(0) || query.is_none();
        let is_asked = query.is_some() && agreed.is_some_and(Capabilities::leaves_output_unstored);
        let relayed = self.relay.states().filter(|_| is_asked);
        let states = self.outbox.states().map(|state| (state, Keeping::Stored));
        let streams: Vec<ReportedStream> = states
            .chain(relayed.map(|state| (state, Keeping::Unstored)))
            .filter(|(state, _)| is_reported(state.produced))
            .map(|(state, keeping)| reported(state, keeping))
            .collect();
        if !streams.is_empty() || query.is_some() {
            outbound.output_state(&streams, query);
        }
    }

    /// The server has stored a stream up to here.
    pub(super) fn on_ack(&mut self, ack: &OutputAck, agreed: Option<Capabilities>) {
        let (id, stream) = (&ack.command_id, ack.stream_type.stream());
        if self.keeping(id).is_unstored() {
            // An earlier version stores what it gets of it, and gives no credit.
            return self.relay.on_credit(id, ack.incarnation, stream, ack.offset);
        }
        let reaches_end = self.outbox.written(id, stream).is_some_and(|end| ack.offset >= end);
        // A server that cannot say that it stored an open end is believed when it has all before it.
        let by_position =
            agreed.is_some_and(|agreed| !agreed.open_ends_are_stored()) && reaches_end;
        if ack.open_gap || by_position {
            self.left.on_stored(id, ack.incarnation, stream);
        }
        self.outbox.on_stored(id, ack.incarnation, stream, ack.offset);
        if agreed.is_some_and(|agreed| !agreed.output_resumes()) {
            self.outbox.pass_gaps(id);
        }
    }

    /// The server has what is not stored of a stream up to here.
    pub(super) fn on_credit(&mut self, credit: &OutputCredit) {
        let OutputCredit { command_id, incarnation, stream_type, offset } = credit;
        self.relay.on_credit(command_id, *incarnation, stream_type.stream(), *offset);
    }

    /// The server says how far it is with these streams.
    pub(super) fn on_resume(&mut self, resume: &OutputResume) {
        for position in &resume.streams {
            let stream = position.stream_type.stream();
            self.outbox.on_stored(
                &position.command_id,
                position.incarnation,
                stream,
                position.offset,
            );
        }
        if !resume.more {
            self.outbox.on_resume();
        }
    }

    /// The server of this session does not take what this command wrote.
    pub(super) fn withhold(&mut self, id: &CommandId) {
        self.relay.withhold(id);
        self.outbox.withhold(id);
    }

    /// The command is over for the server: what is kept for it would be sent again and again.
    pub(super) fn give_up(&mut self, id: &CommandId) {
        self.relay.give_up(id);
        if let Some(Incarnation(incarnation)) = self.outbox.totals(id).map(|all| all.incarnation) {
            for stream in Stream::ALL {
                // As if it were stored: so it leaves memory and disk.
                let all = ByteOffset(u64::MAX);
                self.outbox.on_stored(id, Incarnation(incarnation), stream, all);
            }
        }
        self.left.give_up(id);
    }

    /// Whether the end of this command may be reported. Open ends are given once a session.
    pub(super) fn readiness(&mut self, id: &CommandId) -> Readiness {
        if !self.outbox.is_settled(id) || !self.relay.is_settled(id) {
            return Readiness::Waits;
        }
        match self.server {
            // The next server may know gaps, and then it must hear of them before the report.
            Server::Unknown if self.left.has(id) => Readiness::Waits,
            Server::Resumes if self.left.is_open(id) => {
                Readiness::OpenEnds(self.left.declare(id, &self.outbox))
            }
            Server::Unknown | Server::Resumes | Server::Simple => Readiness::Ready,
        }
    }

    /// Its end is reported, and nothing of its output is needed any more.
    pub(super) fn close(&mut self, id: &CommandId) {
        self.left.close(id);
        self.relay.close(id);
        self.outbox.close(id);
    }

    pub(super) fn on_spool(&mut self, event: SpoolEvent, now: Timestamp) -> News {
        match event {
            SpoolEvent::Appended(run, through) => self.outbox.on_appended(&run, through),
            SpoolEvent::Page(run, from, records) => {
                self.reading = Disk::Works;
                self.outbox.on_page(&run, from, records);
            }
            SpoolEvent::NotRead(run, from, _) => {
                self.outbox.on_not_read(&run, from, now);
                if core::mem::replace(&mut self.reading, Disk::Failed) == Disk::Works {
                    return News::Changed;
                }
            }
            SpoolEvent::Failed(_) => {
                self.outbox.on_append_failed(now);
                if core::mem::replace(&mut self.disk, Disk::Failed) == Disk::Works {
                    return News::Changed;
                }
            }
        }
        News::Known
    }

    /// Time has passed. Whether the disk is to be tried again.
    pub(super) fn on_time(&mut self, now: Timestamp) -> Option<SpoolRequest> {
        self.outbox.on_time(now);
        let retries = self.disk == Disk::Failed && self.outbox.disk_works();
        retries.then(|| {
            self.disk = Disk::Works;
            SpoolRequest::Retry
        })
    }

    /// Whether the disk takes no output.
    pub(super) fn disk_has_failed(&self) -> bool {
        self.disk == Disk::Failed
    }

    /// The agent is ending: what does not fit becomes a gap.
    pub(super) fn wind_up(&mut self) {
        self.relay.wind_up();
        self.outbox.wind_up();
    }

    pub(super) fn deadline(&self) -> Deadline {
        self.outbox.deadline()
    }
}

fn reported(state: StreamState, keeping: Keeping) -> ReportedStream {
    ReportedStream {
        command_id: state.run.command,
        incarnation: state.run.incarnation,
        stream_type: state.stream.into(),
        produced: state.produced,
        stored: state.stored,
        gaps: state.gaps,
        unstored: keeping.is_unstored(),
    }
}
