//! The format of the sizes of a terminal: what it begins with, then one frame for each, as in a segment. Bytes in,
//! bytes
//! out; no file is touched here.
//!
//! What can be read is the longest beginning of whole frames, as of a segment.

use super::segment::{frame, number, unframe};
use onsembl_protocol::id::{ByteOffset, Incarnation};
use onsembl_protocol::model::{SizeRecord, TerminalSize};

/// The first bytes.
const MAGIC: &[u8; 8] = b"OSIZES1\n";

pub(super) fn write(all: &[SizeRecord]) -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    for SizeRecord { offset, size, .. } in all {
        let numbers = [offset.0, size.columns().into(), size.rows().into()];
        frame(&mut out, numbers.map(u64::to_le_bytes).as_flattened());
    }
    out
}

/// # Errors
/// It is something else.
pub(super) fn read(
    content: &[u8],
    incarnation: Incarnation,
) -> Result<Vec<SizeRecord>, &'static str> {
    let mut rest = content.strip_prefix(MAGIC).ok_or("it has no sizes header")?;
    let mut all = Vec::new();
    while let Ok((body, length)) = unframe(rest) {
        let Some(record) = one(body, incarnation) else { break };
        all.push(record);
        rest = rest.get(length..).unwrap_or_default();
    }
    Ok(all)
}

fn one(body: &[u8], incarnation: Incarnation) -> Option<SizeRecord> {
    let (offset, rest) = number(body)?;
    let (columns, rest) = number(rest)?;
    let (rows, _) = number(rest)?;
    let size = TerminalSize::new(columns, rows)?;
    Some(SizeRecord { incarnation, offset: ByteOffset(offset), size })
}
