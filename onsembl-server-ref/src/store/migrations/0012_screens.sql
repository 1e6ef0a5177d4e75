-- What the screens of terminals are built from besides their output: sizes, and keyframes, so that no screen needs all of
-- the output before it. Both count for their user with the commands, and go with the output.
-- A migration that was released is never edited: add the next one.

-- From where in its output a terminal has which size.
CREATE TABLE screen_sizes (
    user_id     TEXT    NOT NULL,
    command_id  TEXT    NOT NULL,
    incarnation INTEGER NOT NULL,
    offset      INTEGER NOT NULL,
    columns     INTEGER NOT NULL,
    rows        INTEGER NOT NULL,
    PRIMARY KEY (user_id, command_id, incarnation, offset)
) STRICT, WITHOUT ROWID;

-- What brings a fresh terminal to the screen behind a record.
CREATE TABLE screen_keyframes (
    user_id     TEXT    NOT NULL,
    command_id  TEXT    NOT NULL,
    incarnation INTEGER NOT NULL,
    offset      INTEGER NOT NULL,  -- of the terminal's stream: the end of the record
    sequence    INTEGER NOT NULL,  -- of the record
    columns     INTEGER NOT NULL,
    rows        INTEGER NOT NULL,
    whole       INTEGER NOT NULL,  -- whether all is drawn that was written
    dump        BLOB    NOT NULL,
    PRIMARY KEY (user_id, command_id, incarnation, offset)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER usage_size_added AFTER INSERT ON screen_sizes BEGIN
    INSERT INTO usage (user_id, commands) VALUES (NEW.user_id, 128)
    ON CONFLICT (user_id) DO UPDATE SET commands = commands + excluded.commands;
END;

CREATE TRIGGER usage_size_removed AFTER DELETE ON screen_sizes BEGIN
    UPDATE usage SET commands = commands - 128 WHERE user_id = OLD.user_id;
END;

CREATE TRIGGER usage_keyframe_added AFTER INSERT ON screen_keyframes BEGIN
    INSERT INTO usage (user_id, commands) VALUES (NEW.user_id, 256 + length(NEW.dump))
    ON CONFLICT (user_id) DO UPDATE SET commands = commands + excluded.commands;
END;

CREATE TRIGGER usage_keyframe_removed AFTER DELETE ON screen_keyframes BEGIN
    UPDATE usage SET commands = commands - 256 - length(OLD.dump) WHERE user_id = OLD.user_id;
END;
