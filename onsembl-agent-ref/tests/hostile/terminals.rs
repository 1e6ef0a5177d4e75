//! Attacks on terminals, by agents and dashboards: their screens, their keyboards, and what is said of their programs.

use crate::effects::{note_message, note_response};
use crate::target::{Open, Reads, Socket, Target, message};
use futures::future::join_all;
use futures::stream::SplitSink;
use futures::{SinkExt as _, StreamExt as _};
use std::collections::HashMap;
use std::fmt::Write as _;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_tungstenite::tungstenite::Message;

/// 16 KiB of one byte, as base64: the largest input.
pub(crate) fn largest_input(byte: u8) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(vec![byte; 16 * 1024])
}

/// A terminal that no earlier round had.
pub(crate) fn terminal(n: usize) -> String {
    format!("terminal-{:010}-{n:04}", std::process::id())
}

fn opened(n: usize, columns: u32, rows: u32) -> String {
    let id = terminal(n);
    let payload = format!(
        r#"{{"commandId":"{id}","program":"x","size":{{"columns":{columns},"rows":{rows}}}}}"#
    );
    message("TERMINAL_OPENED", &payload)
}

fn sized(n: usize, offset: u64, columns: u32, rows: u32) -> String {
    let id = terminal(n);
    let payload = format!(
        r#"{{"commandId":"{id}","incarnation":7,"offset":{offset},"size":{{"columns":{columns},"rows":{rows}}}}}"#
    );
    message("TERMINAL_SIZE", &payload)
}

/// The output of a terminal, chunk by chunk.
struct Written {
    n: usize,
    sequence: u64,
    offset: u64,
}

impl Written {
    const fn to(n: usize) -> Self {
        Self { n, sequence: 0, offset: 0 }
    }

    fn next(&mut self, bytes: &[u8]) -> Message {
        self.sequence += 1;
        let id = terminal(self.n);
        let mut frame = vec![1, 2];
        frame.extend(u16::try_from(id.len()).unwrap().to_be_bytes());
        for number in [7, self.sequence, self.offset] {
            frame.extend(number.to_be_bytes());
        }
        frame.extend(id.as_bytes());
        frame.extend(bytes);
        self.offset += bytes.len() as u64;
        Message::binary(frame)
    }
}

/// An agent with this many open terminals.
async fn with_terminals(target: &Target, count: usize, columns: u32, rows: u32) -> Socket {
    let mut agent = target.agent_of_today("a").await;
    for n in 0..count {
        let _ = agent.send(Message::text(opened(n, columns, rows))).await;
        drain(&mut agent).await;
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    agent
}

/// Reads what is there.
async fn drain(socket: &mut Socket) {
    let wait = Duration::from_micros(200);
    while let Ok(Some(Ok(heard))) = tokio::time::timeout(wait, socket.next()).await {
        if let Message::Text(text) = heard {
            note_message(&text);
        }
    }
}

/// Reads until it is over.
async fn hear(mut socket: Socket) {
    while let Some(Ok(heard)) = socket.next().await {
        if let Message::Text(text) = heard {
            note_message(&text);
        }
    }
}

/// Looks at a screen once, and takes all of it.
async fn look(target: &Target, path: &str) {
    let request = target.request(path).replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n");
    let mut stream = target.tcp().await;
    let _ = stream.write_all(request.as_bytes()).await;
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    let _ = tokio::time::timeout(Duration::from_secs(30), read).await;
    note_response(&answer);
}

/// Sizes of one terminal without end, each at another place and another extreme.
pub(crate) async fn sizes(target: Target) {
    let mut agent = with_terminals(&target, 1, 80, 24).await;
    let extremes = [(1, 1), (1000, 1000), (1, 1000), (1000, 1), (0, 0), (65535, 65535)];
    for n in 0_u64.. {
        let (columns, rows) = extremes[usize::try_from(n).unwrap() % extremes.len()];
        if agent.send(Message::text(sized(0, n, columns, rows))).await.is_err() {
            agent = with_terminals(&target, 1, 80, 24).await;
        }
        drain(&mut agent).await;
    }
}

/// Screens that are small when somebody looks at them first, and then grow.
pub(crate) async fn growing_screens(target: Target) {
    const COUNT: usize = 48;
    let mut agent = with_terminals(&target, COUNT, 20, 10).await;
    for n in 0..COUNT {
        let _ = agent.send(Written::to(n).next(b"x")).await;
    }
    drain(&mut agent).await;
    for round in 0.. {
        let look_at = |n: usize| {
            let path = format!("/api/commands/{}/screen?format=text", terminal(n));
            let target = &target;
            async move { look(target, &path).await }
        };
        join_all((0..COUNT).map(look_at)).await;
        for n in 0..COUNT {
            let larger = sized(n, 1, 900 + round % 100, 1000);
            let _ = agent.send(Message::text(larger)).await;
        }
        drain(&mut agent).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Output that is expensive to draw, on the largest screen that may be looked at, and many who look.
pub(crate) async fn costly_screens(target: Target) {
    let kinds: [Vec<u8>; 5] = [
        b"\x1bc".repeat(15_000),
        b"\x1b#8\x1b[H\x1b[J".repeat(3_000),
        [b"\x1b]0;".to_vec(), vec![b'x'; 30_000]].concat(),
        "e\u{301}\u{301}\u{200d}".repeat(3_000).into_bytes(),
        b"\x1b[500L\x1b[9999S\x1b[65535b\x1b[?1049h\x1b[?1049l".repeat(800),
    ];
    let write = async {
        let mut agent = with_terminals(&target, 1, 500, 500).await;
        let mut written = Written::to(0);
        for kind in kinds.iter().cycle() {
            if agent.send(written.next(kind)).await.is_err() {
                break;
            }
            drain(&mut agent).await;
        }
    };
    let path = format!("/api/commands/{}/screen", terminal(0));
    let looks = (0..32).map(|_| async {
        loop {
            look(&target, &path).await;
        }
    });
    futures::future::join(write, join_all(looks)).await;
}

/// A screen with a colour for each character, many who ask for it, and none who reads it.
pub(crate) async fn unread_screens(target: Target) {
    let mut agent = with_terminals(&target, 1, 300, 150).await;
    let mut text = String::from("\x1b[H");
    for n in 0..300 * 150_u32 {
        let [_, r, g, b] = (n * 7).to_be_bytes();
        write!(text, "\x1b[38;2;{r};{g};{b}mX").unwrap();
    }
    let mut written = Written::to(0);
    for chunk in text.as_bytes().chunks(30_000) {
        let _ = agent.send(written.next(chunk)).await;
        drain(&mut agent).await;
    }
    let formats = ["json", "ansi", "dump"];
    let one = |n: usize| {
        let format = formats[n % formats.len()];
        let request =
            target.request(&format!("/api/commands/{}/screen?format={format}", terminal(0)));
        let target = &target;
        async move {
            loop {
                let mut stream = target.narrow_tcp().await;
                let _ = stream.write_all(request.as_bytes()).await;
                let mut head = [0; 64];
                let read = tokio::time::timeout(Duration::from_secs(5), stream.read(&mut head));
                if let Ok(Ok(bytes)) = read.await {
                    note_response(head.get(..bytes).unwrap_or_default());
                }
                tokio::time::sleep(Duration::from_secs(20)).await;
            }
        }
    };
    futures::future::join(hear(agent), join_all((0..600).map(one))).await;
}

/// Screens, keyboards and sizes of terminals and agents that are not the attacker's.
pub(crate) async fn terminals_of_others(target: Target) {
    let names = ["good", "terminal-1", "terminal-01900000", "../good", "agent-session-good"];
    let looks = names.iter().flat_map(|name| {
        ["commands", "agents"].map(|kind| target.request(&format!("/api/{kind}/{name}/screen")))
    });
    let looks = join_all(looks.map(|request| target.ask(request)));
    let text = |n: u64| {
        let name = names[usize::try_from(n).unwrap() % names.len()];
        match n % 3 {
            0 => take(name, "x"),
            1 => input(name, "h-1", n, "eA=="),
            _ => message(
                "AGENT_CONTROL",
                &format!(
                    r#"{{"agentId":"{name}","action":"RESIZE","size":{{"columns":9,"rows":9}}}}"#
                ),
            ),
        }
    };
    let asks = join_all((0..4).map(|_| target.repeat(Open::Typist, text, Reads::All)));
    futures::future::join(looks, asks).await;
}

pub(crate) fn take(terminal: &str, name: &str) -> String {
    let payload = format!(r#"{{"commandId":"{terminal}","name":"{name}","mode":"over"}}"#);
    message("KEYBOARD_TAKE", &payload)
}

pub(crate) fn input(terminal: &str, hold: &str, sequence: u64, bytes: &str) -> String {
    let payload = format!(
        r#"{{"commandId":"{terminal}","holder":"{hold}","sequence":{sequence},"bytes":"{bytes}"}}"#
    );
    message("TERMINAL_INPUT", &payload)
}

/// The value of a field of a message.
pub(crate) fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(&format!(r#""{name}":""#))?;
    Some(rest.split_once('"')?.0)
}

/// Dashboards that take the same keyboards from one another all the time, under names of the greatest length.
pub(crate) async fn taken_keyboards(target: Target) {
    const COUNT: usize = 64;
    let agent = with_terminals(&target, COUNT, 80, 24).await;
    let name = "\\u001b".repeat(200);
    let text = |n: u64| take(&terminal(usize::try_from(n).unwrap() % COUNT), &name);
    let takes = join_all((0..6).map(|_| target.repeat(Open::Typist, text, Reads::All)));
    let detail = |n| target.ask(target.request(&format!("/api/commands/{}", terminal(n))));
    let details = join_all((0..8).map(detail));
    futures::future::join3(hear(agent), takes, details).await;
}

/// Input without end: the largest, under numbers that jump, under no hold, and of one that is right and never read.
pub(crate) async fn inputs(target: Target) {
    let agent = with_terminals(&target, 4, 80, 24).await;
    let large = largest_input(b'x');
    let (large, twice) = (&large, format!("{large}{large}"));
    let one = |n: usize| {
        let (target, twice) = (&target, &twice);
        async move {
            loop {
                let mut socket = target.typist().await;
                let id = terminal(n % 4);
                let _ = socket.send(Message::text(take(&id, "x"))).await;
                let mut hold = String::from("none");
                for sequence in 1_u64.. {
                    let text = match sequence % 5 {
                        0 => input(&id, &hold, sequence * 1000, "eA=="),
                        1 => input(&id, "h-of-nobody", sequence, large),
                        2 => input(&id, &hold, sequence, twice),
                        3 => input(&id, &hold, sequence / 5 + 1, ""),
                        _ => input(&id, &hold, sequence / 5 + 1, large),
                    };
                    if socket.send(Message::text(text)).await.is_err() {
                        break;
                    }
                    let wait = Duration::from_micros(200);
                    while let Ok(Some(Ok(heard))) = tokio::time::timeout(wait, socket.next()).await
                    {
                        let Message::Text(text) = heard else { continue };
                        note_message(&text);
                        if let Some(holder) = field(&text, "holder") {
                            hold = holder.to_owned();
                        }
                    }
                }
            }
        }
    };
    futures::future::join(hear(agent), join_all((0..8).map(one))).await;
}

/// Dashboards without end that watch a terminal which writes without end and changes its size, ask for it again,
/// and read
/// nothing.
pub(crate) async fn unread_viewers(target: Target) {
    let write = async {
        let mut agent = with_terminals(&target, 1, 80, 24).await;
        let mut written = Written::to(0);
        for n in 0.. {
            let size = sized(0, written.offset, 80 + n % 50, 24);
            let _ = agent.send(Message::text(size)).await;
            if agent.send(written.next(&[b'o'; 30_000])).await.is_err() {
                break;
            }
            drain(&mut agent).await;
        }
    };
    let again = message(
        "DASHBOARD_SUBSCRIBE",
        &format!(
            r#"{{"type":"command","id":"{}","replay":{{"incarnation":7,"streamType":"TERMINAL","offset":0}}}}"#,
            terminal(0)
        ),
    );
    let one = |_| async {
        loop {
            let mut socket = target.typist().await;
            for _ in 0..50 {
                let _ = socket.send(Message::text(again.as_str())).await;
            }
            let _ = socket.get_mut().readable().await;
            tokio::time::sleep(Duration::from_secs(5)).await;
        }
    };
    futures::future::join(write, join_all((0..1000).map(one))).await;
}

/// An agent that says of keyboards, with long words, whatever comes to its mind.
pub(crate) async fn states_of_keyboards(target: Target) {
    const COUNT: usize = 16;
    let agent = with_terminals(&target, COUNT, 80, 24).await;
    let (mut says, mut hears) = agent.split();
    let holders = tokio::sync::Mutex::new(HashMap::<usize, String>::new());
    let dashboards = (0..8).map(|_| async {
        let mut socket = target.typist().await;
        loop {
            for n in 0..COUNT {
                let _ = socket.send(Message::text(take(&terminal(n), "x"))).await;
                let wait = Duration::from_millis(2);
                while let Ok(Some(Ok(heard))) = tokio::time::timeout(wait, socket.next()).await {
                    let Message::Text(text) = heard else { continue };
                    note_message(&text);
                    if let (Some(id), Some(hold)) =
                        (field(&text, "commandId"), field(&text, "holder"))
                        && let Some(n) = (0..COUNT).find(|n| terminal(*n) == id)
                    {
                        drop(holders.lock().await.insert(n, hold.to_owned()));
                    }
                }
            }
        }
    });
    let long = "n".repeat(30_000);
    let flood = async {
        for n in 0_u64.. {
            let terminal_n = usize::try_from(n).unwrap() % COUNT;
            let hold = holders.lock().await.get(&terminal_n).cloned().unwrap_or_default();
            let id = terminal(terminal_n);
            let said = format!(
                r#"{{"commandId":"{id}","holder":"{hold}","taken":{n},"notice":"{long}"}}"#
            );
            say(&mut says, &message("TERMINAL_INPUT_STATE", &said)).await;
        }
    };
    let hear = async { while let Some(Ok(_)) = hears.next().await {} };
    futures::future::join3(join_all(dashboards), flood, hear).await;
}

async fn say(socket: &mut SplitSink<Socket, Message>, text: &str) {
    if socket.send(Message::text(text)).await.is_err() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// What programs do, a new thing with each message, with questions of the greatest length and words that it is unknown.
pub(crate) async fn activities(target: Target) {
    let title = "\\u001b]0;".repeat(6_000);
    let choices = vec![format!(r#""{}""#, "c".repeat(500)); 1000].join(",");
    let text = |n: u64| {
        let state = ["asking", "waiting", "working", "dancing"][usize::try_from(n).unwrap() % 4];
        let payload = format!(
            r#"{{"commandId":"{}","state":"{state}","since":{n},"fact":"{n}","lane":"{n}","at":{n},"question":{{"kind":"{n}","title":"{title}","choices":[{}]}}}}"#,
            terminal(0),
            if n.is_multiple_of(16) { choices.as_str() } else { "" },
        );
        message("AGENT_ACTIVITY", &payload)
    };
    let agents =
        ["a", "b", "c", "d"].map(|key| target.repeat(Open::AgentOfToday(key), text, Reads::All));
    let watch = |_| async {
        loop {
            hear(target.typist().await).await;
        }
    };
    futures::future::join(join_all(agents), join_all((0..8).map(watch))).await;
}

/// Secrets, texts that depend on what a program does, and keys, of the greatest length, for an agent that says nothing.
pub(crate) async fn secrets(target: Target) {
    let agent = with_terminals(&target, 1, 80, 24).await;
    let first = u64::from(std::process::id()) << 32;
    let long = "s".repeat(60_000);
    let one = |link: u64| {
        let long = &long;
        let text = move |n: u64| {
            let id = first + (link << 24) + n;
            let more = ["\"input\":\"secret\"", "\"if\":\"waiting\"", "\"openLine\":\"take\""]
                [usize::try_from(n).unwrap() % 3];
            let payload = format!(
                r#"{{"agentId":"a","commandId":"s-{id}","command":"{long}","args":[],"env":{{}},"type":"NATURAL","priority":5,"offline":"queue",{more}}}"#
            );
            message("COMMAND_REQUEST", &payload)
        };
        target.repeat(Open::Typist, text, Reads::All)
    };
    futures::future::join(hear(agent), join_all((0..4).map(one))).await;
}
