//! The life of a command on the server.

use crate::support::{now, secs};
use onsembl_protocol::command::{
    CommandAction, CommandCause, CommandEvent, CommandLife, CommandStage, CommandTerms,
    CommandView, Exit, Origin, Returned,
};
use onsembl_protocol::session::Dialect;
use onsembl_protocol::time::Deadline;
use onsembl_protocol::wire::payload::{CommandAckStatus, CommandPhase};
use std::time::Duration;

struct Life {
    machine: CommandLife,
    at: Duration,
    log: Vec<CommandAction>,
}

impl Life {
    fn new(dialect: Dialect) -> Self {
        let terms = CommandTerms { time_limit: Some(secs(60)), ..CommandTerms::default() };
        Self::of(CommandLife::new(dialect, terms, true, now(Duration::ZERO)))
    }

    fn of(machine: CommandLife) -> Self {
        Self { machine, at: Duration::ZERO, log: Vec::new() }
    }

    fn sent(dialect: Dialect) -> Self {
        let mut life = Self::new(dialect);
        life.feed(CommandEvent::Stored);
        life.feed(CommandEvent::Place);
        life
    }

    fn running() -> Self {
        let mut life = Self::sent(Dialect::Extended);
        life.feed(CommandEvent::Acknowledged(CommandAckStatus::Executing));
        life
    }

    fn feed(&mut self, event: CommandEvent) -> Vec<CommandAction> {
        let step = self.machine.handle(event, now(self.at));
        let actions: Vec<CommandAction> = step.actions.into_iter().collect();
        self.log.extend(&actions);
        actions
    }

    fn run_until(&mut self, until: Duration) {
        while let Deadline::At(at) = self.machine.deadline()
            && at.since_origin() <= until
        {
            self.at = at.since_origin();
            self.feed(CommandEvent::Wake);
        }
        self.at = until;
    }

    fn view(&self) -> CommandView {
        self.machine.view()
    }

    fn stage(&self) -> CommandStage {
        self.view().status
    }

    fn sendings(&self) -> usize {
        self.log.iter().filter(|a| **a == CommandAction::Send).count()
    }

    fn cancels(&self) -> usize {
        self.log.iter().filter(|a| matches!(a, CommandAction::SendCancel { .. })).count()
    }

    fn back(&mut self, same_process: bool, known: bool) {
        let dialect = Dialect::Extended;
        let back = Returned { dialect, same_process, remembers: false, known };
        self.feed(CommandEvent::LinkBack(back));
    }

    fn legacy_back(&mut self) {
        let dialect = Dialect::Legacy;
        let back = Returned { dialect, same_process: true, remembers: false, known: false };
        self.feed(CommandEvent::LinkBack(back));
    }

    fn remembers(&mut self, known: bool) {
        let dialect = Dialect::Extended;
        let back = Returned { dialect, same_process: false, remembers: true, known };
        self.feed(CommandEvent::LinkBack(back));
    }

    fn complete(&mut self, phase: CommandPhase, exit: Option<Exit>) -> Vec<CommandAction> {
        self.feed(CommandEvent::Completed { phase, exit })
    }
}

#[test]
fn a_command_is_stored_sent_acknowledged_run_and_ended() {
    let mut life = Life::new(Dialect::Extended);
    assert_eq!(life.stage(), CommandStage::Pending);
    assert!(matches!(life.feed(CommandEvent::Stored)[..], [CommandAction::Publish(_)]));
    assert_eq!((life.stage(), life.view().because), (CommandStage::Queued, CommandCause::Waits));
    assert_eq!(life.feed(CommandEvent::Place), [CommandAction::Send]);
    assert!(life.machine.is_on_its_way());
    life.feed(CommandEvent::Acknowledged(CommandAckStatus::Received));
    assert_eq!(life.stage(), CommandStage::Delivered);
    life.at = secs(2);
    life.feed(CommandEvent::Acknowledged(CommandAckStatus::Executing));
    assert_eq!(
        (life.stage(), life.view().started_at),
        (CommandStage::Running, Some(now(secs(2)).wall))
    );
    life.at = secs(5);
    life.complete(CommandPhase::Completed, Some(Exit::Code(0)));
    assert_eq!(
        (life.stage(), life.view().ended_at),
        (CommandStage::Completed, Some(now(secs(5)).wall))
    );
    assert_eq!(life.machine.deadline(), Deadline::Never);
}

#[test]
fn what_the_store_does_not_take_never_goes_out() {
    let mut life = Life::new(Dialect::Extended);
    life.feed(CommandEvent::StoreRefused);
    assert_eq!((life.stage(), life.sendings()), (CommandStage::Failed, 0));
    let mut slow = Life::new(Dialect::Extended);
    slow.run_until(secs(30));
    assert_eq!(
        (slow.stage(), slow.view().because),
        (CommandStage::Failed, CommandCause::NotStored)
    );
    assert_eq!(slow.feed(CommandEvent::Stored), [], "too late");
}

#[test]
fn a_command_that_is_not_acknowledged_is_sent_again_and_given_up_in_the_end() {
    let mut life = Life::sent(Dialect::Extended);
    life.run_until(secs(600));
    assert_eq!(life.sendings(), 6);
    assert_eq!(
        (life.stage(), life.view().because),
        (CommandStage::Unknown, CommandCause::NeverAcknowledged)
    );
    let mut acknowledged = Life::sent(Dialect::Extended);
    acknowledged.run_until(secs(15));
    acknowledged.feed(CommandEvent::Acknowledged(CommandAckStatus::Queued));
    acknowledged.run_until(secs(600));
    assert_eq!((acknowledged.sendings(), acknowledged.stage()), (2, CommandStage::Delivered));
}

#[test]
fn ends_are_what_the_process_did() {
    for (phase, exit, stage) in [
        (CommandPhase::Completed, Some(Exit::Code(0)), CommandStage::Completed),
        (CommandPhase::Completed, None, CommandStage::Completed),
        (CommandPhase::Completed, Some(Exit::Code(3)), CommandStage::Failed),
        (CommandPhase::Failed, Some(Exit::Code(3)), CommandStage::Failed),
        (CommandPhase::Failed, None, CommandStage::Failed),
        // Ended at its time limit, and exited with 0 on the way out.
        (CommandPhase::Failed, Some(Exit::Code(0)), CommandStage::Failed),
        (CommandPhase::Completed, Some(Exit::Signal(9)), CommandStage::Failed),
        (CommandPhase::Cancelled, Some(Exit::Signal(15)), CommandStage::Cancelled),
        (CommandPhase::Cancelled, Some(Exit::Code(0)), CommandStage::Cancelled),
        (CommandPhase::Cancelled, None, CommandStage::Cancelled),
        (CommandPhase::Unknown("DONE".into()), Some(Exit::Code(0)), CommandStage::Completed),
        (CommandPhase::Unknown("DONE".into()), None, CommandStage::Failed),
    ] {
        let mut life = Life::running();
        life.complete(phase.clone(), exit);
        assert_eq!((life.stage(), life.view().exit), (stage, exit), "{phase:?} {exit:?}");
    }
}

#[test]
fn an_end_is_final() {
    let mut life = Life::running();
    life.complete(CommandPhase::Failed, Some(Exit::Code(1)));
    let before = life.view();
    for event in [
        CommandEvent::Stored,
        CommandEvent::Acknowledged(CommandAckStatus::Executing),
        CommandEvent::Output,
        CommandEvent::Completed { phase: CommandPhase::Completed, exit: Some(Exit::Code(0)) },
        CommandEvent::Cancel { force: true },
        CommandEvent::LinkLost,
        CommandEvent::Place,
        CommandEvent::LinkBack(Returned {
            dialect: Dialect::Extended,
            same_process: true,
            remembers: true,
            known: false,
        }),
        CommandEvent::AgentGone { journals: true },
        CommandEvent::AgentDeleted,
        CommandEvent::Wake,
    ] {
        assert_eq!(life.feed(event.clone()), [], "{event:?}");
        assert_eq!(life.view(), before, "{event:?}");
    }
}

#[test]
fn a_cancel_is_repeated_until_the_agent_says_that_the_process_is_gone() {
    let mut life = Life::running();
    life.feed(CommandEvent::Cancel { force: false });
    assert_eq!(
        (life.stage(), life.view().because),
        (CommandStage::Cancelling, CommandCause::CancelSent)
    );
    life.run_until(secs(21));
    assert_eq!(life.cancels(), 5, "at once and each five seconds");
    life.complete(CommandPhase::Cancelled, Some(Exit::Signal(15)));
    assert_eq!(life.stage(), CommandStage::Cancelled);
    life.run_until(secs(100));
    assert_eq!(life.cancels(), 5);
}

#[test]
fn a_cancel_that_nobody_confirms_stays_cancelling_and_says_so() {
    let terms = CommandTerms::default();
    let mut life = Life::of(CommandLife::new(Dialect::Extended, terms, true, now(Duration::ZERO)));
    for event in [
        CommandEvent::Stored,
        CommandEvent::Place,
        CommandEvent::Acknowledged(CommandAckStatus::Executing),
        CommandEvent::Cancel { force: false },
    ] {
        life.feed(event);
    }
    life.run_until(secs(9));
    assert_eq!(life.view().because, CommandCause::CancelSent);
    life.run_until(secs(3600));
    let unconfirmed = (CommandStage::Cancelling, CommandCause::CancelUnconfirmed);
    assert_eq!((life.stage(), life.view().because), unconfirmed);
    assert!(life.stage().holds_place(), "what may run is counted");
    let shown = |life: &Life| {
        let says = |a: &&CommandAction| matches!(a, CommandAction::Publish(v) if v.because == CommandCause::CancelUnconfirmed);
        life.log.iter().filter(says).count()
    };
    assert_eq!(shown(&life), 1, "it is told once, not with each repetition");
    // A link that comes back begins anew.
    life.feed(CommandEvent::LinkLost);
    life.back(true, true);
    assert_eq!(
        (life.stage(), life.view().because),
        (CommandStage::Cancelling, CommandCause::LinkBack)
    );
    life.run_until(secs(3620));
    assert_eq!(
        (life.stage(), life.view().because, shown(&life)),
        (unconfirmed.0, unconfirmed.1, 2)
    );
    life.complete(CommandPhase::Cancelled, Some(Exit::Signal(9)));
    assert_eq!(life.stage(), CommandStage::Cancelled);
}

#[test]
fn a_cancel_waits_for_a_lost_link() {
    let mut life = Life::running();
    life.feed(CommandEvent::LinkLost);
    life.feed(CommandEvent::Cancel { force: true });
    life.run_until(secs(30));
    assert_eq!(life.cancels(), 0);
    life.back(true, true);
    life.run_until(secs(30));
    assert_eq!(life.log.last(), Some(&CommandAction::SendCancel { force: true }));
}

#[test]
fn a_command_that_is_cancelled_before_it_is_sent_never_runs() {
    let mut life = Life::new(Dialect::Extended);
    life.feed(CommandEvent::Cancel { force: false });
    life.feed(CommandEvent::Stored);
    assert_eq!((life.stage(), life.sendings(), life.cancels()), (CommandStage::Cancelled, 0, 0));
    assert_eq!(life.view().because, CommandCause::CancelledBeforeSent);
}

#[test]
fn a_time_limit_that_the_agent_overruns_is_cancelled_by_force() {
    let mut life = Life::running();
    life.run_until(secs(64));
    assert_eq!(life.cancels(), 0, "the agent itself ends it at 60 s");
    life.run_until(secs(65));
    assert_eq!(
        life.log.iter().filter(|a| **a == CommandAction::SendCancel { force: true }).count(),
        1
    );
    assert_eq!(life.stage(), CommandStage::Cancelling, "until the agent confirms");
}

#[test]
fn a_lost_link_ends_nothing() {
    let mut life = Life::running();
    life.feed(CommandEvent::LinkLost);
    assert_eq!(
        (life.stage(), life.view().because),
        (CommandStage::Running, CommandCause::LinkLost)
    );
    life.run_until(secs(40));
    life.back(true, true);
    assert_eq!(
        (life.stage(), life.view().because),
        (CommandStage::Running, CommandCause::LinkBack)
    );
    life.complete(CommandPhase::Completed, Some(Exit::Code(0)));
    assert_eq!(life.stage(), CommandStage::Completed);
}

#[test]
fn an_agent_that_does_not_know_a_command_any_more_leaves_its_end_unknown() {
    for (same_process, cause) in
        [(true, CommandCause::Forgotten), (false, CommandCause::AgentRestarted)]
    {
        let mut life = Life::running();
        life.feed(CommandEvent::LinkLost);
        life.back(same_process, false);
        assert_eq!((life.stage(), life.view().because), (CommandStage::Unknown, cause));
    }
    let mut gone = Life::running();
    gone.feed(CommandEvent::LinkLost);
    gone.feed(CommandEvent::AgentGone { journals: false });
    assert_eq!(gone.stage(), CommandStage::Unknown);
}

#[test]
fn a_request_that_the_same_process_never_got_is_sent_again() {
    let mut life = Life::sent(Dialect::Extended);
    life.feed(CommandEvent::LinkLost);
    life.run_until(secs(100));
    assert_eq!(life.sendings(), 1, "nothing is sent into a lost link");
    life.back(true, false);
    assert_eq!(life.sendings(), 2);
}

#[test]
fn a_legacy_agent_gets_a_command_exactly_once() {
    let mut life = Life::sent(Dialect::Legacy);
    assert_eq!(
        (life.stage(), life.view().because),
        (CommandStage::Running, CommandCause::SentToLegacy)
    );
    life.feed(CommandEvent::LinkLost);
    life.legacy_back();
    life.run_until(secs(60));
    assert_eq!((life.sendings(), life.stage()), (1, CommandStage::Running));

    // Stored while the link was lost: sent when it is back, and not each ten seconds.
    let mut late = Life::new(Dialect::Legacy);
    late.feed(CommandEvent::LinkLost);
    late.feed(CommandEvent::Stored);
    assert_eq!(late.sendings(), 0);
    late.feed(CommandEvent::Place);
    late.legacy_back();
    late.feed(CommandEvent::Place);
    late.run_until(secs(60));
    assert_eq!(late.sendings(), 1);
    assert_eq!(late.stage(), CommandStage::Running);
}

#[test]
fn a_legacy_command_whose_server_crashed_is_not_sent_again() {
    for stage in [CommandStage::Pending, CommandStage::Queued] {
        let terms = CommandTerms::default();
        let mut life = Life::of(CommandLife::recovered(Origin::User, terms, stage, now(secs(0))));
        life.legacy_back();
        life.run_until(secs(120));
        assert_eq!((life.sendings(), life.stage()), (0, CommandStage::Unknown));
    }
}

#[test]
fn the_end_of_a_legacy_command_is_unknown_when_it_moves_on_or_falls_silent() {
    let mut next = Life::sent(Dialect::Legacy);
    next.feed(CommandEvent::NextCommand);
    assert_eq!(
        (next.stage(), next.view().because),
        (CommandStage::Unknown, CommandCause::LegacyMovedOn)
    );
    let terms = CommandTerms::default();
    let mut idle = Life::of(CommandLife::new(Dialect::Legacy, terms, true, now(secs(0))));
    idle.feed(CommandEvent::Stored);
    idle.feed(CommandEvent::Place);
    idle.run_until(secs(300));
    idle.feed(CommandEvent::Output);
    idle.run_until(secs(899));
    assert_eq!(idle.stage(), CommandStage::Running);
    idle.run_until(secs(900));
    assert_eq!(
        (idle.stage(), idle.view().because),
        (CommandStage::Unknown, CommandCause::LegacyIdle)
    );
    let mut ours = Life::running();
    ours.feed(CommandEvent::NextCommand);
    assert_eq!(ours.stage(), CommandStage::Running);
}

#[test]
fn a_cancel_of_a_legacy_command_is_never_shown_as_cancelled() {
    let mut life = Life::sent(Dialect::Legacy);
    life.feed(CommandEvent::Cancel { force: false });
    assert_eq!(life.view().because, CommandCause::CancelNotConfirmable);
    life.run_until(secs(30));
    assert_eq!((life.stage(), life.cancels()), (CommandStage::Cancelling, 1));
}

#[test]
fn commands_survive_a_restart_of_the_server() {
    let recovered = |stage| {
        Life::of(CommandLife::recovered(Origin::User, CommandTerms::default(), stage, now(secs(0))))
    };
    for stage in [
        CommandStage::Queued,
        CommandStage::Delivered,
        CommandStage::Running,
        CommandStage::Cancelling,
    ] {
        let mut life = recovered(stage);
        assert_eq!(life.view().because, CommandCause::ServerRestarted);
        life.run_until(secs(100));
        assert_eq!((life.stage(), life.sendings()), (stage, 0), "its agent is away");
        life.back(true, true);
        assert_eq!(life.stage(), stage.max(CommandStage::Delivered));
        life.complete(CommandPhase::Completed, Some(Exit::Code(0)));
        assert_eq!(life.stage(), CommandStage::Completed);
        let mut never = recovered(stage);
        never.feed(CommandEvent::AgentGone { journals: false });
        assert_eq!(never.stage(), CommandStage::Unknown);
    }
    assert_eq!(recovered(CommandStage::Pending).stage(), CommandStage::Queued, "it is stored");
    let mut queued = recovered(CommandStage::Queued);
    queued.back(true, false);
    assert_eq!((queued.stage(), queued.sendings()), (CommandStage::Queued, 0), "in the line again");
    queued.feed(CommandEvent::Place);
    assert_eq!(queued.sendings(), 1, "the agent tells repetitions");
    for stage in [
        CommandStage::Completed,
        CommandStage::Failed,
        CommandStage::Cancelled,
        CommandStage::Lost,
        CommandStage::Unknown,
    ] {
        let mut ended = recovered(stage);
        ended.feed(CommandEvent::AgentGone { journals: false });
        assert_eq!(ended.stage(), stage);
    }
}

#[test]
fn a_journal_proves_what_never_started_and_only_that_is_sent_again() {
    for stage in [CommandStage::Queued, CommandStage::Delivered] {
        let mut life = Life::sent(Dialect::Extended);
        if stage == CommandStage::Delivered {
            life.feed(CommandEvent::Acknowledged(CommandAckStatus::Queued));
        }
        life.feed(CommandEvent::LinkLost);
        life.remembers(false);
        assert_eq!((life.stage(), life.sendings()), (stage, 2));
        let mut other = Life::sent(Dialect::Extended);
        other.feed(CommandEvent::LinkLost);
        other.back(false, false);
        assert_eq!((other.stage(), other.sendings()), (CommandStage::Unknown, 1));
    }
    let mut cancelled = Life::sent(Dialect::Extended);
    cancelled.feed(CommandEvent::LinkLost);
    cancelled.feed(CommandEvent::Cancel { force: false });
    cancelled.remembers(false);
    assert_eq!(
        (cancelled.stage(), cancelled.view().because),
        (CommandStage::Cancelled, CommandCause::CancelledBeforeStart)
    );
    let mut ran = Life::running();
    ran.feed(CommandEvent::LinkLost);
    ran.remembers(false);
    assert_eq!((ran.stage(), ran.sendings()), (CommandStage::Unknown, 1));
    let mut lost = Life::running();
    lost.feed(CommandEvent::LinkLost);
    lost.remembers(true);
    lost.complete(CommandPhase::Lost, None);
    assert_eq!((lost.stage(), lost.view().because), (CommandStage::Lost, CommandCause::AgentDied));
}

#[test]
fn an_agent_with_a_journal_may_be_away_for_a_day() {
    let mut life = Life::running();
    life.feed(CommandEvent::LinkLost);
    life.feed(CommandEvent::AgentGone { journals: true });
    assert_eq!(
        (life.stage(), life.view().because),
        (CommandStage::Running, CommandCause::AgentAway)
    );
    life.run_until(secs(23 * 3600));
    let mut back = Life::of(life.machine);
    back.at = life.at;
    back.back(true, true);
    back.complete(CommandPhase::Completed, Some(Exit::Code(0)));
    assert_eq!(back.stage(), CommandStage::Completed);
    life.run_until(secs(24 * 3600));
    assert_eq!(life.stage(), CommandStage::Unknown);
}

#[test]
fn a_command_that_waits_too_long_never_starts() {
    let terms = CommandTerms { start_within: secs(60), ..CommandTerms::default() };
    let mut life = Life::of(CommandLife::new(Dialect::Extended, terms, false, now(secs(0))));
    life.feed(CommandEvent::Stored);
    assert_eq!(life.feed(CommandEvent::Place), [], "its agent is away");
    life.feed(CommandEvent::AgentGone { journals: false });
    assert_eq!(life.stage(), CommandStage::Queued, "it was never sent, so it waits on");
    life.run_until(secs(59));
    assert_eq!(life.stage(), CommandStage::Queued);
    life.run_until(secs(60));
    assert_eq!(
        (life.stage(), life.view().because),
        (CommandStage::Failed, CommandCause::NotStartedInTime(secs(60)))
    );
    assert_eq!(life.sendings(), 0);
    let mut deleted = Life::new(Dialect::Extended);
    deleted.feed(CommandEvent::Stored);
    deleted.feed(CommandEvent::AgentDeleted);
    assert_eq!(deleted.stage(), CommandStage::Failed);
}

#[test]
fn who_cancels_sees_that_until_the_end() {
    let mut life = Life::sent(Dialect::Extended);
    life.feed(CommandEvent::Cancel { force: false });
    life.feed(CommandEvent::Acknowledged(CommandAckStatus::Received));
    life.feed(CommandEvent::Acknowledged(CommandAckStatus::Executing));
    assert_eq!(
        (life.stage(), life.view().because),
        (CommandStage::Cancelling, CommandCause::CancelSent)
    );
    life.complete(CommandPhase::Cancelled, Some(Exit::Signal(15)));
    assert_eq!(life.stage(), CommandStage::Cancelled);
    let mut waiting = Life::new(Dialect::Extended);
    waiting.feed(CommandEvent::Stored);
    waiting.feed(CommandEvent::Cancel { force: false });
    assert_eq!((waiting.stage(), waiting.cancels()), (CommandStage::Cancelled, 0));
}

#[test]
fn output_proves_that_a_command_runs() {
    let mut life = Life::sent(Dialect::Extended);
    life.feed(CommandEvent::Output);
    assert_eq!((life.stage(), life.view().because), (CommandStage::Running, CommandCause::Started));
    assert_eq!(life.feed(CommandEvent::Output), []);
}
