#!/bin/bash
# test_demo.sh - `kinlog demo`: the story comes out as told, what it suggests works when pasted, and
# nothing is left behind.
#
# SPDX-License-Identifier: Apache-2.0
set -uo pipefail
cd "$(dirname "$0")/../.."
kinlog=${OUT:-build}/kinlog
work=$(mktemp -d)
export TMPDIR=$work/tmp
mkdir "$TMPDIR"
unset KINLOG_CONFIG NO_COLOR
passed=0 failed=0 demo_pid=

end() {
    if [ -n "$demo_pid" ]; then kill -INT "$demo_pid" 2>/dev/null; wait "$demo_pid"; fi
    rm -rf "$work"
}
trap end EXIT

ok() { passed=$((passed + 1)); }
bad() {
    failed=$((failed + 1))
    echo "FAILED: $1"
    [ $# -lt 2 ] || sed 's/^/  | /' "$2"
}
# expect TITLE FILE: the command that follows in the arguments succeeds; FILE is shown if it does not.
expect() {
    local title=$1 file=$2
    shift 2
    if "$@"; then ok; else bad "$title" "$file"; fi
}
free_port() {
    python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}
wait_for() { # FILE TEXT
    for _ in $(seq 300); do
        ! grep -qF -- "$2" "$1" || return 0
        sleep 0.1
    done
    return 1
}
is_empty() { [ -z "$(ls -A "$1")" ]; }

port=$(free_port)

# ---- the story, without anybody watching ----
out=$work/once
"$kinlog" demo --once --port "$port" >"$out" 2>"$work/once.err"
code=$?
expect "--once ends with 0, not $code" "$work/once.err" [ $code -eq 0 ]
while IFS= read -r line; do
    expect "the story says: $line" "$out" grep -qE -- "$line" "$out"
done <<'LINES'
NOT DURABLE
^    command  RegisterDevice +ResourceID=16777217 Name=LAPTOP-ANN
^    event    DeviceRegistered +[0-3]-2 ResourceID=16777217 Name=LAPTOP-ANN
^    answer   accepted +ReturnValue=0 Version=2$
^    event    RelationshipCreated +[0-3]-[0-9]+ RelationshipResourceID=[0-9]+ UniqueUserName=contoso.ann
ce_repeated=true$
^    event    SourceAdded +[0-3]-[0-9]+ UniqueUserName=contoso.ann SourceId=4 Sources=\[2,4\]
^    event    SourceRemoved
^    event    RelationshipDeleted +[0-3]-[0-9]+ UniqueUserName=contoso.lee Reason=last_source
^    event    CommandRejected
^    answer   refused +ReturnValue=-2147217406 ParameterInfo=MachineResourceId
^    event    RecordDeadLettered
^    moved to kinlog.dead-letters
^    command  SetPolicy +Name=devices.unknown Value=stub
^    answer   accepted +ReturnValue=0 Revision=1
16777220 +- +contoso.mia
^All steps came out as told
LINES
expect "all four shards adopt the policy" "$out" [ "$(grep -c 'event    PolicyChanged' "$out")" -eq 4 ]
expect "the repeated command leaves no event" "$out" \
    [ "$(grep -c 'UniqueUserName=contoso.lee' "$out")" -eq 4 ] # sent to remove; created, removed, deleted
expect "nothing on stderr" "$work/once.err" [ ! -s "$work/once.err" ]
expect "no escape sequences in a pipe" "$out" bash -c "! grep -q $'\033' '$out'"
expect "no line is longer than 100 columns" "$out" \
    awk 'length > 100 && !/\// { print "too long: " $0; bad = 1 } END { exit bad }' "$out"
expect "the temporary folder is gone" "$out" is_empty "$TMPDIR"

# ---- on a terminal ----
NO_COLOR='' TERM=xterm script -qec "$kinlog demo --once --port $port" /dev/null >"$work/colour" 2>&1 </dev/null
expect "colours on a terminal" "$work/colour" grep -q $'\033\[32m' "$work/colour"
NO_COLOR=1 TERM=xterm script -qec "$kinlog demo --once --port $port" /dev/null >"$work/plain" 2>&1 </dev/null
NO_COLOR=1 script -qec "stty cols 80; $kinlog demo --once --port $port" /dev/null >"$work/narrow" 2>&1 </dev/null
expect "the story fits on 80 columns" "$work/narrow" \
    awk '/What the views hold/ { exit } { sub(/\r$/, "") } length > 80 && !/folder/ { bad = 1 } END { exit bad }' \
    "$work/narrow"
expect "no colours with NO_COLOR" "$work/plain" bash -c "! grep -q $'\033' '$work/plain'"

# ---- wrong usage ----
for arguments in "unexpected" "--port 0" "--port 65536" "--port x" "-X log.level=debug"; do
    # shellcheck disable=SC2086
    "$kinlog" demo --once $arguments >"$work/usage" 2>&1
    code=$?
    expect "demo $arguments ends with 2, not $code" "$work/usage" [ $code -eq 2 ]
done

# ---- it stays up, and what it suggests works ----
out=$work/stays
"$kinlog" demo --port "$port" >"$out" 2>"$work/stays.err" &
demo_pid=$!
expect "the demo stays up and says what to try next" "$out" wait_for "$out" "Ctrl-C ends the demo"

"$kinlog" demo --once --port "$port" >"$work/taken" 2>&1
code=$?
expect "a taken port ends with 1, not $code" "$work/taken" [ $code -eq 1 ]
expect "a taken port: the cure is named" "$work/taken" grep -q -- "port $port .* is taken.*--port" "$work/taken"
expect "a taken port leaves no folder" "$out" [ "$(find "$TMPDIR" -mindepth 1 -maxdepth 1 | wc -l)" -eq 1 ]

awk '/Try next/ { on = 1 } on && /^      / { print; if ($0 !~ /\\$/) print "--" }' "$out" >"$work/next"
suggestions=0 command=
while IFS= read -r line; do
    if [ "$line" != -- ]; then
        command+=$line$'\n'
        continue
    fi
    suggestions=$((suggestions + 1))
    case $command in
    *--follow*) # does not end by itself
        timeout --foreground -s INT 3 sh -c "exec $command" >"$work/said.$suggestions" 2>&1 </dev/null
        code=$?
        [ $code -ne 124 ] || code=0 ;;
    *)
        timeout 60 sh -c "$command" >"$work/said.$suggestions" 2>&1 </dev/null
        code=$? ;;
    esac
    expect "ends with $code when pasted: $command" "$work/said.$suggestions" [ $code -eq 0 ]
    command=
done <"$work/next"
expect "there are 8 suggestions, not $suggestions" "$work/next" [ $suggestions -eq 8 ]
for text in 'Somebody sent CreateRelationship' 'Somebody sent RegisterDevice' '/me try-1' 'Name=KIOSK-1'; do
    expect "the demo shows what comes of it: $text" "$out" wait_for "$out" "$text"
done

kill -INT "$demo_pid"
wait "$demo_pid"
code=$?
demo_pid=
expect "the demo ends with 0 on SIGINT, not $code" "$work/stays.err" [ $code -eq 0 ]
expect "the demo says nothing on stderr" "$work/stays.err" [ ! -s "$work/stays.err" ]
expect "the folder is removed after SIGINT" "$out" is_empty "$TMPDIR"

# ---- a folder of the user's own ----
folder="$work/it's mine"
"$kinlog" demo --once --port "$port" --data-dir "$folder" >"$work/kept" 2>&1
code=$?
expect "with --data-dir it ends with 0, not $code" "$work/kept" [ $code -eq 0 ]
"$kinlog" list relationships --config "$folder/kinlog.conf" >"$work/list" 2>&1
expect "the kept folder can be read afterwards" "$work/list" grep -q 'contoso.ann' "$work/list"
for words in status 'list devices'; do
    narrow="stty cols 80; '$kinlog' $words --config \"$folder/kinlog.conf\""
    NO_COLOR=1 script -qec "$narrow" /dev/null >"$work/narrow" 2>&1 </dev/null
    expect "the table of $words fits on 80 columns" "$work/narrow" \
        awk '/^SHARD/ { table = 1; rows = 0 } /^\r?$/ { table = 0 }
             table { rows++; sub(/\r$/, ""); if (length > 80) bad = 1 } END { exit bad || rows < 5 }' "$work/narrow"
done
cp -r "$folder" "$work/copy"
"$kinlog" demo --once --port "$port" --data-dir "$folder" >"$work/again" 2>&1
code=$?
expect "a folder with something in it is refused with 1, not $code" "$work/again" [ $code -eq 1 ]
expect "it says that the folder must be new or empty" "$work/again" grep -q 'new or an empty folder' "$work/again"
expect "the folder is left as it was" "$work/again" diff -r "$folder" "$work/copy"

echo "$passed passed, $failed failed"
[ $failed -eq 0 ]
