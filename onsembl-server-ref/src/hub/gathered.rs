//! What agents said and what only shows that they live, gathered until the hub has taken all that has arrived: then each
//! fleet gets its part in one go. So a user is looked up, the clock is read and readers are woken once for many messages.

use onsembl_protocol::fleet::{FleetEvent, SeatId};
use onsembl_protocol::id::UserId;
use onsembl_protocol::time::WallTime;
use std::collections::BTreeMap;

/// The events of all users that wait.
#[derive(Debug, Default)]
pub(super) struct Gathered(BTreeMap<UserId, OfUser>);

/// Those of one user, in the order in which they came.
#[derive(Debug, Default)]
struct OfUser {
    events: Vec<FleetEvent>,
    /// Where the latest sign of life is.
    heard: Option<usize>,
}

impl Gathered {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A frame of an agent came. Of one that sends many the latest is enough.
    pub(super) fn heard(&mut self, user: &UserId, seat: SeatId, at: WallTime) {
        let of = self.of(user);
        if let Some(FleetEvent::Heard { seat: same, at: latest }) =
            of.heard.and_then(|heard| of.events.get_mut(heard))
            && *same == seat
        {
            *latest = at.max(*latest);
            return;
        }
        of.heard = Some(of.events.len());
        of.events.push(FleetEvent::Heard { seat, at });
    }

    /// An agent said something.
    pub(super) fn said(&mut self, user: &UserId, event: FleetEvent) {
        self.of(user).events.push(event);
    }

    /// Takes all events of one user.
    pub(super) fn pop(&mut self) -> Option<(UserId, Vec<FleetEvent>)> {
        let (user, of) = self.0.pop_first()?;
        Some((user, of.events))
    }

    fn of(&mut self, user: &UserId) -> &mut OfUser {
        self.0.entry(user.clone()).or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use onsembl_protocol::wire::AgentToServer;

    fn at(ms: i64) -> WallTime {
        WallTime::from_unix_millis(ms)
    }

    fn said(seat: u64) -> FleetEvent {
        let message = Box::new(AgentToServer::Pong(Default::default()));
        FleetEvent::Message { seat: SeatId(seat), message }
    }

    /// What waits, in short: `h` and `m` with their seats, and the times of signs of life.
    fn all(gathered: &mut Gathered) -> Vec<(String, String)> {
        let word = |event: FleetEvent| match event {
            FleetEvent::Heard { seat, at } => format!("h{}@{}", seat.0, at.unix_millis()),
            FleetEvent::Message { seat, .. } => format!("m{}", seat.0),
            other => panic!("{other:?}"),
        };
        std::iter::from_fn(|| gathered.pop())
            .map(|(user, events)| {
                let words: Vec<_> = events.into_iter().map(word).collect();
                (user.as_str().to_owned(), words.join(" "))
            })
            .collect()
    }

    #[test]
    fn each_user_gets_what_its_agents_said_in_order_and_signs_of_life_once() {
        let (ann, bob) = (UserId::new("ann"), UserId::new("bob"));
        let mut gathered = Gathered::default();
        for ms in 1..4 {
            gathered.heard(&bob, SeatId(7), at(ms));
            gathered.said(&bob, said(7));
        }
        gathered.heard(&ann, SeatId(1), at(5));
        gathered.heard(&ann, SeatId(2), at(4));
        gathered.said(&ann, said(2));
        gathered.said(&ann, said(1));
        gathered.heard(&ann, SeatId(2), at(3));
        let pair = |user: &str, events: &str| (user.to_owned(), events.to_owned());
        assert_eq!(
            all(&mut gathered),
            [pair("ann", "h1@5 h2@4 m2 m1"), pair("bob", "h7@3 m7 m7 m7")],
            "and time does not go back"
        );
        assert_eq!(all(&mut gathered), []);
    }
}
