/* cmd_repair.c - kinlog repair: finds out what is damaged and mends it, where nobody needs
 * to decide anything (agent/shard/mend.h). The agent must be stopped: the folder's lock
 * says so.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <string.h>

#include "agent/cli/cli.h"
#include "agent/cli/progress.h"
#include "agent/cli/reading.h"
#include "agent/cli/shard_report.h"
#include "agent/shard/mend.h"
#include "agent/shard/site.h"

static const char *const mended_names[] = {
    [MENDED_NOTHING] = "sound",   [MENDED_WITNESS] = "witness",
    [MENDED_DERIVED] = "rebuilt", [MENDED_REFILLED] = "refilled",
    [MENDED_REFUSED] = "refused",
};

/* ---- the report -------------------------------------------------------------------- */

static const char *or_null(const char *text)
{
    return text[0] != '\0' ? text : NULL;
}

static void print_object(struct json_out *json, uint32_t shard,
                         const struct mend_report *report)
{
    json_out_object(json, NULL);
    json_out_unsigned(json, "Shard", shard);
    json_out_string(json, "Result", mended_names[report->mended]);
    json_out_unsigned(json, "Sequence", report->events);
    json_out_string(json, "Damage", or_null(report->found));
    json_out_string(json, "Refused", or_null(report->refused));
    json_out_string(json, "Kept", or_null(report->aside));
    if (report->lost_to != 0) {
        json_out_unsigned(json, "UnpublishedFrom", report->lost_from);
        json_out_unsigned(json, "UnpublishedTo", report->lost_to);
    } else {
        json_out_null(json, "UnpublishedFrom");
        json_out_null(json, "UnpublishedTo");
    }
    json_out_close(json);
}

static void print_text(uint32_t shard, const struct mend_report *report)
{
    static const char *const done[] = {
        [MENDED_NOTHING] = "sound, and the events topic has it; nothing was changed",
        [MENDED_WITNESS] = "mended: the witness was written anew",
        [MENDED_DERIVED] = "mended: views and receipts made anew from the log",
        [MENDED_REFILLED] = "mended: a new store was filled from the events topic",
    };

    if (report->found[0] != '\0')
        shard_report_line(shard, "DAMAGED: ", report->found);
    if (report->mended == MENDED_REFUSED)
        shard_report_line(shard, "REFUSED: ", report->refused);
    else
        shard_report_line(shard, "", done[report->mended]);
    if (report->aside[0] != '\0')
        shard_report_line(
            shard,
            "the damaged store is kept, remove it when you are content: ", report->aside);
    if (report->lost_to != 0)
        (void)printf("shard %" PRIu32 ": events %" PRIu64 " to %" PRIu64
                     " stood in the damaged store alone: never published, so never "
                     "answered; `kinlog run` decides their commands again\n",
                     shard, report->lost_from, report->lost_to);
}

static void print_report(struct shard_report *output, uint32_t shard,
                         const struct mend_report *report)
{
    struct json_out *json = shard_report_entry(output);

    if (json != NULL)
        print_object(json, shard, report);
    else
        print_text(shard, report);
    shard_report_entry_end(output);
}

/* ---- mending ----------------------------------------------------------------------- */

static int mend_one(struct cli *cli, const struct store_folder *folder, uint32_t shard,
                    struct mend_report *ret_report, struct error *err)
{
    struct progress progress;
    char label[32];

    (void)snprintf(label, sizeof(label), "shard %" PRIu32, shard);
    progress_begin(&progress, label);
    int r =
        mend_shard(folder, cli->config, shard, progress_step, &progress, ret_report, err);
    progress_end(&progress);
    if (r < 0)
        error_prefix(err, "shard %" PRIu32, shard);
    return r;
}

/* One shard's refusal does not keep the others from being mended. */
static int mend_all(struct cli *cli, const struct store_folder *folder,
                    unsigned *ret_refused, struct error *err)
{
    struct shard_report output;
    struct mend_report report;
    uint32_t first, last;
    int r = reading_shards(cli, folder, &first, &last, err);

    if (r < 0)
        return r;
    shard_report_begin(&output, cli);
    for (uint32_t shard = first; shard < last; shard++) {
        r = mend_one(cli, folder, shard, &report, err);
        if (r < 0)
            return r;
        *ret_refused += report.mended == MENDED_REFUSED;
        print_report(&output, shard, &report);
    }
    shard_report_end(&output);
    return 0;
}

/* Without kinlog.json nothing says what the folder holds: it is made anew first. */
static int open_folder(struct cli *cli, struct store_folder **ret_folder,
                       struct error *err)
{
    const char *path = cli->config->data_dir;
    struct log_identity identity;
    int r = store_folder_open(path, /* writing= */ true, ret_folder, err);

    if (r != ERROR_CORRUPT && r != ERROR_NOT_FOUND)
        return r;
    error_clear(err);
    r = site_restore(cli->config, &identity, err);
    if (r < 0) {
        error_prefix(err, "%s/kinlog.json is missing or damaged, and cannot be made anew",
                     path);
        return r;
    }
    (void)fprintf(stderr, "kinlog: %s/kinlog.json was missing or damaged: made anew\n",
                  path);
    return store_folder_open(path, /* writing= */ true, ret_folder, err);
}

int cmd_repair(struct cli *cli, int argc, char **argv)
{
    struct store_folder *folder = NULL;
    struct error err = {0};
    unsigned refused = 0;

    (void)argv;
    if (argc > 0)
        return cli_wrong(cli, "repair takes no words, only --shard N");
    int r = cli_config(cli, &err);
    if (r == 0)
        r = config_need_broker(cli->config, &err);
    if (r == 0)
        r = open_folder(cli, &folder, &err);
    if (r == 0)
        r = mend_all(cli, folder, &refused, &err);
    store_folder_close(folder);
    if (r < 0)
        return cli_fail(cli, &err);
    return refused > 0 ? EXIT_REFUSED : EXIT_DONE;
}
