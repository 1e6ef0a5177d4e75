-- Who held the keyboard of a terminal, from when to when, and how many bytes were typed. Which, is written nowhere.
-- A migration that was released is never edited: add the next one.

CREATE TABLE keyboard_holds (
    user_id     TEXT    NOT NULL,
    command_id  TEXT    NOT NULL,  -- the terminal
    hold        TEXT    NOT NULL,
    name        TEXT    NOT NULL,  -- who, in the words of that dashboard
    since       INTEGER NOT NULL,
    ended_at    INTEGER,           -- NULL while it lasts, or where the server ended with it
    because     TEXT,
    bytes       INTEGER NOT NULL,  -- passed to the agent
    unconfirmed INTEGER NOT NULL,  -- of which it is not known that they came into the terminal
    PRIMARY KEY (user_id, command_id, hold)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER usage_hold_added AFTER INSERT ON keyboard_holds BEGIN
    INSERT INTO usage (user_id, commands) VALUES (NEW.user_id, 1024)
    ON CONFLICT (user_id) DO UPDATE SET commands = commands + excluded.commands;
END;

CREATE TRIGGER usage_hold_removed AFTER DELETE ON keyboard_holds BEGIN
    UPDATE usage SET commands = commands - 1024 WHERE user_id = OLD.user_id;
END;
