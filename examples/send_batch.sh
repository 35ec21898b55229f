#!/bin/sh
# send_batch.sh [BROKER] - sends the commands of commands.tsv with kcat: a record key, a tab, a CloudEvent per line.
#
# The last one is refused, since nobody has registered device 9. Run it twice: nothing happens a second time.
#
# SPDX-License-Identifier: Apache-2.0
exec kcat -b "${1:-localhost:9092}" -P -t kinlog.commands -K '\t' -X partitioner=murmur2_random \
    -l "$(dirname "$0")/commands.tsv"
