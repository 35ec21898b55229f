/* cmd_status.c - kinlog status: how far each shard is, whether it goes on, and how much
 * waits for it.
 *
 * All but the end of the commands topic comes from the data folder, so it works without a
 * broker and without the agent.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "agent/cli/cli.h"
#include "agent/cli/json_out.h"
#include "agent/cli/reading.h"
#include "agent/cli/table.h"
#include "agent/clock.h"
#include "events/base/hash.h"

#define BROKER_PATIENCE_MS 2000

struct shard_state {
    struct shard_reader reader;
    struct shard_status status;
    struct mark mark;
    uint64_t policy_revision;
    bool has_end;
    int64_t command_end;
};

struct report {
    struct cli *cli;
    struct store_folder *folder;
    bool running;
    int64_t deadline_ms;   /* until which the broker may be asked */
    char broker_text[512]; /* why the end of commands is not known; "" = it is */
};

/* ---- collecting -------------------------------------------------------------------- */

static int load_shard(const struct report *report, uint32_t number,
                      struct shard_state *ret_state, struct error *err)
{
    int r = shard_reader_open_partial(report->folder, number, KV_READ_ONLY,
                                      &ret_state->reader, err);

    if (r == 0)
        r = shard_status_load(ret_state->reader.kv, &ret_state->status, err);
    if (r == 0)
        r = mark_load(ret_state->reader.kv, &ret_state->mark, err);
    if (r == 0)
        r = policy_revision(ret_state->reader.views, &ret_state->policy_revision, err);
    if (!report->running)
        ret_state->status.role = SHARD_STOPPED;
    return r;
}

/* Asks the broker where the shard's commands end, as long as it has been quick so far. */
static void ask_end(struct report *report, struct shard_state *state)
{
    const struct config *config = report->cli->config;
    int64_t left_ms = report->deadline_ms - clock_monotonic_ms(), low;
    struct source *source = NULL;
    struct error err = {0};

    if (report->broker_text[0] != '\0')
        return;
    if (left_ms <= 0) {
        (void)snprintf(report->broker_text, sizeof(report->broker_text),
                       "the broker did not answer for all shards within %d s",
                       BROKER_PATIENCE_MS / 1000);
        return;
    }
    int r =
        source_open(&config->kafka, config->topic_commands, (int32_t)state->reader.number,
                    /* wake_fd= */ -1, &source, &err);
    if (r == 0)
        r = source_watermarks(source, (int)left_ms, &low, &state->command_end, &err);
    source_close(source);
    state->has_end = r == 0;
    if (r < 0)
        (void)snprintf(report->broker_text, sizeof(report->broker_text), "%.*s",
                       (int)sizeof(report->broker_text) - 1, err.text);
}

static void begin_asking(struct report *report)
{
    struct error err = {0};

    report->deadline_ms = clock_monotonic_ms() + BROKER_PATIENCE_MS;
    if (config_need_broker(report->cli->config, &err) < 0)
        (void)snprintf(report->broker_text, sizeof(report->broker_text), "%.*s",
                       (int)sizeof(report->broker_text) - 1, err.text);
}

static int64_t lag_of(const struct shard_state *state)
{
    int64_t lag = state->command_end - state->reader.head.next_offset;

    return lag > 0 ? lag : 0;
}

/* ---- printing ---------------------------------------------------------------------- */

static void print_digests(struct json_out *json, const struct shard_state *state)
{
    char hex[65];

    json_out_object(json, "Digests");
    for (int view = 0; view < VIEWS; view++) {
        views_digest(state->reader.views, (enum view)view, hex);
        json_out_string(json, view_names[view], hex);
    }
    json_out_close(json);
}

static void print_json(struct json_out *json, const struct shard_state *state)
{
    const struct head *head = &state->reader.head;
    struct buf chain = BUF_INIT;

    json_out_object(json, NULL);
    json_out_unsigned(json, "Shard", state->reader.number);
    json_out_string(json, "Role", shard_role_names[state->status.role]);
    json_out_unsigned(json, "Epoch", state->status.epoch.number);
    json_out_unsigned(json, "Sequence", head->sequence);
    json_out_unsigned(json, "Published", state->mark.sequence);
    json_out_integer(json, "CommandOffset", head->next_offset);
    if (state->has_end) {
        json_out_integer(json, "CommandEnd", state->command_end);
        json_out_integer(json, "Lag", lag_of(state));
    } else {
        json_out_null(json, "CommandEnd");
        json_out_null(json, "Lag");
    }
    json_out_unsigned(json, "Forwarded", state->status.forwarded);
    json_out_unsigned(json, "Refused", head->refused);
    json_out_unsigned(json, "DeadLettered", head->dead_lettered);
    json_out_unsigned(json, "PolicyRevision", state->policy_revision);
    json_out_unsigned(json, "Rules", head->rules);
    (void)base64url_append(&chain, head->chain, SHA256_SIZE);
    json_out_string(json, "Chain", buf_cstr(&chain));
    buf_release(&chain);
    print_digests(json, state);
    json_out_string(json, "Reason",
                    state->status.reason[0] != '\0' ? state->status.reason : NULL);
    json_out_close(json);
}

static void print_row(struct table *table, const struct shard_state *state)
{
    const struct head *head = &state->reader.head;

    table_cell(table, "%" PRIu32, state->reader.number);
    table_cell(table, "%s", shard_role_names[state->status.role]);
    table_cell(table, "%" PRIu64, state->status.epoch.number);
    table_cell(table, "%" PRIu64, head->sequence);
    table_cell(table, "%" PRIu64, state->mark.sequence);
    table_cell(table, "%" PRId64, head->next_offset);
    if (state->has_end)
        table_cell(table, "%" PRId64, lag_of(state));
    else
        table_cell(table, "?");
    table_cell(table, "%" PRIu64, state->status.forwarded);
    table_cell(table, "%" PRIu64, head->refused);
    table_cell(table, "%" PRIu64, head->dead_lettered);
    table_cell(table, "%" PRIu64, state->policy_revision);
}

/* Why a shard does not go on, below the table. */
static void keep_alarm(struct buf *alarms, const struct shard_state *state)
{
    if (state->status.reason[0] == '\0')
        return;
    (void)buf_printf(alarms, "Shard %" PRIu32 ": ", state->reader.number);
    (void)table_escape(alarms, bytes_str(state->status.reason));
    (void)buf_append_byte(alarms, '\n');
}

static int each_shard(struct report *report, struct json_out *json, struct table *table,
                      struct buf *alarms, struct error *err)
{
    struct json_out line;
    int r = 0;

    begin_asking(report);
    for (uint32_t number = 0; r == 0 && number < report->folder->identity.shards;
         number++) {
        struct shard_state state = {0};

        r = load_shard(report, number, &state, err);
        if (r == 0)
            ask_end(report, &state);
        if (r == 0 && table != NULL) {
            print_row(table, &state);
            keep_alarm(alarms, &state);
        } else if (r == 0 && json != NULL) {
            print_json(json, &state);
        } else if (r == 0) {
            json_out_begin(&line, stdout, /* pretty= */ false);
            print_json(&line, &state);
            json_out_end(&line);
        }
        shard_reader_close(&state.reader);
    }
    return r;
}

static int print_table(struct report *report, struct error *err)
{
    static const char *const titles[] = {"SHARD",     "<ROLE",  "EPOCH",  "EVENTS",
                                         "PUBLISHED", "OFFSET", "LAG",    "FORWARDED",
                                         "REFUSED",   "DEAD",   "POLICY", NULL};
    const struct log_identity *identity = &report->folder->identity;
    struct buf alarms = BUF_INIT;

    (void)printf("Site %s, log %s, %" PRIu32 " shard%s in %s; %s.\n\n", identity->site,
                 identity->log, identity->shards, identity->shards == 1 ? "" : "s",
                 report->folder->path,
                 report->running ? "the agent runs" : "no agent runs here");
    struct table *table = table_new(stdout, titles);
    int r = each_shard(report, /* json= */ NULL, table, &alarms, err);
    table_free(table);
    if (r == 0 && alarms.size > 0)
        (void)printf("\n%s", buf_cstr(&alarms));
    if (r == 0 && report->broker_text[0] != '\0')
        (void)printf("\nLAG is not known: %s\n", report->broker_text);
    buf_release(&alarms);
    return r;
}

static int print_document(struct report *report, struct error *err)
{
    const struct log_identity *identity = &report->folder->identity;
    struct json_out json;

    json_out_begin(&json, stdout, /* pretty= */ true);
    json_out_object(&json, NULL);
    json_out_string(&json, "Site", identity->site);
    json_out_string(&json, "Log", identity->log);
    json_out_bool(&json, "AgentRuns", report->running);
    json_out_array(&json, "Shards");
    int r = each_shard(report, &json, /* table= */ NULL, /* alarms= */ NULL, err);
    if (r < 0)
        return r;
    json_out_close(&json);
    json_out_close(&json);
    json_out_end(&json);
    return 0;
}

static void drop_log(int level, const char *facility, const char *text)
{
    (void)level;
    (void)facility;
    (void)text;
}

int cmd_status(struct cli *cli, int argc, char **argv)
{
    struct report report = {.cli = cli};
    struct error err = {0};

    (void)argv;
    if (argc > 0)
        return cli_wrong(cli, "status takes no words");
    kafka_log_set(drop_log); /* an unreachable broker is no news here */
    int r = reading_folder(cli, &report.folder, &err);
    if (r == 0) {
        report.running = store_folder_in_use(cli->config->data_dir);
        if (cli->form == OUTPUT_TABLE)
            r = print_table(&report, &err);
        else if (cli->form == OUTPUT_JSON)
            r = print_document(&report, &err);
        else
            r = each_shard(&report, /* json= */ NULL, /* table= */ NULL,
                           /* alarms= */ NULL, &err);
    }
    store_folder_close(report.folder);
    return r < 0 ? cli_fail(cli, &err) : EXIT_DONE;
}
