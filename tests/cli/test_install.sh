#!/bin/bash
# test_install.sh - `make install` into an empty folder: what lies where, and that it works from there.
#
# SPDX-License-Identifier: Apache-2.0
set -uo pipefail
cd "$(dirname "$0")/../.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
unset MAKEFLAGS MFLAGS MAKELEVEL MAKEOVERRIDES MAKECMDGOALS KINLOG_CONFIG # the options of the make that called us
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

# install_to FOLDER PREFIX ZSH: installs, and looks at all that may differ with the prefix.
install_to() {
    local below=$1$2 prefix=$2 zsh=$3 file
    make --no-print-directory install "DESTDIR=$1" "PREFIX=$prefix" >"$work/log" 2>&1
    expect "make install PREFIX=$prefix" "$work/log" [ $? -eq 0 ]
    (cd "$1" && find . -type f | sort) >"$work/files"
    while read -r mode file; do
        expect "$prefix: $file" "$work/files" [ "$(stat -c %a "$below/$file" 2>/dev/null)" = "$mode" ]
    done <<FILES
755 bin/kinlog
644 share/man/man1/kinlog.1
644 share/man/man1/kinlog-send.1
644 share/man/man5/kinlog.conf.5
644 share/bash-completion/completions/kinlog
644 share/zsh/$zsh/_kinlog
644 share/fish/vendor_completions.d/kinlog.fish
644 share/doc/kinlog/LICENSE
644 share/doc/kinlog/kinlog.conf
644 lib/systemd/system/kinlog.service
FILES
    expect "$prefix: nothing lies elsewhere" "$work/files" \
        bash -c "! grep -vE '^\\.$prefix/(bin|lib/systemd/system|share)/' '$work/files'"
    "$below/bin/kinlog" version >"$work/log" 2>&1
    expect "$prefix: the program runs" "$work/log" grep -q "^kinlog $(cat VERSION)" "$work/log"
    expect "$prefix: the unit starts it" "$below/lib/systemd/system/kinlog.service" \
        grep -qx "ExecStart=$prefix/bin/kinlog run --config /etc/kinlog/kinlog.conf" \
        "$below/lib/systemd/system/kinlog.service"
    man -M "$below/share/man" -w kinlog-send kinlog.conf >"$work/log" 2>&1
    expect "$prefix: man finds its pages" "$work/log" [ $? -eq 0 ]
    "$below/bin/kinlog" status --config "$below/share/doc/kinlog/kinlog.conf" \
        -X "agent.data_dir=$work/none" >"$work/log" 2>&1
    # A data folder that is not there ends with 1; a configuration that is wrong would with 2.
    expect "$prefix: the program takes the sample, and finds no data" "$work/log" [ $? -eq 1 ]
    expect "$prefix: each page lies there" "$work/files" \
        [ "$(find "$below/share/man" -type f | wc -l)" -eq "$(find build/man -type f | wc -l)" ]
}

install_to "$work/one" /usr/local site-functions
install_to "$work/two" /usr vendor-completions

# ---- twice is as good as once ----
cp -a "$work/two" "$work/before"
make --no-print-directory install "DESTDIR=$work/two" PREFIX=/usr >"$work/log" 2>&1
expect "make install once more changes nothing" "$work/log" diff -r "$work/before" "$work/two"

echo "$passed passed, $failed failed"
[ $failed -eq 0 ]
