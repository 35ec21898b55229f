/* shard.h - one shard: a thread that claims it, decides its commands, publishes, answers.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef AGENT_SHARD_SHARD_H
#define AGENT_SHARD_SHARD_H

#include "agent/config/config.h"
#include "agent/shard/store.h"

struct shard_settings {
    const struct config *config; /* borrowed, as all below */
    const struct store_folder *folder;
    uint32_t number;
    const char *agent_name;      /* host and process, for claims */
    const char *cluster_id;      /* of the brokers reached at start */
    size_t events_message_bytes; /* max.message.bytes of events, 0 = unknown */
    /* the largest of commands, replies and dead letters */
    size_t outbox_message_bytes;
    size_t dead_letter_bytes; /* what the dead letters take */
};

struct shard;
/* Starts the shard's thread. */
int shard_start(const struct shard_settings *settings, struct shard **ret_shard,
                struct error *err);
/* Asks the thread to drain and end. Any thread. */
void shard_stop(struct shard *shard);
/* Frees the shard if its thread has ended. False: it has not. */
bool shard_try_join(struct shard *shard);
/* True if its store does not come back from being closed. RocksDB 7.8 can wait for ever
 * there, when the disk was full and its own attempt to go on meets the closing. Nothing in
 * the process can open the store again then. Any thread. */
bool shard_is_stuck(const struct shard *shard);
/* Asks for new Kafka handles and another try if the shard has stopped (SIGHUP). Any
 * thread. */
void shard_reopen(struct shard *shard);
/* For readiness: owner, follower or stopped are settled, claiming is not. Any thread. */
enum shard_role shard_present_role(const struct shard *shard);

#endif
