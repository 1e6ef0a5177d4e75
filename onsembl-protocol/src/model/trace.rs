//! Where a command stands in a distributed trace, spelled as W3C Trace Context has it. Nothing in this crate acts on it.

use super::lenient;
use core::fmt;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Longest text that is looked at. A later version of the format may append to the 55 bytes of this one.
const LONGEST: usize = 128;
/// `00-` trace id `-` span id `-` flags.
const LENGTH: usize = 55;

/// A trace, and the span in it that whatever comes next is part of. 25 bytes, whatever a peer sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TraceContext {
    trace: [u8; 16],
    span: [u8; 8],
    flags: u8,
}

impl TraceContext {
    /// The flag by which a caller says that it records its part of the trace.
    pub const SAMPLED: u8 = 1;

    /// The context of these ids; `None` if one of them is zero, which stands for "invalid".
    pub fn new(trace: [u8; 16], span: [u8; 8], flags: u8) -> Option<Self> {
        (trace != [0; 16] && span != [0; 8]).then_some(Self { trace, span, flags })
    }

    /// Reads a `traceparent`; `None` if it is malformed, which counts as absent.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        if bytes.len() > LONGEST {
            return None;
        }
        let (head, rest) = (bytes.get(..LENGTH)?, bytes.get(LENGTH..)?);
        let [version] = hex(head.get(..2)?)?;
        // Of a later version this much is fixed, and what follows is set off; 255 is forbidden.
        let is_whole = match version {
            0 => rest.is_empty(),
            1..=254 => rest.is_empty() || rest.starts_with(b"-"),
            255 => false,
        };
        let dashes = [2, 35, 52].iter().all(|at| head.get(*at) == Some(&b'-'));
        if !is_whole || !dashes {
            return None;
        }
        let [flags] = hex(head.get(53..)?)?;
        Self::new(hex(head.get(3..35)?)?, hex(head.get(36..52)?)?, flags)
    }

    /// The id of the trace.
    pub const fn trace(&self) -> [u8; 16] {
        self.trace
    }

    /// The id of the span.
    pub const fn span(&self) -> [u8; 8] {
        self.span
    }

    /// What the caller says besides, as bits.
    pub const fn flags(&self) -> u8 {
        self.flags
    }

    /// Whether the caller records its part of the trace.
    pub const fn is_sampled(&self) -> bool {
        self.flags & Self::SAMPLED != 0
    }

    /// Another span of the same trace; `None` if its id is zero.
    pub fn with_span(self, span: [u8; 8]) -> Option<Self> {
        Self::new(self.trace, span, self.flags)
    }
}

/// Lower case only, as the format wants it.
fn hex<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    let digit = |byte: &u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; N];
    for (n, byte) in bytes.iter_mut().enumerate() {
        let [high, low] = text.get(2 * n..2 * n + 2)? else { return None };
        *byte = digit(high)? << 4 | digit(low)?;
    }
    Some(bytes)
}

impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { trace, span, flags } = self;
        let (trace, span) = (u128::from_be_bytes(*trace), u64::from_be_bytes(*span));
        write!(f, "00-{trace:032x}-{span:016x}-{flags:02x}")
    }
}

impl Serialize for TraceContext {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

/// Reads what [`TraceContext::parse`] reads; every other value counts as absent.
pub(crate) fn read<'de, D: Deserializer<'de>>(d: D) -> Result<Option<TraceContext>, D::Error> {
    lenient::text(d, TraceContext::parse)
}

/// One that is malformed is an error here; in a message it counts as absent.
impl<'de> Deserialize<'de> for TraceContext {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        read(d)?.ok_or_else(|| serde::de::Error::custom("not a traceparent"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use alloc::string::{String, ToString as _};

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_context_is_written_as_it_was_read() {
        let context = TraceContext::parse(GOOD).unwrap();
        assert_eq!(context.to_string(), GOOD);
        assert!(context.is_sampled());
        assert_eq!(context.span(), [0, 0xf0, 0x67, 0xaa, 0x0b, 0xa9, 0x02, 0xb7]);
        let other = context.with_span([0xab; 8]).unwrap();
        assert_eq!(other.to_string(), GOOD.replace("00f067aa0ba902b7", "abababababababab"));
        assert_eq!(context.with_span([0; 8]), None);
        let unsampled = GOOD.replace("-01", "-00");
        assert!(!TraceContext::parse(&unsampled).unwrap().is_sampled());
    }

    #[test]
    fn of_a_later_version_the_part_that_is_fixed_is_read() {
        for text in [GOOD.replacen("00", "cc", 1), format!("{}-more", GOOD.replacen("00", "cc", 1))]
        {
            assert_eq!(TraceContext::parse(&text), TraceContext::parse(GOOD), "{text}");
        }
    }

    #[test]
    fn what_is_malformed_or_too_long_is_absent() {
        for text in [
            String::new(),
            "00".into(),
            GOOD.to_uppercase(),
            GOOD.replace('-', "_"),
            format!("{GOOD}-more"),
            format!(" {GOOD}"),
            GOOD.replacen("00", "ff", 1),
            GOOD.replacen("00", "0x", 1),
            GOOD.replace("4bf92f3577b34da6a3ce929d0e0e4736", "00000000000000000000000000000000"),
            GOOD.replace("00f067aa0ba902b7", "0000000000000000"),
            GOOD.replace("4736", "473ö"),
            format!("cc{}", GOOD.get(2..).unwrap_or_default()) + "more",
            format!("cc{}-{}", GOOD.get(2..).unwrap_or_default(), "m".repeat(LONGEST)),
        ] {
            assert_eq!(TraceContext::parse(&text), None, "{text}");
        }
    }
}
