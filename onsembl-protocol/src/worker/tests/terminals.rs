//! An agent with a terminal: when it is opened, what is typed into it.

use super::*;
use crate::model::Feature;
use crate::terminal::TerminalSize;
use crate::wire::payload::{
    CommandComplete, CommandInput, CommandPhase, OpenLine, SecretEcho, WaitsFor,
};

const RAW: TerminalSettings =
    TerminalSettings { lines: LineMode::Program, ..TerminalSettings::AS_OPENED };

pub(super) fn terminal(screen: Screen) -> WorkerConfig {
    let (program, size) = ("shell".into(), TerminalSize::DEFAULT);
    let line_idle = TerminalConfig::LINE_IDLE;
    let submit = SubmitKey::Enter;
    let terminal = TerminalConfig { program, size, screen, line_idle, submit };
    WorkerConfig { slots: 4, terminal: Some(terminal), ..config() }
}

pub(super) fn after(seconds: u64, ms: u64) -> Now {
    Now::without_suspend(Duration::from_secs(1000 + seconds) + Duration::from_millis(ms))
}

/// The worker of an agent whose program runs and has shown nothing, and the terminal's id.
pub(super) fn started(screen: Screen) -> (Worker, CommandId) {
    let mut worker = worker(terminal(screen));
    let asked = actions(&mut worker);
    let [WorkerAction::Start { command, task: Task::Terminal(_), .. }] = asked.as_slice() else {
        panic!("{asked:?}")
    };
    worker.handle(WorkerEvent::Started { command: command.clone(), process: None }, at(0));
    (worker, command.clone())
}

/// The same, and the program has shown that it reads.
pub(super) fn with_terminal(screen: Screen) -> (Worker, CommandId) {
    let (mut worker, id) = started(screen);
    let (stream, bytes) = (Stream::Terminal, Bytes::from_static(b"\x1b[?2004h$ "));
    worker.handle(WorkerEvent::Output { command: id.clone(), stream, bytes }, at(0));
    (worker, id)
}

pub(super) fn asks(
    worker: &mut Worker,
    name: &str,
    now: Now,
    change: impl FnOnce(&mut CommandRequest),
) {
    let mut request = CommandRequest::new(id(name), AgentId::new("a"), "yes");
    change(&mut request);
    worker.handle(message(ServerToAgent::CommandRequest(request)), now);
}

/// What is asked for, with each look at the terminal answered.
pub(super) fn looked(
    worker: &mut Worker,
    settings: TerminalSettings,
    now: Now,
) -> Vec<WorkerAction> {
    let mut others = Vec::new();
    loop {
        let asked = actions(worker);
        let looks = asked.iter().any(|a| matches!(a, WorkerAction::LookAtTerminal));
        let is_other =
            |a: &WorkerAction| !matches!(a, WorkerAction::LookAtTerminal | WorkerAction::Spool(_));
        others.extend(asked.into_iter().filter(is_other));
        if !looks {
            return others;
        }
        worker.handle(WorkerEvent::Looked(Some(settings)), now);
    }
}

/// The commands that are typed now.
pub(super) fn typed(worker: &mut Worker, now: Now) -> Vec<CommandId> {
    let typed = |a| match a {
        WorkerAction::Type { command, .. } => Some(command),
        _ => None,
    };
    looked(worker, TerminalSettings::AS_OPENED, now).into_iter().filter_map(typed).collect()
}

pub(super) fn is_typed(worker: &mut Worker, name: &str, now: Now) {
    let outcome = TypingOutcome::Typed;
    worker.handle(WorkerEvent::Typed { command: id(name), outcome }, now);
}

/// The report of a command that is over, if it is.
pub(super) fn report(worker: &Worker, name: &str) -> Option<CommandComplete> {
    worker.course.commands.all.report(&id(name)).cloned()
}

pub(super) fn ends(worker: &mut Worker, terminal: &CommandId, exit: Exit, now: Now) {
    let (rest, open) = (Rest::Ended, vec![]);
    let ended = WorkerEvent::Ended { command: terminal.clone(), exit, rest, open };
    worker.handle(ended, now);
}

#[test]
fn what_is_cancelled_while_it_waits_to_be_typed_is_never_typed() {
    let (mut worker, _) = with_terminal(Screen::Detached);
    worker.handle(request("a"), at(0));
    worker.handle(request("b"), at(0));
    assert_eq!(typed(&mut worker, at(0)), [id("a")]);
    worker.handle(cancel("b", false), at(0));
    is_typed(&mut worker, "a", at(0));
    assert!(typed(&mut worker, at(0)).is_empty());
    worker.handle(request("c"), at(0));
    assert_eq!(typed(&mut worker, at(0)), [id("c")]);
}

#[test]
fn a_text_that_is_not_begun_is_refused_without_a_word_that_it_ran() {
    let (mut worker, _) = with_terminal(Screen::Detached);
    worker.handle(WorkerEvent::Joined(session()), at(0));
    let _ = sent(&mut worker, at(0));
    asks(&mut worker, "c", at(0), |request| request.text = "x".repeat(5000));
    let asked = looked(&mut worker, RAW, at(0));
    let needs = |a: &WorkerAction| matches!(a, WorkerAction::Type { required_mode: Some(_), .. });
    assert!(asked.iter().any(needs), "{asked:?}");
    let outcome = TypingOutcome::OtherMode;
    worker.handle(WorkerEvent::Typed { command: id("c"), outcome }, at(0));
    let sent = sent(&mut worker, at(0));
    let [AgentToServer::CommandComplete(report)] = sent.as_slice() else { panic!("{sent:?}") };
    assert!(report.error.as_deref().unwrap().contains("5000 bytes"), "{report:?}");
}

#[test]
fn a_text_waits_until_the_program_has_shown_that_it_reads() {
    let (mut worker, _) = started(Screen::Detached);
    asks(&mut worker, "c", at(0), |request| request.text = "two\nlines".into());
    let asked = looked(&mut worker, TerminalSettings::AS_OPENED, at(0));
    assert!(asked.is_empty(), "{asked:?}");
    // It is looked at again and again, until it is set for reading and stays so.
    for ms in (50..=2000).step_by(50) {
        assert_eq!(worker.deadline(), Deadline::At(after(0, ms).monotonic));
        worker.handle(WorkerEvent::Wake, after(0, ms));
        assert!(looked(&mut worker, TerminalSettings::AS_OPENED, after(0, ms)).is_empty(), "{ms}");
    }
    worker.handle(WorkerEvent::Wake, after(0, 2050));
    assert!(looked(&mut worker, RAW, after(0, 2050)).is_empty());
    worker.handle(WorkerEvent::Wake, after(0, 2100));
    // Only now it is known that the program takes one line at a time.
    assert!(looked(&mut worker, RAW, after(0, 2100)).is_empty());
    let why = report(&worker, "c").unwrap().error.unwrap();
    assert!(why.contains("does not support bracketed paste"), "{why}");
    asks(&mut worker, "d", at(3), |_| ());
    assert_eq!(typed(&mut worker, at(3)), [id("d")]);
}

#[test]
fn nothing_is_typed_into_a_program_that_is_being_ended() {
    let (mut worker, first) = with_terminal(Screen::Detached);
    worker.handle(
        message(ServerToAgent::CommandCancel(CommandCancel {
            command_id: first.clone(),
            agent_id: None,
            reason: None,
            force: false,
        })),
        at(1),
    );
    asks(&mut worker, "c", at(1), |_| ());
    assert!(typed(&mut worker, at(1)).is_empty());
    ends(&mut worker, &first, Exit::Signal(15), at(2));
    assert_eq!(report(&worker, "c"), None, "it waits for the next program");
    worker.handle(WorkerEvent::Wake, at(9));
    let start = actions(&mut worker).into_iter().find_map(|a| match a {
        WorkerAction::Start { command, .. } => Some(command),
        _ => None,
    });
    worker.handle(WorkerEvent::Started { command: start.unwrap(), process: None }, at(9));
    assert!(looked(&mut worker, RAW, at(9)).is_empty());
    worker.handle(WorkerEvent::Wake, at(10));
    assert_eq!(typed(&mut worker, at(10)), [] as [CommandId; 0], "that one has not shown it yet");
    worker.handle(WorkerEvent::Wake, at(19));
    assert_eq!(typed(&mut worker, at(19)), [id("c")]);
}

#[test]
fn completed_means_that_the_program_read_it_and_lived() {
    let (mut worker, _) = with_terminal(Screen::Detached);
    asks(&mut worker, "c", at(0), |_| ());
    assert_eq!(typed(&mut worker, at(0)), [id("c")]);
    is_typed(&mut worker, "c", at(0));
    worker.handle(WorkerEvent::Wake, after(0, 199));
    assert_eq!(report(&worker, "c"), None);
    worker.handle(WorkerEvent::Wake, after(0, 200));
    let report = report(&worker, "c").unwrap();
    assert_eq!(
        (report.status, report.exit_code, report.error),
        (CommandPhase::Completed, None, None)
    );
}

#[test]
fn what_ended_the_program_has_its_exit_and_what_it_had_not_read_says_so() {
    for (exit, phase) in
        [(Exit::Code(0), CommandPhase::Completed), (Exit::Code(7), CommandPhase::Failed)]
    {
        let (mut worker, terminal) = with_terminal(Screen::Detached);
        for name in ["exit", "typing", "waiting"] {
            asks(&mut worker, name, at(0), |_| ());
        }
        assert_eq!(typed(&mut worker, at(0)), [id("exit")]);
        is_typed(&mut worker, "exit", at(0));
        assert_eq!(typed(&mut worker, at(0)), [id("typing")]);
        ends(&mut worker, &terminal, exit, after(0, 100));
        let report_of = |name| report(&worker, name);
        let of_exit = report_of("exit").unwrap();
        let Exit::Code(code) = exit else { panic!() };
        assert_eq!((of_exit.status, of_exit.exit_code), (phase, Some(code)));
        assert!(of_exit.error.unwrap().contains("read this and ended"));
        let of_waiting = report_of("waiting").unwrap();
        assert_eq!((of_waiting.status, of_waiting.exit_code), (CommandPhase::Failed, None));
        assert!(of_waiting.error.unwrap().contains("before this was typed"));
        // Whether it had read that one comes out now.
        assert_eq!(report_of("typing"), None);
        let outcome = TypingOutcome::Broken { much: Typed::Part, why: "it is closed".into() };
        worker.handle(WorkerEvent::Typed { command: id("typing"), outcome }, after(0, 101));
        let of_typing = report(&worker, "typing").unwrap();
        assert_eq!((of_typing.status, of_typing.exit_code), (CommandPhase::Failed, None));
        assert!(of_typing.error.unwrap().contains("before it had read this"));
    }
}

#[test]
fn a_program_that_read_and_ended_before_that_was_said_is_no_other_case() {
    let (mut worker, terminal) = with_terminal(Screen::Detached);
    asks(&mut worker, "exit", at(0), |_| ());
    assert_eq!(typed(&mut worker, at(0)), [id("exit")]);
    ends(&mut worker, &terminal, Exit::Code(3), at(0));
    is_typed(&mut worker, "exit", at(0));
    assert_eq!(report(&worker, "exit").unwrap().exit_code, Some(3));
    // And if nothing is said at all, it is over anyway.
    let (mut worker, terminal) = with_terminal(Screen::Detached);
    asks(&mut worker, "lost", at(0), |_| ());
    assert_eq!(typed(&mut worker, at(0)), [id("lost")]);
    ends(&mut worker, &terminal, Exit::Code(3), at(0));
    worker.handle(WorkerEvent::Wake, at(2));
    let report = report(&worker, "lost").unwrap();
    assert_eq!((report.status, report.exit_code), (CommandPhase::Failed, None));
    assert!(report.error.unwrap().contains("unknown"));
}

#[test]
fn what_was_typed_and_not_read_in_time_is_not_completed() {
    let (mut worker, _) = with_terminal(Screen::Detached);
    asks(&mut worker, "c", at(0), |_| ());
    assert_eq!(typed(&mut worker, at(0)), [id("c")]);
    let outcome = TypingOutcome::Broken { much: Typed::Whole, why: "it was not read".into() };
    worker.handle(WorkerEvent::Typed { command: id("c"), outcome }, at(10));
    let report = report(&worker, "c").unwrap();
    assert_eq!(
        (report.status, report.error.as_deref()),
        (CommandPhase::Failed, Some("it was not read"))
    );
    worker.handle(WorkerEvent::Wake, at(11));
    // The whole line is there, so that the next one does not stand behind a part of it.
    asks(&mut worker, "d", at(11), |_| ());
    assert_eq!(typed(&mut worker, at(11)), [id("d")]);
}

#[test]
fn keys_and_what_takes_the_line_pass_a_line_that_somebody_has_begun() {
    let (mut worker, _) = with_terminal(Screen::Attached);
    let press =
        |bytes: &'static [u8]| WorkerEvent::Screen(ScreenEvent::Keys(Bytes::from_static(bytes)));
    worker.handle(press(b"half a message"), at(0));
    let _ = actions(&mut worker);
    asks(&mut worker, "text", at(0), |_| ());
    assert!(typed(&mut worker, at(0)).is_empty());
    asks(&mut worker, "keys", at(1), |request| {
        request.input = Some(CommandInput::Keys);
        request.text = "escape".into();
    });
    assert_eq!(typed(&mut worker, at(1)), [id("keys")]);
    is_typed(&mut worker, "keys", at(1));
    assert!(typed(&mut worker, at(1)).is_empty());
    asks(&mut worker, "take", at(2), |request| request.open_line = Some(OpenLine::Take));
    assert_eq!(typed(&mut worker, at(2)), [id("take")]);
    is_typed(&mut worker, "take", at(2));
    // Its Enter ended the line.
    assert_eq!(typed(&mut worker, at(2)), [id("text")]);
}

#[test]
fn a_text_that_gives_up_says_what_stands_at_the_agents_own_terminal() {
    let (mut worker, _) = with_terminal(Screen::Attached);
    let press =
        |bytes: &'static [u8]| WorkerEvent::Screen(ScreenEvent::Keys(Bytes::from_static(bytes)));
    worker.handle(press(b"1"), at(1));
    asks(&mut worker, "text", at(1), |_| ());
    worker.handle(press(b"2"), at(2));
    assert!(typed(&mut worker, at(2)).is_empty());
    worker.handle(WorkerEvent::Wake, at(31));
    let why = report(&worker, "text").unwrap().error.unwrap();
    assert!(
        why.contains("2 characters in it, last key 29s ago") && why.contains("--take"),
        "{why}"
    );
}

#[test]
fn a_key_that_suspends_is_typed_only_if_a_job_is_in_the_foreground() {
    let (mut worker, _) = with_terminal(Screen::Attached);
    let bytes = Bytes::from_static(b"a\x1ab");
    worker.handle(WorkerEvent::Screen(ScreenEvent::Keys(bytes)), at(0));
    let asked = actions(&mut worker);
    let keys: Vec<(&[u8], bool)> = asked
        .iter()
        .filter_map(|a| match a {
            WorkerAction::TypeKeys(bytes) => Some((&bytes[..], false)),
            WorkerAction::TypeSuspending(bytes) => Some((&bytes[..], true)),
            _ => None,
        })
        .collect();
    assert_eq!(keys, [(&b"a"[..], false), (b"\x1a", true), (b"b", false)]);
    worker.handle(WorkerEvent::Screen(ScreenEvent::SuspendWithheld), at(0));
    let asked = actions(&mut worker);
    assert!(
        matches!(asked.as_slice(), [WorkerAction::Screen(ScreenAction::Notice(_))]),
        "{asked:?}"
    );
    // Nor from far away.
    worker.handle(WorkerEvent::Screen(ScreenEvent::Keys(Bytes::from_static(b"\x03"))), at(0));
    asks(&mut worker, "z", at(0), |request| {
        request.input = Some(CommandInput::Keys);
        request.text = "ctrl-z".into();
    });
    let job = TerminalSettings { foreground: Foreground::Job, ..RAW };
    let types =
        |asked: Vec<WorkerAction>| asked.iter().any(|a| matches!(a, WorkerAction::Type { .. }));
    assert!(!types(looked(&mut worker, RAW, at(0))));
    let why = report(&worker, "z").unwrap().error.unwrap();
    assert!(why.contains("nothing could resume it"), "{why}");
    asks(&mut worker, "y", at(0), |request| {
        request.input = Some(CommandInput::Keys);
        request.text = "ctrl-z".into();
    });
    assert!(types(looked(&mut worker, job, at(0))));
}

#[test]
fn a_program_that_cannot_be_started_is_said_with_the_systems_reason() {
    let mut worker = worker(terminal(Screen::Detached));
    let asked = actions(&mut worker);
    let [WorkerAction::Start { command, .. }] = asked.as_slice() else { panic!("{asked:?}") };
    let why = "No such file or directory".into();
    worker.handle(WorkerEvent::NotStarted { command: command.clone(), why }, at(0));
    asks(&mut worker, "c", at(0), |_| ());
    let why = report(&worker, "c").unwrap().error.unwrap();
    assert!(why.contains("No such file or directory"), "{why}");
}

#[test]
fn terminals_have_ids_in_the_order_in_which_they_were_opened() {
    let (mut worker, first) = with_terminal(Screen::Detached);
    ends(&mut worker, &first, Exit::Code(0), at(1));
    worker.handle(WorkerEvent::Wake, at(60));
    let asked = actions(&mut worker);
    let second = asked.iter().find_map(|a| match a {
        WorkerAction::Start { command, .. } => Some(command.clone()),
        _ => None,
    });
    assert!(second.as_ref().is_some_and(|second| *second > first), "{second:?}, {first:?}");
}

#[test]
fn what_a_text_waits_for_is_said_while_it_waits() {
    let (mut worker, terminal) = started(Screen::Attached);
    worker.handle(WorkerEvent::Joined(session()), at(0));
    let _ = sent(&mut worker, at(0));
    let waits = |worker: &mut Worker| -> Vec<(CommandAckStatus, Option<WaitsFor>)> {
        let acks = sent(worker, at(0)).into_iter().filter_map(|message| match message {
            AgentToServer::CommandAck(ack) if ack.command_id == id("c") => Some(ack),
            _ => None,
        });
        acks.map(|ack| (ack.status, ack.waits_for)).collect()
    };
    asks(&mut worker, "c", at(0), |_| ());
    let _ = looked(&mut worker, TerminalSettings::AS_OPENED, at(0));
    let received = |waits_for| (CommandAckStatus::Received, Some(waits_for));
    assert_eq!(waits(&mut worker), [received(WaitsFor::Reader)]);
    assert!(waits(&mut worker).is_empty());
    worker.handle(WorkerEvent::Screen(ScreenEvent::Keys(Bytes::from_static(b"x"))), at(1));
    let (stream, bytes) = (Stream::Terminal, Bytes::from_static(b"\x1b[?2004h"));
    worker.handle(WorkerEvent::Output { command: terminal, stream, bytes }, at(1));
    worker.handle(WorkerEvent::Wake, at(1));
    assert_eq!(waits(&mut worker), [received(WaitsFor::BegunLine)]);
    worker.handle(WorkerEvent::Screen(ScreenEvent::Keys(Bytes::from_static(b"\r"))), at(2));
    assert_eq!(typed(&mut worker, at(2)), [id("c")]);
    assert_eq!(waits(&mut worker), [(CommandAckStatus::Executing, None)]);
    // A server that does not know it is not told.
    let features: Vec<_> =
        SERVER_FEATURES.iter().filter(|f| **f != Feature::TypingWaits).cloned().collect();
    let capabilities = Capabilities::negotiate(AGENT_FEATURES, &features, Dialect::Extended);
    worker.handle(WorkerEvent::Joined(WorkerSession { capabilities, ..session() }), at(3));
    worker.handle(WorkerEvent::Screen(ScreenEvent::Keys(Bytes::from_static(b"x"))), at(3));
    asks(&mut worker, "d", at(3), |_| ());
    let said = sent(&mut worker, at(3));
    assert!(
        said.iter().all(|m| !matches!(m, AgentToServer::CommandAck(a) if a.waits_for.is_some()))
    );
}

#[test]
fn a_secret_is_typed_only_where_the_terminal_does_not_show_it() {
    let (mut worker, _) = with_terminal(Screen::Detached);
    let secret = |request: &mut CommandRequest| request.input = Some(CommandInput::Secret);
    let hidden = TerminalSettings { echo: Echo::Off, ..TerminalSettings::AS_OPENED };
    let is_typed =
        |asked: Vec<WorkerAction>| asked.iter().any(|a| matches!(a, WorkerAction::Type { .. }));
    asks(&mut worker, "shown", at(0), secret);
    assert!(!is_typed(looked(&mut worker, TerminalSettings::AS_OPENED, at(0))));
    let why = report(&worker, "shown").unwrap().error.unwrap();
    assert!(why.contains("--allow-echo") && !why.contains("yes"), "{why}");
    asks(&mut worker, "hidden", at(0), secret);
    assert!(is_typed(looked(&mut worker, hidden, at(0))));
    worker
        .handle(WorkerEvent::Typed { command: id("hidden"), outcome: TypingOutcome::Typed }, at(0));
    asks(&mut worker, "allowed", at(0), |request| {
        secret(request);
        request.echo = Some(SecretEcho::Allow);
    });
    assert!(is_typed(looked(&mut worker, TerminalSettings::AS_OPENED, at(0))));
}

#[test]
fn a_hang_up_ends_the_attachment_and_nothing_else() {
    let (mut worker, terminal) = with_terminal(Screen::Attached);
    worker.handle(WorkerEvent::Joined(session()), at(0));
    let _ = (actions(&mut worker), sent(&mut worker, at(0)));
    worker.handle(WorkerEvent::Screen(ScreenEvent::HungUp), at(1));
    let asked = actions(&mut worker);
    let closes =
        |action: &WorkerAction| matches!(action, WorkerAction::Screen(ScreenAction::Close));
    assert!(asked.iter().any(closes), "{asked:?}");
    assert!(!is_ended(&asked));
    let said = sent(&mut worker, at(1));
    let opened = said.iter().find_map(|message| match message {
        AgentToServer::TerminalOpened(opened) => Some(opened),
        _ => None,
    });
    assert!(
        opened.is_some_and(|opened| opened.command_id == terminal && !opened.attached),
        "{said:?}"
    );
    // Nothing is shown there any more, and what the program asks is answered by the agent.
    let (command, bytes) = (terminal.clone(), Bytes::from_static(b"\x1b[6n"));
    worker.handle(WorkerEvent::Output { command, stream: Stream::Terminal, bytes }, at(2));
    let asked = actions(&mut worker);
    let is_answer = |action: &WorkerAction| matches!(action, WorkerAction::Answer(_));
    let is_screen = |action: &WorkerAction| matches!(action, WorkerAction::Screen(_));
    assert!(asked.iter().any(is_answer) && !asked.iter().any(is_screen), "{asked:?}");
    // A second hang-up finds nothing to end.
    worker.handle(WorkerEvent::Screen(ScreenEvent::HungUp), at(3));
    assert!(actions(&mut worker).is_empty());
    // The program is started again, as of an agent that was never attached.
    ends(&mut worker, &terminal, Exit::Code(0), at(20));
    worker.handle(WorkerEvent::Wake, at(60));
    let asked = actions(&mut worker);
    assert!(asked.iter().any(is_start) && !is_ended(&asked), "{asked:?}");
}

/// What is told the server of the program: why it does not run, or that it runs again.
fn told_of_program(asked: &[WorkerAction]) -> Vec<String> {
    let told = asked.iter().filter_map(|action| match action {
        WorkerAction::Complain(report) => Some(report.message.clone()),
        _ => None,
    });
    told.collect()
}

#[test]
fn a_program_that_a_signal_has_stopped_is_told_of_in_each_session_until_it_runs_again() {
    let (mut worker, command) = with_terminal(Screen::Detached);
    worker.handle(WorkerEvent::Joined(session()), at(1));
    let _ = actions(&mut worker);
    let state = |state| WorkerEvent::Program { command: command.clone(), state };
    worker.handle(state(ProgramState::Stopped { process: 7 }), at(2));
    assert_eq!(told_of_program(&actions(&mut worker)), [""; 0], "it may be for a moment");
    assert!(worker.deadline().is_due(at(4).monotonic));
    worker.handle(WorkerEvent::Wake, at(4));
    let told = told_of_program(&actions(&mut worker));
    assert_eq!(told.len(), 1, "{told:?}");
    let what = alloc::format!("stopped by a signal since {}", at(2).wall);
    assert!(told[0].contains(&what) && told[0].contains("kill -CONT 7"), "{told:?}");
    assert!(told[0].contains(&alloc::format!("cancel {command}")), "{told:?}");
    worker.handle(WorkerEvent::SessionEnded, at(5));
    worker.handle(WorkerEvent::Joined(session()), at(6));
    assert_eq!(told_of_program(&actions(&mut worker)).len(), 1, "a server knows nothing at first");
    worker.handle(WorkerEvent::Wake, at(40));
    assert_eq!(told_of_program(&actions(&mut worker)).len(), 1, "it forgets after a minute");
    worker.handle(state(ProgramState::Runs), at(41));
    let told = told_of_program(&actions(&mut worker));
    assert!(told.len() == 1 && told[0].ends_with("runs again"), "{told:?}");
    worker.handle(WorkerEvent::Wake, at(100));
    assert_eq!(told_of_program(&actions(&mut worker)), [""; 0]);
    // That of an earlier program says nothing of this one.
    let (command, state) = (CommandId::of_terminal("0"), ProgramState::Stopped { process: 8 });
    worker.handle(WorkerEvent::Program { command, state }, at(101));
    worker.handle(WorkerEvent::Wake, at(110));
    assert_eq!(told_of_program(&actions(&mut worker)), [""; 0]);
}
