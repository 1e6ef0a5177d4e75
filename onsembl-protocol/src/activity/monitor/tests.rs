use super::super::config::Meaning;
use super::super::fact::{Call, ToolUser};
use super::super::hook::HookEvent;
use super::super::stream::StreamFormat;
use super::*;
use crate::model::QuestionKind;
use alloc::collections::BTreeSet;
use alloc::string::ToString;
use alloc::vec;
use proptest::prelude::*;
use serde_json::Value;

const HOOK: ActivityLane = ActivityLane::Hook;

fn at(ms: u64) -> Timestamp {
    Timestamp::from_origin(Duration::from_millis(100_000 + ms))
}

fn monitor() -> ActivityMonitor {
    let config = ActivityConfig { choices: vec!["yes".into(), "no".into()], ..Default::default() };
    ActivityMonitor::new(config, at(0))
}

#[allow(clippy::needless_pass_by_value, reason = "tests name facts")]
fn hook(monitor: &mut ActivityMonitor, fact: Fact, ms: u64) {
    assert_eq!(monitor.on_fact(HOOK, &fact, Duration::ZERO, at(ms)), Taken::Yes);
}

fn state(monitor: &ActivityMonitor, ms: u64) -> ActivityState {
    monitor.now(at(ms)).state
}

/// Hands in a recorded trace, a second between its lines, and gives the state after each.
fn replay(trace: &str) -> Vec<ActivityState> {
    let mut monitor = monitor();
    let mut states = Vec::new();
    for (n, line) in trace.lines().enumerate() {
        let (event, input) = line.split_once(' ').unwrap();
        let input: Value = serde_json::from_str(input).unwrap();
        let now = n as u64 * 1000;
        if states.last() == Some(&ActivityState::Asking) {
            // A person answered, which is in no trace of hooks.
            monitor.on_input(Input::Key, at(now));
        }
        if let Some(fact) = HookEvent::parse(event).unwrap().fact(&input) {
            hook(&mut monitor, fact, now);
        }
        states.push(state(&monitor, now));
    }
    states
}

#[test]
fn a_recorded_session_of_claude_code() {
    use ActivityState::{Asking, Waiting, Working};
    let trace = include_str!("../traces/claude-hooks.txt");
    assert_eq!(
        replay(trace),
        [Waiting, Working, Waiting, Working, Working, Asking, Working, Working, Waiting]
    );
    let mut monitor = monitor();
    for line in trace.lines().take(6) {
        let (event, input) = line.split_once(' ').unwrap();
        let input: Value = serde_json::from_str(input).unwrap();
        hook(&mut monitor, HookEvent::parse(event).unwrap().fact(&input).unwrap(), 0);
    }
    let asked = monitor.now(at(0)).question.unwrap();
    assert_eq!(asked.to_string(), "Allow Bash(rm -rf build)? [yes, no]");
    // It was refused by Escape, of which no hook told.
    monitor.on_input(Input::Interrupts, at(1000));
    assert_eq!(state(&monitor, 1000), ActivityState::Quiet);
}

#[test]
fn a_session_of_gemini_cli() {
    use ActivityState::{Asking, Quiet, Waiting, Working};
    let states = replay(include_str!("../traces/gemini-hooks.txt"));
    assert_eq!(states, [Waiting, Working, Asking, Waiting, Quiet]);
}

#[test]
fn recorded_streams_work_until_their_result_and_never_wait_for_a_prompt() {
    for (format, stream) in [
        (StreamFormat::Claude, include_str!("../traces/claude-stream.jsonl")),
        (StreamFormat::Codex, include_str!("../traces/codex-stream.jsonl")),
        (StreamFormat::Gemini, include_str!("../traces/gemini-stream.jsonl")),
    ] {
        for piece in [1, 7, 4096] {
            let config = ActivityConfig { stream: Some(format), ..Default::default() };
            let mut monitor = ActivityMonitor::new(config, at(0));
            let mut states = vec![];
            for bytes in stream.as_bytes().chunks(piece) {
                assert_eq!(monitor.on_piped_output(bytes, at(0)), Taken::Yes);
                let now = state(&monitor, 0);
                if states.last() != Some(&now) {
                    states.push(now);
                }
            }
            assert!(states.ends_with(&[ActivityState::Writing]), "{format:?} {states:?}");
            let worked = states.contains(&ActivityState::Working) || piece == 4096;
            assert!(worked && monitor.has_spoken(), "{format:?} {states:?}");
            assert!(!states.contains(&ActivityState::Waiting), "{format:?} {states:?}");
        }
    }
}

#[test]
fn without_facts_it_only_writes_or_is_quiet() {
    let mut monitor = monitor();
    assert_eq!(monitor.now(at(40_000)).since, at(0));
    assert_eq!(state(&monitor, 40_000), ActivityState::Quiet);
    let _ = monitor.on_terminal_output(b"Waiting for your input. Allow? [y/n] > ", at(50_000));
    assert_eq!(state(&monitor, 59_999), ActivityState::Writing);
    assert_eq!(state(&monitor, 60_000), ActivityState::Quiet);
    assert_eq!(monitor.now(at(90_000)).since, at(50_000));
    assert!(!monitor.has_spoken());
}

#[test]
fn marks_of_a_shell() {
    let mut monitor = monitor();
    let mut wrote = |bytes: &[u8], ms| {
        let _ = monitor.on_terminal_output(bytes, at(ms));
        state(&monitor, ms)
    };
    assert_eq!(wrote(b"\x1b]133;A\x07$ ", 0), ActivityState::Waiting);
    assert_eq!(wrote(b"\x1b]133;C\x07", 100), ActivityState::Working);
    assert_eq!(wrote(b"output\x07", 200), ActivityState::Working);
    assert_eq!(wrote(b"\x1b]133;D;0\x07\x1b]133;A\x07$ ", 300), ActivityState::Waiting);
}

#[test]
fn a_signal_means_what_the_kind_of_program_says() {
    let rung = |bell| {
        let config = ActivityConfig { bell, notification: Meaning::Asks, ..Default::default() };
        let mut monitor = ActivityMonitor::new(config, at(0));
        let _ = monitor.on_terminal_output(b"\x07", at(0));
        state(&monitor, 0)
    };
    assert_eq!(rung(Meaning::Nothing), ActivityState::Writing);
    assert_eq!(rung(Meaning::Waits), ActivityState::Waiting);
    assert_eq!(rung(Meaning::Asks), ActivityState::Asking);
    let config = ActivityConfig { notification: Meaning::Asks, ..Default::default() };
    let mut monitor = ActivityMonitor::new(config, at(0));
    let _ = monitor.on_terminal_output(b"\x1b]9;Approval requested: rm\x07", at(0));
    assert_eq!(monitor.now(at(0)).question.unwrap().title, "Approval requested: rm");
}

#[test]
fn a_fact_of_an_earlier_turn_does_not_survive_the_next() {
    let mut monitor = monitor();
    hook(&mut monitor, Fact::TurnEnded, 0);
    assert_eq!(state(&monitor, 0), ActivityState::Waiting);
    monitor.on_input(Input::Submits, at(1000));
    assert_eq!(state(&monitor, 1000), ActivityState::Quiet);
    // The hook of the turn before was slow.
    let late = monitor.on_fact(HOOK, &Fact::TurnEnded, Duration::from_millis(200), at(1100));
    assert_eq!((late, state(&monitor, 1100)), (Taken::Yes, ActivityState::Quiet));
    hook(&mut monitor, Fact::PromptSubmitted, 1200);
    assert_eq!(state(&monitor, 1200), ActivityState::Working);
    hook(&mut monitor, Fact::TurnEnded, 1300);
    assert_eq!(state(&monitor, 1300), ActivityState::Waiting);
}

#[test]
fn a_question_that_nobody_answered_outlives_the_end_of_a_turn() {
    let asking = || {
        let config = ActivityConfig { notification: Meaning::Asks, ..Default::default() };
        let mut monitor = ActivityMonitor::new(config, at(0));
        let _ = monitor.on_terminal_output(b"\x1b]9;Approval requested: rm\x07", at(1000));
        let _ = monitor.tell(at(1000));
        // Codex has made a title meanwhile.
        hook(&mut monitor, Fact::TurnEnded, 2000);
        assert_eq!(state(&monitor, 2000), ActivityState::Asking);
        monitor
    };
    let minutes = |minutes: u64| minutes * 60_000;
    // It is not asked forever, if that was the answer anyway.
    let mut monitor = asking();
    let end = 2000 + minutes(10);
    assert_eq!(monitor.deadline(at(2000)), Deadline::At(at(end)));
    hook(&mut monitor, Fact::TurnEnded, minutes(9));
    assert_eq!(state(&monitor, end - 1), ActivityState::Asking);
    assert_eq!(monitor.tell(at(end)).state, ActivityState::Quiet);
    hook(&mut monitor, Fact::TurnEnded, end + 1);
    assert_eq!(state(&monitor, end + 1), ActivityState::Waiting);
    // What is said later is the way out at once.
    for (fact, then) in [
        (Fact::PromptSubmitted, ActivityState::Working),
        (Fact::ToolUsed(ToolUser::Agent), ActivityState::Working),
        (Fact::Notified(Call::Waits), ActivityState::Waiting),
        (Fact::SessionStarted, ActivityState::Waiting),
        (Fact::SessionEnded, ActivityState::Quiet),
    ] {
        let mut monitor = asking();
        hook(&mut monitor, fact.clone(), 20_000);
        assert_eq!(state(&monitor, 20_000), then, "{fact:?}");
        assert_eq!(state(&monitor, minutes(60)), then, "{fact:?}");
    }
    let mut monitor = asking();
    monitor.on_input(Input::Key, at(20_000));
    hook(&mut monitor, Fact::TurnEnded, 21_000);
    assert_eq!(state(&monitor, 21_000), ActivityState::Waiting, "it was answered");
    // Or that it asks still.
    let mut monitor = asking();
    let _ = monitor.on_terminal_output(b"\x1b]9;Approval requested: rm\x07", at(minutes(1)));
    assert_eq!(state(&monitor, minutes(60)), ActivityState::Asking);
    // A turn that ended before it asked says nothing of the question.
    let mut monitor = asking();
    monitor.on_input(Input::Submits, at(20_000));
    hook(
        &mut monitor,
        Fact::PermissionRequested(Question::new(QuestionKind::Permission, "q", [""; 0])),
        30_000,
    );
    let late = monitor.on_fact(HOOK, &Fact::TurnEnded, Duration::from_millis(500), at(30_100));
    assert_eq!((late, state(&monitor, minutes(60))), (Taken::Yes, ActivityState::Asking));
}

#[test]
fn further_facts_for_the_same_state_keep_its_beginning() {
    let mut monitor = monitor();
    hook(&mut monitor, Fact::PromptSubmitted, 0);
    hook(&mut monitor, Fact::ToolUsed(ToolUser::Agent), 9000);
    assert_eq!(monitor.now(at(9000)).since, at(0));
    hook(&mut monitor, Fact::TurnEnded, 10_000);
    // What works beside it does not end its wait.
    hook(&mut monitor, Fact::ToolUsed(ToolUser::Subagent), 11_000);
    assert_eq!(monitor.now(at(11_000)).state, ActivityState::Waiting);
    assert_eq!(monitor.now(at(11_000)).since, at(10_000));
}

#[test]
fn too_many_facts_within_a_second_show_nothing() {
    let mut monitor = monitor();
    for _ in 0..MOST_FACTS {
        hook(&mut monitor, Fact::TurnEnded, 10);
    }
    assert_eq!(state(&monitor, 10), ActivityState::Waiting);
    let one_more = monitor.on_fact(HOOK, &Fact::PromptSubmitted, Duration::ZERO, at(20));
    assert_eq!((one_more, state(&monitor, 20)), (Taken::TooMany, ActivityState::Quiet));
    hook(&mut monitor, Fact::TurnEnded, 1000);
    assert_eq!(state(&monitor, 1000), ActivityState::Waiting);
}

#[test]
fn a_state_that_changes_is_told_by_the_deadline() {
    let mut monitor = monitor();
    assert_eq!(monitor.deadline(at(0)), Deadline::At(at(0)));
    assert_eq!(monitor.tell(at(0)).state, ActivityState::Quiet);
    assert_eq!(monitor.deadline(at(0)), Deadline::Never);
    hook(&mut monitor, Fact::TurnEnded, 100);
    assert_eq!(monitor.tell(at(100)).state, ActivityState::Quiet);
    assert_eq!(monitor.deadline(at(100)), Deadline::At(at(500)));
    assert_eq!(monitor.tell(at(500)).state, ActivityState::Waiting);
    monitor.on_input(Input::Submits, at(5000));
    let _ = monitor.on_terminal_output(b"x", at(5000));
    assert_eq!(monitor.tell(at(5000)).state, ActivityState::Writing);
    assert_eq!(monitor.deadline(at(5001)), Deadline::At(at(15_000)));
    assert_eq!(monitor.tell(at(15_000)).state, ActivityState::Quiet);
}

#[derive(Clone, Debug)]
enum Happened {
    Hook(Fact, u64),
    Wrote(&'static [u8]),
    Typed(Input),
    Nothing,
}

fn happened() -> impl Strategy<Value = Happened> {
    let question = Question::new(QuestionKind::Permission, "q", ["yes"]);
    let fact = prop::sample::select(vec![
        Fact::SessionStarted,
        Fact::SessionEnded,
        Fact::PromptSubmitted,
        Fact::ToolUsed(ToolUser::Agent),
        Fact::ToolUsed(ToolUser::Subagent),
        Fact::PermissionRequested(question.clone()),
        Fact::Notified(Call::Asks(question)),
        Fact::Notified(Call::Waits),
        Fact::Notified(Call::Other),
        Fact::TurnEnded,
    ]);
    let wrote = prop::sample::select(vec![
        &b"\x1b]133;A\x07"[..],
        b"\x1b]133;C\x07",
        b"\x1b]133;D\x07",
        b"> Waiting for input? [y/n]",
        b"\x07",
        b"\x1b]0;working\x07",
    ]);
    let input = prop::sample::select(vec![Input::Submits, Input::Interrupts, Input::Key]);
    prop_oneof![
        3 => (fact, 0..2000u64).prop_map(|(fact, age)| Happened::Hook(fact, age)),
        2 => wrote.prop_map(Happened::Wrote),
        2 => input.prop_map(Happened::Typed),
        1 => Just(Happened::Nothing),
    ]
}

proptest! {
    /// `waiting` and `asking` rest on a fact that claims them, of this turn; nothing flaps faster than the dwell; the
    /// deadline is never later than the change.
    #[test]
    fn what_is_told_rests_on_facts(steps in prop::collection::vec((happened(), 0..1500u64), 1..60)) {
        let mut monitor = monitor();
        let mut now = 0;
        let mut claims = BTreeSet::new();
        let mut turn = Timestamp::ORIGIN;
        let mut told: Option<(Seen, Timestamp)> = None;
        for (happened, pause) in steps {
            // Between two events the machine is woken at its deadline, and at no other time.
            let next = now + pause;
            loop {
                let shown = monitor.tell(at(now)).clone();
                if let Some((before, since)) = &told {
                    if shown.is_another(before) {
                        prop_assert!(at(now) >= since.saturating_add(DWELL), "it flaps");
                        told = Some((shown, at(now)));
                    }
                } else {
                    told = Some((shown, at(now)));
                }
                let due = monitor.deadline(at(now));
                let Deadline::At(due) = due else { break };
                let due = due.saturating_since(at(0)).as_millis() as u64;
                prop_assert!(due > now, "it asks to be woken now");
                if due > next {
                    break;
                }
                now = due;
            }
            now = next;
            match happened {
                Happened::Hook(fact, age) => {
                    let awaits = matches!(
                        fact,
                        Fact::SessionStarted
                            | Fact::TurnEnded
                            | Fact::PermissionRequested(_)
                            | Fact::Notified(Call::Asks(_) | Call::Waits)
                    );
                    let happened = at(now).saturating_sub(Duration::from_millis(age));
                    if awaits {
                        let _ = claims.insert(happened);
                    }
                    if fact == Fact::PromptSubmitted {
                        turn = turn.max(happened);
                    }
                    let _ = monitor.on_fact(HOOK, &fact, Duration::from_millis(age), at(now));
                }
                Happened::Wrote(bytes) => {
                    if bytes.ends_with(b"133;A\x07") {
                        let _ = claims.insert(at(now));
                    }
                    let _ = monitor.on_terminal_output(bytes, at(now));
                }
                Happened::Typed(input) => {
                    if input == Input::Submits {
                        turn = at(now);
                    }
                    monitor.on_input(input, at(now));
                }
                Happened::Nothing => {}
            }
            let seen = monitor.now(at(now));
            if matches!(seen.state, ActivityState::Waiting | ActivityState::Asking) {
                let (_, _, since) = seen.basis.clone().unwrap();
                prop_assert!(claims.contains(&since), "no fact for {seen:?}");
                prop_assert!(since >= turn, "the fact is of an earlier turn: {seen:?}");
                prop_assert_eq!(seen.state == ActivityState::Asking, seen.question.is_some());
            }
        }
    }
}
