/* shard_report.c - see shard_report.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "agent/cli/shard_report.h"

#include <inttypes.h>

#include "agent/cli/table.h"

void shard_report_begin(struct shard_report *report, const struct cli *cli)
{
    report->cli = cli;
    if (cli->form != OUTPUT_JSON)
        return;
    json_out_begin(&report->json, stdout, /* pretty= */ true);
    json_out_object(&report->json, NULL);
    json_out_array(&report->json, "Shards");
}

struct json_out *shard_report_entry(struct shard_report *report)
{
    if (report->cli->form == OUTPUT_TABLE)
        return NULL;
    if (report->cli->form == OUTPUT_NDJSON)
        json_out_begin(&report->json, stdout, /* pretty= */ false);
    return &report->json;
}

void shard_report_entry_end(struct shard_report *report)
{
    if (report->cli->form == OUTPUT_NDJSON)
        json_out_end(&report->json);
    (void)fflush(stdout);
}

void shard_report_end(struct shard_report *report)
{
    if (report->cli->form != OUTPUT_JSON)
        return;
    json_out_close(&report->json);
    json_out_close(&report->json);
    json_out_end(&report->json);
}

void shard_report_line(uint32_t shard, const char *word, const char *text)
{
    struct buf line = BUF_INIT;

    (void)table_escape(&line, bytes_str(text));
    (void)printf("shard %" PRIu32 ": %s%s\n", shard, word, buf_cstr(&line));
    buf_release(&line);
}
