//! The lifecycle of a command on the server, with an agent of ours.

use super::driven::Lifecycle;
use super::{now, secs};
use crate::command::{
    CommandAction, CommandCause, CommandEvent, CommandLifecycle, CommandStage, CommandTerms, Exit,
    Returned,
};
use crate::model::{CommandAckStatus, CommandPhase, Dialect, Force};
use crate::time::Deadline;
use std::time::Duration;

#[test]
fn a_command_is_stored_sent_acknowledged_run_and_ended() {
    let mut lifecycle = Lifecycle::new(Dialect::Extended);
    assert_eq!(lifecycle.stage(), CommandStage::Pending);
    assert!(matches!(lifecycle.feed(CommandEvent::Stored)[..], [CommandAction::Publish(_)]));
    assert_eq!(
        (lifecycle.stage(), lifecycle.view().because),
        (CommandStage::Queued, CommandCause::Waits)
    );
    assert_eq!(lifecycle.feed(CommandEvent::SlotGranted), [CommandAction::Send]);
    assert_eq!(lifecycle.sendings(), 1);
    lifecycle.feed(CommandEvent::Acknowledged(CommandAckStatus::Received));
    assert_eq!(lifecycle.stage(), CommandStage::Delivered);
    lifecycle.at = secs(2);
    lifecycle.feed(CommandEvent::Acknowledged(CommandAckStatus::Executing));
    assert_eq!(
        (lifecycle.stage(), lifecycle.view().started_at),
        (CommandStage::Running, Some(now(secs(2)).wall))
    );
    lifecycle.at = secs(5);
    lifecycle.complete(CommandPhase::Completed, Some(Exit::Code(0)));
    assert_eq!(
        (lifecycle.stage(), lifecycle.view().ended_at),
        (CommandStage::Completed, Some(now(secs(5)).wall))
    );
    assert_eq!(lifecycle.machine.deadline(), Deadline::Never);
}

#[test]
fn a_queued_command_says_whether_it_waits_for_its_agent_or_for_a_slot() {
    let terms = CommandTerms::default();
    let away = CommandLifecycle::new(Dialect::Extended, terms, false, now(Duration::ZERO));
    let mut lifecycle = Lifecycle::of(away);
    lifecycle.feed(CommandEvent::Stored);
    assert_eq!(lifecycle.view().because, CommandCause::WaitsForAgent);
    let back = || {
        CommandEvent::LinkBack(Returned {
            dialect: Dialect::Extended,
            same_process: true,
            remembers: true,
            known: false,
        })
    };
    assert!(matches!(lifecycle.feed(back())[..], [CommandAction::Publish(_)]));
    assert_eq!(lifecycle.view().because, CommandCause::Waits);
    // The reason still holds after another disconnect, and is not published again for each waiting command.
    assert_eq!(lifecycle.feed(CommandEvent::LinkLost), []);
    assert_eq!(lifecycle.feed(back()), []);
    assert_eq!(lifecycle.feed(CommandEvent::SlotGranted), [CommandAction::Send]);
}

#[test]
fn what_the_store_does_not_take_never_goes_out() {
    let mut slow = Lifecycle::new(Dialect::Extended);
    slow.run_until(secs(30));
    assert_eq!(
        (slow.stage(), slow.view().because, slow.sendings()),
        (CommandStage::Failed, CommandCause::NotStored, 0)
    );
    assert_eq!(slow.feed(CommandEvent::Stored), [], "too late");
}

#[test]
fn a_command_that_is_not_acknowledged_is_sent_again_and_given_up_in_the_end() {
    let mut lifecycle = Lifecycle::sent(Dialect::Extended);
    lifecycle.run_until(secs(600));
    assert_eq!(lifecycle.sendings(), 6);
    assert_eq!(
        (lifecycle.stage(), lifecycle.view().because),
        (CommandStage::Unknown, CommandCause::NeverAcknowledged)
    );
    let mut acknowledged = Lifecycle::sent(Dialect::Extended);
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
        let mut lifecycle = Lifecycle::running();
        lifecycle.complete(phase.clone(), exit);
        assert_eq!((lifecycle.stage(), lifecycle.view().exit), (stage, exit), "{phase:?} {exit:?}");
    }
}

#[test]
fn an_end_is_final() {
    let mut lifecycle = Lifecycle::running();
    lifecycle.complete(CommandPhase::Failed, Some(Exit::Code(1)));
    let before = lifecycle.view();
    for event in [
        CommandEvent::Stored,
        CommandEvent::Acknowledged(CommandAckStatus::Executing),
        CommandEvent::Output,
        CommandEvent::Completed { phase: CommandPhase::Completed, exit: Some(Exit::Code(0)) },
        CommandEvent::Cancel { force: Force::AtOnce },
        CommandEvent::LinkLost,
        CommandEvent::LinkHandedOver,
        CommandEvent::SlotGranted,
        CommandEvent::LinkBack(Returned {
            dialect: Dialect::Extended,
            same_process: true,
            remembers: true,
            known: false,
        }),
        CommandEvent::AgentLost { journals: true },
        CommandEvent::AgentDeleted,
        CommandEvent::Wake,
    ] {
        assert_eq!(lifecycle.feed(event.clone()), [], "{event:?}");
        assert_eq!(lifecycle.view(), before, "{event:?}");
    }
}

#[test]
fn a_cancel_is_repeated_until_the_agent_says_that_the_process_is_gone() {
    let mut lifecycle = Lifecycle::running();
    lifecycle.feed(CommandEvent::Cancel { force: Force::Grace });
    assert_eq!(
        (lifecycle.stage(), lifecycle.view().because),
        (CommandStage::Cancelling, CommandCause::CancelSent)
    );
    lifecycle.run_until(secs(21));
    assert_eq!(lifecycle.cancels(), 5, "at once and each five seconds");
    lifecycle.complete(CommandPhase::Cancelled, Some(Exit::Signal(15)));
    assert_eq!(lifecycle.stage(), CommandStage::Cancelled);
    lifecycle.run_until(secs(100));
    assert_eq!(lifecycle.cancels(), 5);
}

#[test]
fn a_cancel_that_nobody_confirms_stays_cancelling_and_says_so() {
    let terms = CommandTerms::default();
    let mut lifecycle =
        Lifecycle::of(CommandLifecycle::new(Dialect::Extended, terms, true, now(Duration::ZERO)));
    for event in [
        CommandEvent::Stored,
        CommandEvent::SlotGranted,
        CommandEvent::Acknowledged(CommandAckStatus::Executing),
        CommandEvent::Cancel { force: Force::Grace },
    ] {
        lifecycle.feed(event);
    }
    lifecycle.run_until(secs(9));
    assert_eq!(lifecycle.view().because, CommandCause::CancelSent);
    lifecycle.run_until(secs(3600));
    let unconfirmed = (CommandStage::Cancelling, CommandCause::CancelUnconfirmed);
    assert_eq!((lifecycle.stage(), lifecycle.view().because), unconfirmed);
    assert!(lifecycle.stage().occupies_slot(), "what may run is counted");
    let shown = |lifecycle: &Lifecycle| {
        let says = |a: &&CommandAction| matches!(a, CommandAction::Publish(v) if v.because == CommandCause::CancelUnconfirmed);
        lifecycle.log.iter().filter(says).count()
    };
    assert_eq!(shown(&lifecycle), 1, "it is told once, not with each repetition");
    // A link that comes back restarts the wait.
    lifecycle.feed(CommandEvent::LinkLost);
    lifecycle.back(true, true);
    assert_eq!(
        (lifecycle.stage(), lifecycle.view().because),
        (CommandStage::Cancelling, CommandCause::LinkBack)
    );
    lifecycle.run_until(secs(3620));
    assert_eq!(
        (lifecycle.stage(), lifecycle.view().because, shown(&lifecycle)),
        (unconfirmed.0, unconfirmed.1, 2)
    );
    lifecycle.complete(CommandPhase::Cancelled, Some(Exit::Signal(9)));
    assert_eq!(lifecycle.stage(), CommandStage::Cancelled);
}

#[test]
fn a_cancel_waits_for_a_lost_link() {
    let mut lifecycle = Lifecycle::running();
    lifecycle.feed(CommandEvent::LinkLost);
    lifecycle.feed(CommandEvent::Cancel { force: Force::AtOnce });
    lifecycle.run_until(secs(30));
    assert_eq!(lifecycle.cancels(), 0);
    lifecycle.back(true, true);
    lifecycle.run_until(secs(30));
    assert_eq!(lifecycle.log.last(), Some(&CommandAction::SendCancel { force: Force::AtOnce }));
}

#[test]
fn a_command_that_is_cancelled_before_it_is_sent_never_runs() {
    let mut lifecycle = Lifecycle::new(Dialect::Extended);
    lifecycle.feed(CommandEvent::Cancel { force: Force::Grace });
    lifecycle.feed(CommandEvent::Stored);
    assert_eq!(
        (lifecycle.stage(), lifecycle.sendings(), lifecycle.cancels()),
        (CommandStage::Cancelled, 0, 0)
    );
    assert_eq!(lifecycle.view().because, CommandCause::CancelledBeforeSent);
}

#[test]
fn a_time_limit_that_the_agent_overruns_is_cancelled_by_force() {
    let mut lifecycle = Lifecycle::running();
    lifecycle.run_until(secs(64));
    assert_eq!(lifecycle.cancels(), 0, "the agent itself ends it at 60 s");
    lifecycle.run_until(secs(65));
    assert_eq!(
        lifecycle
            .log
            .iter()
            .filter(|a| **a == CommandAction::SendCancel { force: Force::AtOnce })
            .count(),
        1
    );
    assert_eq!(lifecycle.stage(), CommandStage::Cancelling, "until the agent confirms");
}

#[test]
fn a_lost_link_ends_nothing() {
    let mut lifecycle = Lifecycle::running();
    lifecycle.feed(CommandEvent::LinkLost);
    assert_eq!(
        (lifecycle.stage(), lifecycle.view().because),
        (CommandStage::Running, CommandCause::LinkLost)
    );
    lifecycle.run_until(secs(40));
    lifecycle.back(true, true);
    assert_eq!(
        (lifecycle.stage(), lifecycle.view().because),
        (CommandStage::Running, CommandCause::LinkBack)
    );
    lifecycle.complete(CommandPhase::Completed, Some(Exit::Code(0)));
    assert_eq!(lifecycle.stage(), CommandStage::Completed);
}

#[test]
fn a_link_that_is_handed_over_is_not_spoken_of_unless_the_next_one_does_not_come() {
    let mut lifecycle = Lifecycle::running();
    let before = lifecycle.view();
    lifecycle.feed(CommandEvent::LinkHandedOver);
    lifecycle.run_until(secs(9));
    lifecycle.back(true, true);
    assert_eq!(lifecycle.view(), before, "nobody has noticed anything");
    lifecycle.run_until(secs(30));
    assert_eq!(lifecycle.view(), before);

    lifecycle.feed(CommandEvent::LinkHandedOver);
    lifecycle.run_until(secs(41));
    let lost = (CommandStage::Running, CommandCause::LinkLost);
    assert_eq!((lifecycle.stage(), lifecycle.view().because), lost);
    lifecycle.back(true, true);
    assert_eq!(lifecycle.view().because, CommandCause::LinkBack);

    lifecycle.feed(CommandEvent::LinkHandedOver);
    lifecycle.feed(CommandEvent::LinkLost);
    assert_eq!((lifecycle.stage(), lifecycle.view().because), lost, "it is lost at once");
}

#[test]
fn an_agent_that_does_not_know_a_command_any_more_leaves_its_end_unknown() {
    for (same_process, cause) in
        [(true, CommandCause::Forgotten), (false, CommandCause::AgentRestarted)]
    {
        let mut lifecycle = Lifecycle::running();
        lifecycle.feed(CommandEvent::LinkLost);
        lifecycle.back(same_process, false);
        assert_eq!((lifecycle.stage(), lifecycle.view().because), (CommandStage::Unknown, cause));
    }
    let mut lost = Lifecycle::running();
    lost.feed(CommandEvent::LinkLost);
    lost.feed(CommandEvent::AgentLost { journals: false });
    assert_eq!(lost.stage(), CommandStage::Unknown);
}

#[test]
fn a_request_that_the_same_process_never_got_is_sent_again() {
    let mut lifecycle = Lifecycle::sent(Dialect::Extended);
    lifecycle.feed(CommandEvent::LinkLost);
    lifecycle.run_until(secs(100));
    assert_eq!(lifecycle.sendings(), 1, "nothing is sent into a lost link");
    lifecycle.back(true, false);
    assert_eq!(lifecycle.sendings(), 2);
}

#[test]
fn commands_survive_a_restart_of_the_server() {
    let recovered = |stage| Lifecycle::recovered(CommandTerms::default(), stage);
    for stage in [
        CommandStage::Queued,
        CommandStage::Delivered,
        CommandStage::Running,
        CommandStage::Cancelling,
    ] {
        let mut lifecycle = recovered(stage);
        assert_eq!(lifecycle.view().because, CommandCause::ServerRestarted);
        lifecycle.run_until(secs(100));
        assert_eq!((lifecycle.stage(), lifecycle.sendings()), (stage, 0), "its agent is away");
        lifecycle.back(true, true);
        assert_eq!(lifecycle.stage(), stage.max(CommandStage::Delivered));
        lifecycle.complete(CommandPhase::Completed, Some(Exit::Code(0)));
        assert_eq!(lifecycle.stage(), CommandStage::Completed);
        let mut never = recovered(stage);
        never.feed(CommandEvent::AgentLost { journals: false });
        assert_eq!(never.stage(), CommandStage::Unknown);
    }
    assert_eq!(recovered(CommandStage::Pending).stage(), CommandStage::Queued, "it is stored");
    let mut queued = recovered(CommandStage::Queued);
    queued.back(true, false);
    assert_eq!((queued.stage(), queued.sendings()), (CommandStage::Queued, 0), "in the line again");
    queued.feed(CommandEvent::SlotGranted);
    assert_eq!(queued.sendings(), 1, "the agent tells repetitions");
    for stage in [
        CommandStage::Completed,
        CommandStage::Failed,
        CommandStage::Cancelled,
        CommandStage::Lost,
        CommandStage::Unknown,
    ] {
        let mut ended = recovered(stage);
        ended.feed(CommandEvent::AgentLost { journals: false });
        assert_eq!(ended.stage(), stage);
    }
}

#[test]
fn a_journal_proves_what_never_started_and_only_that_is_sent_again() {
    for stage in [CommandStage::Queued, CommandStage::Delivered] {
        let mut lifecycle = Lifecycle::sent(Dialect::Extended);
        if stage == CommandStage::Delivered {
            lifecycle.feed(CommandEvent::Acknowledged(CommandAckStatus::Queued));
        }
        lifecycle.feed(CommandEvent::LinkLost);
        lifecycle.remembers(false);
        assert_eq!((lifecycle.stage(), lifecycle.sendings()), (stage, 2));
        let mut other = Lifecycle::sent(Dialect::Extended);
        other.feed(CommandEvent::LinkLost);
        other.back(false, false);
        assert_eq!((other.stage(), other.sendings()), (CommandStage::Unknown, 1));
    }
    let mut cancelled = Lifecycle::sent(Dialect::Extended);
    cancelled.feed(CommandEvent::LinkLost);
    cancelled.feed(CommandEvent::Cancel { force: Force::Grace });
    cancelled.remembers(false);
    assert_eq!(
        (cancelled.stage(), cancelled.view().because),
        (CommandStage::Cancelled, CommandCause::CancelledBeforeStart)
    );
    let mut ran = Lifecycle::running();
    ran.feed(CommandEvent::LinkLost);
    ran.remembers(false);
    assert_eq!((ran.stage(), ran.sendings()), (CommandStage::Unknown, 1));
    let mut lost = Lifecycle::running();
    lost.feed(CommandEvent::LinkLost);
    lost.remembers(true);
    lost.complete(CommandPhase::Lost, None);
    assert_eq!((lost.stage(), lost.view().because), (CommandStage::Lost, CommandCause::AgentDied));
}

#[test]
fn an_agent_with_a_journal_may_be_away_for_a_day() {
    let mut lifecycle = Lifecycle::running();
    lifecycle.feed(CommandEvent::LinkLost);
    lifecycle.feed(CommandEvent::AgentLost { journals: true });
    assert_eq!(
        (lifecycle.stage(), lifecycle.view().because),
        (CommandStage::Running, CommandCause::AgentAway)
    );
    lifecycle.run_until(secs(23 * 3600));
    let mut back = Lifecycle::of(lifecycle.machine);
    back.at = lifecycle.at;
    back.back(true, true);
    back.complete(CommandPhase::Completed, Some(Exit::Code(0)));
    assert_eq!(back.stage(), CommandStage::Completed);
    lifecycle.run_until(secs(24 * 3600));
    assert_eq!(lifecycle.stage(), CommandStage::Unknown);
}

#[test]
fn a_command_that_waits_too_long_never_starts() {
    let terms = CommandTerms { start_within: secs(60), ..CommandTerms::default() };
    let mut lifecycle =
        Lifecycle::of(CommandLifecycle::new(Dialect::Extended, terms, false, now(secs(0))));
    lifecycle.feed(CommandEvent::Stored);
    assert_eq!(lifecycle.feed(CommandEvent::SlotGranted), [], "its agent is away");
    lifecycle.feed(CommandEvent::AgentLost { journals: false });
    assert_eq!(lifecycle.stage(), CommandStage::Queued, "it was never sent, so it waits on");
    lifecycle.run_until(secs(59));
    assert_eq!(lifecycle.stage(), CommandStage::Queued);
    lifecycle.run_until(secs(60));
    assert_eq!(
        (lifecycle.stage(), lifecycle.view().because),
        (CommandStage::Failed, CommandCause::NotStartedInTime(secs(60)))
    );
    assert_eq!(lifecycle.sendings(), 0);
    let mut deleted = Lifecycle::new(Dialect::Extended);
    deleted.feed(CommandEvent::Stored);
    deleted.feed(CommandEvent::AgentDeleted);
    assert_eq!(deleted.stage(), CommandStage::Failed);
}

#[test]
fn who_cancels_sees_that_until_the_end() {
    let mut lifecycle = Lifecycle::sent(Dialect::Extended);
    lifecycle.feed(CommandEvent::Cancel { force: Force::Grace });
    lifecycle.feed(CommandEvent::Acknowledged(CommandAckStatus::Received));
    lifecycle.feed(CommandEvent::Acknowledged(CommandAckStatus::Executing));
    assert_eq!(
        (lifecycle.stage(), lifecycle.view().because),
        (CommandStage::Cancelling, CommandCause::CancelSent)
    );
    lifecycle.complete(CommandPhase::Cancelled, Some(Exit::Signal(15)));
    assert_eq!(lifecycle.stage(), CommandStage::Cancelled);
    let mut waiting = Lifecycle::new(Dialect::Extended);
    waiting.feed(CommandEvent::Stored);
    waiting.feed(CommandEvent::Cancel { force: Force::Grace });
    assert_eq!((waiting.stage(), waiting.cancels()), (CommandStage::Cancelled, 0));
}

#[test]
fn output_proves_that_a_command_runs() {
    let mut lifecycle = Lifecycle::sent(Dialect::Extended);
    lifecycle.feed(CommandEvent::Output);
    assert_eq!(
        (lifecycle.stage(), lifecycle.view().because),
        (CommandStage::Running, CommandCause::Started)
    );
    assert_eq!(lifecycle.feed(CommandEvent::Output), []);
}
