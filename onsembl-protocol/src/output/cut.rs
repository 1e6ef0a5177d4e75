//! Where to cut a stream of bytes, so that text stays text.

use bytes::{Bytes, BytesMut};

/// Cuts one stream at character borders: what comes out is whole UTF-8 as long as the stream is,
/// however it was read. Bytes that are no UTF-8 pass as they are. At most three bytes stay inside.
#[derive(Clone, Debug, Default)]
pub(crate) struct Utf8Cutter {
    rest: Bytes,
}

impl Utf8Cutter {
    /// Takes what was read and gives what can go.
    pub(crate) fn push(&mut self, read: Bytes) -> Bytes {
        let mut all = if self.rest.is_empty() {
            read
        } else {
            let mut joined = BytesMut::with_capacity(self.rest.len() + read.len());
            joined.extend_from_slice(&self.rest);
            joined.extend_from_slice(&read);
            joined.freeze()
        };
        self.rest = all.split_off(all.len() - begun_character(&all));
        all
    }

    /// The stream ended: gives what is left.
    pub(crate) fn finish(&mut self) -> Bytes {
        core::mem::take(&mut self.rest)
    }
}

/// How many bytes at the end begin a character that is not complete.
pub(super) fn begun_character(bytes: &[u8]) -> usize {
    for back in 1..=bytes.len().min(3) {
        let Some(&byte) = bytes.get(bytes.len() - back) else { return 0 };
        let needs = match byte {
            0xc2..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xf4 => 4,
            0x80..=0xbf => continue,
            _ => return 0,
        };
        return if back < needs { back } else { 0 };
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::string::String;
    use std::vec::Vec;

    proptest! {
        #[test]
        fn text_stays_text_however_it_is_read(text in "\\PC{0,40}", cuts in prop::collection::vec(1usize..5, 0..40)) {
            let mut cutter = Utf8Cutter::default();
            let (mut out, mut rest) = (String::new(), text.as_bytes());
            for cut in cuts.into_iter().chain([usize::MAX]) {
                let (now, later) = rest.split_at(cut.min(rest.len()));
                rest = later;
                let piece = cutter.push(Bytes::copy_from_slice(now));
                out.push_str(core::str::from_utf8(&piece).expect("cut at a character border"));
            }
            prop_assert!(cutter.finish().is_empty());
            prop_assert_eq!(out, text);
        }

        #[test]
        fn no_byte_is_lost_or_added(bytes: Vec<u8>, cuts in prop::collection::vec(1usize..5, 0..40)) {
            let mut cutter = Utf8Cutter::default();
            let (mut out, mut rest) = (Vec::new(), bytes.as_slice());
            for cut in cuts.into_iter().chain([usize::MAX]) {
                let (now, later) = rest.split_at(cut.min(rest.len()));
                rest = later;
                out.extend_from_slice(&cutter.push(Bytes::copy_from_slice(now)));
            }
            out.extend_from_slice(&cutter.finish());
            prop_assert_eq!(out, bytes);
        }
    }
}
