/* demo_story.c - see demo_story.h. The table below is the story; the rest plays it.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "agent/cli/demo_story.h"
#include "agent/cli/event_text.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "agent/cli/demo_show.h"
#include "agent/clock.h"
#include "agent/shard/claim.h"
#include "events/base/hash.h"

#define STEP_TIMEOUT_MS 10000
#define ROUND_MS 100
#define EVENTS_TEXT_SIZE 256

/* One step, and what must come of it. */
struct step {
    const char *text;
    const char *source, *id; /* NULL: no attributes at all */
    const char *type;
    const char *key;
    const char *value;
    const char *events;  /* their types in order, with a blank between */
    const char *outcome; /* NULL: no answer, but a dead letter */
    json_int_t return_value;
    unsigned repeats; /* number of the step whose answer must come again, byte for byte */
    bool adopted;     /* every other shard must adopt it, too */
};

static const struct step steps[] = {
    {.text = "Device management registers a laptop for Ann",
     .source = "/mdm",
     .id = "mdm-1",
     .type = "RegisterDevice",
     .key = "device:16777217",
     .value = "{\"ResourceID\":16777217,\"Name\":\"LAPTOP-ANN\",\"Domain\":\"CONTOSO\"}",
     .events = "DeviceRegistered",
     .outcome = "accepted"},
    {.text = "... one for Lee",
     .source = "/mdm",
     .id = "mdm-2",
     .type = "RegisterDevice",
     .key = "device:16777218",
     .value = "{\"ResourceID\":16777218,\"Name\":\"LAPTOP-LEE\",\"Domain\":\"CONTOSO\"}",
     .events = "DeviceRegistered",
     .outcome = "accepted"},
    {.text = "... and a tablet for the warehouse",
     .source = "/mdm",
     .id = "mdm-3",
     .type = "RegisterDevice",
     .key = "device:16777219",
     .value = "{\"ResourceID\":16777219,\"Name\":\"TABLET-7\",\"Domain\":\"CONTOSO\"}",
     .events = "DeviceRegistered",
     .outcome = "accepted"},
    {.text = "HR makes Ann the primary user (TypeId 1) of her laptop",
     .source = DEMO_STORY_SOURCE,
     .id = DEMO_STORY_ID,
     .type = "CreateRelationship",
     .key = "device:16777217",
     .value = "{\"MachineResourceId\":16777217,\"UserAccountName\":\"contoso\\\\ann\","
              "\"SourceId\":2,\"TypeId\":1}",
     .events = "RelationshipCreated",
     .outcome = "accepted"},
    {.text = "... and Lee of his",
     .source = "/hr",
     .id = "hr-2",
     .type = "CreateRelationship",
     .key = "device:16777218",
     .value = "{\"MachineResourceId\":16777218,\"UserAccountName\":\"contoso\\\\lee\","
              "\"SourceId\":2,\"TypeId\":1}",
     .events = "RelationshipCreated",
     .outcome = "accepted"},
    {.text = "HR is not sure and sends that again: the same answer, no event",
     .source = "/hr",
     .id = "hr-2",
     .type = "CreateRelationship",
     .key = "device:16777218",
     .value = "{\"MachineResourceId\":16777218,\"UserAccountName\":\"contoso\\\\lee\","
              "\"SourceId\":2,\"TypeId\":1}",
     .events = "",
     .outcome = "accepted",
     .repeats = 5},
    {.text = "The usage agent (source 4) confirms Ann, in its own spelling",
     .source = "/usage",
     .id = "usage-1",
     .type = "AddSource",
     .key = "device:16777217",
     .value =
         "{\"ResourceID\":16777217,\"UniqueUserName\":\"CONTOSO\\\\Ann\",\"SourceId\":4}",
     .events = "SourceAdded",
     .outcome = "accepted"},
    {.text = "Lee leaves: with its last source the relationship ends",
     .source = "/hr",
     .id = "hr-3",
     .type = "RemoveSource",
     .key = "device:16777218",
     .value =
         "{\"ResourceID\":16777218,\"UniqueUserName\":\"contoso\\\\lee\",\"SourceId\":2}",
     .events = "SourceRemoved RelationshipDeleted",
     .outcome = "accepted"},
    {.text = "Mia claims a device that nobody has registered",
     .source = "/portal",
     .id = "portal-1",
     .type = "CreateRelationship",
     .key = "device:16777220",
     .value = "{\"MachineResourceId\":16777220,\"UserAccountName\":\"contoso\\\\mia\","
              "\"SourceId\":1}",
     .events = "CommandRejected",
     .outcome = "refused",
     .return_value = -2147217406},
    {.text = "Somebody's script sends garbage",
     .key = "device:16777217",
     .value = "{\"ResourceID\": 167772",
     .events = "RecordDeadLettered"},
    {.text = "The site decides to accept unknown devices; all shards adopt it",
     .source = "/admin",
     .id = "admin-1",
     .type = "SetPolicy",
     .key = "policy",
     .value = "{\"Name\":\"devices.unknown\",\"Value\":\"stub\"}",
     .events = "PolicyChanged",
     .outcome = "accepted",
     .adopted = true},
    {.text = "Mia tries again: a new id, so it is decided anew",
     .source = "/portal",
     .id = "portal-2",
     .type = "CreateRelationship",
     .key = "device:16777220",
     .value = "{\"MachineResourceId\":16777220,\"UserAccountName\":\"contoso\\\\mia\","
              "\"SourceId\":1}",
     .events = "DeviceRegistered RelationshipCreated",
     .outcome = "accepted"},
};

#define STEP_COUNT (sizeof(steps) / sizeof(steps[0]))

/* What has come of the present step so far. */
struct outcome {
    char events[EVENTS_TEXT_SIZE];
    int32_t adopted;
    bool answered, right_answer;
    bool dead_lettered;
};

struct story {
    const struct demo_stage *stage;
    const struct step *step;
    unsigned number; /* of the step, from 1 on */
    struct sink *sink;
    struct delivery delivery; /* of the step's record */
    bool delivered;
    struct outcome outcome;
    struct buf answers[STEP_COUNT]; /* as they came */
    unsigned wrong;
};

/* ---- sending ----------------------------------------------------------------------- */

static void on_delivery(void *context, const struct delivery *delivery)
{
    struct story *story = context;

    story->delivery = *delivery;
    story->delivered = true;
}

static struct header header(const char *name, const char *value)
{
    return (struct header){bytes_str(name), bytes_str(value)};
}

static int send_step(struct story *story, struct error *err)
{
    const struct step *step = story->step;
    struct bytes key = bytes_str(step->key);
    int32_t partition = (int32_t)(slot_of_key(key) % (uint32_t)story->stage->shards);
    char type[64];
    int code;

    (void)snprintf(type, sizeof(type), "kinlog.%s.v1",
                   step->type != NULL ? step->type : "");
    const struct header headers[] = {
        header("ce_specversion", "1.0"),
        header("ce_id", step->id),
        header("ce_source", step->source),
        header("ce_type", type),
        header("content-type", "application/json"),
    };
    story->delivered = false;
    code = sink_send(story->sink, story->stage->config->topic_commands, partition, key,
                     bytes_str(step->value), headers,
                     step->id != NULL ? sizeof(headers) / sizeof(headers[0]) : 0,
                     /* timestamp_ms= */ -1, story->number, err);
    if (code == 0)
        code = sink_flush(story->sink, STEP_TIMEOUT_MS, err);
    if (code == 0 && (!story->delivered || story->delivery.code != 0))
        code = error_set(err, ERROR_KAFKA, "the embedded broker did not take a command");
    return code;
}

static void show_command(const struct story *story)
{
    const struct step *step = story->step;
    struct demo_page *page = story->stage->page;
    json_t *parameters = json_loads(step->value, 0, NULL), *value;
    const char *name;

    demo_heading(page, story->number, step->text, bytes_str(step->source),
                 bytes_str(step->id));
    if (step->type != NULL) {
        demo_line_begin(page, "command", DEMO_SENT, bytes_str(step->type));
        json_object_foreach (parameters, name, value) {
            demo_member(page, name, value);
        }
    } else {
        demo_line_begin(page, "record", DEMO_SENT, bytes_str("(no attributes)"));
        demo_words(page, DEMO_PLAIN, bytes_str(step->value));
    }
    demo_line_end(page);
    json_decref(parameters);
}

/* ---- what comes of it -------------------------------------------------------------- */

static bool is_number(struct bytes text, int64_t number)
{
    char decimal[32];

    (void)snprintf(decimal, sizeof(decimal), "%lld", (long long)number);
    return bytes_equal_str(text, decimal);
}

/* Of the record without attributes: told by its place. */
static bool has_place(const struct story *story, const struct demo_message *message)
{
    const struct record *record = message->record;
    const json_t *offset = json_object_get(message->data, "Offset");
    const json_t *partition = json_object_get(message->data, "Partition");

    if (message->topic == DEMO_DEAD_LETTERS)
        return is_number(record_header(record, "kinlog_partition"),
                         story->delivery.partition) &&
               is_number(record_header(record, "kinlog_offset"), story->delivery.offset);
    return bytes_equal_str(record_header(record, "ce_type"),
                           "kinlog.RecordDeadLettered.v1") &&
           json_integer_value(partition) == story->delivery.partition &&
           json_integer_value(offset) == story->delivery.offset;
}

static bool is_by_step(const struct story *story, const struct demo_message *message)
{
    const struct step *step = story->step;

    if (step->id == NULL)
        return has_place(story, message);
    return bytes_equal_str(record_header(message->record, "ce_causationid"), step->id) &&
           bytes_equal_str(record_header(message->record, "ce_causationsource"),
                           step->source);
}

/* The agent's own command had another shard adopt the policy. */
static bool is_adoption(const struct story *story, const struct demo_message *message)
{
    return story->step->adopted && message->topic == DEMO_EVENTS &&
           bytes_equal_str(record_header(message->record, "ce_type"),
                           "kinlog.PolicyChanged.v1") &&
           bytes_equal(record_header(message->record, "ce_causationsource"),
                       record_header(message->record, "ce_source"));
}

static void note_event(struct outcome *outcome, const struct record *record)
{
    struct bytes type = short_type(record_header(record, "ce_type"));
    size_t used = strlen(outcome->events);

    (void)snprintf(outcome->events + used, sizeof(outcome->events) - used, "%s%.*s",
                   used > 0 ? " " : "", (int)type.size, (const char *)type.data);
}

static void note_answer(struct story *story, const struct demo_message *message)
{
    const struct step *step = story->step;
    const char *outcome = json_string_value(json_object_get(message->data, "Outcome"));
    json_int_t value = json_integer_value(json_object_get(message->data, "ReturnValue"));
    bool repeated = record_header(message->record, "ce_repeated").data != NULL;
    struct buf *kept = &story->answers[story->number - 1];

    (void)buf_append_bytes(kept, message->record->value);
    story->outcome.answered = true;
    story->outcome.right_answer =
        step->outcome != NULL && outcome != NULL && strcmp(outcome, step->outcome) == 0 &&
        value == step->return_value && repeated == (step->repeats > 0);
    if (step->repeats > 0 &&
        !bytes_equal(buf_bytes(kept), buf_bytes(&story->answers[step->repeats - 1])))
        story->outcome.right_answer = false;
}

static void meet(struct story *story, const struct demo_message *message)
{
    if (is_adoption(story, message)) {
        story->outcome.adopted++;
        demo_show(story->stage->page, message);
        return;
    }
    if (!is_by_step(story, message))
        return;
    if (message->topic == DEMO_EVENTS)
        note_event(&story->outcome, message->record);
    else if (message->topic == DEMO_REPLIES)
        note_answer(story, message);
    else
        story->outcome.dead_lettered = true;
    demo_show(story->stage->page, message);
}

static bool is_complete(const struct story *story)
{
    const struct outcome *outcome = &story->outcome;

    if (story->step->outcome == NULL)
        return outcome->dead_lettered && outcome->events[0] != '\0';
    return outcome->answered &&
           (!story->step->adopted || outcome->adopted >= story->stage->shards - 1);
}

static bool came_out_right(const struct story *story)
{
    return strcmp(story->outcome.events, story->step->events) == 0 &&
           (story->step->outcome == NULL || story->outcome.right_answer);
}

static void complain(struct story *story)
{
    const struct step *step = story->step;
    struct demo_page *page = story->stage->page;
    char value[64];

    story->wrong++;
    demo_line_begin(page, "WRONG", DEMO_BAD,
                    bytes_str(is_complete(story) ? "not as told" : "timed out"));
    demo_words(page, DEMO_PLAIN, bytes_str("expected: events"));
    demo_words(page, DEMO_BOLD,
               bytes_str(step->events[0] != '\0' ? step->events : "none"));
    demo_words(page, DEMO_PLAIN, bytes_str("and"));
    demo_words(page, DEMO_BOLD,
               bytes_str(step->outcome != NULL ? step->outcome : "a dead letter"));
    if (step->outcome != NULL) {
        (void)snprintf(value, sizeof(value), "with ReturnValue=%lld",
                       (long long)step->return_value);
        demo_words(page, DEMO_PLAIN, bytes_str(value));
    }
    if (step->repeats > 0)
        demo_words(page, DEMO_PLAIN, bytes_str("(the first answer again)"));
    demo_line_end(page);
}

/* ---- playing ----------------------------------------------------------------------- */

static int play_step(struct story *story, struct error *err)
{
    const struct demo_stage *stage = story->stage;
    int64_t deadline_ms = clock_monotonic_ms() + STEP_TIMEOUT_MS;
    struct demo_message message;

    story->outcome = (struct outcome){.events = ""};
    show_command(story);
    int code = send_step(story, err);
    while (code >= 0 && !is_complete(story) && clock_monotonic_ms() < deadline_ms) {
        if (*stage->stop)
            return error_set(err, ERROR_STOPPED, "stopped in the middle of the story");
        code = demo_feed_next(stage->feed, ROUND_MS, &message, err);
        if (code == 0)
            meet(story, &message);
    }
    if (code < 0)
        return code;
    if (!is_complete(story) || !came_out_right(story))
        complain(story);
    return 0;
}

static void pause_between(const struct demo_stage *stage)
{
    const struct timespec pause = {stage->pause_ms / 1000,
                                   stage->pause_ms % 1000 * 1000000L};

    (void)fflush(stage->page->file);
    if (stage->pause_ms > 0)
        (void)nanosleep(&pause, NULL); /* a signal ends it */
}

int demo_story_play(const struct demo_stage *stage, struct error *err)
{
    struct story story = {.stage = stage};
    int32_t partitions;

    int code = sink_open(&stage->config->kafka, SINK_OUTBOX, 0, -1, on_delivery, &story,
                         &story.sink, err);
    if (code == 0)
        code = sink_topic(story.sink, stage->config->topic_commands, STEP_TIMEOUT_MS,
                          &partitions, err);
    for (unsigned i = 0; code == 0 && i < STEP_COUNT; i++) {
        story.step = &steps[i];
        story.number = i + 1;
        code = play_step(&story, err);
        pause_between(stage);
        if (code == 0 && *stage->stop)
            code = error_set(err, ERROR_STOPPED, "stopped in the middle of the story");
    }
    sink_close(story.sink);
    for (size_t i = 0; i < STEP_COUNT; i++)
        buf_release(&story.answers[i]);
    if (code == 0 && story.wrong > 0)
        code = error_set(err, ERROR_INVALID, "%u of %zu steps did not come out as told",
                         story.wrong, STEP_COUNT);
    return code;
}
