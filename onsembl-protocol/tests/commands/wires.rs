//! The links of a world: what is on its way over each, and who counts links and requests.

use super::server::Down;
use onsembl_protocol::close::CloseReason;
use onsembl_protocol::fleet::Token;
use onsembl_protocol::id::LinkId;
use onsembl_protocol::wire::AgentToServer;
use onsembl_protocol::wire::payload::AgentConnect;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

pub(super) type Story = Rc<RefCell<Vec<String>>>;

/// What goes up a link.
#[derive(Clone, Debug)]
pub(super) enum Up {
    Hello(Box<AgentConnect>),
    Message(Box<AgentToServer>),
    /// A heartbeat says whether the agent is paused.
    Paused(bool),
    End(CloseReason),
}

/// A link between a machine and the server.
#[derive(Debug)]
pub(super) struct Wire {
    pub(super) host: usize,
    pub(super) up: VecDeque<Up>,
    pub(super) down: VecDeque<Down>,
    /// Nothing arrives any more, and nobody has noticed.
    pub(super) is_frozen: bool,
}

/// Who counts links and requests; several users of one server share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Counts {
    links: Rc<Cell<u64>>,
    tokens: Rc<Cell<u64>>,
}

impl Counts {
    fn next(of: &Cell<u64>) -> u64 {
        of.set(of.get() + 1);
        of.get()
    }

    pub(super) fn link(&self) -> LinkId {
        LinkId(Self::next(&self.links))
    }

    pub(super) fn token(&self) -> Token {
        Token(Self::next(&self.tokens))
    }
}
