//! Who an agent is, its epochs, its presence, its heartbeats; commands and tokens.

use crate::common::{at, beat, beside, command, fresh, hello, one_agent, user};
use onsembl_protocol::fleet::{Bearer, TokenScope};
use onsembl_protocol::id::{
    AgentId, BeatSequence, CommandId, Epoch, LineageId, PresenceVersion, SessionId, TokenId,
};
use onsembl_server_ref::store::{CommandUpdate, Inserted, OpenError, PresenceRow, StoreError};
use serde_json::json;

#[tokio::test]
async fn the_epoch_of_a_session_has_versions_above_all_that_are_stored() {
    let (_dir, store, _receipts) = fresh().await;
    let agent = one_agent(&store).await.agent;
    let half = 1 << 19;
    for (stored, wanted) in [
        ((1 << 20) + 5, 2),
        ((2 << 20) + half - 1, 3),
        // More may have been published than is stored: into the next epoch, from its second half on.
        ((3 << 20) + half, 5),
        // An earlier version counted on.
        ((77 << 20) + 3, 78),
    ] {
        let version = PresenceVersion(stored);
        let event = PresenceRow {
            agent: agent.clone(),
            version,
            epoch: Epoch(1),
            status: "online".to_owned(),
            because: String::new(),
            evidence: json!({}),
            at: at(1),
        };
        store.presence().append(event).await.unwrap();
        let opened = store.sessions().open(hello("u", "k", &format!("s{stored}"))).await.unwrap();
        assert_eq!(opened.epoch, Epoch(wanted), "{stored}");
        assert!(PresenceVersion::base_of(opened.epoch) > version);
    }
}

#[tokio::test]
async fn an_agent_is_its_key_within_its_user() {
    let (_dir, store, _receipts) = fresh().await;
    let first = store.sessions().open(hello("u", "k", "s1")).await.unwrap();
    assert_eq!((first.created, first.epoch), (true, Epoch(1)));
    let again = store.sessions().open(hello("u", "k", "s2")).await.unwrap();
    assert_eq!((again.created, again.epoch, &again.agent), (false, Epoch(2), &first.agent));

    let other = store.sessions().open(hello("v", "k", "s3")).await.unwrap();
    assert!(other.created);
    assert_ne!(other.agent, first.agent);
    assert_eq!(store.agents().list(None).await.unwrap().len(), 2);
    let mine = store.agents().list(Some(&user("u"))).await.unwrap();
    assert_eq!(mine.iter().map(|a| &a.agent).collect::<Vec<_>>(), [&first.agent]);
}

#[tokio::test]
async fn a_claimed_id_or_an_alias_finds_the_agent_of_the_same_user_only() {
    let (_dir, store, _receipts) = fresh().await;
    let mut legacy = hello("u", "legacy", "s1");
    legacy.known.alias = Some("claude-1abc".to_owned());
    let agent = store.sessions().open(legacy).await.unwrap().agent;

    let mut by_id = hello("u", "new key", "s2");
    by_id.known.candidate = Some(agent.clone());
    assert_eq!(store.sessions().open(by_id).await.unwrap().agent, agent);
    let by_new_key = store.sessions().open(hello("u", "new key", "s3")).await.unwrap();
    assert_eq!(by_new_key.agent, agent, "the key moved with the agent");

    let mut by_alias = hello("u", "third key", "s4");
    by_alias.known.candidate = Some(AgentId::new("claude-1abc"));
    let found = store.sessions().open(by_alias).await.unwrap();
    assert_eq!((found.agent.clone(), found.epoch), (agent.clone(), Epoch(4)));

    let mut foreign = hello("v", "their key", "s5");
    foreign.known.candidate = Some(agent.clone());
    foreign.known.alias = Some("claude-1abc".to_owned());
    let foreign = store.sessions().open(foreign).await.unwrap();
    assert!(foreign.created);
    assert_ne!(foreign.agent, agent);
}

#[tokio::test]
async fn what_an_agent_says_of_itself_is_renewed() {
    let (_dir, store, _receipts) = fresh().await;
    one_agent(&store).await;
    let mut next = hello("u", "k", "s2");
    next.known.name = "other name".to_owned();
    next.known.capabilities = vec!["a".to_owned(), "b".to_owned()];
    next.known.version = None;
    next.known.host = Some("box".to_owned());
    store.sessions().open(next).await.unwrap();
    let row = store.agents().list(None).await.unwrap().remove(0);
    assert_eq!(row.name, "other name");
    assert_eq!(row.capabilities, ["a", "b"]);
    assert_eq!((row.version, row.host.as_deref()), (None, Some("box")));
}

#[tokio::test]
async fn a_deleted_agent_stays_away() {
    let (_dir, store, _receipts) = fresh().await;
    let agent = one_agent(&store).await.agent;
    assert!(!store.deletion().delete_agent(&user("v"), &agent, at(5)).await.unwrap(), "not theirs");
    assert!(store.deletion().delete_agent(&user("u"), &agent, at(5)).await.unwrap());
    assert!(!store.deletion().delete_agent(&user("u"), &agent, at(6)).await.unwrap(), "only once");
    assert!(store.agents().list(None).await.unwrap().is_empty());

    let mut by_id = hello("u", "new key", "s3");
    by_id.known.candidate = Some(agent.clone());
    for hello in [hello("u", "k", "s2"), by_id] {
        let error = store.sessions().open(hello).await.unwrap_err();
        assert!(matches!(error, OpenError::Deleted(ref id) if *id == agent), "{error:?}");
    }
}

#[tokio::test]
async fn a_session_ends_once() {
    let (dir, store, _receipts) = fresh().await;
    let opened = one_agent(&store).await;
    let session = SessionId::new("s");
    assert!(store.sessions().close(&session, at(7), "gone").await.unwrap());
    assert!(!store.sessions().close(&session, at(8), "again").await.unwrap());
    let row: (String, i64, String, String) = beside(dir.path())
        .query_row("SELECT agent_id, closed_at, closed_because, instance FROM sessions", [], |r| {
            Ok((r.get(0)?, r.get(1)?, r.get(2)?, r.get(3)?))
        })
        .unwrap();
    let agent = opened.agent.to_string();
    assert_eq!(row, (agent, at(7).unix_millis(), "gone".to_owned(), "i".to_owned()));
}

#[tokio::test]
async fn presence_is_appended_and_projected_forward_only() {
    let (dir, store, _receipts) = fresh().await;
    let agent = one_agent(&store).await.agent;
    let event = |version, status: &str, because: &str, millis| PresenceRow {
        agent: agent.clone(),
        version: PresenceVersion(version),
        epoch: Epoch(1),
        status: status.to_owned(),
        because: because.to_owned(),
        evidence: json!({"version": version}),
        at: at(millis),
    };
    let shown = async || {
        let row = store.agents().list(None).await.unwrap().remove(0);
        (row.status, row.because, row.since, row.presence_version.0)
    };
    store.presence().append(event(1, "online", "hello accepted", 10)).await.unwrap();
    store.presence().append(event(3, "online", "not recorded", 30)).await.unwrap();
    let want = ("online".to_owned(), "not recorded".to_owned(), at(10), 3);
    assert_eq!(shown().await, want, "since moves with the status only");

    store.presence().append(event(2, "stale", "late", 20)).await.unwrap();
    assert_eq!(shown().await, want, "an older event does not show");
    let twice = store.presence().append(event(3, "stale", "again", 40)).await.unwrap_err();
    assert!(matches!(twice, StoreError::Refused(_)), "{twice:?}");
    assert_eq!(shown().await, want);

    let next = store.sessions().open(hello("u", "k", "s2")).await.unwrap();
    assert_eq!(next.epoch, Epoch(2));
    let events: i64 = beside(dir.path())
        .query_row("SELECT count(*) FROM presence_events", [], |r| r.get(0))
        .unwrap();
    assert_eq!(events, 3);
}

#[tokio::test]
async fn a_heartbeat_is_recorded_for_the_present_session() {
    let (_dir, store, mut receipts) = fresh().await;
    let old = one_agent(&store).await;
    let new = store.sessions().open(hello("u", "k", "s2")).await.unwrap();
    store.record_heartbeat(beat(&old.agent, new.epoch, 4));
    let recorded = receipts.recorded.recv().await.unwrap().remove(0);
    assert_eq!((recorded.epoch, recorded.sequence), (new.epoch, BeatSequence(4)));
    assert_eq!(recorded.at, at(4));
    assert!(recorded.committed_at > at(4));

    store.record_heartbeat(beat(&old.agent, old.epoch, 9));
    let mut without = beat(&old.agent, new.epoch, 5);
    store.tokens().revoke("barrier", at(0), "").await.unwrap();
    without.metrics = None;
    store.record_heartbeat(without);
    let recorded = receipts.recorded.recv().await.unwrap().remove(0);
    assert_eq!(recorded.sequence, BeatSequence(5), "the beat of the old session is passed over");
    let row = store.agents().heartbeats(Some(&user("u"))).await.unwrap().remove(0);
    assert_eq!((row.at, row.metrics), (Some(at(5)), Some(json!({"n": 4}))));
}

#[tokio::test]
async fn a_command_is_unique_per_user() {
    let (_dir, store, _receipts) = fresh().await;
    let agent = one_agent(&store).await.agent;
    let first = command(&agent, "c");
    assert_eq!(store.commands().insert(first.clone()).await.unwrap(), Inserted::New);
    let mut second = first.clone();
    second.text = "rm".to_owned();
    let existing = store.commands().insert(second).await.unwrap();
    assert_eq!(existing, Inserted::Existing(first.clone()));
    let mut theirs = first.clone();
    theirs.user = user("v");
    assert_eq!(store.commands().insert(theirs.clone()).await.unwrap(), Inserted::New);
    assert_eq!(store.commands().open().await.unwrap().len(), 2);

    let end = CommandUpdate {
        status: "failed".to_owned(),
        cause: Some("killed".to_owned()),
        exit_code: None,
        signal: Some(9),
        at: at(50),
        ended: true,
    };
    let id = CommandId::new("c");
    assert!(store.commands().update(&user("u"), &id, end.clone()).await.unwrap());
    assert!(!store.commands().update(&user("w"), &id, end).await.unwrap(), "no such command");
    assert_eq!(store.commands().open().await.unwrap(), [theirs]);
    let ended = store.commands().get(&user("u"), &id).await.unwrap().unwrap();
    assert_eq!((ended.status.as_str(), ended.signal), ("failed", Some(9)));
    assert_eq!((ended.created_at, ended.ended_at), (at(2), Some(at(50))));
    assert_eq!(ended.spec, first.spec);
    assert_eq!(store.commands().get(&user("u"), &CommandId::new("d")).await.unwrap(), None);
}

#[tokio::test]
async fn a_revoked_token_stays_revoked() {
    let (_dir, store, _receipts) = fresh().await;
    assert!(!store.tokens().is_revoked("t").await.unwrap());
    store.tokens().revoke("t", at(1), "lost").await.unwrap();
    store.tokens().revoke("t", at(2), "again").await.unwrap();
    assert!(store.tokens().is_revoked("t").await.unwrap());
    assert!(!store.tokens().is_revoked("other").await.unwrap());
}

fn bearer(lineage: &str, scope: TokenScope) -> Option<Bearer> {
    let token = TokenId::new(format!("token of {lineage}"));
    Some(Bearer { token, lineage: LineageId::new(lineage), scope })
}

/// What the fleet could not know when it decided.
#[tokio::test]
async fn no_session_is_opened_of_an_agent_that_another_lineage_holds() {
    let (_dir, store, _receipts) = fresh().await;
    let with = |session: &str, lineage: &str, scope| {
        let mut new = hello("u", "k", session);
        new.known.bearer = bearer(lineage, scope);
        new
    };
    let vouched = store.sessions().open(hello("u", "k", "s0")).await.unwrap();
    let first = store.sessions().open(with("s1", "a", TokenScope::Any)).await.unwrap();
    assert_eq!(first.agent, vouched.agent, "nobody held it");
    let refused = store.sessions().open(with("s2", "b", TokenScope::Any)).await.unwrap_err();
    assert!(matches!(&refused, OpenError::Held(why) if why.contains("token of a")), "{refused}");
    let vouched = store.sessions().open(hello("u", "k", "s3")).await.unwrap();
    assert_eq!(
        vouched.epoch,
        Epoch(3),
        "a service vouches for it, and what was refused counts not"
    );
    let heir = TokenScope::Heir(first.agent.clone());
    let passed_on = store.sessions().open(with("s4", "b", heir)).await.unwrap();
    assert_eq!(passed_on.agent, first.agent);
    let claim = store.agents().list(None).await.unwrap().remove(0).claim.unwrap();
    assert_eq!(claim.lineage, LineageId::new("b"));
    assert!(store.sessions().open(with("s5", "a", TokenScope::Any)).await.is_err());
    assert!(store.tokens().is_revoked("a").await.unwrap(), "that held no other agent");
}

#[tokio::test]
async fn an_alias_of_another_lineage_or_the_name_of_a_deleted_wrapper_is_no_ones() {
    let (_dir, store, _receipts) = fresh().await;
    let wrapper = |key: &str, session: &str, lineage: &str| {
        let mut new = hello("u", key, session);
        new.known.bearer = bearer(lineage, TokenScope::Any);
        new.known.instance = None;
        new.known.alias = Some("claude-x".to_owned());
        new.known.candidate = Some(AgentId::new("claude-x"));
        new
    };
    let one = store.sessions().open(wrapper("name:w", "s1", "a")).await.unwrap().agent;
    let other = store.sessions().open(wrapper("name:v", "s2", "b")).await.unwrap().agent;
    assert_ne!(one, other);
    let same = store.sessions().open(wrapper("name:u", "s3", "a")).await.unwrap().agent;
    assert_eq!(same, one, "it was renamed");
    assert!(store.deletion().delete_agent(&user("u"), &one, at(5)).await.unwrap());
    let again = store.sessions().open(wrapper("name:u", "s4", "a")).await.unwrap_err();
    assert!(matches!(again, OpenError::Deleted(_)), "{again}");
    let free = store.sessions().open(wrapper("name:u", "s5", "b")).await.unwrap();
    assert!(free.created, "it is another wrapper of that name");
}

#[tokio::test]
async fn as_many_ids_of_its_own_making_are_kept_of_a_wrapper_as_are_looked_at() {
    let (dir, store, _receipts) = fresh().await;
    for n in 0..20 {
        let mut new = hello("u", "k", &format!("s{n}"));
        new.known.alias = Some(format!("alias {n}"));
        let _ = store.sessions().open(new).await.unwrap();
    }
    let kept: i64 = beside(dir.path())
        .query_row("SELECT count(*) FROM agent_aliases", [], |row| row.get(0))
        .unwrap();
    assert_eq!(kept, 8);
}
