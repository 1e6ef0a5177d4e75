//! `/metrics`: the figures of this server in the OpenMetrics text format, on a listener of their own.
//!
//! They are about all users, so they are for the operator: no token of a user gets them, and they are not on the
//! address where users connect. No label holds what a peer chose, so that no peer can make them grow.

use super::App;
use super::api::stats;
use crate::hub::HubStats;
use crate::store::{StoreCounters, StoreHealth};
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use onsembl_protocol::session::PresenceStatus;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use std::collections::BTreeMap;
use std::fmt;

/// What scrapers are told that the text is.
const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The one page.
pub(crate) fn metrics(app: App) -> Router {
    Router::new().route("/metrics", get(page)).with_state(app)
}

async fn page(State(app): State<App>) -> Response {
    let mut agents: BTreeMap<_, _> = STATUSES.iter().map(|status| (status.as_str(), 0)).collect();
    agents.extend(app.fleet_views.statuses());
    let snapshot = Snapshot {
        hub: stats(&app).await,
        agents,
        store: app.store.counters(),
        store_is_healthy: matches!(*app.store.health().borrow(), StoreHealth::Healthy),
        events: app.counters.snapshot(),
        descriptors: descriptors(),
    };
    match snapshot.text() {
        Ok(text) => ([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

/// Open descriptors of this process, and how many it may have; `None` where the system does not show them.
fn descriptors() -> Option<(u64, u64)> {
    let open = std::fs::read_dir("/proc/self/fd").ok()?.count() as u64;
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current?;
    Some((open, limit))
}

/// All figures at one moment.
#[derive(Clone, Debug)]
struct Snapshot {
    /// `None`: the hub does not answer.
    hub: Option<HubStats>,
    agents: BTreeMap<&'static str, u64>,
    store: StoreCounters,
    store_is_healthy: bool,
    events: BTreeMap<&'static str, u64>,
    descriptors: Option<(u64, u64)>,
}

impl Snapshot {
    fn text(self) -> Result<String, fmt::Error> {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(self));
        let mut text = String::new();
        text::encode(&mut text, &registry)?;
        Ok(text)
    }
}

impl Collector for Snapshot {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut out = Out(encoder);
        let version = [("version", env!("CARGO_PKG_VERSION"))];
        out.gauges("onsembl_build", "The version that runs; always 1.", &[(version, 1)])?;
        out.gauge(
            "onsembl_hub_answers",
            "Whether the task that serves all agents answers: 1, or 0 if not within 2 s.",
            u64::from(self.hub.is_some()),
        )?;
        if let Some(hub) = &self.hub {
            for (name, help, value) in [
                ("onsembl_links", "Open links of agents.", hub.links),
                ("onsembl_links_greeting", "Open links whose hello is still owed.", hub.greeting),
                ("onsembl_sessions", "Agents in session, joining, or awaited.", hub.sessions),
                ("onsembl_open_commands", "Commands that are not over.", hub.open_commands),
                ("onsembl_unwritten", "Writes that wait for the database.", hub.unwritten),
            ] {
                out.gauge(name, help, value as u64)?;
            }
        }
        let statuses: Vec<_> =
            self.agents.iter().map(|(status, count)| ([("status", *status)], *count)).collect();
        out.gauges("onsembl_agents", "Agents by what is shown of them.", &statuses)?;
        out.gauge(
            "onsembl_store_healthy",
            "Whether the database takes writes: 1, or 0.",
            u64::from(self.store_is_healthy),
        )?;
        let StoreCounters { commits, writes, refused, failures } = self.store;
        for (name, help, value) in [
            ("onsembl_store_commits", "Transactions committed.", commits),
            ("onsembl_store_writes", "Writes in them: requests, records, heartbeats.", writes),
            ("onsembl_store_refused", "Writes that broke a rule of the schema.", refused),
            (
                "onsembl_store_failures",
                "Writes that failed by trouble and were repeated.",
                failures,
            ),
        ] {
            out.counter(name, help, value)?;
        }
        let events: Vec<_> =
            self.events.iter().map(|(event, count)| ([("event", *event)], *count)).collect();
        out.counters(
            "onsembl_events",
            "Things that went wrong or were tolerated, by their names, which are listed in METRICS.md.",
            &events,
        )?;
        if let Some((open, limit)) = self.descriptors {
            out.gauge("onsembl_open_descriptors", "File descriptors of this process.", open)?;
            out.gauge("onsembl_max_descriptors", "File descriptors that it may have.", limit)?;
        }
        Ok(())
    }
}

/// One label and its value.
type Label<'a> = [(&'static str, &'a str); 1];

struct Out<'a>(DescriptorEncoder<'a>);

impl Out<'_> {
    fn gauge(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        let metric = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        ConstGauge::new(value).encode(metric)
    }

    fn gauges(&mut self, name: &str, help: &str, of: &[(Label<'_>, u64)]) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (label, value) in of {
            ConstGauge::new(*value).encode(metric.encode_family(label)?)?;
        }
        Ok(())
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        let metric = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        ConstCounter::new(value).encode(metric)
    }

    fn counters(&mut self, name: &str, help: &str, of: &[(Label<'_>, u64)]) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (label, value) in of {
            ConstCounter::new(*value).encode(metric.encode_family(label)?)?;
        }
        Ok(())
    }
}

/// Every status, so that none is missing while no agent has it.
const STATUSES: [PresenceStatus; 7] = [
    PresenceStatus::Connecting,
    PresenceStatus::Online,
    PresenceStatus::Stale,
    PresenceStatus::TimedOut,
    PresenceStatus::Reconnecting,
    PresenceStatus::Offline,
    PresenceStatus::Error,
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::path::Path;

    fn text() -> String {
        let hub = HubStats { links: 7, greeting: 1, sessions: 6, open_commands: 3, unwritten: 2 };
        let snapshot = Snapshot {
            hub: Some(hub),
            agents: STATUSES.iter().map(|status| (status.as_str(), 2)).collect(),
            store: StoreCounters { commits: 1, writes: 2, refused: 3, failures: 4 },
            store_is_healthy: true,
            events: [("refused_tokens", 5)].into(),
            descriptors: Some((9, 1024)),
        };
        snapshot.text().unwrap()
    }

    #[test]
    fn each_figure_has_its_type_and_its_help() {
        let text = text();
        for line in [
            "# TYPE onsembl_links gauge",
            "# HELP onsembl_links Open links of agents.",
            "onsembl_links 7",
            "onsembl_agents{status=\"online\"} 2",
            "# TYPE onsembl_events counter",
            "onsembl_events_total{event=\"refused_tokens\"} 5",
            "onsembl_store_failures_total 4",
            "onsembl_hub_answers 1",
        ] {
            assert!(text.lines().any(|l| l == line), "{line}\n{text}");
        }
        assert!(text.ends_with("# EOF\n"), "{text}");
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let name = line.split(['{', ' ']).next().unwrap();
            let family = name.strip_suffix("_total").unwrap_or(name);
            assert!(text.contains(&format!("# TYPE {family} ")), "{line}");
            assert!(text.contains(&format!("# HELP {family} ")), "{line}");
        }
    }

    #[test]
    fn every_metric_and_event_that_the_documents_name_exists() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let (text, sources) = (text(), sources(&root));
        for file in ["alerts.yml", "dashboard.json", "METRICS.md"] {
            let content = std::fs::read_to_string(root.join("docs/monitoring").join(file)).unwrap();
            let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
            let words: BTreeSet<&str> = content.split(|c| !is_word(c)).collect();
            let named: Vec<_> = words.iter().filter(|word| word.starts_with("onsembl_")).collect();
            assert!(!named.is_empty(), "{file}");
            for name in named {
                let found = text.lines().any(|line| line.split(['{', ' ']).next() == Some(*name));
                assert!(found, "{file} names {name}, which is not exported:\n{text}");
            }
            for (at, _) in content.match_indices("event=") {
                let rest = content.get(at + 6..).unwrap().trim_start_matches(['~', '\\', '"']);
                let events = rest.split(['\\', '"']).next().unwrap();
                for event in events.split('|') {
                    let quoted = format!("\"{event}\"");
                    assert!(
                        sources.contains(&quoted),
                        "{file} names the event {event}, which nothing counts"
                    );
                }
            }
        }
    }

    /// All sources in which something is counted.
    fn sources(root: &Path) -> String {
        let mut folders: Vec<_> =
            ["onsembl-server-ref/src", "onsembl-transport/src", "onsembl-protocol/src"]
                .map(|folder| root.join(folder))
                .into();
        let mut all = String::new();
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.file_name().unwrap() != "metrics.rs" {
                    all += &std::fs::read_to_string(path).unwrap();
                }
            }
        }
        all
    }
}
