//! What the program of an agent does: what is told of it, and what is typed only if it waits.

use super::*;
use crate::activity::{ActivityConfig, Fact, StreamFormat};
use crate::model::{ActivityState, Feature, Question, QuestionKind, TypeIf};
use crate::terminal::TerminalSize;
use crate::wire::payload::{AgentActivity, CommandInput, CommandPhase};
use alloc::string::ToString;

fn terminal() -> (Worker, CommandId) {
    let (program, size) = ("claude".into(), TerminalSize::DEFAULT);
    let line_idle = TerminalConfig::LINE_IDLE;
    let (screen, submit) = (Screen::Detached, SubmitKey::Enter);
    let terminal = TerminalConfig { program, size, screen, line_idle, submit };
    let activity = ActivityConfig { choices: vec!["yes".into()], ..ActivityConfig::default() };
    let mut worker =
        worker(WorkerConfig { terminal: Some(terminal), activity, slots: 1, ..config() });
    let asked = actions(&mut worker);
    let [WorkerAction::Start { command, .. }] = asked.as_slice() else { panic!("{asked:?}") };
    let command = command.clone();
    worker.handle(WorkerEvent::Started { command: command.clone(), process: None }, at(0));
    wrote(&mut worker, &command, b"\x1b[?2004h> ", at(0));
    worker.handle(WorkerEvent::Joined(session()), at(0));
    (worker, command)
}

fn wrote(worker: &mut Worker, command: &CommandId, bytes: &'static [u8], now: Now) {
    let (command, bytes) = (command.clone(), Bytes::from_static(bytes));
    worker.handle(WorkerEvent::Output { command, stream: Stream::Terminal, bytes }, now);
}

fn hook(worker: &mut Worker, command: &CommandId, fact: Fact, now: Now) {
    let age = Duration::ZERO;
    worker.handle(WorkerEvent::Fact { command: command.clone(), fact, age }, now);
}

/// What is told of activity now.
fn told(worker: &mut Worker, now: Now) -> Vec<AgentActivity> {
    worker.handle(WorkerEvent::Wake, now);
    let mut told = Vec::new();
    while let Some(message) = worker.next_message(now) {
        if let WorkerMessage::Text(message) = message
            && let AgentToServer::Activity(activity) = *message
        {
            told.push(activity);
        }
        worker.handle(WorkerEvent::Sent, now);
    }
    told
}

fn states(told: &[AgentActivity]) -> Vec<&str> {
    told.iter().map(|activity| activity.state.as_str()).collect()
}

/// Asks for a text, and says whether it is typed, or why not.
fn asks(worker: &mut Worker, name: &str, condition: &str, now: Now) -> Result<(), String> {
    let mut request = CommandRequest::new(id(name), AgentId::new("a"), "go on");
    request.condition = Some(TypeIf::parse(condition));
    worker.handle(message(ServerToAgent::CommandRequest(request)), now);
    loop {
        let asked = actions(worker);
        if asked.iter().any(|action| matches!(action, WorkerAction::Type { .. })) {
            let outcome = TypingOutcome::Typed;
            worker.handle(WorkerEvent::Typed { command: id(name), outcome }, now);
            return Ok(());
        }
        if !asked.iter().any(|action| matches!(action, WorkerAction::LookAtTerminal)) {
            break;
        }
        worker.handle(WorkerEvent::Looked(Some(TerminalSettings::AS_OPENED)), now);
    }
    let report = worker.course.commands.all.report(&id(name)).unwrap();
    assert_eq!(report.status, CommandPhase::Failed);
    Err(report.error.clone().unwrap())
}

#[test]
fn each_state_is_told_and_again_in_the_next_session() {
    let (mut worker, run) = terminal();
    assert_eq!(states(&told(&mut worker, at(0))), ["quiet"]);
    assert_eq!(states(&told(&mut worker, at(1))), ["writing"]);
    hook(&mut worker, &run, Fact::SessionStarted, at(2));
    hook(&mut worker, &run, Fact::PromptSubmitted, at(5));
    let question = Question::new(QuestionKind::Permission, "Allow Bash(rm)?", [""; 0]);
    let working = told(&mut worker, at(5));
    assert_eq!(states(&working), ["working"]);
    assert_eq!(working[0].command_id, Some(run.clone()));
    hook(&mut worker, &run, Fact::PermissionRequested(question), at(6));
    let asked = told(&mut worker, at(6));
    assert_eq!(states(&asked), ["asking"]);
    assert_eq!(asked[0].question.as_ref().unwrap().to_string(), "Allow Bash(rm)? [yes]");
    assert_eq!(told(&mut worker, at(60)), [], "nothing is new");
    worker.handle(WorkerEvent::SessionEnded, at(61));
    worker.handle(WorkerEvent::Joined(session()), at(70));
    assert_eq!(states(&told(&mut worker, at(70))), ["asking"]);
    assert_eq!(worker.activity().unwrap().state, ActivityState::Asking);
    ended(&mut worker, run.as_str(), Exit::Code(0), at(80));
    assert_eq!(states(&told(&mut worker, at(80))), ["none"]);
    assert_eq!(worker.activity(), None);
    // What a hook says late is of no run.
    hook(&mut worker, &run, Fact::TurnEnded, at(81));
    assert_eq!(told(&mut worker, at(81)), []);
}

#[test]
fn a_change_is_told_by_the_deadline_though_output_alone_brings_it() {
    let (mut worker, run) = terminal();
    let _ = told(&mut worker, at(1));
    wrote(&mut worker, &run, b"\x1b]133;C\x07", at(2));
    assert!(worker.deadline().is_due(at(2).monotonic));
    assert_eq!(states(&told(&mut worker, at(2))), ["working"]);
    assert!(!worker.deadline().is_due(at(3).monotonic), "{:?}", worker.deadline());
}

#[test]
fn a_server_without_the_feature_is_told_nothing() {
    let (mut worker, run) = terminal();
    let without: Vec<Feature> =
        SERVER_FEATURES.iter().filter(|f| **f != Feature::Activity).cloned().collect();
    let capabilities = Capabilities::negotiate(AGENT_FEATURES, &without, Dialect::Extended);
    worker.handle(WorkerEvent::Joined(WorkerSession { capabilities, ..session() }), at(1));
    hook(&mut worker, &run, Fact::TurnEnded, at(5));
    assert_eq!(told(&mut worker, at(9)), []);
}

#[test]
fn a_text_that_is_wanted_only_if_the_program_waits_is_typed_only_then() {
    let (mut worker, run) = terminal();
    let why = asks(&mut worker, "c1", "waiting", at(1)).unwrap_err();
    assert!(why.contains("has never reported its activity") && why.contains("--preset"), "{why}");
    hook(&mut worker, &run, Fact::PromptSubmitted, at(10));
    let why = asks(&mut worker, "c2", "waiting", at(20)).unwrap_err();
    assert!(why.contains("working 10s (it took a prompt 10s ago, as its hook says)"), "{why}");
    hook(&mut worker, &run, Fact::TurnEnded, at(30));
    assert_eq!(asks(&mut worker, "c3", "waiting", at(40)), Ok(()));
    // What was typed is a new turn, before its hook says so.
    let why = asks(&mut worker, "c4", "waiting", at(41)).unwrap_err();
    assert!(why.contains("not known to wait for a prompt: quiet for 41s"), "{why}");
    let why = asks(&mut worker, "c5", "bored", at(42)).unwrap_err();
    assert!(why.contains("unknown condition \"bored\""), "{why}");
}

#[test]
fn a_text_is_submitted_when_its_enter_is_typed_and_not_before() {
    let (mut worker, run) = terminal();
    hook(&mut worker, &run, Fact::TurnEnded, at(10));
    worker.handle(request("c"), at(20));
    let _ = actions(&mut worker);
    worker.handle(WorkerEvent::Looked(Some(TerminalSettings::AS_OPENED)), at(20));
    let _ = told(&mut worker, at(20));
    worker.handle(WorkerEvent::PasteRead(id("c")), at(20));
    // The end of a turn before the Enter is that of the turn before.
    hook(&mut worker, &run, Fact::TurnEnded, at(21));
    assert_eq!(worker.activity().unwrap().state, ActivityState::Waiting);
    let _ = told(&mut worker, at(22));
    assert_ne!(worker.activity().unwrap().state, ActivityState::Waiting);
    hook(&mut worker, &run, Fact::TurnEnded, at(23));
    let _ = told(&mut worker, at(23));
    assert_eq!(worker.activity().unwrap().state, ActivityState::Waiting);
}

#[test]
fn keys_that_interrupt_or_answer_end_what_was_known() {
    for (keys, fact, left) in [
        ("escape", Fact::PromptSubmitted, "quiet"),
        ("ctrl-c", Fact::PromptSubmitted, "quiet"),
        ("up", Fact::PromptSubmitted, "working"),
        ("y", Fact::TurnEnded, "waiting"),
        ("enter", Fact::TurnEnded, "quiet"),
    ] {
        let (mut worker, run) = terminal();
        hook(&mut worker, &run, fact, at(20));
        let mut request = CommandRequest::new(id("k"), AgentId::new("a"), keys);
        request.input = Some(CommandInput::Keys);
        worker.handle(message(ServerToAgent::CommandRequest(request)), at(21));
        let _ = actions(&mut worker);
        worker.handle(WorkerEvent::Looked(Some(TerminalSettings::AS_OPENED)), at(21));
        let _ = told(&mut worker, at(25));
        assert_eq!(worker.activity().unwrap().state.as_str(), left, "{keys}");
    }
}

#[test]
fn the_structured_output_of_a_run_is_told_and_the_run_that_matters_most() {
    let activity =
        ActivityConfig { stream: Some(StreamFormat::Claude), ..ActivityConfig::default() };
    let mut worker = worker(WorkerConfig { activity, ..config() });
    worker.handle(WorkerEvent::Joined(session()), at(0));
    for name in ["c1", "c2"] {
        worker.handle(request(name), at(0));
        started(&mut worker, name, at(0));
    }
    let _ = told(&mut worker, at(1));
    let bytes = Bytes::from_static(b"{\"type\":\"system\",\"subtype\":\"init\"}\n");
    let output = WorkerEvent::Output { command: id("c1"), stream: Stream::Stdout, bytes };
    worker.handle(output, at(2));
    let now = told(&mut worker, at(2));
    assert_eq!((states(&now), now[0].command_id.clone()), (vec!["working"], Some(id("c1"))));
    ended(&mut worker, "c1", Exit::Code(0), at(3));
    assert_eq!(states(&told(&mut worker, at(3))), ["quiet"], "the other one");
    ended(&mut worker, "c2", Exit::Code(0), at(4));
    assert_eq!(states(&told(&mut worker, at(4))), ["none"]);
}

#[test]
fn a_condition_is_refused_where_each_command_runs_by_itself() {
    let mut worker = worker(config());
    worker.handle(WorkerEvent::Joined(session()), at(0));
    let why = asks(&mut worker, "c", "waiting", at(1)).unwrap_err();
    assert!(why.contains("no terminal"), "{why}");
}
