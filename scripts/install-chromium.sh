#!/usr/bin/env bash
# Debian's Chromium, for the browser tests. Does nothing when it is there already. Elsewhere, name it in
# EDGESEAL_TEST_CHROMIUM.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib/apt.sh

chromium=${EDGESEAL_TEST_CHROMIUM:-/usr/bin/chromium}

[ -x "$chromium" ] || apt_install chromium
"$chromium" --version
