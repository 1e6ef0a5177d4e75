//! The versions of an agent's presences over sessions, restarts of the server and lost writes: no reader ever goes back,
//! and no version is used twice, also where the number within an epoch comes to its end.

use onsembl_protocol::id::{Epoch, PresenceVersion};
use onsembl_protocol::session::VersionNumbering;
use proptest::collection::vec;
use proptest::prelude::*;

/// Less than is ever published and not stored.
const UNSTORED: u64 = (1 << 19) - 1;

#[derive(Clone, Copy, Debug)]
enum Step {
    /// The machine publishes so many presences. Of those not stored so far the store takes some.
    Publish { presences: u64, stored: u64 },
    /// The store opens a session.
    Claim,
    /// What was not stored is lost.
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let much = prop_oneof![1u64..5, 1u64..UNSTORED, Just((1 << 20) - 2)];
    prop_oneof![
        4 => (much, 0u64..=UNSTORED)
            .prop_map(|(presences, stored)| Step::Publish { presences, stored }),
        2 => Just(Step::Claim),
        2 => Just(Step::Restart),
    ]
}

#[derive(Debug)]
struct World {
    /// The store's row.
    row: (Epoch, PresenceVersion),
    /// What the machine published last, and under which epoch.
    machine: (Epoch, PresenceVersion),
    /// The greatest version that a reader saw.
    seen: PresenceVersion,
}

impl World {
    fn publish(&mut self) -> Result<(), TestCaseError> {
        let (epoch, version) = self.machine;
        let next = VersionNumbering::ByEpoch.after(version, epoch);
        prop_assert!(next > self.seen, "{next} after {self:?}");
        prop_assert!(next.0 < 1 << 53);
        (self.machine.1, self.seen) = (next, next);
        Ok(())
    }

    /// So many of the latest presences are not stored.
    fn store(&mut self, behind: u64) {
        self.row.1 = self.row.1.max(PresenceVersion(self.machine.1.0.saturating_sub(behind)));
    }

    fn step(&mut self, step: Step) -> Result<(), TestCaseError> {
        match step {
            Step::Publish { presences, stored } => {
                // One at a time where something may happen, and the rest as a leap.
                self.publish()?;
                let leap = PresenceVersion(self.machine.1.0 + presences - 1);
                (self.machine.1, self.seen) = (leap, leap);
                self.publish()?;
                self.store(UNSTORED - stored);
            }
            Step::Claim => {
                self.row.0 = self.row.0.next_above(self.row.1);
                self.machine.0 = self.row.0;
                self.publish()?;
            }
            Step::Restart => {
                self.row.0 = self.row.0.next_above(self.row.1);
                self.machine = (self.row.0, PresenceVersion::base_of(self.row.0));
                self.publish()?;
            }
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..Default::default() })]

    #[test]
    fn no_reader_goes_back_whatever_is_not_stored(steps in vec(step(), 1..60)) {
        let epoch = Epoch(1);
        let begin = (epoch, PresenceVersion::base_of(epoch));
        let mut world = World { row: begin, machine: begin, seen: begin.1 };
        for step in steps {
            world.step(step)?;
        }
    }

    /// What an earlier version stored and published, over the migration: whatever it counted.
    #[test]
    fn an_earlier_database_is_continued_above_all_that_it_published(
        epoch in 1u64..100_000,
        stored in 0u64..1 << 45,
        unstored in 0u64..1 << 20,
    ) {
        // `migrations/0018_presence_versions.sql`.
        let migrated = Epoch(epoch.max((stored >> 20) + 2));
        let published = stored + unstored;
        prop_assert!(PresenceVersion::base_of(migrated).0 > published);
        let next = migrated.next_above(PresenceVersion(stored));
        prop_assert_eq!(next, migrated.next());
    }
}
