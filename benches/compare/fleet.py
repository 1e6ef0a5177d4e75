#!/usr/bin/env python3
"""What an event costs a fleet with few and with many commands open, in instructions. See README.md.

Times tell the same together with what caches do to ten thousand commands that are touched at random, and with
what else the machine does.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

RESULTS = Path(__file__).resolve().parent / "results.jsonl"
LIMIT = 1.3
MANY = 1 << 20
# Users, agents of each, open commands of each, and how many of them an agent runs at once. The first of each
# kind is what the others are held against.
PLACES = {
    "all run": {
        "10 open": (1, 1, 10, MANY),
        "100 open": (1, 1, 100, MANY),
        "1000 open": (1, 1, 1000, MANY),
        "10000 open of 20 users": (20, 1, 500, MANY),
    },
    "over ten agents": {
        "10 open": (1, 10, 10, MANY),
        "1000 open": (1, 10, 1000, MANY),
    },
    "four run": {
        "10 open": (1, 1, 10, 4),
        "1000 open": (1, 1, 1000, 4),
        "10000 open of 20 users": (20, 1, 500, 4),
    },
}
EVENTS = ["output", "acknowledgement", "wake", "repetition", "heard", "told"]


def instructions(bench, event, place):
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "callgrind.out"
        words = [
            "valgrind", "--tool=callgrind", "--quiet", f"--callgrind-out-file={out}", "--collect-atstart=no",
            "--toggle-collect=fleet::tell_all" if event == "told" else "--toggle-collect=fleet::counted",
            bench, "--count", event, *map(str, place),
        ]
        done = subprocess.run(words, capture_output=True, text=True, check=True).stdout
        return int(re.search(r"^(?:totals|summary): (\d+)", out.read_text(), re.M)[1]) / int(done)


def main():
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("version", help="COMMIT=FILE, the program of the bench `fleet` of that commit")
    words.add_argument("--only", action="append", choices=EVENTS, help="one kind of event; may be said again")
    asked = words.parse_args()
    commit, _, bench = asked.version.partition("=")
    missed = False
    for kind, places in PLACES.items():
        for event in asked.only or EVENTS:
            if event == "told" and kind != "all run":
                continue
            first = None
            for name, place in places.items():
                if event == "told" and place[0] > 1:
                    continue
                began = time.monotonic()
                figure = instructions(Path(bench).resolve(), event, place)
                first = first or figure
                line = {
                    "commit": commit, "seed": 1, "seconds": round(time.monotonic() - began, 2),
                    "metric": f"fleet, {kind}, {name}/{event}/instructions", "value": round(figure, 2),
                }
                with open(RESULTS, "a") as file:
                    file.write(json.dumps(line) + "\n")
                verdict = "" if figure <= LIMIT * first else f"goal <= {LIMIT}, MISSED"
                missed = missed or bool(verdict)
                print(f"{event:<16} {kind}, {name:<24} {figure:>9.0f} {figure / first:>6.2f}  {verdict}", flush=True)
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
