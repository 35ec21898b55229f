/* repair.h - what is done to a store from outside the pipeline, with the agent stopped or
 * between two ownerships.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef AGENT_SHARD_REPAIR_H
#define AGENT_SHARD_REPAIR_H

#include "agent/config/config.h"
#include "agent/shard/store.h"
#include "projections/views.h"

/* Drops the events from sequence `from` on and makes head, views and receipts anew from
 * the rest. */
int repair_truncate(struct kv *kv, const struct log_identity *identity, uint64_t from,
                    struct error *err);
/* Finishes a truncation that was broken off: it leaves a head and views ahead of the log,
 * which is never cut at or below mark. 0 = there was none, 1 = head and views were made
 * anew, ERROR_CORRUPT: the log lacks its end otherwise. */
int repair_finish(struct kv *kv, const struct log_identity *identity, uint64_t mark,
                  struct error *err);

/* Folds the log into a head: chain, density and order of the commands' events are checked
 * on the way. ERROR_CORRUPT names the sequence. */
int repair_fold_head(struct kv *kv, const struct log_identity *identity,
                     replay_progress_fn progress, void *context, struct head *ret_head,
                     struct error *err);

/* Views, receipts and digests anew from the log. */
int repair_views(const struct store_folder *folder, uint32_t shard,
                 replay_progress_fn progress, void *context, struct error *err);
/* The store is put aside (shard-<n>.old-<k>) and an empty one takes its place, which the
 * next `run` fills from the events topic. Site key, log id and witness stay. */
int repair_from_topic(const struct store_folder *folder, uint32_t shard,
                      struct error *err);
/* The topic is to get the log again from the store: what is known of topic and cluster is
 * forgotten. */
int repair_republish(const struct store_folder *folder, uint32_t shard,
                     struct error *err);
/* The shard goes on at the first or at the end of what is in the commands topic now. */
int repair_commands(const struct store_folder *folder, const struct config *config,
                    uint32_t shard, bool earliest, struct error *err);

#endif
