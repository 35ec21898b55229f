/* intern.c - see intern.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "tests/lib/intern.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *or_die(void *memory)
{
    if (memory != NULL)
        return memory;
    fprintf(stderr, "out of memory\n");
    exit(1);
}

void *intern_grow(void *items, size_t count, size_t *capacity, size_t size)
{
    if (count < *capacity)
        return items;
    *capacity = *capacity == 0 ? 64 : 2 * *capacity;
    return or_die(realloc(items, *capacity * size));
}

/* In the manner of FNV, eight bytes at a time. */
static size_t hash_of(struct bytes text)
{
    uint64_t hash = 0xcbf29ce484222325, word;
    size_t i = 0;

    for (; i + sizeof word <= text.size; i += sizeof word) {
        memcpy(&word, text.data + i, sizeof word);
        hash = (hash ^ word) * 0x9e3779b97f4a7c15;
        hash ^= hash >> 32;
    }
    for (; i < text.size; i++)
        hash = (hash ^ text.data[i]) * 0x100000001b3;
    return (size_t)(hash ^ hash >> 32);
}

static uint32_t *slot_of(const struct intern *set, struct bytes text)
{
    size_t mask = 2 * set->capacity - 1;
    size_t i = hash_of(text) & mask;

    while (set->slots[i] != 0 && !bytes_equal(set->items[set->slots[i] - 1], text))
        i = (i + 1) & mask;
    return &set->slots[i];
}

static void make_room(struct intern *set)
{
    if (set->count < set->capacity)
        return;
    set->items = intern_grow(set->items, set->count, &set->capacity, sizeof *set->items);
    free(set->slots);
    set->slots = or_die(calloc(2 * set->capacity, sizeof *set->slots));
    for (uint32_t i = 0; i < set->count; i++)
        *slot_of(set, set->items[i]) = i + 1;
}

bool intern(struct intern *set, struct bytes text, uint32_t *ret_number)
{
    make_room(set);
    uint32_t *slot = slot_of(set, text);
    if (*slot != 0) {
        *ret_number = *slot - 1;
        return false;
    }
    struct bytes copy = arena_copy(&set->texts, text);
    (void)or_die((void *)copy.data);
    *ret_number = (uint32_t)set->count;
    set->items[set->count++] = copy;
    *slot = (uint32_t)set->count;
    return true;
}

void intern_release(struct intern *set)
{
    arena_release(&set->texts);
    free(set->items);
    free(set->slots);
    *set = (struct intern)INTERN_INIT;
}
