/* usage_view.c - who used which device, and how much in the last days: one row per pair.
 *
 * Row, integers big-endian:
 *   key 'U' | u32 resource id | folded user name
 *       u64 version | u32 login count | u64 last login in ms | u64 enough until in ms
 *       | u8 count, u32 day and u16 minutes each, ascending | user name to the end
 * While the minutes are enough, a timer is set for when they will be no more; its name is
 * the prefix and the row's key behind the 'U'. A row ends with its device.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "projections/usage_view.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "events/base/datetime.h"
#include "events/base/user_name.h"
#include "projections/timer_view.h"
#include "projections/views_internal.h"
#include "schemas/events.h"

#define KEY_NAME 5 /* where the folded name begins in a key */

/* ---- days -------------------------------------------------------------------------- */

uint32_t usage_minutes(const struct usage *usage, int64_t from, int64_t to)
{
    uint32_t minutes = 0;

    for (size_t i = 0; i < usage->day_count; i++) {
        if (usage->days[i].day >= from && usage->days[i].day <= to)
            minutes += usage->days[i].minutes;
    }
    return minutes;
}

bool usage_day_is_kept(int64_t day, int64_t today)
{
    return day > today - USAGE_DAYS_MAX && day <= today;
}

void usage_forget_days(struct usage *usage, int64_t today)
{
    size_t old = 0;

    while (old < usage->day_count && !usage_day_is_kept(usage->days[old].day, today))
        old++;
    usage->day_count -= old;
    memmove(usage->days, usage->days + old, usage->day_count * sizeof usage->days[0]);
}

void usage_set_day(struct usage *usage, int64_t day, uint32_t minutes)
{
    struct usage_day *at = usage->days;

    struct usage_day *end = usage->days + usage->day_count;
    while (at < end && at->day < day)
        at++;
    if (at == end || at->day != day) {
        /* They are different days out of those that are kept, so there is room. */
        assert(usage->day_count < USAGE_DAYS_MAX);
        memmove(at + 1, at, (size_t)(end - at) * sizeof *at);
        usage->day_count++;
    }
    *at = (struct usage_day){day, minutes};
}

/* ---- keys and rows ----------------------------------------------------------------- */

static void device_prefix(struct buf *key, uint32_t resource_id)
{
    buf_clear(key);
    buf_append_byte(key, 'U');
    buf_append_u32be(key, resource_id);
}

static int pair_key(struct buf *key, uint32_t resource_id, struct bytes user_name,
                    struct error *err)
{
    device_prefix(key, resource_id);
    if (user_name_fold(user_name, key) != 0 || key->failed)
        return views_no_memory(err);
    return 0;
}

/* Writes the open row. */
static int put_usage(struct views *views, const struct usage *usage, struct error *err)
{
    struct buf *row = &views->row;

    buf_clear(row);
    buf_append_u64be(row, usage->version);
    buf_append_u32be(row, usage->login_count);
    buf_append_u64be(row, (uint64_t)usage->last_login_ms);
    buf_append_u64be(row, (uint64_t)usage->enough_until_ms);
    buf_append_byte(row, (uint8_t)usage->day_count);
    for (size_t i = 0; i < usage->day_count; i++) {
        buf_append_u32be(row, (uint32_t)usage->days[i].day);
        buf_append_byte(row, (uint8_t)(usage->days[i].minutes >> 8));
        buf_append_byte(row, (uint8_t)usage->days[i].minutes);
    }
    buf_append_bytes(row, usage->unique_user_name);
    if (row->failed)
        return views_no_memory(err);
    return row_set(views, buf_bytes(row), err);
}

static void take_days(struct row_reader *reader, struct usage *usage)
{
    size_t count = row_take_u8(reader);

    if (count > USAGE_DAYS_MAX) {
        reader->failed = true;
        return;
    }
    for (size_t i = 0; i < count; i++) {
        usage->days[i].day = (int32_t)row_take_u32(reader);
        usage->days[i].minutes = (uint32_t)row_take_u8(reader) << 8;
        usage->days[i].minutes |= row_take_u8(reader);
        if (i > 0 && usage->days[i].day <= usage->days[i - 1].day)
            reader->failed = true;
    }
    usage->day_count = count;
}

/* The user name is borrowed from row. */
static int parse_usage(struct bytes key, struct bytes row, struct usage *ret_usage,
                       struct error *err)
{
    struct row_reader reader = row_reader_of(row);
    struct usage usage = {0};

    if (key.size < KEY_NAME || key.data[0] != 'U')
        return row_damaged(VIEW_USAGE, err);
    usage.resource_id = read_u32be(key.data + 1);
    usage.version = row_take_u64(&reader);
    usage.login_count = row_take_u32(&reader);
    usage.last_login_ms = (int64_t)row_take_u64(&reader);
    usage.enough_until_ms = (int64_t)row_take_u64(&reader);
    take_days(&reader, &usage);
    usage.unique_user_name = reader.rest;
    if (reader.failed || reader.rest.size == 0 || usage.enough_until_ms < 0)
        return row_damaged(VIEW_USAGE, err);
    *ret_usage = usage;
    return 0;
}

/* ---- reading ----------------------------------------------------------------------- */

static int get_by_key(struct views *views, struct bytes key, struct arena *arena,
                      struct usage *ret_usage, struct error *err)
{
    int code = row_get(views, VIEW_USAGE, key, &views->row, err);

    if (code == 0)
        code = parse_usage(key, buf_bytes(&views->row), ret_usage, err);
    if (code != 0)
        return code;
    ret_usage->unique_user_name = arena_copy(arena, ret_usage->unique_user_name);
    return ret_usage->unique_user_name.data == NULL ? views_no_memory(err) : 0;
}

int usage_get(struct views *views, uint32_t resource_id, struct bytes user_name,
              struct arena *arena, struct usage *ret_usage, struct error *err)
{
    int code = pair_key(&views->key, resource_id, user_name, err);

    return code != 0 ? code
                     : get_by_key(views, buf_bytes(&views->key), arena, ret_usage, err);
}

int usage_get_by_timer(struct views *views, struct bytes name, struct arena *arena,
                       struct usage *ret_usage, struct error *err)
{
    buf_clear(&views->key);
    buf_append_byte(&views->key, 'U');
    if (buf_append_bytes(&views->key, name) != 0)
        return views_no_memory(err);
    return get_by_key(views, buf_bytes(&views->key), arena, ret_usage, err);
}

/* Over the rows of one device, or of all (0). */
static int open_cursor(struct views *views, uint32_t resource_id,
                       struct kv_cursor **ret_cursor, struct error *err)
{
    struct buf from = BUF_INIT;
    struct buf to = BUF_INIT;
    int code;

    device_prefix(&from, resource_id);
    if (resource_id == 0 || resource_id == UINT32_MAX)
        buf_append_byte(&to, 'U' + 1);
    else
        device_prefix(&to, resource_id + 1);
    if (from.failed || to.failed)
        code = views_no_memory(err);
    else
        code = kv_cursor_open(views->kv, views->batch, KV_VIEWS, buf_bytes(&from),
                              buf_bytes(&to), ret_cursor, err);
    buf_release(&from);
    buf_release(&to);
    return code;
}

struct usage_scan {
    struct kv_cursor *cursor;
};

int usage_scan_open(struct views *views, uint32_t resource_id,
                    struct usage_scan **ret_scan, struct error *err)
{
    struct usage_scan *scan = calloc(1, sizeof *scan);

    if (scan == NULL)
        return views_no_memory(err);
    int code = open_cursor(views, resource_id, &scan->cursor, err);
    if (code != 0) {
        free(scan);
        return code;
    }
    *ret_scan = scan;
    return 0;
}

int usage_scan_next(struct usage_scan *scan, struct usage *ret_usage, struct error *err)
{
    struct bytes key, row;
    int code = kv_cursor_next(scan->cursor, &key, &row, err);

    return code != 0 ? code : parse_usage(key, row, ret_usage, err);
}

void usage_scan_close(struct usage_scan *scan)
{
    if (scan == NULL)
        return;
    kv_cursor_close(scan->cursor);
    free(scan);
}

/* ---- the fold ---------------------------------------------------------------------- */

static int timer_name(struct buf *name, struct bytes key, struct error *err)
{
    buf_clear(name);
    buf_append_str(name, USAGE_TIMER_PREFIX);
    return buf_append(name, key.data + 1, key.size - 1) != 0 ? views_no_memory(err) : 0;
}

/* The timer of a row goes from one time to another; 0 = none. */
static int move_timer(struct views *views, struct bytes key, int64_t from_ms,
                      int64_t to_ms, struct error *err)
{
    struct buf name = BUF_INIT;
    int code = timer_name(&name, key, err);

    if (code == 0 && from_ms != 0)
        code = timer_clear(views, from_ms, buf_bytes(&name), err);
    if (code == 0 && to_ms != 0)
        code = timer_set(views, to_ms, buf_bytes(&name), err);
    buf_release(&name);
    return code;
}

/* Opens the row of a pair and takes it apart: 0, 1 = there is none yet. Its key goes to
 * key. */
static int open_usage(struct views *views, uint32_t resource_id, struct bytes user_name,
                      struct buf *key, struct usage *ret_usage, struct error *err)
{
    struct bytes row;
    int code = pair_key(key, resource_id, user_name, err);

    if (code == 0)
        code = row_open(views, VIEW_USAGE, buf_bytes(key), &row, err);
    if (code != 0)
        return code;
    if (row.data != NULL)
        return parse_usage(buf_bytes(key), row, ret_usage, err);
    *ret_usage =
        (struct usage){.resource_id = resource_id, .unique_user_name = user_name};
    return 1;
}

/* Writes the open row as it is with this event, and moves its timer. */
static int close_usage(struct views *views, const struct event *event, struct bytes key,
                       int64_t was_until_ms, struct usage *usage, struct error *err)
{
    usage->version = event->sequence;
    int code = put_usage(views, usage, err);
    return code != 0 ? code
                     : move_timer(views, key, was_until_ms, usage->enough_until_ms, err);
}

/* RFC 3339, absent = 0. */
static int take_until(const struct event *event, struct bytes text, struct usage *usage,
                      struct error *err)
{
    usage->enough_until_ms = 0;
    if (text.data == NULL)
        return 0;
    if (!rfc3339_parse(text, &usage->enough_until_ms) || usage->enough_until_ms <= 0)
        return event_misfit(event, "its EnoughUntil is no time", err);
    return 0;
}

static int take_report(const struct event *event, const struct usage_reported_v1 *data,
                       struct usage *usage, struct error *err)
{
    int64_t start_ms, today = utc_day(event->time_ms);

    if (!rfc3339_parse(data->start, &start_ms))
        return event_misfit(event, "its Start is no time", err);
    if (data->has_last_login_time != (data->login_count > 0) ||
        (data->has_last_login_time &&
         !cim_datetime_parse(data->last_login_time, &usage->last_login_ms)))
        return event_misfit(event, "its LastLoginTime is no CIM datetime", err);
    if (data->has_day_minutes != usage_day_is_kept(utc_day(start_ms), today))
        return event_misfit(event, "its DayMinutes are not those of a day that is kept",
                            err);
    usage->login_count = data->login_count;
    usage_forget_days(usage, today);
    if (data->has_day_minutes)
        usage_set_day(usage, utc_day(start_ms), data->day_minutes);
    return take_until(event, data->has_enough_until ? data->enough_until : BYTES_ABSENT,
                      usage, err);
}

int usage_apply_reported(struct views *views, const struct event *event, const void *data,
                         struct error *err)
{
    const struct usage_reported_v1 *reported = data;
    struct buf key = BUF_INIT;
    struct usage usage = {0};

    if (user_name_fault(reported->unique_user_name) != NULL)
        return event_misfit(event, "its user name is none", err);
    int code = open_usage(views, reported->resource_id, reported->unique_user_name, &key,
                          &usage, err);
    int64_t was_until_ms = code == 0 ? usage.enough_until_ms : 0;
    if (code >= 0)
        code = take_report(event, reported, &usage, err);
    if (code == 0)
        code = close_usage(views, event, buf_bytes(&key), was_until_ms, &usage, err);
    buf_release(&key);
    return code;
}

int usage_apply_evaluated(struct views *views, const struct event *event,
                          const void *data, struct error *err)
{
    const struct usage_evaluated_v1 *evaluated = data;
    struct buf key = BUF_INIT;
    struct usage usage = {0};
    int code = open_usage(views, evaluated->resource_id, evaluated->unique_user_name,
                          &key, &usage, err);
    int64_t was_until_ms = code == 0 ? usage.enough_until_ms : 0;

    if (code == 1)
        code = event_misfit(event, "no use was reported", err);
    if (code == 0)
        code = take_until(
            event, evaluated->has_enough_until ? evaluated->enough_until : BYTES_ABSENT,
            &usage, err);
    if (code == 0)
        code = close_usage(views, event, buf_bytes(&key), was_until_ms, &usage, err);
    buf_release(&key);
    return code;
}

/* A row that is to go; in the views' arena. */
struct forgotten {
    struct forgotten *next;
    struct bytes key;
    int64_t enough_until_ms;
};

/* The rows of a device; nothing may change while they are read. */
static int collect(struct views *views, struct kv_cursor *cursor,
                   struct forgotten **ret_first, struct error *err)
{
    struct forgotten *first = NULL;
    struct bytes key, row;
    struct usage usage = {0};
    int code;

    while ((code = kv_cursor_next(cursor, &key, &row, err)) == 0) {
        struct forgotten *next = arena_alloc(&views->arena, sizeof *next);
        code = parse_usage(key, row, &usage, err);
        if (code != 0)
            return code;
        if (next == NULL)
            return views_no_memory(err);
        *next = (struct forgotten){first, arena_copy(&views->arena, key),
                                   usage.enough_until_ms};
        if (next->key.data == NULL)
            return views_no_memory(err);
        first = next;
    }
    *ret_first = first;
    return code < 0 ? code : 0;
}

static int forget(struct views *views, const struct forgotten *row, struct error *err)
{
    struct bytes old;
    int code = row_open(views, VIEW_USAGE, row->key, &old, err);

    if (code == 0)
        code = row_set(views, BYTES_ABSENT, err);
    if (code == 0)
        code = move_timer(views, row->key, row->enough_until_ms, 0, err);
    return code;
}

int usage_forget_device(struct views *views, uint32_t resource_id, struct error *err)
{
    struct kv_cursor *cursor = NULL;
    struct forgotten *row = NULL;
    int code = open_cursor(views, resource_id, &cursor, err);

    if (code == 0)
        code = collect(views, cursor, &row, err);
    kv_cursor_close(cursor);
    for (; code == 0 && row != NULL; row = row->next)
        code = forget(views, row, err);
    return code;
}
