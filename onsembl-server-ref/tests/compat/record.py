#!/usr/bin/env python3
"""Records what the binaries of one version say and store, as test data for later ones.

    record.py FOLDER_WITH_BINARIES [conversations|databases|recordings]...

Needs Python 3.11 and nothing else. What it writes goes to data/ beside it, and recordings to
onsembl-protocol/tests/recordings. See README.md.
"""
import sys

sys.dont_write_bytecode = True

import asyncio
import signal

from conversations import agent_life, legacy, orders, terminal
from databases import databases
from world import DATA, RECORDINGS, World


async def recordings():
    """What the server recorded of an agent: from how it began, and from a checkpoint."""
    beats = ("--heartbeat-interval", "100ms", "--stale-after", "300ms", "--timeout-after", "600ms", "--resume-window", "5s")
    for name, extra, seconds in (("server-from-origin", beats, 3), ("server-from-checkpoint", (*beats, "--recording", "4096"), 12)):
        async with World(extra=extra) as world:
            tap = await world.tap("agent", "ann")
            ada = await world.agent("ada", "ann", tap)
            await world.id_of("ann", "ada")
            await world.cli("ann", "exec", "ada", "--", "echo hello", check=0)
            await asyncio.sleep(seconds)
            tap.cut()
            await asyncio.sleep(0.1)
            await world.id_of("ann", "ada")
            ada.send_signal(signal.SIGSTOP)
            await asyncio.sleep(1)
            ada.send_signal(signal.SIGCONT)
            await world.id_of("ann", "ada")
            await asyncio.sleep(1)
            _, out, _ = await world.cli("ann", "export", "ada", check=0)
            (RECORDINGS / f"{name}.jsonl").write_bytes(out)


async def main():
    parts = sys.argv[2:] or ["conversations", "databases", "recordings"]
    (DATA / "conversations").mkdir(parents=True, exist_ok=True)
    (DATA / "databases").mkdir(parents=True, exist_ok=True)
    if "conversations" in parts:
        for part in (agent_life, orders, terminal, legacy):
            await part()
    if "databases" in parts:
        await databases()
    if "recordings" in parts:
        await recordings()


asyncio.run(main())
