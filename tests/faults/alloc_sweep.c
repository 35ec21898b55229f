/* alloc_sweep.c - lets the n-th allocation of our code fail, for every n.
 *
 *     alloc_sweep [STRIDE]     every STRIDE-th n only (1); the last line: N passed, N failed
 *
 * A task works from nothing to nothing and tells what it made. With a failing allocation
 * it must say that memory is out, or make the same; without one it then makes the same.
 * Built with sanitizers, nothing may leak.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/config/config.h"
#include "agent/shard/claim.h"
#include "agent/shard/reader.h"
#include "agent/shard/repair.h"
#include "events/event_log.h"
#include "tests/faults/alloc_faults.h"
#include "tests/faults/story.h"

#define HOSTILE "tests/data/hostile"
#define FILES_MAX 256
#define LASTING 2 /* each n is tried twice: one allocation fails, all from it on fail */
#define RECOVERIES_MAX 5

/* Of a build without sanitizers there is none. */
int __lsan_do_recoverable_leak_check(void) __attribute__((weak));

static struct story_truth truth;
static char base[64];

/* ---- a store made of the story, filled while nothing fails ------------------------- */

static struct kv *told;
static struct arena topic_arena;
static struct event_record topic[STORY_EVENTS_MAX];
static struct bytes topic_headers[STORY_EVENTS_MAX][EVENT_HEADERS];

static void must(int code, const struct error *err)
{
    if (code == 0)
        return;
    printf("before anything failed: %s\n", err->text);
    exit(2);
}

static int tell(struct kv *kv, struct error *err)
{
    struct core *core = NULL;
    int code = story_start(kv, &core, err);

    while (code == 0)
        code = story_batch(core, err);
    core_close(core);
    return code == 1 ? 0 : code;
}

static void set_up(void)
{
    struct error err = {0};
    struct event event;

    snprintf(base, sizeof base, "%s/kinlog-alloc-sweep-XXXXXX",
             access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    if (mkdtemp(base) == NULL)
        exit(2);
    must(story_tell(&truth, &err), &err);
    must(kv_open_memory(&told, &err), &err);
    must(tell(told, &err), &err);
    for (uint64_t i = 0; i < truth.events; i++) {
        must(event_log_read(told, NULL, i + 1, &topic_arena, &event, &err), &err);
        must(event_render(&story_identity, &event, &topic_arena, &topic[i]), &err);
        memcpy(topic_headers[i], topic[i].headers, sizeof topic_headers[i]);
    }
}

/* ---- tasks ------------------------------------------------------------------------- */

/* Appends what it made to out. */
typedef int (*task_fn)(struct buf *out, struct error *err);

static int task_story(struct buf *out, struct error *err)
{
    static struct story_truth found;
    int code = story_tell(&found, err);

    return code != 0 ? code : buf_append(out, &found, sizeof found);
}

static int hostile_text(const char *name, struct buf *ret_text)
{
    char path[512];
    static char piece[65536];

    snprintf(path, sizeof path, "%s/%s", HOSTILE, name);
    FILE *file = fopen(path, "r");
    if (file == NULL)
        exit(2);
    size_t size = fread(piece, 1, sizeof piece, file);
    fclose(file);
    return buf_append(ret_text, piece, size);
}

/* One text as data of a command, as a whole event, and as neither. */
static int hostile_records(struct core *core, struct bytes text, int64_t *offset,
                           struct error *err)
{
    struct header headers[] = {
        {bytes_str("ce_id"), bytes_str("id")},
        {bytes_str("ce_source"), bytes_str("/hostile")},
        {bytes_str("ce_specversion"), bytes_str("1.0")},
        {bytes_str("ce_type"), bytes_str("CreateRelationship")},
        {bytes_str("content-type"), bytes_str("application/json")},
        {bytes_str("ce_expirytime"), text},
        {bytes_str("ce_tracestate"), text},
    };
    struct header structured[] = {
        {bytes_str("content-type"), bytes_str("application/cloudevents+json")}};
    struct buf event = BUF_INIT;
    struct core_outcome outcome;
    char id[32];

    snprintf(id, sizeof id, "%lld", (long long)*offset);
    headers[0].value = bytes_str(id);
    buf_printf(&event,
               "{\"specversion\": \"1.0\", \"id\": \"s-%s\", \"source\": \"/h\", "
               "\"type\": \"kinlog.CreateRelationship.v1\", \"data\": ",
               id);
    buf_append_bytes(&event, text);
    buf_append_byte(&event, '}');
    if (event.failed) {
        buf_release(&event);
        return ERROR_NO_MEMORY;
    }
    struct record records[] = {
        {.value = text, .headers = headers, .header_count = 5},
        {.value = text,
         .key = bytes_str("device:5"),
         .headers = headers,
         .header_count = 7},
        {.value = buf_bytes(&event), .headers = structured, .header_count = 1},
        {.value = text},
    };
    int code = 0;
    for (size_t i = 0; code == 0 && i < sizeof records / sizeof records[0]; i++) {
        records[i].offset = (*offset)++;
        records[i].timestamp_ms = 1780000000000;
        snprintf(id, sizeof id, "%lld", (long long)records[i].offset);
        headers[0].value = bytes_str(id);
        code = core_record(core, &records[i], &outcome, err);
    }
    buf_release(&event);
    return code;
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static int is_file(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

static int task_hostile(struct buf *out, struct error *err)
{
    static struct dirent **names; /* listed once */
    static int count;
    struct core_settings settings = story_settings();
    struct core *core = NULL;
    struct kv *kv = NULL;
    int64_t offset = 0;

    if (names == NULL)
        count = scandir(HOSTILE, &names, is_file, by_name);
    int code = count > 0 ? kv_open_memory(&kv, err) : ERROR_NOT_FOUND;
    if (code == 0)
        code = core_open(kv, &settings, &core, err);
    for (int i = 0; code == 0 && i < count; i++) {
        struct buf text = BUF_INIT;
        code = hostile_text(names[i]->d_name, &text);
        if (code == 0)
            code = hostile_records(core, buf_bytes(&text), &offset, err);
        buf_release(&text);
    }
    if (code == 0)
        code = buf_append(out, core_head(core)->chain, SHA256_SIZE);
    core_close(core);
    kv_close(kv);
    return code;
}

static int task_events(struct buf *out, struct error *err)
{
    struct arena arena = ARENA_INIT;
    struct event_record record;
    struct event event, again;
    int code = 0;

    for (uint64_t i = 0; code == 0 && i < truth.events; i++) {
        struct buf stored = BUF_INIT;
        code = event_parse(&story_identity, &topic[i], &event, err);
        if (code == 0)
            code = event_encode(&event, &stored);
        if (code == 0)
            code = event_decode(event.sequence, buf_bytes(&stored), &again, err);
        if (code == 0)
            code = event_render(&story_identity, &again, &arena, &record);
        for (int j = 0; code == 0 && j < EVENT_HEADERS; j++)
            code = buf_append_bytes(out, record.headers[j]);
        buf_release(&stored);
    }
    arena_release(&arena);
    return code;
}

/* ---- the strict reader ------------------------------------------------------------- */

static int on_event(void *context, const struct event *event,
                    const struct event_record *record, struct error *err)
{
    (void)record;
    (void)err;
    return buf_append(context, event->chain, SHA256_SIZE);
}

static int on_repeat(void *context, const struct event *event, struct error *err)
{
    (void)err;
    return buf_append_u64be(context, event->sequence);
}

static int read_event(struct reader *reader, uint64_t i, int64_t offset,
                      struct bytes epoch, const struct reader_sink *sink,
                      struct error *err)
{
    struct header headers[EVENT_HEADERS + 1];
    size_t count = 0;

    for (int j = 0; j < EVENT_HEADERS; j++) {
        if (topic[i].headers[j].data != NULL)
            headers[count++] =
                (struct header){bytes_str(event_header_names[j]), topic_headers[i][j]};
    }
    headers[count++] = (struct header){bytes_str(EPOCH_HEADER), epoch};
    struct record record = {
        .offset = offset,
        .timestamp_ms = 1780000000000,
        .key = topic[i].key,
        .value = topic[i].data,
        .headers = headers,
        .header_count = count,
    };
    return reader_take(reader, &record, sink, err);
}

/* A claim, the answer cursor, all events, and the last one again. */
static int task_reader(struct buf *out, struct error *err)
{
    struct claim claim = {
        .id = "0123456789abcdef0123456789abcdef", .floor = 1, .rules = 1};
    struct reader_sink sink = {on_event, on_repeat, out};
    struct reader *reader = NULL;
    struct buf text = BUF_INIT;
    char epoch[EPOCH_TEXT_SIZE];

    memcpy(claim.log, story_identity.log, LOG_ID_SIZE);
    struct epoch number = claim_epoch(&claim, 0);
    epoch_text(&number, epoch);
    struct header header = {bytes_str(EPOCH_HEADER), bytes_str(epoch)};
    int code = reader_new(&story_identity, NULL, &reader, err);
    if (code == 0)
        code = claim_write(&claim, "1", &text);
    struct record record = {.key = bytes_str(CLAIM_KEY), .value = buf_bytes(&text)};
    if (code == 0)
        code = reader_take(reader, &record, &sink, err);
    for (uint64_t i = 0; code == 0 && i < truth.events; i++)
        code = read_event(reader, i, (int64_t)i + 1, bytes_str(epoch), &sink, err);
    if (code == 0)
        code = read_event(reader, truth.events - 1, (int64_t)truth.events + 1,
                          bytes_str(epoch), &sink, err);
    buf_clear(&text);
    if (code == 0)
        code = answered_write(7, &text);
    record = (struct record){.offset = (int64_t)truth.events + 2,
                             .key = bytes_str(ANSWERED_KEY),
                             .value = buf_bytes(&text),
                             .headers = &header,
                             .header_count = 1};
    if (code == 0)
        code = reader_take(reader, &record, &sink, err);
    if (code == 0)
        code = buf_append_u64be(out, reader_answered(reader));
    if (code == 0)
        code = buf_append_u64be(out, reader_end(reader)->sequence);
    reader_free(reader);
    buf_release(&text);
    return code;
}

/* ---- configuration ----------------------------------------------------------------- */

static int task_config(struct buf *out, struct error *err)
{
    static const char *const overrides[] = {"log.level=debug",
                                            "kafka.producer.linger.ms=7"};
    static char *environment[] = {"PATH=/bin", "KINLOG_TOPICS_PREFIX=other",
                                  "KINLOG_KAFKA_SOCKET_TIMEOUT_MS=9000", NULL};
    char path[128];
    struct config_source source = {path, overrides, 2, environment};
    struct config *config = NULL;

    snprintf(path, sizeof path, "%s/kinlog.conf", base);
    if (access(path, F_OK) != 0) {
        FILE *file = fopen(path, "w");
        fputs("[agent]\ndata_dir = /a/b\nsite = hq\n[topics]\nreply_allow = a, b, c\n"
              "[kafka]\nbootstrap.servers = x:1\n[kafka.consumer]\n"
              "fetch.wait.max.ms = 10\n",
              file);
        fclose(file);
    }
    int code = config_load(&source, &config, err);
    if (code != 0)
        return code;
    buf_printf(out, "%s %s %s %s %s %d", config->data_dir, config->site, config->prefix,
               config->topic_commands, config->kafka.group_id, config->log_level);
    for (size_t i = 0; i < config->reply_allow_count; i++)
        buf_printf(out, " %s", config->reply_allow[i]);
    for (size_t i = 0; i < config->kafka.common_count; i++)
        buf_printf(out, " %s=%s", config->kafka.common[i].name,
                   config->kafka.common[i].value);
    for (size_t i = 0; i < config->kafka.producer_count; i++)
        buf_printf(out, " %s", config->kafka.producer[i].origin);
    config_free(config);
    return out->failed ? ERROR_NO_MEMORY : 0;
}

/* ---- tasks that are begun, broken off, and gone on with ---------------------------- */

/* What was made by a task in several tries; an error that is not for want of memory ends
 * it. */
static int go_on(struct error *err, int *recoveries)
{
    if (err->code != ERROR_NO_MEMORY || ++*recoveries > RECOVERIES_MAX)
        return err->code;
    if (*recoveries > 1)
        (void)alloc_faults_lift();
    error_clear(err);
    return 0;
}

static int add_comparison(struct kv *kv, struct buf *out, struct error *err)
{
    (void)alloc_faults_lift();
    int code = story_compare(kv, &truth, err);

    return code != 0 ? ERROR_CORRUPT : buf_append_str(out, "as it should be");
}

/* A batch that fails is forgotten (core_abandon) and decided again. */
static int task_abandon(struct buf *out, struct error *err)
{
    struct core *core = NULL;
    struct kv *kv = NULL;
    int recoveries = 0;
    int code = kv_open_memory(&kv, err);

    if (code == 0)
        code = story_start(kv, &core, err);
    if (code != 0) {
        core_close(core);
        kv_close(kv);
        return code;
    }
    while (code == 0) {
        code = story_batch(core, err);
        while (code < 0 && (code = go_on(err, &recoveries)) == 0 &&
               (code = core_abandon(core, err)) == 0)
            break;
    }
    core_close(core);
    if (code == 1)
        code = add_comparison(kv, out, err);
    kv_close(kv);
    return code;
}

/* On a store that is closed and opened again where it fails, as a shard does it. */
static int tell_on_disk(const char *folder, bool *made, struct buf *out,
                        struct error *err)
{
    struct store_folder *open = NULL;
    struct kv *kv = NULL;
    struct head witness = {0};
    int code = 0;

    if (!*made) {
        code =
            store_folder_create(folder, &story_identity, story_site_key, NULL, NULL, err);
        *made = code == 0;
    }
    if (code == 0)
        code = store_folder_open(folder, /* writing= */ true, &open, err);
    if (code == 0)
        code = store_open_shard(open, 0, KV_READ_WRITE, &kv, err);
    if (code == 0)
        code = tell(kv, err);
    if (code == 0)
        code = witness_write(open, 0, &witness, err);
    if (code == 0)
        code = witness_read(open, 0, &witness, err);
    if (code == 0)
        code = add_comparison(kv, out, err);
    kv_close(kv);
    store_folder_close(open);
    return code;
}

static int task_store(struct buf *out, struct error *err)
{
    char folder[96], command[128];
    bool made = false;
    int recoveries = 0;
    int code;

    snprintf(folder, sizeof folder, "%s/data", base);
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    do {
        code = tell_on_disk(folder, &made, out, err);
    } while (code < 0 && (code = go_on(err, &recoveries)) == 0);
    if (system(command) != 0)
        exit(2);
    return code;
}

/* Views are made anew, the tail is dropped and decided again. */
static int task_repair(struct buf *out, struct error *err)
{
    struct kv *kv = NULL;
    int code = kv_open_memory(&kv, err);

    if (code == 0)
        code = tell(kv, err);
    if (code == 0)
        code = views_rebuild(kv, NULL, NULL, err);
    if (code == 0)
        code = repair_truncate(kv, &story_identity, truth.batch_ends[2] + 1, err);
    if (code == 0)
        code = tell(kv, err);
    if (code == 0)
        code = story_compare(kv, &truth, err);
    if (code == 0)
        code = buf_append_str(out, "as it should be");
    kv_close(kv);
    return code;
}

/* ---- the sweep --------------------------------------------------------------------- */

static const struct task {
    const char *name;
    task_fn run;
} tasks[] = {
    {"events", task_events},   {"reader", task_reader}, {"configuration", task_config},
    {"story", task_story},     {"repair", task_repair}, {"a batch again", task_abandon},
    {"hostile", task_hostile}, {"store", task_store},
};

/* One allocation fails in a task; then it is done again. Returns what is wrong, or NULL. */
static const char *try_task(const struct task *task, struct bytes expected, uint32_t nth,
                            bool lasts, uint32_t *ret_failed, struct error *err)
{
    struct buf out = BUF_INIT;
    const char *wrong = NULL;

    *err = (struct error){0};
    buf_reserve(&out, expected.size + 1024);
    alloc_faults_arm(nth, lasts);
    int code = task->run(&out, err);
    *ret_failed = alloc_faults_lift();
    if (code != 0 && code != ERROR_NO_MEMORY)
        wrong = "another error than that memory is out";
    else if (code == 0 && !bytes_equal(buf_bytes(&out), expected))
        wrong = "no error, and something else was made";
    buf_clear(&out);
    if (wrong == NULL)
        error_clear(err);
    if (wrong == NULL &&
        (task->run(&out, err) != 0 || !bytes_equal(buf_bytes(&out), expected)))
        wrong = "afterwards, with nothing failing, something else was made";
    buf_release(&out);
    if (wrong == NULL && __lsan_do_recoverable_leak_check != NULL &&
        __lsan_do_recoverable_leak_check() != 0)
        wrong = "something leaked";
    return wrong;
}

static bool sweep(const struct task *task, uint32_t stride)
{
    struct buf expected = BUF_INIT;
    struct error err = {0};
    uint32_t failed, runs = 0, bad = 0;

    alloc_faults_arm(0, false);
    must(task->run(&expected, &err), &err);
    (void)alloc_faults_lift();
    for (uint32_t nth = 1;; nth += stride) {
        for (int lasts = 0; lasts < LASTING; lasts++) {
            const char *wrong =
                try_task(task, buf_bytes(&expected), nth, lasts != 0, &failed, &err);
            if (wrong != NULL) {
                printf("FAIL %s, allocation %u%s: %s. %s\n", task->name, nth,
                       lasts ? " and all after it" : "", wrong, err.text);
                bad++;
            }
        }
        if (failed == 0 || bad > 60)
            break;
        runs++;
    }
    buf_release(&expected);
    printf("%-5s %s: %u of %u allocations failed in turn\n", bad > 0 ? "FAIL" : "ok",
           task->name, runs, alloc_faults_count());
    fflush(stdout);
    return bad == 0 && runs > 0;
}

int main(int argc, char **argv)
{
    uint32_t stride = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 1;
    unsigned good = 0, count = sizeof tasks / sizeof tasks[0];
    char command[128];

    if (stride == 0)
        return 2;
    set_up();
    for (unsigned i = 0; i < count; i++)
        good += sweep(&tasks[i], stride);
    kv_close(told);
    arena_release(&topic_arena);
    snprintf(command, sizeof command, "rm -rf '%s'", base);
    if (system(command) != 0)
        return 2;
    printf("%u passed, %u failed\n", good, count - good);
    return good != count;
}
