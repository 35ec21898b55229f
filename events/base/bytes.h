/* bytes.h - borrowed byte strings, growing buffers and a bump arena.
 *
 * struct bytes never owns: whoever hands one out says until when it is good. data == NULL
 * means absent, which differs from empty. struct buf owns its memory: BUF_INIT,
 * buf_release(). Appending to a buf ends the process when memory is out only through the
 * caller: every append returns 0 or ERROR_NO_MEMORY, and a buf that failed once stays
 * failed (buf.failed), so that a long sequence of appends may be checked once at its end.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef EVENTS_BASE_BYTES_H
#define EVENTS_BASE_BYTES_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct bytes {
    const uint8_t *data; /* NULL = absent */
    size_t size;
};

#define BYTES_ABSENT ((struct bytes){NULL, 0})

struct bytes bytes_of(const void *data, size_t size);
struct bytes bytes_str(const char *string);       /* NULL gives absent */
bool bytes_equal(struct bytes a, struct bytes b); /* absent equals absent only */
bool bytes_equal_str(struct bytes a, const char *string);
int bytes_compare(struct bytes a, struct bytes b); /* memcmp order, shorter first */
bool bytes_has_prefix(struct bytes a, struct bytes prefix);

struct buf {
    uint8_t *data;
    size_t size;
    size_t capacity;
    bool failed;
};

#define BUF_INIT                                                                         \
    {                                                                                    \
        NULL, 0, 0, false                                                                \
    }

void buf_release(struct buf *buf); /* frees; reusable afterwards */
void buf_clear(struct buf *buf);   /* empties, keeps the memory, forgets a failure */
int buf_reserve(struct buf *buf, size_t extra);
int buf_append(struct buf *buf, const void *data, size_t size);
int buf_append_bytes(struct buf *buf, struct bytes bytes);
int buf_append_str(struct buf *buf, const char *string);
int buf_append_byte(struct buf *buf, uint8_t byte);
int buf_append_u32be(struct buf *buf, uint32_t value);
int buf_append_u64be(struct buf *buf, uint64_t value);
int buf_append_u64dec(struct buf *buf, uint64_t value);
int buf_append_i64dec(struct buf *buf, int64_t value);
int buf_printf(struct buf *buf, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Appends string as a JSON string literal with its quotes: escapes only what JSON demands
 * (RFC 8785). */
int buf_append_json_string(struct buf *buf, struct bytes utf8);
/* borrowed until buf changes; never absent */
struct bytes buf_bytes(const struct buf *buf);
/* NUL-terminated, borrowed likewise; "" after a failure */
const char *buf_cstr(struct buf *buf);

/* Reads big-endian numbers; the caller has checked the size. */
uint32_t read_u32be(const uint8_t *data);
uint64_t read_u64be(const uint8_t *data);
void write_u32be(uint8_t *data, uint32_t value);
void write_u64be(uint8_t *data, uint64_t value);

/* A bump allocator: everything in it is freed at once. arena_reset() keeps the first
 * block. */
struct arena_block;
struct arena {
    struct arena_block *blocks;
};

#define ARENA_INIT                                                                       \
    {                                                                                    \
        NULL                                                                             \
    }

/* 16-byte aligned, zeroed; NULL = out of memory */
void *arena_alloc(struct arena *arena, size_t size);
/* absent stays absent; out of memory: absent, size 1 never */
struct bytes arena_copy(struct arena *arena, struct bytes bytes);
void arena_reset(struct arena *arena);
void arena_release(struct arena *arena);

#endif
