#!/usr/bin/env bash
# Fuzzes every target in fuzz/fuzz_targets for FUZZ_SECONDS (60) each; a crash leaves its input in fuzz/artifacts.
# All targets run even when one finds something. Closes with `N passed, N failed`, one per target.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 2
. scripts/lib/tally.sh
exec </dev/null

version=0.13.2
seconds=${FUZZ_SECONDS:-60}
tools=$PWD/.cache/tools
export PATH="$tools/bin:$PATH"

cargo fuzz --version >/dev/null 2>&1 || check "cargo-fuzz $version installs" \
    cargo install cargo-fuzz --version "$version" --locked --quiet --root "$tools"

# Sanitizers are unstable compiler options: a nightly has them, a stable compiler gives them under this variable.
if cargo +nightly --version >/dev/null 2>&1; then export RUSTUP_TOOLCHAIN=nightly; else export RUSTC_BOOTSTRAP=1; fi

for target in fuzz/fuzz_targets/*.rs; do
    name=$(basename "$target" .rs)
    [ -e "$target" ] || { fail 1 "fuzz/fuzz_targets holds no target" && break; }
    check "fuzz $name for $seconds s" cargo fuzz run "$name" -- -max_total_time="$seconds" -max_len=65536 -verbosity=0
done
report
