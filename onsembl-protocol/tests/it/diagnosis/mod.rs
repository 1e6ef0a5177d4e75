//! Why: the explanation of a presence, the ledger of heartbeats, verdicts, and the document that lists the causes.

mod command_why;
mod document;
mod fleet_why;
mod ledger;
mod patterns;
mod presence;
mod relay;
mod simulated;
mod verdict;
mod why;
