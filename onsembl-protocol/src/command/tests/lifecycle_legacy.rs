//! The lifecycle of a command on the server, with a legacy agent, which confirms nothing; limits after a restart of
//! the server, with agents of both kinds.

use super::driven::Lifecycle;
use super::{now, secs};
use crate::command::{CommandCause, CommandEvent, CommandLifecycle, CommandStage, CommandTerms};
use crate::model::{Dialect, Force};

#[test]
fn a_legacy_agent_gets_a_command_exactly_once() {
    let mut lifecycle = Lifecycle::sent(Dialect::Legacy);
    assert_eq!(
        (lifecycle.stage(), lifecycle.view().because),
        (CommandStage::Running, CommandCause::SentToLegacy)
    );
    lifecycle.feed(CommandEvent::LinkLost);
    lifecycle.legacy_back();
    lifecycle.run_until(secs(60));
    assert_eq!((lifecycle.sendings(), lifecycle.stage()), (1, CommandStage::Running));

    // Stored while the link was lost: sent when it is back, and not each ten seconds.
    let mut late = Lifecycle::new(Dialect::Legacy);
    late.feed(CommandEvent::LinkLost);
    late.feed(CommandEvent::Stored);
    assert_eq!(late.sendings(), 0);
    late.feed(CommandEvent::SlotGranted);
    late.legacy_back();
    late.feed(CommandEvent::SlotGranted);
    late.run_until(secs(60));
    assert_eq!(late.sendings(), 1);
    assert_eq!(late.stage(), CommandStage::Running);
}

#[test]
fn a_legacy_command_whose_server_crashed_is_not_sent_again() {
    for stage in [CommandStage::Pending, CommandStage::Queued] {
        let terms = CommandTerms::default();
        let mut lifecycle = Lifecycle::recovered(terms, stage);
        lifecycle.legacy_back();
        lifecycle.run_until(secs(120));
        assert_eq!((lifecycle.sendings(), lifecycle.stage()), (0, CommandStage::Unknown));
    }
}

#[test]
fn the_end_of_a_legacy_command_is_unknown_when_it_moves_on_or_falls_silent() {
    let mut next = Lifecycle::sent(Dialect::Legacy);
    next.feed(CommandEvent::NextCommand);
    assert_eq!(
        (next.stage(), next.view().because),
        (CommandStage::Unknown, CommandCause::LegacyMovedOn)
    );
    let terms = CommandTerms::default();
    let mut idle = Lifecycle::of(CommandLifecycle::new(Dialect::Legacy, terms, true, now(secs(0))));
    idle.feed(CommandEvent::Stored);
    idle.feed(CommandEvent::SlotGranted);
    idle.run_until(secs(300));
    idle.feed(CommandEvent::Output);
    idle.run_until(secs(899));
    assert_eq!(idle.stage(), CommandStage::Running);
    idle.run_until(secs(900));
    assert_eq!(
        (idle.stage(), idle.view().because),
        (CommandStage::Unknown, CommandCause::LegacyIdle)
    );
    let mut ours = Lifecycle::running();
    ours.feed(CommandEvent::NextCommand);
    assert_eq!(ours.stage(), CommandStage::Running);
}

#[test]
fn a_cancel_of_a_legacy_command_is_never_shown_as_cancelled() {
    let mut lifecycle = Lifecycle::sent(Dialect::Legacy);
    lifecycle.feed(CommandEvent::Cancel { force: Force::Grace });
    assert_eq!(lifecycle.view().because, CommandCause::CancelNotConfirmable);
    lifecycle.run_until(secs(30));
    assert_eq!((lifecycle.stage(), lifecycle.cancels()), (CommandStage::Cancelling, 1));
}

#[test]
fn limits_are_armed_again_after_a_restart_of_the_server() {
    let terms = CommandTerms { time_limit: Some(secs(60)), ..CommandTerms::default() };
    // The full 60 s again, since only the wall clock knows how much of them has passed, and 5 s of grace.
    let recovered = || Lifecycle::recovered(terms, CommandStage::Running);
    let mut ours = recovered();
    ours.back(true, true);
    ours.run_until(secs(64));
    assert_eq!((ours.stage(), ours.cancels()), (CommandStage::Running, 0));
    ours.run_until(secs(65));
    assert_eq!((ours.stage(), ours.cancels()), (CommandStage::Cancelling, 1));
    assert_eq!(ours.view().because, CommandCause::TimeLimit(secs(60)));
    // One whose agent is away is cancelled when that is back.
    let mut late = recovered();
    late.run_until(secs(100));
    assert_eq!(late.cancels(), 0);
    late.back(true, true);
    late.run_until(secs(106));
    assert!(late.cancels() > 0);
    for stage in [CommandStage::Running, CommandStage::Cancelling] {
        let mut silent = Lifecycle::recovered(terms, stage);
        silent.at = secs(5);
        silent.legacy_back();
        silent.run_until(secs(604));
        assert_eq!(silent.stage(), CommandStage::Cancelling, "{stage:?}");
        silent.run_until(secs(605));
        assert_eq!(
            (silent.stage(), silent.view().because),
            (CommandStage::Unknown, CommandCause::LegacyIdle),
            "{stage:?}"
        );
    }
}

#[test]
fn why_a_legacy_command_is_where_it_is_follows_its_link_and_its_output() {
    let mut lifecycle = Lifecycle::sent(Dialect::Legacy);
    let because = |lifecycle: &Lifecycle| lifecycle.view().because;
    lifecycle.feed(CommandEvent::LinkLost);
    assert_eq!(because(&lifecycle), CommandCause::LinkLost);
    lifecycle.legacy_back();
    assert_eq!(because(&lifecycle), CommandCause::LegacyBack);
    let said = lifecycle.feed(CommandEvent::Output);
    assert_eq!((because(&lifecycle), said.len()), (CommandCause::SentToLegacy, 1));
    assert_eq!(lifecycle.feed(CommandEvent::Output), [], "said once");
    lifecycle.feed(CommandEvent::Cancel { force: Force::Grace });
    lifecycle.feed(CommandEvent::LinkLost);
    lifecycle.legacy_back();
    assert_eq!(because(&lifecycle), CommandCause::CancelNotConfirmable);
    let mut restarted = Lifecycle::recovered(CommandTerms::default(), CommandStage::Running);
    restarted.legacy_back();
    assert_eq!(because(&restarted), CommandCause::LegacyBack);
    restarted.feed(CommandEvent::Output);
    assert_eq!(because(&restarted), CommandCause::SentToLegacy);
}

#[test]
fn a_time_limit_says_of_a_legacy_command_only_what_is_known() {
    let mut lifecycle = Lifecycle::sent(Dialect::Legacy);
    lifecycle.run_until(secs(65));
    assert_eq!(lifecycle.view().because, CommandCause::LegacyTimeLimit(secs(60)));
    let mut cancelled = Lifecycle::sent(Dialect::Legacy);
    cancelled.feed(CommandEvent::Cancel { force: Force::Grace });
    cancelled.run_until(secs(65));
    assert_eq!(cancelled.view().because, CommandCause::CancelNotConfirmable);
    assert_eq!((cancelled.stage(), cancelled.cancels()), (CommandStage::Cancelling, 2));
}
