//! The shared vocabulary: what messages and machines both speak of, with its spelling on the wire.
//!
//! Nothing here decides or waits, and nothing of a machine or of a message set is imported: this is
//! the floor that both stand on.

mod capabilities;
mod dialect;
mod feature;
mod spelling;
mod text;

pub use capabilities::{Capabilities, OutputFormat};
pub use dialect::Dialect;
pub use feature::{AGENT_FEATURES, DASHBOARD_FEATURES, Feature, SERVER_FEATURES};
pub(crate) use spelling::wire_enum;
pub use text::Text;
