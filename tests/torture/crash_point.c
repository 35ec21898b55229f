/* crash_point.c - what CRASH_POINT does in a test build.
 *
 * The environment's CRASH_POINT_FILE names a file of one page that the harness
 * (tests/torture/victim.py) shares with the process, in native byte order:
 *
 *       0  u32  passes of the armed point until it fires; 0 = nothing is armed
 *       4  u32  the signal that it raises
 *       8  u32  1: what was handed over to the brokers is acknowledged before
 *      12  u32  which of the threads below passed a point last
 *      64  the armed point's name, NUL-terminated
 *     128  for each of 60 threads the name of the point that it passed last, 64 bytes
 *
 * So a process that was killed from outside tells in which phase it was.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "agent/crash_point.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define NAME_SIZE 64
#define THREADS_MAX 60

struct page {
    _Atomic uint32_t countdown;
    uint32_t signal;
    uint32_t settle;
    _Atomic uint32_t last;
    char unused[NAME_SIZE - 16];
    char armed[NAME_SIZE];
    char passed[THREADS_MAX][NAME_SIZE];
};

static struct page *page;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static _Atomic uint32_t threads;
static _Thread_local uint32_t own = THREADS_MAX;

static void map_page(void)
{
    const char *path = getenv("CRASH_POINT_FILE");
    int fd = path == NULL ? -1 : open(path, O_RDWR | O_CLOEXEC);

    if (fd < 0)
        return;
    void *mapped = mmap(NULL, sizeof *page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (mapped != MAP_FAILED)
        page = mapped;
}

static void note_passed(const char *name)
{
    if (own == THREADS_MAX)
        own = atomic_fetch_add(&threads, 1) % THREADS_MAX;
    snprintf(page->passed[own], NAME_SIZE, "%s", name);
    atomic_store(&page->last, own);
}

void crash_point(const char *name)
{
    (void)pthread_once(&once, map_page);
    if (page == NULL)
        return;
    note_passed(name);
    uint32_t left = atomic_load(&page->countdown);
    while (left > 0 && strcmp(page->armed, name) == 0) {
        if (!atomic_compare_exchange_weak(&page->countdown, &left, left - 1))
            continue;
        if (left == 1)
            kill(getpid(), (int)page->signal);
        return;
    }
}

bool crash_point_settles(const char *name)
{
    (void)pthread_once(&once, map_page);
    return page != NULL && page->settle != 0 && atomic_load(&page->countdown) == 1 &&
           strcmp(page->armed, name) == 0;
}
