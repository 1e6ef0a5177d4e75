//! The reference agent of Onsembl: runs commands on this machine for a control server.

pub mod process;
pub mod state_dir;
pub mod status_file;
pub mod vitals;
