/* store.c - see store.h. The rows of KV_META, integers big-endian:
 *
 *   head    u64 sequence | 32 chain | u64 time_ms | u64 event_offset + 1 | u64 next_offset | u32 rules
 *           | u64 refused | u64 dead lettered
 *   anchor  u64 offset | u64 timestamp_ms | 32 sha256
 *   mark    u64 sequence | 32 chain | u64 offset | u64 epoch number | 32 claim id
 *   status  u8 role | u64 epoch number | 32 claim id | u64 answered | u64 forwarded
 *           | u32 length, cluster id | the rest: reason
 *
 * SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE /* flock */
#include "agent/shard/store.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/shard/flat_json.h"
#include "events/event_log.h"
#include "events/secret.h"
#include "schemas/events.h"

#define CHECK_SIZE 16 /* hex digits */

const char *const shard_role_names[] = {"stopped", "follower", "claiming", "owner"};

/* ---- the folder -------------------------------------------------------------------- */

static int join(char out[PATH_MAX], const char *folder, const char *name,
                struct error *err)
{
    int size = snprintf(out, PATH_MAX, "%s/%s", folder, name);

    if (size < 0 || size >= PATH_MAX)
        return error_set(err, ERROR_INVALID, "the path of the data folder is too long");
    return 0;
}

static int io_error(struct error *err, const char *what, const char *path)
{
    int code = errno == ENOSPC   ? ERROR_NO_SPACE
               : errno == ENOENT ? ERROR_NOT_FOUND
                                 : ERROR_IO;

    return error_set(err, code, "%s %s: %s", what, path, strerror(errno));
}

/* A small file, whole. */
static int read_file(const char *path, struct buf *ret_text, struct error *err)
{
    char piece[4096];
    ssize_t size;
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return io_error(err, "cannot read", path);
    while ((size = read(fd, piece, sizeof piece)) > 0)
        buf_append(ret_text, piece, (size_t)size);
    int code = size < 0 ? io_error(err, "cannot read", path) : 0;
    close(fd);
    if (code == 0 && ret_text->failed)
        code = error_set(err, ERROR_NO_MEMORY, "out of memory while reading %s", path);
    return code;
}

static int sync_folder(const char *folder, struct error *err)
{
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0)
        return io_error(err, "cannot open", folder);
    int code = fsync(fd) != 0 ? io_error(err, "cannot sync", folder) : 0;
    close(fd);
    return code;
}

static int write_all(int fd, struct bytes text)
{
    while (text.size > 0) {
        ssize_t size = write(fd, text.data, text.size);
        if (size < 0 && errno == EINTR)
            continue;
        if (size < 0)
            return -1;
        text = bytes_of(text.data + size, text.size - (size_t)size);
    }
    return 0;
}

/* Writes beside, syncs, renames: a reader finds the old file or the new one. */
static int replace_file(const char *folder, const char *name, struct bytes text,
                        mode_t mode, struct error *err)
{
    char path[PATH_MAX], beside[PATH_MAX];
    int code = join(path, folder, name, err);

    if (code == 0 &&
        snprintf(beside, sizeof beside, "%s.new", path) >= (int)sizeof beside)
        code = error_set(err, ERROR_INVALID, "the path of the data folder is too long");
    if (code != 0)
        return code;
    int fd = open(beside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
    if (fd < 0)
        return io_error(err, "cannot write", beside);
    if (write_all(fd, text) != 0 || fsync(fd) != 0)
        code = io_error(err, "cannot write", beside);
    if (close(fd) != 0 && code == 0)
        code = io_error(err, "cannot write", beside);
    if (code == 0 && rename(beside, path) != 0)
        code = io_error(err, "cannot rename", beside);
    return code;
}

static int take_lock(struct store_folder *folder, struct error *err)
{
    char path[PATH_MAX];
    int code = join(path, folder->path, "lock", err);

    if (code != 0)
        return code;
    folder->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (folder->lock_fd < 0)
        return io_error(err, "the data folder is not writable: cannot open", path);
    if (flock(folder->lock_fd, LOCK_EX | LOCK_NB) == 0)
        return 0;
    if (errno == EWOULDBLOCK)
        return error_set(err, ERROR_LOCKED,
                         "%s is in use by another agent or a kinlog command that writes: "
                         "stop it, or give "
                         "this one a folder of its own ([agent] data_dir)",
                         folder->path);
    return io_error(err, "cannot lock", path);
}

bool store_folder_in_use(const char *path)
{
    char lock[PATH_MAX];

    if (join(lock, path, "lock", NULL) != 0)
        return false;
    int fd = open(lock, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    bool in_use = flock(fd, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK;
    close(fd);
    return in_use;
}

/* The first 8 bytes of SHA-256, in hex. */
static void append_check(struct buf *text, struct bytes checked)
{
    uint8_t hash[SHA256_SIZE];

    sha256_once(checked.data, checked.size, hash);
    hex_append(text, hash, CHECK_SIZE / 2);
}

/* kinlog.json without its end; the check sum is over this, so over the values alone. */
static void describe(const struct log_identity *identity, const char *fingerprint,
                     struct buf *ret_text)
{
    buf_printf(ret_text,
               "{\"Format\": %d, \"Log\": \"%s\", \"Site\": \"%s\", \"Shards\": %u, "
               "\"SiteKeyFingerprint\": \"%s\"",
               STORE_FORMAT, identity->log, identity->site, identity->shards,
               fingerprint);
}

static void append_description_check(struct buf *text,
                                     const struct log_identity *identity,
                                     const char *fingerprint)
{
    struct buf described = BUF_INIT;

    describe(identity, fingerprint, &described);
    if (described.failed)
        text->failed = true;
    else
        append_check(text, buf_bytes(&described));
    buf_release(&described);
}

static int description_damaged(const char *path, struct error *err)
{
    return error_set(err, ERROR_CORRUPT,
                     "%s/kinlog.json is damaged: restore it, or have `kinlog repair` "
                     "make it anew",
                     path);
}

/* 0, 1 = the check sum is not that of the values, or negative. */
static int check_description(const struct log_identity *identity, const char *fingerprint,
                             const char *check, struct error *err)
{
    struct buf expected = BUF_INIT;

    append_description_check(&expected, identity, fingerprint);
    int code = expected.failed ? error_set(err, ERROR_NO_MEMORY, "out of memory")
                               : !bytes_equal_str(buf_bytes(&expected), check);
    buf_release(&expected);
    return code;
}

static int parse_description(const char *path, struct bytes text,
                             struct log_identity *ret_identity,
                             char ret_fingerprint[SITE_KEY_FINGERPRINT_SIZE],
                             struct error *err)
{
    char check[CHECK_SIZE + 1];
    uint64_t format = 0, shards = 0;
    struct log_identity *identity = ret_identity;
    const struct flat_member members[] = {
        {"Format", .number = &format},
        {"Log", .text = identity->log, .text_size = LOG_ID_SIZE},
        {"Site", .text = identity->site, .text_size = SITE_SIZE},
        {"Shards", .number = &shards},
        {"SiteKeyFingerprint", .text = ret_fingerprint,
         .text_size = SITE_KEY_FINGERPRINT_SIZE},
        {"Check", .text = check, .text_size = sizeof check},
    };

    if (!flat_json_read(text, members, 1))
        return description_damaged(path, err);
    bool whole = flat_json_read(text, members, sizeof members / sizeof members[0]) &&
                 strlen(ret_fingerprint) == SITE_KEY_FINGERPRINT_SIZE - 1 &&
                 strlen(identity->log) == LOG_ID_SIZE - 1 && shards >= 1 &&
                 shards <= SLOTS;
    identity->shard = 0;
    identity->shards = whole ? (uint32_t)shards : 0;
    /* The check sum of another format would not fit ours. */
    int code = whole ? check_description(identity, ret_fingerprint, check, err) : 1;
    if (code < 0)
        return code;
    if (format != STORE_FORMAT && code == 1)
        return error_set(err, ERROR_VERSION,
                         "%s/kinlog.json was written by %s version of kinlog (format "
                         "%d, known is %d): use that version%s",
                         path, format > STORE_FORMAT ? "a newer" : "an older",
                         (int)format, STORE_FORMAT,
                         format > STORE_FORMAT
                             ? ""
                             : ", or move the folder away and make a new one with "
                               "`kinlog init --join` and its site.key; the log comes "
                               "from the topic");
    return format == STORE_FORMAT && code == 0 ? 0 : description_damaged(path, err);
}

static int read_description(struct store_folder *folder, struct error *err)
{
    struct buf text = BUF_INIT;
    char path[PATH_MAX];
    int code = join(path, folder->path, "kinlog.json", err);

    if (code == 0 && access(path, F_OK) != 0 && errno == ENOENT)
        code = error_set(err, ERROR_NOT_FOUND,
                         "%s holds no kinlog data: run `kinlog init --config FILE` first",
                         folder->path);
    if (code == 0)
        code = read_file(path, &text, err);
    if (code == 0)
        code = parse_description(folder->path, buf_bytes(&text), &folder->identity,
                                 folder->fingerprint, err);
    buf_release(&text);
    return code;
}

/* With another key the agent would take every command for a new one. */
int store_check_site_key(const struct store_folder *folder, struct error *err)
{
    char path[PATH_MAX], fingerprint[SITE_KEY_FINGERPRINT_SIZE];
    int code = join(path, folder->path, "site.key", err);

    if (code != 0)
        return code;
    if (folder->site_key == NULL)
        return access(path, F_OK) == 0 ? 0
                                       : error_set(err, ERROR_NOT_FOUND,
                                                   "%s is missing: " SITE_KEY_CURE, path);
    site_key_fingerprint(folder->site_key, fingerprint);
    if (strcmp(fingerprint, folder->fingerprint) == 0)
        return 0;
    return error_set(err, ERROR_CONFLICT, "%s is not the key of log %s: " SITE_KEY_CURE,
                     path, folder->identity.log);
}

static int read_site_key(struct store_folder *folder, bool writing, struct error *err)
{
    char path[PATH_MAX];
    int code = join(path, folder->path, "site.key", err);

    if (code == 0 && (writing || access(path, R_OK) == 0))
        code = site_key_read(path, &folder->site_key, err);
    if (code == 0 && writing)
        code = store_check_site_key(folder, err);
    return code;
}

int store_folder_open(const char *path, bool writing, struct store_folder **ret_folder,
                      struct error *err)
{
    struct store_folder *folder = calloc(1, sizeof *folder);

    if (folder == NULL || (folder->path = strdup(path)) == NULL) {
        free(folder);
        return error_set(err, ERROR_NO_MEMORY, "out of memory while opening %s", path);
    }
    folder->lock_fd = -1;
    int code = read_description(folder, err);
    if (code == 0 && writing)
        code = take_lock(folder, err);
    if (code == 0)
        code = read_site_key(folder, writing, err);
    if (code != 0) {
        store_folder_close(folder);
        return code;
    }
    *ret_folder = folder;
    return 0;
}

void store_folder_close(struct store_folder *folder)
{
    if (folder == NULL)
        return;
    if (folder->lock_fd >= 0)
        close(folder->lock_fd);
    secret_free(folder->site_key);
    free(folder->path);
    free(folder);
}

static int make_folders(const char *path, struct error *err)
{
    char part[PATH_MAX];

    if (strlen(path) >= sizeof part)
        return error_set(err, ERROR_INVALID, "the path of the data folder is too long");
    for (const char *end = path; end != NULL;) {
        end = strchr(end + 1, '/');
        snprintf(part, sizeof part, "%.*s",
                 end != NULL ? (int)(end - path) : (int)strlen(path), path);
        if (mkdir(part, 0750) != 0 && errno != EEXIST)
            return io_error(err, "cannot make the folder", part);
    }
    return 0;
}

int store_describe(const char *path, const struct log_identity *identity,
                   const uint8_t site_key[SITE_KEY_SIZE], struct error *err)
{
    char fingerprint[SITE_KEY_FINGERPRINT_SIZE];
    struct buf text = BUF_INIT;

    site_key_fingerprint(site_key, fingerprint);
    describe(identity, fingerprint, &text);
    buf_append_str(&text, ", \"Check\": \"");
    append_description_check(&text, identity, fingerprint);
    buf_append_str(&text, "\"}\n");
    int code = text.failed ? error_set(err, ERROR_NO_MEMORY, "out of memory") : 0;
    if (code == 0)
        code = replace_file(path, "kinlog.json", buf_bytes(&text), 0644, err);
    buf_release(&text);
    return code != 0 ? code : sync_folder(path, err);
}

static int write_site_key(const char *path, const uint8_t site_key[SITE_KEY_SIZE],
                          struct error *err)
{
    const size_t size = 2 * SITE_KEY_SIZE + 1;
    uint8_t *text = secret_new(size);

    if (text == NULL)
        return error_set(err, ERROR_NO_MEMORY, "out of memory");
    hex_text(site_key, SITE_KEY_SIZE, (char *)text);
    text[size - 1] = '\n'; /* in place of the NUL */
    int code = replace_file(path, "site.key", bytes_of(text, size), 0600, err);
    secret_free(text);
    return code;
}

/* kinlog.json comes last: without it the folder is no data folder, and init may be run
 * again. A store that an earlier try left is not removed: it may be one that lost its
 * kinlog.json. */
static int create_shard(const struct store_folder *folder, uint32_t shard,
                        store_start_fn start, void *context, struct error *err)
{
    struct kv *kv = NULL;
    int code = store_set_aside(folder, shard, err);

    if (code == 0)
        code = store_open_shard(folder, shard, KV_CREATE, &kv, err);
    if (code == 0 && start != NULL)
        code = start(folder, shard, kv, context, err);
    kv_close(kv);
    return code;
}

int store_folder_check_new(const char *path, struct error *err)
{
    char name[PATH_MAX];
    int code = join(name, path, "kinlog.json", err);

    if (code == 0 && access(name, F_OK) == 0)
        code = error_set(
            err, ERROR_CONFLICT,
            "%s already holds a log: remove the folder only if you are sure, or go on "
            "with `kinlog run`",
            path);
    return code;
}

int store_folder_create(const char *path, const struct log_identity *identity,
                        const uint8_t site_key[SITE_KEY_SIZE], store_start_fn start,
                        void *context, struct error *err)
{
    struct store_folder folder = {.path = (char *)path,
                                  .identity = *identity,
                                  .site_key = (uint8_t *)site_key,
                                  .lock_fd = -1};
    int code = make_folders(path, err);

    if (code == 0)
        code = store_folder_check_new(path, err);
    if (code == 0)
        code = take_lock(&folder, err);
    if (code == 0)
        code = write_site_key(path, site_key, err);
    for (uint32_t shard = 0; code == 0 && shard < identity->shards; shard++)
        code = create_shard(&folder, shard, start, context, err);
    if (code == 0)
        code = store_describe(path, identity, site_key, err);
    if (folder.lock_fd >= 0)
        close(folder.lock_fd);
    return code;
}

struct log_identity store_identity(const struct store_folder *folder, uint32_t shard)
{
    struct log_identity identity = folder->identity;

    identity.shard = shard;
    return identity;
}

int store_open_shard(const struct store_folder *folder, uint32_t shard, enum kv_mode mode,
                     struct kv **ret_kv, struct error *err)
{
    struct error fault = {0};
    char name[32], path[PATH_MAX];

    snprintf(name, sizeof name, "shard-%u", shard);
    int code = join(path, folder->path, name, &fault);
    if (code == 0)
        code = kv_open_rocksdb(path, mode, ret_kv, &fault);
    if (code == ERROR_CORRUPT || code == ERROR_NOT_FOUND)
        code = error_set(err, code, "%s. Run `kinlog repair`", fault.text);
    else if (code != 0)
        code = error_set(err, code, "%s", fault.text);
    return code;
}

int store_set_aside(const struct store_folder *folder, uint32_t shard, struct error *err)
{
    char name[48], store[PATH_MAX], aside[PATH_MAX];
    unsigned number = 1;
    int code;

    snprintf(name, sizeof name, "shard-%u", shard);
    code = join(store, folder->path, name, err);
    do {
        snprintf(name, sizeof name, "shard-%u.old-%u", shard, number++);
        if (code == 0)
            code = join(aside, folder->path, name, err);
    } while (code == 0 && access(aside, F_OK) == 0);
    if (code == 0 && rename(store, aside) != 0 && errno != ENOENT)
        code = error_set(err, ERROR_IO, "cannot rename %s to %s: %s", store, aside,
                         strerror(errno));
    return code;
}

static int compare_owner(const struct log_identity *identity, const struct event *first,
                         struct error *err)
{
    struct arena arena = ARENA_INIT;
    struct log_started_v1 data;
    struct codec_error fault;
    enum codec_fault found = codec_decode(&log_started_v1_schema, CODEC_EXACT,
                                          first->data, &arena, &data, &fault);
    int code = 0;

    if (first->type->schema != &log_started_v1_schema || found != CODEC_OK)
        code = error_set(err, ERROR_CORRUPT,
                         "event 1 of the log is not the one that begins a log");
    else if (!bytes_equal_str(data.log, identity->log) ||
             !bytes_equal_str(data.site, identity->site) ||
             data.shard != identity->shard || data.shards != identity->shards)
        code = error_set(err, ERROR_CORRUPT,
                         "the store holds shard %u of %u of log %.*s, not shard %u of %u "
                         "of log %s: it was exchanged. Run `kinlog repair`",
                         (unsigned)data.shard, (unsigned)data.shards, (int)data.log.size,
                         (const char *)data.log.data, identity->shard, identity->shards,
                         identity->log);
    arena_release(&arena);
    return code;
}

int store_check_owner(struct kv *kv, const struct log_identity *identity,
                      struct error *err)
{
    struct arena arena = ARENA_INIT;
    struct event first;
    int code = event_log_read(kv, /* batch= */ NULL, 1, &arena, &first, err);

    if (code == 0)
        code = compare_owner(identity, &first, err);
    arena_release(&arena);
    return code == 1 ? 0 : code;
}

/* ---- rows -------------------------------------------------------------------------- */

static int row_get(struct kv *kv, const char *name, size_t size_min, struct buf *value,
                   struct error *err)
{
    int code = kv_get(kv, KV_META, bytes_str(name), value, err);

    if (code == 0 && value->size < size_min)
        return error_set(err, ERROR_CORRUPT, "the row \"%s\" is cut short", name);
    return code;
}

static int row_put(struct kv_batch *batch, const char *name, struct buf *value,
                   struct error *err)
{
    int code = value->failed
                   ? error_set(err, ERROR_NO_MEMORY, "out of memory")
                   : kv_batch_put(batch, KV_META, bytes_str(name), buf_bytes(value), err);

    buf_release(value);
    return code;
}

#define HEAD_ROW_SIZE (8 + SHA256_SIZE + 8 + 8 + 8 + 4 + 8 + 8)

void head_start(struct sha256 *hasher, const struct log_identity *identity,
                struct head *ret_head)
{
    memset(ret_head, 0, sizeof *ret_head);
    chain_start(hasher, identity, ret_head->chain);
    ret_head->event_offset = -1;
    ret_head->rules = 1;
}

/* The events that say more of the head than their attributes do. */
static int head_apply_data(struct head *head, const struct event *event,
                           struct error *err)
{
    struct arena arena = ARENA_INIT;
    struct codec_error fault;
    union {
        struct log_started_v1 started;
        struct policy_changed_v1 policy;
    } data;
    enum codec_fault found = codec_decode(event->type->schema, CODEC_EXACT, event->data,
                                          &arena, &data, &fault);
    int code = 0;

    if (found != CODEC_OK) {
        code =
            error_set(err, found == CODEC_NO_MEMORY ? ERROR_NO_MEMORY : ERROR_CORRUPT,
                      "event %llu: %s", (unsigned long long)event->sequence, fault.text);
    } else if (event->type->schema == &log_started_v1_schema) {
        head->event_offset = (int64_t)data.started.start_offset - 1;
        head->rules = (uint32_t)data.started.rules;
    } else if (bytes_equal_str(data.policy.name, "core.rules")) {
        head->rules = 0;
        for (size_t i = 0; i < data.policy.value.size && i < 9; i++)
            head->rules = head->rules * 10 + (uint32_t)(data.policy.value.data[i] - '0');
    }
    arena_release(&arena);
    return code;
}

int head_apply(struct head *head, const struct event *event, struct error *err)
{
    head->sequence = event->sequence;
    memcpy(head->chain, event->chain, SHA256_SIZE);
    if (event->has_command) {
        head->event_offset = event->command_offset;
        head->time_ms = event->time_ms > head->time_ms ? event->time_ms : head->time_ms;
    }
    head->refused += event->type->schema == &command_rejected_v1_schema;
    head->dead_lettered += event->type->schema == &record_dead_lettered_v1_schema;
    if (event->type->schema == &log_started_v1_schema ||
        event->type->schema == &policy_changed_v1_schema) {
        int code = head_apply_data(head, event, err);
        if (code != 0)
            return code;
    }
    head->next_offset = head->event_offset + 1;
    return 0;
}

bool head_same_fold(const struct head *a, const struct head *b)
{
    return a->sequence == b->sequence && memcmp(a->chain, b->chain, SHA256_SIZE) == 0 &&
           a->time_ms == b->time_ms && a->rules == b->rules && a->refused == b->refused &&
           a->dead_lettered == b->dead_lettered;
}

int head_check_end(struct kv *kv, const struct head *head, struct error *err)
{
    struct arena arena = ARENA_INIT;
    struct event event;
    uint64_t last;
    int code = event_log_last(kv, &last, err);

    if (code == 0 && last != 0)
        code = event_log_read(kv, /* batch= */ NULL, last, &arena, &event, err);
    if (code == 0 && (last != head->sequence ||
                      (last != 0 && memcmp(event.chain, head->chain, SHA256_SIZE) != 0)))
        code = error_set(err, ERROR_CORRUPT,
                         "the store is damaged: its log ends at event %llu, but should "
                         "end at event %llu. Run `kinlog repair`",
                         (unsigned long long)last, (unsigned long long)head->sequence);
    arena_release(&arena);
    return code;
}

int head_load(struct kv *kv, const struct log_identity *identity, struct head *ret_head,
              struct error *err)
{
    struct buf value = BUF_INIT;
    int code = row_get(kv, "head", HEAD_ROW_SIZE, &value, err);

    if (code == 0) {
        const uint8_t *at = value.data;
        ret_head->sequence = read_u64be(at);
        memcpy(ret_head->chain, at + 8, SHA256_SIZE);
        at += 8 + SHA256_SIZE;
        ret_head->time_ms = (int64_t)read_u64be(at);
        ret_head->event_offset = (int64_t)(read_u64be(at + 8) - 1);
        ret_head->next_offset = (int64_t)read_u64be(at + 16);
        ret_head->rules = read_u32be(at + 24);
        ret_head->refused = read_u64be(at + 28);
        ret_head->dead_lettered = read_u64be(at + 36);
    } else if (code == 1) {
        struct sha256 *hasher = sha256_new();
        code = hasher == NULL ? error_set(err, ERROR_NO_MEMORY, "out of memory") : 0;
        if (code == 0)
            head_start(hasher, identity, ret_head);
        sha256_free(hasher);
    }
    buf_release(&value);
    return code;
}

int head_store(struct kv_batch *batch, const struct head *head, struct error *err)
{
    struct buf value = BUF_INIT;

    buf_append_u64be(&value, head->sequence);
    buf_append(&value, head->chain, SHA256_SIZE);
    buf_append_u64be(&value, (uint64_t)head->time_ms);
    buf_append_u64be(&value, (uint64_t)(head->event_offset + 1));
    buf_append_u64be(&value, (uint64_t)head->next_offset);
    buf_append_u32be(&value, head->rules);
    buf_append_u64be(&value, head->refused);
    buf_append_u64be(&value, head->dead_lettered);
    return row_put(batch, "head", &value, err);
}

void anchor_of(struct sha256 *hasher, int64_t offset, int64_t timestamp_ms,
               struct bytes key, struct bytes value, struct anchor *ret_anchor)
{
    ret_anchor->set = true;
    ret_anchor->offset = offset;
    ret_anchor->timestamp_ms = timestamp_ms;
    sha256_begin(hasher);
    sha256_add_u32be(hasher, (uint32_t)key.size);
    sha256_add(hasher, key.data, key.size);
    sha256_add_u32be(hasher, (uint32_t)value.size);
    sha256_add(hasher, value.data, value.size);
    sha256_end(hasher, ret_anchor->sha256);
}

int anchor_load(struct kv *kv, struct anchor *ret_anchor, struct error *err)
{
    struct buf value = BUF_INIT;
    int code = row_get(kv, "anchor", 16 + SHA256_SIZE, &value, err);

    memset(ret_anchor, 0, sizeof *ret_anchor);
    if (code == 0) {
        ret_anchor->set = true;
        ret_anchor->offset = (int64_t)read_u64be(value.data);
        ret_anchor->timestamp_ms = (int64_t)read_u64be(value.data + 8);
        memcpy(ret_anchor->sha256, value.data + 16, SHA256_SIZE);
    }
    buf_release(&value);
    return code == 1 ? 0 : code;
}

int anchor_store(struct kv_batch *batch, const struct anchor *anchor, struct error *err)
{
    struct buf value = BUF_INIT;

    if (!anchor->set)
        return kv_batch_delete(batch, KV_META, bytes_str("anchor"), err);
    buf_append_u64be(&value, (uint64_t)anchor->offset);
    buf_append_u64be(&value, (uint64_t)anchor->timestamp_ms);
    buf_append(&value, anchor->sha256, SHA256_SIZE);
    return row_put(batch, "anchor", &value, err);
}

#define EPOCH_ROW_SIZE (8 + CLAIM_ID_SIZE - 1)

static void epoch_put(struct buf *value, const struct epoch *epoch)
{
    char id[CLAIM_ID_SIZE] = {0};

    snprintf(id, sizeof id, "%s", epoch->id);
    buf_append_u64be(value, epoch->number);
    buf_append(value, id, CLAIM_ID_SIZE - 1);
}

static void epoch_take(const uint8_t *at, struct epoch *ret_epoch)
{
    ret_epoch->number = read_u64be(at);
    memcpy(ret_epoch->id, at + 8, CLAIM_ID_SIZE - 1);
    ret_epoch->id[CLAIM_ID_SIZE - 1] = '\0';
}

int mark_load(struct kv *kv, struct mark *ret_mark, struct error *err)
{
    struct buf value = BUF_INIT;
    int code = row_get(kv, "mark", 8 + SHA256_SIZE + 8 + EPOCH_ROW_SIZE, &value, err);

    memset(ret_mark, 0, sizeof *ret_mark);
    if (code == 0) {
        ret_mark->sequence = read_u64be(value.data);
        memcpy(ret_mark->chain, value.data + 8, SHA256_SIZE);
        ret_mark->offset = (int64_t)read_u64be(value.data + 8 + SHA256_SIZE);
        epoch_take(value.data + 16 + SHA256_SIZE, &ret_mark->epoch);
    }
    buf_release(&value);
    return code == 1 ? 0 : code;
}

int mark_store(struct kv_batch *batch, const struct mark *mark, struct error *err)
{
    struct buf value = BUF_INIT;

    buf_append_u64be(&value, mark->sequence);
    buf_append(&value, mark->chain, SHA256_SIZE);
    buf_append_u64be(&value, (uint64_t)mark->offset);
    epoch_put(&value, &mark->epoch);
    return row_put(batch, "mark", &value, err);
}

#define STATUS_FIXED (1 + EPOCH_ROW_SIZE + 8 + 8 + 4)

int shard_status_load(struct kv *kv, struct shard_status *ret_status, struct error *err)
{
    struct buf value = BUF_INIT;
    int code = row_get(kv, "status", STATUS_FIXED, &value, err);

    memset(ret_status, 0, sizeof *ret_status);
    if (code == 0) {
        const uint8_t *at = value.data;
        ret_status->role = at[0] <= SHARD_OWNER ? (enum shard_role)at[0] : SHARD_STOPPED;
        epoch_take(at + 1, &ret_status->epoch);
        at += 1 + EPOCH_ROW_SIZE;
        ret_status->answered = read_u64be(at);
        ret_status->forwarded = read_u64be(at + 8);
        uint32_t size = read_u32be(at + 16);
        size_t rest = value.size - STATUS_FIXED;
        if (size > rest || size >= sizeof ret_status->cluster_id ||
            rest - size >= sizeof ret_status->reason) {
            code = error_set(err, ERROR_CORRUPT, "the row \"status\" is damaged");
        } else {
            memcpy(ret_status->cluster_id, at + 20, size);
            memcpy(ret_status->reason, at + 20 + size, rest - size);
        }
    }
    buf_release(&value);
    return code == 1 ? 0 : code;
}

int shard_status_store(struct kv_batch *batch, const struct shard_status *status,
                       struct error *err)
{
    struct buf value = BUF_INIT;

    buf_append_byte(&value, (uint8_t)status->role);
    epoch_put(&value, &status->epoch);
    buf_append_u64be(&value, status->answered);
    buf_append_u64be(&value, status->forwarded);
    buf_append_u32be(&value, (uint32_t)strlen(status->cluster_id));
    buf_append_str(&value, status->cluster_id);
    buf_append_str(&value, status->reason);
    return row_put(batch, "status", &value, err);
}

/* ---- the witness ------------------------------------------------------------------- */

static int witness_text(const struct head *head, struct buf *ret_text, struct error *err)
{
    struct buf check = BUF_INIT;

    buf_printf(ret_text, "%llu ", (unsigned long long)head->sequence);
    hex_append(ret_text, head->chain, SHA256_SIZE);
    buf_printf(ret_text, " %lld ", (long long)head->event_offset);
    append_check(&check, buf_bytes(ret_text));
    buf_printf(ret_text, "%s\n", buf_cstr(&check));
    bool failed = check.failed || ret_text->failed;
    buf_release(&check);
    return failed ? error_set(err, ERROR_NO_MEMORY, "out of memory") : 0;
}

int witness_write(const struct store_folder *folder, uint32_t shard,
                  const struct head *head, struct error *err)
{
    struct buf text = BUF_INIT;
    char name[48];

    snprintf(name, sizeof name, "shard-%u.witness", shard);
    int code = witness_text(head, &text, err);
    if (code == 0)
        code = replace_file(folder->path, name, buf_bytes(&text), 0644, err);
    buf_release(&text);
    return code;
}

static int parse_witness(const char *path, struct buf *text, struct head *ret_head,
                         struct error *err)
{
    char chain[2 * SHA256_SIZE + 1];
    struct buf expected = BUF_INIT;
    unsigned long long sequence;
    long long offset;
    int code = 0;

    memset(ret_head, 0, sizeof *ret_head);
    bool whole =
        sscanf(buf_cstr(text), "%llu %64s %lld", &sequence, chain, &offset) == 3 &&
        hex_decode(bytes_str(chain), ret_head->chain, SHA256_SIZE);
    if (whole) {
        ret_head->sequence = sequence;
        ret_head->event_offset = offset;
        code = witness_text(ret_head, &expected, err);
        whole = bytes_equal(buf_bytes(text), buf_bytes(&expected));
    }
    if (code == 0 && !whole)
        code = error_set(err, ERROR_CORRUPT,
                         "%s is damaged: `kinlog repair` makes it anew", path);
    buf_release(&expected);
    return code;
}

int witness_read(const struct store_folder *folder, uint32_t shard, struct head *ret_head,
                 struct error *err)
{
    struct buf text = BUF_INIT;
    char name[48], path[PATH_MAX];

    snprintf(name, sizeof name, "shard-%u.witness", shard);
    int code = join(path, folder->path, name, err);
    if (code != 0)
        return code;
    if (access(path, F_OK) != 0 && errno == ENOENT)
        return 1;
    code = read_file(path, &text, err);
    if (code == 0)
        code = parse_witness(path, &text, ret_head, err);
    buf_release(&text);
    return code;
}
