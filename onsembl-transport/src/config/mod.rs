//! Configuration files of programs: TOML in which each key is the long name of a flag, such as
//! `heartbeat-interval = "30s"`.
//!
//! A program says which [`Setting`]s it has; a [`ConfigFile`] is read, checked against them, and gives their values. A
//! [`ConfigFault`] names the file, the line and the key. The order of precedence (file under environment under flags)
//! is that of the program's parser of arguments, to which the values of the file are defaults; [`Effective`] is what came
//! of it, and from where.

#[cfg(feature = "command-line")]
#[doc(hidden)]
pub mod command_line;
mod effective;
mod fault;
mod file;
#[cfg(feature = "command-line")]
mod reload;
mod setting;

pub use effective::{Effective, ValueSource, listed, without_password};
pub use fault::{ConfigFault, ConfigFaults};
pub use file::ConfigFile;
#[cfg(feature = "command-line")]
pub use reload::Reload;
pub use setting::{Setting, SettingKind};
