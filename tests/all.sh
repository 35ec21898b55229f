#!/bin/bash
# all.sh - builds and runs all tests, stage by stage; what `make test` does after the packages are there.
#
# A stage that fails does not hide the later ones. The last line counts over all of them.
#
# SPDX-License-Identifier: Apache-2.0
set -uo pipefail
cd "$(dirname "$0")/.."
sanitizers=address,undefined
export DEVELOPER=1
unset MAKEFLAGS MFLAGS MAKELEVEL MAKEOVERRIDES MAKECMDGOALS # the options of the make that called us are not for these
rm -rf build/test-logs
mkdir -p build/test-logs
began=$SECONDS
bad_stages=

# stage COUNTS TITLE COMMAND...: COUNTS names the file that the command leaves.
stage() {
    local counts=$1 title=$2 start=$SECONDS code
    shift 2
    printf '\n=== %s ===\n' "$title"
    "$@"
    code=$?
    if [ ! -f "build/test-logs/$counts.count" ]; then # it did not come to run a test
        if [ $code -eq 0 ]; then echo "1 0"; else echo "0 1"; fi >"build/test-logs/$counts.count"
    fi
    if [ $code -ne 0 ]; then
        bad_stages="$bad_stages $counts"
        read -r passed failed <"build/test-logs/$counts.count"
        [ "$failed" -gt 0 ] || echo "$passed 1" >"build/test-logs/$counts.count"
        printf -- '--- failed: %s (%d s)\n' "$title" $((SECONDS - start))
    else
        printf -- '--- done: %s (%d s)\n' "$title" $((SECONDS - start))
    fi
}

build() { # quiet while it goes well
    local log=build/test-logs/$1.log
    shift
    if make --no-print-directory "-j${JOBS:-2}" "$@" >"$log" 2>&1; then
        echo "  built: $(grep -c '^  CC ' "$log") files compiled"
    else
        grep -E 'error|Error|warning' -A4 "$log" | tail -n 100
        echo "  the build failed; all of it is in $log"
        return 1
    fi
}
run() {
    make --no-print-directory "$@"
}

stage build "build, warnings are errors" build build all test-programs
stage unit "unit tests" run check
stage integration "integration tests: embedded broker, store on disk" run check-integration
stage schemas "schemas: generated validators against others" run check-schemas
stage model "the core against an independent model" run check-model
stage conversations "every run of two conversations between two shards" run conversations
if [ -d tests/cli ]; then
    stage cli "command line" run check-cli
fi
stage build-san "build with sanitizers ($sanitizers)" build build-san test-programs all "SAN=$sanitizers"
stage unit-san "unit tests under sanitizers" run check "SAN=$sanitizers"
stage integration-san "integration tests under sanitizers" run check-integration "SAN=$sanitizers"
stage e2e "end to end: a real Apache Kafka" run e2e

printf '\n=== %d minutes %d seconds; logs are in build/test-logs ===\n' \
    $(((SECONDS - began) / 60)) $(((SECONDS - began) % 60))
[ -z "$bad_stages" ] || echo "  failed stages:$bad_stages"
tests/summary.sh
[ -z "$bad_stages" ]
