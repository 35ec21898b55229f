/* io_faults.c - see io_faults.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#undef _FORTIFY_SOURCE /* its inline functions would be ours */
#include "tests/faults/io_faults.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <unistd.h>

static const char *const kind_names[IO_KIND_COUNT] = {
#define X(name, text) text,
    IO_KINDS(X)
#undef X
};

/* ---- what is to fail --------------------------------------------------------------- */

static struct io_faults *shared;

__attribute__((constructor)) static void map_faults(void)
{
    if (shared != NULL)
        return;
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE,
                  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED)
        _exit(97); /* a test that injects nothing would pass */
}

struct io_faults *io_faults(void)
{
    map_faults();
    return shared;
}

static bool is_below(const char *path)
{
    size_t size = strlen(shared->folder);

    return size > 0 && strncmp(path, shared->folder, size) == 0 &&
           (path[size] == '/' || path[size] == '\0');
}

static void note_place(enum io_kind kind, const char *path)
{
    if (__atomic_fetch_add(&shared->failed, 1, __ATOMIC_SEQ_CST) == 0)
        snprintf(shared->place, sizeof shared->place, "%s %.200s", kind_names[kind],
                 path);
}

/* Counts a call on a path; errno and true if it is to fail. */
static bool fails_on(enum io_kind kind, const char *path)
{
    if (!(shared->kinds & 1u << kind) || !is_below(path))
        return false;
    uint32_t number = __atomic_add_fetch(&shared->count, 1, __ATOMIC_SEQ_CST);
    if (!shared->armed || shared->nth == 0 || number < shared->nth ||
        (number > shared->nth && !shared->lasts))
        return false;
    note_place(kind, path);
    errno = (int)shared->error;
    return true;
}

/* Paths are given absolute by all that we test. */
static bool path_fails(enum io_kind kind, const char *path)
{
    map_faults();
    return path != NULL && fails_on(kind, path);
}

static bool fd_fails(enum io_kind kind, int fd)
{
    char link[40], path[512];

    map_faults();
    if (shared->folder[0] == '\0' || !(shared->kinds & 1u << kind))
        return false;
    int saved = errno;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t size = readlink(link, path, sizeof path - 1);
    errno = saved;
    if (size <= 0)
        return false;
    path[size] = '\0';
    return fails_on(kind, path);
}

/* The next function of this name, libc's or a sanitizer's. */
#define REAL(type, name, ...)                                                            \
    static type (*real)(__VA_ARGS__);                                                    \
    if (real == NULL)                                                                    \
    *(void **)&real = dlsym(RTLD_NEXT, name)

/* ---- writing ----------------------------------------------------------------------- */

/* Of a write that is to fail: half of it is done, if so wanted. */
static size_t half(size_t size)
{
    return shared->manner == IO_SHORT ? size / 2 : 0;
}

ssize_t write(int fd, const void *data, size_t size)
{
    REAL(ssize_t, "write", int, const void *, size_t);
    if (!fd_fails(IO_WRITE, fd))
        return real(fd, data, size);
    return half(size) > 0 ? real(fd, data, half(size)) : -1;
}

static ssize_t pwrite_or_fail(ssize_t (*real)(int, const void *, size_t, off_t), int fd,
                              const void *data, size_t size, off_t offset)
{
    if (!fd_fails(IO_WRITE, fd))
        return real(fd, data, size, offset);
    return half(size) > 0 ? real(fd, data, half(size), offset) : -1;
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t offset)
{
    REAL(ssize_t, "pwrite", int, const void *, size_t, off_t);
    return pwrite_or_fail(real, fd, data, size, offset);
}

ssize_t pwrite64(int fd, const void *data, size_t size, off_t offset)
{
    REAL(ssize_t, "pwrite64", int, const void *, size_t, off_t);
    return pwrite_or_fail(real, fd, data, size, offset);
}

ssize_t writev(int fd, const struct iovec *parts, int count)
{
    REAL(ssize_t, "writev", int, const struct iovec *, int);
    return fd_fails(IO_WRITE, fd) ? -1 : real(fd, parts, count);
}

/* ---- syncing ----------------------------------------------------------------------- */

int fsync(int fd)
{
    REAL(int, "fsync", int);
    return fd_fails(IO_SYNC, fd) ? -1 : shared->idle ? 0 : real(fd);
}

int fdatasync(int fd)
{
    REAL(int, "fdatasync", int);
    return fd_fails(IO_SYNC, fd) ? -1 : shared->idle ? 0 : real(fd);
}

/* Without flags it does nothing, and cannot fail: RocksDB tries so whether it is there. */
int sync_file_range(int fd, off64_t offset, off64_t size, unsigned flags)
{
    REAL(int, "sync_file_range", int, off64_t, off64_t, unsigned);
    if (flags != 0 && fd_fails(IO_SYNC, fd))
        return -1;
    return shared->idle ? 0 : real(fd, offset, size, flags);
}

/* ---- names ------------------------------------------------------------------------- */

int rename(const char *from, const char *to)
{
    REAL(int, "rename", const char *, const char *);
    return path_fails(IO_RENAME, to) ? -1 : real(from, to);
}

int link(const char *from, const char *to)
{
    REAL(int, "link", const char *, const char *);
    return path_fails(IO_LINK, to) ? -1 : real(from, to);
}

int unlink(const char *path)
{
    REAL(int, "unlink", const char *);
    return path_fails(IO_UNLINK, path) ? -1 : real(path);
}

int mkdir(const char *path, mode_t mode)
{
    REAL(int, "mkdir", const char *, mode_t);
    return path_fails(IO_MKDIR, path) ? -1 : real(path, mode);
}

/* A disk on which nothing can be written for want of space has none, as it must say:
 * RocksDB looks. */
#define DEFINE_STATVFS(function)                                                         \
    int function(const char *path, struct function *ret_disk)                            \
    {                                                                                    \
        REAL(int, #function, const char *, struct function *);                           \
        int code = real(path, ret_disk);                                                 \
        map_faults();                                                                    \
        if (code == 0 && shared->armed && shared->lasts && shared->failed > 0 &&         \
            shared->error == ENOSPC && is_below(path))                                   \
            ret_disk->f_bavail = ret_disk->f_bfree = 0;                                  \
        return code;                                                                     \
    }
DEFINE_STATVFS(statvfs)
DEFINE_STATVFS(statvfs64)

/* ---- opening to write, sizes, closing ---------------------------------------------- */

static mode_t mode_of(int flags, va_list list)
{
    return flags & (O_CREAT | __O_TMPFILE) ? va_arg(list, mode_t) : 0;
}

#define DEFINE_OPEN(function)                                                            \
    int function(const char *path, int flags, ...)                                       \
    {                                                                                    \
        va_list list;                                                                    \
        REAL(int, #function, const char *, int, ...);                                    \
        va_start(list, flags);                                                           \
        mode_t mode = mode_of(flags, list);                                              \
        va_end(list);                                                                    \
        return flags & O_CREAT && path_fails(IO_CREATE, path) ? -1                       \
                                                              : real(path, flags, mode); \
    }
DEFINE_OPEN(open)
DEFINE_OPEN(open64)

#define DEFINE_FOPEN(function)                                                           \
    FILE *function(const char *path, const char *mode)                                   \
    {                                                                                    \
        REAL(FILE *, #function, const char *, const char *);                             \
        return mode[0] != 'r' && path_fails(IO_CREATE, path) ? NULL : real(path, mode);  \
    }
DEFINE_FOPEN(fopen)
DEFINE_FOPEN(fopen64)

#define DEFINE_TRUNCATE(function)                                                        \
    int function(int fd, off_t size)                                                     \
    {                                                                                    \
        REAL(int, #function, int, off_t);                                                \
        return fd_fails(IO_SIZE, fd) ? -1 : real(fd, size);                              \
    }
DEFINE_TRUNCATE(ftruncate)
DEFINE_TRUNCATE(ftruncate64)

#define DEFINE_ALLOCATE(function)                                                        \
    int function(int fd, int mode, off_t offset, off_t size)                             \
    {                                                                                    \
        REAL(int, #function, int, int, off_t, off_t);                                    \
        if (fd_fails(IO_SIZE, fd))                                                       \
            return -1;                                                                   \
        return shared->idle && mode != 0 ? 0 : real(fd, mode, offset, size);             \
    }
DEFINE_ALLOCATE(fallocate)
DEFINE_ALLOCATE(fallocate64)

/* This one returns its error. */
int posix_fallocate(int fd, off_t offset, off_t size)
{
    REAL(int, "posix_fallocate", int, off_t, off_t);
    return fd_fails(IO_SIZE, fd) ? errno : real(fd, offset, size);
}

/* The descriptor is closed in any case, as on Linux. */
int close(int fd)
{
    REAL(int, "close", int);
    bool fails = fd_fails(IO_CLOSE, fd);
    int error = errno;
    int code = real(fd);

    if (!fails)
        return code;
    errno = error;
    return -1;
}
