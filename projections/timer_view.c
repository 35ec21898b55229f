/* timer_view.c - see timer_view.h.
 *
 * Row: key 'T' | u64 due time in ms, big-endian | name to the end; the row is empty. So
 * the first row is the timer that is due first.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "projections/timer_view.h"

#include <stdlib.h>

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

struct timer_scan {
    struct kv_cursor *cursor;
    int64_t now_ms;
};

int timer_scan_open(struct views *views, int64_t now_ms, struct timer_scan **ret_scan,
                    struct error *err)
{
    struct timer_scan *scan = calloc(1, sizeof *scan);

    if (scan == NULL) {
        (void)views_no_memory(err);
        return ERROR_NO_MEMORY;
    }
    scan->now_ms = now_ms;
    int code = kv_cursor_open(views->kv, views->batch, KV_VIEWS, bytes_str("T"),
                              bytes_str("U"), &scan->cursor, err);
    if (code != 0) {
        free(scan);
        return code;
    }
    *ret_scan = scan;
    return 0;
}

int timer_scan_next(struct timer_scan *scan, int64_t *ret_due_ms, struct bytes *ret_name,
                    struct error *err)
{
    struct bytes key, row;
    int code = kv_cursor_next(scan->cursor, &key, &row, err);

    if (code != 0)
        return code;
    if (key.size < KEY_NAME || row.size != 0 || key.data[1] >= 0x80)
        return row_damaged(VIEW_TIMERS, err);
    *ret_due_ms = (int64_t)read_u64be(key.data + 1);
    *ret_name = bytes_of(key.data + KEY_NAME, key.size - KEY_NAME);
    return *ret_due_ms > scan->now_ms ? 1 : 0;
}

void timer_scan_close(struct timer_scan *scan)
{
    if (scan == NULL)
        return;
    kv_cursor_close(scan->cursor);
    free(scan);
}

int timer_next(struct views *views, int64_t *ret_due_ms, struct error *err)
{
    struct timer_scan *scan = NULL;
    struct bytes name;
    int code = timer_scan_open(views, INT64_MAX, &scan, err);

    if (code == 0)
        code = timer_scan_next(scan, ret_due_ms, &name, err);
    timer_scan_close(scan);
    return code;
}
