/* power_cut.c - LD_PRELOAD: notes how much of each file was synced, so that a test can
 * take away the rest, as a power cut does. The file named by POWER_CUT gets a line
 * "<size> <path>" for each fsync() and fdatasync() that has succeeded.
 *
 * A killed process loses nothing that it has written, since the system keeps it.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static void note(int fd, long long size)
{
    const char *journal = getenv("POWER_CUT");
    char link[64], path[PATH_MAX], line[PATH_MAX + 32];

    if (journal == NULL)
        return;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    int out = open(journal, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (length < 0 || out < 0)
        abort(); /* a test that knows less than it believes would pass */
    int size_of_line =
        snprintf(line, sizeof line, "%lld %.*s\n", size, (int)length, path);
    if (write(out, line, (size_t)size_of_line) != size_of_line)
        abort();
    close(out);
}

/* What was written before the call, and may be on disk after it, is. */
static int sync_and_note(const char *name, int fd)
{
    int (*real)(int);
    struct stat status;
    int known = fstat(fd, &status);

    *(void **)&real = dlsym(RTLD_NEXT, name);
    int result = real(fd);

    if (result == 0 && known == 0 && S_ISREG(status.st_mode))
        note(fd, (long long)status.st_size);
    return result;
}

int fsync(int fd)
{
    return sync_and_note("fsync", fd);
}

int fdatasync(int fd)
{
    return sync_and_note("fdatasync", fd);
}
