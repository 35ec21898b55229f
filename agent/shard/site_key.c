/* site_key.c - see site_key.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "agent/shard/site_key.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "events/secret.h"

static int cannot_read(const char *path, struct error *err)
{
    return error_set(err, ERROR_IO, "cannot read %s: %s", path, strerror(errno));
}

static int check_key_mode(int fd, const char *path, struct error *err)
{
    struct stat status;

    if (fstat(fd, &status) != 0)
        return cannot_read(path, err);
    if ((status.st_mode & (S_IRWXG | S_IRWXO)) == 0)
        return 0;
    return error_set(err, ERROR_INVALID,
                     "%s is open to others than its owner (mode %04o): `chmod 600 %s`",
                     path, (unsigned)(status.st_mode & 07777), path);
}

/* What is longer than size ends with size. */
static int read_key_text(int fd, const char *path, uint8_t *ret_text, size_t size,
                         size_t *ret_size, struct error *err)
{
    size_t done = 0;

    while (done < size) {
        ssize_t count = read(fd, ret_text + done, size - done);
        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0)
            return cannot_read(path, err);
        if (count == 0)
            break;
        done += (size_t)count;
    }
    *ret_size = done;
    return 0;
}

static int parse_key(const char *path, struct bytes text, uint8_t *ret_key,
                     struct error *err)
{
    if (text.size > 0 && text.data[text.size - 1] == '\n')
        text.size--;
    if (hex_decode(text, ret_key, SITE_KEY_SIZE))
        return 0;
    return error_set(err, ERROR_INVALID,
                     "%s is no site key, which has 64 hex digits: " SITE_KEY_CURE, path);
}

/* No copy of it is left on the way, on the stack or anywhere. */
static int read_key(int fd, const char *path, uint8_t *ret_key, struct error *err)
{
    const size_t room = 2 * SITE_KEY_SIZE + 2; /* the end of a line, and one too many */
    uint8_t *text = secret_new(room);
    size_t size = 0;
    int code = check_key_mode(fd, path, err);

    if (code == 0 && text == NULL)
        code = error_set(err, ERROR_NO_MEMORY, "out of memory while reading %s", path);
    if (code == 0)
        code = read_key_text(fd, path, text, room, &size, err);
    if (code == 0)
        code = parse_key(path, bytes_of(text, size), ret_key, err);
    secret_free(text);
    return code;
}

int site_key_read(const char *path, uint8_t **ret_key, struct error *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0 && errno == ENOENT)
        return error_set(err, ERROR_NOT_FOUND, "%s is missing: " SITE_KEY_CURE, path);
    if (fd < 0)
        return cannot_read(path, err);
    uint8_t *key = secret_new(SITE_KEY_SIZE);
    int code = key == NULL ? error_set(err, ERROR_NO_MEMORY,
                                       "out of memory while reading %s", path)
                           : read_key(fd, path, key, err);
    close(fd);
    if (code != 0)
        secret_free(key);
    else
        *ret_key = key;
    return code;
}

void site_key_fingerprint(const uint8_t key[SITE_KEY_SIZE],
                          char ret_text[SITE_KEY_FINGERPRINT_SIZE])
{
    static const char label[] = "kinlog site key"; /* its NUL is hashed too */
    uint8_t digest[SHA256_SIZE];

    secret_sha256(bytes_of(label, sizeof label), key, SITE_KEY_SIZE, digest);
    base64url_text(digest, 16, ret_text);
}
