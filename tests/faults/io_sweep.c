/* io_sweep.c - lets the n-th input/output call of a store's life fail, for every n.
 *
 *     io_sweep [STRIDE]                  every STRIDE-th n only (1); the last line: N passed, N failed
 *     io_sweep SCENARIO AILMENT N        one run: "commit" "EIO, once" 17
 *
 * Each run is a child process on a fresh folder, which tells the story (story.h) as a shard
 * would: what fails is given up, and begun again from what is on disk. A fault is passing
 * (one call), or lasts until it is lifted, after LIFT_AFTER tries. At each new beginning
 * all that was acknowledged must be there, and nothing that a run without faults does not
 * have; at the end all must be as in a run without faults. A child that aborts, or takes
 * more than 10 s, has failed.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/shard/repair.h"
#include "events/event_log.h"
#include "tests/faults/io_faults.h"
#include "tests/faults/story.h"

#define LIFT_AFTER 3
#define TRIES_MAX 8
#define TIME_MAX_S 10
#define REOPEN_BATCHES 3 /* the store is closed and opened again after so many */

/* ---- what parent and children share ------------------------------------------------ */

struct shared {
    struct story_truth truth;
    char fault[1400]; /* why the child failed */
    uint32_t halts;   /* errors that would have waited for an operator */
    char halt[300];   /* the last one */
};

static struct shared *shared;
static char base[64];   /* the folder of this program */
static char folder[96]; /* the data folder of a run */

static void __attribute__((format(printf, 1, 2), noreturn)) fail(const char *format, ...)
{
    va_list list;

    va_start(list, format);
    vsnprintf(shared->fault, sizeof shared->fault, format, list);
    va_end(list);
    _exit(1);
}

/* ---- a shard's life without Kafka -------------------------------------------------- */

struct life {
    struct store_folder *folder;
    struct kv *kv;
    struct core *core;
    uint64_t acknowledged; /* highest sequence whose commit succeeded */
    unsigned tries;
};

static void end_life(struct life *life)
{
    core_close(life->core);
    kv_close(life->kv);
    store_folder_close(life->folder);
    life->core = NULL;
    life->kv = NULL;
    life->folder = NULL;
}

static int open_store(struct life *life, struct error *err)
{
    int code = store_folder_open(folder, /* writing= */ true, &life->folder, err);

    return code != 0 ? code
                     : store_open_shard(life->folder, 0, KV_READ_WRITE, &life->kv, err);
}

static int open_core(struct life *life, struct error *err)
{
    struct core_settings settings = story_settings();
    int code = open_store(life, err);

    return code != 0 ? code : core_open(life->kv, &settings, &life->core, err);
}

/* What is on disk is a beginning of the true log that ends with a batch, and holds all
 * that was acknowledged. */
static void check_beginning(const struct life *life)
{
    const struct story_truth *truth = &shared->truth;
    const struct head *head = core_head(life->core);
    struct head witness = {0};
    struct error err = {0};
    uint64_t last = 0;
    bool whole = head->sequence == 1; /* LogStarted */

    for (size_t i = 0; i < STORY_COMMANDS / STORY_BATCH; i++)
        whole |= head->sequence == truth->batch_ends[i];
    if (head->sequence < life->acknowledged)
        fail("event %d was acknowledged, the store has only %d", (int)life->acknowledged,
             (int)head->sequence);
    if (!whole)
        fail("the store ends with event %d, in the middle of a batch",
             (int)head->sequence);
    if (memcmp(head->chain, truth->chains[head->sequence], SHA256_SIZE) != 0)
        fail("event %d has not the chain of a run without faults", (int)head->sequence);
    if (event_log_last(life->kv, &last, &err) != 0 || last != head->sequence)
        fail("the log ends with event %d, the head says %d. %s", (int)last,
             (int)head->sequence, err.text);
    int code = witness_read(life->folder, 0, &witness, &err);
    if (code < 0)
        fail("the witness cannot be read: %s", err.text);
    if (witness.sequence > head->sequence ||
        (code == 0 &&
         memcmp(witness.chain, truth->chains[witness.sequence], SHA256_SIZE) != 0))
        fail("the witness knows event %d otherwise than the store",
             (int)witness.sequence);
}

static int commit_batch(struct life *life, struct error *err)
{
    struct head head = *core_head(life->core);
    struct mark mark = {.sequence = head.sequence, .offset = 7, .epoch = {1, "e"}};

    memcpy(mark.chain, head.chain, SHA256_SIZE);
    int code = mark_store(core_batch(life->core), &mark, err);
    if (code == 0)
        code = story_batch(life->core, err);
    if (code != 0)
        return code;
    life->acknowledged = core_head(life->core)->sequence;
    return witness_write(life->folder, 0, core_head(life->core), err);
}

/* To the end of the story; 1 = there. */
static int tell(struct life *life, struct error *err)
{
    int code = open_core(life, err);

    if (code != 0)
        return code;
    check_beginning(life);
    for (int i = 0; code == 0 && i < REOPEN_BATCHES; i++)
        code = commit_batch(life, err);
    return code;
}

/* Readers do not mind faults of writing: all that was acknowledged can be read. */
static void check_readable(const struct life *life)
{
    struct error err = {0};
    struct store_folder *reading = NULL;
    struct kv *kv = NULL;
    struct head head = {0};
    int code = store_folder_open(folder, /* writing= */ false, &reading, &err);

    if (code == 0)
        code = store_open_shard(reading, 0, KV_READ_ONLY, &kv, &err);
    if (code == 0)
        code = head_load(kv, &story_identity, &head, &err);
    if (code != 0)
        fail("the store cannot be read while writing fails: %s", err.text);
    if (head.sequence < life->acknowledged)
        fail("event %d was acknowledged, a reader sees only %d", (int)life->acknowledged,
             (int)head.sequence);
    kv_close(kv);
    store_folder_close(reading);
}

/* ---- trying again, as shard.c does ------------------------------------------------- */

static bool needs_operator(int code)
{
    return code == ERROR_CORRUPT || code == ERROR_CONFLICT || code == ERROR_VERSION ||
           code == ERROR_NOT_FOUND || code == ERROR_INVALID;
}

/* After a failed try: counts it, and lifts the fault in time. */
static void note_failure(struct life *life, const struct error *err)
{
    struct io_faults *faults = io_faults();

    if (err->code == 0 || strlen(err->text) < 10)
        fail("error %d has no text", err->code);
    if (faults->failed == 0)
        fail("without a fault: %s", err->text);
    if (needs_operator(err->code)) {
        shared->halts++;
        snprintf(shared->halt, sizeof shared->halt, "%.60s: %.200s", faults->place,
                 err->text);
    }
    if (++life->tries == LIFT_AFTER)
        faults->armed = 0;
    if (life->tries == TRIES_MAX)
        fail("it does not recover: %s", err->text);
}

typedef int (*step_fn)(struct life *life, struct error *err);

/* Until the step says that it is done (1). */
static void persist(struct life *life, step_fn step, bool readable)
{
    for (;;) {
        struct error err = {0};
        int code = step(life, &err);
        end_life(life);
        if (code == 1)
            return;
        if (code != 0) {
            note_failure(life, &err);
            if (readable)
                check_readable(life);
        }
    }
}

/* ---- the scenarios ----------------------------------------------------------------- */

static int start_log(const struct store_folder *made, uint32_t shard, struct kv *kv,
                     void *context, struct error *err)
{
    struct core *core = NULL;

    (void)made;
    (void)shard;
    (void)context;
    int code = story_start(kv, &core, err);
    core_close(core);
    return code;
}

/* `kinlog init`, again and again, until the folder holds a log. */
static int create(struct life *life, struct error *err)
{
    int code = store_folder_open(folder, /* writing= */ false, &life->folder, NULL);

    if (code == 0)
        return 1;
    if (code != ERROR_NOT_FOUND)
        fail("a folder half made: error %d", code);
    code = store_folder_create(folder, &story_identity, story_site_key, start_log, NULL,
                               err);
    return code == 0 ? 1 : code;
}

static void run_init(struct life *life)
{
    persist(life, create, /* readable= */ false);
}

static void run_story(struct life *life)
{
    persist(life, tell, /* readable= */ true);
}

static void told(struct life *life)
{
    run_init(life);
    run_story(life);
}

static int rebuild(struct life *life, struct error *err)
{
    int code = store_folder_open(folder, /* writing= */ true, &life->folder, err);

    if (code == 0)
        code = repair_views(life->folder, 0, NULL, NULL, err);
    return code == 0 ? 1 : code;
}

static void run_rebuild(struct life *life)
{
    persist(life, rebuild, /* readable= */ true);
}

/* ---- a tail is dropped, as a takeover does it, and decided again ------------------- */

/* The witness never knows a tail that may be dropped. */
static void told_without_witness(struct life *life)
{
    char path[128];

    told(life);
    snprintf(path, sizeof path, "%s/shard-0.witness", folder);
    if (unlink(path) != 0)
        fail("there is no witness");
    life->acknowledged = shared->truth.batch_ends[3];
}

static int drop_tail(struct life *life, struct error *err)
{
    uint64_t keep = shared->truth.batch_ends[3];
    struct head head;
    int code = open_store(life, err);

    if (code == 0)
        code = repair_finish(life->kv, &story_identity, keep, err);
    if (code >= 0)
        code = head_load(life->kv, &story_identity, &head, err);
    if (code == 0 && head.sequence == keep)
        return 1;
    if (code == 0)
        code = repair_truncate(life->kv, &story_identity, keep + 1, err);
    return code == 0 ? 1 : code;
}

static void run_drop_tail(struct life *life)
{
    persist(life, drop_tail, /* readable= */ false);
    persist(life, tell, /* readable= */ true);
}

/* ---- a store is made anew from the topic ------------------------------------------- */

/* The topic: what the store held before. */
static struct {
    struct arena arena;
    struct event events[STORY_EVENTS_MAX];
    struct event_record records[STORY_EVENTS_MAX];
    bool emptied; /* the new store is there */
} topic;

static int read_topic(struct life *life, struct error *err)
{
    int code = open_store(life, err);

    for (uint64_t i = 0; code == 0 && i < shared->truth.events; i++) {
        code = event_log_read(life->kv, NULL, i + 1, &topic.arena, &topic.events[i], err);
        if (code == 0)
            code = event_render(&story_identity, &topic.events[i], &topic.arena,
                                &topic.records[i]);
    }
    return code == 0 ? 1 : code;
}

static void told_and_published(struct life *life)
{
    told(life);
    persist(life, read_topic, /* readable= */ false);
    life->acknowledged = 0;
}

static int refill(struct life *life, struct error *err)
{
    int code = 0;

    if (!topic.emptied) {
        code = store_folder_open(folder, /* writing= */ true, &life->folder, err);
        if (code == 0)
            code = repair_from_topic(life->folder, 0, err);
        topic.emptied = code == 0;
        return code;
    }
    code = open_core(life, err);
    if (code != 0)
        return code;
    uint64_t sequence = core_head(life->core)->sequence;
    if (sequence < life->acknowledged)
        fail("event %d was acknowledged, the store has only %d", (int)life->acknowledged,
             (int)sequence);
    if (sequence == shared->truth.events)
        return 1;
    for (int i = 0; code == 0 && i < 10 && sequence < shared->truth.events; i++) {
        code = core_adopt(life->core, &topic.events[sequence], &topic.records[sequence],
                          err);
        sequence++;
    }
    if (code == 0)
        code = core_commit(life->core, /* sync= */ true, err);
    if (code == 0)
        life->acknowledged = sequence;
    return code;
}

static void run_from_topic(struct life *life)
{
    persist(life, refill, /* readable= */ false);
}

/* ---- one run ----------------------------------------------------------------------- */

static void nothing(struct life *life)
{
    (void)life;
}

static const struct scenario {
    const char *name;
    void (*prepare)(struct life *life); /* nothing fails */
    void (*run)(struct life *life);
} scenarios[] = {
    {"init", nothing, run_init},
    {"commit", run_init, run_story},
    {"rebuild", told, run_rebuild},
    {"rebuild --from-topic", told_and_published, run_from_topic},
    {"drop the tail", told_without_witness, run_drop_tail},
};

#define SPACE_KINDS                                                                      \
    (IO_ALL_KINDS & ~(1u << IO_UNLINK) & ~(1u << IO_CLOSE) & ~(1u << IO_RENAME))
#define INTERRUPTED_KINDS (1u << IO_WRITE | 1u << IO_CREATE | 1u << IO_CLOSE)

/* Space that is short for one call only is not tried: where it comes back while a failed
 * store is being closed, RocksDB 7.8.3 may wait in rocksdb_close() for a recovery of its
 * own that has ended already. */
static const struct ailment {
    const char *name;
    uint32_t kinds, lasts, error, manner;
} ailments[] = {
    {"EIO, once", IO_ALL_KINDS, 0, EIO, IO_ERROR},
    {"EIO, lasting", IO_ALL_KINDS, 1, EIO, IO_ERROR},
    {"ENOSPC, lasting", SPACE_KINDS, 1, ENOSPC, IO_ERROR},
    {"EDQUOT, lasting", SPACE_KINDS, 1, EDQUOT, IO_ERROR},
    {"half written, then ENOSPC", 1u << IO_WRITE, 1, ENOSPC, IO_SHORT},
    {"half written, then the rest", 1u << IO_WRITE, 0, EINTR, IO_SHORT},
    {"EINTR", INTERRUPTED_KINDS, 0, EINTR, IO_ERROR},
};

/* All is as in a run without faults, whatever was done in between. */
static void check_end(struct life *life)
{
    struct error err = {0};

    io_faults()->armed = 0;
    if (open_store(life, &err) == 0 &&
        story_compare(life->kv, &shared->truth, &err) == 0) {
        end_life(life);
        return;
    }
    fail("at the end: %s", err.text);
}

static void live(const struct scenario *scenario, const struct ailment *ailment,
                 uint32_t nth)
{
    struct io_faults *faults = io_faults();
    struct life life = {0};

    alarm(TIME_MAX_S);
    scenario->prepare(&life);
    life.tries = 0;
    faults->kinds = ailment->kinds;
    faults->lasts = ailment->lasts;
    faults->error = ailment->error;
    faults->manner = ailment->manner;
    faults->nth = nth;
    faults->count = 0;
    faults->armed = 1;
    scenario->run(&life);
    faults->armed = 0;
    faults->kinds = 0; /* what follows is not counted */
    persist(&life, tell, /* readable= */ false);
    check_end(&life);
    _exit(0);
}

/* ---- the sweep --------------------------------------------------------------------- */

static void remove_folder(void)
{
    char command[128];

    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    if (system(command) != 0)
        exit(2);
}

/* A child's end: true if it went well; else shared->fault says what did not. */
static bool run_child(const struct scenario *scenario, const struct ailment *ailment,
                      uint32_t nth)
{
    struct io_faults *faults = io_faults();
    int status;

    remove_folder();
    faults->armed = faults->count = faults->failed = 0;
    faults->place[0] = '\0';
    faults->idle = 1;
    snprintf(faults->folder, sizeof faults->folder, "%s", folder);
    shared->fault[0] = '\0';
    fflush(stdout);
    pid_t child = fork();
    if (child == 0)
        live(scenario, ailment, nth);
    if (child < 0 || waitpid(child, &status, 0) != child)
        exit(2);
    if (WIFSIGNALED(status))
        snprintf(shared->fault, sizeof shared->fault, "ended by signal %d (%s)",
                 WTERMSIG(status),
                 WTERMSIG(status) == SIGALRM ? "too slow" : strsignal(WTERMSIG(status)));
    return status == 0;
}

/* Every stride-th call, from a different one on in each sweep. Returns how many failed. */
static unsigned sweep(const struct scenario *scenario, const struct ailment *ailment,
                      uint32_t first, uint32_t stride)
{
    const struct io_faults *faults = io_faults();
    unsigned runs = 0, bad = 0;

    shared->halts = 0;
    for (uint32_t nth = first;; nth += stride) {
        bool good = run_child(scenario, ailment, nth);
        bool over = good && faults->failed == 0;
        if (!good) {
            bad++;
            printf("FAIL %s, %s, call %u (%s): %s\n", scenario->name, ailment->name, nth,
                   faults->place, shared->fault);
        }
        if (over || bad > 20)
            break;
        runs++;
    }
    printf("%-5s %s, %s: %u of %u calls failed in turn, %u halts%s%s\n",
           bad > 0 ? "FAIL" : "ok", scenario->name, ailment->name, runs, faults->count,
           shared->halts, shared->halts > 0 ? ", the last: " : "",
           shared->halts > 0 ? shared->halt : "");
    return bad > 0 || runs == 0;
}

static void set_up(void)
{
    struct error err = {0};

    snprintf(base, sizeof base, "%s/kinlog-io-sweep-XXXXXX",
             access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE,
                  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (mkdtemp(base) == NULL || shared == MAP_FAILED)
        exit(2);
    snprintf(folder, sizeof folder, "%s/data", base);
    if (story_tell(&shared->truth, &err) != 0) {
        printf("the story: %s\n", err.text);
        exit(2);
    }
}

/* For looking closer. */
static int run_one(const char *scenario, const char *ailment, uint32_t nth)
{
    for (size_t i = 0; i < sizeof scenarios / sizeof scenarios[0]; i++) {
        for (size_t j = 0; j < sizeof ailments / sizeof ailments[0]; j++) {
            if (strcmp(scenarios[i].name, scenario) != 0 ||
                strcmp(ailments[j].name, ailment) != 0)
                continue;
            bool good = run_child(&scenarios[i], &ailments[j], nth);
            printf("%s: %s, %s\n", good ? "ok" : "FAIL", io_faults()->place,
                   shared->fault);
            return good ? 0 : 1;
        }
    }
    return 2;
}

int main(int argc, char **argv)
{
    uint32_t stride = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 1;
    unsigned sweeps = 0, bad = 0;

    if (argc != 4 && stride == 0)
        return 2;
    set_up();
    if (argc == 4)
        return run_one(argv[1], argv[2], (uint32_t)strtoul(argv[3], NULL, 10));
    for (size_t i = 0; i < sizeof scenarios / sizeof scenarios[0]; i++) {
        for (size_t j = 0; j < sizeof ailments / sizeof ailments[0]; j++, sweeps++)
            bad += sweep(&scenarios[i], &ailments[j], 1 + sweeps % stride, stride);
    }
    remove_folder();
    (void)rmdir(base);
    printf("%u passed, %u failed\n", sweeps - bad, bad);
    return bad > 0;
}
