/* reference_view.c - see reference_view.h.
 *
 * Row, integers big-endian:
 *   key 'F' | object, NUL | u32 shard of the request | u64 its sequence       row: u8 state
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "projections/reference_view.h"

#include <stdlib.h>

#include "projections/views_internal.h"
#include "schemas/events.h"

#define REQUEST_SIZE 12 /* of shard and sequence, at the end of a key */

static int make_prefix(struct buf *key, struct bytes object, struct error *err)
{
    buf_clear(key);
    buf_append_byte(key, 'F');
    buf_append_bytes(key, object);
    return buf_append_byte(key, 0) != 0 ? views_no_memory(err) : 0;
}

static int make_key(struct buf *key, struct bytes object, const struct position *request,
                    struct error *err)
{
    int code = make_prefix(key, object, err);

    if (code != 0)
        return code;
    buf_append_u32be(key, request->shard);
    return buf_append_u64be(key, request->sequence) != 0 ? views_no_memory(err) : 0;
}

static int parse_state(struct bytes row, enum reference_state *ret_state,
                       struct error *err)
{
    if (row.size != 1 ||
        (row.data[0] != REFERENCE_HELD && row.data[0] != REFERENCE_RELEASED))
        return row_damaged(VIEW_REFERENCES, err);
    *ret_state = (enum reference_state)row.data[0];
    return 0;
}

/* ---- the fold ---------------------------------------------------------------------- */

static int open_reference(struct views *views, const struct event *event,
                          struct bytes object, struct bytes request,
                          enum reference_state *ret_state, struct error *err)
{
    struct position position;
    struct bytes old;

    if (!position_parse(request, &position))
        return event_misfit(event, "its Request is none", err);
    int code = make_key(&views->key, object, &position, err);
    if (code == 0)
        code = row_open(views, VIEW_REFERENCES, buf_bytes(&views->key), &old, err);
    if (code != 0)
        return code;
    *ret_state = REFERENCE_NONE;
    return old.data == NULL ? 0 : parse_state(old, ret_state, err);
}

static int set_state(struct views *views, enum reference_state state, struct error *err)
{
    uint8_t row = (uint8_t)state;

    return row_set(views, state == REFERENCE_NONE ? BYTES_ABSENT : bytes_of(&row, 1),
                   err);
}

int reference_apply_added(struct views *views, const struct event *event,
                          const void *data, struct error *err)
{
    const struct reference_added_v1 *added = data;
    enum reference_state state = REFERENCE_NONE;
    int code = open_reference(views, event, added->object, added->request, &state, err);

    if (code == 0 && state != REFERENCE_NONE)
        return event_misfit(event, "the reference is there already", err);
    return code != 0 ? code : set_state(views, REFERENCE_HELD, err);
}

/* What came too early has met its request. */
int reference_apply_refused(struct views *views, const struct event *event,
                            const void *data, struct error *err)
{
    const struct reference_refused_v1 *refused = data;
    enum reference_state state = REFERENCE_NONE;
    int code =
        open_reference(views, event, refused->object, refused->request, &state, err);

    if (code == 0 && state == REFERENCE_HELD)
        return event_misfit(event, "the reference that it refuses is there", err);
    return code != 0 ? code : set_state(views, REFERENCE_NONE, err);
}

int reference_apply_released(struct views *views, const struct event *event,
                             const void *data, struct error *err)
{
    const struct reference_released_v1 *released = data;
    enum reference_state state = REFERENCE_NONE;
    int code =
        open_reference(views, event, released->object, released->request, &state, err);

    if (code == 0 && state == REFERENCE_RELEASED)
        return event_misfit(event, "the reference was released before", err);
    return code != 0
               ? code
               : set_state(views,
                           state == REFERENCE_HELD ? REFERENCE_NONE : REFERENCE_RELEASED,
                           err);
}

int reference_apply_ended(struct views *views, const struct event *event,
                          const void *data, struct error *err)
{
    const struct reference_ended_v1 *ended = data;
    enum reference_state state = REFERENCE_NONE;
    int code = open_reference(views, event, ended->object, ended->request, &state, err);

    if (code == 0 && state != REFERENCE_HELD)
        return event_misfit(event, "there is no such reference", err);
    return code != 0 ? code : set_state(views, REFERENCE_NONE, err);
}

/* ---- reading ----------------------------------------------------------------------- */

int reference_get(struct views *views, struct bytes object,
                  const struct position *request, enum reference_state *ret_state,
                  struct error *err)
{
    int code = make_key(&views->key, object, request, err);

    *ret_state = REFERENCE_NONE;
    if (code == 0)
        code = row_get(views, VIEW_REFERENCES, buf_bytes(&views->key), &views->row, err);
    return code != 0 ? code : parse_state(buf_bytes(&views->row), ret_state, err);
}

struct reference_scan {
    struct kv_cursor *cursor;
};

int reference_scan_open(struct views *views, struct bytes object,
                        struct reference_scan **ret_scan, struct error *err)
{
    struct reference_scan *scan = calloc(1, sizeof *scan);
    struct buf to = BUF_INIT;
    int code = 0;

    if (scan == NULL)
        return views_no_memory(err);
    if (object.data == NULL) {
        code = make_prefix(&views->key, bytes_str(""), err);
        buf_append_byte(&to, 'F' + 1);
    } else {
        code = make_prefix(&views->key, object, err);
        buf_append(&to, views->key.data, views->key.size - 1);
        buf_append_byte(&to, 1); /* behind the NUL that ends the object */
    }
    if (code == 0 && to.failed)
        code = views_no_memory(err);
    if (code == 0)
        code = kv_cursor_open(views->kv, views->batch, KV_VIEWS, buf_bytes(&views->key),
                              buf_bytes(&to), &scan->cursor, err);
    buf_release(&to);
    if (code != 0) {
        free(scan);
        return code;
    }
    *ret_scan = scan;
    return 0;
}

int reference_scan_next(struct reference_scan *scan, struct reference *ret_reference,
                        struct error *err)
{
    enum reference_state state = REFERENCE_NONE;
    struct bytes key, row;
    int code;

    do {
        code = kv_cursor_next(scan->cursor, &key, &row, err);
        if (code == 0)
            code = parse_state(row, &state, err);
        if (code == 0 && key.size < 1 + 1 + REQUEST_SIZE)
            code = row_damaged(VIEW_REFERENCES, err);
    } while (code == 0 && state != REFERENCE_HELD);
    if (code != 0)
        return code;
    const uint8_t *request = key.data + key.size - REQUEST_SIZE;
    ret_reference->object = bytes_of(key.data + 1, key.size - 1 - 1 - REQUEST_SIZE);
    ret_reference->request.shard = read_u32be(request);
    ret_reference->request.sequence = read_u64be(request + 4);
    return 0;
}

void reference_scan_close(struct reference_scan *scan)
{
    if (scan == NULL)
        return;
    kv_cursor_close(scan->cursor);
    free(scan);
}
