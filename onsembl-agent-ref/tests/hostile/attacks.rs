//! The attacks, as a table: a new attack is a row here and a small function.

use crate::effects::Effect::{self, Event, Heard, Metric, Rows};
use crate::effects::{note_message, note_response};
use crate::target::{Open, Reads, Socket, Target, message};
use futures::future::{BoxFuture, join_all};
use futures::{FutureExt as _, SinkExt as _, StreamExt as _};
use std::fmt::Write as _;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_tungstenite::tungstenite::Message;

pub struct Attack {
    pub name: &'static str,
    pub serve: Serve,
    pub run: fn(Target) -> BoxFuture<'static, ()>,
    /// What it must move, all of it.
    pub effects: &'static [Effect],
}

/// How the server listens, and where attackers come from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Serve {
    Plain,
    Tls,
    /// With room for few connections, so that it is used up in a short time.
    Few,
    /// Attackers come from a proxy that is trusted.
    BehindProxy,
    /// Attackers share the bystander's address, as behind one router.
    OneAddress,
}

macro_rules! attacks {
    ($($name:literal: $serve:ident, $run:expr, [$($effect:expr),+];)+) => {
        &[$(Attack {
            name: $name,
            serve: Serve::$serve,
            run: |target| $run(target).boxed(),
            effects: &[$($effect),+],
        },)+]
    };
}

/// Bytes of the attacker's output and commands on the disk.
const KEPT: &str = "SELECT coalesce(sum(kept), 0) FROM usage WHERE user_id = 'mallory'";
const COMMANDS: &str = "SELECT coalesce(sum(commands), 0) FROM usage WHERE user_id = 'mallory'";
/// Of the attacker: commands that are over, terminals, agents, sessions that were opened, stops that were released, and
/// chunks that are no longer than one may be.
const ENDED: &str =
    "SELECT count(*) FROM commands WHERE user_id = 'mallory' AND ended_at IS NOT NULL";
const TERMINALS: &str =
    "SELECT count(*) FROM commands WHERE user_id = 'mallory' AND command_id LIKE 'terminal-%'";
const AGENTS: &str = "SELECT count(*) FROM agents WHERE user_id = 'mallory'";
const SESSIONS: &str = "SELECT coalesce(sum(epoch), 0) FROM agents WHERE user_id = 'mallory'";
const RELEASED: &str =
    "SELECT count(*) FROM stops WHERE user_id = 'mallory' AND released_at IS NOT NULL";
const CHUNKS: &str = "SELECT count(*) FROM output_records
    WHERE user_id = 'mallory' AND length(bytes) BETWEEN 1 AND 32768";

pub const ATTACKS: &[Attack] = attacks! {
    // Without a token.
    "pages-asked-for-and-never-read": Plain, pages_never_read,
        [Heard("connected", 300), Event("connections_ended_for_others", 1)];
    "pages-asked-for-and-read": Plain, |t| pages(t, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"),
        [Heard("HTTP 200", 100)];
    "sockets-that-say-nothing": Plain, silent_sockets,
        [Heard("connected", 300), Event("connections_ended_for_others", 1)];
    "heads-without-end": Plain, heads,
        [Event("http_failures", 10)];
    "wrong-tokens": Plain, wrong_tokens,
        [Heard("HTTP 401", 100), Event("refused_tokens", 100)];
    "connections-that-come-and-go": Plain, come_and_go,
        [Heard("connected", 300)];
    "half-handshakes": Tls, half_handshakes,
        [Heard("connected", 300)];
    "beginnings-of-proxy-headers": BehindProxy, proxy_headers,
        [Heard("connected", 300)];
    "sockets-of-many-addresses": Plain, many_addresses,
        [Heard("connected", 300), Event("connections_ended_for_others", 1)];
    "pages-through-a-proxy-that-names-nobody": BehindProxy, |t| pages(t, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"),
        [Heard("HTTP 200", 100)];
    // With the token of an agent.
    "output-states": Plain, |t| output_states(t, Reads::All),
        [Heard("OUTPUT_RESUME", 1)];
    "output-states-unread": Plain, |t| output_states(t, Reads::Nothing),
        [Event("states_dropped", 1)];
    "output-of-a-terminal": Plain, output_of_a_terminal,
        [Rows(KEPT, 1 << 20)];
    "output-of-wrappers": Plain, output_of_wrappers,
        [Metric(r#"onsembl_output_bytes_total{stage="received"}"#, 1 << 20)];
    "output-of-no-command": Plain, output_of_no_command,
        [Heard("ERROR COMMAND_NOT_FOUND", 10)];
    "gaps-in-output": Plain, gaps,
        [Metric(r#"onsembl_output_gaps_total{cause="spool-full"}"#, 100)];
    "heartbeats": Plain, heartbeats,
        [Metric(r#"onsembl_heartbeats_total{hop="received"}"#, 1000)];
    "hellos": Plain, hellos,
        [Heard("sent", 100)];
    "errors-of-an-agent": Plain, agent_errors,
        [Event("agent_faults", 100)];
    "terminals-without-end": Plain, terminals,
        [Rows(TERMINALS, 100)];
    "reports-of-unknown-commands": Plain, reports,
        [Heard("sent", 1000), Event("commands_adopted", 10)];
    "agents-without-end": Plain, agents,
        [Rows(AGENTS, 50)];
    "agents-that-return-all-the-time": Plain, returning_agents,
        [Rows(SESSIONS, 300)];
    "agents-that-are-contested": Plain, contests,
        [Event("agents_contested", 1)];
    "hellos-with-commands-that-nobody-knows": Plain, adoption,
        [Event("commands_adopted", 100)];
    "frames-that-mean-nothing": Plain, nonsense,
        [Event("undecodable", 10)];
    "pings": Plain, pings,
        [Heard("sent", 1000)];
    "messages-of-the-largest-size": Plain, large_messages,
        [Event("traces_not_kept", 8)];
    "messages-that-never-end": Plain, half_messages,
        [Heard("connected", 500)];
    // With the token of a dashboard.
    "links-without-end": Few, links,
        [Heard("connected", 300), Event("connections_over_share", 1)];
    "dashboards-without-end": Plain, dashboards,
        [Heard("sent", 100), Event("dashboards_over_share", 1)];
    "ended-commands-asked-for-again": Plain, ended_again,
        [Rows(ENDED, 200), Heard("ACK", 1000)];
    "large-commands": Plain, large_commands,
        [Heard("ERROR QUEUE_FULL", 10), Rows(COMMANDS, 1 << 20)];
    "large-commands-that-end": Plain, large_commands_that_end,
        [Rows(ENDED, 200), Rows(COMMANDS, 10 << 20)];
    "commands-for-nobody": Plain, commands_for_nobody,
        [Heard("ERROR AGENT_NOT_FOUND", 100)];
    "tokens-made-up-on-good-connections": Plain, made_up_tokens,
        [Event("refused_tokens", 100)];
    "refreshed-tokens-that-are-made-up": Plain, refreshes,
        [Heard("ERROR", 10)];
    "hellos-of-a-dashboard-unread": Plain, dashboard_hellos,
        [Heard("sent", 10)];
    "subscriptions": Plain, subscriptions,
        [Heard("ACK", 100)];
    "stops-and-releases": Plain, stops,
        [Rows(RELEASED, 10)];
    "followers": Plain, followers,
        [Event("readers_refused", 1)];
    "readers-of-control-bytes": Plain, readers_of_control_bytes,
        [Rows(CHUNKS, 100), Heard("HTTP 200", 20)];
    "audits": Plain, |t| with_agent(t, "audit"),
        [Heard("HTTP 200", 10)];
    "recordings": Plain, |t| with_agent(t, "recording"),
        [Heard("HTTP 200", 10)];
    "listings": Plain, |t| lists(t, "/api/commands?limit=10000"),
        [Heard("HTTP 200", 10)];
    // From the address of the bystander.
    "wrong-tokens-from-the-bystanders-address": OneAddress, wrong_tokens,
        [Heard("HTTP 401", 100), Event("refused_tokens", 100)];
    "output-of-a-terminal-from-the-bystanders-address": OneAddress, output_of_a_terminal,
        [Rows(KEPT, 1 << 20)];
    "readers-of-control-bytes-from-the-bystanders-address": OneAddress, readers_of_control_bytes,
        [Rows(CHUNKS, 100), Heard("HTTP 200", 20)];
};

/// More sockets than there is room for, each with pipelined requests whose responses are never read.
async fn pages_never_read(target: Target) {
    let requests = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n".repeat(2000);
    let one = |_| async {
        loop {
            let mut stream = target.tcp().await;
            while stream.write_all(requests.as_bytes()).await.is_ok() {}
        }
    };
    join_all((0..5000).map(one)).await;
}

async fn pages(target: Target, request: &'static str) {
    let one = |_| target.ask(request.to_owned());
    join_all((0..256).map(one)).await;
}

async fn wrong_tokens(target: Target) {
    let token = "eyJhbGciOiJIUzI1NiJ9.e30.x";
    let one = |_| {
        target.ask(format!(
            "GET /api/agents HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n"
        ))
    };
    join_all((0..256).map(one)).await;
}

async fn silent_sockets(target: Target) {
    let one = |_| async {
        loop {
            let mut stream = target.tcp().await;
            let _ = stream.write_all(b"GET /ws/agent HTTP/1.1\r\nHost: x\r\nX-Slow: ").await;
            let _ = stream.read(&mut [0; 64]).await;
        }
    };
    join_all((0..5000).map(one)).await;
}

async fn heads(target: Target) {
    let head = format!("GET / HTTP/1.1\r\nHost: x\r\nX-Long: {}", "x".repeat(1 << 20));
    let one = |_| target.ask(head.clone());
    join_all((0..256).map(one)).await;
}

async fn come_and_go(target: Target) {
    let one = |_| async {
        loop {
            drop(target.tcp().await);
            tokio::task::yield_now().await;
        }
    };
    join_all((0..16).map(one)).await;
}

/// The first bytes of a TLS client hello, and no more.
async fn half_handshakes(target: Target) {
    let one = |_| async {
        loop {
            let mut stream = target.tcp().await;
            let _ = stream.write_all(b"\x16\x03\x01\x3f\xff\x01\x00\x3f\xfb\x03\x03").await;
            let _ = stream.write_all(&[7; 8000]).await;
            let _ = stream.read(&mut [0; 64]).await;
        }
    };
    join_all((0..5000).map(one)).await;
}

/// The first byte of a PROXY header, and no more.
async fn proxy_headers(target: Target) {
    let one = |_| async {
        loop {
            let mut stream = target.tcp().await;
            let _ = stream.write_all(b"P").await;
            let _ = stream.read(&mut [0; 64]).await;
        }
    };
    join_all((0..5000).map(one)).await;
}

/// Each from another address, so that no share of an address holds them back.
async fn many_addresses(target: Target) {
    let one = |n: u32| {
        let target = &target;
        async move {
            loop {
                let mut stream = target.tcp_from(n).await;
                let _ = stream.write_all(b"GET /ws/agent HTTP/1.1\r\nHost: x\r\nX-Slow: ").await;
                let _ = stream.read(&mut [0; 64]).await;
            }
        }
    };
    join_all((0..5000).map(one)).await;
}

/// Connections that are known by a good token, over which made-up ones are shown from then on.
async fn made_up_tokens(target: Target) {
    let known = target.request("/api/agents?limit=1");
    let one = |n: u64| {
        let (target, known) = (&target, &known);
        async move {
            loop {
                let mut stream = target.tcp().await;
                let mut page = [0; 4096];
                let _ = stream.write_all(known.as_bytes()).await;
                for k in 0_u64.. {
                    let read = tokio::time::timeout(Duration::from_secs(5), stream.read(&mut page));
                    if !matches!(read.await, Ok(Ok(1..))) {
                        break;
                    }
                    let token = made_up((n << 32) | k);
                    let request = format!(
                        "GET /api/agents HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n"
                    );
                    if stream.write_all(request.as_bytes()).await.is_err() {
                        break;
                    }
                }
            }
        }
    };
    join_all((0..2000).map(one)).await;
}

/// A token in the form of a random one, with an id of its own.
fn made_up(n: u64) -> String {
    format!("onsembl_dashboard_{n:016x}_{}", "0123456789abcdef".repeat(4))
}

async fn refreshes(target: Target) {
    let text = |n| {
        let token = made_up(n);
        message("TOKEN_REFRESH", &format!(r#"{{"accessToken":"{token}","expiresIn":3600}}"#))
    };
    let one = |n| target.repeat(Open::Dashboard, text, one_reads(n));
    join_all((0..16).map(one)).await;
}

/// One of several reads, so that it is known what they are answered.
fn one_reads(number: u32) -> Reads {
    if number == 0 { Reads::All } else { Reads::Nothing }
}

/// Many agents in session, and a second process of each all the time.
async fn contests(target: Target) {
    let one = |n| {
        let target = &target;
        async move {
            let key = format!("key-{n}");
            let _session = target.agent(&key).await;
            loop {
                let clone = target.hello(&key).replace(&format!("i-{key}"), "i-of-a-clone");
                drop(target.greeted(clone).await);
            }
        }
    };
    join_all((0..500).map(one)).await;
}

/// With each hello a thousand commands that the server does not have.
async fn adoption(target: Target) {
    for n in 0_u64.. {
        let ids: Vec<String> = (0..1000).map(|id| format!(r#""lost-{n}-{id}""#)).collect();
        let commands = format!(r#""commands":[{}]"#, ids.join(","));
        let hello = target.hello("a").replace(r#""commands":[]"#, &commands);
        let mut socket = target.greeted(hello).await;
        let _ = tokio::time::timeout(Duration::from_millis(50), socket.next()).await;
    }
}

/// With many agents, requests that name none of them.
async fn commands_for_nobody(target: Target) {
    let agents = async {
        for n in 0_u64.. {
            drop(target.agent(&format!("key-{n}")).await);
        }
    };
    let text = |n| command(n, 1, "true").replace(r#""agentId":"a""#, r#""agentId":"nobody""#);
    let ask = |n| target.repeat(Open::Dashboard, text, one_reads(n));
    futures::future::join(agents, join_all((0..8).map(ask))).await;
}

/// As many links with one token as the server accepts.
async fn links(target: Target) {
    let one = |_| async {
        let _link = target.dashboard().await;
        std::future::pending::<()>().await;
    };
    join_all((0..6000).map(one)).await;
}

/// As many dashboards as the server accepts. Each watches everything and reads nothing.
async fn dashboards(target: Target) {
    let one = |_| async {
        let hello = r#"{"subscriptions":{"agents":["*"],"commands":["*"],"terminals":true,"traces":false}}"#;
        loop {
            let mut socket = target.dashboard().await;
            let _ = socket.send(Message::text(message("DASHBOARD_INIT", hello))).await;
            let _ = socket.get_mut().readable().await;
            tokio::time::sleep(Duration::from_secs(5)).await;
        }
    };
    let output = output_of_a_terminal(target.clone());
    futures::future::join(output, join_all((0..1000).map(one))).await;
}

async fn output_states(target: Target, reads: Reads) {
    let mut streams = String::new();
    for n in 0..1000 {
        let comma = if n == 0 { "" } else { "," };
        write!(
            streams,
            r#"{comma}{{"commandId":"c-{n}","incarnation":7,"streamType":"stdout","produced":9,"stored":0,"gaps":0}}"#
        )
        .unwrap();
    }
    let text = message("OUTPUT_STATE", &format!(r#"{{"streams":[{streams}]}}"#));
    let one = |key| target.repeat(Open::Agent(key), |_| text.clone(), reads);
    join_all(["a", "b", "c", "d"].map(one)).await;
}

fn chunk(command: &str, n: u64, numbers: bool) -> String {
    let content = "o".repeat(30_000);
    let position = match numbers {
        true => format!(r#","sequence":{n},"offset":{},"incarnation":7"#, (n - 1) * 30_000),
        false => String::new(),
    };
    let payload = format!(
        r#"{{"commandId":"{command}","streamType":"STDOUT","content":"{content}"{position}}}"#
    );
    message("TERMINAL_OUTPUT", &payload)
}

async fn output_of_a_terminal(target: Target) {
    let one = |key: &'static str| {
        let terminal = format!("terminal-{key}");
        let opened = format!(r#"{{"commandId":"{terminal}","program":"x"}}"#);
        let text = move |n| match n {
            1 => message("TERMINAL_OPENED", &opened),
            n => chunk(&terminal, n - 1, true),
        };
        target.repeat(Open::Agent(key), text, Reads::All)
    };
    join_all(["a", "b", "c", "d"].map(one)).await;
}

async fn output_of_wrappers(target: Target) {
    let one =
        |key| target.repeat(Open::Wrapper(key), |n| chunk("monitoring", n, false), Reads::All);
    join_all(["a", "b", "c", "d"].map(one)).await;
}

async fn output_of_no_command(target: Target) {
    let text = |n| chunk(&format!("none-{n}"), 1, true);
    target.repeat(Open::Agent("a"), text, Reads::All).await;
}

async fn gaps(target: Target) {
    let text = |n| {
        let payload = format!(
            r#"{{"commandId":"none","incarnation":5,"streamType":"STDOUT","sequence":{n},"offset":{n},"length":1,"because":"spool-full"}}"#
        );
        message("OUTPUT_GAP", &payload)
    };
    target.repeat(Open::Agent("a"), text, Reads::All).await;
}

async fn heartbeats(target: Target) {
    let text = |n| message("AGENT_HEARTBEAT", &format!(r#"{{"agentId":"a","sequence":{n}}}"#));
    target.repeat(Open::Agent("a"), text, Reads::Nothing).await;
}

async fn hellos(target: Target) {
    let text = |_| target.hello("a");
    target.repeat(Open::Agent("a"), text, Reads::Nothing).await;
}

async fn agent_errors(target: Target) {
    let text = "e".repeat(30_000);
    let payload = format!(
        r#"{{"agentId":"a","errorType":"EXECUTION","message":"{text}","recoverable":true}}"#
    );
    let text = message("AGENT_ERROR", &payload);
    target.repeat(Open::Agent("a"), |_| text.clone(), Reads::All).await;
}

async fn terminals(target: Target) {
    let program = "p".repeat(20_000);
    let text = |n| {
        let payload = format!(r#"{{"commandId":"terminal-{n:08}","program":"{program}"}}"#);
        message("TERMINAL_OPENED", &payload)
    };
    target.repeat(Open::Agent("a"), text, Reads::All).await;
}

async fn reports(target: Target) {
    let text = |n| {
        let payload = format!(r#"{{"commandId":"none-{n}","status":"COMPLETED","exitCode":0}}"#);
        message("COMMAND_COMPLETE", &payload)
    };
    target.repeat(Open::Agent("a"), text, Reads::Nothing).await;
}

/// A new agent with each hello.
async fn agents(target: Target) {
    for n in 0_u64.. {
        drop(target.agent(&format!("key-{n}")).await);
    }
}

async fn returning_agents(target: Target) {
    let one = |n| {
        let target = &target;
        async move {
            loop {
                drop(target.agent(&format!("key-{n}")).await);
            }
        }
    };
    join_all((0..200).map(one)).await;
}

async fn nonsense(target: Target) {
    target.repeat(Open::Agent("a"), |_| "{".repeat(200), Reads::All).await;
}

async fn pings(target: Target) {
    let text = |n| message("PING", &format!(r#"{{"timestamp":{n},"sequence":{n}}}"#));
    target.repeat(Open::Agent("a"), text, Reads::Nothing).await;
}

async fn large_messages(target: Target) {
    let text = message("TRACE_EVENT", &format!(r#"{{"any":"{}"}}"#, "x".repeat(1_000_000)));
    let one = |key| target.repeat(Open::Agent(key), |_| text.clone(), Reads::Nothing);
    join_all(["a", "b", "c", "d", "e", "f", "g", "h"].map(one)).await;
}

/// Many links, on each of which most of a large message was sent.
async fn half_messages(target: Target) {
    let one = |_| async {
        loop {
            let mut socket = target.dashboard().await;
            // A text of 1,000,000 bytes, masked with zeros.
            let head = [0x81, 0xff, 0, 0, 0, 0, 0, 0x0f, 0x42, 0x40, 0, 0, 0, 0];
            let _ = socket.get_mut().write_all(&head).await;
            let _ = socket.get_mut().write_all(&vec![b'x'; 990_000]).await;
            let _ = socket.get_mut().read(&mut [0; 64]).await;
        }
    };
    join_all((0..2000).map(one)).await;
}

fn command(id: u64, start_within_ms: u64, text: &str) -> String {
    let payload = format!(
        r#"{{"agentId":"a","commandId":"c-{id}","command":"{text}","args":[],"env":{{}},"type":"NATURAL","priority":5,"offline":"queue","startWithinMs":{start_within_ms}}}"#
    );
    message("COMMAND_REQUEST", &payload)
}

/// Ids that no earlier round had.
fn own_ids() -> u64 {
    u64::from(std::process::id()) << 32
}

/// An agent was in session, and is away with its journal.
async fn left(target: &Target) {
    let agent = target.agent("a").await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    drop(agent);
    tokio::time::sleep(Duration::from_millis(100)).await;
}

/// Commands for an agent that is away with its journal: each waits for it and ends at once. Then requests with the same
/// ids.
async fn ended_again(target: Target) {
    left(&target).await;
    let first = own_ids();
    let text = |n| command(first + n % 400, 1, "true");
    let one = |_| target.repeat(Open::Extended, text, Reads::All);
    join_all((0..4).map(one)).await;
}

/// They stay open, until there is no room for more.
async fn large_commands(target: Target) {
    let agent = target.agent("a").await;
    let (first, text) = (own_ids(), "x".repeat(60_000));
    let one = |link: u64| {
        let text = &text;
        let of_link = move |n| command(first + (link << 24) + n, 3_600_000, text);
        target.repeat(Open::Extended, of_link, Reads::All)
    };
    futures::future::join(answers(agent), join_all((0..4).map(one))).await;
}

/// They end at once, and their texts fill the disk.
async fn large_commands_that_end(target: Target) {
    left(&target).await;
    let (first, text) = (own_ids(), "x".repeat(60_000));
    let one = |link: u64| {
        let text = &text;
        let of_link = move |n| command(first + (link << 24) + n, 1, text);
        target.repeat(Open::Extended, of_link, Reads::All)
    };
    join_all((0..4).map(one)).await;
}

fn many_ids() -> String {
    let mut ids = String::from(r#""none""#);
    for n in 0..1000 {
        write!(ids, r#","an-agent-that-is-not-there-{n}""#).unwrap();
    }
    ids
}

async fn dashboard_hellos(target: Target) {
    let ids = many_ids();
    let payload = format!(
        r#"{{"subscriptions":{{"agents":[{ids}],"commands":[{ids}],"terminals":true,"traces":false}},"extensions":{{"features":["output-bytes"]}}}}"#
    );
    let text = message("DASHBOARD_INIT", &payload);
    let one = |_| target.repeat(Open::Dashboard, |_| text.clone(), Reads::Nothing);
    join_all((0..4).map(one)).await;
}

async fn subscriptions(target: Target) {
    let text = |n: u64| match n % 300 {
        1 => message(
            "DASHBOARD_INIT",
            &format!(
                r#"{{"subscriptions":{{"agents":[{}],"commands":[],"terminals":true,"traces":false}}}}"#,
                many_ids()
            ),
        ),
        n => message("DASHBOARD_SUBSCRIBE", &format!(r#"{{"type":"command","id":"c-{n}"}}"#)),
    };
    let one = |n| target.repeat(Open::Dashboard, text, one_reads(n));
    join_all((0..16).map(one)).await;
}

async fn stops(target: Target) {
    let _agent = target.agent("a").await;
    let text = |n| match n % 2 {
        0 => message("EMERGENCY_STOP", r#"{"reason":"x"}"#),
        _ => message("STOP_RELEASE", r#"{"all":true}"#),
    };
    target.repeat(Open::Extended, text, Reads::All).await;
}

/// Many readers follow one command and read nothing.
async fn followers(target: Target) {
    let _agent = target.agent("a").await;
    let request = target.request("/api/commands/c-1/output?follow=true");
    let follow = |_| async {
        loop {
            let mut stream = target.tcp().await;
            let _ = stream.write_all(request.as_bytes()).await;
            tokio::time::sleep(Duration::from_secs(5)).await;
        }
    };
    let write = target.repeat(Open::Dashboard, |n| command(n, 3_600_000, "x"), Reads::All);
    futures::future::join(write, join_all((0..300).map(follow))).await;
}

/// Output that becomes six times as long as JSON, and many readers that take a little of it.
async fn readers_of_control_bytes(target: Target) {
    let mut agent = target.agent("a").await;
    let id = format!("big-{}", std::process::id());
    let mut dashboard = target.dashboard().await;
    let hello = r#"{"subscriptions":{"agents":[],"commands":[],"terminals":false,"traces":false}}"#;
    let _ = dashboard.send(Message::text(message("DASHBOARD_INIT", hello))).await;
    let request = format!(r#"{{"agentId":"a","commandId":"{id}","command":"x"}}"#);
    let _ = dashboard.send(Message::text(message("COMMAND_REQUEST", &request))).await;
    let _ = tokio::time::timeout(Duration::from_secs(2), agent.next()).await;
    let runs = format!(r#"{{"commandId":"{id}","status":"RUNNING"}}"#);
    let _ = agent.send(Message::text(message("COMMAND_ACK", &runs))).await;
    let data = vec![1_u8; 1_040_000];
    for n in 0_u64..6 {
        let mut frame = vec![1, 0];
        frame.extend(u16::try_from(id.len()).unwrap().to_be_bytes());
        for number in [7, n + 1, n * data.len() as u64] {
            frame.extend(number.to_be_bytes());
        }
        frame.extend(id.as_bytes());
        frame.extend(&data);
        let _ = agent.send(Message::binary(frame)).await;
        let _ = tokio::time::timeout(Duration::from_millis(100), agent.next()).await;
    }
    let request = target.request(&format!("/api/commands/{id}/output"));
    let one = |_| async {
        loop {
            let mut stream = target.narrow_tcp().await;
            let _ = stream.write_all(request.as_bytes()).await;
            let mut head = [0; 64];
            if let Ok(Ok(bytes)) =
                tokio::time::timeout(Duration::from_secs(5), stream.read(&mut head)).await
            {
                note_response(head.get(..bytes).unwrap_or_default());
            }
            tokio::time::sleep(Duration::from_secs(20)).await;
        }
    };
    let reads = join_all((0..200).map(one));
    futures::future::join(answers(agent), reads).await;
}

/// Stays in session, and answers what it is asked about its output.
async fn answers(mut agent: Socket) {
    while let Some(Ok(heard)) = agent.next().await {
        let Message::Text(text) = heard else { continue };
        note_message(&text);
        let query = text.split_once(r#""query":""#).and_then(|(_, rest)| rest.split_once('"'));
        if let Some((query, _)) = query {
            let state = format!(r#"{{"query":"{query}","streams":[]}}"#);
            let _ = agent.send(Message::text(message("OUTPUT_STATE", &state))).await;
        }
    }
}

/// Many concurrent requests for a page about an agent with commands.
async fn with_agent(target: Target, page: &'static str) {
    let (agent, id) = target.agent_with_id("a").await;
    let request = target.request(&format!("/api/agents/{id}/{page}"));
    let one = |_| target.ask(request.clone());
    let write = target.repeat(Open::Dashboard, |n| command(n, 3_600_000, "x"), Reads::All);
    let asks = join_all((0..64).map(one));
    futures::future::join3(write, asks, answers(agent)).await;
}

/// Many concurrent requests for a list of many commands.
async fn lists(target: Target, path: &'static str) {
    let _agent = target.agent("a").await;
    let request = target.request(path);
    let one = |_| target.ask(request.clone());
    let write = target.repeat(Open::Dashboard, |n| command(n, 3_600_000, "x"), Reads::All);
    futures::future::join(write, join_all((0..64).map(one))).await;
}
