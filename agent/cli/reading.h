/* reading.h - shards as the reading subcommands see them: frozen at one sequence each,
 * without disturbing an agent that runs.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef AGENT_CLI_READING_H
#define AGENT_CLI_READING_H

#include "agent/cli/cli.h"
#include "agent/shard/store.h"
#include "projections/views.h"

struct shard_reader {
    uint32_t number;
    struct log_identity identity;
    const uint8_t
        *site_key; /* borrowed; NULL = there is none that is right and readable */
    struct kv *kv;
    struct views *views;
    struct head head;
};

/* The data folder that the configuration names, for reading. */
int reading_folder(struct cli *cli, struct store_folder **ret_folder, struct error *err);
/* mode: KV_READ_ONLY or KV_FOLLOW. ERROR_CORRUPT: the store is another shard's, or lacks
 * its newest part, so that what is read from it would be wrong. */
int shard_reader_open(const struct store_folder *folder, uint32_t shard,
                      enum kv_mode mode, struct shard_reader *ret_reader,
                      struct error *err);
/* The same of a store that may lack its newest part: one that is being filled. */
int shard_reader_open_partial(const struct store_folder *folder, uint32_t shard,
                              enum kv_mode mode, struct shard_reader *ret_reader,
                              struct error *err);
void shard_reader_close(
    struct shard_reader *reader); /* fine on one that is zeroed or closed */

/* --shard N: the shards to be read are ret_first..ret_last-1. */
int reading_shards(const struct cli *cli, const struct store_folder *folder,
                   uint32_t *ret_first, uint32_t *ret_last, struct error *err);

/* The shard of a record key. */
uint32_t reading_shard_of(const struct store_folder *folder, const char *key);

#endif
