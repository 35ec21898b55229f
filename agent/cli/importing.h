/* importing.h - the rows of a CSV file as commands, many on their way at a time, and
 * their answers.
 *
 * A command's id follows from the file's bytes, what its columns are, the run's name and
 * the row's line. So an import that was cut short is run again: what was decided is
 * answered again, the rest is decided now, and nothing happens twice.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef AGENT_CLI_IMPORTING_H
#define AGENT_CLI_IMPORTING_H

#include "agent/cli/cli.h"
#include "agent/cli/csv_file.h"
#include "agent/cli/csv_kind.h"
#include "agent/cli/import_rows.h"
#include "agent/cli/progress.h"
#include "agent/cli/sending.h"

#define IMPORT_SOURCE "/kinlog/import"
#define IMPORT_ID_SIZE 27 /* "csv-", 22 characters, NUL */

struct importing {
    struct cli *cli;
    const struct csv_kind *kind;
    const char *columns; /* as --columns has them; NULL = the file says it */
    const char *run;
    bool header, dry_run;
    int64_t timeout_ms; /* without any answer */
    struct csv_file *file;
    struct import_rows *rows;
    struct outgoing outgoing; /* source and actor are given */
    /* what follows is found on the way */
    struct csv_reader *reader;
    struct csv_mapping mapping;
    struct device_names *names;
    struct exchange *exchange;
    char import_id[IMPORT_ID_SIZE];
    bool prepared;       /* all of the above is there */
    bool silent;         /* no answer came in time */
    int64_t heard_ms;    /* when one came last */
    struct error failed; /* the broker did not take a command */
    struct progress progress;
    struct buf data, key, id, reason;
};

/* Until the file ends, no answer comes in time, or interrupt_seen(). Then no row waits
 * any more. ERROR_USAGE: the columns are not clear; nothing was sent. */
int importing_run(struct importing *importing, struct error *err);
void importing_release(struct importing *importing);

#endif
