"""The database that is filled, its content in the schemas before, and what the version says over each."""

import asyncio
import json
import shutil
import sqlite3
import subprocess
import tempfile
import time
from pathlib import Path

from tap import Peer
from world import (
    BINARIES, DATA, ENV, ROOT, SPEAKS, TALKS, WAITS, World, ends, page, request, wrapper, wrapper_hello, wrapper_output,
)


async def fill(world):
    """Everything that a database can hold of what a server does, with little of each."""
    tokens, web = world.tokens, world.web
    board = await page(world)
    ada = await world.agent("ada", "ann")
    await world.agent("tess", "ann", None, ["--runner", "terminal", "--", "/bin/sh", "-c", TALKS])
    ada_id, tess_id = await world.id_of("ann", "ada"), await world.id_of("ann", "tess")

    async def run(command, agent, text, how, **more):
        board.send("COMMAND_REQUEST", request(agent, command, text, **more), command)
        await ends(board, command, how)

    await run("cut", ada_id, "head -c 3000 /dev/zero | tr '\\0' x", "completed")
    await run("completed", ada_id, SPEAKS, "completed")
    await run("failed", ada_id, "printf 'no\\n' >&2; exit 3", "failed")
    await run("signalled", ada_id, "kill -9 $$", "failed")
    await run("bytes", ada_id, "printf 'a\\377\\000b'", "completed", args=["x"], env={"A": "b"}, workingDirectory="/")
    await run("cancelled", ada_id, WAITS, "running")
    await board.expect("TERMINAL_STREAM")
    board.send("COMMAND_CANCEL", {"commandId": "cancelled", "reason": "User cancelled"})
    await ends(board, "cancelled", "cancelled")
    await run("typed", tess_id, "one thing", "completed")
    await run("stopped", ada_id, WAITS, "running")
    await web.plain("ann", "POST", "/api/stop", {"agent": ada_id, "reason": "smoke"})
    await ends(board, "stopped", "cancelled")
    await web.plain("ann", "POST", "/api/release", {"agent": ada_id})
    # Its agent dies without a word, and says after its return what it knows.
    await run("lost", ada_id, WAITS, "running")
    await world.log.quiet(1)
    ada.kill()
    await ada.wait()
    ada = await world.agent("ada", "ann")
    await ends(board, "lost", "lost")
    await world.id_of("ann", "ada")
    ada.terminate()
    await ada.wait()
    await world.id_of("ann", "ada", "offline")
    await run("queued", ada_id, "true", "queued", priority="high", startWithinMs=86400000)

    # A wrapper that knows two ids, an open command, one of unknown end, output of its own.
    tap = await world.tap("wrapper", "ann")
    mock, mock_id = await wrapper(world, tap, "mock-1", name="mock")
    for command in ("unknown", "open"):
        board.send("COMMAND_REQUEST", request(mock_id, command, "say"), command)
        await mock.expect("COMMAND_REQUEST")
        mock.send("TERMINAL_OUTPUT", wrapper_output(command, "mock-1", 1, f"of {command}\n"))
        await board.expect("TERMINAL_STREAM")
    mock.send("TERMINAL_OUTPUT", wrapper_output("mock-1", "mock-1", 2, "by itself\n"))
    await board.expect("TERMINAL_STREAM")

    # An agent that is written by hand, for gaps that ours would never need.
    tap = await world.tap("literal", "ann")
    literal = await Peer.open(tap, "/ws/agent", tokens["ann", "agent"])
    extensions = {
        "features": ["heartbeats", "output-bytes", "output-spool", "command-reports", "command-journal", "stop-latch"],
        "agentKey": "key-literal", "instance": "run-1", "journal": "journal-1", "maxParallel": 9,
    }
    literal.send("AGENT_CONNECT", wrapper_hello("key-literal", name="literal", extensions=extensions), "hello")
    literal_id = (await literal.expect("ACK"))["agentId"]
    literal.send("AGENT_HEARTBEAT", {"agentId": literal_id, "healthMetrics": {"cpuUsage": 12.5, "memoryUsage": 64, "uptime": 100, "commandsProcessed": 3, "activeCommands": 1}, "sequence": 1})
    await literal.expect("SERVER_HEARTBEAT", lambda p: "recorded" in p)

    def said(kind, sequence, offset, stream="STDOUT", **more):
        literal.send(kind, {"commandId": "gaps", "streamType": stream, "sequence": sequence, "offset": offset, "incarnation": 1762080000000, **more})

    board.send("COMMAND_REQUEST", request(literal_id, "gaps", "with gaps"), "gaps")
    await literal.expect("COMMAND_REQUEST")
    literal.send("COMMAND_ACK", {"commandId": "gaps", "status": "EXECUTING"})
    said("TERMINAL_OUTPUT", 1, 0, content="first\n", encoding="utf-8")
    said("TERMINAL_OUTPUT", 3, 10, content="behind a hole\n", encoding="utf-8")
    said("OUTPUT_GAP", 4, 24, because="spool-full", length=100)
    said("TERMINAL_OUTPUT", 5, 124, content="/wA=", encoding="base64")
    said("TERMINAL_OUTPUT", 2, 0, "STDERR", content="warned\n", encoding="utf-8")
    said("OUTPUT_GAP", 6, 7, "STDERR", because="agent-died")
    literal.send("COMMAND_COMPLETE", {"commandId": "gaps", "status": "UNKNOWN", "error": "nobody saw the end", "executionTime": 40})
    await ends(board, "gaps", "unknown")
    # Delivered and started, and open when the server ends.
    for command in ("delivered", "running"):
        board.send("COMMAND_REQUEST", request(literal_id, command, "say"), command)
        await literal.expect("COMMAND_REQUEST")
    literal.send("COMMAND_ACK", {"commandId": "delivered", "status": "QUEUED"})
    literal.send("COMMAND_ACK", {"commandId": "running", "status": "EXECUTING"})
    await ends(board, "running", "running")

    # The other user: a stop of all in force, an agent that is deleted, a token that is revoked.
    await world.agent("bea", "bob")
    bea = await world.id_of("bob", "bea")
    await world.cli("bob", "exec", "bea", "--", "echo bob was here", check=0)
    tap = await world.tap("gone", "bob")
    gone, gone_id = await wrapper(world, tap, "mock-2")
    await gone.close(1000)
    await world.web.plain("bob", "DELETE", f"/api/agents/{gone_id}")
    await world.web.plain("bob", "POST", "/api/stop", {"all": True, "reason": "over the weekend"})
    await world.web.plain("ann", "POST", "/api/stop", {"agent": literal_id, "reason": "a look at it"})
    revoked = world.token("bob", "dashboard")
    words = ["revoke", "--data", world.data, revoked]
    subprocess.run([BINARIES / "onsembl-server", *words], env=ENV, capture_output=True, check=True)
    await world.log.quiet(1)


# What is looked at by the command line too, which takes its time.
LOOKED_AT = ("bytes", "cut", "gaps", "lost", "queued", "unknown")


async def answers(database, name):
    """What this version says over a database, by its pages and by the command line."""
    folder = Path(tempfile.mkdtemp(prefix="onsembl-record-"))
    shutil.copy(database, folder / "onsembl.db")
    entries = [{"recorded_at": int(time.time() * 1000)}]
    async with World(folder) as world:
        # What a start changes is changed by then.
        await asyncio.sleep(1)

        async def cli(user, *words):
            code, out, err = await world.cli(user, *words)
            entry = {"user": user, "words": words, "code": code}
            entry |= {"stdout": out.decode()} if utf8(out) else {"stdout_hex": out.hex()}
            entries.append(entry | {"stderr": err.decode()})

        async def get(user, path):
            status, body = await world.web.plain(user, "GET", path)
            entries.append({"user": user, "path": path, "status": status, "body": body})

        for user in ("ann", "bob"):
            _, listed = await world.web.plain(user, "GET", "/api/commands")
            ids = [c["command_id"] for c in json.loads(listed)["commands"]]
            _, listed = await world.web.plain(user, "GET", "/api/agents")
            agents = {a["name"]: a["agent_id"] for a in json.loads(listed)["agents"]}
            for path in ("/api/agents", "/api/commands", "/api/commands?limit=2", "/readyz"):
                await get(user, path)
            for agent in agents.values():
                for path in (f"/api/agents/{agent}", f"/api/agents/{agent}/audit", f"/api/commands?agent={agent}"):
                    await get(user, path)
            for id in ids:
                await get(user, f"/api/commands/{id}")
                await get(user, f"/api/commands/{id}/output")
            await cli(user, "agents", "--json")
            await cli(user, "commands", "--json", "--limit", "3")
        await cli("ann", "audit", "literal", "--json")
        if name == "0004":
            for id in LOOKED_AT:
                await cli("ann", "commands", id, "--json")
                await cli("ann", "output", id)
            for words in (
                ("agents",), ("commands",), ("commands", "queued"), ("audit", "literal"),
                ("commands", "--agent", "mock", "--json"), ("output", "gaps", "--stream", "stderr"),
                ("control", "ada", "pause"), ("exec", "ada", "--", "true"), ("exec", "literal", "--", "true"),
                ("output", "nothing"), ("commands", "nothing", "--json"),
            ):
                await cli("ann", *words)
            await cli("bob", "commands", "completed", "--json")
        # From here on something changes.
        await cli("ann", "stop", "ada", "--json", "--reason", "recorded")
        await cli("ann", "agents", "--json")
        await cli("ann", "release", "ada")
        if name == "0004":
            await cli("ann", "release", "ada")
            await cli("ann", "stop", "--all", "--json")
            await cli("ann", "release", "--all")
            await cli("bob", "release", "--all")
        await cli("ann", "cancel", "queued")
        # Committed by then.
        await asyncio.sleep(0.5)
        await get("ann", "/api/commands/queued")
        await get("ann", "/api/agents")
    with open(DATA / f"databases/{name}.answers.jsonl", "w") as file:
        for entry in entries:
            file.write(json.dumps(entry, ensure_ascii=False, separators=(",", ":")) + "\n")
    shutil.rmtree(folder)


def utf8(data):
    try:
        data.decode()
        return True
    except UnicodeDecodeError:
        return False


def dump(db, version, path):
    """The database as SQL, which is small and can be read."""
    with open(path, "w") as file:
        # Tables come by their names, not by what they refer to.
        file.write("PRAGMA foreign_keys = OFF;\n")
        for line in db.iterdump():
            file.write(line + "\n")
        file.write(f"PRAGMA user_version = {version};\n")


def older(filled):
    """The same content in the schemas before, as far as they can hold it."""
    migrations = sorted((ROOT / "onsembl-server-ref/src/store/migrations").glob("*.sql"))
    for version in (1, 2, 3):
        db = sqlite3.connect(":memory:")
        for migration in migrations[:version]:
            db.executescript(migration.read_text())
        db.execute("ATTACH ? AS filled", (str(filled),))
        known = {row[0] for row in db.execute("SELECT name FROM main.sqlite_master WHERE type = 'table'")}
        for table in ("meta", "agents", "agent_aliases", "presence_events", "sessions", "commands",
                      "revoked_tokens", "output_records", "output_streams", "stops"):
            if table not in known:
                continue
            columns = ", ".join(row[1] for row in db.execute(f"PRAGMA main.table_info({table})"))
            # Terminals came with the second schema.
            where = " WHERE command_id NOT LIKE 'terminal-%'" if version == 1 and table == "commands" else ""
            db.execute(f"INSERT INTO main.{table} ({columns}) SELECT {columns} FROM filled.{table}{where}")
        if version == 1:
            columns = "user_id, command_id, sequence, incarnation, stream, offset, bytes, at"
            db.execute(
                f"INSERT INTO main.output_chunks ({columns}) SELECT {columns} FROM filled.output_records"
                " WHERE bytes IS NOT NULL AND command_id NOT LIKE 'terminal-%'"
            )
        db.commit()
        db.execute("DETACH filled")
        dump(db, version, DATA / f"databases/000{version}.sql")


def restored(version, folder):
    path = folder / f"000{version}.db"
    db = sqlite3.connect(path)
    db.executescript((DATA / f"databases/000{version}.sql").read_text())
    db.close()
    return path


async def databases():
    filled = DATA / "databases/0004.db"
    async with World() as world:
        await fill(world)
        # Ends in order, with agents in session; then a short run that cuts what is too much.
        await world.down()
        world.extra = ("--keep-bytes", "1000")
        listen = world.address
        for agent in world.agents:
            if agent.returncode is None:
                agent.terminate()
                await agent.wait()
        await world.boot(listen)
        await asyncio.sleep(2)
        await world.down()
        shutil.copy(world.data / "onsembl.db", filled)
        for left in ("-wal", "-shm"):
            if (world.data / f"onsembl.db{left}").exists():
                shutil.copy(world.data / f"onsembl.db{left}", f"{filled}{left}")
    db = sqlite3.connect(filled)
    # Nothing of the machine that it was made on.
    db.execute("UPDATE agents SET host = 'workstation' WHERE host IS NOT NULL")
    db.commit()
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.execute("PRAGMA journal_mode = DELETE")
    db.execute("VACUUM")
    db.close()
    filled.chmod(0o644)
    older(filled)
    await answers(filled, "0004")
    folder = Path(tempfile.mkdtemp(prefix="onsembl-record-"))
    for version in (1, 2, 3):
        await answers(restored(version, folder), f"000{version}")
    shutil.rmtree(folder)
