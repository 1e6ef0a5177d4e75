//! What a peer may not send, and what that means for the link.

use crate::link::LinkEnd;
use onsembl_protocol::close::CloseCause;
use thiserror::Error;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(super) enum Fault {
    #[error("a frame has reserved bits, and no extension was agreed on")]
    ReservedBits,
    #[error("a frame is of the unknown kind {0}")]
    UnknownOpcode(u8),
    #[error("a control frame is in fragments")]
    FragmentedControl,
    #[error("a control frame is longer than 125 bytes")]
    LongControl,
    #[error("a client's frame is not masked")]
    Unmasked,
    #[error("a server's frame is masked")]
    Masked,
    #[error("a message goes on that has not begun")]
    NothingToContinue,
    #[error("a message begins within another")]
    WithinAnother,
    #[error("a close frame has half a code")]
    HalfCode,
    #[error("a message has {bytes} bytes or more, and the limit is {most}")]
    TooLong { bytes: u64, most: usize },
    #[error("a text is not UTF-8")]
    NotUtf8,
}

impl Fault {
    /// How the link ends by it.
    pub(super) fn end(self) -> LinkEnd {
        let cause = match self {
            Self::TooLong { .. } => CloseCause::TooBig,
            Self::NotUtf8 => CloseCause::InvalidText,
            Self::ReservedBits
            | Self::UnknownOpcode(_)
            | Self::FragmentedControl
            | Self::LongControl
            | Self::Unmasked
            | Self::Masked
            | Self::NothingToContinue
            | Self::WithinAnother
            | Self::HalfCode => CloseCause::ProtocolError,
        };
        LinkEnd::local(cause, self.to_string())
    }
}
