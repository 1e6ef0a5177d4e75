//! What somebody who is signed in may do with the agents of a user.

/// How far an admission reaches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Access {
    /// Everything that the user may do.
    #[default]
    Full,
    /// Looking only: whatever changes something is refused (P-498).
    ReadOnly,
}
