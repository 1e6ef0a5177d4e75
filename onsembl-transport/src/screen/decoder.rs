//! Characters out of bytes that are cut anywhere. What is no UTF-8 becomes U+FFFD.

/// Keeps the beginning of a character, three bytes at most.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    begun: Vec<u8>,
}

impl Decoder {
    /// Appends to `text` what the bytes are.
    pub(super) fn read(&mut self, bytes: &[u8], text: &mut String) {
        if self.begun.is_empty() {
            self.decode(bytes, text);
        } else {
            let mut joined = std::mem::take(&mut self.begun);
            joined.extend_from_slice(bytes);
            self.decode(&joined, text);
        }
    }

    /// The character that was begun does not continue.
    pub(super) fn finish(&mut self, text: &mut String) {
        if !self.begun.is_empty() {
            self.begun.clear();
            text.push(char::REPLACEMENT_CHARACTER);
        }
    }

    /// The beginning of a character that is not whole yet.
    pub(super) fn pending(&self) -> &[u8] {
        &self.begun
    }

    fn decode(&mut self, bytes: &[u8], text: &mut String) {
        let mut left = bytes.len();
        for chunk in bytes.utf8_chunks() {
            text.push_str(chunk.valid());
            let invalid = chunk.invalid();
            left = left.saturating_sub(chunk.valid().len() + invalid.len());
            if invalid.is_empty() {
                continue;
            }
            let may_continue =
                left == 0 && std::str::from_utf8(invalid).is_err_and(|e| e.error_len().is_none());
            if may_continue {
                self.begun.extend_from_slice(invalid);
            } else {
                text.push(char::REPLACEMENT_CHARACTER);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn cuts_change_nothing(
            bytes in proptest::collection::vec(prop_oneof![any::<u8>(), 0x80_u8..0xf5], 0..40),
            text in ".{0,10}",
            at in 0_usize..60,
        ) {
            let bytes = [bytes, text.into_bytes()].concat();
            let (first, second) = bytes.split_at(at.min(bytes.len()));
            let (mut decoder, mut decoded) = (Decoder::default(), String::new());
            decoder.read(first, &mut decoded);
            decoder.read(second, &mut decoded);
            prop_assert!(decoder.pending().len() <= 3);
            decoder.finish(&mut decoded);
            prop_assert_eq!(decoded, String::from_utf8_lossy(&bytes));
        }
    }
}
