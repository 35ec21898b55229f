/* core.c - see core.h. Reads top to bottom: a record comes in, is decoded, placed, looked
 * up, decided, and its events are appended.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "agent/shard/core.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/decide/decide.h"
#include "agent/planted.h"
#include "agent/shard/claim.h"
#include "agent/shard/answer.h"
#include "agent/shard/envelope.h"
#include "events/base/datetime.h"
#include "events/event_log.h"
#include "events/secret.h"
#include "schemas/commands.h"
#include "schemas/events.h"

#define RECORD_DEAD_LETTERED "kinlog.RecordDeadLettered.v1"
#define POSITION_ADVANCED "kinlog.PositionAdvanced.v1"
#define LOG_STARTED "kinlog.LogStarted.v1"

struct core {
    struct kv *kv;
    struct kv_batch *batch;
    struct views *views;
    struct sha256 *hasher;
    struct hmac *content_hmac; /* with the site key */
    struct core_settings settings;
    char source[LOG_SOURCE_SIZE]; /* ce_source of this log */
    struct head head;
    struct head committed;
    struct anchor anchor;
    struct record last_record; /* of the batch, if has_last_record: the next anchor */
    bool has_last_record;
    struct epoch epoch;
    struct arena arena; /* lives until core_next_batch */
    struct buf text;    /* scratch memory of one step */
    struct core_event *events;
    size_t event_count;
    size_t event_capacity;
};

/* What a record turned out to be, on its way through core_record. */
struct intake {
    const struct record *record;
    struct envelope envelope;
    const void *params;     /* NULL: the data does not fit, or the type is unknown */
    struct rejection fault; /* description != NULL: refused, and why */
    int64_t time_ms;        /* core time */
    struct bytes hash;      /* content hash, 22 characters */
};

static int no_memory(struct error *err)
{
    return error_set(err, ERROR_NO_MEMORY, "out of memory while handling a command");
}

static int missing_event(uint64_t sequence, struct error *err)
{
    return error_set(err, ERROR_CORRUPT, "event %llu is missing from the log",
                     (unsigned long long)sequence);
}

/* ---- life -------------------------------------------------------------------------- */

/* For tests of the tests alone. */
static int forget_receipts(struct kv *kv, struct error *err)
{
    struct kv_fill *fill;
    int code = kv_fill_begin(kv, KV_RECEIPTS, &fill, err);

    return code != 0 ? code : kv_fill_finish(fill, err);
}

int core_open(struct kv *kv, const struct core_settings *settings, struct core **ret_core,
              struct error *err)
{
    struct core *core = calloc(1, sizeof *core);
    int code = 0;

    if (core == NULL)
        return no_memory(err);
    core->kv = kv;
    core->settings = *settings;
    core->batch = kv_batch_new(kv);
    core->hasher = sha256_new();
    core->content_hmac = hmac_new(bytes_of(settings->site_key, SITE_KEY_SIZE));
    secret_wipe_stack(); /* that keeps only what it made of the key */
    log_source(&settings->identity, core->source);
    if (core->batch == NULL || core->hasher == NULL || core->content_hmac == NULL)
        code = no_memory(err);
    if (code == 0)
        code = head_load(kv, &settings->identity, &core->head, err);
    if (code == 0 && PLANTED(dedup_forgotten_after_restart))
        code = forget_receipts(kv, err);
    if (code == 0)
        code = anchor_load(kv, &core->anchor, err);
    if (code == 0)
        code = views_open(kv, core->batch, &core->views, err);
    core->committed = core->head;
    if (code != 0) {
        core_close(core);
        return code;
    }
    *ret_core = core;
    return 0;
}

void core_close(struct core *core)
{
    if (core == NULL)
        return;
    views_close(core->views);
    kv_batch_free(core->batch);
    sha256_free(core->hasher);
    hmac_free(core->content_hmac);
    buf_release(&core->text);
    arena_release(&core->arena);
    free(core->events);
    free(core);
}

void core_set_epoch(struct core *core, const struct epoch *epoch)
{
    core->epoch = *epoch;
}

const struct head *core_head(const struct core *core)
{
    return &core->head;
}

struct views *core_views(struct core *core)
{
    return core->views;
}

struct kv *core_kv(struct core *core)
{
    return core->kv;
}

struct kv_batch *core_batch(struct core *core)
{
    return core->batch;
}

const struct core_event *core_events(const struct core *core, size_t *ret_count)
{
    *ret_count = core->event_count;
    return core->events;
}

/* Only the batch's last record is ever compared, so only that one is hashed. */
static void make_anchor(struct core *core)
{
    const struct record *last = &core->last_record;

    if (core->has_last_record)
        anchor_of(core->hasher, last->offset, last->timestamp_ms, last->key, last->value,
                  &core->anchor);
    core->has_last_record = false;
}

int core_commit(struct core *core, bool sync, struct error *err)
{
    int code = views_flush(core->views, err);

    make_anchor(core);
    if (code == 0)
        code = head_store(core->batch, &core->head, err);
    if (code == 0)
        code = anchor_store(core->batch, &core->anchor, err);
    if (code == 0)
        code = kv_batch_commit(core->batch, sync && !PLANTED(answer_before_fsync), err);
    if (code == 0)
        core->committed = core->head;
    return code;
}

void core_next_batch(struct core *core)
{
    core->event_count = 0;
    arena_reset(&core->arena);
}

int core_abandon(struct core *core, struct error *err)
{
    kv_batch_clear(core->batch);
    core_next_batch(core);
    core->head = core->committed;
    core->has_last_record = false;
    int code = anchor_load(core->kv, &core->anchor, err);
    return code != 0 ? code : views_reload(core->views, err);
}

/* ---- appending --------------------------------------------------------------------- */

static struct core_event *new_event(struct core *core)
{
    if (core->event_count == core->event_capacity) {
        size_t capacity = core->event_capacity == 0 ? 256 : 2 * core->event_capacity;
        struct core_event *events = realloc(core->events, capacity * sizeof *events);
        if (events == NULL)
            return NULL;
        core->events = events;
        core->event_capacity = capacity;
    }
    struct core_event *event = &core->events[core->event_count];
    memset(event, 0, sizeof *event);
    return event;
}

/* Seals, stores and applies one event whose attributes and type are set. data: the
 * struct. */
static int append_event(struct core *core, struct core_event *new, const void *data,
                        struct error *err)
{
    struct event *event = &new->event;

    buf_clear(&core->text);
    int code = codec_encode(event->type->schema, data, &core->text);
    if (code == 0) {
        event->data = arena_copy(&core->arena, buf_bytes(&core->text));
        code = event->data.data == NULL ? ERROR_NO_MEMORY : 0;
    }
    if (code == 0)
        code = event_seal(&core->settings.identity, core->hasher, core->head.chain, event,
                          &core->arena, &new->record);
    if (code != 0)
        return no_memory(err);
    code = event_log_append(core->batch, event, err);
    if (code == 0)
        code = views_apply(core->views, event, data, err);
    if (code == 0)
        code = head_apply(&core->head, event, err);
    if (code == 0)
        core->event_count++;
    return code;
}

/* The attributes that an event takes over from its command; absent where they equal their
 * default. */
static void attribute_event(const struct core *core, const struct intake *intake,
                            struct event *event)
{
    const struct envelope *envelope = &intake->envelope;

    event->causation_id = envelope->id;
    event->causation_source = envelope->source;
    if (!bytes_equal(envelope->actor, envelope->source))
        event->actor = envelope->actor;
    if (!bytes_equal(envelope->correlation_id, envelope->id))
        event->correlation_id = envelope->correlation_id;
    event->traceparent = envelope->traceparent;
    event->tracestate = envelope->tracestate;
    if (bytes_equal_str(envelope->reply_to, "-"))
        event->reply_to = envelope->reply_to;
    for (size_t i = 0; i < core->settings.reply_allow_count; i++) {
        if (bytes_equal_str(envelope->reply_to, core->settings.reply_allow[i]) &&
            !bytes_equal_str(envelope->reply_to, core->settings.replies_topic))
            event->reply_to = envelope->reply_to;
    }
}

/* Empty text on the wire is no header at all: it would chain like an absent one. */
static struct bytes not_empty(struct bytes text)
{
    return text.size == 0 ? BYTES_ABSENT : text;
}

/* The record's own key, if it has the form of an aggregate's: for refusals of data that
 * cannot say. */
static struct bytes aggregate_key(struct bytes key)
{
    return bytes_equal_str(key, "policy") || device_of_object(key) != 0 ? key
                                                                        : BYTES_ABSENT;
}

static int append_decision(struct core *core, const struct intake *intake,
                           const struct decision *decision, struct core_outcome *outcome,
                           struct error *err)
{
    outcome->result = CORE_DECIDED;
    outcome->first_sequence = core->head.sequence + 1;
    outcome->count = (uint32_t)decision->count;
    for (size_t i = 0; i < decision->count; i++) {
        const struct decided_event *decided = &decision->events[i];
        struct core_event *new = new_event(core);
        if (new == NULL)
            return no_memory(err);
        struct event *event = &new->event;
        attribute_event(core, intake, event);
        event->actor = not_empty(event->actor);
        event->correlation_id = not_empty(event->correlation_id);
        event->traceparent = not_empty(event->traceparent);
        event->tracestate = not_empty(event->tracestate);
        event->type = decided->type;
        event->key =
            decided->key.data != NULL ? decided->key : aggregate_key(intake->record->key);
        event->subject = decided->subject;
        event->sequence = core->head.sequence + 1;
        event->time_ms = intake->time_ms;
        event->has_command = true;
        event->command_offset = intake->record->offset;
        event->index = (uint32_t)i + 1;
        event->count = (uint32_t)decision->count;
        event->content_hash = intake->hash;
        event->command_type = intake->envelope.type;
        new->data = decided->data;
        int code = append_event(core, new, decided->data, err);
        if (code != 0)
            return code;
    }
    return 0;
}

/* An event about the record itself, not about a command. */
static int append_notice(struct core *core, const struct record *record, int64_t time_ms,
                         const char *type, const void *data, struct error *err)
{
    struct core_event *new = new_event(core);

    if (new == NULL)
        return no_memory(err);
    struct event *event = &new->event;
    event->type = event_type_find(bytes_str(type));
    event->sequence = core->head.sequence + 1;
    event->time_ms = time_ms;
    event->has_command = record != NULL;
    if (record != NULL) {
        event->index = 1;
        event->count = 1;
        event->command_offset = record->offset;
        event->content_hash = bytes_str("-");
        event->command_type = bytes_str("-");
    }
    return append_event(core, new, data, err);
}

int core_start_log(struct core *core, int64_t start_offset, struct error *err)
{
    char fingerprint[SITE_KEY_FINGERPRINT_SIZE];
    const struct log_identity *identity = &core->settings.identity;

    site_key_fingerprint(core->settings.site_key, fingerprint);
    struct log_started_v1 data = {
        .log = bytes_str(identity->log),
        .site = bytes_str(identity->site),
        .shard = identity->shard,
        .shards = identity->shards,
        .start_offset = (uint64_t)start_offset,
        .site_key_fingerprint = bytes_str(fingerprint),
        .rules = RULES_MAX,
    };
    return append_notice(core, NULL, 0, LOG_STARTED, &data, err);
}

int core_adopt(struct core *core, const struct event *event,
               const struct event_record *record, struct error *err)
{
    uint8_t chain[SHA256_SIZE];

    if (event->sequence != core->head.sequence + 1)
        return error_set(err, ERROR_CORRUPT, "event %llu does not follow event %llu",
                         (unsigned long long)event->sequence,
                         (unsigned long long)core->head.sequence);
    chain_next(core->hasher, core->head.chain, event->sequence, record, chain);
    if (memcmp(chain, event->chain, SHA256_SIZE) != 0)
        return error_set(err, ERROR_CORRUPT, "the chain of event %llu does not fit",
                         (unsigned long long)event->sequence);
    int code = event_log_append(core->batch, event, err);
    if (code == 0)
        code = views_apply(core->views, event, NULL, err);
    if (code == 0)
        code = head_apply(&core->head, event, err);
    /* another agent consumed the record; it is not known here */
    core->anchor.set = false;
    core->has_last_record = false;
    return code;
}

/* ---- decoding ---------------------------------------------------------------------- */

static void refuse(struct intake *intake, int32_t return_value, const char *parameter,
                   const char *description)
{
    intake->fault.outcome = "refused";
    intake->fault.return_value = return_value;
    intake->fault.parameter = parameter;
    intake->fault.description = description;
}

static const char *arena_text(struct core *core, const char *text)
{
    struct bytes copy = arena_copy(&core->arena, bytes_of(text, strlen(text) + 1));

    return (const char *)copy.data;
}

static int refuse_data(struct core *core, struct intake *intake,
                       const struct codec_error *fault, struct error *err)
{
    const char *mistake = envelope_sender_mistake(intake->envelope.data);
    const char *member = NULL, *text = mistake;

    if (mistake == NULL) {
        text = arena_text(core, fault->text);
        member = fault->member[0] != '\0' ? arena_text(core, fault->member) : NULL;
    }
    if (text == NULL || (mistake == NULL && fault->member[0] != '\0' && member == NULL))
        return no_memory(err);
    refuse(intake, RETURN_INVALID_PARAMETER, member, text);
    return 0;
}

static bool is_object(struct bytes json)
{
    size_t i = 0;

    while (i < json.size && strchr(" \t\r\n", json.data[i]) != NULL)
        i++;
    return i < json.size && json.data[i] == '{';
}

/* Decodes the data against its schema, and checks what no schema keyword can say. */
static int decode_params(struct core *core, struct intake *intake, struct error *err)
{
    const struct schema_entry *command = intake->envelope.command;
    struct bytes data = intake->envelope.data;
    struct codec_error fault;

    if (data.data == NULL || intake->envelope.data_twice) {
        refuse(intake, RETURN_INVALID_PARAMETER, NULL,
               data.data == NULL
                   ? "there is no data: send the parameters as a JSON object"
                   : "the event has data twice: send it once");
        return 0;
    }
    void *params = arena_alloc(&core->arena, command->struct_size);
    if (params == NULL)
        return no_memory(err);
    enum codec_fault found = codec_decode(command->schema, CODEC_IGNORE_CASE, data,
                                          &core->arena, params, &fault);
    if (found == CODEC_NO_MEMORY)
        return no_memory(err);
    if (found == CODEC_SYNTAX || found == CODEC_LIMIT ||
        (found == CODEC_MISMATCH &&
         (!is_object(data) || envelope_sender_mistake(data) != NULL)))
        return refuse_data(core, intake, &fault, err);
    /* D6 and who is meant count as part of the schema: the first fault in declared order
     * is named. */
    const char *faulty =
        found == CODEC_OK || fault.member[0] == '\0' ? NULL : fault.member;
    struct param_fault wrong = command_check(command, params, faulty);
    if (wrong.no_memory)
        return no_memory(err);
    if (wrong.text != NULL) {
        refuse(intake, RETURN_INVALID_PARAMETER, wrong.parameter, wrong.text);
        return 0;
    }
    if (found != CODEC_OK)
        return refuse_data(core, intake, &fault, err);
    intake->params = params;
    return 0;
}

/* What is wrong with the command before it is decided, in the order of messages.md 6. The
 * data is decoded beside a bad attribute, too: its content hash and its aggregate are
 * then those of the command. */
static int judge(struct core *core, struct intake *intake, struct error *err)
{
    const struct envelope *envelope = &intake->envelope;
    int code = 0;

    if (envelope->command != NULL && envelope->data.size <= JSON_BYTES_MAX)
        code = decode_params(core, intake, err);
    else
        refuse(intake, RETURN_NOT_SUPPORTED, NULL,
               "the command type is not known to this version");
    if (envelope->bad_attribute != NULL)
        refuse(intake, RETURN_INVALID_PARAMETER,
               envelope->bad_attribute[0] != '\0' ? envelope->bad_attribute : NULL,
               envelope->bad_text);
    return code;
}

/* messages.md 3: HMAC with the site key over the type and the members, or the raw bytes.
 * */
static int hash_content(struct core *core, struct intake *intake, struct error *err)
{
    struct buf *text = &core->text;
    uint8_t mac[SHA256_SIZE];
    int code = 0;

    buf_clear(text);
    buf_append_bytes(text, intake->envelope.type);
    buf_append_byte(text, 0);
    if (intake->params != NULL)
        code = codec_hash_input(intake->envelope.command->schema, intake->params, text);
    else
        buf_append_bytes(text, intake->envelope.data);
    if (code == 0 && !text->failed) {
        hmac_of(core->content_hmac, buf_bytes(text), mac);
        buf_clear(text);
        base64url_append(text, mac, 16);
        intake->hash = arena_copy(&core->arena, buf_bytes(text));
    }
    return intake->hash.data == NULL ? no_memory(err) : 0;
}

/* ---- deciding ---------------------------------------------------------------------- */

/* The aggregate that a refused command means, if its data says so. */
static int name_aggregate(struct core *core, struct intake *intake, struct error *err)
{
    const struct command command = {
        .type = intake->envelope.command,
        .params = intake->params,
        .shard = core->settings.identity.shard,
        .shards = core->settings.identity.shards,
    };

    if (intake->params == NULL)
        return 0;
    return command_aggregate(core->views, &command, &core->arena, &intake->fault, err);
}

static int append_refusal(struct core *core, struct intake *intake,
                          struct core_outcome *outcome, struct error *err)
{
    struct decision decision;

    decision_init(&decision, &core->arena);
    intake->fault.command_type = intake->envelope.type;
    int code = name_aggregate(core, intake, err);
    if (code == 0)
        code = decide_rejection(&decision, &intake->fault, err);
    return code != 0 ? code : append_decision(core, intake, &decision, outcome, err);
}

static int append_conflict(struct core *core, struct intake *intake,
                           struct core_outcome *outcome, struct error *err)
{
    refuse(intake, RETURN_OTHER_FAILURE, NULL,
           "this id and source were seen before with other content: send a new id");
    intake->fault.outcome = "conflict";
    return append_refusal(core, intake, outcome, err);
}

/* kinlog_epoch as it stands on the owner's own commands. */
static bool is_present_epoch(const struct core *core, struct bytes text)
{
    char present[EPOCH_TEXT_SIZE];

    epoch_text(&core->epoch, present);
    return core->epoch.number > 0 && bytes_equal_str(text, present);
}

static int decide_command(struct core *core, struct intake *intake,
                          struct core_outcome *outcome, struct error *err)
{
    const struct envelope *envelope = &intake->envelope;
    bool own_source = bytes_equal_str(envelope->source, core->source);
    struct command command = {
        .type = envelope->command,
        .params = intake->params,
        .time_ms = intake->time_ms,
        .record_time_ms = intake->record->timestamp_ms,
        .shard = core->settings.identity.shard,
        .shards = core->settings.identity.shards,
        .sequence = core->head.sequence + 1,
        .source = envelope->source,
        .from_agents = own_source && envelope->epoch.size > 0,
        .from_owner = own_source && is_present_epoch(core, envelope->epoch),
        .has_expiry = envelope->has_expiry,
        .expiry_ms = envelope->expiry_ms,
        .has_expected_version = envelope->has_expected_version,
        .expected_version = envelope->expected_version,
    };
    struct decision decision;

    decision_init(&decision, &core->arena);
    int code = decide(core->views, &command, &decision, err);
    if (code == 0 && decision.count == 0)
        outcome->result = CORE_NOTHING;
    else if (code == 0)
        code = append_decision(core, intake, &decision, outcome, err);
    outcome->each_alone = envelope->command->schema == &tick_v1_schema;
    return code;
}

/* A conclusion is answered once, to the command that had asked; only that one's repeat is
 * answered again. */
static int repeat(struct core *core, const struct receipt *receipt,
                  struct core_outcome *outcome, struct error *err)
{
    struct event event;
    uint64_t concluded = 0;
    int code = 0;

    if (!receipt->asked)
        code = event_log_read(core->kv, core->batch, receipt->first_sequence,
                              &core->arena, &event, err);
    if (code == 0 && !receipt->asked)
        code = answer_concludes(&event, /* data= */ NULL, &concluded, err);
    if (code != 0)
        return code < 0 ? code : missing_event(receipt->first_sequence, err);
    outcome->result = concluded == 0 ? CORE_REPEATED : CORE_NOTHING;
    outcome->first_sequence = receipt->first_sequence;
    outcome->count = receipt->count;
    return 0;
}

/* The answer to a command that asked belongs to another delivery than this one. */
static int forget_delivery(const struct core *core, struct core_outcome *outcome,
                           struct error *err)
{
    uint64_t concluded = 0;

    if (outcome->result != CORE_DECIDED)
        return 0;
    const struct core_event *first = &core->events[core->event_count - outcome->count];
    int code = answer_concludes(&first->event, first->data, &concluded, err);
    if (concluded != 0)
        outcome->forwarded = BYTES_ABSENT;
    return code;
}

/* Was the id seen before, and with this content? */
static int look_up(struct core *core, struct intake *intake, struct receipt *ret_receipt,
                   struct error *err)
{
    int code = hash_content(core, intake, err);

    return code != 0 ? code
                     : receipt_find(core->views, intake->envelope.source,
                                    intake->envelope.id, intake->hash, ret_receipt, err);
}

/* Looks the id up; whatever is new is refused, or decided. */
static int settle(struct core *core, struct intake *intake, struct core_outcome *outcome,
                  struct error *err)
{
    struct receipt receipt;
    int code = look_up(core, intake, &receipt, err);

    if (code != 0)
        return code;
    switch (receipt.match) {
    case RECEIPT_SAME:
    case RECEIPT_CONFLICT_SEEN:
        return repeat(core, &receipt, outcome, err);
    case RECEIPT_PENDING:
        outcome->result = CORE_NOTHING;
        return 0;
    case RECEIPT_CONFLICT:
        return append_conflict(core, intake, outcome, err);
    case RECEIPT_NONE:
        break;
    }
    if (intake->fault.description != NULL)
        return append_refusal(core, intake, outcome, err);
    code = decide_command(core, intake, outcome, err);
    return code != 0 ? code : forget_delivery(core, outcome, err);
}

/* ---- the record -------------------------------------------------------------------- */

static int bury(struct core *core, const struct intake *intake, const char *reason,
                struct core_outcome *outcome, struct error *err)
{
    uint8_t digest[SHA256_SIZE];
    struct buf hex = BUF_INIT;
    const struct record *record = intake->record;

    sha256_once(record->value.data, record->value.size, digest);
    if (hex_append(&hex, digest, SHA256_SIZE) != 0) {
        buf_release(&hex);
        return no_memory(err);
    }
    struct record_dead_lettered_v1 data = {
        .topic = bytes_str(core->settings.commands_topic),
        .partition = (uint32_t)record->partition,
        .offset = (uint64_t)record->offset,
        .sha256 = buf_bytes(&hex),
        .reason = bytes_str(reason),
    };
    outcome->result = CORE_DEAD_LETTER;
    outcome->reason = reason;
    outcome->first_sequence = core->head.sequence + 1;
    outcome->count = 1;
    int code =
        append_notice(core, record, intake->time_ms, RECORD_DEAD_LETTERED, &data, err);
    buf_release(&hex);
    return code;
}

/* A record that left no event still moves the position; now and then the log says so. */
static int advance_position(struct core *core, const struct intake *intake,
                            struct error *err)
{
    const struct head *head = &core->head;
    bool long_ago =
        head->time_ms > 0 && intake->time_ms - head->time_ms > POSITION_TIME_MAX_MS;

    if (intake->record->offset - head->event_offset <= POSITION_RECORDS_MAX && !long_ago)
        return 0;
    struct position_advanced_v1 data = {.offset = (uint64_t)intake->record->offset};
    return append_notice(core, intake->record, intake->time_ms, POSITION_ADVANCED, &data,
                         err);
}

static int take_record(struct core *core, struct intake *intake,
                       struct core_outcome *outcome, struct error *err)
{
    const struct log_identity *identity = &core->settings.identity;

    if (envelope_read(intake->record, &core->arena, &intake->envelope) != 0)
        return no_memory(err);
    if (!intake->envelope.id_known)
        return bury(core, intake, intake->envelope.dead_reason, outcome, err);
    int code = judge(core, intake, err);
    if (code != 0)
        return code;
    outcome->forwarded = intake->envelope.forwarded;
    if (intake->params != NULL) {
        uint32_t shard = command_shard(intake->envelope.command, intake->params,
                                       identity->shards, identity->shard);
        if (shard != identity->shard && !intake->envelope.was_forwarded &&
            intake->envelope.bad_attribute == NULL) {
            outcome->result = CORE_FORWARD;
            outcome->target = shard;
            return 0;
        }
        if (shard != identity->shard && intake->fault.description == NULL)
            refuse(intake, RETURN_OTHER_FAILURE, NULL,
                   "the command was forwarded once and still lies on the wrong "
                   "partition: send it with "
                   "the right record key and without kinlog_forwarded");
    }
    return settle(core, intake, outcome, err);
}

/* Core time never runs backwards, whatever the broker's clock does, and can always be
 * written: an event is the same in the topic, which has it as text, as in the log. */
static int64_t core_time(const struct core *core, const struct record *record)
{
    int64_t time_ms =
        record->timestamp_ms < TIME_MS_MAX ? record->timestamp_ms : TIME_MS_MAX;

    return time_ms > core->head.time_ms ? time_ms : core->head.time_ms;
}

/* The shard goes on behind the record. */
static void move_past(struct core *core, const struct record *record)
{
    core->head.next_offset = record->offset + 1;
    core->last_record = *record;
    core->has_last_record = true;
}

static int prefixed(const struct record *record, int code, struct error *err)
{
    error_prefix(err, "record %lld of partition %d", (long long)record->offset,
                 record->partition);
    return code;
}

int core_record(struct core *core, const struct record *record,
                struct core_outcome *ret_outcome, struct error *err)
{
    struct intake intake = {.record = record, .time_ms = core_time(core, record)};
    struct core_outcome outcome = {0};
    uint64_t before = core->head.sequence;

    int code = take_record(core, &intake, &outcome, err);
    if (code == 0 && core->head.sequence == before)
        code = advance_position(core, &intake, err);
    if (code != 0)
        return prefixed(record, code, err);
    move_past(core, record);
    *ret_outcome = outcome;
    return 0;
}

/* A record is no repeat of itself. Of a command that asked another shard this is not known
 * here, so that it may be answered twice. */
static int recall_receipt(struct core *core, const struct record *record,
                          const struct receipt *receipt, struct core_outcome *outcome,
                          struct error *err)
{
    struct event event;
    int code = repeat(core, receipt, outcome, err);

    if (code == 0)
        code = event_log_read(core->kv, core->batch, receipt->first_sequence,
                              &core->arena, &event, err);
    if (code != 0)
        return code < 0 ? code : missing_event(receipt->first_sequence, err);
    if (event.command_offset == record->offset)
        outcome->result = CORE_NOTHING;
    return 0;
}

static int recall(struct core *core, struct intake *intake, struct core_outcome *outcome,
                  struct error *err)
{
    const struct envelope *envelope = &intake->envelope;
    struct receipt receipt;

    if (envelope_read(intake->record, &core->arena, &intake->envelope) != 0)
        return no_memory(err);
    if (!envelope->id_known)
        return 0;
    int code = judge(core, intake, err);
    if (code == 0)
        code = look_up(core, intake, &receipt, err);
    if (code != 0 ||
        (receipt.match != RECEIPT_SAME && receipt.match != RECEIPT_CONFLICT_SEEN))
        return code;
    outcome->forwarded = envelope->forwarded;
    return recall_receipt(core, intake->record, &receipt, outcome, err);
}

int core_recall(struct core *core, const struct record *record,
                struct core_outcome *ret_outcome, struct error *err)
{
    struct intake intake = {.record = record};
    struct core_outcome outcome = {.result = CORE_NOTHING};
    int code = recall(core, &intake, &outcome, err);

    if (code != 0)
        return prefixed(record, code, err);
    *ret_outcome = outcome;
    return 0;
}

int core_put_aside(struct core *core, const struct record *record, const char *reason,
                   struct core_outcome *ret_outcome, struct error *err)
{
    struct intake intake = {.record = record, .time_ms = core_time(core, record)};
    struct core_outcome outcome = {0};

    int code = bury(core, &intake, reason, &outcome, err);
    if (code != 0)
        return prefixed(record, code, err);
    move_past(core, record);
    *ret_outcome = outcome;
    return 0;
}
