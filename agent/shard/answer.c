/* answer.c - see answer.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "agent/shard/answer.h"

#include <stdlib.h>
#include <string.h>

#include "agent/decide/decide.h"
#include "agent/planted.h"
#include "events/base/datetime.h"
#include "events/event_log.h"
#include "events/position.h"
#include "events/secret.h"
#include "schemas/answers.h"
#include "schemas/events.h"

const char *const answer_header_names[ANSWER_HEADERS] = {
    [ANSWER_SPECVERSION] = "ce_specversion",
    [ANSWER_CONTENT_TYPE] = "content-type",
    [ANSWER_ID] = "ce_id",
    [ANSWER_SOURCE] = "ce_source",
    [ANSWER_TYPE] = "ce_type",
    [ANSWER_TIME] = "ce_time",
    [ANSWER_CAUSATION_ID] = "ce_causationid",
    [ANSWER_CAUSATION_SOURCE] = "ce_causationsource",
    [ANSWER_CORRELATION_ID] = "ce_correlationid",
    [ANSWER_TRACEPARENT] = "ce_traceparent",
    [ANSWER_TRACESTATE] = "ce_tracestate",
};

struct answer_maker {
    struct log_identity identity;
    const uint8_t *site_key; /* NULL = not at hand */
    struct arena arena;      /* until answer_begin */
    struct answer answer;
    struct answer_v1 data;
    struct answer_v1_events_item items[ANSWER_EVENTS_MAX];
    bool whole;         /* the command's last event was added */
    bool waits;         /* its last event asks another shard */
    bool failed;        /* memory was out for a part of it */
    struct error fault; /* why a key could not be sealed */
    struct buf json;
};

struct answer_maker *answer_maker_new(const struct log_identity *identity,
                                      const uint8_t *site_key)
{
    struct answer_maker *maker = calloc(1, sizeof *maker);

    if (maker != NULL) {
        maker->identity = *identity;
        maker->site_key = site_key;
    }
    return maker;
}

void answer_maker_free(struct answer_maker *maker)
{
    if (maker == NULL)
        return;
    arena_release(&maker->arena);
    buf_release(&maker->json);
    free(maker);
}

void answer_begin(struct answer_maker *maker)
{
    arena_reset(&maker->arena);
    buf_clear(&maker->json);
    memset(&maker->answer, 0, sizeof maker->answer);
    memset(&maker->data, 0, sizeof maker->data);
    maker->whole = false;
    maker->waits = false;
    maker->failed = false;
    error_clear(&maker->fault);
}

static struct bytes keep(struct answer_maker *maker, struct bytes text)
{
    struct bytes kept = arena_copy(&maker->arena, text);

    maker->failed |= kept.data == NULL && text.data != NULL;
    return kept;
}

static struct bytes keep_text(struct answer_maker *maker, struct buf *text)
{
    struct bytes kept = keep(maker, buf_bytes(text));

    maker->failed |= text->failed;
    buf_release(text);
    return kept;
}

/* What every event of the command says alike. */
static void take_attributes(struct answer_maker *maker, const struct event *event)
{
    struct bytes *headers = maker->answer.headers;
    struct buf id = BUF_INIT;
    char source[LOG_SOURCE_SIZE];

    buf_printf(&id, "%u-%lld", maker->identity.shard, (long long)event->command_offset);
    log_source(&maker->identity, source);
    headers[ANSWER_SPECVERSION] = bytes_str("1.0");
    headers[ANSWER_CONTENT_TYPE] = bytes_str("application/json");
    headers[ANSWER_ID] = keep_text(maker, &id);
    headers[ANSWER_SOURCE] = keep(maker, bytes_str(source));
    headers[ANSWER_TYPE] = bytes_str(schema_answers[0].type);
    headers[ANSWER_CAUSATION_ID] = keep(maker, event->causation_id);
    headers[ANSWER_CAUSATION_SOURCE] = keep(maker, event->causation_source);
    headers[ANSWER_CORRELATION_ID] =
        keep(maker, event->correlation_id.data != NULL ? event->correlation_id
                                                       : event->causation_id);
    headers[ANSWER_TRACEPARENT] = keep(maker, event->traceparent);
    headers[ANSWER_TRACESTATE] = keep(maker, event->tracestate);
    maker->answer.reply_to = keep(maker, event->reply_to);
    maker->data.command = keep(maker, event->command_type);
    maker->data.outcome = bytes_str("accepted");
    maker->data.shard = maker->identity.shard;
    maker->data.out = bytes_str("{}");
    maker->data.has_version = true;
}

/* "kinlog.AddSource.v1" -> "AddSource" */
static struct bytes method_name(struct bytes type)
{
    for (const struct schema_entry *entry = schema_commands; entry->type != NULL;
         entry++) {
        if (bytes_equal_str(type, entry->type))
            return bytes_str(entry->name);
    }
    return bytes_str("-");
}

/* Whoever replaces a device names no source. */
static void mark_deprecated(struct answer_maker *maker)
{
    struct answer_v1 *data = &maker->data;

    if (bytes_equal_str(data->command, "kinlog.ReplaceDevice.v1"))
        return;
    data->has_extended_status = true;
    data->extended_status.description = bytes_str(SOURCE_DEPRECATED_TEXT);
    data->extended_status.operation = method_name(data->command);
    data->extended_status.has_parameter_info = true;
    data->extended_status.parameter_info = bytes_str("SourceId");
    data->extended_status.status_code = 0;
}

static void set_out(struct answer_maker *maker, const char *name, uint64_t value)
{
    struct buf out = BUF_INIT;

    buf_printf(&out, "{\"%s\":%llu}", name, (unsigned long long)value);
    maker->data.out = keep_text(maker, &out);
}

static void set_out_text(struct answer_maker *maker, const char *name, struct bytes value)
{
    struct buf out = BUF_INIT;

    buf_printf(&out, "{\"%s\":", name);
    (void)buf_append_json_string(&out, value); /* a failure shows in keep_text */
    (void)buf_append_byte(&out, '}');
    maker->data.out = keep_text(maker, &out);
}

/* The out parameter of CreateRelationship, whichever of its events tells it. */
static void set_relationship(struct answer_maker *maker,
                             uint32_t relationship_resource_id)
{
    if (bytes_equal_str(maker->data.command, "kinlog.CreateRelationship.v1"))
        set_out(maker, "RelationshipResourceID", relationship_resource_id);
}

#define TAKE_STATUS(maker, from)                                                         \
    do {                                                                                 \
        struct answer_v1 *taken = &(maker)->data;                                        \
        taken->has_extended_status = (from)->has_extended_status;                        \
        taken->extended_status.description =                                             \
            keep((maker), (from)->extended_status.description);                          \
        taken->extended_status.operation =                                               \
            keep((maker), (from)->extended_status.operation);                            \
        taken->extended_status.has_parameter_info =                                      \
            (from)->extended_status.has_parameter_info;                                  \
        taken->extended_status.parameter_info =                                          \
            keep((maker), (from)->extended_status.parameter_info);                       \
        taken->extended_status.status_code = (from)->extended_status.status_code;        \
    } while (0)

static void take_created(struct answer_maker *maker,
                         const struct relationship_created_v1 *created)
{
    set_relationship(maker, created->relationship_resource_id);
    for (size_t i = 0; i < created->sources.count; i++) {
        if (created->sources.items[i] == SOURCE_DEPRECATED)
            mark_deprecated(maker);
    }
}

static void take_unchanged(struct answer_maker *maker,
                           const struct command_unchanged_v1 *unchanged)
{
    maker->data.outcome = bytes_str("unchanged");
    maker->data.out = keep(maker, unchanged->out);
    maker->data.has_version = unchanged->has_version;
    maker->data.version = unchanged->version;
    TAKE_STATUS(maker, unchanged);
}

static void take_rejected(struct answer_maker *maker,
                          const struct command_rejected_v1 *rejected)
{
    maker->data.outcome = keep(maker, rejected->outcome);
    maker->data.return_value = rejected->return_value;
    maker->data.has_version = rejected->has_version;
    maker->data.version = rejected->version;
    TAKE_STATUS(maker, rejected);
}

/* The command that asked is refused. */
static void take_request_refused(struct answer_maker *maker,
                                 const struct request_refused_v1 *refused)
{
    maker->data.outcome = bytes_str("refused");
    maker->data.return_value = refused->return_value;
    maker->data.has_version = refused->has_version;
    maker->data.version = refused->version;
    TAKE_STATUS(maker, refused);
}

/* The out parameter of the methods that associate two devices. */
static void take_association(struct answer_maker *maker,
                             const struct association_added_v1 *added)
{
    if (!bytes_equal_str(maker->data.command, "kinlog.StartCapture.v1"))
        set_out_text(maker, "MigrationID", added->migration_id);
}

/* The out parameter of GetEncryptDecryptKey: it stands in no event, and is made here each
 * time of the event at hand. */
static void take_key(struct answer_maker *maker,
                     const struct encrypt_decrypt_key_given_v1 *data)
{
    const struct position given = {maker->identity.shard, maker->data.sequence};
    struct position migration;
    uint8_t recipient[RECIPIENT_SIZE], sealed[SEALED_KEY_SIZE];
    char text[SEALED_KEY_SIZE / 3 * 4 + 5];

    if (maker->site_key == NULL) {
        error_set(
            &maker->fault, ERROR_NOT_FOUND,
            "the answer holds a sealed key, which is made with the site key: ask as "
            "a user who may read site.key");
        return;
    }
    if (!position_parse(data->migration_id, &migration) ||
        !recipient_parse(data->recipient, recipient)) {
        error_set(&maker->fault, ERROR_CORRUPT, "event %llu gives no key",
                  (unsigned long long)given.sequence);
        return;
    }
    if (sealed_key_make(maker->site_key, &migration, &given, recipient, sealed,
                        &maker->fault) != 0)
        return;
    base64url_text(sealed, sizeof sealed, text);
    set_out_text(maker, "Key", bytes_str(text));
}

/* Only these types say more than that the command was accepted. */
static bool tells(const struct schema *schema)
{
    return schema == &relationship_created_v1_schema ||
           schema == &source_added_v1_schema || schema == &source_removed_v1_schema ||
           schema == &type_added_v1_schema || schema == &policy_changed_v1_schema ||
           schema == &association_added_v1_schema ||
           schema == &encrypt_decrypt_key_given_v1_schema ||
           schema == &request_refused_v1_schema ||
           schema == &command_unchanged_v1_schema ||
           schema == &command_rejected_v1_schema;
}

static void take_data(struct answer_maker *maker, const struct schema *schema,
                      const void *data)
{
    if (schema == &relationship_created_v1_schema) {
        take_created(maker, data);
    } else if (schema == &source_added_v1_schema) {
        const struct source_added_v1 *added = data;
        set_relationship(maker, added->relationship_resource_id);
        if (added->source_id == SOURCE_DEPRECATED)
            mark_deprecated(maker);
    } else if (schema == &source_removed_v1_schema) {
        const struct source_removed_v1 *removed = data;
        if (removed->source_id == SOURCE_DEPRECATED)
            mark_deprecated(maker);
    } else if (schema == &type_added_v1_schema) {
        const struct type_added_v1 *added = data;
        set_relationship(maker, added->relationship_resource_id);
    } else if (schema == &policy_changed_v1_schema) {
        const struct policy_changed_v1 *changed = data;
        set_out(maker, "Revision", changed->revision);
    } else if (schema == &association_added_v1_schema) {
        take_association(maker, data);
    } else if (schema == &encrypt_decrypt_key_given_v1_schema) {
        take_key(maker, data);
    } else if (schema == &request_refused_v1_schema) {
        take_request_refused(maker, data);
    } else if (schema == &command_unchanged_v1_schema) {
        take_unchanged(maker, data);
    } else {
        take_rejected(maker, data);
    }
}

static int decode(const struct event *event, struct arena *arena, const void **ret_data,
                  struct error *err)
{
    struct codec_error fault = {.text = "out of memory"};
    void *data = arena_alloc(arena, event->type->struct_size);
    enum codec_fault found = data == NULL
                                 ? CODEC_NO_MEMORY
                                 : codec_decode(event->type->schema, CODEC_EXACT,
                                                event->data, arena, data, &fault);

    if (found != CODEC_OK) {
        int code = found == CODEC_NO_MEMORY ? ERROR_NO_MEMORY : ERROR_CORRUPT;
        (void)error_set(err, code, "event %llu: %s", (unsigned long long)event->sequence,
                        fault.text);
        return code;
    }
    *ret_data = data;
    return 0;
}

static int decode_and_take(struct answer_maker *maker, const struct event *event,
                           struct error *err)
{
    const void *data;
    int code = decode(event, &maker->arena, &data, err);

    if (code == 0)
        take_data(maker, event->type->schema, data);
    return code;
}

/* The commands that conclude a request, each event by itself. */
static bool may_conclude(const struct event *event)
{
    return event->type->schema == &request_refused_v1_schema ||
           event->type->schema == &replacement_completed_v1_schema ||
           (event->type->schema == &association_added_v1_schema &&
            bytes_equal_str(event->command_type, "kinlog.ConfirmReference.v1"));
}

/* Each event of a Tick is an effect of its own, whether it concludes a request or not. */
static bool stands_alone(const struct event *event)
{
    return may_conclude(event) || bytes_equal_str(event->command_type, "kinlog.Tick.v1");
}

static struct bytes concluded_request(const struct schema *schema, const void *data)
{
    if (schema == &request_refused_v1_schema)
        return ((const struct request_refused_v1 *)data)->request;
    if (schema == &replacement_completed_v1_schema)
        return ((const struct replacement_completed_v1 *)data)->request;
    return ((const struct association_added_v1 *)data)->migration_id;
}

static bool asks(const struct event *event)
{
    return event->type->schema == &association_requested_v1_schema ||
           event->type->schema == &replacement_requested_v1_schema;
}

int answer_concludes(const struct event *event, const void *data, uint64_t *ret_number,
                     struct error *err)
{
    struct arena arena = ARENA_INIT;
    struct position position = {0};
    int code = 0;

    *ret_number = 0;
    if (!may_conclude(event))
        return 0;
    if (data == NULL)
        code = decode(event, &arena, &data, err);
    if (code == 0) {
        if (!position_parse(concluded_request(event->type->schema, data), &position))
            code = error_set(err, ERROR_CORRUPT, "event %llu concludes no request",
                             (unsigned long long)event->sequence);
    }
    *ret_number = position.sequence;
    arena_release(&arena);
    return code;
}

int answer_add(struct answer_maker *maker, const struct event *event, const void *data,
               struct error *err)
{
    struct answer_v1 *answer = &maker->data;

    if (event->causation_id.data == NULL || event->causation_source.data == NULL)
        return error_set(err, ERROR_CORRUPT, "event %llu answers no command",
                         (unsigned long long)event->sequence);
    if (answer->event_count == 0)
        take_attributes(maker, event);
    if (answer->event_count < ANSWER_EVENTS_MAX) {
        maker->items[answer->event_count].sequence = event->sequence;
        maker->items[answer->event_count].type = bytes_str(event->type->type);
    }
    answer->event_count++;
    answer->sequence = event->sequence;
    answer->version = event->sequence;
    maker->waits = asks(event) && !PLANTED(request_answered_too_early);
    if (event->index == event->count || stands_alone(event)) {
        char time[RFC3339_SIZE];
        maker->whole = true;
        rfc3339_format(event->time_ms, time);
        maker->answer.headers[ANSWER_TIME] = keep(maker, bytes_str(time));
        maker->answer.key = keep(maker, event->key);
    }
    if (!tells(event->type->schema))
        return 0;
    if (data == NULL)
        return decode_and_take(maker, event, err);
    take_data(maker, event->type->schema, data);
    return 0;
}

int answer_end(struct answer_maker *maker, struct answer *ret_answer, struct error *err)
{
    struct answer_v1 *data = &maker->data;

    if (!maker->whole)
        return error_set(err, ERROR_CORRUPT,
                         "the last event of a command is missing from the log");
    if (maker->fault.code != 0)
        return error_set(err, maker->fault.code, "%s", maker->fault.text);
    data->events.items = maker->items;
    data->events.count =
        data->event_count < ANSWER_EVENTS_MAX ? data->event_count : ANSWER_EVENTS_MAX;
    if (maker->failed || codec_encode(&answer_v1_schema, data, &maker->json) != 0)
        return error_set(err, ERROR_NO_MEMORY, "out of memory while answering");
    maker->answer.value = buf_bytes(&maker->json);
    maker->answer.waits = maker->waits;
    *ret_answer = maker->answer;
    return 0;
}

static struct bytes copy_text(uint8_t **end, struct bytes text)
{
    struct bytes copy = {*end, text.size};

    if (text.data == NULL)
        return BYTES_ABSENT;
    if (text.size > 0)
        memcpy(*end, text.data, text.size);
    *end += text.size;
    return copy;
}

struct answer *answer_copy(const struct answer *answer)
{
    size_t size = answer->reply_to.size + answer->key.size + answer->value.size;

    for (size_t i = 0; i < ANSWER_HEADERS; i++)
        size += answer->headers[i].size;
    struct answer *copy = malloc(sizeof *copy + size);
    if (copy == NULL)
        return NULL;
    uint8_t *end = (uint8_t *)(copy + 1);
    copy->waits = answer->waits;
    copy->reply_to = copy_text(&end, answer->reply_to);
    copy->key = copy_text(&end, answer->key);
    copy->value = copy_text(&end, answer->value);
    for (size_t i = 0; i < ANSWER_HEADERS; i++)
        copy->headers[i] = copy_text(&end, answer->headers[i]);
    return copy;
}

static int missing(uint64_t sequence, struct error *err)
{
    return error_set(err, ERROR_CORRUPT, "event %llu is missing from the log",
                     (unsigned long long)sequence);
}

/* Adds the events first..first+count-1. */
static int add_from_log(struct answer_maker *maker, struct kv *kv, struct kv_batch *batch,
                        uint64_t first, uint32_t count, struct error *err)
{
    struct event_scan *scan = NULL;
    struct event event;
    int code = event_scan_open(kv, batch, first, UINT64_MAX, &scan, err);

    for (uint64_t sequence = first; code == 0 && (count == 0 || sequence < first + count);
         sequence++) {
        code = event_scan_next(scan, &event, err);
        if (code == 1)
            code = missing(sequence, err);
        if (code == 0)
            code = answer_add(maker, &event, /* data= */ NULL, err);
    }
    event_scan_close(scan);
    return code;
}

/* Adds all events of the command whose first one is given. */
static int add_command(struct answer_maker *maker, struct kv *kv, struct kv_batch *batch,
                       uint64_t first, struct error *err)
{
    struct event event;
    int code = event_log_read(kv, batch, first, &maker->arena, &event, err);

    if (code == 1)
        code = missing(first, err);
    return code != 0 ? code : add_from_log(maker, kv, batch, first, event.count, err);
}

int answer_from_log(struct answer_maker *maker, struct kv *kv, struct kv_batch *batch,
                    uint64_t first, uint32_t count, struct answer *ret_answer,
                    struct error *err)
{
    struct event event;
    uint64_t number = 0;

    answer_begin(maker);
    int code = event_log_read(kv, batch, first, &maker->arena, &event, err);
    if (code == 1)
        code = missing(first, err);
    if (code == 0)
        code = answer_concludes(&event, /* data= */ NULL, &number, err);
    if (code == 0 && number != 0)
        code = add_command(maker, kv, batch, number, err);
    if (code == 0)
        code = add_from_log(maker, kv, batch, first, count, err);
    return code != 0 ? code : answer_end(maker, ret_answer, err);
}
