//! The attacks, as a table: a new attack is a row here and a small function.

use crate::effects::Effect::{self, Event, Heard, Metric, Rows};
use crate::readers::{answers, followers, lists, readers_of_control_bytes, with_agent};
use crate::strangers::{
    come_and_go, half_handshakes, heads, many_addresses, pages, pages_never_read, proxy_headers,
    silent_sockets, wrong_tokens,
};
use crate::target::{Open, Reads, Target, message};
use crate::{in_terminal, sources, terminals};
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
    /// The attacker is the program in the terminal of an agent of its own user.
    InTerminal,
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

const SIZES: &str = "SELECT count(*) FROM screen_sizes WHERE user_id = 'mallory'";
const HOLDS: &str = "SELECT count(*) FROM keyboard_holds WHERE user_id = 'mallory'";

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
    "texts-of-exec-from-bad-sources": Plain, sources::sources,
        [Heard("refused: endless", 8), Heard("refused: random", 4), Heard("refused: flooded", 4),
         Heard("ended: slow", 2), Heard("taken: longest", 2)];
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
    // Terminals: their screens, their keyboards, and what is said of their programs.
    "sizes-of-a-terminal-without-end": Plain, terminals::sizes,
        [Event("terminal_sizes_dropped", 100), Rows(SIZES, 100)];
    "screens-that-grow": Plain, terminals::growing_screens,
        [Heard("HTTP 200", 48), Event("screens_refused", 10)];
    "screens-that-are-expensive-to-draw": Plain, terminals::costly_screens,
        [Rows(KEPT, 1 << 20), Heard("HTTP ", 2)];
    "screens-asked-for-and-never-read": Plain, terminals::unread_screens,
        [Heard("HTTP 200", 5), Event("pages_refused", 10)];
    "terminals-of-others": Plain, terminals::terminals_of_others,
        [Heard("HTTP 404", 50), Heard("ERROR COMMAND_NOT_FOUND", 50), Heard("ERROR AGENT_NOT_FOUND", 50)];
    "keyboards-taken-over-all-the-time": Plain, terminals::taken_keyboards,
        [Rows(HOLDS, 256), Heard("KEYBOARD_STATE", 200), Heard("HTTP 200", 10)];
    "input-without-end": Plain, terminals::inputs,
        [Heard("ERROR QUEUE_FULL", 10), Heard("ERROR INVALID_MESSAGE", 10), Heard("ERROR KEYBOARD_HELD", 10)];
    "viewers-that-never-read": Plain, terminals::unread_viewers,
        [Rows(KEPT, 1 << 20), Event("dashboards_over_share", 1)];
    "states-of-keyboards": Plain, terminals::states_of_keyboards,
        [Heard("KEYBOARD_STATE", 100)];
    "activities": Plain, terminals::activities,
        [Heard("AGENT_STATUS", 20), Heard("sent", 100)];
    "secrets-and-texts-that-wait": Plain, terminals::secrets,
        [Heard("ACK", 10), Heard("ERROR QUEUE_FULL", 10)];
    // From the terminal of an agent.
    "hooks-without-end": InTerminal, in_terminal::hooks,
        [Heard("hooked", 100)];
    "output-that-keeps-its-agent-busy": InTerminal, in_terminal::draws,
        [Heard("written", 3), Rows(KEPT, 1 << 18)];
    "typed-at-a-program-that-does-not-read": InTerminal, in_terminal::typed_at,
        [Heard("KEYBOARD_STATE", 5), Heard("ERROR ", 5), Rows(SIZES, 10)];
    // From the address of the bystander.
    "wrong-tokens-from-the-bystanders-address": OneAddress, wrong_tokens,
        [Heard("HTTP 401", 100), Event("refused_tokens", 100)];
    "output-of-a-terminal-from-the-bystanders-address": OneAddress, output_of_a_terminal,
        [Rows(KEPT, 1 << 20)];
    "readers-of-control-bytes-from-the-bystanders-address": OneAddress, readers_of_control_bytes,
        [Rows(CHUNKS, 100), Heard("HTTP 200", 20)];
};

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

pub(crate) fn command(id: u64, start_within_ms: u64, text: &str) -> String {
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
