PRAGMA foreign_keys = OFF;
BEGIN TRANSACTION;
CREATE TABLE agent_aliases (
    user_id  TEXT NOT NULL,
    alias    TEXT NOT NULL,
    agent_id TEXT NOT NULL REFERENCES agents (agent_id),
    PRIMARY KEY (user_id, alias)
) STRICT;
INSERT INTO "agent_aliases" VALUES('ann','mock-1','01a225d3-3f32-769a-8365-c6d1d1664709');
INSERT INTO "agent_aliases" VALUES('bob','mock-2','01a225d3-4004-7227-91bb-ae5eb9961b65');
CREATE TABLE agents (
    agent_id         TEXT    NOT NULL PRIMARY KEY,
    user_id          TEXT    NOT NULL,
    agent_key        TEXT    NOT NULL,
    name             TEXT    NOT NULL,
    agent_type       TEXT    NOT NULL,
    version          TEXT,
    host             TEXT,
    capabilities     TEXT    NOT NULL,
    epoch            INTEGER NOT NULL,
    status           TEXT    NOT NULL,
    since            INTEGER NOT NULL,
    because          TEXT    NOT NULL,
    presence_version INTEGER NOT NULL,
    last_heartbeat   INTEGER,
    last_metrics     TEXT,
    created_at       INTEGER NOT NULL,
    deleted_at       INTEGER,
    UNIQUE (user_id, agent_key)
) STRICT;
INSERT INTO "agents" VALUES('01a225d3-3267-775a-856b-562d0c536477','ann','6667267a-47c2-49dd-9f62-3a2b8dfc1bbe','ada','custom','0.1.0','workstation','["interrupt"]',2,'offline',1795930930973,'the agent was stopped on its machine',2097158,1795930930954,'{"activeCommands":0,"commandsProcessed":0,"cpuUsage":88.34484100341797,"memoryUsage":14.0,"uptime":0.015614931}',1795930927719,NULL);
INSERT INTO "agents" VALUES('01a225d3-327c-729e-a1d3-ef519d0e3462','ann','52d18fc1-a109-4611-8a93-6361768ae103','tess','custom','0.1.0','workstation','["interrupt"]',1,'reconnecting',1795930935365,'server restarted',3145732,1795930927770,'{"activeCommands":1,"commandsProcessed":0,"cpuUsage":88.32867431640625,"memoryUsage":14.0,"uptime":0.051136074}',1795930927740,NULL);
INSERT INTO "agents" VALUES('01a225d3-3f32-769a-8365-c6d1d1664709','ann','name:mock','mock','custom','1.0.0','workstation','["interrupt","trace"]',1,'reconnecting',1795930935372,'server restarted',4194310,NULL,NULL,1795930930994,NULL);
INSERT INTO "agents" VALUES('01a225d3-3f5c-756a-8929-88499bd75237','ann','key-literal','literal','custom','1.0.0','workstation','["interrupt","trace"]',1,'reconnecting',1795930935370,'server restarted',5242888,1795930931040,'{"activeCommands":1,"commandsProcessed":3,"cpuUsage":12.5,"memoryUsage":64.0,"uptime":100.0}',1795930931036,NULL);
INSERT INTO "agents" VALUES('01a225d3-3fac-7648-b74d-278eeef8916b','bob','2995b592-75b7-464a-a663-8a490a8f9030','bea','custom','0.1.0','workstation','["interrupt"]',1,'reconnecting',1795930935364,'server restarted',2097156,1795930931122,'{"activeCommands":0,"commandsProcessed":0,"cpuUsage":88.345703125,"memoryUsage":14.0,"uptime":0.011185913}',1795930931116,NULL);
INSERT INTO "agents" VALUES('01a225d3-4004-7227-91bb-ae5eb9961b65','bob','id:mock-2','mock-2','custom','1.0.0','workstation','["interrupt","trace"]',1,'offline',1795930931209,'the agent was stopped on its machine',3145733,NULL,NULL,1795930931204,1795930931213);
CREATE TABLE commands (
    user_id    TEXT    NOT NULL,
    command_id TEXT    NOT NULL,
    agent_id   TEXT    NOT NULL REFERENCES agents (agent_id),
    text       TEXT    NOT NULL,
    spec       TEXT    NOT NULL,
    status     TEXT    NOT NULL,
    cause      TEXT,
    exit_code  INTEGER,
    signal     INTEGER,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    ended_at   INTEGER,
    PRIMARY KEY (user_id, command_id)
) STRICT;
INSERT INTO "commands" VALUES('ann','terminal-01a225d3-3260-77a7-b8d9-84103f12e899','01a225d3-327c-729e-a1d3-ef519d0e3462','/bin/sh','{"agentId":"01a225d3-327c-729e-a1d3-ef519d0e3462","args":[],"command":"/bin/sh","commandId":"terminal-01a225d3-3260-77a7-b8d9-84103f12e899","content":"/bin/sh","executionConstraints":{},"priority":5,"type":"NATURAL","userId":"ann"}','running','the link to the agent is lost; its process may go on',NULL,NULL,1795930927712,1795930935365,NULL);
INSERT INTO "commands" VALUES('ann','cut','01a225d3-3267-775a-856b-562d0c536477','head -c 3000 /dev/zero | tr ''\0'' x','{"agentId":"01a225d3-3267-775a-856b-562d0c536477","args":[],"command":"head -c 3000 /dev/zero | tr ''\\0'' x","commandId":"cut","content":"head -c 3000 /dev/zero | tr ''\\0'' x","executionConstraints":{"maxRetries":1,"timeLimitMs":300000},"priority":"normal","type":"NATURAL","userId":"ann"}','completed','exit code 0',0,NULL,1795930927853,1795930927907,1795930927907);
INSERT INTO "commands" VALUES('ann','completed','01a225d3-3267-775a-856b-562d0c536477','sleep 0.3; printf ''to stdout\n''; sleep 0.3; printf ''to stderr\n'' >&2; sleep 0.3','{"agentId":"01a225d3-3267-775a-856b-562d0c536477","args":[],"command":"sleep 0.3; printf ''to stdout\\n''; sleep 0.3; printf ''to stderr\\n'' >&2; sleep 0.3","commandId":"completed","content":"sleep 0.3; printf ''to stdout\\n''; sleep 0.3; printf ''to stderr\\n'' >&2; sleep 0.3","executionConstraints":{"maxRetries":1,"timeLimitMs":300000},"priority":"normal","type":"NATURAL","userId":"ann"}','completed','exit code 0',0,NULL,1795930927909,1795930928840,1795930928840);
INSERT INTO "commands" VALUES('ann','failed','01a225d3-3267-775a-856b-562d0c536477','printf ''no\n'' >&2; exit 3','{"agentId":"01a225d3-3267-775a-856b-562d0c536477","args":[],"command":"printf ''no\\n'' >&2; exit 3","commandId":"failed","content":"printf ''no\\n'' >&2; exit 3","executionConstraints":{"maxRetries":1,"timeLimitMs":300000},"priority":"normal","type":"NATURAL","userId":"ann"}','failed','exit code 3',3,NULL,1795930928843,1795930928868,1795930928868);
INSERT INTO "commands" VALUES('ann','signalled','01a225d3-3267-775a-856b-562d0c536477','kill -9 $$','{"agentId":"01a225d3-3267-775a-856b-562d0c536477","args":[],"command":"kill -9 $$","commandId":"signalled","content":"kill -9 $$","executionConstraints":{"maxRetries":1,"timeLimitMs":300000},"priority":"normal","type":"NATURAL","userId":"ann"}','failed','ended by signal 9',NULL,9,1795930928870,1795930928893,1795930928893);
INSERT INTO "commands" VALUES('ann','bytes','01a225d3-3267-775a-856b-562d0c536477','printf ''a\377\000b''','{"agentId":"01a225d3-3267-775a-856b-562d0c536477","args":["x"],"command":"printf ''a\\377\\000b''","commandId":"bytes","content":"printf ''a\\377\\000b''","env":{"A":"b"},"executionConstraints":{"maxRetries":1,"timeLimitMs":300000},"priority":"normal","type":"NATURAL","userId":"ann","workingDirectory":"/"}','completed','exit code 0',0,NULL,1795930928896,1795930928924,1795930928924);
INSERT INTO "commands" VALUES('ann','cancelled','01a225d3-3267-775a-856b-562d0c536477','sleep 0.3; printf ''it runs\n''; exec sleep 1000','{"agentId":"01a225d3-3267-775a-856b-562d0c536477","args":[],"command":"sleep 0.3; printf ''it runs\\n''; exec sleep 1000","commandId":"cancelled","content":"sleep 0.3; printf ''it runs\\n''; exec sleep 1000","executionConstraints":{"maxRetries":1,"timeLimitMs":300000},"priority":"normal","type":"NATURAL","userId":"ann"}','cancelled','ended by signal 15: cancelled',NULL,15,1795930928931,1795930929278,1795930929278);
INSERT INTO "commands" VALUES('ann','typed','01a225d3-327c-729e-a1d3-ef519d0e3462','one thing','{"agentId":"01a225d3-327c-729e-a1d3-ef519d0e3462","args":[],"command":"one thing","commandId":"typed","content":"one thing","executionConstraints":{"maxRetries":1,"timeLimitMs":300000},"priority":"normal","type":"NATURAL","userId":"ann"}','completed','typed into the agent''s terminal',NULL,NULL,1795930929280,1795930929353,1795930929353);
INSERT INTO "commands" VALUES('ann','stopped','01a225d3-3267-775a-856b-562d0c536477','sleep 0.3; printf ''it runs\n''; exec sleep 1000','{"agentId":"01a225d3-3267-775a-856b-562d0c536477","args":[],"command":"sleep 0.3; printf ''it runs\\n''; exec sleep 1000","commandId":"stopped","content":"sleep 0.3; printf ''it runs\\n''; exec sleep 1000","executionConstraints":{"maxRetries":1,"timeLimitMs":300000},"priority":"normal","type":"NATURAL","userId":"ann"}','cancelled','ended by signal 9: cancelled; emergency stop',NULL,9,1795930929358,1795930929428,1795930929428);
INSERT INTO "commands" VALUES('ann','lost','01a225d3-3267-775a-856b-562d0c536477','sleep 0.3; printf ''it runs\n''; exec sleep 1000','{"agentId":"01a225d3-3267-775a-856b-562d0c536477","args":[],"command":"sleep 0.3; printf ''it runs\\n''; exec sleep 1000","commandId":"lost","content":"sleep 0.3; printf ''it runs\\n''; exec sleep 1000","executionConstraints":{"maxRetries":1,"timeLimitMs":300000},"priority":"normal","type":"NATURAL","userId":"ann"}','lost','the agent''s process died while this command ran; one process of it was left and was killed',NULL,NULL,1795930929443,1795930930965,1795930930965);
INSERT INTO "commands" VALUES('ann','queued','01a225d3-3267-775a-856b-562d0c536477','true','{"agentId":"01a225d3-3267-775a-856b-562d0c536477","args":[],"command":"true","commandId":"queued","content":"true","executionConstraints":{"maxRetries":1,"timeLimitMs":300000},"priority":"high","startWithinMs":86400000,"type":"NATURAL","userId":"ann"}','queued','the agent is away; it will say how this ended when it is back',NULL,NULL,1795930930985,1795930935524,NULL);
INSERT INTO "commands" VALUES('ann','unknown','01a225d3-3f32-769a-8365-c6d1d1664709','say','{"agentId":"01a225d3-3f32-769a-8365-c6d1d1664709","args":[],"command":"say","commandId":"unknown","content":"say","executionConstraints":{"maxRetries":1,"timeLimitMs":300000},"priority":"normal","type":"NATURAL","userId":"ann"}','unknown','a legacy agent got its next command; how this one ended is unknown',NULL,NULL,1795930931008,1795930931026,1795930931026);
INSERT INTO "commands" VALUES('ann','open','01a225d3-3f32-769a-8365-c6d1d1664709','say','{"agentId":"01a225d3-3f32-769a-8365-c6d1d1664709","args":[],"command":"say","commandId":"open","content":"say","executionConstraints":{"maxRetries":1,"timeLimitMs":300000},"priority":"normal","type":"NATURAL","userId":"ann"}','running','the link to the agent is lost; its process may go on',NULL,NULL,1795930931022,1795930935372,NULL);
INSERT INTO "commands" VALUES('ann','terminal-01a225d3-3f56-7561-8f08-c8628d704536','01a225d3-3f32-769a-8365-c6d1d1664709','a legacy wrapper','{"agentId":"01a225d3-3f32-769a-8365-c6d1d1664709","args":[],"command":"a legacy wrapper","commandId":"terminal-01a225d3-3f56-7561-8f08-c8628d704536","content":"a legacy wrapper","executionConstraints":{},"priority":5,"type":"NATURAL","userId":"ann"}','running','the link to the agent is lost; its process may go on',NULL,NULL,1795930931030,1795930935372,NULL);
INSERT INTO "commands" VALUES('ann','gaps','01a225d3-3f5c-756a-8929-88499bd75237','with gaps','{"agentId":"01a225d3-3f5c-756a-8929-88499bd75237","args":[],"command":"with gaps","commandId":"gaps","content":"with gaps","executionConstraints":{"maxRetries":1,"timeLimitMs":300000},"priority":"normal","type":"NATURAL","userId":"ann"}','unknown','nobody saw the end',NULL,NULL,1795930931045,1795930931052,1795930931052);
INSERT INTO "commands" VALUES('ann','delivered','01a225d3-3f5c-756a-8929-88499bd75237','say','{"agentId":"01a225d3-3f5c-756a-8929-88499bd75237","args":[],"command":"say","commandId":"delivered","content":"say","executionConstraints":{"maxRetries":1,"timeLimitMs":300000},"priority":"normal","type":"NATURAL","userId":"ann"}','cancelling','the link to the agent is lost; its process may go on',NULL,NULL,1795930931058,1795930935371,NULL);
INSERT INTO "commands" VALUES('ann','running','01a225d3-3f5c-756a-8929-88499bd75237','say','{"agentId":"01a225d3-3f5c-756a-8929-88499bd75237","args":[],"command":"say","commandId":"running","content":"say","executionConstraints":{"maxRetries":1,"timeLimitMs":300000},"priority":"normal","type":"NATURAL","userId":"ann"}','cancelling','the link to the agent is lost; its process may go on',NULL,NULL,1795930931066,1795930935372,NULL);
INSERT INTO "commands" VALUES('bob','cmd-01a225d3-3fd5-72ee-9ae5-2ba933357051','01a225d3-3fac-7648-b74d-278eeef8916b','echo bob was here','{"agentId":"01a225d3-3fac-7648-b74d-278eeef8916b","args":[],"command":"echo bob was here","commandId":"cmd-01a225d3-3fd5-72ee-9ae5-2ba933357051","content":"echo bob was here","executionConstraints":{"timeLimitMs":310000},"offline":"refuse","priority":"normal","type":"NATURAL","userId":"bob"}','completed','exit code 0',0,NULL,1795930931169,1795930931193,1795930931193);
CREATE TABLE meta (
    key   TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
) STRICT;
INSERT INTO "meta" VALUES('created_at','2026-11-29T05:42:07.436Z');
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
INSERT INTO "output_records" VALUES('ann','completed',1795930927925,1,'stdout',0,X'746F207374646F75740A',NULL,NULL,1795930928232);
INSERT INTO "output_records" VALUES('ann','completed',1795930927925,2,'stderr',0,X'746F207374646572720A',NULL,NULL,1795930928534);
INSERT INTO "output_records" VALUES('ann','failed',1795930928856,1,'stderr',0,X'6E6F0A',NULL,NULL,1795930928861);
INSERT INTO "output_records" VALUES('ann','bytes',1795930928910,1,'stdout',0,X'61FF0062',NULL,NULL,1795930928912);
INSERT INTO "output_records" VALUES('ann','cancelled',1795930928956,1,'stdout',0,X'69742072756E730A',NULL,NULL,1795930929261);
INSERT INTO "output_records" VALUES('ann','lost',1795930929458,1,'stdout',0,X'69742072756E730A',NULL,NULL,1795930929762);
INSERT INTO "output_records" VALUES('ann','lost',1795930929458,2,'stdout',8,NULL,NULL,'agent-died',1795930930957);
INSERT INTO "output_records" VALUES('ann','lost',1795930929458,3,'stderr',0,NULL,NULL,'agent-died',1795930930958);
INSERT INTO "output_records" VALUES('ann','unknown',1795930931020,1,'stdout',0,X'6F6620756E6B6E6F776E0A',NULL,NULL,1795930931020);
INSERT INTO "output_records" VALUES('ann','open',1795930931027,1,'stdout',0,X'6F66206F70656E0A',NULL,NULL,1795930931027);
INSERT INTO "output_records" VALUES('ann','terminal-01a225d3-3f56-7561-8f08-c8628d704536',1795930931030,1,'stdout',0,X'627920697473656C660A',NULL,NULL,1795930931030);
INSERT INTO "output_records" VALUES('ann','gaps',1762080000000,1,'stdout',0,X'66697273740A',NULL,NULL,1795930931050);
INSERT INTO "output_records" VALUES('ann','gaps',1762080000000,2,'stdout',6,NULL,4,'never-came',1795930931050);
INSERT INTO "output_records" VALUES('ann','gaps',1762080000000,3,'stdout',10,X'626568696E64206120686F6C650A',NULL,NULL,1795930931050);
INSERT INTO "output_records" VALUES('ann','gaps',1762080000000,4,'stdout',24,NULL,100,'spool-full',1795930931050);
INSERT INTO "output_records" VALUES('ann','gaps',1762080000000,5,'stdout',124,X'FF00',NULL,NULL,1795930931050);
INSERT INTO "output_records" VALUES('ann','gaps',1762080000000,6,'stderr',0,X'7761726E65640A',NULL,NULL,1795930931050);
INSERT INTO "output_records" VALUES('ann','gaps',1762080000000,7,'stderr',7,NULL,NULL,'agent-died',1795930931050);
INSERT INTO "output_records" VALUES('ann','gaps',1762080000000,8,'stdout',126,NULL,NULL,'agent-died',1795930931052);
INSERT INTO "output_records" VALUES('bob','cmd-01a225d3-3fd5-72ee-9ae5-2ba933357051',1795930931178,1,'stdout',0,X'626F622077617320686572650A',NULL,NULL,1795930931186);
INSERT INTO "output_records" VALUES('ann','terminal-01a225d3-3260-77a7-b8d9-84103f12e899',1795930927716,2,'terminal',0,NULL,24,'retention',1795930927824);
INSERT INTO "output_records" VALUES('ann','cut',1795930927888,1,'stdout',0,NULL,3000,'retention',1795930927894);
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
INSERT INTO "output_streams" VALUES('ann','bytes',1795930928910,'stdout',4,4,0,NULL,4,1795930928912);
INSERT INTO "output_streams" VALUES('ann','cancelled',1795930928956,'stdout',8,8,0,NULL,8,1795930929261);
INSERT INTO "output_streams" VALUES('ann','completed',1795930927925,'stderr',10,10,0,NULL,10,1795930928534);
INSERT INTO "output_streams" VALUES('ann','completed',1795930927925,'stdout',10,10,0,NULL,10,1795930928232);
INSERT INTO "output_streams" VALUES('ann','cut',1795930927888,'stdout',3000,3000,0,NULL,0,NULL);
INSERT INTO "output_streams" VALUES('ann','failed',1795930928856,'stderr',3,3,0,NULL,3,1795930928861);
INSERT INTO "output_streams" VALUES('ann','gaps',1762080000000,'stderr',7,7,0,'agent-died',7,1795930931050);
INSERT INTO "output_streams" VALUES('ann','gaps',1762080000000,'stdout',126,22,104,'agent-died',22,1795930931050);
INSERT INTO "output_streams" VALUES('ann','lost',1795930929458,'stderr',0,0,0,'agent-died',0,NULL);
INSERT INTO "output_streams" VALUES('ann','lost',1795930929458,'stdout',8,8,0,'agent-died',8,1795930929762);
INSERT INTO "output_streams" VALUES('ann','open',1795930931027,'stdout',8,8,0,NULL,8,1795930931027);
INSERT INTO "output_streams" VALUES('ann','terminal-01a225d3-3260-77a7-b8d9-84103f12e899',1795930927716,'terminal',24,24,0,NULL,0,NULL);
INSERT INTO "output_streams" VALUES('ann','terminal-01a225d3-3f56-7561-8f08-c8628d704536',1795930931030,'stdout',10,10,0,NULL,10,1795930931030);
INSERT INTO "output_streams" VALUES('ann','unknown',1795930931020,'stdout',11,11,0,NULL,11,1795930931020);
INSERT INTO "output_streams" VALUES('bob','cmd-01a225d3-3fd5-72ee-9ae5-2ba933357051',1795930931178,'stdout',13,13,0,NULL,13,1795930931186);
CREATE TABLE presence_events (
    agent_id TEXT    NOT NULL REFERENCES agents (agent_id),
    version  INTEGER NOT NULL,
    epoch    INTEGER NOT NULL,
    status   TEXT    NOT NULL,
    because  TEXT    NOT NULL,
    evidence TEXT    NOT NULL,
    at       INTEGER NOT NULL,
    PRIMARY KEY (agent_id, version)
) STRICT;
INSERT INTO "presence_events" VALUES('01a225d3-3267-775a-856b-562d0c536477',1048578,1,'online','session opened','{"impairment":null,"last_heard":1795930927742,"link":1,"since":1795930927742,"store":null}',1795930927742);
INSERT INTO "presence_events" VALUES('01a225d3-327c-729e-a1d3-ef519d0e3462',2097154,1,'online','session opened','{"impairment":null,"last_heard":1795930927758,"link":2,"since":1795930927758,"store":null}',1795930927758);
INSERT INTO "presence_events" VALUES('01a225d3-3267-775a-856b-562d0c536477',1048579,1,'reconnecting','link lost: the connection ended without a close frame','{"impairment":null,"last_heard":1795930929762,"link":null,"since":1795930930785,"store":null}',1795930930785);
INSERT INTO "presence_events" VALUES('01a225d3-3267-775a-856b-562d0c536477',1048580,1,'connecting','hello received, session being opened','{"impairment":null,"last_heard":1795930929762,"link":null,"since":1795930930947,"store":null}',1795930930947);
INSERT INTO "presence_events" VALUES('01a225d3-3267-775a-856b-562d0c536477',1048581,2,'online','session opened','{"impairment":null,"last_heard":1795930930950,"link":3,"since":1795930930950,"store":null}',1795930930950);
INSERT INTO "presence_events" VALUES('01a225d3-3267-775a-856b-562d0c536477',1048582,2,'offline','the agent was stopped on its machine','{"impairment":null,"last_heard":1795930930965,"link":null,"since":1795930930973,"store":null}',1795930930973);
INSERT INTO "presence_events" VALUES('01a225d3-3f32-769a-8365-c6d1d1664709',3145732,1,'online','session opened','{"impairment":null,"last_heard":1795930931005,"link":4,"since":1795930931005,"store":null}',1795930931005);
INSERT INTO "presence_events" VALUES('01a225d3-3f5c-756a-8929-88499bd75237',4194310,1,'online','session opened','{"impairment":null,"last_heard":1795930931038,"link":5,"since":1795930931038,"store":null}',1795930931038);
INSERT INTO "presence_events" VALUES('01a225d3-3fac-7648-b74d-278eeef8916b',1048578,1,'online','session opened','{"impairment":null,"last_heard":1795930931119,"link":6,"since":1795930931119,"store":null}',1795930931119);
INSERT INTO "presence_events" VALUES('01a225d3-4004-7227-91bb-ae5eb9961b65',2097156,1,'online','session opened','{"impairment":null,"last_heard":1795930931206,"link":7,"since":1795930931206,"store":null}',1795930931206);
INSERT INTO "presence_events" VALUES('01a225d3-4004-7227-91bb-ae5eb9961b65',2097157,1,'offline','the agent was stopped on its machine','{"impairment":null,"last_heard":1795930931206,"link":null,"since":1795930931209,"store":null}',1795930931209);
INSERT INTO "presence_events" VALUES('01a225d3-3fac-7648-b74d-278eeef8916b',1048579,1,'reconnecting','closed by this side: the server is shutting down; come back (1001)','{"impairment":null,"last_heard":1795930931227,"link":null,"since":1795930935364,"store":null}',1795930935364);
INSERT INTO "presence_events" VALUES('01a225d3-327c-729e-a1d3-ef519d0e3462',2097155,1,'reconnecting','closed by this side: the server is shutting down; come back (1001)','{"impairment":null,"last_heard":1795930929353,"link":null,"since":1795930935365,"store":null}',1795930935365);
INSERT INTO "presence_events" VALUES('01a225d3-3f5c-756a-8929-88499bd75237',4194311,1,'reconnecting','closed by this side: the server is shutting down; come back (1001)','{"impairment":null,"last_heard":1795930931074,"link":null,"since":1795930935370,"store":null}',1795930935370);
INSERT INTO "presence_events" VALUES('01a225d3-3f32-769a-8365-c6d1d1664709',3145733,1,'reconnecting','closed by this side: the server is shutting down; come back (1001)','{"impairment":null,"last_heard":1795930931030,"link":null,"since":1795930935372,"store":null}',1795930935372);
INSERT INTO "presence_events" VALUES('01a225d3-327c-729e-a1d3-ef519d0e3462',3145732,1,'reconnecting','server restarted','{"impairment":null,"last_heard":1795930927770,"link":null,"since":1795930935524,"store":null}',1795930935525);
INSERT INTO "presence_events" VALUES('01a225d3-3f32-769a-8365-c6d1d1664709',4194310,1,'reconnecting','server restarted','{"impairment":null,"last_heard":null,"link":null,"since":1795930935524,"store":null}',1795930935526);
INSERT INTO "presence_events" VALUES('01a225d3-3f5c-756a-8929-88499bd75237',5242888,1,'reconnecting','server restarted','{"impairment":null,"last_heard":1795930931040,"link":null,"since":1795930935524,"store":null}',1795930935526);
INSERT INTO "presence_events" VALUES('01a225d3-3fac-7648-b74d-278eeef8916b',2097156,1,'reconnecting','server restarted','{"impairment":null,"last_heard":1795930931122,"link":null,"since":1795930935524,"store":null}',1795930935526);
CREATE TABLE revoked_tokens (
    token_id   TEXT    NOT NULL PRIMARY KEY,
    revoked_at INTEGER NOT NULL,
    note       TEXT    NOT NULL
) STRICT;
INSERT INTO "revoked_tokens" VALUES('7f679a8c-3152-47a8-a15b-c8f93b60abec',1795930934277,'revoked on the command line');
CREATE TABLE sessions (
    session_id     TEXT    NOT NULL PRIMARY KEY,
    agent_id       TEXT    NOT NULL REFERENCES agents (agent_id),
    epoch          INTEGER NOT NULL,
    instance       TEXT,
    peer           TEXT    NOT NULL,
    opened_at      INTEGER NOT NULL,
    closed_at      INTEGER,
    closed_because TEXT
) STRICT;
INSERT INTO "sessions" VALUES('01a225d3-3267-775a-856b-562c7ef19e4a','01a225d3-3267-775a-856b-562d0c536477',1,'23625849-d72e-4018-ae34-d21d9f51441b','127.0.0.1:59670',1795930927719,1795930930785,'link lost: the connection ended without a close frame');
INSERT INTO "sessions" VALUES('01a225d3-3279-73fe-a3d1-36c27ca16e1f','01a225d3-327c-729e-a1d3-ef519d0e3462',1,'264f016e-f84d-4848-bf76-4cdf75dd8d3e','127.0.0.1:59686',1795930927740,1795930935365,'closed by this side: the server is shutting down; come back (1001)');
INSERT INTO "sessions" VALUES('01a225d3-3f03-71a9-9444-01f328d56879','01a225d3-3267-775a-856b-562d0c536477',2,'a8c0430a-f130-4cae-ba35-6d628c07d279','127.0.0.1:59744',1795930930947,1795930930973,'closed by the peer: the agent was stopped on its machine (4103)');
INSERT INTO "sessions" VALUES('01a225d3-3f32-769a-8365-c6d06f4ac24a','01a225d3-3f32-769a-8365-c6d1d1664709',1,NULL,'127.0.0.1:59780',1795930930994,1795930935372,'closed by this side: the server is shutting down; come back (1001)');
INSERT INTO "sessions" VALUES('01a225d3-3f5b-70d6-a94b-548cfc83eae4','01a225d3-3f5c-756a-8929-88499bd75237',1,'run-1','127.0.0.1:59786',1795930931036,1795930935371,'closed by this side: the server is shutting down; come back (1001)');
INSERT INTO "sessions" VALUES('01a225d3-3fac-7648-b74d-278d5d3896a0','01a225d3-3fac-7648-b74d-278eeef8916b',1,'7d9f121b-b39d-445a-919f-132fdf868ad7','127.0.0.1:59808',1795930931116,1795930935364,'closed by this side: the server is shutting down; come back (1001)');
INSERT INTO "sessions" VALUES('01a225d3-4004-7227-91bb-ae5d448063e9','01a225d3-4004-7227-91bb-ae5eb9961b65',1,NULL,'127.0.0.1:59852',1795930931204,1795930931209,'closed by the peer: normal closure (1000)');
CREATE INDEX sessions_left_open ON sessions (session_id) WHERE closed_at IS NULL;
CREATE INDEX commands_not_ended ON commands (created_at) WHERE ended_at IS NULL;
CREATE INDEX output_by_place
ON output_records (user_id, command_id, incarnation, stream, offset);
CREATE INDEX output_by_age ON output_streams (oldest_at) WHERE kept > 0;
CREATE INDEX commands_by_time ON commands (user_id, created_at);
CREATE INDEX commands_by_agent ON commands (user_id, agent_id, created_at);
CREATE INDEX commands_by_end ON commands (ended_at) WHERE ended_at IS NOT NULL;
COMMIT;
PRAGMA user_version = 2;
