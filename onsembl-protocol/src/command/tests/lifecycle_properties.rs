//! What always holds of a command's lifecycle, for random events.

use super::{ms, now};
use crate::command::{
    CommandAction, CommandEvent, CommandLifecycle, CommandOrigin, CommandStage, CommandTerms,
    CommandView, Exit, Returned,
};
use crate::model::{CommandAckStatus, CommandPhase};
use crate::model::{Dialect, Force};
use crate::time::Deadline;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use std::prelude::rust_2024::*;

fn event(dialect: Dialect) -> impl Strategy<Value = CommandEvent> {
    let acks = vec![
        CommandAckStatus::Received,
        CommandAckStatus::Queued,
        CommandAckStatus::Executing,
        CommandAckStatus::Unknown("LATER".into()),
    ];
    let ends = vec![
        (CommandPhase::Completed, Some(Exit::Code(0))),
        (CommandPhase::Failed, Some(Exit::Signal(9))),
        (CommandPhase::Cancelled, None),
        (CommandPhase::Lost, None),
    ];
    prop_oneof![
        8 => Just(CommandEvent::Stored),
        8 => select(acks).prop_map(CommandEvent::Acknowledged),
        8 => Just(CommandEvent::Output),
        1 => select(ends).prop_map(|(phase, exit)| CommandEvent::Completed { phase, exit }),
        4 => any::<bool>().prop_map(|force| CommandEvent::Cancel { force: Force::of(force) }),
        8 => Just(CommandEvent::LinkLost),
        4 => Just(CommandEvent::LinkHandedOver),
        8 => any::<(bool, bool, bool)>().prop_map(move |(same_process, remembers, known)| {
            let known = known && dialect == Dialect::Extended;
            CommandEvent::LinkBack(Returned { dialect, same_process, remembers, known })
        }),
        12 => Just(CommandEvent::SlotGranted),
        1 => any::<bool>().prop_map(|journals| CommandEvent::AgentLost { journals }),
        1 => Just(CommandEvent::AgentDeleted),
        2 => Just(CommandEvent::NextCommand),
        16 => Just(CommandEvent::Wake),
    ]
}

/// Stages only go forward; "cancelled" and the like are all behind "cancelling".
fn rank(stage: CommandStage) -> u8 {
    match stage {
        CommandStage::Pending => 0,
        CommandStage::Queued => 1,
        CommandStage::Delivered => 2,
        CommandStage::Running => 3,
        CommandStage::Cancelling => 4,
        CommandStage::Completed
        | CommandStage::Failed
        | CommandStage::Cancelled
        | CommandStage::Lost
        | CommandStage::Unknown => 5,
    }
}

fn walk(
    lifecycle: &mut CommandLifecycle,
    dialect: Dialect,
    moves: Vec<(u64, bool, CommandEvent)>,
) -> Result<(), TestCaseError> {
    let (mut at, mut sent, mut stored, mut asked, mut confirmed) = (0u64, 0, false, false, false);
    let fresh = lifecycle.view().status == CommandStage::Pending;
    for (gap, to_deadline, event) in moves {
        at = match lifecycle.deadline() {
            Deadline::At(due) if to_deadline => at.max(due.since_origin().as_millis() as u64 + 1),
            Deadline::At(_) | Deadline::Never => at + gap,
        };
        let before: CommandView = lifecycle.view();
        stored |= event == CommandEvent::Stored;
        asked |= matches!(event, CommandEvent::Cancel { .. });
        confirmed |=
            matches!(event, CommandEvent::Completed { phase: CommandPhase::Cancelled, .. });
        let step = lifecycle.handle(event.clone(), now(ms(at)));
        let after = lifecycle.view();
        let context = format!("{event:?} at {at}: {before:?} -> {after:?} {:?}", step.actions);

        prop_assert!(rank(after.status) >= rank(before.status), "backwards: {}", context);
        if before.status.is_final() {
            prop_assert_eq!(before, after, "an end is final: {}", context);
            prop_assert!(step.actions.is_empty(), "{}", context);
        }
        if after.status.is_final() {
            prop_assert_eq!(step.deadline, Deadline::Never, "{}", context);
            prop_assert_eq!(after.ended_at.is_some(), true, "{}", context);
        }
        if let Deadline::At(due) = step.deadline {
            prop_assert!(due > now(ms(at)).monotonic, "{}", context);
        }
        let published = step.actions.iter().filter(|a| matches!(a, CommandAction::Publish(_)));
        let published: Vec<_> = published.collect();
        prop_assert!(published.len() <= 1, "{}", context);
        if before != after {
            prop_assert_eq!(published, vec![CommandAction::Publish(after)], "{}", context);
        }
        // Shown as cancelled only when the agent confirmed it, or it never went out, or a journal
        // proves that it never began.
        let proves = matches!(
            event,
            CommandEvent::LinkBack(r) if (r.remembers || r.same_process) && !r.known
        );
        if after.status == CommandStage::Cancelled && before.status != after.status {
            prop_assert!(confirmed || (asked && (sent == 0 || proves)), "{}", context);
        }
        // Once it runs, nothing sends it again.
        let sends = step.actions.iter().any(|a| a == CommandAction::Send);
        prop_assert!(!sends || before.started_at.is_none(), "{}", context);
        sent += step.actions.iter().filter(|a| *a == CommandAction::Send).count();
        prop_assert!(sent == 0 || stored || !fresh, "sent before it was durable: {}", context);
        if dialect == Dialect::Legacy {
            prop_assert!(sent <= 1, "a legacy agent runs whatever comes: {}", context);
        }
    }
    Ok(())
}

fn moves(dialect: Dialect) -> impl Strategy<Value = Vec<(u64, bool, CommandEvent)>> {
    vec((0u64..20_000, any::<bool>(), event(dialect)), 1..200)
}

fn dialect() -> impl Strategy<Value = Dialect> {
    select(vec![Dialect::Extended, Dialect::Legacy])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..Default::default() })]

    #[test]
    fn a_life_goes_forward_and_ends_once(
        dialect in dialect(),
        limit in proptest::option::of(1u64..100_000),
        linked in any::<bool>(),
        (of_ours, of_legacy) in (moves(Dialect::Extended), moves(Dialect::Legacy)),
    ) {
        let terms = CommandTerms { time_limit: limit.map(ms), ..CommandTerms::default() };
        let mut lifecycle = CommandLifecycle::new(dialect, terms, linked, now(ms(0)));
        let moves = if dialect == Dialect::Extended { of_ours } else { of_legacy };
        walk(&mut lifecycle, dialect, moves)?;
    }

    #[test]
    fn so_does_one_that_was_recovered(
        dialect in dialect(),
        stage in select(vec![
            CommandStage::Queued,
            CommandStage::Delivered,
            CommandStage::Running,
            CommandStage::Cancelling,
        ]),
        (of_ours, of_legacy) in (moves(Dialect::Extended), moves(Dialect::Legacy)),
    ) {
        let mut lifecycle = CommandLifecycle::recovered(CommandOrigin::User, CommandTerms::default(), stage, now(ms(0)));
        let moves = if dialect == Dialect::Extended { of_ours } else { of_legacy };
        walk(&mut lifecycle, dialect, moves)?;
    }
}
