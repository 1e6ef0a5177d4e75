//! What a server measures of itself: who may read it, what it counts, and that what is documented exists.

use crate::extended::watched;
use crate::fixture::{World, is_packaged};
use crate::frames::{Chunk, command_complete, page_command};
use crate::peer::Request;
use onsembl_server_ref::auth::TokenKind;
use std::collections::BTreeSet;
use std::path::Path;

/// The rules and the dashboard that the documentation offers, in the repository.
const OFFERED: [&str; 2] = ["alerts.yml", "grafana.json"];

#[tokio::test]
async fn metrics_are_for_a_token_of_their_kind_and_for_a_listener_of_their_own() {
    let mut world = World::start().await;
    for kind in [None, Some(TokenKind::Dashboard), Some(TokenKind::Agent)] {
        let token = kind.map(|kind| world.token("ann", kind));
        let page = world.get("/metrics", token.as_deref()).await;
        assert_eq!(page.status, 401, "{kind:?}: {}", page.body);
        assert!(!page.body.contains("onsembl_"), "{}", page.body);
    }
    let token = world.token("ops", TokenKind::Metrics);
    let page = world.get("/metrics", Some(&token)).await;
    assert_eq!(page.status, 200);
    assert!(page.body.ends_with("# EOF\n"), "{}", page.body);
    for path in ["/api/agents", "/api/commands"] {
        assert_eq!(world.get(path, Some(&token)).await.status, 401, "{path}");
    }
    let strangers = world.get("/healthz", None).await.json();
    let shown: Vec<&String> = strangers.as_object().unwrap().keys().collect();
    assert_eq!(shown, ["status", "store"]);

    let alone =
        world.server_mut().listen_for_metrics("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let page = Request::get("/metrics").send(alone.address()).await;
    assert_eq!(page.status, 200);
    let other = Request::get("/api/agents").bearer(Some(&token)).send(alone.address()).await;
    assert_eq!(other.status, 404, "nothing else is served there");
}

#[tokio::test]
async fn what_happens_is_counted_and_no_label_is_a_peers() {
    let (world, mut agent, id, mut dashboard) = watched().await;
    dashboard.send(page_command("cmd-1", &id, "work", &[])).await;
    let _ = agent.expect("COMMAND_REQUEST").await;
    let chunk = Chunk {
        command: "cmd-1",
        stream: "STDOUT",
        sequence: 1,
        offset: 0,
        encoding: "utf-8",
        content: "twelve bytes",
    };
    agent.send(chunk.text()).await;
    agent.send(command_complete("cmd-1", "COMPLETED", 0)).await;
    let _ = dashboard.expect_that("COMMAND_STATUS", |s| s["status"] == "completed").await;
    for (name, wanted) in [
        (r#"onsembl_commands_ended_total{status="completed"}"#, 1),
        (r#"onsembl_commands_ended_total{status="failed"}"#, 0),
        (r#"onsembl_output_bytes_total{stage="received"}"#, 12),
        (r#"onsembl_output_bytes_total{stage="stored"}"#, 12),
        (r#"onsembl_output_bytes_total{stage="delivered"}"#, 12),
        (r#"onsembl_presence_changes_total{status="online",cause="session-opened"}"#, 1),
        ("onsembl_sessions", 1),
        ("onsembl_store_up", 1),
    ] {
        world.metric_when(name, wanted).await;
    }
    let page = world.metrics().await;
    for chosen in [id.as_str(), "ann", "cmd-1", "key-1"] {
        assert!(!page.contains(chosen), "{chosen} in {page}");
    }
}

#[tokio::test]
async fn every_metric_of_the_rules_and_of_the_dashboard_exists() {
    if is_packaged() {
        return;
    }
    let (world, _agent, _id, _dashboard) = watched().await;
    let page = world.metrics().await;
    let known: BTreeSet<&str> =
        page.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    let mut used = BTreeSet::new();
    for file in OFFERED {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(here.join("../docs/monitoring").join(file)).unwrap();
        let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        used.extend(words.filter(|word| word.starts_with("onsembl_")).map(str::to_owned));
    }
    assert!(used.len() > 10, "{used:?}");
    for name in &used {
        let family = ["_total", "_bucket", "_count", "_sum"]
            .iter()
            .find_map(|end| name.strip_suffix(end))
            .unwrap_or(name);
        assert!(
            known.contains(family) || known.contains(name.as_str()),
            "{name} is no metric: {known:?}"
        );
    }
}
