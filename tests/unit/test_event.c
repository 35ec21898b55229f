/* test_event.c - an event's three forms, and the chain over them. The golden files pin
 * what is published: a change there breaks every log that exists.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "events/event.h"
#include "events/event_log.h"

static const struct log_identity identity = {"00112233445566778899aabbccddeeff", "hq", 2,
                                             4};

static struct event full_event(void)
{
    return (struct event){
        .sequence = 1841,
        .type = event_type_find(bytes_str("kinlog.SourceAdded.v1")),
        .time_ms = 1780000000123,
        .key = bytes_str("device:16777222"),
        .subject = bytes_str("device/16777222/relationship/23"),
        .causation_id = bytes_str("c-1"),
        .causation_source = bytes_str("/hr"),
        .has_command = true,
        .command_offset = 77,
        .index = 1,
        .count = 2,
        .content_hash = bytes_str("AAAAAAAAAAAAAAAAAAAAAA"),
        .command_type = bytes_str("kinlog.AddSource.v1"),
        .actor = bytes_str("/people/7"),
        .correlation_id = bytes_str("corr"),
        .reply_to = bytes_str("my.replies"),
        .traceparent =
            bytes_str("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        .tracestate = bytes_str("a=b"),
        .data = bytes_str(
            "{\"RelationshipResourceID\":23,\"ResourceID\":16777222,"
            "\"UniqueUserName\":\"contoso\\\\lee\",\"SourceId\":4,\"Sources\":[2,4]}"),
    };
}

/* What LogStarted and the like look like: none of what may be absent. */
static struct event bare_event(void)
{
    return (struct event){
        .sequence = 1,
        .type = event_type_find(bytes_str("kinlog.LogStarted.v1")),
        .data = bytes_str("{}"),
    };
}

static void put_line(struct buf *out, const char *name, struct bytes value)
{
    if (value.data == NULL)
        return;
    buf_append_str(out, name);
    buf_append_str(out, ": ");
    buf_append_bytes(out, value);
    buf_append_byte(out, '\n');
}

static void as_text(const struct event_record *record, struct buf *out)
{
    put_line(out, "key", record->key);
    for (size_t i = 0; i < EVENT_HEADERS; i++)
        put_line(out, event_header_names[i], record->headers[i]);
    put_line(out, "data", record->data);
}

static void seal(struct event *event, struct arena *arena, struct event_record *record)
{
    struct sha256 *hasher = sha256_new();
    uint8_t start[SHA256_SIZE];

    chain_start(hasher, &identity, start);
    assert_int_equal(event_seal(&identity, hasher, start, event, arena, record), 0);
    sha256_free(hasher);
}

static void compare_golden(struct event event, const char *path)
{
    struct arena arena = ARENA_INIT;
    struct buf text = BUF_INIT;
    struct event_record record;
    char golden[4096];

    seal(&event, &arena, &record);
    as_text(&record, &text);
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    size_t size = fread(golden, 1, sizeof golden - 1, file);
    fclose(file);
    golden[size] = '\0';
    assert_string_equal(buf_cstr(&text), golden);
    buf_release(&text);
    arena_release(&arena);
}

/* The topic form, with every header and with none that may be absent, is what it always
 * was. */
static void test_golden(void **state)
{
    (void)state;
    compare_golden(full_event(), "tests/data/golden/event-full.txt");
    compare_golden(bare_event(), "tests/data/golden/event-bare.txt");
}

static void assert_same(const struct event *a, const struct event *b)
{
    struct buf one = BUF_INIT, other = BUF_INIT;

    assert_int_equal(a->sequence, b->sequence);
    event_encode(a, &one);
    event_encode(b, &other);
    assert_true(bytes_equal(buf_bytes(&one), buf_bytes(&other)));
    buf_release(&one);
    buf_release(&other);
}

/* Reading the topic form back gives the struct that it was made from. */
static void test_parse(void **state)
{
    struct event events[] = {full_event(), bare_event()};

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct arena arena = ARENA_INIT;
        struct event_record record;
        struct event back;
        struct error err = {0};
        seal(&events[i], &arena, &record);
        assert_int_equal(event_parse(&identity, &record, &back, &err), 0);
        assert_same(&events[i], &back);
        arena_release(&arena);
    }
}

/* Whatever an agent would not write is refused: each header replaced, left out, or added.
 * */
static void test_parse_refuses(void **state)
{
    static const struct {
        enum event_header_index header;
        const char *text;
    } wrong[] = {
        {EVENT_SPECVERSION, "1.1"},
        {EVENT_CONTENT_TYPE, NULL},
        {EVENT_ID, "3-1841"},
        {EVENT_ID, "2-01841"},
        {EVENT_ID, "2-0"},
        {EVENT_ID, NULL},
        {EVENT_SOURCE, "/kinlog/hq/other"},
        {EVENT_TYPE, "kinlog.Other.v1"},
        {EVENT_TIME, "2026-05-28T20:26:40.123+00:00"},
        {EVENT_TIME, "x"},
        {EVENT_COMMAND, "77;0/2;AAAAAAAAAAAAAAAAAAAAAA;t"},
        {EVENT_COMMAND, "77;3/2;AAAAAAAAAAAAAAAAAAAAAA;t"},
        {EVENT_COMMAND, "-1;1/2;A;t"},
        {EVENT_COMMAND, "77;1/2;t"},
        {EVENT_COMMAND, "9223372036854775807;1/2;A;t"}, /* there is a next offset */
        {EVENT_CHAIN, "AAAA"},
        {EVENT_CHAIN, NULL},
    };

    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct arena arena = ARENA_INIT;
        struct event event = full_event(), back;
        struct event_record record;
        struct error err = {0};
        seal(&event, &arena, &record);
        record.headers[wrong[i].header] = bytes_str(wrong[i].text);
        assert_true(event_parse(&identity, &record, &back, &err) < 0);
        assert_true(err.text[0] != '\0');
        arena_release(&arena);
    }
}

/* Every part of an event moves its chain: key, each header, data, sequence, the chain
 * before it. */
static void test_chain_covers_all(void **state)
{
    struct sha256 *hasher = sha256_new();
    struct arena arena = ARENA_INIT;
    struct event event = full_event();
    struct event_record record, other;
    uint8_t previous[SHA256_SIZE] = {1}, chain[SHA256_SIZE], changed[SHA256_SIZE];

    (void)state;
    seal(&event, &arena, &record);
    chain_next(hasher, previous, 5, &record, chain);
    for (size_t i = 0; i < EVENT_HEADERS; i++) {
        other = record;
        other.headers[i] = bytes_str("changed");
        chain_next(hasher, previous, 5, &other, changed);
        if (i == EVENT_CHAIN)
            assert_memory_equal(chain, changed, SHA256_SIZE);
        else
            assert_memory_not_equal(chain, changed, SHA256_SIZE);
    }
    other = record;
    other.key = BYTES_ABSENT;
    chain_next(hasher, previous, 5, &other, changed);
    assert_memory_not_equal(chain, changed, SHA256_SIZE);
    chain_next(hasher, previous, 6, &record, changed);
    assert_memory_not_equal(chain, changed, SHA256_SIZE);
    previous[0] = 2;
    chain_next(hasher, previous, 5, &record, changed);
    assert_memory_not_equal(chain, changed, SHA256_SIZE);
    sha256_free(hasher);
    arena_release(&arena);
}

/* A stored event that is cut short at any byte, or of another format, is named as
 * damaged. */
static void test_decode_damage(void **state)
{
    struct event event = full_event(), back;
    struct buf value = BUF_INIT;

    (void)state;
    event_encode(&event, &value);
    size_t head = value.size - event.data.size;
    for (size_t size = 0; size < head; size++) {
        struct error err = {0};
        /* of its own, so that reading past it is noticed */
        uint8_t *cut = malloc(size + 1);
        memcpy(cut, value.data, size);
        int code = event_decode(7, bytes_of(cut, size), &back, &err);
        assert_true(code == ERROR_CORRUPT || code == ERROR_VERSION);
        free(cut);
    }
    struct error err = {0};
    value.data[0] = 2;
    assert_int_equal(event_decode(7, buf_bytes(&value), &back, &err), ERROR_VERSION);
    buf_release(&value);
}

/* Writes a number into a stored event, big-endian, and decodes it. */
static int decode_changed(struct buf *value, size_t offset, size_t size, uint64_t number)
{
    struct event back;
    struct error err = {0};

    for (size_t i = size; i-- > 0; number >>= 8)
        value->data[offset + i] = (uint8_t)(number & 0xff);
    return event_decode(7, buf_bytes(value), &back, &err);
}

/* A stored event that could not be published as the same event is damaged: a time beyond what can be
 * written, a place beyond its command, a text whose length is written longer than need be. */
static void test_decode_misfits(void **state)
{
    enum {
        TIME = 1 + SHA256_SIZE,
        OFFSET = TIME + 8,
        INDEX = OFFSET + 8,
        COUNT = INDEX + 4
    };
    struct event event = full_event(), bare = bare_event();
    struct buf value = BUF_INIT;

    (void)state;
    assert_int_equal(event_encode(&event, &value), 0);
    assert_int_equal(decode_changed(&value, TIME, 8, 253402300800000), ERROR_CORRUPT);
    assert_int_equal(decode_changed(&value, TIME, 8, 253402300799999), 0);
    assert_int_equal(decode_changed(&value, OFFSET, 8, UINT64_MAX), ERROR_CORRUPT);
    assert_int_equal(decode_changed(&value, OFFSET, 8, UINT64_C(1) << 63), ERROR_CORRUPT);
    assert_int_equal(decode_changed(&value, OFFSET, 8, 78), 0);
    assert_int_equal(decode_changed(&value, INDEX, 4, 0), ERROR_CORRUPT);
    assert_int_equal(decode_changed(&value, INDEX, 4, 3), ERROR_CORRUPT);
    assert_int_equal(decode_changed(&value, INDEX, 4, 2), 0);
    assert_int_equal(decode_changed(&value, OFFSET, 8, 0), ERROR_CORRUPT);
    buf_clear(&value);
    event.content_hash = bytes_str("a;b");
    assert_int_equal(event_encode(&event, &value), 0);
    assert_int_equal(decode_changed(&value, COUNT, 4, 2), ERROR_CORRUPT);
    buf_clear(&value);
    assert_int_equal(event_encode(&bare, &value), 0);
    assert_int_equal(decode_changed(&value, COUNT, 4, 0), 0);
    assert_int_equal(decode_changed(&value, COUNT, 4, 1), ERROR_CORRUPT);
    /* The last attribute, absent, in two bytes. */
    buf_clear(&value);
    bare.data = bytes_str("");
    assert_int_equal(event_encode(&bare, &value), 0);
    value.data[value.size - 1] = 0x80;
    buf_append_byte(&value, 0);
    assert_int_equal(decode_changed(&value, COUNT, 4, 0), ERROR_CORRUPT);
    buf_release(&value);
}

/* A log with a hole is damaged, and the hole is named. */
static void test_log_hole(void **state)
{
    struct error err = {0};
    struct kv *kv;
    struct event_scan *scan;
    struct event event = bare_event();
    uint64_t last;

    (void)state;
    assert_int_equal(kv_open_memory(&kv, &err), 0);
    struct kv_batch *batch = kv_batch_new(kv);
    for (uint64_t sequence = 1; sequence <= 4; sequence += sequence == 1 ? 1 : 2) {
        event.sequence = sequence;
        assert_int_equal(event_log_append(batch, &event, &err), 0);
    }
    assert_int_equal(kv_batch_commit(batch, false, &err), 0);
    assert_int_equal(event_log_last(kv, &last, &err), 0);
    assert_int_equal(last, 4);
    assert_int_equal(event_scan_open(kv, NULL, 1, UINT64_MAX, &scan, &err), 0);
    assert_int_equal(event_scan_next(scan, &event, &err), 0);
    assert_int_equal(event_scan_next(scan, &event, &err), 0);
    assert_int_equal(event_scan_next(scan, &event, &err), ERROR_CORRUPT);
    assert_non_null(strstr(err.text, "event 3"));
    event_scan_close(scan);
    kv_batch_free(batch);
    kv_close(kv);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden),        cmocka_unit_test(test_parse),
        cmocka_unit_test(test_parse_refuses), cmocka_unit_test(test_chain_covers_all),
        cmocka_unit_test(test_decode_damage), cmocka_unit_test(test_decode_misfits),
        cmocka_unit_test(test_log_hole),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
