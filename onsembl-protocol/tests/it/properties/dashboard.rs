//! The invariants of a dashboard's link.

use super::walk::{Clocks, early, passing};
use onsembl_protocol::fleet::{
    DashboardAction, DashboardEvent, DashboardLink, DashboardToken, View,
};
use onsembl_protocol::id::{ServerInstanceId, UserId};
use onsembl_protocol::limits::Limits;
use onsembl_protocol::session::DashboardStatus;
use onsembl_protocol::time::{Deadline, Now};
use proptest::collection::vec;
use proptest::prelude::*;

/// What can come at any time.
#[derive(Clone, Copy, Debug)]
enum Move {
    Wake,
    Control,
    Changed,
    Room,
    Hello,
    Nonsense,
    Reserved,
}

fn moves() -> impl Strategy<Value = Move> {
    prop_oneof![
        8 => Just(Move::Wake),
        6 => Just(Move::Control),
        3 => Just(Move::Changed),
        1 => Just(Move::Room),
        2 => Just(Move::Hello),
        1 => Just(Move::Nonsense),
        3 => Just(Move::Reserved),
    ]
}

/// Hands over an event, and takes all that is to be done.
fn feed(link: &mut DashboardLink, what: Move, has_room: bool, now: Now) -> Vec<DashboardAction> {
    let view = View::default();
    let event = match what {
        Move::Wake => DashboardEvent::Wake,
        Move::Control => DashboardEvent::Control,
        Move::Changed => DashboardEvent::Changed,
        Move::Room => DashboardEvent::Room,
        Move::Hello => DashboardEvent::Text(r#"{"type":"DASHBOARD_INIT","payload":{}}"#),
        Move::Nonsense => DashboardEvent::Text("nonsense"),
        Move::Reserved => DashboardEvent::Reserved,
    };
    link.handle(event, &view, now);
    std::iter::from_fn(|| link.poll_action(&view, has_room, now)).collect()
}

fn is_close(action: &DashboardAction) -> bool {
    matches!(action, DashboardAction::Close(_))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..Default::default() })]

    #[test]
    fn the_invariants_of_a_dashboard_link_hold(
        moves in vec((passing(), moves(), any::<bool>(), any::<u8>()), 1..400),
    ) {
        let mut clocks = Clocks::new();
        let mut last = clocks.now();
        let token = DashboardToken { user: UserId::new("ann") };
        let server = ServerInstanceId::new("s");
        let mut link = DashboardLink::new(token, server, Limits::DEFAULT, last);
        let mut closed = false;
        for (passing, what, has_room, fraction) in moves {
            let deadline = link.deadline();
            if let Some(moment) = early(last, deadline, fraction) {
                let mut woken = link.clone();
                prop_assert!(feed(&mut woken, Move::Wake, false, moment).is_empty());
            }
            clocks.pass(passing, deadline);
            let now = clocks.now();
            let actions = feed(&mut link, what, has_room, now);
            let closes = actions.iter().filter(|action| is_close(action)).count();
            prop_assert_eq!(closes == 1, !closed && link.status() == DashboardStatus::Closing);
            prop_assert!(closes <= 1);
            if closed {
                prop_assert!(actions.is_empty(), "{actions:?}");
            }
            closed = link.status() == DashboardStatus::Closing;
            prop_assert_eq!(link.deadline() == Deadline::Never, closed, "a way out by time");
            // A machine that is woken at its deadline does not ask for the same moment again.
            let again = feed(&mut link, Move::Wake, has_room, now);
            prop_assert!(!link.deadline().is_due(now.monotonic), "{again:?}");
            closed = link.status() == DashboardStatus::Closing;
            last = Now { monotonic: now.monotonic.max(last.monotonic), ..now };
        }
    }
}
