//! The accepted link: what each frame counts as in each status, and its edges.

use super::explore::{Clocks, Explored};
use super::frames::{self, Frames};
use crate::support::{now, secs};
use onsembl_protocol::close::CloseCause;
use onsembl_protocol::limits::Limits;
use onsembl_protocol::model::{AGENT_FEATURES, Capabilities, Dialect, HeartbeatTiming};
use onsembl_protocol::session::{
    AcceptedAction, AcceptedCause, AcceptedEdge, AcceptedEvent, AcceptedLink, AcceptedStatus,
    Complaint, Discarded, Edge, FrameForm, Opening, Reading, ServerInbound, Unwanted,
};
use onsembl_protocol::time::Deadline;
use std::time::Duration;

const TEXT: AcceptedEvent = AcceptedEvent::Arrived(FrameForm::Text);
const BINARY: AcceptedEvent = AcceptedEvent::Arrived(FrameForm::Binary);
const OTHER: AcceptedEvent = AcceptedEvent::Read(Reading::Message);
const UNDECODABLE: AcceptedEvent = AcceptedEvent::Read(Reading::Undecodable);

fn hello(capabilities: Capabilities) -> AcceptedEvent {
    AcceptedEvent::Read(Reading::Hello(capabilities))
}

fn extended() -> Capabilities {
    Capabilities::negotiate(AGENT_FEATURES, AGENT_FEATURES, Dialect::Extended)
}

/// A link after these events, each of them this many times, a second after it was accepted.
fn after(events: &[(AcceptedEvent, u32)]) -> AcceptedLink {
    let mut link = AcceptedLink::new(Opening::NamesAgent, Limits::DEFAULT, now(Duration::ZERO));
    for (event, times) in events {
        for _ in 0..*times {
            let _ = link.handle(*event, now(secs(1)));
        }
    }
    link
}

const CLAIMED: (AcceptedEvent, u32) =
    (AcceptedEvent::Read(Reading::Hello(Capabilities::LEGACY)), 1);
const IDENTIFIED: (AcceptedEvent, u32) = (AcceptedEvent::Identified, 1);
const WELCOMED: (AcceptedEvent, u32) = (AcceptedEvent::Welcomed, 1);
const PARKED: (AcceptedEvent, u32) = (AcceptedEvent::Parked(HeartbeatTiming::DEFAULT), 1);
const PROBING: (AcceptedEvent, u32) = (AcceptedEvent::Probing(HeartbeatTiming::DEFAULT), 1);

/// A link over which nothing was said.
fn parked_silent() -> AcceptedLink {
    let mut link = AcceptedLink::new(Opening::NamesAgent, Limits::DEFAULT, now(Duration::ZERO));
    let _ = link.handle(AcceptedEvent::Wake, now(secs(10)));
    let _ = link.handle(PARKED.0, now(secs(10)));
    link
}

/// Each status as a link of a legacy peer, and the links on which a bound is reached.
pub(super) fn states() -> Vec<(&'static str, AcceptedLink)> {
    vec![
        ("greeting", after(&[])),
        ("greeting, after 64 other messages", after(&[(OTHER, 64)])),
        ("greeting, after 20 undecodable", after(&[(UNDECODABLE, 20)])),
        ("claimed", after(&[CLAIMED])),
        ("claimed, with 256 held", after(&[CLAIMED, (TEXT, 256)])),
        ("joining", after(&[CLAIMED, IDENTIFIED])),
        ("joining, with 256 held", after(&[CLAIMED, (TEXT, 256), IDENTIFIED])),
        ("live", after(&[CLAIMED, IDENTIFIED, WELCOMED])),
        ("live, binary output agreed", after(&[(hello(extended()), 1), IDENTIFIED, WELCOMED])),
        ("live, after 20 undecodable", after(&[CLAIMED, IDENTIFIED, WELCOMED, (UNDECODABLE, 20)])),
        ("probe", after(&[CLAIMED, PROBING])),
        ("probe, after 20 undecodable", after(&[CLAIMED, PROBING, (UNDECODABLE, 20)])),
        ("parked", after(&[CLAIMED, IDENTIFIED, WELCOMED, PARKED])),
        ("parked, no hello yet", parked_silent()),
        ("parked, after 20 undecodable", after(&[CLAIMED, IDENTIFIED, PARKED, (UNDECODABLE, 20)])),
        ("closing", after(&[CLAIMED, (AcceptedEvent::Refused(CloseCause::Revoked), 1)])),
    ]
}

/// Everything that can come over a link. A text is read first, if it is read at all.
fn frames() -> Vec<(&'static str, Frame)> {
    vec![
        ("a hello", Frame::Text(Reading::Hello(Capabilities::LEGACY))),
        (
            "a heartbeat",
            Frame::Text(Reading::Beat(ServerInbound::Heartbeat { sequence: None, seen: None })),
        ),
        ("a pong", Frame::Text(Reading::Beat(ServerInbound::Pong))),
        ("a probe", Frame::Text(Reading::Ping)),
        ("a report, output, …", Frame::Text(Reading::Message)),
        ("an unknown type", Frame::Text(Reading::Unknown)),
        ("what cannot be decoded", Frame::Text(Reading::Undecodable)),
        ("a binary message", Frame::Binary),
        ("a control frame", Frame::Control),
    ]
}

#[derive(Clone, Copy)]
enum Frame {
    Text(Reading),
    Binary,
    Control,
}

/// What a driver does with the frame, until nothing more is to be read of it.
fn take(link: &mut AcceptedLink, frame: Frame) -> Vec<AcceptedAction> {
    let at = now(secs(1));
    let (arrived, reading) = match frame {
        Frame::Text(reading) => (TEXT, reading),
        Frame::Binary => (BINARY, Reading::Message),
        Frame::Control => {
            return link
                .handle(AcceptedEvent::Arrived(FrameForm::Control), at)
                .actions
                .into_iter()
                .collect();
        }
    };
    let first: Vec<_> = link.handle(arrived, at).actions.into_iter().collect();
    if first != [AcceptedAction::Read] {
        return first;
    }
    link.handle(AcceptedEvent::Read(reading), at).actions.into_iter().collect()
}

fn word(action: AcceptedAction) -> String {
    match action {
        AcceptedAction::Read => "read".into(),
        AcceptedAction::Defer => "held until the session".into(),
        AcceptedAction::Release => "read what was held".into(),
        AcceptedAction::Discard(Discarded::BeforeHello) => "dropped: no hello yet".into(),
        AcceptedAction::Discard(Discarded::BeforeSession) => "dropped: too many".into(),
        AcceptedAction::Discard(Discarded::Closing) => "dropped".into(),
        AcceptedAction::Identify => "identify the peer".into(),
        AcceptedAction::Hear(ServerInbound::Heartbeat { .. }) => "heartbeat".into(),
        AcceptedAction::Hear(ServerInbound::Pong) => "heartbeat (legacy)".into(),
        AcceptedAction::Hear(ServerInbound::Other) => "sign of life".into(),
        AcceptedAction::AskToPark => "ask whether to park it".into(),
        AcceptedAction::SendNativePing => "ping".into(),
        AcceptedAction::Deliver => "to the owner".into(),
        AcceptedAction::Pong => "answer".into(),
        AcceptedAction::WelcomeAgain => "welcome again".into(),
        AcceptedAction::Complain(Complaint::NoHello) => "`AUTH_TIMEOUT`".into(),
        AcceptedAction::Complain(Complaint::Undecodable | Complaint::Binary) => {
            "`INVALID_MESSAGE`".into()
        }
        AcceptedAction::Close(cause) => format!("close {}", cause.code()),
    }
}

/// The table of the document.
pub(super) fn table() -> String {
    frames::table(&Frames {
        states: states(),
        frames: frames(),
        status: |link| link.status(),
        counts,
    })
}

fn counts(link: &AcceptedLink, frame: Frame) -> String {
    let mut link = *link;
    let status = link.status();
    let mut output: Vec<String> = take(&mut link, frame).into_iter().map(word).collect();
    if output.is_empty() {
        let lives = matches!(status, AcceptedStatus::Probe | AcceptedStatus::Parked);
        output.push(if lives { "sign of life" } else { "nothing" }.into());
    }
    format!("{} | `{}`", output.join(", "), link.status())
}

#[derive(Clone, Debug)]
pub(super) struct Accepted {
    machine: AcceptedLink,
    clocks: Clocks,
}

impl Accepted {
    pub(super) fn new(machine: AcceptedLink) -> Self {
        let mut clocks = Clocks::default();
        clocks.go_to(Deadline::At(now(secs(1)).monotonic));
        Self { machine, clocks }
    }
}

impl Explored for Accepted {
    type Event = AcceptedEvent;
    type Edge = AcceptedEdge;

    /// With what the next frame brings, because a bound that is reached shows only in a number.
    fn text(&self) -> String {
        let next = [TEXT, OTHER, UNDECODABLE].map(|event| {
            let mut machine = self.machine;
            machine.handle(event, self.clocks.now()).actions
        });
        format!("{:?} {next:?}", self.machine)
    }

    fn clocks(&mut self) -> &mut Clocks {
        &mut self.clocks
    }

    fn deadline(&self) -> Deadline {
        self.machine.deadline()
    }

    fn wake() -> AcceptedEvent {
        AcceptedEvent::Wake
    }

    fn events(&self) -> Vec<AcceptedEvent> {
        let mut events = vec![
            TEXT,
            BINARY,
            AcceptedEvent::Arrived(FrameForm::Control),
            hello(extended()),
            AcceptedEvent::Identified,
            AcceptedEvent::Probing(HeartbeatTiming::DEFAULT),
            AcceptedEvent::Welcomed,
            PARKED.0,
            AcceptedEvent::Refused(CloseCause::Revoked),
            AcceptedEvent::Wake,
        ];
        events.extend(frames().into_iter().filter_map(|(_, frame)| match frame {
            Frame::Text(reading) => Some(AcceptedEvent::Read(reading)),
            Frame::Binary | Frame::Control => None,
        }));
        events
    }

    fn feed(&mut self, event: AcceptedEvent) -> Option<AcceptedEdge> {
        let from = self.machine.status();
        let step = self.machine.handle(event, self.clocks.now());
        let to = self.machine.status();
        let closed = step.actions.into_iter().find_map(|action| match action {
            AcceptedAction::Close(cause) => Some(cause),
            _ => None,
        });
        assert_eq!(closed.is_some(), from != to && to == AcceptedStatus::Closing, "{event:?}");
        (from != to).then(|| Edge { from, cause: cause(event, closed), to })
    }
}

fn cause(event: AcceptedEvent, closed: Option<CloseCause>) -> AcceptedCause {
    match (event, closed) {
        (AcceptedEvent::Refused(_), _) => AcceptedCause::Refused,
        (_, Some(CloseCause::HelloTimeout)) => AcceptedCause::NoHello,
        (_, Some(CloseCause::TooManyUndecodable)) => AcceptedCause::TooManyUndecodable,
        (_, Some(CloseCause::UnsupportedData)) => AcceptedCause::Binary,
        (_, Some(CloseCause::Silent)) => AcceptedCause::Silence,
        (_, Some(other)) => panic!("{event:?} closed with {other:?}"),
        (AcceptedEvent::Read(_), None) => AcceptedCause::Hello,
        (AcceptedEvent::Identified, None) => AcceptedCause::Identified,
        (AcceptedEvent::Probing(_), None) => AcceptedCause::Probing,
        (AcceptedEvent::Welcomed, None) => AcceptedCause::Welcomed,
        (AcceptedEvent::Parked(_), None) => AcceptedCause::Parked,
        (AcceptedEvent::Arrived(_) | AcceptedEvent::Wake, None) => panic!("{event:?}"),
    }
}

#[test]
fn a_diagnosis_connection_is_closed_only_by_its_silence() {
    let mut link = after(&[CLAIMED, PROBING]);
    let step = link.handle(AcceptedEvent::Arrived(FrameForm::Control), now(secs(60)));
    assert!(step.actions.is_empty());
    for at in [105, 150] {
        assert_eq!(link.deadline(), Deadline::At(now(secs(at)).monotonic));
        while link.deadline() == Deadline::At(now(secs(at)).monotonic) {
            let _ = link.handle(AcceptedEvent::Wake, now(secs(at)));
        }
        if at == 105 {
            // Stale, and looked at each second from here on.
            for second in 106..150 {
                assert!(link.handle(AcceptedEvent::Wake, now(secs(second))).actions.is_empty());
            }
        }
    }
    assert_eq!(link.status(), AcceptedStatus::Closing);
}

#[test]
fn what_was_held_is_released_once() {
    let mut link = after(&[CLAIMED, IDENTIFIED, (TEXT, 3)]);
    let release = |link: &mut AcceptedLink| -> Vec<_> {
        link.handle(AcceptedEvent::Welcomed, now(secs(2))).actions.into_iter().collect()
    };
    assert_eq!(release(&mut link), [AcceptedAction::Release]);
    assert_eq!(release(&mut link), []);
    assert_eq!(take(&mut link, Frame::Text(Reading::Message)).len(), 2);
}

#[test]
fn an_accepted_link_answers_at_most_twenty_undecodable_messages_a_minute() {
    let mut link = after(&[CLAIMED, IDENTIFIED, WELCOMED, (UNDECODABLE, 20)]);
    let mut later = link;
    let spent = link.handle(UNDECODABLE, now(secs(59)));
    assert!(
        spent.actions.iter().any(|a| a == AcceptedAction::Close(CloseCause::TooManyUndecodable))
    );
    let fresh = later.handle(UNDECODABLE, now(secs(61)));
    assert!(fresh.actions.iter().any(|a| a == AcceptedAction::Hear(ServerInbound::Other)));
}

#[test]
fn a_link_that_names_an_agent_is_asked_about_before_it_is_closed() {
    let at = now(secs(10));
    let silent = |opening| {
        let mut link = AcceptedLink::new(opening, Limits::DEFAULT, now(Duration::ZERO));
        let asked: Vec<_> = link.handle(AcceptedEvent::Wake, at).actions.into_iter().collect();
        (link, asked)
    };
    let gone = [
        AcceptedAction::Complain(Complaint::NoHello),
        AcceptedAction::Close(CloseCause::HelloTimeout),
    ];
    assert_eq!(silent(Opening::Anonymous).1, gone);
    let (link, asked) = silent(Opening::NamesAgent);
    assert_eq!(asked, [AcceptedAction::AskToPark]);
    assert_eq!(link.deadline(), Deadline::Never, "its owner decides");
    let answer = |event| {
        let mut link = link;
        let actions: Vec<_> = link.handle(event, at).actions.into_iter().collect();
        (link.status(), actions)
    };
    let refused = answer(AcceptedEvent::Refused(CloseCause::HelloTimeout));
    assert_eq!(refused, (AcceptedStatus::Closing, gone.to_vec()));
    assert_eq!(answer(PARKED.0), (AcceptedStatus::Parked, Vec::new()));
    // A hello that comes first decides.
    let mut late = link;
    let _ = late.handle(hello(Capabilities::LEGACY), at);
    assert!(late.handle(PARKED.0, at).actions.is_empty());
    assert_eq!(late.status(), AcceptedStatus::Claimed);
    // One that says too much is not silent.
    let mut loud = after(&[(OTHER, 65)]);
    assert_eq!(loud.status(), AcceptedStatus::Closing);
    assert!(loud.handle(PARKED.0, at).actions.is_empty());
}

#[test]
fn a_parked_link_is_pinged_each_interval_and_closed_by_its_silence_only() {
    let mut link = after(&[CLAIMED, IDENTIFIED, WELCOMED, PARKED]);
    let (mut pings, mut answered) = (0, true);
    for second in 2..600 {
        let at = now(secs(second));
        while link.deadline().is_due(at.monotonic) {
            for action in link.handle(AcceptedEvent::Wake, at).actions {
                match action {
                    AcceptedAction::SendNativePing => {
                        pings += 1;
                        if answered {
                            let pong = AcceptedEvent::Arrived(FrameForm::Control);
                            assert!(link.handle(pong, at).actions.is_empty());
                        }
                    }
                    AcceptedAction::Close(cause) => {
                        assert_eq!(cause, CloseCause::Silent);
                        assert!((480..=500).contains(&second), "closed at {second}");
                        return;
                    }
                    other => panic!("{other:?}"),
                }
            }
        }
        if second == 400 {
            assert!((12..=14).contains(&pings), "{pings}");
            answered = false;
        }
    }
    panic!("it is never closed");
}

#[test]
fn a_newer_link_closes_the_older_one_of_an_extended_peer_and_no_other() {
    let legacy = after(&[CLAIMED, IDENTIFIED, WELCOMED]);
    let ours = after(&[(hello(extended()), 1), IDENTIFIED, WELCOMED]);
    for cause in CloseCause::ALL {
        let takes_over = matches!(cause, CloseCause::Superseded | CloseCause::Normal);
        let expected = if takes_over { Unwanted::Park } else { Unwanted::Close };
        assert_eq!(legacy.when_closed_for(*cause), expected, "{cause:?}");
        assert_eq!(ours.when_closed_for(*cause), Unwanted::Close, "{cause:?}");
    }
}
