//! Output: chunks from agents, streams to dashboards, and what is known to be stored.

use crate::id::{AgentId, ByteOffset, ChunkSequence, CommandId, Incarnation};
use crate::model::Stream;
use crate::model::Text;
use crate::model::lenient;
use crate::model::wire_enum;
use crate::time::WallTime;
use crate::wire::json_len;
use alloc::borrow::Cow;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use base64::Engine as _;
use base64::display::Base64Display;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use core::fmt;
use serde::de::{self, Deserializer, SeqAccess, Visitor};
use serde::{Deserialize, Serialize, Serializer};

wire_enum! {
    /// Which stream, as the wire names it.
    #[allow(missing_docs, reason = "the names say all")]
    pub enum StreamType {
        Stdout = "STDOUT",
        Stderr = "STDERR",
        /// A terminal. Extension.
        Terminal = "TERMINAL",
        /// A spelling in existing databases; never sent.
        System = "SYSTEM",
    }
}

impl StreamType {
    /// The stream it means. What is neither is shown with standard output.
    pub fn stream(&self) -> Stream {
        match self {
            Self::Stdout | Self::System | Self::Unknown(_) => Stream::Stdout,
            Self::Stderr => Stream::Stderr,
            Self::Terminal => Stream::Terminal,
        }
    }
}

impl From<Stream> for StreamType {
    fn from(stream: Stream) -> Self {
        match stream {
            Stream::Stdout => Self::Stdout,
            Stream::Stderr => Self::Stderr,
            Stream::Terminal => Self::Terminal,
        }
    }
}

/// Bytes in a JSON text: as they are when they are UTF-8, else in base64.
#[derive(Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
pub enum OutputContent {
    Text(String),
    /// Text that is sent to a legacy server in both forms.
    Stripped {
        /// Without its escape sequences, in `content`.
        text: String,
        /// As it is, in `ansiCodes`.
        raw: String,
    },
    /// Bytes that are no text.
    Bytes(Bytes),
}

impl OutputContent {
    /// Wraps bytes in the form that costs less.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        match core::str::from_utf8(bytes) {
            Ok(text) => Self::Text(text.to_string()),
            Err(_) => Self::Bytes(Bytes::copy_from_slice(bytes)),
        }
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Text(text) | Self::Stripped { raw: text, .. } => text.as_bytes(),
            Self::Bytes(bytes) => bytes,
        }
    }

    /// The bytes, without a copy.
    pub fn into_bytes(self) -> Bytes {
        match self {
            Self::Text(text) | Self::Stripped { raw: text, .. } => Bytes::from(text),
            Self::Bytes(bytes) => bytes,
        }
    }

    /// How many bytes it takes as JSON, with its quotes.
    pub fn json_len(&self) -> usize {
        match self {
            Self::Text(text) | Self::Stripped { text, .. } => json_len(text),
            Self::Bytes(bytes) => bytes.len().div_ceil(3).saturating_mul(4).saturating_add(2),
        }
    }

    /// The bytes as text, with U+FFFD for what is none.
    pub fn to_text(&self) -> Cow<'_, str> {
        match self {
            Self::Text(text) | Self::Stripped { raw: text, .. } => Cow::Borrowed(text),
            Self::Bytes(bytes) => String::from_utf8_lossy(bytes),
        }
    }

    fn decode(content: String, encoding: Option<&str>) -> Result<Self, String> {
        match encoding {
            None => Ok(Self::Text(content)),
            Some(e) if e.eq_ignore_ascii_case("utf-8") => Ok(Self::Text(content)),
            Some(e) if e.eq_ignore_ascii_case("base64") => STANDARD
                .decode(content.as_bytes())
                .map(|bytes| Self::Bytes(bytes.into()))
                .map_err(|e| format!("`content` is not base64: {e}")),
            Some(e) => Err(format!("`encoding` {e:?} is neither utf-8 nor base64")),
        }
    }

    /// The content and the name of its encoding, as they travel.
    fn encode(&self) -> (Encoded<'_>, &'static str) {
        match self {
            Self::Text(_) | Self::Stripped { .. } => (Encoded(self), "utf-8"),
            Self::Bytes(_) => (Encoded(self), "base64"),
        }
    }
}

/// Writes the content as it travels, base64 without a copy of it.
struct Encoded<'a>(&'a OutputContent);

impl Serialize for Encoded<'_> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            OutputContent::Text(text) | OutputContent::Stripped { text, .. } => {
                s.serialize_str(text)
            }
            OutputContent::Bytes(bytes) => s.collect_str(&Base64Display::new(bytes, &STANDARD)),
        }
    }
}

impl fmt::Debug for OutputContent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({} bytes)", self.as_bytes().len())
    }
}

/// `TERMINAL_OUTPUT`: what a process wrote.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the names say all")]
pub struct TerminalOutput {
    /// The command; from a legacy wrapper without one, its own id ("monitoring").
    pub command_id: CommandId,
    /// The sender's own claim.
    pub agent_id: Option<AgentId>,
    pub stream: StreamType,
    /// What was written. From a legacy wrapper the raw text if it could be recognized, else the text
    /// without its escape sequences.
    pub content: OutputContent,
    /// Number of the chunk.
    pub sequence: Option<ChunkSequence>,
    /// Where in the stream it begins. Extension.
    pub offset: Option<ByteOffset>,
    /// The process. Extension.
    pub incarnation: Option<Incarnation>,
}

impl Serialize for TerminalOutput {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Out<'a> {
            command_id: &'a CommandId,
            #[serde(skip_serializing_if = "Option::is_none")]
            agent_id: &'a Option<AgentId>,
            stream_type: &'a StreamType,
            content: Encoded<'a>,
            #[serde(skip_serializing_if = "Option::is_none")]
            ansi_codes: Option<&'a str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            encoding: Option<&'static str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            sequence: Option<ChunkSequence>,
            #[serde(skip_serializing_if = "Option::is_none")]
            offset: Option<ByteOffset>,
            #[serde(skip_serializing_if = "Option::is_none")]
            incarnation: Option<Incarnation>,
        }
        let (content, encoding) = self.content.encode();
        let ansi_codes = match &self.content {
            OutputContent::Stripped { raw, .. } => Some(raw.as_str()),
            OutputContent::Text(_) | OutputContent::Bytes(_) => None,
        };
        Out {
            ansi_codes,
            command_id: &self.command_id,
            agent_id: &self.agent_id,
            stream_type: &self.stream,
            content,
            // A legacy server gets no extension, but bytes that are no text must not pass for one.
            encoding: (self.offset.is_some() || matches!(self.content, OutputContent::Bytes(_)))
                .then_some(encoding),
            sequence: self.sequence,
            offset: self.offset,
            incarnation: self.incarnation,
        }
        .serialize(s)
    }
}

impl<'de> Deserialize<'de> for TerminalOutput {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct In<'a> {
            command_id: CommandId,
            #[serde(default)]
            agent_id: Option<AgentId>,
            #[serde(default = "stdout")]
            stream_type: StreamType,
            #[serde(default)]
            content: String,
            #[serde(borrow, default)]
            encoding: Option<Text<'a>>,
            #[serde(default, deserialize_with = "lenient::count")]
            sequence: Option<u64>,
            #[serde(default)]
            offset: Option<ByteOffset>,
            #[serde(default)]
            incarnation: Option<Incarnation>,
            #[serde(default)]
            ansi_codes: Option<AnsiCodes>,
        }
        let raw = In::deserialize(d)?;
        let content = match raw.ansi_codes {
            Some(AnsiCodes::Raw(chunk)) if is_unstripped(&chunk, &raw.content) => chunk,
            Some(AnsiCodes::Raw(_) | AnsiCodes::Codes) | None => raw.content,
        };
        Ok(Self {
            command_id: raw.command_id,
            agent_id: raw.agent_id,
            stream: raw.stream_type,
            content: OutputContent::decode(content, raw.encoding.as_deref())
                .map_err(de::Error::custom)?,
            sequence: raw.sequence.map(ChunkSequence),
            offset: raw.offset,
            incarnation: raw.incarnation,
        })
    }
}

fn stdout() -> StreamType {
    StreamType::Stdout
}

/// The four shapes of `ansiCodes`: a flag, a list and a text of codes say nothing that the content
/// needs; a text may be the whole raw chunk.
enum AnsiCodes {
    Raw(String),
    Codes,
}

impl<'de> Deserialize<'de> for AnsiCodes {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Ok(match lenient::Scalar::deserialize(d)? {
            lenient::Scalar::Text(text) => Self::Raw(text.into_owned()),
            lenient::Scalar::Null
            | lenient::Scalar::Bool(_)
            | lenient::Scalar::Number(_)
            | lenient::Scalar::Compound => Self::Codes,
        })
    }
}

/// Whether `raw` without its escape sequences is `content`. Walks both once; an escape sequence is
/// a control sequence (`ESC [` … final byte), an operating-system command (`ESC ]` … `BEL` or
/// `ESC \`), or `ESC` and one more character.
fn is_unstripped(raw: &str, content: &str) -> bool {
    let mut rest = raw.chars().peekable();
    let mut plain = content.chars();
    while let Some(c) = rest.next() {
        if c != '\u{1b}' {
            if plain.next() != Some(c) {
                return false;
            }
            continue;
        }
        match rest.next() {
            Some('[') => {
                let _ = rest.by_ref().find(|c| ('\u{40}'..='\u{7e}').contains(c));
            }
            Some(']') => {
                while let Some(c) = rest.next() {
                    if c == '\u{7}' || (c == '\u{1b}' && rest.next_if_eq(&'\\').is_some()) {
                        break;
                    }
                }
            }
            Some(_) | None => {}
        }
    }
    plain.next().is_none()
}

/// `OUTPUT_ACK`: everything of one stream before an offset is committed to the database. Extension.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "the names say all")]
pub struct OutputAck {
    pub command_id: CommandId,
    pub incarnation: Incarnation,
    pub stream_type: StreamType,
    /// Bytes before it need not be kept any more.
    pub offset: ByteOffset,
    /// Whether it is committed too that the stream ends there with a gap of unknown length.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub open_gap: bool,
}

/// `TERMINAL_STREAM`: output on its way to a dashboard.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the names say all")]
pub struct TerminalStream {
    pub command_id: CommandId,
    pub agent_id: Option<AgentId>,
    pub stream: StreamType,
    /// The bytes, or whole lines for a legacy dashboard.
    pub content: StreamContent,
    /// When it was received, by the server's clock.
    pub timestamp: Option<WallTime>,
    /// Number of the chunk. Extension.
    pub sequence: Option<ChunkSequence>,
    /// Where in the stream it begins. Extension.
    pub offset: Option<ByteOffset>,
    /// The process. Extension.
    pub incarnation: Option<Incarnation>,
}

/// What a `TERMINAL_STREAM` carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamContent {
    /// Bytes, for a dashboard that has the feature.
    Bytes(OutputContent),
    /// Whole lines without their ends and without escape sequences, for a legacy dashboard.
    Lines(Vec<String>),
}

impl Serialize for TerminalStream {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        #[serde(untagged)]
        enum Content<'a> {
            Text(Encoded<'a>),
            Lines(&'a [String]),
        }
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Out<'a> {
            command_id: &'a CommandId,
            #[serde(skip_serializing_if = "Option::is_none")]
            agent_id: &'a Option<AgentId>,
            stream_type: &'a StreamType,
            content: Content<'a>,
            #[serde(skip_serializing_if = "Option::is_none")]
            encoding: Option<&'static str>,
            #[serde(serialize_with = "lenient::write_millis")]
            timestamp: Option<WallTime>,
            #[serde(skip_serializing_if = "Option::is_none")]
            sequence: Option<ChunkSequence>,
            #[serde(skip_serializing_if = "Option::is_none")]
            offset: Option<ByteOffset>,
            #[serde(skip_serializing_if = "Option::is_none")]
            incarnation: Option<Incarnation>,
        }
        let (content, encoding) = match &self.content {
            StreamContent::Bytes(content) => {
                let (text, encoding) = content.encode();
                (Content::Text(text), Some(encoding))
            }
            StreamContent::Lines(lines) => (Content::Lines(lines), None),
        };
        Out {
            command_id: &self.command_id,
            agent_id: &self.agent_id,
            stream_type: &self.stream,
            content,
            encoding,
            timestamp: self.timestamp,
            sequence: self.sequence,
            offset: self.offset,
            incarnation: self.incarnation,
        }
        .serialize(s)
    }
}

impl<'de> Deserialize<'de> for TerminalStream {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        enum Content {
            Text(String),
            Lines(Vec<String>),
        }
        impl<'de> Deserialize<'de> for Content {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                struct V;
                impl<'de> Visitor<'de> for V {
                    type Value = Content;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str("a text or a list of lines")
                    }
                    fn visit_str<E>(self, v: &str) -> Result<Content, E> {
                        Ok(Content::Text(v.to_string()))
                    }
                    fn visit_seq<A: SeqAccess<'de>>(self, mut a: A) -> Result<Content, A::Error> {
                        let mut lines = Vec::new();
                        while let Some(line) = a.next_element()? {
                            lines.push(line);
                        }
                        Ok(Content::Lines(lines))
                    }
                }
                d.deserialize_any(V)
            }
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct In {
            command_id: CommandId,
            #[serde(default)]
            agent_id: Option<AgentId>,
            #[serde(default = "stdout")]
            stream_type: StreamType,
            content: Content,
            #[serde(default)]
            encoding: Option<String>,
            #[serde(default, deserialize_with = "lenient::time")]
            timestamp: Option<WallTime>,
            #[serde(default)]
            sequence: Option<ChunkSequence>,
            #[serde(default)]
            offset: Option<ByteOffset>,
            #[serde(default)]
            incarnation: Option<Incarnation>,
        }
        let raw = In::deserialize(d)?;
        Ok(Self {
            command_id: raw.command_id,
            agent_id: raw.agent_id,
            stream: raw.stream_type,
            content: match raw.content {
                Content::Lines(lines) => StreamContent::Lines(lines),
                Content::Text(text) => StreamContent::Bytes(
                    OutputContent::decode(text, raw.encoding.as_deref())
                        .map_err(de::Error::custom)?,
                ),
            },
            timestamp: raw.timestamp,
            sequence: raw.sequence,
            offset: raw.offset,
            incarnation: raw.incarnation,
        })
    }
}
