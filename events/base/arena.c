/* arena.c - the bump allocator of bytes.h.
 *
 * Blocks double in size up to BLOCK_SIZE_MAX, newest first in the list; allocation is
 * from the newest. A piece too large for a block of that size gets a block of its own
 * behind the newest, so that the newest stays in use. arena_reset() keeps the newest one,
 * which is the largest of the common size.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "events/base/bytes.h"

#define ALIGNMENT 16
#define BLOCK_SIZE_MIN ((size_t)4 << 10)
#define BLOCK_SIZE_MAX                                                                   \
    ((size_t)1 << 20) /* more is not faster, and reset keeps this much */

struct arena_block {
    struct arena_block *next;
    size_t size; /* of data */
    size_t used;
    bool own; /* made for one large piece */
    _Alignas(ALIGNMENT) uint8_t data[];
};

static struct arena_block *block_new(size_t size)
{
    struct arena_block *block = malloc(sizeof(*block) + size);

    if (block) {
        block->next = NULL;
        block->size = size;
        block->used = 0;
        block->own = false;
    }
    return block;
}

static void *block_take(struct arena_block *block, size_t size)
{
    uint8_t *data = block->data + block->used;

    block->used += size;
    memset(data, 0, size);
    return data;
}

static void *alloc_own_block(struct arena *arena, size_t size)
{
    struct arena_block *block = block_new(size);

    if (!block) {
        return NULL;
    }
    block->own = true;
    if (arena->blocks) {
        block->next = arena->blocks->next;
        arena->blocks->next = block;
    } else {
        arena->blocks = block;
    }
    return block_take(block, size);
}

void *arena_alloc(struct arena *arena, size_t size)
{
    struct arena_block *newest = arena->blocks;

    if (size > SIZE_MAX / 2) {
        return NULL;
    }
    size = (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    if (newest && newest->size - newest->used >= size) {
        return block_take(newest, size);
    }
    size_t block_size = newest && !newest->own ? newest->size * 2 : BLOCK_SIZE_MIN;

    if (block_size > BLOCK_SIZE_MAX) {
        block_size = BLOCK_SIZE_MAX;
    }
    if (size > block_size / 2) {
        return alloc_own_block(arena, size);
    }
    struct arena_block *block = block_new(block_size);

    if (!block) {
        return NULL;
    }
    block->next = arena->blocks;
    arena->blocks = block;
    return block_take(block, size);
}

struct bytes arena_copy(struct arena *arena, struct bytes bytes)
{
    if (!bytes.data) {
        return BYTES_ABSENT;
    }
    uint8_t *data =
        arena_alloc(arena, bytes.size + 1); /* never NULL for an empty string */

    if (!data) {
        return BYTES_ABSENT;
    }
    if (bytes.size > 0) {
        memcpy(data, bytes.data, bytes.size);
    }
    return bytes_of(data, bytes.size);
}

void arena_reset(struct arena *arena)
{
    struct arena_block *kept = arena->blocks;

    if (!kept || kept->own) {
        arena_release(arena);
        return;
    }
    struct arena rest = {kept->next};

    arena_release(&rest);
    kept->next = NULL;
    kept->used = 0;
}

void arena_release(struct arena *arena)
{
    while (arena->blocks) {
        struct arena_block *block = arena->blocks;

        arena->blocks = block->next;
        free(block);
    }
}
