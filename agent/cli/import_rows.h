/* import_rows.h - what becomes of the rows of an import: those on their way, in a window
 * of bounded size, and the results, in the order of the file.
 *
 *     import_rows_begin    a row is on its way; not while the window is full
 *     import_rows_end      its outcome, in any order
 *     import_rows_summary  what there is to tell of all of them
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef AGENT_CLI_IMPORT_ROWS_H
#define AGENT_CLI_IMPORT_ROWS_H

#include <stdio.h>

#include "events/base/bytes.h"
#include "events/base/error.h"

#define IMPORT_WINDOW 1000 /* enough to keep an agent busy; a megabyte or so */

enum import_outcome {
    IMPORT_READY, /* would be sent, but for --dry-run */
    IMPORT_ACCEPTED,
    IMPORT_UNCHANGED,
    IMPORT_REFUSED,
    IMPORT_CONFLICT,
    IMPORT_NO_ANSWER,
    IMPORT_OUTCOMES
};
extern const char *const import_outcome_names[IMPORT_OUTCOMES];
/* IMPORT_OUTCOMES: it is none. */
enum import_outcome import_outcome_of(const char *name);

struct import_rows;
/* path: of the file that gets one line for each row, made when the first one is done with;
 * NULL = none, "-" = standard output; borrowed. */
int import_rows_new(const char *path, struct import_rows **ret_rows, struct error *err);
void import_rows_free(struct import_rows *rows); /* NULL is fine */

/* Makes the file now. */
int import_rows_open(struct import_rows *rows, struct error *err);

bool import_rows_full(const struct import_rows *rows);
size_t import_rows_waiting(const struct import_rows *rows);
/* Lines ascend from row to row. */
void import_rows_begin(struct import_rows *rows, uint64_t line);
/* A line that does not wait for its outcome (any more) is passed over. reason: copied.
 * repeated: it was decided by an earlier import. */
int import_rows_end(struct import_rows *rows, uint64_t line, enum import_outcome outcome,
                    bool repeated, struct bytes reason, struct error *err);
/* All that wait end with IMPORT_NO_ANSWER. */
int import_rows_give_up(struct import_rows *rows, struct error *err);
/* Writes what is not yet written. */
int import_rows_finish(struct import_rows *rows, struct error *err);

#define IMPORT_REFUSALS_MAX 10
struct import_refusal {
    uint64_t line;
    enum import_outcome outcome; /* IMPORT_REFUSED or IMPORT_CONFLICT */
    struct bytes reason;
};
struct import_summary {
    uint64_t counts[IMPORT_OUTCOMES];
    uint64_t total, repeated;
    uint64_t last_line; /* of the last row that is done with, and all before it */
    struct import_refusal refusals[IMPORT_REFUSALS_MAX]; /* the first ones */
    size_t refusal_count;
    const char *path; /* of the file that was made; NULL = none */
};
/* Borrowed until the next call. */
const struct import_summary *import_rows_summary(const struct import_rows *rows);

#endif
