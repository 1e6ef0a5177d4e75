-- When a hold of a keyboard had ended at the latest, of one that ended with a server that could not say when.
-- A migration that was released is never edited: add the next one.

ALTER TABLE keyboard_holds ADD COLUMN ended_by INTEGER;  -- NULL while it lasts, or where `ended_at` says when
