//! What goes wrong in a world at all.

use onsembl_protocol::fleet::FleetLimits;

#[derive(Clone, Copy, Debug)]
pub(super) struct Weather {
    pub(super) cuts: bool,
    /// Links swallow what is said, and nobody is told.
    pub(super) freezes: bool,
    pub(super) agent_dies: bool,
    pub(super) server_dies: bool,
    /// The server's database is put back as it was earlier.
    pub(super) loses_rows: bool,
    /// An agent loses its journal.
    pub(super) forgets: bool,
    /// The store refuses things, or takes its time.
    pub(super) store_fails: bool,
    /// Agents are deleted.
    pub(super) deletes: bool,
    /// A legacy wrapper works beside the others.
    pub(super) has_wrapper: bool,
    /// A legacy wrapper comes under the id that an extended agent was taught.
    pub(super) masks: bool,
    /// An agent says what it has no business to say.
    pub(super) is_hostile: bool,
    /// What a command started is not always observed to have ended.
    pub(super) leaves_survivors: bool,
    /// Users stop, pause and restart agents.
    pub(super) orders: bool,
}

impl Weather {
    pub(super) fn draw(random: &mut fastrand::Rng) -> Self {
        let mut often = |n: u8| random.u8(0..n) == 0;
        let weather = Self {
            cuts: !often(4),
            freezes: often(3),
            agent_dies: often(2),
            server_dies: often(2),
            loses_rows: false,
            forgets: often(6),
            store_fails: often(4),
            deletes: often(8),
            has_wrapper: often(3),
            masks: often(5),
            is_hostile: often(5),
            leaves_survivors: often(6),
            orders: often(2),
        };
        // Where both ends forget, or an agent remembers nothing, a command that is asked for again runs again.
        let remembers = !(weather.forgets || weather.deletes || weather.masks);
        Self { loses_rows: weather.server_dies && remembers && often(2), ..weather }
    }

    /// Everything at once.
    pub(super) const WORST: Self = Self {
        cuts: true,
        freezes: true,
        agent_dies: true,
        server_dies: false,
        loses_rows: false,
        forgets: true,
        store_fails: true,
        deletes: true,
        has_wrapper: true,
        masks: true,
        is_hostile: true,
        leaves_survivors: true,
        orders: true,
    };

    /// Whether each end is observed by a process that can report it.
    pub(super) const fn hides_nothing(&self) -> bool {
        let Self { freezes, server_dies, forgets, deletes, has_wrapper, masks, .. } = *self;
        let blind = freezes || server_dies || forgets || self.leaves_survivors;
        !(blind || deletes || has_wrapper || masks || self.is_hostile)
    }
}

/// Bounds so small that they are met.
pub(super) fn limits(random: &mut fastrand::Rng) -> FleetLimits {
    let mut limits = FleetLimits::DEFAULT;
    limits.agents = 4;
    limits.open_commands = random.usize(3..8);
    limits.repetitions = 2;
    limits.terminals_of_agent = 2;
    limits.terminals_ending = 2;
    limits.terminals = 6;
    limits.unstored_output = 4096;
    limits.loose_outputs = 3;
    limits.ended_commands = random.usize(0..6);
    limits.pages_of_agent = 2;
    limits.pages = 4;
    limits.audits = 2;
    limits.waiting_stops = 2;
    limits
}
