#!/usr/bin/env python3
"""What one operation costs a server, of two versions beside each other. See README.md."""

import argparse
import contextlib
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import valgrind
from peer import Peer

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results.jsonl"
# In memory where there is such a place: what a disk costs is not the question.
SHM = Path("/dev/shm")
FOLDER = SHM if SHM.is_dir() else None
ENV = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "LANG": "C", "ONSEMBL_LOG": "warn"}
WATCHES = {"agents": ["*"], "commands": ["*"], "terminals": True, "traces": False}
FEATURES = ["heartbeats", "output-bytes", "output-spool", "output-binary", "command-reports", "stop-latch"]
METRICS = {
    "cpuUsage": 12.5, "memoryUsage": 34.0, "uptime": 56,
    "commandsProcessed": 7, "activeCommands": 1, "averageResponseTime": 0,
}


class Server:
    """A server of one version, with a user, over a folder of its own."""

    def __init__(self, binaries, callgrind):
        self.binaries = binaries
        self.folder = Path(tempfile.mkdtemp(prefix="onsembl-compare-", dir=FOLDER))
        self.counts = self.folder / "callgrind.out"
        words, env, first = [], ENV, None
        if callgrind:
            words, first = [*valgrind.WORDS, f"--callgrind-out-file={self.counts}"], valgrind.without_auxv
            # Threads that wait for each other spin a little, and how long is chance.
            env = {**ENV, "TOKIO_WORKER_THREADS": "1"}
        words += [binaries / "onsembl-server", "serve", "--listen", "127.0.0.1:0", "--data", self.folder / "data"]
        self.errors = open(self.folder / "stderr", "w")
        self.process = subprocess.Popen(
            words, stdout=subprocess.PIPE, stderr=self.errors, env=env, text=True, preexec_fn=first
        )
        host, port = self.process.stdout.readline().strip().rsplit(":", 1)
        self.url, self.target = f"http://{host}:{port}", (host, int(port))
        self.tokens = {kind: self.token(kind) for kind in ("agent", "dashboard")}

    def token(self, kind):
        words = [self.binaries / "onsembl-server", "token", "--user", "ann", "--kind", kind, "--data", self.folder / "data"]
        return subprocess.run(words, env=ENV, capture_output=True, text=True, check=True).stdout.strip()

    def end(self):
        self.process.terminate()
        self.process.wait(60)
        self.errors.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def spent(self):
        return cpu_seconds(self.process.pid)


def cpu_seconds(pid):
    """User and system time of a process with all its threads, in nanoseconds' steps."""
    return time.clock_gettime((~pid << 3) | 2)


def agent(server, name):
    """An agent that does what ours does, and costs nothing to speak of."""
    peer = Peer(server.target, "/ws/agent", server.tokens["agent"])
    extensions = {
        "features": FEATURES, "agentKey": f"key-of-{name}", "instance": f"instance-of-{name}",
        "journal": f"journal-of-{name}", "maxParallel": 10000,
    }
    peer.say("AGENT_CONNECT", {
        "agentId": f"key-of-{name}", "name": name, "agentType": "CUSTOM", "version": "0.1.0", "hostMachine": "bench",
        "capabilities": {"maxTokens": 0, "supportsInterrupt": True, "supportsTrace": False}, "extensions": extensions,
    })
    return peer, peer.hear("ACK")["agentId"]


def dashboard(server, *more):
    peer = Peer(server.target, "/ws/dashboard", server.tokens["dashboard"])
    features = ["output-bytes", "output-spool", "output-replay", "stop-latch", *more]
    peer.say("DASHBOARD_INIT", {"subscriptions": WATCHES, "extensions": {"features": features}})
    peer.hear("ACK")
    return peer


def opened(ada, board, agent_id, command):
    """A command that runs."""
    board.say("COMMAND_REQUEST", {
        "agentId": agent_id, "commandId": command, "command": "true", "args": [], "env": {}, "type": "NATURAL",
        "priority": 5, "executionConstraints": {"timeLimitMs": 3600000, "maxRetries": 1},
    })
    ada.hear("COMMAND_REQUEST", lambda p: p["commandId"] == command)
    ada.say("COMMAND_ACK", {"commandId": command, "agentId": agent_id, "status": "EXECUTING"})
    board.hear("COMMAND_STATUS", lambda p: p["commandId"] == command and p["status"] == "running")


class Chunks:
    """Output of one agent, watched by one dashboard. Each piece is stored and shown before the next one
    goes out, or this many are under way at once."""

    def __init__(self, size, window=1, others=0, features=()):
        self.size, self.window, self.others, self.sequence = size, window, others, 0
        self.features = features

    def begin(self, server, seed):
        self.bytes = random.Random(seed).randbytes(self.size)
        self.ada, self.id = agent(server, "ada")
        self.board = dashboard(server, *self.features)
        for n in range(self.others):
            opened(self.ada, self.board, self.id, f"other-{n}")
        opened(self.ada, self.board, self.id, "writes")

    def run(self, count):
        for _ in range(0, count, self.window):
            for _ in range(self.window):
                self.sequence += 1
                offset = (self.sequence - 1) * self.size
                self.ada.output("writes", 1, self.sequence, offset, self.bytes)
            stored = self.sequence * self.size
            self.ada.hear("OUTPUT_ACK", lambda p: p["offset"] >= stored)
            self.board.hear("TERMINAL_STREAM", lambda p: p["sequence"] >= self.sequence)
        return self.window * -(-count // self.window)

    def end(self):
        self.ada.close()
        self.board.close()


class Beats:
    """Heartbeats of one agent with figures, each recorded and answered before the next."""

    def begin(self, server, seed):
        self.ada, self.id = agent(server, "ada")
        self.sequence = 0
        self.heard = self.ada.hear("SERVER_HEARTBEAT")["sequence"]

    def run(self, count):
        for _ in range(count):
            self.sequence += 1
            self.ada.say("AGENT_HEARTBEAT", {
                "agentId": self.id, "healthMetrics": METRICS, "sequence": self.sequence,
                "seen": {"sequence": self.heard, "ageMs": 1},
            })
            answer = self.ada.hear("SERVER_HEARTBEAT", lambda p: p.get("recorded", {}).get("sequence", 0) >= self.sequence)
            self.heard = answer["sequence"]
        return count

    def end(self):
        self.ada.close()


class Exec:
    """`exec AGENT -- true` of the command line, over our own agent."""

    def begin(self, server, seed):
        self.server = server
        self.agent = subprocess.Popen(
            [server.binaries / "onsembl-agent", "run", "--server", server.url, "--name", "ada",
             "--state-dir", server.folder / "agent"],
            env={**ENV, "ONSEMBL_TOKEN": server.tokens["agent"]}, stdin=subprocess.DEVNULL, stderr=server.errors,
        )
        board = dashboard(server)
        board.hear("AGENT_STATUS", lambda p: p["status"] == "online")
        board.close()
        self.run(5)

    def run(self, count):
        words = [self.server.binaries / "onsembl-server", "exec", "--server", self.server.url, "ada", "--", "true"]
        env = {**ENV, "ONSEMBL_TOKEN": self.server.tokens["dashboard"]}
        for _ in range(count):
            subprocess.run(words, env=env, check=True, stdin=subprocess.DEVNULL)
        return count

    def end(self):
        self.agent.terminate()
        self.agent.wait(30)

    def spent(self):
        return cpu_seconds(self.agent.pid)


# The operation, and how often it is done: under callgrind, and in a round.
OPERATIONS = {
    "exec-true": (Exec, 100, 200),
    "chunk-100": (lambda: Chunks(100), 500, 3000),
    "chunk-4096": (lambda: Chunks(4096), 500, 2000),
    "chunk-100-by-16": (lambda: Chunks(100, 16), 1600, 16000),
    "chunk-4096-by-16": (lambda: Chunks(4096, 16), 1600, 8000),
    "chunk-100-by-16-binary": (lambda: Chunks(100, 16, features=["output-binary"]), 1600, 16000),
    "chunk-4096-by-16-binary": (lambda: Chunks(4096, 16, features=["output-binary"]), 1600, 8000),
    "chunk-100-of-1000-open": (lambda: Chunks(100, 1, 1000), 500, 2000),
    "beat": (Beats, 500, 3000),
}


@contextlib.contextmanager
def running(version, operation, seed, callgrind):
    server = Server(version["binaries"], callgrind)
    try:
        operation.begin(server, seed)
        yield server
        operation.end()
    finally:
        server.end()


def instructions(version, name, seed, keep):
    make, count, _ = OPERATIONS[name]
    operation = make()
    began = time.monotonic()
    with running(version, operation, seed, callgrind=True) as server:
        operation.run(32)
        valgrind.zero(server.process.pid)
        done = operation.run(count)
        total, where = valgrind.dump(server.process.pid, server.counts)
        if keep:
            shutil.copy(where, f"{keep}/{name}-{version['commit']}.callgrind")
    record(version, seed, began, f"{name}/instructions", total / done)
    return total / done


def seconds(version, name, seed):
    make, _, count = OPERATIONS[name]
    operation = make()
    began = time.monotonic()
    with running(version, operation, seed, callgrind=False) as server:
        operation.run(32)
        agent_before = operation.spent() if isinstance(operation, Exec) else 0
        before = server.spent()
        done = operation.run(count)
        spent = (server.spent() - before) / done * 1e6
        record(version, seed, began, f"{name}/server-cpu-us", spent)
        figures = {name: spent}
        if isinstance(operation, Exec):
            figures[f"{name}, agent"] = (operation.spent() - agent_before) / done * 1e6
            record(version, seed, began, f"{name}/agent-cpu-us", figures[f"{name}, agent"])
    return figures


def record(version, seed, began, metric, value):
    line = {
        "commit": version["commit"], "seed": seed, "seconds": round(time.monotonic() - began, 2),
        "metric": metric, "value": round(value, 2),
    }
    with open(RESULTS, "a") as file:
        file.write(json.dumps(line) + "\n")


def compare_instructions(versions, names, seed, keep):
    print(f"{'instructions of the server':<28} {'before':>12} {'after':>12} {'ratio':>7}")
    for name in names:
        before, after = (instructions(version, name, seed, keep) for version in versions)
        print(f"{name:<28} {before:>12.0f} {after:>12.0f} {after / before:>7.3f}", flush=True)


def compare_seconds(versions, names, seed, rounds):
    print(f"{'CPU time, us; median (spread)':<28} {'before':>24} {'after':>24} {'ratio':>7}")
    for name in names:
        figures = [{}, {}]
        for n in range(rounds):
            # Who goes first changes from round to round.
            for which in (0, 1) if n % 2 == 0 else (1, 0):
                for metric, value in seconds(versions[which], name, seed + n).items():
                    figures[which].setdefault(metric, []).append(value)
        for metric in figures[0]:
            before, after = (each[metric] for each in figures)
            ratio = statistics.median(after) / statistics.median(before)
            print(f"{metric:<28} {spread(before):>24} {spread(after):>24} {ratio:>7.3f}", flush=True)


def spread(values):
    return f"{statistics.median(values):.1f} ({min(values):.1f}-{max(values):.1f})"


def main():
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("before", help="COMMIT=FOLDER with the binaries of the version before")
    words.add_argument("after", help="COMMIT=FOLDER with those of the version after")
    words.add_argument("--what", choices=["instructions", "seconds", "both"], default="both")
    words.add_argument("--only", action="append", choices=OPERATIONS, help="one operation; may be said again")
    words.add_argument("--rounds", type=int, default=7)
    words.add_argument("--seed", type=int, default=1)
    words.add_argument("--keep", help="a folder for callgrind's files")
    asked = words.parse_args()
    versions = []
    for word in (asked.before, asked.after):
        commit, _, folder = word.partition("=")
        versions.append({"commit": commit, "binaries": Path(folder).resolve()})
    names = asked.only or list(OPERATIONS)
    if asked.what in ("instructions", "both"):
        compare_instructions(versions, names, asked.seed, asked.keep)
    if asked.what in ("seconds", "both"):
        compare_seconds(versions, names, asked.seed, asked.rounds)


if __name__ == "__main__":
    sys.exit(main())
