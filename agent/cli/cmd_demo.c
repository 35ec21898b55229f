/* cmd_demo.c - `kinlog demo`: an embedded broker, an agent and a short story in one
 * process.
 *
 * When the story is told, the demo stays up, says what to try next in another terminal,
 * and shows what comes of it. agent.log in its folder has what the agent would write to
 * stderr.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/agent.h"
#include "agent/cli/args.h"
#include "agent/cli/cli.h"
#include "agent/cli/demo_feed.h"
#include "agent/cli/demo_folder.h"
#include "agent/cli/demo_next.h"
#include "agent/cli/demo_page.h"
#include "agent/cli/demo_show.h"
#include "agent/cli/demo_story.h"
#include "agent/clock.h"
#include "agent/log.h"
#include "agent/shard/site.h"

#define PORT_DEFAULT 19092
#define SHARDS 4
#define READY_TIMEOUT_MS 20000
#define ROUND_MS 20
#define WATCH_ROUND_MS 500
#define PAUSE_MS 400 /* between two steps, for those who watch */

extern char **environ;

struct demo {
    struct demo_page page;
    struct demo_folder folder;
    unsigned port;
    bool once;
    struct config *config;
    struct embedded_broker *broker;
    struct agent *agent;
    struct demo_feed *feed;
    char program[PATH_MAX]; /* as it may be typed */
};

static volatile sig_atomic_t stop_signal;

static void on_signal(int number)
{
    (void)number;
    stop_signal = 1;
}

static void catch_signals(void)
{
    struct sigaction action = {.sa_handler = on_signal};

    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGHUP, &action, NULL);
    action.sa_handler = SIG_IGN;
    sigaction(SIGPIPE, &action, NULL); /* `kinlog demo | head`: seen at the next write */
}

static bool is_over(const struct demo *demo)
{
    return stop_signal || ferror(demo->page.file);
}

/* ---- start and end ----------------------------------------------------------------- */

static void notice(void *context, int level, const char *text)
{
    static const int levels[] = {[TOPIC_OK] = LOG_LEVEL_INFO,
                                 [TOPIC_WARNING] = LOG_LEVEL_WARNING,
                                 [TOPIC_REFUSED] = LOG_LEVEL_ERROR};

    (void)context;
    log_write(levels[level], "init", "%s", text);
}

static int open_broker(struct demo *demo, struct error *err)
{
    struct topic_names names = config_topics(demo->config);
    struct error why = {0};
    int code = embedded_broker_open((int)demo->port, &names, SHARDS, &demo->broker, &why);

    if (code == ERROR_LOCKED)
        return error_set(err, code,
                         "port %u of 127.0.0.1 is taken, maybe by another demo: end that "
                         "one, or choose "
                         "another port with `kinlog demo --port %u`",
                         demo->port, demo->port < 65535 ? demo->port + 1 : PORT_DEFAULT);
    return code < 0 ? error_set(err, code, "%s", why.text) : 0;
}

static int wait_until_ready(const struct demo *demo, struct error *err)
{
    int64_t deadline_ms = clock_monotonic_ms() + READY_TIMEOUT_MS;

    while (!agent_ready(demo->agent)) {
        if (is_over(demo))
            return error_set(err, ERROR_STOPPED, "stopped while starting");
        if (clock_monotonic_ms() > deadline_ms)
            return error_set(err, ERROR_TIMEOUT,
                             "the agent did not get ready within %d s",
                             READY_TIMEOUT_MS / 1000);
        (void)poll(NULL, 0, ROUND_MS);
    }
    if (agent_owned(demo->agent) == SHARDS)
        return 0;
    return error_set(err, ERROR_CONFLICT, "the agent owns %u of its %d shards only",
                     agent_owned(demo->agent), SHARDS);
}

static int start(struct demo *demo, struct error *err)
{
    struct topic_names names = config_topics(demo->config);
    struct log_identity identity;
    int code = site_init(demo->config, notice, NULL, &identity, err);

    if (code == 0)
        code = agent_start(demo->config, &stop_signal, &demo->agent, err);
    if (code == 0)
        code = wait_until_ready(demo, err);
    if (code == 0)
        code = demo_feed_open(&demo->config->kafka, &names, SHARDS, &demo->feed, err);
    return code;
}

/* The agent is the broker's client, so it goes first. */
static void end(struct demo *demo)
{
    demo_feed_close(demo->feed);
    agent_stop(demo->agent);
    embedded_broker_close(demo->broker);
    config_free(demo->config);
}

/* ---- what is printed around the story ---------------------------------------------- */

static void print_opening(struct demo *demo)
{
    struct demo_page *page = &demo->page;

    demo_print(page, DEMO_BOLD, "Kinlog demo");
    demo_print(
        page, DEMO_PLAIN,
        ": an embedded Kafka broker and an agent with %d shards in one process\n\n",
        SHARDS);
    demo_print(page, DEMO_WARN, "  The embedded broker is NOT DURABLE: ");
    demo_print(page, DEMO_PLAIN,
               "it keeps its records in memory only, at\n"
               "  most 5 MiB of each partition, and all are gone when the demo ends. "
               "Nothing for\n"
               "  real data.\n\n");
    demo_print(page, DEMO_PLAIN, "  broker   127.0.0.1:%u, for any Kafka client\n",
               demo->port);
    demo_print(page, DEMO_PLAIN, "  folder   %s, %s\n", demo->folder.path,
               demo->folder.temporary ? "removed when the demo ends" : "kept");
    demo_print(page, DEMO_PLAIN,
               "           kinlog.conf, agent.log (what the agent logs), data/ (log and "
               "views)\n\n");
    demo_paragraph(
        page, 2,
        "Below, commands go to the topic kinlog.commands; the agent decides each, puts "
        "the "
        "events into its log and into kinlog.events, and answers in kinlog.replies. "
        "Events are "
        "numbered <shard>-<sequence>; at the right stand a command's source and id.");
}

/* The same program prints a view, as it would in another terminal. */
static int print_view(struct demo *demo, struct error *err)
{
    char *arguments[] = {demo->program,       "list", "relationships", "--config",
                         demo->folder.config, NULL};
    int status = -1;
    pid_t child;

    demo_heading(&demo->page, 0, "What the views hold now", BYTES_ABSENT, BYTES_ABSENT);
    demo_print(&demo->page, DEMO_DIM, "    $ %s list relationships --config %s\n\n",
               demo->program, demo->folder.config);
    (void)fflush(demo->page.file);
    if (is_over(demo))
        return error_set(err, ERROR_STOPPED, "stopped");
    int code = posix_spawn(&child, "/proc/self/exe", NULL, NULL, arguments, environ);

    if (code != 0)
        return error_set(err, ERROR_IO, "cannot start %s: %s", demo->program,
                         strerror(code));
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        ;
    if (stop_signal)
        return error_set(err, ERROR_STOPPED, "stopped");
    if (status != 0)
        return error_set(err, ERROR_INVALID, "`%s list relationships` failed",
                         demo->program);
    return 0;
}

static int tell(struct demo *demo, struct error *err)
{
    const struct demo_stage stage = {
        .config = demo->config,
        .shards = SHARDS,
        .page = &demo->page,
        .feed = demo->feed,
        .stop = &stop_signal,
        .pause_ms = demo->page.terminal ? PAUSE_MS : 0,
    };
    int code = demo_story_play(&stage, err);

    if (code == 0)
        code = print_view(demo, err);
    return code;
}

static int watch(struct demo *demo, struct error *err)
{
    struct demo_watch watch = {.command = BUF_INIT};
    struct demo_message message;
    int code = 0;

    while (code >= 0 && !is_over(demo)) {
        code = demo_feed_next(demo->feed, WATCH_ROUND_MS, &message, err);
        if (code == 0)
            demo_watch_show(&watch, &demo->page, &message);
        (void)fflush(demo->page.file);
    }
    demo_watch_release(&watch);
    return code < 0 ? code : 0;
}

static int play(struct demo *demo, struct error *err)
{
    print_opening(demo);
    int code = start(demo, err);

    if (code == 0)
        code = tell(demo, err);
    if (code < 0)
        return code;
    if (demo->once) {
        demo_print(&demo->page, DEMO_GOOD, "\nAll steps came out as told.\n");
        return 0;
    }
    demo_next_print(&demo->page, demo->program, demo->folder.config, demo->port);
    return watch(demo, err);
}

/* ---- the subcommand ---------------------------------------------------------------- */

static int prepare(struct demo *demo, const char *wanted, struct error *err)
{
    int code = demo_folder_make(&demo->folder, wanted, err);

    if (code == 0)
        code = demo_folder_configure(&demo->folder, demo->port, &demo->config, err);
    if (code == 0)
        code = demo_folder_log_begin(&demo->folder, err);
    if (code < 0)
        return code;
    log_setup("logfmt", LOG_LEVEL_INFO);
    kafka_log_set(log_kafka);
    return open_broker(demo, err);
}

static void print_ending(struct demo *demo, bool failed)
{
    const struct demo_folder *folder = &demo->folder;

    if (failed)
        (void)fprintf(stderr, "kinlog: %s is kept; agent.log in it says more\n",
                      folder->path);
    else if (folder->temporary)
        demo_print(&demo->page, DEMO_PLAIN, "The demo has ended; %s is removed.\n",
                   folder->path);
    else
        demo_print(&demo->page, DEMO_PLAIN,
                   "The demo has ended. Its log and views are kept in %s:\n"
                   "  %s list relationships --config %s\n",
                   folder->path, demo->program, folder->config);
}

static int run(struct demo *demo, const char *wanted, struct error *err)
{
    int code = prepare(demo, wanted, err);
    bool played = code == 0;

    if (played)
        code = play(demo, err);
    if (played && stop_signal)
        demo_print(&demo->page, DEMO_PLAIN, "\nStopping ...\n");
    (void)fflush(stdout);
    end(demo);
    demo_folder_log_end(&demo->folder);
    if (code == ERROR_STOPPED && !demo->once)
        code = 0;
    bool failed = played && code < 0 && code != ERROR_STOPPED;

    if (played)
        print_ending(demo, failed);
    if (!failed)
        demo_folder_remove(&demo->folder);
    return code;
}

int cmd_demo(struct cli *cli, int argc, char **argv)
{
    struct demo demo = {.port = PORT_DEFAULT, .once = cli_has(cli, "once")};
    const char *port = cli_value(cli, "port");
    struct error err = {0};
    uint64_t number;

    if (argc > 0)
        return cli_wrong(cli, "demo takes no argument like \"%s\"", argv[0]);
    if (cli->override_count > 0)
        return cli_wrong(cli, "demo takes no -X: it writes a configuration of its own");
    if (port != NULL && args_number("--port", port, 1, 65535, &number, &err) < 0)
        return cli_fail(cli, &err);
    if (port != NULL)
        demo.port = (unsigned)number;
    demo_next_program(demo.program);
    catch_signals();
    (void)setvbuf(stdout, NULL, _IOLBF, 0);
    demo_page_init(&demo.page, stdout);
    int code = run(&demo, cli_value(cli, "data-dir"), &err);

    demo_page_release(&demo.page);
    return code < 0 ? cli_fail(cli, &err) : EXIT_DONE;
}
