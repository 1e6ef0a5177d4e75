//! The agent's driver: performs what [`AgentConnection`] decides, over any [`Dialer`].
//!
//! ```no_run
//! # use onsembl_transport::agent::{AgentDriver, AgentNotice, AgentProfile};
//! # async fn run(dialer: impl onsembl_transport::Dialer + 'static, profile: AgentProfile) {
//! let mut agent = AgentDriver::new(dialer, profile);
//! agent.start();
//! loop {
//!     match agent.next().await {
//!         AgentNotice::Reported(report) => println!("{} because {}", report.status.as_str(), report.cause),
//!         AgentNotice::Message(message) => println!("{message:?}"),
//!         _ => {}
//!     }
//! }
//! # }
//! ```
//!
//! [`AgentConnection`]: onsembl_protocol::session::AgentConnection
//! [`Dialer`]: crate::Dialer

mod dialling;
mod driver;
mod links;
mod notice;
mod profile;
mod reporting;
mod session_beats;
mod token_watch;

pub use driver::AgentDriver;
pub use notice::{AgentNotice, SendError};
#[doc(no_inline)]
pub use onsembl_protocol::session::frames::{AgentProfile, AgentSession};
pub use profile::DriverConfig;
