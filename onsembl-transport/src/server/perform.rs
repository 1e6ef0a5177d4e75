//! Performs what the machines of a shard decide: sends, closes, tells the owner. Decides nothing.

use super::events::ShardEvent;
use super::shard::Shard;
use crate::link::Frame;
use crate::pump::{LinkHandle, QueueFull};
use onsembl_protocol::close::CloseCause;
use onsembl_protocol::id::{AgentId, CommandId, Epoch, LinkId};
use onsembl_protocol::model::{Cause, Hop};
use onsembl_protocol::session::frames::{self, Admission};
use onsembl_protocol::session::{AcceptedEvent, BeatOut, ServerAction, Unwanted};
use onsembl_protocol::step::Actions;
use onsembl_protocol::supervisor::Key;
use onsembl_protocol::time::Now;
use onsembl_protocol::wire::{MessageSet as _, ServerToAgent};
use tracing::{debug, error, warn};

impl<A> Shard<A> {
    pub(super) fn perform(&mut self, key: Key, actions: Actions<ServerAction>) {
        if actions.lost() > 0 {
            self.counters.count("actions_lost");
            error!(?key, "a machine asked for more than a step can hold; a part is not done");
        }
        // The link whose session ends with this.
        let mut leaving = None;
        for action in actions {
            match action {
                ServerAction::Admit(link) => self.events.push_back(ShardEvent::Admit { key, link }),
                ServerAction::Welcome { link, epoch } => self.welcome(key, link, epoch),
                ServerAction::Record { epoch, sequence } => {
                    let metrics =
                        self.link_of(key).and_then(|l| self.links.get_mut(&l)?.metrics.take());
                    let at = self.clock.now().wall;
                    debug!(?key, %sequence, "heartbeat received");
                    self.events.push_back(ShardEvent::Record { key, epoch, sequence, at, metrics });
                }
                ServerAction::SendBeat { link, beat } => self.send_beat(key, link, beat),
                ServerAction::SendPing(link) => {
                    let ping = frames::probe(self.clock.now().wall);
                    debug!(?key, "probe sent");
                    self.send_to(link, &ServerToAgent::Ping(ping));
                }
                ServerAction::Close(link, cause) => {
                    let entry = self.links.get(&link);
                    leaving = leaving.or(entry.filter(|entry| entry.beats.is_some()).map(|_| link));
                    match entry.map(|entry| entry.machine.when_closed_for(cause)) {
                        Some(Unwanted::Park) => self.keep_older(key, link),
                        Some(Unwanted::Close) => self.close(link, cause),
                        None => {}
                    }
                }
                ServerAction::Report(presence) => {
                    let of = leaving.or_else(|| self.link_of(key));
                    let beats = of.and_then(|link| self.verdict_of(link)).or(self.parting);
                    self.events.push_back(ShardEvent::Presence { key, presence, beats });
                }
                ServerAction::Overslept(late) => {
                    self.counters.count("overslept");
                    self.events.push_back(ShardEvent::Overslept(late));
                }
                ServerAction::Forget => {
                    // A process behind one of them is to come back: it may be another than the one that left.
                    self.end_parked_of(key, CloseCause::Superseded);
                    let _ = self.supervisor.remove(key);
                    let _ = self.unread.remove(&key);
                    let history = self.recorder.forget(key);
                    self.events.push_back(ShardEvent::Forgotten { key, history });
                }
            }
        }
    }

    pub(super) fn welcome(&mut self, key: Key, link: LinkId, epoch: Epoch) {
        let Some(admission) = self.admissions.remove(&link).filter(|a| a.epoch == epoch) else {
            self.counters.count("welcomes_without_admission");
            return;
        };
        let Some(entry) = self.links.get_mut(&link) else { return };
        entry.session = Some(admission.session.clone());
        entry.agent = Some(admission.agent.clone());
        let capabilities = entry.machine.capabilities();
        self.begin_beats(link);
        self.send_welcome(link, &admission);
        self.events.push_back(ShardEvent::Welcomed {
            key,
            link,
            dialect: capabilities.dialect(),
            capabilities,
        });
        self.at_link(link, AcceptedEvent::Welcomed);
    }

    pub(super) fn send_welcome(&mut self, link: LinkId, admission: &Admission) {
        let Some(entry) = self.links.get(&link) else { return };
        let ack = frames::welcome(
            entry.hello.clone(),
            entry.machine.capabilities(),
            admission,
            &self.rules,
            self.supervisor.rules(),
        );
        self.send_to(link, &ServerToAgent::Ack(ack));
    }

    pub(super) fn send_beat(&mut self, key: Key, link: LinkId, mut beat: BeatOut) {
        let (timing, now) = (self.supervisor.rules().timing, self.clock.now());
        if let Some(seen) = &mut beat.seen {
            self.note_beats_at(now, link, |ledger, now| *seen = ledger.vouch(*seen, now));
        }
        let mut message = frames::heartbeat(&beat, timing, now.wall);
        message.stopped_at = self.stopped_at(now, key, link);
        debug!(?key, sequence = %beat.sequence, lagging = beat.lag.is_some(), "heartbeat answered");
        let (sequence, seen) = (beat.sequence, beat.seen);
        self.note_beats_at(now, link, |ledger, now| {
            ledger.on_made(sequence, now);
            if let Some(seen) = seen {
                ledger.on_answered(seen.sequence, now);
            }
            ledger.on_queued(sequence, now);
        });
        self.put(link, &ServerToAgent::Heartbeat(message), LinkHandle::heartbeat);
        self.events.push_back(ShardEvent::Answered { key, sequence: beat.sequence });
    }

    /// The hop at this end that the agent's heartbeats do not get to.
    fn stopped_at(&self, now: Now, key: Key, link: LinkId) -> Option<Hop> {
        // It is held back, and what it sends waits in its socket.
        if self.unread.contains(&key) {
            return Some(Hop::Received);
        }
        let stop = self.links.get(&link)?.beats.as_ref()?.verdict(now).stopped?;
        let is_here = [Cause::HeartbeatNotHandled, Cause::HeartbeatNotRecorded];
        is_here.contains(&stop.cause).then_some(stop.hop)
    }

    pub(super) fn send_to(&mut self, link: LinkId, message: &ServerToAgent) {
        self.put(link, message, LinkHandle::control);
    }

    fn put(
        &mut self,
        link: LinkId,
        message: &ServerToAgent,
        queue: impl FnOnce(&LinkHandle, Frame) -> Result<(), QueueFull>,
    ) {
        let Some(entry) = self.links.get_mut(&link) else { return };
        let (_, frame) = entry.envelopes.frame(message, self.clock.now().wall);
        if frame.len() > self.limits.message_bytes {
            self.counters.count("own_messages_too_long");
            let (peer, agent, kind, bytes) =
                (&entry.peer, entry.agent.as_ref(), message.kind(), frame.len());
            let (agent, command) = (
                agent.map_or("", AgentId::as_str),
                message.command().map_or("", CommandId::as_str),
            );
            return warn!(%link, %peer, agent, command, kind, bytes, "a message to an agent is too long; it is dropped");
        }
        if queue(&entry.handle, frame).is_err() {
            self.counters.count("control_queue_full");
            warn!(%link, peer = %entry.peer, "the agent does not read; its link is being ended");
        }
    }

    pub(super) fn close(&mut self, link: LinkId, cause: CloseCause) {
        let Some(entry) = self.links.get(&link) else { return };
        debug!(%link, peer = %entry.peer, %cause, "closing a link");
        match cause.is_abrupt() {
            true => entry.handle.abort(cause),
            false => entry.handle.close(cause),
        }
    }
}
