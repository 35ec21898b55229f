/* test_agent.c - the whole agent on the mock cluster, with faults injected into what it
 * meets there.
 *
 * One broker for all tests; each test has topics, a data folder and an agent of its own.
 * Success on a real broker is shown by tests/e2e; this shows what a real broker cannot be
 * asked to do at a given moment.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "agent/agent.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>

#include "agent/clock.h"
#include "agent/log.h"
#include "agent/shard/claim.h"
#include "agent/shard/reader.h"
#include "agent/shard/site.h"

#define PRODUCE 0 /* ApiKey */
#define WAIT_MS 20000
#define COMMANDS_MAX 2000
#define SHARDS 1

static struct embedded_broker *broker;
static int number; /* of the test, for the names of its topics */

struct fixture {
    char folder[64];
    struct config *config;
    struct agent *agent;
    struct sink *sink; /* sends commands */
    struct source *replies;
    struct source *events;
    int sent; /* commands; their ids are c1, c2, ... */
    int answers[COMMANDS_MAX + 1];
    int repeats[COMMANDS_MAX + 1];
    char first[COMMANDS_MAX + 1][64]; /* the beginning of the first answer's value */
    struct error err;
};

static void ignore(void *context, const struct delivery *delivery)
{
    (void)context;
    (void)delivery;
}

static void silent(void *context, int level, const char *text)
{
    (void)context;
    (void)level;
    (void)text;
}

static rd_kafka_mock_cluster_t *cluster(void)
{
    return embedded_broker_mock(broker);
}

static void must(struct fixture *fixture, int code)
{
    if (code != 0)
        fail_msg("%s", fixture->err.text);
}

static void write_config(struct fixture *fixture, char path[128])
{
    snprintf(path, 128, "%s/kinlog.conf", fixture->folder);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fprintf(file,
            "[agent]\ndata_dir = %s/data\nsite = test\n[topics]\nprefix = "
            "t%d\npartitions = %d\n"
            "[kafka]\nbootstrap.servers = %s\n",
            fixture->folder, number, SHARDS, embedded_broker_bootstrap(broker));
    fclose(file);
}

static void make_topics(const struct config *config)
{
    const char *names[] = {config->topic_commands, config->topic_events,
                           config->topic_replies, config->topic_dead_letters,
                           config->topic_storage};

    for (size_t i = 0; i < 5; i++)
        rd_kafka_mock_topic_create(cluster(), names[i], SHARDS, 1);
}

static void start_agent(struct fixture *fixture)
{
    int64_t until_ms = clock_monotonic_ms() + WAIT_MS;

    must(fixture, agent_start(fixture->config, NULL, &fixture->agent, &fixture->err));
    while (!agent_ready(fixture->agent) && clock_monotonic_ms() < until_ms)
        sink_poll(fixture->sink, 10);
    assert_true(agent_ready(fixture->agent));
}

static int setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);
    struct log_identity identity;
    char path[128];

    number++;
    snprintf(fixture->folder, sizeof fixture->folder, "/tmp/kinlog-agent-XXXXXX");
    assert_non_null(mkdtemp(fixture->folder));
    write_config(fixture, path);
    struct config_source source = {.file = path, .environment = (char *[]){NULL}};
    must(fixture, config_load(&source, &fixture->config, &fixture->err));
    fixture->config->embedded = true;
    fixture->config->kafka.embedded = true;
    make_topics(fixture->config);
    must(fixture, sink_open(&fixture->config->kafka, SINK_OUTBOX, 0, -1, ignore, NULL,
                            &fixture->sink, &fixture->err));
    must(fixture, site_init(fixture->config, silent, NULL, &identity, &fixture->err));
    must(fixture, source_open(&fixture->config->kafka, fixture->config->topic_replies, 0,
                              -1, &fixture->replies, &fixture->err));
    must(fixture, source_start(fixture->replies, 0, &fixture->err));
    start_agent(fixture);
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    char command[128];

    rd_kafka_mock_clear_request_errors(cluster(), PRODUCE);
    rd_kafka_mock_broker_set_up(cluster(), 1);
    agent_stop(fixture->agent);
    source_close(fixture->replies);
    source_close(fixture->events);
    sink_close(fixture->sink);
    config_free(fixture->config);
    snprintf(command, sizeof command, "rm -rf '%s'", fixture->folder);
    assert_int_equal(system(command), 0);
    free(fixture);
    return 0;
}

/* ---- commands and answers ---------------------------------------------------------- */

static void send_with_id(struct fixture *fixture, int id_number)
{
    char id[16], value[128];

    snprintf(id, sizeof id, "c%d", id_number);
    snprintf(value, sizeof value, "{\"ResourceID\":%d,\"Name\":\"PC%d\"}", id_number,
             id_number);
    struct header headers[] = {
        {bytes_str("ce_specversion"), bytes_str("1.0")},
        {bytes_str("ce_id"), bytes_str(id)},
        {bytes_str("ce_source"), bytes_str("/tests")},
        {bytes_str("ce_type"), bytes_str("RegisterDevice")},
    };
    must(fixture,
         sink_send(fixture->sink, fixture->config->topic_commands, 0, BYTES_ABSENT,
                   bytes_str(value), headers, 4, -1, 0, &fixture->err));
    sink_poll(fixture->sink, 0);
}

static void send_commands(struct fixture *fixture, int count)
{
    for (int i = 0; i < count; i++)
        send_with_id(fixture, ++fixture->sent);
}

static void note_answer(struct fixture *fixture, const struct record *record)
{
    struct bytes id = record_header(record, "ce_causationid");
    char text[16], value[64];

    assert_true(id.size > 1 && id.size < sizeof text);
    snprintf(text, sizeof text, "%.*s", (int)id.size, (const char *)id.data);
    int which = (int)strtol(text + 1, NULL, 10);
    assert_true(which >= 1 && which <= COMMANDS_MAX);
    snprintf(value, sizeof value, "%.*s", (int)record->value.size,
             (const char *)record->value.data);
    if (fixture->answers[which]++ == 0)
        memcpy(fixture->first[which], value, sizeof value);
    assert_string_equal(fixture->first[which], value);
    if (record_header(record, "ce_repeated").data != NULL)
        fixture->repeats[which]++;
}

static int poll_answers(struct fixture *fixture)
{
    const struct record *records;
    size_t count;

    must(fixture,
         source_poll(fixture->replies, 50, 500, &records, &count, NULL, &fixture->err));
    for (size_t i = 0; i < count; i++)
        note_answer(fixture, &records[i]);
    sink_poll(fixture->sink, 0);
    return (int)count;
}

static bool all_answered(const struct fixture *fixture)
{
    for (int i = 1; i <= fixture->sent; i++) {
        if (fixture->answers[i] == 0)
            return false;
    }
    return true;
}

static void wait_answers(struct fixture *fixture)
{
    int64_t until_ms = clock_monotonic_ms() + WAIT_MS;

    while (!all_answered(fixture) && clock_monotonic_ms() < until_ms)
        poll_answers(fixture);
    assert_true(all_answered(fixture));
}

/* The events of the partition that a strict reader counts: dense, one per command and
 * LogStarted. */
struct count {
    uint64_t events;
};

static int count_event(void *context, const struct event *event,
                       const struct event_record *record, struct error *err)
{
    struct count *count = context;

    (void)record;
    (void)err;
    assert_int_equal(event->sequence, ++count->events);
    return 0;
}

static int count_repeat(void *context, const struct event *event, struct error *err)
{
    (void)context;
    (void)event;
    (void)err;
    return 0;
}

static void check_topic(struct fixture *fixture, uint64_t expected)
{
    struct count count = {0};
    struct reader_sink sink = {count_event, count_repeat, &count};
    struct log_identity identity = {.shards = SHARDS};
    struct store_folder *folder;
    struct reader *reader;
    const struct record *records;
    int64_t low, high, next = 0;
    size_t found;

    must(fixture,
         store_folder_open(fixture->config->data_dir, false, &folder, &fixture->err));
    identity = store_identity(folder, 0);
    store_folder_close(folder);
    must(fixture, source_open(&fixture->config->kafka, fixture->config->topic_events, 0,
                              -1, &fixture->events, &fixture->err));
    must(fixture,
         source_watermarks(fixture->events, WAIT_MS, &low, &high, &fixture->err));
    must(fixture, source_start(fixture->events, 0, &fixture->err));
    must(fixture, reader_new(&identity, NULL, &reader, &fixture->err));
    while (next < high) {
        must(fixture, source_poll(fixture->events, 100, 500, &records, &found, NULL,
                                  &fixture->err));
        for (size_t i = 0; i < found && next < high; i++) {
            must(fixture, reader_take(reader, &records[i], &sink, &fixture->err));
            next = records[i].offset + 1;
        }
    }
    reader_free(reader);
    assert_int_equal(count.events, expected);
}

static struct shard_status read_status(struct fixture *fixture)
{
    struct store_folder *folder;
    struct shard_status status;
    struct kv *kv;

    must(fixture,
         store_folder_open(fixture->config->data_dir, false, &folder, &fixture->err));
    must(fixture, store_open_shard(folder, 0, KV_READ_ONLY, &kv, &fixture->err));
    must(fixture, shard_status_load(kv, &status, &fixture->err));
    kv_close(kv);
    store_folder_close(folder);
    return status;
}

/* ---- the tests --------------------------------------------------------------------- */

/* Undisturbed: each command is answered once, in the topic once, and a repeat gets its
 * first answer. */
static void test_undisturbed(void **state)
{
    struct fixture *fixture = *state;

    send_commands(fixture, 300);
    wait_answers(fixture);
    send_with_id(fixture, 7);
    int64_t until_ms = clock_monotonic_ms() + WAIT_MS;
    while (fixture->repeats[7] == 0 && clock_monotonic_ms() < until_ms)
        poll_answers(fixture);
    assert_int_equal(fixture->answers[7], 2);
    assert_int_equal(fixture->repeats[7], 1);
    for (int i = 1; i <= 300; i++)
        assert_int_equal(fixture->answers[i], i == 7 ? 2 : 1);
    check_topic(fixture, 301);
}

/* Errors that the library retries (too few replicas, not the leader) delay answers and
 * lose none. The topic is not read: the mock, unlike a broker, does not keep the order of
 * an idempotent producer's batches when one of them is retried. */
static void test_retried_errors(void **state)
{
    struct fixture *fixture = *state;

    rd_kafka_mock_push_request_errors(
        cluster(), PRODUCE, 4, RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS,
        RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION, RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT,
        RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND);
    send_commands(fixture, 200);
    wait_answers(fixture);
}

/* An error that ends the producer ends the epoch: the shard claims anew and goes on. */
static void test_fatal_error(void **state)
{
    struct fixture *fixture = *state;

    send_commands(fixture, 50);
    wait_answers(fixture);
    struct epoch before = read_status(fixture).epoch;
    /* The first request lets a command pass, the second is then the log's own producer
     * with its event. Should the answer cursor come between them, the command fails
     * instead: then once more. */
    for (int i = 0; i < 10 && read_status(fixture).epoch.number == before.number; i++) {
        rd_kafka_mock_push_request_errors(cluster(), PRODUCE, 2,
                                          RD_KAFKA_RESP_ERR_NO_ERROR,
                                          RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH);
        send_commands(fixture, 1);
        int64_t until_ms = clock_monotonic_ms() + 3000;
        while (!all_answered(fixture) && clock_monotonic_ms() < until_ms)
            poll_answers(fixture);
        rd_kafka_mock_clear_request_errors(cluster(), PRODUCE);
        if (!all_answered(fixture))
            send_with_id(fixture, fixture->sent);
        wait_answers(fixture);
    }
    assert_true(read_status(fixture).epoch.number > before.number);
    send_commands(fixture, 50);
    wait_answers(fixture);
    check_topic(fixture, (uint64_t)fixture->sent + 1);
}

/* The broker goes away under load and comes back: all is answered, nothing is doubled. */
static void test_broker_away(void **state)
{
    struct fixture *fixture = *state;

    for (int round = 0; round < 3; round++) {
        send_commands(fixture, 100);
        poll_answers(fixture);
        rd_kafka_mock_broker_set_down(cluster(), 1);
        send_commands(fixture, 50);
        int64_t until_ms = clock_monotonic_ms() + 300;
        while (clock_monotonic_ms() < until_ms)
            poll_answers(fixture);
        rd_kafka_mock_broker_set_up(cluster(), 1);
        wait_answers(fixture);
    }
    check_topic(fixture, (uint64_t)fixture->sent + 1);
}

/* However often the broker went away: when it is back the shard does not wait for longer
 * than the first time. */
static void test_broker_flaps(void **state)
{
    struct fixture *fixture = *state;

    for (int round = 0; round < 6; round++) {
        send_commands(fixture, 1);
        wait_answers(fixture);
        rd_kafka_mock_broker_set_down(cluster(), 1);
        int64_t until_ms = clock_monotonic_ms() + 300;
        while (clock_monotonic_ms() < until_ms)
            poll_answers(fixture);
        rd_kafka_mock_broker_set_up(cluster(), 1);
        int64_t back_ms = clock_monotonic_ms();
        send_commands(fixture, 1);
        wait_answers(fixture);
        assert_in_range(clock_monotonic_ms() - back_ms, 0, 12000);
    }
}

/* A stopped agent goes on where it was; what was answered is not answered again. */
static void test_restart(void **state)
{
    struct fixture *fixture = *state;

    send_commands(fixture, 100);
    wait_answers(fixture);
    agent_stop(fixture->agent);
    send_commands(fixture, 100);
    must(fixture, sink_flush(fixture->sink, WAIT_MS, &fixture->err));
    start_agent(fixture);
    wait_answers(fixture);
    for (int i = 1; i <= 100; i++)
        assert_int_equal(fixture->answers[i], 1);
    check_topic(fixture, 201);
}

static void send_claim(struct fixture *fixture, const char *agent)
{
    struct claim claim = {.rules = 1};
    struct store_folder *folder;
    struct buf value = BUF_INIT;

    must(fixture,
         store_folder_open(fixture->config->data_dir, false, &folder, &fixture->err));
    snprintf(claim.log, sizeof claim.log, "%s", folder->identity.log);
    store_folder_close(folder);
    must(fixture, claim_new_id(claim.id, &fixture->err));
    snprintf(claim.agent, sizeof claim.agent, "%s", agent);
    claim_write(&claim, "test", &value);
    must(fixture,
         sink_send(fixture->sink, fixture->config->topic_events, 0, bytes_str(CLAIM_KEY),
                   buf_bytes(&value), NULL, 0, -1, 0, &fixture->err));
    must(fixture, sink_flush(fixture->sink, WAIT_MS, &fixture->err));
    buf_release(&value);
}

/* A void record of a stranger makes a hole between reports; the owner looks and goes on.
 * */
static void test_stranger(void **state)
{
    struct fixture *fixture = *state;
    struct header header = {bytes_str(EPOCH_HEADER), bytes_str("0;stranger")};

    send_commands(fixture, 20);
    wait_answers(fixture);
    struct epoch before = read_status(fixture).epoch;
    must(fixture,
         sink_send(fixture->sink, fixture->config->topic_events, 0, bytes_str("x"),
                   bytes_str("{}"), &header, 1, -1, 0, &fixture->err));
    must(fixture, sink_flush(fixture->sink, WAIT_MS, &fixture->err));
    send_commands(fixture, 20);
    wait_answers(fixture);
    assert_int_equal(read_status(fixture).epoch.number, before.number);
    assert_int_equal(read_status(fixture).role, SHARD_OWNER);
    check_topic(fixture, 41);
}

/* Another agent's claim deposes: nothing more is answered, and the status says who has
 * the shard. */
static void test_deposed(void **state)
{
    struct fixture *fixture = *state;
    int64_t until_ms = clock_monotonic_ms() + WAIT_MS;

    send_commands(fixture, 20);
    wait_answers(fixture);
    send_claim(fixture, "the other one");
    send_commands(fixture, 1);
    while (read_status(fixture).role != SHARD_FOLLOWER && clock_monotonic_ms() < until_ms)
        poll_answers(fixture);
    struct shard_status status = read_status(fixture);
    assert_int_equal(status.role, SHARD_FOLLOWER);
    assert_non_null(strstr(status.reason, "the other one"));
    assert_int_equal(fixture->answers[21], 0);
    /* Told to (SIGHUP), it claims again: the command is decided and answered after all.
     * */
    agent_reopen(fixture->agent);
    wait_answers(fixture);
    check_topic(fixture, 22);
}

static int open_broker(void **state)
{
    struct topic_names names = {"a", "b", "c", "d", "e"};
    struct error err = {0};

    (void)state;
    log_setup("logfmt", getenv("KINLOG_TEST_LOG") != NULL ? 7 : 2);
    assert_int_equal(embedded_broker_open(0, &names, 1, &broker, &err), 0);
    return 0;
}

static int close_broker(void **state)
{
    (void)state;
    embedded_broker_close(broker);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_undisturbed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_retried_errors, setup, teardown),
        cmocka_unit_test_setup_teardown(test_fatal_error, setup, teardown),
        cmocka_unit_test_setup_teardown(test_broker_away, setup, teardown),
        cmocka_unit_test_setup_teardown(test_broker_flaps, setup, teardown),
        cmocka_unit_test_setup_teardown(test_restart, setup, teardown),
        cmocka_unit_test_setup_teardown(test_stranger, setup, teardown),
        cmocka_unit_test_setup_teardown(test_deposed, setup, teardown),
    };

    return cmocka_run_group_tests(tests, open_broker, close_broker);
}
