//! What a dashboard is sent before anything else: answers, lists of agents, and how they changed, in the order in which
//! that was asked for.

use super::super::view::View;
use super::agents::{After, Agents, Say};
use crate::time::WallTime;
use crate::wire::ServerToDashboard;
use crate::wire::payload::Subscriptions;
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

/// What waits. For many agents it holds a position in their list, not messages.
#[derive(Clone, Debug, Default)]
pub(super) struct Answers(VecDeque<Part>);

#[derive(Clone, Debug)]
enum Part {
    Message(Box<ServerToDashboard>),
    /// The agents behind this one, as lists.
    List(After),
    /// The status of each agent behind this one.
    Agents(After, Say),
}

impl Answers {
    pub(super) fn say(&mut self, message: ServerToDashboard) {
        self.0.push_back(Part::Message(Box::new(message)));
    }

    /// The list of agents, then the status of each.
    pub(super) fn list_agents(&mut self, now: WallTime) {
        self.0.push_back(Part::List(After { agent: None, now }));
        self.0.push_back(Part::Agents(After { agent: None, now }, Say::All));
    }

    /// Those agents that changed.
    pub(super) fn scan_agents(&mut self, now: WallTime) {
        let has_not_begun =
            |part: &Part| matches!(part, Part::Agents(After { agent: None, .. }, _));
        // A scan that is in progress has passed agents that may have changed since.
        if !self.0.iter().any(has_not_begun) {
            self.0.push_back(Part::Agents(After { agent: None, now }, Say::Changed));
        }
    }

    /// Whether anything waits that was asked for. Changes of agents are not, and are sent when there is room.
    pub(super) fn are_behind(&self) -> bool {
        self.0.iter().any(|part| match part {
            Part::Message(_) | Part::List(_) | Part::Agents(_, Say::All) => true,
            Part::Agents(_, Say::Changed) => false,
        })
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The message that was added last, unless something else was.
    #[cfg(test)]
    pub(super) fn take_latest(&mut self) -> Option<ServerToDashboard> {
        match self.0.pop_back()? {
            Part::Message(message) => Some(*message),
            Part::List(_) | Part::Agents(..) => None,
        }
    }

    /// The next message.
    pub(super) fn next(
        &mut self,
        agents: &mut Agents,
        view: &View,
        watched: &Subscriptions,
    ) -> Option<Box<ServerToDashboard>> {
        while let Some(part) = self.0.pop_front() {
            match part {
                Part::Message(message) => return Some(message),
                Part::List(after) => {
                    let (message, rest) = agents.list(view, watched, after);
                    rest.into_iter().for_each(|rest| self.0.push_front(Part::List(rest)));
                    if let Some(message) = message {
                        return Some(Box::new(message));
                    }
                }
                Part::Agents(after, say) => {
                    let (told, rest) = agents.statuses(view, watched, after, say);
                    let rest = rest.map(|rest| Part::Agents(rest, say));
                    let told = told.into_iter().map(|message| Part::Message(Box::new(message)));
                    let in_front: Vec<Part> = told.chain(rest).collect();
                    in_front.into_iter().rev().for_each(|part| self.0.push_front(part));
                }
            }
        }
        None
    }
}
