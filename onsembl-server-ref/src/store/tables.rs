//! Every table of the database, and what keeps it from growing without end: compared with the schema by a test, so that
//! none is added without a bound.

/// What bounds the rows of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bound {
    /// Rows are removed by this source, and how many of whom stay.
    Removed(&'static str, &'static str),
    /// One for each key that the program has.
    OfProgram,
    /// One for each user: whoever lets users in adds to it.
    OfUser,
    /// Rows are written over, and there are as many as the newest of all agents make.
    Ring,
    /// The operator alone adds to it.
    Operator,
}

const BOUNDS: [(&str, Bound); 21] = [
    ("agent_aliases", Bound::Removed(include_str!("agents.rs"), "agent: the latest 8")),
    (
        "agents",
        Bound::Removed(
            include_str!("deletion.rs"),
            "user: 65,536 and a share of its bytes, deleted ones 4,096 and as long as history is kept",
        ),
    ),
    ("beat_log", Bound::Ring),
    (
        "command_events",
        Bound::Removed(
            include_str!("history.rs"),
            "command: 256, and its bytes count for its user",
        ),
    ),
    ("commands", Bound::Removed(include_str!("retention.rs"), "user: its bytes; 90 days")),
    ("findings", Bound::Removed(include_str!("findings.rs"), "agent: 256 and 64 KiB")),
    (
        "keyboard_holds",
        Bound::Removed(
            include_str!("keyboards.rs"),
            "command: the latest 256, and they count for its user",
        ),
    ),
    ("meta", Bound::OfProgram),
    ("output_commands", Bound::Removed(include_str!("segments.rs"), "command: one")),
    (
        "output_segments",
        Bound::Removed(
            include_str!("segments.rs"),
            "user: its bytes; over all users `--keep-bytes`",
        ),
    ),
    (
        "output_singles",
        Bound::Removed(include_str!("output.rs"), "user: its bytes; over all users `--keep-bytes`"),
    ),
    (
        "output_streams",
        Bound::Removed(
            include_str!("retention.rs"),
            "command: they go with it, and each record counts for its user",
        ),
    ),
    ("presence_events", Bound::Removed(include_str!("presence.rs"), "agent: the latest 1,024")),
    (
        "revoked_tokens",
        Bound::Removed(
            include_str!("tokens.rs"),
            "user: a random one goes with its token; of signed ones the operator adds them",
        ),
    ),
    ("revoked_users", Bound::Operator),
    (
        "screen_keyframes",
        Bound::Removed(
            include_str!("screens.rs"),
            "command: one for each 256 KiB of its output, of 64 KiB at most; they go with the output, and count for its user",
        ),
    ),
    (
        "screen_sizes",
        Bound::Removed(
            include_str!("screens.rs"),
            "command: the latest 1,024, and they count for its user",
        ),
    ),
    ("sessions", Bound::Removed(include_str!("sessions.rs"), "agent: the latest 256")),
    (
        "stops",
        Bound::Removed(
            include_str!("stops.rs"),
            "user: one in force for each agent and one for all, 1,024 released",
        ),
    ),
    (
        "tokens",
        Bound::Removed(include_str!("tokens.rs"), "user: 1,024 random ones, 1,024 signed ones"),
    ),
    ("usage", Bound::OfUser),
];

#[test]
fn every_table_has_a_bound_and_what_removes_its_rows() {
    let dir = tempfile::tempdir().unwrap();
    let db = super::schema::open_writer(dir.path(), super::wall_now()).unwrap();
    let query = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name";
    let mut query = db.prepare(query).unwrap();
    let tables: Vec<String> =
        query.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap();
    let bounded: Vec<&str> = BOUNDS.iter().map(|(table, _)| *table).collect();
    assert_eq!(tables, bounded, "say what bounds each table");
    for (table, bound) in BOUNDS {
        match bound {
            Bound::Removed(source, per) => {
                let removes = source.contains(&format!("DELETE FROM {table}\n"))
                    || source.contains(&format!("DELETE FROM {table} "));
                assert!(removes, "{table} is to have {per}, and nothing there removes the others");
            }
            Bound::OfProgram | Bound::OfUser | Bound::Ring | Bound::Operator => {}
        }
    }
}
