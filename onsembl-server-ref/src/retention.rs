//! How long what is stored is kept, and the task that cuts it. What is cut, and the marker that stays, is the
//! store's; by which clock it ages, the core's.

use crate::store::{Cut, Store, StoreError};
use onsembl_protocol::fleet::RetentionClock;
use onsembl_protocol::time::WallTime;
use onsembl_transport::clock::SystemClock;
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// How often the clock of retention is advanced, and users are brought under their bounds.
const TICK: Duration = Duration::from_secs(1);

/// How often it is looked whether something is too old, or too much over all users.
const EVERY: Duration = Duration::from_secs(10);

/// How often it is kept what the clock shows: so much age a crash costs at most.
const CLOCK_KEPT: Duration = Duration::from_secs(60);

/// The wall clock and that of retention are said to differ once they do so by more.
const DIFFERENCE: Duration = Duration::from_secs(3600);

/// Pause between two transactions, in which others write.
const PAUSE: Duration = Duration::from_millis(20);

/// How much of what is stored is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Retention {
    /// How long output is. What is cut leaves a gap behind, `retention`.
    pub keep_for: Duration,
    /// How many bytes of output are, over all users. The oldest of the user who has the most goes first.
    pub keep_bytes: u64,
    /// How long commands that are over are, with their steps, and that an agent was deleted. Then nothing is
    /// known of them any more.
    pub keep_history: Duration,
}

impl Retention {
    /// Output for 30 days, and 10 GiB of it: a month to ask what happened, on any disk. Commands for 90 days:
    /// a quarter, in which people ask who ran what.
    pub const DEFAULT: Self = Self {
        keep_for: Duration::from_secs(30 * 24 * 3600),
        keep_bytes: 10 << 30,
        keep_history: Duration::from_secs(90 * 24 * 3600),
    };
}

impl Default for Retention {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// Cuts until `stop`.
pub(crate) async fn keep(store: Store, rules: Retention, stop: CancellationToken) {
    let mut keeper = Keeper {
        time: SystemClock::new(),
        clock: RetentionClock::resumed(
            Some(store.retention().ages_by()),
            None,
            store.retention().ages_by(),
        ),
        differs: false,
        store,
        rules,
        stop,
    };
    if keeper.run().await == Err(Ended) {
        return;
    }
    // A clock that was not kept continues from the last minute.
    let _ = tokio::time::timeout(TICK, keeper.store.retention().keep_clock()).await;
}

/// The store is closed.
#[derive(Debug, PartialEq, Eq)]
struct Ended;

#[derive(Debug)]
struct Keeper {
    store: Store,
    rules: Retention,
    stop: CancellationToken,
    time: SystemClock,
    clock: RetentionClock,
    differs: bool,
}

impl Keeper {
    async fn run(&mut self) -> Result<(), Ended> {
        let (mut next_look, mut next_kept) = (Instant::now(), Instant::now() + TICK);
        loop {
            self.tick();
            let _ = self.until_done(Chore::Budgets).await?;
            let now = Instant::now();
            if now >= next_look {
                next_look = now + EVERY;
                self.look().await?;
            }
            if now >= next_kept {
                next_kept = now + CLOCK_KEPT;
                let _ = self.until_done(Chore::Clock).await?;
            }
            tokio::select! {
                () = self.stop.cancelled() => return Ok(()),
                () = tokio::time::sleep(TICK) => {}
            }
        }
    }

    /// Time continues.
    fn tick(&mut self) {
        let now = self.time.now();
        let shows = self.clock.advance(now);
        self.store.retention().set_ages_by(shows);
        let apart = now.wall.unix_millis().abs_diff(shows.unix_millis());
        let differs = u128::from(apart) > DIFFERENCE.as_millis();
        if differs && !self.differs {
            warn!(wall = %now.wall, observed = %shows,
                "the wall clock differs from the observed time: it was set, or no server ran. History ages by observed time, which runs twice as fast while it is behind");
        }
        self.differs = differs;
    }

    /// Cuts what is too old or too much.
    async fn look(&self) -> Result<(), Ended> {
        let bytes = self.until_done(Chore::Output).await?;
        if bytes > 0 {
            info!(bytes, "old output was deleted; gaps mark where");
        }
        let _ = self.until_done(Chore::Commands).await?;
        self.until_done(Chore::DeletedAgents).await.map(drop)
    }

    /// Does something in many transactions, with pauses for others, until there is no more of it. How many
    /// bytes of output that cut.
    async fn until_done(&self, chore: Chore) -> Result<u64, Ended> {
        let mut bytes = 0_u64;
        while !self.stop.is_cancelled() {
            match self.step(chore).await {
                Ok(cut) => {
                    bytes = bytes.saturating_add(cut.bytes);
                    if !cut.more {
                        break;
                    }
                    tokio::time::sleep(PAUSE).await;
                }
                Err(StoreError::Closed) => return Err(Ended),
                Err(error) => {
                    warn!(?chore, %error, "cannot delete output beyond its retention; will retry");
                    break;
                }
            }
        }
        Ok(bytes)
    }

    /// One transaction of it.
    async fn step(&self, chore: Chore) -> Result<Cut, StoreError> {
        let (store, rules) = (&self.store, &self.rules);
        let more = match chore {
            Chore::Budgets => store.budget().cut_what_is_over().await?,
            Chore::Output => {
                return store
                    .retention()
                    .cut_output(self.before(rules.keep_for), rules.keep_bytes)
                    .await;
            }
            Chore::Commands => {
                store.retention().remove_commands(self.before(rules.keep_history)).await?
            }
            Chore::DeletedAgents => {
                store.deletion().forget_agents(self.before(rules.keep_history)).await?
            }
            Chore::Clock => {
                store.retention().keep_clock().await?;
                false
            }
        };
        Ok(Cut { bytes: 0, more })
    }

    /// What began to age before this is older than that.
    fn before(&self, keep: Duration) -> WallTime {
        let keep = i64::try_from(keep.as_millis()).unwrap_or(i64::MAX);
        WallTime::from_unix_millis(
            self.store.retention().ages_by().unix_millis().saturating_sub(keep),
        )
    }
}

/// What there is to do.
#[derive(Clone, Copy, Debug)]
enum Chore {
    /// Users who have more than they may.
    Budgets,
    /// Output that is too old, or too much over all users.
    Output,
    /// Commands that are too old.
    Commands,
    /// Agents that were deleted too long ago.
    DeletedAgents,
    /// What the clock shows is kept.
    Clock,
}
