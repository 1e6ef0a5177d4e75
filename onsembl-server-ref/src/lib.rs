//! The reference control server of Onsembl, as a library.

pub mod store;
