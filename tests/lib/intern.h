/* intern.h - a set of byte strings, numbered from 0 in the order in which they came.
 *
 * For tests: memory that runs out ends the process.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_LIB_INTERN_H
#define TESTS_LIB_INTERN_H

#include "events/base/bytes.h"

struct intern {
    struct arena texts;
    struct bytes *items;
    size_t count;
    size_t capacity;
    uint32_t *slots; /* number + 1, 0 = free; 2 * capacity of them */
};

#define INTERN_INIT                                                                      \
    {                                                                                    \
        ARENA_INIT, NULL, 0, 0, NULL                                                     \
    }

/* Copies text if it is new (true). */
bool intern(struct intern *set, struct bytes text, uint32_t *ret_number);
void intern_release(struct intern *set);

/* Room for one more of `count` items of this size, the capacity being what this function
 * made of it; returns the array, which may have moved. */
void *intern_grow(void *items, size_t count, size_t *capacity, size_t size);

#endif
