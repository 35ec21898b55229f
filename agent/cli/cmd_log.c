/* cmd_log.c - kinlog log: the events of one or all shards in the order of time.
 *
 * Each shard's log is in order of time already, so merging them is enough. With --follow
 * the stores are opened as followers and looked at five times a second; a pass prints
 * what came since the one before.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "agent/cli/args.h"
#include "agent/cli/cli.h"
#include "agent/cli/event_text.h"
#include "agent/cli/interrupt.h"
#include "agent/cli/progress.h"
#include "agent/cli/reading.h"
#include "agent/clock.h"
#include "events/event_log.h"

#define FOLLOW_POLL_MS 200

struct source_shard {
    struct shard_reader reader;
    uint64_t next; /* the first sequence not yet printed */
    struct event_scan *scan;
    struct event event; /* what scan stands at */
    bool has_event;
};

struct log_view {
    struct cli *cli;
    uint64_t from, to;
    int64_t since_ms, until_ms;
    const char *subject; /* NULL = any */
    bool follow;
    struct source_shard *shards;
    size_t shard_count;
    struct progress progress; /* over the events read */
    uint64_t events;
    struct table *table;
    struct json_out json;
};

/* ---- filters ----------------------------------------------------------------------- */

/* The subject itself, or what belongs to it: device/7 and device/7/relationship/23. */
static bool subject_fits(const struct log_view *view, struct bytes subject)
{
    size_t size;

    if (view->subject == NULL)
        return true;
    size = strlen(view->subject);
    return bytes_has_prefix(subject, bytes_of(view->subject, size)) &&
           (subject.size == size || subject.data[size] == '/');
}

static bool fits(const struct log_view *view, const struct event *event)
{
    return event->time_ms >= view->since_ms && event->time_ms < view->until_ms &&
           subject_fits(view, event->subject);
}

/* The first sequence that is not older than since_ms, found by halving. */
static int find_since(struct kv *kv, uint64_t last, int64_t since_ms,
                      uint64_t *ret_sequence, struct error *err)
{
    uint64_t low = 1, high = last + 1;
    struct arena arena = ARENA_INIT;
    int r = 0;

    while (r == 0 && low < high) {
        uint64_t middle = low + (high - low) / 2;
        struct event event;

        arena_reset(&arena);
        r = event_log_read(kv, /* batch= */ NULL, middle, &arena, &event, err);
        if (r == 0 && event.time_ms < since_ms)
            low = middle + 1;
        else
            high = middle;
    }
    arena_release(&arena);
    if (r == 1)
        return error_set(err, ERROR_CORRUPT, "the log has a hole; see `kinlog verify`");
    *ret_sequence = low;
    return r;
}

/* ---- one pass ---------------------------------------------------------------------- */

static int advance(struct log_view *view, struct source_shard *shard, struct error *err)
{
    int r;

    shard->has_event = false;
    while ((r = event_scan_next(shard->scan, &shard->event, err)) == 0) {
        shard->next = shard->event.sequence + 1;
        progress_step(&view->progress, ++view->events, /* total= */ 0);
        if (shard->event.time_ms >= view->until_ms)
            return 0;
        if (fits(view, &shard->event)) {
            shard->has_event = true;
            return 0;
        }
    }
    return r < 0 ? r : 0;
}

static int begin_pass(struct log_view *view, struct source_shard *shard,
                      struct error *err)
{
    uint64_t last = 0;
    int r = event_log_last(shard->reader.kv, &last, err);

    if (r < 0 || shard->next > last || shard->next > view->to)
        return r;
    r = event_scan_open(shard->reader.kv, /* batch= */ NULL, shard->next,
                        last < view->to ? last : view->to, &shard->scan, err);
    return r < 0 ? r : advance(view, shard, err);
}

static struct source_shard *earliest(struct log_view *view)
{
    struct source_shard *found = NULL;

    for (size_t i = 0; i < view->shard_count; i++) {
        struct source_shard *shard = &view->shards[i];

        if (shard->has_event &&
            (found == NULL || shard->event.time_ms < found->event.time_ms))
            found = shard;
    }
    return found;
}

static int print_event(struct log_view *view, const struct source_shard *shard,
                       struct error *err)
{
    struct json_out line;
    int r;

    progress_end(&view->progress);
    switch (view->cli->form) {
    case OUTPUT_JSON:
        return event_print_json(&view->json, &shard->reader.identity, &shard->event, err);
    case OUTPUT_NDJSON:
        json_out_begin(&line, stdout, /* pretty= */ false);
        r = event_print_json(&line, &shard->reader.identity, &shard->event, err);
        if (r == 0)
            json_out_end(&line);
        return r;
    case OUTPUT_TABLE:
        break;
    }
    event_print_row(view->table, shard->reader.number, &shard->event);
    return 0;
}

static int run_pass(struct log_view *view, struct error *err)
{
    struct source_shard *shard;
    int r = 0;

    progress_begin(&view->progress, "events read:");
    for (size_t i = 0; r == 0 && i < view->shard_count; i++)
        r = begin_pass(view, &view->shards[i], err);
    while (r == 0 && !interrupt_seen() && (shard = earliest(view)) != NULL) {
        r = print_event(view, shard, err);
        if (r == 0)
            r = advance(view, shard, err);
    }
    progress_end(&view->progress);
    for (size_t i = 0; i < view->shard_count; i++) {
        event_scan_close(view->shards[i].scan);
        view->shards[i].scan = NULL;
        view->shards[i].has_event = false;
    }
    return r;
}

static int follow(struct log_view *view, struct error *err)
{
    int r = 0;

    while (r == 0 && !interrupt_seen()) {
        if (view->table != NULL)
            table_flush(view->table);
        if (fflush(stdout) != 0)
            return 0; /* nobody reads any more; cli_finish() says so */
        (void)poll(NULL, 0, FOLLOW_POLL_MS);
        for (size_t i = 0; r == 0 && i < view->shard_count; i++)
            r = kv_refresh(view->shards[i].reader.kv, err);
        if (r == 0)
            r = run_pass(view, err);
    }
    return r;
}

/* ---- all --------------------------------------------------------------------------- */

static int open_shards(struct log_view *view, const struct store_folder *folder,
                       struct error *err)
{
    enum kv_mode mode = view->follow ? KV_FOLLOW : KV_READ_ONLY;
    uint32_t first, last;
    int r = reading_shards(view->cli, folder, &first, &last, err);

    if (r < 0)
        return r;
    view->shards = calloc(last - first, sizeof(*view->shards));
    if (view->shards == NULL)
        return error_set(err, ERROR_NO_MEMORY, "out of memory");
    for (uint32_t number = first; r == 0 && number < last; number++) {
        struct source_shard *shard = &view->shards[view->shard_count];

        r = shard_reader_open(folder, number, mode, &shard->reader, err);
        if (r < 0)
            break;
        view->shard_count++;
        shard->next = view->from;
        if (view->since_ms > INT64_MIN) {
            uint64_t since = 1;

            r = find_since(shard->reader.kv, shard->reader.head.sequence, view->since_ms,
                           &since, err);
            if (since > shard->next)
                shard->next = since;
        }
    }
    return r;
}

static int parse(struct log_view *view, struct error *err)
{
    const struct cli *cli = view->cli;
    const char *from = cli_value(cli, "from"), *to = cli_value(cli, "to");
    const char *since = cli_value(cli, "since"), *until = cli_value(cli, "until");
    int64_t now_ms = clock_wall_ms();
    int r = 0;

    view->from = 1;
    view->to = UINT64_MAX;
    view->since_ms = INT64_MIN;
    view->until_ms = INT64_MAX;
    view->subject = cli_value(cli, "subject");
    view->follow = cli_has(cli, "follow");
    if (view->follow && cli->form == OUTPUT_JSON)
        r = error_set(err, ERROR_USAGE,
                      "--follow has no end, so no single document: use --ndjson");
    if (r == 0 && from != NULL)
        r = args_number("--from", from, 1, UINT64_MAX, &view->from, err);
    if (r == 0 && to != NULL)
        r = args_number("--to", to, 1, UINT64_MAX, &view->to, err);
    if (r == 0 && since != NULL)
        r = args_time("--since", since, now_ms, &view->since_ms, err);
    if (r == 0 && until != NULL)
        r = args_time("--until", until, now_ms, &view->until_ms, err);
    return r;
}

static void begin_json(struct log_view *view)
{
    json_out_begin(&view->json, stdout, /* pretty= */ true);
    json_out_object(&view->json, NULL);
    json_out_array(&view->json, "Shards");
    for (size_t i = 0; i < view->shard_count; i++) {
        json_out_object(&view->json, NULL);
        json_out_unsigned(&view->json, "Shard", view->shards[i].reader.number);
        json_out_unsigned(&view->json, "Sequence", view->shards[i].reader.head.sequence);
        json_out_close(&view->json);
    }
    json_out_close(&view->json);
    json_out_array(&view->json, "Events");
}

static int print_all(struct log_view *view, struct error *err)
{
    int r;

    if (view->cli->form == OUTPUT_TABLE)
        view->table = event_table_new(stdout);
    if (view->cli->form == OUTPUT_JSON)
        begin_json(view);
    r = run_pass(view, err);
    if (r == 0 && view->follow)
        r = follow(view, err);
    table_free(view->table);
    if (r == 0 && view->cli->form == OUTPUT_JSON) {
        json_out_close(&view->json);
        json_out_close(&view->json);
        json_out_end(&view->json);
    }
    return r;
}

int cmd_log(struct cli *cli, int argc, char **argv)
{
    struct log_view view = {.cli = cli};
    struct store_folder *folder = NULL;
    struct error err = {0};
    int r;

    (void)argv;
    if (argc > 0)
        return cli_wrong(
            cli, "log takes no words, only options; --subject device/7, perhaps?");
    r = parse(&view, &err);
    if (r == 0)
        r = reading_folder(cli, &folder, &err);
    if (r == 0)
        r = open_shards(&view, folder, &err);
    if (r == 0 && view.follow)
        interrupt_catch();
    if (r == 0)
        r = print_all(&view, &err);
    for (size_t i = 0; i < view.shard_count; i++)
        shard_reader_close(&view.shards[i].reader);
    free(view.shards);
    store_folder_close(folder);
    return r < 0 ? cli_fail(cli, &err) : EXIT_DONE;
}
