/* test_replay.c - the views are the fold of the log: replay = incremental, damage found,
 * rebuilt.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "events/event_log.h"
#include "tests/lib/decide_fixture.h"

#define COMMANDS 3000

/* xorshift32: the same commands on every machine for the same seed. */
static uint32_t draw(uint32_t *random, uint32_t below)
{
    *random ^= *random << 13;
    *random ^= *random >> 17;
    *random ^= *random << 5;
    return *random % below;
}

static void random_command(struct decide_fixture *fixture, uint32_t *random)
{
    uint32_t device = draw(random, 12) + 1;
    uint32_t user = draw(random, 6);
    uint32_t source = draw(random, 9) + 1;

    switch (draw(random, 16)) {
    case 0:
    case 1:
        run_format(fixture, "RegisterDevice", "{\"ResourceID\":%u,\"Name\":\"PC%u\"}",
                   device, user);
        break;
    case 2:
        run_format(fixture, "RemoveDevice", "{\"ResourceID\":%u}", device);
        break;
    case 3:
        run_format(fixture, "SetPolicy",
                   "{\"Name\":\"devices.unknown\",\"Value\":\"%s\"}",
                   user < 3 ? "stub" : "refuse");
        break;
    case 4:
    case 5:
        run_format(fixture, "AddSource",
                   "{\"ResourceID\":%u,\"UniqueUserName\":\"C\\\\u%u\",\"SourceId\":%u}",
                   device, user, source);
        break;
    case 6:
    case 7:
    case 8:
        run_format(
            fixture, "RemoveSource",
            "{\"ResourceID\":%u,\"UniqueUserName\":\"c\\\\U%u\",\"SourceId\":[%u,2,1]}",
            device, user, source);
        break;
    case 9:
        run_format(fixture, "RemoveType",
                   "{\"ResourceID\":%u,\"UniqueUserName\":\"c\\\\u%u\",\"TypeId\":1}",
                   device, user);
        break;
    case 10:
        run_format(fixture, "DeleteRelationship",
                   "{\"ResourceID\":%u,\"UniqueUserName\":\"c\\\\u%u\"}", device, user);
        break;
    default:
        run_format(
            fixture, "CreateRelationship",
            "{\"MachineResourceId\":%u,\"UserAccountName\":\"c\\\\u%u\",\"SourceId\":%u,"
            "\"TypeId\":1}",
            device, user, source);
        break;
    }
}

/* Some thousand random commands, committed in batches of random size. */
static void fill(struct decide_fixture *fixture)
{
    uint32_t random = 20260101;

    for (int i = 0; i < COMMANDS; i++) {
        fixture->next.time_ms += draw(&random, 1000);
        random_command(fixture, &random);
        if (draw(&random, 50) == 0)
            commit(fixture);
    }
    commit(fixture);
}

static struct kv *replay(struct decide_fixture *fixture)
{
    struct kv *shadow;

    if (views_replay(fixture->kv, NULL, NULL, &shadow, &fixture->err) != 0)
        fail_msg("%s", fixture->err.text);
    return shadow;
}

/* 0 = equal; else the text of the difference must hold `expected`. */
static void assert_compare(struct decide_fixture *fixture, struct kv *shadow,
                           const char *expected)
{
    struct buf difference = BUF_INIT;
    int code = views_compare(fixture->kv, shadow, &difference, &fixture->err);

    if (expected == NULL) {
        if (code != 0)
            fail_msg("%s %s", buf_cstr(&difference), fixture->err.text);
    } else {
        assert_int_equal(code, 1);
        if (strstr(buf_cstr(&difference), expected) == NULL)
            fail_msg("got \"%s\", expected \"%s\"", buf_cstr(&difference), expected);
    }
    buf_release(&difference);
}

struct progress {
    uint64_t calls, done, total;
};

static void count_progress(void *context, uint64_t done, uint64_t total)
{
    struct progress *progress = context;

    assert_true(done >= progress->done);
    progress->calls++;
    progress->done = done;
    progress->total = total;
}

/* A replay of the log gives the rows, receipts and digests that were kept along the way.
 * */
static void test_replay(void **state)
{
    struct decide_fixture *fixture = *state;
    struct progress progress = {0};
    struct views *views;
    struct kv *shadow;

    fill(fixture);
    assert_int_equal(
        views_replay(fixture->kv, count_progress, &progress, &shadow, &fixture->err), 0);
    assert_int_equal(progress.done, fixture->sequence);
    assert_int_equal(progress.total, fixture->sequence);
    assert_true(progress.calls >= fixture->sequence / 1000);
    assert_compare(fixture, shadow, NULL);
    assert_int_equal(views_open(shadow, NULL, &views, &fixture->err), 0);
    for (size_t view = 0; view < VIEWS; view++) {
        char kept[65], replayed[65];
        views_digest(fixture->views, (enum view)view, kept);
        views_digest(views, (enum view)view, replayed);
        assert_string_equal(kept, replayed);
    }
    views_close(views);
    kv_close(shadow);
}

/* The folding of an empty log is empty. */
static void test_replay_empty(void **state)
{
    struct decide_fixture *fixture = *state;
    struct kv *shadow = replay(fixture);

    assert_compare(fixture, shadow, NULL);
    kv_close(shadow);
}

static void put(struct decide_fixture *fixture, enum kv_space space, const void *key,
                size_t size, const char *row)
{
    struct bytes name = bytes_of(key, size);

    if (row != NULL)
        assert_int_equal(
            kv_batch_put(fixture->batch, space, name, bytes_str(row), &fixture->err), 0);
    else
        assert_int_equal(kv_batch_delete(fixture->batch, space, name, &fixture->err), 0);
    assert_int_equal(kv_batch_commit(fixture->batch, false, &fixture->err), 0);
}

/* Rows that are changed, missing or too many are named; a rebuild cures each. */
static void test_damage(void **state)
{
    static const uint8_t device[] = {'D', 0, 0, 0, 2};
    static const uint8_t strange[] = {'D', 0, 0, 0, 99};
    static const uint8_t receipt[16] = {0};
    static const uint8_t number[] = {'I', 0, 0, 0, 222};
    static char digest_row[16 * SHA256_SIZE + 1];
    static const struct {
        enum kv_space space;
        const void *key;
        size_t size;
        const char *row;
        const char *expected;
    } damages[] = {
        {KV_VIEWS, device, 5, "x", "views: device 2: the row differs"},
        {KV_VIEWS, device, 5, NULL, "views: device 2: missing"},
        {KV_VIEWS, strange, 5, "x",
         "views: device 99: the replay of the log does not have it"},
        {KV_VIEWS, number, 5, "x", "views: index of relationship 222: the row differs"},
        {KV_VIEWS, "S\xdd", 2, "x", "views: relationships created in slot 221: the row"},
        {KV_VIEWS, "R\0\0\0\1c\\u", 8, "012345678901x",
         "views: relationship 943271985 of device 1"},
        {KV_VIEWS, "Pdevices.unknown", 16, "x",
         "views: policy devices.unknown: the row differs"},
        {KV_VIEWS, "Z", 1, "x", "views: a row of unknown kind 0x5a: the replay"},
        {KV_RECEIPTS, receipt, 16, "x",
         "receipts: 00000000000000000000000000000000: the replay"},
        {KV_META, "digest/policy/0", 15, digest_row,
         "meta: the digest of policy differs"},
    };
    struct decide_fixture *fixture = *state;

    memset(digest_row, 'x', sizeof digest_row - 1);
    run(fixture, "SetPolicy", "{\"Name\":\"devices.unknown\",\"Value\":\"stub\"}");
    run(fixture, "RegisterDevice", "{\"ResourceID\":2,\"Name\":\"PC2\"}");
    run(fixture, "CreateRelationship",
        "{\"MachineResourceId\":1,\"UserAccountName\":\"c\\\\zed\",\"SourceId\":2}");
    commit(fixture);
    struct kv *shadow = replay(fixture);
    assert_compare(fixture, shadow, NULL);
    for (size_t i = 0; i < sizeof damages / sizeof damages[0]; i++) {
        put(fixture, damages[i].space, damages[i].key, damages[i].size, damages[i].row);
        assert_compare(fixture, shadow, damages[i].expected);
        assert_int_equal(views_rebuild(fixture->kv, NULL, NULL, &fixture->err), 0);
        assert_compare(fixture, shadow, NULL);
    }
    kv_close(shadow);
    /* The rebuilt views are as good as the first. */
    assert_int_equal(views_reload(fixture->views, &fixture->err), 0);
    run(fixture, "CreateRelationship",
        "{\"MachineResourceId\":1,\"UserAccountName\":\"c\\\\yan\",\"SourceId\":2}");
    commit(fixture);
    shadow = replay(fixture);
    assert_compare(fixture, shadow, NULL);
    kv_close(shadow);
}

/* An event in the log that does not fit ends the replay with its sequence. */
static void test_replay_misfit(void **state)
{
    struct decide_fixture *fixture = *state;
    struct kv *shadow = NULL;

    run(fixture, "RegisterDevice", "{\"ResourceID\":2,\"Name\":\"PC2\"}");
    struct event event = fixture->events[0];
    event.sequence = 2;
    event.causation_id = bytes_str("another");
    assert_int_equal(event_log_append(fixture->batch, &event, &fixture->err), 0);
    commit(fixture);
    assert_int_equal(views_replay(fixture->kv, NULL, NULL, &shadow, &fixture->err),
                     ERROR_CORRUPT);
    assert_non_null(strstr(fixture->err.text, "event 2 "));
    assert_null(shadow);
}

#define TEST(function)                                                                   \
    cmocka_unit_test_setup_teardown(function, decide_fixture_setup,                      \
                                    decide_fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_replay),
        TEST(test_replay_empty),
        TEST(test_damage),
        TEST(test_replay_misfit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
