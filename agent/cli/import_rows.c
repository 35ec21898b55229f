/* import_rows.c - see import_rows.h. The window is a ring: rows enter at its end, and
 * leave from its beginning as soon as their outcome is known, so that the file is in
 * order.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "agent/cli/import_rows.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "agent/cli/csv_reader.h"

const char *const import_outcome_names[IMPORT_OUTCOMES] = {
    [IMPORT_READY] = "ready",         [IMPORT_ACCEPTED] = "accepted",
    [IMPORT_UNCHANGED] = "unchanged", [IMPORT_REFUSED] = "refused",
    [IMPORT_CONFLICT] = "conflict",   [IMPORT_NO_ANSWER] = "no answer",
};

struct row {
    uint64_t line;
    bool done, repeated;
    enum import_outcome outcome;
    struct buf reason;
};

struct import_rows {
    const char *path;
    FILE *file; /* NULL until the first row is done with */
    struct row rows[IMPORT_WINDOW];
    size_t first, count;
    size_t waiting;
    struct buf text;      /* of one line of the file */
    struct arena reasons; /* of the summary's refusals */
    struct import_summary summary;
};

enum import_outcome import_outcome_of(const char *name)
{
    int outcome = 0;

    while (outcome < IMPORT_OUTCOMES && strcmp(name, import_outcome_names[outcome]) != 0)
        outcome++;
    return (enum import_outcome)outcome;
}

int import_rows_new(const char *path, struct import_rows **ret_rows, struct error *err)
{
    struct import_rows *rows = calloc(1, sizeof(*rows));

    if (rows == NULL)
        return error_set(err, ERROR_NO_MEMORY, "out of memory");
    rows->path = path;
    *ret_rows = rows;
    return 0;
}

void import_rows_free(struct import_rows *rows)
{
    if (rows == NULL)
        return;
    for (size_t i = 0; i < IMPORT_WINDOW; i++)
        buf_release(&rows->rows[i].reason);
    if (rows->file != NULL && rows->file != stdout)
        (void)fclose(rows->file);
    buf_release(&rows->text);
    arena_release(&rows->reasons);
    free(rows);
}

/* ---- the file ---------------------------------------------------------------------- */

static int write_error(const struct import_rows *rows, struct error *err)
{
    return error_set(err, errno == ENOSPC ? ERROR_NO_SPACE : ERROR_IO,
                     "cannot write %s: %s", rows->path, strerror(errno));
}

int import_rows_open(struct import_rows *rows, struct error *err)
{
    if (rows->path == NULL || rows->file != NULL)
        return 0;
    rows->file = strcmp(rows->path, "-") == 0 ? stdout : fopen(rows->path, "we");
    if (rows->file == NULL)
        return write_error(rows, err);
    rows->summary.path = rows->path;
    (void)fputs("Line,Outcome,Reason\n", rows->file);
    return 0;
}

static int write_row(struct import_rows *rows, const struct row *row, struct error *err)
{
    int r = import_rows_open(rows, err);

    if (r < 0 || rows->file == NULL)
        return r;
    buf_clear(&rows->text);
    (void)buf_printf(&rows->text, "%" PRIu64 ",%s,", row->line,
                     import_outcome_names[row->outcome]);
    csv_append(&rows->text, ',', buf_bytes(&row->reason));
    if (buf_append_byte(&rows->text, '\n') < 0)
        return error_set(err, ERROR_NO_MEMORY, "out of memory");
    if (fwrite(rows->text.data, 1, rows->text.size, rows->file) != rows->text.size)
        return write_error(rows, err);
    return 0;
}

int import_rows_finish(struct import_rows *rows, struct error *err)
{
    if (rows->file != NULL && (ferror(rows->file) || fflush(rows->file) != 0))
        return write_error(rows, err);
    return 0;
}

/* ---- the window -------------------------------------------------------------------- */

bool import_rows_full(const struct import_rows *rows)
{
    return rows->count == IMPORT_WINDOW;
}

size_t import_rows_waiting(const struct import_rows *rows)
{
    return rows->waiting;
}

static struct row *row_at(struct import_rows *rows, size_t index)
{
    return &rows->rows[(rows->first + index) % IMPORT_WINDOW];
}

/* The row of this line, or NULL. */
static struct row *find(struct import_rows *rows, uint64_t line)
{
    size_t low = 0, high = rows->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (row_at(rows, middle)->line < line)
            low = middle + 1;
        else
            high = middle;
    }
    return low < rows->count && row_at(rows, low)->line == line ? row_at(rows, low)
                                                                : NULL;
}

void import_rows_begin(struct import_rows *rows, uint64_t line)
{
    assert(!import_rows_full(rows));
    assert(rows->count == 0 || row_at(rows, rows->count - 1)->line < line);
    struct row *row = row_at(rows, rows->count++);

    row->line = line;
    row->done = row->repeated = false;
    buf_clear(&row->reason);
    rows->waiting++;
}

static int note_refusal(struct import_rows *rows, const struct row *row,
                        struct error *err)
{
    struct import_summary *summary = &rows->summary;
    struct bytes reason;

    if (summary->refusal_count == IMPORT_REFUSALS_MAX)
        return 0;
    reason = arena_copy(&rows->reasons, buf_bytes(&row->reason));
    if (reason.data == NULL)
        return error_set(err, ERROR_NO_MEMORY, "out of memory");
    summary->refusals[summary->refusal_count++] =
        (struct import_refusal){row->line, row->outcome, reason};
    return 0;
}

static int take_out(struct import_rows *rows, struct error *err)
{
    struct row *row = row_at(rows, 0);
    struct import_summary *summary = &rows->summary;
    int r = 0;

    summary->counts[row->outcome]++;
    summary->total++;
    summary->repeated += row->repeated;
    summary->last_line = row->line;
    if (row->outcome == IMPORT_REFUSED || row->outcome == IMPORT_CONFLICT)
        r = note_refusal(rows, row, err);
    if (r == 0)
        r = write_row(rows, row, err);
    rows->first = (rows->first + 1) % IMPORT_WINDOW;
    rows->count--;
    return r;
}

int import_rows_end(struct import_rows *rows, uint64_t line, enum import_outcome outcome,
                    bool repeated, struct bytes reason, struct error *err)
{
    struct row *row = find(rows, line);
    int r = 0;

    if (row == NULL || row->done)
        return 0;
    row->done = true;
    row->outcome = outcome;
    row->repeated = repeated;
    (void)buf_append_bytes(&row->reason, reason);
    if (repeated)
        (void)buf_append_str(&row->reason,
                             reason.size > 0 ? " (decided before)" : "decided before");
    if (row->reason.failed)
        return error_set(err, ERROR_NO_MEMORY, "out of memory");
    rows->waiting--;
    while (r == 0 && rows->count > 0 && row_at(rows, 0)->done)
        r = take_out(rows, err);
    return r;
}

int import_rows_give_up(struct import_rows *rows, struct error *err)
{
    struct bytes reason =
        bytes_str("sent, and not yet answered; it may have been decided");
    int r = 0;

    while (r == 0 && rows->waiting > 0)
        r = import_rows_end(rows, row_at(rows, 0)->line, IMPORT_NO_ANSWER,
                            /* repeated= */ false, reason, err);
    return r;
}

const struct import_summary *import_rows_summary(const struct import_rows *rows)
{
    return &rows->summary;
}
