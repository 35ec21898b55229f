/* replies.h - commands sent from the command line, and the answers to them.
 *
 *     exchange_open    finds the topics and where the replies end
 *     exchange_send    publishes the command; it lies in the topic when this returns
 *     exchange_post    hands it over without waiting, as one of many
 *     exchange_next    waits for the next answer
 *
 * Answers of one shard come in one partition; only the partitions asked for are read.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef AGENT_CLI_REPLIES_H
#define AGENT_CLI_REPLIES_H

#include "agent/config/config.h"
#include "agent/kafka/kafka.h"
#include "events/base/error.h"

struct exchange;

struct answer_record {
    struct bytes value;        /* JSON */
    struct bytes causation_id; /* of the command that it answers */
    struct bytes causation_source;
    bool repeated; /* the command had been decided before */
};

/* deadline_ms: of clock_monotonic_ms(), for all of it until it is set anew. ERROR_TIMEOUT: the broker cannot
 * be reached; ERROR_NOT_FOUND: there are no such topics. */
int exchange_open(const struct config *config, int64_t deadline_ms,
                  struct exchange **ret_exchange, struct error *err);
void exchange_close(struct exchange *exchange);            /* NULL is fine */
uint32_t exchange_shards(const struct exchange *exchange); /* partitions of commands */
void exchange_set_deadline(struct exchange *exchange, int64_t deadline_ms);

/* Reads the replies of this shard, or of all shards, from their present end on; before
 * the sending. */
int exchange_listen(struct exchange *exchange, uint32_t shard, struct error *err);
int exchange_listen_all(struct exchange *exchange, struct error *err);

/* ERROR_TIMEOUT: it may or may not lie there. */
int exchange_send(struct exchange *exchange, uint32_t shard, struct bytes key,
                  struct bytes value, const struct header *headers, size_t header_count,
                  struct error *err);
/* Told, while exchange_next() runs, that the broker has not taken a command: its tag as
 * given to exchange_post(), and why. */
typedef void (*exchange_failed_fn)(void *context, uint64_t tag, const struct error *err);
void exchange_on_failure(struct exchange *exchange, exchange_failed_fn failed,
                         void *context);
/* tag: not 0. ERROR_TOO_LARGE: the command is larger than any topic takes. */
int exchange_post(struct exchange *exchange, uint32_t shard, struct bytes key,
                  struct bytes value, const struct header *headers, size_t header_count,
                  uint64_t tag, struct error *err);
/* 0 and an answer, borrowed until the next call; 1 = the deadline has come. */
int exchange_next(struct exchange *exchange, struct answer_record *ret_answer,
                  struct error *err);

#endif
