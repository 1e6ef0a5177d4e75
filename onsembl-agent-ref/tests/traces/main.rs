//! The trace of a command across a real server and a real agent, as a collector receives it.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod collector;
mod site;

use collector::{Collector, Seen};
use onsembl_protocol::model::{AGENT_FEATURES, Feature};
use serde_json::json;
use site::{Peer, Site};
use std::time::{Duration, Instant};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";

fn parent() -> String {
    format!("00-{TRACE}-{CALLER}-01")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn one<'a>(spans: &'a [Seen], name: &str) -> &'a Seen {
    let found: Vec<_> = spans.iter().filter(|span| span.name == name).collect();
    assert_eq!(found.len(), 1, "{name}: {spans:#?}");
    found[0]
}

fn has(spans: &[Seen], names: &[&str]) -> bool {
    names.iter().all(|name| spans.iter().any(|span| span.name == *name))
}

const SERVERS: [&str; 4] = ["command.store", "command.queue", "command.deliver", "command.run"];
const AGENTS: [&str; 5] =
    ["agent.wait", "agent.journal", "agent.start", "agent.run", "agent.report"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_is_one_trace_from_its_request_to_its_end_on_both_sides() {
    let collector = Collector::start().await;
    let site = Site::start(Some(&collector.endpoint)).await;
    let agent = site.agent(Some(&collector.endpoint)).await;
    let mut board = site.dashboard(None).await;
    let text = "echo marker-of-the-text; exit 3";
    let ended = board.run("c-1", text, Some(json!(parent()))).await;
    assert_eq!(ended, "failed");
    let all = collector
        .until("the whole tree", |spans| {
            has(spans, &["command", "command.output", "agent.command"])
                && has(spans, &SERVERS)
                && has(spans, &AGENTS)
        })
        .await;

    let (root, agents) = (one(&all, "command"), one(&all, "agent.command"));
    assert_eq!(hex(&root.parent), CALLER, "the caller's trace is continued");
    assert_eq!(agents.parent, root.id);
    for span in &all {
        assert_eq!(hex(&span.trace), TRACE, "{span:?}");
        assert_eq!(span.attributes["onsembl.command.id"], "c-1", "{span:?}");
        let is_of_agent = span.name.starts_with("agent.");
        assert_eq!(span.service, if is_of_agent { "an-agent" } else { "a-server" });
    }
    for name in SERVERS.iter().chain(&["command.output"]) {
        assert_eq!(one(&all, name).parent, root.id, "{name}");
    }
    for name in AGENTS {
        assert_eq!(one(&all, name).parent, agents.id, "{name}");
    }
    for steps in [&SERVERS[..], &AGENTS[..]] {
        for pair in steps.windows(2) {
            let (first, second) = (one(&all, pair[0]), one(&all, pair[1]));
            assert!(first.ended <= second.ended && first.began <= second.began, "{pair:?}");
        }
    }
    assert!(root.began <= agents.began && agents.began < root.ended);

    assert_eq!((root.status, agents.status), (2, 2), "it failed");
    assert_eq!(root.attributes["onsembl.command.status"], "failed");
    assert_eq!(root.attributes["process.exit.code"], "3");
    assert_eq!(root.attributes["onsembl.user.id"], "ann");
    assert_eq!(agents.attributes["process.exit.code"], "3");
    let bytes = "marker-of-the-text\n".len().to_string();
    assert_eq!(one(&all, "command.output").attributes["onsembl.output.bytes"], bytes);
    assert_eq!(agents.attributes["onsembl.output.bytes"], bytes);
    assert!(!collector.heard("marker-of-the-text"));
    for token in site.tokens() {
        assert!(!collector.heard(&token));
    }
    agent.stop().await;
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_in_no_trace_or_in_a_malformed_one_begins_its_own_and_one_of_the_link_is_continued()
 {
    let collector = Collector::start().await;
    let site = Site::start(Some(&collector.endpoint)).await;
    let agent = site.agent(Some(&collector.endpoint)).await;
    let mut board = site.dashboard(None).await;
    let long = "0".repeat(20_000);
    for (id, given) in [
        ("none", None),
        ("bad", Some(json!("00-zz"))),
        ("odd", Some(json!({"a": 1}))),
        ("long", Some(json!(long))),
    ] {
        assert_eq!(board.run(id, "true", given).await, "completed", "{id}");
    }
    let of = |spans: &[Seen], id: &str| {
        let is_root = |s: &&Seen| s.name == "command" && s.attributes["onsembl.command.id"] == id;
        spans.iter().find(is_root).cloned()
    };
    let ids = ["none", "bad", "odd", "long"];
    let all = collector
        .until("four commands", |spans| {
            ids.iter().all(|id| of(spans, id).is_some())
                && spans.iter().filter(|span| span.name == "agent.command").count() == ids.len()
        })
        .await;
    let roots = ids.map(|id| of(&all, id).unwrap());
    let traces: std::collections::BTreeSet<_> = roots.iter().map(|root| &root.trace).collect();
    assert_eq!(traces.len(), ids.len(), "each has a trace of its own");
    for root in &roots {
        assert!(root.parent.is_empty(), "{root:?}");
        assert_eq!(root.status, 1);
        let is_its = |span: &&Seen| span.name == "agent.command" && span.parent == root.id;
        assert_eq!(all.iter().filter(is_its).count(), 1);
    }

    let mut board = site.dashboard(Some(&parent())).await;
    assert_eq!(board.run("of-the-link", "true", None).await, "completed");
    let all = collector.until("it", |spans| of(spans, "of-the-link").is_some()).await;
    let root = of(&all, "of-the-link").unwrap();
    assert_eq!((hex(&root.trace).as_str(), hex(&root.parent).as_str()), (TRACE, CALLER));

    // The caller does not record its trace, so neither do we.
    let unsampled = parent().replace("-01", "-00");
    assert_eq!(board.run("unsampled", "true", Some(json!(unsampled))).await, "completed");
    // A refused one is a span of its own.
    let why = board.refused("refused", "nobody-of-this-name").await;
    assert!(!why.is_empty());
    let all = collector.until("it", |spans| of(spans, "refused").is_some()).await;
    assert_eq!(of(&all, "refused").unwrap().status, 2);
    assert!(of(&all, "unsampled").is_none());
    agent.stop().await;
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trace_goes_on_over_a_restart_of_the_server_and_of_the_link() {
    let collector = Collector::start().await;
    let mut site = Site::start(Some(&collector.endpoint)).await;
    let agent = site.agent(Some(&collector.endpoint)).await;
    let mut board = site.dashboard(None).await;
    let gate = site.folder.path().join("gate");
    let text = format!("while [ ! -e {} ]; do sleep 0.05; done; echo done", gate.display());
    board.ask("c-1", "ada", &text, Some(json!(parent()))).await;
    board.until_status("c-1", &["running"]).await;
    site.restart().await;
    let mut board = site.dashboard(None).await;
    site.until_online().await;
    std::fs::write(&gate, "").unwrap();
    let all = collector.until("the ends", |spans| has(spans, &["command", "agent.command"])).await;
    board.close().await;
    let (root, agents) = (one(&all, "command"), one(&all, "agent.command"));
    assert_eq!((hex(&root.trace).as_str(), hex(&root.parent).as_str()), (TRACE, CALLER));
    assert_eq!((root.status, agents.status), (1, 1));
    assert_eq!(agents.parent, root.id);
    assert!(root.events.iter().any(|event| event == "the server was started again"), "{root:?}");
    assert!(root.began <= agents.began, "it began when it was asked for");
    let over = |what: &str| agents.events.iter().any(|event| event.contains(what));
    assert!(over("session ended") && over("in session again"), "{agents:?}");
    let runs: Vec<_> = all.iter().filter(|span| span.name == "command.run").collect();
    assert_eq!(runs.len(), 2, "one of each run of the server: {all:#?}");
    assert!(runs.iter().all(|run| run.parent == root.id));
    assert_eq!(runs[0].attributes["onsembl.ended_by"], "the server was stopped");
    assert!(runs[1].attributes.contains_key("onsembl.continued"), "{:?}", runs[1]);
    agent.stop().await;
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_ends_ends_its_spans_as_they_are() {
    let collector = Collector::start().await;
    let site = Site::start(Some(&collector.endpoint)).await;
    let agent = site.agent(Some(&collector.endpoint)).await;
    let mut board = site.dashboard(None).await;
    board.ask("c-1", "ada", "sleep 1000", None).await;
    board.until_status("c-1", &["running"]).await;
    agent.stop().await;
    let all = collector.until("its span", |spans| has(spans, &["agent.command"])).await;
    let agents = one(&all, "agent.command");
    // Whether the report of its end is confirmed before the agent ends is a matter of moments.
    let is_killed = agents.attributes.contains_key("onsembl.command.signal");
    assert!(is_killed || agents.attributes.contains_key("onsembl.ended_by"), "{agents:?}");
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_agent_hears_nothing_of_traces_and_an_older_server_says_nothing() {
    let collector = Collector::start().await;
    let site = Site::start(Some(&collector.endpoint)).await;
    let mut board = site.dashboard(None).await;
    for (name, extra, is_told) in [("old", None, false), ("new", Some(Feature::CommandTrace), true)]
    {
        let features = AGENT_FEATURES.iter().cloned().chain(extra).collect();
        let mut agent = Peer::agent(&site, name, features).await;
        board.ask(name, name, "true", Some(json!(parent()))).await;
        let request = agent.hear("COMMAND_REQUEST").await;
        assert_eq!(request["traceparent"].is_string(), is_told, "{request}");
        if is_told {
            let given = request["traceparent"].as_str().unwrap();
            assert!(given.contains(TRACE) && !given.contains(CALLER), "the server's span: {given}");
        }
    }
    board.close().await;
    site.stop().await;

    // A server that exports no traces.
    let site = Site::start(None).await;
    let agent = site.agent(Some(&collector.endpoint)).await;
    let mut board = site.dashboard(None).await;
    assert_eq!(board.run("c-2", "true", Some(json!(parent()))).await, "completed");
    agent.stop().await;
    let of_agent = |span: &Seen| span.name.starts_with("agent.");
    assert!(!collector.spans().iter().any(of_agent), "nothing was agreed on");
    site.stop().await;
}

/// It takes connections and never answers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_hangs_holds_up_nothing() {
    let hanging = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}/v1/traces", hanging.local_addr().unwrap());
    let site = Site::start(Some(&endpoint)).await;
    let agent = site.agent(Some(&endpoint)).await;
    let mut board = site.dashboard(None).await;
    let began = Instant::now();
    for n in 0..5 {
        assert_eq!(board.run(&format!("c-{n}"), "true", None).await, "completed");
    }
    agent.stop().await;
    site.stop().await;
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
}
