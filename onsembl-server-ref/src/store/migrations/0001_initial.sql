-- The first schema. Times are milliseconds since the Unix epoch; JSON is kept as text.
-- A migration that was released is never edited: add the next one.

CREATE TABLE meta (
    key   TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
) STRICT;

-- An agent and the projection of its latest presence event.
CREATE TABLE agents (
    agent_id         TEXT    NOT NULL PRIMARY KEY,
    user_id          TEXT    NOT NULL,
    agent_key        TEXT    NOT NULL,
    name             TEXT    NOT NULL,
    agent_type       TEXT    NOT NULL,
    version          TEXT,
    host             TEXT,
    capabilities     TEXT    NOT NULL,
    epoch            INTEGER NOT NULL,
    status           TEXT    NOT NULL,
    since            INTEGER NOT NULL,
    because          TEXT    NOT NULL,
    presence_version INTEGER NOT NULL,
    last_heartbeat   INTEGER,
    last_metrics     TEXT,
    created_at       INTEGER NOT NULL,
    deleted_at       INTEGER,
    UNIQUE (user_id, agent_key)
) STRICT;

-- Client ids under which existing wrappers know an agent.
CREATE TABLE agent_aliases (
    user_id  TEXT NOT NULL,
    alias    TEXT NOT NULL,
    agent_id TEXT NOT NULL REFERENCES agents (agent_id),
    PRIMARY KEY (user_id, alias)
) STRICT;

-- Append-only: why an agent was shown as it was.
CREATE TABLE presence_events (
    agent_id TEXT    NOT NULL REFERENCES agents (agent_id),
    version  INTEGER NOT NULL,
    epoch    INTEGER NOT NULL,
    status   TEXT    NOT NULL,
    because  TEXT    NOT NULL,
    evidence TEXT    NOT NULL,
    at       INTEGER NOT NULL,
    PRIMARY KEY (agent_id, version)
) STRICT;

CREATE TABLE sessions (
    session_id     TEXT    NOT NULL PRIMARY KEY,
    agent_id       TEXT    NOT NULL REFERENCES agents (agent_id),
    epoch          INTEGER NOT NULL,
    instance       TEXT,
    peer           TEXT    NOT NULL,
    opened_at      INTEGER NOT NULL,
    closed_at      INTEGER,
    closed_because TEXT
) STRICT;

CREATE INDEX sessions_left_open ON sessions (session_id) WHERE closed_at IS NULL;

CREATE TABLE commands (
    user_id    TEXT    NOT NULL,
    command_id TEXT    NOT NULL,
    agent_id   TEXT    NOT NULL REFERENCES agents (agent_id),
    text       TEXT    NOT NULL,
    spec       TEXT    NOT NULL,
    status     TEXT    NOT NULL,
    cause      TEXT,
    exit_code  INTEGER,
    signal     INTEGER,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    ended_at   INTEGER,
    PRIMARY KEY (user_id, command_id)
) STRICT;

CREATE INDEX commands_not_ended ON commands (created_at) WHERE ended_at IS NULL;

CREATE TABLE output_chunks (
    user_id     TEXT    NOT NULL,
    command_id  TEXT    NOT NULL,
    sequence    INTEGER NOT NULL,
    incarnation INTEGER NOT NULL,
    stream      TEXT    NOT NULL CHECK (stream IN ('stdout', 'stderr')),
    offset      INTEGER NOT NULL,
    bytes       BLOB    NOT NULL,
    at          INTEGER NOT NULL,
    PRIMARY KEY (user_id, command_id, incarnation, sequence),
    FOREIGN KEY (user_id, command_id) REFERENCES commands (user_id, command_id)
) STRICT;

CREATE TABLE revoked_tokens (
    token_id   TEXT    NOT NULL PRIMARY KEY,
    revoked_at INTEGER NOT NULL,
    note       TEXT    NOT NULL
) STRICT;
