-- Tokens: what the server knows of each, which agents their lineages hold, and which sessions they opened.
-- Times are milliseconds since the Unix epoch. A migration that was released is never edited: add the
-- next one.

-- A random token is known by a hash; a signed one has none, and is noted when it is first shown. A lineage
-- is named by the id of its first token.
CREATE TABLE tokens (
    token_id   TEXT    NOT NULL PRIMARY KEY,
    user_id    TEXT    NOT NULL,
    kind       TEXT    NOT NULL,
    lineage    TEXT    NOT NULL,
    hash       BLOB,
    agent_name TEXT,               -- the one agent that its lineage is made for
    agent_id   TEXT,               -- that agent, once there is one
    bound_at   INTEGER,            -- its first session with the lineage
    made_at    INTEGER NOT NULL,
    expires_at INTEGER,
    shown_at   INTEGER,            -- when it was last shown, and from where
    shown_from TEXT
) STRICT, WITHOUT ROWID;

CREATE INDEX tokens_of_user ON tokens (user_id, lineage);

-- All tokens of a user that were made until then are revoked, also those that were never shown.
CREATE TABLE revoked_users (
    user_id    TEXT    NOT NULL PRIMARY KEY,
    made_until INTEGER NOT NULL,
    note       TEXT    NOT NULL
) STRICT, WITHOUT ROWID;

-- Who holds an agent: a lineage, and of it the token of the latest session. Nobody yet, of those that only
-- earlier versions knew.
ALTER TABLE agents ADD COLUMN lineage TEXT;
ALTER TABLE agents ADD COLUMN held_by TEXT;
CREATE INDEX agents_of_lineage ON agents (user_id, lineage) WHERE lineage IS NOT NULL;

ALTER TABLE sessions ADD COLUMN token_id TEXT;
CREATE INDEX sessions_of_token ON sessions (token_id, opened_at) WHERE token_id IS NOT NULL;

-- As many ids of an agent's own making as are looked at: the latest eight.
CREATE INDEX aliases_of_agent ON agent_aliases (agent_id);
DELETE FROM agent_aliases WHERE rowid IN (
    SELECT place FROM (
        SELECT rowid AS place,
               row_number() OVER (PARTITION BY agent_id ORDER BY rowid DESC) AS age
        FROM agent_aliases)
    WHERE age > 8);

-- Earlier versions could leave the stop of a deleted agent in force for ever.
UPDATE stops SET released_by = user_id,
                 released_at = (SELECT deleted_at FROM agents WHERE agents.agent_id = stops.agent_id)
WHERE released_at IS NULL
  AND agent_id IN (SELECT agent_id FROM agents WHERE deleted_at IS NOT NULL);
