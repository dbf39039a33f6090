#!/usr/bin/env bash
# Makes .venv and installs exactly what a lock file names; says in one sentence what is missing.
set -euo pipefail
lock=$1

fail() {
    printf 'daqplane: %s\n' "$1" >&2
    exit 1
}

python=
for candidate in "${PYTHON:-}" python3 python3.13 python3.12 python3.11; do
    if [ -n "$candidate" ] && "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
        python=$candidate
        break
    fi
done
[ -n "$python" ] || fail "Python 3.11 or newer is needed; install it (Debian: apt-get install python3 python3-venv) or name it with PYTHON=…"

# A venv that was interrupted, or whose Python has gone, is made anew.
if ! .venv/bin/python -c 'import pip' 2>/dev/null; then
    rm -rf .venv
    if ! "$python" -c 'import ensurepip' 2>/dev/null && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        apt-get update -qq >/dev/null && apt-get install -y -qq python3-venv >/dev/null || true
    fi
    "$python" -c 'import ensurepip' 2>/dev/null ||
        fail "this Python cannot make virtual environments; install its venv module (Debian: apt-get install python3-venv)"
    "$python" -m venv .venv || fail "the virtual environment .venv cannot be created here; check the free disk space and that this folder can be written"
fi

log=.venv/install.log
pip_install() {
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-build-isolation "$@" >>"$log" 2>&1
}

explain() {
    if grep -qiE 'gcc|cc1|compiler|Python\.h' "$log"; then
        fail "a package has no ready build for this machine and needs a C compiler; install one (Debian: apt-get install build-essential python3-dev) and repeat. Details: $log"
    elif grep -qiE 'connection|resolve|timed out|retrying|network|no matching distribution' "$log"; then
        fail "the Python package index cannot be reached; check the network or set PIP_INDEX_URL to a mirror and repeat. Details: $log"
    elif grep -qi 'hash' "$log"; then
        fail "a downloaded package does not match its hash in $lock; do not use it, and check your package mirror. Details: $log"
    fi
    tail -n 5 "$log" >&2
    fail "installing the Python packages failed. Details: $log"
}

echo 'daqplane: installing the Python packages into .venv …'
: >"$log"
# Whatever has no wheel for this machine is built with the setuptools of the lock file.
awk '/^[a-z]/ {on = /^setuptools==/} on' "$lock" >.venv/setuptools.lock
pip_install --require-hashes -r .venv/setuptools.lock || explain
pip_install --require-hashes -r "$lock" || explain
pip_install --no-deps -e . || explain
