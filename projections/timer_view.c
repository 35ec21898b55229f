/* timer_view.c - see timer_view.h.
 *
 * Row: key 'T' | u64 due time in ms, big-endian | name to the end; the row is empty. So
 * the first row is the timer that is due first.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "projections/timer_view.h"

#include "projections/views_internal.h"

#define KEY_NAME 9 /* where the name begins in a key */

static int open_timer(struct views *views, int64_t due_ms, struct bytes name,
                      struct error *err)
{
    struct bytes old;

    buf_clear(&views->key);
    buf_append_byte(&views->key, 'T');
    buf_append_u64be(&views->key, (uint64_t)due_ms);
    if (buf_append_bytes(&views->key, name) != 0)
        return views_no_memory(err);
    return row_open(views, VIEW_TIMERS, buf_bytes(&views->key), &old, err);
}

int timer_set(struct views *views, int64_t due_ms, struct bytes name, struct error *err)
{
    if (due_ms < 0)
        return error_set(err, ERROR_INVALID, "a timer cannot be due before 1970");
    int code = open_timer(views, due_ms, name, err);
    return code != 0 ? code : row_set(views, bytes_of("", 0), err);
}

int timer_clear(struct views *views, int64_t due_ms, struct bytes name, struct error *err)
{
    int code = open_timer(views, due_ms, name, err);
    return code != 0 ? code : row_set(views, BYTES_ABSENT, err);
}

/* The first timer; its name goes to ret_name unless that is NULL. */
static int first_timer(struct views *views, int64_t *ret_due_ms, struct buf *ret_name,
                       struct error *err)
{
    struct kv_cursor *cursor = NULL;
    struct bytes key, row;
    int code = kv_cursor_open(views->kv, views->batch, KV_VIEWS, bytes_str("T"),
                              bytes_str("U"), &cursor, err);

    if (code != 0)
        return code;
    code = kv_cursor_next(cursor, &key, &row, err);
    if (code == 0 && (key.size < KEY_NAME || row.size != 0 || key.data[1] >= 0x80))
        code = row_damaged(VIEW_TIMERS, err);
    if (code == 0) {
        *ret_due_ms = (int64_t)read_u64be(key.data + 1);
        if (ret_name != NULL) {
            buf_clear(ret_name);
            if (buf_append(ret_name, key.data + KEY_NAME, key.size - KEY_NAME) != 0)
                code = views_no_memory(err);
        }
    }
    kv_cursor_close(cursor);
    return code;
}

int timer_next(struct views *views, int64_t *ret_due_ms, struct error *err)
{
    return first_timer(views, ret_due_ms, /* ret_name= */ NULL, err);
}

int timer_due(struct views *views, int64_t now_ms, int64_t *ret_due_ms,
              struct buf *ret_name, struct error *err)
{
    int64_t due_ms;
    int code = first_timer(views, &due_ms, ret_name, err);

    if (code != 0)
        return code;
    if (due_ms > now_ms)
        return 1;
    *ret_due_ms = due_ms;
    return 0;
}
