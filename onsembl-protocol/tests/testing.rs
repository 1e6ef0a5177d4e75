//! The test kit, tested: our own machines pass it, and each planted bug is found by the invariant of
//! the right name, in a script of a few steps.
#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm, clippy::print_stdout)]

#[path = "testing/orders.rs"]
mod orders;
#[path = "testing/texts.rs"]
mod texts;

use onsembl_protocol::close::CloseCause;
use onsembl_protocol::id::{Epoch, LinkId, PresenceVersion};
use onsembl_protocol::lab::kit::agent::{self, AgentUnderTest, Rules};
use onsembl_protocol::lab::kit::server::{self, ServerUnderTest};
use onsembl_protocol::lab::kit::{Invariant, Plan, Reaction};
use onsembl_protocol::liveness::BackoffPolicy;
use onsembl_protocol::session::{
    AgentAction, AgentConfig, AgentConnection, AgentEvent, AgentInbound, AgentStatus, Presence,
    ServerAction, ServerConfig, ServerConnection, ServerEvent,
};
use onsembl_protocol::step::Step;
use onsembl_protocol::time::{Deadline, Now, WallTime};
use std::cell::Cell;
use std::time::Duration;

#[test]
fn our_agent_keeps_every_invariant() {
    let machine = || AgentConnection::new(AgentConfig::DEFAULT, 7);
    agent::check_with(&Plan::new(3_000, 1), Rules::DEFAULT, machine).unwrap();
}

#[test]
fn our_server_keeps_every_invariant() {
    let origin = Now::without_suspend(Duration::ZERO);
    let machine =
        || ServerConnection::new(ServerConfig::DEFAULT, PresenceVersion(0), Epoch(0), origin);
    server::check_with(&Plan::new(1_000, 1), ServerConfig::DEFAULT, machine).unwrap();
}

#[test]
#[ignore = "takes a minute; for judges that were changed"]
fn both_ends_keep_every_invariant_for_long() {
    let origin = Now::without_suspend(Duration::ZERO);
    let server =
        || ServerConnection::new(ServerConfig::DEFAULT, PresenceVersion(0), Epoch(0), origin);
    let agent = || AgentConnection::new(AgentConfig::DEFAULT, 99);
    server::check_with(&Plan::new(8_000, 78), ServerConfig::DEFAULT, server).unwrap();
    agent::check_with(&Plan::new(40_000, 77), Rules::DEFAULT, agent).unwrap();
}

/// What a wrapper around our machine can get wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bug {
    ArmsItsOwnInterval,
    DropsTheDeadlineOfAnIgnoredEvent,
    TakesAnyLinkDownForItsOwn,
    LeavesTheSilentLinkOpen,
    ForgetsPongs,
    TakesItsWakeForTheDeadline,
    RetriesAfterRefusal,
    ClosesWithoutACause,
    ReadsAClockThatStepsBack,
    TossesACoin,
    TakesPingsForNoLife,
    TreatsBeatsAsOptional,
    ForgetsTheBackoff,
    ActsAfterTheEnd,
    AsksForNow,
    SitsOnNews,
    HidesItsOrders,
    MissesAnotherToken,
    LeavesTheRenewedLinkOpen,
    TakesItsTimeWithANewToken,
}

use Bug::*;

thread_local! { static COIN: Cell<u64> = const { Cell::new(0) }; }

struct Wrapper {
    bug: Bug,
    machine: AgentConnection,
    deadline: Deadline,
    link: LinkId,
    last: Option<Now>,
}

impl Wrapper {
    fn new(bug: Bug) -> Self {
        let seed = match bug {
            TossesACoin => COIN.with(|c| c.replace(c.get() + 1)),
            _ => 7,
        };
        let mut config = AgentConfig::DEFAULT;
        if bug == ForgetsTheBackoff {
            let ms = Duration::from_millis;
            config.backoff = BackoffPolicy::new(ms(200), ms(200), ms(10_000)).unwrap();
        }
        Self {
            bug,
            machine: AgentConnection::new(config, seed),
            deadline: Deadline::Never,
            link: LinkId(0),
            last: None,
        }
    }

    fn sound(&mut self, event: AgentEvent, now: Now) -> Reaction<AgentAction> {
        let step: Step<AgentAction> = self.machine.handle(event, now);
        step.into()
    }

    fn in_session(&self) -> bool {
        matches!(self.status(), AgentStatus::Connected { .. } | AgentStatus::Stale { .. })
    }
}

impl AgentUnderTest for Wrapper {
    fn handle(&mut self, mut event: AgentEvent, mut now: Now) -> Reaction<AgentAction> {
        let last = *self.last.get_or_insert(now);
        let at = now.monotonic.max(last.monotonic);
        let due = self.deadline.is_due(at);
        match (self.bug, event) {
            (TakesAnyLinkDownForItsOwn, AgentEvent::LinkDown(_, reason)) => {
                event = AgentEvent::LinkDown(self.link, reason);
            }
            (RetriesAfterRefusal, AgentEvent::DialFailed(link, _)) => {
                event = AgentEvent::DialFailed(
                    link,
                    onsembl_protocol::session::DialFailure::Unreachable,
                );
            }
            (HidesItsOrders, AgentEvent::EndOrdered(_)) => event = AgentEvent::Stop,
            (MissesAnotherToken, AgentEvent::TokenChanged)
                if now.suspended_since(&last).is_zero() =>
            {
                return Reaction { actions: Vec::new(), deadline: self.deadline.after(at) };
            }
            (ReadsAClockThatStepsBack, _) => {
                // A difference of two readings, as people take it: by its size.
                let back = last.monotonic.saturating_since(now.monotonic);
                now.monotonic = at.saturating_add(back);
                now.boot = last.boot.max(now.boot).saturating_add(back);
            }
            (TakesPingsForNoLife, AgentEvent::Received(_, AgentInbound::Other))
                if now.suspended_since(&last).is_zero() =>
            {
                return Reaction { actions: Vec::new(), deadline: self.deadline.after(at) };
            }
            _ => {}
        }
        self.last =
            Some(Now { monotonic: at.max(now.monotonic), boot: last.boot.max(now.boot), ..now });
        let was_in_session = self.in_session();
        let mut reaction = self.sound(event, now);
        for action in &reaction.actions {
            if let AgentAction::Dial(link) = action {
                self.link = *link;
            }
        }
        let soon = |by| Deadline::At(at.saturating_add(by));
        match self.bug {
            ArmsItsOwnInterval if self.in_session() => {
                if event == AgentEvent::Wake && due {
                    reaction.deadline = soon(Duration::from_secs(30));
                } else if reaction.actions.is_empty() {
                    reaction.deadline = self.deadline;
                }
            }
            DropsTheDeadlineOfAnIgnoredEvent
                if reaction.actions.is_empty() && event != AgentEvent::Wake =>
            {
                reaction.deadline = Deadline::Never;
            }
            LeavesTheSilentLinkOpen => {
                reaction
                    .actions
                    .retain(|a| !matches!(a, AgentAction::Close(_, CloseCause::Silent)));
            }
            ForgetsPongs => {
                reaction.actions.retain(|a| !matches!(a, AgentAction::SendPong { .. }));
            }
            TakesItsWakeForTheDeadline
                if event == AgentEvent::Wake
                    && !due
                    && was_in_session
                    && matches!(self.status(), AgentStatus::Connected { .. }) =>
            {
                reaction.deadline = soon(Duration::from_secs(30));
            }
            ClosesWithoutACause => {
                for action in &mut reaction.actions {
                    if let AgentAction::Close(_, cause) = action {
                        *cause = CloseCause::NoCode;
                    }
                }
            }
            TreatsBeatsAsOptional if event == AgentEvent::Wake => {
                reaction.actions.retain(|a| !matches!(a, AgentAction::SendBeat { .. }));
            }
            SitsOnNews if event == AgentEvent::News => {
                reaction.actions.retain(|a| !matches!(a, AgentAction::SendBeat { .. }));
            }
            LeavesTheRenewedLinkOpen if event == AgentEvent::TokenChanged => {
                reaction.actions.retain(|a| !matches!(a, AgentAction::Close(..)));
            }
            TakesItsTimeWithANewToken
                if event == AgentEvent::TokenChanged && !reaction.actions.is_empty() =>
            {
                reaction.deadline = soon(Duration::from_secs(30));
            }
            ActsAfterTheEnd if self.status() == AgentStatus::Closed => {
                reaction.deadline = soon(Duration::from_secs(60));
            }
            AsksForNow if self.in_session() && event != AgentEvent::Wake => {
                reaction.deadline = Deadline::At(at);
            }
            _ => {}
        }
        self.deadline = reaction.deadline;
        reaction
    }

    fn status(&self) -> AgentStatus {
        self.machine.status()
    }
}

#[test]
fn each_planted_bug_is_found_by_the_invariant_of_its_name() {
    use Invariant as I;
    let expected: [(Bug, &[Invariant]); 20] = [
        (ArmsItsOwnInterval, &[I::SilentPeerGoesStaleExactly, I::BeatsEveryInterval]),
        (DropsTheDeadlineOfAnIgnoredEvent, &[I::EveryWaitHasADeadline, I::OldLinkChangesNothing]),
        (TakesAnyLinkDownForItsOwn, &[I::OldLinkChangesNothing]),
        (LeavesTheSilentLinkOpen, &[I::OneLinkAtATime, I::SleepIsNoticed]),
        (ForgetsPongs, &[I::PingIsAnswered]),
        (TakesItsWakeForTheDeadline, &[I::EarlyWakeIsSilent]),
        (RetriesAfterRefusal, &[I::NoDialAfterRefusal, I::RedialsByBackoff, I::ComesBack]),
        (ClosesWithoutACause, &[I::CloseHasACause]),
        (ReadsAClockThatStepsBack, &[I::BackwardsTimeStandsStill]),
        (TossesACoin, &[I::SameInputsSameOutputs]),
        (TakesPingsForNoLife, &[I::AnyFrameProvesLife, I::SilentPeerGoesStaleExactly]),
        (TreatsBeatsAsOptional, &[I::BeatsEveryInterval]),
        (ForgetsTheBackoff, &[I::RedialsByBackoff]),
        (ActsAfterTheEnd, &[I::TerminalIsFinal]),
        (AsksForNow, &[I::DeadlineAfterNow]),
        (SitsOnNews, &[I::BeatsEveryInterval]),
        (HidesItsOrders, &[I::CloseHasACause]),
        (MissesAnotherToken, &[I::ComesBack, I::OneLinkAtATime]),
        (LeavesTheRenewedLinkOpen, &[I::OneLinkAtATime]),
        (TakesItsTimeWithANewToken, &[I::ComesBack, I::EveryWaitHasADeadline]),
    ];
    let mut misnamed = Vec::new();
    for (bug, names) in expected {
        let (mut cases, mut steps) = (0, 0);
        for seed in 0..8 {
            let found = agent::check_with(&Plan::new(500, seed * 1000), Rules::DEFAULT, || {
                Wrapper::new(bug)
            });
            let failure = found.expect_err(&format!("{bug:?} was not found"));
            let name = failure.violation.invariant;
            if !names.contains(&name) || failure.script.steps.len() > 6 {
                misnamed.push(format!("{bug:?} was found as\n{failure}"));
            }
            cases += failure.cases;
            steps += failure.script.steps.len();
        }
        let mean = |n: f64| n / 8.0;
        println!(
            "{bug:?}: {} scripts, shrunk to {} steps on average",
            mean(f64::from(cases)),
            mean(steps as f64)
        );
    }
    assert!(misnamed.is_empty(), "{}", misnamed.join("\n\n"));
}

#[test]
fn a_failure_is_found_again_by_its_seed() {
    let make = || Wrapper::new(ForgetsPongs);
    let first = agent::check_with(&Plan::new(500, 42), Rules::DEFAULT, make).unwrap_err();
    let again = agent::check_with(&Plan::only(first.seed), Rules::DEFAULT, make).unwrap_err();
    assert_eq!(first.script, again.script);
    assert_eq!(first.violation, again.violation);
}

#[test]
fn a_waived_invariant_is_not_judged() {
    let plan = Plan::new(200, 3).waiving(&[Invariant::PingIsAnswered]);
    agent::check_with(&plan, Rules::DEFAULT, || Wrapper::new(ForgetsPongs)).unwrap();
}

/// What a policy around our server's machine can get wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PolicyBug {
    KeepsNoResumeWindow,
    KeepsTheOldLink,
    KeepsTheSilentLink,
    SkipsRecords,
    PublishesTwice,
    MovesSince,
    ForgetsToForget,
    OwnTimerPerLink,
    SaysNoToNobody,
}

struct Policy {
    bug: PolicyBug,
    machine: ServerConnection,
    shift: u64,
}

impl Policy {
    fn new(bug: PolicyBug) -> Self {
        let mut config = ServerConfig::DEFAULT;
        if bug == PolicyBug::KeepsNoResumeWindow {
            config.resume_window = Duration::from_secs(60);
        }
        let origin = Now::without_suspend(Duration::ZERO);
        let machine = ServerConnection::new(config, PresenceVersion(0), Epoch(0), origin);
        Self { bug, machine, shift: 0 }
    }

    fn shifted(&self, mut presence: Presence) -> Presence {
        presence.version = PresenceVersion(presence.version.0 + self.shift);
        if self.bug == PolicyBug::MovesSince {
            presence.since = WallTime::from_unix_millis(presence.version.0 as i64);
        }
        presence
    }
}

impl ServerUnderTest for Policy {
    fn handle(&mut self, event: ServerEvent, now: Now) -> Reaction<ServerAction> {
        let mut reaction: Reaction<ServerAction> = self.machine.handle(event, now).into();
        let reports = reaction.actions.iter().any(|a| matches!(a, ServerAction::Report(_)));
        if self.bug == PolicyBug::PublishesTwice && reports {
            self.shift += 1;
        }
        reaction.actions.retain(|action| match (self.bug, action) {
            (PolicyBug::KeepsTheOldLink, ServerAction::Close(_, cause)) => {
                !matches!(cause, CloseCause::Replaced | CloseCause::Superseded)
            }
            (PolicyBug::KeepsTheSilentLink, ServerAction::Close(_, CloseCause::Silent))
            | (PolicyBug::SkipsRecords, ServerAction::Record { .. })
            | (PolicyBug::ForgetsToForget, ServerAction::Forget)
            | (PolicyBug::SaysNoToNobody, ServerAction::Close(_, CloseCause::TryLater)) => false,
            _ => true,
        });
        let this = &*self;
        for action in &mut reaction.actions {
            if let ServerAction::Report(presence) = action {
                *presence = this.shifted(*presence);
            }
        }
        if self.bug == PolicyBug::OwnTimerPerLink && self.machine.link().is_some() {
            let later = now.monotonic.saturating_add(Duration::from_secs(60));
            reaction.deadline = Deadline::At(later);
        }
        reaction
    }

    fn presence(&self) -> Presence {
        self.shifted(self.machine.presence())
    }
}

#[test]
fn each_bug_of_a_policy_is_found_by_the_invariant_of_its_name() {
    use Invariant as I;
    use PolicyBug::*;
    let expected: [(PolicyBug, &[Invariant]); 9] = [
        (KeepsNoResumeWindow, &[I::ResumeWindowIsKept]),
        (KeepsTheOldLink, &[I::OneSessionAtATime, I::NewestHelloCounts]),
        (KeepsTheSilentLink, &[I::DeadLinkIsClosed]),
        (SkipsRecords, &[I::BeatIsRecorded]),
        (PublishesTwice, &[I::VersionGrowsByOne]),
        (MovesSince, &[I::SinceMovesOnlyWithStatus]),
        (ForgetsToForget, &[I::ForgetIsLast]),
        (OwnTimerPerLink, &[I::SilentPeerGoesStaleExactly, I::BeatsEveryInterval]),
        (SaysNoToNobody, &[I::HelloIsAnswered]),
    ];
    let mut misnamed = Vec::new();
    for (bug, names) in expected {
        let (mut cases, mut steps) = (0, 0);
        for seed in 0..4 {
            let plan = Plan::new(500, seed * 1000);
            let found = server::check_with(&plan, ServerConfig::DEFAULT, || Policy::new(bug));
            let failure = found.expect_err(&format!("{bug:?} was not found"));
            if !names.contains(&failure.violation.invariant) || failure.script.steps.len() > 6 {
                misnamed.push(format!("{bug:?} was found as\n{failure}"));
            }
            cases += failure.cases;
            steps += failure.script.steps.len();
        }
        let (cases, steps) = (f64::from(cases) / 4.0, steps as f64 / 4.0);
        println!("{bug:?}: {cases} scripts, shrunk to {steps} steps on average");
    }
    assert!(misnamed.is_empty(), "{}", misnamed.join("\n\n"));
}
