/* cmd_verify.c - kinlog verify: is the log whole, and is everything else what the log
 * makes of it? What is checked stands in agent/shard/verify.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <string.h>

#include "agent/cli/cli.h"
#include "agent/cli/progress.h"
#include "agent/cli/reading.h"
#include "agent/cli/shard_report.h"
#include "agent/shard/verify.h"

static int check_shard(const struct store_folder *folder, uint32_t shard,
                       struct verdict *ret_verdict, struct error *err)
{
    struct progress progress;
    char label[32];

    (void)snprintf(label, sizeof(label), "shard %" PRIu32, shard);
    progress_begin(&progress, label);
    int r = verify_shard(folder, shard, progress_step, &progress, ret_verdict, err);
    progress_end(&progress);
    if (r < 0)
        error_prefix(err, "shard %" PRIu32, shard);
    return r;
}

/* ---- the report -------------------------------------------------------------------- */

static void print_object(struct json_out *json, uint32_t shard,
                         const struct verdict *verdict)
{
    bool fine = verdict->damage == DAMAGE_NONE;

    json_out_object(json, NULL);
    json_out_unsigned(json, "Shard", shard);
    if (fine)
        json_out_unsigned(json, "Sequence", verdict->events);
    else
        json_out_null(json, "Sequence");
    json_out_string(json, "Result", fine ? "ok" : "damaged");
    json_out_string(json, "Damage", fine ? NULL : verdict->fault.text);
    json_out_close(json);
}

static void print_verdict(struct shard_report *output, uint32_t shard,
                          const struct verdict *verdict)
{
    struct json_out *json = shard_report_entry(output);

    if (json != NULL)
        print_object(json, shard, verdict);
    else if (verdict->damage == DAMAGE_NONE)
        (void)printf("shard %" PRIu32 ": %" PRIu64
                     " events, chain whole, views and receipts as replayed\n",
                     shard, verdict->events);
    else
        shard_report_line(shard, "DAMAGED: ", verdict->fault.text);
    shard_report_entry_end(output);
}

static int verify_all(struct cli *cli, const struct store_folder *folder,
                      unsigned *ret_damaged, struct error *err)
{
    struct shard_report output;
    struct verdict verdict;
    uint32_t first, last;
    int r = reading_shards(cli, folder, &first, &last, err);

    if (r < 0)
        return r;
    shard_report_begin(&output, cli);
    for (uint32_t shard = first; shard < last; shard++) {
        r = check_shard(folder, shard, &verdict, err);
        if (r < 0)
            return r;
        *ret_damaged += verdict.damage != DAMAGE_NONE;
        print_verdict(&output, shard, &verdict);
    }
    shard_report_end(&output);
    return 0;
}

int cmd_verify(struct cli *cli, int argc, char **argv)
{
    struct store_folder *folder = NULL;
    struct error err = {0};
    unsigned damaged_count = 0;

    (void)argv;
    if (argc > 0)
        return cli_wrong(cli, "verify takes no words, only --shard N");
    int r = reading_folder(cli, &folder, &err);
    if (r == ERROR_CORRUPT || r == ERROR_INVALID) { /* kinlog.json, site.key */
        (void)cli_fail(cli, &err);
        return EXIT_DAMAGE;
    }
    if (r == 0)
        r = verify_all(cli, folder, &damaged_count, &err);
    if (r == 0 && store_check_site_key(folder, &err) < 0) {
        (void)cli_fail(cli, &err);
        damaged_count++;
    }
    store_folder_close(folder);
    if (r < 0)
        return cli_fail(cli, &err);
    if (damaged_count == 0)
        return EXIT_DONE;
    if (cli->form == OUTPUT_TABLE && err.code == 0)
        (void)fprintf(stderr, "kinlog: %u shard%s damaged\n", damaged_count,
                      damaged_count == 1 ? " is" : "s are");
    return EXIT_DAMAGE;
}
