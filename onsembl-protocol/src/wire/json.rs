//! Writes JSON behind what a `String` holds already, in the form of `serde_json`, which cannot do so
//! without the standard library. A property test holds the two against each other.

use alloc::string::String;
use core::fmt::{self, Display, Write as _};
use serde::ser::{self, Impossible, Serialize, Serializer};

/// Appends `value`; what was there stays.
pub(super) fn write<T: Serialize + ?Sized>(out: &mut String, value: &T) -> Result<(), Unwritable> {
    value.serialize(Writer(out))
}

/// How many bytes a text takes as JSON, with its quotes.
pub fn json_len(text: &str) -> usize {
    let each = text.bytes().map(|byte| match byte {
        b'"' | b'\\' | 0x08 | b'\t' | b'\n' | 0x0c | b'\r' => 2,
        ..=0x1f => 6,
        _ => 1,
    });
    each.fold(2, usize::saturating_add)
}

/// A value that JSON has no form for.
#[derive(Debug)]
pub(super) struct Unwritable;

impl Display for Unwritable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value has no form in JSON")
    }
}

impl core::error::Error for Unwritable {}

impl ser::Error for Unwritable {
    fn custom<T: Display>(_: T) -> Self {
        Self
    }
}

struct Writer<'o>(&'o mut String);

/// A list, a map or a struct that was opened with one bracket and ends with another.
pub(super) struct Compound<'o> {
    out: &'o mut String,
    empty: bool,
    end: &'static str,
}

impl<'o> Compound<'o> {
    fn open(out: &'o mut String, start: &str, end: &'static str) -> Self {
        out.push_str(start);
        Self { out, empty: true, end }
    }

    fn comma(&mut self) {
        if !self.empty {
            self.out.push(',');
        }
        self.empty = false;
    }

    fn close(self) {
        self.out.push_str(self.end);
    }
}

/// Writes a text in quotes, with the escapes of `serde_json`: the short ones where JSON has them.
fn quote(out: &mut String, text: &str) {
    out.push('"');
    escape(out, text);
    out.push('"');
}

fn escape(out: &mut String, text: &str) {
    let mut rest = text;
    // What must be escaped is ASCII, so both of its ends are ends of characters.
    while let Some(first) = rest.as_bytes().first() {
        let run = if must_be_escaped(*first) { 0 } else { plain_bytes(rest.as_bytes()) };
        if run > 0 {
            out.push_str(rest.get(..run).unwrap_or_default());
        }
        let Some(byte) = rest.as_bytes().get(run) else { break };
        escaped(out, char::from(*byte));
        rest = rest.get(run + 1..).unwrap_or_default();
    }
}

/// How many bytes come before the first one that must be escaped. Eight are looked at together, as
/// `serde_json` does when it reads.
pub(super) fn plain_bytes(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::MAX / 255;
    // The high bit of each byte that is zero. Only the lowest of them can be trusted, because the
    // bytes above it were borrowed from.
    let zeros = |word: u64| word.wrapping_sub(ONES) & !word;
    let (words, few) = bytes.as_chunks::<8>();
    for (n, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        let controls = word.wrapping_sub(ONES * u64::from(b' ')) & !word;
        let quotes = zeros(word ^ (ONES * u64::from(b'"')));
        let backslashes = zeros(word ^ (ONES * u64::from(b'\\')));
        let found = (controls | quotes | backslashes) & (ONES << 7);
        if found != 0 {
            return n * 8 + found.trailing_zeros() as usize / 8;
        }
    }
    let plain = few.iter().position(|byte| must_be_escaped(*byte)).unwrap_or(few.len());
    words.len() * 8 + plain
}

fn must_be_escaped(byte: u8) -> bool {
    byte < b' ' || byte == b'"' || byte == b'\\'
}

fn escaped(out: &mut String, c: char) {
    match c {
        '"' => out.push_str("\\\""),
        '\\' => out.push_str("\\\\"),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        '\u{8}' => out.push_str("\\b"),
        '\u{c}' => out.push_str("\\f"),
        '\u{1b}' => out.push_str("\\u001b"),
        c => {
            out.push_str(if c < '\u{10}' { "\\u000" } else { "\\u001" });
            out.push(char::from_digit(u32::from(c) & 0xf, 16).unwrap_or_default());
        }
    }
}

/// A text that is displayed into the middle of quotes.
struct Escaping<'o>(&'o mut String);

impl fmt::Write for Escaping<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        escape(self.0, text);
        Ok(())
    }
}

fn display(out: &mut String, value: impl Display) -> Result<(), Unwritable> {
    write!(out, "{value}").map_err(|_| Unwritable)
}

fn decimal(out: &mut String, v: u64) {
    let (mut digits, mut used, mut rest) = ([0; 20], 0, v);
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        (used, rest) = (used + 1, rest / 10);
        if rest == 0 {
            break;
        }
    }
    let digits = digits.get(digits.len() - used..).and_then(|d| core::str::from_utf8(d).ok());
    out.push_str(digits.unwrap_or_default());
}

macro_rules! displayed {
    ($($method:ident: $number:ty,)*) => {$(
        fn $method(self, v: $number) -> Result<(), Unwritable> {
            display(self.0, v)
        }
    )*};
}

macro_rules! refused {
    ($($method:ident($($arg:ty),*) -> $ok:ty;)*) => {$(
        fn $method(self, $(_: $arg),*) -> Result<$ok, Unwritable> {
            Err(Unwritable)
        }
    )*};
}

impl<'o> Serializer for Writer<'o> {
    type Ok = ();
    type Error = Unwritable;
    type SerializeSeq = Compound<'o>;
    type SerializeTuple = Compound<'o>;
    type SerializeTupleStruct = Impossible<(), Unwritable>;
    type SerializeTupleVariant = Impossible<(), Unwritable>;
    type SerializeMap = Compound<'o>;
    type SerializeStruct = Compound<'o>;
    type SerializeStructVariant = Impossible<(), Unwritable>;

    displayed! {
        serialize_bool: bool, serialize_i8: i8, serialize_i16: i16, serialize_i32: i32,
        serialize_u8: u8, serialize_u16: u16, serialize_u32: u32,
    }

    refused! {
        serialize_bytes(&[u8]) -> ();
        serialize_unit_struct(&'static str) -> ();
        serialize_tuple_struct(&'static str, usize) -> Self::SerializeTupleStruct;
        serialize_tuple_variant(&'static str, u32, &'static str, usize)
            -> Self::SerializeTupleVariant;
        serialize_struct_variant(&'static str, u32, &'static str, usize)
            -> Self::SerializeStructVariant;
    }

    fn serialize_u64(self, v: u64) -> Result<(), Unwritable> {
        decimal(self.0, v);
        Ok(())
    }

    fn serialize_i64(self, v: i64) -> Result<(), Unwritable> {
        if v < 0 {
            self.0.push('-');
        }
        decimal(self.0, v.unsigned_abs());
        Ok(())
    }

    fn serialize_f32(self, v: f32) -> Result<(), Unwritable> {
        self.serialize_f64(f64::from(v))
    }

    fn serialize_f64(self, v: f64) -> Result<(), Unwritable> {
        // The digits of other numbers are `serde_json`'s own choice where two are equally near.
        if v.is_sign_positive() && v < 1e15 && v as u64 as f64 == v {
            decimal(self.0, v as u64);
            self.0.push_str(".0");
        } else {
            self.0.push_str(&serde_json::to_string(&v).map_err(|_| Unwritable)?);
        }
        Ok(())
    }

    fn serialize_char(self, v: char) -> Result<(), Unwritable> {
        self.serialize_str(v.encode_utf8(&mut [0; 4]))
    }

    fn serialize_str(self, v: &str) -> Result<(), Unwritable> {
        quote(self.0, v);
        Ok(())
    }

    fn collect_str<T: Display + ?Sized>(self, v: &T) -> Result<(), Unwritable> {
        self.0.push('"');
        write!(Escaping(self.0), "{v}").map_err(|_| Unwritable)?;
        self.0.push('"');
        Ok(())
    }

    fn serialize_none(self) -> Result<(), Unwritable> {
        self.serialize_unit()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, v: &T) -> Result<(), Unwritable> {
        v.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), Unwritable> {
        self.0.push_str("null");
        Ok(())
    }

    fn serialize_unit_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
    ) -> Result<(), Unwritable> {
        self.serialize_str(variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        v: &T,
    ) -> Result<(), Unwritable> {
        v.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        v: &T,
    ) -> Result<(), Unwritable> {
        let mut map = self.serialize_map(None)?;
        ser::SerializeMap::serialize_entry(&mut map, variant, v)?;
        ser::SerializeMap::end(map)
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Compound<'o>, Unwritable> {
        Ok(Compound::open(self.0, "[", "]"))
    }

    fn serialize_tuple(self, _: usize) -> Result<Compound<'o>, Unwritable> {
        Ok(Compound::open(self.0, "[", "]"))
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Compound<'o>, Unwritable> {
        Ok(Compound::open(self.0, "{", "}"))
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Compound<'o>, Unwritable> {
        Ok(Compound::open(self.0, "{", "}"))
    }
}

impl ser::SerializeSeq for Compound<'_> {
    type Ok = ();
    type Error = Unwritable;
    fn serialize_element<T: Serialize + ?Sized>(&mut self, v: &T) -> Result<(), Unwritable> {
        self.comma();
        write(self.out, v)
    }
    fn end(self) -> Result<(), Unwritable> {
        self.close();
        Ok(())
    }
}

impl ser::SerializeTuple for Compound<'_> {
    type Ok = ();
    type Error = Unwritable;
    fn serialize_element<T: Serialize + ?Sized>(&mut self, v: &T) -> Result<(), Unwritable> {
        ser::SerializeSeq::serialize_element(self, v)
    }
    fn end(self) -> Result<(), Unwritable> {
        ser::SerializeSeq::end(self)
    }
}

impl ser::SerializeMap for Compound<'_> {
    type Ok = ();
    type Error = Unwritable;
    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Unwritable> {
        self.comma();
        let start = self.out.len();
        write(self.out, key)?;
        // A key is a text; ours are never anything else.
        if self.out.get(start..).is_none_or(|key| !key.starts_with('"')) {
            return Err(Unwritable);
        }
        self.out.push(':');
        Ok(())
    }
    fn serialize_value<T: Serialize + ?Sized>(&mut self, v: &T) -> Result<(), Unwritable> {
        write(self.out, v)
    }
    fn end(self) -> Result<(), Unwritable> {
        self.close();
        Ok(())
    }
}

impl ser::SerializeStruct for Compound<'_> {
    type Ok = ();
    type Error = Unwritable;
    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        key: &'static str,
        v: &T,
    ) -> Result<(), Unwritable> {
        self.comma();
        // The names of our fields hold nothing to escape.
        self.out.push('"');
        self.out.push_str(key);
        self.out.push_str("\":");
        write(self.out, v)
    }
    fn end(self) -> Result<(), Unwritable> {
        self.close();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{json_len, quote};
    use alloc::format;
    use alloc::string::String;

    #[test]
    fn the_length_of_a_text_is_known_without_writing_it() {
        for c in (0..0x100).map(|c| char::from(c as u8)).chain(['\u{1f600}', '\u{2028}']) {
            let text = format!("a{c}{c}b");
            assert_eq!(json_len(&text), serde_json::to_string(&text).unwrap().len(), "{c:?}");
        }
    }

    /// Every character that one byte holds and two longer ones, at every position of a word, alone and
    /// behind another escape.
    #[test]
    fn escapes_as_serde_json_does_at_every_position() {
        for c in (0..0x80).map(char::from).chain(['é', '\u{1f600}']) {
            for before in 0..20 {
                let text = format!("{}{c}\n{c}{c}{}", "x".repeat(before), "é".repeat(before));
                let mut written = String::from("kept");
                quote(&mut written, &text);
                let expected = serde_json::to_string(&text).unwrap_or_default();
                assert_eq!(written.strip_prefix("kept"), Some(expected.as_str()), "{text:?}");
            }
        }
    }
}
