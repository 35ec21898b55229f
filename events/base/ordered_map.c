/* ordered_map.c - an ordered map from bytes to bytes in memory.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "events/base/ordered_map.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "events/base/error.h"

#define CHUNK_SIZE_MIN ((size_t)16 << 10)
#define CHUNK_SIZE_MAX ((size_t)1 << 20)
#define CHUNKS_KEPT_MAX                                                                  \
    ((size_t)8 << 20) /* an unusually large batch is not kept for ever */
#define VALUE_ROOM                                                                       \
    16 /* a row's numbers may get a few digits longer while it is coalesced */
#define ALIGNMENT 8

struct ordered_chunk {
    struct ordered_chunk *next;
    size_t size; /* of data */
    size_t used;
    _Alignas(16) uint8_t data[];
};

/* ---- chunks ------------------------------------------------------------------------ */

/* Returns the next chunk with room for size bytes and makes it the current one. Chunks of
 * a former use that are too small are passed over. */
static struct ordered_chunk *chunk_with_room(struct ordered_map *map, size_t size)
{
    struct ordered_chunk **link = map->current ? &map->current->next : &map->chunks;
    size_t chunk_size = map->current ? map->current->size * 2 : CHUNK_SIZE_MIN;

    while (*link) {
        map->current = *link;
        map->current->used = 0;
        if (map->current->size >= size) {
            return map->current;
        }
        link = &map->current->next;
    }
    if (chunk_size > CHUNK_SIZE_MAX) {
        chunk_size = CHUNK_SIZE_MAX;
    }
    if (chunk_size < size) {
        chunk_size = size;
    }
    struct ordered_chunk *chunk = malloc(sizeof(*chunk) + chunk_size);

    if (chunk) {
        chunk->next = NULL;
        chunk->size = chunk_size;
        chunk->used = 0;
        *link = chunk;
        map->current = chunk;
    }
    return chunk;
}

static void *chunk_alloc(struct ordered_map *map, size_t size)
{
    struct ordered_chunk *chunk = map->current;

    size = (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    if (!chunk || chunk->size - chunk->used < size) {
        chunk = chunk_with_room(map, size);
        if (!chunk) {
            return NULL;
        }
    }
    void *data = chunk->data + chunk->used;

    chunk->used += size;
    return data;
}

static void chunks_free(struct ordered_chunk *chunk)
{
    while (chunk) {
        struct ordered_chunk *next = chunk->next;

        free(chunk);
        chunk = next;
    }
}

static void chunks_rewind(struct ordered_map *map)
{
    size_t kept = 0;
    struct ordered_chunk **link = &map->chunks;

    while (*link && kept + (*link)->size <= CHUNKS_KEPT_MAX) {
        kept += (*link)->size;
        link = &(*link)->next;
    }
    chunks_free(*link);
    *link = NULL;
    map->current = map->chunks;
    if (map->current) {
        map->current->used = 0;
    }
}

/* ---- entries ----------------------------------------------------------------------- */

/* Two keys with equal prefixes may still differ, also where one is shorter than 8 bytes.
 * */
static uint64_t prefix_of(struct bytes key)
{
    uint8_t start[8] = {0};

    if (key.size >= 8) {
        return read_u64be(key.data);
    }
    if (key.size > 0) {
        memcpy(start, key.data, key.size);
    }
    return read_u64be(start);
}

static int entry_compare(const struct ordered_entry *entry, uint64_t prefix,
                         struct bytes key)
{
    if (entry->prefix != prefix) {
        return entry->prefix < prefix ? -1 : 1;
    }
    return bytes_compare(entry->key, key);
}

/* xorshift64; the seed is fixed, so that a run can be repeated. */
static int random_height(struct ordered_map *map)
{
    int height = 1;

    map->random ^= map->random << 13;
    map->random ^= map->random >> 7;
    map->random ^= map->random << 17;
    for (uint64_t bits = map->random >> 20;
         (bits & 3) == 0 && height < ORDERED_MAP_HEIGHT_MAX; bits >>= 2) {
        height++;
    }
    return height;
}

static size_t entry_size(int height)
{
    return sizeof(struct ordered_entry) + (size_t)height * sizeof(struct ordered_entry *);
}

/* Lays an entry out in memory of entry_size() + key + capacity bytes. */
static struct ordered_entry *entry_init(void *memory, int height, struct bytes key,
                                        struct bytes value, size_t capacity)
{
    struct ordered_entry *entry = memory;
    uint8_t *room = (uint8_t *)memory + entry_size(height);

    if (key.size > 0) {
        memcpy(room, key.data, key.size);
    }
    entry->prefix = prefix_of(key);
    entry->key = bytes_of(room, key.size);
    entry->value = value.data ? room + key.size : NULL;
    entry->value_size = value.data ? value.size : 0;
    entry->value_capacity = value.data ? capacity : 0;
    if (entry->value_size > 0) {
        memcpy(entry->value, value.data, value.size);
    }
    entry->height = height;
    return entry;
}

struct bytes ordered_entry_value(const struct ordered_entry *entry)
{
    return bytes_of(entry->value, entry->value_size);
}

struct ordered_entry *ordered_entry_new(struct ordered_map *map, struct bytes key,
                                        struct bytes value)
{
    assert(!map->chunked);
    int height = random_height(map);
    void *memory = malloc(entry_size(height) + key.size + value.size + 1);

    return memory ? entry_init(memory, height, key, value, value.size) : NULL;
}

void ordered_entry_free(struct ordered_entry *entry)
{
    free(entry);
}

/* ---- the list ---------------------------------------------------------------------- */

static void list_init(struct ordered_map *map)
{
    for (int level = 0; level < ORDERED_MAP_HEIGHT_MAX; level++) {
        map->head[level] = NULL;
        map->tail[level] = &map->head[level];
    }
    map->last = NULL;
    map->count = 0;
}

void ordered_map_init(struct ordered_map *map, bool chunked)
{
    list_init(map);
    map->random = UINT64_C(0x9e3779b97f4a7c15);
    map->chunked = chunked;
    map->chunks = NULL;
    map->current = NULL;
}

static void free_entries(struct ordered_map *map)
{
    struct ordered_entry *entry = map->chunked ? NULL : map->head[0];

    while (entry) {
        struct ordered_entry *next = entry->next[0];

        free(entry);
        entry = next;
    }
}

void ordered_map_release(struct ordered_map *map)
{
    free_entries(map);
    chunks_free(map->chunks);
    ordered_map_init(map, map->chunked);
}

void ordered_map_clear(struct ordered_map *map)
{
    if (map->count == 0) {
        return;
    }
    free_entries(map);
    list_init(map);
    chunks_rewind(map);
}

/* Where an entry of this key is or would be linked on every level, and the entry before
 * it. */
struct place {
    struct ordered_entry **links[ORDERED_MAP_HEIGHT_MAX];
    struct ordered_entry *before;
};

static void find_place(struct ordered_map *map, uint64_t prefix, struct bytes key,
                       struct place *ret_place)
{
    if (!map->last || entry_compare(map->last, prefix, key) < 0) {
        memcpy(ret_place->links, map->tail, sizeof(map->tail)); /* keys often ascend */
        ret_place->before = map->last;
        return;
    }
    struct ordered_entry **links = map->head;

    ret_place->before = NULL;
    for (int level = ORDERED_MAP_HEIGHT_MAX - 1; level >= 0; level--) {
        struct ordered_entry *entry = links[level];

        while (entry && entry_compare(entry, prefix, key) < 0) {
            ret_place->before = entry;
            links = entry->next;
            entry = links[level];
        }
        ret_place->links[level] = &links[level];
    }
}

static struct ordered_entry *entry_at(const struct place *place, uint64_t prefix,
                                      struct bytes key)
{
    struct ordered_entry *entry = *place->links[0];

    return entry && entry_compare(entry, prefix, key) == 0 ? entry : NULL;
}

static void link_at(struct ordered_map *map, const struct place *place,
                    struct ordered_entry *entry)
{
    for (int level = 0; level < entry->height; level++) {
        entry->next[level] = *place->links[level];
        *place->links[level] = entry;
        if (!entry->next[level]) {
            map->tail[level] = &entry->next[level];
        }
    }
    if (!entry->next[0]) {
        map->last = entry;
    }
    map->count++;
}

static void unlink_at(struct ordered_map *map, const struct place *place,
                      struct ordered_entry *entry)
{
    for (int level = 0; level < entry->height; level++) {
        *place->links[level] = entry->next[level];
        if (!entry->next[level]) {
            map->tail[level] = place->links[level];
        }
    }
    if (map->last == entry) {
        map->last = place->before;
    }
    map->count--;
}

struct ordered_entry *ordered_map_seek(const struct ordered_map *map, struct bytes key)
{
    struct ordered_entry *const *links = map->head;

    if (!key.data) {
        return map->head[0];
    }
    uint64_t prefix = prefix_of(key);

    for (int level = ORDERED_MAP_HEIGHT_MAX - 1; level >= 0; level--) {
        struct ordered_entry *entry = links[level];

        while (entry && entry_compare(entry, prefix, key) < 0) {
            links = entry->next;
            entry = links[level];
        }
    }
    return links[0];
}

struct ordered_entry *ordered_map_find(const struct ordered_map *map, struct bytes key)
{
    if (map->count == 0) {
        return NULL;
    }
    struct bytes present = key.data ? key : bytes_str("");
    struct ordered_entry *entry = ordered_map_seek(map, present);

    return entry && bytes_compare(entry->key, present) == 0 ? entry : NULL;
}

/* ---- chunked maps ------------------------------------------------------------------ */

static int entry_set_value(struct ordered_map *map, struct ordered_entry *entry,
                           struct bytes value)
{
    if (!value.data) {
        entry->value = NULL;
        entry->value_size = 0;
        entry->value_capacity = 0;
        return 0;
    }
    if (!entry->value || entry->value_capacity < value.size) {
        size_t capacity = value.size + VALUE_ROOM;
        uint8_t *room = chunk_alloc(map, capacity);

        if (!room) {
            return ERROR_NO_MEMORY;
        }
        entry->value = room;
        entry->value_capacity = capacity;
    }
    if (value.size > 0) {
        memmove(entry->value, value.data, value.size); /* may be a part of the old one */
    }
    entry->value_size = value.size;
    return 0;
}

int ordered_map_set(struct ordered_map *map, struct bytes key, struct bytes value)
{
    struct place place;
    uint64_t prefix = prefix_of(key);

    assert(map->chunked);
    find_place(map, prefix, key, &place);
    struct ordered_entry *entry = entry_at(&place, prefix, key);

    if (entry) {
        return entry_set_value(map, entry, value);
    }
    int height = random_height(map);
    size_t capacity = value.data ? value.size + VALUE_ROOM : 0;
    void *memory = chunk_alloc(map, entry_size(height) + key.size + capacity);

    if (!memory) {
        return ERROR_NO_MEMORY;
    }
    link_at(map, &place, entry_init(memory, height, key, value, capacity));
    return 0;
}

/* ---- loose maps -------------------------------------------------------------------- */

void ordered_map_link(struct ordered_map *map, struct ordered_entry *entry)
{
    assert(!map->chunked);
    ordered_map_remove(map, entry->key);
    struct place place;

    find_place(map, entry->prefix, entry->key, &place);
    link_at(map, &place, entry);
}

void ordered_map_remove(struct ordered_map *map, struct bytes key)
{
    struct place place;
    uint64_t prefix = prefix_of(key);

    assert(!map->chunked);
    find_place(map, prefix, key, &place);
    struct ordered_entry *entry = entry_at(&place, prefix, key);

    if (entry) {
        unlink_at(map, &place, entry);
        free(entry);
    }
}
