/* decide_fixture.c - see decide_fixture.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "tests/lib/decide_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "events/event_log.h"
#include "schemas/events.h"

static void reset_next(struct decide_fixture *fixture)
{
    int64_t time_ms = fixture->next.time_ms;
    int64_t record_time_ms = fixture->next.record_time_ms;

    fixture->next = (struct command){
        .time_ms = time_ms, .record_time_ms = record_time_ms, .shard = 0, .shards = 1};
    fixture->id = NULL;
    fixture->content_hash = NULL;
}

int decide_fixture_setup(void **state)
{
    struct decide_fixture *fixture = calloc(1, sizeof *fixture);

    assert_non_null(fixture);
    assert_int_equal(kv_open_memory(&fixture->kv, &fixture->err), 0);
    fixture->batch = kv_batch_new(fixture->kv);
    assert_non_null(fixture->batch);
    assert_int_equal(
        views_open(fixture->kv, fixture->batch, &fixture->views, &fixture->err), 0);
    fixture->next.time_ms = FIXTURE_TIME_MS;
    fixture->next.record_time_ms = FIXTURE_TIME_MS;
    reset_next(fixture);
    *state = fixture;
    return 0;
}

int decide_fixture_teardown(void **state)
{
    struct decide_fixture *fixture = *state;

    views_close(fixture->views);
    kv_batch_free(fixture->batch);
    kv_close(fixture->kv);
    arena_release(&fixture->arena);
    free(fixture);
    return 0;
}

const struct schema_entry *command_type(const char *name)
{
    for (const struct schema_entry *entry = schema_commands; entry->type != NULL;
         entry++) {
        if (strcmp(entry->name, name) == 0)
            return entry;
    }
    fail_msg("there is no command %s", name);
    return NULL;
}

const void *decode_command(struct decide_fixture *fixture,
                           const struct schema_entry *type, const char *json)
{
    struct codec_error fault;
    void *params = arena_alloc(&fixture->arena, type->struct_size);
    struct bytes text = arena_copy(&fixture->arena, bytes_str(json));

    assert_non_null(params);
    if (codec_decode(type->schema, CODEC_IGNORE_CASE, text, &fixture->arena, params,
                     &fault) != 0)
        fail_msg("%s: %s: %s", type->name, fault.pointer, fault.text);
    return params;
}

/* A stand-in for the content hash: like it, a function of the command's content. */
static struct bytes make_hash(struct decide_fixture *fixture, const char *name,
                              const char *json)
{
    struct buf text = BUF_INIT;
    uint8_t hash[SHA256_SIZE];

    buf_append_str(&text, name);
    buf_append_str(&text, json);
    sha256_once(text.data, text.size, hash);
    buf_clear(&text);
    base64url_append(&text, hash, 16);
    struct bytes kept = arena_copy(&fixture->arena, buf_bytes(&text));
    buf_release(&text);
    return kept;
}

static struct bytes make_id(struct decide_fixture *fixture)
{
    char text[32];

    snprintf(text, sizeof text, "id-%lld", (long long)fixture->offset);
    return arena_copy(&fixture->arena, bytes_str(text));
}

static void append_event(struct decide_fixture *fixture,
                         const struct decided_event *decided, struct event *event)
{
    struct buf json = BUF_INIT;

    assert_int_equal(codec_encode(decided->type->schema, decided->data, &json), 0);
    event->data = arena_copy(&fixture->arena, buf_bytes(&json));
    buf_release(&json);
    event->type = decided->type;
    event->key = decided->key;
    event->subject = decided->subject;
    event->sequence = ++fixture->sequence;
    int code = event_log_append(fixture->batch, event, &fixture->err);
    if (code == 0)
        code = views_apply(fixture->views, event, decided->data, &fixture->err);
    if (code != 0)
        fail_msg("%s", fixture->err.text);
}

void apply_decision(struct decide_fixture *fixture, const char *type)
{
    const struct decision *decision = &fixture->decision;
    struct bytes id = fixture->id != NULL ? bytes_str(fixture->id) : make_id(fixture);

    fixture->events =
        arena_alloc(&fixture->arena, (decision->count + 1) * sizeof fixture->events[0]);
    assert_non_null(fixture->events);
    for (size_t i = 0; i < decision->count; i++) {
        fixture->events[i] = (struct event){
            .time_ms = fixture->next.time_ms,
            .causation_id = id,
            .causation_source = bytes_str(FIXTURE_SOURCE),
            .has_command = true,
            .command_offset = fixture->offset,
            .index = (uint32_t)i + 1,
            .count = (uint32_t)decision->count,
            .content_hash = bytes_str(fixture->content_hash),
            .command_type = bytes_str(type),
        };
        append_event(fixture, &decision->events[i], &fixture->events[i]);
    }
}

void run(struct decide_fixture *fixture, const char *name, const char *json)
{
    const struct schema_entry *type = command_type(name);
    struct bytes hash;

    arena_reset(&fixture->arena);
    fixture->offset++;
    fixture->next.type = type;
    fixture->next.sequence = fixture->sequence + 1;
    fixture->next.source = bytes_str(FIXTURE_SOURCE);
    fixture->next.params = decode_command(fixture, type, json);
    struct param_fault fault = command_check(type, fixture->next.params, NULL);
    if (fault.text != NULL)
        fail_msg("%s: %s: %s", name, fault.parameter, fault.text);
    decision_init(&fixture->decision, &fixture->arena);
    if (decide(fixture->views, &fixture->next, &fixture->decision, &fixture->err) != 0)
        fail_msg("%s", fixture->err.text);
    if (fixture->content_hash == NULL) {
        hash = make_hash(fixture, name, json);
        char *text = arena_alloc(&fixture->arena, hash.size + 1);
        memcpy(text, hash.data, hash.size);
        fixture->content_hash = text;
    }
    apply_decision(fixture, type->type);
    reset_next(fixture);
}

void here(struct decide_fixture *fixture, const char *name, const char *json)
{
    fixture->next.shards = 2;
    fixture->next.from_agents = true;
    fixture->next.from_owner = true;
    run(fixture, name, json);
}

void run_format(struct decide_fixture *fixture, const char *name, const char *format, ...)
{
    char json[512];
    va_list arguments;

    va_start(arguments, format);
    int size = vsnprintf(json, sizeof json, format, arguments);
    va_end(arguments);
    assert_true(size > 0 && (size_t)size < sizeof json);
    run(fixture, name, json);
}

void commit(struct decide_fixture *fixture)
{
    assert_int_equal(views_flush(fixture->views, &fixture->err), 0);
    assert_int_equal(kv_batch_commit(fixture->batch, /* sync= */ false, &fixture->err),
                     0);
}

/* ---- what came of it --------------------------------------------------------------- */

static void assert_text(struct bytes text, const char *expected)
{
    if (expected == NULL) {
        assert_null(text.data);
        return;
    }
    assert_non_null(text.data);
    if (!bytes_equal_str(text, expected))
        fail_msg("got \"%.*s\", expected \"%s\"", (int)text.size, (const char *)text.data,
                 expected);
}

void assert_event_count(const struct decide_fixture *fixture, size_t count)
{
    assert_int_equal(fixture->decision.count, count);
}

void assert_event(const struct decide_fixture *fixture, size_t index, const char *type,
                  const char *key, const char *subject, const char *json)
{
    assert_true(index < fixture->decision.count);
    assert_string_equal(fixture->events[index].type->name, type);
    assert_text(fixture->events[index].key, key);
    assert_text(fixture->events[index].subject, subject);
    assert_text(fixture->events[index].data, json);
}

void assert_refused(const struct decide_fixture *fixture, int32_t return_value,
                    const char *parameter, uint64_t version)
{
    assert_event_count(fixture, 1);
    assert_string_equal(fixture->events[0].type->name, "CommandRejected");
    const struct command_rejected_v1 *data = fixture->decision.events[0].data;
    assert_int_equal(data->return_value, return_value);
    assert_text(data->outcome, "refused");
    assert_true(bytes_equal(data->command, fixture->events[0].command_type));
    assert_int_equal(data->has_version, version != 0);
    assert_int_equal(data->version, version);
    assert_true(data->has_extended_status);
    assert_int_equal(data->extended_status.status_code, return_value);
    assert_int_equal(data->extended_status.has_parameter_info, parameter != NULL);
    assert_text(data->extended_status.parameter_info, parameter);
    assert_true(data->extended_status.description.size > 0);
}

void assert_unchanged(const struct decide_fixture *fixture, const char *out,
                      uint64_t version, bool deprecated)
{
    assert_event_count(fixture, 1);
    assert_string_equal(fixture->events[0].type->name, "CommandUnchanged");
    const struct command_unchanged_v1 *data = fixture->decision.events[0].data;
    assert_text(data->out, out);
    assert_int_equal(data->has_version, version != 0);
    assert_int_equal(data->version, version);
    assert_int_equal(data->has_extended_status, deprecated);
    if (deprecated) {
        assert_int_equal(data->extended_status.status_code, 0);
        assert_text(data->extended_status.parameter_info, "SourceId");
        assert_text(data->extended_status.description, SOURCE_DEPRECATED_TEXT);
    }
}

enum request_state state_of(struct decide_fixture *fixture, uint64_t number)
{
    struct arena arena = ARENA_INIT;
    struct request request;

    assert_true(request_get(fixture->views, number, &arena, &request, &fixture->err) >=
                0);
    arena_release(&arena);
    return request.state;
}
