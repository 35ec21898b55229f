/* core_driver.c - drives the core (agent/shard/core.h) over memory stores by NDJSON on
 * stdin, for the comparison with the Python model. The protocol is described at the head of
 * tests/model/property_test.py.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>

#include "agent/shard/answer.h"
#include "agent/shard/core.h"
#include "agent/shard/followup.h"
#include "agent/shard/repair.h"
#include "events/base/datetime.h"
#include "events/event_log.h"
#include "projections/association_view.h"
#include "projections/reference_view.h"
#include "projections/request_view.h"

#define SHARDS_MAX 240

struct queued_record {
    struct record record;
    struct header *headers;
};

struct driven_shard {
    struct kv *kv;
    struct core *core;
    struct answer_maker *maker;
    struct queued_record *queue;
    size_t count, capacity, done;
    int64_t next_offset;
};

static struct {
    struct log_identity identity;
    uint8_t site_key[SITE_KEY_SIZE];
    char commands[128], replies[128];
    char *allow[16];
    size_t allow_count;
    size_t batch;
    struct driven_shard shards[SHARDS_MAX];
} site;

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

static struct bytes keep(const char *format, long long a, long long b)
{
    char *text = arena_alloc(&kept, 64);
    snprintf(text, 64, format, a, b);
    return bytes_str(text);
}

static void forward(const struct record *record, uint32_t target)
{
    struct record copy = *record;
    struct header *headers =
        arena_alloc(&kept, (record->header_count + 1) * sizeof *headers);

    if (record->header_count > 0)
        memcpy(headers, record->headers, record->header_count * sizeof *headers);
    headers[record->header_count].name = bytes_str("kinlog_forwarded");
    headers[record->header_count].value =
        keep("%lld-%lld", record->partition, record->offset);
    copy.headers = headers;
    copy.header_count++;
    copy.offset = -1;
    append(target, &copy);
    print("forward", json_pack("{s:i, s:I, s:i, s:o}", "from", (int)record->partition,
                               "offset", (json_int_t)record->offset, "to", (int)target,
                               "headers", header_list(headers, copy.header_count)));
}

/* ---- commands to other shards ------------------------------------------------------ */

/* Told alone: the stream brings it to its shard. */
static void print_command(uint32_t from, uint32_t to, const struct followup *command)
{
    char source[160];
    snprintf(source, sizeof source, "/kinlog/%s/%s", site.identity.site,
             site.identity.log);
    struct header headers[] = {
        {bytes_str("ce_id"), command->id},
        {bytes_str("ce_source"), bytes_str(source)},
        {bytes_str("ce_type"), bytes_str(command->type)},
        {bytes_str("ce_replyto"), bytes_str("-")},
    };
    size_t count = sizeof headers / sizeof headers[0] - (command->answered ? 1 : 0);

    print("command",
          json_pack("{s:i, s:i, s:o, s:o, s:o}", "from", (int)from, "to", (int)to, "key",
                    to_base64(command->key), "value", to_base64(command->data), "headers",
                    header_list(headers, count)));
}

/* What the event makes its shard say to others; like the outbox from what is in the log. */
static void print_followup(uint32_t shard, const struct event *event)
{
    struct log_identity identity = site.identity;
    struct arena arena = ARENA_INIT;
    struct followup followup;

    identity.shard = shard;
    int code = followup_of(&identity, event, /* data= */ NULL, &arena, &followup, &err);
    if (code < 0)
        die("followup");
    for (uint32_t to = 0; code == 0 && to < site.identity.shards; to++) {
        if (followup.all_others ? to != shard : to == followup.shard)
            print_command(shard, to, &followup);
    }
    arena_release(&arena);
}

/* Of a command that was repeated. */
static void print_followups_again(uint32_t shard, const struct core_outcome *outcome)
{
    struct driven_shard *driven = &site.shards[shard];
    struct event_scan *scan;
    struct event event;

    must(event_scan_open(driven->kv, core_batch(driven->core), outcome->first_sequence,
                         outcome->first_sequence + outcome->count - 1, &scan, &err),
         "scan");
    while (event_scan_next(scan, &event, &err) == 0) {
        if (followup_repeats(&event))
            print_followup(shard, &event);
    }
    event_scan_close(scan);
}

/* ---- a shard's records ------------------------------------------------------------- */

static void print_events(uint32_t shard, size_t from)
{
    size_t count;
    const struct core_event *events = core_events(site.shards[shard].core, &count);

    for (size_t i = from; i < count; i++) {
        json_t *headers = json_array();
        for (size_t k = 0; k < EVENT_HEADERS; k++) {
            if (events[i].record.headers[k].data != NULL)
                json_array_append_new(headers,
                                      json_pack("[s, o]", event_header_names[k],
                                                text_of(events[i].record.headers[k])));
        }
        print("event", json_pack("{s:i, s:o, s:o, s:o}", "shard", (int)shard, "key",
                                 to_base64(events[i].record.key), "headers", headers,
                                 "data", text_of(events[i].record.data)));
    }
}

/* The events of the batch at hand that an outcome is about. */
static const struct core_event *events_of(uint32_t shard,
                                          const struct core_outcome *outcome)
{
    size_t count;
    const struct core_event *events = core_events(site.shards[shard].core, &count);

    while (count > 0 && events->event.sequence != outcome->first_sequence) {
        events++;
        count--;
    }
    return events;
}

/* The outbox makes an answer from the batch at hand, a restarted agent from the log; what
 * concludes an earlier command is answered from the log in any case. */
static void check_made_from_batch(uint32_t shard, const struct core_outcome *outcome,
                                  const struct answer *from_log)
{
    struct answer_maker *maker = site.shards[shard].maker;
    struct answer made;
    uint64_t concluded;

    if (outcome->result != CORE_DECIDED)
        return;
    const struct core_event *events = events_of(shard, outcome);
    must(answer_concludes(&events[0].event, events[0].data, &concluded, &err), "answer");
    if (concluded != 0)
        return;
    answer_begin(maker);
    for (uint32_t i = 0; i < outcome->count; i++)
        must(answer_add(maker, &events[i].event, events[i].data, &err), "answer");
    must(answer_end(maker, &made, &err), "answer");
    bool same =
        made.waits == from_log->waits && bytes_equal(made.reply_to, from_log->reply_to) &&
        bytes_equal(made.key, from_log->key) && bytes_equal(made.value, from_log->value);
    for (size_t i = 0; i < ANSWER_HEADERS; i++)
        same = same && bytes_equal(made.headers[i], from_log->headers[i]);
    if (!same)
        die("the answer made from the batch is another than that from the log");
}

static void print_answer(uint32_t shard, const struct core_outcome *outcome)
{
    struct driven_shard *driven = &site.shards[shard];
    struct answer answer;

    must(answer_from_log(driven->maker, driven->kv, core_batch(driven->core),
                         outcome->first_sequence, outcome->count, &answer, &err),
         "answer");
    struct answer *copy = answer_copy(&answer);
    if (copy == NULL)
        die("out of memory");
    check_made_from_batch(shard, outcome, copy);
    answer = *copy;
    if (answer.waits || bytes_equal_str(answer.reply_to, "-")) {
        free(copy);
        return;
    }
    json_t *headers = json_array();
    for (size_t i = 0; i < ANSWER_HEADERS; i++) {
        if (answer.headers[i].data != NULL)
            json_array_append_new(headers, json_pack("[s, o]", answer_header_names[i],
                                                     text_of(answer.headers[i])));
    }
    if (outcome->forwarded.data != NULL)
        json_array_append_new(headers, json_pack("[s, o]", "kinlog_forwarded",
                                                 text_of(outcome->forwarded)));
    if (outcome->result == CORE_REPEATED)
        json_array_append_new(headers, json_pack("[s, s]", "ce_repeated", "true"));
    json_t *topic = answer.reply_to.data != NULL ? text_of(answer.reply_to)
                                                 : json_string(site.replies);
    print("answer",
          json_pack("{s:i, s:o, s:i, s:o, s:o, s:o}", "shard", (int)shard, "topic", topic,
                    "partition", (int)shard, "key", to_base64(answer.key), "headers",
                    headers, "value", text_of(answer.value)));
    free(copy);
}

/* One answer, or that of each event which concludes something of its own. */
static void print_answers(uint32_t shard, const struct core_outcome *outcome)
{
    struct core_outcome each = *outcome;

    if (!outcome->each_alone) {
        print_answer(shard, outcome);
        return;
    }
    each.count = 1;
    for (uint32_t i = 0; i < outcome->count; i++, each.first_sequence++)
        print_answer(shard, &each);
}

static void print_dead_letter(const struct record *record, const char *reason)
{
    json_t *headers = header_list(record->headers, record->header_count);
    uint8_t digest[SHA256_SIZE];
    struct buf hex = BUF_INIT;

    sha256_once(record->value.data, record->value.size, digest);
    hex_append(&hex, digest, SHA256_SIZE);
    struct header added[] = {
        {bytes_str("kinlog_reason"), bytes_str(reason)},
        {bytes_str("kinlog_topic"), bytes_str(site.commands)},
        {bytes_str("kinlog_partition"), keep("%lld", record->partition, 0)},
        {bytes_str("kinlog_offset"), keep("%lld", record->offset, 0)},
        {bytes_str("kinlog_sha256"), buf_bytes(&hex)},
    };
    json_t *more = header_list(added, sizeof added / sizeof added[0]);
    json_array_extend(headers, more);
    json_decref(more);
    buf_release(&hex);
    print("dead_letter",
          json_pack("{s:i, s:I, s:o}", "from", (int)record->partition, "offset",
                    (json_int_t)record->offset, "headers", headers));
}

static void handle(uint32_t shard, const struct record *record)
{
    struct core *core = site.shards[shard].core;
    struct core_outcome outcome;
    size_t before, after;

    (void)core_events(core, &before);
    must(core_record(core, record, &outcome, &err), "record");
    print_events(shard, before);
    switch (outcome.result) {
    case CORE_FORWARD:
        forward(record, outcome.target);
        break;
    case CORE_DEAD_LETTER:
        print_dead_letter(record, outcome.reason);
        break;
    case CORE_NOTHING:
        break;
    case CORE_DECIDED:
        print_answers(shard, &outcome);
        break;
    case CORE_REPEATED:
        print_answer(shard, &outcome);
        print_followups_again(shard, &outcome);
        break;
    }
    const struct core_event *events = core_events(core, &after);
    for (size_t i = before; i < after; i++)
        print_followup(shard, &events[i].event);
}

static bool run_shard(uint32_t shard)
{
    struct driven_shard *driven = &site.shards[shard];
    bool any = driven->done < driven->count;

    while (driven->done < driven->count) {
        for (size_t i = 0; i < site.batch && driven->done < driven->count; i++) {
            struct record record = driven->queue[driven->done++].record;
            handle(shard, &record);
        }
        must(core_commit(driven->core, false, &err), "commit");
        core_next_batch(driven->core);
    }
    return any;
}

/* ---- operations -------------------------------------------------------------------- */

static void open_core(uint32_t shard)
{
    struct core_settings settings = {
        .identity = site.identity,
        .site_key = site.site_key,
        .commands_topic = site.commands,
        .replies_topic = site.replies,
        .reply_allow = site.allow,
        .reply_allow_count = site.allow_count,
    };
    settings.identity.shard = shard;
    struct epoch epoch = {1, "00000000000000000000000000000000"};

    must(core_open(site.shards[shard].kv, &settings, &site.shards[shard].core, &err),
         "open");
    core_set_epoch(site.shards[shard].core, &epoch);
}

static void close_all(void)
{
    for (uint32_t shard = 0; shard < site.identity.shards; shard++) {
        struct driven_shard *driven = &site.shards[shard];
        core_close(driven->core);
        answer_maker_free(driven->maker);
        kv_close(driven->kv);
        free(driven->queue);
    }
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
    for (uint32_t shard = 0; shard < site.identity.shards; shard++) {
        struct log_identity identity = site.identity;
        identity.shard = shard;
        must(kv_open_memory(&site.shards[shard].kv, &err), "memory store");
        open_core(shard);
        site.shards[shard].maker = answer_maker_new(&identity);
        site.shards[shard].next_offset = start;
        must(core_start_log(site.shards[shard].core, start, &err), "start");
        print_events(shard, 0);
        must(core_commit(site.shards[shard].core, false, &err), "commit");
        core_next_batch(site.shards[shard].core);
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

static void op_run(void)
{
    bool any;

    do {
        any = false;
        for (uint32_t shard = 0; shard < site.identity.shards; shard++)
            any = run_shard(shard) || any;
    } while (any);
}

static void reopen(bool rebuild)
{
    for (uint32_t shard = 0; shard < site.identity.shards; shard++) {
        core_close(site.shards[shard].core);
        if (rebuild)
            must(views_rebuild(site.shards[shard].kv, NULL, NULL, &err), "rebuild");
        open_core(shard);
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
            list, json_pack("{s:I, s:o, s:I, s:o, s:I, s:s, s:b, s:o, s:o, s:I, s:I}",
                            "ResourceID", (json_int_t)row.resource_id, "UniqueUserName",
                            text_of(row.unique_user_name), "RelationshipResourceID",
                            (json_int_t)row.relationship_resource_id, "ResourceName",
                            text_of(device.name), "ResourceClientType",
                            (json_int_t)device.client_type, "CreationTime", created,
                            "IsActive", row.is_active, "Sources",
                            number_list(row.sources, row.source_count), "Types",
                            number_list(row.types, row.type_count), "Version",
                            (json_int_t)row.version, "Shard", (json_int_t)shard));
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
    json_t *requests = json_array();

    for (uint32_t shard = 0; shard < site.identity.shards; shard++) {
        struct views *views = core_views(site.shards[shard].core);
        add_relationships(views, shard, relationships);
        add_devices(views, shard, devices);
        add_policy(views, shard, policy);
        add_associations(views, shard, associations);
        add_references(views, shard, references);
        add_requests(views, shard, requests);
    }
    print("views",
          json_pack("{s:o, s:o, s:o, s:o, s:o, s:o}", "relationships", relationships,
                    "devices", devices, "policy", policy, "associations", associations,
                    "references", references, "requests", requests));
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
