/* kv.c - what every ordered store has in common: batches, and cursors over batch and
 * store.
 *
 * A batch is one ordered map of pending changes per space. A cursor walks the map and the
 * backend's scan side by side; where both have a key, the map's row counts. What was read
 * of receipts and views through a batch is kept (row_cache.h) until the store is changed
 * by somebody else than the batch.
 *
 * Keys of KV_META that are empty or begin with a NUL belong to the backends: nobody else
 * can write, read or list them.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "events/base/kv.h"

#include <assert.h>
#include <stdlib.h>

#include "events/base/kv_backend.h"
#include "events/base/row_cache.h"

/* How many rows are kept. A receipt is read twice while its command is decided, and then
 * hardly ever again; those of devices, policies and counters are read for ever. */
static const size_t rows_kept[KV_SPACES] = {[KV_RECEIPTS] = 64, [KV_VIEWS] = 8192};

struct kv_batch {
    struct kv *kv;
    struct ordered_map changes[KV_SPACES];
    /* as read through the batch while kv->writes was writes_seen; NULL = none is kept */
    struct row_cache *rows[KV_SPACES];
    uint64_t writes_seen;
};

struct kv_cursor {
    struct kv *kv;
    struct kv_scan *scan; /* NULL = the store has no more rows */
    struct bytes row_key; /* of the scan, not yet handed out; absent = none */
    struct bytes row_value;
    const struct ordered_entry *entry; /* of the batch, not yet handed out */
    bool has_to;
    struct buf to;
};

static const struct bytes meta_first = {(const uint8_t *)"\1", 1};

static bool key_is_reserved(enum kv_space space, struct bytes key)
{
    return space == KV_META && (key.size == 0 || key.data[0] == '\0');
}

void kv_close(struct kv *kv)
{
    if (kv) {
        assert(kv->cursors == 0);
        kv->ops->close(kv);
    }
}

int kv_get(struct kv *kv, enum kv_space space, struct bytes key, struct buf *value,
           struct error *err)
{
    buf_clear(value);
    if (key_is_reserved(space, key)) {
        return 1;
    }
    return kv->ops->get(kv, space, key, value, err);
}

int kv_refresh(struct kv *kv, struct error *err)
{
    kv->writes++; /* of another process, perhaps */
    return kv->ops->refresh(kv, err);
}

int kv_last_key(struct kv *kv, enum kv_space space, struct buf *ret_key,
                struct error *err)
{
    buf_clear(ret_key);
    int r = kv->ops->last_key(kv, space, ret_key, err);

    if (r == 0 && key_is_reserved(space, buf_bytes(ret_key))) {
        buf_clear(ret_key); /* reserved keys come first, so there is no other */
        return 1;
    }
    return r;
}

/* Says no to writing where it cannot go well. */
static int check_writable(struct kv *kv, struct error *err)
{
    if (!kv->writable) {
        return error_set(err, ERROR_USAGE, "the store is open for reading only");
    }
    if (kv->failed) {
        int r = error_set(err, kv->failed,
                          "a write to the store failed before; it takes no more until it "
                          "is closed and opened again");

        if (err) {
            err->fatal = true;
        }
        return r;
    }
    return 0;
}

/* After a failed write nobody knows what is on disk: no other may follow on this handle.
 * */
static int note_write(struct kv *kv, int r, struct error *err)
{
    kv->writes++;
    if (r < 0 && r != ERROR_NO_MEMORY) {
        kv->failed = r;
        if (err) {
            err->fatal = true;
        }
    }
    return r;
}

/* ---- batches ----------------------------------------------------------------------- */

struct kv_batch *kv_batch_new(struct kv *kv)
{
    struct kv_batch *batch = calloc(1, sizeof(*batch));
    bool failed = false;

    if (!batch) {
        return NULL;
    }
    batch->kv = kv;
    batch->writes_seen = kv->writes;
    for (int space = 0; space < KV_SPACES; space++) {
        ordered_map_init(&batch->changes[space], /* chunked= */ true);
        if (rows_kept[space] > 0) {
            batch->rows[space] = row_cache_new(rows_kept[space]);
            failed = failed || !batch->rows[space];
        }
    }
    if (failed) {
        kv_batch_free(batch);
        return NULL;
    }
    return batch;
}

void kv_batch_free(struct kv_batch *batch)
{
    if (batch) {
        for (int space = 0; space < KV_SPACES; space++) {
            ordered_map_release(&batch->changes[space]);
            row_cache_free(batch->rows[space]);
        }
        free(batch);
    }
}

static void clear_changes(struct kv_batch *batch)
{
    for (int space = 0; space < KV_SPACES; space++) {
        ordered_map_clear(&batch->changes[space]);
    }
}

static void forget_rows(struct kv_batch *batch)
{
    for (int space = 0; space < KV_SPACES; space++) {
        if (batch->rows[space]) {
            row_cache_clear(batch->rows[space]);
        }
    }
}

void kv_batch_clear(struct kv_batch *batch)
{
    forget_rows(batch); /* they are as the batch would have made them */
    clear_changes(batch);
}

/* What was read before somebody else changed the store is not known any more. */
static void forget_old_rows(struct kv_batch *batch)
{
    if (batch->writes_seen != batch->kv->writes) {
        forget_rows(batch);
        batch->writes_seen = batch->kv->writes;
    }
}

static int batch_set(struct kv_batch *batch, enum kv_space space, struct bytes key,
                     struct bytes value, struct error *err)
{
    if (key_is_reserved(space, key)) {
        return error_set(err, ERROR_INVALID,
                         "a key of this space may not be empty nor "
                         "begin with a NUL");
    }
    if (ordered_map_set(&batch->changes[space], key, value) < 0) {
        return error_set(err, ERROR_NO_MEMORY, "out of memory for a row of a batch");
    }
    if (batch->rows[space]) {
        row_cache_change(batch->rows[space], key, value);
    }
    return 0;
}

int kv_batch_put(struct kv_batch *batch, enum kv_space space, struct bytes key,
                 struct bytes value, struct error *err)
{
    return batch_set(batch, space, key, value.data ? value : bytes_str(""), err);
}

int kv_batch_delete(struct kv_batch *batch, enum kv_space space, struct bytes key,
                    struct error *err)
{
    return batch_set(batch, space, key, BYTES_ABSENT, err);
}

static int give_row(struct bytes row, struct buf *value, struct error *err)
{
    buf_clear(value);
    if (!row.data) {
        return 1;
    }
    if (buf_append_bytes(value, row) < 0) {
        return error_set(err, ERROR_NO_MEMORY, "out of memory for a row");
    }
    return 0;
}

static int get_uncached(struct kv_batch *batch, enum kv_space space, struct bytes key,
                        struct buf *value, struct error *err)
{
    const struct ordered_entry *entry = ordered_map_find(&batch->changes[space], key);

    if (!entry) {
        return kv_get(batch->kv, space, key, value, err);
    }
    return give_row(entry->value ? ordered_entry_value(entry) : BYTES_ABSENT, value, err);
}

int kv_batch_get(struct kv_batch *batch, enum kv_space space, struct bytes key,
                 struct buf *value, struct error *err)
{
    struct row_cache *rows = batch->rows[space];
    struct bytes row;

    forget_old_rows(batch);
    if (rows && row_cache_find(rows, key, &row)) {
        return give_row(row, value, err);
    }
    int r = get_uncached(batch, space, key, value, err);

    if (rows && r >= 0) {
        row_cache_put(rows, key, r == 0 ? buf_bytes(value) : BYTES_ABSENT);
    }
    return r;
}

size_t kv_batch_count(const struct kv_batch *batch)
{
    size_t count = 0;

    for (int space = 0; space < KV_SPACES; space++) {
        count += batch->changes[space].count;
    }
    return count;
}

int kv_batch_commit(struct kv_batch *batch, bool sync, struct error *err)
{
    struct kv *kv = batch->kv;
    int r = check_writable(kv, err);

    if (r < 0) {
        return r;
    }
    forget_old_rows(batch);
    r = note_write(kv, kv->ops->apply(kv, batch->changes, sync, err), err);
    if (r == 0) {
        clear_changes(batch);
        batch->writes_seen = kv->writes; /* the store is now as the batch had it */
    }
    return r;
}

/* ---- cursors ----------------------------------------------------------------------- */

/* The entry itself, or NULL if it lies behind the cursor's end. */
static const struct ordered_entry *entry_within(const struct kv_cursor *cursor,
                                                const struct ordered_entry *entry)
{
    if (entry && cursor->has_to &&
        bytes_compare(entry->key, buf_bytes(&cursor->to)) >= 0) {
        return NULL;
    }
    return entry;
}

static int cursor_init(struct kv_cursor *cursor, struct kv *kv, struct kv_batch *batch,
                       enum kv_space space, struct bytes from, struct bytes to,
                       struct error *err)
{
    cursor->kv = kv;
    cursor->has_to = to.data != NULL;
    if (buf_append_bytes(&cursor->to, to) < 0) {
        return error_set(err, ERROR_NO_MEMORY, "out of memory for a cursor");
    }
    if (!from.data) {
        from = bytes_str("");
    }
    if (key_is_reserved(space, from)) {
        from = meta_first;
    }
    if (cursor->has_to && bytes_compare(from, to) >= 0) {
        return 0; /* nothing lies in between */
    }
    if (batch) {
        cursor->entry =
            entry_within(cursor, ordered_map_seek(&batch->changes[space], from));
    }
    return kv->ops->scan_open(kv, space, from,
                              cursor->has_to ? buf_bytes(&cursor->to) : BYTES_ABSENT,
                              &cursor->scan, err);
}

int kv_cursor_open(struct kv *kv, struct kv_batch *batch_or_null, enum kv_space space,
                   struct bytes from, struct bytes to, struct kv_cursor **ret_cursor,
                   struct error *err)
{
    struct kv_cursor *cursor = calloc(1, sizeof(*cursor));

    if (!cursor) {
        return error_set(err, ERROR_NO_MEMORY, "out of memory for a cursor");
    }
    int r = cursor_init(cursor, kv, batch_or_null, space, from, to, err);

    if (r < 0) {
        buf_release(&cursor->to);
        free(cursor);
        return r;
    }
    kv->cursors++;
    *ret_cursor = cursor;
    return 0;
}

/* Has the store's next row at hand, if there is one. */
static int cursor_fetch(struct kv_cursor *cursor, struct error *err)
{
    if (cursor->row_key.data || !cursor->scan) {
        return 0;
    }
    int r = cursor->kv->ops->scan_next(cursor->scan, &cursor->row_key, &cursor->row_value,
                                       err);

    if (r > 0) {
        cursor->kv->ops->scan_close(cursor->scan);
        cursor->scan = NULL;
        return 0;
    }
    return r;
}

int kv_cursor_next(struct kv_cursor *cursor, struct bytes *ret_key,
                   struct bytes *ret_value, struct error *err)
{
    for (;;) {
        const struct ordered_entry *entry = cursor->entry;
        int r = cursor_fetch(cursor, err);

        if (r < 0) {
            return r;
        }
        bool has_row = cursor->row_key.data != NULL;

        if (!has_row && !entry) {
            return 1;
        }
        int order = !entry    ? 1
                    : has_row ? bytes_compare(entry->key, cursor->row_key)
                              : -1;

        if (order > 0) {
            *ret_key = cursor->row_key;
            *ret_value = cursor->row_value;
            cursor->row_key = BYTES_ABSENT;
            return 0;
        }
        if (order == 0) {
            cursor->row_key = BYTES_ABSENT; /* the batch has a newer one */
        }
        cursor->entry = entry_within(cursor, entry->next[0]);
        if (entry->value) {
            *ret_key = entry->key;
            *ret_value = ordered_entry_value(entry);
            return 0;
        }
    }
}

void kv_cursor_close(struct kv_cursor *cursor)
{
    if (cursor) {
        if (cursor->scan) {
            cursor->kv->ops->scan_close(cursor->scan);
        }
        cursor->kv->cursors--;
        buf_release(&cursor->to);
        free(cursor);
    }
}

/* ---- replacing a space ------------------------------------------------------------- */

static struct kv_fill_base *fill_base(struct kv_fill *fill)
{
    return (struct kv_fill_base *)fill;
}

int kv_fill_begin(struct kv *kv, enum kv_space space, struct kv_fill **ret_fill,
                  struct error *err)
{
    int r = check_writable(kv, err);

    if (r < 0) {
        return r;
    }
    if (space != KV_RECEIPTS && space != KV_VIEWS) {
        return error_set(err, ERROR_USAGE, "only receipts and views can be replaced");
    }
    if (kv->filling[space]) {
        return error_set(err, ERROR_USAGE, "the space is being replaced already");
    }
    r = kv->ops->fill_begin(kv, space, ret_fill, err);
    if (r == 0) {
        fill_base(*ret_fill)->kv = kv;
        fill_base(*ret_fill)->space = space;
        kv->filling[space] = true;
    }
    return r;
}

int kv_fill_put(struct kv_fill *fill, struct bytes key, struct bytes value,
                struct error *err)
{
    return fill_base(fill)->kv->ops->fill_put(fill, key,
                                              value.data ? value : bytes_str(""), err);
}

int kv_fill_finish(struct kv_fill *fill, struct error *err)
{
    struct kv *kv = fill_base(fill)->kv;
    int r = check_writable(kv, err);

    if (r < 0) {
        kv_fill_abandon(fill);
        return r;
    }
    kv->filling[fill_base(fill)->space] = false;
    return note_write(kv, kv->ops->fill_finish(fill, err), err);
}

void kv_fill_abandon(struct kv_fill *fill)
{
    if (fill) {
        struct kv *kv = fill_base(fill)->kv;

        kv->filling[fill_base(fill)->space] = false;
        kv->ops->fill_abandon(fill);
    }
}
