/* repair.c - see repair.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "agent/shard/repair.h"

#include <stdio.h>
#include <string.h>

#include "agent/kafka/kafka.h"
#include "events/event_log.h"

#define PROGRESS_EVENTS 1000
#define WATERMARK_TIMEOUT_MS 10000
#define TRUNCATE_ROWS_MAX 10000

/* ---- the fold ---------------------------------------------------------------------- */

static int check_chain(struct sha256 *hasher, const struct log_identity *identity,
                       const struct head *head, const struct event *event,
                       struct arena *arena, struct error *err)
{
    struct event_record record;
    uint8_t chain[SHA256_SIZE];

    arena_reset(arena);
    if (event_render(identity, event, arena, &record) != 0)
        return error_set(err, ERROR_NO_MEMORY, "out of memory while checking the chain");
    chain_next(hasher, head->chain, event->sequence, &record, chain);
    if (memcmp(chain, event->chain, SHA256_SIZE) != 0)
        return error_set(err, ERROR_CORRUPT,
                         "the chain breaks at event %llu: it was altered, or the one "
                         "before it",
                         (unsigned long long)event->sequence);
    return 0;
}

int repair_fold_head(struct kv *kv, const struct log_identity *identity,
                     replay_progress_fn progress, void *context, struct head *ret_head,
                     struct error *err)
{
    struct sha256 *hasher = sha256_new();
    struct arena arena = ARENA_INIT;
    struct command_order order = {0};
    struct event_scan *scan = NULL;
    struct event event;
    uint64_t last = 0;

    if (hasher == NULL)
        return error_set(err, ERROR_NO_MEMORY, "out of memory while reading the log");
    head_start(hasher, identity, ret_head);
    int code = event_log_last(kv, &last, err);
    if (code == 0)
        code = event_scan_open(kv, NULL, 1, last, &scan, err);
    while (code == 0 && (code = event_scan_next(scan, &event, err)) == 0) {
        code = check_chain(hasher, identity, ret_head, &event, &arena, err);
        if (code == 0)
            code = command_order_take(&order, &event, err);
        if (code == 0)
            code = head_apply(ret_head, &event, err);
        if (progress != NULL && event.sequence % PROGRESS_EVENTS == 0)
            progress(context, event.sequence, last);
    }
    if (code == 1 && ret_head->sequence != last)
        code = error_set(err, ERROR_CORRUPT, "event %llu is missing from the log",
                         (unsigned long long)ret_head->sequence + 1);
    else if (code == 1 && order.index != 0)
        code = error_set(err, ERROR_CORRUPT,
                         "the log ends in the middle of a command, at event %llu",
                         (unsigned long long)last);
    event_scan_close(scan);
    arena_release(&arena);
    sha256_free(hasher);
    return code == 1 ? 0 : code;
}

/* ---- truncation -------------------------------------------------------------------- */

static int delete_events(struct kv *kv, uint64_t from, uint64_t last, struct error *err)
{
    struct kv_batch *batch = kv_batch_new(kv);
    uint8_t key[8];
    int code = batch == NULL ? error_set(err, ERROR_NO_MEMORY, "out of memory") : 0;

    /* From the end: a crash in between leaves a shorter log without a hole. */
    for (uint64_t sequence = last; code == 0 && sequence >= from; sequence--) {
        write_u64be(key, sequence);
        code = kv_batch_delete(batch, KV_LOG, bytes_of(key, sizeof key), err);
        if (code == 0 && (sequence == from || kv_batch_count(batch) >= TRUNCATE_ROWS_MAX))
            code = kv_batch_commit(batch, /* sync= */ true, err);
    }
    kv_batch_free(batch);
    return code;
}

static int write_head(struct kv *kv, const struct head *head, struct error *err)
{
    struct kv_batch *batch = kv_batch_new(kv);
    struct anchor none = {0};
    int code = batch == NULL ? error_set(err, ERROR_NO_MEMORY, "out of memory") : 0;

    if (code == 0)
        code = head_store(batch, head, err);
    if (code == 0)
        code = anchor_store(batch, &none, err);
    if (code == 0)
        code = kv_batch_commit(batch, /* sync= */ true, err);
    kv_batch_free(batch);
    return code;
}

int repair_truncate(struct kv *kv, const struct log_identity *identity, uint64_t from,
                    struct error *err)
{
    struct head head;
    uint64_t last;

    int code = event_log_last(kv, &last, err);
    if (code == 0 && last >= from)
        code = delete_events(kv, from, last, err);
    if (code == 0)
        code = repair_fold_head(kv, identity, NULL, NULL, &head, err);
    if (code == 0)
        code = views_rebuild(kv, NULL, NULL, err);
    return code != 0 ? code : write_head(kv, &head, err);
}

/* Where the command begins that the log's last event is part of, if it lacks its end;
 * else behind the last event. */
static int end_of_commands(struct kv *kv, uint64_t last, uint64_t *ret_from,
                           struct error *err)
{
    struct arena arena = ARENA_INIT;
    struct event event;

    *ret_from = last + 1;
    if (last == 0)
        return 0;
    int code = event_log_read(kv, /* batch= */ NULL, last, &arena, &event, err);
    if (code == 0 && event.has_command && event.index < event.count &&
        event.index <= last)
        *ret_from = last + 1 - event.index;
    arena_release(&arena);
    return code < 0 ? code : 0;
}

int repair_finish(struct kv *kv, const struct log_identity *identity, uint64_t mark,
                  struct error *err)
{
    struct error fault = {0};
    struct head head;
    uint64_t last, from;
    int code = head_load(kv, identity, &head, err);

    if (code == 0)
        code = event_log_last(kv, &last, err);
    if (code != 0 || head_check_end(kv, &head, &fault) == 0)
        return code;
    code = end_of_commands(kv, last, &from, err);
    if (code == 0 &&
        (fault.code != ERROR_CORRUPT || last >= head.sequence || from <= mark))
        code = error_set(err, fault.code, "%s", fault.text);
    if (code == 0)
        code = repair_truncate(kv, identity, from, err);
    return code == 0 ? 1 : code;
}

/* ---- the operator's ways out ------------------------------------------------------- */

int repair_views(const struct store_folder *folder, uint32_t shard,
                 replay_progress_fn progress, void *context, struct error *err)
{
    struct log_identity identity = store_identity(folder, shard);
    struct head head = {0}, present = {0};
    struct error unreadable = {0};
    struct kv *kv = NULL;

    int code = store_open_shard(folder, shard, KV_READ_WRITE, &kv, err);
    if (code != 0)
        return code;
    code = repair_fold_head(kv, &identity, progress, context, &head, err);
    if (code == 0)
        code = views_rebuild(kv, progress, context, err);
    /* Only a head that is not the log's is replaced: the position may rightly be ahead of
     * the log's. */
    if (code == 0 && (head_load(kv, &identity, &present, &unreadable) != 0 ||
                      !head_same_fold(&present, &head)))
        code = write_head(kv, &head, err);
    kv_close(kv);
    return code;
}

int repair_from_topic(const struct store_folder *folder, uint32_t shard,
                      struct error *err)
{
    struct kv *kv = NULL;
    int code = store_set_aside(folder, shard, err);

    if (code == 0)
        code = store_open_shard(folder, shard, KV_CREATE, &kv, err);
    kv_close(kv);
    return code;
}

/* Changes one shard's rows of KV_META in a synced batch. */
static int change_rows(const struct store_folder *folder, uint32_t shard,
                       int (*change)(struct kv *kv, struct kv_batch *batch, void *context,
                                     struct error *err),
                       void *context, struct error *err)
{
    struct kv *kv = NULL;
    int code = store_open_shard(folder, shard, KV_READ_WRITE, &kv, err);
    if (code != 0)
        return code;
    struct kv_batch *batch = kv_batch_new(kv);
    code = batch == NULL ? error_set(err, ERROR_NO_MEMORY, "out of memory")
                         : change(kv, batch, context, err);
    if (code == 0)
        code = kv_batch_commit(batch, /* sync= */ true, err);
    kv_batch_free(batch);
    kv_close(kv);
    return code;
}

static int forget_topic(struct kv *kv, struct kv_batch *batch, void *context,
                        struct error *err)
{
    struct mark none = {0};
    struct shard_status status;
    int code = shard_status_load(kv, &status, err);

    (void)context;
    status.cluster_id[0] = '\0';
    status.reason[0] = '\0';
    if (code == 0)
        code = shard_status_store(batch, &status, err);
    return code != 0 ? code : mark_store(batch, &none, err);
}

int repair_republish(const struct store_folder *folder, uint32_t shard, struct error *err)
{
    return change_rows(folder, shard, forget_topic, NULL, err);
}

struct new_position {
    struct log_identity identity;
    int64_t offset;
};

static int move_position(struct kv *kv, struct kv_batch *batch, void *context,
                         struct error *err)
{
    const struct new_position *position = context;
    struct shard_status status;
    struct anchor none = {0};
    struct head head;

    int code = head_load(kv, &position->identity, &head, err);
    if (code == 0)
        code = shard_status_load(kv, &status, err);
    if (code != 0)
        return code;
    head.next_offset = position->offset;
    head.event_offset = position->offset - 1;
    status.reason[0] = '\0';
    code = head_store(batch, &head, err);
    if (code == 0)
        code = shard_status_store(batch, &status, err);
    return code != 0 ? code : anchor_store(batch, &none, err);
}

int repair_commands(const struct store_folder *folder, const struct config *config,
                    uint32_t shard, bool earliest, struct error *err)
{
    struct new_position position = {.identity = store_identity(folder, shard)};
    struct source *source = NULL;
    int64_t low = 0, high = 0;

    int code = source_open(&config->kafka, config->topic_commands, (int32_t)shard, -1,
                           &source, err);
    if (code == 0)
        code = source_watermarks(source, WATERMARK_TIMEOUT_MS, &low, &high, err);
    source_close(source);
    position.offset = earliest ? low : high;
    return code != 0 ? code : change_rows(folder, shard, move_position, &position, err);
}
