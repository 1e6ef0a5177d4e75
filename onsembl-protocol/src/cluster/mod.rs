//! Several nodes that serve the same users: which node owns an agent, and how the others reach it.
//!
//! The database decides: who claims an agent last owns it, by the agent's next epoch, and every write about an agent
//! names the epoch under which it was made. A bus between the nodes only makes things faster; all that it carries is found
//! in the database too. `docs/CLUSTER.md` has the reasons, and what users see of each failure.
//!
//! | file | decision |
//! | --- | --- |
//! | `owner_row.rs` | how the database's row of an agent changes hands, and which writes it accepts |
//! | `membership.rs` | when a node is part of the cluster, and when it takes another one for dead |
//! | `ownership.rs` | whether an agent is this node's, and what ends that |
//! | `route.rs` | where a request for an agent goes, and what its user is told |
//! | `hearing.rs` | whether the bus delivers to this node |
//!
//! None of them knows messages, sessions or SQL. The worlds of `tests/cluster.rs` compose them with the machines of
//! sessions, one database and a bus that loses, repeats and delays.
//!
//! Tier 2 of the [crate](crate#what-is-public-in-tiers): an agent's work and a server's fleet.

mod hearing;
mod membership;
mod owner_row;
mod ownership;
mod route;

pub use hearing::{Hearing, HearingAction, HearingEvent, Reception};
pub use membership::{
    LEASE, Lease, Membership, MembershipAction, MembershipEvent, NodeProcess, Standing,
};
pub use owner_row::{ClaimRefused, Hold, Owner, OwnerRow, Registration, WriteKind, WriteVerdict};
pub use ownership::{Ending, Held, Ownership, OwnershipAction, OwnershipEvent};
pub use route::{
    Destination, Kept, Outcome, Route, RouteAction, RouteEvent, RouteReply, WaitingFor,
};
