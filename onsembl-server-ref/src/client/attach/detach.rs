//! The key that detaches, in each of the forms in which a terminal may send it.

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

    /// Where it begins in what was typed.
    pub(super) fn find(self, typed: &[u8]) -> Option<usize> {
        let sign = self.sign;
        let forms = [
            vec![sign & 0x1f],
            // Of a terminal whose program asked for keys that can be told apart.
            format!("\x1b[{sign};5u").into_bytes(),
            format!("\x1b[27;5;{sign}~").into_bytes(),
        ];
        let at = forms.iter().filter_map(|form| {
            typed.windows(form.len()).position(|window| window == form.as_slice())
        });
        at.min()
    }
}

impl std::fmt::Display for DetachKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ctrl-{}", char::from(self.sign))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
