-- What the agents of each user take of the disk: their rows, their sessions, their presence events and what they told of
-- their absences. Kept like the
-- other sums of `usage`, by the transaction that changes it.
-- A migration that was released is never edited: add the next one.

ALTER TABLE usage ADD COLUMN agents INTEGER NOT NULL DEFAULT 0;

INSERT INTO usage (user_id, agents)
SELECT user_id, sum(1024 + octet_length(name) + octet_length(capabilities)
                    + coalesce(octet_length(host), 0))
FROM agents WHERE true GROUP BY user_id
ON CONFLICT (user_id) DO UPDATE SET agents = agents + excluded.agents;

INSERT INTO usage (user_id, agents)
SELECT user_id, sum(512 + octet_length(peer)) FROM sessions JOIN agents USING (agent_id)
WHERE true GROUP BY user_id
ON CONFLICT (user_id) DO UPDATE SET agents = agents + excluded.agents;

INSERT INTO usage (user_id, agents)
SELECT user_id, sum(256 + octet_length(presence_events.because) + octet_length(evidence))
FROM presence_events JOIN agents USING (agent_id) WHERE true GROUP BY user_id
ON CONFLICT (user_id) DO UPDATE SET agents = agents + excluded.agents;

CREATE TRIGGER usage_agent_added AFTER INSERT ON agents BEGIN
    INSERT INTO usage (user_id, agents)
    VALUES (NEW.user_id, 1024 + octet_length(NEW.name) + octet_length(NEW.capabilities)
                         + coalesce(octet_length(NEW.host), 0))
    ON CONFLICT (user_id) DO UPDATE SET agents = agents + excluded.agents;
END;

CREATE TRIGGER usage_agent_changed AFTER UPDATE OF name, capabilities, host ON agents BEGIN
    UPDATE usage
    SET agents = agents
        + octet_length(NEW.name) + octet_length(NEW.capabilities)
        + coalesce(octet_length(NEW.host), 0)
        - octet_length(OLD.name) - octet_length(OLD.capabilities)
        - coalesce(octet_length(OLD.host), 0)
    WHERE user_id = NEW.user_id;
END;

-- What is stored of an agent is removed before it.
CREATE TRIGGER usage_agent_removed AFTER DELETE ON agents BEGIN
    UPDATE usage
    SET agents = agents - 1024 - octet_length(OLD.name) - octet_length(OLD.capabilities)
                 - coalesce(octet_length(OLD.host), 0)
    WHERE user_id = OLD.user_id;
END;

CREATE TRIGGER usage_session_added AFTER INSERT ON sessions BEGIN
    UPDATE usage SET agents = agents + 512 + octet_length(NEW.peer)
    WHERE user_id = (SELECT user_id FROM agents WHERE agent_id = NEW.agent_id);
END;

CREATE TRIGGER usage_session_removed AFTER DELETE ON sessions BEGIN
    UPDATE usage SET agents = agents - 512 - octet_length(OLD.peer)
    WHERE user_id = (SELECT user_id FROM agents WHERE agent_id = OLD.agent_id);
END;

CREATE TRIGGER usage_presence_added AFTER INSERT ON presence_events BEGIN
    UPDATE usage
    SET agents = agents + 256 + octet_length(NEW.because) + octet_length(NEW.evidence)
    WHERE user_id = (SELECT user_id FROM agents WHERE agent_id = NEW.agent_id);
END;

CREATE TRIGGER usage_presence_removed AFTER DELETE ON presence_events BEGIN
    UPDATE usage
    SET agents = agents - 256 - octet_length(OLD.because) - octet_length(OLD.evidence)
    WHERE user_id = (SELECT user_id FROM agents WHERE agent_id = OLD.agent_id);
END;

-- What a message replaces is removed by a statement of its own, since a conflict that replaces fires no trigger.
CREATE TRIGGER usage_findings_added AFTER INSERT ON findings BEGIN
    UPDATE usage SET agents = agents + 128 + octet_length(NEW.told)
    WHERE user_id = (SELECT user_id FROM agents WHERE agent_id = NEW.agent_id);
END;

CREATE TRIGGER usage_findings_removed AFTER DELETE ON findings BEGIN
    UPDATE usage SET agents = agents - 128 - octet_length(OLD.told)
    WHERE user_id = (SELECT user_id FROM agents WHERE agent_id = OLD.agent_id);
END;
