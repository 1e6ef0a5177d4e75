//! What is told of a presence is what its machine says, whoever reads it and from where; and what is said to come
//! next is what comes, not sooner than said.

use crate::support::{ms, now, secs};
use onsembl_protocol::close::{Breakage, CloseCause, CloseReason};
use onsembl_protocol::diagnosis::{Confidence, Explanation, PresenceTrack, dwell, explain};
use onsembl_protocol::id::{BeatSequence, Epoch, LinkId, PresenceVersion};
use onsembl_protocol::session::{
    Claimant, Dialect, Presence, PresenceStatus, ServerAction, ServerConfig, ServerConnection,
    ServerEvent, ServerInbound, StoreTrouble,
};
use onsembl_protocol::time::{Deadline, WallTime};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use std::time::Duration;

const CONFIG: ServerConfig = ServerConfig::DEFAULT;

#[derive(Clone, Copy, Debug)]
enum What {
    Join,
    Admit,
    Reject,
    Beat,
    EndLink(CloseReason),
    EndNewest(CloseReason),
    Fault,
    Store(Option<StoreTrouble>),
    Evict,
    Wake,
}

#[derive(Clone, Copy, Debug)]
enum Passing {
    By(Duration),
    /// To the deadline, and this much beyond it.
    ToDeadline(Duration),
}

fn moves() -> impl Strategy<Value = Vec<(Passing, What)>> {
    let end = || {
        select(vec![
            CloseReason::broken(Breakage::Reset),
            CloseReason::local(CloseCause::NotReading),
            CloseReason::peer(Some(CloseCause::GoingAway.code())),
        ])
    };
    let last = CloseReason::peer(Some(CloseCause::AgentStopped.code()));
    let what = prop_oneof![
        10 => Just(What::Join),
        15 => Just(What::Admit),
        2 => Just(What::Reject),
        20 => Just(What::Beat),
        4 => end().prop_map(What::EndLink),
        2 => end().prop_map(What::EndNewest),
        1 => Just(What::EndLink(last)),
        2 => Just(What::Fault),
        2 => select(vec![None, Some(StoreTrouble::Busy)]).prop_map(What::Store),
        1 => Just(What::Evict),
        50 => Just(What::Wake),
    ];
    let passing = prop_oneof![
        2 => (0u64..20_000).prop_map(|n| Passing::By(ms(n))),
        1 => (20_000u64..200_000).prop_map(|n| Passing::By(ms(n))),
        8 => Just(Passing::ToDeadline(Duration::ZERO)),
        2 => (0u64..400).prop_map(|n| Passing::ToDeadline(ms(n))),
        1 => (600u64..100_000).prop_map(|n| Passing::ToDeadline(ms(n))),
    ];
    vec((passing, what), 1..250)
}

/// A machine, and a reader who follows all that it publishes.
struct Reader {
    at: Duration,
    machine: ServerConnection,
    deadline: Deadline,
    newest: LinkId,
    epochs: u64,
    heard: Option<WallTime>,
    track: Option<PresenceTrack>,
    log: Vec<Presence>,
    went_stale: Option<WallTime>,
    /// Whether this machine has published anything.
    published: bool,
    /// Whether it was given time, since it did not run: then a window lasts longer than the transitions tell.
    forgiven: bool,
}

impl Reader {
    fn new() -> Self {
        let at = secs(1000);
        Self {
            at,
            machine: ServerConnection::new(CONFIG, PresenceVersion(3), Epoch(3), now(at)),
            deadline: Deadline::Never,
            newest: LinkId(10),
            epochs: 3,
            heard: None,
            track: None,
            log: Vec::new(),
            went_stale: None,
            published: false,
            forgiven: false,
        }
    }

    fn explanation(&self) -> Option<Explanation> {
        self.track.as_ref().map(|track| explain(track, self.heard, &CONFIG))
    }

    fn event(&mut self, what: What) -> ServerEvent {
        let session = self.machine.link().unwrap_or(LinkId(1));
        match what {
            What::Join => {
                self.newest = self.newest.next();
                let (dialect, claimant) = (Dialect::Extended, Claimant::SameProcess);
                ServerEvent::Joined { link: self.newest, dialect, claimant }
            }
            What::Admit => {
                self.epochs += 1;
                ServerEvent::Admitted { link: self.newest, epoch: Epoch(self.epochs) }
            }
            What::Reject => {
                ServerEvent::Rejected { link: self.newest, cause: CloseCause::TryLater }
            }
            What::Beat => {
                let sequence = Some(BeatSequence(self.at.as_secs()));
                ServerEvent::Received(session, ServerInbound::Heartbeat { sequence, seen: None })
            }
            What::EndLink(reason) => ServerEvent::LinkDown(session, reason),
            What::EndNewest(reason) => ServerEvent::LinkDown(self.newest, reason),
            What::Fault => ServerEvent::Faulted(session),
            What::Store(trouble) => ServerEvent::Store(trouble),
            What::Evict => ServerEvent::Evict(CloseCause::Deleted),
            What::Wake => ServerEvent::Wake,
        }
    }

    fn step(&mut self, passing: Passing, what: What) -> Result<(), TestCaseError> {
        match (passing, self.deadline) {
            (Passing::By(time), _) => self.at += time,
            (Passing::ToDeadline(late), Deadline::At(due)) => {
                self.at = self.at.max(due.since_origin()) + late;
            }
            (Passing::ToDeadline(_), Deadline::Never) => {}
        }
        let told = self.explanation();
        let was = self.machine.presence().status;
        let (event, at) = (self.event(what), now(self.at));
        if matches!(event, ServerEvent::Received(link, _) if self.machine.link() == Some(link)) {
            self.heard = Some(at.wall);
        }
        let step = self.machine.handle(event, at);
        self.deadline = step.deadline;
        for action in step.actions {
            match action {
                ServerAction::Report(presence) => {
                    self.published = true;
                    self.log.push(presence);
                    self.track = Some(match self.track {
                        Some(track) => track.then(presence),
                        None => PresenceTrack::begin(presence),
                    });
                }
                ServerAction::Welcome { .. } => self.heard = Some(at.wall),
                ServerAction::Overslept(_) => self.forgiven = true,
                _ => {}
            }
        }
        // Until a machine publishes, what the one before it published is shown.
        let Some(now_told) = self.explanation().filter(|_| self.published) else { return Ok(()) };
        let is = self.machine.presence();
        prop_assert_eq!(now_told.state, is.status);
        prop_assert_eq!(now_told.since, is.since);
        prop_assert_eq!(&now_told.because, &is.because.to_string());
        prop_assert_eq!(now_told.next_state.is_none(), is.status == PresenceStatus::Offline);
        if event == ServerEvent::Wake && is.status != was {
            let told = told.expect("a machine that changes by time has published before");
            self.came_as_told(&told, is.status, at.wall)?;
        }
        if is.status == PresenceStatus::Stale && was != PresenceStatus::Stale {
            let before = self.went_stale.replace(at.wall).map(WallTime::unix_millis);
            let dwell = dwell(&CONFIG).as_millis() as i64;
            let since = before.map(|before| at.wall.unix_millis() - before);
            prop_assert!(
                since.is_none_or(|since| since >= dwell),
                "stale again after {since:?} ms"
            );
        }
        if self.machine.deadline() == Deadline::Never {
            // It is over, and the next hello makes a new one.
            let (version, epoch) = (is.version, is.epoch);
            self.machine = ServerConnection::new(CONFIG, version, epoch, at);
            self.heard = None;
            self.published = false;
        }
        Ok(())
    }

    fn came_as_told(
        &self,
        told: &Explanation,
        status: PresenceStatus,
        at: WallTime,
    ) -> Result<(), TestCaseError> {
        // A hello that waits beside a silent session is not published.
        let by_hello = status == PresenceStatus::Connecting
            && told.next_state == Some(PresenceStatus::TimedOut);
        let by_grace = self.forgiven
            && told.state == PresenceStatus::Connecting
            && told.next_state == Some(PresenceStatus::Offline);
        prop_assert!(
            by_hello || by_grace || told.next_state == Some(status),
            "{told:?}, and then {status}"
        );
        let early = told.next_change_at.filter(|next| at < *next);
        prop_assert_eq!(early, None, "{:?} came at {}", told, at);
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..Default::default() })]

    #[test]
    fn readers_are_told_what_the_machine_says_and_what_comes(
        moves in moves(), from in any::<prop::sample::Index>(), again in any::<prop::sample::Index>(),
    ) {
        let mut reader = Reader::new();
        for (passing, what) in moves {
            reader.step(passing, what)?;
        }
        let Some(track) = reader.track else { return Ok(()) };
        let fold = |begin: PresenceTrack, rest: &[Presence]| {
            rest.iter().fold(begin, |track, next| track.then(*next))
        };
        // Again from the log.
        let log = &reader.log;
        let begin = PresenceTrack::begin(log[0]);
        prop_assert_eq!(fold(begin, &log[1..]), track);
        // From the middle of it, by what stands there.
        let from = from.index(log.len());
        let stands = serde_json::to_string(&fold(begin, &log[1..=from])).unwrap();
        let read: PresenceTrack = serde_json::from_str(&stands).unwrap();
        prop_assert_eq!(fold(read, &log[from + 1..]), track);
        // And with what came late or twice.
        let again = again.index(log.len());
        prop_assert_eq!(fold(track, &log[again..]), track);
    }
}

fn story() -> Reader {
    let mut reader = Reader::new();
    for what in [What::Join, What::Admit] {
        reader.step(Passing::By(ms(10)), what).unwrap();
    }
    reader
}

fn told(reader: &Reader) -> (String, Option<i64>, Confidence, String) {
    let told = reader.explanation().unwrap();
    let base = now(secs(1000)).wall.unix_millis();
    (
        format!("{} -> {:?}", told.state, told.next_state.map(PresenceStatus::as_str)),
        told.next_change_at.map(|at| at.unix_millis() - base),
        told.confidence,
        told.evidence.iter().map(|(name, _)| name).collect::<Vec<_>>().join(" "),
    )
}

#[test]
fn a_silence_is_told_to_the_millisecond() {
    let mut reader = story();
    let (state, at, sure, names) = told(&reader);
    assert_eq!((state.as_str(), at), ("online -> Some(\"stale\")", Some(45_020)));
    assert_eq!((sure, names.as_str()), (Confidence::High, "cause heard"));

    let quiet = |reader: &mut Reader, until: PresenceStatus| {
        while reader.machine.presence().status != until {
            reader.step(Passing::ToDeadline(Duration::ZERO), What::Wake).unwrap();
        }
        reader.at - secs(1000)
    };
    assert_eq!(quiet(&mut reader, PresenceStatus::Stale), ms(45_020));
    let (state, at, sure, names) = told(&reader);
    assert_eq!((state.as_str(), at), ("stale -> Some(\"timed-out\")", Some(90_020)));
    assert_eq!((sure, names.as_str()), (Confidence::Low, "cause silence heard"));

    assert_eq!(quiet(&mut reader, PresenceStatus::TimedOut), ms(90_020));
    let (state, at, _, names) = told(&reader);
    assert_eq!((state.as_str(), at), ("timed-out -> Some(\"offline\")", Some(390_020)));
    assert_eq!(names, "cause silence left heard");

    // A hello that fails does not lengthen its window.
    reader.step(Passing::By(secs(100)), What::Join).unwrap();
    let (state, at, ..) = told(&reader);
    assert_eq!((state.as_str(), at), ("connecting -> Some(\"timed-out\")", Some(215_020)));
    reader.step(Passing::By(secs(5)), What::Reject).unwrap();
    let (state, at, sure, names) = told(&reader);
    assert_eq!((state.as_str(), at), ("timed-out -> Some(\"offline\")", Some(390_020)));
    assert_eq!(sure, Confidence::Low, "why it left is what matters");
    assert_eq!(names, "cause close_code left left_by silence heard");

    assert_eq!(quiet(&mut reader, PresenceStatus::Offline), ms(390_020));
}
