//! Sessions: the machines that hold a link, judge it, give it up and get it back.

mod dial;

pub use dial::DialFailure;
