#!/bin/bash
# deps.sh run|test - installs the Debian packages that building and running (run), or building, running
# and testing (test) need, saying which and why. Says nothing when nothing is missing.
#
# SPDX-License-Identifier: Apache-2.0
set -euo pipefail

# package | program that serves as well, or - | what it is needed for
run_packages='
gcc                  | -    | to compile the agent
libc6-dev            | -    | to compile the agent
make                 | -    | to drive the build
pkg-config           | -    | to find the libraries
librdkafka-dev       | -    | to speak with Kafka
librocksdb-dev       | -    | to store log and views
libjansson-dev       | -    | to read schemas and answers
libssl-dev           | -    | for SHA-256 and HMAC
libutf8proc-dev      | -    | to compare user names
libcsv-dev           | -    | to read CSV files
libjemalloc-dev      | -    | to allocate memory with less processor time
kcat                 | kcat | to look at topics, as the demo suggests
'
test_packages='
libcmocka-dev            | -      | for the unit and integration tests
clang                    | -      | as second compiler, and to fuzz
libclang-rt-14-dev       | -      | for the sanitizers of clang
clang-tidy               | -      | to lint
clang-format             | -      | to check the format
cppcheck                 | -      | to lint
python3                  | -      | for the model and the tests from outside
python3-jsonschema       | -      | to compare the generated validators with
json-schema-test-suite   | -      | to test the generated validators with
python3-confluent-kafka  | -      | as client of the real broker
maven                    | mvn    | to fetch Apache Kafka
openjdk-17-jdk-headless  | javac  | to run Apache Kafka, and to build the example in Java
golang-go                | go     | to build the example in Go
nodejs                   | node   | to run the example in JavaScript
npm                      | npm    | to fetch the libraries of that
docker-compose           | -      | to check compose.yaml
spin                     | -      | to check the model of who may write
git                      | git    | to name the version
tmux                     | tmux   | to test on a terminal
procps                   | ps     | to look after the broker
'

installed() {
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

case ${1:-} in
run) packages=$run_packages ;;
test) packages=$run_packages$test_packages ;;
*) echo "usage: $0 run|test" >&2; exit 2 ;;
esac

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
    # Not Debian: what matters is there, or it is not; the names below tell what to look for.
    lacking=
    for program in gcc make pkg-config; do
        command -v $program >/dev/null || lacking="$lacking $program"
    done
    if [ -z "$lacking" ]; then
        for library in rdkafka rocksdb jansson libcrypto libutf8proc jemalloc; do
            pkg-config --exists $library || lacking="$lacking $library"
        done
        echo '#include <csv.h>' | gcc -E -x c - >/dev/null 2>&1 || lacking="$lacking libcsv"
    fi
    [ -n "$lacking" ] || exit 0
    echo "This system has no apt-get, and lacks:$lacking" >&2
    echo "On Debian 12 these packages would be installed; please install their like:" >&2
    while IFS='|' read -r package _ reason; do
        [ -n "${package// /}" ] && printf '  %-24s %s\n' "${package// /}" "${reason# }" >&2
    done <<<"$packages"
    exit 1
fi

missing=()
reasons=
while IFS='|' read -r package program reason; do
    package=${package// /} program=${program// /} reason=${reason# }
    [ -n "$package" ] || continue
    [ "$program" != - ] && command -v "$program" >/dev/null && continue
    installed "$package" && continue
    missing+=("$package")
    reasons="$reasons  $(printf '%-24s %s' "$package" "$reason")"$'\n'
done <<<"$packages"
[ ${#missing[@]} -gt 0 ] || exit 0

sudo=
if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null; then
        echo "These Debian packages are missing; install them as root:" >&2
        printf '%s' "$reasons" >&2
        echo "  apt-get install --no-install-recommends ${missing[*]}" >&2
        exit 1
    fi
    sudo=sudo
fi
echo "Installing Debian packages${sudo:+ (with sudo)}, because each is needed:"
printf '%s' "$reasons"
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
trap 'rm -f "$log"' EXIT
apt() {
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=300 "$@" \
        >"$log" 2>&1 </dev/null || { cat "$log" >&2; echo "apt-get $1 failed" >&2; exit 1; }
}
apt update
apt install -y --no-install-recommends "${missing[@]}"
echo "Installed ${#missing[@]} packages."
