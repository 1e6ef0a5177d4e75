-- By what deleted agents are forgotten.
-- A migration that was released is never edited: add the next one.

-- kept_from: by the clock of retention, when a deleted agent began to age. Of earlier schemas there is none: for
-- those the time of deletion counts.
ALTER TABLE agents ADD COLUMN kept_from INTEGER;

CREATE INDEX agents_deleted ON agents (user_id, coalesce(kept_from, deleted_at))
WHERE deleted_at IS NOT NULL;
CREATE INDEX agents_deleted_by_age ON agents (coalesce(kept_from, deleted_at))
WHERE deleted_at IS NOT NULL;
CREATE INDEX stops_of_agent ON stops (agent_id) WHERE agent_id IS NOT NULL;
