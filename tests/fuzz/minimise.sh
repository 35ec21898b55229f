#!/bin/bash
# minimise.sh [TARGET...] - makes tests/data/fuzz/TARGET anew: as few and as small inputs as reach what those in
# it, in build/fuzz/seeds/TARGET (make_seeds.py) and in build/fuzz/corpus/TARGET (run.sh) reach together.
#
# Inputs that failed once stay, under names that are no hashes. Of the others at most FILES_MAX are kept, of at most
# BYTES_MAX bytes each; larger ones are left to the fuzzer.
#
# SPDX-License-Identifier: Apache-2.0
set -euo pipefail
cd "$(dirname "$0")/../.."
FILES_MAX=${FILES_MAX:-300} BYTES_MAX=${BYTES_MAX:-2048}
if [ $# -eq 0 ]; then
    mapfile -t targets < <(basename -s .c tests/fuzz/fuzz_*.c)
else
    targets=("$@")
fi
for target in "${targets[@]}"; do
    kept=tests/data/fuzz/$target new=build/fuzz/minimised/$target
    rm -rf "$new"
    mkdir -p build/fuzz/findings "$new" "$kept" "build/fuzz/corpus/$target" "build/fuzz/seeds/$target"
    # A fuzzer that fails at once would be started again for every input.
    "build/fuzz/$target" -runs=1 >"build/fuzz/$target.merge.log" 2>&1
    # -use_counters=0: what lines are reached, not how often.
    "build/fuzz/$target" -merge=1 -use_counters=0 -artifact_prefix=build/fuzz/findings/ -max_len="$BYTES_MAX" "$new" "$kept" \
        "build/fuzz/corpus/$target" "build/fuzz/seeds/$target" >"build/fuzz/$target.merge.log" 2>&1
    find "$kept" -type f -regextype egrep -regex '.*/[0-9a-f]{40}' -delete
    find "$new" -type f -printf '%s %p\n' | sort -n | head -n "$FILES_MAX" | cut -d' ' -f2 |
        xargs -r cp -t "$kept"
    printf '%s: %s inputs, %s bytes\n' "$target" "$(find "$kept" -type f | wc -l)" \
        "$(find "$kept" -type f -printf '%s\n' | awk '{ sum += $1 } END { print sum + 0 }')"
done
