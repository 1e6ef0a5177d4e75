//! What a command waits for on its agent, as it is shown to people.

use crate::shown::Shown;
use crate::terminal::HoldView;
use crate::time::Human;
use crate::wire::payload::WaitsFor;
use alloc::borrow::ToOwned as _;
use alloc::format;
use alloc::string::String;
use core::time::Duration;

/// What a command waits for on its agent, for people. `idle`: how long a line that it waits for may be left untouched.
pub(super) fn why_it_waits(
    waits: &WaitsFor,
    idle: Option<Duration>,
    holder: Option<&HoldView>,
) -> String {
    let until = || match idle {
        Some(idle) => format!("finished, cleared, or untouched for {}", Human(idle)),
        None => "finished or cleared".to_owned(),
    };
    match (waits, holder) {
        (WaitsFor::RemoteLine, Some(HoldView { name, since, .. })) => format!(
            "waits for an unfinished line that {} is typing, who has held the keyboard since {since}, until it is {} (exec --take overrides it)",
            Shown::new(name),
            until()
        ),
        (WaitsFor::RemoteLine, None) => format!(
            "waits for an unfinished line that a remote user began, who has released the keyboard, until it is {} (exec --take overrides it)",
            until()
        ),
        (WaitsFor::BegunLine, _) if idle.is_some() => format!(
            "waits for an unfinished line at the agent's own terminal, until it is {} (exec --take overrides it)",
            until()
        ),
        (WaitsFor::BegunLine | WaitsFor::Program | WaitsFor::Reader | WaitsFor::Unknown(_), _) => {
            waits.why()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{HoldId, InputSequence};
    use crate::time::WallTime;

    #[test]
    fn a_line_that_is_waited_for_is_that_of_who_types_it() {
        let holder = |name: &str| HoldView {
            hold: HoldId::new("h"),
            name: name.to_owned(),
            since: WallTime::from_unix_millis(1_764_000_000_000),
            taken: InputSequence(0),
        };
        let idle = Some(Duration::from_secs(60));
        let of = |waits: WaitsFor, holder: Option<&HoldView>| why_it_waits(&waits, idle, holder);
        let remote = of(WaitsFor::RemoteLine, Some(&holder("bob\u{1b}[2J")));
        assert_eq!(
            remote,
            "waits for an unfinished line that bob\\u{1b}[2J is typing, who has held the keyboard since 2025-11-24T16:00:00.000Z, until it is finished, cleared, or untouched for 1m (exec --take overrides it)"
        );
        assert!(!remote.contains("own terminal"));
        assert!(of(WaitsFor::RemoteLine, None).contains("has released the keyboard"));
        let local = of(WaitsFor::BegunLine, Some(&holder("bob")));
        assert!(local.contains("own terminal") && local.contains("1m") && !local.contains("bob"));
        assert_eq!(why_it_waits(&WaitsFor::Reader, None, None), WaitsFor::Reader.why());
    }
}
