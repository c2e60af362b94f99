#!/usr/bin/env bash
# A virtual environment in .cache/venv with the pinned packages of interop/python. Does nothing when it is up to date.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib/apt.sh

wanted=interop/python/requirements.txt
installed=.cache/venv/requirements.txt
cmp -s "$wanted" "$installed" && .cache/venv/bin/python -c '' && exit 0

rm -rf .cache/venv
# Debian keeps venv's bootstrap in a package of its own.
python3 -m venv .cache/venv || { rm -rf .cache/venv && apt_install python3-venv && python3 -m venv .cache/venv; }
.cache/venv/bin/python -m pip install --quiet --disable-pip-version-check --no-input --requirement "$wanted"
cp "$wanted" "$installed"
