//! The attacks. A new one is a row here and a few lines.

use crate::target::{Open, Reads, Target};
use futures::FutureExt as _;
use futures::future::{BoxFuture, join_all};
use std::fmt::Write as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

pub struct Attack {
    pub name: &'static str,
    pub run: fn(Target) -> BoxFuture<'static, ()>,
}

pub const ATTACKS: &[Attack] = &[
    Attack { name: "pages-asked-for-and-never-read", run: |t| pages_never_read(t).boxed() },
    Attack { name: "sockets-that-say-nothing", run: |t| silent_sockets(t).boxed() },
    Attack { name: "links-without-end", run: |t| links(t).boxed() },
    Attack { name: "output-states", run: |t| output_states(t, Reads::All).boxed() },
    Attack { name: "output-states-unread", run: |t| output_states(t, Reads::Nothing).boxed() },
    Attack { name: "ended-commands-asked-for-again", run: |t| ended_again(t).boxed() },
    Attack { name: "large-commands", run: |t| large_commands(t).boxed() },
    Attack { name: "hellos-of-a-dashboard-unread", run: |t| dashboard_hellos(t).boxed() },
    Attack { name: "errors-of-an-agent", run: |t| agent_errors(t).boxed() },
    Attack { name: "stops-and-releases", run: |t| stops(t).boxed() },
    Attack { name: "agents-without-end", run: |t| agents(t).boxed() },
];

/// More sockets than there is room for, each with pipelined requests whose responses are never read.
async fn pages_never_read(target: Target) {
    let mut requests = String::new();
    for _ in 0..2000 {
        requests.push_str("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n");
    }
    let one = |_| async {
        loop {
            let mut stream = target.tcp().await;
            while stream.write_all(requests.as_bytes()).await.is_ok() {}
        }
    };
    join_all((0..5000).map(one)).await;
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

/// As many links of one token as it gets.
async fn links(target: Target) {
    let one = |_| async {
        let _link = target.dashboard().await;
        std::future::pending::<()>().await;
    };
    join_all((0..6000).map(one)).await;
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
    let text = format!(
        r#"{{"type":"OUTPUT_STATE","id":"s","timestamp":1762080000000,"payload":{{"streams":[{streams}]}}}}"#
    );
    let one = |n: usize| {
        let key = ["a", "b", "c", "d"][n];
        target.repeat(Open::Agent(key), |_| text.clone(), reads)
    };
    join_all((0..4).map(one)).await;
}

fn command(id: u64, start_within_ms: u64, text: &str) -> String {
    format!(
        r#"{{"type":"COMMAND_REQUEST","id":"m","timestamp":1762080000000,"payload":{{"agentId":"a","commandId":"c-{id}","command":"{text}","args":[],"env":{{}},"type":"NATURAL","priority":5,"startWithinMs":{start_within_ms}}}}}"#
    )
}

/// Commands that end at once, then the same ids again.
async fn ended_again(target: Target) {
    let _agent = target.agent("a").await;
    target.repeat(Open::Dashboard, |n| command(n % 20_000, 1, "true"), Reads::All).await;
}

async fn large_commands(target: Target) {
    let _agent = target.agent("a").await;
    let text = "x".repeat(60_000);
    target.repeat(Open::Dashboard, |n| command(n, 3_600_000, &text), Reads::All).await;
}

async fn dashboard_hellos(target: Target) {
    let mut ids = String::from(r#""none""#);
    for n in 0..1000 {
        write!(ids, r#","an-agent-that-is-not-there-{n}""#).unwrap();
    }
    let text = format!(
        r#"{{"type":"DASHBOARD_INIT","id":"i","timestamp":1762080000000,"payload":{{"subscriptions":{{"agents":[{ids}],"commands":[{ids}],"terminals":true,"traces":false}},"extensions":{{"features":["output-bytes"]}}}}}}"#
    );
    let one = |_| target.repeat(Open::Dashboard, |_| text.clone(), Reads::Nothing);
    join_all((0..4).map(one)).await;
}

async fn agent_errors(target: Target) {
    let text = "e".repeat(30_000);
    let message = format!(
        r#"{{"type":"AGENT_ERROR","id":"e","timestamp":1762080000000,"payload":{{"agentId":"a","errorType":"EXECUTION","message":"{text}","recoverable":true}}}}"#
    );
    target.repeat(Open::Agent("a"), |_| message.clone(), Reads::All).await;
}

async fn stops(target: Target) {
    let _agent = target.agent("a").await;
    let stop =
        r#"{"type":"EMERGENCY_STOP","id":"s","timestamp":1762080000000,"payload":{"reason":"x"}}"#;
    target.repeat(Open::Dashboard, |_| stop.to_owned(), Reads::All).await;
}

/// A new agent with each hello.
async fn agents(target: Target) {
    let mut n: u64 = 0;
    loop {
        n += 1;
        let key = format!("key-{n}");
        drop(target.agent(&key).await);
    }
}
