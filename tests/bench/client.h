/* client.h - what the programs of the benchmark share: arguments, clocks, librdkafka handles.
 *
 * All of them end with 1 and a line on stderr when something does not work: a figure that
 * rests on a failure is worth nothing.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_BENCH_CLIENT_H
#define TESTS_BENCH_CLIENT_H

#include <librdkafka/rdkafka.h>
#include <stddef.h>
#include <stdint.h>

struct setting {
    const char *name;
    const char *value;
};

_Noreturn void die(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The value of `--name VALUE`; fallback if it is not there, or the end if that is NULL. */
const char *text_argument(int argc, char **argv, const char *name, const char *fallback);

/* The same as a whole number; fallback -1: there must be one. */
int64_t number_argument(int argc, char **argv, const char *name, int64_t fallback);

/* A name of ours out of settings that end with a NULL name, over those that every client
 * here has. */
rd_kafka_conf_t *client_conf(const char *brokers, const struct setting *settings);
void client_set(rd_kafka_conf_t *conf, const char *name, const char *value);

/* Takes conf. */
rd_kafka_t *client_new(rd_kafka_type_t type, rd_kafka_conf_t *conf);

/* What is sent; partition may be RD_KAFKA_PARTITION_UA, key NULL. At most 8 headers. */
struct outgoing {
    rd_kafka_topic_t *topic;
    int32_t partition;
    const void *key, *value;
    size_t key_size, value_size;
    const struct setting *headers; /* ends with a NULL name */
};

/* Waits while the producer's queue is full, and serves its reports then. */
void client_send(rd_kafka_t *rk, const struct outgoing *outgoing);

int64_t monotonic_us(void);

/* User and system time of this process. */
int64_t cpu_us(void);

#endif
