#!/usr/bin/env bash
# Tests drive a real Chromium, a real PostgreSQL and the Modbus client mbpoll, and compile a clock that
# can be set. As root on Debian this installs what is missing; elsewhere it says so. Without PostgreSQL,
# mbpoll or a C compiler their tests are skipped.
set -euo pipefail

# Two time series servers to test against, unpacked into .engines: installing would start them as services.
fetch_engines() {
    mkdir -p .engines && cd .engines || return
    [ "$(id -u)" != 0 ] || apt-get update -qq >/dev/null || return
    apt-get download -qq -o APT::Sandbox::User=root victoria-metrics influxdb >/dev/null 2>&1 || return
    for package in *.deb; do dpkg -x "$package" . && rm "$package" || return; done
}
if ! { [ -x .engines/usr/bin/victoria-metrics ] && [ -x .engines/usr/bin/influxd ]; }; then
    if ! command -v apt-get >/dev/null || ! (fetch_engines); then
        echo 'daqplane: victoria-metrics and influxdb of Debian cannot be had here; tests with them are skipped' >&2
    fi
fi

missing=()
command -v chromium >/dev/null || missing+=(chromium)
fc-list :lang=zh 2>/dev/null | grep -q . || missing+=(fonts-noto-cjk)
ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || command -v initdb >/dev/null || missing+=(postgresql)
command -v mbpoll >/dev/null || missing+=(mbpoll)
command -v cc >/dev/null || missing+=(gcc libc6-dev)
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
