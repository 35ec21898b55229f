/* count_fsync.c - counts fsync() and fdatasync() of the program that it is preloaded into.
 *
 * The count is a native 8-byte number at the start of the file that COUNT_FSYNC_FILE names; it is shared
 * memory, so that it can be read while the program runs and outlives it.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

static _Atomic(uint64_t) none, *counter = &none;
static int (*real_fsync)(int), (*real_fdatasync)(int);

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("COUNT_FSYNC_FILE");
    int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    void *shared = MAP_FAILED;

    *(void **)&real_fsync = dlsym(RTLD_NEXT, "fsync");
    *(void **)&real_fdatasync = dlsym(RTLD_NEXT, "fdatasync");
    if (fd >= 0)
        shared = mmap(NULL, sizeof(*counter), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (shared != MAP_FAILED)
        counter = shared;
    if (fd >= 0)
        (void)close(fd);
}

int fsync(int fd)
{
    atomic_fetch_add(counter, 1);
    return real_fsync(fd);
}

int fdatasync(int fd)
{
    atomic_fetch_add(counter, 1);
    return real_fdatasync(fd);
}
