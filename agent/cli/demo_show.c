/* demo_show.c - see demo_show.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "agent/cli/demo_show.h"

#include <inttypes.h>
#include <string.h>

#include "agent/cli/event_text.h"
#include "agent/shard/claim.h"

/* ---- events ------------------------------------------------------------------------ */

/* What of an event's data is worth a look in one line; all of it is in the topic. */
static const struct {
    const char *event;
    const char *members[6];
} worth_a_look[] = {
    {"RelationshipCreated",
     {"RelationshipResourceID", "UniqueUserName", "Sources", "Types"}},
    {"RelationshipDeleted", {"UniqueUserName", "Reason"}},
    {"SourceAdded", {"UniqueUserName", "SourceId", "Sources"}},
    {"SourceRemoved", {"UniqueUserName", "SourceId", "Sources"}},
    {"TypeAdded", {"UniqueUserName", "TypeId", "Types"}},
    {"TypeRemoved", {"UniqueUserName", "TypeId", "Types"}},
    {"DeviceRegistered", {"ResourceID", "Name", "Domain"}},
    {"DeviceChanged", {"ResourceID", "Name", "Domain"}},
    {"CommandRejected", {"Outcome", "ReturnValue"}},
    {"CommandUnchanged", {"Version"}},
    {"RecordDeadLettered", {"Topic", "Partition", "Offset"}},
};

static void show_members(struct demo_page *page, struct bytes type, json_t *data)
{
    const char *name;
    json_t *value;

    for (size_t i = 0; i < sizeof(worth_a_look) / sizeof(worth_a_look[0]); i++) {
        const char *const *members = worth_a_look[i].members;

        if (!bytes_equal_str(type, worth_a_look[i].event))
            continue;
        for (size_t k = 0; members[k] != NULL; k++)
            demo_member(page, members[k], json_object_get(data, members[k]));
        return;
    }
    json_object_foreach (data, name, value) {
        demo_member(page, name, value);
    }
}

static void show_event(struct demo_page *page, const struct demo_message *message)
{
    struct bytes type = short_type(record_header(message->record, "ce_type"));

    demo_line_begin(page, "event", DEMO_GOOD, type);
    demo_word(page, DEMO_DIM, record_header(message->record, "ce_id"));
    show_members(page, type, message->data);
    demo_line_end(page);
}

/* ---- answers and dead letters ------------------------------------------------------ */

static const char *text_of(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));

    return text != NULL ? text : "";
}

static enum demo_style style_of(const char *outcome)
{
    if (strcmp(outcome, "accepted") == 0)
        return DEMO_GOOD;
    return strcmp(outcome, "unchanged") == 0 ? DEMO_WARN : DEMO_BAD;
}

static void show_answer(struct demo_page *page, const struct demo_message *message)
{
    const char *outcome = text_of(message->data, "Outcome"), *name;
    const json_t *status = json_object_get(message->data, "ExtendedStatus");
    json_t *value;

    demo_line_begin(page, "answer", style_of(outcome), bytes_str(outcome));
    demo_member(page, "ReturnValue", json_object_get(message->data, "ReturnValue"));
    json_object_foreach (json_object_get(message->data, "Out"), name, value) {
        demo_member(page, name, value);
    }
    demo_member(page, "Version", json_object_get(message->data, "Version"));
    demo_member(page, "ParameterInfo", json_object_get(status, "ParameterInfo"));
    if (record_header(message->record, "ce_repeated").data != NULL)
        demo_word(page, DEMO_WARN, bytes_str("ce_repeated=true"));
    demo_line_end(page);
    if (*text_of(status, "Description") == '\0')
        return;
    demo_line_begin(page, "", DEMO_PLAIN, BYTES_ABSENT);
    demo_words(page, DEMO_PLAIN, bytes_str(text_of(status, "Description")));
    demo_line_end(page);
}

void demo_show(struct demo_page *page, const struct demo_message *message)
{
    switch (message->topic) {
    case DEMO_EVENTS:
        show_event(page, message);
        return;
    case DEMO_REPLIES:
        show_answer(page, message);
        return;
    case DEMO_DEAD_LETTERS:
    case DEMO_TOPICS:
        break;
    }
    demo_line_begin(page, "moved to", DEMO_BAD, bytes_str("kinlog.dead-letters"));
    demo_words(page, DEMO_PLAIN, record_header(message->record, "kinlog_reason"));
    demo_line_end(page);
}

/* ---- what others send -------------------------------------------------------------- */

/* The command's type: the last part of an event's ce_command, or the answer's Command. */
static struct bytes command_type(const struct demo_message *message)
{
    struct bytes command = record_header(message->record, "ce_command");
    const uint8_t *semicolon;

    if (message->topic == DEMO_REPLIES)
        return bytes_str(text_of(message->data, "Command"));
    if (command.data == NULL)
        return command;
    while ((semicolon = memchr(command.data, ';', command.size)) != NULL)
        command = bytes_of(semicolon + 1,
                           command.size - (size_t)(semicolon + 1 - command.data));
    return command;
}

/* The dead letter and its event are one story: both know the record's place. */
static void name_record(const struct demo_message *message, struct buf *out)
{
    if (message->topic == DEMO_DEAD_LETTERS) {
        (void)buf_append_bytes(out, record_header(message->record, "kinlog_partition"));
        (void)buf_append_str(out, "-");
        (void)buf_append_bytes(out, record_header(message->record, "kinlog_offset"));
        return;
    }
    (void)buf_printf(out, "%" JSON_INTEGER_FORMAT "-%" JSON_INTEGER_FORMAT,
                     json_integer_value(json_object_get(message->data, "Partition")),
                     json_integer_value(json_object_get(message->data, "Offset")));
}

static void show_heading(struct demo_watch *watch, struct demo_page *page,
                         const struct demo_message *message)
{
    struct bytes source = record_header(message->record, "ce_causationsource");
    struct bytes id = record_header(message->record, "ce_causationid");
    struct bytes type = short_type(command_type(message));
    struct buf command = BUF_INIT;
    char title[64];

    if (id.data != NULL) {
        (void)buf_append_bytes(&command, source);
        (void)buf_append_str(&command, "\n");
        (void)buf_append_bytes(&command, id);
        (void)snprintf(title, sizeof(title), "Somebody sent %.*s", (int)type.size,
                       (const char *)type.data);
        if (bytes_equal_str(type, "AdoptPolicy"))
            (void)snprintf(title, sizeof(title),
                           "The agent has its other shards adopt it");
    } else {
        name_record(message, &command);
        (void)snprintf(title, sizeof(title), "Somebody sent a record that is no command");
    }
    if (!bytes_equal(buf_bytes(&command), buf_bytes(&watch->command)))
        demo_heading(page, 0, title, source, id);
    buf_clear(&watch->command);
    (void)buf_append_bytes(&watch->command, buf_bytes(&command));
    buf_release(&command);
}

void demo_watch_show(struct demo_watch *watch, struct demo_page *page,
                     const struct demo_message *message)
{
    struct bytes type = record_header(message->record, "ce_type");

    if (message->topic == DEMO_EVENTS &&
        (bytes_equal_str(type, "kinlog.LogStarted.v1") ||
         bytes_equal_str(type, "kinlog.PositionAdvanced.v1")))
        return;
    /* The agent talks to itself: its event says it all. */
    if (message->topic == DEMO_REPLIES &&
        bytes_equal_str(short_type(command_type(message)), "AdoptPolicy"))
        return;
    show_heading(watch, page, message);
    demo_show(page, message);
}

void demo_watch_release(struct demo_watch *watch)
{
    buf_release(&watch->command);
}
