//! A command in a terminal of its own, with somebody who types as soon as something is shown.

use crate::bench::{PATIENCE, Running};
use onsembl_protocol::model::TerminalSize;
use onsembl_transport::screen::Screen;
use pty_process::Size;
use pty_process::blocking::{Command, open};
use std::io::{Read as _, Write as _};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Instant;

const ROWS: u16 = 30;
const COLUMNS: u16 = 120;

/// Keys, and the text after which they are typed.
#[derive(Debug)]
pub struct Keys {
    after: String,
    keys: Vec<u8>,
}

impl Keys {
    /// `$ => ls Enter`: `ls` and a line end, as soon as `$` is shown.
    pub fn parse(text: &str) -> Self {
        let (after, keys) = text.split_once(" => ").expect("a text and keys");
        let key = |key: &str| match (key, key.strip_prefix("Ctrl-")) {
            ("Enter", _) => b"\r".to_vec(),
            (_, Some(letter)) => letter.bytes().map(|letter| letter & 0x1f).collect(),
            (text, None) => text.as_bytes().to_vec(),
        };
        Self { after: after.to_owned(), keys: keys.split(' ').flat_map(key).collect() }
    }
}

/// What the terminal showed when the last keys were typed, and what it shows further when the command has ended: its
/// rows, without those that are empty.
pub fn shown_in_the_end(command: Command, keys: &[Keys]) -> Vec<String> {
    let (pty, pts) = open().expect("a terminal");
    pty.resize(Size::new(ROWS, COLUMNS)).expect("a size");
    let mut child = Running(command.spawn(pts).expect("it can be run"));
    let (pty, (sender, output)) = (Arc::new(pty), channel());
    let read = Arc::clone(&pty);
    std::thread::spawn(move || {
        let mut buffer = [0; 16 * 1024];
        // An error is how a terminal ends.
        while let Ok(length @ 1..) = (&*read).read(&mut buffer) {
            if sender.send(buffer[..length].to_vec()).is_err() {
                return;
            }
        }
    });
    let size = TerminalSize::new(COLUMNS.into(), ROWS.into()).expect("a size");
    let (mut screen, mut keys) = (Screen::new(size), keys.iter().peekable());
    let deadline = Instant::now() + PATIENCE;
    let mut shown = Vec::new();
    loop {
        match output.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(bytes) => screen.feed(&bytes),
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {
                panic!("it waits for {:?}: {}", keys.peek(), screen.look().text())
            }
        }
        let text = screen.look().text();
        while let Some(next) = keys.next_if(|next| text.contains(&next.after)) {
            shown = rows(&screen);
            (&*pty).write_all(&next.keys).expect("it can be typed");
        }
    }
    let last = rows(&screen);
    assert!(keys.peek().is_none(), "it ended before {:?}: {last:#?}", keys.peek());
    let _ = child.wait();
    // What a command says at its end may have moved the first rows out of the screen.
    let further: Vec<String> = last.into_iter().filter(|row| !shown.contains(row)).collect();
    shown.extend(further);
    shown
}

fn rows(screen: &Screen) -> Vec<String> {
    let text = screen.look().text();
    text.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
}
