"""The measurements of `.ci/guard`, and what they are held against."""

import json
import re
import socket
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BASELINE = ROOT / "benches/guard.json"
sys.path.insert(0, str(ROOT / "benches/compare"))
import valgrind  # noqa: E402

# Beyond that it fails. What is counted varies by less than 1 %: threads that wait for each other spin a little.
MOST = 1.05
# An operation costs the difference of two runs, divided by the difference of their lengths: what comes once is in both.
LENGTHS = {"beat": (500, 2500), "store-beat": (1000, 3000), "store-output": (1000, 3000)}
MANY = 1 << 20
CONNECTIONS, WARM = 2000, 50
FEATURES = ["heartbeats", "output-bytes", "output-spool", "output-binary", "command-reports", "stop-latch"]


def main():
    what, *words = sys.argv[1:]
    if what == "names":
        return names()
    programs = {Path(word).name.rsplit("-", 1)[0]: word for word in words}
    measured = dict(measure(programs))
    compiler = subprocess.run(["rustc", "--version"], capture_output=True, text=True, check=True).stdout.strip()
    if what == "bless":
        BASELINE.write_text(json.dumps({"compiler": compiler, "values": measured}, indent=2) + "\n")
    baseline = json.loads(BASELINE.read_text())
    worse = show(measured, baseline["values"])
    if baseline["compiler"] != compiler:
        print(f"skipped: the baseline is of {baseline['compiler']}, this is {compiler}; bless it again")
        return 0
    better = [name for name, value in measured.items() if value * MOST < baseline["values"].get(name, 0)]
    if better:
        print(f"{', '.join(better)}: below the baseline; bless it, so that the gain is kept")
    if worse:
        print(f"{', '.join(worse)}: more than {MOST - 1:.0%} above the baseline; mend it, or say why in a commit that blesses it")
    return int(bool(worse))


def names():
    """The programs of the benches, out of what cargo says."""
    for line in sys.stdin:
        message = json.loads(line)
        if message.get("executable") and message["target"]["kind"] == ["bench"]:
            print(message["executable"])


def show(measured, baseline):
    worse = []
    print(f"{'':<36} {'baseline':>10} {'now':>10} {'ratio':>7}")
    for name, value in measured.items():
        before = baseline.get(name)
        ratio = value / before if before else float("inf")
        if ratio > MOST:
            worse.append(name)
        print(f"{name:<36} {before or 0:>10.0f} {value:>10.0f} {ratio:>7.3f}{'  ABOVE' if ratio > MOST else ''}")
    return worse


def measure(programs):
    for name, (few, many) in LENGTHS.items():
        words = [programs["guard"], name]
        cost = (counted([*words, few]) - counted([*words, many])) / (few - many)
        yield f"{name}, instructions", round(cost)
    for event, function in (("output", "fleet::counted"), ("told", "fleet::tell_all")):
        words = [programs["fleet"], "--count", event, 1, 1, 10, MANY]
        # It handles 4,000 of them.
        yield f"fleet {event}, instructions", round(counted(words, function) / 4000)
    # What the allocator does with a few pages is chance, and only ever adds.
    yield "idle connection, bytes", min(connection(programs["guard"]) for _ in range(2))


def counted(words, function=None):
    """Instructions of a program, or of what it does in this function."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "callgrind.out"
        only = ["--collect-atstart=no", f"--toggle-collect={function}"] if function else []
        command = [*valgrind.WORDS, f"--callgrind-out-file={out}", *only, *map(str, words)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, preexec_fn=valgrind.without_auxv)
        return int(re.search(r"^(?:totals|summary): (\d+)", out.read_text(), re.M)[1])


def connection(program):
    """Resident bytes of an agent that is in session and has beaten once."""
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        words = [program, "serve", "--listen", "127.0.0.1:0", "--data", data, "--log", "warn"]
        server = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
        try:
            host, port = server.stdout.readline().strip().rsplit(":", 1)
            words = [program, "token", "--user", "ann", "--kind", "agent", "--data", data]
            token = subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()
            links = agents((host, int(port)), token, 0, WARM)
            time.sleep(1)
            before = resident(server.pid)
            links += agents((host, int(port)), token, WARM, WARM + CONNECTIONS)
            time.sleep(2)
            return round((resident(server.pid) - before) / CONNECTIONS)
        finally:
            server.kill()
            server.wait()


def agents(target, token, first, last):
    """Blocking sockets of agents in session; what they hear is not looked at."""
    links = []
    for n in range(first, last):
        # From more than one address, as a server bounds what one does.
        link = socket.create_connection(target, 60, (f"127.1.{1 + n // 250}.{1 + n % 250}", 0))
        links.append(link)
        link.sendall(
            f"GET /ws/agent HTTP/1.1\r\nHost: onsembl.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            f"Sec-WebSocket-Version: 13\r\nAuthorization: Bearer {token}\r\n"
            f"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
        )
        hear(link, b"\r\n\r\n")
        say(link, "AGENT_CONNECT", {
            "agentId": f"key-{n}", "name": f"agent-{n}", "agentType": "CUSTOM", "version": "0.1.0", "hostMachine": "bench",
            "capabilities": {"maxTokens": 0, "supportsInterrupt": True, "supportsTrace": False},
            "extensions": {
                "features": FEATURES, "agentKey": f"key-{n}", "instance": f"instance-{n}", "journal": f"journal-{n}",
                "maxParallel": 4,
            },
        })
        hear(link, b'"ACK"')
        say(link, "AGENT_HEARTBEAT", {"sequence": 1, "healthMetrics": {"commandsProcessed": 1, "activeCommands": 0}})
    return links


def say(link, kind, payload):
    body = json.dumps({"type": kind, "id": "m-1", "timestamp": 1762080000000, "payload": payload}).encode()
    # A mask of zeros is a mask, and leaves the bytes as they are.
    link.sendall(struct.pack(">BBH", 0x81, 0x80 | 126, len(body)) + bytes(4) + body)


def hear(link, what):
    heard = b""
    while what not in heard:
        more = link.recv(65536)
        if not more:
            raise ConnectionError(f"the server ended the link after {heard!r}")
        heard += more


def resident(pid):
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"^VmRSS:\s+(\d+)", status, re.M)[1]) * 1024


if __name__ == "__main__":
    sys.exit(main())
