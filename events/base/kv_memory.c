/* kv_memory.c - the ordered store in memory: for the tests of everything that stands on a
 * store.
 *
 * A scan walks the map itself. What would change the map under it copies what the scan
 * has still to see, so that a scan sees the store as of its opening, as RocksDB's do.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "events/base/kv.h"

#include <stdlib.h>

#include "events/base/kv_backend.h"

struct memory_kv {
    struct kv kv;
    struct ordered_map *spaces[KV_SPACES];
    struct kv_scan *scans; /* open ones */
};

struct kv_scan {
    struct memory_kv *memory;
    enum kv_space space;
    struct kv_scan *next_open;
    struct kv_scan *previous_open;
    const struct ordered_entry *next; /* not yet handed out */
    struct ordered_map *own;          /* the copy of what is left, or NULL */
    struct bytes to;
    struct buf key; /* the row handed out last */
    struct buf value;
};

struct kv_fill {
    struct kv_fill_base base;
    struct ordered_map *rows;
};

static struct memory_kv *memory_of(struct kv *kv)
{
    return (struct memory_kv *)kv;
}

static int no_memory(struct error *err)
{
    return error_set(err, ERROR_NO_MEMORY, "out of memory for a store in memory");
}

static struct ordered_map *map_new(void)
{
    struct ordered_map *map = malloc(sizeof(*map));

    if (map) {
        ordered_map_init(map, /* chunked= */ false);
    }
    return map;
}

static void map_free(struct ordered_map *map)
{
    if (map) {
        ordered_map_release(map);
        free(map);
    }
}

/* ---- reading ----------------------------------------------------------------------- */

static int memory_get(struct kv *kv, enum kv_space space, struct bytes key,
                      struct buf *value, struct error *err)
{
    const struct ordered_entry *entry =
        ordered_map_find(memory_of(kv)->spaces[space], key);

    if (!entry) {
        return 1;
    }
    if (buf_append_bytes(value, ordered_entry_value(entry)) < 0) {
        return no_memory(err);
    }
    return 0;
}

static int memory_last_key(struct kv *kv, enum kv_space space, struct buf *ret_key,
                           struct error *err)
{
    const struct ordered_entry *entry = memory_of(kv)->spaces[space]->last;

    if (!entry) {
        return 1;
    }
    if (buf_append_bytes(ret_key, entry->key) < 0) {
        return no_memory(err);
    }
    return 0;
}

static int memory_refresh(struct kv *kv, struct error *err)
{
    (void)kv;
    (void)err;
    return 0; /* there is no other writer */
}

static int memory_scan_open(struct kv *kv, enum kv_space space, struct bytes from,
                            struct bytes to, struct kv_scan **ret_scan, struct error *err)
{
    struct memory_kv *memory = memory_of(kv);
    struct kv_scan *scan = calloc(1, sizeof(*scan));

    if (!scan) {
        return no_memory(err);
    }
    scan->memory = memory;
    scan->space = space;
    scan->to = to;
    scan->next = ordered_map_seek(memory->spaces[space], from);
    scan->next_open = memory->scans;
    if (memory->scans) {
        memory->scans->previous_open = scan;
    }
    memory->scans = scan;
    *ret_scan = scan;
    return 0;
}

static bool scan_is_past(const struct kv_scan *scan, const struct ordered_entry *entry)
{
    return !entry || (scan->to.data && bytes_compare(entry->key, scan->to) >= 0);
}

static int memory_scan_next(struct kv_scan *scan, struct bytes *ret_key,
                            struct bytes *ret_value, struct error *err)
{
    const struct ordered_entry *entry = scan->next;

    if (scan_is_past(scan, entry)) {
        return 1;
    }
    buf_clear(&scan->key);
    buf_clear(&scan->value);
    if (buf_append_bytes(&scan->key, entry->key) < 0 ||
        buf_append_bytes(&scan->value, ordered_entry_value(entry)) < 0) {
        return no_memory(err);
    }
    scan->next = entry->next[0];
    *ret_key = buf_bytes(&scan->key);
    *ret_value = buf_bytes(&scan->value);
    return 0;
}

static void memory_scan_close(struct kv_scan *scan)
{
    if (scan->next_open) {
        scan->next_open->previous_open = scan->previous_open;
    }
    if (scan->previous_open) {
        scan->previous_open->next_open = scan->next_open;
    } else {
        scan->memory->scans = scan->next_open;
    }
    map_free(scan->own);
    buf_release(&scan->key);
    buf_release(&scan->value);
    free(scan);
}

/* ---- writing ----------------------------------------------------------------------- */

/* Copies what the scan has still to see. */
static int scan_detach(struct kv_scan *scan)
{
    struct ordered_map *own = map_new();

    if (!own) {
        return ERROR_NO_MEMORY;
    }
    for (const struct ordered_entry *entry = scan->next; !scan_is_past(scan, entry);
         entry = entry->next[0]) {
        struct ordered_entry *copy =
            ordered_entry_new(own, entry->key, ordered_entry_value(entry));

        if (!copy) {
            map_free(own);
            return ERROR_NO_MEMORY;
        }
        ordered_map_link(own, copy);
    }
    scan->own = own;
    scan->next = own->head[0];
    return 0;
}

static int scans_detach(struct memory_kv *memory, enum kv_space space)
{
    for (struct kv_scan *scan = memory->scans; scan; scan = scan->next_open) {
        if (scan->space == space && !scan->own) {
            int r = scan_detach(scan);

            if (r < 0) {
                return r;
            }
        }
    }
    return 0;
}

/* Makes the entries of all puts, in a list through next[0] and in the order of the
 * changes. */
static int prepare(struct memory_kv *memory, struct ordered_map changes[KV_SPACES],
                   struct ordered_entry **ret_list)
{
    struct ordered_entry **link = ret_list;

    *ret_list = NULL;
    for (int space = 0; space < KV_SPACES; space++) {
        if (changes[space].count > 0 && scans_detach(memory, (enum kv_space)space) < 0) {
            return ERROR_NO_MEMORY;
        }
        for (const struct ordered_entry *change = changes[space].head[0]; change;
             change = change->next[0]) {
            if (!change->value) {
                continue;
            }
            *link = ordered_entry_new(memory->spaces[space], change->key,
                                      ordered_entry_value(change));
            if (!*link) {
                return ERROR_NO_MEMORY;
            }
            (*link)->next[0] = NULL;
            link = &(*link)->next[0];
        }
    }
    return 0;
}

static void free_list(struct ordered_entry *list)
{
    while (list) {
        struct ordered_entry *next = list->next[0];

        ordered_entry_free(list);
        list = next;
    }
}

/* First everything that may fail, then everything that cannot. */
static int memory_apply(struct kv *kv, struct ordered_map changes[KV_SPACES], bool sync,
                        struct error *err)
{
    struct memory_kv *memory = memory_of(kv);
    struct ordered_entry *list = NULL;

    (void)sync; /* nothing lasts */
    if (prepare(memory, changes, &list) < 0) {
        free_list(list);
        return no_memory(err);
    }
    for (int space = 0; space < KV_SPACES; space++) {
        for (const struct ordered_entry *change = changes[space].head[0]; change;
             change = change->next[0]) {
            if (change->value) {
                struct ordered_entry *entry = list;

                list = entry->next[0];
                ordered_map_link(memory->spaces[space], entry);
            } else {
                ordered_map_remove(memory->spaces[space], change->key);
            }
        }
    }
    return 0;
}

static int memory_fill_begin(struct kv *kv, enum kv_space space,
                             struct kv_fill **ret_fill, struct error *err)
{
    struct kv_fill *fill = malloc(sizeof(*fill));
    struct ordered_map *rows = map_new();

    (void)kv;
    (void)space;
    if (!fill || !rows) {
        free(fill);
        map_free(rows);
        return no_memory(err);
    }
    fill->rows = rows;
    *ret_fill = fill;
    return 0;
}

static int memory_fill_put(struct kv_fill *fill, struct bytes key, struct bytes value,
                           struct error *err)
{
    struct ordered_entry *entry = ordered_entry_new(fill->rows, key, value);

    if (!entry) {
        return no_memory(err);
    }
    ordered_map_link(fill->rows, entry);
    return 0;
}

static void memory_fill_abandon(struct kv_fill *fill)
{
    map_free(fill->rows);
    free(fill);
}

static int memory_fill_finish(struct kv_fill *fill, struct error *err)
{
    struct memory_kv *memory = memory_of(fill->base.kv);
    enum kv_space space = fill->base.space;

    if (scans_detach(memory, space) < 0) {
        memory_fill_abandon(fill);
        return no_memory(err);
    }
    map_free(memory->spaces[space]);
    memory->spaces[space] = fill->rows;
    free(fill);
    return 0;
}

/* ---- life -------------------------------------------------------------------------- */

static void memory_close(struct kv *kv)
{
    struct memory_kv *memory = memory_of(kv);

    for (int space = 0; space < KV_SPACES; space++) {
        map_free(memory->spaces[space]);
    }
    free(memory);
}

static const struct kv_ops memory_ops = {
    .get = memory_get,
    .last_key = memory_last_key,
    .refresh = memory_refresh,
    .close = memory_close,
    .scan_open = memory_scan_open,
    .scan_next = memory_scan_next,
    .scan_close = memory_scan_close,
    .apply = memory_apply,
    .fill_begin = memory_fill_begin,
    .fill_put = memory_fill_put,
    .fill_finish = memory_fill_finish,
    .fill_abandon = memory_fill_abandon,
};

int kv_open_memory(struct kv **ret_kv, struct error *err)
{
    struct memory_kv *memory = calloc(1, sizeof(*memory));

    if (!memory) {
        return no_memory(err);
    }
    memory->kv.ops = &memory_ops;
    memory->kv.writable = true;
    for (int space = 0; space < KV_SPACES; space++) {
        memory->spaces[space] = map_new();
        if (!memory->spaces[space]) {
            memory_close(&memory->kv);
            return no_memory(err);
        }
    }
    *ret_kv = &memory->kv;
    return 0;
}
