//! A fleet alone, in virtual time: what it decides when an agent has what it does not know, and when two
//! processes of one agent ask for one session.

mod activity;
mod adoption;
mod beats;
mod contest;
mod findings;
mod held;
mod keyboards;
mod kit;
mod long_texts;
mod probe;
mod slow_viewers;
mod traces;
