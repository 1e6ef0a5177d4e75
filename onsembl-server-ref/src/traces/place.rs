//! Which span of which trace is a command's. What is stored with a command is the context that its request came with.
//! The id of its own span is derived from that, so that a server that is started again continues the same span: it is
//! exported once, at its end.

use onsembl_protocol::id::{CommandId, UserId};
use onsembl_protocol::model::TraceContext;
use onsembl_transport::traces::new_trace_id;
use ring::digest::{Context, SHA256};

/// Where the span of a command stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) own: TraceContext,
    pub(super) parent: Option<[u8; 8]>,
}

impl Place {
    /// The span of a command whose request came with this context.
    pub(super) fn of(given: TraceContext, user: &UserId, command: &CommandId) -> Option<Self> {
        // One that the server made itself names the span that is derived from no parent.
        let root = derived(&given, [0; 8], user, command);
        if given.span() == root {
            return Some(Self { own: given, parent: None });
        }
        let own = given.with_span(derived(&given, given.span(), user, command))?;
        Some(Self { own, parent: Some(given.span()) })
    }

    /// A trace that begins with this command.
    pub(super) fn new(user: &UserId, command: &CommandId) -> Option<Self> {
        let trace = TraceContext::new(new_trace_id(), [1; 8], TraceContext::SAMPLED)?;
        let own = trace.with_span(derived(&trace, [0; 8], user, command))?;
        Some(Self { own, parent: None })
    }
}

/// The id of a command's span. Several commands may be asked for under one span.
fn derived(of: &TraceContext, parent: [u8; 8], user: &UserId, command: &CommandId) -> [u8; 8] {
    let mut hash = Context::new(&SHA256);
    for part in
        [&of.trace()[..], &parent, user.as_str().as_bytes(), &[0], command.as_str().as_bytes()]
    {
        hash.update(part);
    }
    let mut id = [0; 8];
    for (to, from) in id.iter_mut().zip(hash.finish().as_ref()) {
        *to = *from;
    }
    id
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_span_of_a_command_is_the_same_after_a_restart_and_hangs_under_its_caller() {
        let (ann, c) = (UserId::new("ann"), CommandId::new("c"));
        let new = Place::new(&ann, &c).unwrap();
        let again = Place::of(new.own, &ann, &c).unwrap();
        assert_eq!((again.own, again.parent), (new.own, None));

        let caller = TraceContext::new([7; 16], [9; 8], 1).unwrap();
        let place = Place::of(caller, &ann, &c).unwrap();
        assert_eq!(place.parent, Some([9; 8]));
        assert_eq!(place.own.trace(), caller.trace());
        assert_eq!(Place::of(caller, &ann, &c).unwrap().own, place.own);
        let other = Place::of(caller, &ann, &CommandId::new("d")).unwrap();
        assert_ne!(other.own, place.own);
        let of_other = Place::of(caller, &UserId::new("bob"), &c).unwrap();
        assert_ne!(of_other.own, place.own);
    }
}
