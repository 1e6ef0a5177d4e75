"""A server of the version that is recorded, its agents, its command line; and what literal peers say."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tap import PATIENCE, Log, Peer, Tap, Web

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
DATA = HERE / "data"
RECORDINGS = ROOT / "onsembl-protocol/tests/recordings"
BINARIES = Path(sys.argv[1]).resolve()
ENV = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "LANG": "C", "ONSEMBL_LOG": "warn"}


class World:
    """A server over a folder, its agents, and taps between them."""

    def __init__(self, data=None, extra=()):
        self.folder = Path(tempfile.mkdtemp(prefix="onsembl-record-"))
        self.data, self.extra = data or self.folder / "data", extra
        self.log, self.agents = Log(), []

    async def __aenter__(self):
        await self.boot()
        return self

    async def boot(self, listen="127.0.0.1:0"):
        self.server = await asyncio.create_subprocess_exec(
            BINARIES / "onsembl-server", "serve", "--listen", listen, "--data", self.data, *self.extra,
            stdout=subprocess.PIPE, env=ENV,
        )
        address = (await self.server.stdout.readline()).decode().strip()
        host, port = address.rsplit(":", 1)
        self.address, self.target = address, (host, int(port))
        self.tokens = {(u, k): self.token(u, k) for u in ("ann", "bob") for k in ("agent", "dashboard")}
        self.web = Web(self.log, self.target, {u: self.tokens[u, "dashboard"] for u in ("ann", "bob")})

    async def __aexit__(self, *_):
        for agent in self.agents:
            if agent.returncode is None:
                agent.terminate()
                await asyncio.wait_for(agent.wait(), PATIENCE)
        await self.down()
        shutil.rmtree(self.folder)

    async def down(self):
        if self.server.returncode is None:
            self.server.terminate()
            await asyncio.wait_for(self.server.wait(), PATIENCE)

    def token(self, user, kind):
        words = ["token", "--user", user, "--kind", kind, "--data", self.data]
        made = subprocess.run([BINARIES / "onsembl-server", *words], env=ENV, capture_output=True, check=True)
        return made.stdout.decode().strip()

    async def tap(self, name, user):
        return await Tap(self.log, name, user, self.target).start()

    async def agent(self, name, user, tap=None, words=()):
        url = f"http://127.0.0.1:{tap.port}" if tap else f"http://{self.address}"
        agent = await asyncio.create_subprocess_exec(
            BINARIES / "onsembl-agent", "run", "--server", url, "--name", name,
            "--state-dir", self.folder / name, *words,
            env={**ENV, "ONSEMBL_TOKEN": self.tokens[user, "agent"]}, stdin=subprocess.DEVNULL,
        )
        self.agents.append(agent)
        return agent

    async def cli(self, user, *words, tap=None, check=None):
        """The command line against this server: exit code and what it printed."""
        url = f"http://127.0.0.1:{tap.port}" if tap else f"http://{self.address}"
        verb, *rest = words
        cli = await asyncio.create_subprocess_exec(
            BINARIES / "onsembl-server", verb, "--server", url, *rest,
            env={**ENV, "ONSEMBL_TOKEN": self.tokens[user, "dashboard"]},
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )
        out, err = await asyncio.wait_for(cli.communicate(), PATIENCE)
        if check is not None:
            assert cli.returncode == check, (words, cli.returncode, out, err)
        return cli.returncode, out, err

    async def agents_of(self, user):
        _, body = await self.web.plain(user, "GET", "/api/agents")
        return {a["name"]: a for a in json.loads(body)["agents"]}

    async def id_of(self, user, name, status="online"):
        async def look():
            while True:
                agent = (await self.agents_of(user)).get(name)
                if agent and agent["status"] == status:
                    return agent["agent_id"]
                await asyncio.sleep(0.05)

        return await asyncio.wait_for(look(), PATIENCE)

    async def command_is(self, user, command, *wanted):
        async def look():
            while True:
                status, body = await self.web.plain(user, "GET", f"/api/commands/{command}")
                # Of one that is listed, the whole history.
                if status == 200 and json.loads(body)["status"] in wanted:
                    return json.loads(body)
                await asyncio.sleep(0.05)

        return await asyncio.wait_for(look(), PATIENCE)


EVERYTHING = {"agents": ["*"], "commands": ["*"], "terminals": True, "traces": False}
FEATURES = ["output-bytes", "output-spool", "output-replay", "stop-latch"]


async def page(world, user="ann", features=FEATURES):
    """A dashboard with the extensions, written by hand."""
    tap = await world.tap("page", user)
    peer = await Peer.open(tap, "/ws/dashboard", world.tokens[user, "dashboard"], in_query=True)
    peer.send("DASHBOARD_INIT", {"subscriptions": EVERYTHING, "extensions": {"features": features}}, "init")
    await peer.expect("ACK")
    return peer


def request(agent, command, text, **more):
    return {
        "agentId": agent, "commandId": command, "command": text, "args": [], "env": {},
        "type": "NATURAL", "priority": 5,
        "executionConstraints": {"timeLimitMs": 300000, "maxRetries": 1}, **more,
    }


async def ends(peer, command, how):
    return await peer.expect("COMMAND_STATUS", lambda p: p["commandId"] == command and p["status"] == how)


# What a command says, it says one after the other, so that the order in the recording is the only one.
SPEAKS = "sleep 0.3; printf 'to stdout\\n'; sleep 0.3; printf 'to stderr\\n' >&2; sleep 0.3"
WAITS = "sleep 0.3; printf 'it runs\\n'; exec sleep 1000"
TALKS = 'stty -echo; printf "ready\\n"; while read -r line; do printf "heard:$line\\n"; done'


def wrapper_hello(agent, **more):
    return {
        "agentId": agent, "agentType": "CUSTOM", "version": "1.0.0", "hostMachine": "workstation",
        "capabilities": {"maxTokens": 0, "supportsInterrupt": True, "supportsTrace": True}, **more,
    }


def wrapper_output(command, agent, sequence, content, stream="STDOUT"):
    return {"commandId": command, "agentId": agent, "streamType": stream, "content": content, "sequence": sequence}


async def wrapper(world, tap, own, path="/ws/agent", **more):
    peer = await Peer.open(tap, path, world.tokens[tap.user, "agent"])
    peer.send("AGENT_CONNECT", wrapper_hello(own, **more), "connect-1762080000123")
    return peer, (await peer.expect("ACK"))["agentId"]
