//! The way to the server: the session that there is, what waits to be sent in it, what the link has not taken
//! yet, and what the server is expected to answer.

use super::WorkerMessage;
use super::escapes::Escapes;
use super::event::WorkerSession;
use super::outbound::{Outbound, OutboundQueue};
use crate::id::CommandId;
use crate::model::Capabilities;
use crate::output::Outgoing;
use crate::time::Timestamp;

/// The way to the server. Without a session nothing goes out.
#[derive(Debug, Default)]
pub(super) struct Uplink {
    session: Option<WorkerSession>,
    pub(super) queue: OutboundQueue,
    escapes: Escapes,
    /// Taken to be handed to the link.
    pending: Option<Outbound>,
    /// When something was last handed to a link whose server confirms nothing.
    unconfirmed_at: Option<Timestamp>,
}

/// What is offered to the link.
#[derive(Debug)]
pub(super) enum Offer {
    Message(WorkerMessage),
    /// The server of this session has no form for it, so nothing more can be done.
    Formless(Outbound),
}

/// What the server of a session answers to an item.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Expected<'a> {
    /// Nothing, or what the outbox awaits by itself.
    Nothing,
    /// It confirms this report.
    Confirmation(&'a CommandId),
    /// It never confirms this report: sent counts as confirmed.
    NoConfirmation(&'a CommandId),
    /// It says how far output is stored, and has no form for gaps.
    StorageWithoutGaps(&'a Outgoing),
    /// It never says how far output is stored: sent counts as stored.
    NoStorage(&'a Outgoing),
}

impl Uplink {
    /// A session began. What was queued for the previous one is dropped; the worker queues it again.
    pub(super) fn begin(&mut self, session: WorkerSession) {
        self.end();
        self.session = Some(session);
        self.queue.clear();
        self.escapes = Escapes::default();
    }

    /// The session ended.
    pub(super) fn end(&mut self) {
        self.session = None;
        self.pending = None;
    }

    pub(super) const fn has_session(&self) -> bool {
        self.session.is_some()
    }

    /// What was agreed with the server of the session.
    pub(super) fn capabilities(&self) -> Option<Capabilities> {
        self.session.as_ref().map(|session| session.capabilities)
    }

    /// Offers the item that the link has not taken yet, or else the next one.
    pub(super) fn offer(
        &mut self,
        next: impl FnOnce(&mut OutboundQueue) -> Option<Outbound>,
    ) -> Option<Offer> {
        let session = self.session.as_ref()?;
        let item = match self.pending.take() {
            Some(item) => item,
            None => next(&mut self.queue)?,
        };
        Some(match session.form(&item, &self.escapes) {
            Some(message) => {
                self.pending = Some(item);
                Offer::Message(message)
            }
            None => Offer::Formless(item),
        })
    }

    /// The link took what was offered.
    pub(super) fn take_sent(&mut self, now: Timestamp) -> Option<Outbound> {
        let item = self.pending.take()?;
        // Without an answer only time shows that it has left the queue of the link.
        if let Some(agreed) = self.capabilities()
            && !(agreed.reports_are_confirmed() && agreed.output_is_stored())
        {
            self.unconfirmed_at = Some(now);
        }
        Some(item)
    }

    /// Goes on behind an item that was sent or has no form, and says what the server answers to it.
    pub(super) fn pass<'a>(&mut self, item: &'a Outbound) -> Expected<'a> {
        let Some(agreed) = self.capabilities() else { return Expected::Nothing };
        if !agreed.output_is_stored() {
            self.escapes.passed(item);
        }
        match item {
            Outbound::Receipt(..)
            | Outbound::Opened(_)
            | Outbound::Typed(_)
            | Outbound::Size(..)
            | Outbound::Acknowledgement(..)
            | Outbound::OutputState(_)
            | Outbound::Activity(_)
            | Outbound::BlackBox(_)
            | Outbound::OpenEnd(..) => Expected::Nothing,
            Outbound::Complete(report) => {
                let id = &report.command_id;
                // A server without terminals does not know the command, and never confirms its report.
                let is_known = agreed.knows_terminals() || !id.is_terminal();
                match agreed.reports_are_confirmed() && is_known {
                    true => Expected::Confirmation(id),
                    false => Expected::NoConfirmation(id),
                }
            }
            Outbound::Output(_) if agreed.output_resumes() => Expected::Nothing,
            Outbound::Output(sent) if agreed.output_is_stored() => {
                Expected::StorageWithoutGaps(sent)
            }
            Outbound::Output(sent) => Expected::NoStorage(sent),
        }
    }

    /// Whether something waits to be handed to the link.
    pub(super) fn is_empty(&self) -> bool {
        self.pending.is_none() && self.queue.is_empty()
    }

    /// When something was last handed to the link of this session, if its server confirms nothing.
    pub(super) fn unconfirmed_at(&self) -> Option<Timestamp> {
        self.unconfirmed_at.filter(|_| self.has_session())
    }
}
