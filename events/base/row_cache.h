/* row_cache.h - the rows that a batch read last, so that they need not be looked up in the
 * store again.
 *
 * A decision reads a row, and the fold of its event reads it once more; policies, devices
 * and counters are read for command after command, and most of what is asked for is
 * absent. The cache is a table with one place for each hash: a newer row takes the place
 * of an older one. The rows of a cache are of one space. What it holds is what the batch
 * would read; kv.c keeps it so.
 *
 * Sizes are in bytes. The cache owns its memory and belongs to one thread. Only the
 * making can fail: a row that is too long for its place is not held.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef EVENTS_BASE_ROW_CACHE_H
#define EVENTS_BASE_ROW_CACHE_H

#include "events/base/bytes.h"

struct row_cache;
/* places: how many rows at most, of 128 bytes each, a power of two. NULL = out of memory */
struct row_cache *row_cache_new(size_t places);
void row_cache_free(struct row_cache *cache);
void row_cache_clear(struct row_cache *cache);

/* Is the row known? If so *ret_value is its value, absent if there is no such row; borrowed
 * until the cache changes. */
bool row_cache_find(struct row_cache *cache, struct bytes key, struct bytes *ret_value);
/* Holds what was read. value must not be of the cache. */
void row_cache_put(struct row_cache *cache, struct bytes key, struct bytes value);
/* The row is changed: what is held of it changes, too. value as above. */
void row_cache_change(struct row_cache *cache, struct bytes key, struct bytes value);

#endif
