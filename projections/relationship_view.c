/* relationship_view.c - which user has which device: one row per pair, found by name and
 * by number.
 *
 * Rows, integers big-endian:
 *   key 'R' | u32 resource id | folded user name
 *       u64 version | u32 relationship resource id | u64 creation time in ms | u8 flags
 *       | u8 count, u8 source each | u8 count, u8 type each | user name to the end
 *   key 'I' | u32 relationship resource id      row: the 'R' key
 *   key 'S' | u8 slot                           row: u32 relationships created in the slot so far
 * Flags: 1 = active, 2 = waits for approval. Sources and types stand in the order in
 * which they came. The name and client type of the device are not here: views show the
 * present ones. A deletion takes the first two rows; the count stays, so that no number
 * is used twice.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "projections/views_internal.h"

#include <stdlib.h>

#include "events/base/datetime.h"
#include "events/base/user_name.h"
#include "schemas/events.h"

#define KEY_NAME 5 /* where the folded name begins in an 'R' key */
#define FLAG_ACTIVE 1u
#define FLAG_PENDING 2u

/* ---- keys and rows ----------------------------------------------------------------- */

static void pair_prefix(struct buf *key, uint32_t resource_id)
{
    buf_clear(key);
    buf_append_byte(key, 'R');
    buf_append_u32be(key, resource_id);
}

static int pair_key(struct buf *key, uint32_t resource_id, struct bytes user_name,
                    struct error *err)
{
    pair_prefix(key, resource_id);
    if (user_name_fold(user_name, key) != 0 || key->failed)
        return views_no_memory(err);
    return 0;
}

static int index_key(struct buf *key, uint32_t relationship_resource_id,
                     struct error *err)
{
    buf_clear(key);
    buf_append_byte(key, 'I');
    return buf_append_u32be(key, relationship_resource_id) != 0 ? views_no_memory(err)
                                                                : 0;
}

static int slot_key(struct buf *key, uint32_t slot, struct error *err)
{
    buf_clear(key);
    buf_append_byte(key, 'S');
    return buf_append_byte(key, (uint8_t)slot) != 0 ? views_no_memory(err) : 0;
}

static void put_list(struct buf *row, const uint32_t *items, size_t count)
{
    buf_append_byte(row, (uint8_t)count);
    for (size_t i = 0; i < count; i++)
        buf_append_byte(row, (uint8_t)items[i]);
}

static size_t take_list(struct row_reader *reader, uint32_t items[RELATIONSHIP_LIST_MAX])
{
    size_t count = row_take_u8(reader);

    if (count > RELATIONSHIP_LIST_MAX) {
        reader->failed = true;
        return 0;
    }
    for (size_t i = 0; i < count; i++)
        items[i] = row_take_u8(reader);
    return count;
}

/* Writes the open row. */
static int put_relationship(struct views *views, const struct relationship *relationship,
                            struct error *err)
{
    struct buf *row = &views->row;

    buf_clear(row);
    buf_append_u64be(row, relationship->version);
    buf_append_u32be(row, relationship->relationship_resource_id);
    buf_append_u64be(row, (uint64_t)relationship->creation_time_ms);
    buf_append_byte(row, (uint8_t)((relationship->is_active ? FLAG_ACTIVE : 0) |
                                   (relationship->is_pending ? FLAG_PENDING : 0)));
    put_list(row, relationship->sources, relationship->source_count);
    put_list(row, relationship->types, relationship->type_count);
    buf_append_bytes(row, relationship->unique_user_name);
    if (row->failed)
        return views_no_memory(err);
    return row_set(views, buf_bytes(row), err);
}

/* The user name is borrowed from row. */
static int parse_relationship(struct bytes key, struct bytes row,
                              struct relationship *ret, struct error *err)
{
    struct row_reader reader = row_reader_of(row);
    struct relationship relationship = {0};

    if (key.size < KEY_NAME || key.data[0] != 'R')
        return row_damaged(VIEW_RELATIONSHIPS, err);
    relationship.resource_id = read_u32be(key.data + 1);
    relationship.version = row_take_u64(&reader);
    relationship.relationship_resource_id = row_take_u32(&reader);
    relationship.creation_time_ms = (int64_t)row_take_u64(&reader);
    uint8_t flags = row_take_u8(&reader);
    relationship.is_active = (flags & FLAG_ACTIVE) != 0;
    relationship.is_pending = (flags & FLAG_PENDING) != 0;
    relationship.source_count = take_list(&reader, relationship.sources);
    relationship.type_count = take_list(&reader, relationship.types);
    relationship.unique_user_name = reader.rest;
    if (reader.failed || reader.rest.size == 0)
        return row_damaged(VIEW_RELATIONSHIPS, err);
    *ret = relationship;
    return 0;
}

/* ---- the fold ---------------------------------------------------------------------- */

/* A list of an event; both types of list have the same shape. */
struct list {
    const uint32_t *items; /* borrowed */
    size_t count;
};

static int copy_list(const struct event *event, struct list list,
                     uint32_t ret_items[RELATIONSHIP_LIST_MAX], size_t *ret_count,
                     struct error *err)
{
    if (list.count > RELATIONSHIP_LIST_MAX)
        return event_misfit(event, "its list is longer than any can be", err);
    for (size_t i = 0; i < list.count; i++) {
        if (list.items[i] > UINT8_MAX)
            return event_misfit(event, "a number in its list is out of range", err);
        ret_items[i] = list.items[i];
    }
    *ret_count = list.count;
    return 0;
}

/* Counts a relationship in its slot: its number must be the next one there. */
static int count_in_slot(struct views *views, const struct event *event,
                         const struct relationship *relationship, struct error *err)
{
    uint32_t ordinal = (relationship->relationship_resource_id - 1) / SLOTS;
    uint32_t slot = (relationship->relationship_resource_id - 1) % SLOTS;
    uint8_t row[4];
    struct bytes old;
    uint32_t count = 0;

    buf_clear(&views->key);
    if (buf_printf(&views->key, "device:%u", relationship->resource_id) != 0)
        return views_no_memory(err);
    if (slot != slot_of_key(buf_bytes(&views->key)))
        return event_misfit(event, "its number is of another slot than its device", err);
    int code = slot_key(&views->key, slot, err);
    if (code == 0)
        code = row_open(views, VIEW_RELATIONSHIPS, buf_bytes(&views->key), &old, err);
    if (code != 0)
        return code;
    if (old.data != NULL) {
        struct row_reader reader = row_reader_of(old);
        count = row_take_u32(&reader);
        if (!row_reader_done(&reader))
            return row_damaged(VIEW_RELATIONSHIPS, err);
    }
    if (ordinal != count)
        return event_misfit(event, "its number is not the next one of its slot", err);
    write_u32be(row, count + 1);
    return row_set(views, bytes_of(row, sizeof row), err);
}

/* Both rows of a new relationship, whose number count_in_slot() has just given out. */
static int insert(struct views *views, const struct event *event,
                  const struct relationship *relationship, struct error *err)
{
    struct buf pair = BUF_INIT;
    struct bytes old;
    int code =
        pair_key(&pair, relationship->resource_id, relationship->unique_user_name, err);

    if (code == 0)
        code = row_open(views, VIEW_RELATIONSHIPS, buf_bytes(&pair), &old, err);
    if (code == 0 && old.data != NULL)
        code = event_misfit(event, "the relationship exists already", err);
    if (code == 0)
        code = put_relationship(views, relationship, err);
    if (code == 0)
        code = index_key(&views->key, relationship->relationship_resource_id, err);
    if (code == 0)
        code = row_open_new(views, VIEW_RELATIONSHIPS, buf_bytes(&views->key), err);
    if (code == 0)
        code = row_set(views, buf_bytes(&pair), err);
    buf_release(&pair);
    return code;
}

int relationship_apply_created(struct views *views, const struct event *event,
                               const void *data, struct error *err)
{
    const struct relationship_created_v1 *created = data;
    struct relationship relationship = {
        .resource_id = created->resource_id,
        .unique_user_name = created->unique_user_name,
        .relationship_resource_id = created->relationship_resource_id,
        .is_active = created->is_active,
        .version = event->sequence,
    };
    struct list sources = {created->sources.items,
                           created->has_sources ? created->sources.count : 0};
    struct list types = {created->types.items,
                         created->has_types ? created->types.count : 0};

    if (!cim_datetime_parse(created->creation_time, &relationship.creation_time_ms))
        return event_misfit(event, "its CreationTime is no CIM datetime", err);
    if (relationship.relationship_resource_id == 0 ||
        user_name_fault(relationship.unique_user_name) != NULL)
        return event_misfit(event, "its keys are invalid", err);
    int code =
        copy_list(event, sources, relationship.sources, &relationship.source_count, err);
    if (code == 0)
        code = copy_list(event, types, relationship.types, &relationship.type_count, err);
    if (code == 0)
        code = count_in_slot(views, event, &relationship, err);
    if (code == 0)
        code = insert(views, event, &relationship, err);
    return code;
}

/* Opens the 'R' row of a relationship that an event is about; its 'R' key is views->row
 * then. */
static int open_relationship(struct views *views, const struct event *event,
                             uint32_t relationship_resource_id, uint32_t resource_id,
                             struct relationship *ret_relationship, struct error *err)
{
    struct bytes row;
    int code = index_key(&views->key, relationship_resource_id, err);

    if (code == 0)
        code =
            row_get(views, VIEW_RELATIONSHIPS, buf_bytes(&views->key), &views->row, err);
    if (code == 1)
        return event_misfit(event, "there is no such relationship", err);
    if (code == 0)
        code = row_open(views, VIEW_RELATIONSHIPS, buf_bytes(&views->row), &row, err);
    if (code != 0)
        return code;
    if (row.data == NULL)
        return row_damaged(VIEW_RELATIONSHIPS, err);
    code = parse_relationship(buf_bytes(&views->row), row, ret_relationship, err);
    if (code == 0 &&
        ret_relationship->relationship_resource_id != relationship_resource_id)
        return row_damaged(VIEW_RELATIONSHIPS, err);
    if (code == 0 && ret_relationship->resource_id != resource_id)
        return event_misfit(event, "the relationship is of another device", err);
    return code;
}

static int change_sources(struct views *views, const struct event *event,
                          uint32_t relationship_resource_id, uint32_t resource_id,
                          struct list sources, struct error *err)
{
    struct relationship relationship = {0};
    int code = open_relationship(views, event, relationship_resource_id, resource_id,
                                 &relationship, err);

    if (code == 0)
        code = copy_list(event, sources, relationship.sources, &relationship.source_count,
                         err);
    if (code != 0)
        return code;
    relationship.version = event->sequence;
    return put_relationship(views, &relationship, err);
}

static int change_types(struct views *views, const struct event *event,
                        uint32_t relationship_resource_id, uint32_t resource_id,
                        struct list types, struct error *err)
{
    struct relationship relationship = {0};
    int code = open_relationship(views, event, relationship_resource_id, resource_id,
                                 &relationship, err);

    if (code == 0)
        code = copy_list(event, types, relationship.types, &relationship.type_count, err);
    if (code != 0)
        return code;
    if (relationship.type_count > 0)
        relationship.is_pending = false;
    relationship.version = event->sequence;
    return put_relationship(views, &relationship, err);
}

int relationship_apply_source_added(struct views *views, const struct event *event,
                                    const void *data, struct error *err)
{
    const struct source_added_v1 *added = data;
    struct list sources = {added->sources.items,
                           added->has_sources ? added->sources.count : 0};

    return change_sources(views, event, added->relationship_resource_id,
                          added->resource_id, sources, err);
}

int relationship_apply_source_removed(struct views *views, const struct event *event,
                                      const void *data, struct error *err)
{
    const struct source_removed_v1 *removed = data;
    struct list sources = {removed->sources.items,
                           removed->has_sources ? removed->sources.count : 0};

    return change_sources(views, event, removed->relationship_resource_id,
                          removed->resource_id, sources, err);
}

int relationship_apply_type_added(struct views *views, const struct event *event,
                                  const void *data, struct error *err)
{
    const struct type_added_v1 *added = data;
    struct list types = {added->types.items, added->has_types ? added->types.count : 0};

    return change_types(views, event, added->relationship_resource_id, added->resource_id,
                        types, err);
}

int relationship_apply_type_removed(struct views *views, const struct event *event,
                                    const void *data, struct error *err)
{
    const struct type_removed_v1 *removed = data;
    struct list types = {removed->types.items,
                         removed->has_types ? removed->types.count : 0};

    return change_types(views, event, removed->relationship_resource_id,
                        removed->resource_id, types, err);
}

int relationship_apply_approval_requested(struct views *views, const struct event *event,
                                          const void *data, struct error *err)
{
    const struct approval_requested_v1 *requested = data;
    struct relationship relationship = {0};
    int code = open_relationship(views, event, requested->relationship_resource_id,
                                 requested->resource_id, &relationship, err);

    if (code == 0 && relationship.type_count > 0)
        code = event_misfit(event, "the relationship has a type already", err);
    if (code != 0)
        return code;
    relationship.is_pending = true;
    relationship.version = event->sequence;
    return put_relationship(views, &relationship, err);
}

static int drop(struct views *views, const struct event *event,
                uint32_t relationship_resource_id, uint32_t resource_id,
                struct error *err)
{
    struct relationship relationship = {0};
    struct bytes old;
    int code = open_relationship(views, event, relationship_resource_id, resource_id,
                                 &relationship, err);

    if (code == 0)
        code = row_set(views, BYTES_ABSENT, err);
    if (code == 0)
        code = index_key(&views->key, relationship_resource_id, err);
    if (code == 0)
        code = row_open(views, VIEW_RELATIONSHIPS, buf_bytes(&views->key), &old, err);
    return code != 0 ? code : row_set(views, BYTES_ABSENT, err);
}

int relationship_apply_deleted(struct views *views, const struct event *event,
                               const void *data, struct error *err)
{
    const struct relationship_deleted_v1 *deleted = data;

    return drop(views, event, deleted->relationship_resource_id, deleted->resource_id,
                err);
}

int relationship_apply_moved(struct views *views, const struct event *event,
                             const void *data, struct error *err)
{
    const struct relationship_moved_v1 *moved = data;

    return drop(views, event, moved->relationship_resource_id, moved->resource_id, err);
}

/* ---- reading ----------------------------------------------------------------------- */

/* The relationship whose 'R' key is given. */
static int get_by_key(struct views *views, struct bytes key, struct arena *arena,
                      struct relationship *ret_relationship, struct error *err)
{
    struct relationship relationship = {0};
    int code = row_get(views, VIEW_RELATIONSHIPS, key, &views->row, err);

    if (code == 0)
        code = parse_relationship(key, buf_bytes(&views->row), &relationship, err);
    if (code != 0)
        return code;
    relationship.unique_user_name = arena_copy(arena, relationship.unique_user_name);
    if (relationship.unique_user_name.data == NULL)
        return views_no_memory(err);
    *ret_relationship = relationship;
    return 0;
}

int relationship_get(struct views *views, uint32_t resource_id, struct bytes user_name,
                     struct arena *arena, struct relationship *ret_relationship,
                     struct error *err)
{
    int code = pair_key(&views->key, resource_id, user_name, err);

    if (code != 0)
        return code;
    return get_by_key(views, buf_bytes(&views->key), arena, ret_relationship, err);
}

int relationship_get_by_id(struct views *views, uint32_t relationship_resource_id,
                           struct arena *arena, struct relationship *ret_relationship,
                           struct error *err)
{
    struct relationship relationship = {0};
    int code = index_key(&views->key, relationship_resource_id, err);

    if (code == 0)
        code =
            row_get(views, VIEW_RELATIONSHIPS, buf_bytes(&views->key), &views->row, err);
    if (code != 0)
        return code;
    buf_clear(&views->key);
    if (buf_append_bytes(&views->key, buf_bytes(&views->row)) != 0)
        return views_no_memory(err);
    code = get_by_key(views, buf_bytes(&views->key), arena, &relationship, err);
    if (code < 0)
        return code;
    if (code == 1 || relationship.relationship_resource_id != relationship_resource_id)
        return row_damaged(VIEW_RELATIONSHIPS, err);
    *ret_relationship = relationship;
    return 0;
}

int relationship_slot_count(struct views *views, uint32_t slot, uint32_t *ret_count,
                            struct error *err)
{
    int code = slot_key(&views->key, slot, err);

    if (code == 0)
        code =
            row_get(views, VIEW_RELATIONSHIPS, buf_bytes(&views->key), &views->row, err);
    if (code < 0)
        return code;
    if (code == 1) {
        *ret_count = 0;
        return 0;
    }
    struct row_reader reader = row_reader_of(buf_bytes(&views->row));
    uint32_t count = row_take_u32(&reader);
    if (!row_reader_done(&reader))
        return row_damaged(VIEW_RELATIONSHIPS, err);
    *ret_count = count;
    return 0;
}

struct relationship_scan {
    struct kv_cursor *cursor;
};

int relationship_scan_open(struct views *views, uint32_t resource_id,
                           struct relationship_scan **ret_scan, struct error *err)
{
    struct relationship_scan *scan = calloc(1, sizeof *scan);
    struct buf from = BUF_INIT;
    struct buf to = BUF_INIT;
    int code;

    if (scan == NULL)
        return views_no_memory(err);
    if (resource_id == 0)
        buf_append_byte(&from, 'R');
    else
        pair_prefix(&from, resource_id);
    if (resource_id == 0 || resource_id == UINT32_MAX)
        buf_append_byte(&to, 'S');
    else
        pair_prefix(&to, resource_id + 1);
    if (from.failed || to.failed)
        code = views_no_memory(err);
    else
        code = kv_cursor_open(views->kv, views->batch, KV_VIEWS, buf_bytes(&from),
                              buf_bytes(&to), &scan->cursor, err);
    buf_release(&from);
    buf_release(&to);
    if (code != 0) {
        free(scan);
        return code;
    }
    *ret_scan = scan;
    return 0;
}

int relationship_scan_next(struct relationship_scan *scan,
                           struct relationship *ret_relationship, struct error *err)
{
    struct bytes key, row;
    int code = kv_cursor_next(scan->cursor, &key, &row, err);

    return code != 0 ? code : parse_relationship(key, row, ret_relationship, err);
}

void relationship_scan_close(struct relationship_scan *scan)
{
    if (scan == NULL)
        return;
    kv_cursor_close(scan->cursor);
    free(scan);
}
