/* cmd_rebuild.c - kinlog rebuild: what is derived from the log made anew, and the ways
 * out for a shard that has stopped with an alarm. The agent must be stopped: the folder's
 * lock says so.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <string.h>

#include "agent/cli/cli.h"
#include "agent/cli/progress.h"
#include "agent/cli/reading.h"
#include "agent/cli/shard_report.h"
#include "agent/shard/repair.h"

enum way { WAY_VIEWS, WAY_FROM_TOPIC, WAY_REPUBLISH, WAY_COMMANDS };

static int parse_way(const struct cli *cli, enum way *ret_way, bool *ret_earliest,
                     struct error *err)
{
    const char *where = cli_value(cli, "commands-from");
    int ways = cli_has(cli, "from-topic") + cli_has(cli, "republish") + (where != NULL);

    *ret_way = cli_has(cli, "from-topic")  ? WAY_FROM_TOPIC
               : cli_has(cli, "republish") ? WAY_REPUBLISH
               : where != NULL             ? WAY_COMMANDS
                                           : WAY_VIEWS;
    *ret_earliest = where != NULL && strcmp(where, "earliest") == 0;
    if (ways > 1)
        return error_set(err, ERROR_USAGE,
                         "--from-topic, --republish and --commands-from: one at a time");
    if (where != NULL && !*ret_earliest && strcmp(where, "latest") != 0)
        return error_set(err, ERROR_USAGE,
                         "--commands-from: earliest or latest is wanted");
    return 0;
}

static int mend(struct cli *cli, const struct store_folder *folder, uint32_t shard,
                enum way way, bool earliest, struct error *err)
{
    struct progress progress;
    char label[64];
    int r;

    switch (way) {
    case WAY_VIEWS:
        (void)snprintf(label, sizeof(label), "shard %" PRIu32, shard);
        progress_begin(&progress, label);
        r = repair_views(folder, shard, progress_step, &progress, err);
        progress_end(&progress);
        return r;
    case WAY_FROM_TOPIC:
        return repair_from_topic(folder, shard, err);
    case WAY_REPUBLISH:
        return repair_republish(folder, shard, err);
    case WAY_COMMANDS:
        break;
    }
    r = config_need_broker(cli->config, err);
    return r < 0 ? r : repair_commands(folder, cli->config, shard, earliest, err);
}

static void print_object(struct json_out *json, uint32_t shard, enum way way)
{
    static const char *const results[] = {
        [WAY_VIEWS] = "rebuilt",
        [WAY_FROM_TOPIC] = "emptied",
        [WAY_REPUBLISH] = "to be published",
        [WAY_COMMANDS] = "moved",
    };

    json_out_object(json, NULL);
    json_out_unsigned(json, "Shard", shard);
    json_out_string(json, "Result", results[way]);
    json_out_close(json);
}

static void print_text(uint32_t shard, enum way way, bool earliest)
{
    (void)printf("shard %" PRIu32 ": ", shard);
    switch (way) {
    case WAY_VIEWS:
        (void)puts("views and receipts made anew from the log");
        break;
    case WAY_FROM_TOPIC:
        (void)puts("the store is put aside; `kinlog run` fills the new one from the "
                   "events topic");
        break;
    case WAY_REPUBLISH:
        (void)puts("`kinlog run` publishes the log to the events topic anew");
        break;
    case WAY_COMMANDS:
        (void)printf("goes on at the %s of the commands topic\n",
                     earliest ? "first record" : "end");
        break;
    }
}

static int rebuild_all(struct cli *cli, const struct store_folder *folder, enum way way,
                       bool earliest, struct error *err)
{
    struct shard_report output;
    uint32_t first, last;
    int r = reading_shards(cli, folder, &first, &last, err);

    if (r < 0)
        return r;
    shard_report_begin(&output, cli);
    for (uint32_t shard = first; shard < last; shard++) {
        r = mend(cli, folder, shard, way, earliest, err);
        if (r < 0) {
            error_prefix(err, "shard %" PRIu32, shard);
            return r;
        }
        struct json_out *json = shard_report_entry(&output);
        if (json != NULL)
            print_object(json, shard, way);
        else
            print_text(shard, way, earliest);
        shard_report_entry_end(&output);
    }
    shard_report_end(&output);
    return 0;
}

int cmd_rebuild(struct cli *cli, int argc, char **argv)
{
    struct store_folder *folder = NULL;
    struct error err = {0};
    enum way way;
    bool earliest;

    (void)argv;
    if (argc > 0)
        return cli_wrong(cli, "rebuild takes no words, only options");
    int r = parse_way(cli, &way, &earliest, &err);
    if (r == 0)
        r = cli_config(cli, &err);
    if (r == 0)
        r = store_folder_open(cli->config->data_dir, /* writing= */ true, &folder, &err);
    if (r == 0)
        r = rebuild_all(cli, folder, way, earliest, &err);
    store_folder_close(folder);
    return r < 0 ? cli_fail(cli, &err) : EXIT_DONE;
}
