/* request_view.c - see request_view.h.
 *
 * Rows, integers big-endian:
 *   key 'C' | u64 number     row: u8 state | u8 kind | u64 due time in ms | u64 sequence of the outcome
 *                                 | type of the command to the end
 *   key 'c' | u64 number     row: empty; until the request is concluded
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "projections/request_view.h"

#include "events/position.h"
#include "projections/association_view.h"
#include "projections/replacement_view.h"
#include "projections/timer_view.h"
#include "projections/views_internal.h"
#include "schemas/events.h"

#define KEY_SIZE 9

static int make_key(struct buf *key, char letter, uint64_t number, struct error *err)
{
    buf_clear(key);
    buf_append_byte(key, (uint8_t)letter);
    return buf_append_u64be(key, number) != 0 ? views_no_memory(err) : 0;
}

/* Text is borrowed from row. */
static int parse_request(struct bytes row, struct request *ret_request, struct error *err)
{
    struct row_reader reader = row_reader_of(row);
    struct request request;

    request.state = (enum request_state)row_take_u8(&reader);
    request.kind = (enum request_kind)row_take_u8(&reader);
    request.due_ms = (int64_t)row_take_u64(&reader);
    request.outcome = row_take_u64(&reader);
    request.command_type = reader.rest;
    if (reader.failed || request.state < REQUEST_PENDING ||
        request.state > REQUEST_GRANTED || request.kind < REQUEST_OF_ASSOCIATION ||
        request.kind > REQUEST_OF_REPLACEMENT)
        return row_damaged(VIEW_REQUESTS, err);
    *ret_request = request;
    return 0;
}

static int put_request(struct views *views, const struct request *request,
                       struct error *err)
{
    struct buf *row = &views->row;

    buf_clear(row);
    buf_append_byte(row, (uint8_t)request->state);
    buf_append_byte(row, (uint8_t)request->kind);
    buf_append_u64be(row, (uint64_t)request->due_ms);
    buf_append_u64be(row, request->outcome);
    if (buf_append_bytes(row, request->command_type) != 0)
        return views_no_memory(err);
    return row_set(views, buf_bytes(row), err);
}

/* ---- the fold ---------------------------------------------------------------------- */

static int set_pending(struct views *views, uint64_t number, bool pending,
                       struct error *err)
{
    struct bytes old;
    int code = make_key(&views->key, 'c', number, err);

    if (code == 0)
        code = row_open(views, VIEW_REQUESTS, buf_bytes(&views->key), &old, err);
    return code != 0 ? code
                     : row_set(views, pending ? bytes_of("", 0) : BYTES_ABSENT, err);
}

static struct bytes timer_name(uint64_t number, uint8_t storage[sizeof REQUEST_TIMER + 7])
{
    struct bytes prefix = bytes_str(REQUEST_TIMER);

    for (size_t i = 0; i < prefix.size; i++)
        storage[i] = prefix.data[i];
    write_u64be(storage + prefix.size, number);
    return bytes_of(storage, prefix.size + 8);
}

int request_number(const struct event *event, struct bytes request, uint64_t *ret_number,
                   struct error *err)
{
    struct position position;

    if (!position_parse(request, &position))
        return event_misfit(event, "its Request is none", err);
    *ret_number = position.sequence;
    return 0;
}

int request_open(struct views *views, const struct event *event, enum request_kind kind,
                 uint64_t number, uint32_t timeout_seconds, struct error *err)
{
    struct request request = {
        .state = REQUEST_PENDING,
        .kind = kind,
        .command_type = event->command_type,
        .due_ms = event->time_ms + (int64_t)timeout_seconds * 1000,
    };
    uint8_t name[sizeof REQUEST_TIMER + 7];
    struct bytes old;
    int code = make_key(&views->key, 'C', number, err);

    if (code == 0)
        code = row_open(views, VIEW_REQUESTS, buf_bytes(&views->key), &old, err);
    if (code == 0 && old.data != NULL)
        return event_misfit(event, "its request was made before", err);
    if (code == 0)
        code = put_request(views, &request, err);
    if (code == 0)
        code = set_pending(views, number, true, err);
    return code != 0 ? code
                     : timer_set(views, request.due_ms, timer_name(number, name), err);
}

/* Opens the row of a request that the event moves on. */
static int open_request(struct views *views, const struct event *event, uint64_t number,
                        struct request *ret_request, struct error *err)
{
    struct bytes old;
    int code = make_key(&views->key, 'C', number, err);

    if (code == 0)
        code = row_open(views, VIEW_REQUESTS, buf_bytes(&views->key), &old, err);
    if (code == 0 && old.data == NULL)
        return event_misfit(event, "it concludes a request that was never made", err);
    if (code == 0)
        code = parse_request(old, ret_request, err);
    if (code == 0 && ret_request->state != REQUEST_PENDING &&
        ret_request->state != REQUEST_GRANTED)
        return event_misfit(event, "it concludes a request a second time", err);
    return code;
}

static int clear_timer(struct views *views, const struct request *request,
                       uint64_t number, struct error *err)
{
    uint8_t name[sizeof REQUEST_TIMER + 7];

    return timer_clear(views, request->due_ms, timer_name(number, name), err);
}

int request_grant(struct views *views, const struct event *event, uint64_t number,
                  struct error *err)
{
    struct request request = {.state = REQUEST_NONE};
    int code = open_request(views, event, number, &request, err);

    if (code == 0 && request.state == REQUEST_GRANTED)
        return event_misfit(event, "it grants a request a second time", err);
    if (code != 0)
        return code;
    request.state = REQUEST_GRANTED;
    code = put_request(views, &request, err);
    return code != 0 ? code : clear_timer(views, &request, number, err);
}

int request_conclude(struct views *views, const struct event *event, uint64_t number,
                     enum request_state state, struct error *err)
{
    struct request request = {.state = REQUEST_NONE};
    int code = open_request(views, event, number, &request, err);

    if (code != 0)
        return code;
    const bool has_timer = request.state == REQUEST_PENDING;
    request.state = state;
    request.outcome = event->sequence;
    code = put_request(views, &request, err);
    if (code == 0)
        code = set_pending(views, number, false, err);
    return code != 0 || !has_timer ? code : clear_timer(views, &request, number, err);
}

int request_apply_refused(struct views *views, const struct event *event,
                          const void *data, struct error *err)
{
    const struct request_refused_v1 *refused = data;
    struct request request = {.state = REQUEST_NONE};
    uint64_t number = 0;
    int code = request_number(event, refused->request, &number, err);

    if (code == 0)
        code = request_get(views, number, &views->arena, &request, err);
    if (code < 0)
        return code;
    code = request_conclude(views, event, number, REQUEST_REFUSED, err);
    if (code != 0)
        return code;
    return request.kind == REQUEST_OF_REPLACEMENT
               ? replacement_drop(views, event, number, err)
               : association_drop(views, event, number, err);
}

/* ---- reading ----------------------------------------------------------------------- */

int request_get(struct views *views, uint64_t number, struct arena *arena,
                struct request *ret_request, struct error *err)
{
    int code = make_key(&views->key, 'C', number, err);

    *ret_request = (struct request){.state = REQUEST_NONE};
    if (code == 0)
        code = row_get(views, VIEW_REQUESTS, buf_bytes(&views->key), &views->row, err);
    if (code != 0)
        return code;
    struct bytes row = arena_copy(arena, buf_bytes(&views->row));
    return row.data == NULL ? views_no_memory(err) : parse_request(row, ret_request, err);
}

int request_next_pending(struct views *views, uint64_t from, uint64_t *ret_number,
                         struct error *err)
{
    struct kv_cursor *cursor = NULL;
    struct bytes key, row;
    int code = make_key(&views->key, 'c', from, err);

    if (code == 0)
        code = kv_cursor_open(views->kv, views->batch, KV_VIEWS, buf_bytes(&views->key),
                              bytes_str("d"), &cursor, err);
    if (code == 0)
        code = kv_cursor_next(cursor, &key, &row, err);
    if (code == 0 && key.size != KEY_SIZE)
        code = row_damaged(VIEW_REQUESTS, err);
    if (code == 0)
        *ret_number = read_u64be(key.data + 1);
    kv_cursor_close(cursor);
    return code;
}
