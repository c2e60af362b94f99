#!/usr/bin/env bash
# The committed vectors are what the generator writes today: same files, same bytes. Works outside git too.
set -euo pipefail
cd "$(dirname "$0")/.."

# Written by people, or by other people's libraries; every other file in vectors/ must come from the generator.
handwritten=(audience.json README.md stats)

fresh=$(mktemp -d)
trap 'rm -rf "$fresh"' EXIT
# Together with the binary, so that both share one set of features and the libraries are built once.
cargo build --locked --quiet --package edgeseal --package edgeseal-testkit
"${CARGO_TARGET_DIR:-target}/debug/vectors" "$fresh"
[ -n "$(ls "$fresh")" ] || { echo "the generator wrote no file" >&2 && exit 1; }
for file in "${handwritten[@]}"; do
    [ ! -e "vectors/$file" ] || cp -r "vectors/$file" "$fresh"
done
if ! diff --recursive --brief vectors "$fresh"; then
    echo "vectors/ is not what the generator writes: run 'make vectors', read the difference, commit it if it is meant" >&2
    echo "a file written by hand belongs in the list in scripts/vectors-check.sh" >&2
    exit 1
fi
