//! Screens over a real store: what is stored is shown, what was drawn is kept for a while, and users have their shares.

use super::*;
use crate::store::{CommandRow, Keyframe, NewSession, StoredBody, StoredRecord};
use bytes::Bytes;
use onsembl_protocol::id::ChunkSequence;
use onsembl_protocol::model::{SizeRecord, Stream};
use onsembl_protocol::time::WallTime;

const AT: WallTime = WallTime::from_unix_millis(1_700_000_000_000);
const RUN: Incarnation = Incarnation(1);

struct Scene {
    _dir: tempfile::TempDir,
    store: Store,
    user: UserId,
    agent: AgentId,
}

impl Scene {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (store, receipts) = Store::open(dir.path(), AT).await.unwrap();
        drop(receipts);
        let user = UserId::new("u");
        let agent = store.sessions().open(NewSession::first(&user)).await.unwrap().agent;
        Self { _dir: dir, store, user, agent }
    }

    async fn command(&self, id: &str) -> CommandId {
        let command = CommandId::new(id);
        let row = CommandRow {
            user: self.user.clone(),
            command: command.clone(),
            agent: self.agent.clone(),
            text: "sh".into(),
            spec: serde_json::Value::Null,
            status: "running".into(),
            cause: None,
            exit_code: None,
            signal: None,
            created_at: AT,
            updated_at: AT,
            ended_at: None,
        };
        self.store.commands().insert(row).await.unwrap();
        command
    }

    /// Stores a chunk, and waits until it is there.
    async fn write(&self, command: &CommandId, sequence: u64, offset: u64, bytes: Vec<u8>) {
        let mut commits = self.store.commits();
        let record = StoredRecord {
            user: self.user.clone(),
            command: command.clone(),
            incarnation: RUN,
            sequence: ChunkSequence(sequence),
            stream: Stream::Terminal,
            offset: ByteOffset(offset),
            body: StoredBody::Chunk(Bytes::from(bytes)),
            at: AT,
        };
        let _seen = *commits.borrow_and_update();
        self.store.output().append(record).await.unwrap();
        commits.changed().await.unwrap();
    }

    async fn size(&self, command: &CommandId, offset: u64, columns: u64, rows: u64) {
        let size = TerminalSize::new(columns, rows).unwrap();
        let record = SizeRecord { incarnation: RUN, offset: ByteOffset(offset), size };
        self.store
            .screens()
            .put_size(&self.user, command, record)
            .unwrap()
            .committed()
            .await
            .unwrap();
    }
}

impl Screens {
    async fn look(&self, user: &UserId, command: &CommandId) -> Result<(Shown, Look), ScreenError> {
        self.look_as(user, command, |shown, look| (shown, look)).await
    }
}

#[tokio::test]
async fn a_screen_is_what_is_stored_now_and_continues_where_it_was() {
    let scene = Scene::new().await;
    let screens = Screens::new(scene.store.clone());
    let terminal = scene.command("terminal-1").await;
    let nothing = screens.look(&scene.user, &CommandId::new("c")).await.unwrap_err();
    assert!(matches!(nothing, ScreenError::NoCommand), "{nothing}");
    let (shown, look) = screens.look(&scene.user, &terminal).await.unwrap();
    assert_eq!((shown.incarnation, look.text()), (None, String::new()));
    scene.size(&terminal, 0, 30, 5).await;
    scene.write(&terminal, 1, 0, b"\x1b[2J\x1b[Hhello".to_vec()).await;
    let (shown, look) = screens.look(&scene.user, &terminal).await.unwrap();
    assert_eq!((look.text().as_str(), shown.size.rows(), shown.whole), ("hello\n", 5, true));
    scene.write(&terminal, 2, 12, b" world".to_vec()).await;
    let snapshot = screens.snapshot_as(&scene.user, &terminal, |s| s).await.unwrap();
    let mut viewer = Screen::new(snapshot.size);
    viewer.feed(&snapshot.dump);
    assert_eq!((viewer.look().text().as_str(), snapshot.offset.0), ("hello world\n", 18));
    let found = screens.shown_by(&scene.user, &scene.agent).await.unwrap();
    assert_eq!(found, terminal);
    let other = UserId::new("w");
    let refused = screens.look(&other, &terminal).await.unwrap_err();
    assert!(matches!(refused, ScreenError::NoCommand), "{refused}");
}

#[tokio::test]
async fn a_look_leaves_keyframes_and_the_next_server_begins_with_the_last() {
    let scene = Scene::new().await;
    let terminal = scene.command("terminal-1").await;
    let line = "\x1b[3;1Ha status line\x1b[K".repeat(700).into_bytes();
    let mut offset = 0;
    for sequence in 1..=40 {
        scene.write(&terminal, sequence, offset, line.clone()).await;
        offset += line.len() as u64;
    }
    let (shown, look) =
        Screens::new(scene.store.clone()).look(&scene.user, &terminal).await.unwrap();
    assert_eq!(shown.offset.0, offset);
    let frame = async {
        loop {
            if let Some(frame) =
                scene.store.screens().last_keyframe(&scene.user, &terminal).await.unwrap()
            {
                return frame;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let frame = tokio::time::timeout(Duration::from_secs(10), frame).await.unwrap();
    assert!(frame.offset.0 > drawing::KEYFRAME_EVERY && frame.whole, "{}", frame.offset);
    let again = Screens::new(scene.store.clone()).look(&scene.user, &terminal).await.unwrap();
    assert_eq!(again, (shown, look));
}

#[tokio::test]
async fn a_user_has_at_most_half_of_what_is_free_and_loses_the_oldest_of_its_own() {
    let scene = Scene::new().await;
    let screens = Screens::new(scene.store.clone());
    for n in 0..40 {
        let terminal = scene.command(&format!("terminal-{n}")).await;
        scene.size(&terminal, 0, 200, 100).await;
        screens.look(&scene.user, &terminal).await.unwrap();
    }
    let held = screens.held().bytes;
    assert!(held > BYTES / 4 && held <= BYTES / 2, "{held}");
    let large = scene.command("terminal-large").await;
    scene.size(&large, 0, 1000, 1000).await;
    let refused = screens.look(&scene.user, &large).await.unwrap_err();
    assert!(matches!(refused, ScreenError::NoRoom { .. }), "{refused}");
    screens.held().sweep(Instant::now() + KEPT);
    assert_eq!(screens.held().bytes, 0, "nobody looks any more");
}

#[tokio::test]
async fn a_screen_that_is_being_looked_at_makes_room_for_none() {
    let scene = Scene::new().await;
    let screens = Screens::new(scene.store.clone());
    let size = TerminalSize::new(200, 100).unwrap();
    let look = |n: u32| screens.entry(&scene.user, &CommandId::new(format!("terminal-{n}")), size);
    let looked_at: Vec<_> = (0..1000).map_while(|n| look(n).ok()).collect();
    assert_eq!(looked_at.len() * cost(size), screens.held().bytes);
    assert!(matches!(look(1000), Err(ScreenError::NoRoom { .. })));
    drop(looked_at);
    assert!(look(1000).is_ok(), "the oldest makes room as soon as nobody looks at it");
}

#[tokio::test]
async fn screens_that_grow_after_they_were_looked_at_take_no_more_than_their_user_may() {
    let scene = Scene::new().await;
    let screens = Screens::new(scene.store.clone());
    let mut terminals = Vec::new();
    for n in 0..40 {
        let terminal = scene.command(&format!("terminal-{n}")).await;
        scene.write(&terminal, 1, 0, b"x".to_vec()).await;
        screens.look(&scene.user, &terminal).await.unwrap();
        terminals.push(terminal);
    }
    for terminal in &terminals {
        scene.size(terminal, 1, 300, 200).await;
        screens.look(&scene.user, terminal).await.unwrap();
        let held = screens.held();
        assert!(held.bytes <= BYTES / 2, "{}", held.bytes);
        let counted: usize = held.screens.values().map(|entry| entry.bytes).sum();
        assert_eq!(counted, held.bytes);
    }
    // One that grows beyond all that there is, is refused, and goes.
    let last = terminals.last().unwrap();
    scene.size(last, 1, 1000, 1000).await;
    let refused = screens.look(&scene.user, last).await.unwrap_err();
    assert!(matches!(refused, ScreenError::NoRoom { .. }), "{refused}");
    let held = screens.held();
    assert!(!held.screens.contains_key(&(scene.user.clone(), last.clone())));
    assert!(held.bytes <= BYTES / 2, "{}", held.bytes);
}

#[tokio::test]
async fn a_keyframe_of_a_size_that_is_forgotten_is_not_drawn_beyond_what_is_counted() {
    let scene = Scene::new().await;
    let screens = Screens::new(scene.store.clone());
    let terminal = scene.command("terminal-1").await;
    scene.write(&terminal, 1, 0, b"ab".to_vec()).await;
    let frame = Keyframe {
        incarnation: RUN,
        sequence: ChunkSequence(1),
        offset: ByteOffset(2),
        size: TerminalSize::new(1000, 1000).unwrap(),
        whole: true,
        dump: b"of another size".to_vec(),
    };
    let put = scene.store.screens().put_keyframe(&scene.user, &terminal, frame, ());
    put.unwrap().committed().await.unwrap();
    let (shown, look) = screens.look(&scene.user, &terminal).await.unwrap();
    assert_eq!((shown.size, look.text().as_str()), (TerminalSize::DEFAULT, "ab\n"));
}

#[tokio::test]
async fn keyframes_that_wait_to_be_written_have_a_bound() {
    let scene = Scene::new().await;
    let screens = Screens::new(scene.store.clone());
    let places: Vec<_> = std::iter::from_fn(|| screens.0.frames.take(&scene.user)).collect();
    assert_eq!(places.len(), FRAMES / 2);
    let terminal = scene.command("terminal-1").await;
    let line = vec![b'x'; 30_000];
    for sequence in 1..=20 {
        scene.write(&terminal, sequence, (sequence - 1) * 30_000, line.clone()).await;
    }
    screens.look(&scene.user, &terminal).await.unwrap();
    scene.size(&terminal, 600_000, 90, 24).await;
    assert_eq!(scene.store.screens().last_keyframe(&scene.user, &terminal).await.unwrap(), None);
}
