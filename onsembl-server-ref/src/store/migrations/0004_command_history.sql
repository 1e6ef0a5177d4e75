-- How each command came where it is: every change with its time and cause. And which journal an agent
-- kept in its last session, by which it proves what never started.
-- Times are milliseconds since the Unix epoch. A migration that was released is never edited: add the
-- next one.

CREATE TABLE command_events (
    user_id    TEXT    NOT NULL,
    command_id TEXT    NOT NULL,
    number     INTEGER NOT NULL,
    at         INTEGER NOT NULL,
    status     TEXT    NOT NULL,
    cause      TEXT,
    PRIMARY KEY (user_id, command_id, number),
    FOREIGN KEY (user_id, command_id) REFERENCES commands (user_id, command_id)
) STRICT, WITHOUT ROWID;

INSERT INTO command_events (user_id, command_id, number, at, status, cause)
SELECT user_id, command_id, 1, updated_at, status, cause FROM commands;

ALTER TABLE agents ADD COLUMN journal TEXT;
