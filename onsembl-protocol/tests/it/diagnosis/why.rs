//! What is told of an agent is made of what its machine published.

use crate::support::{ms, now, secs};
use onsembl_protocol::close::{Breakage, CloseCause, CloseReason};
use onsembl_protocol::diagnosis::{
    Cause, Confidence, Evidence, Finding, OwnFault, PastFinding, PresenceTrack, Records, ToldAt,
    Transition, TurnedAway, Why, explain,
};
use onsembl_protocol::id::{Epoch, InstanceId, LinkId, PresenceVersion};
use onsembl_protocol::session::{
    Claimant, Dialect, ServerAction, ServerConfig, ServerConnection, ServerEvent, ServerInbound,
};
use onsembl_protocol::time::{Deadline, WallTime};
use std::time::Duration;

/// A machine, and the log of what it publishes.
pub(super) struct Agent {
    pub(super) at: Duration,
    machine: ServerConnection,
    pub(super) link: LinkId,
    /// Which process of it is in session, or was.
    run: u32,
    heard: Option<WallTime>,
    log: Vec<Transition>,
    pub(super) told: Vec<ToldAt>,
    own_faults: Vec<OwnFault>,
    turned_away: Option<TurnedAway>,
    fault: Option<Finding>,
}

impl Agent {
    pub(super) fn new() -> Self {
        let at = secs(1000);
        let machine =
            ServerConnection::new(ServerConfig::DEFAULT, PresenceVersion(0), Epoch(0), now(at));
        let (told, own_faults) = (Vec::new(), Vec::new());
        let (link, run, heard, log) = (LinkId(0), 1, None, Vec::new());
        let (turned_away, fault) = (None, None);
        Self { at, machine, link, run, heard, log, told, own_faults, turned_away, fault }
    }

    pub(super) fn feed(&mut self, event: ServerEvent) -> Deadline {
        let at = now(self.at);
        let step = self.machine.handle(event, at);
        for action in step.actions {
            if let ServerAction::Report(presence) = action {
                let instance = Some(InstanceId::new(format!("run-{}", self.run)));
                let heard = self.heard;
                self.log.push(Transition { at: at.wall, presence, heard, instance, beats: None });
            }
        }
        step.deadline
    }

    pub(super) fn join(&mut self, claimant: Claimant) {
        self.link = self.link.next();
        let (link, dialect) = (self.link, Dialect::Extended);
        let _ = self.feed(ServerEvent::Joined { link, dialect, claimant });
        self.at += ms(10);
        self.run += u32::from(claimant == Claimant::OtherProcess);
        let _ = self.feed(ServerEvent::Admitted { link, epoch: Epoch(link.0) });
        self.hear();
    }

    pub(super) fn hear(&mut self) {
        self.heard = Some(now(self.at).wall);
        let _ = self.feed(ServerEvent::Received(self.link, ServerInbound::Other));
    }

    pub(super) fn told(&self) -> Why {
        self.told_by(&self.log, None)
    }

    /// What is told while the log does not have the latest transition yet.
    fn told_early(&self) -> Why {
        let (latest, log) = self.log.split_last().expect("a transition");
        // The view does not know which process it was.
        let latest = Transition { instance: None, ..latest.clone() };
        self.told_by(log, Some(&latest))
    }

    fn told_by(&self, log: &[Transition], latest: Option<&Transition>) -> Why {
        let begin = PresenceTrack::begin(self.log[0].presence);
        let track = self.log[1..].iter().fold(begin, |track, next| track.then(next.presence));
        let presence = explain(&track, self.heard, &ServerConfig::DEFAULT);
        let records = Records {
            latest,
            told: &self.told,
            own_faults: &self.own_faults,
            turned_away: self.turned_away,
            fault: self.fault.as_ref(),
        };
        Why::of(presence, log, records, now(secs(1000)).wall, now(self.at).wall)
    }

    /// It tells now what began so long ago.
    fn tells(&mut self, cause: Cause, confidence: Confidence, ago: Duration, lasted: Duration) {
        let finding =
            Finding::new(cause, confidence).on(Evidence::NONE.with("told", "by the agent"));
        let told = PastFinding { finding, ago, lasted, times: 3 };
        self.told.push(ToldAt { at: now(self.at).wall, told });
    }

    pub(super) fn breaks(&mut self) {
        let broken = CloseReason::broken(Breakage::Reset);
        let _ = self.feed(ServerEvent::LinkDown(self.link, broken));
    }
}

fn causes(why: &Why) -> Vec<(Cause, bool)> {
    why.drops.iter().map(|drop| (drop.finding.cause, drop.until.is_some())).collect()
}

#[test]
fn processes_that_evict_each_other_are_a_pattern_of_drops() {
    let mut agent = Agent::new();
    agent.join(Claimant::SameProcess);
    for _ in 0..6 {
        agent.at += secs(1);
        agent.join(Claimant::OtherProcess);
    }
    let why = agent.told();
    assert_eq!(causes(&why), [(Cause::SecondInstance, true); 6]);
    let pattern = why.pattern.expect("they do so again and again");
    let sure = (pattern.cause, pattern.confidence);
    assert_eq!(sure, (Cause::InstancesEvictEachOther, Confidence::High));
}

/// It is written to the log behind what is published, so that a question may come between the two.
#[test]
fn a_drop_is_told_before_the_log_has_it() {
    let mut agent = Agent::new();
    agent.join(Claimant::SameProcess);
    agent.at += secs(10);
    let revoked = CloseReason::local(CloseCause::Revoked);
    let _ = agent.feed(ServerEvent::LinkDown(agent.link, revoked));
    let (early, later) = (agent.told_early(), agent.told());
    assert_eq!(causes(&early), causes(&later));
    assert_eq!(early.drops.len(), 1);
    assert_eq!((early.now.clone(), early.action), (later.now, later.action));
    assert!(early.now.is_some());
    // Once it is written, it is told once.
    let (latest, log) = (agent.log.last().cloned(), &agent.log);
    assert_eq!(causes(&agent.told_by(log, latest.as_ref())).len(), 1);
}

#[test]
fn a_drop_lasts_until_the_agent_is_back_and_is_missing_time() {
    let mut agent = Agent::new();
    agent.join(Claimant::SameProcess);
    agent.at += secs(100 - 1);
    agent.hear();
    agent.at += secs(1);
    let broken = CloseReason::broken(Breakage::Reset);
    let _ = agent.feed(ServerEvent::LinkDown(agent.link, broken));
    agent.at += secs(50);
    assert_eq!(causes(&agent.told()), [(Cause::Unknown, false)]);
    agent.join(Claimant::SameProcess);
    agent.at += secs(30);
    let why = agent.told();
    // That it was not another process is all that is known.
    assert_eq!(causes(&why), [(Cause::ConnectionCut, true)]);
    assert_eq!(why.drops[0].finding.confidence, Confidence::Low);
    let evidence = why.drops[0].finding.evidence.to_string();
    assert_eq!(evidence, "ended link-ended, quiet 1s, lived 100s, close code 1006");
    let sum = why.availability;
    assert_eq!((sum.there, sum.missing), (secs(130), secs(50) + ms(20)), "{sum:?}");
    assert_eq!(sum.permille(), Some(722));
}

#[test]
fn what_an_agent_tells_explains_the_absence_in_which_it_was() {
    let mut agent = Agent::new();
    agent.join(Claimant::SameProcess);
    // Away for 50 s because of its name server, there for 100 s, away for 50 s because of a firewall.
    for cause in [Cause::NameResolution, Cause::ConnectionRefused] {
        agent.at += secs(100);
        agent.hear();
        agent.breaks();
        agent.at += secs(50);
        agent.join(Claimant::SameProcess);
        agent.tells(cause, Confidence::High, secs(49), secs(45));
    }
    let why = agent.told();
    assert_eq!(causes(&why), [(Cause::NameResolution, true), (Cause::ConnectionRefused, true)]);
    assert!(why.drops.iter().all(|drop| drop.finding.confidence == Confidence::High));
    assert_eq!(why.drops[0].finding.evidence.text("told"), Some("by the agent"));
}

#[test]
fn what_is_told_only_a_session_later_belongs_to_the_earlier_absence_all_the_same() {
    let mut agent = Agent::new();
    agent.join(Claimant::SameProcess);
    agent.at += secs(100);
    agent.hear();
    agent.breaks();
    agent.at += secs(50);
    agent.join(Claimant::SameProcess);
    // The session ends before it was told.
    agent.at += secs(20);
    agent.hear();
    agent.breaks();
    agent.at += secs(1);
    agent.join(Claimant::SameProcess);
    agent.tells(Cause::NameResolution, Confidence::High, secs(70), secs(45));
    let why = agent.told();
    assert_eq!(causes(&why), [(Cause::NameResolution, true), (Cause::ConnectionCut, true)]);
}

#[test]
fn a_silence_in_which_the_server_did_not_run_is_its_own() {
    let mut agent = Agent::new();
    agent.join(Claimant::SameProcess);
    agent.at += secs(10);
    agent.hear();
    agent.at += secs(20);
    let silent = CloseReason::local(CloseCause::Silent);
    let _ = agent.feed(ServerEvent::LinkDown(agent.link, silent));
    let from = now(agent.at.saturating_sub(secs(18))).wall;
    let until = now(agent.at.saturating_sub(secs(1))).wall;
    agent.own_faults.push(OwnFault { from, until, cause: Cause::ServerStalled });
    agent.at += secs(1);
    agent.join(Claimant::SameProcess);
    let why = agent.told();
    assert_eq!(causes(&why), [(Cause::ServerStalled, true)]);
    assert_eq!(why.drops[0].finding.evidence.time("stalled"), Some(secs(17)));
}

#[test]
fn agents_that_gave_a_frozen_server_up_fell_for_its_stall() {
    let mut agent = Agent::new();
    agent.join(Claimant::SameProcess);
    agent.at += secs(30);
    let from = now(agent.at.saturating_sub(secs(20))).wall;
    agent.own_faults.push(OwnFault {
        from,
        until: now(agent.at).wall,
        cause: Cause::ServerStalled,
    });
    // What the agent had sent is read first, and then its close.
    agent.at += ms(45);
    agent.hear();
    agent.at += ms(1);
    let gave_up = CloseReason::peer(Some(CloseCause::Silent.code()));
    let _ = agent.feed(ServerEvent::LinkDown(agent.link, gave_up));
    agent.join(Claimant::SameProcess);
    agent.tells(Cause::NetworkOneWayOrCut, Confidence::Medium, secs(20), secs(8));
    let drop = &agent.told().drops[0].finding;
    assert_eq!((drop.cause, drop.confidence), (Cause::ServerStalled, Confidence::High));
    assert_eq!(drop.evidence.time("stalled"), Some(secs(20)));
}

#[test]
fn what_is_wrong_now_and_what_to_do_is_the_same_for_one_agent_as_for_all() {
    let mut agent = Agent::new();
    agent.join(Claimant::SameProcess);
    agent.at += secs(10);
    agent.hear();
    agent.breaks();
    agent.at += secs(5);
    agent.join(Claimant::SameProcess);
    let action = |why: &Why| why.now.as_ref().map(|now| now.cause.action());
    let well = agent.told();
    assert_eq!((&well.now, well.action), (&None, Some(Cause::ConnectionCut.action())));
    // Silent: not what was before.
    for _ in 0..50 {
        agent.at += secs(1);
        let _ = agent.feed(ServerEvent::Wake);
    }
    let silent = agent.told();
    let cause = silent.now.as_ref().map(|now| now.cause);
    assert_eq!(cause, Some(Cause::NetworkOneWayOrCut), "{:?}", silent.presence);
    assert_eq!(silent.action, action(&silent));
    let evidence = Evidence::NONE.with("lost", "to-agent");
    agent.fault = Some(Finding::new(Cause::NetworkOneWay, Confidence::High).on(evidence));
    let known = agent.told();
    assert_eq!(known.now, agent.fault);
    // A drop that was over long ago is no news to one that is well.
    agent.fault = None;
    for _ in 0..100 {
        agent.hear();
        agent.at += secs(40);
    }
    agent.hear();
    let later = agent.told();
    assert_eq!((later.now, later.action), (None, None));
}

#[test]
fn of_a_session_that_another_process_took_nobody_says_when_it_was_heard() {
    let mut agent = Agent::new();
    agent.join(Claimant::SameProcess);
    agent.at += secs(60);
    agent.join(Claimant::OtherProcess);
    let evidence = &agent.told().drops[0].finding.evidence;
    assert_eq!(evidence.time("quiet"), None, "{evidence}");
}

/// An agent drops the link because its server does not run. Its last words and its close are read when the server runs
/// again, so that for the server it was never silent.
#[test]
fn a_silence_that_only_the_agent_felt_is_the_stall_of_the_server_that_did_not_run_then() {
    let judged = |stalled: u64| {
        let mut agent = Agent::new();
        agent.join(Claimant::SameProcess);
        agent.at += secs(100);
        agent.hear();
        let silent = CloseReason::peer(Some(CloseCause::Silent.code()));
        let _ = agent.feed(ServerEvent::LinkDown(agent.link, silent));
        let from = now(agent.at.saturating_sub(secs(stalled))).wall;
        agent.own_faults.push(OwnFault {
            from,
            until: now(agent.at).wall,
            cause: Cause::ServerStalled,
        });
        agent.at += secs(2);
        agent.join(Claimant::SameProcess);
        // It gave up five seconds before that was read.
        agent.tells(Cause::NetworkOneWayOrCut, Confidence::Medium, secs(27), secs(20));
        let why = agent.told();
        let Finding { cause, confidence, .. } = why.drops[0].finding;
        (cause, confidence)
    };
    assert_eq!(judged(26), (Cause::ServerStalled, Confidence::High));
    // Only when it was over: that is not why.
    assert_eq!(judged(4), (Cause::NetworkOneWay, Confidence::High));
}

/// It was restarted, and the new process lost its link a moment later.
#[test]
fn the_end_of_the_process_before_explains_no_drop_of_the_one_behind_it() {
    let mut agent = Agent::new();
    agent.join(Claimant::SameProcess);
    agent.at += secs(100);
    agent.hear();
    agent.breaks();
    agent.at += secs(1);
    agent.join(Claimant::OtherProcess);
    agent.tells(Cause::AgentCrashed, Confidence::High, ms(10), Duration::ZERO);
    agent.at += secs(1);
    agent.hear();
    agent.breaks();
    agent.at += secs(1);
    agent.join(Claimant::SameProcess);
    let causes: Vec<Cause> = agent.told().drops.iter().map(|drop| drop.finding.cause).collect();
    assert_eq!(causes, [Cause::AgentCrashed, Cause::ConnectionCut]);
}
