/* deadly.c - a library that makes commands deadly, as a defect in a library would: loaded
 * before the others (LD_PRELOAD), it ends the agent when it meets certain user names.
 *
 *     "...\<not ASCII>deadly-abort..."   SIGABRT while the name is checked
 *     "...\<not ASCII>deadly-fault..."   SIGSEGV there
 *     "...deadly-commit..."              SIGABRT while a batch with it is committed
 *
 * SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static int holds(const void *data, size_t size, const char *what)
{
    return memmem(data, size, what, strlen(what)) != NULL;
}

intptr_t utf8proc_iterate(const uint8_t *text, intptr_t size, int32_t *code_point);
intptr_t utf8proc_iterate(const uint8_t *text, intptr_t size, int32_t *code_point)
{
    intptr_t (*real)(const uint8_t *, intptr_t, int32_t *);

    if (size > 0 && holds(text, (size_t)size, "deadly-abort"))
        abort();
    if (size > 0 && holds(text, (size_t)size, "deadly-fault"))
        (void)raise(SIGSEGV);
    *(void **)&real = dlsym(RTLD_NEXT, "utf8proc_iterate");
    return real(text, size, code_point);
}

const char *rocksdb_writebatch_data(void *batch, size_t *size);
void rocksdb_write(void *db, const void *options, void *batch, char **error);
void rocksdb_write(void *db, const void *options, void *batch, char **error)
{
    void (*real)(void *, const void *, void *, char **);
    size_t size;
    const char *data = rocksdb_writebatch_data(batch, &size);

    if (holds(data, size, "deadly-commit"))
        abort();
    *(void **)&real = dlsym(RTLD_NEXT, "rocksdb_write");
    real(db, options, batch, error);
}
