-- What each user takes of the disk, kept by the transaction that changes it, so that no decision needs a
-- scan; and by what history is cut.
-- Times are milliseconds since the Unix epoch. A migration that was released is never edited: add the
-- next one.

-- kept_from: by the clock of retention, which counts observed time, when a row began to age. Rows of
-- earlier schemas have none: for them the time that they show counts.
ALTER TABLE output_records ADD COLUMN kept_from INTEGER;
ALTER TABLE commands ADD COLUMN kept_from INTEGER;
-- When its text, its steps and its output were cut; the row remains, so that it is not run again.
ALTER TABLE commands ADD COLUMN cut_at INTEGER;
-- Chunks and gaps of the stream that are stored now. Of earlier schemas it is estimated.
ALTER TABLE output_streams ADD COLUMN records INTEGER NOT NULL DEFAULT 0;
UPDATE output_streams SET records = 1 + kept / 16384;

CREATE TABLE usage (
    user_id  TEXT    NOT NULL PRIMARY KEY,
    commands INTEGER NOT NULL DEFAULT 0,  -- bytes of commands and their steps
    kept     INTEGER NOT NULL DEFAULT 0,  -- bytes of output
    records  INTEGER NOT NULL DEFAULT 0   -- chunks and gaps of output
) STRICT, WITHOUT ROWID;

INSERT INTO usage (user_id, commands)
SELECT user_id, sum(512 + octet_length(text) + octet_length(spec) + coalesce(octet_length(cause), 0))
FROM commands GROUP BY user_id;

INSERT INTO usage (user_id, commands)
SELECT user_id, sum(128 + octet_length(status) + coalesce(octet_length(cause), 0))
FROM command_events WHERE true GROUP BY user_id
ON CONFLICT (user_id) DO UPDATE SET commands = commands + excluded.commands;

INSERT INTO usage (user_id, kept, records)
SELECT user_id, sum(kept), sum(records) FROM output_streams WHERE true GROUP BY user_id
ON CONFLICT (user_id) DO UPDATE SET kept = excluded.kept, records = excluded.records;

CREATE TRIGGER usage_command_added AFTER INSERT ON commands BEGIN
    INSERT INTO usage (user_id, commands)
    VALUES (NEW.user_id, 512 + octet_length(NEW.text) + octet_length(NEW.spec)
                         + coalesce(octet_length(NEW.cause), 0))
    ON CONFLICT (user_id) DO UPDATE SET commands = commands + excluded.commands;
END;

CREATE TRIGGER usage_command_changed AFTER UPDATE OF text, spec, cause ON commands BEGIN
    UPDATE usage
    SET commands = commands
        + octet_length(NEW.text) + octet_length(NEW.spec) + coalesce(octet_length(NEW.cause), 0)
        - octet_length(OLD.text) - octet_length(OLD.spec) - coalesce(octet_length(OLD.cause), 0)
    WHERE user_id = NEW.user_id;
END;

CREATE TRIGGER usage_command_removed AFTER DELETE ON commands BEGIN
    UPDATE usage
    SET commands = commands - 512 - octet_length(OLD.text) - octet_length(OLD.spec)
                   - coalesce(octet_length(OLD.cause), 0)
    WHERE user_id = OLD.user_id;
END;

CREATE TRIGGER usage_step_added AFTER INSERT ON command_events BEGIN
    UPDATE usage
    SET commands = commands + 128 + octet_length(NEW.status) + coalesce(octet_length(NEW.cause), 0)
    WHERE user_id = NEW.user_id;
END;

CREATE TRIGGER usage_step_removed AFTER DELETE ON command_events BEGIN
    UPDATE usage
    SET commands = commands - 128 - octet_length(OLD.status) - coalesce(octet_length(OLD.cause), 0)
    WHERE user_id = OLD.user_id;
END;

CREATE TRIGGER usage_stream_added AFTER INSERT ON output_streams BEGIN
    UPDATE usage SET kept = kept + NEW.kept, records = records + NEW.records
    WHERE user_id = NEW.user_id;
END;

CREATE TRIGGER usage_stream_changed AFTER UPDATE OF kept, records ON output_streams BEGIN
    UPDATE usage
    SET kept = kept + NEW.kept - OLD.kept, records = records + NEW.records - OLD.records
    WHERE user_id = NEW.user_id;
END;

CREATE TRIGGER usage_stream_removed AFTER DELETE ON output_streams BEGIN
    UPDATE usage SET kept = kept - OLD.kept, records = records - OLD.records
    WHERE user_id = OLD.user_id;
END;

-- The oldest of a user's commands that are over: of those that are whole, and of those that were cut.
CREATE INDEX commands_whole ON commands (user_id, coalesce(kept_from, ended_at))
WHERE ended_at IS NOT NULL AND cut_at IS NULL;
CREATE INDEX commands_cut ON commands (user_id, coalesce(kept_from, ended_at))
WHERE cut_at IS NOT NULL;
CREATE INDEX commands_by_age ON commands (coalesce(kept_from, ended_at)) WHERE ended_at IS NOT NULL;
CREATE INDEX output_of_user ON output_streams (user_id, oldest_at) WHERE kept > 0;
-- What is trimmed for each agent, and of stops.
CREATE INDEX sessions_of_agent ON sessions (agent_id, epoch);
CREATE INDEX stops_released ON stops (user_id, released_at) WHERE released_at IS NOT NULL;
