//! Performs what the machines of a shard decide: sends, closes, tells the owner. Decides nothing.

use super::events::{Admission, ShardEvent};
use super::link::Stage;
use super::shard::Shard;
use crate::link::Received;
use crate::pump::{LinkEvent, LinkInput};
use onsembl_protocol::close::CloseCause;
use onsembl_protocol::id::{Epoch, LinkId};
use onsembl_protocol::session::{BeatOut, ServerAction};
use onsembl_protocol::step::Actions;
use onsembl_protocol::supervisor::Key;
use onsembl_protocol::time::WallTime;
use onsembl_protocol::wire::payload::{
    Ack, Ping, RecordedBeat, RecordingLag, SeenBeat, ServerHeartbeat, Welcome,
};
use onsembl_protocol::wire::{NextBeat, ServerToAgent};
use tracing::{debug, warn};

impl<A> Shard<A> {
    pub(super) fn perform(&mut self, key: Key, actions: Actions<ServerAction>) {
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
                    let timestamp = Some(self.clock.now().wall.unix_millis() as f64);
                    debug!(?key, "probe sent");
                    self.send_to(link, &ServerToAgent::Ping(Ping { timestamp, sequence: None }));
                }
                ServerAction::Close(link, cause) => self.close(link, cause),
                ServerAction::Report(presence) => {
                    self.events.push_back(ShardEvent::Presence { key, presence });
                }
                ServerAction::Overslept(late) => {
                    self.counters.count("overslept");
                    self.events.push_back(ShardEvent::Overslept(late));
                }
                ServerAction::Forget => {
                    let _ = self.supervisor.remove(key);
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
        entry.stage = Stage::Live { key, session: admission.session.clone() };
        entry.agent = Some(admission.agent.clone());
        let capabilities = entry.capabilities;
        let held = std::mem::take(&mut entry.held);
        entry.handle.resume();
        self.send_welcome(link, &admission);
        self.events.push_back(ShardEvent::Welcomed {
            key,
            link,
            dialect: capabilities.dialect(),
            capabilities,
        });
        for text in held {
            self.inbox_again(link, text);
        }
    }

    /// Frames that waited for the session are handled before any that comes after it: they go
    /// through the same path, now.
    pub(super) fn inbox_again(&mut self, link: LinkId, text: String) {
        self.on_link_event(LinkEvent { link, what: LinkInput::Received(Received::Text(text)) });
    }

    pub(super) fn send_welcome(&mut self, link: LinkId, admission: &Admission) {
        let Some(entry) = self.links.get(&link) else { return };
        let extensions = entry.capabilities.is_extended().then(|| Welcome {
            features: entry.capabilities.features(),
            session_id: admission.session.clone(),
            epoch: admission.epoch,
            server_instance: self.rules.server_instance.clone(),
            timing: self.supervisor.rules().timing.into(),
            resume_window_ms: self.supervisor.rules().resume_window.as_millis() as u64,
            output_window_bytes: self.rules.output_window,
            stopped: admission.stopped.clone(),
        });
        let ack = Ack {
            message_id: entry.hello.clone(),
            success: true,
            connection_id: Some(format!("agent-{}", admission.session)),
            agent_id: Some(admission.agent.clone()),
            authenticated: Some(true),
            extensions,
            ..Ack::default()
        };
        self.send_to(link, &ServerToAgent::Ack(ack));
    }

    pub(super) fn send_beat(&mut self, key: Key, link: LinkId, beat: BeatOut) {
        let wall = self.clock.now().wall;
        let interval = self.supervisor.rules().timing.interval().as_millis() as i64;
        let message = ServerHeartbeat {
            server_time: Some(wall),
            next_ping_expected: Some(NextBeat::At(WallTime::from_unix_millis(
                wall.unix_millis().saturating_add(interval),
            ))),
            sequence: Some(beat.sequence),
            seen: beat
                .seen
                .map(|s| SeenBeat { sequence: s.sequence, age_ms: s.age.as_millis() as u64 }),
            recorded: beat.recorded.map(|(sequence, at)| RecordedBeat { sequence, at: Some(at) }),
            recording_lag: beat.lag.map(|(age, why)| RecordingLag {
                age_ms: age.as_millis() as u64,
                why: why.to_string(),
            }),
        };
        debug!(?key, sequence = %beat.sequence, lagging = beat.lag.is_some(), "heartbeat answered");
        self.send_to(link, &ServerToAgent::Heartbeat(message));
        self.events.push_back(ShardEvent::Answered { key, sequence: beat.sequence });
    }

    pub(super) fn send_to(&mut self, link: LinkId, message: &ServerToAgent) {
        let Some(entry) = self.links.get_mut(&link) else { return };
        let (_, frame) = entry.envelopes.frame(message, self.clock.now().wall);
        if entry.handle.control(frame).is_err() {
            self.counters.count("control_queue_full");
            warn!(%link, peer = %entry.peer, "the agent does not read; its link is being ended");
        }
    }

    pub(super) fn close(&mut self, link: LinkId, cause: CloseCause) {
        let _ = self.greeting.remove(&link);
        let _ = self.probes.remove(&link);
        let Some(entry) = self.links.get(&link) else { return };
        debug!(%link, peer = %entry.peer, %cause, "closing a link");
        match cause {
            CloseCause::Silent => entry.handle.abort(cause),
            cause => entry.handle.close(cause),
        }
    }
}
