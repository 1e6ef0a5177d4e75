//! Whatever goes into a machine comes out of the ring as it went in, whatever numbers it has.

use onsembl_protocol::close::{Breakage, CloseCause, CloseCode, CloseReason, Initiator};
use onsembl_protocol::id::{BeatSequence, Epoch, LinkId, PresenceVersion};
use onsembl_protocol::replay::{FrameNote, Handled, Owner, Recorder, ServerOrigin, replay};
use onsembl_protocol::session::{
    Claimant, Dialect, ServerConfig, ServerConnection, ServerEvent, ServerInbound, StoreTrouble,
};
use onsembl_protocol::step::Actions;
use onsembl_protocol::supervisor::Supervisor;
use onsembl_protocol::time::{Now, Timestamp, WallTime};
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::Value;
use std::time::Duration;

fn number() -> impl Strategy<Value = u64> {
    prop_oneof![0u64..4, any::<u64>(), Just(u64::MAX)]
}

fn cause() -> impl Strategy<Value = CloseCause> {
    let broken = [Breakage::EndOfStream, Breakage::Reset, Breakage::WriteStalled, Breakage::Io];
    let all: Vec<_> = CloseCause::ALL
        .iter()
        .copied()
        .chain(broken.map(CloseCause::Broken))
        .chain([CloseCause::NoCode])
        .collect();
    prop_oneof![select(all), any::<u16>().prop_map(|code| CloseCause::Other(CloseCode(code)))]
}

fn reason() -> impl Strategy<Value = CloseReason> {
    let initiator = select(vec![Initiator::Local, Initiator::Peer, Initiator::Link]);
    (initiator, cause()).prop_map(|(initiator, cause)| CloseReason { initiator, cause })
}

fn wall() -> impl Strategy<Value = WallTime> {
    prop_oneof![
        (1_700_000_000_000i64..1_800_000_000_000).prop_map(WallTime::from_unix_millis),
        any::<i64>().prop_map(WallTime::from_unix_millis),
    ]
}

pub(super) fn event() -> impl Strategy<Value = ServerEvent> {
    let link = || number().prop_map(LinkId);
    let sequence = || number().prop_map(BeatSequence);
    let dialect = select(vec![Dialect::Legacy, Dialect::Extended]);
    let claimant = select(vec![Claimant::SameProcess, Claimant::OtherProcess]);
    let frame = prop_oneof![
        (of(sequence()), of(sequence()))
            .prop_map(|(sequence, seen)| ServerInbound::Heartbeat { sequence, seen }),
        Just(ServerInbound::Pong),
        Just(ServerInbound::Other),
    ];
    let trouble = select(vec![
        StoreTrouble::Slow,
        StoreTrouble::Busy,
        StoreTrouble::Full,
        StoreTrouble::Failed,
    ]);
    prop_oneof![
        (link(), dialect, claimant).prop_map(|(link, dialect, claimant)| ServerEvent::Joined {
            link,
            dialect,
            claimant
        }),
        (link(), number())
            .prop_map(|(link, epoch)| ServerEvent::Admitted { link, epoch: Epoch(epoch) }),
        (link(), cause()).prop_map(|(link, cause)| ServerEvent::Rejected { link, cause }),
        (link(), frame).prop_map(|(link, frame)| ServerEvent::Received(link, frame)),
        (number(), sequence(), wall()).prop_map(|(epoch, sequence, at)| ServerEvent::Recorded {
            epoch: Epoch(epoch),
            sequence,
            at
        }),
        of(trouble).prop_map(ServerEvent::Store),
        link().prop_map(ServerEvent::Faulted),
        (link(), reason()).prop_map(|(link, reason)| ServerEvent::LinkDown(link, reason)),
        cause().prop_map(ServerEvent::Evict),
        Just(ServerEvent::Wake),
    ]
}

fn now() -> impl Strategy<Value = Now> {
    let stamp = || number().prop_map(|n| Timestamp::from_origin(Duration::from_nanos(n)));
    (stamp(), stamp(), wall()).prop_map(|(monotonic, boot, wall)| Now { monotonic, boot, wall })
}

proptest! {
    #[test]
    fn what_went_in_comes_out(
        moves in vec((event(), now(), of(any::<u32>())), 1..60),
        origin in (number(), number()),
    ) {
        let config = ServerConfig::DEFAULT;
        let mut recorder = Recorder::new(1 << 20, config);
        let mut machines = Supervisor::new(ServerConfig::DEFAULT);
        let (version, epoch) = (PresenceVersion(origin.0), Epoch(origin.1));
        let first = moves[0].1;
        let machine = ServerConnection::new(config, version, epoch, first);
        let deadline = machine.deadline();
        let key = machines.insert(machine);
        let origin = ServerOrigin::New { version, epoch };
        recorder.began(key, Owner(0), origin, first, &Actions::none(), deadline, None);
        for (event, now, size) in &moves {
            let actions = machines.handle(key, *event, *now).unwrap();
            let machine = machines.get(key).unwrap();
            let deadline = machines.deadline(key).unwrap();
            let frame = size.map(|size| FrameNote::undecodable(size as usize));
            let handled = Handled { event: *event, now: *now, frame };
            recorder.handled(key, &handled, &actions, deadline, || machine.snapshot());
        }
        let text = String::from_utf8(recorder.excerpt(key).unwrap().to_bytes("a")).unwrap();
        let lines: Vec<Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        prop_assert_eq!(lines.len(), moves.len() + 3);
        for (line, (event, now, size)) in lines[2..].iter().zip(&moves) {
            let found: ServerEvent = serde_json::from_value(line["event"].clone()).unwrap();
            prop_assert_eq!(found, *event);
            let found: Now = serde_json::from_value(line["at"].clone()).unwrap();
            prop_assert_eq!(found, *now);
            prop_assert_eq!(line["frame"]["bytes"].as_u64(), size.map(u64::from));
            prop_assert_eq!(&line["time"], &Value::from(now.wall.to_string()));
        }
        let replayed = replay(&text).unwrap();
        prop_assert_eq!(replayed.entries as usize, moves.len() + 1);
    }
}
