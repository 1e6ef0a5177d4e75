//! The two dialects of the protocol.

use serde::{Deserialize, Serialize};

/// Which protocol the peer of a session speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say all")]
pub enum Dialect {
    /// The existing TypeScript system's, and nothing beyond it.
    Legacy,
    Extended,
}

impl Dialect {
    /// The dialect of a peer whose hello or welcome has `extensions`, or has none.
    pub const fn of<E>(extensions: Option<&E>) -> Self {
        match extensions {
            Some(_) => Self::Extended,
            None => Self::Legacy,
        }
    }
}
