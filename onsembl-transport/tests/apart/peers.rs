//! Agents that do what their seed says: fair ones of the user that is watched, and hostile ones of the other, who
//! goes by the same names.

use onsembl_protocol::fleet::Request;
use onsembl_protocol::id::{AgentId, CommandId, UserId};
use onsembl_protocol::model::StopScope;
use onsembl_protocol::wire::payload::CommandRequest;
use onsembl_transport::memory::{self, Cable, Direction};
use onsembl_transport::server::{Lane, LinkTicket};
use onsembl_transport::{Frame, LinkReader, LinkWriter, Received};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

/// What the server's owner is asked for.
pub(super) enum Order {
    Link(LinkTicket<UserId>),
    Request(UserId, Request),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manners {
    Fair,
    Hostile,
}

/// What the watched user was given.
#[derive(Clone, Debug)]
pub(super) struct Given(Instant, Arc<Mutex<Vec<String>>>);

impl Given {
    pub(super) fn new(began: Instant) -> Self {
        Self(began, Arc::default())
    }

    pub(super) fn say(&self, what: &str) {
        let at = self.0.elapsed().as_millis();
        self.1.lock().unwrap().push(format!("{at} ms: {}", without_times(what)));
    }

    pub(super) fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.1.lock().unwrap())
    }
}

/// A text without the times of the wall clock, which is not virtual: numbers of ten digits and more, and ids that are
/// made of them. And without the numbers of links, which are the server's for all users; only its log and the evidence
/// of a presence have them.
fn without_times(text: &str) -> String {
    let is_part = |c: char| c.is_ascii_hexdigit() || "-:.TZ".contains(c);
    let mut plain = String::new();
    let mut rest = text;
    while !rest.is_empty() {
        let run = rest.find(|c: char| !is_part(c)).unwrap_or(rest.len());
        let (part, behind) = rest.split_at(run);
        let digits = part.bytes().filter(u8::is_ascii_digit).count();
        let is_time = digits >= 10 || part.len() >= 32;
        plain.push_str(if is_time {
            "<time>"
        } else if plain.ends_with("LinkId(") {
            "<link>"
        } else if plain.ends_with("\"ageMs\"") {
            // By the clock that continues while the machine sleeps, which is not paused here.
            "<age>"
        } else {
            part
        });
        let (other, next) = behind.split_at(behind.find(is_part).unwrap_or(behind.len()));
        plain.push_str(other);
        rest = next;
    }
    plain
}

/// Numbers from a seed.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }
}

struct Open {
    writer: Box<dyn LinkWriter>,
    cable: Cable,
    reading: tokio::task::JoinHandle<()>,
    beats: u64,
}

pub(super) struct Peer {
    random: Random,
    user: &'static str,
    agent: u64,
    given: Option<Given>,
    orders: mpsc::UnboundedSender<Order>,
    link: Option<Open>,
    links: u64,
    commands: u64,
    written: u64,
}

impl Peer {
    pub(super) fn new(
        seed: u64,
        user: &'static str,
        agent: u64,
        given: Option<Given>,
        orders: mpsc::UnboundedSender<Order>,
    ) -> Self {
        let random = Random(seed.wrapping_mul(64).wrapping_add(agent));
        let (link, links, commands, written) = (None, 0, 0, 0);
        Self { random, user, agent, given, orders, link, links, commands, written }
    }

    pub(super) async fn run(mut self, manners: Manners, steps: u64) {
        for _ in 0..steps {
            match manners {
                Manners::Fair => {
                    sleep(Duration::from_millis(500)).await;
                    self.act().await;
                }
                Manners::Hostile => {
                    sleep(Duration::from_millis(61 + self.agent)).await;
                    match self.random.below(3) {
                        0 => self.act().await,
                        _ => self.harm().await,
                    }
                }
            }
        }
        // A link that is dropped ends; what happens to these is seen until the end.
        std::future::pending::<()>().await;
    }

    async fn act(&mut self) {
        if self.link.is_none() {
            self.dial(None);
            let hello = self.hello();
            return self.say(&hello).await;
        }
        match self.random.below(12) {
            0..=3 => {
                let beats = self.link.as_mut().map_or(0, |open| {
                    open.beats += 1;
                    open.beats
                });
                self.say(&format!(r#"{{"type":"AGENT_HEARTBEAT","id":"b","timestamp":1,"payload":{{"agentId":"x","healthMetrics":{{"cpuUsage":1,"memoryUsage":2,"uptime":3,"commandsProcessed":4}},"sequence":{beats}}}}}"#)).await;
            }
            4 | 5 => {
                self.commands += 1;
                self.written = 0;
                let id = CommandId::new(self.command());
                let agent = AgentId::new(format!("ada-{}", self.agent));
                let request = CommandRequest::new(id, agent, "work".to_owned());
                self.ask(Request::Command(Box::new(request)));
            }
            6..=8 => {
                let (id, offset, content) = (self.command(), self.written, "line\\n");
                self.written += 5;
                let sequence = self.written / 5;
                self.say(&format!(r#"{{"type":"TERMINAL_OUTPUT","id":"o","timestamp":1,"payload":{{"commandId":"{id}","streamType":"STDOUT","content":"{content}","encoding":"utf-8","sequence":{sequence},"offset":{offset},"incarnation":1}}}}"#)).await;
            }
            9 => {
                let id = self.command();
                self.say(&format!(r#"{{"type":"COMMAND_COMPLETE","id":"c","timestamp":1,"payload":{{"commandId":"{id}","status":"COMPLETED","exitCode":0,"executionTime":1,"duration":1,"tokensUsed":0}}}}"#)).await;
            }
            10 => self.hang_up(),
            _ => match self.random.below(4) {
                0 => self.ask(Request::Stop { scope: StopScope::All, reason: "now".to_owned() }),
                1 => self.ask(Request::Release(StopScope::All)),
                2 => self.ask(Request::Audit(AgentId::new("agent-0"))),
                _ => self.say("no message").await,
            },
        }
    }

    async fn harm(&mut self) {
        match self.random.below(7) {
            // It owes a hello forever, and claims to be an agent of the other user.
            0 => {
                self.hang_up();
                self.dial(Some(AgentId::new("agent-0")));
            }
            1 => {
                for _ in 0..100 {
                    self.say("{").await;
                }
            }
            2 => self.say(&"x".repeat(300_000)).await,
            // It takes nothing any more.
            3 => {
                if let Some(open) = &self.link {
                    open.cable.freeze(Direction::SecondToFirst);
                }
            }
            4 => {
                for n in 0..50 {
                    let id = format!("terminal-{n:04}-{}", self.links);
                    self.say(&format!(r#"{{"type":"TERMINAL_OPENED","id":"t","timestamp":1,"payload":{{"commandId":"{id}","openedAt":1,"program":"cat"}}}}"#)).await;
                }
            }
            5 => {
                for n in 0..20 {
                    let request = CommandRequest::new(
                        CommandId::new(format!("cmd-{}-{n}", self.agent % 2)),
                        AgentId::new("agent-0"),
                        "noise".to_owned(),
                    );
                    self.ask(Request::Command(Box::new(request)));
                }
            }
            _ => {
                self.hang_up();
                self.dial(None);
                let hello = self.hello();
                self.say(&hello).await;
            }
        }
    }

    fn command(&self) -> String {
        format!("cmd-{}-{}", self.agent % 2, self.commands)
    }

    fn ask(&self, request: Request) {
        let _ = self.orders.send(Order::Request(UserId::new(self.user), request));
    }

    /// Each second agent is a legacy wrapper.
    fn hello(&self) -> String {
        let (agent, link) = (self.agent, self.links);
        let extensions = match agent % 2 {
            0 => format!(
                r#","extensions":{{"features":["heartbeats","output-bytes","command-reports"],"agentKey":"k-{agent}","instance":"i-{link}","maxParallel":4,"commands":[]}}"#
            ),
            _ => String::new(),
        };
        format!(
            r#"{{"type":"AGENT_CONNECT","id":"h","timestamp":1,"payload":{{"agentId":"k-{agent}","name":"ada-{agent}","agentType":"CUSTOM","capabilities":{{"maxTokens":0,"supportsInterrupt":true,"supportsTrace":false}}{extensions}}}}}"#
        )
    }

    fn dial(&mut self, named: Option<AgentId>) {
        self.links += 1;
        let (own, link, cable) = memory::pair_with_cable(64);
        let (user, lane) = (UserId::new(self.user), Lane::new(self.user));
        let ticket = LinkTicket::new(link, user, lane).with_named(named);
        let _ = self.orders.send(Order::Link(ticket));
        let name = format!("agent {} link {}", self.agent, self.links);
        let reading = tokio::spawn(read(own.reader, name, self.given.clone()));
        self.link = Some(Open { writer: own.writer, cable, reading, beats: 0 });
    }

    fn hang_up(&mut self) {
        if let Some(open) = self.link.take() {
            open.reading.abort();
        }
    }

    /// What the server does not read in time is lost, and with it the link.
    async fn say(&mut self, text: &str) {
        let Some(open) = &mut self.link else { return };
        let sending = async {
            open.writer.send(Frame::Text(text.to_owned())).await?;
            open.writer.flush().await
        };
        match timeout(Duration::from_millis(10), sending).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) | Err(_) => self.hang_up(),
        }
    }
}

async fn read(mut reader: Box<dyn LinkReader>, name: String, given: Option<Given>) {
    loop {
        let received = reader.receive().await;
        let end = received.is_err();
        if let Some(given) = &given {
            given.say(&match received {
                Ok(Received::Text(text)) => format!("{name} is sent {text}"),
                Ok(Received::Binary(bytes)) => format!("{name} is sent {bytes:?}"),
                Ok(Received::Control) => format!("{name} is asked"),
                Err(end) => format!("{name} ended: {end}"),
            });
        }
        if end {
            return;
        }
    }
}
