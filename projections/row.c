/* row.c - see row.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "projections/row.h"

#include "projections/views_internal.h"

static enum kv_space space_of(enum view view)
{
    return view == VIEW_RECEIPTS ? KV_RECEIPTS : KV_VIEWS;
}

int row_get(struct views *views, enum view view, struct bytes key, struct buf *value,
            struct error *err)
{
    if (views->batch != NULL)
        return kv_batch_get(views->batch, space_of(view), key, value, err);
    return kv_get(views->kv, space_of(view), key, value, err);
}

int row_open_new(struct views *views, enum view view, struct bytes key, struct error *err)
{
    views->open_view = view;
    views->open_exists = false;
    buf_clear(&views->open_key);
    if (buf_append_bytes(&views->open_key, key) != 0)
        return error_set(err, ERROR_NO_MEMORY, "out of memory while reading a row");
    return 0;
}

int row_open(struct views *views, enum view view, struct bytes key, struct bytes *ret_old,
             struct error *err)
{
    int code = row_open_new(views, view, key, err);

    if (code == 0)
        code = row_get(views, view, buf_bytes(&views->open_key), &views->open_row, err);
    if (code < 0)
        return code;
    views->open_exists = code == 0;
    *ret_old = code == 0 ? buf_bytes(&views->open_row) : BYTES_ABSENT;
    return 0;
}

int row_set(struct views *views, struct bytes row, struct error *err)
{
    struct bytes key = buf_bytes(&views->open_key);
    struct bytes old = views->open_exists ? buf_bytes(&views->open_row) : BYTES_ABSENT;
    int code;

    if (views->batch == NULL)
        return error_set(err, ERROR_USAGE, "these views were opened for reading only");
    if (bytes_equal(old, row))
        return 0;
    if (row.data == NULL)
        code = kv_batch_delete(views->batch, space_of(views->open_view), key, err);
    else
        code = kv_batch_put(views->batch, space_of(views->open_view), key, row, err);
    if (code == 0)
        digest_change(&views->digests[views->open_view], views->hasher, key, old, row);
    return code;
}

void row_put_count(struct buf *row, size_t count)
{
    while (count >= 0x80) {
        buf_append_byte(row, (uint8_t)(0x80 | (count & 0x7f)));
        count >>= 7;
    }
    buf_append_byte(row, (uint8_t)count);
}

void row_put_text(struct buf *row, struct bytes text)
{
    row_put_count(row, text.data == NULL ? 0 : text.size + 1);
    if (text.data != NULL)
        buf_append_bytes(row, text);
}

struct row_reader row_reader_of(struct bytes row)
{
    return (struct row_reader){.rest = row, .failed = false};
}

/* Steps over size bytes; NULL if there are not as many. */
static const uint8_t *take(struct row_reader *reader, size_t size)
{
    const uint8_t *at = reader->rest.data;

    if (reader->failed || reader->rest.size < size) {
        reader->failed = true;
        return NULL;
    }
    reader->rest = bytes_of(at + size, reader->rest.size - size);
    return at;
}

uint8_t row_take_u8(struct row_reader *reader)
{
    const uint8_t *at = take(reader, 1);

    return at == NULL ? 0 : at[0];
}

uint32_t row_take_u32(struct row_reader *reader)
{
    const uint8_t *at = take(reader, 4);

    return at == NULL ? 0 : read_u32be(at);
}

uint64_t row_take_u64(struct row_reader *reader)
{
    const uint8_t *at = take(reader, 8);

    return at == NULL ? 0 : read_u64be(at);
}

size_t row_take_count(struct row_reader *reader)
{
    size_t count = 0;

    for (unsigned shift = 0; shift < 35; shift += 7) {
        uint8_t byte = row_take_u8(reader);
        count |= (size_t)(byte & 0x7f) << shift;
        if ((byte & 0x80) == 0)
            return reader->failed ? 0 : count;
    }
    reader->failed = true;
    return 0;
}

struct bytes row_take_text(struct row_reader *reader)
{
    size_t length = row_take_count(reader);

    if (length == 0)
        return BYTES_ABSENT;
    const uint8_t *at = take(reader, length - 1);
    return at == NULL ? BYTES_ABSENT : bytes_of(at, length - 1);
}

bool row_reader_done(const struct row_reader *reader)
{
    return !reader->failed && reader->rest.size == 0;
}
