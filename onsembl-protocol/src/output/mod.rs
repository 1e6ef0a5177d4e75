//! Output of processes as numbered bytes: which stream, where in it, and who may still hold it.

mod stream;

pub use stream::{Stream, StreamPosition};
