/* prepared.c - see prepared.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "tests/fuzz/prepared.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/pieces.h"

#define START_MS 1780000000000

static const uint8_t site_key[SITE_KEY_SIZE] = {7};
static char *reply_allow[] = {"helpdesk.replies"};

static const struct {
    const char *id, *type, *json;
} commands[] = {
    {"p0", "RegisterDevice",
     "{\"ResourceID\":4,\"Name\":\"PC\",\"MACAddresses\":[\"a\"]}"},
    {"p1", "RegisterDevice", "{\"ResourceID\":5,\"Name\":\"PC\"}"},
    {"p2", "CreateRelationship",
     "{\"MachineResourceId\":4,\"UserAccountName\":\"a\\\\b\",\"SourceId\":[2,3],"
     "\"TypeId\":1}"},
    {"p3", "CreateRelationship",
     "{\"MachineResourceId\":4,\"UserAccountName\":\"a\\\\c\",\"SourceId\":4}"},
    {"p4", "CreateRelationship",
     "{\"MachineResourceId\":5,\"UserAccountName\":\"a\\\\b\",\"SourceId\":1}"},
    {"p5", "SetPolicy", "{\"Name\":\"devices.unknown\",\"Value\":\"stub\"}"},
    {"p6", "SetPolicy", "{\"Name\":\"devices.unknown\",\"Value\":\"refuse\"}"},
    /* these two are refused */
    {"p7", "RemoveDevice", "{\"ResourceID\":10}"},
    {"p8", "RemoveDevice", "{}"},
    /* with a reference in this shard, one that asks another shard, one in place */
    {"p9", "AddAssociationEx",
     "{\"SourceClientResourceID\":4,\"RestoreClientResourceID\":5,"
     "\"MigrationBehavior\":1,\"UserNames\":[{\"UserName\":\"a\\\\b\"}]}"},
    {"p10", "AddAssociation",
     "{\"SourceClientResourceID\":4,\"RestoreClientResourceID\":1}"},
    {"p11", "StartCapture", "{\"SourceClientResourceID\":5,\"StorePath\":\"s\"}"},
};

static void open_side(struct side *side, const struct core_settings *settings)
{
    side->maker = answer_maker_new(&settings->identity);
    expect(side->maker != NULL && kv_open_memory(&side->kv, NULL) == 0 &&
           core_open(side->kv, settings, &side->core, NULL) == 0);
}

static void commit_side(struct side *side)
{
    expect(core_commit(side->core, /* sync= */ false, NULL) == 0);
    core_next_batch(side->core);
}

static void give(struct prepared *prepared, const char *id, const char *type,
                 const char *json)
{
    struct header headers[] = {
        {bytes_str("ce_specversion"), bytes_str("1.0")},
        {bytes_str("ce_id"), bytes_str(id)},
        {bytes_str("ce_source"), bytes_str("/s")},
        {bytes_str("ce_type"), bytes_str(type)},
    };
    struct record record = {.partition = (int32_t)prepared->settings.identity.shard,
                            .offset = prepared->next_offset++,
                            .timestamp_ms = START_MS,
                            .value = bytes_str(json),
                            .headers = headers,
                            .header_count = sizeof headers / sizeof headers[0]};
    struct core_outcome outcome;

    expect(core_record(prepared->owner.core, &record, &outcome, NULL) == 0);
    expect(outcome.result == CORE_DECIDED);
}

static struct prepared *make(void)
{
    struct prepared *prepared = calloc(1, sizeof *prepared);

    expect(prepared != NULL);
    prepared->settings = (struct core_settings){
        .identity = {"00112233445566778899aabbccddeeff", "hq", 2, 4},
        .site_key = site_key,
        .commands_topic = "kinlog.commands",
        .replies_topic = "kinlog.replies",
        .reply_allow = reply_allow,
        .reply_allow_count = 1,
    };
    prepared->epoch =
        (struct epoch){.number = 1, .id = "0123456789abcdef0123456789abcdef"};
    open_side(&prepared->owner, &prepared->settings);
    open_side(&prepared->follower, &prepared->settings);
    core_set_epoch(prepared->owner.core, &prepared->epoch);
    expect(core_start_log(prepared->owner.core, 0, NULL) == 0);
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++)
        give(prepared, commands[i].id, commands[i].type, commands[i].json);
    /* LogStarted, one event of each command, a second one of p9 and p11: none was
     * forwarded */
    expect(core_head(prepared->owner.core)->sequence == 15 &&
           core_head(prepared->owner.core)->refused == 2);
    prepared_follow(prepared, 0);
    prepared_compare(prepared);
    commit_side(&prepared->owner);
    commit_side(&prepared->follower);
    return prepared;
}

struct prepared *prepared_get(void)
{
    static struct prepared *prepared;

    if (prepared == NULL)
        prepared = make();
    return prepared;
}

void prepared_reset(struct prepared *prepared)
{
    expect(core_abandon(prepared->owner.core, NULL) == 0);
    expect(core_abandon(prepared->follower.core, NULL) == 0);
}

void check_event(const struct log_identity *identity, const struct event *event,
                 const struct event_record *record)
{
    struct arena arena = ARENA_INIT;
    struct buf stored = BUF_INIT, again = BUF_INIT;
    struct event parsed, decoded;
    struct event_record rendered;
    struct error err = {0};

    (void)event_parse(identity, record, &parsed, &err);
    if (err.code != 0)
        (void)fprintf(stderr, "%s\n", err.text);
    expect(err.code == 0);
    expect(event_encode(event, &stored) == 0 && event_encode(&parsed, &again) == 0);
    expect(parsed.sequence == event->sequence);
    expect(bytes_equal(buf_bytes(&stored), buf_bytes(&again)));
    expect(event_decode(event->sequence, buf_bytes(&stored), &decoded, NULL) == 0);
    expect(event_render(identity, &decoded, &arena, &rendered) == 0);
    expect(bytes_equal(rendered.key, record->key));
    expect(bytes_equal(rendered.data, record->data));
    for (size_t i = 0; i < EVENT_HEADERS; i++)
        expect(bytes_equal(rendered.headers[i], record->headers[i]));
    arena_release(&arena);
    buf_release(&stored);
    buf_release(&again);
}

void prepared_follow(struct prepared *prepared, size_t from)
{
    size_t count;
    const struct core_event *events = core_events(prepared->owner.core, &count);

    for (size_t i = from; i < count; i++) {
        check_event(&prepared->settings.identity, &events[i].event, &events[i].record);
        expect(core_adopt(prepared->follower.core, &events[i].event, &events[i].record,
                          NULL) == 0);
    }
}

void prepared_compare(struct prepared *prepared)
{
    const struct head *owner = core_head(prepared->owner.core);
    const struct head *follower = core_head(prepared->follower.core);

    expect(owner->sequence == follower->sequence && owner->time_ms == follower->time_ms &&
           memcmp(owner->chain, follower->chain, SHA256_SIZE) == 0 &&
           owner->event_offset == follower->event_offset &&
           owner->rules == follower->rules && owner->refused == follower->refused &&
           owner->dead_lettered == follower->dead_lettered);
    for (size_t view = 0; view < VIEWS; view++) {
        char a[65], b[65];
        views_digest(core_views(prepared->owner.core), (enum view)view, a);
        views_digest(core_views(prepared->follower.core), (enum view)view, b);
        expect(strcmp(a, b) == 0);
    }
}
