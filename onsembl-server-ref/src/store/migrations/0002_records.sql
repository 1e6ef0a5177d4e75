-- Records instead of chunks, what they add up to, and commands in the order in which they are
-- listed. Times are milliseconds since the Unix epoch.
-- A migration that was released is never edited: add the next one.

-- The records of one stream follow one another without hole or overlap. A gap has no bytes; without
-- a length it is open, and the last of its stream. Where a gap has the number of the chunk that
-- showed it, it comes first by its offset.
CREATE TABLE output_records (
    user_id     TEXT    NOT NULL,
    command_id  TEXT    NOT NULL,
    incarnation INTEGER NOT NULL,
    sequence    INTEGER NOT NULL,
    stream      TEXT    NOT NULL CHECK (stream IN ('stdout', 'stderr', 'terminal')),
    offset      INTEGER NOT NULL,
    bytes       BLOB,
    gap_length  INTEGER CHECK (gap_length >= 0),
    gap_because TEXT,
    at          INTEGER NOT NULL,
    PRIMARY KEY (user_id, command_id, incarnation, sequence, offset, stream),
    FOREIGN KEY (user_id, command_id) REFERENCES commands (user_id, command_id),
    CHECK ((bytes IS NULL) = (gap_because IS NOT NULL)),
    CHECK (gap_length IS NULL OR bytes IS NULL)
) STRICT;

INSERT INTO output_records
SELECT user_id, command_id, incarnation, sequence, stream, offset, bytes, NULL, NULL, at
FROM output_chunks;

-- Until now a chunk from behind a hole was taken as it was.
INSERT INTO output_records
SELECT user_id, command_id, incarnation, sequence, stream, begin, NULL, offset - begin,
       'never-came', at
FROM (SELECT user_id, command_id, incarnation, sequence, stream, offset, at,
             coalesce(max(offset + length(bytes)) OVER (
                 PARTITION BY user_id, command_id, incarnation, stream
                 ORDER BY offset, sequence
                 ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS begin
      FROM output_chunks)
WHERE offset > begin;

DROP TABLE output_chunks;

CREATE INDEX output_by_place
ON output_records (user_id, command_id, incarnation, stream, offset);

-- What the records of a stream add up to, kept with each of them: next = delivered + gaps.
CREATE TABLE output_streams (
    user_id     TEXT    NOT NULL,
    command_id  TEXT    NOT NULL,
    incarnation INTEGER NOT NULL,
    stream      TEXT    NOT NULL,
    next        INTEGER NOT NULL,  -- everything before it is committed, as bytes or as gap
    delivered   INTEGER NOT NULL,  -- bytes that were ever stored, also those that retention cut
    gaps        INTEGER NOT NULL,  -- bytes in declared gaps, without those of retention
    open_gap    TEXT,              -- why the stream ends with a gap of unknown length
    kept        INTEGER NOT NULL,  -- bytes that are stored now
    oldest_at   INTEGER,           -- when the oldest of them was received
    PRIMARY KEY (user_id, command_id, incarnation, stream)
) STRICT, WITHOUT ROWID;

INSERT INTO output_streams
SELECT user_id, command_id, incarnation, stream,
       max(offset + coalesce(length(bytes), gap_length)),
       sum(coalesce(length(bytes), 0)), sum(coalesce(gap_length, 0)), NULL,
       sum(coalesce(length(bytes), 0)), min(at)
FROM output_records
GROUP BY user_id, command_id, incarnation, stream;

CREATE INDEX output_by_age ON output_streams (oldest_at) WHERE kept > 0;

CREATE INDEX commands_by_time ON commands (user_id, created_at);
CREATE INDEX commands_by_agent ON commands (user_id, agent_id, created_at);
CREATE INDEX commands_by_end ON commands (ended_at) WHERE ended_at IS NOT NULL;
