//! A shard in a task of its own, with an owner whose store is a few variables.

use onsembl_protocol::id::{
    AgentId, BeatSequence, Epoch, InstanceId, LinkId, PresenceVersion, ServerInstanceId, SessionId,
};
use onsembl_protocol::limits::Limits;
use onsembl_protocol::session::{Claimant, Presence, ServerConfig, StoreTrouble};
use onsembl_protocol::supervisor::Key;
use onsembl_protocol::wire::payload::Feature;
use onsembl_transport::counters::Counters;
use onsembl_transport::memory::{MemoryDialer, network};
use onsembl_transport::server::{Admission, Lane, LinkTicket, SessionRules, Shard, ShardEvent};
use onsembl_transport::{Link, LinkEnd, LinkReader, Listener, Received};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// A text that arrives as a binary frame; memory links carry none themselves.
pub(crate) const BINARY: &str = "(seven)";

struct Binary(Box<dyn LinkReader>);

#[async_trait::async_trait]
impl LinkReader for Binary {
    async fn receive(&mut self) -> Result<Received, LinkEnd> {
        match self.0.receive().await? {
            Received::Text(text) if text == BINARY => Ok(Received::Binary(text.into())),
            other => Ok(other),
        }
    }
}

/// The same link, on which [`BINARY`] arrives as a binary frame.
pub(crate) fn with_binary(link: Link) -> Link {
    Link { reader: Box::new(Binary(link.reader)), ..link }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// Admissions wait, or those that wait are given.
    Admit(bool),
    /// Beats are recorded at once, or not at all.
    Record(bool),
    /// The agent is read, or held back.
    Read(bool),
    /// The store says this of itself.
    Store(Option<StoreTrouble>),
}

pub(crate) struct Server {
    began: Instant,
    events: Arc<Mutex<Vec<(Duration, ShardEvent<()>)>>>,
    orders: mpsc::UnboundedSender<Order>,
    pub(crate) counters: Counters,
    pub(crate) dialer: MemoryDialer,
}

struct Owner {
    shard: Shard<()>,
    agent: Option<(Key, Option<InstanceId>)>,
    claimed: Option<InstanceId>,
    known: (PresenceVersion, Epoch),
    admits: bool,
    records: bool,
    waiting: Vec<(Key, LinkId)>,
}

impl Server {
    /// A server of one agent.
    pub(crate) fn start(config: ServerConfig) -> Self {
        let (dialer, mut listener) = network(64);
        let counters = Counters::default();
        let rules = SessionRules::new(ServerInstanceId::new("srv"), vec![Feature::Heartbeats])
            .with_output_window(256 * 1024);
        let shard = Shard::new(rules, config, Limits::DEFAULT, counters.clone());
        let mut owner = Owner {
            shard,
            agent: None,
            claimed: None,
            known: Default::default(),
            admits: true,
            records: true,
            waiting: vec![],
        };
        let events: Arc<Mutex<Vec<(Duration, ShardEvent<()>)>>> = Arc::default();
        let (log, began) = (Arc::clone(&events), Instant::now());
        let (orders, mut taken) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    Ok(link) = listener.accept() => {
                        owner.shard.accept(LinkTicket::new(with_binary(link), (), Lane::default()));
                    }
                    event = owner.shard.next() => {
                        log.lock().unwrap().push((began.elapsed(), event.clone()));
                        owner.on_event(event);
                    }
                    Some(order) = taken.recv() => owner.obey(order),
                }
            }
        });
        Self { began, events, orders, counters, dialer }
    }

    pub(crate) fn order(&self, order: Order) {
        self.orders.send(order).unwrap();
    }

    pub(crate) fn now(&self) -> Duration {
        self.began.elapsed()
    }

    pub(crate) fn events(&self) -> Vec<(Duration, ShardEvent<()>)> {
        self.events.lock().unwrap().clone()
    }

    pub(crate) fn presences(&self) -> Vec<(Duration, Presence)> {
        self.events()
            .into_iter()
            .filter_map(|(at, event)| match event {
                ShardEvent::Presence { presence, .. } => Some((at, presence)),
                _ => None,
            })
            .collect()
    }

    /// Each status since `from`, and when it came.
    pub(crate) fn story(&self, from: Duration) -> Vec<(Duration, &'static str)> {
        let mut last = "";
        let mut story = Vec::new();
        for (at, presence) in self.presences() {
            if presence.status.as_str() != last {
                last = presence.status.as_str();
                if at >= from {
                    story.push((at, last));
                }
            }
        }
        story
    }

    pub(crate) fn words(&self, from: Duration) -> Vec<&'static str> {
        self.story(from).into_iter().map(|(_, word)| word).collect()
    }

    pub(crate) fn recorded(&self) -> Vec<BeatSequence> {
        self.events()
            .into_iter()
            .filter_map(|(_, event)| match event {
                ShardEvent::Record { sequence, .. } => Some(sequence),
                _ => None,
            })
            .collect()
    }

    /// When the agent was heard last, before `until`.
    pub(crate) fn heard(&self, until: Duration) -> Duration {
        let heard = |(at, event): &(Duration, ShardEvent<()>)| {
            (*at <= until && matches!(event, ShardEvent::Heard { .. })).then_some(*at)
        };
        self.events().iter().filter_map(heard).next_back().unwrap()
    }

    pub(crate) fn count(&self, of: impl Fn(&ShardEvent<()>) -> bool) -> usize {
        self.events().iter().filter(|(_, event)| of(event)).count()
    }
}

impl Owner {
    fn on_event(&mut self, event: ShardEvent<()>) {
        match event {
            ShardEvent::Hello(claim) => {
                let instance = claim.hello.extensions.map(|e| e.instance);
                let owned_by = self.agent.as_ref().and_then(|(_, instance)| instance.clone());
                let (version, epoch) = self.known;
                let key = match &self.agent {
                    Some((key, _)) => *key,
                    None => self.shard.insert(&Lane::default(), version, epoch, None),
                };
                let claimant = Claimant::judge(owned_by.as_ref(), instance.as_ref(), true);
                self.agent = Some((key, owned_by));
                self.claimed = instance;
                self.shard.join(claim.link, key, claimant);
            }
            ShardEvent::Admit { key, link } => {
                self.waiting.push((key, link));
                self.admit();
            }
            ShardEvent::Record { key, epoch, sequence, at, .. } if self.records => {
                self.shard.recorded(key, epoch, sequence, at);
            }
            ShardEvent::Presence { presence, .. } => {
                self.known = (presence.version, self.known.1.max(presence.epoch));
            }
            ShardEvent::Forgotten { .. } => self.agent = None,
            _ => {}
        }
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Admit(admits) => {
                self.admits = admits;
                self.admit();
            }
            Order::Record(records) => self.records = records,
            Order::Read(reads) => {
                if let Some((key, _)) = self.agent {
                    if reads { self.shard.resume(key) } else { self.shard.pause(key) }
                }
            }
            Order::Store(trouble) => self.shard.store_health(trouble),
        }
    }

    fn admit(&mut self) {
        if !self.admits {
            return;
        }
        for (key, link) in std::mem::take(&mut self.waiting) {
            self.known.1 = self.known.1.next();
            self.agent = Some((key, self.claimed.clone()));
            let admission = Admission::new(
                AgentId::new("agent-1"),
                SessionId::new(format!("s-{}", self.known.1)),
                self.known.1,
            );
            self.shard.admitted(key, link, admission);
        }
    }
}
