//! Names of keys, and the bytes that a terminal sends for them.

use super::modes::Modes;
use super::refusal::{MOST_KEYS, Untypeable};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

const ESCAPE: u8 = 0x1b;
const SUSPEND: u8 = 0x1a;

/// What a terminal sends for keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct KeyBytes {
    /// Pieces with a pause behind each: an Escape with something close behind it is another key.
    pub(super) pieces: Vec<Vec<u8>>,
    pub(super) suspends: Suspends,
}

/// Whether one of the keys suspends what is in the foreground. One that is given by its code is meant as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Suspends {
    #[default]
    No,
    Yes,
}

/// The bytes of keys that are named one after another, with spaces between them.
pub(super) fn bytes_of(text: &str, modes: &Modes) -> Result<KeyBytes, Untypeable> {
    let mut keys = KeyBytes::default();
    let mut piece = Vec::new();
    let mut count = 0;
    for name in text.split_whitespace() {
        count += 1;
        if count > MOST_KEYS {
            return Err(Untypeable::TooManyKeys);
        }
        let bytes = press(name, modes).ok_or_else(|| Untypeable::UnknownKey(name.to_string()))?;
        let is_named = !is_code(name);
        if is_named && bytes == [SUSPEND] {
            keys.suspends = Suspends::Yes;
        }
        piece.extend_from_slice(&bytes);
        // Codes may be the bytes of one key, with nothing between them.
        if is_named && bytes == [ESCAPE] {
            keys.pieces.push(core::mem::take(&mut piece));
        }
    }
    if count == 0 {
        return Err(Untypeable::NoKey);
    }
    if !piece.is_empty() {
        keys.pieces.push(piece);
    }
    Ok(keys)
}

/// Whether the last of them is an Escape.
pub(super) fn ends_with_escape(piece: &[u8]) -> bool {
    piece.last() == Some(&ESCAPE)
}

/// The modifiers that are pressed, in the bits of XTerm.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Modifiers(u8);

impl Modifiers {
    const SHIFT: u8 = 1;
    const ALT: u8 = 2;
    const CONTROL: u8 = 4;
    const SUPER: u8 = 8;

    const fn has(self, modifier: u8) -> bool {
        self.0 & modifier != 0
    }

    const fn without(self, modifier: u8) -> Self {
        Self(self.0 & !modifier)
    }

    /// The number that stands for them in sequences.
    const fn number(self) -> u8 {
        self.0 + 1
    }
}

fn press(name: &str, modes: &Modes) -> Option<Vec<u8>> {
    if let Some(coded) = by_code(name) {
        return Some(coded);
    }
    let (modifiers, key) = modifiers(name)?;
    let mut letters = key.chars();
    if let (Some(only), None) = (letters.next(), letters.next()) {
        return character(only, modifiers);
    }
    named(&key.to_ascii_lowercase(), modifiers, modes)
}

/// Takes the modifiers off a name, each of which is held once. `-` and `^` alone are keys, and `^C` is `ctrl-c`.
fn modifiers(name: &str) -> Option<(Modifiers, &str)> {
    const PREFIXES: [(&str, u8); 11] = [
        ("ctrl-", Modifiers::CONTROL),
        ("ctrl+", Modifiers::CONTROL),
        ("c-", Modifiers::CONTROL),
        ("alt-", Modifiers::ALT),
        ("alt+", Modifiers::ALT),
        ("m-", Modifiers::ALT),
        ("shift-", Modifiers::SHIFT),
        ("shift+", Modifiers::SHIFT),
        ("s-", Modifiers::SHIFT),
        ("super-", Modifiers::SUPER),
        ("super+", Modifiers::SUPER),
    ];
    if let Some(key) = name.strip_prefix('^').filter(|key| !key.is_empty()) {
        let is_control = matches!(key.as_bytes(), [only] if control(char::from(*only)).is_some());
        return is_control.then_some((Modifiers(Modifiers::CONTROL), key));
    }
    let (mut modifiers, mut key) = (Modifiers::default(), name);
    while let Some((rest, modifier)) = PREFIXES.iter().find_map(|(prefix, modifier)| {
        let head = key.get(..prefix.len())?;
        let rest = key.get(prefix.len()..).filter(|rest| !rest.is_empty())?;
        head.eq_ignore_ascii_case(prefix).then_some((rest, *modifier))
    }) {
        if modifiers.has(modifier) {
            return None;
        }
        modifiers = Modifiers(modifiers.0 | modifier);
        key = rest;
    }
    Some((modifiers, key))
}

fn is_code(name: &str) -> bool {
    by_code(name).is_some()
}

/// `0x1b` is one byte, and `u+00e9` the character of this number.
fn by_code(name: &str) -> Option<Vec<u8>> {
    let digits = |prefix: &str| {
        let head = name.get(..2).filter(|head| head.eq_ignore_ascii_case(prefix))?;
        let digits = name.get(head.len()..)?;
        digits.bytes().all(|digit| digit.is_ascii_hexdigit()).then_some(digits)
    };
    if let Some(digits) = digits("0x").filter(|digits| digits.len() == 2) {
        return Some(alloc::vec![u8::from_str_radix(digits, 16).ok()?]);
    }
    let character = char::from_u32(u32::from_str_radix(digits("u+")?, 16).ok()?)?;
    Some(character.encode_utf8(&mut [0; 4]).as_bytes().to_vec())
}

/// A character, with these modifiers.
fn character(only: char, modifiers: Modifiers) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    // Shift is in the character itself, where it has another one.
    let upper = only.to_uppercase().next().filter(|upper| *upper != only);
    let (only, modifiers) = match upper {
        Some(upper) if modifiers.has(Modifiers::SHIFT) && !modifiers.has(Modifiers::CONTROL) => {
            (upper, modifiers.without(Modifiers::SHIFT))
        }
        Some(_) | None => (only, modifiers),
    };
    let has_no_old_form = modifiers.has(Modifiers::SHIFT) || modifiers.has(Modifiers::SUPER);
    if has_no_old_form || (modifiers.has(Modifiers::CONTROL) && control(only).is_none()) {
        return Some(by_number(u32::from(only.to_ascii_lowercase()), modifiers));
    }
    if modifiers.has(Modifiers::ALT) {
        bytes.push(ESCAPE);
    }
    if modifiers.has(Modifiers::CONTROL) {
        bytes.push(control(only)?);
    } else {
        bytes.extend_from_slice(only.encode_utf8(&mut [0; 4]).as_bytes());
    }
    Some(bytes)
}

/// A key as enhanced keyboards send it: for what has no other form.
fn by_number(code: u32, modifiers: Modifiers) -> Vec<u8> {
    format!("\x1b[{code};{}u", modifiers.number()).into_bytes()
}

/// The control character of a key, as ASCII has them: the key's own code without its upper bits.
fn control(key: char) -> Option<u8> {
    let code = u8::try_from(u32::from(key)).ok()?;
    match code {
        b'?' => Some(0x7f),
        b'/' => Some(0x1f),
        b'a'..=b'z' | b'A'..=b'Z' | b'@' | b'[' | b'\\' | b']' | b'^' | b'_' => Some(code & 0x1f),
        _ => None,
    }
}

/// How the sequence of a key ends.
enum Form {
    /// `CSI`, the modifiers if there are some, and this; and whether an application may want `ESC O`.
    Letter(char, Introducer),
    /// `CSI`, this number, the modifiers if there are some, and `~`.
    Number(u8),
    /// These bytes, and the code that it has with modifiers.
    Plain(&'static [u8], u32),
}

enum Introducer {
    Cursor,
    /// Without modifiers `ESC O`.
    Function,
}

/// A key of the numeric keypad: what it is without one, and the letter behind `ESC O` that it has where the program
/// tells it from that.
fn keypad(name: &str) -> Option<(char, char)> {
    Some(match name {
        "0" => ('0', 'p'),
        "1" => ('1', 'q'),
        "2" => ('2', 'r'),
        "3" => ('3', 's'),
        "4" => ('4', 't'),
        "5" => ('5', 'u'),
        "6" => ('6', 'v'),
        "7" => ('7', 'w'),
        "8" => ('8', 'x'),
        "9" => ('9', 'y'),
        "enter" => ('\r', 'M'),
        "plus" | "add" => ('+', 'k'),
        "minus" | "subtract" => ('-', 'm'),
        "multiply" => ('*', 'j'),
        "divide" => ('/', 'o'),
        "decimal" | "period" => ('.', 'n'),
        "comma" => (',', 'l'),
        "equal" => ('=', 'X'),
        _ => return None,
    })
}

/// The function keys that no keyboard has: those of a second row, with Shift.
fn upper_function_key(name: &str) -> Option<&'static str> {
    const FIRST_ROW: [&str; 12] =
        ["f1", "f2", "f3", "f4", "f5", "f6", "f7", "f8", "f9", "f10", "f11", "f12"];
    let mut named = FIRST_ROW.iter().zip(13_u8..);
    named.find(|(_, number)| name == format!("f{number}")).map(|(key, _)| *key)
}

fn named(name: &str, modifiers: Modifiers, modes: &Modes) -> Option<Vec<u8>> {
    if let Some((key, letter)) = name.strip_prefix("kp-").and_then(keypad) {
        return match (modifiers == Modifiers::default(), key) {
            (true, _) if modes.has_application_keypad() => {
                Some(format!("\x1bO{letter}").into_bytes())
            }
            (_, '\r') => named("enter", modifiers, modes),
            (_, key) => character(key, modifiers),
        };
    }
    if let Some(key) = upper_function_key(name) {
        let is_free = !modifiers.has(Modifiers::SHIFT);
        return is_free
            .then(|| named(key, Modifiers(modifiers.0 | Modifiers::SHIFT), modes))
            .flatten();
    }
    let form = match name {
        "enter" | "return" => Form::Plain(b"\r", 13),
        "tab" => Form::Plain(b"\t", 9),
        "escape" | "esc" => Form::Plain(b"\x1b", 27),
        "space" => Form::Plain(b" ", 32),
        "backspace" | "bs" => Form::Plain(b"\x7f", 127),
        "up" => Form::Letter('A', Introducer::Cursor),
        "down" => Form::Letter('B', Introducer::Cursor),
        "right" => Form::Letter('C', Introducer::Cursor),
        "left" => Form::Letter('D', Introducer::Cursor),
        "home" => Form::Letter('H', Introducer::Cursor),
        "end" => Form::Letter('F', Introducer::Cursor),
        "insert" | "ins" => Form::Number(2),
        "delete" | "del" => Form::Number(3),
        "page-up" | "pageup" | "pgup" => Form::Number(5),
        "page-down" | "pagedown" | "pgdn" => Form::Number(6),
        "f1" => Form::Letter('P', Introducer::Function),
        "f2" => Form::Letter('Q', Introducer::Function),
        "f3" => Form::Letter('R', Introducer::Function),
        "f4" => Form::Letter('S', Introducer::Function),
        "f5" => Form::Number(15),
        "f6" => Form::Number(17),
        "f7" => Form::Number(18),
        "f8" => Form::Number(19),
        "f9" => Form::Number(20),
        "f10" => Form::Number(21),
        "f11" => Form::Number(23),
        "f12" => Form::Number(24),
        _ => return None,
    };
    let number = modifiers.number();
    let sequence: String = match (form, modifiers == Modifiers::default()) {
        (Form::Plain(bytes, code), _) => return Some(plain(bytes, code, modifiers)),
        (Form::Letter(last, Introducer::Cursor), true) if !modes.has_application_cursor() => {
            format!("\x1b[{last}")
        }
        (Form::Letter(last, Introducer::Cursor | Introducer::Function), true) => {
            format!("\x1bO{last}")
        }
        (Form::Letter(last, Introducer::Cursor | Introducer::Function), false) => {
            format!("\x1b[1;{number}{last}")
        }
        (Form::Number(key), true) => format!("\x1b[{key}~"),
        (Form::Number(key), false) => format!("\x1b[{key};{number}~"),
    };
    Some(sequence.into_bytes())
}

/// A key that is one byte, and with Alt that byte behind an Escape. Others have old forms here and there.
fn plain(bytes: &[u8], code: u32, modifiers: Modifiers) -> Vec<u8> {
    let rest = modifiers.without(Modifiers::ALT);
    let old: Option<&[u8]> = match (code, rest.0) {
        (_, 0) => Some(bytes),
        (9, Modifiers::SHIFT) => Some(b"\x1b[Z"),
        (32, Modifiers::CONTROL) => Some(b"\0"),
        (127, Modifiers::CONTROL) => Some(b"\x08"),
        _ => None,
    };
    match (old, modifiers.has(Modifiers::ALT)) {
        (Some(old), false) => old.to_vec(),
        (Some(old), true) => [&[ESCAPE][..], old].concat(),
        (None, _) => by_number(code, modifiers),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain_bytes(names: &str) -> Vec<u8> {
        bytes_of(names, &Modes::default()).unwrap().pieces.concat()
    }

    #[test]
    fn keys_are_sent_as_a_terminal_sends_them() {
        for (names, bytes) in [
            ("ctrl-c", &b"\x03"[..]),
            ("C-c Enter", b"\x03\r"),
            ("y", b"y"),
            ("up down", b"\x1b[A\x1b[B"),
            ("escape", b"\x1b"),
            ("alt-x", b"\x1bx"),
            ("ctrl-\\ ctrl-[ ctrl-space", b"\x1c\x1b\x00"),
            ("shift-tab f12", b"\x1b[Z\x1b[24~"),
            ("é", "é".as_bytes()),
            ("ctrl-/ ctrl-? ctrl-_", b"\x1f\x7f\x1f"),
            ("- ctrl-- s", b"-\x1b[45;5us"),
            ("pageup pgdn page-up del", b"\x1b[5~\x1b[6~\x1b[5~\x1b[3~"),
        ] {
            assert_eq!(plain_bytes(names), bytes, "{names}");
        }
        let mut application = Modes::default();
        application.read(b"\x1b[?1h");
        assert_eq!(bytes_of("up", &application).unwrap().pieces, [b"\x1bOA"]);
        assert_eq!(bytes_of("ctrl-up", &application).unwrap().pieces, [b"\x1b[1;5A"]);
    }

    #[test]
    fn a_capital_stays_one_and_names_of_keys_are_read_in_any_case() {
        assert_eq!(plain_bytes("i A G Z"), b"iAGZ");
        assert_eq!(plain_bytes("É"), "É".as_bytes());
        assert_eq!(plain_bytes("shift-a alt-G Alt-Shift-g"), b"A\x1bG\x1bG");
        assert_eq!(plain_bytes("ENTER Ctrl-C ctrl-A"), b"\r\x03\x01");
    }

    #[test]
    fn modifiers_are_held_in_any_order() {
        for (names, bytes) in [
            ("shift-enter", &b"\x1b[13;2u"[..]),
            ("ctrl-enter", b"\x1b[13;5u"),
            ("alt-enter", b"\x1b\r"),
            ("shift-up ctrl-left", b"\x1b[1;2A\x1b[1;5D"),
            ("ctrl-shift-right", b"\x1b[1;6C"),
            ("alt-f1 ctrl-f5", b"\x1b[1;3P\x1b[15;5~"),
            ("shift-pageup ctrl-del", b"\x1b[5;2~\x1b[3;5~"),
            ("ctrl-alt-x alt-ctrl-x", b"\x1b\x18\x1b\x18"),
            ("ctrl-shift-x", b"\x1b[120;6u"),
            ("alt-backspace ctrl-backspace", b"\x1b\x7f\x08"),
            ("ctrl-tab ctrl-1", b"\x1b[9;5u\x1b[49;5u"),
            ("super-a super-up ctrl-super-enter", b"\x1b[97;9u\x1b[1;9A\x1b[13;13u"),
            ("ctrl+c Alt+x ctrl-+", b"\x03\x1bx\x1b[43;5u"),
            ("shift-- shift+- s", b"\x1b[45;2u\x1b[45;2us"),
        ] {
            assert_eq!(plain_bytes(names), bytes, "{names}");
        }
    }

    #[test]
    fn a_modifier_is_held_once() {
        for wrong in ["ctrl-ctrl-a", "ctrl-c-a", "shift-alt-shift-up", "^ctrl-a", "^1", "^^^", "^é"]
        {
            assert!(bytes_of(wrong, &Modes::default()).is_err(), "{wrong}");
        }
        assert_eq!(plain_bytes("^C ^c ^[ ^? ^\\ ^^ ^"), b"\x03\x03\x1b\x7f\x1c\x1e^");
        assert_eq!(bytes_of("^Z", &Modes::default()).unwrap().suspends, Suspends::Yes);
    }

    #[test]
    fn the_keypad_has_keys_of_its_own_where_the_program_wants_them() {
        let keys = "kp-0 kp-9 kp-enter kp-plus kp-minus kp-divide kp-multiply kp-decimal";
        assert_eq!(plain_bytes(keys), b"09\r+-/*.");
        let mut modes = Modes::default();
        modes.read(b"\x1b=");
        let bytes = bytes_of(keys, &modes).unwrap().pieces.concat();
        assert_eq!(bytes, b"\x1bOp\x1bOy\x1bOM\x1bOk\x1bOm\x1bOo\x1bOj\x1bOn");
        assert_eq!(bytes_of("ctrl-kp-enter", &modes).unwrap().pieces, [b"\x1b[13;5u"]);
        assert!(bytes_of("kp-x", &modes).is_err() && bytes_of("kp-", &modes).is_err());
    }

    #[test]
    fn function_keys_of_the_second_row_are_those_of_the_first_with_shift() {
        assert_eq!(plain_bytes("f13 F16 f17 f24"), b"\x1b[1;2P\x1b[1;2S\x1b[15;2~\x1b[24;2~");
        assert_eq!(plain_bytes("ctrl-f13"), b"\x1b[1;6P");
        for wrong in ["f0", "f25", "shift-f13", "f+13"] {
            assert!(bytes_of(wrong, &Modes::default()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_key_may_be_given_by_its_code() {
        assert_eq!(plain_bytes("0x1b 0x5B 0x41"), b"\x1b[A");
        assert_eq!(plain_bytes("u+e9 U+1F600"), "é😀".as_bytes());
        for wrong in ["0x", "0x1", "0x123", "0xzz", "u+", "u+d800", "u+110000", "u+-1", "0x+1"] {
            assert!(bytes_of(wrong, &Modes::default()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_escape_ends_a_piece_and_one_of_a_sequence_does_not() {
        let pieces = |names: &str| bytes_of(names, &Modes::default()).unwrap().pieces;
        assert_eq!(pieces("a escape b"), [&b"a\x1b"[..], b"b"]);
        assert_eq!(pieces("escape enter"), [b"\x1b", b"\r"]);
        assert_eq!(pieces("ctrl-[ esc"), [b"\x1b", b"\x1b"]);
        assert_eq!(pieces("0x1b 0x5b 0x41"), [b"\x1b[A"], "codes are meant as they are");
        assert_eq!(pieces("up alt-x"), [b"\x1b[A\x1bx"]);
    }

    #[test]
    fn what_suspends_is_known_unless_it_is_given_by_its_code() {
        let suspends = |names: &str| bytes_of(names, &Modes::default()).unwrap().suspends;
        assert_eq!(suspends("a ctrl-z"), Suspends::Yes);
        assert_eq!(suspends("C-Z"), Suspends::Yes);
        assert_eq!(suspends("0x1a alt-z z"), Suspends::No);
    }

    #[test]
    fn what_is_no_key_is_named() {
        let plain = Modes::default();
        assert_eq!(bytes_of("  ", &plain), Err(Untypeable::NoKey));
        let unknown = Err(Untypeable::UnknownKey("Ctrl-Upp".to_string()));
        assert_eq!(bytes_of("enter Ctrl-Upp", &plain), unknown);
        assert_eq!(bytes_of(&"y ".repeat(MOST_KEYS + 1), &plain), Err(Untypeable::TooManyKeys));
    }
}
