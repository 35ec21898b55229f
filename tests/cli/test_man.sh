#!/bin/bash
# test_man.sh - the man pages: sound in the eyes of groff and mandoc, found by whatis, complete, and legible.
#
# SPDX-License-Identifier: Apache-2.0
set -uo pipefail
cd "$(dirname "$0")/../.."
out=${OUT:-build}
kinlog=$out/kinlog
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export LC_ALL=C.UTF-8 MANWIDTH=200
passed=0 failed=0

# expect TITLE FILE: the command that follows in the arguments succeeds; FILE is shown if it does not.
expect() {
    local title=$1 file=$2
    shift 2
    if "$@"; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "FAILED: $title"
        sed 's/^/  | /' "$file"
    fi
}
# page NAME: the page as a terminal shows it, in $work/text.
page() { man -P cat -l "$out/man/$1" 2>/dev/null | col -b >"$work/text"; }
says() { grep -qF -- "$1" "$work/text"; }

for file in "$out"/man/*.[1-8]; do
    name=$(basename "$file")
    mandoc -Tlint -W warning "$file" >"$work/lint" 2>&1
    expect "$name: mandoc has nothing to say" "$work/lint" [ ! -s "$work/lint" ]
    man --warnings -E UTF-8 -l -Tutf8 -Z "$file" 2>"$work/lint" >/dev/null
    expect "$name: groff has nothing to say" "$work/lint" [ ! -s "$work/lint" ]
    lexgrog "$file" >"$work/lint" 2>&1
    expect "$name: whatis finds it" "$work/lint" grep -q ": \"${name%.*} - " "$work/lint"
done

# ---- each subcommand has its page, and the page all that its help says ----
"$kinlog" help >"$work/help"
sed -n '/^Commands:/,/^$/s/^  \([a-z]*\) .*/\1/p' "$work/help" >"$work/commands"
expect "commands are found in the help" "$work/help" [ "$(wc -l <"$work/commands")" -gt 10 ]
page kinlog.1
while read -r command; do
    expect "kinlog(1) names $command" "$work/text" says "kinlog-$command(1)"
done <"$work/commands"
while read -r command; do
    page "kinlog-$command.1"
    "$kinlog" help "$command" >"$work/help"
    while IFS= read -r text; do
        expect "kinlog-$command(1) says: $text" "$work/text" says "$text"
    done < <(sed -n '/^Options:/,/^$/s/^  \(-[^ ]*\( [^ ]\+\)\?\) .*/\1/p; s/^  \(kinlog .*\)/\1/p' "$work/help")
    expect "kinlog-$command(1) has its exit codes" "$work/text" \
        [ "$(grep -cE '^ +[0-5] +[a-z]' "$work/text")" -eq "$(grep -cE '^  [0-5]  ' "$work/help")" ]
done <"$work/commands"

# ---- what is hard to write: quotes, backslashes, hyphens, dots at the begin of a line ----
page kinlog-send.1
for text in "'UserAccountName=hq\\ann'" "echo '{\"ResourceID\": 7}' | kinlog send RemoveDevice --data -" \
    "MachineResourceId (number)" "TypeId (one or a list, optional)" "  SetPolicy"; do
    expect "kinlog-send(1) says: $text" "$work/text" says "$text"
done
expect "Tick is not for people" "$work/text" bash -c "! grep -q '^ *Tick' '$work/text'"
page kinlog-completion.1
expect "a ~ stays one" "$work/text" says '> ~/.config'
page kinlog.conf.5
"$kinlog" help config | sed -n 's/^  \([a-z_]\+\( = [^ ]*\)\?\).*/\1/p' | sed 's/ *$//' >"$work/keys"
while IFS= read -r text; do
    expect "kinlog.conf(5) says: $text" "$work/text" says "$text"
done <"$work/keys"
expect "kinlog.conf(5) tells of librdkafka's sections" "$work/text" says '[kafka], [kafka.consumer], [kafka.producer]'

echo "$passed passed, $failed failed"
[ $failed -eq 0 ]
