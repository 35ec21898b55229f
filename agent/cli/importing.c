/* importing.c - see importing.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "agent/cli/importing.h"

#include <inttypes.h>
#include <string.h>

#include "agent/cli/answer_text.h"
#include "agent/cli/interrupt.h"
#include "agent/cli/reading.h"
#include "agent/clock.h"
#include "events/base/hash.h"

#define OPEN_TIMEOUT_MS 10000
#define LOOK_UP_MS 200 /* how long an interrupt may go unseen */

static bool stopped(const struct importing *importing)
{
    return importing->silent || importing->failed.code != 0 || interrupt_seen();
}

static void show_progress(struct importing *importing)
{
    uint64_t position = csv_file_position(importing->file);
    size_t left = csv_reader_left(importing->reader);

    progress_step(&importing->progress, position > left ? position - left : 0,
                  csv_file_size(importing->file));
}

/* ---- before the first command ------------------------------------------------------ */

static int read_header(struct importing *importing, struct error *err)
{
    struct csv_row row;
    int r = csv_reader_next(importing->reader, &row, err);

    if (r != 0)
        return r;
    if (row.fault != NULL)
        return error_set(err, ERROR_INVALID, "line %" PRIu64 ", the header: %s", row.line,
                         row.fault);
    if (importing->columns != NULL)
        return 0;
    r = csv_mapping_header(&importing->mapping, importing->kind, &row, err);
    return r < 0 ? r : 0;
}

static int find_mapping(struct importing *importing, const struct csv_row *row,
                        struct error *err)
{
    if (importing->columns != NULL)
        return csv_mapping_parse(&importing->mapping, importing->kind, importing->columns,
                                 err);
    if (importing->mapping.count > 0) /* the header named them */
        return 0;
    return csv_mapping_guess(&importing->mapping, importing->kind, row, err);
}

static int load_names(struct importing *importing, struct error *err)
{
    struct store_folder *folder = NULL;
    int r;

    if (!csv_kind_needs_names(importing->kind))
        return 0;
    r = reading_folder(importing->cli, &folder, err);
    if (r == 0)
        r = device_names_load(folder, &importing->names, err);
    store_folder_close(folder);
    if (r < 0)
        error_prefix(err, "device names are looked up in the data folder");
    return r;
}

static int make_id(struct importing *importing, struct error *err)
{
    uint8_t digest[SHA256_SIZE];
    struct buf content = BUF_INIT;

    (void)buf_append(&content, importing->kind->name, strlen(importing->kind->name) + 1);
    csv_mapping_append(&content, &importing->mapping);
    (void)buf_append_byte(&content, '\0');
    (void)buf_append(&content, importing->run, strlen(importing->run) + 1);
    (void)buf_append(&content, csv_file_sha256(importing->file), SHA256_SIZE);
    if (content.failed) {
        buf_release(&content);
        return error_set(err, ERROR_NO_MEMORY, "out of memory");
    }
    sha256_once(content.data, content.size, digest);
    buf_release(&content);
    memcpy(importing->import_id, "csv-", 4);
    base64url_text(digest, 16, importing->import_id + 4);
    return 0;
}

static void on_failure(void *context, uint64_t line, const struct error *failure)
{
    struct importing *importing = context;
    struct error err = {0};

    if (failure->code == ERROR_TOO_LARGE)
        (void)import_rows_end(importing->rows, line, IMPORT_REFUSED,
                              /* repeated= */ false, bytes_str(failure->text), &err);
    else
        err = *failure;
    if (err.code != 0 && importing->failed.code == 0) {
        error_prefix(&err, "line %" PRIu64, line);
        importing->failed = err;
    }
}

static int open_exchange(struct importing *importing, struct error *err)
{
    int64_t timeout_ms =
        importing->timeout_ms < OPEN_TIMEOUT_MS ? importing->timeout_ms : OPEN_TIMEOUT_MS;
    int r = cli_config(importing->cli, err);

    if (r == 0)
        r = config_need_broker(importing->cli->config, err);
    if (r == 0)
        r = exchange_open(importing->cli->config, clock_monotonic_ms() + timeout_ms,
                          &importing->exchange, err);
    if (r == 0)
        r = exchange_listen_all(importing->exchange, err);
    if (r == 0)
        exchange_on_failure(importing->exchange, on_failure, importing);
    return r;
}

/* Once it is clear what the columns are. */
static int prepare(struct importing *importing, const struct csv_row *row,
                   struct error *err)
{
    int r = find_mapping(importing, row, err);

    if (r == 0)
        r = load_names(importing, err);
    if (r == 0)
        r = make_id(importing, err);
    if (r == 0 && !importing->dry_run)
        r = open_exchange(importing, err);
    if (r == 0)
        r = import_rows_open(importing->rows, err);
    importing->outgoing.type = importing->kind->command;
    importing->outgoing.correlation_id = importing->import_id;
    importing->prepared = r == 0;
    return r;
}

/* ---- answers ----------------------------------------------------------------------- */

/* The line of the row that it answers; 0 = none of ours. */
static uint64_t line_of(const struct importing *importing,
                        const struct answer_record *answer)
{
    struct bytes id = answer->causation_id;
    size_t at = strlen(importing->import_id);
    uint64_t line = 0;

    if (!bytes_equal_str(answer->causation_source, importing->outgoing.source) ||
        !bytes_has_prefix(id, bytes_str(importing->import_id)) || id.size <= at ||
        id.data[at] != '-')
        return 0;
    for (at++; at < id.size; at++) {
        if (id.data[at] < '0' || id.data[at] > '9' || line > UINT64_MAX / 10 - 1)
            return 0;
        line = line * 10 + (id.data[at] - '0');
    }
    return line;
}

static int take_answer(struct importing *importing, const struct answer_record *answer,
                       struct error *err)
{
    uint64_t line = line_of(importing, answer);
    struct answer_summary summary;
    int r = 0;

    if (line == 0 || answer_read(answer->value, &summary, NULL) < 0)
        return 0;
    importing->heard_ms = clock_monotonic_ms();
    buf_clear(&importing->reason);
    if (!summary.success)
        r = answer_reason(answer->value, &importing->reason, err);
    if (r < 0)
        return r;
    return import_rows_end(importing->rows, line, import_outcome_of(summary.outcome),
                           answer->repeated, buf_bytes(&importing->reason), err);
}

/* Until the window has room for a row, or (all) nothing waits any more. */
static int listen(struct importing *importing, bool all, struct error *err)
{
    struct answer_record answer;
    int r = 0;

    while (r >= 0 && !stopped(importing) &&
           (all ? import_rows_waiting(importing->rows) > 0
                : import_rows_full(importing->rows))) {
        int64_t now_ms = clock_monotonic_ms();
        int64_t end_ms = importing->heard_ms + importing->timeout_ms;

        if (now_ms >= end_ms) {
            importing->silent = true;
            break;
        }
        exchange_set_deadline(importing->exchange, end_ms < now_ms + LOOK_UP_MS
                                                       ? end_ms
                                                       : now_ms + LOOK_UP_MS);
        r = exchange_next(importing->exchange, &answer, err);
        if (r == 0)
            r = take_answer(importing, &answer, err);
        show_progress(importing);
    }
    return r < 0 ? r : 0;
}

/* ---- rows -------------------------------------------------------------------------- */

static int refuse(struct importing *importing, uint64_t line, struct error *err)
{
    return import_rows_end(importing->rows, line, IMPORT_REFUSED, /* repeated= */ false,
                           buf_bytes(&importing->reason), err);
}

static int refuse_fault(struct importing *importing, const struct csv_row *row,
                        struct error *err)
{
    if (row->last_line > row->line)
        (void)buf_printf(&importing->reason, "up to line %" PRIu64 ": ", row->last_line);
    if (buf_append_str(&importing->reason, row->fault) < 0)
        return error_set(err, ERROR_NO_MEMORY, "out of memory");
    return refuse(importing, row->line, err);
}

/* Tells what can be told without asking the agent. */
static int check(struct importing *importing, uint64_t line, struct error *err)
{
    int r = outgoing_check(&importing->outgoing, &importing->reason, err);

    if (r < 0)
        return r;
    return import_rows_end(importing->rows, line,
                           importing->reason.size > 0 ? IMPORT_REFUSED : IMPORT_READY,
                           /* repeated= */ false, buf_bytes(&importing->reason), err);
}

static int post(struct importing *importing, uint64_t line, struct error *err)
{
    uint32_t shard;
    struct error refusal = {0};
    int r = outgoing_route(&importing->outgoing, exchange_shards(importing->exchange),
                           &shard, &importing->key, err);

    if (r < 0)
        return r;
    if (import_rows_waiting(importing->rows) == 1)
        importing->heard_ms = clock_monotonic_ms(); /* silence begins with what waits */
    r = outgoing_post(&importing->outgoing, importing->exchange, shard,
                      importing->key.size > 0 ? buf_bytes(&importing->key) : BYTES_ABSENT,
                      line, &refusal);
    if (r == ERROR_TOO_LARGE) {
        (void)buf_append_str(&importing->reason,
                             "the command is larger than topics take");
        return refuse(importing, line, err);
    }
    return r < 0 ? error_set(err, r, "%s", refusal.text) : 0;
}

static int take_row(struct importing *importing, const struct csv_row *row,
                    struct error *err)
{
    int r = listen(importing, /* all= */ false, err);

    if (r < 0 || stopped(importing))
        return r;
    if (row->fault == NULL && !importing->prepared)
        r = prepare(importing, row, err);
    if (r < 0)
        return r;
    import_rows_begin(importing->rows, row->line);
    buf_clear(&importing->reason);
    buf_clear(&importing->data);
    buf_clear(&importing->key);
    buf_clear(&importing->id);
    if (row->fault != NULL)
        return refuse_fault(importing, row, err);
    r = csv_row_data(&importing->mapping, row, importing->names, &importing->data,
                     &importing->reason, err);
    if (r != 0)
        return r < 0 ? r : refuse(importing, row->line, err);
    if (buf_printf(&importing->id, "%s-%" PRIu64, importing->import_id, row->line) < 0)
        return error_set(err, ERROR_NO_MEMORY, "out of memory");
    importing->outgoing.id = buf_cstr(&importing->id);
    importing->outgoing.data = buf_bytes(&importing->data);
    return importing->dry_run ? check(importing, row->line, err)
                              : post(importing, row->line, err);
}

static int take_rows(struct importing *importing, struct error *err)
{
    struct csv_row row;
    int r = 0;

    while (!stopped(importing) &&
           (r = csv_reader_next(importing->reader, &row, err)) == 0 &&
           (r = take_row(importing, &row, err)) == 0) {
        importing->progress.count++;
        show_progress(importing);
    }
    return r < 0 ? r : 0;
}

int importing_run(struct importing *importing, struct error *err)
{
    int r = csv_reader_new(',', csv_file_read, importing->file, &importing->reader, err);

    progress_begin(&importing->progress, importing->dry_run ? "checking" : "importing");
    importing->progress.unit = "rows";
    if (r == 0 && importing->header)
        r = read_header(importing, err);
    if (r == 0)
        r = take_rows(importing, err);
    if (r == 0)
        r = listen(importing, /* all= */ true, err);
    progress_end(&importing->progress);
    if (r >= 0 && importing->failed.code != 0)
        r = error_set(err, importing->failed.code, "%s", importing->failed.text);
    if (import_rows_give_up(importing->rows, r < 0 ? NULL : err) < 0 && r >= 0)
        r = err->code;
    if (import_rows_finish(importing->rows, r < 0 ? NULL : err) < 0 && r >= 0)
        r = err->code;
    return r < 0 ? r : 0;
}

void importing_release(struct importing *importing)
{
    csv_reader_free(importing->reader);
    exchange_close(importing->exchange);
    device_names_free(importing->names);
    buf_release(&importing->data);
    buf_release(&importing->key);
    buf_release(&importing->id);
    buf_release(&importing->reason);
}
