//! Sessions. It demands: a hello is served; epochs grow; a session belongs to the process whose
//! hello opened it; the latest hello counts, and of two wires of an agent one is current, the other
//! learns which of the two reasons ended it.

use super::seat::{Came, Hello, Owed, Seat, Session};
use super::silence::Silence;
use super::violation::{Checked, demand};
use crate::lab::Invariant;
use crate::lab::fact::{Epoch, LocalNanos, Process, Wire};
use alloc::format;

impl Seat {
    pub(super) fn joined(&mut self, wire: Wire, process: Process, now: LocalNanos) -> Checked {
        self.informed(Came::Hello)?;
        if let Some(earlier) = self.hello {
            self.owe_close(earlier.wire, Owed::Superseded);
        }
        self.hello = Some(Hello { wire, process, since: now, counted_from: now });
        self.step.ask = Some(wire);
        Ok(())
    }

    pub(super) fn session_asked(&mut self, wire: Wire) -> Checked {
        self.does()?;
        demand(
            self.step.ask == Some(wire),
            Invariant::HelloIsAnswered,
            "a session asked for once, for the wire of the hello",
            || format!("{wire:?} asked for, {:?} open", self.step.ask),
        )?;
        self.step.ask = None;
        Ok(())
    }

    pub(super) fn session_committed(&mut self, epoch: Epoch, process: Process) -> Checked {
        demand(
            self.committed.is_none_or(|(before, _)| epoch > before),
            Invariant::EpochsGrow,
            "a greater epoch for each session",
            || format!("{epoch} after {:?}", self.committed),
        )?;
        self.committed = Some((epoch, process));
        Ok(())
    }

    pub(super) fn session_answered(
        &mut self,
        wire: Wire,
        epoch: Epoch,
        now: LocalNanos,
    ) -> Checked {
        self.known = true;
        let Some(hello) = self.hello.filter(|h| h.wire == wire) else {
            return self.informed(Came::Foreign);
        };
        let committed = self
            .committed
            .is_some_and(|(latest, by)| epoch < latest || (epoch == latest && by == hello.process));
        demand(
            committed,
            Invariant::WelcomeIsCommitted,
            "a session that the store holds for this process",
            || format!("epoch {epoch} for {:?}, held: {:?}", hello.process, self.committed),
        )?;
        let came = match self.session {
            None => Came::Opened,
            Some(old) if old.process == hello.process => {
                self.owe_close(old.wire, Owed::Superseded);
                Came::TakenOver
            }
            Some(old) => {
                self.owe_close(old.wire, Owed::Replaced { legacy: !old.extended });
                Came::Replaced
            }
        };
        let mut silence = Silence::default();
        silence.heard(now);
        self.session = Some(Session {
            wire,
            process: hello.process,
            epoch,
            silence,
            faulted: false,
            extended: false,
            unrecorded: Default::default(),
            heard: 0,
            committed: 0,
            recorded: 0,
            sent: 0,
            sent_at: now,
            seen: 0,
            unanswered: None,
            probed: None,
        });
        self.hello = None;
        self.awaited = None;
        self.step.welcome = true;
        self.informed(came)
    }

    pub(super) fn session_denied(&mut self, wire: Wire) -> Checked {
        if self.hello.is_none_or(|h| h.wire != wire) {
            return self.informed(Came::Foreign);
        }
        self.hello = None;
        self.step.hello_ended = true;
        self.owe_close(wire, Owed::Any);
        self.informed(Came::Denied)
    }

    pub(super) fn welcomes(&mut self, wire: Wire, epoch: Epoch) -> Checked {
        let session = self.session.filter(|s| self.step.welcome && s.wire == wire);
        demand(
            session.is_some_and(|s| s.epoch == epoch),
            Invariant::WelcomeIsCommitted,
            "one welcome, for the session that was opened in this step",
            || format!("epoch {epoch} over {wire:?}"),
        )?;
        self.step.welcome = false;
        Ok(())
    }
}
