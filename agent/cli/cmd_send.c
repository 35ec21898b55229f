/* cmd_send.c - kinlog send: publishes a command and waits for its answer.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "agent/cli/answer_text.h"
#include "agent/cli/args.h"
#include "agent/cli/cli.h"
#include "agent/cli/json_out.h"
#include "agent/cli/send_value.h"
#include "agent/cli/sending.h"
#include "agent/clock.h"
#include "agent/config/spelling.h"
#include "events/base/datetime.h"

#define TIMEOUT_DEFAULT "10s"
#define DATA_BYTES_MAX (16 * 1024 * 1024) /* far more than any topic takes */

struct sending {
    struct cli *cli;
    struct outgoing outgoing;
    char id[UUID_SIZE];
    char expiry[RFC3339_SIZE];
    struct buf data;
    int64_t timeout_ms;
    bool wait;
};

/* ---- arguments --------------------------------------------------------------------- */

static int read_data(const char *path, struct buf *out, struct error *err)
{
    FILE *file = strcmp(path, "-") == 0 ? stdin : fopen(path, "rb");
    uint8_t piece[4096];
    size_t size;
    int r = 0;

    if (file == NULL)
        return error_set(err, ERROR_IO, "cannot read %s: %s", path, strerror(errno));
    while (r == 0 && (size = fread(piece, 1, sizeof(piece), file)) > 0) {
        if (buf_append(out, piece, size) < 0)
            r = error_set(err, ERROR_NO_MEMORY, "out of memory");
        else if (out->size > DATA_BYTES_MAX)
            r = error_set(err, ERROR_TOO_LARGE, "%s is larger than any command may be",
                          path);
    }
    if (r == 0 && ferror(file))
        r = error_set(err, ERROR_IO, "cannot read %s: %s", path, strerror(errno));
    if (file != stdin)
        (void)fclose(file);
    return r;
}

static void warn(const char *what, const char *name, const char *nearest,
                 const char *help)
{
    (void)fprintf(stderr, "kinlog: warning: %s %s; ", what, name);
    if (nearest != NULL)
        (void)fprintf(stderr, "did you mean %s?", nearest);
    else
        (void)fprintf(stderr, "see `kinlog help %s`.", help);
    (void)fputs(" It is sent as given.\n", stderr);
}

static void warn_unknown(const struct schema_entry *entry, const char *name,
                         const char *nearest)
{
    char what[80];

    (void)snprintf(what, sizeof(what), "%s has no parameter", entry->name);
    warn(what, name, nearest, entry->name);
}

static void warn_type(const char *type)
{
    struct spelling spelling = {.word = type};

    for (const struct schema_entry *entry = schema_commands; entry->type != NULL; entry++)
        spelling_try(&spelling, entry->name);
    warn("this version knows no command", type, spelling_best(&spelling), "send");
}

static int parse_data(struct sending *sending, int argc, char **argv, struct error *err)
{
    const char *path = cli_value(sending->cli, "data");
    const struct schema_entry *entry = send_type_find(argv[0]);
    int r;

    if (path != NULL && argc > 1)
        return error_set(err, ERROR_USAGE,
                         "parameters come from --data or as words, not both");
    if (entry == NULL)
        warn_type(argv[0]);
    if (path != NULL)
        r = read_data(path, &sending->data, err);
    else
        r = send_data_append(&sending->data, entry, argc - 1, argv + 1, warn_unknown,
                             err);
    sending->outgoing.data = buf_bytes(&sending->data);
    return r;
}

static int parse_attributes(struct sending *sending, struct error *err)
{
    const struct cli *cli = sending->cli;
    struct outgoing *outgoing = &sending->outgoing;
    const char *expiry = cli_value(cli, "expiry"), *timeout = cli_value(cli, "timeout");
    uint64_t version;
    int64_t expiry_ms;
    int r = 0;

    outgoing->id = cli_value(cli, "id");
    outgoing->source = cli_has(cli, "source") ? cli_value(cli, "source") : SENDING_SOURCE;
    outgoing->actor = cli_value(cli, "actor");
    outgoing->correlation_id = cli_value(cli, "correlation-id");
    outgoing->expected_version = cli_value(cli, "expected-version");
    sending->wait = !cli_has(cli, "no-wait");
    if (outgoing->id == NULL) {
        r = uuid_make(sending->id, err);
        outgoing->id = sending->id;
    }
    if (r == 0 && (*outgoing->id == '\0' || *outgoing->source == '\0'))
        r = error_set(err, ERROR_USAGE, "--id and --source must not be empty");
    if (r == 0 && outgoing->expected_version != NULL)
        r = args_number("--expected-version", outgoing->expected_version, 0, UINT64_MAX,
                        &version, err);
    if (r == 0 && expiry != NULL) {
        r = args_time("--expiry", expiry, clock_wall_ms(), &expiry_ms, err);
        if (r == 0)
            rfc3339_format(expiry_ms, sending->expiry);
        outgoing->expiry_time = sending->expiry;
    }
    if (r == 0)
        r = args_duration("--timeout", timeout != NULL ? timeout : TIMEOUT_DEFAULT,
                          &sending->timeout_ms, err);
    return r;
}

/* ---- the exchange ------------------------------------------------------------------ */

static void print_sent(const struct sending *sending, uint32_t shard)
{
    const struct outgoing *outgoing = &sending->outgoing;
    struct json_out json;

    if (sending->cli->form == OUTPUT_TABLE) {
        (void)printf("Sent to shard %" PRIu32 ", id %s.\n"
                     "Its answer, once there is one: kinlog show %s %s\n",
                     shard, outgoing->id, outgoing->source, outgoing->id);
        return;
    }
    json_out_begin(&json, stdout, /* pretty= */ false);
    json_out_object(&json, NULL);
    json_out_unsigned(&json, "Shard", shard);
    json_out_string(&json, "Source", outgoing->source);
    json_out_string(&json, "Id", outgoing->id);
    json_out_close(&json);
    json_out_end(&json);
}

static int no_answer(const struct sending *sending)
{
    const struct outgoing *outgoing = &sending->outgoing;

    (void)fprintf(stderr,
                  "kinlog: no answer within %s; the command may still be decided.\n"
                  "See: kinlog show %s %s\n"
                  "Or send it again with --id %s, which has no second effect.\n",
                  cli_has(sending->cli, "timeout") ? cli_value(sending->cli, "timeout")
                                                   : TIMEOUT_DEFAULT,
                  outgoing->source, outgoing->id, outgoing->id);
    return EXIT_NO_ANSWER;
}

static int print_answer(const struct sending *sending, struct bytes value)
{
    struct answer_summary summary;
    struct error err = {0};

    if (answer_read(value, &summary, &err) < 0)
        return cli_fail(sending->cli, &err);
    if (sending->cli->form == OUTPUT_TABLE) {
        answer_print(stdout, value);
    } else {
        (void)fwrite(value.data, 1, value.size, stdout);
        (void)fputc('\n', stdout);
    }
    return summary.success ? EXIT_DONE : EXIT_REFUSED;
}

/* The exit code, or negative with err. */
static int exchange_run(struct sending *sending, struct exchange *exchange,
                        struct buf *key, struct buf *answer, struct error *err)
{
    uint32_t shard = 0;
    int r =
        outgoing_route(&sending->outgoing, exchange_shards(exchange), &shard, key, err);

    if (r == 0 && sending->wait)
        r = exchange_listen(exchange, shard, err);
    if (r < 0)
        return r;
    r = outgoing_send(&sending->outgoing, exchange, shard,
                      key->size > 0 ? buf_bytes(key) : BYTES_ABSENT, err);
    if (r == ERROR_TIMEOUT)
        return no_answer(sending);
    if (r < 0)
        return r;
    if (!sending->wait) {
        print_sent(sending, shard);
        return EXIT_DONE;
    }
    r = outgoing_wait(&sending->outgoing, exchange, answer, err);
    if (r < 0)
        return r;
    return r == 1 ? no_answer(sending) : print_answer(sending, buf_bytes(answer));
}

int cmd_send(struct cli *cli, int argc, char **argv)
{
    struct sending sending = {.cli = cli};
    struct exchange *exchange = NULL;
    struct buf key = BUF_INIT, answer = BUF_INIT;
    struct error err = {0};

    if (argc == 0)
        return cli_wrong(
            cli, "which command? As: kinlog send RegisterDevice ResourceID=7 Name=PC7");
    sending.outgoing.type = argv[0];
    int r = parse_attributes(&sending, &err);
    if (r == 0)
        r = cli_config(cli, &err);
    if (r == 0)
        r = config_need_broker(cli->config, &err);
    if (r == 0)
        r = parse_data(&sending, argc, argv, &err);
    if (r == 0)
        r = exchange_open(cli->config, clock_monotonic_ms() + sending.timeout_ms,
                          &exchange, &err);
    if (r == 0)
        r = exchange_run(&sending, exchange, &key, &answer, &err);
    exchange_close(exchange);
    buf_release(&key);
    buf_release(&answer);
    buf_release(&sending.data);
    return r < 0 ? cli_fail(cli, &err) : r;
}
