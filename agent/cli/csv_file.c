/* csv_file.c - see csv_file.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "agent/cli/csv_file.h"

#include <errno.h>
#include <fcntl.h>
#include <iconv.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/cli/interrupt.h"
#include "agent/cli/progress.h"

#define RAW_BYTES (64 * 1024)
#define TEXT_BYTES (2 * RAW_BYTES) /* two bytes of UTF-16 are at most three of UTF-8 */
#define NO_CHARACTER 0xff          /* stands nowhere in UTF-8 */
#define NO_ICONV ((iconv_t)-1)
#define TEMPORARY_FOLDER "/var/tmp" /* a disk, where /tmp is often memory */

struct csv_file {
    const char *name; /* for people; borrowed */
    int fd;
    uint64_t size, position;
    uint8_t sha256[SHA256_SIZE];
    bool at_end;
    iconv_t iconv; /* NO_ICONV: the file is UTF-8 */
    uint8_t raw[RAW_BYTES];
    size_t raw_size;
    uint8_t text[TEXT_BYTES];
};

static int io_error(const struct csv_file *file, const char *what, struct error *err)
{
    return error_set(err, errno == ENOSPC ? ERROR_NO_SPACE : ERROR_IO, "cannot %s %s: %s",
                     what, file->name, strerror(errno));
}

/* Fills raw behind what it still holds. */
static int fill(struct csv_file *file, struct error *err)
{
    ssize_t size;

    do
        size = read(file->fd, file->raw + file->raw_size, RAW_BYTES - file->raw_size);
    while (size < 0 && errno == EINTR && !interrupt_seen());
    if (size < 0 && errno == EINTR)
        return error_set(err, ERROR_STOPPED, "interrupted");
    if (size < 0)
        return io_error(file, "read", err);
    file->raw_size += (size_t)size;
    file->position += (size_t)size;
    file->at_end = size == 0;
    return 0;
}

/* ---- opening ----------------------------------------------------------------------- */

static int open_temporary(const struct csv_file *file, int *ret_fd, struct error *err)
{
    const char *folder = getenv("TMPDIR");
    char path[PATH_MAX];

    if (folder == NULL || *folder == '\0')
        folder = TEMPORARY_FOLDER;
    if (snprintf(path, sizeof(path), "%s/kinlog-import-XXXXXX", folder) >= PATH_MAX)
        return error_set(err, ERROR_IO, "TMPDIR is too long");
    int fd = mkstemp(path);
    if (fd < 0)
        return error_set(err, ERROR_IO, "cannot make a temporary file for %s in %s: %s",
                         file->name, folder, strerror(errno));
    (void)unlink(path);
    *ret_fd = fd;
    return 0;
}

static int write_all(const struct csv_file *file, int fd, struct error *err)
{
    for (size_t at = 0; at < file->raw_size;) {
        ssize_t size = write(fd, file->raw + at, file->raw_size - at);

        if (size < 0 && errno != EINTR)
            return io_error(file, "write a temporary copy of", err);
        at += size > 0 ? (size_t)size : 0;
    }
    return 0;
}

/* Puts a copy that can be read twice in the place of a pipe. */
static int spool(struct csv_file *file, struct error *err)
{
    struct progress progress;
    int copy = -1;
    int r = open_temporary(file, &copy, err);

    if (r < 0)
        return r;
    progress_begin(&progress, "bytes read:");
    while (r == 0 && !file->at_end && (r = fill(file, err)) == 0) {
        r = write_all(file, copy, err);
        file->raw_size = 0;
        progress_step(&progress, file->position, /* total= */ 0);
        if (r == 0 && interrupt_seen())
            r = error_set(err, ERROR_STOPPED, "interrupted");
    }
    progress_end(&progress);
    if (file->fd != STDIN_FILENO)
        (void)close(file->fd);
    file->fd = copy;
    return r;
}

static int hash(struct csv_file *file, struct error *err)
{
    struct sha256 *hasher = sha256_new();
    struct progress progress;
    struct stat status;
    int r = 0;

    if (hasher == NULL)
        return error_set(err, ERROR_NO_MEMORY, "out of memory");
    if (fstat(file->fd, &status) == 0 && status.st_size > 0)
        file->size = (uint64_t)status.st_size;
    progress_begin(&progress, "reading");
    sha256_begin(hasher);
    while (r == 0 && !file->at_end && (r = fill(file, err)) == 0) {
        sha256_add(hasher, file->raw, file->raw_size);
        file->raw_size = 0;
        progress_step(&progress, file->position, file->size);
        if (interrupt_seen())
            r = error_set(err, ERROR_STOPPED, "interrupted");
    }
    progress_end(&progress);
    sha256_end(hasher, file->sha256);
    sha256_free(hasher);
    file->size = file->position;
    return r;
}

static int rewind_file(struct csv_file *file, struct error *err)
{
    file->at_end = false;
    file->position = 0;
    file->raw_size = 0;
    return lseek(file->fd, 0, SEEK_SET) == 0 ? 0 : io_error(file, "read", err);
}

/* Takes the byte order mark off the beginning. */
static int find_encoding(struct csv_file *file, struct error *err)
{
    static const struct {
        const char *mark, *encoding;
    } marks[] = {
        {"\xef\xbb\xbf", NULL}, {"\xff\xfe", "UTF-16LE"}, {"\xfe\xff", "UTF-16BE"}};
    int r = fill(file, err);

    for (size_t i = 0; r == 0 && i < sizeof(marks) / sizeof(marks[0]); i++) {
        struct bytes mark = bytes_str(marks[i].mark);

        if (!bytes_has_prefix(bytes_of(file->raw, file->raw_size), mark))
            continue;
        file->raw_size -= mark.size;
        memmove(file->raw, file->raw + mark.size, file->raw_size);
        if (marks[i].encoding == NULL)
            break;
        file->iconv = iconv_open("UTF-8", marks[i].encoding);
        if (file->iconv == NO_ICONV)
            r = error_set(err, ERROR_IO, "this system cannot convert %s to UTF-8: %s",
                          marks[i].encoding, strerror(errno));
        break;
    }
    return r;
}

int csv_file_open(const char *path, struct csv_file **ret_file, struct error *err)
{
    bool is_stdin = strcmp(path, "-") == 0;
    struct csv_file *file = calloc(1, sizeof(*file));
    int r = 0;

    if (file == NULL)
        return error_set(err, ERROR_NO_MEMORY, "out of memory");
    file->name = is_stdin ? "standard input" : path;
    file->iconv = NO_ICONV;
    file->fd = is_stdin ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    if (file->fd < 0)
        r = io_error(file, "read", err);
    if (r == 0 && lseek(file->fd, 0, SEEK_CUR) < 0)
        r = spool(file, err);
    if (r == 0)
        r = rewind_file(file, err);
    if (r == 0)
        r = hash(file, err);
    if (r == 0 && file->size == 0)
        r = error_set(err, ERROR_INVALID, "%s is empty", file->name);
    if (r == 0)
        r = rewind_file(file, err);
    if (r == 0)
        r = find_encoding(file, err);
    if (r < 0) {
        csv_file_close(file);
        return r;
    }
    *ret_file = file;
    return 0;
}

void csv_file_close(struct csv_file *file)
{
    if (file == NULL)
        return;
    if (file->fd > STDIN_FILENO)
        (void)close(file->fd);
    if (file->iconv != NO_ICONV)
        (void)iconv_close(file->iconv);
    free(file);
}

/* ---- reading ----------------------------------------------------------------------- */

static struct bytes convert(struct csv_file *file)
{
    char *in = (char *)file->raw, *out = (char *)file->text;
    size_t in_left = file->raw_size, out_left = TEXT_BYTES;

    while (in_left > 0 &&
           iconv(file->iconv, &in, &in_left, &out, &out_left) == (size_t)-1) {
        size_t size = in_left < 2 ? in_left : 2;

        if (errno == EINVAL && !file->at_end)
            break; /* the other half is in the next piece */
        *out++ = (char)NO_CHARACTER;
        out_left--;
        in += size;
        in_left -= size;
    }
    memmove(file->raw, in, in_left);
    file->raw_size = in_left;
    return bytes_of(file->text, TEXT_BYTES - out_left);
}

int csv_file_read(void *context, struct bytes *ret_piece, struct error *err)
{
    struct csv_file *file = context;
    struct bytes piece = {file->text, 0};
    int r = 0;

    while (r == 0 && piece.size == 0 && !(file->at_end && file->raw_size == 0)) {
        /* At first it holds what find_encoding() has read; later, half a character. */
        if (file->raw_size < 4)
            r = fill(file, err);
        if (r < 0)
            return r;
        if (file->iconv != NO_ICONV) {
            piece = convert(file);
        } else {
            memcpy(file->text, file->raw, file->raw_size);
            piece.size = file->raw_size;
            file->raw_size = 0;
        }
    }
    *ret_piece = piece;
    return 0;
}

const uint8_t *csv_file_sha256(const struct csv_file *file)
{
    return file->sha256;
}

uint64_t csv_file_size(const struct csv_file *file)
{
    return file->size;
}

uint64_t csv_file_position(const struct csv_file *file)
{
    return file->position;
}

bool csv_file_is(const struct csv_file *file, const char *path)
{
    struct stat own, other;

    return fstat(file->fd, &own) == 0 && stat(path, &other) == 0 &&
           own.st_dev == other.st_dev && own.st_ino == other.st_ino;
}
