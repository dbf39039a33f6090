#!/usr/bin/env bash
# Tests drive a real Chromium. As root on Debian this installs what is missing; elsewhere it says so.
set -euo pipefail
missing=()
command -v chromium >/dev/null || missing+=(chromium)
fc-list :lang=zh 2>/dev/null | grep -q . || missing+=(fonts-noto-cjk)
[ ${#missing[@]} -gt 0 ] || exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    apt-get update -qq >/dev/null
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends fontconfig "${missing[@]}" >/dev/null
else
    printf 'daqplane: tests need %s; install it (Debian: sudo apt-get install %s)\n' "${missing[*]}" "${missing[*]}" >&2
    command -v chromium >/dev/null || exit 1
fi
