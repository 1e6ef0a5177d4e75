//! The end of a person who is attached to a terminal remotely: what of its output is shown, when a fresh screen takes the
//! place of what was missed, what becomes of what is typed, and how it is left.
//!
//! It stands here, and not with the client that performs it, because it is the other half of the rules that a server decides
//! by: the numbers of inputs, the holds of a keyboard, and what a viewer has taken. So both halves are run against each
//! other in virtual time. `typist.rs` is about what is typed, `view.rs` about what was shown, `detach.rs` about the key that
//! leaves; [`Attach`] joins them. `answer.rs` is about one who does not stay: when a terminal has answered what was typed.

mod answer;
mod detach;
mod machine;
mod typist;
mod view;

pub use answer::{Answer, AnswerFrom, Settled};
pub use detach::DetachKey;
pub use machine::{Attach, AttachAction, AttachConfig, AttachEvent, Departure, Drawing, Sizing};
pub use typist::{KeyboardSaid, Refused, SaidAbout, TypistSays, Wish};
pub use view::{TerminalPosition, View};
