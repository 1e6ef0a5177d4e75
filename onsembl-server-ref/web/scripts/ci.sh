#!/usr/bin/env bash
# What must hold of the page: types, tests, and that the committed assets are what the sources give, byte for byte.
# Without the pinned Node the sums are still compared, and the rest is said to be skipped.
set -euo pipefail
cd "$(dirname "$0")/.."

# The sums of the files, and of the sources that they were built from.
(cd ../assets && sha256sum --quiet --strict --check SHA256SUMS)
sha256sum --quiet --strict --check ../assets/SOURCES \
    || { echo "the page's sources changed: npm run build in onsembl-server-ref/web, and commit the assets" >&2; exit 1; }

pinned=$(cat .node-version)
if ! command -v node >/dev/null 2>&1 || ! command -v npm >/dev/null 2>&1; then
    echo "skipped: the page is not rebuilt, there is no Node $pinned here"
    exit 0
fi
major=$(node --print 'process.versions.node.split(".")[0]')
if [ "$major" != "$pinned" ]; then
    echo "skipped: the page is not rebuilt, Node is $major here and $pinned is pinned"
    exit 0
fi

log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! npm ci --ignore-scripts --no-audit --no-fund >"$log" 2>&1; then
    if grep -qE 'EAI_AGAIN|ENOTFOUND|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ENETUNREACH' "$log"; then
        echo "skipped: the page is not rebuilt, its packages cannot be fetched here"
        exit 0
    fi
    cat "$log" >&2
    exit 1
fi
if grep -q '"resolved"' package-lock.json; then
    echo "package-lock.json names registry hosts; .npmrc leaves them out" >&2
    exit 1
fi

npx tsc --noEmit
npx vitest run
# Fails above the limits of size.
node scripts/build.mjs
changed=$(git status --porcelain -- ../assets ../src/page/assets.rs)
if [ -n "$changed" ]; then
    git diff --stat -- ../assets ../src/page/assets.rs >&2
    echo "$changed" >&2
    echo "the committed assets are not what the sources give; commit what was built now" >&2
    exit 1
fi
