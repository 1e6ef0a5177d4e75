//! History that is cut: the oldest goes, a gap stays, and the sums stay what they are.

use crate::common::{at, beside, chunk, command, fresh, hello, one_agent, user};
use bytes::Bytes;
use onsembl_protocol::id::{ByteOffset, ChunkSequence, CommandId, Incarnation, UserId};
use onsembl_protocol::model::{GapCause, Stream};
use onsembl_server_ref::store::{
    CommandRow, CommandUpdate, Cut, OpenError, Receipts, Store, StoredBody, StoredRecord,
};

const CHUNK: u64 = 100;

struct Scene {
    store: Store,
    receipts: Receipts,
    user: UserId,
    _dir: tempfile::TempDir,
}

impl Scene {
    async fn new() -> Self {
        let (dir, store, receipts) = fresh().await;
        let agent = one_agent(&store).await.agent;
        for id in ["old", "new"] {
            store.commands().insert(command(&agent, id)).await.unwrap();
        }
        Self { store, receipts, user: user("u"), _dir: dir }
    }

    /// Chunk `n` of a stream, received at second `n`, by the clock of retention too.
    async fn write(&mut self, id: &str, stream: Stream, n: u64) {
        self.store.retention().set_ages_by(at(n as i64));
        let record = StoredRecord {
            user: self.user.clone(),
            command: CommandId::new(id),
            incarnation: Incarnation(1),
            sequence: ChunkSequence(n + 1),
            stream,
            offset: ByteOffset(n * CHUNK),
            body: StoredBody::Chunk(Bytes::from(vec![b'x'; CHUNK as usize])),
            at: at(n as i64),
        };
        self.store.output().append(record).await.unwrap();
        for receipt in self.receipts.output.recv().await.unwrap() {
            receipt.outcome.unwrap();
        }
    }

    async fn shape(&self, id: &str) -> Vec<(u64, Result<usize, (Option<u64>, GapCause)>)> {
        let id = CommandId::new(id);
        let read =
            self.store.reading().read(&self.user, &id, None, None, usize::MAX).await.unwrap();
        let shape = |r: StoredRecord| match r.body {
            StoredBody::Chunk(bytes) => (r.offset.0, Ok(bytes.len())),
            StoredBody::Gap { length, because } => (r.offset.0, Err((length, because))),
        };
        read.into_iter().map(shape).collect()
    }

    async fn sums(&self, id: &str) -> (u64, u64, u64, u64) {
        let found =
            self.store.streams().positions(&self.user, vec![CommandId::new(id)]).await.unwrap();
        let p = found.first().unwrap();
        (p.committed.0, p.delivered, p.gaps, p.kept)
    }
}

#[tokio::test]
async fn what_is_too_old_goes_and_a_gap_at_the_beginning_says_so() {
    let mut scene = Scene::new().await;
    for n in 0..10 {
        scene.write("old", Stream::Stdout, n).await;
    }
    let cut = scene.store.retention().cut_output(at(4), u64::MAX).await.unwrap();
    assert_eq!(cut, Cut { bytes: 400, more: false });
    let shape = scene.shape("old").await;
    assert_eq!(shape.first(), Some(&(0, Err((Some(400), GapCause::Retention)))));
    assert_eq!(shape.get(1), Some(&(400, Ok(100))));
    assert_eq!(shape.len(), 7);
    assert_eq!(scene.sums("old").await, (1000, 1000, 0, 600));

    // Again: one gap, not two.
    let cut = scene.store.retention().cut_output(at(7), u64::MAX).await.unwrap();
    assert_eq!(cut, Cut { bytes: 300, more: false });
    let shape = scene.shape("old").await;
    assert_eq!(shape.first(), Some(&(0, Err((Some(700), GapCause::Retention)))));
    assert_eq!(shape.len(), 4);
    // A reader that had all of that has missed nothing.
    let after = Some((Incarnation(1), ChunkSequence(7)));
    let id = CommandId::new("old");
    let rest = scene.store.reading().read(&scene.user, &id, None, after, usize::MAX).await.unwrap();
    assert_eq!(rest.first().unwrap().offset, ByteOffset(700));

    // All of it; and then it grows again.
    assert_eq!(scene.store.retention().cut_output(at(99), u64::MAX).await.unwrap().bytes, 300);
    assert_eq!(scene.store.retention().cut_output(at(99), u64::MAX).await.unwrap(), Cut::default());
    assert_eq!(scene.sums("old").await, (1000, 1000, 0, 0));
    scene.write("old", Stream::Stdout, 10).await;
    assert_eq!(scene.sums("old").await, (1100, 1100, 0, 100));
    assert_eq!(scene.shape("old").await.len(), 2);
}

#[tokio::test]
async fn what_is_too_much_goes_the_oldest_first_over_all_streams() {
    let mut scene = Scene::new().await;
    for n in 0..10 {
        scene.write("old", Stream::Stdout, n).await;
    }
    for n in 0..10 {
        // Of the same seconds, so both lose their beginnings.
        scene.write("new", Stream::Stderr, n).await;
    }
    let cut = scene.store.retention().cut_output(at(0), 1250).await.unwrap();
    assert_eq!((cut.bytes, cut.more), (800, false));
    let kept = scene.sums("old").await.3 + scene.sums("new").await.3;
    assert_eq!(kept, 1200);
    assert_eq!(scene.store.retention().cut_output(at(0), 1250).await.unwrap(), Cut::default());
}

#[tokio::test]
async fn much_is_cut_in_many_small_transactions() {
    let mut scene = Scene::new().await;
    for n in 0..1300 {
        scene.write("old", Stream::Stdout, n).await;
    }
    let (mut steps, mut bytes) = (0, 0);
    loop {
        let cut = scene.store.retention().cut_output(at(9999), u64::MAX).await.unwrap();
        steps += 1;
        bytes += cut.bytes;
        if !cut.more {
            break;
        }
    }
    assert_eq!((steps, bytes), (3, 130_000));
    assert_eq!(scene.shape("old").await, [(0, Err((Some(130_000), GapCause::Retention)))]);
}

#[tokio::test]
async fn output_ages_by_the_clock_of_retention_and_not_by_the_time_it_shows() {
    let mut scene = Scene::new().await;
    scene.write("old", Stream::Stdout, 0).await;
    // A clock that is far behind labels what comes now, and one that is far ahead.
    for (n, label) in [(1, -1_000_000_000_000), (2, 1_000_000_000_000)] {
        let record = StoredRecord {
            user: scene.user.clone(),
            command: CommandId::new("new"),
            incarnation: Incarnation(1),
            sequence: ChunkSequence(n),
            stream: Stream::Stdout,
            offset: ByteOffset((n - 1) * CHUNK),
            body: StoredBody::Chunk(Bytes::from(vec![b'x'; CHUNK as usize])),
            at: at(label),
        };
        scene.store.retention().set_ages_by(at(10 * n as i64));
        scene.store.output().append(record).await.unwrap();
        let _ = scene.receipts.output.recv().await.unwrap();
    }
    let cut = scene.store.retention().cut_output(at(5), u64::MAX).await.unwrap();
    assert_eq!(cut.bytes, CHUNK, "only the first");
    assert_eq!(scene.sums("new").await.3, 2 * CHUNK);
    let cut = scene.store.retention().cut_output(at(15), u64::MAX).await.unwrap();
    assert_eq!(cut.bytes, CHUNK, "of the other the first, whatever it shows");
}

#[tokio::test]
async fn commands_that_are_over_go_with_all_that_they_left() {
    let mut scene = Scene::new().await;
    for n in 0..3 {
        scene.write("old", Stream::Stdout, n).await;
        scene.write("new", Stream::Stdout, n).await;
    }
    let end = CommandUpdate {
        status: "completed".to_owned(),
        cause: None,
        exit_code: Some(0),
        signal: None,
        at: at(3),
        ended: true,
    };
    let old = CommandId::new("old");
    assert!(scene.store.commands().update(&scene.user, &old, end).await.unwrap());
    assert!(!scene.store.retention().remove_commands(at(2)).await.unwrap());
    assert!(scene.store.commands().get(&scene.user, &old).await.unwrap().is_some(), "too young");
    assert!(!scene.store.retention().remove_commands(at(9999)).await.unwrap());
    assert!(scene.store.commands().get(&scene.user, &old).await.unwrap().is_none());
    assert!(scene.shape("old").await.is_empty());
    assert_eq!(scene.shape("new").await.len(), 3, "what is not over stays");
}

#[tokio::test]
async fn a_deleted_agent_stays_away_until_it_is_forgotten_with_all_that_it_left() {
    let (dir, store, _receipts) = fresh().await;
    let mut agents = Vec::new();
    for name in ["early", "late", "busy"] {
        agents.push(store.sessions().open(hello("u", name, name)).await.unwrap().agent);
    }
    let [early, late, busy] = &agents[..] else { panic!() };
    store.commands().insert(command(busy, "c")).await.unwrap();
    // The wall clock was set back before the later ones were deleted.
    for (agent, observed, wall) in [(early, 1, 1000), (late, 5, -1000), (busy, 5, -1000)] {
        store.retention().set_ages_by(at(observed));
        assert!(store.deletion().delete_agent(&user("u"), agent, at(wall)).await.unwrap());
    }
    let is_refused = async |name: &str| {
        let session = format!("{name} again");
        matches!(
            store.sessions().open(hello("u", name, &session)).await,
            Err(OpenError::Deleted(_))
        )
    };
    assert!(!store.deletion().forget_agents(at(5)).await.unwrap());
    assert!(is_refused("late").await && is_refused("busy").await);
    assert!(!is_refused("early").await, "it is a new agent");
    assert_ne!(store.agents().list(Some(&user("u"))).await.unwrap()[0].agent, *early);

    assert!(!store.deletion().forget_agents(at(6)).await.unwrap());
    assert!(!is_refused("late").await);
    assert!(is_refused("busy").await, "its command is stored");
    let rest: i64 = beside(dir.path())
        .query_row("SELECT count(*) FROM sessions WHERE agent_id = ?1", [late.as_str()], |r| {
            r.get(0)
        })
        .unwrap();
    assert_eq!(rest, 0);
}

#[tokio::test]
async fn the_deleted_agents_of_a_user_are_bounded_and_those_of_another_stay() {
    const REMEMBERED: i64 = 4096;
    let (dir, store, _receipts) = fresh().await;
    let one = async |name: &str, key: &str| {
        store.sessions().open(hello(name, key, &format!("{name} {key}"))).await.unwrap().agent
    };
    let (others, last) = (one("other", "k").await, one("u", "last").await);
    assert!(store.deletion().delete_agent(&user("other"), &others, at(0)).await.unwrap());
    // More than there may be: as many at once as no program of this version leaves.
    let db = beside(dir.path());
    db.execute_batch(&format!(
        "INSERT INTO agents (agent_id, user_id, agent_key, name, agent_type, capabilities, epoch, status, since,
                             because, presence_version, created_at, deleted_at, kept_from)
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {REMEMBERED} + 1)
         SELECT 'a' || i, 'u', 'k' || i, 'n', 'custom', '[]', 1, 'offline', 0, '{{}}', 1, 0, i, i FROM n"
    ))
    .unwrap();
    store.retention().set_ages_by(at(0));
    assert!(store.deletion().delete_agent(&user("u"), &last, at(0)).await.unwrap());
    let count = |name: &str| -> (i64, i64) {
        let query =
            "SELECT count(*), min(kept_from) FROM agents WHERE user_id = ?1 AND deleted_at > 0";
        db.query_row(query, [name], |r| Ok((r.get(0)?, r.get(1)?))).unwrap()
    };
    assert_eq!(count("u"), (REMEMBERED - 2, 5), "the oldest four are forgotten");
    assert_eq!(count("other").0, 1);
}

#[tokio::test]
async fn of_too_much_over_all_users_the_one_with_the_most_pays() {
    let (dir, store, mut receipts) = fresh().await;
    let mut write = async |name: &str, n: u64| {
        let mut one = chunk("c", 1, n, &[b'x'; CHUNK as usize]);
        one.user = user(name);
        store.output().append(one).await.unwrap();
        receipts.output.recv().await.unwrap().pop().unwrap().outcome.unwrap();
    };
    for name in ["light", "heavy"] {
        let agent = store.sessions().open(hello(name, name, name)).await.unwrap().agent;
        let row = CommandRow { user: user(name), ..command(&agent, "c") };
        store.commands().insert(row).await.unwrap();
    }
    // The oldest of all is of the one who has little.
    write("light", 1).await;
    for n in 1..=50 {
        write("heavy", n).await;
    }
    let cut = store.retention().cut_output(at(0), 20 * CHUNK).await.unwrap();
    assert_eq!(cut.bytes, 31 * CHUNK);
    assert_eq!(store.budget().usage(&user("light")).await.unwrap().kept, CHUNK);
    assert_eq!(store.budget().usage(&user("heavy")).await.unwrap().kept, 19 * CHUNK);
    drop(dir);
}
