/* story.c - see story.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "tests/faults/story.h"

#include <stdio.h>
#include <string.h>

#include "agent/shard/answer.h"
#include "agent/shard/repair.h"
#include "events/event_log.h"

#define TIME_MS 1780000000000

const struct log_identity story_identity = {"00112233445566778899aabbccddeeff", "hq", 0,
                                            1};
const uint8_t story_site_key[SITE_KEY_SIZE] = {1, 2, 3};

/* ---- the commands ------------------------------------------------------------------ */

static const struct {
    const char *type;
    const char *data;
} commands[] = {
    {"RegisterDevice", "{\"ResourceID\": 1, \"Name\": \"PC1\"}"},
    {"CreateRelationship", "{\"MachineResourceId\": 1, \"UserAccountName\": \"d\\\\u1\", "
                           "\"SourceId\": [2, 4]}"},
    {"CreateRelationship",
     "{\"MachineResourceId\": 1, \"UserAccountName\": \"d\\\\u2\", \"SourceId\": 6, "
     "\"TypeId\": 1}"},
    {"AddSource", "{\"RelationshipResourceID\": 1, \"SourceId\": [5, 6]}"},
    {"CreateRelationship",
     "{\"MachineResourceId\": 9, \"UserAccountName\": \"d\\\\u3\", \"SourceId\": 2}"},
    {"SetPolicy", "{\"Name\": \"devices.unknown\", \"Value\": \"stub\"}"},
    {"CreateRelationship",
     "{\"MachineResourceId\": 9, \"UserAccountName\": \"d\\\\u3\", \"SourceId\": 2}"},
    {"RemoveSource", "{\"RelationshipResourceID\": 1, \"SourceId\": [2, 4]}"},
    {"AddType", "{\"ResourceID\": 1, \"UniqueUserName\": \"d\\\\u1\", \"TypeId\": 1}"},
    {"RemoveType", "{\"RelationshipResourceID\": 1, \"TypeId\": 1}"},
    {"NoSuchCommand", "{}"},
    {"RegisterDevice", "{\"ResourceID\": 1, \"Name\": \"PC1b\", \"ClientType\": 1}"},
    {"RegisterDevice", "{\"ResourceID\": \"one\"}"},
    {"DeleteRelationship", "{\"RelationshipResourceID\": 2}"},
    {"RegisterDevice", "not JSON"},
    {"SetPolicy", "{\"Name\": \"usage.minutes\", \"Value\": \"90\"}"},
    {"SetPolicy", "{\"Name\": \"usage.days\", \"Value\": \"7\"}"},
    {"SetPolicy", "{\"Name\": \"approval.sources\", \"Value\": \"4\"}"},
    {"ReportUsage", "{\"ResourceID\": 9, \"UniqueUserName\": \"d\\\\u4\", \"Start\": "
                    "\"2026-05-28T08:00:00Z\", \"Minutes\": 90, \"Count\": 1}"},
    {"ApproveRelationship", "{\"ResourceID\": 9, \"UniqueUserName\": \"d\\\\u4\"}"},
    {"ReportUsage", "{\"ResourceID\": 1, \"UniqueUserName\": \"d\\\\u5\", \"Start\": "
                    "\"2026-05-27T08:00:00Z\", \"Minutes\": 90, \"Count\": 1}"},
    {"DenyRelationship", "{\"ResourceID\": 1, \"UniqueUserName\": \"d\\\\u5\"}"},
    {"RemoveDevice", "{\"ResourceID\": 9}"},
};
#define COMMANDS ((int64_t)(sizeof commands / sizeof commands[0]))

/* Every ninth record repeats the one before it, every eleventh has no id, every seventh
 * is a refusal whose record key names the aggregate and which was forwarded here. */
void story_record(int64_t offset, struct story_record *ret_record)
{
    int64_t meant = offset % 9 == 8 ? offset - 1 : offset;
    const char *type = commands[meant % COMMANDS].type;
    const char *data = commands[meant % COMMANDS].data;
    struct header *headers = ret_record->headers;
    size_t count = 0;

    memset(ret_record, 0, sizeof *ret_record);
    if (meant % 7 == 6)
        data = "{\"ResourceID\": []}";
    if (meant % 11 != 10) {
        snprintf(ret_record->id, sizeof ret_record->id, "c-%lld", (long long)meant);
        headers[count++] = (struct header){bytes_str("ce_id"), bytes_str(ret_record->id)};
    }
    headers[count++] = (struct header){bytes_str("ce_source"), bytes_str("/story")};
    headers[count++] = (struct header){bytes_str("ce_specversion"), bytes_str("1.0")};
    headers[count++] = (struct header){bytes_str("ce_type"), bytes_str(type)};
    headers[count++] =
        (struct header){bytes_str("ce_correlationid"), bytes_str("correlation")};
    headers[count++] =
        (struct header){bytes_str("content-type"), bytes_str("application/json")};
    if (meant % 7 == 6)
        headers[count++] =
            (struct header){bytes_str("kinlog_forwarded"), bytes_str("1-5")};
    ret_record->record = (struct record){
        .offset = offset,
        .timestamp_ms = TIME_MS + offset,
        .key = bytes_str("device:1"),
        .value = bytes_str(data),
        .headers = headers,
        .header_count = count,
    };
}

struct core_settings story_settings(void)
{
    return (struct core_settings){
        .identity = story_identity,
        .site_key = story_site_key,
        .commands_topic = "kinlog.commands",
        .replies_topic = "kinlog.replies",
    };
}

int story_batch(struct core *core, struct error *err)
{
    int64_t offset = core_head(core)->next_offset;
    struct core_outcome outcome;
    struct story_record record;
    int code = 0;

    if (offset >= STORY_COMMANDS)
        return 1;
    do {
        story_record(offset, &record);
        code = core_record(core, &record.record, &outcome, err);
    } while (code == 0 && ++offset % STORY_BATCH != 0);
    if (code == 0)
        code = core_commit(core, /* sync= */ true, err);
    core_next_batch(core);
    return code;
}

/* ---- what it comes to -------------------------------------------------------------- */

static int note_chains(struct kv *kv, struct story_truth *truth, struct error *err)
{
    struct event_scan *scan = NULL;
    struct event event;
    int code = event_scan_open(kv, NULL, 1, UINT64_MAX, &scan, err);

    truth->events = 0;
    while (code == 0 && (code = event_scan_next(scan, &event, err)) == 0) {
        if (event.sequence > STORY_EVENTS_MAX) {
            code = error_set(err, ERROR_TOO_LARGE, "STORY_EVENTS_MAX is too small");
            break;
        }
        truth->events = event.sequence;
        memcpy(truth->chains[event.sequence], event.chain, SHA256_SIZE);
    }
    event_scan_close(scan);
    return code == 1 ? 0 : code;
}

static void take_text(struct buf *text, struct bytes part)
{
    buf_append_u32be(text, part.data == NULL ? UINT32_MAX : (uint32_t)part.size);
    buf_append_bytes(text, part);
}

/* Every record is given once more: none is decided twice, and the answers are noted. */
static int note_answers(struct kv *kv, struct story_truth *truth, struct error *err)
{
    struct answer_maker *maker = answer_maker_new(&story_identity, story_site_key);
    struct core_settings settings = story_settings();
    struct core *core = NULL;
    struct buf text = BUF_INIT;
    int code = maker == NULL ? error_set(err, ERROR_NO_MEMORY, "out of memory")
                             : core_open(kv, &settings, &core, err);

    for (int64_t offset = 0; code == 0 && offset < STORY_COMMANDS; offset++) {
        struct core_outcome outcome = {0};
        struct story_record record;
        struct answer answer;

        story_record(offset, &record);
        if (record.id[0] == '\0')
            continue; /* a dead letter is not known again */
        code = core_record(core, &record.record, &outcome, err);
        if (code == 0 && outcome.result != CORE_REPEATED)
            code = error_set(err, ERROR_CORRUPT, "command %lld would be decided again",
                             (long long)offset);
        if (code == 0)
            code = answer_from_log(maker, kv, core_batch(core), outcome.first_sequence,
                                   outcome.count, &answer, err);
        if (code != 0)
            break;
        truth->first_sequences[offset] = outcome.first_sequence;
        take_text(&text, answer.key);
        take_text(&text, outcome.forwarded);
        for (int i = 0; i < ANSWER_HEADERS; i++)
            take_text(&text, answer.headers[i]);
        take_text(&text, answer.value);
    }
    if (code == 0 && text.failed)
        code = error_set(err, ERROR_NO_MEMORY, "out of memory");
    sha256_once(text.data, text.size, truth->answers);
    buf_release(&text);
    core_close(core);
    answer_maker_free(maker);
    return code;
}

static int note_digests(struct kv *kv, struct story_truth *truth, struct error *err)
{
    struct views *views = NULL;
    int code = views_open(kv, NULL, &views, err);

    for (int view = 0; code == 0 && view < VIEWS; view++)
        views_digest(views, (enum view)view, truth->digests[view]);
    views_close(views);
    return code;
}

static int note(struct kv *kv, struct story_truth *truth, struct error *err)
{
    int code = note_chains(kv, truth, err);

    if (code == 0)
        code = note_digests(kv, truth, err);
    return code != 0 ? code : note_answers(kv, truth, err);
}

int story_start(struct kv *kv, struct core **ret_core, struct error *err)
{
    struct core_settings settings = story_settings();
    int code = core_open(kv, &settings, ret_core, err);

    if (code != 0 || core_head(*ret_core)->sequence > 0)
        return code;
    code = core_start_log(*ret_core, 0, err);
    if (code == 0)
        code = core_commit(*ret_core, /* sync= */ true, err);
    core_next_batch(*ret_core);
    return code;
}

int story_tell(struct story_truth *ret_truth, struct error *err)
{
    struct core *core = NULL;
    struct kv *kv = NULL;
    size_t batches = 0;

    memset(ret_truth, 0, sizeof *ret_truth);
    int code = kv_open_memory(&kv, err);
    if (code == 0)
        code = story_start(kv, &core, err);
    while (code == 0 && (code = story_batch(core, err)) == 0)
        ret_truth->batch_ends[batches++] = core_head(core)->sequence;
    if (code == 1)
        code = note(kv, ret_truth, err);
    core_close(core);
    kv_close(kv);
    return code;
}

/* ---- comparing --------------------------------------------------------------------- */

static int differs(struct error *err, const char *what)
{
    (void)error_set(err, ERROR_CORRUPT, "%s", what);
    return 1;
}

static int compare_views(struct kv *kv, struct error *err)
{
    struct buf difference = BUF_INIT;
    struct kv *shadow = NULL;
    int code = views_replay(kv, NULL, NULL, &shadow, err);

    if (code == 0)
        code = views_compare(kv, shadow, &difference, err);
    if (code == 1)
        (void)differs(err, buf_cstr(&difference));
    kv_close(shadow);
    buf_release(&difference);
    return code;
}

int story_compare(struct kv *kv, const struct story_truth *truth, struct error *err)
{
    static struct story_truth found; /* too large for a stack */
    struct head stored, folded;

    memset(&found, 0, sizeof found);
    int code = repair_fold_head(kv, &story_identity, NULL, NULL, &folded, err);
    if (code == 0)
        code = head_load(kv, &story_identity, &stored, err);
    if (code == 0)
        code = compare_views(kv, err);
    if (code == 0)
        code = note(kv, &found, err);
    if (code != 0)
        return code;
    if (stored.sequence != folded.sequence ||
        memcmp(stored.chain, folded.chain, SHA256_SIZE) != 0)
        return differs(err, "the head is not that of the log");
    memcpy(found.batch_ends, truth->batch_ends, sizeof found.batch_ends);
    if (found.events != truth->events ||
        memcmp(found.chains, truth->chains, sizeof found.chains) != 0)
        return differs(err, "the log is not that of a run without faults");
    if (memcmp(found.digests, truth->digests, sizeof found.digests) != 0)
        return differs(err, "the digests are not those of a run without faults");
    if (memcmp(&found, truth, sizeof found) != 0)
        return differs(err, "the answers are not those of a run without faults");
    return 0;
}
