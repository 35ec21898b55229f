/* cmd_policy.c - kinlog policy: what decisions depend on, and setting it for all shards.
 *
 * The shard of the key `policy` decides SetPolicy; its owner then sends AdoptPolicy to
 * every other shard. Their answers name the event that made the policy, so `set` sees
 * each shard adopt it.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <string.h>

#include "agent/cli/answer_text.h"
#include "agent/cli/args.h"
#include "agent/cli/cli.h"
#include "agent/cli/object.h"
#include "agent/cli/reading.h"
#include "agent/cli/sending.h"
#include "agent/clock.h"
#include "events/base/hash.h"

#define TIMEOUT_DEFAULT "10s"

/* ---- show -------------------------------------------------------------------------- */

/* What all shards have of one name. */
struct standing {
    const struct policy_name *name;
    struct policy decided;  /* in the shard that decides policy */
    uint32_t shards_behind; /* how many have another revision of it */
};

static int show_name(const struct store_folder *folder, struct standing *standing,
                     struct error *err)
{
    uint32_t home = reading_shard_of(folder, "policy");
    struct policy policy = {0};
    int r = 0;

    standing->shards_behind = 0;
    for (uint32_t i = 0; r >= 0 && i < folder->identity.shards; i++) {
        uint32_t shard = (home + i) % folder->identity.shards;
        struct shard_reader reader = {0};

        r = shard_reader_open(folder, shard, KV_READ_ONLY, &reader, err);
        if (r == 0)
            r = policy_get(reader.views, standing->name->name, &policy, err);
        if (r >= 0 && shard == home)
            standing->decided = policy;
        else if (r >= 0)
            standing->shards_behind += policy.revision != standing->decided.revision;
        shard_reader_close(&reader);
    }
    return r < 0 ? r : 0;
}

static void print_standing(const struct cli *cli, struct table *table,
                           struct json_out *json, const struct standing *standing)
{
    struct json_out line, *out = json;

    if (cli->form == OUTPUT_TABLE) {
        table_cell(table, "%s", standing->name->name);
        table_cell(table, "%s", standing->decided.value);
        table_cell(table, "%s", standing->name->default_value);
        table_cell(table, "%" PRIu64, standing->decided.revision);
        table_cell(table, "%" PRIu32, standing->shards_behind);
        table_cell(table, "%s", standing->name->allowed);
        return;
    }
    if (cli->form == OUTPUT_NDJSON) {
        json_out_begin(&line, stdout, /* pretty= */ false);
        out = &line;
    }
    json_out_object(out, NULL);
    json_out_string(out, "Name", standing->name->name);
    json_out_string(out, "Value", standing->decided.value);
    json_out_string(out, "Default", standing->name->default_value);
    json_out_unsigned(out, "Revision", standing->decided.revision);
    json_out_unsigned(out, "ShardsBehind", standing->shards_behind);
    json_out_close(out);
    if (cli->form == OUTPUT_NDJSON)
        json_out_end(&line);
}

static int show(struct cli *cli, struct error *err)
{
    static const char *const titles[] = {
        "<NAME", "<VALUE", "<DEFAULT", "REVISION", "SHARDS BEHIND", "<ALLOWED", NULL};
    struct store_folder *folder = NULL;
    struct table *table = NULL;
    struct standing standing = {0};
    struct json_out json;
    int r = reading_folder(cli, &folder, err);

    json_out_begin(&json, stdout, /* pretty= */ true);
    if (r == 0 && cli->form == OUTPUT_JSON) {
        json_out_object(&json, NULL);
        json_out_array(&json, "Policies");
    }
    if (r == 0 && cli->form == OUTPUT_TABLE)
        table = table_new(stdout, titles);
    for (size_t i = 0; r == 0 && (standing.name = policy_name_at(i)) != NULL; i++) {
        r = show_name(folder, &standing, err);
        if (r == 0)
            print_standing(cli, table, &json, &standing);
    }
    table_free(table);
    if (r == 0 && cli->form == OUTPUT_JSON) {
        json_out_close(&json);
        json_out_close(&json);
        json_out_end(&json);
    }
    store_folder_close(folder);
    return r < 0 ? r : EXIT_DONE;
}

/* ---- set --------------------------------------------------------------------------- */

struct setting {
    struct cli *cli;
    struct outgoing outgoing;
    struct exchange *exchange;
    char id[UUID_SIZE];
    struct buf data, key, answer;
};

static int make_data(struct setting *setting, const char *assignment, struct error *err)
{
    const char *equals = strchr(assignment, '=');

    if (equals == NULL || equals == assignment)
        return error_set(err, ERROR_USAGE,
                         "NAME=VALUE is wanted, as devices.unknown=stub");
    (void)buf_append_str(&setting->data, "{\"Name\":");
    (void)buf_append_json_string(&setting->data,
                                 bytes_of(assignment, (size_t)(equals - assignment)));
    (void)buf_append_str(&setting->data, ",\"Value\":");
    (void)buf_append_json_string(&setting->data, bytes_str(equals + 1));
    if (buf_append_byte(&setting->data, '}') < 0)
        return error_set(err, ERROR_NO_MEMORY, "out of memory");
    setting->outgoing.data = buf_bytes(&setting->data);
    return 0;
}

/* Waits until each other shard has answered the AdoptPolicy of this event: 0, 1 = not all
 * in time. */
static int wait_adopted(struct setting *setting, const struct answer_summary *decided,
                        uint32_t *ret_missing, struct error *err)
{
    uint32_t shards = exchange_shards(setting->exchange);
    bool adopted[SLOTS] = {false};
    struct answer_record record;
    char id[64];
    int r = 0;

    (void)snprintf(id, sizeof(id), "%" PRIu32 "-%" PRIu64, decided->shard,
                   decided->sequence);
    *ret_missing = shards - 1;
    while (*ret_missing > 0 &&
           (r = exchange_next(setting->exchange, &record, err)) == 0) {
        struct answer_summary answer;

        if (!bytes_equal_str(record.causation_id, id) ||
            answer_read(record.value, &answer, NULL) < 0 || answer.shard >= SLOTS ||
            !answer.success || adopted[answer.shard])
            continue;
        adopted[answer.shard] = true;
        --*ret_missing;
    }
    return r;
}

/* The exit code, or negative with err. */
static int finish(struct setting *setting, struct error *err)
{
    uint32_t shards = exchange_shards(setting->exchange), missing = 0;
    struct bytes value = buf_bytes(&setting->answer);
    struct answer_summary decided;
    int r = answer_read(value, &decided, err);

    if (r < 0)
        return r;
    if (setting->cli->form == OUTPUT_TABLE) {
        answer_print(stdout, value);
    } else {
        (void)fwrite(value.data, 1, value.size, stdout);
        (void)fputc('\n', stdout);
    }
    (void)fflush(stdout);
    if (!decided.success)
        return EXIT_REFUSED;
    /* What was set already is adopted already, or will be: nothing is sent for it. */
    if (!decided.accepted)
        return EXIT_DONE;
    r = wait_adopted(setting, &decided, &missing, err);
    if (r < 0)
        return r;
    if (r == 1) {
        (void)fprintf(
            stderr,
            "kinlog: %" PRIu32 " of %" PRIu32
            " shards have not yet said that they adopted it; they will when their\n"
            "owners run: see PolicyRevision in `kinlog status --json`\n",
            missing, shards);
        return EXIT_NO_ANSWER;
    }
    if (setting->cli->form == OUTPUT_TABLE)
        (void)printf("  adopted by all %" PRIu32 " shards\n", shards);
    return EXIT_DONE;
}

static int exchange_run(struct setting *setting, struct error *err)
{
    uint32_t shard = 0;
    int r = outgoing_route(&setting->outgoing, exchange_shards(setting->exchange), &shard,
                           &setting->key, err);

    if (r == 0)
        r = exchange_listen_all(setting->exchange, err);
    if (r == 0)
        r = outgoing_send(&setting->outgoing, setting->exchange, shard,
                          setting->key.size > 0 ? buf_bytes(&setting->key) : BYTES_ABSENT,
                          err);
    if (r == 0)
        r = outgoing_wait(&setting->outgoing, setting->exchange, &setting->answer, err);
    if (r == 1) {
        (void)fprintf(
            stderr,
            "kinlog: no answer in time; see `kinlog policy`, or set it again: the same "
            "value twice does no harm\n");
        return EXIT_NO_ANSWER;
    }
    return r < 0 ? r : finish(setting, err);
}

static int set(struct cli *cli, const char *assignment, struct error *err)
{
    struct setting setting = {.cli = cli, .outgoing = {.type = "SetPolicy"}};
    const char *timeout = cli_value(cli, "timeout");
    int64_t timeout_ms = 0;
    int r = args_duration("--timeout", timeout != NULL ? timeout : TIMEOUT_DEFAULT,
                          &timeout_ms, err);

    if (r == 0)
        r = make_data(&setting, assignment, err);
    if (r == 0)
        r = uuid_make(setting.id, err);
    setting.outgoing.id = setting.id;
    setting.outgoing.source = SENDING_SOURCE;
    if (r == 0)
        r = cli_config(cli, err);
    if (r == 0)
        r = config_need_broker(cli->config, err);
    if (r == 0)
        r = exchange_open(cli->config, clock_monotonic_ms() + timeout_ms,
                          &setting.exchange, err);
    if (r == 0)
        r = exchange_run(&setting, err);
    exchange_close(setting.exchange);
    buf_release(&setting.data);
    buf_release(&setting.key);
    buf_release(&setting.answer);
    return r;
}

int cmd_policy(struct cli *cli, int argc, char **argv)
{
    struct error err = {0};
    int r;

    if (argc == 0)
        r = show(cli, &err);
    else if (strcmp(argv[0], "set") == 0 && argc == 2)
        r = set(cli, argv[1], &err);
    else
        return cli_wrong(cli, "`policy` or `policy set NAME=VALUE` is wanted");
    return r < 0 ? cli_fail(cli, &err) : r;
}
