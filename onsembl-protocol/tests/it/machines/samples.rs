//! Every event of both machines, as rows for the tables and as moves for the exploration.
//!
//! [`every`] lists the variants of an enum with their samples. A variant that is not listed does not
//! compile, and a listed one without a sample fails: so no pair of state and event is left out.

use crate::lifecycle::solo::{TERMS, healthy_beat, server_beat};
use crate::support::EPOCH_MS;
use onsembl_protocol::close::{Breakage, CloseCause, CloseCode, CloseReason, ComeBack, Initiator};
use onsembl_protocol::id::{BeatSequence, Epoch, LinkId};
use onsembl_protocol::session::{
    AgentEvent, AgentInbound, Claimant, DialFailure, Dialect, EndOrder, HelloRefusal, ServerEvent,
    ServerInbound, SessionTerms, StoreTrouble,
};
use onsembl_protocol::time::WallTime;

macro_rules! every {
    ($type:ty { $($pattern:pat => $samples:expr,)+ }) => {{
        let _is_exhaustive = |value: $type| match value { $($pattern => {})+ };
        let mut all: Vec<(String, $type)> = Vec::new();
        $(
            let samples: Vec<(String, $type)> = $samples;
            assert!(!samples.is_empty(), "no sample of {}", stringify!($pattern));
            for (name, sample) in &samples {
                assert!(matches!(sample, $pattern), "{name} is no {}", stringify!($pattern));
            }
            all.extend(samples);
        )+
        all
    }};
}

fn rows<T, const N: usize>(samples: [(&str, T); N]) -> Vec<(String, T)> {
    samples.into_iter().map(|(name, sample)| (name.to_string(), sample)).collect()
}

fn row<T>(name: &str, sample: T) -> Vec<(String, T)> {
    vec![(name.to_string(), sample)]
}

/// Puts each sample into its event, with a few words before its name.
fn within<T, E>(
    words: &str,
    samples: Vec<(String, T)>,
    event: impl Fn(T) -> E,
) -> Vec<(String, E)> {
    samples.into_iter().map(|(name, sample)| (format!("{words}{name}"), event(sample))).collect()
}

fn dialects() -> Vec<(String, Dialect)> {
    every!(Dialect {
        Dialect::Extended => row("extended", Dialect::Extended),
        Dialect::Legacy => row("legacy", Dialect::Legacy),
    })
}

/// Every way in which a link can end: by each side with each cause that has a code, without a code,
/// with a strange one; by each breakage.
pub(super) fn reasons() -> Vec<CloseReason> {
    let no_code_of_ours = [CloseCause::NoCode, CloseCause::Other(CloseCode(4321))];
    let coded = || CloseCause::ALL.iter().copied().chain(no_code_of_ours);
    let by_peer = coded().map(|cause| CloseReason { initiator: Initiator::Peer, cause });
    let by_us = coded().map(CloseReason::local);
    by_peer.chain(by_us).chain(Breakage::ALL.iter().copied().map(CloseReason::broken)).collect()
}

/// What a machine tells apart in the end of a link. The tables have one row of each; a test proves
/// that all the other ends of the class are treated alike.
pub(super) fn class(reason: CloseReason) -> &'static str {
    match (reason.initiator, reason.cause.come_back()) {
        (Initiator::Local, _) => "by this side",
        (Initiator::Link, _) => "broken",
        (Initiator::Peer, ComeBack::Never) => "sent away",
        (Initiator::Peer, ComeBack::WithNewToken) => "token expired",
        (Initiator::Peer, ComeBack::Backoff) => match reason.cause {
            // Of a legacy wrapper it is a stop, of others an end like any other.
            CloseCause::Normal => "closed normally",
            CloseCause::AgentStopped => "stopped",
            CloseCause::ToldToStop => "told to stop",
            CloseCause::ToldToRestart => "told to restart",
            _ => "by the peer",
        },
    }
}

/// One end of each class.
pub(super) fn ends() -> Vec<(String, CloseReason)> {
    let mut ends: Vec<(String, CloseReason)> = Vec::new();
    for reason in reasons() {
        if ends.iter().all(|(name, _)| name != class(reason)) {
            ends.extend(row(class(reason), reason));
        }
    }
    ends
}

fn frames_to_an_agent() -> Vec<(String, AgentInbound)> {
    let refusals = every!(HelloRefusal {
        HelloRefusal::Unauthorized => row("token", HelloRefusal::Unauthorized),
        HelloRefusal::Forbidden => row("for good", HelloRefusal::Forbidden),
        HelloRefusal::Other => row("other", HelloRefusal::Other),
    });
    every!(AgentInbound {
        AgentInbound::HelloAccepted(_) => within("welcome, ", dialects(), |dialect| {
            AgentInbound::HelloAccepted(SessionTerms { dialect, ..TERMS })
        }),
        AgentInbound::HelloRefused(_) => within("refusal: ", refusals, AgentInbound::HelloRefused),
        AgentInbound::Heartbeat(_) => rows([
            ("beat, all well", healthy_beat(7)),
            ("beat, nothing seen", server_beat(7, 0, 0, false)),
            ("beat, recording lags", server_beat(7, 9, 0, true)),
        ]),
        AgentInbound::Ping { .. } => row("ping", AgentInbound::Ping { echo: Some(5.0.into()) }),
        AgentInbound::Other => row("other", AgentInbound::Other),
    })
}

fn end_orders() -> Vec<(String, EndOrder)> {
    every!(EndOrder {
        EndOrder::Stop => row("stop", EndOrder::Stop),
        EndOrder::Restart => row("restart", EndOrder::Restart),
    })
}

/// Every event of an agent, about this link.
pub(super) fn agent_events(link: LinkId) -> Vec<(String, AgentEvent)> {
    let failures =
        DialFailure::SAMPLES.iter().map(|failure| (format!("{failure:?}"), *failure)).collect();
    every!(AgentEvent {
        AgentEvent::Start => row("start", AgentEvent::Start),
        AgentEvent::LinkUp(_) => row("link up", AgentEvent::LinkUp(link)),
        AgentEvent::DialFailed(..) => {
            within("dial failed: ", failures, |failure| AgentEvent::DialFailed(link, failure))
        },
        AgentEvent::Received(..) => within("received ", frames_to_an_agent(), |frame| {
            AgentEvent::Received(link, frame)
        }),
        AgentEvent::LinkDown(..) => {
            within("link down: ", ends(), |reason| AgentEvent::LinkDown(link, reason))
        },
        AgentEvent::Wake => row("wake", AgentEvent::Wake),
        AgentEvent::News => row("news", AgentEvent::News),
        AgentEvent::TokenChanged => row("token changed", AgentEvent::TokenChanged),
        AgentEvent::Stop => row("stop", AgentEvent::Stop),
        AgentEvent::EndOrdered(_) => within("ordered to ", end_orders(), AgentEvent::EndOrdered),
    })
}

fn frames_to_a_server() -> Vec<(String, ServerInbound)> {
    let beat = |sequence, seen| ServerInbound::Heartbeat { sequence, seen };
    let number = |n| Some(BeatSequence(n));
    every!(ServerInbound {
        ServerInbound::Heartbeat { .. } => rows([
            ("beat", beat(number(5), number(99))),
            ("beat, nothing seen", beat(number(5), number(0))),
            ("beat without numbers", beat(None, None)),
        ]),
        ServerInbound::Pong => row("pong", ServerInbound::Pong),
        ServerInbound::Other => row("other", ServerInbound::Other),
    })
}

fn claims() -> Vec<(String, (Dialect, Claimant))> {
    let claimants = every!(Claimant {
        Claimant::SameProcess => row("same", Claimant::SameProcess),
        Claimant::OtherProcess => row("other", Claimant::OtherProcess),
    });
    let each = |(name, claimant): (String, Claimant)| {
        within(&format!("{name}, "), dialects(), move |dialect| (dialect, claimant))
    };
    claimants.into_iter().flat_map(each).collect()
}

fn troubles() -> Vec<(String, Option<StoreTrouble>)> {
    let troubles = every!(StoreTrouble {
        StoreTrouble::Slow => row("slow", StoreTrouble::Slow),
        StoreTrouble::Busy => row("busy", StoreTrouble::Busy),
        StoreTrouble::Full => row("full", StoreTrouble::Full),
        StoreTrouble::Failed => row("failed", StoreTrouble::Failed),
    });
    let mut all = within("", troubles, Some);
    all.extend(row("well", None));
    all
}

/// Every event of a server: a hello over `newest`, frames and the rest over `link`, records of
/// `epoch`.
pub(super) fn server_events(
    newest: LinkId,
    link: LinkId,
    epoch: Epoch,
) -> Vec<(String, ServerEvent)> {
    let (sequence, at) = (BeatSequence(1), WallTime::from_unix_millis(EPOCH_MS));
    let cause = CloseCause::TryLater;
    every!(ServerEvent {
        ServerEvent::Joined { .. } => within("joined: ", claims(), |(dialect, claimant)| {
            ServerEvent::Joined { link: newest, dialect, claimant }
        }),
        ServerEvent::Admitted { .. } => {
            row(&format!("admitted {link}"), ServerEvent::Admitted { link, epoch: Epoch(20) })
        },
        ServerEvent::Rejected { .. } => {
            row(&format!("rejected {link}"), ServerEvent::Rejected { link, cause })
        },
        ServerEvent::Received(..) => {
            within(&format!("over {link}: "), frames_to_a_server(), |frame| {
                ServerEvent::Received(link, frame)
            })
        },
        ServerEvent::Recorded { .. } => rows([
            ("recorded 1", ServerEvent::Recorded { epoch, sequence, at }),
            ("recorded 1 of an old epoch", {
                ServerEvent::Recorded { epoch: Epoch(0), sequence, at }
            }),
        ]),
        ServerEvent::Store(_) => within("store ", troubles(), ServerEvent::Store),
        ServerEvent::Faulted(_) => row(&format!("over {link}: fault"), ServerEvent::Faulted(link)),
        ServerEvent::LinkDown(..) => within(&format!("link {link} down: "), ends(), |reason| {
            ServerEvent::LinkDown(link, reason)
        }),
        ServerEvent::Evict(_) => row("evict: deleted", ServerEvent::Evict(CloseCause::Deleted)),
        ServerEvent::Wake => row("wake", ServerEvent::Wake),
    })
}
