#!/bin/bash
# summary.sh - counts the tests of all stages that have run since `make test` began; the last line is the sum.
#
# SPDX-License-Identifier: Apache-2.0
set -euo pipefail
cd "$(dirname "$0")/.."
for counts in build/test-logs/*.count; do
    read -r passed failed <"$counts"
    printf '  %-18s %6d passed, %d failed\n' "$(basename "$counts" .count)" "$passed" "$failed"
done
cat build/test-logs/*.count | awk '{ p += $1; f += $2 } END { printf "%d passed, %d failed\n", p, f }'
