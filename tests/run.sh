#!/bin/bash
# run.sh STAGE PROGRAM... - runs test programs one after the other, counts their tests and prints the
# output of those that fail. Each PROGRAM may have arguments ("python3 tests/x.py").
#
# Logs are kept in build/test-logs/STAGE/, the count in build/test-logs/STAGE.count. A program counts as
# many tests as it reports (cmocka, unittest, or a line `N passed, N failed`), else as one; one that ends
# with another code than 0, or reports no test at all, has failed whatever it printed. So has a stage
# without a program. TEST_TIMEOUT (default 900) is the limit in seconds of one program.
# TEST_SHOW=1 shows the output while it comes, too.
#
# SPDX-License-Identifier: Apache-2.0
set -uo pipefail
cd "$(dirname "$0")/.."
stage=$1
shift
logs=build/test-logs/$stage
rm -rf "$logs" "$logs.count"
mkdir -p "$logs"

# cmocka catches SIGSEGV itself, and the report of the sanitizer would be lost.
export ASAN_OPTIONS="allow_user_segv_handler=0:handle_segv=2:detect_leaks=1:strict_string_checks=1${ASAN_OPTIONS:+:$ASAN_OPTIONS}"
export UBSAN_OPTIONS="print_stacktrace=1:halt_on_error=1${UBSAN_OPTIONS:+:$UBSAN_OPTIONS}"
if [ -f tests/lsan.supp ]; then
    export LSAN_OPTIONS="suppressions=$PWD/tests/lsan.supp:print_suppressions=0"
fi

# Prints "PASSED FAILED" of a log: the last plain line, else the sum of cmocka's groups, else unittest's.
count() {
    awk '
    /^([A-Za-z]+: )?[0-9]+ passed, [0-9]+ failed/ {
        line = $0; sub(/^[A-Za-z]+: /, "", line); split(line, w, /[ ,]+/)
        plain = 1; plain_passed = w[1]; plain_failed = w[3]
    }
    /^\[  PASSED  \] [0-9]+ test\(s\)\./ { cmocka = 1; passed += $4 }
    /^\[  FAILED  \] [0-9]+ test\(s\), listed below/ { cmocka = 1; failed += $4 }
    /^Ran [0-9]+ tests? in / { unittest = 1; ran += $2 }
    /^FAILED \(/ {
        line = $0; gsub(/[^0-9,=a-z]/, "", line); n = split(line, parts, ",")
        for (i = 1; i <= n; i++) { split(parts[i], pair, "="); if (pair[1] ~ /failures|errors/) bad += pair[2] }
    }
    END {
        if (plain) print plain_passed, plain_failed
        else if (cmocka) print passed + 0, failed + 0
        else if (unittest) print ran - bad, bad + 0
        else print "none 0"
    }' "$1"
}

# Prints what failed in a log, with what was said about it: the name and its last lines, before anything else.
failures() {
    awk '
    /^(FAIL|ERROR|SKIP) / { print; keep = 1; n = 0; next }
    /^ok  / { for (i = n > 6 ? n - 6 : 0; keep && i < n; i++) print said[i]; keep = 0 }
    keep && NF { said[n++] = $0 }
    END { for (i = n > 6 ? n - 6 : 0; keep && i < n; i++) print said[i] }
    /^\[  FAILED  \] |^\[  ERROR   \]|^(FAIL|ERROR): / { print }' "$1"
}

passed=0 failed=0
if [ $# -eq 0 ]; then
    echo "  $stage: there is no test program"
    failed=1
fi
for program in "$@"; do
    name=$(basename "${program##* }")
    for word in $program; do # the first word that names a file of tests, so that arguments do not matter
        case $word in */tests/*|tests/*) name=$(basename "$word"); break ;; esac
    done
    log=$logs/$name.log
    start=$(date +%s.%N)
    # shellcheck disable=SC2086 # the words of a program are its arguments
    if [ -n "${TEST_SHOW:-}" ]; then
        timeout -k 10 "${TEST_TIMEOUT:-900}" $program 2>&1 </dev/null | tee "$log"
        code=${PIPESTATUS[0]}
    else
        timeout -k 10 "${TEST_TIMEOUT:-900}" $program >"$log" 2>&1 </dev/null
        code=$?
    fi
    read -r good bad <<<"$(count "$log")"
    note=
    if [ "$good" = none ]; then
        good=0
        if [ $code -eq 0 ]; then good=1; else bad=1; fi
    elif [ $((good + bad)) -eq 0 ]; then
        bad=1 note=" (it ran no test)"
    fi
    if [ $code -ne 0 ] && [ "$bad" -eq 0 ]; then bad=1; fi
    if [ $code -eq 124 ] || [ $code -eq 137 ]; then note=" (stopped after ${TEST_TIMEOUT:-900} s)"
    elif [ $code -ne 0 ]; then note="$note (exit code $code)"; fi
    passed=$((passed + good)) failed=$((failed + bad))
    took=$(awk "BEGIN { printf \"%.1f\", $(date +%s.%N) - $start }")
    if [ "$bad" -eq 0 ]; then
        printf '  ok    %-32s %5d passed %18s s\n' "$name" "$good" "$took"
    else
        printf '  FAIL  %-32s %5d passed, %d failed %6s s%s\n' "$name" "$good" "$bad" "$took" "$note"
        failures "$log" | sed 's/^/        | /'
        echo "        --- the end of $log"
        tail -n "${TEST_TAIL:-80}" "$log" | sed 's/^/        | /'
    fi
done
echo "$passed $failed" >"$logs.count"
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
