/* test_digest.c - digests: equal for equal rows, whatever the way there, and kept across
 * a reopening.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/lib/decide_fixture.h"

static void digests_of(const struct views *views, char ret_hex[VIEWS][65])
{
    for (size_t view = 0; view < VIEWS; view++)
        views_digest(views, (enum view)view, ret_hex[view]);
}

/* The definition, computed from the committed rows whose keys begin with one of `kinds`
 * (NULL = all). */
static void digest_by_definition(struct decide_fixture *fixture, enum kv_space space,
                                 const char *kinds, char ret_hex[65])
{
    static uint8_t buckets[256][SHA256_SIZE];
    struct kv_cursor *cursor;
    struct bytes key, row;
    struct buf text = BUF_INIT;
    uint8_t hash[SHA256_SIZE];

    memset(buckets, 0, sizeof buckets);
    assert_int_equal(kv_cursor_open(fixture->kv, NULL, space, bytes_of("", 0),
                                    BYTES_ABSENT, &cursor, &fixture->err),
                     0);
    while (kv_cursor_next(cursor, &key, &row, &fixture->err) == 0) {
        if (kinds != NULL && memchr(kinds, key.data[0], strlen(kinds)) == NULL)
            continue;
        sha256_once(key.data, key.size, hash);
        uint8_t *bucket = buckets[hash[0]];
        buf_clear(&text);
        buf_append_bytes(&text, key);
        buf_append_bytes(&text, row);
        sha256_once(text.data, text.size, hash);
        unsigned carry = 0;
        for (int i = SHA256_SIZE - 1; i >= 0; i--) {
            carry += bucket[i] + hash[i];
            bucket[i] = (uint8_t)carry;
            carry >>= 8;
        }
    }
    kv_cursor_close(cursor);
    sha256_once(buckets, sizeof buckets, hash);
    buf_clear(&text);
    hex_append(&text, hash, sizeof hash);
    memcpy(ret_hex, buf_cstr(&text), 65);
    buf_release(&text);
}

static void fill(struct decide_fixture *fixture)
{
    run(fixture, "SetPolicy", "{\"Name\":\"devices.unknown\",\"Value\":\"stub\"}");
    for (int i = 1; i <= 300; i++)
        run_format(
            fixture, "CreateRelationship",
            "{\"MachineResourceId\":%d,\"UserAccountName\":\"c\\\\u%d\",\"SourceId\":2}",
            i % 10 + 1, i);
    for (int i = 1; i <= 300; i += 3)
        run_format(fixture, "DeleteRelationship",
                   "{\"ResourceID\":%d,\"UniqueUserName\":\"c\\\\u%d\"}", i % 10 + 1, i);
    run(fixture, "SetPolicy", "{\"Name\":\"usage.minutes\",\"Value\":\"15\"}");
    run(fixture, "SetPolicy", "{\"Name\":\"usage.days\",\"Value\":\"7\"}");
    for (int i = 1; i <= 30; i++)
        run_format(fixture, "ReportUsage",
                   "{\"ResourceID\":%d,\"UniqueUserName\":\"c\\\\u%d\",\"Start\":"
                   "\"2025-12-30T08:00:00Z\",\"Minutes\":%d,\"Count\":1}",
                   i % 10 + 1, i, i);
    run(fixture, "RemoveDevice", "{\"ResourceID\":3}");
}

/* What is kept row by row is what the definition gives of all rows at once. */
static void test_definition(void **state)
{
    static const struct {
        enum view view;
        enum kv_space space;
        const char *kinds;
    } spaces[] = {
        {VIEW_DEVICES, KV_VIEWS, "D"}, {VIEW_RELATIONSHIPS, KV_VIEWS, "RIS"},
        {VIEW_POLICY, KV_VIEWS, "P"},  {VIEW_TIMERS, KV_VIEWS, "T"},
        {VIEW_USAGE, KV_VIEWS, "U"},   {VIEW_RECEIPTS, KV_RECEIPTS, NULL},
    };
    struct decide_fixture *fixture = *state;
    char kept[65], defined[65];

    fill(fixture);
    commit(fixture);
    for (size_t i = 0; i < sizeof spaces / sizeof spaces[0]; i++) {
        views_digest(fixture->views, spaces[i].view, kept);
        digest_by_definition(fixture, spaces[i].space, spaces[i].kinds, defined);
        assert_string_equal(kept, defined);
    }
}

/* Digests are read back at opening; uncommitted changes are forgotten by a reload. */
static void test_open_and_reload(void **state)
{
    struct decide_fixture *fixture = *state;
    struct views *again;
    char before[VIEWS][65], after[VIEWS][65];

    fill(fixture);
    commit(fixture);
    digests_of(fixture->views, before);
    assert_int_equal(views_open(fixture->kv, /* batch= */ NULL, &again, &fixture->err),
                     0);
    digests_of(again, after);
    assert_memory_equal(before, after, sizeof before);
    assert_int_equal(views_flush(again, &fixture->err), ERROR_USAGE);
    error_clear(&fixture->err);
    views_close(again);

    run(fixture, "RegisterDevice", "{\"ResourceID\":77,\"Name\":\"new\"}");
    digests_of(fixture->views, after);
    assert_memory_not_equal(before[VIEW_DEVICES], after[VIEW_DEVICES], 65);
    assert_memory_not_equal(before[VIEW_RECEIPTS], after[VIEW_RECEIPTS], 65);
    assert_memory_equal(before[VIEW_RELATIONSHIPS], after[VIEW_RELATIONSHIPS], 65);
    kv_batch_clear(fixture->batch);
    assert_int_equal(views_reload(fixture->views, &fixture->err), 0);
    digests_of(fixture->views, after);
    assert_memory_equal(before, after, sizeof before);
}

/* A view that becomes empty again has the digest of an empty one, and no rows in KV_META.
 * */
static void test_empty_again(void **state)
{
    struct decide_fixture *fixture = *state;
    struct kv_cursor *cursor;
    struct bytes key, row;
    char empty[65], digest[65];

    views_digest(fixture->views, VIEW_DEVICES, empty);
    for (int i = 1; i <= 50; i++)
        run_format(fixture, "RegisterDevice", "{\"ResourceID\":%d,\"Name\":\"PC\"}", i);
    commit(fixture);
    for (int i = 50; i >= 1; i--)
        run_format(fixture, "RemoveDevice", "{\"ResourceID\":%d}", i);
    commit(fixture);
    views_digest(fixture->views, VIEW_DEVICES, digest);
    assert_string_equal(digest, empty);
    assert_int_equal(kv_cursor_open(fixture->kv, NULL, KV_META,
                                    bytes_str("digest/devices/"),
                                    bytes_str("digest/devices0"), &cursor, &fixture->err),
                     0);
    assert_int_equal(kv_cursor_next(cursor, &key, &row, &fixture->err), 1);
    kv_cursor_close(cursor);
}

/* A digest row that is malformed is found at opening, and gone after a rebuild. */
static void test_malformed(void **state)
{
    static char whole[16 * SHA256_SIZE + 1];
    static const struct {
        const char *key, *row;
    } rows[] = {{"digest/devices/", whole},   {"digest/devices/z", whole},
                {"digest/devices/A", whole},  {"digest/nothing/0", whole},
                {"digest/devices/00", whole}, {"digest/devices/0", "short"}};
    struct decide_fixture *fixture = *state;
    struct views *again;

    memset(whole, 'x', sizeof whole - 1);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_int_equal(kv_batch_put(fixture->batch, KV_META, bytes_str(rows[i].key),
                                      bytes_str(rows[i].row), &fixture->err),
                         0);
        assert_int_equal(kv_batch_commit(fixture->batch, false, &fixture->err), 0);
        assert_int_equal(views_open(fixture->kv, NULL, &again, &fixture->err),
                         ERROR_CORRUPT);
        error_clear(&fixture->err);
        assert_int_equal(views_rebuild(fixture->kv, NULL, NULL, &fixture->err), 0);
        assert_int_equal(views_open(fixture->kv, NULL, &again, &fixture->err), 0);
        views_close(again);
    }
}

#define TEST(function)                                                                   \
    cmocka_unit_test_setup_teardown(function, decide_fixture_setup,                      \
                                    decide_fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_definition),
        TEST(test_open_and_reload),
        TEST(test_empty_again),
        TEST(test_malformed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
