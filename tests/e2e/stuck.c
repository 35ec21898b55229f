/* stuck.c - a library that makes RocksDB wait for ever when a store is closed: loaded before
 * the others (LD_PRELOAD). The real one can do so after a full disk.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <unistd.h>

void rocksdb_close(void *db);
void rocksdb_close(void *db)
{
    (void)db;
    for (;;)
        (void)pause();
}
