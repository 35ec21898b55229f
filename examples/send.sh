#!/bin/bash
# send.sh - sends commands and waits for the answer to each, with kcat.
#
#     examples/send.sh BROKER PREFIX <examples/commands.tsv
#
# SPDX-License-Identifier: Apache-2.0
broker=$1 prefix=$2
source=/examples # who sends; source and id together are the command's id
timeout_s=30

fail() {
    echo "$*" >&2
    exit 1
}

# Opens what comes into the replies topic as 3. kcat says, here among the answers, when it has come to the end of a
# partition: once it stood at the end of each, the first command may be sent.
read_from_now_on() {
    local partitions
    local -A at_end=()
    partitions=$(kcat -b "$broker" -L -t "$prefix.replies" | grep -c '^    partition ')
    exec 3< <(exec kcat -b "$broker" -C -t "$prefix.replies" -o end -u -f ',%h,\t%s\n' 2>&1)
    trap "kill $! 2>/dev/null" EXIT
    while ((${#at_end[@]} < partitions)); do
        read -r -t $timeout_s -u 3 || fail "$prefix.replies cannot be read"
        [[ $REPLY =~ ^'% Reached end of topic '.*\[([0-9]+)\] ]] && at_end[${BASH_REMATCH[1]}]=yes
    done
}

# send ID TYPE KEY<tab>DATA, or without a key: ID TYPE DATA
send() {
    printf '%s\n' "$3" | kcat -b "$broker" -P -t "$prefix.commands" -K '\t' -H ce_specversion=1.0 \
        -H "ce_id=$1" -H "ce_source=$source" -H "ce_type=$2" || fail "$1: the broker did not take it"
}

# Sets headers (",name=value,name=value,") and answer.
wait_for_answer() {
    while IFS=$'\t' read -r -t $timeout_s -u 3 headers answer; do
        [[ $headers == *",ce_causationid=$1,"* && $headers == *",ce_causationsource=$source,"* ]] && return
    done
    fail "$1: no answer in time; sent again, it will not take effect twice"
}

header() {
    [[ $headers =~ ,$1=([^,]*), ]] && echo "${BASH_REMATCH[1]}"
}

read_from_now_on
while IFS=$'\t' read -r id type record; do
    send "$id" "$type" "$record"
    wait_for_answer "$id"
    printf '%s\t%s\t%s\t%s\n' "$id" "$(header kinlog_forwarded)" "$(header ce_repeated)" "$answer"
done
