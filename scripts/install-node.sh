#!/usr/bin/env bash
# The npm packages of interop/node, exactly as locked. Does nothing when they are there already.
set -euo pipefail
cd "$(dirname "$0")/../interop/node"

installed=node_modules/.installed-lock.json
cmp -s package-lock.json "$installed" && exit 0
npm ci --no-audit --no-fund --loglevel=error
cp package-lock.json "$installed"
