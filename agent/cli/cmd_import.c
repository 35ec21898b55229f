/* cmd_import.c - kinlog import: a command for each row of a CSV file, and what became of
 * them.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "agent/cli/args.h"
#include "agent/cli/cli.h"
#include "agent/cli/importing.h"
#include "agent/cli/interrupt.h"
#include "agent/cli/json_out.h"
#include "agent/cli/table.h"

#define TIMEOUT_DEFAULT "30s"
#define RESULT_SUFFIX ".result.csv"

/* ---- arguments --------------------------------------------------------------------- */

static int parse(struct importing *importing, const char *kind, struct error *err)
{
    const struct cli *cli = importing->cli;
    const char *run = cli_value(cli, "run"), *source = cli_value(cli, "source");
    const char *timeout = cli_value(cli, "timeout");

    importing->kind = csv_kind_find(kind, err);
    if (importing->kind == NULL)
        return err->code;
    importing->header = cli_has(cli, "header");
    importing->dry_run = cli_has(cli, "dry-run");
    importing->columns = cli_value(cli, "columns");
    importing->run = run != NULL ? run : "";
    importing->outgoing.source = source != NULL ? source : IMPORT_SOURCE;
    importing->outgoing.actor = cli_value(cli, "actor");
    if (*importing->outgoing.source == '\0')
        return error_set(err, ERROR_USAGE, "--source must not be empty");
    return args_duration("--timeout", timeout != NULL ? timeout : TIMEOUT_DEFAULT,
                         &importing->timeout_ms, err);
}

/* Next to the file, where there is one and something is sent; NULL = nowhere. The text is
 * kept in out. */
static const char *result_path(const struct importing *importing, const char *path,
                               struct buf *out)
{
    const char *given = cli_value(importing->cli, "result");

    if (given != NULL)
        return given;
    if (importing->dry_run || strcmp(path, "-") == 0)
        return NULL;
    (void)buf_append_str(out, path);
    (void)buf_append_str(out, RESULT_SUFFIX);
    return buf_cstr(out);
}

static int open_all(struct importing *importing, const char *path, struct buf *result,
                    struct error *err)
{
    const char *result_file = result_path(importing, path, result);
    int r = csv_file_open(path, &importing->file, err);

    if (r < 0)
        return r;
    if (result->failed)
        return error_set(err, ERROR_NO_MEMORY, "out of memory");
    if (result_file != NULL && csv_file_is(importing->file, result_file))
        return error_set(err, ERROR_USAGE, "--result is the file that is imported");
    return import_rows_new(result_file, &importing->rows, err);
}

/* ---- what became of it ------------------------------------------------------------- */

static void print_counts(FILE *out, const struct importing *importing,
                         const struct import_summary *summary)
{
    const char *before = ": ";

    if (importing->dry_run)
        (void)fputs("Dry run, nothing was sent. ", out);
    (void)fprintf(out, "%" PRIu64 " row%s", summary->total,
                  summary->total == 1 ? "" : "s");
    for (int i = 0; i < IMPORT_OUTCOMES; i++) {
        if (summary->counts[i] == 0)
            continue;
        (void)fprintf(out, "%s%" PRIu64 " %s", before, summary->counts[i],
                      import_outcome_names[i]);
        before = ", ";
    }
    (void)fputs(".\n", out);
}

static void print_refusal(FILE *out, const struct import_refusal *refusal)
{
    struct buf text = BUF_INIT;
    int column = fprintf(out, "  line %" PRIu64 ": ", refusal->line);

    if (refusal->outcome == IMPORT_CONFLICT)
        (void)buf_append_str(&text, "conflict: ");
    (void)table_escape(&text, refusal->reason);
    print_wrapped(out, column > 0 ? (size_t)column : 0, buf_cstr(&text));
    buf_release(&text);
}

static void print_refusals(FILE *out, const struct import_summary *summary)
{
    uint64_t count = summary->counts[IMPORT_REFUSED] + summary->counts[IMPORT_CONFLICT];

    for (size_t i = 0; i < summary->refusal_count; i++)
        print_refusal(out, &summary->refusals[i]);
    if (count > summary->refusal_count)
        (void)fprintf(out, "  and %" PRIu64 " more\n", count - summary->refusal_count);
}

static void print_text(FILE *out, const struct importing *importing,
                       const struct import_summary *summary)
{
    print_counts(out, importing, summary);
    print_refusals(out, summary);
    if (summary->repeated > 0)
        (void)fprintf(out,
                      "%" PRIu64 " of them had been decided by an earlier import of this "
                      "file;\n--run NAME has all of it decided anew.\n",
                      summary->repeated);
    if (summary->path != NULL && out == stdout)
        (void)fprintf(out, "Row by row: %s\n", summary->path);
}

static void print_json(FILE *out, const struct importing *importing,
                       const struct import_summary *summary, bool complete)
{
    struct json_out json;

    json_out_begin(&json, out, /* pretty= */ importing->cli->form == OUTPUT_JSON);
    json_out_object(&json, NULL);
    json_out_string(&json, "Kind", importing->kind->name);
    json_out_string(&json, "ImportId", importing->prepared ? importing->import_id : NULL);
    json_out_bool(&json, "DryRun", importing->dry_run);
    json_out_bool(&json, "Complete", complete);
    json_out_unsigned(&json, "Rows", summary->total);
    json_out_unsigned(&json, "Accepted", summary->counts[IMPORT_ACCEPTED]);
    json_out_unsigned(&json, "Unchanged", summary->counts[IMPORT_UNCHANGED]);
    json_out_unsigned(&json, "Refused", summary->counts[IMPORT_REFUSED]);
    json_out_unsigned(&json, "Conflict", summary->counts[IMPORT_CONFLICT]);
    json_out_unsigned(&json, "NoAnswer", summary->counts[IMPORT_NO_ANSWER]);
    json_out_unsigned(&json, "Ready", summary->counts[IMPORT_READY]);
    json_out_unsigned(&json, "Repeated", summary->repeated);
    json_out_string(&json, "Result", summary->path);
    json_out_array(&json, "FirstRefusals");
    for (size_t i = 0; i < summary->refusal_count; i++) {
        const struct import_refusal *refusal = &summary->refusals[i];

        json_out_object(&json, NULL);
        json_out_unsigned(&json, "Line", refusal->line);
        json_out_string(&json, "Outcome", import_outcome_names[refusal->outcome]);
        json_out_text(&json, "Reason", refusal->reason);
        json_out_close(&json);
    }
    json_out_close(&json);
    json_out_close(&json);
    json_out_end(&json);
}

/* r: what importing_run() returned. The exit code. */
static int tell(const struct importing *importing, int r, const struct error *err)
{
    const struct import_summary *summary = import_rows_summary(importing->rows);
    bool interrupted = r == 0 && !importing->silent && interrupt_seen();
    bool complete = r == 0 && !importing->silent && !interrupted;
    bool taken = summary->path != NULL && strcmp(summary->path, "-") == 0;
    FILE *out = taken ? stderr : stdout;

    if (importing->cli->form != OUTPUT_TABLE)
        print_json(out, importing, summary, complete);
    else if (summary->total > 0 || complete)
        print_text(out, importing, summary);
    (void)fflush(out);
    if (interrupted)
        (void)fputs("kinlog: interrupted; run it again, and it goes on from here\n",
                    stderr);
    if (importing->silent)
        (void)fprintf(stderr,
                      "kinlog: no answer within %" PRId64 " s: does the agent run? "
                      "Import the file again then;\n"
                      "what was decided meanwhile is not decided twice\n",
                      importing->timeout_ms / 1000);
    if (r < 0)
        return cli_fail(importing->cli, err);
    if (importing->silent)
        return EXIT_NO_ANSWER;
    if (interrupted)
        return EXIT_FAILED;
    return summary->counts[IMPORT_REFUSED] + summary->counts[IMPORT_CONFLICT] > 0
               ? EXIT_REFUSED
               : EXIT_DONE;
}

int cmd_import(struct cli *cli, int argc, char **argv)
{
    struct importing *importing = calloc(1, sizeof(*importing));
    struct buf result = BUF_INIT;
    struct error err = {0};
    int code;

    if (importing == NULL)
        return cli_fail(
            cli, &(struct error){.code = ERROR_NO_MEMORY, .text = "out of memory"});
    importing->cli = cli;
    if (argc != 2) {
        free(importing);
        return cli_wrong(cli, "two words are wanted: what the rows are, and the file");
    }
    interrupt_catch();
    int r = parse(importing, argv[0], &err);
    if (r == 0)
        r = open_all(importing, argv[1], &result, &err);
    if (r < 0)
        code = cli_fail(cli, &err);
    else
        code = tell(importing, importing_run(importing, &err), &err);
    importing_release(importing);
    import_rows_free(importing->rows);
    csv_file_close(importing->file);
    buf_release(&result);
    free(importing);
    return code;
}
