#!/bin/bash
# run.sh SECONDS [TARGET...] - runs the fuzzers of build/fuzz for that long each, JOBS (default 2) at a time.
#
# They begin with tests/data/fuzz/TARGET; what they find new goes to build/fuzz/corpus/TARGET, an input that
# fails to build/fuzz/findings. Each fuzzer counts as one test.
#
# SPDX-License-Identifier: Apache-2.0
set -uo pipefail
cd "$(dirname "$0")/../.."
seconds=$1
shift
if [ $# -eq 0 ]; then
    mapfile -t targets < <(basename -s .c tests/fuzz/fuzz_*.c)
else
    targets=("$@")
fi

run_one() {
    local target=$1 seconds=$2 log=build/fuzz/$1.log
    mkdir -p "build/fuzz/corpus/$target" build/fuzz/findings
    if "build/fuzz/$target" -max_total_time="$seconds" -max_len=16384 -timeout=10 -rss_limit_mb=2048 \
        -print_final_stats=1 -artifact_prefix="build/fuzz/findings/$target-" \
        "build/fuzz/corpus/$target" "tests/data/fuzz/$target" >"$log" 2>&1; then
        echo "ok $target: $(sed -n 's/^Done \([0-9]*\) runs in .*/\1 runs/p' "$log"), $(grep -o 'cov: [0-9]*' "$log" | tail -n 1)"
    else
        echo "FAILED $target:"
        tail -n 60 "$log"
    fi
}
export -f run_one

printf '%s\n' "${targets[@]}" |
    xargs -P"${JOBS:-2}" -I{} bash -c "run_one {} $seconds" | tee build/fuzz/run.log
failed=$(grep -c '^FAILED' build/fuzz/run.log)
passed=$(grep -c '^ok' build/fuzz/run.log)
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ] && [ "$passed" -eq "${#targets[@]}" ]
