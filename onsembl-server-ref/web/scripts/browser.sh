#!/usr/bin/env bash
# The scenarios in Chromium, against the programs in the folder that ONSEMBL_BIN names. Says in one line why it runs none.
set -euo pipefail
cd "$(dirname "$0")/.."

skip() { echo "skipped: the page in a browser: $*"; exit 0; }

export ONSEMBL_BIN="${ONSEMBL_BIN:-${CARGO_TARGET_DIR:-$PWD/../../target}/debug}"
for program in onsembl onsembl-server onsembl-agent; do
    [[ -x "$ONSEMBL_BIN/$program" ]] || skip "$program is not in $ONSEMBL_BIN"
done
command -v node >/dev/null 2>&1 && command -v npm >/dev/null 2>&1 || skip "Node.js is not installed"
if [[ -z "${CHROMIUM:-}" ]] && ! command -v chromium >/dev/null 2>&1; then
    { apt-get update -qq && timeout 300 apt-get install -y -qq --no-install-recommends chromium; } >/dev/null 2>&1 \
        || skip "Chromium cannot be installed"
fi
[[ -d node_modules ]] || npm ci --ignore-scripts --silent || skip "the packages of the page cannot be installed"
# Ten minutes are twice what they take.
timeout 600 npm run --silent browser
