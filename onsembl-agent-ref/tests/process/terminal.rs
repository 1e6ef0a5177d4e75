//! Programs under a terminal.

use super::*;
use onsembl_agent_ref::process::{Runner, TypingError};
use onsembl_protocol::model::TerminalSize;
use onsembl_protocol::worker::{
    CarriageReturn, Echo, Foreground, LineMode, Modes, ProgramState, Stroke, StrokeKind,
    TerminalSettings, Typed, Typing,
};

/// What a program under a terminal shows, as it comes.
pub(super) struct Shown {
    handle: ProcessHandle,
    events: mpsc::Receiver<ProcessEvent<CommandId>>,
    text: String,
}

pub(super) fn open(script: &str) -> Shown {
    let runner = Runner::Terminal {
        program: "/bin/sh".into(),
        arguments: vec!["-c".into(), script.into()],
        size: TerminalSize::new(100, 30).unwrap(),
    };
    let (sender, events) = mpsc::channel(16);
    let spec = ProcessSpec { runner, ..ProcessSpec::default() };
    let handle = spawn(&spec, CommandId::new("terminal-1"), sender).unwrap();
    Shown { handle, events, text: String::new() }
}

impl Shown {
    async fn shows(&mut self, text: &str) {
        while !self.text.contains(text) {
            match soon(text, self.events.recv()).await.expect("ended silently") {
                ProcessEvent::Output { stream, bytes, .. } => {
                    assert_eq!(stream, Stream::Terminal);
                    self.text.push_str(&String::from_utf8_lossy(&bytes));
                }
                ended => {
                    panic!("{ended:?} before it showed {text:?}: {:?}", self.text)
                }
            }
        }
    }

    pub(super) async fn end(mut self) -> (Exit, bool, String) {
        loop {
            match soon("the end", self.events.recv()).await.expect("ended silently") {
                ProcessEvent::Output { bytes, .. } => {
                    self.text.push_str(&String::from_utf8_lossy(&bytes));
                }
                ProcessEvent::Ended { exit, group_empty, .. } => {
                    return (exit, group_empty, self.text);
                }
                other @ (ProcessEvent::Cleared { .. }
                | ProcessEvent::Program { .. }
                | ProcessEvent::EndedUnwatched { .. }) => {
                    panic!("{other:?}")
                }
            }
        }
    }

    /// What is said next of its program.
    async fn state(&mut self) -> ProgramState {
        loop {
            match soon("a state", self.events.recv()).await.expect("ended silently") {
                ProcessEvent::Output { .. } => {}
                ProcessEvent::Program { state, .. } => return state,
                other => panic!("{other:?}"),
            }
        }
    }

    fn settings(&self) -> TerminalSettings {
        self.handle.terminal_settings().unwrap()
    }

    async fn types(&self, typing: Typing) -> Result<(), TypingError> {
        let (done, mut typed) = mpsc::channel(1);
        let permit = self.handle.keyboard().unwrap().reserve().unwrap();
        let no_paste = || async {};
        permit.type_command(
            typing,
            no_paste,
            |typed| async move { done.send(typed).await.unwrap() },
        );
        soon("the typing", typed.recv()).await.unwrap()
    }
}

fn line(text: &str) -> Typing {
    let text = StrokeKind::Text(text.as_bytes().to_vec());
    let text = Stroke { what: text, pause: Typing::PAUSE };
    let enter = Stroke { what: StrokeKind::Enter, pause: Duration::ZERO };
    Typing { strokes: vec![text, enter], within: Typing::TAKEN_WITHIN }
}

fn session(pid: u32) -> Vec<String> {
    let listed = Command::new("ps").args(["-e", "-o", "sid=,stat=,args="]).output().unwrap();
    let text = String::from_utf8(listed.stdout).unwrap();
    let ours = |line: &&str| {
        let mut fields = line.split_whitespace();
        fields.next() == Some(&pid.to_string()) && !fields.next().unwrap().starts_with('Z')
    };
    text.lines().filter(ours).map(str::to_owned).collect()
}

#[tokio::test]
async fn it_has_a_terminal_of_its_size_and_both_streams_are_one() {
    let shown = open("test -t 0 && test -t 1 && test -t 2; echo $? $(stty size); echo err >&2");
    let (exit, empty, text) = shown.end().await;
    assert_eq!((exit, empty), (Exit::Code(0), true));
    assert_eq!(text, "0 30 100\r\nerr\r\n");
}

#[tokio::test]
async fn what_is_typed_arrives_and_a_new_size_is_seen() {
    let mut shown = open(
        "trap 'stty size; echo resized' WINCH; echo ready; read a; echo \"got:$a\"; while :; do read b && break; done; echo bye",
    );
    shown.shows("ready").await;
    assert_eq!(shown.settings(), TerminalSettings::AS_OPENED);
    shown.types(line("two words")).await.unwrap();
    shown.shows("got:two words").await;
    shown.handle.keyboard().unwrap().resize(TerminalSize::new(120, 40).unwrap()).unwrap();
    // The shell looks at its traps when a command ends.
    shown.types(line("x")).await.unwrap();
    let (exit, _, text) = shown.end().await;
    assert_eq!(exit, Exit::Code(0), "{text}");
    assert!(text.contains("40 120") && text.ends_with("bye\r\n"), "{text}");
}

#[tokio::test]
async fn keys_act_as_those_of_a_person() {
    let mut shown = open("trap 'echo interrupted; exit 3' INT; echo ready; while :; do :; done");
    shown.shows("ready").await;
    shown.types(Typing::keys("ctrl-c", &Modes::default()).unwrap()).await.unwrap();
    let (exit, empty, text) = shown.end().await;
    assert_eq!((exit, empty), (Exit::Code(3), true));
    assert!(text.contains("interrupted"), "{text}");
}

#[tokio::test]
async fn what_stands_behind_a_paste_waits_and_nothing_comes_between() {
    let mut shown = open("stty raw -echo; echo ready; exec cat -v");
    shown.shows("ready").await;
    let stroke = |what| Stroke { what, pause: Duration::ZERO };
    let strokes = [StrokeKind::Text(b"paste".to_vec()), StrokeKind::Settle, StrokeKind::Enter];
    let typing = Typing { strokes: strokes.map(stroke).to_vec(), within: Typing::TAKEN_WITHIN };
    let (said, mut read) = mpsc::channel(1);
    let (done, mut typed) = mpsc::channel(1);
    let keyboard = shown.handle.keyboard().unwrap();
    let paste_read = move || {
        let said = said.clone();
        async move { said.send(()).await.unwrap() }
    };
    let permit = keyboard.reserve().unwrap();
    permit.type_command(typing, paste_read, |typed| async move { done.send(typed).await.unwrap() });
    soon("the paste", read.recv()).await.unwrap();
    assert!(keyboard.type_local(bytes::Bytes::from_static(b"mine")));
    shown.shows("paste").await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(typed.try_recv().is_err(), "it waits for a word");
    shown.handle.keyboard().unwrap().end_paste();
    soon("the typing", typed.recv()).await.unwrap().unwrap();
    shown.shows("paste^Mmine").await;
    shown.handle.kill();
    let _ = shown.end().await;
}

#[tokio::test]
async fn a_program_that_reads_its_own_keys_is_told_apart_from_one_that_reads_lines() {
    let mut shown = open("stty raw -echo; echo ready; cat");
    shown.shows("ready").await;
    let settings = TerminalSettings {
        lines: LineMode::Program,
        echo: Echo::Off,
        carriage_return: CarriageReturn::Kept,
        foreground: Foreground::Program,
    };
    assert_eq!(shown.settings(), settings);
    shown.handle.kill();
    assert_eq!(shown.end().await.0, Exit::Signal(9));
}

#[tokio::test]
async fn a_text_that_is_not_read_in_its_time_is_said_to_be_typed_in_part() {
    let mut shown = open("stty raw -echo; echo ready; sleep 1000");
    shown.shows("ready").await;
    let text = "x".repeat(1 << 20);
    let limit = Some(Duration::from_millis(200));
    match shown.types(line(&text).limited(limit)).await {
        Err(TypingError::NotRead { taken, all, within }) => {
            assert!(0 < taken && taken < all && all == text.len() + 1, "{taken} of {all}");
            assert_eq!(Some(within), limit);
        }
        other => panic!("{other:?}"),
    }
    shown.handle.kill();
    assert_eq!(shown.end().await.0, Exit::Signal(9));
}

/// A shell that talks to people gives each job a group of its own and bears SIGTERM.
#[tokio::test]
async fn every_group_of_its_session_ends_with_it() {
    let script = "set -m; trap '' TERM; sleep 1000 & sleep 1001 & (trap '' HUP; sleep 1002) & echo ready; read x; wait";
    for at_once in [false, true] {
        let mut shown = open(script);
        shown.shows("ready").await;
        let pid = shown.handle.pid();
        until("its jobs run", || session(pid).len() >= 4).await;
        if at_once {
            shown.handle.kill();
        } else {
            shown.handle.cancel(Duration::from_millis(300));
        }
        let (_, empty, _) = shown.end().await;
        assert!(empty);
        assert_eq!(session(pid), [""; 0]);
    }
}

#[tokio::test]
async fn a_flood_comes_whole_and_in_pieces_larger_than_a_terminal_hands_out() {
    let mut shown = open("stty -opost; seq 200000");
    let (mut bytes, mut largest) = (Vec::new(), 0);
    loop {
        match soon("output", shown.events.recv()).await.unwrap() {
            ProcessEvent::Output { bytes: some, .. } => {
                largest = largest.max(some.len());
                bytes.extend_from_slice(&some);
            }
            ProcessEvent::Ended { exit, .. } => {
                assert_eq!(exit, Exit::Code(0));
                break;
            }
            other @ (ProcessEvent::Cleared { .. }
            | ProcessEvent::Program { .. }
            | ProcessEvent::EndedUnwatched { .. }) => {
                panic!("{other:?}")
            }
        }
    }
    let wanted: String = (1..=200_000).map(|n| format!("{n}\n")).collect();
    assert_eq!(bytes, wanted.as_bytes());
    assert!(largest > 4096, "{largest}");
}

#[tokio::test]
async fn a_program_that_is_not_there_is_named() {
    let runner = Runner::Terminal {
        program: "/no/such/program".into(),
        arguments: Vec::new(),
        size: TerminalSize::DEFAULT,
    };
    let (sender, _events) = mpsc::channel::<ProcessEvent<()>>(1);
    let error = spawn(&ProcessSpec { runner, ..ProcessSpec::default() }, (), sender).unwrap_err();
    assert!(error.to_string().starts_with("/no/such/program could not be started"), "{error}");
}

/// A terminal that nobody reads holds more than it says.
#[tokio::test]
async fn what_it_wrote_before_it_was_killed_is_delivered() {
    let dir = tempfile::tempdir().unwrap();
    let done = dir.path().join("done");
    let script = format!(
        "echo ready; read x; head -c 8000 /dev/zero | tr '\\0' a; echo >'{}'; sleep 1000",
        done.display()
    );
    let mut shown = open(&script);
    shown.shows("ready").await;
    shown.handle.pause_reading();
    shown.types(line("go")).await.unwrap();
    until("it wrote everything", || done.exists()).await;
    let pid = shown.handle.pid();
    shown.handle.kill();
    until("it is gone", || session(pid).is_empty()).await;
    // Long enough for that to be noticed before anything is read; too short, and this shows nothing.
    tokio::time::sleep(Duration::from_millis(300)).await;
    shown.handle.resume_reading();
    let (_, empty, text) = shown.end().await;
    assert!(empty);
    let (_, written) = text.split_once("go").unwrap();
    assert_eq!(written.matches('a').count(), 8000);
}

#[tokio::test]
async fn whoever_looks_on_too_slowly_keeps_nothing_from_ending() {
    let mut shown = open("echo ready; while :; do echo more; done");
    shown.shows("ready").await;
    shown.handle.wait_for_watcher(true);
    shown.handle.kill();
    assert!(shown.end().await.1);
}

#[tokio::test]
async fn a_session_that_breeds_is_killed_whole() {
    let mut shown =
        open("set -m; echo ready; n=0; while [ $((n += 1)) -lt 5000 ]; do (sleep 1000 &) & done");
    shown.shows("ready").await;
    let pid = shown.handle.pid();
    until("it breeds", || session(pid).len() > 20).await;
    shown.handle.kill();
    let (_, empty, _) = shown.end().await;
    assert!(empty);
    assert_eq!(session(pid), [""; 0]);
}

/// A program that reads its own keys, each read on a line of its own behind `read `. First it does what `before` says.
fn reader(before: &str) -> String {
    format!(
        "exec python3 -uc '\
import os, sys, time, tty, termios\n\
{before}\n\
print(\"ready\", end=\"\\r\\n\")\n\
while True: print(\"read\", os.read(0, 4096), end=\"\\r\\n\")'"
    )
}

#[tokio::test]
async fn enter_is_a_read_of_its_own_however_late_the_program_reads() {
    let mut shown = open(&reader("tty.setraw(0); print(\"raw\"); time.sleep(0.7)"));
    shown.shows("raw").await;
    shown.types(line("hello")).await.unwrap();
    shown.shows("read b\'\\r\'").await;
    assert!(shown.text.contains("read b\'hello\'"), "{}", shown.text);
}

#[tokio::test]
async fn an_escape_is_a_read_of_its_own_within_a_command_and_before_the_next() {
    let mut shown = open(&reader("tty.setraw(0)"));
    shown.shows("ready").await;
    for keys in ["a escape b", "escape", "h e y"] {
        shown.types(Typing::keys(keys, &Modes::default()).unwrap()).await.unwrap();
    }
    for read in ["a\\x1b", "b", "\\x1b", "hey"] {
        shown.shows(&format!("read b\'{read}\'")).await;
    }
}

#[tokio::test]
async fn what_the_program_threw_away_unread_was_not_taken() {
    let before = "print(\"cooked\"); time.sleep(1.5); tty.setraw(0)";
    let mut shown = open(&reader(before));
    shown.shows("cooked").await;
    let early = shown.types(line("early")).await;
    assert!(matches!(early, Err(TypingError::ThrownAway)), "{early:?}");
    assert_eq!(early.unwrap_err().typed(), Typed::Nothing);
    shown.shows("ready").await;
    shown.types(line("later")).await.unwrap();
    shown.shows("read b\'later\'").await;
    assert!(!shown.text.contains("read b\'early"), "{}", shown.text);
}

#[tokio::test]
async fn what_was_typed_whole_and_is_not_read_is_told_apart_from_what_is() {
    let mut shown = open("echo ready; sleep 1000");
    shown.shows("ready").await;
    let limit = Some(Duration::from_millis(300));
    let unread = shown.types(line("never read").limited(limit)).await.unwrap_err();
    assert_eq!(unread.typed(), Typed::Whole, "{unread}");
    assert!(matches!(unread, TypingError::NotRead { taken: 11, all: 11, .. }), "{unread:?}");
}

#[tokio::test]
async fn a_program_that_ends_by_what_it_reads_has_read_it() {
    for _ in 0..20 {
        let mut shown = open("echo ready; read x; exit 7");
        shown.shows("ready").await;
        shown.types(line("exit")).await.unwrap();
        assert_eq!(shown.end().await.0, Exit::Code(7));
    }
}

#[tokio::test]
async fn enter_ends_a_line_also_where_a_carriage_return_would_not() {
    let mut shown = open("stty -icrnl; echo ready; read x; echo \"got:$x.\"");
    shown.shows("ready").await;
    shown.types(line("hello")).await.unwrap();
    shown.shows("got:hello.").await;
}

#[tokio::test]
async fn a_job_in_the_foreground_is_told_apart_from_the_program_itself() {
    let mut shown = open("echo ready; read x; set -m; sh -c \'echo job; sleep 1000\'");
    shown.shows("ready").await;
    assert_eq!(shown.settings().foreground, Foreground::Program);
    shown.types(line("go")).await.unwrap();
    shown.shows("job").await;
    assert_eq!(shown.settings().foreground, Foreground::Job);
}

/// Itself, and one that a script waits for.
#[tokio::test]
async fn a_program_that_a_signal_stops_is_told_of_and_that_it_runs_again() {
    for script in ["kill -STOP $$; exec sleep 1000", "sh -c 'kill -STOP $$; exec sleep 1000'; echo"]
    {
        let mut shown = open(script);
        let ProgramState::Stopped { process } = shown.state().await else {
            panic!("{script}: it runs")
        };
        let is_itself = u32::try_from(process).unwrap() == shown.handle.pid();
        assert_eq!(is_itself, script.starts_with("kill"), "{script}");
        rustix::process::kill_process(Pid::from_raw(process).unwrap(), Signal::CONT).unwrap();
        assert_eq!(shown.state().await, ProgramState::Runs, "{script}");
        shown.handle.kill();
        let (exit, empty, _) = shown.end().await;
        assert_eq!((exit, empty), (Exit::Signal(9), true), "{script}");
    }
}
