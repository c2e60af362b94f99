# shellcheck shell=bash
# Runs checks and suites and adds up what they say; sourced by scripts/test.sh.
#
# check NAME COMMAND…          one test: passed if the command exits 0
# suite NAME COUNTER COMMAND…  many tests: COUNTER reads the output from stdin and prints "PASSED FAILED"
# report                       prints the failures again and the closing line; its exit code is the outcome
#
# A suite that exits 0 yet ran nothing counts as a failure, and so does one that broke before it could count.

tally_passed=0
tally_failed=0
tally_trouble=()
tally_output=$(mktemp -d)
trap 'rm -rf "$tally_output"' EXIT

check() {
    local name=$1 started=$SECONDS
    shift
    printf '\n== %s\n' "$name"
    if "$@" 2>&1; then
        tally_passed=$((tally_passed + 1))
        printf -- '-- %s: ok (%d s)\n' "$name" $((SECONDS - started))
    else
        fail 1 "$name"
    fi
}

suite() {
    local name=$1 counter=$2 started=$SECONDS log="$tally_output/log" code passed failed
    shift 2
    printf '\n== %s\n' "$name"
    "$@" 2>&1 | tee "$log"
    code=${PIPESTATUS[0]}
    read -r passed failed < <("$counter" <"$log")
    tally_passed=$((tally_passed + passed))
    if ((failed > 0)); then
        fail "$failed" "$name: $failed of $((passed + failed)) tests failed"
    elif ((code != 0)); then
        fail 1 "$name: broke with exit code $code after $passed passed tests"
    elif ((passed == 0)); then
        fail 1 "$name: ran no test"
    else
        printf -- '-- %s: %d passed (%d s)\n' "$name" "$passed" $((SECONDS - started))
    fi
}

fail() {
    tally_failed=$((tally_failed + $1))
    tally_trouble+=("$2")
    printf -- '-- FAILED: %s\n' "$2"
}

report() {
    if ((tally_failed > 0)); then
        printf '\nfailed:\n'
        printf '  %s\n' "${tally_trouble[@]}"
    fi
    printf '\n%d passed, %d failed\n' "$tally_passed" "$tally_failed"
    ((tally_failed == 0))
}

# "     Summary [   1.2s] 12 tests run: 11 passed (1 slow), 1 failed, 0 skipped"
count_nextest() {
    awk '/^ *Summary \[/ { total = $0; sub(/ tests? run:.*/, "", total); sub(/.* /, "", total)
                           sub(/\/.*/, "", total)
                           passed = 0
                           if (match($0, /[0-9]+ passed/)) passed = substr($0, RSTART, RLENGTH) + 0 }
         END { print passed + 0, total - passed }'
}

# "test result: ok. 3 passed; 0 failed; 0 ignored; …", one line per test binary
count_libtest() {
    awk '/^test result: / { passed += $4; failed += $6 } END { print passed + 0, failed + 0 }'
}

# "ℹ pass 3" and "ℹ fail 0" close what node's runner prints; "ℹ cancelled" are tests it gave up on
count_node() {
    awk '/^ℹ pass / { passed = $3 } /^ℹ (fail|cancelled) / { failed += $3 } END { print passed + 0, failed + 0 }'
}

# "      Tests  3 failed | 5 passed | 1 skipped (9)"; "   Errors  1 error" is what no test caught
count_vitest() {
    awk '/^ *(Tests|Errors)  / { for (i = 2; i <= NF; i++) {
                                     if ($i ~ /^passed/) passed += $(i - 1)
                                     if ($i ~ /^(failed|errors?$)/) failed += $(i - 1) } }
         END { print passed + 0, failed + 0 }'
}

# "3 failed, 5 passed, 1 error in 1.20s"
count_pytest() {
    awk '/ in [0-9.]+s/ { passed = failed = 0
                          for (i = 2; i <= NF; i++) {
                              if ($i ~ /^passed/) passed = $(i - 1)
                              if ($i ~ /^(failed|errors?)/) failed += $(i - 1) } }
         END { print passed + 0, failed + 0 }'
}
