/* reading.c - see reading.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "agent/cli/reading.h"

#include <string.h>

#include "agent/cli/args.h"
#include "events/base/hash.h"

int reading_folder(struct cli *cli, struct store_folder **ret_folder, struct error *err)
{
    int r = cli_config(cli, err);

    if (r < 0)
        return r;
    r = store_folder_open(cli->config->data_dir, /* writing= */ false, ret_folder, err);
    if (r == ERROR_NOT_FOUND && cli->config->file == NULL)
        error_prefix(err, "no configuration was given (--config FILE or KINLOG_CONFIG)");
    return r;
}

static int load_reader(const struct store_folder *folder, enum kv_mode mode,
                       struct shard_reader *reader, struct error *err)
{
    int r = store_open_shard(folder, reader->number, mode, &reader->kv, err);

    if (r == 0)
        r = store_check_owner(reader->kv, &reader->identity, err);
    if (r == 0)
        r = head_load(reader->kv, &reader->identity, &reader->head, err);
    if (r == 0)
        r = head_check_end(reader->kv, &reader->head, err);
    if (r == 0)
        r = views_open(reader->kv, /* batch= */ NULL, &reader->views, err);
    return r;
}

int shard_reader_open_partial(const struct store_folder *folder, uint32_t shard,
                              enum kv_mode mode, struct shard_reader *ret_reader,
                              struct error *err)
{
    struct shard_reader reader = {
        .number = shard,
        .identity = store_identity(folder, shard),
        .site_key = store_check_site_key(folder, NULL) == 0 ? folder->site_key : NULL,
    };
    int r = load_reader(folder, mode, &reader, err);

    if (r < 0) {
        shard_reader_close(&reader);
        error_prefix(err, "shard %u", shard);
        return r;
    }
    *ret_reader = reader;
    return 0;
}

int shard_reader_open(const struct store_folder *folder, uint32_t shard,
                      enum kv_mode mode, struct shard_reader *ret_reader,
                      struct error *err)
{
    struct head witness = {0};
    /* Read before the store is frozen, so that it is never ahead of a sound one. */
    int r = witness_read(folder, shard, &witness, err);

    if (r >= 0)
        r = shard_reader_open_partial(folder, shard, mode, ret_reader, err);
    if (r == 0 && ret_reader->head.sequence < witness.sequence) {
        r = error_set(
            err, ERROR_CORRUPT,
            "shard %u: the store ends at event %llu, but the log had event %llu: "
            "it is being filled, or has lost its newest part. Start the agent, "
            "or run `kinlog repair`",
            shard, (unsigned long long)ret_reader->head.sequence,
            (unsigned long long)witness.sequence);
        shard_reader_close(ret_reader);
    }
    return r;
}

void shard_reader_close(struct shard_reader *reader)
{
    views_close(reader->views);
    kv_close(reader->kv);
    reader->views = NULL;
    reader->kv = NULL;
}

int reading_shards(const struct cli *cli, const struct store_folder *folder,
                   uint32_t *ret_first, uint32_t *ret_last, struct error *err)
{
    const char *text = cli_value(cli, "shard");
    uint64_t number = 0;

    *ret_first = 0;
    *ret_last = folder->identity.shards;
    if (text == NULL)
        return 0;
    int r = args_number("--shard", text, 0, folder->identity.shards - 1, &number, err);
    if (r < 0)
        return r;
    *ret_first = (uint32_t)number;
    *ret_last = *ret_first + 1;
    return 0;
}

uint32_t reading_shard_of(const struct store_folder *folder, const char *key)
{
    return slot_of_key(bytes_str(key)) % folder->identity.shards;
}
