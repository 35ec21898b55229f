/* passthrough.c - librdkafka alone: consumes commands, and sends one event and one answer for each, without
 * any work between. What the agent is compared with.
 *
 *     passthrough --brokers B --commands T --events T --replies T --first O0,O1 --count N0,N1
 *                 [--threads 2] [--compression none] [--linger 5] [--consumer-kbytes 16384]
 *
 * --first and --count have a number for each partition. Reads in batches; an event has a value of 350 bytes,
 * the command's key and 7 headers, an answer a value of 200 bytes; both go to the partition of the command.
 * With --threads 2 each partition has a thread, a consumer and a producer of its own, as an agent's shard
 * has; with 1 there is one of each for all. Settings are those of agent/kafka/settings.c, but for linger.
 *
 * Ends when all delivery reports are there, and prints as JSON the commands, the seconds from the first of
 * them being there to the last report, and the processor time of the whole process, its connecting included.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/bench/client.h"

#define PARTITIONS_MAX 16
#define BATCH_MAX 10000
#define EVENT_SIZE 350
#define ANSWER_SIZE 200

static const struct setting CONSUMER[] = {
    {"group.id", "kinlog-bench"},          {"enable.auto.commit", "false"},
    {"enable.auto.offset.store", "false"}, {"auto.offset.reset", "error"},
    {"isolation.level", "read_committed"}, {"check.crcs", "true"},
    {"fetch.wait.max.ms", "100"},          {NULL, NULL},
};

static const struct setting PRODUCER[] = {
    {"enable.idempotence", "true"},
    {"acks", "all"},
    {"max.in.flight", "5"},
    {"message.timeout.ms", "0"},
    {"queue.buffering.max.kbytes", "65536"},
    {NULL, NULL},
};

static struct {
    const char *brokers, *commands, *events, *replies, *linger, *compression;
    const char *consumer_kbytes;
    int partitions, threads;
    int64_t first[PARTITIONS_MAX], count[PARTITIONS_MAX];
} options;

struct worker {
    pthread_t thread;
    int from, to; /* partitions */
    rd_kafka_t *consumer, *producer;
    rd_kafka_topic_t *events, *replies;
    int64_t wanted, consumed, sent, delivered;
    int64_t began_us; /* when the first command was there */
};

static char event_value[EVENT_SIZE], answer_value[ANSWER_SIZE];

static void on_delivery(rd_kafka_t *rk, const rd_kafka_message_t *message, void *opaque)
{
    struct worker *worker = opaque;

    (void)rk;
    if (message->err)
        die("not delivered: %s", rd_kafka_err2str(message->err));
    worker->delivered++;
}

static int parse_list(const char *text, int64_t *numbers)
{
    int count = 0;
    char *end;

    do {
        if (count == PARTITIONS_MAX)
            die("at most %d partitions", PARTITIONS_MAX);
        numbers[count++] = strtoll(text, &end, 10);
        text = end + 1;
    } while (*end == ',');
    return count;
}

/* Connected and acquainted, as the agent is when its time begins. */
static void await_topic(rd_kafka_t *rk, rd_kafka_topic_t *topic)
{
    const struct rd_kafka_metadata *metadata;
    rd_kafka_resp_err_t code = rd_kafka_metadata(rk, 0, topic, &metadata, 10000);

    if (code)
        die("metadata: %s", rd_kafka_err2str(code));
    rd_kafka_metadata_destroy(metadata);
}

static void open_clients(struct worker *worker)
{
    rd_kafka_conf_t *conf = client_conf(options.brokers, CONSUMER);

    client_set(conf, "queued.max.messages.kbytes", options.consumer_kbytes);
    worker->consumer = client_new(RD_KAFKA_CONSUMER, conf);
    conf = client_conf(options.brokers, PRODUCER);
    client_set(conf, "linger.ms", options.linger);
    client_set(conf, "compression.codec", options.compression);
    rd_kafka_conf_set_opaque(conf, worker);
    rd_kafka_conf_set_dr_msg_cb(conf, on_delivery);
    worker->producer = client_new(RD_KAFKA_PRODUCER, conf);
    worker->events = rd_kafka_topic_new(worker->producer, options.events, NULL);
    worker->replies = rd_kafka_topic_new(worker->producer, options.replies, NULL);
    await_topic(worker->producer, worker->events);
    await_topic(worker->producer, worker->replies);
}

static void assign(struct worker *worker)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);

    for (int p = worker->from; p < worker->to; p++) {
        rd_kafka_topic_partition_list_add(list, options.commands, p)->offset =
            options.first[p];
        worker->wanted += options.count[p];
    }
    rd_kafka_resp_err_t code = rd_kafka_assign(worker->consumer, list);
    if (code)
        die("assign: %s", rd_kafka_err2str(code));
    rd_kafka_topic_partition_list_destroy(list);
}

static const struct setting EVENT_HEADERS[] = {
    {"ce_specversion", "1.0"},
    {"content-type", "application/json"},
    {"ce_id", "1-0000123456"},
    {"ce_source", "/kinlog/bench"},
    {"ce_type", "kinlog.RelationshipCreated.v1"},
    {"ce_time", "2026-01-15T09:30:00.250Z"},
    {"ce_causationid", "0123456789abcdef0123456789abcdef0123"},
    {NULL, NULL},
};
static const struct setting NO_HEADERS[] = {{NULL, NULL}};

static void send_both(struct worker *worker, const rd_kafka_message_t *command)
{
    struct outgoing outgoing = {
        .topic = worker->events,
        .partition = command->partition,
        .key = command->key,
        .key_size = command->key_len,
        .value = event_value,
        .value_size = EVENT_SIZE,
        .headers = EVENT_HEADERS,
    };

    client_send(worker->producer, &outgoing);
    outgoing.topic = worker->replies;
    outgoing.value = answer_value;
    outgoing.value_size = ANSWER_SIZE;
    outgoing.headers = NO_HEADERS;
    client_send(worker->producer, &outgoing);
    worker->sent += 2;
}

static void *work(void *argument)
{
    struct worker *worker = argument;
    rd_kafka_queue_t *queue = rd_kafka_queue_get_consumer(worker->consumer);
    rd_kafka_message_t **batch = calloc(BATCH_MAX, sizeof(*batch));

    if (batch == NULL)
        die("out of memory");
    assign(worker);
    while (worker->consumed < worker->wanted) {
        ssize_t taken = 0;

        batch[0] = rd_kafka_consume_queue(queue, 100);
        if (batch[0])
            taken = 1 + rd_kafka_consume_batch_queue(queue, 0, batch + 1, BATCH_MAX - 1);
        if (worker->began_us == 0 && taken > 0)
            worker->began_us = monotonic_us();
        for (ssize_t i = 0; i < taken; i++) {
            const rd_kafka_message_t *command = batch[i];

            if (command->err)
                die("consume: %s", rd_kafka_message_errstr(command));
            if (command->offset <
                options.first[command->partition] + options.count[command->partition]) {
                send_both(worker, command);
                worker->consumed++;
            }
            rd_kafka_message_destroy(batch[i]);
        }
        (void)rd_kafka_poll(worker->producer, 0);
    }
    while (worker->delivered < worker->sent)
        (void)rd_kafka_poll(worker->producer, 10);
    free(batch);
    rd_kafka_queue_destroy(queue);
    return NULL;
}

int main(int argc, char **argv)
{
    struct worker workers[PARTITIONS_MAX] = {{0}};
    int64_t total = 0;

    options.brokers = text_argument(argc, argv, "--brokers", NULL);
    options.commands = text_argument(argc, argv, "--commands", NULL);
    options.events = text_argument(argc, argv, "--events", NULL);
    options.replies = text_argument(argc, argv, "--replies", NULL);
    options.linger = text_argument(argc, argv, "--linger", "5");
    options.compression = text_argument(argc, argv, "--compression", "none");
    options.consumer_kbytes = text_argument(argc, argv, "--consumer-kbytes", "16384");
    options.partitions =
        parse_list(text_argument(argc, argv, "--first", NULL), options.first);
    if (parse_list(text_argument(argc, argv, "--count", NULL), options.count) !=
        options.partitions)
        die("--first and --count name different numbers of partitions");
    options.threads =
        number_argument(argc, argv, "--threads", 2) > 1 ? options.partitions : 1;
    memset(event_value, 'e', sizeof(event_value));
    memset(answer_value, 'a', sizeof(answer_value));

    for (int i = 0; i < options.threads; i++) {
        workers[i].from = options.threads == 1 ? 0 : i;
        workers[i].to = options.threads == 1 ? options.partitions : i + 1;
        open_clients(&workers[i]);
    }
    int64_t began_us = INT64_MAX, cpu_began_us = cpu_us();
    for (int i = 0; i < options.threads; i++)
        if (pthread_create(&workers[i].thread, NULL, work, &workers[i]) != 0)
            die("no thread");
    for (int i = 0; i < options.threads; i++) {
        (void)pthread_join(workers[i].thread, NULL);
        total += workers[i].consumed;
        if (workers[i].began_us > 0 && workers[i].began_us < began_us)
            began_us = workers[i].began_us;
    }
    double seconds = (double)(monotonic_us() - began_us) / 1e6;
    (void)printf("{\"commands\": %" PRId64 ", \"seconds\": %.3f, \"cpu_us\": %" PRId64
                 "}\n",
                 total, seconds, cpu_us() - cpu_began_us);
    return fflush(stdout) != 0; /* the process's end closes the clients */
}
