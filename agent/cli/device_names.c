/* device_names.c - see device_names.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "agent/cli/device_names.h"

#include <assert.h>
#include <stdlib.h>

#include "agent/cli/reading.h"

#define NAME_BYTES_MAX 1024 /* 256 characters */

struct entry {
    struct bytes name; /* folded; while loading, data is NULL and at counts */
    size_t at;
    uint32_t id;
};

struct device_names {
    struct entry *entries; /* by name, then id */
    size_t count, capacity;
    struct buf text; /* of the names, folded */
};

static void fold(uint8_t *out, struct bytes name)
{
    for (size_t i = 0; i < name.size; i++) {
        bool capital = name.data[i] >= 'A' && name.data[i] <= 'Z';

        out[i] = (uint8_t)(name.data[i] + (capital ? 'a' - 'A' : 0));
    }
}

static int add(struct device_names *names, const struct device *device)
{
    if (names->count == names->capacity) {
        size_t capacity = names->capacity == 0 ? 64 : names->capacity * 2;
        struct entry *entries =
            realloc(names->entries, capacity * sizeof(*names->entries));

        if (entries == NULL)
            return ERROR_NO_MEMORY;
        names->entries = entries;
        names->capacity = capacity;
    }
    if (buf_reserve(&names->text, device->name.size) < 0)
        return ERROR_NO_MEMORY;
    fold(names->text.data + names->text.size, device->name);
    names->entries[names->count++] = (struct entry){.name = {NULL, device->name.size},
                                                    .at = names->text.size,
                                                    .id = device->resource_id};
    names->text.size += device->name.size;
    return 0;
}

static int load_shard(struct device_names *names, const struct store_folder *folder,
                      uint32_t shard, struct error *err)
{
    struct shard_reader reader = {0};
    struct device_scan *scan = NULL;
    struct device device;
    int r = shard_reader_open(folder, shard, KV_READ_ONLY, &reader, err);

    if (r == 0)
        r = device_scan_open(reader.views, &scan, err);
    while (r == 0 && (r = device_scan_next(scan, &device, err)) == 0) {
        /* A stub has no name. */
        if (device.name.data != NULL && add(names, &device) < 0)
            r = error_set(err, ERROR_NO_MEMORY, "out of memory");
    }
    device_scan_close(scan);
    shard_reader_close(&reader);
    return r < 0 ? r : 0;
}

static int compare(const void *a, const void *b)
{
    const struct entry *left = a, *right = b;
    int order = bytes_compare(left->name, right->name);

    return order != 0 ? order : (left->id > right->id) - (left->id < right->id);
}

int device_names_load(const struct store_folder *folder, struct device_names **ret_names,
                      struct error *err)
{
    struct device_names *names = calloc(1, sizeof(*names));
    int r = 0;

    if (names == NULL)
        return error_set(err, ERROR_NO_MEMORY, "out of memory");
    for (uint32_t shard = 0; r == 0 && shard < folder->identity.shards; shard++)
        r = load_shard(names, folder, shard, err);
    if (r < 0) {
        device_names_free(names);
        return r;
    }
    for (size_t i = 0; i < names->count; i++)
        names->entries[i].name.data = names->text.data + names->entries[i].at;
    if (names->count > 0)
        qsort(names->entries, names->count, sizeof(*names->entries), compare);
    *ret_names = names;
    return 0;
}

void device_names_free(struct device_names *names)
{
    if (names == NULL)
        return;
    free(names->entries);
    buf_release(&names->text);
    free(names);
}

size_t device_names_find(const struct device_names *names, struct bytes name,
                         size_t *ret_first)
{
    uint8_t folded[NAME_BYTES_MAX];
    struct bytes wanted = {folded, name.size};
    size_t low = 0, high = names->count, count = 0;

    *ret_first = 0;
    if (name.size > sizeof(folded))
        return 0;
    fold(folded, name);
    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (bytes_compare(names->entries[middle].name, wanted) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    *ret_first = low;
    while (low + count < names->count &&
           bytes_equal(names->entries[low + count].name, wanted))
        count++;
    return count;
}

uint32_t device_names_id(const struct device_names *names, size_t place)
{
    assert(place < names->count);
    return names->entries[place].id;
}
