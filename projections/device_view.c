/* device_view.c - the registry of devices.
 *
 * Row: key 'D' | u32 resource id; integers big-endian, text = varint(length + 1) and
 * bytes, 0 = absent:
 *   u64 version | u32 client type | text name | text domain | varint count | text MAC address each
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "projections/views_internal.h"

#include <stdlib.h>

#include "schemas/events.h"

/* What the events of a device have in common; borrowed. */
struct device_data {
    uint32_t resource_id;
    struct bytes name;
    uint32_t client_type;
    const struct bytes *mac_addresses;
    size_t mac_address_count;
    struct bytes domain;
};

static struct bytes device_key(struct buf *key, uint32_t resource_id)
{
    buf_clear(key);
    buf_append_byte(key, 'D');
    buf_append_u32be(key, resource_id);
    return buf_bytes(key);
}

static int put_device(struct views *views, const struct event *event,
                      const struct device_data *data, struct error *err)
{
    struct buf *row = &views->row;

    buf_clear(row);
    buf_append_u64be(row, event->sequence);
    buf_append_u32be(row, data->client_type);
    row_put_text(row, data->name);
    row_put_text(row, data->domain);
    row_put_count(row, data->mac_address_count);
    for (size_t i = 0; i < data->mac_address_count; i++)
        row_put_text(row, data->mac_addresses[i]);
    if (row->failed)
        return views_no_memory(err);
    return row_set(views, buf_bytes(row), err);
}

/* Opens the row of a device, which must exist or must not. */
static int open_device(struct views *views, const struct event *event,
                       uint32_t resource_id, bool exists, struct error *err)
{
    struct bytes old;
    struct bytes key = device_key(&views->key, resource_id);

    if (views->key.failed)
        return views_no_memory(err);
    int code = row_open(views, VIEW_DEVICES, key, &old, err);
    if (code == 0 && (old.data != NULL) != exists)
        return event_misfit(event,
                            exists ? "the device is not registered"
                                   : "the device is registered already",
                            err);
    return code;
}

int device_apply_registered(struct views *views, const struct event *event,
                            const void *data, struct error *err)
{
    const struct device_registered_v1 *registered = data;
    const struct device_data device = {
        .resource_id = registered->resource_id,
        .name = registered->has_name ? registered->name : BYTES_ABSENT,
        .client_type = registered->client_type,
        .mac_addresses = registered->mac_addresses.items,
        .mac_address_count =
            registered->has_mac_addresses ? registered->mac_addresses.count : 0,
        .domain = registered->has_domain ? registered->domain : BYTES_ABSENT,
    };
    int code = open_device(views, event, device.resource_id, /* exists= */ false, err);

    return code != 0 ? code : put_device(views, event, &device, err);
}

int device_apply_changed(struct views *views, const struct event *event, const void *data,
                         struct error *err)
{
    const struct device_changed_v1 *changed = data;
    const struct device_data device = {
        .resource_id = changed->resource_id,
        .name = changed->has_name ? changed->name : BYTES_ABSENT,
        .client_type = changed->client_type,
        .mac_addresses = changed->mac_addresses.items,
        .mac_address_count =
            changed->has_mac_addresses ? changed->mac_addresses.count : 0,
        .domain = changed->has_domain ? changed->domain : BYTES_ABSENT,
    };
    int code = open_device(views, event, device.resource_id, /* exists= */ true, err);

    return code != 0 ? code : put_device(views, event, &device, err);
}

int device_apply_removed(struct views *views, const struct event *event, const void *data,
                         struct error *err)
{
    const struct device_removed_v1 *removed = data;
    int code = open_device(views, event, removed->resource_id, /* exists= */ true, err);

    if (code == 0)
        code = row_set(views, BYTES_ABSENT, err);
    return code != 0 ? code : usage_forget_device(views, removed->resource_id, err);
}

/* Text is borrowed from row, the list of addresses lives in arena. */
static int parse_device(struct bytes key, struct bytes row, struct arena *arena,
                        struct device *ret_device, struct error *err)
{
    struct row_reader reader = row_reader_of(row);
    struct device device = {0};

    if (key.size != 5)
        return row_damaged(VIEW_DEVICES, err);
    device.resource_id = read_u32be(key.data + 1);
    device.version = row_take_u64(&reader);
    device.client_type = row_take_u32(&reader);
    device.name = row_take_text(&reader);
    device.domain = row_take_text(&reader);
    device.mac_address_count = row_take_count(&reader);
    /* Every address takes a byte at least. */
    if (reader.failed || device.mac_address_count > reader.rest.size)
        return row_damaged(VIEW_DEVICES, err);
    if (device.mac_address_count > 0) {
        device.mac_addresses =
            arena_alloc(arena, device.mac_address_count * sizeof device.mac_addresses[0]);
        if (device.mac_addresses == NULL)
            return views_no_memory(err);
    }
    for (size_t i = 0; i < device.mac_address_count; i++) {
        device.mac_addresses[i] = row_take_text(&reader);
        if (device.mac_addresses[i].data == NULL)
            return row_damaged(VIEW_DEVICES, err);
    }
    if (!row_reader_done(&reader))
        return row_damaged(VIEW_DEVICES, err);
    *ret_device = device;
    return 0;
}

int device_get(struct views *views, uint32_t resource_id, struct arena *arena,
               struct device *ret_device, struct error *err)
{
    struct bytes key = device_key(&views->key, resource_id);

    if (views->key.failed)
        return views_no_memory(err);
    int code = row_get(views, VIEW_DEVICES, key, &views->row, err);
    if (code != 0)
        return code;
    struct bytes row = arena_copy(arena, buf_bytes(&views->row));
    if (row.data == NULL)
        return views_no_memory(err);
    return parse_device(key, row, arena, ret_device, err);
}

struct device_scan {
    struct kv_cursor *cursor;
    struct arena arena; /* the addresses of the present device */
};

int device_scan_open(struct views *views, struct device_scan **ret_scan,
                     struct error *err)
{
    struct device_scan *scan = calloc(1, sizeof *scan);

    if (scan == NULL)
        return views_no_memory(err);
    int code = kv_cursor_open(views->kv, views->batch, KV_VIEWS, bytes_str("D"),
                              bytes_str("E"), &scan->cursor, err);
    if (code != 0) {
        free(scan);
        return code;
    }
    *ret_scan = scan;
    return 0;
}

int device_scan_next(struct device_scan *scan, struct device *ret_device,
                     struct error *err)
{
    struct bytes key, row;
    int code = kv_cursor_next(scan->cursor, &key, &row, err);

    if (code != 0)
        return code;
    arena_reset(&scan->arena);
    return parse_device(key, row, &scan->arena, ret_device, err);
}

void device_scan_close(struct device_scan *scan)
{
    if (scan == NULL)
        return;
    kv_cursor_close(scan->cursor);
    arena_release(&scan->arena);
    free(scan);
}
