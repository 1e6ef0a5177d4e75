//! Links as the server's process knows them, and their numbers.

use crate::close::CloseCode;
use crate::fleet::Admission;
use crate::id::{LinkId, SessionId};
use crate::model::Capabilities;
use crate::supervisor::Key;

/// A link whose hello was read, as the server's process knows it.
#[derive(Clone, Debug)]
pub(super) struct Link {
    pub(super) capabilities: Capabilities,
    /// Once the fleet has said whose it is.
    pub(super) key: Option<Key>,
    /// What its welcome is to say.
    pub(super) admission: Option<Admission>,
    /// Once it began.
    pub(super) session: Option<SessionId>,
}

/// The server's number of a wire.
pub(super) const fn link(wire: u32) -> LinkId {
    LinkId(wire as u64 + 1)
}

/// The wire by that number.
pub(super) const fn number(link: LinkId) -> u32 {
    (link.0 - 1) as u32
}

pub(super) fn code_of(code: u16) -> Option<CloseCode> {
    (code != CloseCode::NO_STATUS.0).then_some(CloseCode(code))
}
