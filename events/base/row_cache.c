/* row_cache.c - see row_cache.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "events/base/row_cache.h"

#include <stdlib.h>
#include <string.h>

#include "events/base/hash.h"

#define ROW_BYTES 122 /* key and value; those of relationships take some 80 */
#define ABSENT UINT8_MAX

struct place {
    uint32_t hash;
    uint8_t key_size;   /* 0 = nothing is held */
    uint8_t value_size; /* ABSENT = there is no such row */
    uint8_t row[ROW_BYTES];
};

struct row_cache {
    size_t count; /* a power of two */
    struct place places[];
};

struct row_cache *row_cache_new(size_t places)
{
    struct row_cache *cache =
        calloc(1, sizeof(struct row_cache) + places * sizeof(struct place));

    if (cache) {
        cache->count = places;
    }
    return cache;
}

void row_cache_free(struct row_cache *cache)
{
    free(cache);
}

void row_cache_clear(struct row_cache *cache)
{
    for (size_t i = 0; i < cache->count; i++) {
        cache->places[i].key_size = 0;
    }
}

static struct place *place_at(struct row_cache *cache, uint32_t hash)
{
    return &cache->places[hash & (cache->count - 1)];
}

static bool holds(const struct place *place, uint32_t hash, struct bytes key)
{
    return place->key_size > 0 && place->hash == hash &&
           bytes_equal(bytes_of(place->row, place->key_size), key);
}

bool row_cache_find(struct row_cache *cache, struct bytes key, struct bytes *ret_value)
{
    uint32_t hash = murmur2(key);
    const struct place *place = place_at(cache, hash);

    if (!holds(place, hash, key)) {
        return false;
    }
    *ret_value = place->value_size == ABSENT
                     ? BYTES_ABSENT
                     : bytes_of(place->row + place->key_size, place->value_size);
    return true;
}

/* A place that cannot hold the row holds nothing. */
static void place_fill(struct place *place, uint32_t hash, struct bytes key,
                       struct bytes value)
{
    size_t value_size = value.data ? value.size : 0;

    place->key_size = 0;
    if (key.size == 0 || key.size > ROW_BYTES || value_size > ROW_BYTES - key.size) {
        return;
    }
    place->hash = hash;
    place->key_size = (uint8_t)key.size;
    place->value_size = value.data ? (uint8_t)value_size : ABSENT;
    memcpy(place->row, key.data, key.size);
    if (value_size > 0) {
        memcpy(place->row + key.size, value.data, value_size);
    }
}

void row_cache_put(struct row_cache *cache, struct bytes key, struct bytes value)
{
    uint32_t hash = murmur2(key);

    place_fill(place_at(cache, hash), hash, key, value);
}

void row_cache_change(struct row_cache *cache, struct bytes key, struct bytes value)
{
    uint32_t hash = murmur2(key);
    struct place *place = place_at(cache, hash);

    if (holds(place, hash, key)) {
        place_fill(place, hash, key, value);
    }
}
