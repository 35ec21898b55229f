/* alloc_faults.c - see alloc_faults.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "tests/faults/alloc_faults.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "events/base/bytes.h"

static uint32_t wanted, allocations, failed;
static bool armed, lasting;
static _Thread_local bool spared;

void alloc_faults_arm(uint32_t nth, bool lasts)
{
    json_set_alloc_funcs(malloc, free);
    wanted = nth;
    lasting = lasts;
    failed = 0;
    allocations = 0;
    __atomic_store_n(&armed, true, __ATOMIC_SEQ_CST);
}

uint32_t alloc_faults_lift(void)
{
    __atomic_store_n(&armed, false, __ATOMIC_SEQ_CST);
    return failed;
}

void alloc_faults_spare(bool wanted_so)
{
    spared = wanted_so;
}

uint32_t alloc_faults_count(void)
{
    return __atomic_load_n(&allocations, __ATOMIC_SEQ_CST);
}

static bool fails(void)
{
    if (spared || !__atomic_load_n(&armed, __ATOMIC_SEQ_CST))
        return false;
    uint32_t number = __atomic_add_fetch(&allocations, 1, __ATOMIC_SEQ_CST);
    if (wanted == 0 || number < wanted || (number > wanted && !lasting))
        return false;
    (void)__atomic_add_fetch(&failed, 1, __ATOMIC_SEQ_CST);
    errno = ENOMEM;
    return true;
}

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *memory, size_t size);
char *__real_strdup(const char *text);

void *__wrap_malloc(size_t size)
{
    return fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return fails() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *memory, size_t size)
{
    return fails() ? NULL : __real_realloc(memory, size);
}

char *__wrap_strdup(const char *text)
{
    return fails() ? NULL : __real_strdup(text);
}

/* An arena asks for memory now and then only: each piece of it may fail, too. */
void *__real_arena_alloc(struct arena *arena, size_t size);
struct bytes __real_arena_copy(struct arena *arena, struct bytes bytes);

void *__wrap_arena_alloc(struct arena *arena, size_t size)
{
    return fails() ? NULL : __real_arena_alloc(arena, size);
}

struct bytes __wrap_arena_copy(struct arena *arena, struct bytes bytes)
{
    return bytes.data != NULL && fails() ? BYTES_ABSENT : __real_arena_copy(arena, bytes);
}

/* Its memory is not malloc()'s. */
void *__real_secret_new(size_t size);

void *__wrap_secret_new(size_t size)
{
    return fails() ? NULL : __real_secret_new(size);
}
