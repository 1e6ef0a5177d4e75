-- Heartbeats as they are recorded: many in one row, which is written over in place, so that one of them does not cost a
-- page of `agents`. `agents.last_heartbeat` and `agents.last_metrics` are of agents that have been silent for long; what
-- is here is newer (ARCHITECTURE, "Storage: what it costs"; the content of a slot: `beat_slot.rs`).
-- A migration that was released is never edited: add the next one.

CREATE TABLE beat_log (
    slot  INTEGER NOT NULL PRIMARY KEY,
    beats BLOB    NOT NULL  -- of the same length in every row
) STRICT;
