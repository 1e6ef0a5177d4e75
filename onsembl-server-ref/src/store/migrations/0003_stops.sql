-- Emergency stops. Without an agent it is for all of the user, also for those that come later. In
-- force until it is released. Times are milliseconds since the Unix epoch.
-- A migration that was released is never edited: add the next one.

CREATE TABLE stops (
    user_id     TEXT    NOT NULL,
    stop_id     TEXT    NOT NULL,
    agent_id    TEXT    REFERENCES agents (agent_id),
    reason      TEXT    NOT NULL,
    by          TEXT    NOT NULL,
    at          INTEGER NOT NULL,
    released_at INTEGER,
    released_by TEXT,
    PRIMARY KEY (user_id, stop_id),
    CHECK ((released_at IS NULL) = (released_by IS NULL))
) STRICT, WITHOUT ROWID;

CREATE INDEX stops_in_force ON stops (user_id) WHERE released_at IS NULL;
