#!/usr/bin/env bash
# libfaketime, for the tests in which a clock jumps: Debian's library, which nothing uses unless told to. Does nothing
# when it is there already. Elsewhere, name it in EDGESEAL_TEST_FAKETIME_LIB.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib/apt.sh

installed() {
    [ -e "${EDGESEAL_TEST_FAKETIME_LIB:-}" ] || compgen -G '/usr/lib/*/faketime/libfaketime.so.1' >/dev/null
}

installed || apt_install libfaketime
installed
