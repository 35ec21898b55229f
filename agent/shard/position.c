/* position.c - where a shard goes on consuming, and whether that place is still what it
 * was.
 *
 * The position that counts is the one in the log (the offset after the last command's),
 * not the one committed to Kafka. It means something only in the topic that it came from:
 * so the last consumed record is read again and compared (offset, timestamp, hash). A
 * topic deleted and made anew is not to be told apart otherwise.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "agent/clock.h"
#include "agent/log.h"
#include "agent/shard/shard_internal.h"

#define WATERMARK_TIMEOUT_MS 5000
#define READ_ONE_TIMEOUT_MS 5000
#define RECHECK_INTERVAL_MS 15000
#define RECHECK_TIMEOUT_MS 1000

static int made_anew(const struct shard *shard, int64_t offset, struct error *err)
{
    return error_set(err, ERROR_CONFLICT,
                     "partition %u of %s was made anew: its record at offset %lld is not "
                     "the one that this "
                     "log consumed there. Commands between the two may be lost. If it is "
                     "meant so, stop the "
                     "agent, run `kinlog rebuild --commands-from earliest --shard %u` "
                     "(or latest), and start again",
                     shard->identity.shard, shard->settings.config->topic_commands,
                     (long long)offset, shard->identity.shard);
}

/* Outputs: 0, 1 = the record is no longer there, or negative. */
static int compare_anchor(struct shard *shard, struct source *source,
                          const struct anchor *anchor, int timeout_ms, struct error *err)
{
    const struct record *record;
    struct anchor found;
    int code = source_read_one(source, anchor->offset, timeout_ms, &record, err);

    if (code != 0)
        return code;
    struct sha256 *hasher = sha256_new();
    if (hasher == NULL)
        return error_set(err, ERROR_NO_MEMORY, "out of memory");
    anchor_of(hasher, record->offset, record->timestamp_ms, record->key, record->value,
              &found);
    sha256_free(hasher);
    if (found.timestamp_ms != anchor->timestamp_ms ||
        memcmp(found.sha256, anchor->sha256, SHA256_SIZE) != 0)
        return made_anew(shard, anchor->offset, err);
    return 0;
}

static int check_anchor(struct shard *shard, const struct anchor *anchor,
                        struct error *err)
{
    int code = compare_anchor(shard, shard->commands, anchor, READ_ONE_TIMEOUT_MS, err);

    if (code == 1) {
        log_paced(4, shard->name,
                  "the last consumed command (offset %lld) is no longer in the topic: "
                  "that it is the same "
                  "topic cannot be proven",
                  (long long)anchor->offset);
        return 0;
    }
    return code;
}

static int check_bounds(const struct shard *shard, int64_t next, int64_t low,
                        int64_t high, struct error *err)
{
    const char *topic = shard->settings.config->topic_commands;

    if (next < low)
        return error_set(err, ERROR_CONFLICT,
                         "commands are lost: partition %u of %s begins at offset %lld, "
                         "the log goes on at "
                         "%lld; the %lld between were removed (retention?) before they "
                         "were decided. Ask "
                         "the senders to send them again, run `kinlog rebuild "
                         "--commands-from earliest "
                         "--shard %u`, and start again",
                         shard->identity.shard, topic, (long long)low, (long long)next,
                         (long long)(low - next), shard->identity.shard);
    if (next > high)
        return error_set(err, ERROR_CONFLICT,
                         "partition %u of %s ends at offset %lld, but the log has "
                         "decided commands up to "
                         "%lld: the topic was emptied, made anew or restored from an "
                         "older copy. If it is "
                         "meant so, run `kinlog rebuild --commands-from earliest --shard "
                         "%u` (or latest), and "
                         "start again",
                         shard->identity.shard, topic, (long long)high,
                         (long long)next - 1, shard->identity.shard);
    return 0;
}

int shard_find_position(struct shard *shard, struct error *err)
{
    const struct config *config = shard->settings.config;
    int64_t next = core_head(shard->core)->next_offset, low = 0, high = 0;
    struct anchor anchor;

    int code = anchor_load(shard->kv, &anchor, err);
    if (code == 0)
        code = source_open(&config->kafka, config->topic_commands,
                           (int32_t)shard->identity.shard, shard->wake_fd,
                           &shard->commands, err);
    if (code == 0)
        code = source_watermarks(shard->commands, WATERMARK_TIMEOUT_MS, &low, &high, err);
    if (code == 0)
        code = check_bounds(shard, next, low, high, err);
    if (code == 0 && anchor.set && anchor.offset == next - 1)
        code = check_anchor(shard, &anchor, err);
    if (code == 0 && !anchor.set)
        code = effects_look_back(shard->kv, shard->status.answered, low, &next, err);
    if (code == 0)
        code = source_start(shard->commands, next, err);
    shard->seen_anchor = anchor;
    shard->recheck_ms = clock_monotonic_ms();
    return code;
}

int shard_recheck_position(struct shard *shard, struct error *err)
{
    const struct config *config = shard->settings.config;
    struct source *source = NULL;
    struct anchor anchor;
    int code = 0;

    if (clock_monotonic_ms() - shard->recheck_ms < RECHECK_INTERVAL_MS)
        return 0;
    shard->recheck_ms = clock_monotonic_ms();
    code = anchor_load(shard->kv, &anchor, err);
    if (code != 0 || !anchor.set || anchor.offset == shard->seen_anchor.offset)
        return code;
    code = source_open(&config->kafka, config->topic_commands,
                       (int32_t)shard->identity.shard,
                       /* wake_fd= */ -1, &source, err);
    if (code == 0)
        code =
            compare_anchor(shard, source, &shard->seen_anchor, RECHECK_TIMEOUT_MS, err);
    source_close(source);
    shard->seen_anchor = anchor;
    if (code == ERROR_CONFLICT || code >= 0)
        return code < 0 ? code : 0;
    error_clear(err); /* not reached in time: the next check will be */
    return 0;
}

int shard_check_cluster(struct shard *shard, struct error *err)
{
    const char *known = shard->status.cluster_id, *present = shard->settings.cluster_id;

    if (present[0] == '\0' || strcmp(known, present) == 0)
        return 0;
    if (known[0] == '\0') {
        snprintf(shard->status.cluster_id, sizeof shard->status.cluster_id, "%s",
                 present);
        return 0;
    }
    return error_set(err, ERROR_CONFLICT,
                     "the brokers belong to cluster %s, but this log was written against "
                     "cluster %s: its "
                     "offsets mean nothing there. Is bootstrap.servers right? If the "
                     "topics were moved, stop "
                     "the agent, run `kinlog rebuild --republish`, and start again",
                     present, known);
}
