/* shard_report.h - what a subcommand says of one shard after the other: text, an object a
 * line (--ndjson), or one document (--json).
 *
 *     shard_report_begin(&report, cli);
 *     json = shard_report_entry(&report);        NULL: text is wanted
 *     ...                                        one object, or lines
 *     shard_report_entry_end(&report);
 *     shard_report_end(&report);                 not after an error: the document stays open
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef AGENT_CLI_SHARD_REPORT_H
#define AGENT_CLI_SHARD_REPORT_H

#include "agent/cli/cli.h"
#include "agent/cli/json_out.h"

struct shard_report {
    const struct cli *cli;
    struct json_out json; /* the document, or the present line */
};

void shard_report_begin(struct shard_report *report, const struct cli *cli);
struct json_out *shard_report_entry(struct shard_report *report);
void shard_report_entry_end(struct shard_report *report);
void shard_report_end(struct shard_report *report);

/* `shard N: <word><text>`; the text may hold anything. */
void shard_report_line(uint32_t shard, const char *word, const char *text);

#endif
