/* outbox.c - see outbox.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "agent/shard/outbox.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/clock.h"
#include "agent/crash_point.h"
#include "agent/log.h"
#include "agent/shard/answer.h"
#include "agent/shard/followup.h"
#include "events/event_log.h"

#define KEPT_EVENTS_MAX 10 /* of a command whose answer is kept: it stays under 4 KB */
/* asked again in the next round; two of them fit beside DRAIN_MS into the 10 s of a stop */
#define TOPIC_TIMEOUT_MS 2000
#define DIRECT_TAG (1ULL << 63)   /* forwards, dead letters, ticks */
#define FOLLOWUP_TAG (1ULL << 62) /* with the number of what it follows from */
#define REPLY_TOPICS_MAX 64       /* cached; more are looked up each time */
#define MISSING_TOPIC_MS 5000     /* for so long it stays missing; somebody may make it */
#define DEAD_LETTER_HEADERS 5
#define MESSAGE_BYTES_DEFAULT 1000000 /* what the library takes if no limit is known */

struct queued {
    struct effect effect;
    struct answer *answer; /* NULL: it is made from the log */
    bool follows;          /* a command to another shard may follow from its events */
    bool sent;
    uint32_t outstanding; /* records handed over and not acknowledged */
};

struct reply_topic {
    char name[256];
    int32_t partitions; /* 0: there is no such topic */
    int64_t ask_ms;     /* when it is to be asked for again, if there is none */
};

struct outbox {
    struct outbox_settings settings;
    struct sink *sink;
    struct answer_maker *maker;
    struct arena arena;
    struct queued *ring;
    size_t capacity; /* a power of two */
    size_t first;
    size_t count;
    size_t sent; /* of the ring's beginning */
    uint64_t first_number;
    uint64_t answered;
    size_t direct_outstanding;
    struct error refused; /* one of what must not get lost */
    int64_t *repeats;
    size_t repeat_count;
    size_t repeat_capacity;
    bool repeats_taken;
    struct reply_topic topics[REPLY_TOPICS_MAX];
    size_t topic_count;
};

static struct queued *at(const struct outbox *outbox, size_t index)
{
    return &outbox->ring[(outbox->first + index) & (outbox->capacity - 1)];
}

static int no_memory(struct error *err)
{
    return error_set(err, ERROR_NO_MEMORY, "out of memory in the outbox");
}

/* ---- acknowledgements -------------------------------------------------------------- */

static void note_repeat_done(struct outbox *outbox, int64_t offset)
{
    if (outbox->repeats_taken) {
        outbox->repeat_count = 0;
        outbox->repeats_taken = false;
    }
    if (outbox->repeat_count == outbox->repeat_capacity) {
        size_t capacity = outbox->repeat_capacity == 0 ? 64 : 2 * outbox->repeat_capacity;
        int64_t *repeats = realloc(outbox->repeats, capacity * sizeof *repeats);
        if (repeats == NULL)
            return; /* it is answered once more after a restart */
        outbox->repeats = repeats;
        outbox->repeat_capacity = capacity;
    }
    outbox->repeats[outbox->repeat_count++] = offset;
}

/* The last of the events that an effect rests on. */
static uint64_t effect_end(const struct effect *effect)
{
    return effect->first_sequence + effect->count - 1;
}

static void pop_done(struct outbox *outbox)
{
    while (outbox->count > 0 && at(outbox, 0)->sent && at(outbox, 0)->outstanding == 0) {
        const struct effect *effect = &at(outbox, 0)->effect;
        if (effect->repeat_offset >= 0)
            note_repeat_done(outbox, effect->repeat_offset);
        else if (effect_end(effect) > outbox->answered)
            outbox->answered = effect_end(effect);
        free(at(outbox, 0)->answer);
        outbox->first = (outbox->first + 1) & (outbox->capacity - 1);
        outbox->first_number++;
        outbox->count--;
        outbox->sent--;
    }
}

/* What must not get lost was refused: the shard begins again from what is durable. */
static void note_refused(struct outbox *outbox, int code)
{
    error_set(&outbox->refused, code,
              "the broker refused a forwarded command, a command to another shard, or a "
              "dead letter; if it is too large, raise max.message.bytes: of %s to 328704 "
              "at least, of %s to 65536 more than that",
              outbox->settings.topics.commands, outbox->settings.topics.dead_letters);
}

static void on_delivery(void *context, const struct delivery *delivery)
{
    struct outbox *outbox = context;
    bool direct = (delivery->tag & DIRECT_TAG) != 0;
    bool followup = !direct && (delivery->tag & FOLLOWUP_TAG) != 0;

    if (delivery->code != 0 && (direct || followup))
        note_refused(outbox, delivery->code);
    if (direct) {
        outbox->direct_outstanding--;
        return;
    }
    size_t index = (size_t)((delivery->tag & ~FOLLOWUP_TAG) - outbox->first_number);
    if (index >= outbox->count || (delivery->code != 0 && followup))
        return; /* the answer cursor does not pass it */
    if (delivery->code != 0)
        log_paced(4, "outbox",
                  "the broker refused the answer to the command at event %llu",
                  (unsigned long long)at(outbox, index)->effect.first_sequence);
    at(outbox, index)->outstanding--;
    pop_done(outbox);
}

/* ---- life -------------------------------------------------------------------------- */

static int open_sink(struct outbox *outbox, struct error *err)
{
    return sink_open(outbox->settings.kafka, SINK_OUTBOX,
                     outbox->settings.max_message_bytes, outbox->settings.wake_fd,
                     on_delivery, outbox, &outbox->sink, err);
}

int outbox_open(const struct outbox_settings *settings, struct outbox **ret_outbox,
                struct error *err)
{
    struct outbox *outbox = calloc(1, sizeof *outbox);
    int code = 0;

    if (outbox == NULL)
        return no_memory(err);
    outbox->settings = *settings;
    outbox->capacity = 256;
    outbox->ring = calloc(outbox->capacity, sizeof *outbox->ring);
    outbox->maker = answer_maker_new(&settings->identity, settings->site_key);
    if (outbox->ring == NULL || outbox->maker == NULL)
        code = no_memory(err);
    if (code == 0)
        code = open_sink(outbox, err);
    if (code != 0) {
        outbox_close(outbox);
        return code;
    }
    *ret_outbox = outbox;
    return 0;
}

void outbox_close(struct outbox *outbox)
{
    if (outbox == NULL)
        return;
    sink_close(outbox->sink);
    for (size_t i = 0; i < outbox->count; i++)
        free(at(outbox, i)->answer);
    answer_maker_free(outbox->maker);
    arena_release(&outbox->arena);
    free(outbox->ring);
    free(outbox->repeats);
    free(outbox);
}

static int grow(struct outbox *outbox)
{
    size_t capacity = 2 * outbox->capacity;
    struct queued *ring = calloc(capacity, sizeof *ring);

    if (ring == NULL)
        return ERROR_NO_MEMORY;
    for (size_t i = 0; i < outbox->count; i++)
        ring[i] = *at(outbox, i);
    free(outbox->ring);
    outbox->ring = ring;
    outbox->capacity = capacity;
    outbox->first = 0;
    return 0;
}

/* A long answer is not worth its memory: it is made from the log. */
static int keep_answer(struct outbox *outbox, const struct effect *effect,
                       const struct core_event *events, struct answer **ret_answer,
                       struct error *err)
{
    struct answer answer;
    int code = 0;

    answer_begin(outbox->maker);
    for (uint32_t i = 0; code == 0 && i < effect->count; i++)
        code = answer_add(outbox->maker, &events[i].event, events[i].data, err);
    if (code == 0)
        code = answer_end(outbox->maker, &answer, err);
    if (code == 0 && (*ret_answer = answer_copy(&answer)) == NULL)
        code = no_memory(err);
    return code;
}

/* Is the answer made of these events alone, and short? */
static bool is_worth_keeping(const struct effect *effect, const struct core_event *events)
{
    uint64_t number;

    return events != NULL && effect->count <= KEPT_EVENTS_MAX &&
           answer_concludes(&events[0].event, events[0].data, &number, NULL) == 0 &&
           number == 0;
}

/* Of events that are not at hand it is not known. */
static bool may_follow(const struct effect *effect, const struct core_event *events)
{
    bool follows = events == NULL;

    for (uint32_t i = 0; !follows && i < effect->count; i++)
        follows = followup_possible(events[i].event.type);
    return follows;
}

int outbox_add(struct outbox *outbox, const struct effect *effect,
               const struct core_event *events, struct error *err)
{
    struct answer *answer = NULL;

    if (outbox->count == outbox->capacity && grow(outbox) != 0)
        return no_memory(err);
    if (is_worth_keeping(effect, events)) {
        int code = keep_answer(outbox, effect, events, &answer, err);
        if (code != 0)
            return code;
    }
    struct queued *queued = at(outbox, outbox->count);
    memset(queued, 0, sizeof *queued);
    queued->effect = *effect;
    queued->answer = answer;
    queued->follows = may_follow(effect, events);
    outbox->count++;
    return 0;
}

size_t outbox_waiting(const struct outbox *outbox)
{
    return outbox->count;
}

uint64_t outbox_answered(const struct outbox *outbox)
{
    return outbox->answered;
}

void outbox_set_answered(struct outbox *outbox, uint64_t sequence)
{
    outbox->answered = sequence;
}

const int64_t *outbox_repeats_done(struct outbox *outbox, size_t *ret_count)
{
    *ret_count = outbox->repeats_taken ? 0 : outbox->repeat_count;
    outbox->repeats_taken = true;
    return outbox->repeats;
}

/* After a fatal error of the handle: everything not acknowledged is sent again. */
static int replace_sink(struct outbox *outbox, const struct error *why, struct error *err)
{
    log_paced(4, "outbox", "the producer is replaced: %s", why->text);
    sink_close(outbox->sink);
    outbox->sink = NULL;
    for (size_t i = 0; i < outbox->count; i++) {
        at(outbox, i)->sent = false;
        at(outbox, i)->outstanding = 0;
    }
    outbox->sent = 0;
    if (outbox->direct_outstanding > 0)
        error_set(&outbox->refused, ERROR_KAFKA, "%s", why->text);
    outbox->direct_outstanding = 0;
    return open_sink(outbox, err);
}

int outbox_poll(struct outbox *outbox, int timeout_ms, struct error *err)
{
    struct error why = {0};

    if (outbox->sink == NULL)
        return open_sink(outbox, err);
    (void)sink_poll(outbox->sink, timeout_ms); /* the count does not matter here */
    if (sink_failed(outbox->sink, &why))
        return replace_sink(outbox, &why, err);
    if (outbox->refused.code != 0)
        *err = outbox->refused;
    return outbox->refused.code;
}

/* ---- topics ------------------------------------------------------------------------ */

/* What is known of a topic, so far perhaps nothing; NULL = there is no room for it. */
static struct reply_topic *topic_entry(struct outbox *outbox, const char *topic)
{
    for (size_t i = 0; i < outbox->topic_count; i++) {
        if (strcmp(outbox->topics[i].name, topic) == 0)
            return &outbox->topics[i];
    }
    if (outbox->topic_count == REPLY_TOPICS_MAX ||
        strlen(topic) >= sizeof outbox->topics[0].name)
        return NULL;
    struct reply_topic *entry = &outbox->topics[outbox->topic_count++];
    *entry = (struct reply_topic){.partitions = 0};
    snprintf(entry->name, sizeof entry->name, "%s", topic);
    return entry;
}

static int partitions_of(struct outbox *outbox, const char *topic,
                         int32_t *ret_partitions, struct error *err)
{
    struct reply_topic *known = topic_entry(outbox, topic);
    struct error why = {0};

    *ret_partitions = known != NULL ? known->partitions : 0;
    if (known != NULL && (known->partitions > 0 || clock_monotonic_ms() < known->ask_ms))
        return 0;
    int code = sink_topic(outbox->sink, topic, TOPIC_TIMEOUT_MS, ret_partitions, &why);
    if (code == ERROR_NOT_FOUND) {
        log_paced(4, "outbox", "topic %s does not exist: what goes there is dropped",
                  topic);
        code = 0;
    }
    if (code != 0)
        return error_set(err, code, "%s", why.text);
    if (known != NULL) {
        known->partitions = *ret_partitions;
        known->ask_ms = clock_monotonic_ms() + MISSING_TOPIC_MS;
    }
    return 0;
}

/* ---- answers and commands ---------------------------------------------------------- */

static size_t answer_headers(const struct answer *answer, const struct effect *effect,
                             const char *epoch, struct header headers[ANSWER_HEADERS + 3])
{
    size_t count = 0;

    for (size_t i = 0; i < ANSWER_HEADERS; i++) {
        if (answer->headers[i].data == NULL)
            continue;
        headers[count].name = bytes_str(answer_header_names[i]);
        headers[count++].value = answer->headers[i];
    }
    headers[count].name = bytes_str(EPOCH_HEADER);
    headers[count++].value = bytes_str(epoch);
    if (effect->forwarded[0] != '\0') {
        headers[count].name = bytes_str("kinlog_forwarded");
        headers[count++].value = bytes_str(effect->forwarded);
    }
    if (effect->repeated) {
        headers[count].name = bytes_str("ce_repeated");
        headers[count++].value = bytes_str("true");
    }
    return count;
}

static int send_answer(struct outbox *outbox, struct queued *queued, uint64_t number,
                       const struct answer *answer, const char *epoch, struct error *err)
{
    struct header headers[ANSWER_HEADERS + 3];
    char topic[256];
    int32_t partitions;

    if (bytes_equal_str(answer->reply_to, "-"))
        return 0;
    if (answer->reply_to.data != NULL)
        snprintf(topic, sizeof topic, "%.*s", (int)answer->reply_to.size,
                 (const char *)answer->reply_to.data);
    else
        snprintf(topic, sizeof topic, "%s", outbox->settings.topics.replies);
    int code = partitions_of(outbox, topic, &partitions, err);
    if (code != 0 || partitions == 0)
        return code;
    size_t count = answer_headers(answer, &queued->effect, epoch, headers);
    queued->outstanding++;
    code = sink_send(outbox->sink, topic,
                     (int32_t)(outbox->settings.identity.shard % (uint32_t)partitions),
                     answer->key, answer->value, headers, count, -1, number, err);
    if (code != 0)
        queued->outstanding--;
    return code;
}

/* A command of the agent's own. */
static int send_own_command(struct outbox *outbox, const struct followup *command,
                            const char *epoch, uint64_t tag, struct error *err)
{
    char source[LOG_SOURCE_SIZE];

    log_source(&outbox->settings.identity, source);
    const struct header all[] = {
        {bytes_str("ce_specversion"), bytes_str("1.0")},
        {bytes_str("content-type"), bytes_str("application/json")},
        {bytes_str("ce_id"), command->id},
        {bytes_str("ce_source"), bytes_str(source)},
        {bytes_str("ce_type"), bytes_str(command->type)},
        {bytes_str(EPOCH_HEADER), bytes_str(epoch)},
        {bytes_str("ce_replyto"), bytes_str(command->answered ? NULL : "-")},
        {bytes_str("ce_actor"), command->actor},
        {bytes_str("ce_correlationid"), command->correlation_id},
        {bytes_str("ce_traceparent"), command->traceparent},
        {bytes_str("ce_tracestate"), command->tracestate},
    };
    struct header headers[sizeof all / sizeof all[0]];
    size_t count = 0;
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        if (all[i].value.data != NULL)
            headers[count++] = all[i];
    }
    return sink_send(outbox->sink, outbox->settings.topics.commands,
                     (int32_t)command->shard, command->key, command->data, headers, count,
                     -1, tag, err);
}

static int send_counted(struct outbox *outbox, struct queued *queued, uint64_t number,
                        const struct followup *followup, const char *epoch,
                        struct error *err)
{
    queued->outstanding++;
    int code = send_own_command(outbox, followup, epoch, number | FOLLOWUP_TAG, err);
    if (code != 0)
        queued->outstanding--;
    return code;
}

static int send_to_all_others(struct outbox *outbox, struct queued *queued,
                              uint64_t number, const struct followup *followup,
                              const char *epoch, struct error *err)
{
    const struct log_identity *identity = &outbox->settings.identity;
    struct followup copy = *followup;
    int code = 0;

    for (copy.shard = 0; code == 0 && copy.shard < identity->shards; copy.shard++) {
        if (copy.shard != identity->shard)
            code = send_counted(outbox, queued, number, &copy, epoch, err);
    }
    return code;
}

static int send_followup(struct outbox *outbox, struct queued *queued, uint64_t number,
                         const struct event *event, const char *epoch, struct error *err)
{
    struct followup followup;

    if (queued->effect.repeat_offset >= 0 && !followup_repeats(event))
        return 0;
    arena_reset(&outbox->arena);
    int code = followup_of(&outbox->settings.identity, event, /* data= */ NULL,
                           &outbox->arena, &followup, err);
    if (code != 0)
        return code < 0 ? code : 0;
    return followup.all_others
               ? send_to_all_others(outbox, queued, number, &followup, epoch, err)
               : send_counted(outbox, queued, number, &followup, epoch, err);
}

/* What the events make this shard say to others. */
static int send_followups(struct outbox *outbox, struct kv *kv, struct queued *queued,
                          uint64_t number, const char *epoch, struct error *err)
{
    struct event_scan *scan = NULL;
    struct event event;
    int code = event_scan_open(kv, NULL, queued->effect.first_sequence,
                               effect_end(&queued->effect), &scan, err);

    while (code == 0 && (code = event_scan_next(scan, &event, err)) == 0)
        code = send_followup(outbox, queued, number, &event, epoch, err);
    event_scan_close(scan);
    return code < 0 ? code : 0;
}

static int send_effect(struct outbox *outbox, struct kv *kv, struct queued *queued,
                       uint64_t number, const char *epoch, struct error *err)
{
    struct answer answer;
    const struct effect *effect = &queued->effect;
    int code = 0;

    if (queued->answer != NULL)
        answer = *queued->answer;
    else
        code = answer_from_log(outbox->maker, kv, NULL, effect->first_sequence,
                               effect->count, &answer, err);
    if (code == 0 && !answer.waits)
        code = send_answer(outbox, queued, number, &answer, epoch, err);
    return code == 0 && queued->follows
               ? send_followups(outbox, kv, queued, number, epoch, err)
               : code;
}

/* For tests alone: one answer has left, the next may. */
static void reach_half(struct outbox *outbox, uint64_t durable_sequence)
{
    if (outbox->sent == 0 || outbox->sent == outbox->count ||
        effect_end(&at(outbox, outbox->sent)->effect) > durable_sequence)
        return;
    if (CRASH_POINT_SETTLES("answer.half"))
        (void)sink_flush(outbox->sink, 2000, NULL);
    CRASH_POINT("answer.half");
}

int outbox_release(struct outbox *outbox, struct kv *kv, uint64_t durable_sequence,
                   const struct epoch *epoch, struct error *err)
{
    char text[EPOCH_TEXT_SIZE];
    int code = 0;

    epoch_text(epoch, text);
    while (code == 0 && outbox->sink != NULL && outbox->sent < outbox->count &&
           effect_end(&at(outbox, outbox->sent)->effect) <= durable_sequence) {
        struct queued *queued = at(outbox, outbox->sent);
        code = send_effect(outbox, kv, queued, outbox->first_number + outbox->sent, text,
                           err);
        queued->sent = code == 0;
        outbox->sent += code == 0;
        reach_half(outbox, durable_sequence);
    }
    CRASH_POINT("answer.done");
    pop_done(outbox);
    if (code != ERROR_TIMEOUT)
        return code;
    /* the library's queue is full, or a topic's partitions are not known yet: later */
    error_clear(err);
    return 0;
}

/* ---- forwards, dead letters, ticks ------------------------------------------------- */

/* The record as it is, with headers added behind its own. */
static int send_copy(struct outbox *outbox, const char *topic, int32_t partition,
                     const struct record *record, const struct header *added,
                     size_t added_count, struct error *err)
{
    size_t count = record->header_count + added_count;
    struct header *headers = calloc(count, sizeof *headers);

    if (headers == NULL)
        return no_memory(err);
    if (record->header_count > 0)
        memcpy(headers, record->headers, record->header_count * sizeof *headers);
    memcpy(headers + record->header_count, added, added_count * sizeof *headers);
    outbox->direct_outstanding++;
    int code = sink_send(outbox->sink, topic, partition, record->key, record->value,
                         headers, count, -1, DIRECT_TAG, err);
    if (code != 0)
        outbox->direct_outstanding--;
    free(headers);
    return code;
}

int outbox_forward(struct outbox *outbox, const struct record *record, uint32_t target,
                   struct error *err)
{
    char place[48];

    snprintf(place, sizeof place, "%d-%lld", record->partition,
             (long long)record->offset);
    struct header added = {bytes_str("kinlog_forwarded"), bytes_str(place)};
    return send_copy(outbox, outbox->settings.topics.commands, (int32_t)target, record,
                     &added, 1, err);
}

/* An upper bound of what a batch of this one record takes uncompressed. */
static size_t size_as_sent(const struct record *record, const struct header *added,
                           size_t added_count)
{
    /* fixed part and lengths, as varints */
    const size_t batch = 61 + 7 * 10, header = 2 * 5;
    size_t size = batch + record->key.size + record->value.size;

    for (size_t i = 0; i < record->header_count; i++)
        size += header + record->headers[i].name.size + record->headers[i].value.size;
    for (size_t i = 0; i < added_count; i++)
        size += header + added[i].name.size + added[i].value.size;
    return size;
}

/* Leaves out of the copy what makes it too large. Returns what that was, or NULL. */
static const char *make_fit(struct record *copy, size_t limit, const struct header *added,
                            size_t added_count)
{
    if (size_as_sent(copy, added, added_count) <= limit)
        return NULL;
    copy->value = BYTES_ABSENT;
    if (size_as_sent(copy, added, added_count) <= limit)
        return "value";
    copy->key = BYTES_ABSENT;
    copy->header_count = 0;
    return "key, value, headers";
}

static int send_dead_letter(struct outbox *outbox, int32_t partition,
                            const struct record *record, struct header *added,
                            size_t added_count, struct error *err)
{
    size_t limit = outbox->settings.dead_letter_bytes;
    struct record copy = *record;
    const char *left_out =
        make_fit(&copy, limit > 0 ? limit : MESSAGE_BYTES_DEFAULT, added, added_count);

    if (left_out != NULL) {
        log_write(
            4, "outbox", "dead letter: offset %lld is too large for %s, left out: %s",
            (long long)record->offset, outbox->settings.topics.dead_letters, left_out);
        added[added_count].name = bytes_str("kinlog_left_out");
        added[added_count++].value = bytes_str(left_out);
    }
    return send_copy(outbox, outbox->settings.topics.dead_letters, partition, &copy,
                     added, added_count, err);
}

int outbox_dead_letter(struct outbox *outbox, const struct record *record,
                       const char *reason, struct error *err)
{
    const char *topic = outbox->settings.topics.dead_letters;
    char partition[16], offset[24];
    uint8_t digest[SHA256_SIZE];
    struct buf hex = BUF_INIT;
    int32_t partitions;

    int code = partitions_of(outbox, topic, &partitions, err);
    if (code != 0)
        return code;
    if (partitions <= 0)
        return error_set(err, ERROR_NOT_FOUND, "topic %s does not exist: create it",
                         topic);
    snprintf(partition, sizeof partition, "%d", record->partition);
    snprintf(offset, sizeof offset, "%lld", (long long)record->offset);
    sha256_once(record->value.data, record->value.size, digest);
    if (hex_append(&hex, digest, SHA256_SIZE) != 0) {
        buf_release(&hex);
        return no_memory(err);
    }
    struct header added[DEAD_LETTER_HEADERS + 1] = {
        {bytes_str("kinlog_reason"), bytes_str(reason)},
        {bytes_str("kinlog_topic"), bytes_str(outbox->settings.topics.commands)},
        {bytes_str("kinlog_partition"), bytes_str(partition)},
        {bytes_str("kinlog_offset"), bytes_str(offset)},
        {bytes_str("kinlog_sha256"), buf_bytes(&hex)},
    };
    code = send_dead_letter(outbox, record->partition % partitions, record, added,
                            DEAD_LETTER_HEADERS, err);
    buf_release(&hex);
    return code;
}

int outbox_tick(struct outbox *outbox, const struct epoch *epoch, int64_t now_ms,
                struct error *err)
{
    char text[EPOCH_TEXT_SIZE], id[64];

    epoch_text(epoch, text);
    snprintf(id, sizeof id, "tick-%u-%lld", outbox->settings.identity.shard,
             (long long)now_ms);
    const struct followup tick = {
        .shard = outbox->settings.identity.shard,
        .type = "kinlog.Tick.v1",
        .id = bytes_str(id),
        .data = bytes_str("{}"),
    };
    outbox->direct_outstanding++;
    int code = send_own_command(outbox, &tick, text, DIRECT_TAG, err);
    if (code != 0)
        outbox->direct_outstanding--;
    return code;
}

int outbox_settled(const struct outbox *outbox, struct error *err)
{
    if (outbox->refused.code != 0) {
        if (err != NULL)
            *err = outbox->refused;
        return outbox->refused.code;
    }
    return outbox->direct_outstanding > 0 ? 1 : 0;
}
