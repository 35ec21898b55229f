/* site.c - see site.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "agent/shard/site.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "agent/kafka/kafka.h"
#include "agent/shard/claim.h"
#include "agent/shard/core.h"
#include "events/secret.h"
#include "schemas/events.h"

#define BROKER_TIMEOUT_MS 15000
#define SCAN_RECORDS_MAX 1000

/* ---- topics ------------------------------------------------------------------------ */

static int prepare_topics(const struct config *config, site_notice_fn notice,
                          void *context, uint32_t *ret_shards, struct error *err)
{
    struct topic_names names = config_topics(config);
    struct topics_report report = {0};
    int created = 0, code = 0;

    if (config->create && !config->embedded)
        code = topics_create(&config->kafka, &names, config->partitions,
                             BROKER_TIMEOUT_MS, &created, err);
    if (code == 0 && created > 0)
        notice(context, TOPIC_OK, "topics created");
    if (code == 0)
        code = topics_check(&config->kafka, &names, 0, BROKER_TIMEOUT_MS, &report, err);
    for (size_t i = 0; code == 0 && i < report.finding_count; i++)
        notice(context, (int)report.findings[i].level, report.findings[i].text);
    if (code == 0 && report.refused)
        code = error_set(
            err, ERROR_CONFIG, "the topics are not fit to hold a log (see above)%s",
            config->create ? ""
                           : "; missing ones are created with [topics] create = true");
    *ret_shards = (uint32_t)report.partitions;
    topics_report_release(&report);
    return code;
}

/* ---- the log that a topic holds ---------------------------------------------------- */

struct found_log {
    bool found;
    struct log_identity identity;
    char fingerprint[SITE_KEY_FINGERPRINT_SIZE];
};

static int read_log_started(const struct record *record, struct found_log *ret_found,
                            struct error *err)
{
    struct arena arena = ARENA_INIT;
    struct log_started_v1 data;
    struct codec_error fault;

    enum codec_fault found = codec_decode(&log_started_v1_schema, CODEC_EXACT,
                                          record->value, &arena, &data, &fault);
    if (found == CODEC_OK) {
        ret_found->found = true;
        snprintf(ret_found->identity.log, LOG_ID_SIZE, "%.*s", (int)data.log.size,
                 (const char *)data.log.data);
        snprintf(ret_found->identity.site, SITE_SIZE, "%.*s", (int)data.site.size,
                 (const char *)data.site.data);
        ret_found->identity.shards = data.shards;
        snprintf(ret_found->fingerprint, sizeof ret_found->fingerprint, "%.*s",
                 (int)data.site_key_fingerprint.size,
                 (const char *)data.site_key_fingerprint.data);
    }
    arena_release(&arena);
    return found == CODEC_OK ? 0
                             : error_set(err, ERROR_CORRUPT,
                                         "the events topic's LogStarted: %s", fault.text);
}

/* Looks through partition 0 of the events topic for the first LogStarted. */
static int find_log(const struct config *config, struct found_log *ret_found,
                    struct error *err)
{
    const struct record *records;
    struct source *source = NULL;
    int64_t next = 0, high = 0;
    size_t count;

    memset(ret_found, 0, sizeof *ret_found);
    int code = source_open(&config->kafka, config->topic_events, 0, -1, &source, err);
    if (code == 0)
        code = source_watermarks(source, BROKER_TIMEOUT_MS, &next, &high, err);
    if (code == 0 && next < high)
        code = source_start(source, next, err);
    while (code == 0 && next < high && !ret_found->found) {
        code = source_poll(source, 1000, SCAN_RECORDS_MAX, &records, &count, NULL, err);
        for (size_t i = 0; code == 0 && i < count && !ret_found->found; i++) {
            next = records[i].offset + 1;
            if (bytes_equal_str(record_header(&records[i], "ce_type"),
                                "kinlog.LogStarted.v1"))
                code = read_log_started(&records[i], ret_found, err);
        }
    }
    source_close(source);
    return code;
}

/* ---- a new log --------------------------------------------------------------------- */

static int start_offset(const struct config *config, uint32_t shard, int64_t *ret_offset,
                        struct error *err)
{
    struct source *source = NULL;
    int64_t high;

    int code = source_open(&config->kafka, config->topic_commands, (int32_t)shard, -1,
                           &source, err);
    if (code == 0)
        code = source_watermarks(source, BROKER_TIMEOUT_MS, ret_offset, &high, err);
    source_close(source);
    return code;
}

struct start {
    const struct config *config;
    int64_t offsets[SLOTS]; /* of each shard's first command */
};

/* A store_start_fn: LogStarted, event 1 of every shard's log. */
static int start_log(const struct store_folder *folder, uint32_t shard, struct kv *kv,
                     void *context, struct error *err)
{
    const struct start *start = context;
    struct core_settings settings = {
        .identity = store_identity(folder, shard),
        .site_key = folder->site_key,
        .commands_topic = start->config->topic_commands,
        .replies_topic = start->config->topic_replies,
    };
    struct core *core = NULL;

    int code = core_open(kv, &settings, &core, err);
    if (code == 0)
        code = core_start_log(core, start->offsets[shard], err);
    if (code == 0)
        code = core_commit(core, /* sync= */ true, err);
    core_close(core);
    return code;
}

static int draw(void *ret_bytes, size_t size, struct error *err)
{
    if (getrandom(ret_bytes, size, 0) != (ssize_t)size)
        return error_set(err, ERROR_IO, "the system gives no random bytes: %s",
                         strerror(errno));
    return 0;
}

/* The brokers are asked before anything is made. */
static int make_log(const struct config *config, const struct log_identity *identity,
                    const uint8_t site_key[SITE_KEY_SIZE], struct error *err)
{
    struct start start = {.config = config};
    int code = 0;

    for (uint32_t shard = 0; code == 0 && shard < identity->shards; shard++)
        code = start_offset(config, shard, &start.offsets[shard], err);
    if (code == 0)
        code = store_folder_create(config->data_dir, identity, site_key, start_log,
                                   &start, err);
    return code;
}

static int require_site(const struct config *config, struct error *err)
{
    if (config->site != NULL)
        return 0;
    return error_set(err, ERROR_CONFIG,
                     "[agent] site is not set: give the site a name, like hq");
}

int site_init(const struct config *config, site_notice_fn notice, void *context,
              struct log_identity *ret_identity, struct error *err)
{
    struct log_identity identity = {0};
    uint8_t *site_key = secret_new(SITE_KEY_SIZE);
    struct found_log found;

    int code = site_key == NULL ? error_set(err, ERROR_NO_MEMORY, "out of memory")
                                : require_site(config, err);
    if (code == 0)
        code = store_folder_check_new(config->data_dir, err);
    if (code == 0)
        code = prepare_topics(config, notice, context, &identity.shards, err);
    if (code == 0)
        code = find_log(config, &found, err);
    if (code == 0 && found.found)
        code = error_set(err, ERROR_CONFLICT,
                         "%s already holds log %s of site %s: join it with `kinlog init "
                         "--join KEYFILE`, or use "
                         "another [topics] prefix",
                         config->topic_events, found.identity.log, found.identity.site);
    if (code == 0)
        code = draw(site_key, SITE_KEY_SIZE, err);
    if (code == 0)
        code = claim_new_id(identity.log, err); /* a log id has the form of a claim's */
    if (code == 0) {
        snprintf(identity.site, SITE_SIZE, "%s", config->site);
        code = make_log(config, &identity, site_key, err);
    }
    secret_free(site_key);
    *ret_identity = identity;
    return code;
}

/* ---- joining ----------------------------------------------------------------------- */

static int check_key(const struct found_log *found, const uint8_t site_key[SITE_KEY_SIZE],
                     const char *key_file, struct error *err)
{
    char fingerprint[SITE_KEY_FINGERPRINT_SIZE];

    site_key_fingerprint(site_key, fingerprint);
    if (strcmp(fingerprint, found->fingerprint) == 0)
        return 0;
    return error_set(err, ERROR_CONFLICT,
                     "%s is not the key of log %s: take site.key from the data folder of "
                     "an agent of this site",
                     key_file, found->identity.log);
}

/* The log that the topic holds, if the key and the configuration are those of its site. */
static int find_own_log(const struct config *config, const char *key_file,
                        const uint8_t site_key[SITE_KEY_SIZE],
                        struct log_identity *ret_identity, struct error *err)
{
    struct found_log found;
    int code = find_log(config, &found, err);

    if (code == 0 && !found.found)
        code = error_set(err, ERROR_NOT_FOUND,
                         "%s holds no log yet: the first agent runs `kinlog init` "
                         "without --join, and `kinlog run`",
                         config->topic_events);
    if (code == 0)
        code = check_key(&found, site_key, key_file, err);
    if (code == 0 && strcmp(found.identity.site, config->site) != 0)
        code = error_set(err, ERROR_CONFIG, "the log is of site %s, [agent] site says %s",
                         found.identity.site, config->site);
    *ret_identity = found.identity;
    return code;
}

int site_restore(const struct config *config, struct log_identity *ret_identity,
                 struct error *err)
{
    uint8_t *site_key = NULL;
    struct buf path = BUF_INIT;

    buf_printf(&path, "%s/site.key", config->data_dir);
    int code = site_key_read(buf_cstr(&path), &site_key, err);
    if (code == 0)
        code = require_site(config, err);
    if (code == 0)
        code = find_own_log(config, buf_cstr(&path), site_key, ret_identity, err);
    if (code == 0)
        code = store_describe(config->data_dir, ret_identity, site_key, err);
    secret_free(site_key);
    buf_release(&path);
    return code;
}

int site_join(const struct config *config, const char *key_file, site_notice_fn notice,
              void *context, struct log_identity *ret_identity, struct error *err)
{
    uint8_t *site_key = NULL;
    struct log_identity identity = {0};
    uint32_t shards = 0;

    int code = site_key_read(key_file, &site_key, err);
    if (code == 0)
        code = require_site(config, err);
    if (code == 0)
        code = store_folder_check_new(config->data_dir, err);
    if (code == 0)
        code = prepare_topics(config, notice, context, &shards, err);
    if (code == 0)
        code = find_own_log(config, key_file, site_key, &identity, err);
    if (code == 0 && identity.shards != shards)
        code = error_set(err, ERROR_CONFLICT,
                         "the log has %u shards, but %s has %u partitions: their number "
                         "must never change",
                         identity.shards, config->topic_commands, shards);
    if (code == 0)
        code = store_folder_create(config->data_dir, &identity, site_key,
                                   /* start= */ NULL, /* context= */ NULL, err);
    secret_free(site_key);
    *ret_identity = identity;
    return code;
}
