//! The transition tables of the machines, one line per pair of state and event, as snapshots for
//! people to read. A change of behaviour shows as a changed line.

mod agent;
mod server;
mod small;
mod table;
