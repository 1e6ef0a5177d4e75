//! Output in the manner of the programs that are watched most, written by hand: it has the sequences that they use, and
//! nothing that they say. A recording of a program is better evidence; one that lies beside this file is used too.

/// Name, columns, rows, output.
pub fn all() -> Vec<(&'static str, u64, u64, Vec<u8>)> {
    vec![
        ("like-claude", 72, 20, claude()),
        ("like-codex", 72, 20, codex()),
        ("like-gemini", 72, 20, gemini()),
        ("like-vim", 60, 16, vim()),
        ("like-htop", 80, 18, htop()),
        ("like-cargo", 64, 14, cargo()),
    ]
}

/// A text that grows.
#[derive(Default)]
struct Written(String);

impl Written {
    fn put(&mut self, text: impl AsRef<str>) -> &mut Self {
        self.0.push_str(text.as_ref());
        self
    }

    fn end(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.0).into_bytes()
    }
}

/// A frame that is drawn below the prompt, erased line by line and drawn again; true colours, a spinner, paste brackets.
fn claude() -> Vec<u8> {
    let mut out = Written::default();
    out.put("\x1b[?2004h\x1b[?1004h\x1b[?25l\x1b]0;✳ a title\x07");
    for line in [
        "╭─────────────────────────╮",
        "│ ✻ \x1b[1mWelcome\x1b[22m              │",
        "╰─────────────────────────╯",
    ] {
        out.put(format!("\x1b[38;2;215;119;87m{line}\x1b[39m\r\n"));
    }
    let spinner = ["·", "✢", "✳", "✶", "✻", "✽"];
    for frame in 0..36_usize {
        if frame > 0 {
            // Five lines, from the last one up.
            out.put("\x1b[2K\x1b[1A\x1b[2K\x1b[1A\x1b[2K\x1b[1A\x1b[2K\x1b[1A\x1b[2K\x1b[G");
        }
        if frame % 6 == 5 {
            out.put(format!(
                "\x1b[38;2;78;186;101m⏺\x1b[39m \x1b[1mBash\x1b[22m(cargo test {frame})\r\n  ⎿  \x1b[2m{frame} passed — 日本語 ok\x1b[22m\r\n\r\n"
            ));
        }
        let glyph = spinner.iter().cycle().nth(frame).unwrap_or(&"");
        out.put(format!(
            "\x1b[38;2;215;119;87m{glyph} Thinking…\x1b[39m \x1b[2m({frame}s · \x1b[1mesc\x1b[22m\x1b[2m to interrupt)\x1b[22m\r\n"
        ));
        out.put(
            "\x1b[2m\x1b[38;2;136;136;136m╭──────────────────────────────────╮\x1b[39m\x1b[22m\r\n",
        );
        out.put(format!("\x1b[38;2;136;136;136m│\x1b[39m > \x1b[7m \x1b[27m{:>28} \x1b[38;2;136;136;136m│\x1b[39m\r\n", frame * 7));
        out.put(
            "\x1b[2m\x1b[38;2;136;136;136m╰──────────────────────────────────╯\x1b[39m\x1b[22m\r\n",
        );
        out.put("  \x1b[38;2;177;185;249m⏵⏵ accept edits on\x1b[39m \x1b[2m(shift+tab)\x1b[22m");
    }
    out.put("\x1b[?25h").end()
}

/// The other screen with synchronized frames, a scroll region for history, palette colours, keyboard queries.
fn codex() -> Vec<u8> {
    let mut out = Written::default();
    out.put("\x1b[?2004h\x1b[>7u\x1b[?1004h\x1b[6n\x1b[?u\x1b[c\x1b]10;?\x1b\\\x1b]11;?\x1b\\\x1b[?1049h\x1b[2J\x1b[H");
    out.put("\x1b[38;5;6m›_\x1b[m a program \x1b[2m(v0)\x1b[22m\x1b[3;1H\x1b[36mmodel:\x1b[39m    large\x1b[4;1H\x1b[36mfolder:\x1b[39m   ~/src");
    for turn in 0..24_usize {
        out.put("\x1b[?2026h\x1b[?25l");
        // History scrolls above the input line.
        out.put("\x1b[1;15r\x1b[15;1H");
        out.put(format!(
            "\r\n\x1b[35m•\x1b[39m \x1b[1mRan\x1b[22m step {turn} \x1b[38;5;{}m■\x1b[39m\x1b[K\r\n  \x1b[2m└ {}\x1b[22m\x1b[K",
            16 + turn * 9,
            "=".repeat(turn + 3)
        ));
        out.put("\x1b[r");
        out.put(format!("\x1b[17;1H\x1b[48;5;236m\x1b[K\x1b[18;1H\x1b[K\x1b[1m›\x1b[22m ask anything {turn}\x1b[19;1H\x1b[K\x1b[49m"));
        out.put(format!("\x1b[20;3H\x1b[2m⏎ send   ⌃J newline   {turn}% left\x1b[22m\x1b[K"));
        if turn % 5 == 4 {
            out.put("\x1b[5;1H\x1b[2L\x1b[5;3H\x1b[7m inserted \x1b[27m\x1b[9;1H\x1b[1M");
        }
        out.put(format!("\x1b[18;{}H\x1b[?25h\x1b[?2026l", 3 + turn));
    }
    out.put("\x1b[<1u\x1b[?1049l\x1b[?2004l").end()
}

/// Gradients, a frame redrawn over its own lines, links, wide characters and emoji.
fn gemini() -> Vec<u8> {
    let mut out = Written::default();
    out.put("\x1b[?25l\x1b]2;◇  ready\x07\x1b[?2004h");
    for row in 0..4 {
        for column in 0..36 {
            out.put(format!(
                "\x1b[38;2;{};{};{}m█",
                71 + column * 4,
                150 - column * 2,
                228 - row * 30
            ));
        }
        out.put("\x1b[39m\r\n");
    }
    out.put("\r\nTips: \x1b]8;id=1;https://example.com/docs\x1b\\\x1b[4mthe docs\x1b[24m\x1b]8;;\x1b\\\r\n");
    let spinner = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"];
    for frame in 0..30_usize {
        if frame > 0 {
            out.put("\x1b[4A\x1b[G");
        }
        out.put("\x1b[J");
        if frame % 7 == 6 {
            out.put(format!("✦ 答え {frame}: \x1b[38;2;166;227;161mok\x1b[39m 🚀\r\n"));
        }
        out.put(format!(
            "\x1b[38;2;203;166;247m{}\x1b[39m \x1b[3mConsulting {frame}\x1b[23m\r\n",
            spinner.iter().cycle().nth(frame).unwrap_or(&"")
        ));
        out.put("\x1b[38;2;137;180;250m╭──────────────────────────────────────────╮\r\n");
        out.put(format!(
            "│\x1b[39m \x1b[38;2;203;166;247m>\x1b[39m {:<38} \x1b[38;2;137;180;250m│\r\n",
            "é".repeat(frame)
        ));
        out.put("╰──────────────────────────────────────────╯\x1b[39m\r\n");
    }
    out.put("\x1b[?25h").end()
}

/// An editor: application keys, scroll regions, reverse index, inserted and deleted lines and characters, a status line.
fn vim() -> Vec<u8> {
    let mut out = Written::default();
    out.put("\x1b[?1049h\x1b[22;0;0t\x1b[>4;2m\x1b[?1h\x1b=\x1b[?2004h\x1b[?1004h\x1b[1;16r\x1b[?12h\x1b[?12l\x1b[27m\x1b[23m\x1b[29m\x1b[m\x1b[H\x1b[2J\x1b[?25l");
    for row in 1..=14 {
        out.put(format!("\x1b[{row};1H\x1b[33m{row:>3} \x1b[m\x1b[35mlet\x1b[m line_{row} = \x1b[31m\"{}\"\x1b[m;", "x".repeat(row)));
    }
    out.put("\x1b[15;1H\x1b[1m\x1b[7mmain.rs [+]\x1b[m\x1b[7m                         14,1           All\x1b[m\x1b[2;5H\x1b[?25h\x1b[2 q");
    for step in 0..20_usize {
        out.put("\x1b[?25l");
        match step % 5 {
            0 => out.put(format!(
                "\x1b[1;14r\x1b[14;1H\n\x1b[1;16r\x1b[14;1H\x1b[33m{:>3} \x1b[mnew {step}",
                15 + step
            )),
            1 => out.put(format!(
                "\x1b[1;14r\x1b[H\x1bM\x1b[1;16r\x1b[1;1H\x1b[33m{step:>3} \x1b[mback"
            )),
            2 => out.put(format!("\x1b[{};6H\x1b[3@\x1b[4mé日\x1b[24m", 3 + step / 5)),
            3 => {
                out.put(format!("\x1b[{};8H\x1b[2P\x1b[{};20H\x1b[5X", 4 + step / 5, 6 + step / 5))
            }
            _ => out.put(format!(
                "\x1b[5;14r\x1b[6;1H\x1b[2M\x1b[8;1H\x1b[L\x1b[1;16r\x1b[8;1H\x1b[33m~\x1b[m{step}"
            )),
        };
        out.put(format!(
            "\x1b[16;1H\x1b[K\x1b[1m-- INSERT --\x1b[m\x1b[16;50H{step},1\x1b[{};{}H\x1b[?25h",
            2 + step % 12,
            5 + step
        ));
        if step % 4 == 3 {
            out.put("\x1b7\x1b[15;30H\x1b[7m:w\x1b[m\x1b8\x1b[6 q");
        }
    }
    out.put("\x1b[16;1H\x1b[K\x1b[?1l\x1b>\x1b[?2004l\x1b[?1004l\x1b[?1049l\x1b[23;0;0t\x1b[>4;m")
        .end()
}

/// A table that is drawn again each second: meters, bold and dim numbers, line drawing, mouse.
fn htop() -> Vec<u8> {
    let mut out = Written::default();
    out.put("\x1b[?1049h\x1b[1;18r\x1b(B\x1b[m\x1b[4l\x1b[?7h\x1b[?1h\x1b=\x1b[?25l\x1b[39;49m\x1b[?1006;1000h\x1b[H\x1b[2J");
    for second in 0..14_usize {
        for core in 0..2_usize {
            let used = (second * 5 + core * 11) % 30;
            out.put(format!(
                "\x1b[{};3H\x1b[36m{core}\x1b[39m\x1b[1m[\x1b[m\x1b[32m{}\x1b[31m{}\x1b[90m{:>width$}\x1b[m\x1b[1m]\x1b[m",
                2 + core,
                "|".repeat(used / 2),
                "|".repeat(used - used / 2),
                format!("{used}.0%"),
                width = 36 - used
            ));
        }
        out.put("\x1b[5;1H\x1b[30m\x1b[42m  PID USER      CPU% MEM%   TIME+  Command\x1b[K\x1b[m");
        for row in 0..10_usize {
            let picked = row == second % 10;
            out.put(format!("\x1b[{};1H", 6 + row));
            out.put(if picked { "\x1b[30m\x1b[46m" } else { "" });
            out.put(format!(
                "{:>5} root     \x1b[{}m{:>5}\x1b[{}m  0.{row}  0:{:02}.{row}{row} \x1b[{}m/usr/bin/\x1b[1mprogram-{row}\x1b[22m\x1b[K",
                100 + row * 37,
                if picked { 30 } else { 32 },
                (second * row) % 100,
                if picked { 30 } else { 39 },
                second,
                if picked { 30 } else { 36 },
            ));
            out.put("\x1b[m");
        }
        out.put("\x1b[17;1H\x1b(0lqqqqqqqqk\x1b(B tree \x1b(0x\x1b(B");
        out.put("\x1b[18;1HF1\x1b[30m\x1b[46mHelp  \x1b[39;49mF2\x1b[30m\x1b[46mSetup \x1b[39;49mF10\x1b[30m\x1b[46mQuit\x1b[m\x1b[K");
    }
    out.put("\x1b[18;1H\x1b[?1049l\r\x1b[?1l\x1b>\x1b[?1006;1000l\x1b[?25h").end()
}

/// Lines with colours that scroll, below them a line that is drawn over and over by carriage returns.
fn cargo() -> Vec<u8> {
    let mut out = Written::default();
    for step in 0..40_usize {
        out.put(format!("\x1b[K\x1b[1m\x1b[32m   Compiling\x1b[0m crate-{step} v0.{step}.1 (/work/a-longer-path/crate-{step})\r\n"));
        if step % 9 == 8 {
            out.put(format!(
                "\x1b[1m\x1b[33mwarning\x1b[0m\x1b[1m: unused variable: `été`\x1b[0m\r\n \x1b[1m\x1b[38;5;12m--> \x1b[0msrc/lib.rs:{step}:9\r\n\x1b[1m\x1b[38;5;12m{step} |\x1b[0m \x1b[9mlet\x1b[29m été = \x1b[3m1\x1b[23m;\r\n"
            ));
        }
        let done = step / 2;
        out.put(format!(
            "\x1b[1m\x1b[36m    Building\x1b[0m [{}>{}] {step}/40: crate-{step}\r",
            "=".repeat(done),
            " ".repeat(20 - done)
        ));
    }
    out.put("\x1b[K\x1b[1m\x1b[32m    Finished\x1b[0m `dev` profile in 1.23s\r\n").end()
}
