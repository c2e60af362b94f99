#!/usr/bin/env bash
# The tally decides whether a change lands, so it is tested first: what each runner prints, and what must not pass.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib/tally.sh

main() {
    counts count_nextest '     Summary [   1.2s] 12 tests run: 11 passed (1 slow), 1 failed, 3 skipped' '11 1'
    counts count_nextest '     Summary [   1.2s] 1 test run: 1 passed, 0 skipped' '1 0'
    counts count_nextest 'error: could not compile' '0 0'
    counts count_libtest 'test result: FAILED. 2 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out' '2 1'
    counts count_libtest 'test result: ok. 2 passed; 0 failed;'$'\n''test result: ok. 3 passed; 0 failed;' '5 0'
    counts count_node $'ℹ tests 6\nℹ pass 3\nℹ fail 1\nℹ cancelled 2' '3 3'
    counts count_vitest $' Test Files  1 failed | 2 passed (3)\n      Tests  3 failed | 5 passed | 1 skipped (9)\n   Errors  1 error' '5 4'
    counts count_vitest $' Test Files  2 passed (2)\n      Tests  260 passed (260)' '260 0'
    counts count_vitest 'No test files found, exiting with code 1' '0 0'
    counts count_pytest '=== 3 failed, 5 passed, 1 error in 1.20s ===' '5 4'
    counts count_pytest '=== no tests ran in 0.01s ===' '0 0'

    closes 'check a true; suite b count_node printf "ℹ pass 3\n"' 0 '4 passed, 0 failed'
    closes 'check a false; check b true' 1 '1 passed, 1 failed'
    closes 'suite silent count_node true' 1 '0 passed, 1 failed'
    closes 'suite broken count_node sh -c "echo ℹ pass 3; exit 7"' 1 '3 passed, 1 failed'
    closes 'suite failing count_node sh -c "echo ℹ pass 3; echo ℹ fail 2; exit 1"; check b true' 1 '4 passed, 2 failed'
}

counts() {
    local counter=$1 output=$2 expected=$3 actual
    actual=$("$counter" <<<"$output")
    [ "$actual" = "$expected" ] || { echo "$counter counts '$actual', not '$expected', in: $output" >&2 && exit 1; }
}

# Runs a tally of its own and looks at its exit code and closing line.
closes() {
    local script=$1 expected_code=$2 expected_line=$3 code=0 output line
    output=$(bash -c ". scripts/lib/tally.sh; $script; report") || code=$?
    line=${output##*$'\n'}
    [ "$code $line" = "$expected_code $expected_line" ] ||
        { echo "'$script' closes with '$code $line', not '$expected_code $expected_line'" >&2 && exit 1; }
}

main
