#!/usr/bin/env bash
# Tests drive a real Chromium and a real PostgreSQL. As root on Debian this installs what is missing;
# elsewhere it says so. Without PostgreSQL its tests are skipped.
set -euo pipefail
missing=()
command -v chromium >/dev/null || missing+=(chromium)
fc-list :lang=zh 2>/dev/null | grep -q . || missing+=(fonts-noto-cjk)
ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || command -v initdb >/dev/null || missing+=(postgresql)
[ ${#missing[@]} -gt 0 ] || exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    apt-get update -qq >/dev/null
    # The tests start a server of their own; no other one is to appear on this machine.
    if [ ! -e /etc/postgresql-common ]; then
        mkdir -p /etc/postgresql-common
        echo 'create_main_cluster = false' >/etc/postgresql-common/createcluster.conf
    fi
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends fontconfig "${missing[@]}" >/dev/null
else
    printf 'daqplane: tests need %s; install it (Debian: sudo apt-get install %s)\n' "${missing[*]}" "${missing[*]}" >&2
    command -v chromium >/dev/null || exit 1
fi
