#!/bin/bash
# house.sh - rules of the house that no compiler knows: banned functions, licence lines, header guards,
# own header first, no unfinished work, no target without its line in `make help`.
#
# SPDX-License-Identifier: Apache-2.0
set -uo pipefail
cd "$(dirname "$0")/../.."
bad=0
mapfile -t files < <(find agent docs events projections schemas tests -name '*.[ch]' | sort)

complain() {
    echo "$1"
    bad=1
}

# Each has a better form that says how much room there is, or is safe with threads.
banned='sprintf|vsprintf|strcpy|strcat|strncpy|strncat|strtok|atoi|atol|atof|gets|localtime|gmtime|asctime|ctime'
found=$(grep -nE "(^|[^_a-zA-Z0-9\"])($banned) *\(" "${files[@]}")
[ -z "$found" ] || complain "banned function:"$'\n'"$found"

found=$(grep -nE '\b(TODO|FIXME|XXX|HACK)\b' "${files[@]}")
[ -z "$found" ] || complain "unfinished:"$'\n'"$found"

for file in "${files[@]}"; do
    head -n 60 "$file" | grep -q 'SPDX-License-Identifier: Apache-2.0' ||
        complain "$file: no SPDX line in its head comment"
    case $file in
    *.h)
        guard=$(echo "${file%.h}_H" | tr 'a-z/-' 'A-Z__')
        grep -q "^#define $guard\$" "$file" || complain "$file: the guard is not $guard"
        ;;
    *.c)
        header=${file%.c}.h
        if [ -f "$header" ]; then
            first=$(grep -m1 '^#include' "$file")
            [ "$first" = "#include \"$header\"" ] || complain "$file: includes $first before its own header"
        fi
        ;;
    esac
done
# `make help` lists every target that somebody may call by its name.
targets=$(sed -n 's/^\([a-z][a-z0-9-]*\):\([^=].*\)\{0,1\}$/\1/p' Makefile | sort)
missing=$(comm -23 <(echo "$targets") <(MAKEFLAGS= make --no-print-directory help | awk '{ print $1 }' | sort))
[ -z "$missing" ] || complain "make help does not list: $missing"

[ $bad -eq 0 ] && echo "The rules of the house are kept (${#files[@]} files)."
exit $bad
