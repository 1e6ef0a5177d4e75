//! A look at the bytes before they are parsed: how deep they nest, and which command they concern.

use super::json::plain_bytes;

/// Whether arrays and objects nest deeper than `limit`. Linear, allocates nothing; text that is no
/// JSON gives some answer, and the parser says the rest.
pub(super) fn deeper_than(text: &str, limit: usize) -> bool {
    openings(text) > limit && nests_deeper_than(text, limit)
}

/// How many bytes could open an array or an object, inside strings too: no text nests deeper.
/// Without branches, so that the compiler counts many bytes at a time.
fn openings(text: &str) -> usize {
    // `[` and `{` differ in this bit only.
    const EITHER: u8 = b'[' ^ b'{';
    // As many as a `u8` can count, in whole registers.
    const BLOCK: usize = 224;
    text.as_bytes()
        .chunks(BLOCK)
        .map(|some| usize::from(some.iter().map(|b| u8::from(b | EITHER == b'{')).sum::<u8>()))
        .sum()
}

fn nests_deeper_than(text: &str, limit: usize) -> bool {
    let mut depth = 0usize;
    let mut rest = text.as_bytes();
    while let Some((byte, behind)) = rest.split_first() {
        rest = behind;
        match byte {
            b'"' => rest = behind_string(rest),
            b'[' | b'{' => {
                depth += 1;
                if depth > limit {
                    return true;
                }
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    false
}

/// What comes behind the string in which `rest` begins.
fn behind_string(mut rest: &[u8]) -> &[u8] {
    loop {
        let plain = plain_bytes(rest);
        let skip = match rest.get(plain) {
            Some(b'"') => return rest.get(plain + 1..).unwrap_or_default(),
            // And what it escapes.
            Some(b'\\') => 2,
            // A control character; the parser will not have it.
            Some(_) => 1,
            None => return &[],
        };
        rest = rest.get(plain + skip..).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use super::deeper_than;

    #[test]
    fn counts_nesting_outside_strings_only() {
        assert!(!deeper_than(r#"{"a":[{"b":"[[[[[["}]}"#, 3));
        assert!(deeper_than(r#"{"a":[{"b":"[[[[[["}]}"#, 2));
        assert!(!deeper_than(r#"{"a":"\"[[["}"#, 1));
        assert!(deeper_than(r#"{"a\\":[{}]}"#, 2), "an escaped backslash ends nothing but itself");
        assert!(!deeper_than("{\"a\u{1}[[[\":1,\"b\\", 1));
    }
}
