-- What agents found while they were away.
-- A migration that was released is never edited: add the next one.

-- What an agent found while it was away, as it told it when it was back. The number is its own, so that what it tells
-- again replaces what it told before. told: JSON, with ages that count from `at`.
CREATE TABLE findings (
    id       INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    agent_id TEXT    NOT NULL REFERENCES agents (agent_id),
    instance TEXT    NOT NULL,
    number   INTEGER NOT NULL,
    epoch    INTEGER NOT NULL,
    at       INTEGER NOT NULL,
    told     TEXT    NOT NULL,
    UNIQUE (agent_id, instance, number)
) STRICT;
