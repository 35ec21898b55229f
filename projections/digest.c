/* digest.c - see digest.h. A digest answers "do two agents hold the same rows?" in 32
 * bytes, and costs two or three hashes per changed row.
 *
 * The digest of a view has 256 buckets. A row belongs to bucket SHA-256(key)[0]; a bucket
 * is the sum modulo 2^256 of SHA-256(key, row) over its rows, as a big-endian number, so
 * that rows may come and go in any order. key is the row's whole key in its space, its
 * first byte included. The digest shown is SHA-256 over the 256 buckets of 32 bytes each,
 * bucket 0 first, in lower-case hex.
 *
 * Rows in KV_META: key "digest/<view>/<first hex digit of the bucket>", value the 16
 * buckets that begin with it. Where all are zero there is no row. A full batch changes
 * nearly every bucket, and rows cost more than bytes; a small one changes a few.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "projections/digest.h"

#include <string.h>

#define ROW_BUCKETS 16
#define ROW_SIZE (ROW_BUCKETS * SHA256_SIZE)

static const char digits[] = "0123456789abcdef";
static const uint8_t zero[ROW_SIZE];

static void bucket_add(uint8_t bucket[SHA256_SIZE], const uint8_t hash[SHA256_SIZE])
{
    unsigned carry = 0;

    for (size_t at = SHA256_SIZE; at > 0;) {
        at -= 8;
        uint64_t sum = read_u64be(bucket + at) + carry;
        carry = sum < carry;
        sum += read_u64be(hash + at);
        carry += sum < read_u64be(hash + at);
        write_u64be(bucket + at, sum);
    }
}

static void bucket_subtract(uint8_t bucket[SHA256_SIZE], const uint8_t hash[SHA256_SIZE])
{
    unsigned borrow = 0;

    for (size_t at = SHA256_SIZE; at > 0;) {
        at -= 8;
        uint64_t left = read_u64be(bucket + at), taken = read_u64be(hash + at);
        write_u64be(bucket + at, left - taken - borrow);
        borrow = left < taken || (left == taken && borrow > 0);
    }
}

static void hash_row(struct sha256 *hasher, struct bytes key, struct bytes row,
                     uint8_t ret_hash[SHA256_SIZE])
{
    sha256_begin(hasher);
    sha256_add(hasher, key.data, key.size);
    sha256_add(hasher, row.data, row.size);
    sha256_end(hasher, ret_hash);
}

void digest_change(struct digest *digest, struct sha256 *hasher, struct bytes key,
                   struct bytes old_row, struct bytes new_row)
{
    uint8_t hash[SHA256_SIZE];

    hash_row(hasher, key, bytes_of("", 0), hash);
    size_t index = hash[0];
    if (old_row.data != NULL) {
        hash_row(hasher, key, old_row, hash);
        bucket_subtract(digest->buckets[index], hash);
    }
    if (new_row.data != NULL) {
        hash_row(hasher, key, new_row, hash);
        bucket_add(digest->buckets[index], hash);
    }
    digest->changed[index] = true;
}

void digest_hex(const struct digest *digest, char ret_hex[2 * SHA256_SIZE + 1])
{
    uint8_t hash[SHA256_SIZE];

    sha256_once(digest->buckets, sizeof digest->buckets, hash);
    for (size_t i = 0; i < SHA256_SIZE; i++) {
        ret_hex[2 * i] = digits[hash[i] >> 4];
        ret_hex[2 * i + 1] = digits[hash[i] & 0xf];
    }
    ret_hex[2 * SHA256_SIZE] = '\0';
}

static int row_key(struct buf *key, size_t view, size_t index)
{
    buf_clear(key);
    return buf_printf(key, "digest/%s/%zx", view_names[view], index / ROW_BUCKETS);
}

/* Splits "digest/<view>/<digit>"; *ret_index is the row's first bucket. */
static bool parse_row_key(struct bytes key, size_t *ret_view, size_t *ret_index)
{
    const size_t prefix_size = strlen("digest/");

    for (size_t view = 0; view < VIEWS; view++) {
        size_t name_size = strlen(view_names[view]);
        if (key.size != prefix_size + name_size + 2 ||
            memcmp(key.data + prefix_size, view_names[view], name_size) != 0 ||
            key.data[prefix_size + name_size] != '/')
            continue;
        const char *digit = strchr(digits, key.data[key.size - 1]);
        if (digit == NULL || *digit == '\0')
            continue;
        *ret_view = view;
        *ret_index = (size_t)(digit - digits) * ROW_BUCKETS;
        return true;
    }
    return false;
}

static int open_rows(struct kv *kv, struct kv_batch *batch, struct kv_cursor **ret_cursor,
                     struct error *err)
{
    return kv_cursor_open(kv, batch, KV_META, bytes_str("digest/"), bytes_str("digest0"),
                          ret_cursor, err);
}

int digests_load(struct digest digests[VIEWS], struct kv *kv, struct kv_batch *batch,
                 struct error *err)
{
    struct kv_cursor *cursor = NULL;
    struct bytes key, value;
    int code = open_rows(kv, batch, &cursor, err);

    if (code != 0)
        return code;
    memset(digests, 0, VIEWS * sizeof digests[0]);
    while ((code = kv_cursor_next(cursor, &key, &value, err)) == 0) {
        size_t view, index;
        if (!parse_row_key(key, &view, &index) || value.size != ROW_SIZE) {
            code = error_set(
                err, ERROR_CORRUPT,
                "a digest row of the store is malformed; `rebuild` makes it anew");
            break;
        }
        memcpy(digests[view].buckets[index], value.data, ROW_SIZE);
    }
    kv_cursor_close(cursor);
    return code < 0 ? code : 0;
}

static bool row_changed(const struct digest *digest, size_t index)
{
    return memchr(digest->changed + index, 1, ROW_BUCKETS) != NULL;
}

/* The row that begins with bucket index. */
static int flush_row(const struct digest *digest, size_t view, size_t index,
                     struct buf *key, struct kv_batch *batch, struct error *err)
{
    const uint8_t *row = digest->buckets[index];

    if (row_key(key, view, index) != 0)
        return error_set(err, ERROR_NO_MEMORY, "out of memory while writing a digest");
    if (memcmp(row, zero, ROW_SIZE) == 0)
        return kv_batch_delete(batch, KV_META, buf_bytes(key), err);
    return kv_batch_put(batch, KV_META, buf_bytes(key), bytes_of(row, ROW_SIZE), err);
}

int digests_flush(struct digest digests[VIEWS], struct kv_batch *batch, struct error *err)
{
    struct buf key = BUF_INIT;
    int code = 0;

    for (size_t view = 0; view < VIEWS && code == 0; view++) {
        for (size_t index = 0; index < DIGEST_BUCKETS && code == 0;
             index += ROW_BUCKETS) {
            if (!row_changed(&digests[view], index))
                continue;
            code = flush_row(&digests[view], view, index, &key, batch, err);
            if (code == 0)
                memset(digests[view].changed + index, false, ROW_BUCKETS);
        }
    }
    buf_release(&key);
    return code;
}

static int delete_rows(struct kv *kv, struct kv_batch *batch, struct error *err)
{
    struct kv_cursor *cursor = NULL;
    struct bytes key, value;
    int code = open_rows(kv, /* batch= */ NULL, &cursor, err);

    while (code == 0 && (code = kv_cursor_next(cursor, &key, &value, err)) == 0)
        code = kv_batch_delete(batch, KV_META, key, err);
    kv_cursor_close(cursor);
    return code < 0 ? code : 0;
}

int digests_replace(const struct digest digests[VIEWS], struct kv *kv,
                    struct kv_batch *batch, struct error *err)
{
    struct buf key = BUF_INIT;
    int code = delete_rows(kv, batch, err);

    for (size_t view = 0; view < VIEWS && code == 0; view++) {
        for (size_t index = 0; index < DIGEST_BUCKETS && code == 0; index += ROW_BUCKETS)
            code = flush_row(&digests[view], view, index, &key, batch, err);
    }
    buf_release(&key);
    return code;
}
