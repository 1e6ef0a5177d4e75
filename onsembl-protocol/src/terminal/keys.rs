//! Names of keys, and the bytes that a terminal sends for them.

use super::modes::Modes;
use super::refusal::{MOST_KEYS, Untypeable};
use alloc::string::ToString;
use alloc::vec::Vec;

/// The bytes of keys that are named one after another, with spaces between them.
pub(super) fn bytes_of(text: &str, modes: &Modes) -> Result<Vec<u8>, Untypeable> {
    let mut bytes = Vec::new();
    let mut keys = 0;
    for name in text.split_whitespace() {
        keys += 1;
        if keys > MOST_KEYS {
            return Err(Untypeable::TooManyKeys);
        }
        let name = name.to_ascii_lowercase();
        press(&name, modes, &mut bytes).ok_or_else(|| Untypeable::UnknownKey(name.to_string()))?;
    }
    if keys == 0 {
        return Err(Untypeable::Nothing);
    }
    Ok(bytes)
}

fn press(name: &str, modes: &Modes, bytes: &mut Vec<u8>) -> Option<()> {
    if let Some(with) = name.strip_prefix("ctrl-").or(name.strip_prefix("c-")) {
        bytes.push(control(with)?);
        return Some(());
    }
    if let Some(with) = name.strip_prefix("alt-").or(name.strip_prefix("m-")) {
        bytes.push(0x1b);
        return press(with, modes, bytes);
    }
    let mut letters = name.chars();
    if let (Some(only), None) = (letters.next(), letters.next()) {
        bytes.extend_from_slice(only.encode_utf8(&mut [0; 4]).as_bytes());
        return Some(());
    }
    let cursor: &[u8] = if modes.has_application_cursor() { b"\x1bO" } else { b"\x1b[" };
    let (start, end): (&[u8], &[u8]) = match name {
        "enter" | "return" => (b"\r", b""),
        "tab" => (b"\t", b""),
        "escape" | "esc" => (b"\x1b", b""),
        "space" => (b" ", b""),
        "backspace" => (b"\x7f", b""),
        "shift-tab" => (b"\x1b[", b"Z"),
        "up" => (cursor, b"A"),
        "down" => (cursor, b"B"),
        "right" => (cursor, b"C"),
        "left" => (cursor, b"D"),
        "home" => (cursor, b"H"),
        "end" => (cursor, b"F"),
        "insert" => (b"\x1b[", b"2~"),
        "delete" => (b"\x1b[", b"3~"),
        "page-up" => (b"\x1b[", b"5~"),
        "page-down" => (b"\x1b[", b"6~"),
        "f1" => (b"\x1bO", b"P"),
        "f2" => (b"\x1bO", b"Q"),
        "f3" => (b"\x1bO", b"R"),
        "f4" => (b"\x1bO", b"S"),
        "f5" => (b"\x1b[", b"15~"),
        "f6" => (b"\x1b[", b"17~"),
        "f7" => (b"\x1b[", b"18~"),
        "f8" => (b"\x1b[", b"19~"),
        "f9" => (b"\x1b[", b"20~"),
        "f10" => (b"\x1b[", b"21~"),
        "f11" => (b"\x1b[", b"23~"),
        "f12" => (b"\x1b[", b"24~"),
        _ => return None,
    };
    bytes.extend_from_slice(start);
    bytes.extend_from_slice(end);
    Some(())
}

/// The control character of a key, as ASCII has them: the key's own code without its upper bits.
fn control(key: &str) -> Option<u8> {
    match key.as_bytes() {
        b"space" => Some(0),
        b"?" => Some(0x7f),
        [letter @ (b'a'..=b'z' | b'@' | b'[' | b'\\' | b']' | b'^' | b'_')] => Some(letter & 0x1f),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_sent_as_a_terminal_sends_them() {
        let plain = Modes::default();
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
        ] {
            assert_eq!(bytes_of(names, &plain).unwrap(), bytes, "{names}");
        }
        let mut application = Modes::default();
        application.read(b"\x1b[?1h");
        assert_eq!(bytes_of("up", &application).unwrap(), b"\x1bOA");
    }

    #[test]
    fn what_is_no_key_is_named() {
        let plain = Modes::default();
        assert_eq!(bytes_of("  ", &plain), Err(Untypeable::Nothing));
        let unknown = Err(Untypeable::UnknownKey("ctrl-up".to_string()));
        assert_eq!(bytes_of("enter ctrl-up", &plain), unknown);
        assert_eq!(bytes_of(&"y ".repeat(MOST_KEYS + 1), &plain), Err(Untypeable::TooManyKeys));
    }
}
