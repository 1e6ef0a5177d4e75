-- The version of a presence is made of the epoch of its agent and a number within that (PROTOCOL.md, P-62). Before, it was
-- counted on, by 2^20 at each start of a server, and a server that died may have published up to so many more than are
-- stored. So each epoch is raised until all of its versions are greater than any that was published.
-- A migration that was released is never edited: add the next one.

UPDATE agents SET epoch = MAX(epoch, (presence_version >> 20) + 2);
