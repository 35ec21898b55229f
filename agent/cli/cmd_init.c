/* cmd_init.c - `kinlog init`: makes the data folder, and topics where that is allowed.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "agent/cli/cli.h"
#include "agent/kafka/kafka.h"
#include "agent/shard/site.h"

static void notice(void *context, int level, const char *text)
{
    static const char *const words[] = {
        [TOPIC_OK] = "", [TOPIC_WARNING] = "warning: ", [TOPIC_REFUSED] = "error: "};

    (void)context;
    fprintf(stderr, "%s%s\n", words[level], text);
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
    printf("%s log %s of site %s, %u shards, in %s\n",
           key_file != NULL ? "joined" : "made", identity.log, identity.site,
           identity.shards, cli->config->data_dir);
    if (key_file == NULL)
        printf("the site key is %s/site.key: keep a copy in a safe place; agents that "
               "join need it\n",
               cli->config->data_dir);
    printf("next: kinlog run --config %s\n",
           cli->config->file != NULL ? cli->config->file : "FILE");
    return cli_finish(EXIT_DONE);
}
