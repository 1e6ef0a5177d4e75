//! Every file in `tests/recordings` is replayed: a recording from the field becomes a test by being
//! moved there.

use super::agent;
use super::story::Story;
use crate::support::{ms, secs};
use onsembl_protocol::close::{Breakage, CloseReason};
use onsembl_protocol::id::{Epoch, PresenceVersion};
use onsembl_protocol::liveness::HeartbeatTiming;
use onsembl_protocol::replay::{ServerOrigin, replay};
use onsembl_protocol::session::{Claimant, ServerConfig, ServerEvent, StoreTrouble};
use std::path::PathBuf;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/recordings")
}

#[test]
fn every_recording_is_reproduced_to_the_byte() {
    let mut replayed = 0;
    for file in std::fs::read_dir(folder()).unwrap() {
        let path = file.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        if let Err(error) = replay(&text) {
            panic!("{}: {error}", path.display());
        }
        replayed += 1;
    }
    assert!(replayed >= 5, "{replayed}");
}

/// One that was exported from how its agent began, and one whose beginning was overwritten.
#[test]
fn what_an_earlier_server_exported_begins_in_both_ways() {
    for (name, begins) in [
        ("server-from-origin", r#""start":{"origin":{"New""#),
        ("server-from-checkpoint", r#""start":{"checkpoint":"#),
    ] {
        let text = std::fs::read_to_string(folder().join(format!("{name}.jsonl"))).unwrap();
        assert!(text.lines().nth(1).unwrap().contains(begins), "{name}");
        assert!(replay(&text).unwrap().entries > 50, "{name}");
    }
}

/// A beat each ten minutes, for a day.
fn quiet_day() -> String {
    let timing = HeartbeatTiming::new(secs(600), secs(900), secs(1800)).unwrap();
    let config = ServerConfig::DEFAULT.with_timing(timing);
    let origin = ServerOrigin::New { version: PresenceVersion(0), epoch: Epoch(0) };
    let mut story = Story::begin(config, origin);
    story.join(Claimant::SameProcess);
    story.beat_for(secs(24 * 3600), secs(600));
    assert_eq!(story.status(), "online");
    story.finish()
}

/// The agent's host freezes, its link is given up, it returns; then its link breaks, and it does not
/// return.
fn frozen() -> String {
    let mut story = Story::in_session();
    story.beat_for(secs(120), secs(30));
    story.run_for(secs(50));
    assert_eq!(story.status(), "stale");
    story.run_for(secs(60));
    assert_eq!(story.status(), "timed-out");
    story.join(Claimant::SameProcess);
    story.beat_for(secs(90), secs(30));
    story.feed(ServerEvent::LinkDown(story.link(), CloseReason::broken(Breakage::Reset)));
    assert_eq!(story.status(), "reconnecting");
    story.run_for(secs(301));
    assert_eq!(story.status(), "offline");
    story.finish()
}

/// The server restarts, the agent returns, the database is held, and another process of the same agent
/// takes over meanwhile.
fn taken_over() -> String {
    let origin = ServerOrigin::Recovered { version: PresenceVersion(17), epoch: Epoch(0) };
    let mut story = Story::begin(ServerConfig::DEFAULT, origin);
    story.run_for(secs(9));
    story.join(Claimant::SameProcess);
    story.beat_for(secs(60), secs(30));
    story.records = false;
    story.feed(ServerEvent::Store(Some(StoreTrouble::Busy)));
    story.beat_for(secs(60), secs(30));
    story.run_for(ms(1500));
    story.join(Claimant::OtherProcess);
    story.beat_for(secs(60), secs(30));
    story.records = true;
    story.feed(ServerEvent::Store(None));
    story.beat_for(secs(60), secs(30));
    assert_eq!(story.status(), "online");
    story.finish()
}

/// Writes the files that are made here. A change of behaviour that is meant needs it once:
/// `cargo test -p onsembl-protocol --test it -- --ignored write_the_recordings`.
#[test]
#[ignore = "writes files"]
fn write_the_recordings() {
    for (name, text) in [
        ("quiet-day", quiet_day()),
        ("frozen", frozen()),
        ("taken-over", taken_over()),
        ("agent", agent::story()),
    ] {
        std::fs::write(folder().join(format!("{name}.jsonl")), text).unwrap();
    }
}
