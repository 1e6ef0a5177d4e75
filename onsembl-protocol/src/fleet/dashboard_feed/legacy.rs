//! What a legacy dashboard, which cannot ask for output, is shown when it comes.

use super::super::view::CommandEntry;
use super::item::Seek;
use crate::id::MessageId;

/// Bytes of the output of an open command that a legacy dashboard gets when it connects late.
const LEGACY_REPLAY: usize = 1 << 20;

/// Whether a legacy page whose hello has this id was connected before: it numbers its messages from 1 since it was
/// opened (`msg_1_…`), and the first is a hello.
pub(super) fn is_of_returning_page(hello: &MessageId) -> bool {
    let numbered = hello.as_str().strip_prefix("msg_");
    let number = numbered.and_then(|rest| rest.split('_').next()?.parse::<u64>().ok());
    number.is_some_and(|number| number > 1)
}

/// Where a legacy dashboard begins that did not watch this command; nowhere if the command has ended.
pub(super) fn tail_of(entry: &CommandEntry) -> Option<Seek> {
    let ended = entry.view.is_some_and(|view| view.status.is_final());
    let tail = LEGACY_REPLAY.saturating_sub(entry.tail.unstored());
    (!ended).then_some(Seek::Tail(tail))
}
