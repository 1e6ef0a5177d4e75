//! What a server measures of itself, for programs that read OpenMetrics (Prometheus and its kin). Nothing is
//! decided here. No label has values that a peer chooses or can add to; how many series there are is bounded by the
//! program.

use crate::hub::{BeatHop, HubStats};
use crate::store::{OutputReceipt, Recorded, StoreHealth};
use onsembl_protocol::diagnosis::{BeatStop, Cause, Hop as BeatWay};
use onsembl_protocol::fleet::{CommandStage, FleetNote};
use onsembl_protocol::model::GapCause;
use onsembl_protocol::session::{DialFault, Presence, PresenceCause, PresenceStatus};
use onsembl_protocol::wire::payload::StreamContent;
use onsembl_protocol::wire::{AgentToServer, ServerToDashboard};
use onsembl_transport::counters::Counters;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Metric, Registry, Unit};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// The content type of a page of metrics.
pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Bounds of the buckets of a wait inside the server, in seconds.
const WAITS: [f64; 10] = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0];
/// Bounds of the buckets of a silence, in seconds: around the default times of 45 s and 90 s.
const SILENCES: [f64; 9] = [1.0, 5.0, 15.0, 30.0, 45.0, 60.0, 90.0, 120.0, 300.0];

/// How a command can end.
const FINAL: [CommandStage; 5] = [
    CommandStage::Completed,
    CommandStage::Failed,
    CommandStage::Cancelled,
    CommandStage::Lost,
    CommandStage::Unknown,
];

/// The word of an end.
const fn end(stage: CommandStage) -> Option<&'static str> {
    match stage {
        CommandStage::Completed => Some("completed"),
        CommandStage::Failed => Some("failed"),
        CommandStage::Cancelled => Some("cancelled"),
        CommandStage::Lost => Some("lost"),
        CommandStage::Unknown => Some("unknown"),
        CommandStage::Pending
        | CommandStage::Queued
        | CommandStage::Delivered
        | CommandStage::Running
        | CommandStage::Cancelling => None,
    }
}

/// Hops of an agent's heartbeats that can be missed, and what that means.
const MISSED: [(BeatWay, Cause); 6] = [
    (BeatWay::Made, Cause::HeartbeatNeverStarted),
    (BeatWay::Written, Cause::HeartbeatNotWritten),
    (BeatWay::Received, Cause::HeartbeatNotReceived),
    (BeatWay::Handled, Cause::HeartbeatNotHandled),
    (BeatWay::Recorded, Cause::HeartbeatNotRecorded),
    (BeatWay::Answered, Cause::HeartbeatNotAnswered),
];

/// The cause of a gap at the end of a command whose agent no longer has all of its output.
const MISSING_AT_END: &str = "missing-at-end";

/// The metrics of one server. See the [module](self).
#[derive(Clone, Debug)]
pub struct Metrics(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    registry: Registry,
    heartbeats: Hops,
    missed: Family<Missed, Counter>,
    recording: Histogram,
    presence: Family<Transition, Counter>,
    dials: Family<Faulty, Counter>,
    silence: Histogram,
    stalls: Histogram,
    output: Stages,
    gaps: Family<CauseLabel, Counter>,
    commands: Family<Status, Counter>,
    hub: HubGauges,
    agents: Family<Status, Gauge>,
    store_up: Gauge,
}

/// One counter for each hop, so that counting takes no look-up.
#[derive(Debug)]
struct Hops {
    received: Counter,
    recorded: Counter,
    answered: Counter,
}

#[derive(Debug)]
struct Stages {
    received: Counter,
    stored: Counter,
    delivered: Counter,
}

#[derive(Debug)]
struct HubGauges {
    up: Gauge,
    links: Gauge,
    greeting: Gauge,
    sessions: Gauge,
    open_commands: Gauge,
    unwritten: Gauge,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Hop {
    hop: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Missed {
    hop: &'static str,
    cause: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Stage {
    stage: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Transition {
    status: &'static str,
    cause: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Faulty {
    fault: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Status {
    status: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CauseLabel {
    cause: &'static str,
}

impl Metrics {
    /// Metrics that begin at zero. What `counters` counts is shown among them.
    pub(crate) fn new(counters: Counters) -> Self {
        let mut registry = Registry::with_prefix("onsembl");
        let version = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("server", "The version of this server", version);
        registry.register_collector(Box::new(Events(counters)));

        let hops = Family::<Hop, Counter>::default();
        let hop = |hop| hops.get_or_create_owned(&Hop { hop });
        let heartbeats = Hops {
            received: hop("received"),
            recorded: hop("recorded"),
            answered: hop("answered"),
        };
        registry.register("heartbeats", "Heartbeats of agents that were received and recorded, and those of the server that answer them", hops);
        let stages = Family::<Stage, Counter>::default();
        let stage = |stage| stages.get_or_create_owned(&Stage { stage });
        let output = Stages {
            received: stage("received"),
            stored: stage("stored"),
            delivered: stage("delivered"),
        };
        let help = "Output of commands: received from agents, stored, and sent to dashboards";
        registry.register_with_unit("output", help, Unit::Bytes, stages);

        let mut new = New(&mut registry);
        Self(Arc::new(Inner {
            heartbeats,
            missed: {
                let help =
                    "Heartbeat faults of sessions: the first hop that was missed, and its meaning";
                let missed: Family<Missed, Counter> = new.family("heartbeats_missed", help);
                for (hop, cause) in MISSED {
                    let label = Missed { hop: hop.as_str(), cause: cause.as_str() };
                    drop(missed.get_or_create(&label));
                }
                missed
            },
            output,
            recording: new.seconds(
                "heartbeat_recording",
                "From the receipt of a heartbeat to its commit in the database",
                WAITS,
            ),
            presence: new.family(
                "presence_changes",
                "Status changes of agents, by cause; docs/STATES.md lists statuses and causes",
            ),
            dials: {
                let help = "Failed dials of agents by fault, as reported when they are back";
                let dials: Family<Faulty, Counter> = new.family("agent_dials_failed", help);
                let faults = DialFault::ALL.iter().map(|fault| fault.as_str());
                from_zero(&dials, faults, |fault| Faulty { fault });
                dials
            },
            silence: new.seconds(
                "silence_at_detection",
                "Silence of an agent when it changed the agent's status",
                SILENCES,
            ),
            stalls: new.seconds(
                "stall",
                "Times in which this process was suspended; not counted as silence of agents",
                SILENCES,
            ),
            gaps: {
                let gaps: Family<CauseLabel, Counter> =
                    new.family("output_gaps", "Gaps in the output of commands, by their cause");
                let causes = GapCause::ALL.map(GapCause::as_str);
                from_zero(&gaps, causes.into_iter().chain([MISSING_AT_END]), |cause| CauseLabel {
                    cause,
                });
                gaps
            },
            commands: {
                let commands: Family<Status, Counter> =
                    new.family("commands_ended", "Ended commands by status");
                from_zero(&commands, FINAL.into_iter().filter_map(end), |status| Status { status });
                commands
            },
            hub: HubGauges {
                up: new.gauge("hub_up", "Whether the hub responds"),
                links: new.gauge("agent_links", "Links of agents"),
                greeting: new.gauge("greeting_links", "Links without a hello yet"),
                sessions: new.gauge("sessions", "Agents in session, joining or awaited"),
                open_commands: new.gauge("open_commands", "Open commands"),
                unwritten: new.gauge("unwritten", "Pending writes to the database"),
            },
            agents: new.add("agents", "Known agents by status", Family::default()),
            store_up: new.gauge("store_up", "Whether the database accepts writes"),
            registry,
        }))
    }

    /// A heartbeat got this far.
    pub(crate) fn heartbeat(&self, hop: BeatHop) {
        let Hops { received, recorded, answered } = &self.0.heartbeats;
        let counter = match hop {
            BeatHop::Received => received,
            BeatHop::Recorded => recorded,
            BeatHop::Answered => answered,
        };
        let _ = counter.inc();
    }

    /// Heartbeats of a session begin to miss a hop.
    fn missed(&self, stop: &BeatStop) {
        let label = Missed { hop: stop.hop.as_str(), cause: stop.cause.as_str() };
        let _ = self.0.missed.get_or_create(&label).inc();
    }

    /// A heartbeat was committed.
    pub(crate) fn recorded(&self, beat: &Recorded) {
        self.heartbeat(BeatHop::Recorded);
        let lag = beat.committed_at.unix_millis().saturating_sub(beat.at.unix_millis());
        // A wall clock that was set back in between says nothing of how long it took.
        if let Ok(millis) = u64::try_from(lag) {
            self.0.recording.observe(Duration::from_millis(millis).as_secs_f64());
        }
    }

    /// The presence of an agent changed.
    pub(crate) fn presence(&self, presence: &Presence) {
        let cause = presence.because.cause.kind().as_str();
        let change = Transition { status: presence.status.as_str(), cause };
        let _ = self.0.presence.get_or_create(&change).inc();
        if let PresenceCause::Silence(silence) = &presence.because.cause {
            self.0.silence.observe(silence.as_secs_f64());
        }
    }

    /// This process did not run for so long.
    pub(crate) fn stalled(&self, late: Duration) {
        self.0.stalls.observe(late.as_secs_f64());
    }

    /// A message of an agent came.
    pub(crate) fn message(&self, message: &AgentToServer) {
        if let AgentToServer::Output(output) = message {
            let _ = self.0.output.received.inc_by(output.content.as_bytes().len() as u64);
        }
    }

    /// A record of output was committed, or refused permanently.
    pub(crate) fn stored(&self, receipt: &OutputReceipt) {
        if receipt.outcome.is_ok() && !receipt.is_gap {
            let _ = self.0.output.stored.inc_by(receipt.end.0.saturating_sub(receipt.offset.0));
        }
    }

    /// A message for a dashboard was handed to its link.
    pub(crate) fn delivered(&self, message: &ServerToDashboard) {
        if let ServerToDashboard::TerminalStream(output) = message {
            let bytes = match &output.content {
                StreamContent::Bytes(bytes) => bytes.as_bytes().len(),
                StreamContent::Lines(lines) => lines.iter().map(String::len).sum(),
            };
            let _ = self.0.output.delivered.inc_by(bytes as u64);
        }
    }

    /// This many bytes of output for a dashboard were handed to its link.
    pub(crate) fn delivered_output(&self, bytes: usize) {
        let _ = self.0.output.delivered.inc_by(bytes as u64);
    }

    /// A fact of a fleet.
    pub(crate) fn note(&self, note: &FleetNote) {
        let gap = |cause| {
            let _ = self.0.gaps.get_or_create(&CauseLabel { cause }).inc();
        };
        if let FleetNote::GapDeclared { because, .. } = note {
            gap(because.as_str());
        }
        if let FleetNote::HeartbeatsStop { stop, .. } = note {
            self.missed(stop);
        }
        if let FleetNote::HoleFound { .. } = note {
            gap(GapCause::NeverCame.as_str());
        }
        if let FleetNote::OutputMissing { .. } = note {
            gap(MISSING_AT_END);
        }
        if let FleetNote::DialsFailed { fault, times, .. } = note {
            let label = Faulty { fault: fault.as_str() };
            let _ = self.0.dials.get_or_create(&label).inc_by(u64::from(*times));
        }
        if let FleetNote::Command { view, .. } = note
            && let Some(status) = end(view.status)
        {
            let _ = self.0.commands.get_or_create(&Status { status }).inc();
        }
    }

    /// All of it as OpenMetrics text, with what the hub says of itself (`None` if it does not answer) and how
    /// many agents have each status.
    ///
    /// # Errors
    /// The library cannot encode it.
    pub(crate) fn page(
        &self,
        stats: Option<HubStats>,
        agents: &BTreeMap<PresenceStatus, usize>,
        store: &StoreHealth,
    ) -> Result<String, fmt::Error> {
        let HubGauges { up, links, greeting, sessions, open_commands, unwritten } = &self.0.hub;
        let set = |gauge: &Gauge, value: usize| {
            let _ = gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        };
        set(up, usize::from(stats.is_some()));
        let stats = stats.unwrap_or_default();
        set(links, stats.links);
        set(greeting, stats.greeting);
        set(sessions, stats.sessions);
        set(open_commands, stats.open_commands);
        set(unwritten, stats.unwritten);
        for status in PresenceStatus::ALL {
            let of_status = self.0.agents.get_or_create_owned(&Status { status: status.as_str() });
            set(&of_status, agents.get(&status).copied().unwrap_or(0));
        }
        set(&self.0.store_up, usize::from(*store == StoreHealth::Healthy));
        let mut text = String::new();
        encode(&mut text, &self.0.registry)?;
        Ok(text)
    }
}

/// Shows what never happened as zero, so that the first time is a change.
fn from_zero<L>(
    family: &Family<L, Counter>,
    values: impl IntoIterator<Item = &'static str>,
    label: impl Fn(&'static str) -> L,
) where
    L: Clone + std::hash::Hash + Eq,
{
    for value in values {
        drop(family.get_or_create(&label(value)));
    }
}

/// Registers what it makes.
struct New<'a>(&'a mut Registry);

impl New<'_> {
    fn add<M: Metric + Clone>(&mut self, name: &str, help: &str, metric: M) -> M {
        self.0.register(name, help, metric.clone());
        metric
    }

    fn family<L>(&mut self, name: &str, help: &str) -> Family<L, Counter>
    where
        L: EncodeLabelSet + Clone + fmt::Debug + Eq + std::hash::Hash + Send + Sync + 'static,
    {
        self.add(name, help, Family::default())
    }

    fn gauge(&mut self, name: &str, help: &str) -> Gauge {
        self.add(name, help, Gauge::default())
    }

    fn seconds<const N: usize>(&mut self, name: &str, help: &str, bounds: [f64; N]) -> Histogram {
        let histogram = Histogram::new(bounds);
        self.0.register_with_unit(name, help, Unit::Seconds, histogram.clone());
        histogram
    }
}

/// What went wrong or was tolerated. Names are constants of the program.
#[derive(Debug)]
struct Events(Counters);

impl Collector for Events {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let help = "Errors and tolerated anomalies by name";
        let mut family = encoder.encode_descriptor("events", help, None, MetricType::Counter)?;
        for (event, count) in self.0.snapshot() {
            let label = [("event", event)];
            ConstCounter::new(count).encode(family.encode_family(&label)?)?;
        }
        Ok(())
    }
}
