/* cmd_run.c - `kinlog run`: the agent in the foreground until SIGTERM or SIGINT.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include <poll.h>
#include <signal.h>
#include <sys/resource.h>

#include "agent/agent.h"
#include "agent/cli/cli.h"
#include "agent/log.h"

#define ROUND_MS 200

static volatile sig_atomic_t stop_signal;
static volatile sig_atomic_t reopen_signal;

static void on_signal(int number)
{
    if (number == SIGHUP)
        reopen_signal = 1;
    else
        stop_signal = 1;
}

static void catch_signals(void)
{
    struct sigaction action = {.sa_handler = on_signal};

    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGHUP, &action, NULL);
    action.sa_handler = SIG_IGN;
    sigaction(SIGPIPE, &action, NULL);
}

/* A core file would hold the site key and people's names. */
static void forbid_core_files(void)
{
    const struct rlimit none = {0, 0};

    /* where it is not allowed, the limit is lower already */
    (void)setrlimit(RLIMIT_CORE, &none);
}

/* sd_notify asks for the monotonic time of a reload; the log line says what is reopened.
 * */
static void reopen(struct agent *agent)
{
    reopen_signal = 0;
    notify_service("RELOADING=1");
    log_write(
        6, "agent",
        "SIGHUP: Kafka connections are made anew (certificates and passwords are read "
        "again), stopped shards try again; other keys need a restart");
    agent_reopen(agent);
}

static void serve(struct agent *agent)
{
    bool ready = false;

    while (!stop_signal) {
        if (reopen_signal) {
            reopen(agent);
            ready = false;
        }
        if (!ready && agent_ready(agent)) {
            ready = true;
            log_write(6, "agent", "ready: owner of %u of %u shards", agent_owned(agent),
                      agent_shards(agent));
            notify_service("READY=1");
        }
        agent_watch(agent);
        poll(NULL, 0, ROUND_MS);
    }
    notify_service("STOPPING=1");
    log_write(
        6, "agent",
        "stopping: no new command is taken, what was decided is published and answered");
}

int cmd_run(struct cli *cli, int argc, char **argv)
{
    struct agent *agent = NULL;
    struct error err = {0};

    if (argc > 0)
        return cli_wrong(cli, "run takes no argument like \"%s\"", argv[0]);
    int code = cli_config(cli, &err);
    if (code == 0 && cli->config->site == NULL)
        code = error_set(&err, ERROR_CONFIG,
                         "[agent] site is not set: give the site a name, like hq");
    if (code == 0)
        code = kafka_settings_check(&cli->config->kafka, &err);
    if (code != 0)
        return cli_fail(cli, &err);
    forbid_core_files();
    catch_signals();
    log_setup(cli->config->log_format, cli->config->log_level);
    kafka_log_set(log_kafka);
    log_write(6, "agent", "kinlog %s, librdkafka %s, site %s, data in %s", KINLOG_VERSION,
              kafka_library_version(), cli->config->site, cli->config->data_dir);
    code = agent_start(cli->config, &stop_signal, &agent, &err);
    if (code == ERROR_STOPPED)
        return EXIT_DONE;
    if (code != 0)
        return cli_fail(cli, &err);
    serve(agent);
    agent_stop(agent);
    log_write(6, "agent", "stopped");
    return EXIT_DONE;
}
