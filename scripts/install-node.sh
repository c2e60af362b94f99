#!/usr/bin/env bash
# The npm packages of the workspace (sdk, examples) and of interop/node, exactly as locked. Does nothing when they are
# there already.
set -euo pipefail
cd "$(dirname "$0")/.."

install() {
    local folder=$1 installed=$1/node_modules/.installed-lock.json
    cmp -s "$folder/package-lock.json" "$installed" && return
    npm ci --prefix "$folder" --no-audit --no-fund --loglevel=error
    cp "$folder/package-lock.json" "$installed"
}

install .
install interop/node
