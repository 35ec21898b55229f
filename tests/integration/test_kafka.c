/* test_kafka.c - sources, sinks, settings and topics against the embedded broker.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "agent/kafka/kafka.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>

#define PRODUCE 0 /* ApiKey */
#define WAIT_MS 10000
#define REPORTS_MAX 512

/* One broker for all tests, since closing it takes a second; each test has topics of its
 * own. */
static struct embedded_broker *shared_broker;

struct fixture {
    struct topic_names names;
    char name_texts[5][32];
    rd_kafka_mock_cluster_t *mock;
    bool is_down;
    struct kafka_property bootstrap;
    struct kafka_settings settings;
    struct error err;
    struct delivery reports[REPORTS_MAX];
    size_t report_count;
};

static int64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void on_delivery(void *context, const struct delivery *delivery)
{
    struct fixture *fixture = context;

    assert_true(fixture->report_count < REPORTS_MAX);
    fixture->reports[fixture->report_count++] = *delivery;
}

static void name_topics(struct fixture *fixture)
{
    static const char *const ends[] = {"commands", "events", "replies", "dead-letters",
                                       "storage"};
    static unsigned number;

    number++;
    for (size_t i = 0; i < 5; i++)
        snprintf(fixture->name_texts[i], sizeof(fixture->name_texts[i]), "t%u.%s", number,
                 ends[i]);
    fixture->names.commands = fixture->name_texts[0];
    fixture->names.events = fixture->name_texts[1];
    fixture->names.replies = fixture->name_texts[2];
    fixture->names.dead_letters = fixture->name_texts[3];
    fixture->names.storage = fixture->name_texts[4];
}

/* A call to the mock that follows another one at once takes a second. */
static void leave_a_moment(void)
{
    const struct timespec moment = {0, 2000000};

    nanosleep(&moment, NULL);
}

static int set_up(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));

    name_topics(fixture);
    fixture->mock = embedded_broker_mock(shared_broker);
    for (size_t i = 0; i < 5; i++) {
        leave_a_moment();
        if (rd_kafka_mock_topic_create(fixture->mock, fixture->name_texts[i], 4, 1))
            return -1;
    }
    fixture->bootstrap.name = "bootstrap.servers";
    fixture->bootstrap.value = embedded_broker_bootstrap(shared_broker);
    fixture->bootstrap.origin = "test.conf:1";
    fixture->settings.common = &fixture->bootstrap;
    fixture->settings.common_count = 1;
    fixture->settings.client_id = "kinlog-test";
    fixture->settings.group_id = "t.test";
    fixture->settings.embedded = true;
    *state = fixture;
    return 0;
}

static void broker_down(struct fixture *fixture)
{
    leave_a_moment();
    rd_kafka_mock_broker_set_down(fixture->mock, 1);
    fixture->is_down = true;
}

/* Only after broker_down(): the mock would listen twice. */
static void broker_up(struct fixture *fixture)
{
    leave_a_moment();
    rd_kafka_mock_broker_set_up(fixture->mock, 1);
    fixture->is_down = false;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;

    if (fixture->is_down)
        broker_up(fixture);
    rd_kafka_mock_clear_request_errors(fixture->mock, PRODUCE);
    free(fixture);
    return 0;
}

static int open_shared(void **state)
{
    static const struct topic_names none;
    struct error err = {0};

    (void)state;
    if (embedded_broker_open(0, &none, 4, &shared_broker, &err) == 0)
        return 0;
    print_error("%s\n", err.text);
    return -1;
}

static int close_shared(void **state)
{
    (void)state;
    embedded_broker_close(shared_broker);
    return 0;
}

/* Fails the test with the error's own text. */
static void check_ok(int result, const struct error *err)
{
    if (result != 0)
        fail_msg("%d: %s", result, err->text);
}

static struct sink *open_sink(struct fixture *fixture, enum sink_role role, int wake_fd)
{
    struct sink *sink = NULL;

    check_ok(sink_open(&fixture->settings, role, 0, wake_fd, on_delivery, fixture, &sink,
                       &fixture->err),
             &fixture->err);
    return sink;
}

static struct source *open_source(struct fixture *fixture, const char *topic,
                                  int32_t partition)
{
    struct source *source = NULL;

    check_ok(
        source_open(&fixture->settings, topic, partition, -1, &source, &fixture->err),
        &fixture->err);
    return source;
}

/* As open_sink(), and makes the topics known: else the first message takes a second. */
static struct sink *open_warm_sink(struct fixture *fixture, enum sink_role role,
                                   int wake_fd)
{
    struct sink *sink = open_sink(fixture, role, wake_fd);
    int32_t partitions = 0;

    for (size_t i = 0; i < 5; i++)
        check_ok(
            sink_topic(sink, fixture->name_texts[i], WAIT_MS, &partitions, &fixture->err),
            &fixture->err);
    assert_int_equal(partitions, 4);
    return sink;
}

static int send_text(struct sink *sink, const char *topic, const char *text, uint64_t tag,
                     struct error *err)
{
    return sink_send(sink, topic, 0, BYTES_ABSENT, bytes_str(text), NULL, 0, -1, tag,
                     err);
}

/* Sends count records with tags from first on and waits for their reports. */
static void send_many(struct fixture *fixture, const char *topic, uint64_t first,
                      size_t count)
{
    struct sink *sink = open_warm_sink(fixture, SINK_OUTBOX, -1);

    for (size_t i = 0; i < count; i++) {
        char text[32];

        snprintf(text, sizeof(text), "record %zu", (size_t)first + i);
        check_ok(send_text(sink, topic, text, first + i, &fixture->err), &fixture->err);
    }
    check_ok(sink_flush(sink, WAIT_MS, &fixture->err), &fixture->err);
    sink_close(sink);
}

/* Polls until count reports have come or the sink has failed, at most timeout_ms. */
static void await_reports(struct fixture *fixture, struct sink *sink, size_t count,
                          int timeout_ms)
{
    int64_t deadline_ms = now_ms() + timeout_ms;

    while (fixture->report_count < count && !sink_failed(sink, NULL) &&
           now_ms() < deadline_ms)
        sink_poll(sink, 20);
}

static bool await_failure(struct sink *sink, struct error *err)
{
    int64_t deadline_ms = now_ms() + WAIT_MS;

    while (!sink_failed(sink, err) && now_ms() < deadline_ms)
        sink_poll(sink, 20);
    return sink_failed(sink, err);
}

static const struct record *await_record(struct fixture *fixture, struct source *source)
{
    const struct record *records;
    size_t count = 0;

    check_ok(source_poll(source, WAIT_MS, 1, &records, &count, NULL, &fixture->err),
             &fixture->err);
    assert_int_equal(count, 1);
    return records;
}

/* Reads until count records have come; they must be dense from first on. */
static void await_dense(struct fixture *fixture, struct source *source, int64_t first,
                        size_t count, size_t max)
{
    int64_t next = first, deadline_ms = now_ms() + WAIT_MS;

    while (next < first + (int64_t)count && now_ms() < deadline_ms) {
        const struct record *records;
        size_t got = 0, missing = (size_t)(first + (int64_t)count - next);
        size_t ask = missing < max ? missing : max;

        check_ok(source_poll(source, 1000, ask, &records, &got, NULL, &fixture->err),
                 &fixture->err);
        assert_true(got <= ask);
        for (size_t i = 0; i < got; i++)
            assert_int_equal(records[i].offset, next++);
    }
    assert_int_equal(next, first + (int64_t)count);
}

/* ---- round trip -------------------------------------------------------------------- */

/* Keys, values and headers come back as they were sent: binary, empty, absent, twice, in
 * order. */
static void test_round_trip(void **state)
{
    static const uint8_t binary[] = {0, 255, 0, 10, 128};
    struct fixture *fixture = *state;
    struct sink *sink = open_warm_sink(fixture, SINK_OUTBOX, -1);
    struct source *source = open_source(fixture, fixture->names.commands, 0);
    const struct header headers[] = {
        {bytes_str("ce_id"), bytes_str("1-2")},
        {bytes_str("ce_id"), bytes_of(binary, sizeof(binary))},
        {bytes_str("empty"), bytes_of("", 0)},
        {bytes_str("absent"), BYTES_ABSENT},
        {bytes_of("", 0), bytes_str("no name")},
    };
    const struct record *record;

    check_ok(sink_send(sink, fixture->names.commands, 0, bytes_of(binary, sizeof(binary)),
                       bytes_of(binary, 3), headers, 5, 1700000000123, 1, &fixture->err),
             &fixture->err);
    check_ok(sink_send(sink, fixture->names.commands, 0, BYTES_ABSENT, BYTES_ABSENT, NULL,
                       0, -1, 2, &fixture->err),
             &fixture->err);
    check_ok(sink_send(sink, fixture->names.commands, 0, bytes_of("", 0), bytes_of("", 0),
                       NULL, 0, -1, 3, &fixture->err),
             &fixture->err);
    check_ok(sink_flush(sink, WAIT_MS, &fixture->err), &fixture->err);
    check_ok(source_start(source, 0, &fixture->err), &fixture->err);

    record = await_record(fixture, source);
    assert_int_equal(record->partition, 0);
    assert_int_equal(record->offset, 0);
    assert_int_equal(record->timestamp_ms, 1700000000123);
    assert_true(bytes_equal(record->key, bytes_of(binary, sizeof(binary))));
    assert_true(bytes_equal(record->value, bytes_of(binary, 3)));
    assert_int_equal(record->header_count, 5);
    for (size_t i = 0; i < 5; i++) {
        assert_true(bytes_equal(record->headers[i].name, headers[i].name));
        assert_true(bytes_equal(record->headers[i].value, headers[i].value));
    }

    record = await_record(fixture, source);
    assert_true(bytes_equal(record->key, BYTES_ABSENT));
    assert_true(bytes_equal(record->value, BYTES_ABSENT));
    assert_int_equal(record->header_count, 0);
    assert_true(record->timestamp_ms > 1700000000123);

    record = await_record(fixture, source);
    assert_true(bytes_equal(record->key, bytes_of("", 0)));
    assert_true(bytes_equal(record->value, bytes_of("", 0)));
    source_close(source);
    sink_close(sink);
}

/* Delivery reports carry the tag, the partition and the offset, in order, and count down
 * what is pending. */
static void test_delivery_reports(void **state)
{
    struct fixture *fixture = *state;
    struct sink *sink = open_warm_sink(fixture, SINK_LOG, -1);

    for (uint64_t i = 0; i < 100; i++)
        check_ok(sink_send(sink, fixture->names.events, 3, bytes_str("key"),
                           bytes_str("value"), NULL, 0, -1, UINT64_MAX - i,
                           &fixture->err),
                 &fixture->err);
    assert_int_equal(sink_pending(sink), 100);
    await_reports(fixture, sink, 100, WAIT_MS);
    assert_int_equal(fixture->report_count, 100);
    for (uint64_t i = 0; i < 100; i++) {
        assert_true(fixture->reports[i].tag == UINT64_MAX - i);
        assert_int_equal(fixture->reports[i].partition, 3);
        assert_int_equal(fixture->reports[i].offset, i);
        assert_int_equal(fixture->reports[i].code, 0);
    }
    assert_int_equal(sink_pending(sink), 0);
    assert_false(sink_failed(sink, NULL));
    sink_close(sink);
}

/* The wake descriptor becomes readable when records come, and when reports come. */
static void test_wake_descriptor(void **state)
{
    struct fixture *fixture = *state;
    int source_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    int sink_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    struct sink *sink = open_warm_sink(fixture, SINK_LOG, sink_fd);
    struct source *source = NULL;
    struct pollfd waits[2] = {{source_fd, POLLIN, 0}, {sink_fd, POLLIN, 0}};
    size_t seen = 0;
    int64_t deadline_ms = now_ms() + WAIT_MS;

    check_ok(source_open(&fixture->settings, fixture->names.events, 0, source_fd, &source,
                         &fixture->err),
             &fixture->err);
    check_ok(source_start(source, 0, &fixture->err), &fixture->err);
    for (uint64_t i = 0; i < 20; i++)
        check_ok(send_text(sink, fixture->names.events, "x", i, &fixture->err),
                 &fixture->err);
    while ((seen < 20 || fixture->report_count < 20) && now_ms() < deadline_ms) {
        uint64_t ignored;

        assert_true(poll(waits, 2, WAIT_MS) > 0);
        if ((waits[0].revents & POLLIN) &&
            read(source_fd, &ignored, sizeof(ignored)) > 0) {
            const struct record *records;
            size_t count;

            do {
                check_ok(source_poll(source, 0, 5, &records, &count, NULL, &fixture->err),
                         &fixture->err);
                seen += count;
            } while (count > 0);
        }
        if ((waits[1].revents & POLLIN) && read(sink_fd, &ignored, sizeof(ignored)) > 0)
            while (sink_poll(sink, 0) > 0)
                continue;
    }
    assert_int_equal(seen, 20);
    assert_int_equal(fixture->report_count, 20);
    source_close(source);
    sink_close(sink);
    close(source_fd);
    close(sink_fd);
}

/* ---- reading ----------------------------------------------------------------------- */

/* Watermarks are the first offset and the next one to be written; a partition that does
 * not exist is not found. */
static void test_watermarks(void **state)
{
    struct fixture *fixture = *state;
    struct source *source = open_source(fixture, fixture->names.events, 0);
    struct source *wrong = open_source(fixture, fixture->names.events, 4);
    int64_t low = -1, high = -1;

    check_ok(source_watermarks(source, WAIT_MS, &low, &high, &fixture->err),
             &fixture->err);
    assert_int_equal(low, 0);
    assert_int_equal(high, 0);
    send_many(fixture, fixture->names.events, 0, 7);
    check_ok(source_watermarks(source, WAIT_MS, &low, &high, &fixture->err),
             &fixture->err);
    assert_int_equal(low, 0);
    assert_int_equal(high, 7);
    assert_int_equal(source_watermarks(wrong, WAIT_MS, &low, &high, &fixture->err),
                     ERROR_NOT_FOUND);
    source_close(source);
    source_close(wrong);
}

/* Reading begins at exactly the offset asked for, forwards and backwards, whatever was
 * prefetched from the old position. */
static void test_start_at_offset(void **state)
{
    struct fixture *fixture = *state;
    struct source *source = open_source(fixture, fixture->names.events, 0);

    send_many(fixture, fixture->names.events, 0, 400);
    check_ok(source_start(source, 150, &fixture->err), &fixture->err);
    await_dense(fixture, source, 150, 40, 7);
    check_ok(source_start(source, 10, &fixture->err), &fixture->err);
    await_dense(fixture, source, 10, 390, 50);
    for (int64_t i = 0; i < 20; i++) {
        int64_t offset = (i * 131) % 395;

        check_ok(source_start(source, offset, &fixture->err), &fixture->err);
        await_dense(fixture, source, offset, 3, 1);
    }
    source_close(source);
}

/* One record is read by its offset; outside of what the partition holds there is none. */
static void test_read_one(void **state)
{
    struct fixture *fixture = *state;
    struct source *source = open_source(fixture, fixture->names.events, 0);
    const struct record *record = NULL;

    assert_int_equal(source_read_one(source, 0, WAIT_MS, &record, &fixture->err), 1);
    send_many(fixture, fixture->names.events, 0, 10);
    check_ok(source_read_one(source, 7, WAIT_MS, &record, &fixture->err), &fixture->err);
    assert_int_equal(record->offset, 7);
    assert_true(bytes_equal_str(record->value, "record 7"));
    check_ok(source_read_one(source, 0, WAIT_MS, &record, &fixture->err), &fixture->err);
    assert_true(bytes_equal_str(record->value, "record 0"));
    assert_int_equal(source_read_one(source, 10, WAIT_MS, &record, &fixture->err), 1);
    assert_int_equal(source_read_one(source, -1, WAIT_MS, &record, &fixture->err), 1);
    check_ok(source_start(source, 8, &fixture->err), &fixture->err);
    await_dense(fixture, source, 8, 2, 100);
    source_close(source);
}

/* An offset that was evicted, or lies beyond the end, is an error that stays until the
 * source is started elsewhere. */
static void test_lost_offsets(void **state)
{
    struct fixture *fixture = *state;
    struct source *source = open_source(fixture, fixture->names.events, 0);
    struct sink *sink = open_warm_sink(fixture, SINK_OUTBOX, -1);
    uint8_t *large = malloc(700000);
    const struct record *records;
    size_t count;
    int64_t low = 0, high = 0;
    uint32_t random = 1;

    for (size_t i = 0; i < 700000; i++) { /* so that it does not compress */
        random = random * 1664525 + 1013904223;
        large[i] = (uint8_t)(random >> 24);
    }
    for (uint64_t i = 0; i < 12; i++) { /* the mock keeps 5 MiB */
        check_ok(sink_send(sink, fixture->names.events, 0, BYTES_ABSENT,
                           bytes_of(large, 700000), NULL, 0, -1, i, &fixture->err),
                 &fixture->err);
        check_ok(sink_flush(sink, WAIT_MS, &fixture->err), &fixture->err);
    }
    free(large);
    check_ok(source_watermarks(source, WAIT_MS, &low, &high, &fixture->err),
             &fixture->err);
    assert_true(low > 0);
    assert_int_equal(high, 12);

    check_ok(source_start(source, 0, &fixture->err), &fixture->err);
    assert_int_equal(
        source_poll(source, WAIT_MS, 10, &records, &count, NULL, &fixture->err),
        ERROR_NOT_FOUND);
    assert_non_null(strstr(fixture->err.text, fixture->names.events));
    error_clear(&fixture->err);
    assert_int_equal(source_poll(source, 0, 10, &records, &count, NULL, &fixture->err),
                     ERROR_NOT_FOUND);
    error_clear(&fixture->err);
    check_ok(source_start(source, high + 5, &fixture->err), &fixture->err);
    assert_int_equal(
        source_poll(source, WAIT_MS, 10, &records, &count, NULL, &fixture->err),
        ERROR_NOT_FOUND);
    error_clear(&fixture->err);
    check_ok(source_start(source, low, &fixture->err), &fixture->err);
    await_dense(fixture, source, low, (size_t)(high - low), 100);
    source_close(source);
    sink_close(sink);
}

/* Committing the position to the group, for lag displays, disturbs nothing. */
static void test_commit(void **state)
{
    struct fixture *fixture = *state;
    struct source *source = open_source(fixture, fixture->names.commands, 0);

    send_many(fixture, fixture->names.commands, 0, 20);
    check_ok(source_start(source, 0, &fixture->err), &fixture->err);
    await_dense(fixture, source, 0, 10, 10);
    source_commit(source, 10);
    await_dense(fixture, source, 10, 10, 3);
    source_commit(source, 20);
    source_close(source);
}

/* ---- trouble ----------------------------------------------------------------------- */

/* Errors that pass are repeated by the library: no report of them, no failure, order
 * kept. */
static void test_retriable_produce_errors(void **state)
{
    struct fixture *fixture = *state;
    struct sink *sink = open_warm_sink(fixture, SINK_LOG, -1);

    rd_kafka_mock_push_request_errors(
        fixture->mock, PRODUCE, 3, RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
        RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS, RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT);
    for (uint64_t i = 0; i < 10; i++)
        check_ok(send_text(sink, fixture->names.events, "x", i, &fixture->err),
                 &fixture->err);
    check_ok(sink_flush(sink, WAIT_MS, &fixture->err), &fixture->err);
    assert_int_equal(fixture->report_count, 10);
    for (uint64_t i = 0; i < 10; i++) {
        assert_int_equal(fixture->reports[i].tag, i);
        assert_int_equal(fixture->reports[i].code, 0);
    }
    assert_false(sink_failed(sink, NULL));
    sink_close(sink);
}

/* A record that the broker finds too large is reported by itself in the outbox; the next
 * one goes. */
static void test_too_large_in_outbox(void **state)
{
    struct fixture *fixture = *state;
    struct sink *sink = open_warm_sink(fixture, SINK_OUTBOX, -1);

    rd_kafka_mock_push_request_errors(fixture->mock, PRODUCE, 1,
                                      RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE);
    check_ok(send_text(sink, fixture->names.replies, "large", 1, &fixture->err),
             &fixture->err);
    await_reports(fixture, sink, 1, WAIT_MS);
    check_ok(send_text(sink, fixture->names.replies, "small", 2, &fixture->err),
             &fixture->err);
    await_reports(fixture, sink, 2, WAIT_MS);
    assert_int_equal(fixture->report_count, 2);
    assert_int_equal(fixture->reports[0].code, ERROR_TOO_LARGE);
    assert_int_equal(fixture->reports[0].offset, -1);
    assert_int_equal(fixture->reports[1].tag, 2);
    assert_int_equal(fixture->reports[1].code, 0);
    assert_false(sink_failed(sink, NULL));
    sink_close(sink);
}

/* In the log the same error ends the sink: no report, no further record, and the reason
 * is told. */
static void test_too_large_in_log(void **state)
{
    struct fixture *fixture = *state;
    struct sink *sink = open_warm_sink(fixture, SINK_LOG, -1);
    struct error failure = {0};
    size_t reported;

    check_ok(send_text(sink, fixture->names.events, "first", 1, &fixture->err),
             &fixture->err);
    check_ok(sink_flush(sink, WAIT_MS, &fixture->err), &fixture->err);
    reported = fixture->report_count;
    assert_int_equal(reported, 1);
    rd_kafka_mock_push_request_errors(fixture->mock, PRODUCE, 1,
                                      RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE);
    for (uint64_t i = 2; i < 30; i++)
        (void)send_text(sink, fixture->names.events, "x", i, NULL);
    assert_true(await_failure(sink, &failure));
    assert_true(failure.fatal);
    for (int i = 0; i < 20; i++)
        assert_int_equal(sink_poll(sink, 10), 0);
    assert_int_equal(fixture->report_count, reported);
    assert_int_equal(send_text(sink, fixture->names.events, "late", 99, &fixture->err),
                     failure.code);
    assert_true(fixture->err.fatal);
    assert_string_equal(fixture->err.text, failure.text);
    error_clear(&fixture->err);
    assert_int_equal(sink_flush(sink, WAIT_MS, &fixture->err), failure.code);
    sink_close(sink);
}

/* A record above max_message_bytes is refused at once, and the sink goes on. */
static void test_too_large_to_send(void **state)
{
    struct fixture *fixture = *state;
    struct sink *sink = NULL;
    uint8_t *value = calloc(1, 5000);

    check_ok(sink_open(&fixture->settings, SINK_LOG, 5000, -1, on_delivery, fixture,
                       &sink, &fixture->err),
             &fixture->err);
    assert_int_equal(sink_send(sink, fixture->names.events, 0, BYTES_ABSENT,
                               bytes_of(value, 4950), NULL, 0, -1, 1, &fixture->err),
                     ERROR_TOO_LARGE);
    assert_false(fixture->err.fatal);
    error_clear(&fixture->err);
    assert_int_equal(sink_pending(sink), 0);
    check_ok(sink_send(sink, fixture->names.events, 0, BYTES_ABSENT,
                       bytes_of(value, 4800), NULL, 0, -1, 2, &fixture->err),
             &fixture->err);
    check_ok(sink_flush(sink, WAIT_MS, &fixture->err), &fixture->err);
    assert_int_equal(fixture->report_count, 1);
    sink_close(sink);
    free(value);
}

/* A broker that goes and comes back ends the log's sink, without a report of what was on
 * its way. */
static void test_broken_connection_in_log(void **state)
{
    struct fixture *fixture = *state;
    int wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    struct sink *sink = open_warm_sink(fixture, SINK_LOG, wake_fd);
    struct pollfd wait = {wake_fd, POLLIN, 0};
    struct error failure = {0};
    uint64_t ignored;

    check_ok(send_text(sink, fixture->names.events, "first", 1, &fixture->err),
             &fixture->err);
    check_ok(sink_flush(sink, WAIT_MS, &fixture->err), &fixture->err);
    while (sink_poll(sink, 0) > 0)
        continue;
    assert_true(read(wake_fd, &ignored, sizeof(ignored)) > 0);
    broker_down(fixture);
    assert_true(poll(&wait, 1, WAIT_MS) > 0);
    assert_true(await_failure(sink, &failure));
    assert_non_null(strstr(failure.text, "broke"));
    broker_up(fixture);
    for (int i = 0; i < 30; i++)
        sink_poll(sink, 20);
    assert_int_equal(fixture->report_count, 1);
    sink_close(sink);
    close(wake_fd);
}

/* The connection breaks under a record whose acknowledgement is on its way, as when the
 * broker dies: the library sends it again to the new connection, and the sink reports
 * nothing of that. */
static void test_broken_connection_in_flight(void **state)
{
    struct fixture *fixture = *state;
    struct sink *sink = open_warm_sink(fixture, SINK_LOG, -1);

    rd_kafka_mock_push_request_errors(fixture->mock, PRODUCE, 1,
                                      RD_KAFKA_RESP_ERR__TRANSPORT);
    check_ok(send_text(sink, fixture->names.events, "in flight", 1, &fixture->err),
             &fixture->err);
    assert_true(await_failure(sink, NULL));
    for (int i = 0; i < 50; i++)
        sink_poll(sink, 20);
    assert_int_equal(fixture->report_count, 0);
    sink_close(sink);
}

/* The outbox rides over the same break: everything arrives. */
static void test_broken_connection_in_outbox(void **state)
{
    struct fixture *fixture = *state;
    struct sink *sink = open_warm_sink(fixture, SINK_OUTBOX, -1);

    check_ok(send_text(sink, fixture->names.replies, "first", 1, &fixture->err),
             &fixture->err);
    check_ok(sink_flush(sink, WAIT_MS, &fixture->err), &fixture->err);
    broker_down(fixture);
    check_ok(send_text(sink, fixture->names.replies, "second", 2, &fixture->err),
             &fixture->err);
    assert_int_equal(sink_flush(sink, 1500, &fixture->err), ERROR_TIMEOUT);
    assert_true(fixture->err.retriable);
    error_clear(&fixture->err);
    broker_up(fixture);
    check_ok(sink_flush(sink, WAIT_MS, &fixture->err), &fixture->err);
    assert_int_equal(fixture->report_count, 2);
    assert_int_equal(fixture->reports[1].tag, 2);
    assert_int_equal(fixture->reports[1].code, 0);
    assert_false(sink_failed(sink, NULL));
    sink_close(sink);
}

/* A broker that is not there at the start is waited for, by source and sink alike, and is
 * no error. */
static void test_broker_away_at_start(void **state)
{
    struct fixture *fixture = *state;
    struct sink *sink;
    struct source *source;
    const struct record *records;
    size_t count = 1;
    int64_t low, high;
    int32_t partitions;

    broker_down(fixture);
    sink = open_sink(fixture, SINK_LOG, -1);
    source = open_source(fixture, fixture->names.events, 0);
    check_ok(source_start(source, 0, &fixture->err), &fixture->err);
    check_ok(source_poll(source, 1500, 10, &records, &count, NULL, &fixture->err),
             &fixture->err);
    assert_int_equal(count, 0);
    assert_int_equal(source_watermarks(source, 300, &low, &high, &fixture->err),
                     ERROR_TIMEOUT);
    assert_true(fixture->err.retriable);
    error_clear(&fixture->err);
    assert_int_equal(
        sink_topic(sink, fixture->names.events, 300, &partitions, &fixture->err),
        ERROR_TIMEOUT);
    assert_true(fixture->err.retriable);
    error_clear(&fixture->err);
    check_ok(send_text(sink, fixture->names.events, "early", 1, &fixture->err),
             &fixture->err);
    sink_poll(sink, 500);
    assert_false(sink_failed(sink, NULL));
    broker_up(fixture);
    await_reports(fixture, sink, 1, WAIT_MS);
    assert_int_equal(fixture->report_count, 1);
    assert_false(sink_failed(sink, NULL));
    await_dense(fixture, source, 0, 1, 10);
    source_close(source);
    sink_close(sink);
}

/* A broker that refuses the connection is no broken connection, even when records wait
 * for it: the leadership moves to a broker that comes up only later, and the log's sink
 * waits for it. */
static void test_leader_not_there_yet(void **state)
{
    struct fixture *fixture = *state;
    rd_kafka_t *rk = rd_kafka_new(RD_KAFKA_PRODUCER, NULL, NULL, 0);
    rd_kafka_mock_cluster_t *mock = rd_kafka_mock_cluster_new(rk, 2);
    struct sink *sink;

    for (size_t i = 0; i < 5; i++) {
        leave_a_moment();
        rd_kafka_mock_topic_create(mock, fixture->name_texts[i], 4, 2);
    }
    leave_a_moment();
    rd_kafka_mock_partition_set_leader(mock, fixture->names.events, 0, 1);
    leave_a_moment();
    rd_kafka_mock_broker_set_down(mock, 2);
    fixture->bootstrap.value = rd_kafka_mock_cluster_bootstraps(mock);
    sink = open_warm_sink(fixture, SINK_LOG, -1);
    check_ok(send_text(sink, fixture->names.events, "first", 1, &fixture->err),
             &fixture->err);
    check_ok(sink_flush(sink, WAIT_MS, &fixture->err), &fixture->err);
    rd_kafka_mock_partition_set_leader(mock, fixture->names.events, 0, 2);
    check_ok(send_text(sink, fixture->names.events, "second", 2, &fixture->err),
             &fixture->err);
    sink_poll(sink, 1500);
    assert_false(sink_failed(sink, &fixture->err));
    assert_int_equal(sink_pending(sink), 1);
    rd_kafka_mock_broker_set_up(mock, 2);
    await_reports(fixture, sink, 2, WAIT_MS);
    assert_false(sink_failed(sink, &fixture->err));
    assert_int_equal(fixture->report_count, 2);
    sink_close(sink);
    leave_a_moment();
    rd_kafka_mock_cluster_destroy(mock);
    rd_kafka_destroy(rk);
}

/* A source lives through a break of the connection without a word. */
static void test_source_over_break(void **state)
{
    struct fixture *fixture = *state;
    struct source *source = open_source(fixture, fixture->names.events, 0);
    const struct record *records;
    size_t count;

    send_many(fixture, fixture->names.events, 0, 5);
    check_ok(source_start(source, 0, &fixture->err), &fixture->err);
    await_dense(fixture, source, 0, 5, 100);
    broker_down(fixture);
    check_ok(source_poll(source, 1000, 10, &records, &count, NULL, &fixture->err),
             &fixture->err);
    assert_int_equal(count, 0);
    broker_up(fixture);
    send_many(fixture, fixture->names.events, 5, 5);
    await_dense(fixture, source, 5, 5, 100);
    source_close(source);
}

/* Closing waits for nobody: not for records that cannot be sent, not for an absent
 * broker. */
static void test_close_does_not_wait(void **state)
{
    struct fixture *fixture = *state;
    struct sink *log = open_warm_sink(fixture, SINK_LOG, -1);
    struct sink *outbox = open_warm_sink(fixture, SINK_OUTBOX, -1);
    struct source *source = open_source(fixture, fixture->names.events, 0);
    int64_t begin_ms;

    check_ok(send_text(outbox, fixture->names.replies, "x", 1, &fixture->err),
             &fixture->err);
    check_ok(sink_flush(outbox, WAIT_MS, &fixture->err), &fixture->err);
    check_ok(source_start(source, 0, &fixture->err), &fixture->err);
    rd_kafka_mock_broker_push_request_error_rtts(fixture->mock, 1, PRODUCE, 1,
                                                 RD_KAFKA_RESP_ERR_NO_ERROR, 20000);
    for (uint64_t i = 0; i < 50; i++) {
        check_ok(send_text(log, fixture->names.events, "x", i, &fixture->err),
                 &fixture->err);
        check_ok(send_text(outbox, fixture->names.replies, "x", i, &fixture->err),
                 &fixture->err);
    }
    sink_poll(log, 100);
    broker_down(fixture);
    fixture->report_count = 0;
    begin_ms = now_ms();
    sink_close(log);
    assert_true(now_ms() - begin_ms < 1500);
    begin_ms = now_ms();
    sink_close(outbox);
    assert_true(now_ms() - begin_ms < 1500);
    begin_ms = now_ms();
    source_close(source);
    assert_true(now_ms() - begin_ms < 1500);
    assert_int_equal(fixture->report_count, 0);
    sink_close(NULL);
    source_close(NULL);
}

/* ---- settings ---------------------------------------------------------------------- */

static char log_lines[4096];

static void on_log(int level, const char *facility, const char *text)
{
    size_t used = strlen(log_lines);

    snprintf(log_lines + used, sizeof(log_lines) - used, "%d %s %s\n", level, facility,
             text);
}

/* Checks settings with one more property; returns the code and leaves the text in
 * fixture->err. */
static int check_with(struct fixture *fixture, const char *name, const char *value)
{
    struct kafka_property all[2] = {fixture->bootstrap, {name, value, "kinlog.conf:12"}};
    struct kafka_settings settings = fixture->settings;

    settings.common = all;
    settings.common_count = 2;
    error_clear(&fixture->err);
    return kafka_settings_check(&settings, &fixture->err);
}

/* A wrong property is refused with its origin and the library's reason; a right one is
 * not. */
static void test_settings_check(void **state)
{
    static const char *const own[] = {"isolation.level",
                                      "check.crcs",
                                      "auto.offset.reset",
                                      "enable.idempotence",
                                      "acks",
                                      "request.required.acks",
                                      "group.id",
                                      "transactional.id",
                                      "test.mock.num.brokers",
                                      "dr_msg_cb",
                                      "enable.auto.commit",
                                      "message.timeout.ms"};
    struct fixture *fixture = *state;

    assert_int_equal(check_with(fixture, "linger.ms", "5"), 0);
    assert_int_equal(check_with(fixture, "sasl.username", "someone"), 0);

    assert_int_equal(check_with(fixture, "linger.msec", "5"), ERROR_CONFIG);
    assert_non_null(strstr(fixture->err.text, "kinlog.conf:12"));
    assert_non_null(strstr(fixture->err.text, "linger.msec"));

    assert_int_equal(check_with(fixture, "linger.ms", "soon"), ERROR_CONFIG);
    assert_non_null(strstr(fixture->err.text, "kinlog.conf:12"));
    assert_non_null(strstr(fixture->err.text, "linger.ms"));
    assert_int_equal(check_with(fixture, "socket.timeout.ms", "-5"), ERROR_CONFIG);

    for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++) {
        assert_int_equal(check_with(fixture, own[i], "1"), ERROR_CONFIG);
        assert_non_null(strstr(fixture->err.text, "kinlog.conf:12"));
        assert_non_null(strstr(fixture->err.text, "agent's own"));
        assert_non_null(strstr(fixture->err.text, own[i]));
    }

    assert_int_equal(check_with(fixture, "", "1"), ERROR_CONFIG);
}

/* Properties that only fit together badly are found too; no secret is repeated; a missing
 * broker list is named. */
static void test_settings_together(void **state)
{
    struct fixture *fixture = *state;
    struct kafka_property properties[] = {
        fixture->bootstrap,
        {"security.protocol", "ssl", "kinlog.conf:12"},
        {"ssl.ca.location", "/nonexistent/ca.pem", "kinlog.conf:13"},
    };
    struct kafka_settings settings = fixture->settings;

    settings.common = properties;
    settings.common_count = 3;
    assert_int_equal(kafka_settings_check(&settings, &fixture->err), ERROR_CONFIG);
    assert_non_null(strstr(fixture->err.text, "kinlog.conf:13"));
    assert_non_null(strstr(fixture->err.text, "ssl.ca.location"));

    error_clear(&fixture->err);
    settings.common_count = 0;
    assert_int_equal(kafka_settings_check(&settings, &fixture->err), ERROR_CONFIG);
    assert_non_null(strstr(fixture->err.text, "bootstrap.servers"));

    assert_int_equal(check_with(fixture, "ssl_key", "hunter2"), ERROR_CONFIG);
    assert_null(strstr(fixture->err.text, "hunter2"));

    kafka_log_set(on_log);
    assert_int_equal(check_with(fixture, "sasl.mechanisms", "SCRAM-SHA-512"), 0);
    kafka_log_set(NULL);
    if (rd_kafka_version() < 0x020601ff)
        assert_non_null(strstr(log_lines, "SCRAM"));
}

/* Producer and consumer properties reach their handles, and those of the other kind do
 * not. */
static void test_settings_per_role(void **state)
{
    struct fixture *fixture = *state;
    struct kafka_property producer[] = {{"linger.ms", "never", "kinlog.conf:20"}};
    struct kafka_property consumer[] = {{"fetch.min.bytes", "none", "kinlog.conf:30"}};
    struct kafka_settings settings = fixture->settings;
    struct source *source = NULL;
    struct sink *sink = NULL;

    settings.producer = producer;
    settings.producer_count = 1;
    assert_int_equal(
        sink_open(&settings, SINK_LOG, 0, -1, on_delivery, fixture, &sink, &fixture->err),
        ERROR_CONFIG);
    assert_non_null(strstr(fixture->err.text, "kinlog.conf:20"));
    error_clear(&fixture->err);
    check_ok(source_open(&settings, fixture->names.events, 0, -1, &source, &fixture->err),
             &fixture->err);
    source_close(source);

    settings.producer_count = 0;
    settings.consumer = consumer;
    settings.consumer_count = 1;
    assert_int_equal(
        source_open(&settings, fixture->names.events, 0, -1, &source, &fixture->err),
        ERROR_CONFIG);
    assert_non_null(strstr(fixture->err.text, "kinlog.conf:30"));
    error_clear(&fixture->err);
    check_ok(
        sink_open(&settings, SINK_LOG, 0, -1, on_delivery, fixture, &sink, &fixture->err),
        &fixture->err);
    sink_close(sink);
}

/* Log lines of the library come in the thread that polls. */
static void test_logs(void **state)
{
    struct fixture *fixture = *state;
    struct sink *sink;

    log_lines[0] = '\0';
    kafka_log_set(on_log);
    broker_down(fixture);
    sink = open_sink(fixture, SINK_LOG, -1);
    for (int i = 0; i < 100 && !log_lines[0]; i++)
        sink_poll(sink, 50);
    sink_close(sink);
    kafka_log_set(NULL);
    assert_non_null(strstr(log_lines, "FAIL"));
    assert_string_equal(kafka_library_version(), rd_kafka_version_str());
}

/* ---- the embedded broker ----------------------------------------------------------- */

/* A port of 127.0.0.1 that was free a moment ago. */
static int free_port(void)
{
    struct sockaddr_in in = {.sin_family = AF_INET};
    socklen_t size = sizeof(in);
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(bind(fd, (struct sockaddr *)&in, sizeof(in)), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&in, &size), 0);
    close(fd);
    return ntohs(in.sin_port);
}

/* The embedded broker listens on the port asked for, a second one is told that it is
 * taken, and after closing the port is free again. */
static void test_fixed_port(void **state)
{
    struct fixture *fixture = *state;
    struct error err = {0};
    struct embedded_broker *broker = NULL, *second = NULL;
    char expected[32];
    int port = free_port();

    snprintf(expected, sizeof(expected), "127.0.0.1:%d", port);
    check_ok(embedded_broker_open(port, &fixture->names, 4, &broker, &err), &err);
    assert_string_equal(embedded_broker_bootstrap(broker), expected);
    assert_int_equal(embedded_broker_open(port, &fixture->names, 4, &second, &err),
                     ERROR_LOCKED);
    assert_non_null(strstr(err.text, strchr(expected, ':') + 1));
    embedded_broker_close(broker);

    error_clear(&err);
    check_ok(embedded_broker_open(port, &fixture->names, 4, &broker, &err), &err);
    assert_string_equal(embedded_broker_bootstrap(broker), expected);
    embedded_broker_close(broker);
    embedded_broker_close(NULL);
    assert_int_equal(embedded_broker_open(70000, &fixture->names, 4, &broker, &err),
                     ERROR_INVALID);
    assert_int_not_equal(free_port(), port);
}

/* Topics of the embedded broker are there with their partitions, its cluster has an id,
 * and there is nothing to create. */
static void test_topics_of_embedded_broker(void **state)
{
    struct fixture *fixture = *state;
    struct topics_report report;
    int created = -1;

    check_ok(topics_check(&fixture->settings, &fixture->names, 4, WAIT_MS, &report,
                          &fixture->err),
             &fixture->err);
    for (size_t i = 0; i < report.finding_count; i++)
        print_message("%s\n", report.findings[i].text);
    assert_int_equal(report.finding_count, 0);
    assert_false(report.refused);
    assert_int_equal(report.partitions, 4);
    assert_int_equal(strncmp(report.cluster_id, "mockCluster", 11), 0);
    topics_report_release(&report);
    check_ok(topics_create(&fixture->settings, &fixture->names, 4, WAIT_MS, &created,
                           &fixture->err),
             &fixture->err);
    assert_int_equal(created, 0);

    check_ok(topics_check(&fixture->settings, &fixture->names, 12, WAIT_MS, &report,
                          &fixture->err),
             &fixture->err);
    assert_true(report.refused);
    assert_non_null(strstr(report.findings[0].text, "kafka-topics.sh"));
    assert_non_null(strstr(report.findings[0].text, "--partitions 12"));
    topics_report_release(&report);
}

/* A check that reaches no broker says so and may be repeated. */
static void test_topics_without_broker(void **state)
{
    struct fixture *fixture = *state;
    struct topics_report report;
    int64_t begin_ms = now_ms();

    broker_down(fixture);
    assert_int_equal(
        topics_check(&fixture->settings, &fixture->names, 4, 700, &report, &fixture->err),
        ERROR_TIMEOUT);
    assert_true(fixture->err.retriable);
    assert_non_null(strstr(fixture->err.text, fixture->bootstrap.value));
    assert_true(now_ms() - begin_ms < 3000);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_round_trip),
        TEST(test_delivery_reports),
        TEST(test_wake_descriptor),
        TEST(test_watermarks),
        TEST(test_start_at_offset),
        TEST(test_read_one),
        TEST(test_lost_offsets),
        TEST(test_commit),
        TEST(test_retriable_produce_errors),
        TEST(test_too_large_in_outbox),
        TEST(test_too_large_in_log),
        TEST(test_too_large_to_send),
        TEST(test_broken_connection_in_log),
        TEST(test_broken_connection_in_flight),
        TEST(test_broken_connection_in_outbox),
        TEST(test_broker_away_at_start),
        TEST(test_leader_not_there_yet),
        TEST(test_source_over_break),
        TEST(test_close_does_not_wait),
        TEST(test_settings_check),
        TEST(test_settings_together),
        TEST(test_settings_per_role),
        TEST(test_logs),
        TEST(test_fixed_port),
        TEST(test_topics_of_embedded_broker),
        TEST(test_topics_without_broker),
    };

    cmocka_set_test_filter(getenv("ONLY")); /* a pattern; unset = all */
    return cmocka_run_group_tests_name("kafka", tests, open_shared, close_shared);
}
