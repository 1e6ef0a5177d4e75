//! What was done, held against what is owed.

use super::Judge;
use super::life::Life;
use super::owed::{Expected, Owed};
use crate::close::CloseCode;
use crate::lab::Invariant;
use crate::lab::kit::call::Call;
use crate::lab::kit::violation::Violation;
use crate::model::Dialect;
use crate::session::ServerAction;
use std::format;

impl Judge {
    pub(super) fn performs(
        &mut self,
        call: &Call<'_>,
        did: &[ServerAction],
        expected: &Expected,
    ) -> Result<(), Violation> {
        for action in did {
            match *action {
                ServerAction::SendBeat { link, .. } | ServerAction::SendPing(link) => {
                    let Life::Session(s, _) = &mut self.life else {
                        let wanted = "beats only in a session";
                        call.blame(Invariant::BeatsEveryInterval, wanted, call.did())?;
                        continue;
                    };
                    if s.link != link {
                        let wanted = format!("beats over link {}", s.link);
                        call.blame(Invariant::BeatsEveryInterval, wanted, call.did())?;
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
        let forgets = did.contains(&ServerAction::Forget);
        if forgets && !matches!(self.life, Life::Gone) {
            call.blame(Invariant::ForgetIsLast, "no Forget while it may return", call.did())?;
        }
        for (owed, name) in &expected.owed {
            if !paid(*owed, did) {
                call.blame(*name, format!("{owed:?}"), call.did())?;
            }
        }
        Ok(())
    }
}

fn paid(owed: Owed, did: &[ServerAction]) -> bool {
    match owed {
        Owed::Forget => did.last() == Some(&ServerAction::Forget),
        Owed::Admit(link) => did.contains(&ServerAction::Admit(link)),
        Owed::Welcome(link) => {
            did.iter().any(|a| matches!(a, ServerAction::Welcome { link: l, .. } if *l == link))
        }
        Owed::Beat(link) => did.iter().any(|a| {
            matches!(a, ServerAction::SendBeat { link: l, .. } | ServerAction::SendPing(l) if *l == link)
        }),
        Owed::Answer(link) => {
            did.iter().any(|a| matches!(a, ServerAction::SendBeat { link: l, .. } if *l == link))
        }
        Owed::Record => did.iter().any(|a| matches!(a, ServerAction::Record { .. })),
        Owed::Close(link) => {
            did.iter().any(|a| matches!(a, ServerAction::Close(l, _) if *l == link))
        }
    }
}
