//! What was done, compared with what is owed.

use super::Judge;
use super::owed::{Expected, Owed};
use super::state::State;
use crate::close::CloseCode;
use crate::lab::Invariant;
use crate::lab::kit::call::Call;
use crate::lab::kit::violation::Violation;
use crate::model::Dialect;
use crate::session::ServerAction;
use std::format;

pub(super) fn performs(
    judge: &mut Judge,
    call: &Call<'_>,
    output: &[ServerAction],
    expected: &Expected,
) -> Result<(), Violation> {
    for action in output {
        match *action {
            ServerAction::SendBeat { link, .. } | ServerAction::SendPing(link) => {
                let State::Online(s, _) = &mut judge.state else {
                    let wanted = "beats only in a session";
                    call.blame(Invariant::BeatsEveryInterval, wanted, call.output())?;
                    continue;
                };
                if s.link != link {
                    let wanted = format!("beats over link {}", s.link);
                    call.blame(Invariant::BeatsEveryInterval, wanted, call.output())?;
                }
                s.beats.sent(call.at);
                if let ServerAction::SendBeat { beat, .. } = action {
                    s.answer_by = None;
                    if s.dialect == Dialect::Extended {
                        s.beats.number(beat.sequence, call)?;
                    }
                }
            }
            ServerAction::Close(_, cause) => {
                let code = cause.code();
                let normal = code == CloseCode::NORMAL && !expected.may_send_normal;
                if normal || [CloseCode::NO_STATUS, CloseCode::ABNORMAL].contains(&code) {
                    let wanted = "a code that a server may send here";
                    call.blame(Invariant::CloseHasACause, wanted, format!("code {code}"))?;
                }
            }
            ServerAction::Admit(_)
            | ServerAction::Welcome { .. }
            | ServerAction::Record { .. }
            | ServerAction::Report(_)
            | ServerAction::Overslept(_)
            | ServerAction::Forget => {}
        }
    }
    let forgets = output.contains(&ServerAction::Forget);
    if forgets && !matches!(judge.state, State::Closed) {
        call.blame(Invariant::ForgetIsLast, "no Forget while it may return", call.output())?;
    }
    for (owed, name) in &expected.owed {
        if !paid(*owed, output) {
            call.blame(*name, format!("{owed:?}"), call.output())?;
        }
    }
    Ok(())
}

fn paid(owed: Owed, output: &[ServerAction]) -> bool {
    match owed {
        Owed::Forget => output.last() == Some(&ServerAction::Forget),
        Owed::Admit(link) => output.contains(&ServerAction::Admit(link)),
        Owed::Welcome(link) => {
            output.iter().any(|a| matches!(a, ServerAction::Welcome { link: l, .. } if *l == link))
        }
        Owed::Beat(link) => output.iter().any(|a| {
            matches!(a, ServerAction::SendBeat { link: l, .. } | ServerAction::SendPing(l) if *l == link)
        }),
        Owed::Answer(link) => {
            output.iter().any(|a| matches!(a, ServerAction::SendBeat { link: l, .. } if *l == link))
        }
        Owed::Record => output.iter().any(|a| matches!(a, ServerAction::Record { .. })),
        Owed::Close(link) => {
            output.iter().any(|a| matches!(a, ServerAction::Close(l, _) if *l == link))
        }
    }
}
