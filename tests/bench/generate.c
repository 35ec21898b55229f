/* generate.c - fills the commands topic: generate --brokers B --topic T --kind KIND --first I --count N
 * --devices D. Kinds: commands.c.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "tests/bench/client.h"
#include "tests/bench/commands.h"

static const struct setting PRODUCER[] = {
    {"enable.idempotence", "true"},
    {"acks", "all"},
    {"linger.ms", "5"},
    {"partitioner", "murmur2_random"},
    {"queue.buffering.max.messages", "200000"},
    {NULL, NULL},
};

static int64_t delivered;

static void on_delivery(rd_kafka_t *rk, const rd_kafka_message_t *message, void *opaque)
{
    (void)rk;
    (void)opaque;
    if (message->err)
        die("a command was not taken: %s", rd_kafka_err2str(message->err));
    delivered++;
}

int main(int argc, char **argv)
{
    const char *brokers = text_argument(argc, argv, "--brokers", NULL);
    enum command_kind kind = command_kind_of(text_argument(argc, argv, "--kind", NULL));
    int64_t first = number_argument(argc, argv, "--first", 0);
    int64_t count = number_argument(argc, argv, "--count", -1);
    int64_t devices = number_argument(argc, argv, "--devices", -1);
    rd_kafka_conf_t *conf = client_conf(brokers, PRODUCER);
    struct command command;

    rd_kafka_conf_set_dr_msg_cb(conf, on_delivery);
    rd_kafka_t *rk = client_new(RD_KAFKA_PRODUCER, conf);
    rd_kafka_topic_t *topic =
        rd_kafka_topic_new(rk, text_argument(argc, argv, "--topic", NULL), NULL);
    for (int64_t i = 0; i < count; i++) {
        command_make(&command, kind, (uint64_t)(first + i), (uint64_t)devices);
        command_send(&command, rk, topic);
        if (i % 1000 == 0)
            (void)rd_kafka_poll(rk, 0);
    }
    (void)rd_kafka_flush(rk, 60000);
    if (delivered != count)
        die("%lld of %lld commands were taken", (long long)delivered, (long long)count);
    rd_kafka_topic_destroy(topic);
    rd_kafka_destroy(rk);
    return 0;
}
