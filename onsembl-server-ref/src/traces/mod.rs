//! The server's part of the trace of each command (feature `otel`), made beside the hub and out of what its fleets say.
//!
//! | file | idea |
//! | --- | --- |
//! | `commands` | the spans of a command, phase by phase |
//! | `place` | which span of which trace is a command's |
//! | `off` | what stands for all that in a build without the feature |

#[cfg(feature = "otel")]
mod commands;
#[cfg(not(feature = "otel"))]
mod off;
#[cfg(feature = "otel")]
mod place;

#[cfg(feature = "otel")]
pub use commands::Traces;
#[cfg(feature = "otel")]
pub(crate) use commands::{TRACE_BYTES, TRACED};
#[cfg(not(feature = "otel"))]
pub use off::Traces;
