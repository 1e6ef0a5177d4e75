//! What one user may have on the disk: the oldest of that user goes, nobody else feels it, and what is asked for
//! beyond it is refused by name.

use crate::common::{at, beside, chunk, command, hello, user};
use onsembl_protocol::fleet::StopOrder;
use onsembl_protocol::id::{AgentId, CommandId, Epoch, PresenceVersion, StopId, UserId};
use onsembl_protocol::model::{GapCause, StopScope};
use onsembl_server_ref::store::{
    CommandRow, CommandUpdate, Inserted, PresenceRow, Receipts, Store, StoreError, StoreLimits,
    StoredBody, StoredRecord, Usage,
};
use std::path::Path;
use tempfile::TempDir;

const KIB: usize = 1024;
const DAY: i64 = 24 * 3600 * 1000;

struct Scene {
    store: Store,
    receipts: Receipts,
    agent: AgentId,
    other: AgentId,
    dir: TempDir,
}

impl Scene {
    /// Users `u` and `other`, each of whom may have this many bytes.
    async fn new(user_bytes: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut limits = StoreLimits::DEFAULT;
        limits.user_bytes = user_bytes;
        let (store, receipts) = Store::open_within(dir.path(), at(0), limits).await.unwrap();
        let agent = store.sessions().open(hello("u", "k", "s")).await.unwrap().agent;
        let other = store.sessions().open(hello("other", "k", "t")).await.unwrap().agent;
        Self { store, receipts, agent, other, dir }
    }

    async fn ask(&self, id: &str, text: usize) -> Result<Inserted, StoreError> {
        let row = CommandRow { text: "x".repeat(text), ..command(&self.agent, id) };
        self.store.commands().insert(row).await
    }

    async fn end(&self, id: &str) {
        let end = CommandUpdate {
            status: "completed".to_owned(),
            cause: Some("done".to_owned()),
            exit_code: Some(0),
            signal: None,
            at: at(9),
            ended: true,
        };
        let id = CommandId::new(id);
        assert!(self.store.commands().update(&user("u"), &id, end).await.unwrap());
    }

    async fn write(&mut self, record: StoredRecord) {
        self.store.output().append(record).await.unwrap();
        for receipt in self.receipts.output.recv().await.unwrap() {
            receipt.outcome.unwrap();
        }
    }

    async fn text(&self, id: &str) -> Option<usize> {
        let row = self.store.commands().get(&user("u"), &CommandId::new(id)).await.unwrap();
        row.map(|row| row.text.len())
    }

    async fn output(&self, id: &str) -> Vec<Result<usize, GapCause>> {
        let id = CommandId::new(id);
        let read =
            self.store.reading().read(&user("u"), &id, None, None, usize::MAX).await.unwrap();
        let body = |record: StoredRecord| match record.body {
            StoredBody::Chunk(bytes) => Ok(bytes.len()),
            StoredBody::Gap { because, .. } => Err(because),
        };
        read.into_iter().map(body).collect()
    }

    async fn usage(&self, of: &str) -> Usage {
        self.store.budget().usage(&user(of)).await.unwrap()
    }

    /// The sums that are kept, and those that a scan finds.
    fn check(&self) {
        let sums = "SELECT user_id, commands, kept + agents * 1000000, records FROM usage
                    ORDER BY user_id";
        let scan = "SELECT u.user_id,
            (SELECT coalesce(sum(512 + octet_length(text) + octet_length(spec)
                                 + coalesce(octet_length(cause), 0)), 0)
             FROM commands c WHERE c.user_id = u.user_id)
            + (SELECT coalesce(sum(128 + octet_length(status) + coalesce(octet_length(cause), 0)), 0)
               FROM command_events e WHERE e.user_id = u.user_id),
            (SELECT coalesce(sum(octet_length(bytes)), 0)
             FROM output_records r WHERE r.user_id = u.user_id)
            + 1000000 * ((SELECT coalesce(sum(1024 + octet_length(name) + octet_length(capabilities)
                                    + coalesce(octet_length(host), 0)), 0)
                          FROM agents a WHERE a.user_id = u.user_id)
               + (SELECT coalesce(sum(512 + octet_length(peer)), 0)
                  FROM sessions JOIN agents a USING (agent_id) WHERE a.user_id = u.user_id)
               + (SELECT coalesce(sum(256 + octet_length(p.because) + octet_length(evidence)), 0)
                  FROM presence_events p JOIN agents a USING (agent_id)
                  WHERE a.user_id = u.user_id)),
            (SELECT count(*) FROM output_records r WHERE r.user_id = u.user_id)
            FROM usage u ORDER BY u.user_id";
        assert_eq!(rows(self.dir.path(), sums), rows(self.dir.path(), scan));
    }
}

fn rows(dir: &Path, query: &str) -> Vec<(String, i64, i64, i64)> {
    beside(dir)
        .prepare(query)
        .unwrap()
        .query_map([], |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?, r.get(3)?)))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap()
}

#[tokio::test]
async fn a_flood_of_commands_costs_its_user_the_oldest_and_another_nothing() {
    let mut scene = Scene::new(500 * KIB as u64).await;
    let theirs = CommandRow { user: user("other"), ..command(&scene.other, "theirs") };
    scene.store.commands().insert(theirs).await.unwrap();
    scene.ask("first", 50 * KIB).await.unwrap();
    scene.write(chunk("first", 1, 1, &[b'x'; 10 * KIB])).await;
    scene.end("first").await;
    for n in 0..100 {
        let id = format!("c{n}");
        scene.ask(&id, 50 * KIB).await.unwrap();
        scene.end(&id).await;
        assert!(scene.usage("u").await.bytes() <= 500 * KIB as u64);
    }
    scene.check();
    assert_eq!(scene.text("first").await, Some(256), "it is still known, but not what it said");
    assert_eq!(scene.output("first").await, [Err(GapCause::Retention)]);
    let history =
        scene.store.commands().history(&user("u"), &CommandId::new("first")).await.unwrap();
    assert_eq!(history.len(), 1, "how it ended");
    assert_eq!(scene.text("c99").await, Some(50 * KIB));
    let theirs =
        scene.store.commands().get(&user("other"), &CommandId::new("theirs")).await.unwrap();
    assert_eq!(theirs.unwrap().text, "echo");
}

/// A request that is repeated long after is not run again, however much its user asked for meanwhile.
#[tokio::test]
async fn a_command_that_was_cut_is_known_when_it_is_asked_for_again() {
    let scene = Scene::new(200 * KIB as u64).await;
    scene.ask("once", 100 * KIB).await.unwrap();
    scene.end("once").await;
    for n in 0..10 {
        scene.ask(&format!("c{n}"), 100 * KIB).await.unwrap();
        scene.end(&format!("c{n}")).await;
    }
    match scene.ask("once", 100 * KIB).await.unwrap() {
        Inserted::Existing(row) => assert_eq!(row.status, "completed"),
        Inserted::New => panic!("it would run twice"),
    }
}

/// That is known of it as long as it is listed: nobody asked for it here.
#[tokio::test]
async fn an_adopted_command_is_listed_as_adopted_before_and_after_it_is_cut() {
    let scene = Scene::new(200 * KIB as u64).await;
    let spec = serde_json::json!({ "adopted": true, "command": "" });
    let row = CommandRow { text: String::new(), spec, ..command(&scene.agent, "a") };
    let _ = scene.store.commands().insert(row).await.unwrap();
    scene.end("a").await;
    let listed = || async {
        let all = scene.store.commands().list(&user("u"), None, 100).await.unwrap();
        all.into_iter().find(|row| row.command.as_str() == "a").unwrap().spec
    };
    assert_eq!(listed().await, serde_json::json!({ "adopted": true }));
    for n in 0..10 {
        scene.ask(&format!("c{n}"), 100 * KIB).await.unwrap();
        scene.end(&format!("c{n}")).await;
    }
    assert_eq!(listed().await, serde_json::json!({ "adopted": true }));
}

#[tokio::test]
async fn what_is_not_over_is_never_cut_and_one_command_too_many_is_refused_by_name() {
    let scene = Scene::new(500 * KIB as u64).await;
    let mut taken = 0;
    let refused = loop {
        match scene.ask(&format!("c{taken}"), 50 * KIB).await {
            Ok(_) => taken += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(taken, 9);
    assert!(matches!(refused, StoreError::OverBudget(_)), "{refused}");
    assert!(refused.to_string().contains("512000"), "{refused}");
    assert!(refused.to_string().contains("--user-bytes"), "{refused}");
    for n in 0..taken {
        assert_eq!(scene.text(&format!("c{n}")).await, Some(50 * KIB));
    }
    let theirs = CommandRow { user: user("other"), ..command(&scene.other, "theirs") };
    scene.store.commands().insert(theirs).await.unwrap();
    scene.end("c0").await;
    scene.ask("again", 40 * KIB).await.expect("one is over and can go");
}

#[tokio::test]
async fn output_beyond_the_bound_costs_what_is_over_first_and_then_its_own_beginning() {
    let mut scene = Scene::new(300 * KIB as u64).await;
    for id in ["over", "open"] {
        scene.ask(id, 1).await.unwrap();
    }
    scene.write(chunk("over", 1, 1, &[b'o'; 100 * KIB])).await;
    scene.end("over").await;
    for n in 1..=25 {
        scene.write(chunk("open", 1, n, &[b'x'; 10 * KIB])).await;
    }
    assert_eq!(scene.output("over").await, [Err(GapCause::Retention)]);
    assert_eq!(scene.output("open").await.len(), 25, "all of it is there");
    for n in 26..=100 {
        scene.write(chunk("open", 1, n, &[b'x'; 10 * KIB])).await;
        assert!(scene.usage("u").await.bytes() <= 300 * KIB as u64);
    }
    let left = scene.output("open").await;
    assert_eq!(left.first(), Some(&Err(GapCause::Retention)));
    assert!(left.len() > 20);
    scene.check();
}

/// Records of one byte cost what they cost, and gaps too.
#[tokio::test]
async fn many_tiny_records_are_counted() {
    let mut scene = Scene::new(100 * KIB as u64).await;
    scene.ask("c", 1).await.unwrap();
    for n in 1..=1000 {
        scene.write(chunk("c", 1, n, b"x")).await;
    }
    let usage = scene.usage("u").await;
    assert!(usage.bytes() <= 101 * KIB as u64, "{usage:?}");
    assert!(usage.records < 450, "{usage:?}");
    scene.check();
}

#[tokio::test]
async fn what_was_cut_is_forgotten_after_a_day_and_only_then() {
    let scene = Scene::new(100 * KIB as u64).await;
    // So many that even what stays of them is too much.
    let mut known = 0;
    let refused = loop {
        let id = format!("c{known}");
        match scene.ask(&id, 10).await {
            Ok(_) => known += 1,
            Err(error) => break error,
        }
        scene.end(&id).await;
    };
    assert!(matches!(refused, StoreError::OverBudget(_)), "{refused}");
    assert!(scene.text("c0").await.is_some());
    scene.store.retention().set_ages_by(at(2 * DAY));
    scene.ask("later", 10).await.unwrap();
    assert!(scene.text("c0").await.is_none());
    scene.check();
}

#[tokio::test]
async fn nothing_of_an_agent_grows_for_ever() {
    let scene = Scene::new(u64::MAX).await;
    let count = |table: &str| {
        let query = format!("SELECT 'x', count(*), 0, 0 FROM {table}");
        rows(scene.dir.path(), &query).pop().unwrap().1
    };
    for n in 0..600 {
        let mut again = hello("u", "k", &format!("again {n}"));
        again.known.alias = Some(format!("alias {n}"));
        scene.store.sessions().open(again).await.unwrap();
    }
    for version in 1..=1500 {
        scene.store.presence().append(presence(&scene.agent, version)).await.unwrap();
    }
    let id = CommandId::new("c");
    let _ = scene.ask("c", 1).await.unwrap();
    for n in 0..400 {
        let to = CommandUpdate {
            status: "running".to_owned(),
            cause: Some(format!("change {n}")),
            exit_code: None,
            signal: None,
            at: at(n),
            ended: false,
        };
        let _ = scene.store.commands().update(&user("u"), &id, to).await.unwrap();
    }
    assert!((200..=257).contains(&count("command_events")), "{}", count("command_events"));
    for n in 0..1200 {
        let order = StopOrder {
            id: StopId::new(format!("stop {n}")),
            scope: StopScope::All,
            reason: "r".to_owned(),
            by: user("u"),
            at: at(n),
        };
        scene.store.stops().release(&user("u"), vec![order], &user("u"), at(n)).await.unwrap();
    }
    assert!((1000..=1025).contains(&count("stops")), "{}", count("stops"));
    let events = count("presence_events");
    assert!((1024..=1024 + 64).contains(&events), "{events}");
    scene.check();
    assert!(count("sessions") <= 258, "{}", count("sessions"));
    assert!(count("agent_aliases") <= 8, "{}", count("agent_aliases"));
    let _: &UserId = &user("u");
}

fn presence(agent: &AgentId, version: u64) -> PresenceRow {
    PresenceRow {
        agent: agent.clone(),
        version: PresenceVersion(version),
        epoch: Epoch(1),
        status: "online".to_owned(),
        because: "heard".to_owned(),
        evidence: serde_json::json!({ "text": "x".repeat(400) }),
        at: at(1),
    }
}

/// What agents leave behind counts too: at their part of the bound the oldest of each goes, and none is taken any more. Nobody
/// else feels it.
#[tokio::test]
async fn agents_and_their_history_have_a_part_of_the_bound() {
    let scene = Scene::new(2000 * KIB as u64).await;
    let part = 500 * KIB as u64;
    for version in 1..=1000 {
        scene.store.presence().append(presence(&scene.agent, version)).await.unwrap();
    }
    assert!(scene.usage("u").await.agents > part);
    let refused = scene.store.sessions().open(hello("u", "new", "new")).await.unwrap_err();
    assert!(refused.to_string().contains("a quarter of --user-bytes"), "{refused}");
    let _ = scene.store.sessions().open(hello("u", "k", "known")).await.unwrap();
    let _ = scene.store.sessions().open(hello("other", "new", "of another")).await.unwrap();
    while scene.store.budget().cut_what_is_over().await.unwrap() {}
    assert!(scene.usage("u").await.agents < part);
    let left = "SELECT 'x', count(*), max(version), 0 FROM presence_events";
    assert_eq!(rows(scene.dir.path(), left), [("x".to_owned(), 64, 1000, 0)]);
    let mut taken = 0;
    while let Ok(opened) =
        scene.store.sessions().open(hello("u", &taken.to_string(), &format!("s {taken}"))).await
    {
        assert!(opened.created);
        taken += 1;
    }
    assert!((100..400).contains(&taken), "{taken}");
    scene.check();
}

/// After a restart each user's latest ends are told, however many another one had.
#[tokio::test]
async fn what_ended_lately_is_found_of_each_user() {
    let scene = Scene::new(u64::MAX).await;
    let theirs = CommandRow { user: user("other"), ..command(&scene.other, "theirs") };
    scene.store.commands().insert(theirs).await.unwrap();
    let end = CommandUpdate {
        status: "completed".to_owned(),
        cause: None,
        exit_code: Some(0),
        signal: None,
        at: at(2),
        ended: true,
    };
    let id = CommandId::new("theirs");
    assert!(scene.store.commands().update(&user("other"), &id, end).await.unwrap());
    for n in 0..20 {
        let _ = scene.ask(&format!("c{n}"), 1).await.unwrap();
        scene.end(&format!("c{n}")).await;
    }
    let found = scene.store.commands().ended_since(at(1), 10).await.unwrap();
    assert_eq!(found.iter().filter(|row| row.user == user("u")).count(), 10);
    assert!(found.iter().any(|row| row.command == id), "{}", found.len());
}
