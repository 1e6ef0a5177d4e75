//! Signing in with a browser: one-time codes, sessions that a cookie names, how often an address may try, and which
//! requests of a browser count as those of our own page (P-490 to P-499).
//!
//! Pure decisions. Randomness, hashes, cookies, the database and HTTP are at the edge.
//!
//! Tier 2 of the [crate](crate#what-is-public-in-tiers): a server's work.

mod codes;
mod request;
mod session;
mod throttle;

pub use codes::{CodeFault, Codes};
pub use request::{Asked, CookieFault, Origin, RequestKind, Scheme, admit};
pub use session::{SessionEnd, SessionTimes};
pub use throttle::Throttle;

use core::fmt;

/// The SHA-256 of something secret: what a server keeps instead of it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SecretHash(pub [u8; 32]);

impl fmt::Debug for SecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretHash(…)")
    }
}
