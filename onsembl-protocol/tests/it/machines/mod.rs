//! The transition tables of the machines, one line per pair of state and event, as snapshots for
//! people to read, and the graph that follows from them. A change of behaviour shows as a changed
//! line.

mod accepted;
mod agent;
mod dashboard;
mod explore;
mod frames;
mod graph;
mod render;
mod samples;
mod server;
mod table;
