/* reference_view.c - see reference_view.h.
 *
 * Row, integers big-endian:
 *   key 'F' | object, NUL | u32 shard of the request | u64 its sequence       row: u8 state
 *                                 | if REFERENCE_ADOPTING: u32 adopted | u32 wanted
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

static int parse_row(struct bytes row, struct reference *reference, struct error *err)
{
    struct row_reader reader = row_reader_of(row);

    reference->state = (enum reference_state)row_take_u8(&reader);
    reference->adopted = 0;
    reference->wanted = REFERENCE_COUNT_UNKNOWN;
    if (reference->state == REFERENCE_ADOPTING) {
        reference->adopted = row_take_u32(&reader);
        reference->wanted = row_take_u32(&reader);
    }
    if (!row_reader_done(&reader) || reference->state < REFERENCE_HELD ||
        reference->state > REFERENCE_ADOPTING)
        return row_damaged(VIEW_REFERENCES, err);
    return 0;
}

/* ---- the fold ---------------------------------------------------------------------- */

static int open_reference(struct views *views, const struct event *event,
                          struct bytes object, struct bytes request,
                          struct reference *ret_reference, struct error *err)
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
    *ret_reference = (struct reference){.state = REFERENCE_NONE};
    return old.data == NULL ? 0 : parse_row(old, ret_reference, err);
}

/* Writes the open row. */
static int put_reference(struct views *views, const struct reference *reference,
                         struct error *err)
{
    struct buf *row = &views->row;

    if (reference->state == REFERENCE_NONE)
        return row_set(views, BYTES_ABSENT, err);
    buf_clear(row);
    buf_append_byte(row, (uint8_t)reference->state);
    if (reference->state == REFERENCE_ADOPTING) {
        buf_append_u32be(row, reference->adopted);
        buf_append_u32be(row, reference->wanted);
    }
    return row->failed ? views_no_memory(err) : row_set(views, buf_bytes(row), err);
}

static int set_state(struct views *views, enum reference_state state, struct error *err)
{
    const struct reference reference = {.state = state,
                                        .wanted = REFERENCE_COUNT_UNKNOWN};

    return put_reference(views, &reference, err);
}

bool reference_is_held(enum reference_state state)
{
    return state == REFERENCE_HELD || state == REFERENCE_ADOPTING;
}

int reference_apply_added(struct views *views, const struct event *event,
                          const void *data, struct error *err)
{
    const struct reference_added_v1 *added = data;
    struct reference reference = {0};
    int code =
        open_reference(views, event, added->object, added->request, &reference, err);

    if (code == 0 && reference.state != REFERENCE_NONE)
        return event_misfit(event, "the reference is there already", err);
    return code != 0 ? code
                     : set_state(views,
                                 bytes_equal_str(added->kind, "replacement")
                                     ? REFERENCE_ADOPTING
                                     : REFERENCE_HELD,
                                 err);
}

/* What came too early has met its request. */
int reference_apply_refused(struct views *views, const struct event *event,
                            const void *data, struct error *err)
{
    const struct reference_refused_v1 *refused = data;
    struct reference reference = {0};
    int code =
        open_reference(views, event, refused->object, refused->request, &reference, err);

    if (code == 0 && reference_is_held(reference.state))
        return event_misfit(event, "the reference that it refuses is there", err);
    return code != 0 ? code : set_state(views, REFERENCE_NONE, err);
}

int reference_apply_released(struct views *views, const struct event *event,
                             const void *data, struct error *err)
{
    const struct reference_released_v1 *released = data;
    struct reference reference = {0};
    int code = open_reference(views, event, released->object, released->request,
                              &reference, err);

    if (code == 0 && reference.state == REFERENCE_RELEASED)
        return event_misfit(event, "the reference was released before", err);
    return code != 0 ? code
                     : set_state(views,
                                 reference_is_held(reference.state) ? REFERENCE_NONE
                                                                    : REFERENCE_RELEASED,
                                 err);
}

int reference_apply_ended(struct views *views, const struct event *event,
                          const void *data, struct error *err)
{
    const struct reference_ended_v1 *ended = data;
    struct reference reference = {0};
    int code =
        open_reference(views, event, ended->object, ended->request, &reference, err);

    if (code == 0 && reference.state != REFERENCE_HELD)
        return event_misfit(event, "there is no such reference", err);
    return code != 0 ? code : set_state(views, REFERENCE_NONE, err);
}

/* Between two devices of one shard nothing is referred to. */
int reference_apply_adopted(struct views *views, const struct event *event,
                            const void *data, struct error *err)
{
    const struct relationship_adopted_v1 *adopted = data;
    struct reference reference = {0};

    if (!bytes_equal_str(event->command_type, "kinlog.AdoptRelationship.v1"))
        return 0;
    int code =
        open_reference(views, event, event->key, adopted->request, &reference, err);
    if (code == 0 && reference.state != REFERENCE_ADOPTING)
        return event_misfit(event, "nothing is to be adopted for its request", err);
    reference.adopted++;
    return code != 0 ? code : put_reference(views, &reference, err);
}

int reference_apply_adoption_ended(struct views *views, const struct event *event,
                                   const void *data, struct error *err)
{
    const struct adoption_ended_v1 *ended = data;
    struct reference reference = {0};
    int code =
        open_reference(views, event, ended->object, ended->request, &reference, err);

    if (code == 0 && reference.state != REFERENCE_ADOPTING)
        return event_misfit(event, "nothing is to be adopted for its request", err);
    reference.wanted = ended->count;
    return code != 0 ? code : put_reference(views, &reference, err);
}

/* ---- reading ----------------------------------------------------------------------- */

int reference_get(struct views *views, struct bytes object,
                  const struct position *request, struct reference *ret_reference,
                  struct error *err)
{
    int code = make_key(&views->key, object, request, err);

    *ret_reference = (struct reference){
        .object = object, .request = *request, .state = REFERENCE_NONE};
    if (code == 0)
        code = row_get(views, VIEW_REFERENCES, buf_bytes(&views->key), &views->row, err);
    return code != 0 ? code : parse_row(buf_bytes(&views->row), ret_reference, err);
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
    struct bytes key, row;
    int code;

    do {
        code = kv_cursor_next(scan->cursor, &key, &row, err);
        if (code == 0)
            code = parse_row(row, ret_reference, err);
        if (code == 0 && key.size < 1 + 1 + REQUEST_SIZE)
            code = row_damaged(VIEW_REFERENCES, err);
    } while (code == 0 && !reference_is_held(ret_reference->state));
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
