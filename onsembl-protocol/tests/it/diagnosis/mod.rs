//! Why: the explanation of a presence, the hop tracker, verdicts, and the document that lists the causes.

mod command_why;
mod document;
mod fleet_why;
mod histories;
mod hop_tracker;
mod patterns;
mod presence;
mod relay;
mod simulated;
mod verdict;
mod why;
