/* ordered_map.h - an ordered map from bytes to bytes in memory; batches and the memory
 * store are made of it.
 *
 * It is a skip list in memcmp order. An entry holds a value, or says that its key is
 * deleted: the map of a batch keeps such tombstones, the memory store removes the entry
 * instead.
 *
 * A map takes its memory in one of two ways, chosen at ordered_map_init() and never
 * mixed:
 *   chunked   entries are cut from chunks and never freed one by one; ordered_map_clear() keeps the chunks
 *             (up to CHUNKS_KEPT_MAX bytes). For batches, which are filled and cleared all the time.
 *   loose     every entry is its own piece of memory; entries can be made, linked, replaced and removed
 *             one by one, and linking cannot fail. For the memory store.
 *
 * Pointers into an entry are good until that entry is changed or removed, or the map is
 * cleared.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef EVENTS_BASE_ORDERED_MAP_H
#define EVENTS_BASE_ORDERED_MAP_H

#include "events/base/bytes.h"

#define ORDERED_MAP_HEIGHT_MAX                                                           \
    16 /* a quarter of a level's entries reach the next: 4^16 entries */

struct ordered_chunk;

struct ordered_entry {
    uint64_t prefix; /* the key's first 8 bytes as a number: most comparisons end here */
    struct bytes key;
    uint8_t *value; /* NULL = deleted */
    size_t value_size;
    size_t value_capacity;
    int height;
    struct ordered_entry *next[]; /* next[0] is the next entry in order */
};

struct ordered_map {
    struct ordered_entry *head[ORDERED_MAP_HEIGHT_MAX];
    struct ordered_entry *
        *tail[ORDERED_MAP_HEIGHT_MAX]; /* where a new greatest entry is linked */
    struct ordered_entry *last;
    size_t count;
    uint64_t random;
    bool chunked;
    struct ordered_chunk *chunks;  /* in the order of use */
    struct ordered_chunk *current; /* the chunk that entries are cut from */
};

void ordered_map_init(struct ordered_map *map, bool chunked);
void ordered_map_release(
    struct ordered_map *map); /* to be initialised again before use */
void ordered_map_clear(struct ordered_map *map);

/* NULL if there is none. */
struct ordered_entry *ordered_map_find(const struct ordered_map *map, struct bytes key);
/* The first entry whose key is not less than key. An absent key gives the first of all.
 * */
struct ordered_entry *ordered_map_seek(const struct ordered_map *map, struct bytes key);
/* Borrowed; absent if the entry is deleted. */
struct bytes ordered_entry_value(const struct ordered_entry *entry);

/* Chunked maps. Sets the value of a key, or marks it deleted if value is absent. Copies
 * both. 0, or ERROR_NO_MEMORY and the map as it was. */
int ordered_map_set(struct ordered_map *map, struct bytes key, struct bytes value);

/* Loose maps. An entry is made in no map, and then linked or freed. */
struct ordered_entry *ordered_entry_new(
    struct ordered_map *map, struct bytes key,
    struct bytes value); /* copies; NULL = out of memory */
void ordered_entry_free(struct ordered_entry *entry);
/* Takes the entry; one with the same key is replaced. */
void ordered_map_link(struct ordered_map *map, struct ordered_entry *entry);
void ordered_map_remove(struct ordered_map *map, struct bytes key);

#endif
