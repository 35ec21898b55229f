#!/bin/bash
# layers.sh OBJECTS - proves that includes and calls point one way:
#
#     agent -> projections -> events -> events/base        (schemas stands on events/base alone)
#
# and that only agent/kafka knows librdkafka, only events/base/kv_rocksdb.c knows RocksDB, only
# events/secret.c knows libsodium, only agent/cli/csv_reader.c knows libcsv, only agent/ logs, reads clocks or
# draws random numbers, and agent/decide does none of that either. OBJECTS is the folder of the objects
# (build/obj), whose undefined symbols are looked at.
#
# SPDX-License-Identifier: Apache-2.0
set -uo pipefail
cd "$(dirname "$0")/../.."
objects=$1
bad=0

complain() {
    echo "$1"
    bad=1
}

# includes FOLDER ALLOWED: quoted includes of FOLDER's files must match ALLOWED.
includes() {
    local found
    found=$(find "$1" -name '*.[ch]' -exec grep -nHE '^#include "' {} + | grep -vE "#include \"($2)")
    [ -z "$found" ] || complain "$1 may include only $2:"$'\n'"$found"
}
includes events/base 'events/base/'
includes schemas 'events/base/|schemas/'
includes events 'events/|schemas/'
includes projections 'projections/|events/|schemas/'
includes agent/decide 'agent/decide/|agent/planted\.h|projections/|events/|schemas/' # planted.h is a constant
includes agent/kafka 'agent/kafka/|events/base/'

# library PATTERN ALLOWED: which files may include a library's header.
library() {
    local found
    found=$(grep -rnE "^#include [<\"]$1" --include='*.[ch]' agent events projections schemas | grep -vE "^($2)")
    [ -z "$found" ] || complain "only $2 may include $1:"$'\n'"$found"
}
library librdkafka 'agent/kafka/'
library rocksdb 'events/base/kv_rocksdb\.c'
library sodium 'events/secret\.c'
library csv\\.h 'agent/cli/csv_reader\.c'

# symbols PATTERN ALLOWED FOLDER...: no object of the folders may need a symbol like PATTERN, unless its
# path matches ALLOWED.
symbols() {
    local pattern=$1 allowed=$2 object found
    shift 2
    while read -r object; do
        [[ ${object#"$objects"/} =~ ^($allowed)$ ]] && continue
        found=$(nm -u "$object" | awk '{ print $2 }' | sed 's/@.*//' | grep -xE "$pattern" | tr '\n' ' ')
        [ -z "$found" ] || complain "${object#"$objects"/} calls $found"
    done < <(for folder; do find "$objects/$folder" -name '*.o' 2>/dev/null; done | sort)
}
clocks='clock_gettime|gettimeofday|time|timerfd_.*'
waiting='clock_nanosleep|nanosleep|sleep|usleep'
random='rand|rand_r|random|drand48|getrandom|getentropy|arc4random.*|RAND_.*|randombytes.*|crypto_box_seal|crypto_.*_(keypair|keygen)'
logging='printf|__printf_chk|fprintf|__fprintf_chk|vfprintf|__vfprintf_chk|puts|fputs|perror|stderr|stdout|syslog|__syslog_chk'
world='open|openat|fopen|read|write|unlink|rename|mkdir|socket|connect|getenv|secure_getenv|system|fork|execv.*|pthread_create|thrd_create'

symbols 'rd_kafka_.*' 'agent/kafka/.*' agent events projections schemas gen
symbols 'rocksdb_.*' 'events/base/kv_rocksdb\.o' agent events projections schemas gen
symbols "$clocks|$random|$logging" '-' events projections schemas gen agent/decide
symbols "$waiting" 'events/base/kv_rocksdb\.o' events projections schemas gen agent/decide # RocksDB's reader tries again
symbols "$world" 'events/base/.*' events projections schemas gen agent/decide
[ -n "$(find "$objects" -name '*.o' 2>/dev/null)" ] || complain "there are no objects in $objects"
[ $bad -eq 0 ] && echo "The layers are kept."
exit $bad
