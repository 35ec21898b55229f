/* replacement_view.c - see replacement_view.h.
 *
 * Rows, integers big-endian:
 *   key 'Q' | u64 number of the request     row: u32 old device | u32 new device
 *   key 'q' | u32 old device                row: u64 number; only until the device is removed
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "projections/replacement_view.h"

#include "projections/request_view.h"
#include "projections/views_internal.h"
#include "schemas/events.h"

static int number_key(struct buf *key, uint64_t number, struct error *err)
{
    buf_clear(key);
    buf_append_byte(key, 'Q');
    return buf_append_u64be(key, number) != 0 ? views_no_memory(err) : 0;
}

static int device_key(struct buf *key, uint32_t old_device, struct error *err)
{
    buf_clear(key);
    buf_append_byte(key, 'q');
    return buf_append_u32be(key, old_device) != 0 ? views_no_memory(err) : 0;
}

/* Writes the row of views->key, or takes it away. */
static int set(struct views *views, struct bytes row, struct error *err)
{
    struct bytes old;
    int code = row_open(views, VIEW_REQUESTS, buf_bytes(&views->key), &old, err);

    return code != 0 ? code : row_set(views, row, err);
}

static int set_device(struct views *views, uint32_t old_device, struct bytes row,
                      struct error *err)
{
    int code = device_key(&views->key, old_device, err);

    return code != 0 ? code : set(views, row, err);
}

static int set_number(struct views *views, uint64_t number, struct bytes row,
                      struct error *err)
{
    int code = number_key(&views->key, number, err);

    return code != 0 ? code : set(views, row, err);
}

/* ---- the fold ---------------------------------------------------------------------- */

int replacement_apply_requested(struct views *views, const struct event *event,
                                const void *data, struct error *err)
{
    const struct replacement_requested_v1 *requested = data;
    uint8_t devices[8], row[8];
    uint64_t number = 0, present;
    int code = request_number(event, requested->request, &number, err);

    if (code == 0)
        code = replacement_of_device(views, requested->resource_id, &present, err);
    if (code == 0)
        return event_misfit(event, "the device is being replaced already", err);
    if (code < 0)
        return code;
    write_u32be(devices, requested->resource_id);
    write_u32be(devices + 4, requested->new_resource_id);
    write_u64be(row, number);
    code = set_number(views, number, bytes_of(devices, sizeof devices), err);
    if (code == 0)
        code = set_device(views, requested->resource_id, bytes_of(row, sizeof row), err);
    return code != 0 ? code
                     : request_open(views, event, REQUEST_OF_REPLACEMENT, number,
                                    requested->timeout_seconds, err);
}

/* Between two devices of one shard nothing was asked for. */
int replacement_apply_replaced(struct views *views, const struct event *event,
                               const void *data, struct error *err)
{
    const struct device_replaced_v1 *replaced = data;
    uint64_t number = 0;

    if (bytes_equal_str(event->command_type, "kinlog.ReplaceDevice.v1"))
        return 0;
    int code = request_number(event, replaced->request, &number, err);
    if (code == 0)
        code = set_device(views, replaced->resource_id, BYTES_ABSENT, err);
    return code != 0 ? code : request_grant(views, event, number, err);
}

int replacement_apply_completed(struct views *views, const struct event *event,
                                const void *data, struct error *err)
{
    const struct replacement_completed_v1 *completed = data;
    uint64_t number = 0;
    int code = request_number(event, completed->request, &number, err);

    if (code == 0)
        code = set_number(views, number, BYTES_ABSENT, err);
    return code != 0 ? code : request_conclude(views, event, number, REQUEST_ADDED, err);
}

int replacement_drop(struct views *views, const struct event *event, uint64_t number,
                     struct error *err)
{
    struct replacement replacement;
    int code = replacement_get(views, number, &replacement, err);

    if (code == 1)
        return event_misfit(event, "the replacement that was asked for is not there",
                            err);
    if (code == 0)
        code = set_device(views, replacement.old_device, BYTES_ABSENT, err);
    return code != 0 ? code : set_number(views, number, BYTES_ABSENT, err);
}

/* ---- reading ----------------------------------------------------------------------- */

int replacement_get(struct views *views, uint64_t number,
                    struct replacement *ret_replacement, struct error *err)
{
    int code = number_key(&views->key, number, err);

    if (code == 0)
        code = row_get(views, VIEW_REQUESTS, buf_bytes(&views->key), &views->row, err);
    if (code != 0)
        return code;
    struct row_reader reader = row_reader_of(buf_bytes(&views->row));
    ret_replacement->number = number;
    ret_replacement->old_device = row_take_u32(&reader);
    ret_replacement->new_device = row_take_u32(&reader);
    return row_reader_done(&reader) ? 0 : row_damaged(VIEW_REQUESTS, err);
}

int replacement_of_device(struct views *views, uint32_t old_device, uint64_t *ret_number,
                          struct error *err)
{
    int code = device_key(&views->key, old_device, err);

    if (code == 0)
        code = row_get(views, VIEW_REQUESTS, buf_bytes(&views->key), &views->row, err);
    if (code != 0)
        return code;
    struct row_reader reader = row_reader_of(buf_bytes(&views->row));
    *ret_number = row_take_u64(&reader);
    return row_reader_done(&reader) ? 0 : row_damaged(VIEW_REQUESTS, err);
}
