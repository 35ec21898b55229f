/* core_driver.c - drives the core (agent/shard/core.h) over memory stores by NDJSON on
 * stdin, for the comparison with the Python model. The protocol is described at the head of
 * tests/model/property_test.py.
 *
 * What leaves goes through the agent's own outbox, over a sink that stands below in the
 * place of agent/kafka/sink.c. When it is polled, what was sent before the poll before is
 * acknowledged, so that the answer cursor is always behind. Where shards are killed a
 * record is under way until then, or until the end of a run; else it arrives at once.
 *
 * A shard can be killed: everything that it does is a step (lives()), and before the one
 * that is named it loses all but its store, and the newest of what is under way; what it
 * was about to do fails. It then begins again as the agent does, by the agent's own code
 * as far as that needs no broker (agent/shard/effects.h).
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>

#include "agent/shard/core.h"
#include "agent/shard/effects.h"
#include "events/base/datetime.h"
#include "events/event_log.h"
#include "projections/association_view.h"
#include "projections/reference_view.h"
#include "projections/request_view.h"
#include "projections/usage_view.h"

#define SHARDS_MAX 240
#define KILLS_MAX 256 /* of a shard, that wait */
#define DEAD_LETTERS "dead-letters"

struct queued_record {
    struct record record;
    struct header *headers;
};

struct kill {
    size_t steps; /* it dies before this one, counted from the kill before */
    bool disk;    /* and another agent takes over, who has none of its files */
    size_t lost;  /* so many of the newest records under way never arrive */
};

struct driven_shard {
    uint32_t number;
    struct kv *kv;
    struct core *core;
    struct outbox *outbox;
    struct sink *sink;           /* the outbox's */
    struct kafka_settings kafka; /* empty; tells its sink which shard it is of */
    struct shard_status status;
    struct effects effects;
    uint64_t published;   /* the events topic holds the log up to here */
    uint64_t cursor_sent; /* and this answer cursor */
    int64_t start_offset;

    struct queued_record *queue; /* its partition */
    size_t count, capacity, done;
    int64_t next_offset;
    int64_t run_end; /* room for records that come twice begins here */
    const struct record *at_hand;
    int64_t forwarded; /* the highest offset that was */

    struct kill kills[KILLS_MAX];
    size_t kill_count;
    bool dead;
};

/* A forward that its shard made once more. */
struct late_record {
    uint32_t shard;
    struct record record;
};

static struct {
    struct log_identity identity;
    uint8_t site_key[SITE_KEY_SIZE];
    char commands[128], replies[128];
    char *allow[16];
    size_t allow_count;
    size_t batch;
    int64_t
        room; /* of offsets after each run, for what comes twice; 0 = nobody is killed */
    struct late_record *late;
    size_t late_count, late_capacity;
    struct driven_shard shards[SHARDS_MAX];
} site;

static const struct epoch owner = {1, "00000000000000000000000000000000"};
static struct error err;
static struct arena kept; /* records and their texts, until the next "open" */

static void die(const char *what)
{
    fprintf(stderr, "core_driver: %s: %s\n", what, err.text);
    exit(1);
}

static void must(int code, const char *what)
{
    if (code != 0)
        die(what);
}

static struct log_identity identity_of(const struct driven_shard *driven)
{
    struct log_identity identity = site.identity;

    identity.shard = driven->number;
    return identity;
}

/* ---- JSON in and out --------------------------------------------------------------- */

static struct bytes from_base64(const json_t *text)
{
    if (!json_is_string(text))
        return BYTES_ABSENT;
    size_t size = json_string_length(text);
    uint8_t *data = arena_alloc(&kept, size + 4);
    int decoded =
        EVP_DecodeBlock(data, (const unsigned char *)json_string_value(text), (int)size);
    if (decoded < 0)
        die("bad base64");
    size_t padding = 0;
    while (padding < size && json_string_value(text)[size - 1 - padding] == '=')
        padding++;
    return bytes_of(data, (size_t)decoded - padding);
}

static json_t *to_base64(struct bytes bytes)
{
    if (bytes.data == NULL)
        return json_null();
    unsigned char *text = calloc(1, 4 * ((bytes.size + 2) / 3) + 1);
    EVP_EncodeBlock(text, bytes.data, (int)bytes.size);
    json_t *json = json_string((char *)text);
    free(text);
    return json;
}

static json_t *text_of(struct bytes bytes)
{
    return bytes.data == NULL ? json_null()
                              : json_stringn((const char *)bytes.data, bytes.size);
}

static void print(const char *name, json_t *value)
{
    json_t *line = json_pack("{s:o}", name, value);
    json_dumpf(line, stdout, JSON_COMPACT | JSON_ENCODE_ANY);
    putchar('\n');
    json_decref(line);
}

static json_t *header_list(const struct header *headers, size_t count)
{
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(list, json_pack("[o, o]", text_of(headers[i].name),
                                              to_base64(headers[i].value)));
    return list;
}

/* ---- topics ------------------------------------------------------------------------ */

static void append(uint32_t shard, const struct record *record)
{
    struct driven_shard *to = &site.shards[shard];

    if (to->count == to->capacity) {
        to->capacity = to->capacity == 0 ? 64 : 2 * to->capacity;
        to->queue = realloc(to->queue, to->capacity * sizeof *to->queue);
    }
    struct queued_record *queued = &to->queue[to->count++];
    queued->record = *record;
    queued->headers =
        arena_alloc(&kept, (record->header_count + 1) * sizeof *queued->headers);
    if (record->header_count > 0)
        memcpy(queued->headers, record->headers,
               record->header_count * sizeof *queued->headers);
    queued->record.headers = queued->headers;
    queued->record.partition = (int32_t)shard;
    if (record->offset < 0)
        queued->record.offset = to->next_offset;
    to->next_offset = queued->record.offset + 1;
}

/* Comes when all else is done: the dead shard was away for a while. */
static void append_late(uint32_t shard, const struct record *record)
{
    if (site.late_count == site.late_capacity) {
        site.late_capacity = site.late_capacity == 0 ? 64 : 2 * site.late_capacity;
        site.late = realloc(site.late, site.late_capacity * sizeof *site.late);
    }
    site.late[site.late_count++] = (struct late_record){shard, *record};
}

static void bring_late(void)
{
    for (size_t i = 0; i < site.late_count; i++) {
        struct driven_shard *to = &site.shards[site.late[i].shard];
        append(to->number, &site.late[i].record);
        if (to->next_offset > to->run_end + site.room)
            die("more records come twice than there is room for");
    }
    site.late_count = 0;
}

/* ---- kills ------------------------------------------------------------------------- */

/* Asked before each step. false: the shard is dead, and the caller fails. */
static bool lives(struct driven_shard *driven, const char *step)
{
    if (driven->kill_count == 0 || --driven->kills[0].steps > 0)
        return true;
    driven->dead = true;
    print("killed", json_pack("{s:i, s:s, s:b}", "shard", (int)driven->number, "before",
                              step, "disk", driven->kills[0].disk));
    return false;
}

static int killed(void)
{
    return error_set(&err, ERROR_STOPPED, "killed");
}

/* ---- the sink: what the outbox sends ----------------------------------------------- */

/* A record under way. */
struct sent {
    uint64_t tag;
    const char *kind; /* "answer", ..; what is told when it arrives */
    json_t *told;
    bool arrived; /* and is not acknowledged yet */
    uint32_t target;
    struct record forward; /* of a forward: as it will lie on its partition */
    int64_t offset;        /* ... and where it came from */
};

struct sink {
    struct driven_shard *driven;
    delivery_fn on_delivery;
    void *context;
    struct sent *sent; /* what is not acknowledged */
    size_t count, capacity;
    size_t ripe; /* of these, sent before the last poll */
};

static void arrive(struct driven_shard *driven, struct sent *sent)
{
    if (sent->arrived)
        return;
    sent->arrived = true;
    print(sent->kind, sent->told);
    sent->told = NULL;
    if (strcmp(sent->kind, "forward") != 0)
        return;
    if (sent->offset <= driven->forwarded) {
        append_late(sent->target, &sent->forward);
        return;
    }
    driven->forwarded = sent->offset;
    append(sent->target, &sent->forward);
}

static void arrive_all(struct sink *sink, size_t count)
{
    for (size_t i = 0; i < count; i++)
        arrive(sink->driven, &sink->sent[i]);
}

int sink_open(const struct kafka_settings *settings, enum sink_role role,
              size_t max_message_bytes, int wake_fd, delivery_fn on_delivery,
              void *context, struct sink **ret_sink, struct error *error)
{
    struct sink *sink = calloc(1, sizeof *sink);

    (void)role, (void)max_message_bytes, (void)wake_fd, (void)error;
    for (uint32_t shard = 0; shard < site.identity.shards; shard++) {
        if (settings == &site.shards[shard].kafka)
            sink->driven = &site.shards[shard];
    }
    sink->on_delivery = on_delivery;
    sink->context = context;
    sink->driven->sink = sink;
    *ret_sink = sink;
    return 0;
}

void sink_close(struct sink *sink)
{
    size_t lost = 0;

    if (sink == NULL)
        return;
    if (sink->driven->dead)
        lost = sink->driven->kills[0].lost;
    arrive_all(sink, sink->count > lost ? sink->count - lost : 0);
    for (size_t i = 0; i < sink->count; i++)
        json_decref(sink->sent[i].told);
    free(sink->sent);
    free(sink);
}

int sink_topic(struct sink *sink, const char *topic, int timeout_ms,
               int32_t *ret_partitions, struct error *error)
{
    (void)sink, (void)topic, (void)timeout_ms, (void)error;
    *ret_partitions = (int32_t)site.identity.shards;
    return 0;
}

int sink_poll(struct sink *sink, int timeout_ms)
{
    size_t ripe = sink->ripe;

    (void)timeout_ms;
    arrive_all(sink, ripe);
    for (size_t i = 0; i < ripe; i++) {
        struct delivery delivery = {.tag = sink->sent[i].tag, .offset = -1};
        sink->on_delivery(sink->context, &delivery);
    }
    sink->count -= ripe;
    if (ripe > 0)
        memmove(sink->sent, sink->sent + ripe, sink->count * sizeof *sink->sent);
    sink->ripe = sink->count;
    return (int)ripe;
}

bool sink_failed(const struct sink *sink, struct error *ret_err)
{
    (void)sink, (void)ret_err;
    return false;
}

int sink_flush(struct sink *sink, int timeout_ms, struct error *error)
{
    (void)sink, (void)timeout_ms, (void)error;
    return 0;
}

size_t sink_pending(const struct sink *sink)
{
    return sink->count;
}

static void send_forward(struct sent *sent, struct driven_shard *driven, uint32_t target,
                         const struct header *headers, size_t count)
{
    struct header *copies = arena_alloc(&kept, count * sizeof *copies);

    memcpy(copies, headers, count * sizeof *headers);
    copies[count - 1].name = arena_copy(&kept, headers[count - 1].name);
    copies[count - 1].value = arena_copy(&kept, headers[count - 1].value);
    sent->forward = *driven->at_hand;
    sent->forward.headers = copies;
    sent->forward.header_count = count;
    sent->forward.offset = -1;
    sent->offset = driven->at_hand->offset;
    sent->target = target;
    sent->kind = "forward";
    sent->told = json_pack("{s:i, s:I, s:i, s:o}", "from", (int)driven->number, "offset",
                           (json_int_t)sent->offset, "to", (int)target, "headers",
                           header_list(headers, count));
}

/* Told alone: the stream brings it to its shard. */
static void send_command(struct sent *sent, const struct driven_shard *driven,
                         uint32_t to, struct bytes key, struct bytes value,
                         const struct header *headers, size_t count)
{
    static const char *const told[] = {"ce_id", "ce_source", "ce_type", "ce_replyto"};
    struct header chosen[sizeof told / sizeof told[0]];
    size_t chosen_count = 0;

    for (size_t i = 0; i < count; i++) {
        for (size_t k = 0; k < sizeof told / sizeof told[0]; k++) {
            if (bytes_equal_str(headers[i].name, told[k]))
                chosen[chosen_count++] = headers[i];
        }
    }
    sent->kind = "command";
    sent->told = json_pack("{s:i, s:i, s:o, s:o, s:o}", "from", (int)driven->number, "to",
                           (int)to, "key", to_base64(key), "value", to_base64(value),
                           "headers", header_list(chosen, chosen_count));
}

static void send_dead_letter(struct sent *sent, const struct driven_shard *driven,
                             const struct header *headers, size_t count)
{
    sent->kind = "dead_letter";
    sent->told = json_pack("{s:i, s:I, s:o}", "from", (int)driven->number, "offset",
                           (json_int_t)driven->at_hand->offset, "headers",
                           header_list(headers, count));
}

static void send_answer(struct sent *sent, const struct driven_shard *driven,
                        const char *topic, int32_t partition, struct bytes key,
                        struct bytes value, const struct header *headers, size_t count)
{
    json_t *list = json_array();

    for (size_t i = 0; i < count; i++)
        json_array_append_new(list, json_pack("[o, o]", text_of(headers[i].name),
                                              text_of(headers[i].value)));
    sent->kind = "answer";
    sent->told = json_pack("{s:i, s:s, s:i, s:o, s:o, s:o}", "shard", (int)driven->number,
                           "topic", topic, "partition", (int)partition, "key",
                           to_base64(key), "headers", list, "value", text_of(value));
}

int sink_send(struct sink *sink, const char *topic, int32_t partition, struct bytes key,
              struct bytes value, const struct header *headers, size_t header_count,
              int64_t timestamp_ms, uint64_t tag, struct error *error)
{
    struct driven_shard *driven = sink->driven;
    bool to_commands = strcmp(topic, site.commands) == 0;
    bool buries = strcmp(topic, DEAD_LETTERS) == 0;
    bool forwards = to_commands &&
                    bytes_equal_str(headers[header_count - 1].name, "kinlog_forwarded");

    (void)timestamp_ms, (void)error;
    if (!lives(driven, forwards      ? "a forward"
                       : to_commands ? "a command to another shard"
                       : buries      ? "a dead letter"
                                     : "an answer"))
        return killed();
    if (sink->count == sink->capacity) {
        sink->capacity = sink->capacity == 0 ? 64 : 2 * sink->capacity;
        sink->sent = realloc(sink->sent, sink->capacity * sizeof *sink->sent);
    }
    struct sent *sent = &sink->sent[sink->count++];
    *sent = (struct sent){.tag = tag};
    if (forwards)
        send_forward(sent, driven, (uint32_t)partition, headers, header_count);
    else if (to_commands)
        send_command(sent, driven, (uint32_t)partition, key, value, headers,
                     header_count);
    else if (buries)
        send_dead_letter(sent, driven, headers, header_count);
    else
        send_answer(sent, driven, topic, partition, key, value, headers, header_count);
    if (site.room == 0) /* what is told is in one order, whatever the size of batches */
        arrive(driven, sent);
    return 0;
}

/* ---- the events topic -------------------------------------------------------------- */

static void print_event(const struct driven_shard *driven,
                        const struct event_record *record)
{
    json_t *headers = json_array();

    for (size_t k = 0; k < EVENT_HEADERS; k++) {
        if (record->headers[k].data != NULL)
            json_array_append_new(headers, json_pack("[s, o]", event_header_names[k],
                                                     text_of(record->headers[k])));
    }
    print("event", json_pack("{s:i, s:o, s:o, s:o}", "shard", (int)driven->number, "key",
                             to_base64(record->key), "headers", headers, "data",
                             text_of(record->data)));
}

/* A command's events count together, at the last one: what a death leaves of them is void,
 * as it is for every reader, and they are told when they are whole. */
static int publish_batch(struct driven_shard *driven)
{
    size_t count, told = 0;
    const struct core_event *events = core_events(driven->core, &count);

    for (size_t i = 0; i < count; i++) {
        if (!lives(driven, events[i].event.index > 1 ? "the rest of a command's events"
                                                     : "publishing an event"))
            return killed();
        if (events[i].event.index < events[i].event.count)
            continue;
        for (; told <= i; told++)
            print_event(driven, &events[told].record);
        driven->published = events[i].event.sequence;
    }
    return 0;
}

/* What is on disk and not in the topic. */
static int publish_rest(struct driven_shard *driven)
{
    const struct log_identity identity = identity_of(driven);
    struct arena arena = ARENA_INIT;
    struct event_scan *scan;
    struct event_record record;
    struct event event;
    int code;

    must(
        event_scan_open(driven->kv, NULL, driven->published + 1, UINT64_MAX, &scan, &err),
        "scan");
    while ((code = event_scan_next(scan, &event, &err)) == 0) {
        if (event.index <= 1 && !lives(driven, "publishing the rest")) {
            code = killed();
            break;
        }
        must(event_render(&identity, &event, &arena, &record), "render");
        print_event(driven, &record);
        driven->published = event.sequence;
    }
    event_scan_close(scan);
    arena_release(&arena);
    return code < 0 ? code : 0;
}

/* ---- a shard's records ------------------------------------------------------------- */

static int handle(struct driven_shard *driven, const struct record *record)
{
    struct core_outcome outcome;

    if (!lives(driven, "a record"))
        return killed();
    driven->at_hand = record;
    must(effects_take(driven->core, record, /* aside= */ NULL, &outcome, &err), "record");
    switch (outcome.result) {
    case CORE_FORWARD:
        return outbox_forward(driven->outbox, record, outcome.target, &err);
    case CORE_DEAD_LETTER:
        return outbox_dead_letter(driven->outbox, record, outcome.reason, &err);
    case CORE_NOTHING:
        return 0;
    case CORE_DECIDED:
    case CORE_REPEATED:
        break;
    }
    return effects_add(&driven->effects, driven->core, record, &outcome, &err);
}

static int settle(struct driven_shard *driven)
{
    int code;

    while ((code = outbox_settled(driven->outbox, &err)) == 1)
        must(outbox_poll(driven->outbox, 0, &err), "poll");
    return code;
}

static int commit(struct driven_shard *driven, const char *step)
{
    if (!lives(driven, step))
        return killed();
    must(effects_forget_repeats(driven->core, driven->outbox, &err), "repeats");
    must(shard_status_store(core_batch(driven->core), &driven->status, &err), "status");
    must(core_commit(driven->core, false, &err), "commit");
    return 0;
}

static void take_reports(struct driven_shard *driven)
{
    must(outbox_poll(driven->outbox, 0, &err), "poll");
    if (outbox_answered(driven->outbox) > driven->status.answered)
        driven->status.answered = outbox_answered(driven->outbox);
}

static int release(struct driven_shard *driven)
{
    return outbox_release(driven->outbox, driven->kv, driven->published, &owner, &err);
}

/* Batches of one record are over when their answers are made: these come from the log, and
 * those of other batches of the events at hand. */
static int queue_effects(struct driven_shard *driven)
{
    if (site.batch == 1)
        core_next_batch(driven->core);
    int code = effects_queue(&driven->effects, driven->core, driven->outbox, &err);
    core_next_batch(driven->core);
    return code;
}

static int run_batch(struct driven_shard *driven)
{
    int code = 0;

    take_reports(driven);
    driven->effects.count = 0;
    for (size_t i = 0; code == 0 && i < site.batch && driven->done < driven->count; i++) {
        struct record record = driven->queue[driven->done++].record;
        code = handle(driven, &record);
    }
    if (code == 0)
        code = settle(driven);
    if (code == 0)
        code = commit(driven, "a batch's commit");
    if (code == 0)
        code = publish_batch(driven);
    if (code == 0)
        code = queue_effects(driven);
    return code != 0 ? code : release(driven);
}

/* No record is left: how far the answers are is made durable, and published. */
static int rest(struct driven_shard *driven)
{
    take_reports(driven);
    int code = commit(driven, "the cursor's commit");
    core_next_batch(driven->core);
    if (code == 0)
        driven->cursor_sent = driven->status.answered;
    return code;
}

static void open_core(struct driven_shard *driven)
{
    struct core_settings settings = {
        .identity = identity_of(driven),
        .site_key = site.site_key,
        .commands_topic = site.commands,
        .replies_topic = site.replies,
        .reply_allow = site.allow,
        .reply_allow_count = site.allow_count,
    };

    must(core_open(driven->kv, &settings, &driven->core, &err), "open");
    core_set_epoch(driven->core, &owner);
}

static void open_outbox(struct driven_shard *driven)
{
    struct outbox_settings settings = {
        .kafka = &driven->kafka,
        .topics = {.commands = site.commands,
                   .replies = site.replies,
                   .dead_letters = DEAD_LETTERS},
        .identity = identity_of(driven),
        .site_key = site.site_key,
        .dead_letter_bytes = SIZE_MAX,
        .wake_fd = -1,
    };

    must(outbox_open(&settings, &driven->outbox, &err), "outbox");
    outbox_set_answered(driven->outbox, driven->status.answered);
}

/* ---- after a death ----------------------------------------------------------------- */

/* Are views, receipts and digests those of a replay? */
static void check_replay(const struct driven_shard *driven)
{
    struct buf difference = BUF_INIT;
    struct kv *shadow;

    must(views_replay(driven->kv, NULL, NULL, &shadow, &err), "replay");
    int code = views_compare(driven->kv, shadow, &difference, &err);
    if (code == 1)
        error_set(&err, ERROR_CORRUPT, "%s", buf_cstr(&difference));
    must(code, "the views are not those of a replay");
    buf_release(&difference);
    kv_close(shadow);
}

/* Another agent, whose store is empty, takes over what the topic has. */
static void adopt(struct driven_shard *driven)
{
    const struct log_identity identity = identity_of(driven);
    struct arena arena = ARENA_INIT;
    struct kv *before = driven->kv;
    struct event_scan *scan;
    struct event_record record;
    struct event event;

    must(kv_open_memory(&driven->kv, &err), "memory store");
    open_core(driven);
    must(event_scan_open(before, NULL, 1, driven->published, &scan, &err), "scan");
    while (event_scan_next(scan, &event, &err) == 0) {
        must(event_render(&identity, &event, &arena, &record), "render");
        must(core_adopt(driven->core, &event, &record, &err), "adopt");
    }
    event_scan_close(scan);
    arena_release(&arena);
    driven->status = (struct shard_status){.answered = driven->cursor_sent};
    must(shard_status_store(core_batch(driven->core), &driven->status, &err), "status");
    must(core_commit(driven->core, false, &err), "commit");
    core_next_batch(driven->core);
    kv_close(before);
}

static void find_position(struct driven_shard *driven)
{
    int64_t next = core_head(driven->core)->next_offset;
    struct anchor anchor;

    must(anchor_load(driven->kv, &anchor, &err), "anchor");
    if (!anchor.set)
        must(effects_look_back(driven->kv, driven->status.answered, driven->start_offset,
                               &next, &err),
             "position");
    driven->done = 0;
    while (driven->done < driven->count &&
           driven->queue[driven->done].record.offset < next)
        driven->done++;
}

/* As claim_and_own() in shard.c does. */
static int begin_again(struct driven_shard *driven)
{
    const struct kill kill = driven->kills[0];
    uint64_t count;

    error_clear(&err);
    core_close(driven->core);
    outbox_close(driven->outbox);
    driven->dead = false;
    driven->kill_count--;
    memmove(driven->kills, driven->kills + 1, driven->kill_count * sizeof kill);
    if (kill.disk)
        adopt(driven);
    else
        open_core(driven);
    must(shard_status_load(driven->kv, &driven->status, &err), "status");
    check_replay(driven);
    find_position(driven);
    open_outbox(driven);
    int code = publish_rest(driven);
    if (code == 0)
        code = effects_queue_again(driven->core, driven->outbox, &count, &err);
    if (code == 0)
        code = commit(driven, "the first commit of an owner");
    core_next_batch(driven->core);
    return code != 0 ? code : release(driven);
}

static void survive(struct driven_shard *driven, int code)
{
    while (code != 0) {
        if (!driven->dead)
            die("run");
        code = begin_again(driven);
    }
}

static bool run_shard(struct driven_shard *driven)
{
    bool any = driven->done < driven->count;

    while (driven->done < driven->count)
        survive(driven, run_batch(driven));
    return any;
}

/* ---- operations -------------------------------------------------------------------- */

static void close_all(void)
{
    for (uint32_t shard = 0; shard < site.identity.shards; shard++) {
        struct driven_shard *driven = &site.shards[shard];
        core_close(driven->core);
        outbox_close(driven->outbox);
        effects_release(&driven->effects);
        kv_close(driven->kv);
        free(driven->queue);
    }
    free(site.late);
    memset(&site, 0, sizeof site);
    arena_reset(&kept);
}

static void op_open(json_t *op)
{
    const char *log, *name, *key, *prefix;
    json_int_t shards, batch, start;
    json_t *allow;

    close_all();
    if (json_unpack(op, "{s:s, s:s, s:s, s:I, s:s, s:o, s:I, s:I}", "log", &log, "site",
                    &name, "site_key", &key, "shards", &shards, "prefix", &prefix,
                    "reply_allow", &allow, "batch", &batch, "start_offset", &start) != 0)
        die("bad open");
    snprintf(site.identity.log, LOG_ID_SIZE, "%s", log);
    snprintf(site.identity.site, SITE_SIZE, "%s", name);
    site.identity.shards = (uint32_t)shards;
    if (!hex_decode(bytes_str(key), site.site_key, SITE_KEY_SIZE))
        die("bad site_key");
    snprintf(site.commands, sizeof site.commands, "%s.commands", prefix);
    snprintf(site.replies, sizeof site.replies, "%s.replies", prefix);
    site.allow_count = json_array_size(allow);
    for (size_t i = 0; i < site.allow_count && i < 16; i++) {
        const char *text = json_string_value(json_array_get(allow, i));
        site.allow[i] = (char *)arena_copy(&kept, bytes_of(text, strlen(text) + 1)).data;
    }
    site.batch = (size_t)batch;
    site.room = json_integer_value(json_object_get(op, "room"));
    for (uint32_t shard = 0; shard < site.identity.shards; shard++) {
        struct driven_shard *driven = &site.shards[shard];
        driven->number = shard;
        driven->start_offset = driven->next_offset = start;
        driven->forwarded = -1;
        must(kv_open_memory(&driven->kv, &err), "memory store");
        open_core(driven);
        open_outbox(driven);
        must(core_start_log(driven->core, start, &err), "start");
        must(core_commit(driven->core, false, &err), "commit");
        must(publish_batch(driven), "publish");
        core_next_batch(driven->core);
    }
}

static void op_record(json_t *op)
{
    json_t *list = json_object_get(op, "headers");
    size_t count = json_array_size(list);
    struct header *headers = arena_alloc(&kept, (count + 1) * sizeof *headers);

    for (size_t i = 0; i < count; i++) {
        json_t *pair = json_array_get(list, i), *name = json_array_get(pair, 0);
        headers[i].name = arena_copy(
            &kept, bytes_of(json_string_value(name), json_string_length(name)));
        headers[i].value = from_base64(json_array_get(pair, 1));
    }
    struct record record = {
        .offset = json_integer_value(json_object_get(op, "offset")),
        .timestamp_ms = json_integer_value(json_object_get(op, "timestamp")),
        .key = from_base64(json_object_get(op, "key")),
        .value = from_base64(json_object_get(op, "value")),
        .headers = headers,
        .header_count = count,
    };
    append((uint32_t)json_integer_value(json_object_get(op, "partition")), &record);
}

static bool run_all(void)
{
    bool any = false;

    for (uint32_t shard = 0; shard < site.identity.shards; shard++)
        any = run_shard(&site.shards[shard]) || any;
    return any;
}

static void op_run(void)
{
    while (run_all())
        continue;
    for (uint32_t shard = 0; shard < site.identity.shards; shard++)
        site.shards[shard].run_end = site.shards[shard].next_offset;
    do {
        for (uint32_t shard = 0; shard < site.identity.shards; shard++)
            survive(&site.shards[shard], rest(&site.shards[shard]));
        bring_late();
    } while (run_all());
    for (uint32_t shard = 0; shard < site.identity.shards; shard++) {
        struct driven_shard *driven = &site.shards[shard];
        arrive_all(driven->sink, driven->sink->count);
        driven->next_offset = driven->run_end + site.room;
    }
}

static void op_kill(json_t *op)
{
    size_t shard = (size_t)json_integer_value(json_object_get(op, "shard"));
    struct driven_shard *driven = &site.shards[shard];

    if (shard >= site.identity.shards || driven->kill_count == KILLS_MAX)
        die("bad kill");
    driven->kills[driven->kill_count++] = (struct kill){
        .steps = (size_t)json_integer_value(json_object_get(op, "steps")),
        .disk = json_is_true(json_object_get(op, "disk")),
        .lost = (size_t)json_integer_value(json_object_get(op, "lost")),
    };
}

static void reopen(bool rebuild)
{
    for (uint32_t shard = 0; shard < site.identity.shards; shard++) {
        struct driven_shard *driven = &site.shards[shard];
        core_close(driven->core);
        if (rebuild)
            must(views_rebuild(driven->kv, NULL, NULL, &err), "rebuild");
        open_core(driven);
    }
}

static json_t *number_list(const uint32_t *numbers, size_t count)
{
    if (count == 0)
        return json_null();
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(list, json_integer(numbers[i]));
    return list;
}

static void add_relationships(struct views *views, uint32_t shard, json_t *list)
{
    struct relationship_scan *scan;
    struct relationship row;
    struct device device;
    struct arena arena = ARENA_INIT;
    char created[CIM_DATETIME_SIZE];

    must(relationship_scan_open(views, 0, &scan, &err), "scan");
    while (relationship_scan_next(scan, &row, &err) == 0) {
        must(device_get(views, row.resource_id, &arena, &device, &err),
             "device of a relationship");
        cim_datetime_format(row.creation_time_ms, created);
        json_array_append_new(
            list,
            json_pack("{s:I, s:o, s:I, s:o, s:I, s:s, s:b, s:o, s:o, s:b, s:I, s:I}",
                      "ResourceID", (json_int_t)row.resource_id, "UniqueUserName",
                      text_of(row.unique_user_name), "RelationshipResourceID",
                      (json_int_t)row.relationship_resource_id, "ResourceName",
                      text_of(device.name), "ResourceClientType",
                      (json_int_t)device.client_type, "CreationTime", created, "IsActive",
                      row.is_active, "Sources",
                      number_list(row.sources, row.source_count), "Types",
                      number_list(row.types, row.type_count), "Pending", row.is_pending,
                      "Version", (json_int_t)row.version, "Shard", (json_int_t)shard));
    }
    relationship_scan_close(scan);
    arena_release(&arena);
}

static void add_devices(struct views *views, uint32_t shard, json_t *list)
{
    struct device_scan *scan;
    struct device row;

    must(device_scan_open(views, &scan, &err), "scan");
    while (device_scan_next(scan, &row, &err) == 0) {
        json_t *macs = row.mac_address_count == 0 ? json_null() : json_array();
        for (size_t i = 0; i < row.mac_address_count; i++)
            json_array_append_new(macs, text_of(row.mac_addresses[i]));
        json_array_append_new(
            list, json_pack("{s:I, s:o, s:I, s:o, s:o, s:I, s:I}", "ResourceID",
                            (json_int_t)row.resource_id, "Name", text_of(row.name),
                            "ClientType", (json_int_t)row.client_type, "MACAddresses",
                            macs, "Domain", text_of(row.domain), "Version",
                            (json_int_t)row.version, "Shard", (json_int_t)shard));
    }
    device_scan_close(scan);
}

static void add_usage(struct views *views, uint32_t shard, json_t *list)
{
    struct usage_scan *scan;
    struct usage row;
    struct device device;
    struct arena arena = ARENA_INIT;
    char last[CIM_DATETIME_SIZE];

    must(usage_scan_open(views, 0, &scan, &err), "scan");
    while (usage_scan_next(scan, &row, &err) == 0) {
        must(device_get(views, row.resource_id, &arena, &device, &err),
             "device of a use");
        cim_datetime_format(row.last_login_ms, last);
        json_array_append_new(
            list, json_pack("{s:o, s:I, s:o, s:o, s:I, s:I, s:I}", "UniqueUserName",
                            text_of(row.unique_user_name), "ResourceID",
                            (json_int_t)row.resource_id, "ResourceName",
                            text_of(device.name), "LastLoginTime",
                            row.login_count > 0 ? json_string(last) : json_null(),
                            "LoginCount", (json_int_t)row.login_count, "Version",
                            (json_int_t)row.version, "Shard", (json_int_t)shard));
    }
    usage_scan_close(scan);
    arena_release(&arena);
}

static void add_policy(struct views *views, uint32_t shard, json_t *list)
{
    const struct policy_name *name;
    struct policy policy;

    for (size_t i = 0; (name = policy_name_at(i)) != NULL; i++) {
        if (policy_get(views, name->name, &policy, &err) != 0)
            continue;
        json_array_append_new(list, json_pack("{s:s, s:s, s:I, s:I, s:I}", "Name",
                                              policy.name, "Value", policy.value,
                                              "Revision", (json_int_t)policy.revision,
                                              "Version", (json_int_t)policy.version,
                                              "Shard", (json_int_t)shard));
    }
}

static json_t *date(int64_t time_ms)
{
    char text[CIM_DATETIME_SIZE];

    if (time_ms == DATE_NEVER)
        return json_string("00000000000000.000000+***");
    cim_datetime_format(time_ms, text);
    return json_string(text);
}

static json_t *position_text(uint32_t shard, uint64_t sequence)
{
    struct position position = {shard, sequence};
    char text[POSITION_TEXT_SIZE];

    position_format(&position, text);
    return json_string(text);
}

static json_t *user_list(const struct association *row)
{
    if (row->user_count == 0)
        return json_null();
    json_t *list = json_array();
    for (size_t i = 0; i < row->user_count; i++)
        json_array_append_new(list, json_pack("{s:I, s:o}", "LocaleID",
                                              (json_int_t)row->users[i].locale_id,
                                              "UserName", text_of(row->users[i].name)));
    return list;
}

static void add_associations(struct views *views, uint32_t shard, json_t *list)
{
    struct association_scan *scan;
    struct association row;

    must(association_scan_open(views, 0, &scan, &err), "scan");
    while (association_scan_next(scan, &row, &err) == 0) {
        json_array_append_new(
            list,
            json_pack(
                "{s:I, s:I, s:o, s:I, s:i, s:i, s:o, s:o, s:o, s:o, s:o, s:b, s:I, s:I}",
                "SourceClientResourceID", (json_int_t)row.source,
                "RestoreClientResourceID", (json_int_t)row.restore, "MigrationID",
                position_text(shard, row.number), "MigrationBehavior",
                (json_int_t)row.behavior, "MigrationType", (int)association_type(&row),
                "MigrationStatus", (int)association_status(&row), "StorePath",
                text_of(row.store_path), "StoreCreationDate", date(row.store_creation_ms),
                "StoreReleaseDate", date(row.store_release_ms), "StoreDeletionDate",
                date(row.store_deletion_ms), "UserNames", user_list(&row), "Pending",
                row.pending, "Version", (json_int_t)row.version, "Shard",
                (json_int_t)shard));
    }
    association_scan_close(scan);
}

static void add_references(struct views *views, uint32_t shard, json_t *list)
{
    struct reference_scan *scan;
    struct reference row;

    must(reference_scan_open(views, BYTES_ABSENT, &scan, &err), "scan");
    while (reference_scan_next(scan, &row, &err) == 0)
        json_array_append_new(
            list, json_pack("{s:o, s:o, s:I}", "Object", text_of(row.object), "Request",
                            position_text(row.request.shard, row.request.sequence),
                            "Shard", (json_int_t)shard));
    reference_scan_close(scan);
}

/* Those that wait. */
static void add_requests(struct views *views, uint32_t shard, json_t *list)
{
    struct arena arena = ARENA_INIT;
    struct request row;
    uint64_t number = 0;

    while (request_next_pending(views, number, &number, &err) == 0) {
        must(request_get(views, number, &arena, &row, &err), "request");
        json_array_append_new(
            list, json_pack("{s:o, s:I, s:I}", "Request", position_text(shard, number),
                            "Due", (json_int_t)row.due_ms, "Shard", (json_int_t)shard));
        number++;
    }
    arena_release(&arena);
}

static void op_views(void)
{
    json_t *relationships = json_array(), *devices = json_array(), *policy = json_array();
    json_t *associations = json_array(), *references = json_array();
    json_t *requests = json_array(), *usage = json_array();

    for (uint32_t shard = 0; shard < site.identity.shards; shard++) {
        struct views *views = core_views(site.shards[shard].core);
        check_replay(&site.shards[shard]);
        add_relationships(views, shard, relationships);
        add_devices(views, shard, devices);
        add_usage(views, shard, usage);
        add_policy(views, shard, policy);
        add_associations(views, shard, associations);
        add_references(views, shard, references);
        add_requests(views, shard, requests);
    }
    print("views",
          json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "relationships", relationships,
                    "devices", devices, "policy", policy, "associations", associations,
                    "references", references, "requests", requests, "usage", usage));
}

static void take(json_t *op)
{
    const char *name = json_string_value(json_object_get(op, "op"));

    if (name == NULL)
        die("no op");
    if (strcmp(name, "record") == 0) {
        op_record(op);
        return;
    }
    if (strcmp(name, "open") == 0) {
        op_open(op);
        return;
    }
    if (strcmp(name, "run") == 0)
        op_run();
    else if (strcmp(name, "kill") == 0)
        op_kill(op);
    else if (strcmp(name, "restart") == 0)
        reopen(/* rebuild= */ false);
    else if (strcmp(name, "rebuild") == 0)
        reopen(/* rebuild= */ true);
    else if (strcmp(name, "views") == 0)
        op_views();
    else
        die("unknown op");
    print("done", json_true());
    fflush(stdout);
}

int main(void)
{
    char *line = NULL;
    size_t capacity = 0;

    while (getline(&line, &capacity, stdin) > 0) {
        json_t *op = json_loads(line, 0, NULL);
        if (op == NULL)
            die("bad JSON");
        take(op);
        json_decref(op);
    }
    free(line);
    close_all();
    arena_release(&kept);
    return 0;
}
