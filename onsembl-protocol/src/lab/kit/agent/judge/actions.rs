//! What the agent did, compared with what it owes.

use super::super::subject::Observation;
use super::Judge;
use super::owed::{Expected, Owed};
use super::state::State;
use crate::close::{CloseCause, CloseCode};
use crate::id::LinkId;
use crate::lab::Invariant;
use crate::lab::kit::call::Call;
use crate::lab::kit::violation::Violation;
use std::format;

/// What was done is owed or allowed, and what is owed was done.
pub(super) fn performs(
    judge: &mut Judge,
    call: &Call<'_>,
    seen: &[Observation],
    expected: &Expected,
) -> Result<(), Violation> {
    let owes = |owed: Owed| expected.owed.iter().any(|(o, _)| *o == owed);
    for observation in seen {
        match *observation {
            Observation::Dialled(link) => {
                if !judge.open.is_empty() {
                    let open = format!("dials {link} while it holds {:?}", judge.open);
                    call.blame(Invariant::OneLinkAtATime, "one link at a time", open)?;
                }
                if link <= judge.newest {
                    let wanted = format!("a number above {}", judge.newest);
                    call.blame(Invariant::EachDialANewLink, wanted, call.output())?;
                }
                judge.newest = link;
                judge.open.push(link);
            }
            Observation::Closed(link, cause) => {
                judge.open.retain(|open| *open != link);
                let code = cause.code();
                if [CloseCode::NORMAL, CloseCode::NO_STATUS, CloseCode::ABNORMAL].contains(&code) {
                    let wanted = "a code that an agent may send";
                    call.blame(Invariant::CloseHasACause, wanted, format!("code {code}"))?;
                }
            }
            Observation::SentHello(link) if !owes(Owed::Hello(link)) => {
                call.blame(Invariant::HelloGoesFirst, "no hello here", call.output())?;
            }
            Observation::SentPong(link, echo) if !owes(Owed::Pong(link, echo)) => {
                call.blame(Invariant::PingIsAnswered, "no such pong", call.output())?;
            }
            Observation::SentHello(_) | Observation::SentPong(..) => {}
            Observation::SentBeat(link, number) => match &mut judge.state {
                State::Connected(s) if s.link == link => {
                    if expected.news {
                        s.beats.hurry(call.at);
                    }
                    s.news = false;
                    s.beats.no_burst(call)?;
                    s.beats.sent(call.at);
                    if let Some(number) = number {
                        s.beats.number(number, call)?;
                    }
                }
                State::Joining { .. } => {
                    call.blame(Invariant::HelloGoesFirst, "no beat before", call.output())?;
                }
                State::Idle
                | State::Connecting { .. }
                | State::Connected(_)
                | State::Reconnecting { .. }
                | State::Closed => {
                    let wanted = "beats only over the link of the session";
                    call.blame(Invariant::BeatsEveryInterval, wanted, call.output())?;
                }
            },
            Observation::SentUnreadable(link) => {
                let what = format!("what was sent over {link} cannot be read");
                call.blame(Invariant::SentCanBeRead, "a message of the protocol", what)?;
            }
            Observation::Shown(_) | Observation::Noted => {}
        }
    }
    for (owed, name) in &expected.owed {
        let closed = |link| seen.iter().find_map(|o| closes(*o, link));
        let paid = match *owed {
            Owed::Dial => matches!(judge.state, State::Connecting { .. }),
            Owed::Hello(link) => seen.contains(&Observation::SentHello(link)),
            Owed::Beat(link) => {
                seen.iter().any(|o| matches!(o, Observation::SentBeat(l, _) if *l == link))
            }
            Owed::Pong(link, echo) => seen.contains(&Observation::SentPong(link, echo)),
            Owed::Close(link, cause) => {
                if let (Some(wanted), Some(given)) = (cause, closed(link))
                    && wanted != given
                {
                    let (wanted, given) = (format!("{wanted}"), format!("{given}"));
                    call.blame(Invariant::CloseHasACause, wanted, given)?;
                }
                closed(link).is_some()
            }
        };
        if !paid {
            call.blame(*name, format!("{owed:?}"), call.output())?;
        }
    }
    Ok(())
}

fn closes(observation: Observation, link: LinkId) -> Option<CloseCause> {
    match observation {
        Observation::Closed(closed, cause) => (closed == link).then_some(cause),
        Observation::Dialled(_)
        | Observation::SentHello(_)
        | Observation::SentBeat(..)
        | Observation::SentPong(..)
        | Observation::SentUnreadable(_)
        | Observation::Shown(_)
        | Observation::Noted => None,
    }
}
