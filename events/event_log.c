/* event_log.c - see event_log.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "events/event_log.h"

#include <stdlib.h>

#define LOG_KEY_SIZE 8

static struct bytes log_key(uint64_t sequence, uint8_t storage[LOG_KEY_SIZE])
{
    write_u64be(storage, sequence);
    return bytes_of(storage, LOG_KEY_SIZE);
}

int event_log_append(struct kv_batch *batch, const struct event *event, struct error *err)
{
    struct buf value = BUF_INIT;
    uint8_t key[LOG_KEY_SIZE];
    int code = event_encode(event, &value);

    if (code != 0)
        code = error_set(err, code, "out of memory while storing event %llu",
                         (unsigned long long)event->sequence);
    else
        code = kv_batch_put(batch, KV_LOG, log_key(event->sequence, key),
                            buf_bytes(&value), err);
    buf_release(&value);
    return code;
}

int event_log_read(struct kv *kv, struct kv_batch *batch, uint64_t sequence,
                   struct arena *arena, struct event *ret_event, struct error *err)
{
    struct buf value = BUF_INIT;
    uint8_t key[LOG_KEY_SIZE];
    int code;

    if (batch != NULL)
        code = kv_batch_get(batch, KV_LOG, log_key(sequence, key), &value, err);
    else
        code = kv_get(kv, KV_LOG, log_key(sequence, key), &value, err);
    if (code == 0) {
        struct bytes kept = arena_copy(arena, buf_bytes(&value));
        if (kept.data == NULL)
            code =
                error_set(err, ERROR_NO_MEMORY, "out of memory while reading event %llu",
                          (unsigned long long)sequence);
        else
            code = event_decode(sequence, kept, ret_event, err);
    }
    buf_release(&value);
    return code;
}

int event_log_last(struct kv *kv, uint64_t *ret_sequence, struct error *err)
{
    struct buf key = BUF_INIT;
    int code = kv_last_key(kv, KV_LOG, &key, err);

    if (code == 1) {
        *ret_sequence = 0;
        code = 0;
    } else if (code == 0 && key.size != LOG_KEY_SIZE) {
        code = error_set(err, ERROR_CORRUPT, "the log's last key is no sequence");
    } else if (code == 0) {
        *ret_sequence = read_u64be(key.data);
    }
    buf_release(&key);
    return code;
}

struct event_scan {
    struct kv_cursor *cursor;
    uint64_t next; /* the sequence that must come next */
};

int event_scan_open(struct kv *kv, struct kv_batch *batch, uint64_t from, uint64_t to,
                    struct event_scan **ret_scan, struct error *err)
{
    struct event_scan *scan = calloc(1, sizeof *scan);
    uint8_t from_key[LOG_KEY_SIZE], to_key[LOG_KEY_SIZE];
    struct bytes end = to == UINT64_MAX ? BYTES_ABSENT : log_key(to + 1, to_key);

    if (scan == NULL)
        return error_set(err, ERROR_NO_MEMORY, "out of memory while opening the log");
    scan->next = from;
    int code = kv_cursor_open(kv, batch, KV_LOG, log_key(from, from_key), end,
                              &scan->cursor, err);
    if (code != 0) {
        free(scan);
        return code;
    }
    *ret_scan = scan;
    return 0;
}

int event_scan_next(struct event_scan *scan, struct event *ret_event, struct error *err)
{
    struct bytes key, value;
    int code = kv_cursor_next(scan->cursor, &key, &value, err);

    if (code != 0)
        return code;
    if (key.size != LOG_KEY_SIZE || read_u64be(key.data) != scan->next)
        return error_set(err, ERROR_CORRUPT, "event %llu is missing from the log",
                         (unsigned long long)scan->next);
    code = event_decode(scan->next, value, ret_event, err);
    if (code == 0)
        scan->next++;
    return code;
}

void event_scan_close(struct event_scan *scan)
{
    if (scan == NULL)
        return;
    kv_cursor_close(scan->cursor);
    free(scan);
}
