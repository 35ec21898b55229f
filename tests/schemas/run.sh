#!/bin/sh
# run.sh - tests of schemas/: the public suite, Python's jsonschema, the compiler's refusals, and that what
# is made from the schemas is current.
#
#   tests/schemas/run.sh [BUILD_DIR]      from anywhere; the project must have been built
#
# SEED=n repeats a run of the random comparison, ROUNDS=n makes it longer.
#
# SPDX-License-Identifier: Apache-2.0
set -eu
cd "$(dirname "$0")/../.."
out=${1:-build}/tests/schemas
python=${PYTHON:-/usr/bin/python3}
export PYTHONDONTWRITEBYTECODE=1
rm -rf "$out"
mkdir -p "$out/suite"

"$python" tests/schemas/suite.py compile build/schemac "$out/suite"
${CC:-cc} -std=c17 -D_POSIX_C_SOURCE=200809L -Wall -Wextra -Wconversion -Wpedantic -Werror -O1 -g \
    -fsanitize=address,undefined -fno-sanitize-recover=all -I. -Ibuild/gen -o "$out/check" \
    tests/schemas/check.c "$out/suite/validators.c" build/gen/schemas/*.c schemas/*.c \
    events/base/bytes.c events/base/arena.c -lm

# Each prints a line "<what>: N passed, N failed"; the last line of all is the sum.
log=$out/log
: >"$log"
status=0
run() {
    "$python" "$@" >"$out/one" 2>&1 || status=1
    cat "$out/one"
    cat "$out/one" >>"$log"
}
run tests/schemas/suite.py run "$out/check" "$out/suite"
run tests/schemas/compare.py "$out/check"
run tests/schemas/test_compiler.py build/schemac "$out"
run tests/schemas/test_current.py
awk -v status=$status 'match($0, /: [0-9]+ passed, [0-9]+ failed/) {
        split(substr($0, RSTART + 2), words, /[ ,]+/); passed += words[1]; failed += words[3]
    }
    END { printf "schemas: %d passed, %d failed\n", passed, failed + (status && !failed) }' "$log"
exit $status
