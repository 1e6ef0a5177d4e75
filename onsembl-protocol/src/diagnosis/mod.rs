//! Why: what is known of an agent's presence, its heartbeats and its drops, as pure functions over what both
//! ends recorded.
//!
//! Here are values and judgements. Nothing here changes what a machine does, and no machine asks: a reader of the
//! records does. Nothing here may know how a record is stored or sent. The design is in `docs/EVIDENCE.md`.
//!
//! The causes are in `model/cause.rs`, what a statement rests on in `model/evidence.rs`, a statement in
//! `model/finding.rs`. `explanation.rs` explains a presence.
//! `ledger.rs` follows the heartbeats of a connection over their hops (`hop.rs`), which it keeps in `ring.rs`.

mod explanation;
mod hop;
mod ledger;
mod ring;

#[doc(no_inline)]
pub use crate::model::{Cause, Confidence, Evidence, Fact, Finding, Told};
pub use explanation::{Explanation, PresenceTrack, dwell, explain};
pub use hop::Hop;
pub use ledger::{BeatLedger, End, Trouble, Ways};
pub use ring::Whose;
