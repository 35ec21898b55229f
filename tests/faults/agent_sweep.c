/* agent_sweep.c - lets the n-th allocation of a whole agent fail, for every n.
 *
 *     agent_sweep [STRIDE]               every STRIDE-th n only (1); the last line: N passed, N failed
 *     agent_sweep once|lasting N         one run; with KINLOG_TEST_LOG set, the agent's log is shown
 *
 * Each run is a child process with a broker (the mock cluster), a site and an agent of its
 * own. The agent is started, given the story's commands (story.h), and stopped. One of its
 * allocations fails, or all from that one on for LASTING_MS. It may refuse to start, for
 * want of memory and nothing else, and does start then; it answers every command as a run
 * without faults does, and none twice; built with sanitizers, nothing may leak.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/agent.h"
#include "agent/clock.h"
#include "agent/kafka/kafka.h"
#include "agent/log.h"
#include "agent/shard/claim.h"
#include "agent/shard/site.h"
#include "events/base/hash.h"
#include "tests/faults/alloc_faults.h"
#include "tests/faults/story.h"

#define LASTING_MS 1500
#define TIME_MAX_S 120 /* a run takes one or two */
#define WAIT_MS 60000

/* Of a build without sanitizers there is none. */
int __lsan_do_recoverable_leak_check(void) __attribute__((weak));

/* What a client has got for a command. */
struct answered {
    uint8_t value[SHA256_SIZE]; /* of the first answer's value */
    int count, unmarked;
};

/* What parent and children share. */
static struct shared {
    struct answered truth[STORY_COMMANDS]; /* of a run without faults */
    uint32_t failed, count;
    char fault[700]; /* why the child failed */
} * shared;

static void __attribute__((format(printf, 1, 2), noreturn)) fail(const char *format, ...)
{
    va_list list;

    va_start(list, format);
    vsnprintf(shared->fault, sizeof shared->fault, format, list);
    va_end(list);
    _exit(1);
}

static void must(int code, const char *what, const struct error *err)
{
    if (code != 0)
        fail("%s: %s", what, err->text);
}

/* ---- a site, which nothing happens to ---------------------------------------------- */

struct run {
    char folder[64];
    struct embedded_broker *broker;
    struct config *config;
    struct sink *sink;      /* sends commands */
    struct source *replies; /* reads answers */
    struct agent *agent;
    struct answered answered[STORY_COMMANDS];
    bool lifted;
    struct error err;
};

static void ignore(void *context, const struct delivery *delivery)
{
    (void)context;
    (void)delivery;
}

static void silent(void *context, int level, const char *text)
{
    (void)context;
    (void)level;
    (void)text;
}

static void read_config(struct run *run)
{
    char path[128];
    struct config_source source = {.file = path, .environment = (char *[]){NULL}};

    snprintf(path, sizeof path, "%s/kinlog.conf", run->folder);
    FILE *file = fopen(path, "w");
    if (file == NULL)
        fail("cannot write %s", path);
    fprintf(file,
            "[agent]\ndata_dir = %s/data\nsite = hq\n[topics]\npartitions = 1\n"
            "[kafka]\nbootstrap.servers = %s\n",
            run->folder, embedded_broker_bootstrap(run->broker));
    fclose(file);
    must(config_load(&source, &run->config, &run->err), "the configuration", &run->err);
    run->config->embedded = true;
    run->config->kafka.embedded = true;
}

static void set_up(struct run *run)
{
    struct topic_names names = {"kinlog.commands", "kinlog.events", "kinlog.replies",
                                "kinlog.dead-letters", "kinlog.storage"};
    struct log_identity identity;

    snprintf(run->folder, sizeof run->folder, "%s/kinlog-agent-sweep-XXXXXX",
             access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    if (mkdtemp(run->folder) == NULL)
        fail("no folder");
    log_setup("logfmt", getenv("KINLOG_TEST_LOG") != NULL ? 7 : 2);
    must(embedded_broker_open(0, &names, 1, &run->broker, &run->err), "the broker",
         &run->err);
    read_config(run);
    must(site_init(run->config, silent, NULL, &identity, &run->err), "init", &run->err);
    must(sink_open(&run->config->kafka, SINK_OUTBOX, 0, -1, ignore, NULL, &run->sink,
                   &run->err),
         "the sink", &run->err);
    must(source_open(&run->config->kafka, run->config->topic_replies, 0, -1,
                     &run->replies, &run->err),
         "the source", &run->err);
    must(source_start(run->replies, 0, &run->err), "reading", &run->err);
}

static void tear_down(struct run *run)
{
    char command[128];

    source_close(run->replies);
    sink_close(run->sink);
    config_free(run->config);
    embedded_broker_close(run->broker);
    snprintf(command, sizeof command, "rm -rf '%s'", run->folder);
    if (system(command) != 0)
        fail("cannot remove %s", run->folder);
}

/* ---- commands and answers ---------------------------------------------------------- */

static void send_commands(struct run *run)
{
    for (int64_t offset = 0; offset < STORY_COMMANDS; offset++) {
        struct story_record story;
        const struct record *record = &story.record;
        story_record(offset, &story);
        must(sink_send(run->sink, run->config->topic_commands, 0, record->key,
                       record->value, record->headers, record->header_count, -1, 0,
                       &run->err),
             "sending", &run->err);
    }
    must(sink_flush(run->sink, WAIT_MS, &run->err), "sending", &run->err);
}

/* The commands' ids are "c-<offset>". */
static void note_answer(struct run *run, const struct record *record)
{
    struct bytes id = record_header(record, "ce_causationid");
    uint8_t value[SHA256_SIZE];
    char text[16];

    snprintf(text, sizeof text, "%.*s", (int)id.size, (const char *)id.data);
    struct answered *answered = &run->answered[strtoul(text + 2, NULL, 10)];
    sha256_once(record->value.data, record->value.size, value);
    if (answered->count++ == 0)
        memcpy(answered->value, value, sizeof value);
    if (memcmp(answered->value, value, sizeof value) != 0)
        fail("command %s has two answers", text);
    answered->unmarked += record_header(record, "ce_repeated").data == NULL;
}

/* How often each command of the story is sent; 0 = it has no id to be answered under. */
static void count_sent(int sent[STORY_COMMANDS])
{
    memset(sent, 0, STORY_COMMANDS * sizeof *sent);
    for (int64_t offset = 0; offset < STORY_COMMANDS; offset++) {
        struct story_record story;
        story_record(offset, &story);
        if (story.id[0] != '\0')
            sent[strtoul(story.id + 2, NULL, 10)]++;
    }
}

static bool all_answered(const struct run *run)
{
    int sent[STORY_COMMANDS];

    count_sent(sent);
    for (int i = 0; i < STORY_COMMANDS; i++) {
        if (run->answered[i].count < sent[i])
            return false;
    }
    return true;
}

static void lift_in_time(struct run *run, int64_t began_ms)
{
    if (run->lifted || clock_monotonic_ms() - began_ms < LASTING_MS)
        return;
    run->lifted = true;
    shared->failed += alloc_faults_lift();
}

static void wait_answers(struct run *run, int64_t began_ms)
{
    int64_t until_ms = clock_monotonic_ms() + WAIT_MS;

    while (!all_answered(run)) {
        const struct record *records;
        size_t count;
        if (clock_monotonic_ms() > until_ms)
            fail("not all commands are answered after %d s", WAIT_MS / 1000);
        must(source_poll(run->replies, 50, 500, &records, &count, NULL, &run->err),
             "reading answers", &run->err);
        for (size_t i = 0; i < count; i++)
            note_answer(run, &records[i]);
        sink_poll(run->sink, 0);
        lift_in_time(run, began_ms);
    }
}

static void compare_answers(const struct run *run)
{
    for (int i = 0; i < STORY_COMMANDS; i++) {
        if (run->answered[i].unmarked > 1)
            fail("command %d is answered %d times without a mark", i,
                 run->answered[i].unmarked);
        if (memcmp(run->answered[i].value, shared->truth[i].value, SHA256_SIZE) != 0)
            fail("command %d is not answered as in a run without faults", i);
    }
}

/* ---- one run ----------------------------------------------------------------------- */

/* It may be refused for want of memory; then once more, with nothing failing. */
static void start_agent(struct run *run)
{
    int code = agent_start(run->config, NULL, &run->agent, &run->err);

    if (code == 0)
        return;
    shared->failed += alloc_faults_lift();
    run->lifted = true;
    if (code != ERROR_NO_MEMORY || shared->failed == 0)
        fail("it does not start: error %d, %s", code, run->err.text);
    error_clear(&run->err);
    must(agent_start(run->config, NULL, &run->agent, &run->err), "the second start",
         &run->err);
}

static void live(uint32_t nth, bool lasts)
{
    struct run run = {0};
    int64_t began_ms;

    alarm(TIME_MAX_S);
    alloc_faults_spare(true);
    set_up(&run);
    began_ms = clock_monotonic_ms();
    alloc_faults_arm(nth, lasts);
    alloc_faults_spare(false);
    start_agent(&run);
    alloc_faults_spare(true);
    send_commands(&run);
    wait_answers(&run, began_ms);
    alloc_faults_spare(false);
    agent_stop(run.agent);
    alloc_faults_spare(true);
    if (!run.lifted)
        shared->failed += alloc_faults_lift();
    shared->count = alloc_faults_count();
    if (nth == 0)
        memcpy(shared->truth, run.answered, sizeof shared->truth);
    compare_answers(&run);
    tear_down(&run);
    if (__lsan_do_recoverable_leak_check != NULL &&
        __lsan_do_recoverable_leak_check() != 0)
        fail("something leaked");
    _exit(0);
}

static bool run_child(uint32_t nth, bool lasts)
{
    int status;

    shared->failed = 0;
    shared->fault[0] = '\0';
    fflush(stdout);
    pid_t child = fork();
    if (child == 0)
        live(nth, lasts);
    if (child < 0 || waitpid(child, &status, 0) != child)
        exit(2);
    if (WIFSIGNALED(status))
        snprintf(shared->fault, sizeof shared->fault, "ended by signal %d (%s)",
                 WTERMSIG(status), strsignal(WTERMSIG(status)));
    else if (status != 0 && shared->fault[0] == '\0')
        snprintf(shared->fault, sizeof shared->fault, "ended with %d",
                 WEXITSTATUS(status));
    return status == 0;
}

/* ---- the sweep --------------------------------------------------------------------- */

/* How many allocations there are differs a little from run to run: the sweep ends when none
 * failed. */
static bool sweep(bool lasts, uint32_t stride)
{
    unsigned runs = 0, bad = 0;

    for (uint32_t nth = 1;; nth += stride) {
        bool good = run_child(nth, lasts);
        if (good && shared->failed == 0)
            break;
        if (!good)
            printf("FAIL allocation %u%s: %s\n", nth, lasts ? " and those after it" : "",
                   shared->fault);
        bad += !good;
        runs++;
        if (bad > 20)
            break;
    }
    printf("%-5s an agent, %s: %u of %u allocations failed in turn\n",
           bad > 0 ? "FAIL" : "ok", lasts ? "lasting" : "once", runs, shared->count);
    return bad == 0 && runs > 0;
}

int main(int argc, char **argv)
{
    uint32_t stride = argc == 2 ? (uint32_t)strtoul(argv[1], NULL, 10) : 1;
    unsigned good;

    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE,
                  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED || stride == 0)
        return 2;
    if (!run_child(0, false)) {
        printf("without a fault: %s\n", shared->fault);
        return 2;
    }
    if (argc == 3) {
        bool well = run_child((uint32_t)strtoul(argv[2], NULL, 10),
                              strcmp(argv[1], "lasting") == 0);
        printf("%s, %u allocations failed: %s\n", well ? "ok" : "FAIL", shared->failed,
               shared->fault);
        return well ? 0 : 1;
    }
    good = sweep(false, stride);
    good += sweep(true, stride);
    printf("%u passed, %u failed\n", good, 2 - good);
    return good != 2;
}
