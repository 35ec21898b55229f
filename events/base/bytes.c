/* bytes.c - borrowed byte strings and growing buffers.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "events/base/bytes.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "events/base/error.h"

#define BUF_CAPACITY_MIN 64

struct bytes bytes_of(const void *data, size_t size)
{
    return (struct bytes){data, size};
}

struct bytes bytes_str(const char *string)
{
    return string ? bytes_of(string, strlen(string)) : BYTES_ABSENT;
}

bool bytes_equal(struct bytes a, struct bytes b)
{
    if (!a.data || !b.data) {
        return !a.data && !b.data;
    }
    return a.size == b.size && memcmp(a.data, b.data, a.size) == 0;
}

bool bytes_equal_str(struct bytes a, const char *string)
{
    return bytes_equal(a, bytes_str(string));
}

int bytes_compare(struct bytes a, struct bytes b)
{
    size_t common = a.size < b.size ? a.size : b.size;
    int order = common > 0 ? memcmp(a.data, b.data, common) : 0;

    if (order != 0) {
        return order;
    }
    return (a.size > b.size) - (a.size < b.size);
}

bool bytes_has_prefix(struct bytes a, struct bytes prefix)
{
    return a.size >= prefix.size &&
           (prefix.size == 0 || memcmp(a.data, prefix.data, prefix.size) == 0);
}

void buf_release(struct buf *buf)
{
    free(buf->data);
    *buf = (struct buf)BUF_INIT;
}

void buf_clear(struct buf *buf)
{
    buf->size = 0;
    buf->failed = false;
}

static int buf_fail(struct buf *buf)
{
    buf->failed = true;
    return ERROR_NO_MEMORY;
}

/* Makes room for extra bytes and for the NUL of buf_cstr(). */
int buf_reserve(struct buf *buf, size_t extra)
{
    if (buf->failed) {
        return ERROR_NO_MEMORY;
    }
    if (extra < buf->capacity - buf->size) {
        return 0;
    }
    if (extra > SIZE_MAX / 4 || buf->size > SIZE_MAX / 4) {
        return buf_fail(buf);
    }
    size_t capacity = buf->capacity < BUF_CAPACITY_MIN ? BUF_CAPACITY_MIN : buf->capacity;

    while (capacity < buf->size + extra + 1) {
        capacity *= 2;
    }
    uint8_t *data = realloc(buf->data, capacity);

    if (!data) {
        return buf_fail(buf);
    }
    buf->data = data;
    buf->capacity = capacity;
    return 0;
}

int buf_append(struct buf *buf, const void *data, size_t size)
{
    int r = buf_reserve(buf, size);

    if (r == 0 && size > 0) {
        memcpy(buf->data + buf->size, data, size);
        buf->size += size;
    }
    return r;
}

int buf_append_bytes(struct buf *buf, struct bytes bytes)
{
    return buf_append(buf, bytes.data, bytes.data ? bytes.size : 0);
}

int buf_append_str(struct buf *buf, const char *string)
{
    return buf_append(buf, string, strlen(string));
}

int buf_append_byte(struct buf *buf, uint8_t byte)
{
    return buf_append(buf, &byte, 1);
}

int buf_append_u32be(struct buf *buf, uint32_t value)
{
    uint8_t data[4];

    write_u32be(data, value);
    return buf_append(buf, data, sizeof(data));
}

int buf_append_u64be(struct buf *buf, uint64_t value)
{
    uint8_t data[8];

    write_u64be(data, value);
    return buf_append(buf, data, sizeof(data));
}

int buf_append_u64dec(struct buf *buf, uint64_t value)
{
    char digits[20];
    size_t start = sizeof(digits);

    do {
        digits[--start] = (char)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    return buf_append(buf, digits + start, sizeof(digits) - start);
}

int buf_append_i64dec(struct buf *buf, int64_t value)
{
    if (value >= 0) {
        return buf_append_u64dec(buf, (uint64_t)value);
    }
    (void)buf_append_byte(buf, '-'); /* a failure sticks, so the next call reports it */
    return buf_append_u64dec(buf, 0 - (uint64_t)value);
}

int buf_printf(struct buf *buf, const char *format, ...)
{
    char small[128];
    va_list args;

    va_start(args, format);
    int length = vsnprintf(small, sizeof(small), format, args);
    va_end(args);
    if (length < 0) {
        return buf_fail(buf);
    }
    if ((size_t)length < sizeof(small)) {
        return buf_append(buf, small, (size_t)length);
    }
    int r = buf_reserve(buf, (size_t)length);

    if (r == 0) {
        va_start(args, format);
        (void)vsnprintf((char *)buf->data + buf->size, (size_t)length + 1, format, args);
        va_end(args);
        buf->size += (size_t)length;
    }
    return r;
}

/* Appends the escape of a byte that JSON does not allow inside a string. */
static int append_json_escape(struct buf *buf, uint8_t byte)
{
    switch (byte) {
    case '"':
        return buf_append(buf, "\\\"", 2);
    case '\\':
        return buf_append(buf, "\\\\", 2);
    case '\b':
        return buf_append(buf, "\\b", 2);
    case '\t':
        return buf_append(buf, "\\t", 2);
    case '\n':
        return buf_append(buf, "\\n", 2);
    case '\f':
        return buf_append(buf, "\\f", 2);
    case '\r':
        return buf_append(buf, "\\r", 2);
    default: {
        static const char hex[] = "0123456789abcdef";
        char escape[6] = {'\\', 'u', '0', '0', hex[byte >> 4], hex[byte & 15]};

        return buf_append(buf, escape, sizeof(escape));
    }
    }
}

int buf_append_json_string(struct buf *buf, struct bytes utf8)
{
    size_t start = 0;

    (void)buf_reserve(buf, utf8.size + 2); /* a failure sticks; reported at the end */
    (void)buf_append_byte(buf, '"');
    for (size_t i = 0; i < utf8.size; i++) {
        uint8_t byte = utf8.data[i];

        if (byte < 0x20 || byte == '"' || byte == '\\') {
            (void)buf_append(buf, utf8.data + start, i - start);
            (void)append_json_escape(buf, byte);
            start = i + 1;
        }
    }
    if (start < utf8.size) {
        (void)buf_append(buf, utf8.data + start, utf8.size - start);
    }
    return buf_append_byte(buf, '"');
}

struct bytes buf_bytes(const struct buf *buf)
{
    return bytes_of(buf->data ? (const void *)buf->data : "", buf->size);
}

const char *buf_cstr(struct buf *buf)
{
    if (buf_reserve(buf, 0) != 0) {
        return "";
    }
    buf->data[buf->size] = '\0';
    return (const char *)buf->data;
}

uint32_t read_u32be(const uint8_t *data)
{
    return (uint32_t)data[0] << 24 | (uint32_t)data[1] << 16 | (uint32_t)data[2] << 8 |
           (uint32_t)data[3];
}

uint64_t read_u64be(const uint8_t *data)
{
    return (uint64_t)read_u32be(data) << 32 | read_u32be(data + 4);
}

void write_u32be(uint8_t *data, uint32_t value)
{
    data[0] = (uint8_t)(value >> 24);
    data[1] = (uint8_t)(value >> 16);
    data[2] = (uint8_t)(value >> 8);
    data[3] = (uint8_t)value;
}

void write_u64be(uint8_t *data, uint64_t value)
{
    write_u32be(data, (uint32_t)(value >> 32));
    write_u32be(data + 4, (uint32_t)value);
}
