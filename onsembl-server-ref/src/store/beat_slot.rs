//! What a row of the log of heartbeats holds, in bytes. Nothing here knows of the database.
//!
//! A slot has [`BYTES`]: its number (8 bytes, the lowest first), then its beats, then zeros. The higher the number of a
//! slot, the newer what is in it; within a slot, later beats are newer. A beat is
//!
//! | what | bytes |
//! | --- | --- |
//! | form of the id | 1: a UUID; 2: any text |
//! | id of the agent | 16; or the length, and the text |
//! | epoch | a number |
//! | when it was received, milliseconds since the Unix epoch | a number, with its sign in the lowest bit |
//! | metrics, JSON | the length and one more, and the text; 0 where there are none |
//!
//! Numbers have seven bits a byte, the lowest first; the eighth bit says that more follow.

use onsembl_protocol::id::{AgentId, Epoch};
use onsembl_protocol::time::WallTime;
use uuid::Uuid;

/// Bytes of a slot: with what the row takes besides, it fits into one page of 8 KiB.
pub(crate) const BYTES: usize = 8000;
pub(super) const NUMBER: usize = 8;
/// Bytes of a slot for beats.
pub(super) const ROOM: usize = BYTES - NUMBER;

const UUID: u8 = 1;
const TEXT: u8 = 2;

/// A recorded heartbeat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LoggedBeat {
    pub(super) agent: AgentId,
    pub(super) epoch: Epoch,
    pub(super) at: WallTime,
    pub(super) metrics: Option<Box<str>>,
}

/// Adds a beat to the content of a slot.
pub(super) fn push(
    content: &mut Vec<u8>,
    agent: &AgentId,
    epoch: Epoch,
    at: WallTime,
    metrics: Option<&str>,
) {
    let text = agent.as_str();
    match Uuid::try_parse(text) {
        // As it is written again.
        Ok(uuid) if uuid.hyphenated().encode_lower(&mut Uuid::encode_buffer()) == text => {
            content.push(UUID);
            content.extend_from_slice(uuid.as_bytes());
        }
        Ok(_) | Err(_) => {
            content.push(TEXT);
            push_text(content, text, 0);
        }
    }
    push_number(content, epoch.0);
    let millis = at.unix_millis();
    push_number(content, ((millis << 1) ^ (millis >> 63)).cast_unsigned());
    match metrics {
        Some(metrics) => push_text(content, metrics, 1),
        None => content.push(0),
    }
}

fn push_text(content: &mut Vec<u8>, text: &str, more: u64) {
    push_number(content, text.len() as u64 + more);
    content.extend_from_slice(text.as_bytes());
}

fn push_number(content: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        content.push(number as u8 | 0x80);
        number >>= 7;
    }
    content.push(number as u8);
}

/// A whole slot, from its number and its content.
pub(super) fn seal(number: u64, content: &[u8]) -> Vec<u8> {
    let mut slot = Vec::with_capacity(BYTES);
    slot.extend_from_slice(&number.to_le_bytes());
    slot.extend_from_slice(content);
    slot.resize(BYTES.max(slot.len()), 0);
    slot
}

/// The number of a slot; `None` if it is too short for one.
pub(super) fn number(slot: &[u8]) -> Option<u64> {
    slot.first_chunk().map(|bytes| u64::from_le_bytes(*bytes))
}

/// The beats of a slot, the oldest first. Ends at what is none.
pub(super) fn beats(slot: &[u8]) -> Beats<'_> {
    Beats { rest: slot.get(NUMBER..).unwrap_or_default() }
}

/// Reads the beats of a slot.
#[derive(Clone, Debug)]
pub(super) struct Beats<'a> {
    rest: &'a [u8],
}

impl<'a> Beats<'a> {
    /// Bytes that are not read yet.
    pub(super) const fn left(&self) -> usize {
        self.rest.len()
    }

    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    fn bytes(&mut self, count: u64) -> Option<&'a [u8]> {
        let (bytes, rest) = self.rest.split_at_checked(usize::try_from(count).ok()?)?;
        self.rest = rest;
        Some(bytes)
    }

    fn text(&mut self, length: u64) -> Option<&'a str> {
        core::str::from_utf8(self.bytes(length)?).ok()
    }

    fn number(&mut self) -> Option<u64> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    fn beat(&mut self) -> Option<LoggedBeat> {
        let agent = match self.byte()? {
            UUID => {
                let uuid = Uuid::from_slice(self.bytes(16)?).ok()?;
                AgentId::new(uuid.hyphenated().encode_lower(&mut Uuid::encode_buffer()))
            }
            TEXT => {
                let length = self.number()?;
                AgentId::new(self.text(length)?)
            }
            _ => return None,
        };
        let epoch = Epoch(self.number()?);
        let millis = self.number()?;
        let millis = (millis >> 1).cast_signed() ^ -((millis & 1).cast_signed());
        let metrics = match self.number()?.checked_sub(1) {
            Some(length) => Some(self.text(length)?.into()),
            None => None,
        };
        Some(LoggedBeat { agent, epoch, at: WallTime::from_unix_millis(millis), metrics })
    }
}

impl Iterator for Beats<'_> {
    type Item = LoggedBeat;

    fn next(&mut self) -> Option<LoggedBeat> {
        let before = self.rest;
        let beat = self.beat();
        if beat.is_none() {
            self.rest = before;
        }
        beat
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn any_beat() -> LoggedBeat {
        let agent = match fastrand::u8(..4) {
            0 => Uuid::now_v7().to_string(),
            1 => Uuid::now_v7().to_string().to_uppercase(),
            2 => "ü".repeat(fastrand::usize(..200)),
            _ => format!("mock-{}", fastrand::u32(..)),
        };
        let at = if fastrand::bool() { fastrand::i64(..) } else { 1_700_000_000_000 };
        LoggedBeat {
            agent: AgentId::new(agent),
            epoch: Epoch(if fastrand::bool() { fastrand::u64(..) } else { 1 }),
            at: WallTime::from_unix_millis(at),
            metrics: fastrand::bool().then(|| "{}".repeat(fastrand::usize(..100)).into()),
        }
    }

    fn pack(beats: &[LoggedBeat]) -> Vec<u8> {
        let mut content = Vec::new();
        for LoggedBeat { agent, epoch, at, metrics } in beats {
            push(&mut content, agent, *epoch, *at, metrics.as_deref());
        }
        content
    }

    #[test]
    fn what_is_put_into_a_slot_comes_out_of_it() {
        fastrand::seed(3);
        for _ in 0..500 {
            let in_it: Vec<_> = (0..fastrand::usize(..10)).map(|_| any_beat()).collect();
            let slot = seal(fastrand::u64(..), &pack(&in_it));
            assert_eq!(slot.len(), BYTES);
            assert_eq!(beats(&slot).collect::<Vec<_>>(), in_it);
        }
        assert_eq!(number(&seal(77, &[])), Some(77));
    }

    #[test]
    fn a_slot_that_is_cut_or_changed_gives_what_can_be_read() {
        fastrand::seed(4);
        let in_it: Vec<_> = (0..8).map(|_| any_beat()).collect();
        let slot = seal(1, &pack(&in_it));
        for end in 0..slot.len() {
            let read: Vec<_> = beats(&slot[..end]).collect();
            assert!(in_it.starts_with(&read), "{end}");
        }
        for _ in 0..2000 {
            let mut changed = slot.clone();
            changed[fastrand::usize(..900)] = fastrand::u8(..);
            assert!(beats(&changed).count() <= BYTES);
        }
    }

    #[test]
    fn a_usual_beat_takes_a_seventieth_of_a_slot() {
        let agent = AgentId::new(Uuid::now_v7().to_string());
        let metrics = r#"{"activeCommands":1,"commandsProcessed":3,"cpuUsage":12.5,"memoryUsage":64,"uptime":100}"#;
        let mut content = Vec::new();
        push(
            &mut content,
            &agent,
            Epoch(3),
            WallTime::from_unix_millis(1_700_000_000_000),
            Some(metrics),
        );
        assert!(content.len() <= ROOM / 70, "{}", content.len());
    }
}
