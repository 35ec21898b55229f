/* test_core.c - records through the core, where the property tests do not come.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "agent/shard/answer.h"
#include "agent/shard/core.h"
#include "events/base/datetime.h"
#include "events/secret.h"

static const uint8_t site_key[SITE_KEY_SIZE] = {7};
static const struct core_settings settings = {
    .identity = {"00112233445566778899aabbccddeeff", "hq", 0, 1},
    .site_key = site_key,
    .commands_topic = "kinlog.commands",
    .replies_topic = "kinlog.replies",
};

struct fixture {
    struct kv *kv;
    struct core *core;
    int64_t offset;
    struct error err;
};

static int setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);

    assert_int_equal(kv_open_memory(&fixture->kv, &fixture->err), 0);
    assert_int_equal(core_open(fixture->kv, &settings, &fixture->core, &fixture->err), 0);
    assert_int_equal(core_start_log(fixture->core, 0, &fixture->err), 0);
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;

    core_close(fixture->core);
    kv_close(fixture->kv);
    free(fixture);
    return 0;
}

typedef int (*give_fn)(struct core *core, const struct record *record,
                       struct core_outcome *ret_outcome, struct error *err);

/* Gives a command of this type (without "kinlog."), id and timestamp. */
static struct core_outcome give(struct fixture *fixture, give_fn function,
                                const char *type, const char *data, const char *id,
                                int64_t timestamp_ms)
{
    struct header headers[] = {
        {bytes_str("ce_specversion"), bytes_str("1.0")},
        {bytes_str("ce_id"), bytes_str(id)},
        {bytes_str("ce_source"), bytes_str("/test")},
        {bytes_str("ce_type"), bytes_str(type)},
    };
    struct record record = {.offset = fixture->offset++,
                            .timestamp_ms = timestamp_ms,
                            .value = bytes_str(data),
                            .headers = headers,
                            .header_count = sizeof headers / sizeof headers[0]};
    struct core_outcome outcome;

    assert_int_equal(function(fixture->core, &record, &outcome, &fixture->err), 0);
    return outcome;
}

static struct core_outcome take_command(struct fixture *fixture, const char *type,
                                        const char *data, const char *id,
                                        int64_t timestamp_ms)
{
    return give(fixture, core_record, type, data, id, timestamp_ms);
}

/* A device is registered. */
static struct core_outcome take(struct fixture *fixture, const char *id,
                                int64_t timestamp_ms)
{
    return take_command(fixture, "RegisterDevice", "{\"ResourceID\":1}", id,
                        timestamp_ms);
}

static struct core_outcome recall(struct fixture *fixture, const char *id)
{
    return give(fixture, core_recall, "RegisterDevice", "{\"ResourceID\":1}", id,
                1780000000000);
}

/* A timestamp beyond the year 9999 is that year's end: an event's time is the same in the log and in the
 * topic, which has it as text. */
static void test_far_future(void **state)
{
    struct fixture *fixture = *state;
    const struct core_event *events;
    struct event parsed;
    size_t count;

    assert_int_equal(take(fixture, "one", INT64_MAX).result, CORE_DECIDED);
    events = core_events(fixture->core, &count);
    assert_int_equal(count, 2);
    assert_int_equal(events[1].event.time_ms, TIME_MS_MAX);
    assert_int_equal(
        event_parse(&settings.identity, &events[1].record, &parsed, &fixture->err), 0);
    assert_int_equal(parsed.time_ms, TIME_MS_MAX);
    assert_int_equal(core_head(fixture->core)->time_ms, TIME_MS_MAX);
}

/* What another owner took: only a repeat is told, and nothing is decided. */
static void test_recall(void **state)
{
    struct fixture *fixture = *state;
    const int64_t original = fixture->offset;
    struct core_outcome outcome;

    uint64_t first = take(fixture, "one", 1780000000000).first_sequence;
    uint64_t end = core_head(fixture->core)->sequence;
    fixture->offset = original;
    assert_int_equal(recall(fixture, "one").result, CORE_NOTHING);
    outcome = recall(fixture, "one");
    assert_int_equal(outcome.result, CORE_REPEATED);
    assert_int_equal(outcome.first_sequence, first);
    assert_int_equal(outcome.count, 1);
    assert_int_equal(recall(fixture, "two").result, CORE_NOTHING);
    assert_int_equal(recall(fixture, "").result, CORE_NOTHING);
    assert_int_equal(core_head(fixture->core)->sequence, end);
}

/* An answer is made of the events of one whole command; others are damage, not a want of memory. */
static void test_answer_of_other_events(void **state)
{
    struct fixture *fixture = *state;
    struct answer_maker *maker = answer_maker_new(&settings.identity, site_key);
    struct kv_batch *batch = core_batch(fixture->core);
    struct answer answer;
    struct error err = {0};

    struct core_outcome outcome = take(fixture, "one", 1780000000000);
    assert_int_equal(answer_from_log(maker, fixture->kv, batch, outcome.first_sequence, 1,
                                     &answer, &err),
                     0);
    assert_int_equal(answer_from_log(maker, fixture->kv, batch, 1, 1, &answer, &err),
                     ERROR_CORRUPT);
    error_clear(&err);
    assert_int_equal(answer_from_log(maker, fixture->kv, batch, outcome.first_sequence, 0,
                                     &answer, &err),
                     ERROR_CORRUPT);
    answer_maker_free(maker);
}

#define RECIPIENT "HPV5q6RaELodHvBtkfyiqp7QoRUFFWUxVUBdCxjLmmc"

/* The association's own id is the event before the key's. */
static void assert_holds_key(struct bytes answer, uint64_t sequence)
{
    const struct position migration = {0, sequence - 1}, given = {0, sequence};
    uint8_t recipient[RECIPIENT_SIZE], sealed[SEALED_KEY_SIZE];
    struct buf text = BUF_INIT, out = BUF_INIT;

    assert_true(recipient_parse(bytes_str(RECIPIENT), recipient));
    assert_int_equal(
        sealed_key_make(site_key, &migration, &given, recipient, sealed, NULL), 0);
    buf_append_str(&out, "\"Out\":{\"Key\":\"");
    base64url_append(&out, sealed, sizeof sealed);
    buf_append_str(&out, "\"}");
    buf_append_bytes(&text, answer);
    assert_non_null(strstr(buf_cstr(&text), buf_cstr(&out)));
    buf_release(&text);
    buf_release(&out);
}

/* Gives a key with event *ret_sequence, which is the batch's last. */
static void give_key(struct fixture *fixture, uint64_t *ret_sequence)
{
    static const char *const commands[][2] = {
        {"RegisterDevice", "{\"ResourceID\":1,\"Name\":\"A\"}"},
        {"SetPolicy", "{\"Name\":\"keys.recipients\",\"Value\":\"" RECIPIENT "\"}"},
        {"AddAssociation",
         "{\"SourceClientResourceID\":1,\"RestoreClientResourceID\":1}"},
        {"GetEncryptDecryptKey", "{\"SourceClientResourceID\":1,"
                                 "\"RestoreClientResourceID\":1,\"PublicKey\":"
                                 "\"" RECIPIENT "\"}"},
    };

    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        struct core_outcome outcome = take_command(
            fixture, commands[i][0], commands[i][1], commands[i][0], 1780000000000);
        assert_int_equal(outcome.result, CORE_DECIDED);
        *ret_sequence = outcome.first_sequence;
    }
}

/* A key is sealed anew for each answer, of the event alone: the batch and the log give the
 * same bytes. Without the site key there is no answer, and one that holds no key is as it
 * was. */
static void test_answer_with_key(void **state)
{
    struct fixture *fixture = *state;
    struct answer_maker *maker = answer_maker_new(&settings.identity, site_key);
    struct answer_maker *keyless = answer_maker_new(&settings.identity, NULL);
    struct answer first, again;
    struct error err = {0};
    uint64_t sequence;
    size_t count;

    give_key(fixture, &sequence);
    const struct core_event *event = &core_events(fixture->core, &count)[sequence - 1];
    answer_begin(maker);
    assert_int_equal(answer_add(maker, &event->event, event->data, &err), 0);
    assert_int_equal(answer_end(maker, &first, &err), 0);
    struct answer *kept = answer_copy(&first);
    struct kv_batch *batch = core_batch(fixture->core);
    assert_int_equal(
        answer_from_log(maker, fixture->kv, batch, sequence, 1, &again, &err), 0);
    assert_true(bytes_equal(again.value, kept->value));
    assert_holds_key(again.value, sequence);

    assert_int_equal(
        answer_from_log(keyless, fixture->kv, batch, sequence, 1, &again, &err),
        ERROR_NOT_FOUND);
    error_clear(&err);
    assert_int_equal(
        answer_from_log(keyless, fixture->kv, batch, sequence - 1, 1, &again, &err), 0);
    free(kept);
    answer_maker_free(keyless);
    answer_maker_free(maker);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_far_future, setup, teardown),
        cmocka_unit_test_setup_teardown(test_recall, setup, teardown),
        cmocka_unit_test_setup_teardown(test_answer_of_other_events, setup, teardown),
        cmocka_unit_test_setup_teardown(test_answer_with_key, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
