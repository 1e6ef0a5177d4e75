//! What links bring: each event goes to the fleet of its user, or is gathered for it.

use super::gathered::Gathered;
use super::request::BeatHop;
use super::run::Hub;
use super::seats::Seated;
use crate::auth::OpenRequest;
use crate::store::HeartbeatRow;
use onsembl_protocol::fleet::{FleetEvent, SeatId};
use onsembl_protocol::supervisor::Key;
use onsembl_transport::server::ShardEvent;
use tracing::warn;

impl Hub {
    pub(super) fn on_shard(&mut self, event: ShardEvent<OpenRequest>) {
        // What is gathered comes before everything else.
        if !is_gathered(&event) {
            self.hand_over();
        }
        match event {
            ShardEvent::Hello(claim) => {
                let identity = claim.auth.identity();
                let (user, bearer) = (identity.user.clone(), identity.bearer());
                let (link, hello, peer) = (claim.link, claim.hello, claim.peer);
                match self.edge.tokens.hello(link, claim.auth) {
                    None => self.feed(&user, FleetEvent::Hello { link, hello, peer, bearer }),
                    ending @ Some(_) => self.edge.end(ending),
                }
            }
            ShardEvent::Silent { link, named } => {
                if let Some(identity) = self.edge.shard.bearer(link).map(OpenRequest::identity) {
                    let (user, bearer) = (identity.user.clone(), identity.bearer());
                    self.feed(&user, FleetEvent::Silent { link, named, bearer });
                }
            }
            ShardEvent::Parked { key, link, session } => {
                let ending = self.edge.tokens.parked(link, key);
                self.edge.end(ending);
                self.feed_seat(key, |seat| FleetEvent::Parked { seat, link, session });
            }
            ShardEvent::Admit { key, link } => {
                self.feed_seat(key, |seat| FleetEvent::Admit { seat, link });
            }
            ShardEvent::Welcomed { key, link, capabilities, dialect: _ } => {
                let ending = self.edge.tokens.welcomed(link, key);
                self.feed_seat(key, |seat| FleetEvent::Welcomed { seat, link, capabilities });
                self.edge.end(ending);
            }
            ShardEvent::Record { key, epoch, sequence, at, metrics } => {
                if let Some(metrics) = metrics {
                    self.feed_seat(key, |seat| FleetEvent::Metrics { seat, metrics });
                }
                let Some(agent) = self.edge.seats.of(key).and_then(|s| s.agent.clone()) else {
                    return;
                };
                self.edge.metrics.heartbeat(BeatHop::Received);
                self.edge.observe(&agent, sequence, BeatHop::Received, at);
                let metrics = metrics.and_then(|m| serde_json::to_string(&m).ok());
                let row = HeartbeatRow { agent, epoch, sequence, at, metrics };
                self.edge.store.record_heartbeat(row);
            }
            ShardEvent::Paused { key, pausing } => {
                self.feed_seat(key, |seat| FleetEvent::Paused { seat, pausing });
            }
            ShardEvent::Presence { key, presence, beats } => {
                self.edge.metrics.presence(&presence);
                self.feed_seat(key, |seat| FleetEvent::Presence { seat, presence, beats });
            }
            ShardEvent::Beats { key, verdict } => {
                self.feed_seat(key, |seat| FleetEvent::Beats { seat, verdict });
            }
            ShardEvent::Message { key, message, now: _ } => {
                self.edge.metrics.message(&message);
                self.gather(key, |gathered, Seated { user, seat, .. }| {
                    gathered.said(user, FleetEvent::Message { seat: *seat, message });
                });
            }
            ShardEvent::Heard { key, at } => {
                self.gather(key, |gathered, seated| gathered.heard(&seated.user, seated.seat, at));
            }
            ShardEvent::LinkEnded { key, link, session, reason } => {
                self.edge.tokens.link_ended(link);
                let event = |seat| FleetEvent::LinkEnded { seat, link, session, reason };
                self.feed_seat(key, event);
            }
            ShardEvent::Forgotten { key, history } => {
                self.edge.tokens.forgotten(key);
                if let Some(seated) = self.edge.seats.remove(key) {
                    let event = FleetEvent::Forgotten { seat: seated.seat, history };
                    self.feed(&seated.user, event);
                }
            }
            ShardEvent::Overslept(late) => {
                self.edge.metrics.stalled(late);
                let late_ms = late.as_millis() as u64;
                warn!(
                    late_ms,
                    "this process was suspended; that time counts as no agent's silence"
                );
            }
            ShardEvent::Answered { key, sequence } => {
                self.edge.metrics.heartbeat(BeatHop::Answered);
                if let Some(agent) = self.edge.seats.of(key).and_then(|s| s.agent.as_ref()) {
                    let at = self.clock.now().wall;
                    self.edge.observe(agent, sequence, BeatHop::Answered, at);
                }
            }
        }
    }

    /// Keeps something about a seat until all that has arrived was taken.
    fn gather(&mut self, key: Key, keep: impl FnOnce(&mut Gathered, &Seated)) {
        match self.edge.seats.of(key) {
            Some(seated) => keep(&mut self.gathered, seated),
            None => self.edge.counters.count("events_of_forgotten_agents"),
        }
    }

    fn feed_seat(&mut self, key: Key, event: impl FnOnce(SeatId) -> FleetEvent) {
        match self.edge.seats.of(key) {
            Some(seated) => {
                let (user, seat) = (seated.user.clone(), seated.seat);
                self.feed(&user, event(seat));
            }
            None => self.edge.counters.count("events_of_forgotten_agents"),
        }
    }
}

/// Whether an event waits until all that has arrived was taken.
pub(super) const fn is_gathered<A>(event: &ShardEvent<A>) -> bool {
    matches!(event, ShardEvent::Message { .. } | ShardEvent::Heard { .. })
}

#[cfg(test)]
mod tests {
    use super::super::run::HubParts;
    use super::*;
    use crate::auth::{Identity, Opens, TokenKind};
    use crate::fleet_view::FleetViews;
    use crate::metrics::Metrics;
    use crate::own_faults::FaultRecord;
    use crate::store::Store;
    use crate::traces::Traces;
    use onsembl_protocol::fleet::OpenKind;
    use onsembl_protocol::id::{AgentKey, InstanceId, LinkId, ServerInstanceId, UserId};
    use onsembl_protocol::model::AGENT_FEATURES;
    use onsembl_protocol::session::ServerConfig;
    use onsembl_protocol::time::WallTime;
    use onsembl_protocol::wire::payload::{
        AgentConnect, AgentExtensions, AgentType, LegacyCapabilities,
    };
    use onsembl_transport::counters::Counters;
    use onsembl_transport::server::HelloClaim;

    /// No event tells the hub how such a link ends.
    #[tokio::test]
    async fn nothing_is_kept_of_a_diagnosis_connection() {
        let dir = tempfile::tempdir().unwrap();
        let at = WallTime::from_unix_millis(1_700_000_000_000);
        let (store, receipts) = Store::open(dir.path(), at).await.unwrap();
        let (opens, link_ends) = Opens::new(Counters::default());
        let parts = HubParts {
            store,
            receipts,
            link_ends,
            fleet_views: FleetViews::default(),
            metrics: Metrics::new(Counters::default()),
            own_faults: FaultRecord::default(),
            counters: Counters::default(),
            config: ServerConfig::DEFAULT,
            instance: ServerInstanceId::new("s"),
            recording: 0,
            traces: Traces::default(),
            observer: None,
        };
        let (mut hub, _handle) = Hub::open(parts).await.unwrap();
        let extensions = AgentExtensions {
            features: AGENT_FEATURES.to_vec(),
            agent_key: AgentKey::new("k"),
            instance: InstanceId::new("i"),
            probe: true,
            commands: Vec::new(),
            journal: None,
            max_parallel: None,
            stop_id: None,
        };
        let hello = AgentConnect {
            agent_id: "k".to_owned(),
            name: None,
            agent_type: AgentType::Custom,
            version: None,
            host_machine: None,
            capabilities: LegacyCapabilities::default(),
            extensions: Some(extensions),
        };
        hub.on_shard(ShardEvent::Hello(HelloClaim {
            link: LinkId(1),
            auth: opens
                .open(OpenKind::AgentLink, Identity::new(UserId::new("u"), TokenKind::Agent, "t")),
            hello: Box::new(hello),
            peer: "somewhere".to_owned(),
        }));
        assert!(hub.edge.tokens.is_empty());
    }
}
