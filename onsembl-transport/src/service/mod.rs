//! A program as a service of systemd: what it tells the service manager ([`Supervisor`], by a [`Notifier`]), the units
//! that start it ([`Unit`]), and how they are installed ([`Installation`]).
//!
//! Nothing here decides whether a program is alive: who holds a [`Notifier`] says so, after it has looked.

#[cfg(feature = "command-line")]
#[doc(hidden)]
pub mod command_line;
mod installation;
mod notify;
mod status;
mod supervisor;
mod unit;

pub use installation::{Installation, Scope, ServiceError};
pub use notify::{Notifier, NotifyError, ServiceState};
pub use status::ServiceStatus;
pub use supervisor::Supervisor;
pub use unit::{ProgramUnit, Unit, quoted};
