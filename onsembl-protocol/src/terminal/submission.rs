//! What is typed for a command, or why nothing is.

use super::keys::{self, KeyBytes, Suspends};
use super::modes::Modes;
use super::refusal::{LINE_BYTES, Untypeable};
use super::settings::{Foreground, LineMode, TerminalSettings};
use alloc::borrow::{Cow, ToOwned};
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

/// What is to be typed for one command: one stroke after the other.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
pub struct Typing {
    pub strokes: Vec<Stroke>,
    /// The program must have read all of it in this time.
    pub within: Duration,
}

/// What is typed as one piece, and what follows it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
pub struct Stroke {
    pub what: StrokeKind,
    /// Nothing is typed for so long, once the program has read it.
    pub pause: Duration,
}

/// One piece of what is typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StrokeKind {
    /// A part of a text. A program that reads its own keys reads it before anything follows.
    Text(Vec<u8>),
    /// Keys. Some never arrive as such: the terminal itself acts on them.
    Keys(Vec<u8>),
    /// Nothing: the program is to be done with the paste before it. Say
    /// [`PasteRead`](crate::worker::WorkerEvent::PasteRead), and continue when
    /// [`EndPaste`](crate::worker::WorkerAction::EndPaste) says so.
    Settle,
    /// What [`TerminalSettings::enter`](super::TerminalSettings::enter) says when its turn comes. It is read.
    Enter,
    /// The keys that submit a text in place of Enter. A program that reads its own keys reads them.
    Submit(Vec<u8>),
}

/// What submits a text to a program.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum SubmitKey {
    /// Enter, as its terminal is set.
    #[default]
    Enter,
    /// Keys, by their names.
    Keys(String),
}

impl SubmitKey {
    /// Reads names of keys; `enter` alone is [`Enter`](Self::Enter).
    ///
    /// # Errors
    /// A name that no key has, or too many of them.
    pub fn parse(names: &str) -> Result<Self, Untypeable> {
        let _ = Typing::keys(names, &Modes::default())?;
        Ok(match names.trim().eq_ignore_ascii_case("enter") {
            true => Self::Enter,
            false => Self::Keys(names.to_owned()),
        })
    }
}

/// What stands in the line before a text, as far as the terminal gathers lines.
pub(crate) type Standing = usize;

impl Typing {
    /// Between a text that is no paste and the Enter behind it: programs that see both at once take the Enter for
    /// a part of a paste.
    pub const PAUSE: Duration = Duration::from_millis(150);

    /// Behind an Escape: with anything close behind it, it is another key. Programs wait for that for up to 50 ms, and
    /// some for 100.
    pub(crate) const ESCAPE_PAUSE: Duration = Duration::from_millis(150);

    /// How long a program may leave its terminal unread, if no time limit is shorter. A terminal holds
    /// some 4 KiB, so that only a program that hangs needs this long.
    pub const TAKEN_WITHIN: Duration = Duration::from_secs(10);

    /// A text gets [`TAKEN_WITHIN`](Self::TAKEN_WITHIN) for each of these, in bytes: 64 KiB, so that a long one may be read at
    /// 6 KiB in a second.
    const STRETCH: usize = 64 * 1024;

    /// The Enter behind a paste is typed after this long in any case, if nobody says that the program is done with it:
    /// twice as long as that may take.
    pub const SETTLED_WITHIN: Duration = Duration::from_secs(4);

    /// A text as one submission. One line end behind it stands for the Enter and is not typed twice. A carriage return is
    /// a line end, with a line feed behind it or without.
    ///
    /// # Errors
    /// It cannot be typed as exactly this text.
    pub(crate) fn submission(
        text: &str,
        modes: &Modes,
        lines: LineMode,
    ) -> Result<Self, Untypeable> {
        Self::behind(0, text, modes, lines)
    }

    /// The same behind this many bytes that keys left in the line.
    pub(crate) fn behind(
        standing: Standing,
        text: &str,
        modes: &Modes,
        lines: LineMode,
    ) -> Result<Self, Untypeable> {
        let text = text.strip_suffix('\n').unwrap_or(text);
        let text = text.strip_suffix('\r').unwrap_or(text);
        if text.is_empty() {
            return Err(Untypeable::Nothing);
        }
        let pastes = modes.takes_pastes();
        let text = line_ends(text);
        // Outside of a bracketed paste each line end submits what is before it.
        if !pastes && text.contains(['\t', '\n']) {
            return Err(Untypeable::NotPastable);
        }
        // A terminal acts on it instead of passing it on (P-223).
        let acts = |c: &char| c.is_control() && !matches!(c, '\t' | '\n');
        if let Some(control) = text.chars().find(acts) {
            return Err(Untypeable::Control(control));
        }
        let (before, after) = if pastes { ("\x1b[200~", "\x1b[201~") } else { ("", "") };
        // The brackets stand in a line that the terminal gathers like the text.
        let bytes = [before, &*text, after].concat().into_bytes();
        if lines == LineMode::Terminal && standing.saturating_add(bytes.len()) > LINE_BYTES {
            return Err(Untypeable::TooLong { text: text.len(), standing });
        }
        let stretches = u32::try_from(text.len().div_ceil(Self::STRETCH)).unwrap_or(u32::MAX);
        let within = Self::TAKEN_WITHIN.saturating_mul(stretches);
        let text = |pause| Stroke { what: StrokeKind::Text(bytes), pause };
        let at_once = |what| Stroke { what, pause: Duration::ZERO };
        let enter = at_once(StrokeKind::Enter);
        let strokes = match pastes {
            true => vec![text(Duration::ZERO), at_once(StrokeKind::Settle), enter],
            false => vec![text(Self::PAUSE), enter],
        };
        Ok(Self { strokes, within })
    }

    /// The same, submitted by this key in place of Enter.
    ///
    /// # Errors
    /// A name that no key has.
    pub(crate) fn submitted_by(
        mut self,
        key: &SubmitKey,
        modes: &Modes,
    ) -> Result<Self, Untypeable> {
        let SubmitKey::Keys(names) = key else { return Ok(self) };
        let is_enter = |stroke: &Stroke| stroke.what == StrokeKind::Enter;
        let _ = self.strokes.pop_if(|stroke| is_enter(stroke));
        let keys = Self::keys(names, modes)?.strokes.into_iter();
        self.strokes.extend(keys.map(|stroke| match stroke.what {
            StrokeKind::Keys(bytes) => Stroke { what: StrokeKind::Submit(bytes), ..stroke },
            StrokeKind::Text(_)
            | StrokeKind::Settle
            | StrokeKind::Enter
            | StrokeKind::Submit(_) => stroke,
        }));
        Ok(self)
    }

    /// Whether there is a paste in it with which the program is to be done before anything follows.
    pub(crate) fn has_paste(&self) -> bool {
        self.strokes.iter().any(|stroke| stroke.what == StrokeKind::Settle)
    }

    /// What is typed up to a paste, and what behind it.
    pub(crate) fn around_paste(&self) -> (&[Stroke], &[Stroke]) {
        let at = self.strokes.iter().position(|stroke| stroke.what == StrokeKind::Settle);
        self.strokes.split_at(at.unwrap_or(self.strokes.len()))
    }

    /// Keys, named one after another with spaces between them.
    ///
    /// # Errors
    /// A name that no key has, or too many of them.
    pub fn keys(text: &str, modes: &Modes) -> Result<Self, Untypeable> {
        Ok(Self::pressing(keys::bytes_of(text, modes)?))
    }

    /// Keys into a terminal that is set so.
    ///
    /// # Errors
    /// As of [`keys`](Self::keys); and one would suspend the program permanently.
    pub(crate) fn keys_into(
        text: &str,
        modes: &Modes,
        settings: Option<TerminalSettings>,
    ) -> Result<Self, Untypeable> {
        let keys = keys::bytes_of(text, modes)?;
        let foreground = settings.map(|settings| settings.foreground);
        match (keys.suspends, foreground) {
            (Suspends::Yes, Some(Foreground::Program)) => Err(Untypeable::Suspends),
            (Suspends::Yes, Some(Foreground::Job) | None) | (Suspends::No, _) => {
                Ok(Self::pressing(keys))
            }
        }
    }

    fn pressing(keys: KeyBytes) -> Self {
        let stroke = |piece: Vec<u8>| {
            let is_escape = keys::ends_with_escape(&piece);
            let pause = if is_escape { Self::ESCAPE_PAUSE } else { Duration::ZERO };
            Stroke { what: StrokeKind::Keys(piece), pause }
        };
        let strokes = keys.pieces.into_iter().map(stroke).collect();
        Self { strokes, within: Self::TAKEN_WITHIN }
    }

    /// The same within the time limit of its command.
    #[must_use = "the time limit is kept by the typing that comes back"]
    pub fn limited(self, limit: Option<Duration>) -> Self {
        Self { within: limit.map_or(self.within, |limit| self.within.min(limit)), ..self }
    }

    /// How many bytes keep standing in the line behind it, if this many stood there.
    pub(super) fn standing_after(&self, before: Standing) -> Standing {
        self.strokes.iter().fold(before, |standing, stroke| match &stroke.what {
            StrokeKind::Text(bytes) => standing.saturating_add(bytes.len()),
            StrokeKind::Keys(bytes) => standing_behind(bytes, standing),
            StrokeKind::Settle => standing,
            StrokeKind::Enter | StrokeKind::Submit(_) => 0,
        })
    }

    /// The keys of it, as they are read at the other end.
    pub(super) fn pressed(&self) -> impl Iterator<Item = &[u8]> {
        self.strokes.iter().filter_map(|stroke| match &stroke.what {
            StrokeKind::Keys(bytes) => Some(bytes.as_slice()),
            StrokeKind::Text(_)
            | StrokeKind::Settle
            | StrokeKind::Enter
            | StrokeKind::Submit(_) => None,
        })
    }
}

/// A text whose line ends are line feeds.
fn line_ends(text: &str) -> Cow<'_, str> {
    match text.contains('\r') {
        true => Cow::Owned(text.replace("\r\n", "\n").replace('\r', "\n")),
        false => Cow::Borrowed(text),
    }
}

/// A script with the line ends of Windows as a shell reads it. A carriage return that ends no line is left: it is a
/// character like others there.
pub fn script_lines(script: &str) -> Cow<'_, str> {
    match script.contains("\r\n") {
        true => Cow::Owned(script.replace("\r\n", "\n")),
        false => Cow::Borrowed(script),
    }
}

/// How many bytes stand in a line that a terminal gathers, behind these keys.
pub(super) fn standing_behind(keys: &[u8], before: Standing) -> Standing {
    keys.iter().fold(before, |standing, byte| match byte {
        // Enter, Ctrl-C, Ctrl-D, Ctrl-U and Ctrl-\.
        b'\r' | b'\n' | 0x03 | 0x04 | 0x15 | 0x1c => 0,
        0x7f => standing.saturating_sub(1),
        _ => standing.saturating_add(1),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use alloc::string::String;
    use proptest::prelude::*;

    fn pasting() -> Modes {
        let mut modes = Modes::default();
        modes.read(b"\x1b[?2004h");
        modes
    }

    /// The text of a submission, which is that and Enter. Between them is a pause, or the program is done with a paste.
    fn text_of(typing: &Typing) -> Vec<u8> {
        let enter = Stroke { what: StrokeKind::Enter, pause: Duration::ZERO };
        let settle = Stroke { what: StrokeKind::Settle, pause: Duration::ZERO };
        let (text, behind) = typing.strokes.split_first().unwrap();
        let StrokeKind::Text(bytes) = &text.what else { panic!("{text:?}") };
        match bytes.starts_with(b"\x1b[200~") {
            true => assert_eq!((text.pause, behind), (Duration::ZERO, &[settle, enter][..])),
            false => assert_eq!((text.pause, behind), (Typing::PAUSE, &[enter][..])),
        }
        bytes.clone()
    }

    #[test]
    fn a_text_is_submitted_by_the_key_of_its_program() {
        let of = |names: &str, modes: &Modes| {
            let key = SubmitKey::parse(names).unwrap();
            let typing = Typing::submission("a", modes, LineMode::Program).unwrap();
            typing.submitted_by(&key, modes).unwrap()
        };
        assert_eq!(SubmitKey::parse("enter"), Ok(SubmitKey::Enter));
        assert_eq!(text_of(&of("enter", &pasting())), b"\x1b[200~a\x1b[201~");
        let by = of("ctrl-s", &pasting());
        assert!(by.has_paste() && by.pressed().next().is_none(), "they are no keys of a user");
        let [settle, last] = by.around_paste().1 else { panic!("{by:?}") };
        assert_eq!(settle.what, StrokeKind::Settle);
        assert_eq!(last.what, StrokeKind::Submit(b"\x13".to_vec()));
        assert_eq!(by.standing_after(7), 0);
        let by = of("ctrl-enter", &Modes::default());
        assert!(!by.has_paste() && by.around_paste().1.is_empty());
        assert_eq!(by.strokes[1].what, StrokeKind::Submit(b"\x1b[13;5u".to_vec()));
        assert!(SubmitKey::parse("ctrl-nosuch").is_err());
    }

    #[test]
    fn a_line_is_typed_as_it_is_and_a_paste_in_brackets() {
        let plain = Typing::submission("echo hi\n", &Modes::default(), LineMode::Terminal).unwrap();
        assert_eq!(text_of(&plain), b"echo hi");
        let paste = Typing::submission("a\n\tb", &pasting(), LineMode::Program).unwrap();
        assert_eq!(text_of(&paste), b"\x1b[200~a\n\tb\x1b[201~");
    }

    #[test]
    fn a_carriage_return_is_a_line_end() {
        let paste = Typing::submission("a\r\nb\r\n", &pasting(), LineMode::Program).unwrap();
        assert_eq!(text_of(&paste), b"\x1b[200~a\nb\x1b[201~");
        let of = |text: &str, modes: &Modes| Typing::submission(text, modes, LineMode::Program);
        assert_eq!(of("a\r\nb", &Modes::default()), Err(Untypeable::NotPastable));
        assert_eq!(of("a\rb", &Modes::default()), Err(Untypeable::NotPastable));
        let paste = of("a\rb\r\r\nc\r", &pasting()).unwrap();
        assert_eq!(text_of(&paste), b"\x1b[200~a\nb\n\nc\x1b[201~");
        assert_eq!(text_of(&of("echo a\r", &Modes::default()).unwrap()), b"echo a");
        assert_eq!(script_lines("printf a\r\necho b\rc\r\n"), "printf a\necho b\rc\n");
    }

    #[test]
    fn nothing_comes_close_behind_an_escape() {
        let keys = Typing::keys("a escape b up", &Modes::default()).unwrap();
        let stroke = |bytes: &[u8], pause| Stroke { what: StrokeKind::Keys(bytes.to_vec()), pause };
        let pieces = [stroke(b"a\x1b", Typing::ESCAPE_PAUSE), stroke(b"b\x1b[A", Duration::ZERO)];
        assert_eq!(keys.strokes, pieces);
        // Nor does the next command.
        let keys = Typing::keys("escape", &Modes::default()).unwrap();
        assert_eq!(keys.strokes, [stroke(b"\x1b", Typing::ESCAPE_PAUSE)]);
    }

    #[test]
    fn what_keys_left_in_the_line_takes_room_of_the_text_behind_it() {
        let left = |names: &str| Typing::keys(names, &Modes::default()).unwrap().standing_after(0);
        assert_eq!((left("a b c"), left("a b enter"), left("a ctrl-u b")), (3, 0, 1));
        let of = |bytes: usize, standing| {
            let text = "y".repeat(bytes);
            Typing::behind(standing, &text, &Modes::default(), LineMode::Terminal).map(|_| ())
        };
        assert_eq!(of(LINE_BYTES, 3), Err(Untypeable::TooLong { text: LINE_BYTES, standing: 3 }));
        assert_eq!(of(LINE_BYTES - 3, 3), Ok(()));
    }

    #[test]
    fn what_would_suspend_the_program_for_good_is_refused() {
        let of = |names: &str, foreground| {
            let settings = TerminalSettings { foreground, ..TerminalSettings::AS_OPENED };
            Typing::keys_into(names, &Modes::default(), Some(settings)).map(|_| ())
        };
        assert_eq!(of("ctrl-z", Foreground::Program), Err(Untypeable::Suspends));
        assert_eq!(of("ctrl-z", Foreground::Job), Ok(()));
        assert_eq!(of("0x1a", Foreground::Program), Ok(()), "it is meant as it is");
        assert_eq!(of("z", Foreground::Program), Ok(()));
    }

    #[test]
    fn the_shorter_of_the_time_limit_and_our_own_is_kept() {
        let second = Duration::from_secs(1);
        for (limit, within) in [
            (None, Typing::TAKEN_WITHIN),
            (Some(second), second),
            (Some(Typing::TAKEN_WITHIN * 2), Typing::TAKEN_WITHIN),
        ] {
            let typing = Typing::keys("y", &Modes::default()).unwrap().limited(limit);
            assert_eq!(typing.within, within, "{limit:?}");
        }
    }

    #[test]
    fn what_could_not_arrive_as_one_piece_is_refused() {
        let of = |text: &str, lines| Typing::submission(text, &Modes::default(), lines);
        assert_eq!(of("", LineMode::Program), Err(Untypeable::Nothing));
        assert_eq!(of("\r\n", LineMode::Program), Err(Untypeable::Nothing));
        assert_eq!(of("a\nb", LineMode::Program), Err(Untypeable::NotPastable));
        assert_eq!(of("a\tb", LineMode::Program), Err(Untypeable::NotPastable));
        assert_eq!(of("a\u{3}", LineMode::Program), Err(Untypeable::Control('\u{3}')));
        // C1 is a control sequence introducer in one character for some terminals.
        assert_eq!(of("a\u{9b}", LineMode::Program), Err(Untypeable::Control('\u{9b}')));
        let long = "x".repeat(LINE_BYTES + 1);
        assert_eq!(
            of(&long, LineMode::Terminal),
            Err(Untypeable::TooLong { text: LINE_BYTES + 1, standing: 0 })
        );
        assert!(of(&long, LineMode::Program).is_ok());
        assert_eq!(of("a\r\nb", LineMode::Program), Err(Untypeable::NotPastable));
        assert!(of(&long[1..], LineMode::Terminal).is_ok());
    }

    proptest! {
        /// P-222 and P-223: any text is one submission exactly as it is, or is refused, and no byte
        /// that acts reaches the program but the Enter and the brackets of a paste.
        #[test]
        fn exactly_the_text_or_nothing(
            text in proptest::collection::vec(
                prop_oneof![
                    4 => any::<char>(),
                    1 => prop_oneof![Just('\u{1b}'), Just('\r'), Just('\n'), Just('\t'), Just('~')],
                    1 => prop_oneof![Just('['), Just('2'), Just('0'), Just('1')],
                ],
                0..40,
            ),
            pastes in any::<bool>(),
        ) {
            let text: String = text.into_iter().collect();
            let modes = if pastes { pasting() } else { Modes::default() };
            let Ok(typing) = Typing::submission(&text, &modes, LineMode::Program) else {
                return Ok(());
            };
            let typed = String::from_utf8(text_of(&typing)).unwrap();
            let inner = if pastes {
                typed.strip_prefix("\x1b[200~").and_then(|t| t.strip_suffix("\x1b[201~")).unwrap()
            } else {
                typed.as_str()
            };
            // A line end behind it is the Enter, and each of those within it is one character.
            let text = text.replace("\r\n", "\n").replace('\r', "\n");
            let is_same = text == inner || text == format!("{inner}\n");
            prop_assert!(is_same, "{:?} for {:?}", inner, text);
            let acts = |c: char| c.is_control() && !(pastes && matches!(c, '\n' | '\t'));
            prop_assert!(!inner.contains(acts));
        }
    }
}
