//! What a peer chose, as people may see it. Names, ids, texts and reasons come from others and end in terminals
//! and logs, where a character can move the cursor, fill the clipboard, forge a line or turn
//! a text around. [`Shown`] is the only type that takes such characters away.
//!
//! `Display` of the ids in [`id`](crate::id) goes through it, so it is for people; what is compared, stored or
//! sent is `as_str`. Nothing here knows where a text is shown.
//!
//! Tier 0 of the [crate](crate#what-is-public-in-tiers): the ground.

use alloc::string::{String, ToString as _};
use core::error::Error;
use core::fmt::{self, Write as _};

/// A text, or anything that displays as one, made safe to be shown in one line.
///
/// Characters that are not seen as what they are become visible: `\n`, `\u{1b}`. These are control characters
/// (C0, DEL and C1), separators of lines and paragraphs, those that turn the direction of writing, and those
/// that take no room. Joiners and variation selectors stay where scripts and emoji need them, which is behind a
/// character that is not ASCII. A backslash stays as it is, so that a text that went through twice is the same;
/// the result is for eyes and not to be read back.
///
/// ```
/// use onsembl_protocol::shown::Shown;
///
/// let name = "mine\u{1b}]52;c;cm0gLXJm\u{7}\nERROR forged";
/// assert_eq!(
///     Shown::new(name).to_string(),
///     "mine\\u{1b}]52;c;cm0gLXJm\\u{7}\\nERROR forged",
/// );
/// ```
#[derive(Clone, Copy)]
pub struct Shown<T> {
    value: T,
    most: usize,
    style: Style,
}

/// What stands for a character that is not shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Style {
    /// One line; as Rust writes it.
    Line,
    /// A whole JSON text; as JSON writes it.
    Json,
}

impl<T: fmt::Display> Shown<T> {
    /// Characters that are shown of one value: more than any name or id has, and a reason that is still read.
    pub const MOST: usize = 1024;

    /// Of this value at most [`MOST`](Self::MOST) characters; an ellipsis stands for the rest.
    pub const fn new(value: T) -> Self {
        Self { value, most: Self::MOST, style: Style::Line }
    }

    /// At most this many characters.
    #[must_use]
    pub fn within(self, most: usize) -> Self {
        Self { most, ..self }
    }

    /// A whole JSON text, for a terminal. It means the same to who reads it as JSON, which escapes fewer
    /// characters by itself than a terminal obeys. Not bounded, and lines stay.
    pub const fn json(value: T) -> Self {
        Self { value, most: usize::MAX, style: Style::Json }
    }
}

impl<T: fmt::Display> fmt::Display for Shown<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = Escaper { out: f, style: self.style, left: self.most, before: '\0' };
        match write!(shown, "{}", self.value) {
            // It was this that ended the value, and not what it is written to.
            Err(fmt::Error) if shown.left == 0 => f.write_char('…'),
            written => written,
        }
    }
}

impl<T: fmt::Display> fmt::Debug for Shown<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<T: fmt::Display> From<Shown<T>> for String {
    fn from(shown: Shown<T>) -> Self {
        alloc::format!("{shown}")
    }
}

struct Escaper<'a, 'b> {
    out: &'a mut fmt::Formatter<'b>,
    style: Style,
    /// Characters that may still come; a failure at zero means that there are more.
    left: usize,
    before: char,
}

impl fmt::Write for Escaper<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut clean = 0;
        for (at, c) in text.char_indices() {
            if self.left == 0 {
                self.out.write_str(text.get(clean..at).unwrap_or_default())?;
                return Err(fmt::Error);
            }
            self.left -= 1;
            let before = core::mem::replace(&mut self.before, c);
            if is_seen(c, before) || (self.style == Style::Json && c == '\n') {
                continue;
            }
            self.out.write_str(text.get(clean..at).unwrap_or_default())?;
            clean = at + c.len_utf8();
            match self.style {
                Style::Line => write!(self.out, "{}", c.escape_default())?,
                Style::Json => {
                    for unit in c.encode_utf16(&mut [0; 2]) {
                        write!(self.out, "\\u{unit:04x}")?;
                    }
                }
            }
        }
        self.out.write_str(text.get(clean..).unwrap_or_default())
    }
}

/// Whether a character is seen as what it is, behind that one.
fn is_seen(c: char, before: char) -> bool {
    match c {
        ' '..='~' => true,
        // Soft hyphen; grapheme joiner; fillers of Hangul; marks of Mongolian.
        '\u{ad}' | '\u{34f}' | '\u{115f}' | '\u{1160}' | '\u{3164}' | '\u{ffa0}' | '\u{180b}'..='\u{180f}'
        // Direction: marks, embeddings, overrides, isolates.
        | '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
        // Separators of lines and paragraphs; without width; invisible operators and old format characters.
        | '\u{2028}' | '\u{2029}' | '\u{200b}' | '\u{2060}'..='\u{2065}' | '\u{206a}'..='\u{206f}' | '\u{feff}'
        // Annotations, marks of music and of shorthand, tags.
        | '\u{fff0}'..='\u{fffb}' | '\u{1d173}'..='\u{1d17a}' | '\u{1bca0}'..='\u{1bca3}' | '\u{e0000}'..='\u{e00ff}' => false,
        '\u{200c}' | '\u{200d}' | '\u{fe00}'..='\u{fe0f}' | '\u{e0100}'..='\u{e01ef}' => !before.is_ascii(),
        other => !other.is_control(),
    }
}

/// An error with all its causes, outermost first. Most errors say what caused them in their own text, and have it as
/// their [`source`](Error::source) too; that is said once.
///
/// ```
/// use onsembl_protocol::shown::Causes;
///
/// let error = "seven".parse::<u8>().unwrap_err();
/// assert_eq!(Causes(&error).to_string(), "invalid digit found in string");
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Causes<'a>(pub &'a (dyn Error + 'static));

impl fmt::Display for Causes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut said = self.0.to_string();
        let mut next = self.0.source();
        while let Some(cause) = next {
            let text = cause.to_string();
            if !said.contains(&text) {
                said.push_str(": ");
                said.push_str(&text);
            }
            next = cause.source();
        }
        f.write_str(&said)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    fn shown(text: &str) -> String {
        Shown::new(text).to_string()
    }

    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Failed {
        text: &'static str,
        #[source]
        because: Option<alloc::boxed::Box<Self>>,
    }

    #[test]
    fn a_cause_is_said_once() {
        let failed = |text, because: Option<Failed>| Failed {
            text,
            because: because.map(alloc::boxed::Box::new),
        };
        let denied = || failed("Permission denied (os error 13)", None);
        let own = "cannot read a.pem: Permission denied (os error 13); give a readable file";
        assert_eq!(Causes(&failed(own, Some(denied()))).to_string(), own);
        let plain = failed("cannot begin", Some(failed("no keys", Some(denied()))));
        let all = "cannot begin: no keys: Permission denied (os error 13)";
        assert_eq!(Causes(&plain).to_string(), all);
    }

    #[test]
    fn what_a_terminal_obeys_is_made_visible() {
        for (text, is) in [
            ("\u{1b}[2J\u{1b}]0;owned\u{7}", "\\u{1b}[2J\\u{1b}]0;owned\\u{7}"),
            ("a\nb\r\tc\0", "a\\nb\\r\\tc\\u{0}"),
            ("\u{9b}2J\u{7f}\u{85}", "\\u{9b}2J\\u{7f}\\u{85}"),
            ("\u{202e}gnp.exe", "\\u{202e}gnp.exe"),
            ("a\u{2028}b\u{2029}", "a\\u{2028}b\\u{2029}"),
            ("ad\u{200b}min\u{feff}\u{ad}", "ad\\u{200b}min\\u{feff}\\u{ad}"),
            ("ad\u{200d}min", "ad\\u{200d}min"),
            ("x\u{e0041}", "x\\u{e0041}"),
        ] {
            assert_eq!(shown(text), is);
        }
    }

    #[test]
    fn words_of_people_stay_as_they_are() {
        for text in [
            "fix the tests: C:\\temp \"quoted\" 'x'",
            "größer, 日本語, עברית, فارسی می\u{200c}خواهم",
            "👩\u{200d}💻 ❤\u{fe0f}",
            "",
        ] {
            assert_eq!(shown(text), text);
        }
    }

    #[test]
    fn twice_is_as_good_as_once() {
        let once = shown("a\\b\u{1b}\n\u{202e}");
        assert_eq!(shown(&once), once);
    }

    #[test]
    fn it_is_bounded_and_says_so() {
        let long = "ü".repeat(5000);
        assert_eq!(shown(&long).chars().count(), 1024 + 1);
        assert!(shown(&long).ends_with('…'));
        assert_eq!(Shown::new("abc").within(3).to_string(), "abc");
        assert_eq!(Shown::new("abcd").within(3).to_string(), "abc…");
        assert_eq!(Shown::new("\n\n").within(1).to_string(), "\\n…");
        assert_eq!(Shown::new("abc").within(0).to_string(), "…");
    }

    #[test]
    fn json_means_the_same() {
        let value =
            serde_json::json!({ "name": "a\u{1b}\u{9b}\u{202e}\u{e0041}\n", "n": [1, "ü"] });
        let text = value.to_string();
        assert!(text.contains('\u{9b}'), "JSON leaves it as it is");
        let shown = Shown::json(&text).to_string();
        assert!(shown.chars().all(|c| is_seen(c, 'a')), "{shown}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).unwrap(), value);
        assert_eq!(Shown::json("{\n}").to_string(), "{\n}");
    }

    /// A failure of what it is written to is not taken for the end of the room.
    #[test]
    fn what_cannot_be_displayed_fails() {
        struct Bad;
        impl fmt::Display for Bad {
            fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
                Err(fmt::Error)
            }
        }
        let mut out = String::new();
        assert!(write!(out, "{}", Shown::new(Bad)).is_err());
    }
}
