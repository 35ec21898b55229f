/* assumptions_driver.c - drives a sink and a source (agent/kafka) by lines on stdin, for
 * what tests/e2e/test_assumptions.py asks of the library and a real broker.
 *
 *     assumptions_driver BOOTSTRAP TOPIC PARTITION log|outbox
 *
 * Each line gets one line of JSON:
 *
 *     send COUNT      hands over COUNT records; the value of each is its tag, from 1 on
 *     stream COUNT    the same, one by one, and serves reports in between, until the sink
 *                     has failed; answers as wait
 *     claim ID        hands over a record of key kinlog:claim with this value
 *     wait MS         serves reports until none is outstanding or the sink has failed, at
 *                     most so long: {"reports":[[tag, offset, code],..],"pending":n,
 *                     "failed":text or null}
 *     read FROM TO    reads the partition: {"records":[[offset, value],..]}
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/clock.h"
#include "agent/kafka/kafka.h"
#include "agent/shard/claim.h"

static struct {
    struct kafka_property common[2];
    struct kafka_settings settings;
    const char *topic;
    int32_t partition;
    struct sink *sink;
    uint64_t tag;
    bool first; /* of the reports or records in a line */
} driver;

static struct error err;

static void must(int code, const char *what)
{
    if (code == 0)
        return;
    fprintf(stderr, "assumptions_driver: %s: %s\n", what, err.text);
    exit(1);
}

static void on_delivery(void *context, const struct delivery *delivery)
{
    (void)context;
    printf("%s[%" PRIu64 ",%" PRId64 ",%d]", driver.first ? "" : ",", delivery->tag,
           delivery->offset, delivery->code);
    driver.first = false;
}

static void say_text(const char *text)
{
    struct buf json = BUF_INIT;

    buf_append_json_string(&json, bytes_str(text));
    printf("%s", buf_cstr(&json));
    buf_release(&json);
}

static void send_one(const char *key, const char *value)
{
    int code = sink_send(driver.sink, driver.topic, driver.partition, bytes_str(key),
                         bytes_str(value), NULL, 0, -1, driver.tag, &err);

    printf("{\"tag\":%" PRIu64 ",\"code\":%d}\n", driver.tag, code);
    error_clear(&err);
}

static int hand_over(void)
{
    char value[24];

    snprintf(value, sizeof value, "%" PRIu64, ++driver.tag);
    return sink_send(driver.sink, driver.topic, driver.partition, bytes_str("k"),
                     bytes_str(value), NULL, 0, -1, driver.tag, &err);
}

static void send_many(unsigned count)
{
    int code = 0;

    for (unsigned i = 0; code == 0 && i < count; i++)
        code = hand_over();
    printf("{\"tag\":%" PRIu64 ",\"code\":%d}\n", driver.tag, code);
    error_clear(&err);
}

static void wait_reports(unsigned count, int timeout_ms)
{
    int64_t deadline_ms = clock_monotonic_ms() + timeout_ms;

    printf("{\"reports\":[");
    driver.first = true;
    while (count-- > 0 && hand_over() == 0)
        sink_poll(driver.sink, 1);
    do {
        sink_poll(driver.sink, 10);
    } while (clock_monotonic_ms() < deadline_ms && sink_pending(driver.sink) > 0 &&
             !sink_failed(driver.sink, NULL));
    error_clear(&err);
    printf("],\"pending\":%zu,\"failed\":", sink_pending(driver.sink));
    if (sink_failed(driver.sink, &err))
        say_text(err.text);
    else
        printf("null");
    printf("}\n");
    error_clear(&err);
}

static void read_records(int64_t from, int64_t to)
{
    struct source *source;
    const struct record *records;
    int64_t next = from;
    size_t count;

    must(source_open(&driver.settings, driver.topic, driver.partition, -1, &source, &err),
         "open the source");
    must(source_start(source, from, &err), "start reading");
    printf("{\"records\":[");
    while (next <= to) {
        must(source_poll(source, 100, 1000, &records, &count, NULL, &err), "read");
        for (size_t i = 0; i < count && records[i].offset <= to; i++) {
            printf("%s[%" PRId64 ",", next == from ? "" : ",", records[i].offset);
            printf("\"%.*s\"]", (int)records[i].value.size,
                   (const char *)records[i].value.data);
            next = records[i].offset + 1;
        }
    }
    printf("]}\n");
    source_close(source);
}

static void obey(const char *line)
{
    long long from, to;
    unsigned number;
    char text[64];

    if (sscanf(line, "send %u", &number) == 1)
        send_many(number);
    else if (sscanf(line, "stream %u", &number) == 1)
        wait_reports(number, 60000);
    else if (sscanf(line, "wait %u", &number) == 1)
        wait_reports(0, (int)number);
    else if (sscanf(line, "read %lld %lld", &from, &to) == 2)
        read_records(from, to);
    else if (sscanf(line, "claim %63s", text) == 1 && ++driver.tag > 0)
        send_one(CLAIM_KEY, text);
    else
        must(error_set(&err, ERROR_INVALID, "%s", line), "no such command");
    fflush(stdout);
}

int main(int argc, char **argv)
{
    char line[256];
    int32_t partitions;

    if (argc != 5)
        return 2;
    driver.common[0] = (struct kafka_property){"bootstrap.servers", argv[1], "test"};
    driver.common[1] = (struct kafka_property){"broker.address.family", "v4", "test"};
    driver.settings = (struct kafka_settings){
        .common = driver.common,
        .common_count = 2,
        .client_id = "kinlog-test",
        .group_id = "kinlog-test",
    };
    driver.topic = argv[2];
    driver.partition = (int32_t)strtol(argv[3], NULL, 10);
    must(sink_open(&driver.settings, strcmp(argv[4], "log") == 0 ? SINK_LOG : SINK_OUTBOX,
                   0, -1, on_delivery, NULL, &driver.sink, &err),
         "open the sink");
    must(sink_topic(driver.sink, driver.topic, 20000, &partitions, &err),
         "find the topic");
    while (fgets(line, sizeof line, stdin) != NULL)
        obey(line);
    sink_close(driver.sink);
    return 0;
}
