/* cmd_init.c - `kinlog init`: makes the data folder, and topics where that is allowed.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "agent/cli/cli.h"
#include "agent/cli/json_out.h"
#include "agent/kafka/kafka.h"
#include "agent/shard/site.h"

static void notice(void *context, int level, const char *text)
{
    static const char *const words[] = {
        [TOPIC_OK] = "", [TOPIC_WARNING] = "warning: ", [TOPIC_REFUSED] = "error: "};

    (void)context;
    fprintf(stderr, "%s%s\n", words[level], text);
}

static void print_object(const struct cli *cli, const struct log_identity *identity)
{
    struct json_out json;

    json_out_begin(&json, stdout, /* pretty= */ cli->form == OUTPUT_JSON);
    json_out_object(&json, NULL);
    json_out_string(&json, "Log", identity->log);
    json_out_string(&json, "Site", identity->site);
    json_out_unsigned(&json, "Shards", identity->shards);
    json_out_string(&json, "DataDir", cli->config->data_dir);
    json_out_close(&json);
    json_out_end(&json);
}

static void print_made(const struct cli *cli, const struct log_identity *identity)
{
    const struct config *config = cli->config;
    bool joined = cli_has(cli, "join");

    if (cli->form != OUTPUT_TABLE) {
        print_object(cli, identity);
        return;
    }
    (void)printf("%s log %s of site %s, %u shards, in %s\n", joined ? "joined" : "made",
                 identity->log, identity->site, identity->shards, config->data_dir);
    if (!joined)
        (void)printf("the site key is %s/site.key: keep a copy in a safe place; agents "
                     "that join need it\n",
                     config->data_dir);
    (void)printf("next: kinlog run --config %s\n",
                 config->file != NULL ? config->file : "FILE");
}

int cmd_init(struct cli *cli, int argc, char **argv)
{
    const char *key_file = cli_value(cli, "join");
    struct log_identity identity;
    struct error err = {0};

    if (argc > 0)
        return cli_wrong(cli, "init takes no argument like \"%s\"", argv[0]);
    int code = cli_config(cli, &err);
    if (code == 0)
        code = kafka_settings_check(&cli->config->kafka, &err);
    if (code == 0 && key_file != NULL)
        code = site_join(cli->config, key_file, notice, NULL, &identity, &err);
    else if (code == 0)
        code = site_init(cli->config, notice, NULL, &identity, &err);
    if (code != 0)
        return cli_fail(cli, &err);
    print_made(cli, &identity);
    return cli_finish(EXIT_DONE);
}
