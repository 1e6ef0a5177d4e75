//! What a dashboard watches, and how much of that it may name.

use crate::command::{watches_command, watches_output};
use crate::id::{AgentId, CommandId, MessageId};
use crate::limits::Limits;
use crate::wire::json_len;
use crate::wire::payload::{Ack, ErrorCode, ErrorReply, Selection, Subscription, Subscriptions};

/// Bytes of subscriptions that an acknowledgement repeats.
pub(super) const REPEATED_BYTES: usize = 16 * 1024;

/// The subscriptions that are in force.
#[derive(Clone, Debug)]
pub(super) struct Watched(Subscriptions);

impl Watched {
    pub(super) const fn new(subscriptions: Subscriptions) -> Self {
        Self(subscriptions)
    }

    pub(super) const fn subscriptions(&self) -> &Subscriptions {
        &self.0
    }

    /// Replaces them. What was watched before.
    pub(super) fn replace(&mut self, subscriptions: Subscriptions) -> Self {
        Self(core::mem::replace(&mut self.0, subscriptions))
    }

    /// The same and this as well, unless that is more than one dashboard may name.
    pub(super) fn with(&self, what: &Subscription) -> Result<Subscriptions, ErrorReply> {
        let mut wanted = self.0.clone();
        what.apply_to(&mut wanted);
        if wanted.agents.named().max(wanted.commands.named()) > Limits::DEFAULT.list_entries {
            let why = "this dashboard watches the maximum number of single agents or commands; unsubscribe from some, or subscribe to all";
            return Err(ErrorReply::new(ErrorCode::QueueFull, why));
        }
        Ok(wanted)
    }

    /// The same without this.
    pub(super) fn without(&self, what: &Subscription) -> Subscriptions {
        let mut wanted = self.0.clone();
        what.remove_from(&mut wanted);
        wanted
    }

    pub(super) fn command(&self, agent: &AgentId, command: &CommandId) -> bool {
        watches_command(&self.0, agent, command)
    }

    pub(super) fn output(&self, agent: &AgentId, command: &CommandId) -> bool {
        watches_output(&self.0, agent, command)
    }

    /// Whether it watches what terminals write.
    pub(super) const fn terminals(&self) -> bool {
        self.0.terminals
    }

    /// Acknowledges, with the subscriptions in force as far as they are short: they are the dashboard's own words, and
    /// each message of it would be answered with all of them.
    pub(super) fn acknowledgement(&self, message_id: Option<MessageId>) -> Ack {
        let subscriptions = Some(&self.0).filter(|all| is_short(all)).cloned();
        Ack { message_id, success: true, subscriptions, ..Ack::default() }
    }
}

/// Whether subscriptions are repeated in acknowledgements.
fn is_short(subscriptions: &Subscriptions) -> bool {
    let mut left = REPEATED_BYTES;
    let Subscriptions { agents, commands, .. } = subscriptions;
    [agents, commands].into_iter().all(|selection| match selection {
        Selection::None | Selection::All => true,
        Selection::Only(ids) => ids.iter().all(|id| {
            let bytes = json_len(id).saturating_add(1);
            let fits = bytes <= left;
            left = left.saturating_sub(bytes);
            fits
        }),
    })
}
