//! The work list of a fleet: what is still to be done for an event.
//!
//! No machine is fed while actions of one are waiting to be performed: all actions of a step go first, then
//! whatever performing them called for, then the rest. So a step that is refused half way (a request that
//! may not be sent) is followed by its consequence, never overtaken by it.

use super::command::Heard;
use crate::command::{CommandAction, CommandEvent};
use crate::id::{AgentId, CommandId, JournalId};
use crate::step::Actions;
use crate::wire::ServerToAgent;
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

/// One thing that is still to be done.
#[derive(Debug)]
pub(super) enum Todo {
    /// Feed the lifecycle of a command.
    Feed(CommandId, CommandEvent),
    /// Take what an agent said of a command while it was not known where its output continues.
    Hear(CommandId, AgentId, Heard),
    /// A terminal was to be given up once that is known: unless its agent has said how it ended.
    GiveUp(CommandId),
    /// Behind the orders for single commands, say this to an agent.
    Send(AgentId, Box<ServerToAgent>),
    /// Behind everything that the return of an agent decides, note which journal it keeps.
    Journal(AgentId, Option<JournalId>),
}

/// What is still to be done. See the [module](self).
#[derive(Debug, Default)]
pub(super) struct WorkList {
    /// Actions of the step that is being performed.
    actions: VecDeque<(CommandId, CommandAction)>,
    /// What performing it calls for.
    next: Vec<Todo>,
    rest: VecDeque<Todo>,
}

/// What is next.
#[derive(Debug)]
pub(super) enum Next {
    Perform(CommandId, CommandAction),
    Do(Todo),
}

impl WorkList {
    pub(super) fn add(&mut self, todo: Todo) {
        self.next.push(todo);
    }

    pub(super) fn feed(&mut self, command: &CommandId, event: CommandEvent) {
        self.add(Todo::Feed(command.clone(), event));
    }

    /// The actions of a step of this command's lifecycle.
    pub(super) fn perform(&mut self, command: &CommandId, actions: Actions<CommandAction>) {
        self.actions.extend(actions.into_iter().map(|action| (command.clone(), action)));
    }

    pub(super) fn pop(&mut self) -> Option<Next> {
        if let Some((command, action)) = self.actions.pop_front() {
            return Some(Next::Perform(command, action));
        }
        for todo in self.next.drain(..).rev() {
            self.rest.push_front(todo);
        }
        self.rest.pop_front().map(Next::Do)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> CommandId {
        CommandId::new(text)
    }

    #[test]
    fn a_step_is_performed_whole_before_its_consequences_and_those_before_the_rest() {
        let mut work = WorkList::default();
        work.feed(&id("a"), CommandEvent::SlotGranted);
        work.feed(&id("b"), CommandEvent::SlotGranted);
        assert!(matches!(work.pop(), Some(Next::Do(Todo::Feed(a, _))) if a == id("a")));
        let mut step = Actions::none();
        step.push(CommandAction::Send);
        step.push(CommandAction::SendCancel { force: crate::model::Force::AtOnce });
        work.perform(&id("a"), step);
        assert!(matches!(work.pop(), Some(Next::Perform(_, CommandAction::Send))));
        work.feed(&id("a"), CommandEvent::Stored);
        assert!(matches!(work.pop(), Some(Next::Perform(_, CommandAction::SendCancel { .. }))));
        assert!(
            matches!(work.pop(), Some(Next::Do(Todo::Feed(a, CommandEvent::Stored))) if a == id("a"))
        );
        assert!(matches!(work.pop(), Some(Next::Do(Todo::Feed(b, _))) if b == id("b")));
        assert!(work.pop().is_none());
    }
}
