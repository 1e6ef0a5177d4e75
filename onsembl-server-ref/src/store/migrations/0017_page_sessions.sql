-- Sessions of browsers. Times are milliseconds since the Unix epoch. A migration that was released is never edited: add
-- the next one.

-- The cookie itself is stored nowhere, its SHA-256 is.
CREATE TABLE page_sessions (
    session_id   TEXT    NOT NULL PRIMARY KEY,  -- names it; not secret
    hash         BLOB    NOT NULL UNIQUE,
    user_id      TEXT    NOT NULL,
    opened_by    TEXT,                          -- the token; NULL: the operator, at the terminal of the server
    signed_by    BLOB,                          -- which secret of the server signed that token, if one did
    read_only    INTEGER NOT NULL,
    created_at   INTEGER NOT NULL,
    last_used_at INTEGER NOT NULL,
    until        INTEGER,                       -- when that token expires
    user_agent   TEXT,
    address      TEXT
) STRICT, WITHOUT ROWID;

CREATE INDEX page_sessions_of_user ON page_sessions (user_id, last_used_at);
CREATE INDEX page_sessions_of_token ON page_sessions (opened_by) WHERE opened_by IS NOT NULL;

-- Whoever revokes, and in which program: what a revoked token opened is over.
CREATE TRIGGER page_sessions_of_revoked_token AFTER INSERT ON revoked_tokens BEGIN
    DELETE FROM page_sessions WHERE opened_by = NEW.token_id;
END;
CREATE TRIGGER page_sessions_of_revoked_user AFTER INSERT ON revoked_users BEGIN
    DELETE FROM page_sessions WHERE user_id = NEW.user_id AND created_at <= NEW.made_until;
END;
CREATE TRIGGER page_sessions_of_user_revoked_again AFTER UPDATE ON revoked_users BEGIN
    DELETE FROM page_sessions WHERE user_id = NEW.user_id AND created_at <= NEW.made_until;
END;
