//! Performs what the machines of a shard decide: sends, closes, tells the owner. Decides nothing.

use super::events::ShardEvent;
use super::shard::Shard;
use onsembl_protocol::close::CloseCause;
use onsembl_protocol::id::{Epoch, LinkId};
use onsembl_protocol::model::{Cause, Hop};
use onsembl_protocol::session::frames::{self, Admission};
use onsembl_protocol::session::{AcceptedEvent, BeatOut, ServerAction, Unwanted};
use onsembl_protocol::step::Actions;
use onsembl_protocol::supervisor::Key;
use onsembl_protocol::time::Now;
use onsembl_protocol::wire::ServerToAgent;
use tracing::{debug, error};

impl<A> Shard<A> {
    pub(super) fn perform(&mut self, key: Key, actions: Actions<ServerAction>) {
        if actions.lost() > 0 {
            self.counters.count("actions_lost");
            error!(?key, "a machine returned more actions than a step holds; some are lost");
        }
        // The link whose session ends with this.
        let mut leaving = None;
        for action in actions {
            match action {
                ServerAction::Admit(link) => self.events.push_back(ShardEvent::Admit { key, link }),
                ServerAction::Welcome { link, epoch } => self.welcome(key, link, epoch),
                ServerAction::Record { epoch, sequence } => {
                    let metrics =
                        self.link_of(key).and_then(|l| self.links.get_mut(l)?.metrics.take());
                    let metrics = metrics.map(|metrics| *metrics);
                    let at = self.now().wall;
                    debug!(?key, %sequence, "heartbeat received");
                    self.events.push_back(ShardEvent::Record { key, epoch, sequence, at, metrics });
                }
                ServerAction::SendBeat { link, beat } => self.send_beat(key, link, beat),
                ServerAction::SendPing(link) => {
                    let ping = frames::probe(self.now().wall);
                    debug!(?key, "probe sent");
                    self.send_to(link, &ServerToAgent::Ping(ping));
                }
                ServerAction::Close(link, cause) => {
                    let entry = self.links.get(link);
                    leaving = leaving.or(entry.filter(|entry| entry.beats.is_some()).map(|_| link));
                    match entry.map(|entry| entry.machine.when_closed_for(cause)) {
                        Some(Unwanted::Park) => self.keep_older(key, link),
                        Some(Unwanted::Close) => self.links.close(link, cause),
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
                    self.links.close_parked(key, CloseCause::Superseded);
                    self.unread.remove(key);
                    let history = self.machines.forget(key);
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
        let Some(entry) = self.links.get_mut(link) else { return };
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
        let Some(entry) = self.links.get_mut(link) else { return };
        let ack = frames::welcome(
            entry.hello.take(),
            entry.machine.capabilities(),
            admission,
            &self.rules,
            self.machines.rules(),
        );
        self.send_to(link, &ServerToAgent::Ack(ack));
    }

    pub(super) fn send_beat(&mut self, key: Key, link: LinkId, mut beat: BeatOut) {
        let (timing, now) = (self.machines.rules().timing, self.now());
        if let Some(seen) = &mut beat.seen {
            self.note_beats_at(now, link, |hops, now| *seen = hops.vouch(*seen, now));
        }
        let mut message = frames::heartbeat(&beat, timing, now.wall);
        message.stopped_at = self.stopped_at(now, key, link);
        debug!(?key, sequence = %beat.sequence, lagging = beat.lag.is_some(), "heartbeat answered");
        let (sequence, seen) = (beat.sequence, beat.seen);
        self.note_beats_at(now, link, |hops, now| {
            hops.on_made(sequence, now);
            if let Some(seen) = seen {
                hops.on_answered(seen.sequence, now);
            }
            hops.on_queued(sequence, now);
        });
        self.links.send_beat(link, &ServerToAgent::Heartbeat(message), now.wall);
        self.events.push_back(ShardEvent::Answered { key, sequence: beat.sequence });
    }

    /// The hop at this end that the agent's heartbeats do not get to.
    fn stopped_at(&self, now: Now, key: Key, link: LinkId) -> Option<Hop> {
        // It is held back, and what it sends waits in its socket.
        if self.unread.contains(key) {
            return Some(Hop::Received);
        }
        let stop = self.links.get(link)?.beats.as_ref()?.verdict(now).stopped?;
        let is_here = [Cause::HeartbeatNotHandled, Cause::HeartbeatNotRecorded];
        is_here.contains(&stop.cause).then_some(stop.hop)
    }

    pub(super) fn send_to(&mut self, link: LinkId, message: &ServerToAgent) {
        self.links.send(link, message, self.now().wall);
    }
}
