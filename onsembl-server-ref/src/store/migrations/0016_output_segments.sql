-- Chunks of output that came together are one row. What was stored before stays where it is and is read from there; so do
-- gaps, and chunks whose number is not higher than those before. Nothing is converted: a large database is opened as fast
-- as a small one.
-- A migration that was released is never edited: add the next one.

-- One chunk or gap in each row.
ALTER TABLE output_records RENAME TO output_singles;

-- What stands for a command in the rows of its output.
CREATE TABLE output_commands (
    number     INTEGER NOT NULL PRIMARY KEY,
    user_id    TEXT    NOT NULL,
    command_id TEXT    NOT NULL,
    UNIQUE (user_id, command_id),
    FOREIGN KEY (user_id, command_id) REFERENCES commands (user_id, command_id)
) STRICT;

-- Chunks of one run of a command, of all its streams, in the order of their numbers, which is that of their offsets in each
-- stream too. The numbers of two segments never overlap.
-- records: JSON, for each chunk [number from that of the first, stream (0 stdout, 1 stderr, 2 terminal), offset, bytes,
-- milliseconds from `at`]; the bytes of all are one behind the other.
CREATE TABLE output_segments (
    segment     INTEGER NOT NULL PRIMARY KEY,
    command     INTEGER NOT NULL REFERENCES output_commands (number),
    incarnation INTEGER NOT NULL,
    sequence    INTEGER NOT NULL,  -- of the first chunk
    last        INTEGER NOT NULL,  -- of the last one
    at          INTEGER NOT NULL,  -- when the first one was received
    kept_from   INTEGER NOT NULL,
    records     TEXT    NOT NULL,
    bytes       BLOB    NOT NULL
) STRICT;

CREATE INDEX output_segments_by_number ON output_segments (command, incarnation, sequence, last);

-- All of it, one record a row: for people.
CREATE VIEW output_records AS
SELECT user_id, command_id, incarnation, sequence, stream, offset, bytes, gap_length, gap_because, at, kept_from
FROM output_singles
UNION ALL
SELECT user_id, command_id, incarnation, sequence + json_extract(record, '$[0]'),
       CASE json_extract(record, '$[1]') WHEN 0 THEN 'stdout' WHEN 1 THEN 'stderr' ELSE 'terminal' END,
       json_extract(record, '$[2]'), substr(bytes, stop - length + 1, length), NULL, NULL,
       at + json_extract(record, '$[4]'), kept_from
FROM (SELECT c.user_id, c.command_id, s.incarnation, s.sequence, s.bytes, s.at, s.kept_from, r.value AS record,
             json_extract(r.value, '$[3]') AS length,
             sum(json_extract(r.value, '$[3]')) OVER (
                 PARTITION BY s.segment ORDER BY r.key) AS stop
      FROM output_segments AS s JOIN output_commands AS c ON c.number = s.command, json_each(s.records) AS r);
