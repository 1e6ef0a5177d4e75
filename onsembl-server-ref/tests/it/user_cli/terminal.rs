//! Lists in a terminal, by `script`; and lists that are watched.

use super::{Desk, ended, program};
use crate::fixture::PATIENCE;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, BufReader, Lines};
use tokio::time::timeout;
use unicode_width::UnicodeWidthStr as _;

/// What `onsembl` with these words writes to a terminal of this many columns.
async fn in_terminal(desk: &Desk, columns: usize, words: &str, plain: bool) -> String {
    let run = format!("stty cols {columns}; exec {} {words}", env!("CARGO_BIN_EXE_onsembl"));
    let mut script = program("script", desk.config.path());
    let _ = script
        .args(["-qec", &run, "/dev/null"])
        .env("TERM", "xterm-256color")
        .env_remove("COLUMNS");
    let _ = match plain {
        true => script.env("NO_COLOR", "1"),
        false => script.env_remove("NO_COLOR"),
    };
    ended(&mut script).await.ok().replace('\r', "")
}

#[tokio::test]
async fn lists_fit_the_terminal_and_have_colours_there_only() {
    let desk = Desk::of_ann().await;
    let names = ["n".repeat(30), "漢".repeat(15), "plain".to_owned()];
    for name in &names {
        drop(desk.agent(name, 0).await);
    }
    let long = format!("echo {}", "word ".repeat(60));
    let _ = desk.run(&["exec", "--all", "-q", "--", &long]).await;
    for columns in [80, 100] {
        for list in ["agents", "commands"] {
            let shown = in_terminal(&desk, columns, list, true).await;
            assert_eq!(shown.lines().count(), 4, "{shown}");
            for line in shown.lines() {
                assert!(line.width() <= columns, "{list}: {} {line}", line.width());
            }
            for name in &names {
                assert!(shown.contains(name), "{shown}");
            }
            assert!(!shown.contains('\u{1b}'), "{shown:?}");
        }
    }
    let coloured = in_terminal(&desk, 80, "agents", false).await;
    assert!(coloured.contains("\u{1b}["), "{coloured:?}");
    let piped = desk.run(&["commands"]).await.ok();
    assert!(piped.lines().any(|line| line.width() > 100) && !piped.contains('\u{1b}'), "{piped}");
}

async fn line(of: &mut Lines<impl AsyncBufRead + Unpin>) -> String {
    timeout(PATIENCE, of.next_line()).await.expect("it says something").unwrap().expect("a line")
}

#[tokio::test]
async fn a_list_that_is_watched_is_printed_again_when_it_changes_and_survives_its_server() {
    let mut desk = Desk::of_ann().await;
    drop(desk.agent("one", 0).await);
    let mut command = desk.command(&["agents", "--watch", "-o", "name"]);
    let mut watching =
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it can be run");
    let mut out = BufReader::new(watching.stdout.take().unwrap()).lines();
    let mut err = BufReader::new(watching.stderr.take().unwrap()).lines();
    assert_eq!(line(&mut out).await, "one");
    let again = timeout(Duration::from_secs(5), out.next_line()).await;
    assert!(again.is_err(), "a program is not told the same again: {again:?}");
    drop(desk.agent("two", 0).await);
    let mut both = [line(&mut out).await, line(&mut out).await];
    both.sort();
    assert_eq!(both, ["one", "two"]);
    desk.world.stop().await;
    let said = line(&mut err).await;
    assert!(said.contains("trying again"), "{said}");
    assert_eq!(watching.try_wait().unwrap(), None, "the server may come back");
    watching.kill().await.unwrap();
}

#[tokio::test]
async fn a_list_that_is_watched_on_a_screen_takes_the_place_of_the_one_before() {
    let desk = Desk::of_ann().await;
    drop(desk.agent("one", 0).await);
    let run = format!("stty cols 80; timeout 7 {} agents --watch", env!("CARGO_BIN_EXE_onsembl"));
    let mut script = program("script", desk.config.path());
    let _ = script.args(["-qec", &run, "/dev/null"]).env("TERM", "xterm").env("NO_COLOR", "1");
    let shown = ended(&mut script).await;
    assert_eq!(shown.code, Some(124), "it ends only when it is ended: {shown:?}");
    let screens: Vec<&str> = shown.out.split("\x1b[H\x1b[2J\x1b[3J").collect();
    assert!(screens.len() > 2 && screens[0].trim().is_empty(), "{shown:?}");
    for screen in screens.iter().skip(1) {
        let lines: Vec<&str> = screen.lines().map(str::trim_end).collect();
        assert_eq!(lines.len(), 2, "{screen:?}");
        let agent: Vec<&str> = lines[1].split_whitespace().take(2).collect();
        assert_eq!((&lines[0][..4], agent), ("NAME", vec!["one", "online"]), "{screen:?}");
    }
}
