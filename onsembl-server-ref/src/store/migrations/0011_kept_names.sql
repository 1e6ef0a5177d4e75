-- The names for which tokens were made: each session looks whether its name is kept for another.
CREATE INDEX tokens_of_agents ON tokens (user_id, agent_name) WHERE agent_name IS NOT NULL;
