/* refill.c - see refill.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "agent/shard/refill.h"

#include <string.h>

#include "agent/shard/claim.h"
#include "agent/shard/core.h"
#include "agent/shard/reader.h"
#include "events/event_log.h"

#define WATERMARK_TIMEOUT_MS 10000
#define READ_ONE_TIMEOUT_MS 5000
#define POLL_TIMEOUT_MS 1000
#define SILENT_POLLS_MAX 30 /* then the brokers are away */
#define READ_RECORDS_MAX 1000

/* ---- reading ----------------------------------------------------------------------- */

struct topic {
    const struct refill *refill;
    struct source *source;
    struct reader *reader;
    int64_t low, high;
};

static int topic_open(struct topic *topic, struct error *err)
{
    const struct config *config = topic->refill->config;
    int code = source_open(&config->kafka, config->topic_events,
                           (int32_t)topic->refill->shard, -1, &topic->source, err);

    return code != 0 ? code
                     : source_watermarks(topic->source, WATERMARK_TIMEOUT_MS, &topic->low,
                                         &topic->high, err);
}

static void topic_close(struct topic *topic)
{
    reader_free(topic->reader);
    source_close(topic->source);
}

/* After each poll: what was taken so far is to be kept. */
typedef int (*topic_keep_fn)(void *context, const struct reader *reader,
                             struct error *err);

/* Takes every record from the first on. */
static int topic_read(struct topic *topic, const struct reader_sink *sink,
                      topic_keep_fn keep, struct error *err)
{
    const struct refill *refill = topic->refill;
    struct log_identity identity = store_identity(refill->folder, refill->shard);
    const struct record *records;
    int64_t next = topic->low;
    size_t count, silent = 0;
    int code = 0;

    if (topic->low > 0)
        return error_set(err, ERROR_CONFLICT,
                         "partition %u of %s begins at offset %lld: its beginning is "
                         "lost (retention?), and the log cannot be read out of it",
                         refill->shard, refill->config->topic_events,
                         (long long)topic->low);
    code = reader_new(&identity, /* start= */ NULL, &topic->reader, err);
    if (code == 0 && next < topic->high)
        code = source_start(topic->source, next, err);
    while (code == 0 && next < topic->high) {
        code = source_poll(topic->source, POLL_TIMEOUT_MS, READ_RECORDS_MAX, &records,
                           &count, NULL, err);
        silent = count > 0 ? 0 : silent + 1;
        if (code == 0 && silent == SILENT_POLLS_MAX)
            code =
                error_set(err, ERROR_TIMEOUT, "the brokers gave no record of %s for %d s",
                          refill->config->topic_events, SILENT_POLLS_MAX);
        for (size_t i = 0; code == 0 && i < count && next < topic->high; i++) {
            code = reader_take(topic->reader, &records[i], sink, err);
            next = records[i].offset + 1;
        }
        if (code == 0 && count > 0 && keep != NULL)
            code = keep(sink->context, topic->reader, err);
        if (refill->progress != NULL && topic->high > 0)
            refill->progress(refill->context, (uint64_t)next, (uint64_t)topic->high);
    }
    return code;
}

/* ---- comparing --------------------------------------------------------------------- */

struct comparison {
    struct kv *kv;
    uint64_t last;      /* of the store */
    uint64_t different; /* the first event that differs, 0 = none */
};

static int compare_event(struct comparison *comparison, const struct event *event,
                         struct error *err)
{
    struct arena arena = ARENA_INIT;
    struct event own;

    if (event->sequence > comparison->last || comparison->different != 0)
        return 0;
    int code = event_log_read(comparison->kv, NULL, event->sequence, &arena, &own, err);
    if (code == 0 && memcmp(own.chain, event->chain, SHA256_SIZE) != 0)
        comparison->different = event->sequence;
    arena_release(&arena);
    return code < 0 ? code : 0;
}

static int on_compared_event(void *context, const struct event *event,
                             const struct event_record *record, struct error *err)
{
    (void)record;
    return compare_event(context, event, err);
}

static int on_compared_repeat(void *context, const struct event *event, struct error *err)
{
    return compare_event(context, event, err);
}

/* 0 = the record at the mark is the one that was there, 1 = it is not, or negative. */
static int look_at_mark(struct topic *topic, const struct mark *mark, struct error *err)
{
    const struct record *record;
    bool same;
    int code =
        source_read_one(topic->source, mark->offset, READ_ONE_TIMEOUT_MS, &record, err);

    if (code == 0) {
        same = mark_is_record(mark, record);
        code = same ? 0 : 1;
    }
    return code;
}

static int compare_all(struct topic *topic, struct kv *kv, uint64_t kept,
                       struct error *ret_reason, struct error *err)
{
    struct comparison comparison = {.kv = kv};
    struct reader_sink sink = {on_compared_event, on_compared_repeat, &comparison};
    int code = event_log_last(kv, &comparison.last, err);

    if (code == 0)
        code = topic_read(topic, &sink, /* keep= */ NULL, ret_reason);
    if (ret_reason->code == ERROR_CONFLICT || ret_reason->code == ERROR_CORRUPT)
        return 1;
    if (code != 0)
        return error_set(err, code, "%s", ret_reason->text);
    uint64_t end = reader_end(topic->reader)->sequence;
    if (comparison.different != 0 && comparison.different <= kept)
        (void)error_set(ret_reason, ERROR_CONFLICT,
                        "store and topic differ at event %llu, which the topic had "
                        "acknowledged",
                        (unsigned long long)comparison.different);
    else if (end < kept)
        (void)error_set(ret_reason, ERROR_CONFLICT,
                        "the topic holds the log up to event %llu only, but had "
                        "acknowledged event %llu",
                        (unsigned long long)end, (unsigned long long)kept);
    return ret_reason->code != 0;
}

int refill_compare(const struct refill *refill, struct error *ret_reason,
                   struct error *err)
{
    struct topic topic = {.refill = refill};
    struct mark mark = {0};
    struct kv *kv = NULL;
    int code = store_open_shard(refill->folder, refill->shard, KV_READ_ONLY, &kv, err);

    if (code == 0)
        code = mark_load(kv, &mark, err);
    if (code == 0)
        code = topic_open(&topic, err);
    if (code == 0 && mark.sequence > 0)
        code = look_at_mark(&topic, &mark, err);
    if (code == 1)
        code = compare_all(&topic, kv, mark.sequence, ret_reason, err);
    topic_close(&topic);
    kv_close(kv);
    return code;
}

/* ---- filling ----------------------------------------------------------------------- */

static int adopt_event(void *context, const struct event *event,
                       const struct event_record *record, struct error *err)
{
    return core_adopt(context, event, record, err);
}

static int on_adopted_repeat(void *context, const struct event *event, struct error *err)
{
    struct core *core = context;
    struct arena arena = ARENA_INIT;
    struct event own;
    int code = event_log_read(core_kv(core), core_batch(core), event->sequence, &arena,
                              &own, err);

    if (code == 1 || (code == 0 && memcmp(own.chain, event->chain, SHA256_SIZE) != 0))
        code = error_set(err, ERROR_CORRUPT,
                         "two valid events of the topic differ at sequence %llu",
                         (unsigned long long)event->sequence);
    arena_release(&arena);
    return code;
}

/* What was read so far becomes durable, and with it how far the topic has it. */
static int commit_adopted(void *context, const struct reader *reader, struct error *err)
{
    struct core *core = context;
    struct shard_status status = {
        .role = SHARD_STOPPED,
        .epoch = *reader_epoch(reader),
        .answered = reader_answered(reader),
    };

    status.epoch.number = reader_highest_epoch(reader);
    int code = shard_status_store(core_batch(core), &status, err);
    if (code == 0)
        code = mark_store(core_batch(core), reader_end(reader), err);
    if (code == 0)
        code = core_commit(core, /* sync= */ false, err);
    core_next_batch(core);
    return code;
}

static int fill(struct topic *topic, struct kv *kv, struct mark *ret_end,
                struct error *err)
{
    const struct refill *refill = topic->refill;
    const struct config *config = refill->config;
    struct core_settings settings = {
        .identity = store_identity(refill->folder, refill->shard),
        .site_key = refill->folder->site_key,
        .commands_topic = config->topic_commands,
        .replies_topic = config->topic_replies,
        .reply_allow = config->reply_allow,
        .reply_allow_count = config->reply_allow_count,
    };
    struct core *core = NULL;
    int code = core_open(kv, &settings, &core, err);
    struct reader_sink sink = {adopt_event, on_adopted_repeat, core};

    if (code == 0)
        code = topic_read(topic, &sink, commit_adopted, err);
    if (code == 0 && core_head(core)->sequence == 0)
        code = error_set(err, ERROR_CONFLICT, "partition %u of %s holds no log",
                         refill->shard, config->topic_events);
    if (code == 0) {
        *ret_end = *reader_end(topic->reader);
        code = core_commit(core, /* sync= */ true, err);
    }
    core_close(core);
    return code;
}

int refill_store(const struct refill *refill, const char *path, struct mark *ret_end,
                 struct error *err)
{
    struct topic topic = {.refill = refill};
    struct kv *kv = NULL;
    int code = topic_open(&topic, err);

    if (code == 0)
        code = kv_open_rocksdb(path, KV_CREATE, &kv, err);
    if (code == 0)
        code = fill(&topic, kv, ret_end, err);
    kv_close(kv);
    topic_close(&topic);
    return code;
}
