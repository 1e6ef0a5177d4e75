//! Starts: surroundings, and the text of each failure.

use super::*;
use onsembl_agent_ref::process::{Runner, SpawnError, TextOn};
use onsembl_protocol::worker::Screen;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

fn refused(spec: &ProcessSpec) -> SpawnError {
    let (sender, mut events) = mpsc::channel::<ProcessEvent<()>>(1);
    let error = spawn(spec, (), sender).expect_err("it started");
    assert!(events.try_recv().is_err());
    error
}

#[tokio::test]
async fn directory_environment_and_arguments_reach_the_command() {
    let dir = tempfile::tempdir().unwrap();
    let spec = ProcessSpec {
        runner: Runner::Shell,
        text: r#"pwd; printf '%s|' "$0" "$#" "$1" "$2" "$3" "$GREETING"; test -n "$PATH""#.into(),
        working_directory: Some(dir.path().to_owned()),
        environment: vec![("GREETING".into(), "two words".into())],
        arguments: vec!["a b".into(), String::new(), "$(c)'\"".into()],
        mark: None,
        screen: Screen::Detached,
    };
    let done = start_spec(&spec, 4).done().await;
    let directory = dir.path().canonicalize().unwrap();
    assert_eq!(done.text(), format!("{}\nsh|3|a b||$(c)'\"|two words|", directory.display()));
    assert_eq!(done.exit, Exit::Code(0));
}

#[tokio::test]
async fn standard_input_is_empty() {
    assert_eq!(start("cat; echo end").done().await.text(), "end\n");
}

#[tokio::test]
async fn a_text_that_begins_with_a_dash_is_a_command() {
    let done = start("-e").done().await;
    assert_eq!(done.exit, Exit::Code(127), "{}", String::from_utf8_lossy(&done.stderr));
}

#[tokio::test]
async fn the_handle_names_the_leader_of_a_group_of_its_own() {
    let before = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    let run = start("echo $$");
    let (pid, incarnation) = (run.handle.pid(), run.handle.incarnation().0);
    assert_eq!(rustix::process::getpgid(Some(run.pid())).unwrap(), run.pid());
    assert_eq!(run.done().await.text(), format!("{pid}\n"));
    let after = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    assert!((before..=after).contains(&u128::from(incarnation)));
}

#[tokio::test]
async fn a_missing_directory_is_named() {
    let spec = ProcessSpec {
        working_directory: Some(PathBuf::from("/no/such/place")),
        ..ProcessSpec::shell("true")
    };
    assert_eq!(
        refused(&spec).to_string(),
        "the working directory /no/such/place cannot be used: No such file or directory (os error 2)"
    );
}

#[tokio::test]
async fn a_file_is_not_taken_for_a_directory() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let spec = ProcessSpec {
        working_directory: Some(file.path().to_owned()),
        ..ProcessSpec::shell("true")
    };
    let text = refused(&spec).to_string();
    assert!(text.ends_with("cannot be used: not a directory"), "{text}");
}

#[tokio::test]
async fn what_no_process_can_be_given_is_refused() {
    let shell = ProcessSpec::shell("true");
    let with_variable = |name: &str, value: &str| ProcessSpec {
        environment: vec![(name.into(), value.into())],
        ..shell.clone()
    };
    let nul = |what: &str| {
        format!("{what} contains a NUL byte, which cannot be passed to a process; remove it")
    };
    for (spec, text) in [
        (ProcessSpec::shell("a\0b"), nul("the command text")),
        (ProcessSpec { arguments: vec!["\0".into()], ..shell.clone() }, nul("an argument")),
        (with_variable("A", "\0"), nul("an environment variable")),
        (with_variable("A\0", ""), nul("an environment variable")),
        (
            ProcessSpec { working_directory: Some(PathBuf::from("/\0")), ..shell.clone() },
            nul("the working directory"),
        ),
    ] {
        assert_eq!(refused(&spec).to_string(), text);
    }
    for name in ["", "A=B", "="] {
        let text = refused(&with_variable(name, "x")).to_string();
        assert!(text.contains("cannot name an environment variable"), "{text}");
    }
}

#[tokio::test]
async fn a_command_too_long_for_the_system_is_refused_with_its_words() {
    let text = refused(&ProcessSpec::shell("x".repeat(4 << 20))).to_string();
    assert!(text.starts_with("/bin/sh could not be started on this machine: "), "{text}");
}

fn program(text_on: TextOn, arguments: &[&str], text: &str) -> ProcessSpec {
    let arguments = arguments.iter().map(|&a| a.to_owned()).collect();
    let runner = Runner::Program { program: "printf".into(), arguments, text_on };
    ProcessSpec { runner, text: text.into(), ..ProcessSpec::default() }
}

#[tokio::test]
async fn a_program_gets_the_text_as_its_last_argument_and_no_shell_reads_it() {
    let text = "$(id) 'as it is' \"\u{e9}\"; exit 3";
    let mut spec = program(TextOn::Argument, &["%s|", "first"], text);
    spec.arguments = vec!["asked for".into()];
    let done = start_spec(&spec, 4).done().await;
    assert_eq!(done.text(), format!("first|asked for|{text}|"));
    assert_eq!(done.exit, Exit::Code(0));
}

#[tokio::test]
async fn a_program_gets_the_text_on_its_standard_input_to_the_end() {
    let text = "line\n".repeat(20_000);
    let runner = Runner::Program {
        program: "/bin/cat".into(),
        arguments: vec!["-".into()],
        text_on: TextOn::Stdin,
    };
    let spec = ProcessSpec { runner, text: text.clone(), ..ProcessSpec::default() };
    assert_eq!(start_spec(&spec, 4).done().await.text(), text);
    // One that reads nothing ends anyway.
    let runner =
        Runner::Program { program: "true".into(), arguments: vec![], text_on: TextOn::Stdin };
    let spec = ProcessSpec { runner, text, ..ProcessSpec::default() };
    assert_eq!(start_spec(&spec, 4).done().await.exit, Exit::Code(0));
}

#[tokio::test]
async fn a_text_that_would_be_an_option_is_refused() {
    let (events, _) = mpsc::channel(1);
    let refused = program(TextOn::Argument, &["%s"], "--version");
    let error = spawn(&refused, "c", events).unwrap_err().to_string();
    assert!(error.contains("would parse it as an option"), "{error}");
    let done =
        start_spec(&program(TextOn::Argument, &["--", "%s", "--"], "--version"), 4).done().await;
    assert!(done.text().ends_with("--version"), "{}", done.text());
}

#[tokio::test]
async fn a_program_that_is_not_there_is_named() {
    let (events, _) = mpsc::channel(1);
    let runner = Runner::Program {
        program: "no-such-program".into(),
        arguments: vec![],
        text_on: TextOn::Argument,
    };
    let spec = ProcessSpec { runner, text: "x".into(), ..ProcessSpec::default() };
    let error = spawn(&spec, "c", events).unwrap_err().to_string();
    assert!(error.contains("no-such-program could not be started"), "{error}");
}
