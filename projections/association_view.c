/* association_view.c - see association_view.h.
 *
 * Rows, integers big-endian, text = varint(length + 1) and bytes, 0 = absent:
 *   key 'A' | u32 source | u32 restore
 *       u64 version | u64 number | u8 pending | u8 behavior
 *       | u64 creation, release, deletion of the store, each in ms + 1, 0 = never
 *       | text store path | varint count of users | u32 locale id, text name of each
 *   key 'M' | u64 number                        row: u32 source | u32 restore
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "projections/association_view.h"

#include <stdlib.h>

#include "events/base/datetime.h"
#include "events/position.h"
#include "projections/request_view.h"
#include "projections/views_internal.h"
#include "schemas/events.h"

#define KEY_SIZE 9

enum migration_type association_type(const struct association *association)
{
    return association->source == association->restore ? MIGRATION_IN_PLACE
                                                       : MIGRATION_SIDE_BY_SIDE;
}

enum migration_status association_status(const struct association *association)
{
    if (association->store_release_ms != DATE_NEVER)
        return MIGRATION_COMPLETED;
    return association->store_creation_ms != DATE_NEVER ? MIGRATION_IN_PROGRESS
                                                        : MIGRATION_NOT_STARTED;
}

bool association_in_progress(const struct association *association)
{
    return association->store_path.data != NULL &&
           association->store_release_ms == DATE_NEVER &&
           association->store_deletion_ms == DATE_NEVER;
}

/* ---- keys and rows ----------------------------------------------------------------- */

static int pair_key(struct buf *key, uint32_t source, uint32_t restore, struct error *err)
{
    buf_clear(key);
    buf_append_byte(key, 'A');
    buf_append_u32be(key, source);
    return buf_append_u32be(key, restore) != 0 ? views_no_memory(err) : 0;
}

static int number_key(struct buf *key, uint64_t number, struct error *err)
{
    buf_clear(key);
    buf_append_byte(key, 'M');
    return buf_append_u64be(key, number) != 0 ? views_no_memory(err) : 0;
}

static void put_date(struct buf *row, int64_t time_ms)
{
    buf_append_u64be(row, time_ms == DATE_NEVER ? 0 : (uint64_t)time_ms + 1);
}

static int64_t take_date(struct row_reader *reader)
{
    uint64_t stored = row_take_u64(reader);

    return stored == 0 ? DATE_NEVER : (int64_t)(stored - 1);
}

/* Writes the open row. */
static int put_association(struct views *views, const struct association *association,
                           struct error *err)
{
    struct buf *row = &views->row;

    buf_clear(row);
    buf_append_u64be(row, association->version);
    buf_append_u64be(row, association->number);
    buf_append_byte(row, association->pending ? 1 : 0);
    buf_append_byte(row, (uint8_t)association->behavior);
    put_date(row, association->store_creation_ms);
    put_date(row, association->store_release_ms);
    put_date(row, association->store_deletion_ms);
    row_put_text(row, association->store_path);
    row_put_count(row, association->user_count);
    for (size_t i = 0; i < association->user_count; i++) {
        buf_append_u32be(row, association->users[i].locale_id);
        row_put_text(row, association->users[i].name);
    }
    if (row->failed)
        return views_no_memory(err);
    return row_set(views, buf_bytes(row), err);
}

/* The list lives in arena, text is borrowed from row. */
static int take_users(struct row_reader *reader, struct arena *arena,
                      struct association *association, struct error *err)
{
    association->user_count = row_take_count(reader);
    if (reader->failed || association->user_count > ASSOCIATION_USERS_MAX)
        return row_damaged(VIEW_ASSOCIATIONS, err);
    if (association->user_count == 0)
        return 0;
    association->users =
        arena_alloc(arena, association->user_count * sizeof association->users[0]);
    if (association->users == NULL)
        return views_no_memory(err);
    for (size_t i = 0; i < association->user_count; i++) {
        association->users[i].locale_id = row_take_u32(reader);
        association->users[i].name = row_take_text(reader);
    }
    return 0;
}

static int parse_association(struct bytes key, struct bytes row, struct arena *arena,
                             struct association *ret_association, struct error *err)
{
    struct row_reader reader = row_reader_of(row);
    struct association association = {0};

    if (key.size != KEY_SIZE)
        return row_damaged(VIEW_ASSOCIATIONS, err);
    association.source = read_u32be(key.data + 1);
    association.restore = read_u32be(key.data + 5);
    association.version = row_take_u64(&reader);
    association.number = row_take_u64(&reader);
    association.pending = row_take_u8(&reader) != 0;
    association.behavior = row_take_u8(&reader);
    association.store_creation_ms = take_date(&reader);
    association.store_release_ms = take_date(&reader);
    association.store_deletion_ms = take_date(&reader);
    association.store_path = row_take_text(&reader);
    int code = take_users(&reader, arena, &association, err);
    if (code != 0)
        return code;
    if (!row_reader_done(&reader))
        return row_damaged(VIEW_ASSOCIATIONS, err);
    *ret_association = association;
    return 0;
}

/* ---- the fold ---------------------------------------------------------------------- */

/* The number of a MigrationID; its shard is this one. */
static int number_of(const struct event *event, struct bytes migration_id,
                     uint64_t *ret_number, struct error *err)
{
    struct position position;

    if (!position_parse(migration_id, &position))
        return event_misfit(event, "its MigrationID is none", err);
    *ret_number = position.sequence;
    return 0;
}

/* Opens the row of a pair and reads it; it must be there or must not be. Text and users
 * are borrowed from the open row and views->arena. */
static int open_pair(struct views *views, const struct event *event, uint32_t source,
                     uint32_t restore, bool exists, struct association *ret_association,
                     struct error *err)
{
    struct bytes old;
    int code = pair_key(&views->key, source, restore, err);

    if (code == 0)
        code = row_open(views, VIEW_ASSOCIATIONS, buf_bytes(&views->key), &old, err);
    if (code != 0)
        return code;
    if ((old.data != NULL) != exists)
        return event_misfit(event,
                            exists ? "there is no such association"
                                   : "the association is there already",
                            err);
    if (exists)
        return parse_association(buf_bytes(&views->key), old, &views->arena,
                                 ret_association, err);
    *ret_association = (struct association){
        .source = source,
        .restore = restore,
        .store_creation_ms = DATE_NEVER,
        .store_release_ms = DATE_NEVER,
        .store_deletion_ms = DATE_NEVER,
    };
    return 0;
}

static int set_number(struct views *views, const struct association *association,
                      bool there, struct error *err)
{
    uint8_t pair[8];
    struct bytes old;
    int code = number_key(&views->key, association->number, err);

    if (code == 0)
        code = row_open(views, VIEW_ASSOCIATIONS, buf_bytes(&views->key), &old, err);
    write_u32be(pair, association->source);
    write_u32be(pair + 4, association->restore);
    return code != 0
               ? code
               : row_set(views, there ? bytes_of(pair, sizeof pair) : BYTES_ABSENT, err);
}

/* The users of an event; each type of event has an item of its own, all of one shape. */
#define TAKE_USERS(association, data)                                                    \
    do {                                                                                 \
        size_t count_ = (data)->has_user_names ? (data)->user_names.count : 0;           \
        (association)->users =                                                           \
            arena_alloc(&views->arena, (count_ + 1) * sizeof(association)->users[0]);    \
        if ((association)->users == NULL)                                                \
            return views_no_memory(err);                                                 \
        for (size_t i_ = 0; i_ < count_; i_++) {                                         \
            (association)->users[i_].locale_id = (data)->user_names.items[i_].locale_id; \
            (association)->users[i_].name = (data)->user_names.items[i_].user_name;      \
        }                                                                                \
        (association)->user_count = count_;                                              \
    } while (0)

int association_apply_requested(struct views *views, const struct event *event,
                                const void *data, struct error *err)
{
    const struct association_requested_v1 *requested = data;
    struct association association = {0};
    int code = open_pair(views, event, requested->source_client_resource_id,
                         requested->restore_client_resource_id, /* exists= */ false,
                         &association, err);

    if (code == 0)
        code = number_of(event, requested->migration_id, &association.number, err);
    if (code != 0)
        return code;
    association.version = event->sequence;
    association.pending = true;
    association.behavior = requested->migration_behavior;
    TAKE_USERS(&association, requested);
    code = put_association(views, &association, err);
    if (code == 0)
        code = set_number(views, &association, /* there= */ true, err);
    return code != 0 ? code
                     : request_open(views, event, REQUEST_OF_ASSOCIATION,
                                    association.number, requested->timeout_seconds, err);
}

/* New, or confirmed. */
int association_apply_added(struct views *views, const struct event *event,
                            const void *data, struct error *err)
{
    const struct association_added_v1 *added = data;
    struct association association = {0};
    struct request request = {0};
    uint64_t number = 0;
    int code = number_of(event, added->migration_id, &number, err);

    if (code == 0)
        code = request_get(views, number, &views->arena, &request, err);
    if (code < 0)
        return code;
    const bool asked = request.state == REQUEST_PENDING;
    code = open_pair(views, event, added->source_client_resource_id,
                     added->restore_client_resource_id, /* exists= */ asked, &association,
                     err);
    if (code != 0)
        return code;
    association.number = number;
    association.version = event->sequence;
    association.pending = false;
    association.behavior = added->migration_behavior;
    TAKE_USERS(&association, added);
    code = put_association(views, &association, err);
    if (code == 0)
        code = set_number(views, &association, /* there= */ true, err);
    if (code == 0 && asked)
        code = request_conclude(views, event, number, REQUEST_ADDED, err);
    return code;
}

int association_apply_changed(struct views *views, const struct event *event,
                              const void *data, struct error *err)
{
    const struct association_changed_v1 *changed = data;
    struct association association = {0};
    int code = open_pair(views, event, changed->source_client_resource_id,
                         changed->restore_client_resource_id, /* exists= */ true,
                         &association, err);

    if (code != 0)
        return code;
    association.version = event->sequence;
    association.behavior = changed->migration_behavior;
    TAKE_USERS(&association, changed);
    return put_association(views, &association, err);
}

static int drop(struct views *views, const struct association *association,
                struct error *err)
{
    int code = row_set(views, BYTES_ABSENT, err);

    return code != 0 ? code : set_number(views, association, /* there= */ false, err);
}

int association_apply_deleted(struct views *views, const struct event *event,
                              const void *data, struct error *err)
{
    const struct association_deleted_v1 *deleted = data;
    struct association association = {0};
    int code = open_pair(views, event, deleted->source_client_resource_id,
                         deleted->restore_client_resource_id, /* exists= */ true,
                         &association, err);

    return code != 0 ? code : drop(views, &association, err);
}

/* A row as it is, with the version of the event; what else changes is the caller's. */
static int open_for_step(struct views *views, const struct event *event, uint32_t source,
                         uint32_t restore, struct association *ret_association,
                         struct error *err)
{
    int code = open_pair(views, event, source, restore, /* exists= */ true,
                         ret_association, err);

    ret_association->version = event->sequence;
    return code;
}

int association_apply_capture_started(struct views *views, const struct event *event,
                                      const void *data, struct error *err)
{
    const struct capture_started_v1 *started = data;
    struct association association = {0};
    int code = open_for_step(views, event, started->source_client_resource_id,
                             started->restore_client_resource_id, &association, err);

    association.store_path = started->store_path;
    return code != 0 ? code : put_association(views, &association, err);
}

int association_apply_capture_completed(struct views *views, const struct event *event,
                                        const void *data, struct error *err)
{
    const struct capture_completed_v1 *completed = data;
    struct association association = {0};
    int code = open_for_step(views, event, completed->source_client_resource_id,
                             completed->restore_client_resource_id, &association, err);

    association.store_creation_ms = event->time_ms;
    return code != 0 ? code : put_association(views, &association, err);
}

int association_apply_restore_completed(struct views *views, const struct event *event,
                                        const void *data, struct error *err)
{
    const struct restore_completed_v1 *completed = data;
    struct association association = {0};
    int code = open_for_step(views, event, completed->source_client_resource_id,
                             completed->restore_client_resource_id, &association, err);

    association.store_release_ms = event->time_ms;
    return code != 0 ? code : put_association(views, &association, err);
}

int association_apply_store_deleted(struct views *views, const struct event *event,
                                    const void *data, struct error *err)
{
    const struct store_deleted_v1 *deleted = data;
    struct association association = {0};
    int code = open_for_step(views, event, deleted->source_client_resource_id,
                             deleted->restore_client_resource_id, &association, err);

    association.store_deletion_ms = event->time_ms;
    return code != 0 ? code : put_association(views, &association, err);
}

/* Nothing changes but the version: it is that of the association's last event. */
int association_apply_key_given(struct views *views, const struct event *event,
                                const void *data, struct error *err)
{
    const struct encrypt_decrypt_key_given_v1 *given = data;
    struct association association = {0};
    int code = open_for_step(views, event, given->source_client_resource_id,
                             given->restore_client_resource_id, &association, err);

    return code != 0 ? code : put_association(views, &association, err);
}

/* ---- reading ----------------------------------------------------------------------- */

int association_get(struct views *views, uint32_t source, uint32_t restore,
                    struct arena *arena, struct association *ret_association,
                    struct error *err)
{
    int code = pair_key(&views->key, source, restore, err);

    if (code == 0)
        code =
            row_get(views, VIEW_ASSOCIATIONS, buf_bytes(&views->key), &views->row, err);
    if (code != 0)
        return code;
    struct bytes row = arena_copy(arena, buf_bytes(&views->row));
    if (row.data == NULL)
        return views_no_memory(err);
    return parse_association(buf_bytes(&views->key), row, arena, ret_association, err);
}

/* 0, 1 = there is none, or negative. */
static int find_pair(struct views *views, uint64_t number, uint32_t *ret_source,
                     uint32_t *ret_restore, struct error *err)
{
    int code = number_key(&views->key, number, err);

    if (code == 0)
        code =
            row_get(views, VIEW_ASSOCIATIONS, buf_bytes(&views->key), &views->row, err);
    if (code != 0)
        return code;
    if (views->row.size != 8)
        return row_damaged(VIEW_ASSOCIATIONS, err);
    *ret_source = read_u32be(views->row.data);
    *ret_restore = read_u32be(views->row.data + 4);
    return 0;
}

int association_get_by_number(struct views *views, uint64_t number, struct arena *arena,
                              struct association *ret_association, struct error *err)
{
    uint32_t source = 0, restore = 0;
    int code = find_pair(views, number, &source, &restore, err);

    if (code == 0)
        code = association_get(views, source, restore, arena, ret_association, err);
    if (code == 0 && ret_association->number != number)
        return row_damaged(VIEW_ASSOCIATIONS, err);
    return code;
}

int association_drop(struct views *views, const struct event *event, uint64_t number,
                     struct error *err)
{
    struct association association = {0};
    uint32_t source = 0, restore = 0;
    int code = find_pair(views, number, &source, &restore, err);

    if (code == 1)
        return event_misfit(event, "the association that was asked for is not there",
                            err);
    if (code == 0)
        code = open_pair(views, event, source, restore, /* exists= */ true, &association,
                         err);
    return code != 0 ? code : drop(views, &association, err);
}

struct association_scan {
    struct kv_cursor *cursor;
    struct arena arena; /* the users of the present one */
};

int association_scan_open(struct views *views, uint32_t source,
                          struct association_scan **ret_scan, struct error *err)
{
    struct association_scan *scan = calloc(1, sizeof *scan);
    uint8_t from[5] = {'A'}, to[5] = {'A' + 1};

    if (scan == NULL)
        return views_no_memory(err);
    if (source != 0) {
        write_u32be(from + 1, source);
        write_u32be(to + 1, source + 1);
        to[0] = source == UINT32_MAX ? 'A' + 1 : 'A';
    }
    int code =
        kv_cursor_open(views->kv, views->batch, KV_VIEWS, bytes_of(from, sizeof from),
                       bytes_of(to, sizeof to), &scan->cursor, err);
    if (code != 0) {
        free(scan);
        return code;
    }
    *ret_scan = scan;
    return 0;
}

int association_scan_next(struct association_scan *scan,
                          struct association *ret_association, struct error *err)
{
    struct bytes key, row;
    int code = kv_cursor_next(scan->cursor, &key, &row, err);

    if (code != 0)
        return code;
    arena_reset(&scan->arena);
    return parse_association(key, row, &scan->arena, ret_association, err);
}

void association_scan_close(struct association_scan *scan)
{
    if (scan == NULL)
        return;
    kv_cursor_close(scan->cursor);
    arena_release(&scan->arena);
    free(scan);
}
