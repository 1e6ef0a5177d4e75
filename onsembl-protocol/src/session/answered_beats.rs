//! Which heartbeats of an agent its server has answered, for display. Consequences for the connection are decided
//! by its machine.

use crate::id::BeatSequence;

/// The latest own heartbeats of a session that the server has seen and recorded. It also names them in heartbeats
/// of its
/// own schedule; only a greater number is an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AnsweredBeats {
    seen: BeatSequence,
    recorded: BeatSequence,
}

impl AnsweredBeats {
    /// The server says that it has seen this one. Whether that is news.
    #[must_use]
    pub fn on_seen(&mut self, seen: Option<BeatSequence>) -> bool {
        is_news(&mut self.seen, seen)
    }

    /// The server says that its database holds this one. Whether that is news.
    #[must_use]
    pub fn on_recorded(&mut self, recorded: Option<BeatSequence>) -> bool {
        is_news(&mut self.recorded, recorded)
    }
}

fn is_news(latest: &mut BeatSequence, said: Option<BeatSequence>) -> bool {
    match said {
        Some(said) if said > *latest => {
            *latest = said;
            true
        }
        Some(_) | None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_further_number_is_an_answer() {
        let mut answered = AnsweredBeats::default();
        let number = |n| Some(BeatSequence(n));
        assert!(answered.on_seen(number(2)) && answered.on_recorded(number(1)));
        assert!(!answered.on_seen(number(2)), "on the server's own schedule");
        assert!(!answered.on_seen(number(1)) && !answered.on_recorded(None));
        assert!(answered.on_seen(number(3)) && answered.on_recorded(number(3)));
    }
}
