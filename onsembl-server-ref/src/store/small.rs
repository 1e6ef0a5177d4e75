//! Of what waits in one line: what is written on a full disk too, and what must stay behind what is not. To find the
//! next takes a number of steps logarithmic in what waits.

use super::line::Needs;
use onsembl_protocol::id::CommandId;
use std::collections::{BTreeSet, HashMap};

/// Numbers in the order of the line.
#[derive(Debug, Default)]
pub(super) struct Small {
    /// Behind nothing.
    free: BTreeSet<i64>,
    behind_all: BTreeSet<i64>,
    /// What needs room.
    rooms: BTreeSet<i64>,
    of: HashMap<CommandId, OfCommand>,
    /// The first of each command that is behind nothing that needs room.
    heads: BTreeSet<(i64, CommandId)>,
}

#[derive(Debug, Default)]
struct OfCommand {
    rooms: BTreeSet<i64>,
    behind: BTreeSet<i64>,
    /// As it stands among the heads.
    head: Option<i64>,
}

impl Small {
    pub(super) fn add(&mut self, at: i64, needs: &Needs) {
        self.change(at, needs, BTreeSet::insert);
    }

    pub(super) fn remove(&mut self, at: i64, needs: &Needs) {
        self.change(at, needs, |numbers, at| numbers.remove(&at));
    }

    /// The first that needs no room, and is behind nothing that does.
    pub(super) fn first(&self) -> Option<i64> {
        let free = self.free.first().copied();
        let head = self.heads.first().map(|(at, _)| *at);
        let room = self.rooms.first();
        let last = self.behind_all.first().copied();
        let last = last.filter(|at| room.is_none_or(|room| at < room));
        [free, head, last].into_iter().flatten().min()
    }

    fn change(&mut self, at: i64, needs: &Needs, does: impl Fn(&mut BTreeSet<i64>, i64) -> bool) {
        match needs {
            Needs::Little | Needs::New => {
                let _ = does(&mut self.free, at);
            }
            Needs::BehindAll => {
                let _ = does(&mut self.behind_all, at);
            }
            Needs::Behind(command) => {
                let of = self.of.entry(command.clone()).or_default();
                let _ = does(&mut of.behind, at);
                self.settle(command);
            }
            Needs::Room(command) => {
                let _ = does(&mut self.rooms, at);
                let of = self.of.entry(command.clone()).or_default();
                let _ = does(&mut of.rooms, at);
                self.settle(command);
            }
        }
    }

    /// Whether the first of a command is behind nothing has changed.
    fn settle(&mut self, command: &CommandId) {
        let Some(of) = self.of.get_mut(command) else { return };
        let (behind, room) = (of.behind.first().copied(), of.rooms.first());
        let head = behind.filter(|at| room.is_none_or(|room| at < room));
        let before = std::mem::replace(&mut of.head, head);
        let is_empty = of.behind.is_empty() && of.rooms.is_empty();
        if before != head {
            if let Some(at) = before {
                let _ = self.heads.remove(&(at, command.clone()));
            }
            if let Some(at) = head {
                let _ = self.heads.insert((at, command.clone()));
            }
        }
        if is_empty {
            let _ = self.of.remove(command);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn any_needs() -> Needs {
        let command = CommandId::new(format!("c{}", fastrand::u8(..3)));
        match fastrand::u8(..5) {
            0 => Needs::Little,
            1 => Needs::New,
            2 => Needs::BehindAll,
            3 => Needs::Behind(command),
            _ => Needs::Room(command),
        }
    }

    /// The same by looking at all.
    fn first_of(line: &[(i64, Needs)]) -> Option<i64> {
        let room_before = |at: i64, of: Option<&CommandId>| {
            line.iter().any(|(number, needs)| match needs {
                Needs::Room(command) => *number < at && of.is_none_or(|of| of == command),
                Needs::Little | Needs::New | Needs::BehindAll | Needs::Behind(_) => false,
            })
        };
        let may_go = |(at, needs): &&(i64, Needs)| match needs {
            Needs::Little | Needs::New => true,
            Needs::BehindAll => !room_before(*at, None),
            Needs::Behind(command) => !room_before(*at, Some(command)),
            Needs::Room(_) => false,
        };
        line.iter().filter(may_go).map(|(at, _)| *at).min()
    }

    #[test]
    fn the_first_is_the_one_that_a_look_at_all_finds() {
        fastrand::seed(7);
        for _ in 0..200 {
            let (mut small, mut line) = (Small::default(), Vec::<(i64, Needs)>::new());
            let (mut front, mut back) = (0, 0);
            for _ in 0..100 {
                let needs = any_needs();
                match fastrand::u8(..4) {
                    0 if !line.is_empty() => {
                        let (at, needs) = line.remove(fastrand::usize(..line.len()));
                        small.remove(at, &needs);
                    }
                    1 => {
                        front -= 1;
                        small.add(front, &needs);
                        line.push((front, needs));
                    }
                    _ => {
                        back += 1;
                        small.add(back, &needs);
                        line.push((back, needs));
                    }
                }
                assert_eq!(small.first(), first_of(&line), "{line:?}");
            }
            for (at, needs) in line {
                small.remove(at, &needs);
            }
            assert!(small.of.is_empty() && small.heads.is_empty() && small.rooms.is_empty());
        }
    }
}
