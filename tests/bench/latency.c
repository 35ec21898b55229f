/* latency.c - sends commands at an even pace and takes the time until each one's answer.
 *
 *     latency --brokers B --commands T --replies T --partitions P --kind KIND --first I
 *             --devices D [--rate 2000] [--seconds 15] [--warmup 3]
 *
 * Command i is due at start + i / rate, and its latency counts from then: a sender that is late hides
 * nothing. Linger is 0 on this side. One thread sends; the other reads the replies from their end on and
 * finds the command by ce_causationid. Prints as JSON how many were answered after the warm-up, percentiles
 * in milliseconds, and how late the sender was at worst.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/bench/client.h"
#include "tests/bench/commands.h"

/* For the last answers, after the last command was sent. */
#define PATIENCE_US 30000000

static const struct setting PRODUCER[] = {
    {"enable.idempotence", "true"},    {"acks", "all"}, {"linger.ms", "0"},
    {"partitioner", "murmur2_random"}, {NULL, NULL},
};

static const struct setting CONSUMER[] = {
    {"group.id", "kinlog-bench"},
    {"enable.auto.commit", "false"},
    {"auto.offset.reset", "error"},
    {"check.crcs", "true"},
    {"fetch.wait.max.ms", "100"},
    {"isolation.level", "read_committed"},
    {NULL, NULL},
};

struct sample {
    struct command command;
    int64_t due_us;      /* 0: not sent yet */
    int64_t answered_us; /* 0: not yet */
};

static struct sample *samples;
static int64_t count, answered, rate, worst_us;
static uint32_t *slots; /* index + 1 of a sample, found by the id's hash */
static size_t slot_count;

static uint64_t hash_id(const char *id)
{
    uint64_t hash = 1469598103934665603u;

    for (int i = 0; i < UUID_SIZE; i++)
        hash = (hash ^ (unsigned char)id[i]) * 1099511628211u;
    return hash;
}

static void index_samples(void)
{
    slot_count = (size_t)count * 2 + 1;
    slots = calloc(slot_count, sizeof(*slots));
    if (slots == NULL)
        die("out of memory");
    for (int64_t i = 0; i < count; i++) {
        size_t slot = hash_id(samples[i].command.id) % slot_count;

        while (slots[slot])
            slot = (slot + 1) % slot_count;
        slots[slot] = (uint32_t)i + 1;
    }
}

static struct sample *find_sample(const char *id)
{
    size_t slot = hash_id(id) % slot_count;

    for (; slots[slot]; slot = (slot + 1) % slot_count)
        if (memcmp(samples[slots[slot] - 1].command.id, id, UUID_SIZE) == 0)
            return &samples[slots[slot] - 1];
    return NULL;
}

static void take_answer(const rd_kafka_message_t *message, int64_t now_us)
{
    rd_kafka_headers_t *headers;
    const void *id;
    size_t size;

    if (message->err)
        die("consume: %s", rd_kafka_message_errstr(message));
    if (rd_kafka_message_headers(message, &headers) ||
        rd_kafka_header_get_last(headers, "ce_causationid", &id, &size) ||
        size != UUID_SIZE)
        return;
    struct sample *sample = find_sample(id);
    if (sample == NULL || sample->answered_us)
        return;
    sample->answered_us = now_us;
    answered++;
}

static void on_delivery(rd_kafka_t *rk, const rd_kafka_message_t *message, void *opaque)
{
    (void)rk;
    (void)opaque;
    if (message->err)
        die("a command was not taken: %s", rd_kafka_err2str(message->err));
}

struct sender {
    rd_kafka_t *rk;
    rd_kafka_topic_t *topic;
};

static void *send_all(void *argument)
{
    struct sender *sender = argument;
    int64_t start_us = monotonic_us() + 1000;

    for (int64_t i = 0; i < count; i++) {
        int64_t due_us = start_us + i * 1000000 / rate;
        const struct timespec due = {due_us / 1000000, due_us % 1000000 * 1000};

        while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, NULL) != 0)
            continue;
        if (monotonic_us() - due_us > worst_us)
            worst_us = monotonic_us() - due_us;
        samples[i].due_us = due_us;
        command_send(&samples[i].command, sender->rk, sender->topic);
        (void)rd_kafka_poll(sender->rk, 0);
    }
    (void)rd_kafka_flush(sender->rk, 30000);
    return NULL;
}

static rd_kafka_t *open_reader(const char *brokers, const char *replies, int partitions)
{
    rd_kafka_t *rk = client_new(RD_KAFKA_CONSUMER, client_conf(brokers, CONSUMER));
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(partitions);

    for (int p = 0; p < partitions; p++) {
        int64_t low, high;
        rd_kafka_resp_err_t code =
            rd_kafka_query_watermark_offsets(rk, replies, p, &low, &high, 10000);

        if (code)
            die("watermarks: %s", rd_kafka_err2str(code));
        rd_kafka_topic_partition_list_add(list, replies, p)->offset = high;
    }
    if (rd_kafka_assign(rk, list))
        die("assign failed");
    rd_kafka_topic_partition_list_destroy(list);
    return rk;
}

static int compare(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return (x > y) - (x < y);
}

static void report(int64_t skipped)
{
    int64_t *took = calloc((size_t)count, sizeof(*took)), n = 0;

    if (took == NULL)
        die("out of memory");
    for (int64_t i = skipped; i < count; i++)
        if (samples[i].answered_us)
            took[n++] = samples[i].answered_us - samples[i].due_us;
    if (answered < count)
        die("%" PRId64 " of %" PRId64 " commands were answered", answered, count);
    qsort(took, (size_t)n, sizeof(*took), compare);
    (void)printf("{\"commands\": %" PRId64 ", \"p50_ms\": %.2f, \"p90_ms\": %.2f, "
                 "\"p99_ms\": %.2f, \"p999_ms\": %.2f, \"max_ms\": %.2f, "
                 "\"sender_late_ms\": %.2f}\n",
                 n, (double)took[n / 2] / 1e3, (double)took[n * 90 / 100] / 1e3,
                 (double)took[n * 99 / 100] / 1e3, (double)took[n * 999 / 1000] / 1e3,
                 (double)took[n - 1] / 1e3, (double)worst_us / 1e3);
    (void)fflush(stdout);
    free(took);
}

int main(int argc, char **argv)
{
    const char *brokers = text_argument(argc, argv, "--brokers", NULL);
    enum command_kind kind = command_kind_of(text_argument(argc, argv, "--kind", NULL));
    int64_t devices = number_argument(argc, argv, "--devices", -1);
    int64_t first = number_argument(argc, argv, "--first", -1);
    int64_t warmup;
    struct sender sender;
    pthread_t thread;

    rate = number_argument(argc, argv, "--rate", 2000);
    warmup = number_argument(argc, argv, "--warmup", 3) * rate;
    count = warmup + number_argument(argc, argv, "--seconds", 15) * rate;
    samples = calloc((size_t)count, sizeof(*samples));
    if (samples == NULL)
        die("out of memory");
    for (int64_t i = 0; i < count; i++)
        command_make(&samples[i].command, kind, (uint64_t)(first + i), (uint64_t)devices);
    index_samples();

    rd_kafka_t *reader =
        open_reader(brokers, text_argument(argc, argv, "--replies", NULL),
                    (int)number_argument(argc, argv, "--partitions", -1));
    rd_kafka_conf_t *conf = client_conf(brokers, PRODUCER);
    rd_kafka_conf_set_dr_msg_cb(conf, on_delivery);
    sender.rk = client_new(RD_KAFKA_PRODUCER, conf);
    sender.topic = rd_kafka_topic_new(
        sender.rk, text_argument(argc, argv, "--commands", NULL), NULL);
    if (pthread_create(&thread, NULL, send_all, &sender) != 0)
        die("no thread");
    int64_t last_us = monotonic_us();
    while (answered < count && monotonic_us() - last_us < PATIENCE_US) {
        rd_kafka_message_t *message = rd_kafka_consumer_poll(reader, 100);

        if (message == NULL)
            continue;
        last_us = monotonic_us();
        take_answer(message, last_us);
        rd_kafka_message_destroy(message);
    }
    (void)pthread_join(thread, NULL);
    report(warmup);
    return 0; /* the process's end closes the clients */
}
