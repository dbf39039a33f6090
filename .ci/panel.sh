#!/usr/bin/env bash
# Installs what the panel is built with, or builds it; quiet unless something fails.
set -euo pipefail
log=web/build.log

fail() {
    tail -n 15 "$log" >&2
    printf 'daqplane: %s Details: %s\n' "$1" "$log" >&2
    exit 1
}

case $1 in
install)
    echo 'daqplane: installing what the panel is built with …'
    if ! .ci/node.sh npm --prefix web ci --no-audit --no-fund --loglevel=error >"$log" 2>&1; then
        grep -q '^daqplane:' "$log" && { cat "$log" >&2; exit 1; }
        grep -qiE 'ENOTFOUND|ETIMEDOUT|ECONN|EAI_AGAIN|network' "$log" &&
            fail 'the npm registry cannot be reached; check the network, or set npm_config_registry to a mirror, and repeat.'
        fail 'installing the packages of the panel failed.'
    fi
    ;;
build)
    echo 'daqplane: building the panel …'
    .ci/node.sh npm --prefix web run --silent build >"$log" 2>&1 || fail 'building the panel failed.'
    [ -f web/dist/index.html ] || fail 'building the panel gave no index.html.'
    ;;
esac
