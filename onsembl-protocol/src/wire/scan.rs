//! A look at the bytes before they are parsed: how deep they nest, and which command they concern.

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
    let mut in_string = false;
    let mut escaped = false;
    for byte in text.bytes() {
        if in_string {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_string = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => in_string = true,
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

#[cfg(test)]
mod tests {
    use super::deeper_than;

    #[test]
    fn counts_nesting_outside_strings_only() {
        assert!(!deeper_than(r#"{"a":[{"b":"[[[[[["}]}"#, 3));
        assert!(deeper_than(r#"{"a":[{"b":"[[[[[["}]}"#, 2));
        assert!(!deeper_than(r#"{"a":"\"[[["}"#, 1));
    }
}
