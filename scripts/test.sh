#!/usr/bin/env bash
# Everything `make test` means: install what the suites need, run all of them, never stop at the first failure.
# Ends with `N passed, N failed` alone on the last line; exits 1 when anything failed or a suite ran no test.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 2
. scripts/lib/tally.sh
exec </dev/null # nothing here may ask a question
export CARGO_TERM_COLOR=never NO_COLOR=1
debug=$(realpath --canonicalize-missing "${CARGO_TARGET_DIR:-target}")/debug
binary=$debug/edgeseal
mutations=$PWD/.cache/mutations.ndjson
published=(--workspace @edgeseal/client --workspace @edgeseal/react)

check "the tally counts right" scripts/tally-check.sh
check "rust is formatted" cargo fmt --all --check
check "clippy has nothing to say" cargo clippy --workspace --all-targets --locked --quiet -- -D warnings
check "documentation builds without warnings" env RUSTDOCFLAGS=-Dwarnings cargo doc --workspace --no-deps --locked --quiet
check "core builds for wasm32" scripts/wasm-check.sh
check "fuzz targets compile" scripts/fuzz-check.sh

# The stores' and the fleet's tests never skip: without a server they fail.
check "npm packages install" scripts/install-node.sh
check "python packages install" scripts/install-python.sh
check "postgresql is there" scripts/install-postgres.sh
check "redis is there" scripts/install-redis.sh
check "libfaketime is there" scripts/install-faketime.sh
check "chromium is there" scripts/install-chromium.sh
# With all targets, or the same libraries would be built twice: once with and once without what tests ask of them.
check "everything builds" cargo build --workspace --all-targets --locked --quiet
if cargo nextest --version >/dev/null 2>&1; then
    suite "rust tests" count_nextest "$debug/with-servers" \
        cargo nextest run --workspace --locked --no-fail-fast --status-level fail
else
    suite "rust tests" count_libtest "$debug/with-servers" \
        cargo test --workspace --lib --bins --tests --locked --no-fail-fast --quiet
fi
suite "rust doc tests" count_libtest cargo test --workspace --doc --locked --no-fail-fast --quiet
check "the binary builds" cargo build --locked --quiet --package edgeseal
check "vectors regenerate to the same bytes" scripts/vectors-check.sh
suite "strangers in node: jose, OpenFeature" count_node env EDGESEAL_BIN="$binary" npm --prefix interop/node test --silent
suite "strangers in python: PyJWT, OpenFeature, schemathesis" count_pytest env EDGESEAL_BIN="$binary" .cache/venv/bin/python -m pytest interop/python

# The SDK. Everything below runs what was built here; the browser tests never skip: without Chromium they fail.
check "sdk and examples are formatted" npm run --silent format:check
check "sdk builds" npm run --silent build
check "sdk and examples type check" npm run --silent typecheck
check "sdk packages are in order (publint)" npm run --silent lint:package "${published[@]}"
check "sdk sizes" npm run --silent size "${published[@]}"
check "mutated tokens are written" cargo run --locked --quiet --package edgeseal-testkit --bin mutations -- "$mutations"
suite "sdk: client in node" count_vitest env EDGESEAL_MUTATIONS="$mutations" npm test --silent --workspace @edgeseal/client
suite "sdk: react" count_vitest npm test --silent --workspace @edgeseal/react
suite "sdk: react 18" count_vitest npm test --silent --workspace @edgeseal/react-18-tests
suite "sdk: in Chromium" count_vitest env EDGESEAL_BIN="$binary" EDGESEAL_MUTATIONS="$mutations" \
    npm test --silent --workspace @edgeseal/browser-tests

report
