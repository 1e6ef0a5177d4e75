//! Why: the explanation of a presence, the ledger of heartbeats, verdicts, and the document that lists the causes.

mod document;
mod ledger;
mod patterns;
mod presence;
mod relay;
mod verdict;
mod why;
