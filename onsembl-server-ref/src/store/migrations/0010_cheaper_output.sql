-- A record of output changes the sums of its stream, and no index: by which output is cut, it is found by the age of the
-- oldest that is there, which a record changes only if it is the first.
-- A migration that was released is never edited: add the next one.

-- So that "has an oldest" and "has bytes" are the same. Streams of the first schemas may have gaps only.
UPDATE output_streams SET oldest_at = NULL WHERE kept = 0 AND oldest_at IS NOT NULL;
UPDATE output_streams SET oldest_at = 0 WHERE kept > 0 AND oldest_at IS NULL;

DROP INDEX output_by_age;
DROP INDEX output_of_user;
CREATE INDEX output_by_age ON output_streams (oldest_at) WHERE oldest_at IS NOT NULL;
CREATE INDEX output_of_user ON output_streams (user_id, oldest_at) WHERE oldest_at IS NOT NULL;
