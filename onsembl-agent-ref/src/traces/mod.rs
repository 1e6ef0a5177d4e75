//! The traces of an agent's commands: what its worker is told and does, as spans for a collector. Looks on, and decides
//! nothing.

#[cfg(not(feature = "otel"))]
mod none;
#[cfg(feature = "otel")]
mod spans;

#[cfg(not(feature = "otel"))]
pub(crate) use none::Traces;
#[cfg(feature = "otel")]
pub(crate) use spans::Traces;
