//! The key that detaches, in each of the forms in which a terminal may send it, also where a form comes in two reads.

use crate::time::{Deadline, Timestamp};
use alloc::format;
use alloc::vec::Vec;
use bytes::{Bytes, BytesMut};
use core::fmt;
use core::time::Duration;

/// How long the beginning of a form is deferred: 50 ms. A terminal sends the bytes of a key at once, and nobody notices the delay of Alt-[.
const KEY_WAIT: Duration = Duration::from_millis(50);

/// A letter or sign that is pressed with Ctrl.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DetachKey {
    sign: u8,
}

impl DetachKey {
    /// Ctrl-], as of telnet.
    pub const DEFAULT: Self = Self { sign: b']' };

    /// Reads `ctrl-x`, for a letter or one of `] \ ^ _`.
    pub fn parse(text: &str) -> Option<Self> {
        let sign = text.to_ascii_lowercase();
        let sign = sign.strip_prefix("ctrl-").or_else(|| sign.strip_prefix("c-"))?;
        match sign.as_bytes() {
            // Ctrl-[ is Escape, with which every key of a cursor begins; Ctrl-I, J and M are Tab and Enter.
            [b'i' | b'j' | b'm'] => None,
            &[sign @ (b'a'..=b'z' | b']' | b'\\' | b'^' | b'_')] => Some(Self { sign }),
            _ => None,
        }
    }

    fn forms(self) -> [Vec<u8>; 3] {
        let sign = self.sign;
        [
            [sign & 0x1f].into(),
            // Of a terminal whose program asked for keys that can be told apart.
            format!("\x1b[{sign};5u").into_bytes(),
            format!("\x1b[27;5;{sign}~").into_bytes(),
        ]
    }

    /// Where it begins in what was typed.
    fn find(self, typed: &[u8]) -> Option<usize> {
        let forms = self.forms();
        let at = forms.iter().filter_map(|form| {
            typed.windows(form.len()).position(|window| window == form.as_slice())
        });
        at.min()
    }

    /// How much at the end of what was typed may be the beginning of it. Escape alone is a key.
    fn begun(self, typed: &[u8]) -> usize {
        let forms = self.forms();
        let begins = |length: usize| {
            let end = typed.get(typed.len().saturating_sub(length)..).unwrap_or_default();
            forms.iter().any(|form| form.len() > length && form.starts_with(end))
        };
        (2..typed.len().saturating_add(1).min(12)).rev().find(|length| begins(*length)).unwrap_or(0)
    }
}

/// Keys on their way to the program, in which the one that detaches is looked for.
#[derive(Debug)]
pub(super) struct DetachWatch {
    key: DetachKey,
    /// What may be the beginning of it.
    deferred: Bytes,
    until: Option<Timestamp>,
}

/// What was typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Typed {
    /// This is for the program.
    Keys(Bytes),
    /// So is this, and then the key was pressed that detaches.
    Detach(Bytes),
}

impl DetachWatch {
    pub(super) const fn new(key: DetachKey) -> Self {
        Self { key, deferred: Bytes::new(), until: None }
    }

    /// This was typed.
    pub(super) fn typed(&mut self, bytes: Bytes, now: Timestamp) -> Typed {
        let mut all = bytes;
        if !self.deferred.is_empty() {
            let mut joined = BytesMut::from(self.take().as_ref());
            joined.extend_from_slice(&all);
            all = joined.freeze();
        }
        if let Some(at) = self.key.find(&all) {
            return Typed::Detach(all.slice(..at));
        }
        let begun = self.key.begun(&all);
        if begun > 0 {
            self.deferred = all.split_off(all.len().saturating_sub(begun));
            self.until = Some(now.saturating_add(KEY_WAIT));
        }
        Typed::Keys(all)
    }

    /// What was deferred for too long to be the key.
    pub(super) fn on_time(&mut self, now: Timestamp) -> Option<Bytes> {
        self.deadline().is_due(now).then(|| self.take())
    }

    pub(super) fn deadline(&self) -> Deadline {
        self.until.map_or(Deadline::Never, Deadline::At)
    }

    fn take(&mut self) -> Bytes {
        self.until = None;
        core::mem::take(&mut self.deferred)
    }
}

impl fmt::Display for DetachKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ctrl-{}", char::from(self.sign))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString as _;

    fn ms(n: u64) -> Timestamp {
        Timestamp::ORIGIN.saturating_add(Duration::from_millis(n))
    }

    #[test]
    fn it_is_found_where_it_comes_in_two_reads_and_other_keys_wait_a_moment_at_most() {
        for form in [&b"\x1b[93;5u"[..], b"\x1b[27;5;93~"] {
            for at in 2..form.len() {
                let mut watch = DetachWatch::new(DetachKey::DEFAULT);
                let (first, second) = form.split_at(at);
                let typed = watch.typed([&b"ab"[..], first].concat().into(), ms(0));
                assert_eq!(typed, Typed::Keys(Bytes::from_static(b"ab")), "{at}");
                let typed = watch.typed(Bytes::copy_from_slice(second), ms(1));
                assert_eq!(typed, Typed::Detach(Bytes::new()), "{at}");
            }
        }
        let mut watch = DetachWatch::new(DetachKey::DEFAULT);
        assert_eq!(
            watch.typed(Bytes::from_static(b"\x1b"), ms(0)),
            Typed::Keys(Bytes::from_static(b"\x1b"))
        );
        assert_eq!(
            watch.typed(Bytes::from_static(b"x\x1b["), ms(0)),
            Typed::Keys(Bytes::from_static(b"x"))
        );
        assert_eq!(watch.deadline(), Deadline::At(ms(50)));
        assert_eq!(watch.on_time(ms(49)), None);
        assert_eq!(watch.on_time(ms(50)), Some(Bytes::from_static(b"\x1b[")));
        assert_eq!((watch.on_time(ms(99)), watch.deadline()), (None, Deadline::Never));
        let _ = watch.typed(Bytes::from_static(b"\x1b["), ms(100));
        assert_eq!(
            watch.typed(Bytes::from_static(b"A"), ms(101)),
            Typed::Keys(Bytes::from_static(b"\x1b[A"))
        );
    }

    #[test]
    fn it_is_found_in_each_form() {
        let key = DetachKey::DEFAULT;
        for (typed, at) in [
            (&b"ab\x1dc"[..], Some(2)),
            (b"\x1b[93;5u", Some(0)),
            (b"a\x1b[27;5;93~", Some(1)),
            (b"a]b\x1b[A", None),
            (b"", None),
        ] {
            assert_eq!(key.find(typed), at, "{}", typed.escape_ascii());
        }
    }

    #[test]
    fn it_is_written_as_people_do() {
        assert_eq!(DetachKey::parse("Ctrl-]"), Some(DetachKey::DEFAULT));
        assert_eq!(DetachKey::parse("c-q").unwrap().to_string(), "ctrl-q");
        for wrong in ["ctrl-m", "ctrl-[", "q", "ctrl-", "ctrl-ab", "alt-q"] {
            assert_eq!(DetachKey::parse(wrong), None, "{wrong}");
        }
    }
}
